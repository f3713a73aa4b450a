//! Server-sent events, decoded byte by byte so that no partition of the input changes the result.
//!
//! After the WHATWG HTML standard, section 9.2: lines end in CRLF, LF or CR; `:` begins a comment; one
//! space after the colon is dropped; `data` lines join with LF; a blank line dispatches; an event without
//! data does not dispatch; an unfinished event at the end of the input is discarded. Beyond the standard:
//! bounds on a line and an event, and comments are reported, because a ping is a sign of life.
//!
//! Written here rather than taken from `eventsource-stream`: that crate hides comments and has no bounds.

use std::borrow::Cow;

/// Longest line, in bytes.
const MAX_LINE: usize = 1 << 20;
/// Longest event, in bytes.
const MAX_EVENT: usize = 4 << 20;

/// What the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SseItem {
    /// A dispatched event.
    Event {
        /// The `event` field; empty for a plain message.
        name: String,
        /// The `data` lines, joined with LF.
        data: String,
    },
    /// A comment line: a ping.
    Comment,
}

/// A line or an event longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("server-sent event longer than {limit} bytes")]
pub struct SseTooLong {
    /// The bound it broke.
    pub limit: usize,
}

/// Decodes a byte stream. Feed it with [`SseDecoder::push`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts about the bytes so far"
)]
pub struct SseDecoder {
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
    /// A CR ended the last line: an LF right after it belongs to it.
    after_cr: bool,
    /// The first line may begin with a byte order mark.
    past_first_line: bool,
    bad_text: bool,
}

impl SseDecoder {
    /// Decodes `bytes` and appends what they complete to `items`.
    pub fn push(&mut self, bytes: &[u8], items: &mut Vec<SseItem>) -> Result<(), SseTooLong> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let (part, ended) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len() + part.len() > MAX_LINE {
                return Err(SseTooLong { limit: MAX_LINE });
            }
            let Some((terminator, after)) = ended.split_first() else {
                self.line.extend_from_slice(part);
                break;
            };
            self.after_cr = *terminator == b'\r';
            rest = after;
            if self.line.is_empty() {
                // nearly every line comes in one piece
                self.end_line(part, items)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(part);
                self.end_line(&line, items)?;
            }
        }
        Ok(())
    }

    /// Whether any line so far was not valid UTF-8.
    pub fn saw_bad_text(&self) -> bool {
        self.bad_text
    }

    fn end_line(&mut self, raw: &[u8], items: &mut Vec<SseItem>) -> Result<(), SseTooLong> {
        let raw = match raw.strip_prefix(b"\xef\xbb\xbf") {
            Some(without_mark) if !self.past_first_line => without_mark,
            _ => raw,
        };
        self.past_first_line = true;
        // the strict reading is several times as fast as the lenient one
        let line = std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed);
        self.bad_text |= matches!(line, Cow::Owned(_));
        if line.is_empty() {
            self.dispatch(items);
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => items.push(SseItem::Comment),
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() > MAX_EVENT {
                    return Err(SseTooLong { limit: MAX_EVENT });
                }
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            // `id` and `retry` steer a browser's reconnection, which a POST does not have
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, items: &mut Vec<SseItem>) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) && !data.is_empty() {
            items.push(SseItem::Event { name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(parts: &[&[u8]]) -> Vec<SseItem> {
        let mut decoder = SseDecoder::default();
        let mut items = Vec::new();
        for part in parts {
            decoder.push(part, &mut items).unwrap();
        }
        items
    }

    fn message(data: &str) -> SseItem {
        SseItem::Event {
            name: String::new(),
            data: data.into(),
        }
    }

    #[test]
    fn the_standard_by_example() {
        assert_eq!(decode(&[b"data: a\ndata:b\ndata:  c\n\n"]), [message("a\nb\n c")]);
        assert_eq!(
            decode(&[b"\xef\xbb\xbfdata: a\r\rdata: b\r\n\r\n"]),
            [message("a"), message("b")]
        );
        assert_eq!(
            decode(&[b":\n\n: ping\ndata: x\n\n"]),
            [SseItem::Comment, SseItem::Comment, message("x")]
        );
        assert_eq!(
            decode(&[b"event: error\ndata: {}\n\n"]),
            [SseItem::Event {
                name: "error".into(),
                data: "{}".into()
            }]
        );
        assert_eq!(decode(&[b"event: lost\n\ndata\n\ndata: y\n\n"]), [message("y")]);
        assert_eq!(decode(&[b"data: unfinished\n"]), []);
    }

    #[test]
    fn bad_text_is_replaced_and_flagged() {
        let mut decoder = SseDecoder::default();
        let mut items = Vec::new();
        decoder.push(b"data: a\xffb\n\n", &mut items).unwrap();
        assert_eq!(items, [message("a\u{fffd}b")]);
        assert!(decoder.saw_bad_text());
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut decoder = SseDecoder::default();
        let mut items = Vec::new();
        let long = vec![b'x'; MAX_LINE + 1];
        assert_eq!(
            decoder.push(&long, &mut items),
            Err(SseTooLong { limit: MAX_LINE })
        );
    }

    #[test]
    fn every_cut_of_a_stream_gives_the_same_events() {
        let stream =
            "\u{feff}data: {\"a\":\"é漢🌊\"}\r\n\r\n:ping\r\rdata: b\ndata: c\n\nevent: e\ndata: [DONE]\n\n";
        let bytes = stream.as_bytes();
        let whole = decode(&[bytes]);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(decode(&parts), whole, "cut at {first} and {second}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_cut(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..200)) {
            let whole = decode(&[&bytes]);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(decode(&single), whole);
        }
    }
}
