//! The server: routes, the player of scripts on a socket, start and shutdown.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use url::{Host, Url};

use super::answer::{self, Answer};
use super::capacity::Slots;
use super::embeddings;
use super::fault::{FaultControl, FaultSink};
use super::forward::Forward;
use super::script::{self, Conditions, Plan, Script, Step};
use crate::openai::ChatRequest;
use crate::settings::{Capacity, FaultProfile, LatencyProfile};
use crate::simulator::wire::{Handler, Limits, Request, Response, Server};
use crate::time::Clock;

/// The request header by which an attempt says which it is, as `CALL.ATTEMPT`. It ties an injected fault
/// to its call, and makes the draw of the fault independent of the order of arrival. It is not passed on
/// to a real upstream.
pub const ATTEMPT_HEADER: &str = "x-seawall-attempt";

/// How to start a simulator.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// Decides about faults and latencies.
    pub seed: u64,
    /// On 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// How fast it answers. Not used in front of an upstream, except by a drip.
    pub latency: LatencyProfile,
    /// How much it does at a time; without bounds where absent. Not used in front of an upstream, which has
    /// bounds of its own.
    pub capacity: Option<Capacity>,
    /// The real server to stand in front of, with or without `/v1`; none answers by itself.
    pub upstream: Option<Url>,
    /// Trusted in the upstream's certificate beside what the system trusts.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// A running simulator. Dropping it ends it too, without waiting.
#[derive(Debug)]
pub struct Simulator {
    server: Server,
}

impl Simulator {
    /// Listens on 127.0.0.1 and serves. Needs a tokio runtime.
    pub async fn start(
        config: SimulatorConfig,
        faults: FaultControl,
        sink: Arc<dyn FaultSink>,
        clock: Clock,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))
            .await
            .map_err(|error| explain(config.port, &error))?;
        let addr = listener.local_addr()?;
        if config
            .upstream
            .as_ref()
            .is_some_and(|upstream| is_itself(upstream, addr))
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the upstream {addr} would be this server itself; choose another port"),
            ));
        }
        let forward = config.upstream.clone();
        let forward = forward
            .map(|upstream| Forward::new(upstream, &config.extra_roots))
            .transpose()?;
        let desk = Arc::new(Desk {
            seed: config.seed,
            pace: config.latency,
            slots: Slots::new(config.capacity),
            forward,
            faults,
            sink,
            clock,
            arrivals: AtomicU64::new(0),
        });
        let server = Server::start(listener, desk, Limits::default(), clock)?;
        Ok(Self { server })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Closes every connection, and returns when all are closed.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
    }
}

/// Whether an upstream is this very server: every request would go round until no connection is left.
fn is_itself(upstream: &Url, addr: SocketAddr) -> bool {
    let here = match upstream.host() {
        Some(Host::Ipv4(ip)) => ip == addr.ip(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv6(_)) | None => false,
    };
    here && upstream.port_or_known_default() == Some(addr.port())
}

/// An error that says which port, and what to do.
fn explain(port: u16, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; choose another port, or 0 for any free one"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges; choose a higher one, or 0 for any"
        }
        _ => "choose another port, or 0 for any free one",
    };
    io::Error::new(
        error.kind(),
        format!("cannot listen on 127.0.0.1:{port}: {error}: {advice}"),
    )
}

/// What answers requests.
struct Desk {
    seed: u64,
    pace: LatencyProfile,
    slots: Slots,
    forward: Option<Forward>,
    faults: FaultControl,
    sink: Arc<dyn FaultSink>,
    clock: Clock,
    arrivals: AtomicU64,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Who asks: what the request says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Caller {
    call: Option<u64>,
    attempt: u32,
}

impl Caller {
    fn of(request: &Request) -> Self {
        let said = request.header(ATTEMPT_HEADER).and_then(|value| {
            let (call, attempt) = value.split_once('.')?;
            Some((call.parse().ok()?, attempt.parse().ok()?))
        });
        Self {
            call: said.map(|(call, _)| call),
            attempt: said.map_or(0, |(_, attempt)| attempt),
        }
    }
}

/// Whether a chat request asks for a stream; `None` if it is no chat request at all. What the simulator
/// itself would refuse (a long prompt, an image) may be fine to a real upstream.
fn streams(request: &Request) -> Option<bool> {
    let body: serde_json::Value = serde_json::from_slice(&request.body).ok()?;
    Some(ChatRequest::try_from(body).ok()?.is_stream())
}

impl Handler for Desk {
    async fn handle(&self, request: Request, response: &mut Response<'_>) -> io::Result<()> {
        let chat = request.method == ::http::Method::POST
            && matches!(request.path(), "/v1/chat/completions" | "/chat/completions");
        let caller = Caller::of(&request);
        if let Some(forward) = &self.forward {
            let told = |reason| self.sink.upstream_failed(reason);
            let Some(stream) = streams(&request).filter(|_| chat) else {
                // whatever is no chat is the upstream's own business, and so is what is wrong with it
                return forward.pass(request, response, None, &told).await;
            };
            let faults = self.faults.active();
            let conditions = self.conditions(caller, faults.as_deref());
            let mut plan = Plan::new(&conditions);
            if let Some((fault, _)) = plan.fault
                && let Some(steps) = plan.refusal(stream)
            {
                let script = Script {
                    steps,
                    fault: Some((0, fault)),
                };
                return self.play(script, caller, response).await;
            }
            let strike = |fault| self.sink.injected(caller.call, caller.attempt, fault);
            let broken = plan.fault.is_some();
            let mischief = broken.then(|| super::forward::Mischief::new(plan, &strike, self.clock));
            return forward.pass(request, response, mischief, &told).await;
        }
        if request.method == ::http::Method::POST && embeddings::is_route(request.path()) {
            return self.embed(&request.body, caller, response).await;
        }
        if !chat {
            let answer = answer::route(&request.method, request.path()).unwrap_or_else(answer::not_found);
            return self.say(&answer, caller, response).await;
        }
        match answer::read_chat(&request.body) {
            Ok(ask) => {
                let faults = self.faults.active();
                let script = Script::new(&ask, &self.conditions(caller, faults.as_deref()));
                // a client that gives up in the queue leaves its place
                match response.unless_gone(self.slots.enter()).await? {
                    Some(_slot) => self.play(script, caller, response).await,
                    None => self.play(Script::busy(), caller, response).await,
                }
            }
            Err(answer) => self.say(&answer, caller, response).await,
        }
    }
}

impl Desk {
    fn conditions<'a>(&self, caller: Caller, faults: Option<&'a FaultProfile>) -> Conditions<'a> {
        let number = match caller.call {
            Some(call) => script::attempt_number(call, caller.attempt),
            None => self.arrivals.fetch_add(1, Ordering::Relaxed),
        };
        Conditions {
            faults,
            pace: self.pace,
            seed: self.seed,
            number,
        }
    }

    async fn say(&self, answer: &Answer, caller: Caller, response: &mut Response<'_>) -> io::Result<()> {
        let script = Script {
            steps: script::json_steps(answer, &[]),
            fault: None,
        };
        self.play(script, caller, response).await
    }

    /// Embeddings meet the faults that refuse a request. The others need an answer that takes its time: a list of
    /// numbers comes at once.
    async fn embed(&self, body: &[u8], caller: Caller, response: &mut Response<'_>) -> io::Result<()> {
        let faults = self.faults.active();
        let mut plan = Plan::new(&self.conditions(caller, faults.as_deref()));
        if let Some((fault, _)) = plan.fault
            && let Some(steps) = plan.refusal(false)
        {
            let fault = Some((0, fault));
            return self.play(Script { steps, fault }, caller, response).await;
        }
        self.say(&embeddings::answer(body), caller, response).await
    }

    /// Performs a script on the wire. Times are absolute, so that a slow write does not slow the rest.
    async fn play(&self, script: Script, caller: Caller, response: &mut Response<'_>) -> io::Result<()> {
        let mut at = self.clock.now();
        for (index, next) in script.steps.into_iter().enumerate() {
            if let Some((strikes_at, fault)) = script.fault
                && strikes_at == index
            {
                self.sink.injected(caller.call, caller.attempt, fault);
            }
            at = at + next.after;
            response.wait_until(at).await?;
            match next.step {
                Step::Head {
                    status,
                    headers,
                    framing,
                } => response.head(status, &headers, framing).await?,
                Step::Bytes(bytes) => response.body(&bytes).await?,
                Step::Reset => response.reset(),
                Step::Cut => response.cut(),
                Step::End => response.end().await?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_in_front_of_itself_is_seen() {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8033));
        let cases = [
            ("http://127.0.0.1:8033", true),
            ("http://LocalHost:8033/v1", true),
            ("http://127.0.0.1:8034", false),
            ("http://127.0.0.2:8033", false),
            ("https://api.example.com", false),
        ];
        for (upstream, itself) in cases {
            assert_eq!(
                is_itself(&Url::parse(upstream).unwrap(), addr),
                itself,
                "{upstream}"
            );
        }
    }
}
