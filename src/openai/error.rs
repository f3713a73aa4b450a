//! Error bodies in the formats that servers use.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The content of an error body. [`ApiError::parse`] reads `{"error":{..}}`, `{"error":"text"}` and
/// `{"detail":".."}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ApiError {
    /// The message for humans.
    #[serde(default, deserialize_with = "loose_string")]
    pub message: String,
    /// The most reliable field to match on: `rate_limit_error`, `exceed_context_size_error`, ...
    #[serde(default, rename = "type", deserialize_with = "loose_string")]
    pub kind: String,
    /// A string from OpenAI, the HTTP status from llama-server, or empty.
    #[serde(default, deserialize_with = "loose_string")]
    pub code: String,
    /// The parameter that caused the error, or empty.
    #[serde(default, deserialize_with = "loose_string")]
    pub param: String,
}

/// Keeps strings, formats numbers, and replaces everything else by the empty string.
fn loose_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

impl ApiError {
    /// Parses an error body; `None` for an unknown format, such as plain text.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        match (&value["error"], &value["detail"]) {
            (error @ Value::Object(_), _) => Self::deserialize(error).ok(),
            (Value::String(message), _) | (_, Value::String(message)) => Some(Self {
                message: message.clone(),
                ..Self::default()
            }),
            (_, detail @ (Value::Array(_) | Value::Object(_))) => Some(Self {
                message: detail.to_string(),
                ..Self::default()
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_known_format() {
        let parse = |body: &str| ApiError::parse(body.as_bytes());
        let llama = parse(r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#);
        let llama = llama.unwrap();
        assert_eq!(
            (llama.code.as_str(), llama.kind.as_str()),
            ("503", "unavailable_error")
        );
        let openai =
            parse(r#"{"error":{"message":"m","type":null,"param":null,"code":"insufficient_quota"}}"#);
        assert_eq!(openai.unwrap().code, "insufficient_quota");
        assert_eq!(parse(r#"{"detail":"Not Found"}"#).unwrap().message, "Not Found");
        assert_eq!(parse(r#"{"error":"no"}"#).unwrap().message, "no");
        assert_eq!(parse("Internal Server Error"), None);
        assert_eq!(parse(r#"{"choices":[]}"#), None);
    }
}
