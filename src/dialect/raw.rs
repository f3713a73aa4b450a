//! Endpoints that are passed through unread.

use serde_json::{Map, Value, json};

use super::messages::anthropic_error;
use super::{ErrorText, Reading, WireFormat, openai_error};

pub(super) struct Raw;
pub(super) struct RawMessages;

/// Nothing of the body counts: the request is neither cached nor shared.
fn nothing(body: &mut Map<String, Value>) {
    body.clear();
    body.insert("messages".to_owned(), json!([]));
    body.insert("max_tokens".to_owned(), json!(0));
}

impl WireFormat for Raw {
    fn view(&self, body: &mut Map<String, Value>) {
        nothing(body);
    }

    fn read(&self, _name: &str, _value: Value) -> Reading {
        Reading::default()
    }

    fn error(&self, error: &ErrorText<'_>) -> Value {
        openai_error(error)
    }
}

impl WireFormat for RawMessages {
    fn view(&self, body: &mut Map<String, Value>) {
        nothing(body);
    }

    fn read(&self, _name: &str, _value: Value) -> Reading {
        Reading::default()
    }

    fn error(&self, error: &ErrorText<'_>) -> Value {
        anthropic_error(error)
    }
}
