//! Finds the byte at which a forwarded answer breaks: the end of its nth event with content.

use crate::dialect::Dialect;
use crate::openai::ChatChunk;

/// No known server sends a longer event; the rest of a longer line is ignored.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Counts events with content in a byte stream that may be split anywhere.
#[derive(Debug)]
pub(super) struct EventCounter {
    dialect: Dialect,
    remaining: u32,
    line: Vec<u8>,
    content: bool,
}

impl EventCounter {
    /// Searches for the end of event number `count`.
    pub(super) fn new(dialect: Dialect, count: u32) -> Self {
        Self {
            dialect,
            remaining: count,
            line: Vec::new(),
            content: false,
        }
    }

    /// Scans more bytes. `Some(n)`: the event ends after `n` of them.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.remaining == 0 {
            return Some(0);
        }
        for (at, byte) in bytes.iter().enumerate() {
            if *byte != b'\n' {
                if self.line.len() < MAX_LINE_BYTES {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            if let Some(data) = line.strip_prefix(b"data:") {
                self.content |= has_content(self.dialect, data);
            } else if line.is_empty() && std::mem::take(&mut self.content) {
                self.remaining -= 1;
                if self.remaining == 0 {
                    return Some(at + 1);
                }
            }
            self.line.clear();
        }
        None
    }
}

/// Returns true if an event has content: text, reasoning or a part of a tool call. Where the dialect is unknown, any
/// event has.
fn has_content(dialect: Dialect, data: &[u8]) -> bool {
    if !dialect.is_known() {
        return true;
    }
    let event = serde_json::from_slice(data).unwrap_or_default();
    let chunk = ChatChunk::from(dialect.format().read("", event).chunk);
    chunk.choices.iter().any(|choice| !choice.delta.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n",
        ":\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"b\"}}]}\n\n",
        "data: {\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{}}]}\n\ndata: [DONE]\n\n",
    );

    fn find(count: u32, step: usize) -> Option<usize> {
        let mut counter = EventCounter::new(Dialect::Chat, count);
        let mut before = 0;
        for piece in STREAM.as_bytes().chunks(step) {
            if let Some(at) = counter.feed(piece) {
                return Some(before + at);
            }
            before += piece.len();
        }
        None
    }

    #[test]
    fn counts_only_events_with_content_however_the_reads_split() {
        let after = |text: &str| STREAM.find(text).map(|at| at + text.len());
        for step in 1..=STREAM.len() {
            assert_eq!(find(0, step), Some(0));
            assert_eq!(find(1, step), after("\"a\"}}]}\r\n\r\n"));
            assert_eq!(find(2, step), after("\"b\"}}]}\n\n"));
            assert_eq!(find(3, step), None);
        }
    }
}
