//! Finds the byte at which a passing answer breaks: the end of its nth event with content.

use crate::openai::ChatChunk;

/// A longer line is no event of any server known; it passes uncounted.
const LONGEST_LINE: usize = 1 << 20;

/// Counts events with content in a stream of bytes, wherever the reads split it.
#[derive(Debug)]
pub(super) struct EventCounter {
    left: u32,
    line: Vec<u8>,
    content: bool,
}

impl EventCounter {
    /// Looks for the end of event number `count`.
    pub(super) fn new(count: u32) -> Self {
        Self {
            left: count,
            line: Vec::new(),
            content: false,
        }
    }

    /// Reads on. `Some(n)`: the event ends after `n` bytes of `bytes`.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.left == 0 {
            return Some(0);
        }
        for (at, byte) in bytes.iter().enumerate() {
            if *byte != b'\n' {
                if self.line.len() < LONGEST_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            if let Some(data) = line.strip_prefix(b"data:") {
                self.content |= has_content(data);
            } else if line.is_empty() && std::mem::take(&mut self.content) {
                self.left -= 1;
                if self.left == 0 {
                    return Some(at + 1);
                }
            }
            self.line.clear();
        }
        None
    }
}

/// Whether an event brings text: an answer's or a thought's.
fn has_content(data: &[u8]) -> bool {
    serde_json::from_slice::<ChatChunk>(data).is_ok_and(|chunk| {
        chunk.choices.iter().any(|choice| {
            let texts = [&choice.delta.content, &choice.delta.reasoning_content];
            texts.into_iter().flatten().any(|text| !text.is_empty())
        })
    })
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
        let mut counter = EventCounter::new(count);
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
    fn only_events_with_text_count_wherever_the_reads_split() {
        let after = |text: &str| STREAM.find(text).map(|at| at + text.len());
        for step in 1..=STREAM.len() {
            assert_eq!(find(0, step), Some(0));
            assert_eq!(find(1, step), after("\"a\"}}]}\r\n\r\n"));
            assert_eq!(find(2, step), after("\"b\"}}]}\n\n"));
            assert_eq!(find(3, step), None);
        }
    }
}
