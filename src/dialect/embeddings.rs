//! Embeddings: texts in, vectors out, never streamed.

use serde_json::{Map, Value, json};

use super::{ErrorText, Reading, WireFormat, openai_error, set, texts_of, user_messages};

pub(super) struct Embeddings;

impl WireFormat for Embeddings {
    /// The same input has the same vectors: a request is deterministic, which chat requests state by temperature 0.
    fn view(&self, body: &mut Map<String, Value>) {
        let texts = body.get("input").map(texts_of).unwrap_or_default();
        set(body, "messages", user_messages(texts));
        set(body, "max_tokens", json!(0));
        set(body, "temperature", json!(0));
    }

    fn read(&self, _name: &str, mut value: Value) -> Reading {
        let Some(vectors) = value.get("data").and_then(Value::as_array).map(Vec::len) else {
            return Reading::chunk(value);
        };
        let noun = if vectors == 1 { "vector" } else { "vectors" };
        let usage = value.get_mut("usage").map(Value::take);
        Reading::chunk(json!({
            "model": value["model"],
            "usage": usage,
            "choices": [{
                "index": 0,
                "message": { "content": format!("{vectors} {noun}") },
                "finish_reason": "stop",
            }],
        }))
    }

    fn error(&self, error: &ErrorText<'_>) -> Value {
        openai_error(error)
    }
}
