//! Server-sent events, decoded byte by byte so that no partition of the input changes the result.
//!
//! After the WHATWG HTML standard, section 9.2: lines end in CRLF, LF or CR; `:` begins a comment; one
//! space after the colon is dropped; `data` lines join with LF; a blank line dispatches; an event without
//! data does not dispatch. Beyond the standard, because servers need it:
//!
//! - A line and an event have bounds.
//! - Comments are reported, because a ping proves that the server lives.
//! - Lines of no known field are reported: they may be an error in bare JSON. A field may be indented.
//! - A field `error` is an event of that name (old llama-server).
//! - Whole JSON is an event before the next `data` line: some servers end events with one line break.
//! - A line break inside a JSON string, which the server did not escape, does not end the data.
//! - [`SseDecoder::end`] dispatches the unfinished event at the end of the body.
//!
//! Not `eventsource-stream`, because that crate hides comments and has no bounds.

use std::borrow::Cow;

/// Longest line, in bytes. An image is one line.
const MAX_LINE: usize = 8 << 20;
/// Longest event, in bytes.
const MAX_EVENT: usize = 8 << 20;

/// A decoded item of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SseItem {
    /// A dispatched event.
    Event {
        /// The `event` field; empty for a plain message.
        name: String,
        /// The `data` lines, joined with LF.
        data: String,
    },
    /// A comment line, as servers send for keep-alive.
    Comment,
    /// Lines of no known field, joined with LF.
    Unframed(String),
}

/// The error of a line or an event longer than 8 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("server-sent event longer than {limit} bytes")]
pub struct SseTooLong {
    /// The exceeded bound, in bytes.
    pub limit: usize,
}

/// An incremental decoder of server-sent events. Feed it with [`SseDecoder::push`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts about the bytes so far"
)]
pub struct SseDecoder {
    line: Vec<u8>,
    name: String,
    data: String,
    json: JsonState,
    has_data: bool,
    unframed: String,
    /// A CR ended the last line; an LF right after it belongs to the same line end.
    after_cr: bool,
    /// The first line may begin with a byte order mark.
    past_first_line: bool,
    bad_text: bool,
}

impl SseDecoder {
    /// Decodes `bytes` and appends the completed items to `items`.
    ///
    /// # Errors
    /// If a line or an event exceeds its bound. The decoder cannot be used after that.
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
                // the common case: no copy
                self.end_line(part, items)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(part);
                self.end_line(&line, items)?;
            }
        }
        Ok(())
    }

    /// Dispatches what is left at the clean end of a body: the last line may lack its line end, and the last event
    /// its blank line.
    ///
    /// # Errors
    /// If the event exceeds its bound.
    pub fn end(&mut self, items: &mut Vec<SseItem>) -> Result<(), SseTooLong> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line, items)?;
        }
        self.dispatch(items);
        Ok(())
    }

    /// Returns true if any line so far was not valid UTF-8. Invalid bytes are replaced by U+FFFD.
    pub fn saw_bad_text(&self) -> bool {
        self.bad_text
    }

    fn end_line(&mut self, raw: &[u8], items: &mut Vec<SseItem>) -> Result<(), SseTooLong> {
        let raw = match raw.strip_prefix(b"\xef\xbb\xbf") {
            Some(without_mark) if !self.past_first_line => without_mark,
            _ => raw,
        };
        self.past_first_line = true;
        // strict decoding is several times as fast as lossy decoding
        let line = std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed);
        self.bad_text |= matches!(line, Cow::Owned(_));
        if line.is_empty() {
            if self.is_inside_string() {
                return self.add_data("");
            }
            self.dispatch(items);
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let field = if self.is_inside_string() {
            field
        } else {
            field.trim_start()
        };
        match field {
            "" if line.starts_with(':') => items.push(SseItem::Comment),
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.dispatch_unframed(items);
                if self.data.starts_with('{') && self.json.is_whole() {
                    let name = self.name.clone();
                    self.dispatch(items);
                    self.name = name;
                }
                self.add_data(value)?;
            }
            // they control a browser's reconnection, which a POST does not have
            "id" | "retry" => {}
            _ if self.is_inside_string() => self.add_data(&line)?,
            "error" => {
                self.dispatch(items);
                "error".clone_into(&mut self.name);
                self.add_data(value)?;
            }
            _ => {
                if self.unframed.len() + line.len() > MAX_EVENT {
                    return Err(SseTooLong { limit: MAX_EVENT });
                }
                if !self.unframed.is_empty() {
                    self.unframed.push('\n');
                }
                self.unframed.push_str(&line);
            }
        }
        Ok(())
    }

    fn add_data(&mut self, value: &str) -> Result<(), SseTooLong> {
        if self.data.len() + value.len() > MAX_EVENT {
            return Err(SseTooLong { limit: MAX_EVENT });
        }
        if self.has_data {
            self.data.push('\n');
            self.json.read("\n");
        }
        self.has_data = true;
        self.data.push_str(value);
        self.json.read(value);
        Ok(())
    }

    /// Returns true if the data so far is JSON that ends inside a string.
    fn is_inside_string(&self) -> bool {
        self.data.starts_with('{') && self.json.in_string
    }

    fn dispatch(&mut self, items: &mut Vec<SseItem>) {
        self.dispatch_unframed(items);
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        self.json = JsonState::default();
        if std::mem::take(&mut self.has_data) && !data.is_empty() {
            items.push(SseItem::Event { name, data });
        }
    }

    fn dispatch_unframed(&mut self, items: &mut Vec<SseItem>) {
        if !self.unframed.is_empty() {
            items.push(SseItem::Unframed(std::mem::take(&mut self.unframed)));
        }
    }
}

/// The place in a JSON text, kept while it grows so that no text is read twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct JsonState {
    in_string: bool,
    escaped: bool,
    /// Open objects and arrays.
    depth: usize,
}

impl JsonState {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Returns true if nothing is open.
    fn is_whole(self) -> bool {
        !self.in_string && self.depth == 0
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
    fn decodes_the_examples_of_the_standard() {
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
    fn an_unfinished_event_is_dispatched_at_the_end() {
        for stream in ["data: x", "data: x\n", "data: x\n\n", "data: x\r"] {
            let mut decoder = SseDecoder::default();
            let mut items = Vec::new();
            decoder.push(stream.as_bytes(), &mut items).unwrap();
            decoder.end(&mut items).unwrap();
            decoder.end(&mut items).unwrap();
            assert_eq!(items, [message("x")], "{stream:?}");
        }
    }

    #[test]
    fn lines_of_no_known_field_are_reported_in_order() {
        let unframed = |text: &str| SseItem::Unframed(text.into());
        assert_eq!(
            decode(&[b"{\n  \"error\": {}\n}\ndata: [DONE]\n\nfoo: bar\n\n"]),
            [
                unframed("{\n  \"error\": {}\n}"),
                message("[DONE]"),
                unframed("foo: bar")
            ]
        );
    }

    #[test]
    fn a_field_may_be_indented_or_follow_whole_json_at_once() {
        let error = |data: &str| SseItem::Event {
            name: "error".into(),
            data: data.into(),
        };
        for (stream, expected) in [
            (" data: {}\n\n  data:x\n\n", vec![message("{}"), message("x")]),
            (
                "data: {\"a\":1}\ndata: {\"b\":\ndata: 2}\ndata: [DONE]\n\n",
                vec![message("{\"a\":1}"), message("{\"b\":\n2}"), message("[DONE]")],
            ),
            ("error: {\"code\":1}\n\n", vec![error("{\"code\":1}")]),
            (
                "data: {}\nerror: it broke\ndata: [DONE]\n\n",
                vec![message("{}"), error("it broke\n[DONE]")],
            ),
            (
                "data: {\"a\":\"\nerror: no\"}\n\n",
                vec![message("{\"a\":\"\nerror: no\"}")],
            ),
        ] {
            assert_eq!(decode(&[stream.as_bytes()]), expected, "{stream}");
        }
    }

    #[test]
    fn a_line_break_inside_a_json_string_does_not_end_the_data() {
        assert_eq!(
            decode(&[b"data: {\"a\":\"one\n\ntwo: \\\"\r\nthree\"}\n\ndata: {\"b\":1}\nc: d\n\n"]),
            [
                message("{\"a\":\"one\n\ntwo: \\\"\nthree\"}"),
                SseItem::Unframed("c: d".into()),
                message("{\"b\":1}"),
            ]
        );
    }

    #[test]
    fn invalid_utf8_is_replaced_and_flagged() {
        let mut decoder = SseDecoder::default();
        let mut items = Vec::new();
        decoder.push(b"data: a\xffb\n\n", &mut items).unwrap();
        assert_eq!(items, [message("a\u{fffd}b")]);
        assert!(decoder.saw_bad_text());
    }

    #[test]
    fn an_image_is_one_line() {
        let data = format!("{{\"url\":\"data:image/png;base64,{}\"}}", "A".repeat(3 << 20));
        assert_eq!(
            decode(&[format!("data: {data}\n\n").as_bytes()]),
            [message(&data)]
        );
    }

    #[test]
    fn rejects_a_line_that_exceeds_the_bound() {
        let mut decoder = SseDecoder::default();
        let mut items = Vec::new();
        let long = vec![b'x'; MAX_LINE + 1];
        assert_eq!(
            decoder.push(&long, &mut items),
            Err(SseTooLong { limit: MAX_LINE })
        );
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same_events() {
        let stream =
            "\u{feff}data: {\"a\":\"é漢🌊\"}\r\n\r\n:ping\r\rdata: b\ndata: c\n\nevent: e\ndata: [DONE]\n\n";
        let bytes = stream.as_bytes();
        let whole = decode(&[bytes]);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(decode(&parts), whole, "split at {first} and {second}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_gives_the_same_events(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..200)) {
            let whole = decode(&[&bytes]);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(decode(&single), whole);
        }
    }
}
