//! Sequences of the terminal that arrive in two reads.

use std::fs::File;
use std::time::{Duration, Instant};

use super::{PATIENCE, Terminal};

impl Terminal {
    /// Writes bytes and waits until the program has read them.
    #[expect(clippy::disallowed_methods, reason = "a terminal does not notify of a read")]
    fn write_until_read(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).unwrap();
        let name = self.master.tty_name().unwrap();
        let terminal = File::open(name).unwrap();
        let started = Instant::now();
        while rustix::io::ioctl_fionread(&terminal).unwrap() > 0 {
            assert!(started.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the prompt has lost the focus.
    fn until_left(&mut self) {
        self.until_matches("no input", |screen| !screen.contains("Enter to send"));
    }

    /// Writes bytes so that the program reads them in two parts.
    fn split(&mut self, bytes: &str, at: usize) {
        let (first, second) = bytes.as_bytes().split_at(at);
        self.write_until_read(first);
        self.write_until_read(second);
    }
}

#[test]
fn a_split_paste_arrives_in_the_prompt() {
    let mut terminal = Terminal::start(&[], &[]);
    terminal.until("upstream ready");
    let paste = |text: &str| format!("\x1b[200~{text}\x1b[201~");
    for at in 1..paste("qQ 00 q").len() {
        let text = format!("qQ {at:02} q");
        terminal.split(&paste(&text), at);
        // nothing of the sequence is in the prompt, in front of the text or after it
        let line = format!("> {text}");
        terminal.until_matches(&line, |screen| {
            screen
                .lines()
                .any(|shown| shown.trim() == line || shown.contains(&format!("{line}  ")))
        });
        // the prompt is empty again
        terminal.keys("\x15");
        terminal.until("Ask something");
    }
    terminal.keys("\x1b");
    terminal.until_left();
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn a_split_mouse_report_is_a_click() {
    let mut terminal = Terminal::start(&[], &[]);
    terminal.until("upstream ready");
    let click = "\x1b[<0;10;5M";
    for at in 1..click.len() {
        terminal.keys("i");
        terminal.until("Enter to send");
        terminal.split(click, at);
        // a click on a pane leaves the prompt; as keys it would be text in it
        terminal.until_left();
    }
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}
