//! Embeddings from an OpenAI-compatible `/v1/embeddings`, such as llama-server with `--embeddings`.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Method;
use serde_json::json;

mod reply;

use crate::client::attempt::observed_send;
use crate::client::transport::{
    Address, ApiKey, HttpConfig, SendErrorKind, TransportSetupError, client_for, secrets, send_error,
};
use crate::openai::ApiError;
use crate::policy::classify::{Upstream, classify, redact};
use crate::semantic::embedder::{EmbedError, Embedder, Embedding};
use crate::text::SafeText;

/// Most bytes of a response: three times a batch of 32 texts of 8,192 numbers of 20 characters.
const MAX_RESPONSE_BYTES: usize = 16 << 20;
/// Most characters of a server's message that are shown.
const MAX_QUOTED: usize = 160;
/// Most texts of one request: small servers batch no more.
const BATCH: usize = 32;

/// An embedder that requests its vectors from a server.
#[derive(Debug)]
pub struct HttpEmbedder {
    client: reqwest::Client,
    address: Address,
    host: String,
    proxy: Option<String>,
    model: Option<String>,
    keys: Vec<ApiKey>,
    timeout: Duration,
    /// Dimensions of its embeddings, known after the first.
    dimensions: OnceLock<usize>,
}

impl HttpEmbedder {
    /// Builds an embedder. Connects to nothing yet. The key in `config` is that of this server: the upstream's is
    /// never sent to another host. `timeout` is the limit of one request, from its start to the end of its response.
    ///
    /// # Errors
    /// If the base URL holds a user or password, if the key or a header cannot be sent, or if a certificate of
    /// `extra_roots` cannot be read.
    pub fn new(config: &HttpConfig, timeout: Duration) -> Result<Self, TransportSetupError> {
        let client = client_for(config)?;
        let address = Address::new(&config.base);
        Ok(Self {
            client: client.build()?,
            host: address.host(),
            proxy: address.proxy(),
            address,
            model: config.model.clone(),
            keys: secrets(config.api_key.as_ref(), &config.headers, &config.base),
            timeout,
            dimensions: OnceLock::new(),
        })
    }

    /// Embeds many texts: vectors in the order of the texts, each of length 1. Sends batches of 32, or one text
    /// per request if the server accepts no list.
    ///
    /// # Errors
    /// If the server cannot be reached, rejects a text, or sends unusable vectors.
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
                    // a server that is unreachable or requires a key fails for single texts too
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

    async fn request(
        &self,
        input: &serde_json::Value,
        count: usize,
    ) -> Result<Vec<Vec<f32>>, RequestFailure> {
        let mut body = json!({ "input": input, "encoding_format": "float" });
        if let (Some(model), Some(fields)) = (&self.model, body.as_object_mut()) {
            fields.insert("model".into(), json!(model));
        }
        let body = Bytes::from(body.to_string());
        let post = |url| {
            let request = self.client.post(url).timeout(self.timeout);
            request.body(body.clone()).send()
        };
        let sent = self.address.send(&Method::POST, "embeddings", post).await;
        let response = sent.map_err(|error| self.not_sent(&error))?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| self.not_sent(&error))?);
            if bytes.len() > MAX_RESPONSE_BYTES {
                return Err(self.failed(
                    false,
                    &format!("sent more than {MAX_RESPONSE_BYTES} bytes for {count} texts"),
                ));
            }
        }
        if status != 200 {
            return Err(self.rejected(status, &bytes));
        }
        let vectors = reply::read(&bytes, count).map_err(|why| self.failed(false, &why))?;
        for vector in &vectors {
            let first = *self.dimensions.get_or_init(|| vector.len());
            if vector.len() != first {
                let why = format!(
                    "sent {} dimensions after {first} before: the model may have changed",
                    vector.len()
                );
                return Err(self.failed(true, &why));
            }
        }
        Ok(vectors)
    }

    /// The failure of a request without a response.
    fn not_sent(&self, error: &reqwest::Error) -> RequestFailure {
        let failure = send_error(error, self.proxy.as_deref());
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
        RequestFailure {
            is_final: true,
            error: self.error(&classify(&upstream, &observed_send(&failure)).message),
        }
    }

    /// The failure of a response whose status is not 200.
    fn rejected(&self, status: u16, body: &[u8]) -> RequestFailure {
        let said = ApiError::parse(body)
            .map(|error| error.message)
            .unwrap_or_default();
        let lower = said.to_lowercase();
        let quoted = if said.is_empty() {
            String::new()
        } else {
            format!(
                " ({})",
                SafeText::excerpt(&redact(&said), MAX_QUOTED).single_line()
            )
        };
        let path = self.address.url("embeddings");
        let path = path.path();
        let no_embeddings = ["--embedding", "embedding=true", "not support embedding"];
        let why = match status {
            501 => format!("does not offer embeddings: start llama-server with --embeddings{quoted}"),
            _ if no_embeddings.iter().any(|words| lower.contains(words)) => {
                format!("does not offer embeddings: start llama-server with --embeddings{quoted}")
            }
            _ if lower.contains("pooling") => {
                format!("does not pool token vectors: start llama-server with --pooling mean{quoted}")
            }
            401 | 403 => match self.keys.first() {
                Some(key) => format!("rejects the key in {}{quoted}", key.name),
                None => format!("requires a key: set SEAWALL_EMBEDDER_API_KEY{quoted}"),
            },
            404 | 405 => format!("has no {path}: check the base URL and the model{quoted}"),
            503 => format!("is not ready: wait until the model is loaded{quoted}"),
            _ if lower.contains("too large") || lower.contains("too long") => {
                format!(
                    "rejects a text of this length: start llama-server with a larger --ubatch-size{quoted}"
                )
            }
            _ => format!("returned {status} for {path}{quoted}"),
        };
        self.failed(matches!(status, 401 | 403 | 404 | 501 | 503), &why)
    }

    fn failed(&self, is_final: bool, why: &str) -> RequestFailure {
        RequestFailure {
            is_final,
            error: self.error(&format!("embedder at {} {why}", self.host)),
        }
    }

    fn error(&self, message: &str) -> EmbedError {
        let safe = SafeText::new(&redact(message));
        let safe = self.keys.iter().fold(safe, |text, key| key.redact(text));
        EmbedError {
            message: safe.single_line(),
        }
    }
}

/// The failure of one request.
struct RequestFailure {
    /// True if another request would fail too.
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
