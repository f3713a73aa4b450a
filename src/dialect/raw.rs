//! Endpoints that are passed through unread.

use serde_json::{Map, Value, json};

use super::{ErrorText, Reading, WireFormat};

/// The format of errors alone.
pub(super) struct Raw(pub(super) fn(&ErrorText<'_>) -> Value);

impl WireFormat for Raw {
    /// Nothing of the body counts: the request is neither cached nor shared.
    fn view(&self, body: &mut Map<String, Value>) {
        body.clear();
        body.insert("messages".to_owned(), json!([]));
        body.insert("max_tokens".to_owned(), json!(0));
    }

    fn read(&self, _name: &str, _value: Value) -> Reading {
        Reading::default()
    }

    fn error(&self, error: &ErrorText<'_>) -> Value {
        (self.0)(error)
    }
}
