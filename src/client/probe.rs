//! Asking an upstream how it is, without making a call.
//!
//! `/health` tells loading from ready where it exists (llama-server); `/v1/models` tells whether the key is
//! right and which models there are. With a key, `/health` alone proves nothing: it is open.

use std::time::Duration;

use serde_json::Value;

use super::attempt::observed_send;
use super::transport::{HttpTransport, SendError, SendErrorKind, Transport as _};
use crate::event::UpstreamHealth;
use crate::openai::ApiError;
use crate::policy::classify::{Upstream, classify, redact};
use crate::text::SafeText;

/// A probe gives up after this: a busy llama-server can take seconds to answer `/health`.
const TIMEOUT: Duration = Duration::from_secs(5);

impl HttpTransport {
    /// Asks the upstream how it is. Never fails: trouble is an answer too.
    pub async fn probe(&self) -> UpstreamHealth {
        let host = self.info().host;
        let trouble = |message: String| {
            let message = redact(&message);
            let hidden = self.hide_key(&message);
            UpstreamHealth::Trouble {
                message: SafeText::new(hidden.as_deref().unwrap_or(&message)),
            }
        };
        match self.get("models", TIMEOUT).await {
            Err(error) => trouble(self.unreachable(&error)),
            Ok((200, body)) => match model_names(&body) {
                Some(models) => UpstreamHealth::Ready { models },
                None => trouble(format!(
                    "{host} answers, but not as an OpenAI-compatible API: no model list at /v1/models"
                )),
            },
            Ok((503, body)) if is_loading(&body) => UpstreamHealth::Loading,
            Ok((401 | 403, _)) => trouble(match self.key_name() {
                Some(name) => format!("{host} refuses the key in {name}"),
                None => format!("{host} asks for a key: put it into SEAWALL_API_KEY"),
            }),
            // llama-cpp-python and some gateways have no model list but do have a health page
            Ok((404, _)) => match self.get("/health", TIMEOUT).await {
                Ok((200, _)) => UpstreamHealth::Ready { models: Vec::new() },
                _ => trouble(format!(
                    "{host} has neither {} nor /health: is the URL that of an API?",
                    self.models_path()
                )),
            },
            Ok((status, body)) => {
                let said = ApiError::parse(&body).map(|error| format!(": {}", error.message));
                trouble(format!(
                    "{host} answered {status} to /v1/models{}",
                    said.unwrap_or_default()
                ))
            }
        }
    }
}

impl HttpTransport {
    /// Why nothing came, in the words of a call that fails so.
    fn unreachable(&self, error: &SendError) -> String {
        let info = self.info();
        let upstream = Upstream {
            host: &info.host,
            model: None,
            key_name: None,
        };
        let message = classify(&upstream, &observed_send(error)).message;
        // a server that speaks plain HTTP waits for the rest of what it takes for a request, or answers in HTTP
        let no_tls = matches!(
            error.kind,
            SendErrorKind::ConnectTimeout | SendErrorKind::TlsConfig | SendErrorKind::TlsHandshake
        );
        if no_tls && self.is_tls() {
            format!("{message}; if it speaks no TLS, write http:// instead of https://")
        } else {
            message.to_string()
        }
    }
}

/// Whether a 503 says that a model is being loaded.
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
    fn model_lists_are_told_from_other_json() {
        let names = model_names(br#"{"data":[{"id":"a"},{"id":"b\u001b[31m"},{}]}"#);
        assert_eq!(names, Some(vec!["a".into(), "b\u{1b}[31m".into()]));
        assert_eq!(model_names(b"{}"), None);
        assert_eq!(model_names(b"<html>"), None);
    }
}
