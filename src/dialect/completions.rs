//! Legacy completions: `prompt` instead of messages, `text` instead of a message.

use serde_json::{Map, Value};

use super::{ErrorText, Reading, WireFormat, openai_error, set, texts_of, user_messages};

pub(super) struct Completions;

impl WireFormat for Completions {
    fn view(&self, body: &mut Map<String, Value>) {
        let texts = body.get("prompt").map(texts_of).unwrap_or_default();
        set(body, "messages", user_messages(texts));
    }

    /// The reader of chat chunks knows `text` already.
    fn read(&self, _name: &str, value: Value) -> Reading {
        Reading::chunk(value)
    }

    fn error(&self, error: &ErrorText<'_>) -> Value {
        openai_error(error)
    }
}
