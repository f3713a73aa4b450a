//! The server on a socket: start, shutdown, routes, and the player of scripts.

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
use super::forward::{BodyFault, Forward, endpoint_of};
use super::script::{self, Conditions, Plan, Script, Step};
use crate::dialect::Dialect;
use crate::settings::{Capacity, FaultProfile, LatencyProfile};
use crate::simulator::wire::{Handler, Limits, Request, Response, Server};
use crate::time::Clock;

/// The request header that identifies an attempt as `CALL.ATTEMPT`. It links an injected fault to its call and
/// makes the draw of the fault independent of the order of arrival. It is not forwarded to a real upstream.
pub(super) const ATTEMPT_HEADER: &str = "x-seawall-attempt";

/// The configuration of a simulator.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The seed of faults and latencies.
    pub seed: u64,
    /// The port on 127.0.0.1; 0 selects a free one.
    pub port: u16,
    /// The latency. In front of an upstream, only a drip uses it.
    pub latency: LatencyProfile,
    /// The capacity; unlimited if absent. Not used in front of an upstream.
    pub capacity: Option<Capacity>,
    /// The base URL of a real server to forward to, read as [`HttpConfig::base`](crate::client::HttpConfig::base)
    /// is; if absent, the simulator answers itself.
    pub upstream: Option<Url>,
    /// Root certificates to trust for the upstream, in addition to those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// A running simulator. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Simulator {
    server: Server,
}

impl Simulator {
    /// Listens on 127.0.0.1 and serves requests. Needs a tokio runtime.
    ///
    /// # Errors
    /// Fails if the port cannot be used, if the upstream is this server, or if a certificate is invalid.
    pub async fn start(
        config: SimulatorConfig,
        faults: FaultControl,
        sink: Arc<dyn FaultSink>,
        clock: Clock,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))
            .await
            .map_err(|error| listen_error(config.port, &error))?;
        let addr = listener.local_addr()?;
        if config
            .upstream
            .as_ref()
            .is_some_and(|upstream| is_itself(upstream, addr))
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the upstream {addr} is this server itself; choose another port"),
            ));
        }
        let forward = config.upstream.as_ref();
        let forward = forward
            .map(|upstream| Forward::new(upstream, &config.extra_roots))
            .transpose()?;
        let handler = Arc::new(SimulatorHandler {
            seed: config.seed,
            pace: config.latency,
            slots: Slots::new(config.capacity),
            forward,
            faults,
            sink,
            clock,
            arrivals: AtomicU64::new(0),
        });
        let server = Server::start(listener, handler, Limits::default(), clock)?;
        Ok(Self { server })
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Closes every connection and waits until all are closed.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
    }
}

/// Returns true if the upstream is this server, which would forward every request to itself.
fn is_itself(upstream: &Url, addr: SocketAddr) -> bool {
    let here = match upstream.host() {
        Some(Host::Ipv4(ip)) => ip == addr.ip() || ip.is_unspecified(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv6(_)) | None => false,
    };
    here && upstream.port_or_known_default() == Some(addr.port())
}

/// Adds the port and a remedy to the error.
fn listen_error(port: u16, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses it; choose another port, or 0 for any free one",
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

struct SimulatorHandler {
    seed: u64,
    pace: LatencyProfile,
    slots: Slots,
    forward: Option<Forward>,
    faults: FaultControl,
    sink: Arc<dyn FaultSink>,
    clock: Clock,
    arrivals: AtomicU64,
}

impl fmt::Debug for SimulatorHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatorHandler")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The attempt that sent a request, if it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AttemptId {
    call: Option<u64>,
    attempt: u32,
}

impl AttemptId {
    fn from_request(request: &Request) -> Self {
        let parsed = request.header(ATTEMPT_HEADER).and_then(|value| {
            let (call, attempt) = value.split_once('.')?;
            Some((call.parse().ok()?, attempt.parse().ok()?))
        });
        Self {
            call: parsed.map(|(call, _)| call),
            attempt: parsed.map_or(0, |(_, attempt)| attempt),
        }
    }
}

/// The dialect of a request to a real upstream, and true if it wants a stream; `None` if its answer never breaks. The
/// body is not judged: an upstream may accept what the simulator itself rejects (a long prompt, an image).
fn breakable(request: &Request) -> Option<(Dialect, bool)> {
    let endpoint = endpoint_of(request.path()).filter(|_| request.method == ::http::Method::POST)?;
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
    Some((Dialect::for_endpoint(endpoint), body["stream"] == true))
}

impl Handler for SimulatorHandler {
    async fn handle(&self, request: Request, response: &mut Response<'_>) -> io::Result<()> {
        let sender = AttemptId::from_request(&request);
        if let Some(forward) = &self.forward {
            return self.forward(forward, request, sender, response).await;
        }
        let chat = request.method == ::http::Method::POST
            && matches!(request.path(), "/v1/chat/completions" | "/chat/completions");
        if request.method == ::http::Method::POST && embeddings::is_route(request.path()) {
            return self.embed(&request.body, sender, response).await;
        }
        if !chat {
            let answer = answer::route(&request.method, request.path()).unwrap_or_else(answer::not_found);
            return self.respond(&answer, sender, response).await;
        }
        match answer::parse_chat(&request.body) {
            Ok(ask) => {
                let faults = self.faults.active();
                let script = Script::new(&ask, &self.conditions(sender, faults.as_deref()));
                // a client that disconnects in the queue frees its place
                let slots = self.faults.slots().unwrap_or_else(|| self.slots.clone());
                match response.while_connected(slots.enter()).await? {
                    Some(_slot) => self.perform(script, sender, response).await,
                    None => self.perform(Script::busy(Dialect::Chat), sender, response).await,
                }
            }
            Err(answer) => self.respond(&answer, sender, response).await,
        }
    }
}

impl SimulatorHandler {
    /// Forwards a request to a real upstream, and breaks its answer if a fault is due.
    async fn forward(
        &self,
        forward: &Forward,
        request: Request,
        sender: AttemptId,
        response: &mut Response<'_>,
    ) -> io::Result<()> {
        let on_failure = |reason| self.sink.upstream_failed(reason);
        let Some((dialect, stream)) = breakable(&request) else {
            return forward.pass(request, response, None, &on_failure).await;
        };
        let faults = self.faults.active();
        let conditions = self.conditions(sender, faults.as_deref());
        let mut plan = Plan::new(&conditions);
        if let Some((fault, _)) = plan.fault
            && let Some(steps) = plan.bodyless_fault(dialect, stream)
        {
            let script = Script {
                steps,
                fault: Some((0, fault)),
            };
            return self.perform(script, sender, response).await;
        }
        let on_inject = |fault| self.sink.injected(sender.call, sender.attempt, fault);
        let has_fault = plan.fault.is_some();
        let fault = has_fault.then(|| BodyFault::new(dialect, plan, &on_inject, self.clock));
        let slots = self.faults.slots().unwrap_or_else(|| Slots::new(None));
        let Some(_slot) = response.while_connected(slots.enter()).await? else {
            return self.perform(Script::busy(dialect), sender, response).await;
        };
        forward.pass(request, response, fault, &on_failure).await
    }

    fn conditions<'a>(&self, sender: AttemptId, faults: Option<&'a FaultProfile>) -> Conditions<'a> {
        let number = match sender.call {
            Some(call) => script::attempt_number(call, sender.attempt),
            None => self.arrivals.fetch_add(1, Ordering::Relaxed),
        };
        Conditions {
            faults,
            pace: self.pace,
            seed: self.seed,
            number,
        }
    }

    async fn respond(
        &self,
        answer: &Answer,
        sender: AttemptId,
        response: &mut Response<'_>,
    ) -> io::Result<()> {
        let script = Script {
            steps: script::json_steps(answer, &[]),
            fault: None,
        };
        self.perform(script, sender, response).await
    }

    /// Serves embeddings. Only faults that replace the answer apply: a list of numbers is sent at once.
    async fn embed(&self, body: &[u8], sender: AttemptId, response: &mut Response<'_>) -> io::Result<()> {
        let faults = self.faults.active();
        let mut plan = Plan::new(&self.conditions(sender, faults.as_deref()));
        if let Some((fault, _)) = plan.fault
            && let Some(steps) = plan.bodyless_fault(Dialect::Embeddings, false)
        {
            let fault = Some((0, fault));
            return self.perform(Script { steps, fault }, sender, response).await;
        }
        self.respond(&embeddings::answer(body), sender, response).await
    }

    /// Performs a script on the wire. Times are absolute, so that a slow write does not delay the rest.
    async fn perform(
        &self,
        script: Script,
        sender: AttemptId,
        response: &mut Response<'_>,
    ) -> io::Result<()> {
        let mut at = self.clock.now();
        for (index, next) in script.steps.into_iter().enumerate() {
            if let Some((fault_step, fault)) = script.fault
                && fault_step == index
            {
                self.sink.injected(sender.call, sender.attempt, fault);
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
    fn detects_an_upstream_that_is_itself() {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8033));
        let cases = [
            ("http://127.0.0.1:8033", true),
            ("http://LocalHost:8033/v1", true),
            ("http://0.0.0.0:8033", true),
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
