//! A gateway, its upstream, and clients that write bytes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::client::tests::rig::{Rig, millis, steady};
use crate::client::tests::script::{Part, Reply, Step};
use crate::gateway::{Credentials, Gateway, GatewayConfig, GatewayLimits};
use crate::settings::Policy;

/// The longest wait of a test: only a bug reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway and its upstream.
pub(super) struct House {
    pub(super) rig: Rig,
    pub(super) gateway: Gateway,
}

/// A policy whose retries are quick.
pub(super) fn quick() -> Policy {
    let mut policy = steady();
    policy.retry.base = millis(1);
    policy.retry.cap = millis(2);
    policy
}

impl House {
    pub(super) async fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::with(quick(), GatewayLimits::default(), steps).await
    }

    pub(super) async fn with(
        policy: Policy,
        limits: GatewayLimits,
        steps: impl IntoIterator<Item = Step>,
    ) -> Self {
        Self::guarded(policy, limits, Credentials::of_clients(false), steps).await
    }

    pub(super) async fn guarded(
        policy: Policy,
        limits: GatewayLimits,
        credentials: Credentials,
        steps: impl IntoIterator<Item = Step>,
    ) -> Self {
        let rig = Rig::new(policy);
        rig.upstream.push(steps);
        let config = GatewayConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            credentials,
            limits,
        };
        let gateway = Gateway::start(config, rig.client.clone(), &rig.env)
            .await
            .unwrap();
        Self { rig, gateway }
    }

    pub(super) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.gateway.address()).await.unwrap();
        Client {
            stream,
            read: Vec::new(),
        }
    }

    /// A client whose streamed answer has come as far as `text`.
    pub(super) async fn streaming(&self, text: &str) -> Client {
        let mut client = self.connect().await;
        client
            .write(&post("/v1/chat/completions", "", &cold("a", true)))
            .await;
        client.read_until(text).await;
        client
    }

    /// The response to these bytes, read to the end of the connection.
    pub(super) async fn send(&self, request: &[u8]) -> Received {
        let mut client = self.connect().await;
        client.write(request).await;
        client.rest().await
    }

    /// The response to a chat request with these further headers.
    pub(super) async fn chat(&self, headers: &str, body: &str) -> Received {
        self.send(&post("/v1/chat/completions", headers, body)).await
    }

    /// Waits until `is_so`, which other tasks bring about.
    pub(super) async fn until(&self, is_so: impl Fn(&Rig) -> bool) {
        let waited = async {
            while !is_so(&self.rig) {
                tokio::task::yield_now().await;
            }
        };
        patiently(waited).await;
    }

    /// Number of attempts at the upstream so far.
    pub(super) fn sent(&self) -> usize {
        self.rig.upstream.sent().len()
    }

    /// The end of a test.
    pub(super) async fn done(self) {
        self.gateway.stop().await;
        self.rig.done_in_real_time().await;
    }
}

pub(super) async fn patiently<V>(future: impl Future<Output = V>) -> V {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// A request whose connection closes after the response.
pub(super) fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

/// A chat request with temperature 0.
pub(super) fn cold(prompt: &str, stream: bool) -> String {
    format!(
        r#"{{"model":"m","temperature":0,"stream":{stream},"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
    )
}

/// A stream that stops after its first word until it is let go.
pub(super) fn gated(word: &str, gate: &Arc<Notify>) -> Step {
    Reply::stream()
        .word(word)
        .part(Part::Until(Arc::clone(gate)))
        .word(" end")
        .stop()
        .done()
        .into()
}

/// A connection of a client.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a request on a kept connection, and returns the time to the end of its stream.
    pub(super) async fn timed(&mut self, house: &House, prompt: &str) -> Duration {
        self.read.clear();
        let request = post("/v1/chat/completions", "", &cold(prompt, true));
        let request = String::from_utf8(request).unwrap();
        let begun = house.rig.now();
        self.write(request.replace("connection: close\r\n", "").as_bytes())
            .await;
        self.read_until("[DONE]").await;
        house.rig.now().since(begun)
    }

    /// Reads until the response holds this text.
    pub(super) async fn read_until(&mut self, text: &str) {
        let read = async {
            while !String::from_utf8_lossy(&self.read).contains(text) {
                let count = self.stream.read_buf(&mut self.read).await.unwrap();
                let so_far = String::from_utf8_lossy(&self.read);
                assert!(count > 0, "no {text} in {so_far}");
            }
        };
        patiently(read).await;
    }

    /// Reads to the end of the connection.
    pub(super) async fn rest(mut self) -> Received {
        // a reset is an end too
        drop(patiently(self.stream.read_to_end(&mut self.read)).await);
        Received::new(&self.read)
    }
}

/// A response.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
    /// False if the framing is broken.
    pub(super) complete: bool,
}

impl Received {
    fn new(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut received = Self {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
            complete: true,
        };
        if received.header("transfer-encoding").is_some() {
            (received.body, received.complete) = unchunked(body);
        } else if let Some(length) = received.header("content-length") {
            received.complete = length.parse() == Ok(body.len());
        }
        received
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The word of `x-seawall-cache` without the reason.
    pub(super) fn cache(&self) -> &str {
        let value = self.header("x-seawall-cache").unwrap_or_default();
        value.split(';').next().unwrap_or_default()
    }

    /// The code of an error.
    pub(super) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect(&self.body);
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// The content of chunks, and true if the last one came.
fn unchunked(mut body: &str) -> (String, bool) {
    let mut content = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (content, true);
        }
        content.push_str(rest.get(..size).unwrap_or(rest));
        body = rest.get(size + 2..).unwrap_or_default();
    }
    (content, false)
}
