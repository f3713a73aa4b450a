//! What is written is read again, whatever happens to the file in between.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::event::{CallId, EventKind};
use crate::time::Timestamp;

fn header() -> Header {
    Header::virtual_time(7, Policy::default()).of_scenario("outage")
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        at: Timestamp(seq * 1_000_000),
        call: (seq % 2 == 1).then_some(CallId(seq)),
        kind: EventKind::Noticed {
            text: "a\n\"b\"".into(),
        },
    }
}

fn written(events: u64) -> String {
    let mut journal = Journal::try_new(Vec::new(), &header()).unwrap();
    for seq in 0..events {
        journal.write(&event(seq)).unwrap();
    }
    String::from_utf8(journal.finish().unwrap()).unwrap()
}

fn lines(text: &str) -> Vec<Result<Line, JournalError>> {
    read(text.as_bytes()).unwrap().1.collect()
}

fn last_error(text: &str) -> String {
    match read(text.as_bytes()) {
        Ok((_, lines)) => lines.last().unwrap().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_written_is_read() {
    let text = written(3);
    assert_eq!(text.lines().count(), 5);
    assert!(text.starts_with(r#"{"journal":1,"program":"seawall "#), "{text}");
    let (read_header, _) = read(text.as_bytes()).unwrap();
    assert_eq!(read_header, header());
    let read: Vec<Line> = lines(&text).into_iter().map(Result::unwrap).collect();
    let mut expected: Vec<Line> = (0..3).map(|seq| Line::Event(event(seq))).collect();
    expected.push(Line::End { events: 3 });
    assert_eq!(read, expected);
}

#[test]
fn mistakes_name_their_line_and_what_to_do() {
    let text = written(3);
    assert_eq!(
        last_error("hello\u{1b}[2J\n"),
        "line 1: not a journal: it begins with 'hello␛[2J', where a journal has {\"journal\":1,..}; give a file that seawall has written"
    );
    assert!(last_error("").contains("not a journal"));
    let future = text.replacen("\"journal\":1", "\"journal\":9,\"more\":[]", 1);
    assert_eq!(
        last_error(&future),
        "line 1: journal format 9, and this program reads up to 1: use a newer seawall"
    );
    let bad_header = text.replacen("\"seed\":7", "\"seed\":-7", 1);
    assert!(last_error(&bad_header).starts_with("line 1: the header cannot be read: "));
    let broken = text.replacen("\"seq\":1", "\"seq\":one", 1);
    let error = last_error(&broken);
    assert!(
        error.starts_with("line 3: not an event (") && error.contains("'{\"seq\":one"),
        "{error}"
    );
    assert_eq!(lines(&broken).len(), 2, "nothing after an error");
}

#[test]
fn a_torn_last_line_is_told_as_such() {
    let text = written(3);
    let torn = &text[..text.len() - 20];
    assert_eq!(
        last_error(torn),
        "line 4: the last line is torn, the program was stopped while it wrote; the lines before it are whole"
    );
    // a line that lacks only its end is whole
    let whole = text.trim_end();
    assert!(matches!(lines(whole).last(), Some(Ok(Line::End { events: 3 }))));
}

/// A disk that writes when it is told to.
struct Slow {
    go: Receiver<()>,
    done: Sender<Vec<u8>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.go.recv().ok();
        self.done.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_disk_makes_a_gap_and_nobody_waits() {
    let (go, told) = channel();
    let (done, bytes) = channel();
    let journal = Journal::try_new(Slow { go: told, done }, &header()).unwrap();
    let live = LiveJournal::start(journal).unwrap();
    let mut tap = live.tap();
    let count = QUEUE as u64 + 3000;
    for seq in 0..count {
        tap(&event(seq));
    }
    drop(go);
    live.finish().unwrap();
    let text: Vec<u8> = bytes.iter().flatten().collect();
    let (mut next, mut lost, mut ends) = (0, 0, None);
    for line in read(text.as_slice()).unwrap().1 {
        match line.unwrap() {
            Line::Event(event) => {
                assert_eq!(event.seq, next);
                next += 1;
            }
            Line::Gap(missing) => {
                next += missing;
                lost += missing;
            }
            Line::End { events } => ends = Some(events),
        }
    }
    assert_eq!((next, ends), (count, Some(count)));
    assert!((1..=3000).contains(&lost), "{lost}");
}

#[test]
fn a_full_disk_is_told_at_the_end() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let live = LiveJournal::start(Journal::try_new(Full, &header()).unwrap()).unwrap();
    let mut tap = live.tap();
    (0..100).for_each(|seq| tap(&event(seq)));
    assert_eq!(live.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    // the session goes on
    tap(&event(100));
}
