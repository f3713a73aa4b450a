//! Requests and unstreamed answers of `/v1/chat/completions`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Instructions.
    System,
    /// Instructions, under the name that newer OpenAI models use.
    Developer,
    /// The user's input.
    User,
    /// The model's answer.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// A message of a request: a JSON object with all its fields, known or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Message {
    fields: Map<String, Value>,
}

impl Message {
    /// A message with this content: a text, a list of parts, or null.
    pub fn new(role: Role, content: impl Into<Value>) -> Self {
        let fields = Map::from_iter([
            ("role".to_owned(), json!(role)),
            ("content".to_owned(), content.into()),
        ]);
        Self { fields }
    }

    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content.into())
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content.into())
    }

    /// A message of the model that consists of tool calls: `content` is null, as the API requires it.
    pub fn tool_calls(calls: impl IntoIterator<Item = Value>) -> Self {
        let calls: Vec<Value> = calls.into_iter().collect();
        Self::new(Role::Assistant, Value::Null).with("tool_calls", calls)
    }

    /// The result of the tool call with this `id`.
    pub fn tool(id: impl Into<String>, content: impl Into<String>) -> Self {
        Self::new(Role::Tool, content.into()).with("tool_call_id", id.into())
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content.into())
    }

    /// A developer message.
    pub fn developer(content: impl Into<String>) -> Self {
        Self::new(Role::Developer, content.into())
    }

    /// Sets any field, such as `name` or `content`.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// The value of a field, if present.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        Self::Object(message.fields)
    }
}

/// The body of a chat completion request: a JSON object with all its fields, known or not. Absent, `null` and a
/// default value stay distinct in the body and in cache keys; where a field is read, `null` counts as absent.
///
/// Reading one from JSON, or from a type of your own with `ChatRequest::try_from(serde_json::to_value(&mine)?)`,
/// [validates](Self::validate) it.
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
    /// A message, or a field of it, has the wrong type.
    #[error("'messages[{index}]{field}' must be {expected}")]
    BadMessage {
        /// The position of the message, from 0.
        index: usize,
        /// The field with a dot before it; empty for the message itself.
        field: &'static str,
        /// The expected type.
        expected: &'static str,
    },
}

/// A type that a field may have besides null.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Number,
    Whole,
    Switch,
    Object,
    List,
    TextOrList,
}

/// The fields whose type is checked: those that seawall reads, and those that servers fail on with a 500 or an
/// unclear message. An unknown field may have any type.
const FIELDS: &[(&str, Shape)] = &[
    ("model", Shape::Text),
    ("temperature", Shape::Number),
    ("top_p", Shape::Number),
    ("presence_penalty", Shape::Number),
    ("frequency_penalty", Shape::Number),
    ("max_tokens", Shape::Whole),
    ("max_completion_tokens", Shape::Whole),
    ("n", Shape::Whole),
    ("seed", Shape::Whole),
    ("stream", Shape::Switch),
    ("stream_options", Shape::Object),
    ("stop", Shape::TextOrList),
    ("tools", Shape::List),
    ("response_format", Shape::Object),
];

/// The same for the fields of a message.
const MESSAGE_FIELDS: &[(&str, Shape)] = &[
    (".role", Shape::Text),
    (".content", Shape::TextOrList),
    (".tool_calls", Shape::List),
    (".tool_call_id", Shape::Text),
];

impl Shape {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Number => value.is_number(),
            Self::Whole => is_whole(value),
            Self::Switch => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::List => value.is_array(),
            Self::TextOrList => value.is_string() || value.is_array(),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Whole => "a whole number",
            Self::Switch => "true or false",
            Self::Object => "an object",
            Self::List => "an array",
            Self::TextOrList => "a text or an array",
        }
    }
}

/// Returns true for an integer in any notation: 256 and 256.0.
fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

impl ChatRequest {
    /// Creates a request with these messages and no other fields; the server applies its defaults.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        let messages = messages.into_iter().map(Value::from).collect();
        let mut body = Map::new();
        body.insert("messages".into(), Value::Array(messages));
        Self { body }
    }

    /// Creates a request from a body that is sent as it is: the server judges it.
    pub(crate) fn unchecked(body: Map<String, Value>) -> Self {
        Self { body }
    }

    /// Creates a request with one user message.
    pub fn prompt(text: impl Into<String>) -> Self {
        Self::new([Message::user(text)])
    }

    /// Appends a message, such as the answer so far or the result of a tool call.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        if let Some(Value::Array(messages)) = self.body.get_mut("messages") {
            messages.push(message.into());
        }
        self
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

    /// Sets `stream`. Without it the server sends the answer as a whole.
    #[must_use]
    pub fn stream(self, stream: bool) -> Self {
        self.with("stream", stream)
    }

    /// The body with all fields.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The value of a field, if present.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.body.get(field)
    }

    /// The value of a field, if present and not null.
    fn set(&self, field: &str) -> Option<&Value> {
        self.get(field).filter(|value| !value.is_null())
    }

    /// The requested model, if any.
    pub fn model_name(&self) -> Option<&str> {
        self.get("model")?.as_str()
    }

    /// The limit of the answer in LLM tokens: `max_tokens`, or its newer name `max_completion_tokens`. `None` for a
    /// negative one, which servers take for unlimited.
    pub fn token_limit(&self) -> Option<u64> {
        let limit = self.limit_field()?;
        limit.as_u64().or_else(|| {
            limit
                .as_f64()
                .filter(|limit| *limit >= 0.0)
                .map(|limit| limit as u64)
        })
    }

    fn limit_field(&self) -> Option<&Value> {
        self.set("max_tokens")
            .or_else(|| self.set("max_completion_tokens"))
    }

    /// Sets the model, and this field with the limit of the answer, where the request names none.
    pub(crate) fn with_defaults(&self, model: Option<&str>, limit: Option<(&str, u32)>) -> Cow<'_, Self> {
        let mut full = Cow::Borrowed(self);
        if let Some(model) = model
            && self.set("model").is_none()
        {
            full = Cow::Owned(full.into_owned().model(model));
        }
        if let Some((field, limit)) = limit
            && self.limit_field().is_none()
        {
            full = Cow::Owned(full.into_owned().with(field, limit));
        }
        full
    }

    /// Checks the types of the fields that seawall reads and of those that servers trip over. Absent and `null` are
    /// valid, and so is any unknown field.
    ///
    /// # Errors
    /// Names the first field of a wrong type.
    pub fn validate(&self) -> Result<(), RequestError> {
        let Some(Value::Array(messages)) = self.get("messages") else {
            return Err(RequestError::NoMessages);
        };
        for (index, message) in messages.iter().enumerate() {
            let bad = |field, expected| RequestError::BadMessage {
                index,
                field,
                expected,
            };
            if !message.is_object() {
                return Err(bad("", Shape::Object.expected()));
            }
            for (field, shape) in MESSAGE_FIELDS {
                let value = &message[field.trim_start_matches('.')];
                if !(value.is_null() || shape.fits(value)) {
                    return Err(bad(field, shape.expected()));
                }
            }
        }
        for (field, shape) in FIELDS {
            if self.set(field).is_some_and(|value| !shape.fits(value)) {
                let expected = shape.expected();
                return Err(RequestError::WrongType { field, expected });
            }
        }
        Ok(())
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
    pub fn last_user_text(&self) -> Cow<'_, str> {
        let last = self
            .messages()
            .iter()
            .rev()
            .find(|message| message["role"] == "user");
        last.map(|message| text_of(&message["content"]))
            .unwrap_or_default()
    }

    /// Estimates the LLM tokens of the prompt without a tokenizer: one per four bytes of text, tool calls and tool
    /// definitions, and four per message. The limiter settles the difference when the server reports usage.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        let json = |value: &Value| {
            if value.is_null() {
                0
            } else {
                value.to_string().len()
            }
        };
        let messages = self.messages().iter();
        let bytes = messages.map(|message| text_of(&message["content"]).len() + json(&message["tool_calls"]));
        let bytes = bytes.sum::<usize>() + self.get("tools").map_or(0, json);
        (bytes as u64).div_ceil(4) + 4 * self.messages().len() as u64
    }
}

/// The text of a `content` field: a string, or an array of parts.
fn text_of(content: &Value) -> Cow<'_, str> {
    match content {
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n")
            .into(),
        _ => Cow::Borrowed(""),
    }
}

impl TryFrom<Value> for ChatRequest {
    type Error = RequestError;

    fn try_from(value: Value) -> Result<Self, RequestError> {
        let Value::Object(body) = value else {
            return Err(RequestError::NotAnObject);
        };
        let request = Self { body };
        request.validate()?;
        Ok(request)
    }
}

impl<'de> Deserialize<'de> for ChatRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_kept() {
        let value = json!({ "messages": [], "top_k": 40, "user": null });
        let request = ChatRequest::try_from(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), value);
        assert_eq!(serde_json::from_value::<ChatRequest>(value).unwrap(), request);
        let error = serde_json::from_str::<ChatRequest>(r#"{"messages":[],"n":"two"}"#).unwrap_err();
        assert_eq!(error.to_string(), "field 'n' must be a whole number");
    }

    #[test]
    fn errors_name_the_field() {
        for (field, value, expected) in [
            ("model", json!(4), "field 'model' must be a text"),
            (
                "temperature",
                json!("hot"),
                "field 'temperature' must be a number",
            ),
            ("top_p", json!([]), "field 'top_p' must be a number"),
            (
                "max_tokens",
                json!("9"),
                "field 'max_tokens' must be a whole number",
            ),
            (
                "max_tokens",
                json!(0.5),
                "field 'max_tokens' must be a whole number",
            ),
            (
                "max_completion_tokens",
                json!(true),
                "field 'max_completion_tokens' must be a whole number",
            ),
            ("seed", json!("7"), "field 'seed' must be a whole number"),
            ("stream", json!(1), "field 'stream' must be true or false"),
            (
                "stream_options",
                json!(true),
                "field 'stream_options' must be an object",
            ),
            ("stop", json!({}), "field 'stop' must be a text or an array"),
            ("tools", json!({}), "field 'tools' must be an array"),
            ("messages", json!("hi"), "'messages' must be an array of messages"),
            ("messages", json!(["hi"]), "'messages[0]' must be an object"),
            (
                "messages",
                json!([{}, { "role": 1 }]),
                "'messages[1].role' must be a text",
            ),
            (
                "messages",
                json!([{ "content": 5 }]),
                "'messages[0].content' must be a text or an array",
            ),
            (
                "messages",
                json!([{ "tool_calls": {} }]),
                "'messages[0].tool_calls' must be an array",
            ),
        ] {
            let request = ChatRequest::prompt("hi").with(field, value);
            let read = ChatRequest::try_from(serde_json::to_value(&request).unwrap());
            assert_eq!(read.unwrap_err().to_string(), expected);
            assert_eq!(request.validate().unwrap_err().to_string(), expected);
            let null = ChatRequest::prompt("hi").with(field, Value::Null);
            assert_eq!(null.validate().is_ok(), field != "messages", "{field}: null");
        }
        assert_eq!(
            ChatRequest::try_from(json!({})).unwrap_err(),
            RequestError::NoMessages
        );
        assert_eq!(
            ChatRequest::try_from(json!([])).unwrap_err(),
            RequestError::NotAnObject
        );
    }

    #[test]
    fn a_limit_of_null_is_absent() {
        for (limits, expected, filled) in [
            (json!({}), None, Some(9)),
            (json!({ "max_tokens": null }), None, Some(9)),
            (
                json!({ "max_tokens": null, "max_completion_tokens": 5 }),
                Some(5),
                Some(5),
            ),
            (
                json!({ "max_tokens": 4, "max_completion_tokens": 5 }),
                Some(4),
                Some(4),
            ),
            (json!({ "max_tokens": 256.0 }), Some(256), Some(256)),
            (json!({ "max_tokens": -1 }), None, None),
            (json!({ "max_tokens": 0 }), Some(0), Some(0)),
        ] {
            let mut request = ChatRequest::prompt("hi").with("model", Value::Null);
            for (field, value) in limits.as_object().unwrap() {
                request = request.with(field, value.clone());
            }
            assert_eq!(request.token_limit(), expected, "{limits}");
            let full = request.with_defaults(Some("m"), Some(("max_completion_tokens", 9)));
            assert_eq!(full.token_limit(), filled, "{limits}");
            assert_eq!(full.model_name(), Some("m"));
            assert_eq!(request.with_defaults(None, None).as_ref(), &request);
        }
        let own = ChatRequest::prompt("hi").model("own");
        assert_eq!(own.with_defaults(Some("m"), None).model_name(), Some("own"));
    }

    #[test]
    fn tool_calls_and_their_results_are_messages() {
        let call =
            json!({ "id": "c1", "type": "function", "function": { "name": "now", "arguments": "{}" } });
        let request = ChatRequest::new([Message::developer("Be brief."), Message::user("What time is it?")])
            .message(Message::tool_calls([call.clone()]))
            .message(Message::tool("c1", "noon").with("name", "now"));
        let expected = json!([
            { "role": "developer", "content": "Be brief." },
            { "role": "user", "content": "What time is it?" },
            { "role": "assistant", "content": null, "tool_calls": [call] },
            { "role": "tool", "content": "noon", "tool_call_id": "c1", "name": "now" },
        ]);
        assert_eq!(request.get("messages"), Some(&expected));
        assert_eq!(request.last_user_text(), "What time is it?");
        request.validate().unwrap();
        let text = "Be brief.What time is it?noon".len() + expected[2]["tool_calls"].to_string().len();
        assert_eq!(
            request.estimated_prompt_tokens(),
            (text as u64).div_ceil(4) + 4 * 4
        );
        let tools = request.clone().with("tools", json!([{ "type": "function" }]));
        assert!(tools.estimated_prompt_tokens() > request.estimated_prompt_tokens());
        let read: Vec<Message> = serde_json::from_value(expected).unwrap();
        assert_eq!(ChatRequest::new(read).messages(), request.messages());
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
