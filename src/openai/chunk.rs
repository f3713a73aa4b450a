//! An answer as servers send it: a chunk of a stream, or a whole body, which is a single chunk.
//!
//! The reader is lenient: `null` is absent, what has an unexpected shape is passed over, and the rest counts.
//! Unknown fields stay in `rest`, for callers of the library.

use serde_json::{Map, Value};

use super::json::{self, Parsed};
use super::{ApiError, Usage};

/// One chunk of a stream, or a whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ChatChunk {
    /// The model name reported by the server.
    pub model: Option<String>,
    /// Increments, one per answer; empty in the usage chunk.
    pub choices: Vec<Choice>,
    /// The tokens used, if reported.
    pub usage: Option<Usage>,
    /// An error sent under a success status, in any shape that [`ApiError::in_answer`] knows.
    pub error: Option<ApiError>,
    /// The fields not read above, and `usage` if it holds details.
    pub rest: Map<String, Value>,
}

/// The increment of one answer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Choice {
    /// The index of the answer; its position in the chunk if the server names none.
    pub index: u64,
    /// The new content.
    pub delta: Delta,
    /// True if the content is a message, which is whole or states again what increments said before.
    pub(crate) is_message: bool,
    /// The reason for the end: `stop`, `length`, ... Never empty, `null` or `none`, which some servers send before
    /// the end.
    pub finish_reason: Option<String>,
    /// An error inside the choice (OpenRouter).
    pub error: Option<ApiError>,
    /// The other fields.
    pub rest: Map<String, Value>,
}

/// The new content of an answer. Texts are empty if absent.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Delta {
    /// The text, or the transcript of spoken audio.
    pub text: String,
    /// The reasoning of a model that sends it separately: `reasoning_content`, `reasoning` or thinking parts.
    pub reasoning: String,
    /// The words in which the model refuses to answer.
    pub refusal: String,
    /// Fragments of tool calls, without empty ones.
    pub tool_calls: Vec<Value>,
    /// The other fields.
    pub rest: Map<String, Value>,
}

impl ChatChunk {
    /// Reads the JSON of one event or body; `None` if it holds no object.
    pub fn read(text: &str) -> Option<Self> {
        let mut parsed = json::parse(text);
        for value in &mut parsed.values {
            json::join_halves(value);
        }
        Self::all(parsed).into_iter().next()
    }

    /// The chunks among the values of an event. Texts may hold surrogate halves.
    pub(crate) fn all(parsed: Parsed) -> Vec<Self> {
        let flat = parsed.values.into_iter().flat_map(|value| match value {
            Value::Array(values) => values,
            // JSON that was encoded twice
            Value::String(text) => serde_json::from_str(&text).into_iter().collect(),
            value => vec![value],
        });
        flat.filter(Value::is_object).map(Self::from).collect()
    }

    /// Returns true if it has anything to report, so that it proves progress.
    pub(crate) fn is_progress(&self) -> bool {
        !self.choices.is_empty() || self.usage.is_some() || self.error.is_some()
    }
}

impl From<Value> for ChatChunk {
    fn from(value: Value) -> Self {
        let mut error = ApiError::in_answer(&value);
        let mut rest = object(value);
        if let Some(inner) = enclosed(&mut rest) {
            error = error.or_else(|| ApiError::in_answer(&inner));
            rest = object(inner);
        }
        let choices = match rest.remove("choices") {
            Some(Value::Array(choices)) => choices,
            choice => choice.into_iter().collect(),
        };
        let choices = choices.into_iter().filter(Value::is_object).enumerate();
        let choices: Vec<Choice> = choices
            .map(|(position, choice)| Choice::read(choice, position as u64))
            .collect();
        let usage = rest.get("usage").and_then(Usage::read).or_else(|| {
            // Groq and Moonshot report it in other places
            let groq = rest.get("x_groq").and_then(|groq| groq.get("usage"));
            let in_choice = choices.iter().find_map(|choice| choice.rest.get("usage"));
            groq.or(in_choice).and_then(Usage::read)
        });
        let has_details = |usage: &Value| {
            let known = ["prompt_tokens", "completion_tokens", "total_tokens"];
            let mut keys = usage.as_object().into_iter().flat_map(Map::keys);
            keys.any(|key| !known.contains(&key.as_str()))
        };
        if !rest.get("usage").is_some_and(has_details) {
            rest.remove("usage");
        }
        Self {
            model: string(&mut rest, "model"),
            choices,
            usage,
            error,
            rest,
        }
    }
}

impl Choice {
    fn read(value: Value, position: u64) -> Self {
        let mut rest = object(value);
        let index = rest.remove("index").as_ref().and_then(whole_number);
        let mut words = None;
        let reason = ["finish_reason", "finishReason"].map(|name| rest.remove(name));
        let reason = match reason.into_iter().flatten().find(|reason| !is_empty(reason)) {
            Some(Value::String(reason)) => Some(reason),
            // SGLang: {"type": "abort", "message": ".."}
            Some(Value::Object(mut reason)) => {
                words = reason.get("message").filter(|words| !is_empty(words)).cloned();
                words = words.map(|_| Value::Object(reason.clone()));
                string(&mut reason, "type")
            }
            _ => None,
        };
        let absent =
            |reason: &str| matches!(reason.trim().to_ascii_lowercase().as_str(), "" | "null" | "none");
        let mut delta = Delta::read(rest.remove("delta").unwrap_or_default());
        // a whole answer has a message, Perplexity sends both; legacy completions have a text
        let message = rest.remove("message").filter(|_| delta.is_empty());
        let is_message = message.as_ref().is_some_and(|message| !is_empty(message));
        if let Some(message) = message.filter(|_| is_message) {
            let rest = std::mem::take(&mut delta.rest);
            delta = Delta::read(message);
            delta.rest.extend(rest);
        }
        let errors = [rest.remove("error"), delta.rest.remove("error"), words];
        let error = errors.into_iter().flatten().find_map(|error| {
            let wrapped = Value::Object(Map::from_iter([("error".to_owned(), error)]));
            ApiError::in_answer(&wrapped)
        });
        if delta.text.is_empty()
            && let Some(text) = string(&mut rest, "text")
        {
            delta.text = text;
        }
        Self {
            index: index.unwrap_or(position),
            delta,
            is_message,
            finish_reason: reason.filter(|reason| !absent(reason)),
            error,
            rest,
        }
    }
}

impl Delta {
    fn read(value: Value) -> Self {
        if let Value::String(text) = value {
            return Self {
                text,
                ..Self::default()
            };
        }
        let mut rest = object(value);
        let mut delta = Self::default();
        // some servers send the same reasoning under several names
        for name in REASONING {
            let Some(reasoning) = rest.remove(name) else {
                continue;
            };
            // blocks with signatures must be sent back
            if reasoning.is_array() {
                rest.insert(name.into(), reasoning.clone());
            }
            if delta.reasoning.is_empty() {
                delta.reasoning = text_of(reasoning);
            }
        }
        if let Some(content) = rest.remove("content") {
            delta.content(content);
        }
        if delta.text.is_empty() {
            delta.text = string(&mut rest, "text").unwrap_or_default();
        }
        delta
            .refusal
            .push_str(&string(&mut rest, "refusal").unwrap_or_default());
        if let Some(Value::Object(audio)) = rest.get_mut("audio")
            && let Some(transcript) = string(audio, "transcript")
        {
            delta.text.push_str(&transcript);
        }
        // always the assistant's
        rest.remove("role");
        delta.tool_calls = match rest.remove("tool_calls") {
            Some(Value::Array(calls)) => calls,
            call => call.into_iter().collect(),
        };
        // the legacy form of a tool call
        if let Some(function) = rest
            .remove("function_call")
            .filter(|function| !is_empty(function))
        {
            delta
                .tool_calls
                .push(serde_json::json!({ "index": 0, "type": "function", "function": function }));
        }
        let says_nothing = |call: &Map<String, Value>| call.keys().all(|key| key == "index");
        delta
            .tool_calls
            .retain(|call| call.as_object().is_some_and(|call| !says_nothing(call)));
        delta.rest = rest;
        delta
    }

    /// Adds `content`: a string, a part, or a list of both. Thinking parts (Mistral, Anthropic) are reasoning.
    fn content(&mut self, content: Value) {
        match content {
            Value::String(text) => self.text.push_str(&text),
            Value::Array(parts) => parts.into_iter().for_each(|part| self.content(part)),
            Value::Object(mut part) => {
                let kind = string(&mut part, "type").unwrap_or_default();
                let field = [
                    "text",
                    "thinking",
                    "refusal",
                    "content",
                    "reasoning",
                    "summary",
                    "transcript",
                    "value",
                    "parts",
                ]
                .into_iter()
                .find_map(|name| part.remove(name).filter(|value| !is_empty(value)));
                let text = field.map(text_of).unwrap_or_default();
                match kind.as_str() {
                    "thinking" | "reasoning" | "reasoning_content" => self.reasoning.push_str(&text),
                    "refusal" => self.refusal.push_str(&text),
                    _ => self.text.push_str(&text),
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns true if it has no content: it is neither a token nor delivered.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
            && self.reasoning.is_empty()
            && self.refusal.is_empty()
            && self.tool_calls.is_empty()
    }
}

impl Usage {
    /// Reads counts that are integers, floats or strings; `None` if the value holds no count.
    pub fn read(value: &Value) -> Option<Self> {
        let count = |names: [&str; 2]| names.into_iter().find_map(|name| whole_number(value.get(name)?));
        let (prompt, completion) = (
            count(["prompt_tokens", "input_tokens"]),
            count(["completion_tokens", "output_tokens"]),
        );
        let total = count(["total_tokens", "total"]);
        prompt.or(completion).or(total)?;
        Some(Self {
            prompt_tokens: prompt.unwrap_or(0),
            completion_tokens: completion.unwrap_or(0),
            total_tokens: total.unwrap_or(0),
        })
    }
}

/// Members that hold reasoning: DeepSeek, vLLM, Copilot, Ollama, LiteLLM, OpenRouter.
const REASONING: [&str; 6] = [
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "thinking",
    "thinking_blocks",
    "reasoning_details",
];

/// Takes the chunk out of an envelope, which gateways put around it (`result`: Cloudflare; `body`: AWS, as text).
fn enclosed(outer: &mut Map<String, Value>) -> Option<Value> {
    if outer.contains_key("choices") {
        return None;
    }
    ["data", "result", "response", "body"]
        .into_iter()
        .find_map(|name| {
            let inner = match outer.get(name)? {
                Value::String(text) => serde_json::from_str(text).ok()?,
                inner => inner.clone(),
            };
            let is_chunk = inner.get("choices").or(inner.get("error")).is_some();
            is_chunk.then(|| outer.remove(name)).map(|_| inner)
        })
}

/// The text of a string, or of parts within parts.
fn text_of(value: Value) -> String {
    let mut delta = Delta::default();
    delta.content(value);
    delta.text + &delta.reasoning
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Takes a string field; anything else in it stays where it is.
fn string(map: &mut Map<String, Value>, name: &str) -> Option<String> {
    match map.get_mut(name)? {
        Value::String(text) => {
            let text = std::mem::take(text);
            map.remove(name);
            Some(text)
        }
        _ => None,
    }
}

/// A count that is an integer, a float or a string.
pub(super) fn whole_number(value: &Value) -> Option<u64> {
    let float = match value {
        Value::Number(number) => return number.as_u64().or_else(|| whole_float(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    whole_float(float)
}

fn whole_float(float: f64) -> Option<u64> {
    // `as` saturates, and the range excludes what is not a count
    (0.0..1e18).contains(&float).then_some(float as u64)
}
