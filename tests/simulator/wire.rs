//! A raw client that keeps every byte, and a server.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall::settings::{FaultKind, FaultProfile, LatencyProfile, Range};
use seawall::simulator::{FaultControl, FaultSink, Simulator, SimulatorConfig};
use seawall::time::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const QUESTION: &str = "What is a circuit breaker?";

/// A reported fault: call, attempt, kind.
pub(crate) type Injected = (Option<u64>, u32, FaultKind);

/// Records every injected fault.
#[derive(Debug, Default)]
pub(crate) struct Log {
    injected: Mutex<Vec<Injected>>,
    failures: Mutex<Vec<String>>,
}

impl Log {
    pub(crate) fn taken(&self) -> Vec<Injected> {
        std::mem::take(&mut self.injected.lock().unwrap())
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        std::mem::take(&mut self.failures.lock().unwrap())
    }
}

impl FaultSink for Log {
    fn injected(&self, call: Option<u64>, attempt: u32, fault: FaultKind) {
        self.injected.lock().unwrap().push((call, attempt, fault));
    }

    fn upstream_failed(&self, reason: String) {
        self.failures.lock().unwrap().push(reason);
    }
}

/// A running simulator without any latency.
pub(crate) struct Bench {
    pub(crate) simulator: Simulator,
    pub(crate) faults: FaultControl,
    pub(crate) log: Arc<Log>,
}

impl Bench {
    pub(crate) async fn start(profile: Option<FaultProfile>, upstream: Option<SocketAddr>) -> Self {
        let none = Range { min_ms: 0, max_ms: 0 };
        let config = SimulatorConfig {
            seed: 42,
            port: 0,
            latency: LatencyProfile {
                first_token: none,
                between_tokens: none,
            },
            capacity: None,
            upstream: upstream.map(|addr| format!("http://{addr}/v1").parse().unwrap()),
            extra_roots: Vec::new(),
        };
        let faults = match profile {
            Some(profile) => FaultControl::new(profile, true),
            None => FaultControl::off(),
        };
        let log = Arc::new(Log::default());
        let sink = Arc::clone(&log) as Arc<dyn FaultSink>;
        let simulator = Simulator::start(config, faults.clone(), sink, Clock::start())
            .await
            .unwrap();
        Self {
            simulator,
            faults,
            log,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.simulator.addr()
    }
}

/// A profile that injects this fault into every request; stalls last 50 ms.
pub(crate) fn always(kind: FaultKind) -> FaultProfile {
    let mut profile = FaultProfile::default();
    profile.stall_for = Duration::from_millis(50);
    profile.cut_after = 3;
    profile.retry_after = 7;
    profile.set_rate(kind, 1.0);
    profile
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Eof,
    Reset,
}

/// All bytes received over a connection.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

impl Received {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    /// Header block (with its last line break) and the rest.
    pub(crate) fn parts(&self) -> (&str, &str) {
        let at = self.text().find("\r\n\r\n").expect("no header block");
        self.text().split_at(at + 4)
    }

    pub(crate) fn status(&self) -> u16 {
        self.text()["HTTP/1.1 ".len()..][..3].parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.parts().0.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The chunks of a chunked body, and true if the last chunk arrived.
    pub(crate) fn chunks(&self) -> (Vec<Vec<u8>>, bool) {
        let mut rest = self.parts().1.as_bytes();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let at = rest.windows(2).position(|two| two == b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
            rest = &rest[at + 2..];
            if size == 0 {
                assert_eq!(rest, b"\r\n");
                return (chunks, true);
            }
            chunks.push(rest[..size].to_vec());
            assert_eq!(&rest[size..size + 2], b"\r\n");
            rest = &rest[size + 2..];
        }
        (chunks, false)
    }

    /// The decoded body.
    pub(crate) fn body(&self) -> String {
        match self.header("transfer-encoding") {
            Some(_) => String::from_utf8(self.chunks().0.concat()).unwrap(),
            None => self.parts().1.to_owned(),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body()).unwrap()
    }

    /// The text of a streamed answer.
    pub(crate) fn answer_text(&self) -> String {
        let body = self.body();
        let events = body
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "));
        let events = events.filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok());
        events
            .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
            .collect()
    }
}

/// A chat request. `fields`: additional header lines, each with its line break.
pub(crate) fn chat(stream: bool, fields: &str) -> String {
    let body = serde_json::json!({
        "messages": [{ "role": "user", "content": QUESTION }],
        "stream": stream, "stream_options": { "include_usage": true },
    });
    post("/v1/chat/completions", fields, &body.to_string())
}

pub(crate) fn post(path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{fields}\r\n{body}"
    )
}

/// Sends `request` over a new connection and reads to its end.
pub(crate) async fn exchange(addr: SocketAddr, request: &str) -> Received {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

/// One exchange whose request asks to close the connection.
pub(crate) async fn ask(addr: SocketAddr, stream: bool) -> Received {
    exchange(addr, &chat(stream, "Connection: close\r\n")).await
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Received {
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes).await {
        Ok(_) => End::Eof,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
        Err(error) => panic!("{error}"),
    };
    Received { bytes, end }
}

/// Reads until the received bytes end with `tail`.
pub(crate) async fn read_until(stream: &mut TcpStream, tail: &str) -> Received {
    let mut bytes = Vec::new();
    while !bytes.ends_with(tail.as_bytes()) {
        bytes.push(stream.read_u8().await.expect("more to come"));
    }
    Received { bytes, end: End::Eof }
}
