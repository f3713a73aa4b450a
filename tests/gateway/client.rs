//! A client of the gateway: requests in every dialect, and the responses.

use std::net::SocketAddr;
use std::time::Duration;

use seawall::gateway::{Credentials, Gateway, GatewayConfig, GatewayLimits};
use seawall::session::Session;
use serde_json::{Value, json};

/// The longest wait of a test: only a bug reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The endpoints with a dialect.
pub(crate) const DIALECTS: [&str; 5] = [
    "chat/completions",
    "completions",
    "responses",
    "embeddings",
    "messages",
];

/// A gateway of this session, whose clients bring the upstream's keys.
pub(crate) async fn gateway(session: &Session) -> Gateway {
    let config = GatewayConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        credentials: Credentials::of_clients(false),
        limits: GatewayLimits::default(),
    };
    Gateway::start(config, session.client().clone(), session.env())
        .await
        .unwrap()
}

/// The body of a request of this dialect with this prompt.
pub(crate) fn body(endpoint: &str, prompt: &str, stream: bool) -> Value {
    let messages = json!([{ "role": "user", "content": prompt }]);
    let mut body = match endpoint {
        "chat/completions" => json!({ "messages": messages }),
        "messages" => json!({ "messages": messages, "max_tokens": 64 }),
        "completions" => json!({ "prompt": prompt }),
        _ => json!({ "input": prompt }),
    };
    body["model"] = json!("m");
    if stream {
        body["stream"] = json!(true);
    }
    body
}

/// A response as its client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    /// The number of the call; `None` if the request did not become one.
    pub(crate) call: Option<u64>,
    pub(crate) body: String,
    /// False if the connection broke, or if the client left.
    pub(crate) complete: bool,
}

impl Seen {
    /// The code of an error of seawall.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A client of one tenant.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: (&'static str, String),
}

impl Client {
    /// A client that sends this header as its key.
    pub(crate) fn new(address: SocketAddr, key: (&'static str, String)) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://{address}/v1");
        Self { http, base, key }
    }

    /// Posts a request and reads the response, of a patient client to its end, otherwise as far as `bytes`.
    pub(crate) async fn post(
        &self,
        endpoint: &str,
        headers: &[(&str, String)],
        body: String,
        bytes: Option<usize>,
    ) -> Option<Seen> {
        let mut request = self.http.post(format!("{}/{endpoint}", self.base));
        request = request.header(self.key.0, &self.key.1);
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut response = request.body(body).send().await.ok()?;
        let number = response.headers().get("x-seawall-call");
        let mut seen = Seen {
            status: response.status().as_u16(),
            call: number.map(|number| number.to_str().unwrap().parse().unwrap()),
            body: String::new(),
            complete: false,
        };
        while bytes.is_none_or(|bytes| seen.body.len() < bytes) {
            match response.chunk().await {
                Ok(Some(chunk)) => seen.body += &String::from_utf8_lossy(&chunk),
                Ok(None) => {
                    seen.complete = true;
                    break;
                }
                Err(_) => break,
            }
        }
        Some(seen)
    }
}
