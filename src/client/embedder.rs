//! An OpenAI-compatible `/v1/embeddings`: llama-server with `--embeddings`, OpenAI, and what speaks like them.

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::StreamExt as _;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use url::Url;

mod reply;

use reply::Reply;

use crate::client::attempt::observed_send;
use crate::client::transport::{
    ApiKey, HttpConfig, SendErrorKind, TransportSetupError, client_for, host_of, send_error, under, versioned,
};
use crate::openai::ApiError;
use crate::policy::classify::{Upstream, classify, redact};
use crate::semantic::embedder::{EmbedError, Embedder, Embedding};
use crate::text::SafeText;

/// The longest answer that is read: 64 texts of 4,096 numbers of 20 characters, and as much again.
const LONGEST_ANSWER: usize = 16 << 20;
/// Characters of a server's own words that are shown.
const SHOWN: usize = 160;
/// Texts of one request at most: small servers batch no more.
const BATCH: usize = 32;

/// Where and how to ask for embeddings.
#[derive(Clone, Debug)]
pub struct EmbedderConfig {
    /// The base URL, with or without `/v1`.
    pub base: Url,
    /// The model to ask for, if the server wants one named.
    pub model: Option<String>,
    /// Its own key. That of the upstream is never sent to another host: who configures this one must say so.
    pub api_key: Option<ApiKey>,
    /// Trusted beside what the system trusts: a private CA.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// To connect, TLS included.
    pub connect_timeout: Duration,
    /// For one request, from its beginning to the end of its answer.
    pub timeout: Duration,
}

/// Embeddings from an endpoint.
#[derive(Debug)]
pub struct HttpEmbedder {
    client: reqwest::Client,
    url: Url,
    host: String,
    model: Option<String>,
    api_key: Option<ApiKey>,
    timeout: Duration,
    /// Numbers in its embeddings, once the first has come.
    dimensions: OnceLock<usize>,
}

impl HttpEmbedder {
    /// An embedder at an endpoint. Asks it nothing yet.
    pub fn new(config: &EmbedderConfig) -> Result<Self, TransportSetupError> {
        let client = client_for(&HttpConfig {
            base: config.base.clone(),
            model: config.model.clone(),
            api_key: config.api_key.clone(),
            extra_roots: config.extra_roots.clone(),
            connect_timeout: config.connect_timeout,
            simulated: false,
            shown_host: None,
        })?;
        Ok(Self {
            client: client.build()?,
            url: under(&versioned(&config.base), "embeddings"),
            host: host_of(&config.base),
            model: config.model.clone(),
            api_key: config.api_key.clone(),
            timeout: config.timeout,
            dimensions: OnceLock::new(),
        })
    }

    /// The vectors of many texts, in their order, each of length 1. Asked for together, and one by one where the
    /// server takes no list.
    pub async fn embed_all(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut all = Vec::with_capacity(texts.len());
        let mut takes_lists = true;
        for batch in texts.chunks(BATCH) {
            if takes_lists && batch.len() > 1 {
                match self.request(&json!(batch), batch.len()).await {
                    Ok(vectors) => {
                        all.extend(vectors);
                        continue;
                    }
                    // a server that is not there, or asks for a key, is no better with one text
                    Err(failed) if failed.is_final => return Err(failed.error),
                    Err(_) => takes_lists = false,
                }
            }
            for text in batch {
                all.push(self.embed(text).await?);
            }
        }
        Ok(all)
    }

    async fn request(&self, input: &serde_json::Value, count: usize) -> Result<Vec<Vec<f32>>, Failed> {
        let mut body = json!({ "input": input, "encoding_format": "float" });
        if let (Some(model), Some(fields)) = (&self.model, body.as_object_mut()) {
            fields.insert("model".into(), json!(model));
        }
        let request = self
            .client
            .post(self.url.clone())
            .timeout(self.timeout)
            .body(body.to_string());
        let response = request.send().await.map_err(|error| self.not_sent(&error))?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| self.not_sent(&error))?);
            if bytes.len() > LONGEST_ANSWER {
                return Err(self.failed(
                    false,
                    &format!("sent more than {LONGEST_ANSWER} bytes for {count} texts"),
                ));
            }
        }
        if status != 200 {
            return Err(self.refused(status, &bytes));
        }
        let vectors = match reply::read(&bytes, count) {
            Reply::Vectors(vectors) => vectors,
            Reply::Unusable(why) => return Err(self.failed(false, &why)),
        };
        for vector in &vectors {
            let first = *self.dimensions.get_or_init(|| vector.len());
            if vector.len() != first {
                let why = format!(
                    "sent {} numbers where it had sent {first} before: is the model another one?",
                    vector.len()
                );
                return Err(self.failed(true, &why));
            }
        }
        Ok(vectors)
    }

    /// No answer came.
    fn not_sent(&self, error: &reqwest::Error) -> Failed {
        let failure = send_error(error);
        if failure.kind == SendErrorKind::ConnectTimeout && !error.is_connect() {
            let why = format!(
                "sent no embedding within {:?}: raise semantic.timeout",
                self.timeout
            );
            return self.failed(true, &why);
        }
        let upstream = Upstream {
            host: &self.host,
            model: None,
            key_name: None,
        };
        Failed {
            is_final: true,
            error: self.error(&classify(&upstream, &observed_send(&failure)).message),
        }
    }

    /// An answer that is no success.
    fn refused(&self, status: u16, body: &[u8]) -> Failed {
        let said = ApiError::parse(body)
            .map(|error| error.message)
            .unwrap_or_default();
        let lower = said.to_lowercase();
        let quoted = if said.is_empty() {
            String::new()
        } else {
            format!(" ({})", SafeText::excerpt(&redact(&said), SHOWN).single_line())
        };
        let no_embeddings = ["--embedding", "embedding=true", "not support embedding"];
        let why = match status {
            501 => format!("makes no embeddings: start llama-server with --embeddings{quoted}"),
            _ if no_embeddings.iter().any(|words| lower.contains(words)) => {
                format!("makes no embeddings: start llama-server with --embeddings{quoted}")
            }
            _ if lower.contains("pooling") => {
                format!("makes no single vector of a text: start llama-server with --pooling mean{quoted}")
            }
            401 | 403 => match &self.api_key {
                Some(key) => format!("refuses the key in {}{quoted}", key.name),
                None => format!("asks for a key: put it into SEAWALL_EMBEDDER_API_KEY{quoted}"),
            },
            404 | 405 => format!(
                "has no {}: is the URL that of an OpenAI-compatible API, and the model known there?{quoted}",
                self.url.path()
            ),
            503 => format!("is not ready: wait until the model is loaded{quoted}"),
            _ if lower.contains("too large") || lower.contains("too long") => {
                format!(
                    "takes no text as long as that: start llama-server with a larger --ubatch-size{quoted}"
                )
            }
            _ => format!("answered {status} to {}{quoted}", self.url.path()),
        };
        self.failed(matches!(status, 401 | 403 | 404 | 501 | 503), &why)
    }

    fn failed(&self, is_final: bool, why: &str) -> Failed {
        Failed {
            is_final,
            error: self.error(&format!("the embedder at {} {why}", self.host)),
        }
    }

    fn error(&self, message: &str) -> EmbedError {
        let safe = SafeText::new(&redact(message));
        let hidden = self.api_key.as_ref().and_then(|key| key.hidden_in(&safe));
        EmbedError {
            message: hidden.unwrap_or(safe).single_line(),
        }
    }
}

/// Why a request brought nothing, and whether another of its kind would.
struct Failed {
    is_final: bool,
    error: EmbedError,
}

impl Embedder for HttpEmbedder {
    fn embed<'a>(&'a self, text: &'a str) -> Embedding<'a> {
        Box::pin(async move {
            let mut vectors = self
                .request(&json!(text), 1)
                .await
                .map_err(|failed| failed.error)?;
            Ok(vectors.pop().unwrap_or_default())
        })
    }

    fn name(&self) -> String {
        let name = match &self.model {
            Some(model) => format!("{} {model}", self.host),
            None => self.host.clone(),
        };
        self.error(&name).message
    }
}

#[cfg(test)]
mod tests;
