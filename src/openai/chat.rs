//! Requests and unstreamed answers of `/v1/chat/completions`.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The user's input.
    User,
    /// The model's answer.
    Assistant,
}

/// A plain-text message, for building requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: Role::User,
            content: content.into(),
        }
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self {
            role: Role::Assistant,
            content: content.into(),
        }
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Self {
        Self {
            role: Role::System,
            content: content.into(),
        }
    }
}

/// The body of a chat completion request: a JSON object with all its fields, known or not. Absent, `null` and a
/// default value stay distinct.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ChatRequest {
    body: Map<String, Value>,
}

/// A JSON value that is not a chat request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The body is not a JSON object.
    #[error("the request body must be a JSON object")]
    NotAnObject,
    /// `messages` is missing or not an array.
    #[error("'messages' must be an array of messages")]
    NoMessages,
    /// A field has the wrong type.
    #[error("field '{field}' must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// The expected type.
        expected: &'static str,
    },
}

impl ChatRequest {
    /// Creates a request with these messages and no other fields; the server applies its defaults.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        let messages: Vec<Value> = messages
            .into_iter()
            .map(|message| json!({ "role": message.role, "content": message.content }))
            .collect();
        let mut body = Map::new();
        body.insert("messages".into(), Value::Array(messages));
        Self { body }
    }

    /// Creates a request with one user message.
    pub fn prompt(text: impl Into<String>) -> Self {
        Self::new([Message::user(text)])
    }

    /// Sets any field, for fields without a method of their own.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body.insert(field.to_owned(), value.into());
        self
    }

    /// Sets the model.
    #[must_use]
    pub fn model(self, model: &str) -> Self {
        self.with("model", model)
    }

    /// Sets the sampling temperature; exactly 0 makes the answer cacheable.
    #[must_use]
    pub fn temperature(self, temperature: f64) -> Self {
        self.with("temperature", temperature)
    }

    /// Sets `max_tokens`, the limit of the answer in LLM tokens.
    #[must_use]
    pub fn max_tokens(self, max_tokens: u32) -> Self {
        self.with("max_tokens", max_tokens)
    }

    /// Sets the sampling seed, which makes the answer cacheable.
    #[must_use]
    pub fn seed(self, seed: i64) -> Self {
        self.with("seed", seed)
    }

    /// The body with all fields.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The value of a field, if present.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.body.get(field)
    }

    /// The requested model, if any.
    pub fn model_name(&self) -> Option<&str> {
        self.get("model")?.as_str()
    }

    /// The limit of the answer in LLM tokens: `max_tokens`, or its newer name `max_completion_tokens`.
    pub fn token_limit(&self) -> Option<u64> {
        self.get("max_tokens")
            .or_else(|| self.get("max_completion_tokens"))?
            .as_u64()
    }

    /// Returns true if `stream` is true.
    pub fn is_stream(&self) -> bool {
        self.get("stream").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The messages, unchanged.
    pub fn messages(&self) -> &[Value] {
        self.get("messages")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The text of the last user message, without parts that are not text.
    pub fn last_user_text(&self) -> String {
        let last = self
            .messages()
            .iter()
            .rev()
            .find(|message| message["role"] == "user");
        last.map(|message| text_of(&message["content"]))
            .unwrap_or_default()
    }

    /// Estimates the LLM tokens of the prompt without a tokenizer: one per four bytes, and four per message. The
    /// limiter settles the difference when the server reports usage.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        let bytes: usize = self
            .messages()
            .iter()
            .map(|message| text_of(&message["content"]).len())
            .sum();
        (bytes as u64).div_ceil(4) + 4 * self.messages().len() as u64
    }
}

/// The text of a `content` field: a string, or an array of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

impl TryFrom<Value> for ChatRequest {
    type Error = RequestError;

    fn try_from(value: Value) -> Result<Self, RequestError> {
        let Value::Object(body) = value else {
            return Err(RequestError::NotAnObject);
        };
        let request = Self { body };
        if !request.get("messages").is_some_and(Value::is_array) {
            return Err(RequestError::NoMessages);
        }
        let number = |field, expected| match request.get(field) {
            Some(value) if !(value.is_number() || value.is_null()) => {
                Err(RequestError::WrongType { field, expected })
            }
            _ => Ok(()),
        };
        number("temperature", "a number")?;
        number("max_tokens", "a whole number")?;
        if request
            .get("stream")
            .is_some_and(|value| !(value.is_boolean() || value.is_null()))
        {
            return Err(RequestError::WrongType {
                field: "stream",
                expected: "true or false",
            });
        }
        Ok(request)
    }
}

/// The LLM tokens of a call, as counted by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens in the prompt.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens in the answer.
    #[serde(default)]
    pub completion_tokens: u64,
    /// The sum reported by the server; 0 if it reports none.
    #[serde(default)]
    pub total_tokens: u64,
}

impl Usage {
    /// Creates a usage of `prompt` and `completion` tokens.
    pub fn new(prompt: u64, completion: u64) -> Self {
        Self {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt.saturating_add(completion),
        }
    }

    /// Tokens in prompt and answer: the larger of the reported and the computed sum.
    pub fn total(&self) -> u64 {
        self.total_tokens
            .max(self.prompt_tokens.saturating_add(self.completion_tokens))
    }
}

/// Treats malformed usage as missing: an estimate is better, and the answer must not fail because of it.
pub(super) fn lenient_usage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Usage>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// An unstreamed answer, reduced to the fields that seawall reads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ChatResponse {
    /// The model name reported by the server.
    #[serde(default)]
    pub model: Option<String>,
    /// One entry per requested answer.
    #[serde(default)]
    pub choices: Vec<ResponseChoice>,
    /// The tokens used, if reported.
    #[serde(default, deserialize_with = "lenient_usage")]
    pub usage: Option<Usage>,
}

/// One answer of a response.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ResponseChoice {
    /// The message, with the same fields as a stream increment.
    #[serde(default)]
    pub message: super::Delta,
    /// The reason for the end: `stop`, `length`, ...
    #[serde(default)]
    pub finish_reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_kept() {
        let value = json!({ "messages": [], "top_k": 40, "user": null });
        let request = ChatRequest::try_from(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), value);
    }

    #[test]
    fn errors_name_the_field() {
        let bad = json!({ "messages": [], "temperature": "hot" });
        let error = ChatRequest::try_from(bad).unwrap_err();
        assert_eq!(error.to_string(), "field 'temperature' must be a number");
        assert_eq!(
            ChatRequest::try_from(json!({})).unwrap_err(),
            RequestError::NoMessages
        );
    }

    #[test]
    fn the_last_user_text_reads_parts() {
        let value = json!({ "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "image_url" }] },
            { "role": "assistant", "content": "b" },
        ]});
        assert_eq!(ChatRequest::try_from(value).unwrap().last_user_text(), "a");
    }

    #[test]
    fn usage_takes_the_larger_count_where_the_server_contradicts_itself() {
        let usage = Usage {
            prompt_tokens: 3,
            completion_tokens: 4,
            total_tokens: 0,
        };
        assert_eq!(usage.total(), 7);
        assert_eq!(
            Usage {
                prompt_tokens: u64::MAX,
                completion_tokens: 4,
                total_tokens: 0
            }
            .total(),
            u64::MAX
        );
    }
}
