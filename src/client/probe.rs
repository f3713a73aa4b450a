//! Health probe of an upstream, without a call.
//!
//! ```text
//! list of models   200: ready, with the models; 503: loading (llama-server); 401: the key
//!   | none: 400, 403, 404, 405, or no list
//! health page      200: ready (llama-cpp-python); it needs no key, so it proves nothing about the key
//!   | none
//! empty chat       404, 405, a page: no API here; 401, 403: the key; anything else: ready
//! ```
//!
//! A missing list is no failure: Azure deployments and some gateways have none, and a restricted key may not read
//! it. The empty chat has no messages, so no server generates tokens for it.

use std::time::Duration;

use serde_json::Value;

use super::attempt::observed_send;
use super::transport::{HttpTransport, SendError, SendErrorKind, Transport as _};
use crate::event::{FailureClass, UpstreamHealth};
use crate::openai::ApiError;
use crate::policy::classify::{Upstream, classify, redact};
use crate::text::SafeText;

/// Time limit of a probe: a busy llama-server can take seconds to answer `/health`.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A reason not to use the upstream: the class of the failure, if a call would meet it too, and the message.
type Unusable = (Option<FailureClass>, String);

impl HttpTransport {
    /// Probes the upstream, at most 5 s per request. Failures are returned as [`UpstreamHealth::Unavailable`].
    pub async fn probe(&self) -> UpstreamHealth {
        match self.find_models().await {
            Ok(health) => health,
            Err((class, message)) => UpstreamHealth::Unavailable {
                message: self.redact(SafeText::new(&redact(&message))),
                class,
            },
        }
    }

    async fn find_models(&self) -> Result<UpstreamHealth, Unusable> {
        let host = self.info().host;
        let (status, body) = self
            .models(TIMEOUT)
            .await
            .map_err(|error| self.unreachable(&error))?;
        match status {
            200 => {
                if let Some(models) = model_names(&body) {
                    let models = models.into_iter().map(|model| self.redact(model)).collect();
                    return Ok(UpstreamHealth::Ready { models });
                }
            }
            503 if is_loading(&body) => return Ok(UpstreamHealth::Loading),
            401 => return Err((Some(FailureClass::Auth), self.rejected_key())),
            400 | 403 | 404 | 405 => {}
            _ => {
                let said = ApiError::parse(&body).map(|error| format!(": {}", error.message));
                let message = format!(
                    "{host} returned {status} for {}{}",
                    self.path("models"),
                    said.unwrap_or_default()
                );
                return Err((None, message));
            }
        }
        let ready = UpstreamHealth::Ready { models: Vec::new() };
        // a page for people answers every path with 200
        if status == 404 && matches!(self.health(TIMEOUT).await, Ok((200, _))) {
            return Ok(ready);
        }
        match self.empty_chat(TIMEOUT).await {
            Ok((401 | 403, _)) => Err((Some(FailureClass::Auth), self.rejected_key())),
            Ok((status, body)) if has_no_chat(status, &body) => {
                let said = ApiError::parse(&body).map(|error| format!(" ({})", error.message));
                let message = format!(
                    "{host} is not an OpenAI-compatible API: it has neither {} nor {}{}; check the base URL",
                    self.path("models"),
                    self.path("chat/completions"),
                    said.unwrap_or_default()
                );
                Err((Some(FailureClass::NotAnApi), message))
            }
            // it answered the first request: a call will show what is wrong
            Ok(_) | Err(_) => Ok(ready),
        }
    }

    fn rejected_key(&self) -> String {
        let host = self.info().host;
        match self.key_name() {
            Some(name) => format!("{host} rejects the key in {name}"),
            None => format!("{host} requires a key: set SEAWALL_API_KEY"),
        }
    }
}

impl HttpTransport {
    /// The message of a failed request, as for a call that fails in the same way.
    fn unreachable(&self, error: &SendError) -> Unusable {
        let info = self.info();
        let upstream = Upstream {
            host: &info.host,
            model: None,
            key_name: None,
        };
        let failure = classify(&upstream, &observed_send(error));
        let message = failure.message;
        // a plain HTTP server takes the handshake for an incomplete request and waits, or answers in HTTP
        let no_tls = matches!(
            error.kind,
            SendErrorKind::ConnectTimeout | SendErrorKind::TlsConfig | SendErrorKind::TlsHandshake
        );
        let message = if no_tls && self.is_tls() {
            format!("{message}; for a server without TLS use http://")
        } else {
            message.to_string()
        };
        (Some(failure.class), message)
    }
}

/// Returns true if a 503 says that a model is loading.
fn is_loading(body: &[u8]) -> bool {
    ApiError::parse(body).is_some_and(|error| error.message.to_lowercase().contains("loading"))
}

/// Returns true if the answer to a chat without messages shows that there is no such endpoint.
fn has_no_chat(status: u16, body: &[u8]) -> bool {
    match status {
        // a lenient server may answer; a page for people is no answer
        200..=299 => body.trim_ascii_start().starts_with(b"<"),
        300..=399 | 405 => true,
        // the model that the chat does not name is missing, not the endpoint (vLLM)
        404 => !ApiError::parse(body).is_some_and(|error| error.message.to_lowercase().contains("model")),
        _ => false,
    }
}

/// The names in a list of models: `{"data":[{"id":..}]}`; also a bare array (Together), `{"models":[{"name":..}]}`
/// (Ollama's own), and `"data":null` for none (Ollama).
fn model_names(body: &[u8]) -> Option<Vec<SafeText>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let list = match (value.get("data"), value.get("models")) {
        (Some(list @ (Value::Array(_) | Value::Null)), _) | (_, Some(list @ Value::Array(_))) => list,
        _ if value.is_array() => &value,
        _ => return None,
    };
    let name = |model: &Value| {
        let name = ["id", "name", "model"]
            .iter()
            .find_map(|key| model[*key].as_str())?;
        Some(SafeText::excerpt(name, 120))
    };
    Some(list.as_array().into_iter().flatten().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_model_lists_only() {
        for (body, names) in [
            (
                r#"{"data":[{"id":"a"},{"id":"b\u001b[31m"},{}]}"#,
                Some(&["a", "b\u{1b}[31m"][..]),
            ),
            (r#"[{"id":"a"},{"id":"b"}]"#, Some(&["a", "b"])),
            (r#"{"models":[{"name":"a:latest"}]}"#, Some(&["a:latest"])),
            (r#"{"object":"list","data":null}"#, Some(&[])),
            (r#"{"data":null,"models":[{"name":"a"}]}"#, Some(&[])),
            ("null", None),
            ("{}", None),
            (r#"{"data":{}}"#, None),
            ("<html>", None),
        ] {
            let names = names.map(|names| names.iter().map(|name| SafeText::new(name)).collect::<Vec<_>>());
            assert_eq!(model_names(body.as_bytes()), names, "{body}");
        }
    }
}
