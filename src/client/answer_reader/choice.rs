//! One choice of an answer, from its increments.

use serde_json::{Map, Value, json};

use crate::client::answer::{AnswerChoice, Chunk};
use crate::event::Finish;
use crate::openai::{ApiError, Choice, Halves, ToolCalls, join_halves, merge_fields};

/// One choice so far.
#[derive(Debug, Default)]
pub(super) struct ChoiceReader {
    text: PartialText,
    reasoning: PartialText,
    refusal: PartialText,
    tool_calls: ToolCalls,
    has_halves: bool,
    finish: Option<Finish>,
    /// True if a finish reason came with content, and then another one with more: it proves nothing.
    is_reopened: bool,
    /// True if content came in increments.
    has_deltas: bool,
    /// The fields that seawall does not know, and those of the message under `message`.
    fields: Map<String, Value>,
}

/// A text whose last character may be half of a surrogate pair.
#[derive(Debug, Default)]
struct PartialText {
    text: String,
    halves: Halves,
}

impl PartialText {
    fn push(&mut self, piece: String, has_halves: bool, chunk: fn(String) -> Chunk, fresh: &mut Vec<Chunk>) {
        let piece = self.halves.join(piece, has_halves);
        self.add(piece, chunk, fresh);
    }

    /// Removes the text so far from a whole text that repeats it.
    fn remove_repeated(&self, whole: &mut String) {
        if let Some(new) = whole.strip_prefix(&self.text) {
            *whole = new.to_owned();
        } else if self.text.contains(whole.trim()) {
            whole.clear();
        }
    }

    fn end(&mut self, chunk: fn(String) -> Chunk, fresh: &mut Vec<Chunk>) {
        let piece = self.halves.end();
        self.add(piece, chunk, fresh);
    }

    fn add(&mut self, piece: String, chunk: fn(String) -> Chunk, fresh: &mut Vec<Chunk>) {
        if !piece.is_empty() {
            self.text.push_str(&piece);
            fresh.push(chunk(piece));
        }
    }
}

impl ChoiceReader {
    /// Reads an increment and appends its chunks to `fresh`; returns the error that it reports.
    pub(super) fn read(
        &mut self,
        choice: Choice,
        has_halves: bool,
        fresh: &mut Vec<Chunk>,
    ) -> Option<ApiError> {
        let mut delta = choice.delta;
        if choice.is_message && self.has_deltas {
            self.text.remove_repeated(&mut delta.text);
            self.reasoning.remove_repeated(&mut delta.reasoning);
            self.refusal.remove_repeated(&mut delta.refusal);
            if !self.tool_calls.is_empty() {
                delta.tool_calls.clear();
            }
        }
        self.has_deltas |= !delta.is_empty() && !choice.is_message;
        if choice.finish_reason.is_some() {
            self.is_reopened = self.finish.is_some() && !delta.is_empty();
        }
        self.has_halves |= has_halves;
        self.reasoning
            .push(delta.reasoning, has_halves, Chunk::Reasoning, fresh);
        self.text.push(delta.text, has_halves, Chunk::Text, fresh);
        self.refusal
            .push(delta.refusal, has_halves, Chunk::Refusal, fresh);
        if !delta.tool_calls.is_empty() {
            let mut fragments = Value::Array(delta.tool_calls.clone());
            if has_halves {
                join_halves(&mut fragments);
            }
            fresh.push(Chunk::ToolCalls(fragments));
            delta
                .tool_calls
                .into_iter()
                .for_each(|fragment| self.tool_calls.merge(fragment));
        }
        // OpenRouter may say `stop` for a provider that failed
        let native = choice.rest.get("native_finish_reason").and_then(Value::as_str);
        let native = native.filter(|native| parse_finish(native).is_none());
        let native = native.map(str::to_owned);
        merge_fields(&mut self.fields, choice.rest);
        if !delta.rest.is_empty() {
            merge_fields(
                &mut self.fields,
                Map::from_iter([("message".into(), Value::Object(delta.rest))]),
            );
        }
        let Some(reason) = choice.finish_reason else {
            return choice.error;
        };
        let reason = native.unwrap_or(reason);
        match parse_finish(&reason) {
            // some servers end twice
            Some(Finish::Stop) if self.finish == Some(Finish::ToolCalls) => choice.error,
            Some(finish) => {
                self.finish = Some(finish);
                self.fields.insert("finish_reason".into(), reason.into());
                choice.error
            }
            None => Some(choice.error.unwrap_or_else(|| ApiError {
                message: format!("finish reason: {reason}"),
                kind: reason,
                ..ApiError::default()
            })),
        }
    }

    /// Ends the texts: half a character becomes U+FFFD.
    pub(super) fn end(&mut self, fresh: &mut Vec<Chunk>) {
        self.reasoning.end(Chunk::Reasoning, fresh);
        self.text.end(Chunk::Text, fresh);
        self.refusal.end(Chunk::Refusal, fresh);
    }

    /// Returns true if the choice has its finish reason. If it comes with all content, the stream must be `done`.
    pub(super) fn has_ended(&self, done: bool) -> bool {
        self.finish.is_some() && (done || !self.is_reopened)
    }

    /// Length of all texts in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        self.text.text.len() + self.reasoning.text.len() + self.refusal.text.len()
    }

    /// The choice, its unknown fields, and true if half a character was replaced.
    pub(super) fn finish(mut self, index: u64) -> (AnswerChoice, Value, bool) {
        let mut fields = Value::Object(self.fields);
        let mut tool_calls = self.tool_calls.into_values();
        let texts = [&self.text, &self.reasoning, &self.refusal];
        let mut replaced = texts.into_iter().any(|text| text.halves.replaced);
        if self.has_halves {
            replaced |= join_halves(&mut fields);
            replaced |= tool_calls
                .iter_mut()
                .fold(false, |bad, call| join_halves(call) | bad);
        }
        if !self.refusal.text.is_empty() {
            self.finish = Some(Finish::Refusal);
        }
        fields["index"] = json!(index);
        let choice = AnswerChoice {
            index,
            text: self.text.text,
            reasoning: self.reasoning.text,
            refusal: self.refusal.text,
            tool_calls,
            finish: self.finish.unwrap_or(Finish::Unknown),
        };
        (choice, fields, replaced)
    }
}

/// Parts of finish reasons that report a failure: OpenRouter, vLLM and SGLang, Zhipu, DeepSeek, Cohere, gateways,
/// Gemini (`function_call_filter: MALFORMED_FUNCTION_CALL`).
const FAILURES: [&str; 11] = [
    "error",
    "abort",
    "cancel",
    "fail",
    "timeout",
    "timed_out",
    "exception",
    "insufficient",
    "unavailable",
    "malformed",
    "unexpected",
];

/// The finish reason; `None` if it reports a failure. A reason that is not known is one of success.
fn parse_finish(reason: &str) -> Option<Finish> {
    let reason = reason.trim().to_ascii_lowercase();
    // Gemini: "content_filter: PROHIBITED_CONTENT"
    let kind = reason.split(':').next().unwrap_or_default();
    Some(match kind {
        "stop" | "end_turn" | "eos" | "eos_token" | "stop_sequence" | "complete" | "completed" => {
            Finish::Stop
        }
        "length" | "max_tokens" | "max_output_tokens" | "model_length" | "model_context_window_exceeded" => {
            Finish::Length
        }
        "tool_calls" | "tool_call" | "function_call" | "tool_use" => Finish::ToolCalls,
        // the last four are Gemini's, `sensitive` is Zhipu's, `guardrail_intervened` is Bedrock's
        "content_filter"
        | "content_filtered"
        | "sensitive"
        | "guardrail_intervened"
        | "safety"
        | "recitation"
        | "prohibited_content"
        | "blocklist" => Finish::ContentFilter,
        "refusal" => Finish::Refusal,
        _ if FAILURES.iter().any(|part| reason.contains(part)) => return None,
        _ => Finish::Unknown,
    })
}
