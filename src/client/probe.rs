//! Health probe of an upstream, without a call.
//!
//! `/v1/models` checks the key and lists the models; a 503 there distinguishes loading from ready (llama-server).
//! `/health` is the fallback where there is no model list: it needs no key, so it does not prove that the key is
//! right.

use std::time::Duration;

use serde_json::Value;

use super::attempt::observed_send;
use super::transport::{HttpTransport, SendError, SendErrorKind, Transport as _};
use crate::event::UpstreamHealth;
use crate::openai::ApiError;
use crate::policy::classify::{Upstream, classify, redact};
use crate::text::SafeText;

/// Time limit of a probe: a busy llama-server can take seconds to answer `/health`.
const TIMEOUT: Duration = Duration::from_secs(5);

impl HttpTransport {
    /// Probes the upstream, at most 5 s per request. Failures are returned as [`UpstreamHealth::Unavailable`].
    pub async fn probe(&self) -> UpstreamHealth {
        let host = self.info().host;
        let trouble = |message: String| UpstreamHealth::Unavailable {
            message: self.redact(SafeText::new(&redact(&message))),
        };
        match self.get("models", TIMEOUT).await {
            Err(error) => trouble(self.unreachable(&error)),
            Ok((200, body)) => match model_names(&body) {
                Some(models) => UpstreamHealth::Ready {
                    models: models.into_iter().map(|model| self.redact(model)).collect(),
                },
                None => trouble(format!(
                    "{host} answers, but is not an OpenAI-compatible API: no model list at /v1/models"
                )),
            },
            Ok((503, body)) if is_loading(&body) => UpstreamHealth::Loading,
            Ok((401 | 403, _)) => trouble(match self.key_name() {
                Some(name) => format!("{host} rejects the key in {name}"),
                None => format!("{host} requires a key: set SEAWALL_API_KEY"),
            }),
            // llama-cpp-python and some gateways have a health page but no model list
            Ok((404, _)) => match self.get("/health", TIMEOUT).await {
                Ok((200, _)) => UpstreamHealth::Ready { models: Vec::new() },
                _ => trouble(format!(
                    "{host} has neither {} nor /health: check the base URL",
                    self.models_path()
                )),
            },
            Ok((status, body)) => {
                let said = ApiError::parse(&body).map(|error| format!(": {}", error.message));
                trouble(format!(
                    "{host} returned {status} for /v1/models{}",
                    said.unwrap_or_default()
                ))
            }
        }
    }
}

impl HttpTransport {
    /// The message of a failed request, as for a call that fails in the same way.
    fn unreachable(&self, error: &SendError) -> String {
        let info = self.info();
        let upstream = Upstream {
            host: &info.host,
            model: None,
            key_name: None,
        };
        let message = classify(&upstream, &observed_send(error)).message;
        // a plain HTTP server takes the handshake for an incomplete request and waits, or answers in HTTP
        let no_tls = matches!(
            error.kind,
            SendErrorKind::ConnectTimeout | SendErrorKind::TlsConfig | SendErrorKind::TlsHandshake
        );
        if no_tls && self.is_tls() {
            format!("{message}; for a server without TLS use http://")
        } else {
            message.to_string()
        }
    }
}

/// Returns true if a 503 says that a model is loading.
fn is_loading(body: &[u8]) -> bool {
    ApiError::parse(body).is_some_and(|error| error.message.to_lowercase().contains("loading"))
}

/// The ids of `{"data":[{"id":..}]}`.
fn model_names(body: &[u8]) -> Option<Vec<SafeText>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let models = value["data"].as_array()?;
    Some(
        models
            .iter()
            .filter_map(|model| model["id"].as_str())
            .map(|id| SafeText::excerpt(id, 120))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_model_lists_only() {
        let names = model_names(br#"{"data":[{"id":"a"},{"id":"b\u001b[31m"},{}]}"#);
        assert_eq!(names, Some(vec!["a".into(), "b\u{1b}[31m".into()]));
        assert_eq!(model_names(b"{}"), None);
        assert_eq!(model_names(b"<html>"), None);
    }
}
