//! The way to the upstream: straight, or through the simulator that breaks what passes.
//!
//! With faults off a real upstream is asked directly, so that its own errors are seen as they are: a refused
//! connection behind a middleman would look like a reset. With faults on the way leads through the middle.

use crate::client::{ApiKey, AttemptRequest, HttpTransport, Response, SendError, Transport};
use crate::event::UpstreamInfo;
use crate::simulator::FaultControl;

/// Chooses the way for each attempt.
#[derive(Clone, Debug)]
pub struct Route {
    /// Through the simulator; it is the upstream itself where there is no other.
    through_simulator: HttpTransport,
    /// Straight to a real upstream.
    direct: Option<HttpTransport>,
    faults: FaultControl,
}

impl Route {
    /// A route; `direct` leads to the real upstream, if there is one.
    pub fn new(
        through_simulator: HttpTransport,
        direct: Option<HttpTransport>,
        faults: FaultControl,
    ) -> Self {
        Self {
            through_simulator,
            direct,
            faults,
        }
    }

    fn way(&self) -> &HttpTransport {
        match &self.direct {
            Some(direct) if !self.faults.is_on() => direct,
            _ => &self.through_simulator,
        }
    }

    /// The transport that leads to whoever answers in the end: for probes and for the name on the screen.
    pub fn upstream(&self) -> &HttpTransport {
        self.direct.as_ref().unwrap_or(&self.through_simulator)
    }
}

impl Transport for Route {
    async fn send(&self, request: AttemptRequest) -> Result<Response, SendError> {
        self.way().send(request).await
    }

    fn info(&self) -> UpstreamInfo {
        self.upstream().info()
    }

    fn credential_id(&self) -> u64 {
        self.upstream().credential_id()
    }

    fn key(&self) -> Option<&ApiKey> {
        self.upstream().key()
    }
}
