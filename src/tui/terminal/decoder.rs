//! Bytes of the terminal to events: keys, mouse, pastes.
//!
//! A terminal writes a sequence at once, but a read may end anywhere in it. So the result depends on the bytes and
//! not on the reads, with one exception: an ESC is either the Esc key or the first byte of a sequence.
//!
//! ```text
//!  ESC at the end of a read, then   nothing for ESCAPE_DELAY   Esc
//!                                   [ O ] P or _ later         the sequence continues
//!                                   another byte later         Esc, then that key
//!  ESC and a byte in one read       Alt and that key, or a sequence
//! ```
//!
//! A string (OSC, DCS, APC) is dropped: it answers a question of a program that ran before, and it must not act as
//! keys either. It ends like a sequence that is broken off: at a control byte.
//! An incomplete sequence or paste waits for its rest without a limit of time: its rest must never act as keys.
//! Neither must it if the link was slower than the delay: a paste or a mouse report that lacks its ESC is read as
//! one if that ESC was the last byte before.
//!
//! vim (`ttimeoutlen`), tmux (`escape-time`) and ncurses (`ESCDELAY`) wait in the same way. crossterm, whose events
//! these are, does not, and reads a closed terminal in a busy loop; its parser is private.
//! Sequences: <https://invisible-island.net/xterm/ctlseqs/ctlseqs.html>.

use std::collections::VecDeque;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use memchr::memmem;

use crate::time::Timestamp;

/// Time after which an ESC is the Esc key. Neovim's default: a person does not notice it, and a link delivers the
/// rest of a sequence in less.
pub(super) const ESCAPE_DELAY: Duration = Duration::from_millis(50);
/// Time after an Esc key in which a paste or mouse report without its ESC may follow.
const LATE: Duration = Duration::from_secs(2);
/// The longest sequence in bytes; a longer one is dropped.
const MAX_SEQUENCE: usize = 128;
/// Bytes kept of a paste. A prompt is shorter, and a paste that exceeds it is refused as a whole.
const MAX_PASTE: usize = 1 << 20;

const ESC: u8 = 0x1b;
/// The second bytes of sequences: CSI, SS3, OSC, DCS and APC.
const INTRODUCERS: &[u8] = b"[O]P_";
const PASTE_START: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";
const CTRL_C: u8 = 0x03;
const BEL: u8 = 0x07;

/// The state between reads.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Bytes of an incomplete sequence, character or paste.
    held: Vec<u8>,
    /// True while `held` is the content of a paste.
    pasting: bool,
    /// The time at which a held ESC becomes a key.
    deadline: Option<Timestamp>,
    /// The time of the Esc key, if nothing was read since.
    escaped: Option<Timestamp>,
    events: VecDeque<Event>,
}

/// The beginning of the held bytes.
enum Step {
    /// An event, or nothing known, of this length.
    Decoded(usize, Option<Event>),
    /// A paste begins.
    Paste,
    /// More bytes are needed.
    Incomplete,
}

impl Decoder {
    /// The next event.
    pub(super) fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The time for [`expire`](Self::expire), if a held ESC waits.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Decodes what a read returned at `now`.
    pub(super) fn feed(&mut self, bytes: &[u8], now: Timestamp) {
        if self.pasting && bytes == [CTRL_C] {
            // typed: a paste whose end was lost must not hold every later key
            self.pasting = false;
            self.held.clear();
        }
        if self.deadline.take().is_some() && !bytes.first().is_some_and(|byte| INTRODUCERS.contains(byte)) {
            self.held.clear();
            self.key(KeyCode::Esc, KeyModifiers::NONE);
        }
        let late = self.escaped.take().is_some_and(|at| now < at + LATE);
        if late && (bytes.starts_with(&PASTE_START[1..]) || bytes.starts_with(b"[<")) {
            self.held.push(ESC);
        }
        self.held.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.held);
        let mut from = 0;
        while let Some(bytes) = rest.get(from..).filter(|bytes| !bytes.is_empty()) {
            if self.pasting {
                let Some(end) = memmem::find(bytes, PASTE_END) else {
                    break;
                };
                let text = bytes.get(..end).unwrap_or_default();
                self.events
                    .push_back(Event::Paste(String::from_utf8_lossy(text).into_owned()));
                self.pasting = false;
                from += end + PASTE_END.len();
                continue;
            }
            match step(bytes) {
                Step::Decoded(length, event) => {
                    self.events.extend(event);
                    from += length;
                }
                Step::Paste => {
                    self.pasting = true;
                    from += PASTE_START.len();
                }
                Step::Incomplete if bytes.len() > MAX_SEQUENCE => {
                    if matches!(bytes, [ESC, b']' | b'P' | b'_', ..]) {
                        // what follows belongs to it; the last byte may begin its end
                        rest.drain(from + 2..rest.len() - 1);
                        break;
                    }
                    from = rest.len();
                }
                Step::Incomplete => {
                    self.deadline = (bytes == [ESC]).then(|| now + ESCAPE_DELAY);
                    break;
                }
            }
        }
        rest.drain(..from);
        if rest.len() > MAX_PASTE + PASTE_END.len() {
            // the end may have begun
            rest.drain(MAX_PASTE..rest.len() - PASTE_END.len());
        }
        self.held = rest;
    }

    /// Makes a held ESC the Esc key if it is time.
    pub(super) fn expire(&mut self, now: Timestamp) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.escaped = self.deadline.take();
            self.held.clear();
            self.key(KeyCode::Esc, KeyModifiers::NONE);
        }
    }

    fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.events.push_back(Event::Key(KeyEvent::new(code, modifiers)));
    }
}

/// Decodes the beginning of `bytes`, which are not empty.
fn step(bytes: &[u8]) -> Step {
    match bytes {
        [ESC] | [ESC, b'O'] => Step::Incomplete,
        [ESC, ESC, ..] => Step::Decoded(1, key(KeyCode::Esc, KeyModifiers::NONE)),
        [ESC, b'[', sequence @ ..] => csi(sequence),
        [ESC, b']' | b'P' | b'_', string @ ..] => string_end(string),
        // Alt-O, and what follows it is no part of a sequence
        [ESC, b'O', 0..=0x1f, ..] => character(b"O", KeyModifiers::ALT, 1),
        [ESC, b'O', last, ..] => {
            Step::Decoded(3, letter(*last).and_then(|code| key(code, KeyModifiers::NONE)))
        }
        [ESC, rest @ ..] => character(rest, KeyModifiers::ALT, 1),
        _ => character(bytes, KeyModifiers::NONE, 0),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the event of a step, which may have none"
)]
fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Event> {
    Some(Event::Key(KeyEvent::new(code, modifiers)))
}

/// Decodes a control byte or a character. `before` is the number of bytes in front of it.
fn character(bytes: &[u8], modifiers: KeyModifiers, before: usize) -> Step {
    let Some(first) = bytes.first().copied() else {
        return Step::Incomplete;
    };
    let control = |c: u8| (KeyCode::Char(char::from(c)), modifiers | KeyModifiers::CONTROL);
    let (code, modifiers) = match first {
        b'\r' => (KeyCode::Enter, modifiers),
        b'\t' => (KeyCode::Tab, modifiers),
        0x7f => (KeyCode::Backspace, modifiers),
        0 => control(b' '),
        0x01..=0x1a => control(first - 1 + b'a'),
        0x1c..=0x1f => control(first - 0x1c + b'4'),
        _ => {
            let beginning = bytes.get(..bytes.len().min(4)).unwrap_or(bytes);
            let valid = match std::str::from_utf8(beginning) {
                Ok(text) => text,
                Err(error) if error.valid_up_to() > 0 => {
                    let valid = beginning.get(..error.valid_up_to());
                    valid
                        .and_then(|valid| std::str::from_utf8(valid).ok())
                        .unwrap_or_default()
                }
                Err(error) => {
                    return match error.error_len() {
                        Some(invalid) => Step::Decoded(before + invalid, None),
                        None => Step::Incomplete,
                    };
                }
            };
            let Some(c) = valid.chars().next() else {
                return Step::Incomplete;
            };
            return Step::Decoded(before + c.len_utf8(), key(KeyCode::Char(c), modifiers | shift(c)));
        }
    };
    Step::Decoded(before + 1, key(code, modifiers))
}

/// Shift for an upper-case letter, as crossterm reports it.
fn shift(c: char) -> KeyModifiers {
    if c.is_uppercase() {
        KeyModifiers::SHIFT
    } else {
        KeyModifiers::NONE
    }
}

/// Decodes a control sequence; `sequence` begins after `ESC [`.
fn csi(sequence: &[u8]) -> Step {
    let is_parameter = |byte: &u8| (0x20..=0x3f).contains(byte);
    let Some(end) = sequence.iter().position(|byte| !is_parameter(byte)) else {
        return Step::Incomplete;
    };
    let (parameters, rest) = sequence.split_at(end);
    let length = 2 + end + 1;
    match (parameters, rest) {
        ([], [b'M', raw @ ..]) if raw.iter().take(3).any(|byte| *byte < 32) => Step::Decoded(length, None),
        // the oldest mouse report has raw bytes after its end
        ([], [b'M', button, x, y, ..]) => {
            let [button, x, y] = [button, x, y].map(|byte| u16::from(byte.saturating_sub(32)));
            Step::Decoded(length + 3, mouse(button, x, y))
        }
        // of the Linux console
        ([], [b'[', number @ b'A'..=b'E', ..]) => {
            Step::Decoded(length + 1, key(KeyCode::F(number - b'A' + 1), KeyModifiers::NONE))
        }
        ([], [b'M', ..] | [b'[']) => Step::Incomplete,
        (b"200", [b'~', ..]) => Step::Paste,
        (_, [last @ 0x40..=0x7e, ..]) => Step::Decoded(length, sequence_event(parameters, *last)),
        // a control byte or a character: no sequence; it is decoded by itself
        _ => Step::Decoded(length - 1, None),
    }
}

/// Finds the end of a string, which begins after its introducer: BEL, ESC \, or a control byte that is no part of it.
fn string_end(string: &[u8]) -> Step {
    let Some(end) = string.iter().position(|byte| *byte < 0x20) else {
        return Step::Incomplete;
    };
    let terminator = match string.get(end..) {
        Some([ESC]) => return Step::Incomplete,
        Some([ESC, b'\\', ..]) => 2,
        Some([BEL, ..]) => 1,
        _ => 0,
    };
    Step::Decoded(2 + end + terminator, None)
}

/// The event of a complete control sequence.
fn sequence_event(parameters: &[u8], last: u8) -> Option<Event> {
    let text = std::str::from_utf8(parameters).ok()?;
    let (is_sgr, numbers) = match text.strip_prefix('<') {
        Some(numbers) => (true, numbers),
        None => (false, text),
    };
    // a colon separates details of a number, as in `1:3`
    let mut numbers = numbers
        .split(';')
        .map(|part| part.split(':').next().unwrap_or_default().parse::<u16>().ok());
    let mut next = || numbers.next().flatten();
    match (is_sgr, last) {
        (true, b'M') => return mouse(next()?, next()?, next()?),
        (false, b'M') => return mouse(next()?.checked_sub(32)?, next()?, next()?),
        // a release
        (true, _) => return None,
        (false, b'I') => return Some(Event::FocusGained),
        (false, b'O') => return Some(Event::FocusLost),
        (false, b'Z') => return key(KeyCode::BackTab, KeyModifiers::SHIFT),
        _ => {}
    }
    let number = next();
    let modifiers = modifiers(next().unwrap_or(1));
    let code = match (last, number) {
        (b'~', Some(1 | 7)) => KeyCode::Home,
        (b'~', Some(2)) => KeyCode::Insert,
        (b'~', Some(3)) => KeyCode::Delete,
        (b'~', Some(4 | 8)) => KeyCode::End,
        (b'~', Some(5)) => KeyCode::PageUp,
        (b'~', Some(6)) => KeyCode::PageDown,
        (b'~', Some(number @ 11..=15)) => function(number - 10),
        (b'~', Some(number @ 17..=21)) => function(number - 11),
        (b'~', Some(number @ 23..=24)) => function(number - 12),
        // the protocol of fixterms and kitty
        (b'u', Some(9)) => KeyCode::Tab,
        (b'u', Some(13)) => KeyCode::Enter,
        (b'u', Some(27)) => KeyCode::Esc,
        (b'u', Some(127)) => KeyCode::Backspace,
        (b'u', Some(number)) => KeyCode::Char(char::from_u32(u32::from(number))?),
        // the position of the cursor, not F3
        (b'R', Some(2..)) => return None,
        _ => letter(last)?,
    };
    key(code, modifiers)
}

/// The key of a final letter, after `ESC [` or `ESC O`.
fn letter(last: u8) -> Option<KeyCode> {
    Some(match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'P'..=b'S' => KeyCode::F(last - b'P' + 1),
        _ => return None,
    })
}

fn function(number: u16) -> KeyCode {
    KeyCode::F(u8::try_from(number).unwrap_or(u8::MAX))
}

/// The modifiers of a parameter: 1 plus the sum of Shift 1, Alt 2 and Ctrl 4.
fn modifiers(parameter: u16) -> KeyModifiers {
    let bits = parameter.saturating_sub(1);
    let mut modifiers = KeyModifiers::NONE;
    for (bit, modifier) in [
        (1, KeyModifiers::SHIFT),
        (2, KeyModifiers::ALT),
        (4, KeyModifiers::CONTROL),
    ] {
        if bits & bit != 0 {
            modifiers |= modifier;
        }
    }
    modifiers
}

/// A press or a turn of the wheel at a position from 1; other reports have no effect here.
fn mouse(button: u16, x: u16, y: u16) -> Option<Event> {
    // without the bits of Shift, Alt and Ctrl
    let kind = match button & !0b1_1100 {
        0 => MouseEventKind::Down(MouseButton::Left),
        1 => MouseEventKind::Down(MouseButton::Middle),
        2 => MouseEventKind::Down(MouseButton::Right),
        64 => MouseEventKind::ScrollUp,
        65 => MouseEventKind::ScrollDown,
        _ => return None,
    };
    Some(Event::Mouse(MouseEvent {
        kind,
        column: x.checked_sub(1)?,
        row: y.checked_sub(1)?,
        modifiers: KeyModifiers::NONE,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::ZERO;

    fn after(millis: u64) -> Timestamp {
        START + Duration::from_millis(millis)
    }

    /// Decodes reads at their times in milliseconds, and what is left a second later. A key is its name, a paste is
    /// its text in quotes.
    fn decoded(reads: &[(u64, &[u8])]) -> Vec<String> {
        let mut decoder = Decoder::default();
        for (at, bytes) in reads {
            decoder.expire(after(*at));
            decoder.feed(bytes, after(*at));
        }
        let last = reads.last().map_or(0, |(at, _)| *at);
        decoder.expire(after(last + 1000));
        std::iter::from_fn(|| decoder.pop())
            .map(|event| name(&event))
            .collect()
    }

    fn name(event: &Event) -> String {
        match event {
            Event::Key(key) => {
                let modifiers = [
                    (KeyModifiers::CONTROL, "ctrl+"),
                    (KeyModifiers::ALT, "alt+"),
                    (KeyModifiers::SHIFT, "shift+"),
                ];
                let held = modifiers
                    .into_iter()
                    .filter(|(modifier, _)| key.modifiers.contains(*modifier));
                let held: String = held.map(|(_, name)| name).collect();
                format!("{held}{}", key.code).to_lowercase()
            }
            Event::Mouse(mouse) => format!("{:?} {} {}", mouse.kind, mouse.column, mouse.row),
            Event::Paste(text) => format!("'{text}'"),
            other => format!("{other:?}"),
        }
    }

    /// Bytes of one read, and the events.
    const TABLE: &[(&str, &[&str])] = &[
        ("q", &["q"]),
        ("Bé✓𝄞", &["shift+b", "é", "✓", "𝄞"]),
        (
            "\r\n\t\x7f\x08\0",
            &["enter", "ctrl+j", "tab", "backspace", "ctrl+h", "ctrl+space"],
        ),
        (
            "\x01\x03\x1a\x1c\x1f",
            &["ctrl+a", "ctrl+c", "ctrl+z", "ctrl+4", "ctrl+7"],
        ),
        ("\x1b[A\x1b[B\x1b[C\x1b[D", &["up", "down", "right", "left"]),
        ("\x1bOA\x1bOH\x1bOP\x1bOS", &["up", "home", "f1", "f4"]),
        ("\x1b[H\x1b[F\x1b[Z", &["home", "end", "shift+back tab"]),
        ("\x1b[1~\x1b[2~\x1b[3~\x1b[4~", &["home", "insert", "del", "end"]),
        (
            "\x1b[5~\x1b[6~\x1b[7~\x1b[8~",
            &["page up", "page down", "home", "end"],
        ),
        (
            "\x1b[11~\x1b[15~\x1b[17~\x1b[21~\x1b[24~",
            &["f1", "f5", "f6", "f10", "f12"],
        ),
        ("\x1b[[A\x1b[[E", &["f1", "f5"]),
        (
            "\x1b[1;5D\x1b[1;3C\x1b[1;2A\x1b[3;5~",
            &["ctrl+left", "alt+right", "shift+up", "ctrl+del"],
        ),
        ("\x1b[97;5u\x1b[27u\x1b[13;2u", &["ctrl+a", "esc", "shift+enter"]),
        (
            "\x1bq\x1bQ\x1b\r\x1b\x7f",
            &["alt+q", "alt+shift+q", "alt+enter", "alt+backspace"],
        ),
        // strings: a colour, a version, a graphics reply; one broken off by a key, and by a sequence
        ("\x1b]11;rgb:0b0b/q/b\x1b\\x\x1b]11;b\x07x", &["x", "x"]),
        ("\x1bP>|b\x1b\\x\x1b_Gi=1;b\x1b\\x", &["x", "x"]),
        ("\x1b]b\x03x\x1bPb\x1b[Ax", &["ctrl+c", "x", "up", "x"]),
        ("\x1b\x1b[A", &["esc", "up"]),
        ("\x1b[<0;10;5M\x1b[<0;10;5m", &["Down(Left) 9 4"]),
        (
            "\x1b[<64;1;1M\x1b[<65;300;200M\x1b[<35;1;1M",
            &["ScrollUp 0 0", "ScrollDown 299 199"],
        ),
        (
            "\x1b[32;10;5M\x1b[M *%q",
            &["Down(Left) 9 4", "Down(Left) 9 4", "q"],
        ),
        ("\x1b[I\x1b[O", &["FocusGained", "FocusLost"]),
        ("\x1b[200~quit\rnow\x1b[201~q", &["'quit\rnow'", "q"]),
        ("\x1b[200~\x1b[201~", &["''"]),
        ("\x1b[200~é\x1b[200~\x1b[A\x1b[201~", &["'é\x1b[200~\x1b[A'"]),
        // no position, unknown or broken sequences: nothing, and the rest is read
        ("\x1b[<0;0;5Mx\x1b[<0;5Mx\x1b[<999999;1;1Mx", &["x", "x", "x"]),
        ("\x1b[?1;2cx\x1b[12;7Rx\x1b[99~x\x1bO#x", &["x", "x", "x", "x"]),
        (
            "\x1b[1\x1b[A\x1bO\x1b[A\x1b[M\x1b[A",
            &["up", "alt+shift+o", "up", "up"],
        ),
        ("\x1b[1;\rx", &["enter", "x"]),
    ];

    #[test]
    fn bytes_become_events() {
        for (bytes, expected) in TABLE {
            assert_eq!(decoded(&[(0, bytes.as_bytes())]), *expected, "{bytes:?}");
        }
        assert_eq!(decoded(&[(0, b"a\xff\xc3(\x80b")]), ["a", "(", "b"]);
    }

    #[test]
    fn a_read_that_ends_anywhere_changes_nothing() {
        for (bytes, expected) in TABLE {
            let bytes = bytes.as_bytes();
            for at in 1..bytes.len() {
                let (first, second) = bytes.split_at(at);
                // Alt and a key are two keys if they arrive apart
                let continues = |byte: &u8| INTRODUCERS.contains(byte) || [ESC, b'\\'].contains(byte);
                if first.ends_with(b"\x1b") && !second.first().is_some_and(continues) {
                    continue;
                }
                assert_eq!(
                    decoded(&[(0, first), (49, second)]),
                    *expected,
                    "{bytes:?} at {at}"
                );
                if !first.ends_with(b"\x1b") {
                    assert_eq!(
                        decoded(&[(0, first), (60_000, second)]),
                        *expected,
                        "{bytes:?} at {at}"
                    );
                }
            }
            if !bytes
                .windows(2)
                .any(|pair| pair[0] == ESC && !b"[O]P_\\\x1b".contains(&pair[1]))
            {
                let single: Vec<(u64, &[u8])> = (0..).zip(bytes.chunks(1)).collect();
                assert_eq!(decoded(&single), *expected, "{bytes:?} byte by byte");
            }
        }
    }

    #[test]
    fn a_lone_escape_is_a_key_after_the_delay() {
        let mut decoder = Decoder::default();
        decoder.feed(b"\x1b", START);
        assert_eq!(decoder.deadline(), Some(START + ESCAPE_DELAY));
        decoder.expire(after(49));
        assert_eq!(decoder.pop(), None);
        decoder.expire(after(50));
        assert_eq!(decoder.pop().as_ref().map(name), Some("esc".to_owned()));
        assert_eq!((decoder.deadline(), decoder.pop()), (None, None));
        // a script's next key does not become Alt and that key
        assert_eq!(decoded(&[(0, b"\x1b"), (1, b"q")]), ["esc", "q"]);
        assert_eq!(decoded(&[(0, b"\x1b"), (1, b"\x1b"), (2, b"[A")]), ["esc", "up"]);
        assert_eq!(decoded(&[(0, b"\x1b"), (60, b"[")]), ["esc", "["]);
    }

    #[test]
    fn a_late_paste_or_mouse_report_never_acts_as_keys() {
        for at in [51, 300, 1900] {
            assert_eq!(
                decoded(&[(0, b"\x1b"), (at, b"[200~quit"), (at + 500, b"q\x1b[201~")]),
                ["esc", "'quitq'"]
            );
            assert_eq!(
                decoded(&[(0, b"\x1b"), (at, b"[<0;10;5M")]),
                ["esc", "Down(Left) 9 4"]
            );
        }
        // not after another key, and not much later
        let typed = ["esc", "x", "[", "<"];
        assert_eq!(decoded(&[(0, b"\x1b"), (60, b"x"), (70, b"[<")]), typed);
        assert_eq!(decoded(&[(0, b"\x1b"), (3000, b"[<")]), ["esc", "[", "<"]);
    }

    #[test]
    fn what_never_ends_is_bounded() {
        let mut decoder = Decoder::default();
        decoder.feed(PASTE_START, START);
        let read = vec![b'x'; 64 << 10];
        for _ in 0..64 {
            decoder.feed(&read, START);
            assert!(decoder.held.len() <= MAX_PASTE + 2 * PASTE_END.len());
        }
        decoder.feed(PASTE_END.split_at(3).0, START);
        decoder.feed(PASTE_END.split_at(3).1, START);
        let Some(Event::Paste(text)) = decoder.pop() else {
            panic!("no paste")
        };
        assert!(text.len() >= MAX_PASTE && text.bytes().all(|byte| byte == b'x'));
        decoder.feed(b"\x1b[", START);
        decoder.feed(&[b'1'; 4096], START);
        decoder.feed(b"q", START);
        assert!(decoder.held.len() <= MAX_SEQUENCE);
        // a long string is dropped to its end, which may be split
        let long = [b"\x1b]52;c;".as_slice(), &[b'q'; 4096]].concat();
        assert_eq!(
            decoded(&[(0, &long), (9, &[b'b'; 200]), (10, b"b\x1b"), (11, b"\\x")]),
            ["x"]
        );
        // a paste without an end is left by Ctrl-C
        assert_eq!(
            decoded(&[(0, b"\x1b[200~lost"), (9, b"q"), (99, b"\x03"), (100, b"q")]),
            ["ctrl+c", "q"]
        );
    }
}
