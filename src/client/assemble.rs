//! Assembly of an answer from the bytes of a response, streamed or not, and the decision whether it is complete.
//!
//! A stream is complete if `[DONE]` came, or if every opened choice had a `finish_reason` and the body then ended
//! cleanly (docs/semantics.md, Streams). Otherwise it is truncated, whatever the transport says: HTTP calls a body
//! without length complete wherever it ends.

use std::collections::BTreeMap;

use serde_json::Value;

use super::answer::{Answer, Chunk};
use super::sse::{SseDecoder, SseItem};
use crate::event::{Fate, Finish};
use crate::openai::{ApiError, ChatChunk, ChatResponse, Delta, Usage};
use crate::text::SafeText;

/// A reason why a body is no complete answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Problem {
    /// Not the expected JSON, with its beginning.
    Malformed(String),
    /// An error inside a 200.
    ErrorEvent(ApiError),
    /// Larger than this many bytes.
    TooLarge(u64),
    /// The body ended before the answer did.
    Truncated {
        /// True if the connection was reset.
        reset: bool,
    },
    /// The body ended without a single event.
    Empty,
}

/// An incremental reader of a streamed answer.
#[derive(Debug)]
pub(super) struct Assembler {
    decoder: SseDecoder,
    items: Vec<SseItem>,
    max_bytes: u64,
    bytes: u64,
    text: String,
    reasoning: String,
    tool_calls: Vec<Value>,
    /// Choices by index; true once the choice has ended.
    choices: BTreeMap<u64, bool>,
    finish: Option<Finish>,
    usage: Option<Usage>,
    model: Option<String>,
    chunks: u64,
    events: u64,
    done: bool,
}

impl Assembler {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            decoder: SseDecoder::default(),
            items: Vec::new(),
            max_bytes,
            bytes: 0,
            text: String::new(),
            reasoning: String::new(),
            tool_calls: Vec::new(),
            choices: BTreeMap::new(),
            finish: None,
            usage: None,
            model: None,
            chunks: 0,
            events: 0,
            done: false,
        }
    }

    /// Reads bytes of a stream and appends new chunks to `fresh`. Ignores what follows `[DONE]`.
    ///
    /// Chunks before a problem are in `fresh` too: it is chance if text and error come in one read or in two, and
    /// must not decide if the text is delivered.
    pub(super) fn push(&mut self, bytes: &[u8], fresh: &mut Vec<Chunk>) -> Result<(), Problem> {
        if self.done {
            return Ok(());
        }
        let room = usize::try_from(self.max_bytes.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let within = bytes.get(..room).unwrap_or(bytes);
        self.bytes += bytes.len() as u64;
        let mut items = std::mem::take(&mut self.items);
        let pushed = self.decoder.push(within, &mut items);
        for item in items.drain(..) {
            let SseItem::Event { name, data } = item else {
                continue;
            };
            self.events += 1;
            if data.trim() == "[DONE]" {
                self.done = true;
                break;
            }
            self.event(&name, &data, fresh)?;
        }
        items.clear();
        self.items = items;
        pushed.map_err(|error| Problem::TooLarge(error.limit as u64))?;
        if self.bytes > self.max_bytes && !self.done {
            return Err(Problem::TooLarge(self.max_bytes));
        }
        Ok(())
    }

    /// Returns true once `[DONE]` came: nothing more needs to be read.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Number of events with data so far, the measure of progress.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Number of chunks so far, the estimate of the answer's LLM tokens.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Ends the body. `broken` holds true after a reset, false after another break, nothing after a clean end.
    pub(super) fn finish(self, broken: Option<bool>, prompt_estimate: u64) -> Result<Answer, Problem> {
        let all_ended = !self.choices.is_empty() && self.choices.values().all(|ended| *ended);
        if !self.done && (broken.is_some() || !all_ended) {
            return Err(match broken {
                None if self.events == 0 => Problem::Empty,
                broken => Problem::Truncated {
                    reset: broken.unwrap_or(false),
                },
            });
        }
        let finish = self.finish.unwrap_or(Finish::Unknown);
        let usage = Counted {
            usage: self.usage,
            prompt_estimate,
            chunks: self.chunks,
        };
        Ok(usage.answer(
            finish,
            self.decoder.saw_bad_text(),
            Parts {
                text: self.text,
                reasoning: self.reasoning,
                tool_calls: self.tool_calls,
                model: self.model,
            },
        ))
    }

    fn event(&mut self, name: &str, data: &str, fresh: &mut Vec<Chunk>) -> Result<(), Problem> {
        if name == "error" {
            let error = ApiError::parse(data.as_bytes());
            return Err(Problem::ErrorEvent(error.unwrap_or_else(|| ApiError {
                message: excerpt(data),
                ..ApiError::default()
            })));
        }
        let chunk: ChatChunk =
            serde_json::from_str(data).map_err(|_| match ApiError::parse(data.as_bytes()) {
                Some(error) => Problem::ErrorEvent(error),
                None => Problem::Malformed(excerpt(data)),
            })?;
        if let Some(error) = chunk.error {
            return Err(Problem::ErrorEvent(error));
        }
        self.usage = chunk.usage.or(self.usage);
        if self.model.is_none() {
            self.model = chunk.model;
        }
        for choice in chunk.choices {
            let ended = self.choices.entry(choice.index).or_default();
            *ended |= choice.finish_reason.is_some();
            if choice.index == 0 {
                self.finish = choice.finish_reason.as_deref().map(parse_finish).or(self.finish);
                self.delta(choice.delta, fresh);
            }
        }
        Ok(())
    }

    fn delta(&mut self, delta: Delta, fresh: &mut Vec<Chunk>) {
        if let Some(thought) = delta.reasoning_content.filter(|text| !text.is_empty()) {
            self.chunks += 1;
            self.reasoning.push_str(&thought);
            fresh.push(Chunk::Reasoning(thought));
        }
        if let Some(text) = delta.content.filter(|text| !text.is_empty()) {
            self.chunks += 1;
            self.text.push_str(&text);
            fresh.push(Chunk::Text(text));
        }
        if let Some(calls) = delta.tool_calls.filter(|calls| !calls.is_null()) {
            self.chunks += 1;
            self.tool_calls.push(calls.clone());
            fresh.push(Chunk::ToolCalls(calls));
        }
    }
}

/// Reads an answer that was not streamed.
pub(super) fn from_body(body: &[u8], prompt_estimate: u64) -> Result<Answer, Problem> {
    let text = String::from_utf8_lossy(body);
    let bad_text = matches!(text, std::borrow::Cow::Owned(_));
    if let Some(error) = ApiError::parse(body) {
        return Err(Problem::ErrorEvent(error));
    }
    let response: ChatResponse =
        serde_json::from_str(&text).map_err(|_| Problem::Malformed(excerpt(&text)))?;
    let Some(choice) = response.choices.into_iter().next() else {
        return Err(Problem::Malformed(excerpt(&text)));
    };
    let finish = choice
        .finish_reason
        .as_deref()
        .map_or(Finish::Unknown, parse_finish);
    let text = choice.message.content.unwrap_or_default();
    let usage = Counted {
        usage: response.usage,
        prompt_estimate,
        chunks: (text.len() as u64).div_ceil(4),
    };
    Ok(usage.answer(
        finish,
        bad_text,
        Parts {
            text,
            reasoning: choice.message.reasoning_content.unwrap_or_default(),
            tool_calls: choice
                .message
                .tool_calls
                .filter(|calls| !calls.is_null())
                .into_iter()
                .collect(),
            model: response.model,
        },
    ))
}

/// The content of an answer.
struct Parts {
    text: String,
    reasoning: String,
    tool_calls: Vec<Value>,
    model: Option<String>,
}

/// The usage as sent by the server, and the estimates that replace it if it is missing or implausible.
struct Counted {
    usage: Option<Usage>,
    prompt_estimate: u64,
    chunks: u64,
}

/// A usage of this many tokens or more is taken for a server's mistake.
const IMPLAUSIBLE_TOKENS: u64 = 100_000_000;

impl Counted {
    fn answer(self, finish: Finish, bad_text: bool, parts: Parts) -> Answer {
        let counted = self
            .usage
            .filter(|usage| (1..IMPLAUSIBLE_TOKENS).contains(&usage.total()));
        Answer {
            shown: SafeText::new(&parts.text),
            text: parts.text,
            reasoning: parts.reasoning,
            tool_calls: parts.tool_calls,
            finish,
            usage: counted.unwrap_or_else(|| Usage::new(self.prompt_estimate, self.chunks)),
            estimated: counted.is_none(),
            model: parts.model,
            bad_text,
            fate: Fate::Answered,
            headers: None,
        }
    }
}

fn parse_finish(reason: &str) -> Finish {
    match reason {
        "stop" | "end_turn" | "eos" | "stop_sequence" => Finish::Stop,
        "length" | "max_tokens" => Finish::Length,
        "tool_calls" | "function_call" | "tool_use" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        _ => Finish::Unknown,
    }
}

/// The first 200 characters.
fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(events: &[&str]) -> (Assembler, Result<String, Problem>) {
        let mut assembler = Assembler::new(1 << 20);
        let mut text = String::new();
        for event in events {
            let mut fresh = Vec::new();
            if let Err(problem) = assembler.push(format!("data: {event}\n\n").as_bytes(), &mut fresh) {
                return (assembler, Err(problem));
            }
            for chunk in fresh {
                if let Chunk::Text(new) = chunk {
                    text.push_str(&new);
                }
            }
        }
        (assembler, Ok(text))
    }

    const HELLO: &str = r#"{"choices":[{"index":0,"delta":{"content":"hello"}}]}"#;
    const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

    #[test]
    fn complete_with_done_or_a_finish_reason_for_every_choice() {
        let (assembler, _) = stream(&[HELLO, STOP]);
        assert_eq!(assembler.finish(None, 3).unwrap().finish, Finish::Stop);
        let (assembler, _) = stream(&[HELLO, "[DONE]"]);
        assert_eq!(assembler.finish(None, 3).unwrap().finish, Finish::Unknown);
        // a finish reason, and then the transport breaks before [DONE]: unknown what is missing
        let (assembler, _) = stream(&[HELLO, STOP]);
        assert_eq!(
            assembler.finish(Some(false), 3),
            Err(Problem::Truncated { reset: false })
        );
        // after [DONE] a broken transport does not matter
        let (assembler, _) = stream(&[HELLO, STOP, "[DONE]"]);
        assert_eq!(assembler.finish(Some(true), 3).unwrap().text, "hello");
    }

    #[test]
    fn otherwise_truncated_and_without_events_empty() {
        let (assembler, _) = stream(&[HELLO]);
        assert_eq!(
            assembler.finish(None, 3),
            Err(Problem::Truncated { reset: false })
        );
        let second_open = r#"{"choices":[{"index":1,"delta":{"content":"x"}}]}"#;
        let (assembler, _) = stream(&[HELLO, second_open, STOP]);
        assert_eq!(
            assembler.finish(None, 3),
            Err(Problem::Truncated { reset: false })
        );
        let (assembler, _) = stream(&[]);
        assert_eq!(assembler.finish(None, 3), Err(Problem::Empty));
    }

    #[test]
    fn errors_inside_a_200_are_found() {
        let error =
            r#"{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}"#;
        let (_, result) = stream(&[HELLO, error]);
        assert!(matches!(result, Err(Problem::ErrorEvent(error)) if error.message.starts_with("Context")));
        let (_, result) = stream(&["{broken"]);
        assert_eq!(result, Err(Problem::Malformed("{broken".into())));
    }

    #[test]
    fn implausible_usage_is_replaced_by_an_estimate() {
        for odd in [
            r#"{"completion_tokens":-4}"#,
            r#"{"total_tokens":99999999999999}"#,
            r#""many""#,
        ] {
            let usage = format!(r#"{{"choices":[],"usage":{odd}}}"#);
            let (assembler, _) = stream(&[HELLO, STOP, &usage, "[DONE]"]);
            let answer = assembler.finish(None, 7).unwrap();
            assert_eq!(
                (answer.usage, answer.estimated),
                (Usage::new(7, 1), true),
                "{odd}"
            );
        }
    }

    #[test]
    fn reads_answers_that_are_not_streamed() {
        let body = br#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3},"model":"m"}"#;
        let answer = from_body(body, 9).unwrap();
        assert_eq!(
            (answer.text.as_str(), answer.usage, answer.estimated),
            ("hi", Usage::new(2, 1), false)
        );
        assert!(matches!(
            from_body(b"{\"choices\":[]}", 0),
            Err(Problem::Malformed(_))
        ));
        assert!(matches!(from_body(b"<html>", 0), Err(Problem::Malformed(_))));
    }

    #[test]
    fn rejects_a_body_that_exceeds_the_cap() {
        let mut assembler = Assembler::new(8);
        let too_large = Err(Problem::TooLarge(8));
        assert_eq!(assembler.push(b"data: 123456789", &mut Vec::new()), too_large);
        assert_eq!(assembler.push(b"x", &mut Vec::new()), too_large);
    }

    #[test]
    fn chunks_before_a_problem_are_returned() {
        for bad in [r#"{"error":{"message":"boom"}}"#, "{broken"] {
            let mut assembler = Assembler::new(1 << 20);
            let mut fresh = Vec::new();
            let bytes = format!("data: {HELLO}\n\ndata: {bad}\n\n");
            assert!(assembler.push(bytes.as_bytes(), &mut fresh).is_err());
            assert_eq!(fresh, [Chunk::Text("hello".into())]);
        }
    }
}
