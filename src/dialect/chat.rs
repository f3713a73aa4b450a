//! Chat completions: the terms of the core.

use serde_json::{Map, Value};

use super::{ErrorText, Reading, WireFormat, openai_error};

pub(super) struct Chat;

impl WireFormat for Chat {
    fn view(&self, body: &mut Map<String, Value>) {
        body.entry("messages").or_insert_with(|| Value::Array(Vec::new()));
    }

    fn read(&self, _name: &str, value: Value) -> Reading {
        Reading::chunk(value)
    }

    fn error(&self, error: &ErrorText<'_>) -> Value {
        openai_error(error)
    }
}
