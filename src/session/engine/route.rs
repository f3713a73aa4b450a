//! The route to the upstream: direct, or through the simulator that injects faults.
//!
//! With faults off, requests go to a real upstream directly, so that its errors keep their form: behind a proxy a
//! refused connection would look like a reset. With faults on, they pass through the simulator.

use crate::client::{ApiKey, AttemptRequest, HttpTransport, Response, SendError, Transport};
use crate::event::UpstreamInfo;
use crate::simulator::FaultControl;

/// A transport that chooses the route of each attempt.
#[derive(Clone, Debug)]
pub struct Route {
    /// Through the simulator, which is the upstream itself without a real one.
    through_simulator: HttpTransport,
    /// Direct to a real upstream.
    direct: Option<HttpTransport>,
    faults: FaultControl,
}

impl Route {
    /// A route; `direct` is the transport to the real upstream, if any.
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

    fn current(&self) -> &HttpTransport {
        match &self.direct {
            Some(direct) if !self.faults.is_on() => direct,
            _ => &self.through_simulator,
        }
    }

    /// The transport of the server that answers in the end, for probes and for the name on the screen.
    pub fn upstream(&self) -> &HttpTransport {
        self.direct.as_ref().unwrap_or(&self.through_simulator)
    }
}

impl Transport for Route {
    async fn send(&self, request: AttemptRequest) -> Result<Response, SendError> {
        self.current().send(request).await
    }

    fn info(&self) -> UpstreamInfo {
        self.upstream().info()
    }

    fn credential_id(&self) -> u64 {
        self.upstream().credential_id()
    }

    fn keys(&self) -> &[ApiKey] {
        self.upstream().keys()
    }
}
