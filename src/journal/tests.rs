//! Tests of writing and reading journals, damaged ones included.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::event::{CallId, EventKind, ModelName, WindowCounts};
use crate::time::Timestamp;

fn header() -> Header {
    Header::virtual_time(7, Policy::default()).with_scenario("outage")
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        at: Timestamp(seq * 1_000_000),
        call: (seq % 2 == 1).then_some(CallId(seq)),
        kind: EventKind::Notice {
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

fn open(text: &[u8]) -> Result<Reader, JournalError> {
    Reader::open(io::Cursor::new(text.to_vec()))
}

fn lines(text: &str) -> Vec<Result<Line, JournalError>> {
    open(text.as_bytes()).unwrap().lines().collect()
}

fn last_error(text: &str) -> String {
    match open(text.as_bytes()) {
        Ok(reader) => reader.lines().last().unwrap().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn reads_what_was_written() {
    let text = written(3);
    assert_eq!(text.lines().count(), 5);
    assert!(text.starts_with(r#"{"journal":2,"program":"seawall "#), "{text}");
    assert_eq!(open(text.as_bytes()).unwrap().header, header());
    let read: Vec<Line> = lines(&text).into_iter().map(Result::unwrap).collect();
    let mut expected: Vec<Line> = (0..3).map(|seq| Line::Event(event(seq))).collect();
    expected.push(Line::End { events: 3 });
    assert_eq!(read, expected);
}

#[test]
fn a_line_without_a_model_is_read_as_one_of_an_earlier_version() {
    let line = r#"{"seq":7,"at":5,"call":3,"type":"breaker_admitted","generation":2,"probe":true}"#;
    let older: Event = serde_json::from_str(line).unwrap();
    let admitted = |model| EventKind::BreakerAdmitted {
        model,
        generation: 2,
        probe: true,
        window: WindowCounts::default(),
    };
    assert_eq!(older.kind, admitted(None));
    assert!(!serde_json::to_string(&older).unwrap().contains("model"));
    let kind = admitted(ModelName::new("gpt-4o"));
    let newer = Event { kind, ..older };
    let line = serde_json::to_string(&newer).unwrap();
    assert!(line.contains(r#""model":"gpt-4o""#), "{line}");
    assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), newer);
}

#[test]
fn errors_name_the_line_and_the_remedy() {
    let text = written(3);
    assert_eq!(
        last_error("hello\u{1b}[2J\n"),
        "line 1: not a journal: expected {\"journal\":2,..}, found 'hello␛[2J'; pass a file written by seawall"
    );
    assert!(last_error("").contains("not a journal"));
    let future = text.replacen("\"journal\":2", "\"journal\":9,\"more\":[]", 1);
    assert_eq!(
        last_error(&future),
        "line 1: journal format 9, but this seawall reads format 2; use the newer seawall that wrote it"
    );
    let old = text.replacen("\"journal\":2", "\"journal\":1", 1);
    assert_eq!(
        last_error(&old),
        "line 1: journal format 1, but this seawall reads format 2; use the older seawall that wrote it"
    );
    let bad_header = text.replacen("\"seed\":7", "\"seed\":-7", 1);
    let error = last_error(&bad_header);
    assert!(error.starts_with("line 1: invalid header: "), "{error}");
    assert!(
        error.ends_with("; use the journal as seawall wrote it"),
        "{error}"
    );
    let broken = text.replacen("\"seq\":1", "\"seq\":one", 1);
    let error = last_error(&broken);
    assert!(
        error.starts_with("line 3: not an event (") && error.contains("'{\"seq\":one"),
        "{error}"
    );
    assert_eq!(lines(&broken).len(), 2, "nothing after an error");
}

#[test]
fn an_incomplete_last_line_is_reported() {
    let text = written(3);
    let torn = &text[..text.len() - 20];
    assert_eq!(
        last_error(torn),
        "line 4: the last line is incomplete: the program was stopped while writing it; earlier lines are complete"
    );
    // a line that lacks only its end is whole
    let whole = text.trim_end();
    assert!(matches!(lines(whole).last(), Some(Ok(Line::End { events: 3 }))));
}

#[test]
fn marks_and_blank_lines_of_editors_are_passed_over() {
    let text = written(3);
    let expected: Vec<Line> = lines(&text).into_iter().map(Result::unwrap).collect();
    let mark = "\u{feff}";
    for copy in [
        format!("{mark}{text}"),
        text.replace('\n', "\r\n"),
        text.replace('\n', "\n\n \t\r\n"),
        format!("{mark}\r\n\n{}", text.replace('\n', "\r\n")),
        format!("\n{text}\n  "),
    ] {
        let read: Vec<Line> = lines(&copy).into_iter().map(Result::unwrap).collect();
        assert_eq!(read, expected, "{copy:?}");
        let end = open(copy.as_bytes()).unwrap().for_each_event(|_| {});
        assert!(end.is_complete(), "{end}");
    }
    // lines keep their numbers
    let torn = format!("\n{}", &text[..text.len() - 20].replace('\n', "\r\n\r\n"));
    assert!(last_error(&torn).starts_with("line 8: the last line is incomplete"));
    for nothing in ["", "\n \r\n", mark] {
        assert!(
            last_error(nothing).starts_with("line 1: not a journal"),
            "{nothing:?}"
        );
    }
}

/// A disk that writes on request.
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
fn a_slow_disk_makes_a_gap_and_blocks_no_producer() {
    let (go, requests) = channel();
    let (done, bytes) = channel();
    let journal = Journal::try_new(Slow { go: requests, done }, &header()).unwrap();
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
    for line in open(&text).unwrap().lines() {
        match line.unwrap() {
            Line::Event(event) => {
                assert_eq!(event.seq, next);
                next += 1;
            }
            Line::Gap(missing) => {
                next += missing;
                lost += missing;
            }
            Line::Blank => {}
            Line::End { events } => ends = Some(events),
        }
    }
    assert_eq!((next, ends), (count, Some(count)));
    assert!((1..=3000).contains(&lost), "{lost}");
}

#[test]
fn a_full_disk_is_reported_at_the_end() {
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

/// The lines of a text, and the error that ended it.
type Read = (Vec<Line>, Option<String>);

fn one_by_one(text: &[u8]) -> Read {
    let mut whole = Vec::new();
    let lines = text.split_inclusive(|byte| *byte == b'\n').zip(1..).skip(1);
    for (line, number) in lines {
        match line::parse(line, number) {
            Ok(line) => whole.push(line),
            Err(error) => return (whole, Some(error.to_string())),
        }
    }
    (whole, None)
}

/// Reads in parallel and checks the offset and line number of each piece.
fn in_parallel(text: &[u8]) -> Read {
    let (mut whole, mut error) = (Vec::new(), None);
    let reader = open(text).unwrap();
    assert_eq!(reader.header, header());
    let mut offset = text.iter().position(|byte| *byte == b'\n').unwrap() as u64 + 1;
    for piece in reader {
        assert!(error.is_none(), "a piece after an error");
        assert_eq!((piece.offset, piece.first_line), (offset, whole.len() as u64 + 2));
        offset += piece.bytes;
        whole.extend(piece.lines);
        error = piece.error.map(|found| found.to_string());
    }
    (whole, error)
}

#[test]
fn parallel_parsing_equals_parsing_line_by_line() {
    // some hundred lines to a piece, and some dozen pieces
    let text = written(20_000);
    assert!(text.len() as u64 > 10 * PIECE, "{} bytes", text.len());
    let long = Event {
        seq: 20_000,
        kind: EventKind::Notice {
            text: "x".repeat(3 * PIECE as usize).as_str().into(),
        },
        ..event(20_000)
    };
    let long = serde_json::to_string(&long).unwrap();
    let at = |share: f64| (text.len() as f64 * share) as usize;
    let mut cases = vec![
        text.clone(),
        text.trim_end().to_owned(),
        // a line that is longer than a piece, and the file ends with it or does not
        format!("{text}{long}\n"),
        format!("{text}{long}"),
        format!("{text}{long}\n{text}"),
        text.replacen("\"seq\":9000,", "\"seq\":many,", 1),
        text.replacen("\"seq\":0,", "\"seq\":none,", 1),
        text.lines().next().unwrap().to_owned() + "\n",
        text[..text.find('\n').unwrap() + 20].to_owned(),
    ];
    cases.extend([0.3, 0.5, 0.77, 0.99].map(|share| text[..at(share)].to_owned()));
    // cut at the very end of a piece
    let first = text.find('\n').unwrap() + 1;
    cases.push(text[..first + PIECE as usize].to_owned());
    for case in &cases {
        let (lines, error) = in_parallel(case.as_bytes());
        let (expected_lines, expected_error) = one_by_one(case.as_bytes());
        let end = &case[case.len().saturating_sub(60)..];
        assert_eq!(error, expected_error, "{} bytes, to ..{end}", case.len());
        assert!(lines == expected_lines, "{} bytes, to ..{end}", case.len());
    }
    assert!(open(b"hello").is_err());
}

/// An endless input whose drop closes a channel.
struct Endless(#[expect(dead_code, reason = "dropped with the input")] Sender<()>);
impl io::Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        into.fill(b'\n');
        Ok(into.len())
    }
}

#[test]
fn dropping_the_reader_ends_its_threads() {
    let (alive, dropped) = channel();
    let text = io::Cursor::new(written(3).into_bytes());
    drop(Reader::open(io::Read::chain(text, Endless(alive))).unwrap());
    // fails once the reader thread has dropped its input
    assert!(dropped.recv().is_err());
}

#[test]
fn a_read_error_names_its_line() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("bad sector"))
        }
    }
    let text = io::Cursor::new(written(3).into_bytes());
    let reader = Reader::open(io::Read::chain(text, Broken)).unwrap();
    let mut lines: Vec<_> = reader.lines().collect();
    assert_eq!(
        lines.pop().unwrap().unwrap_err().to_string(),
        "line 6: cannot read: bad sector"
    );
    assert_eq!(lines.len(), 4);
}
