//! One attempt: sends the request and waits for the response headers, reads an error response, and classifies what
//! went wrong. `read` reads the answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, header};

use super::Core;
use super::answer::Answer;
use super::flight::Flight;
use super::guards::FlightGuard;
use super::layers::UpstreamRequest;
use super::transport::{AttemptRequest, BodyStream, Response, SendError, SendErrorKind, Transport};
use super::wire::WireResponse;
use crate::event::{Failure, FailureClass, Observer, UpstreamHealth};
use crate::policy::classify::{self, BodyProblem, ConnectKind, Observed, Upstream};
use crate::text::SafeText;
use crate::time::{Clock, Timestamp, unix_seconds};

/// Bounds on the reading of an error body.
const ERROR_BODY_BYTES: usize = 64 << 10;
/// The same for an error that passes on unchanged.
const PASSED_ERROR_BYTES: usize = 1 << 20;
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

impl<T: Transport, O: Observer> Core<T, O> {
    /// Sends an attempt that has begun, and reads its answer. Text goes to the flight as it comes.
    pub(super) async fn exchange(
        &self,
        guard: &mut FlightGuard<'_, T, O>,
        request: &UpstreamRequest,
        attempt: AttemptRequest,
    ) -> Result<Answer, Failure> {
        let flight = guard.flight;
        let limit = guard.policy.timeouts.headers;
        let due = self.env.clock.now() + limit;
        let response = tokio::select! {
            biased;
            response = self.transport.send(attempt) => {
                response.map_err(|error| self.classify(&observed_send(&error)))?
            }
            () = self.env.clock.sleep_until(due) => {
                record_oversleep(flight, due, self.env.clock.now());
                return Err(self.classify(&Observed::HeaderTimeout { after: limit }));
            }
        };
        guard.responded(&response);
        if !(200..300).contains(&response.status) {
            return Err(self.error_response(flight, request, response).await);
        }
        if let Some(encoding) = content_encoding(&response.headers) {
            let problem = BodyProblem::Compressed { encoding: &encoding };
            return Err(self.classify_body(flight, response.status, problem));
        }
        self.read_answer(guard, request, response).await
    }

    /// Reads and classifies a response with an error status.
    async fn error_response(
        &self,
        flight: &Flight,
        request: &UpstreamRequest,
        response: Response,
    ) -> Failure {
        let Response {
            status,
            headers,
            body,
        } = response;
        let limit = match request.wire {
            Some(_) => PASSED_ERROR_BYTES,
            None => ERROR_BODY_BYTES,
        };
        let body = self.read_some(body, limit).await;
        if request.wire.is_some() {
            flight.lock().wire.error =
                WireResponse::new(status, Arc::new(headers.clone()), vec![body.clone().into()]);
        }
        let observed = Observed::Response {
            status,
            headers: &headers,
            body: body.get(..ERROR_BODY_BYTES).unwrap_or(&body),
            wall_seconds: unix_seconds(),
        };
        // of the gateway's clients, each sends its own
        let of_client = || request.wire.as_ref()?.key_name();
        let key_name = self.transport.key_name().or_else(of_client);
        let mut failure = self.classify_with(key_name, &observed);
        failure.message = request.redact(failure.message);
        if failure.class == FailureClass::NotFound
            && let Some(unlisted) = self.unlisted_model()
        {
            failure.message = SafeText::new(&format!("{}; {unlisted}", failure.message));
        }
        failure
    }

    /// A hint that lists the upstream's models, if the configured model is not among them.
    fn unlisted_model(&self) -> Option<String> {
        let model = self.transport.info().model?;
        let models = self
            .lock()
            .models
            .iter()
            .map(|model| SafeText::new(model))
            .collect();
        UpstreamHealth::Ready { models }.unlisted(model.as_str())
    }

    /// Reads at most `limit` bytes of the body of an error.
    async fn read_some(&self, mut body: BodyStream, limit: usize) -> Vec<u8> {
        let give_up_at = self.env.clock.now() + ERROR_BODY_TIME;
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            tokio::select! {
                biased;
                read = body.next() => match read {
                    Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
                    Some(Err(_)) | None => break,
                },
                () = self.env.clock.sleep_until(give_up_at) => break,
            }
        }
        bytes.truncate(limit);
        bytes
    }

    /// Classifies what was observed, with the key redacted in the message.
    pub(super) fn classify(&self, observed: &Observed<'_>) -> Failure {
        self.classify_with(self.transport.key_name(), observed)
    }

    /// The same where this key was sent.
    fn classify_with(&self, key_name: Option<&str>, observed: &Observed<'_>) -> Failure {
        let info = self.transport.info();
        let upstream = Upstream {
            host: &info.host,
            model: info.model.as_deref(),
            key_name,
        };
        let mut failure = classify::classify(&upstream, observed);
        failure.message = self.transport.redact(failure.message);
        failure
    }

    /// Classifies a problem of a body under a success status.
    pub(super) fn classify_body(&self, flight: &Flight, status: u16, problem: BodyProblem<'_>) -> Failure {
        self.classify(&Observed::Body {
            status,
            delivered: flight.has_delivered(),
            problem,
        })
    }
}

/// Records that the machine slept, if a timer that was due at `due` fires as late as `now`.
pub(super) fn record_oversleep(flight: &Flight, due: Timestamp, now: Timestamp) {
    if Clock::overslept(due, now) {
        flight.lock().overslept = true;
    }
}

/// The content encoding of a compressed body. Servers also send `none`, or the name of a charset.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    let encoding = String::from_utf8_lossy(value.as_bytes())
        .trim()
        .to_ascii_lowercase();
    let codings = ["gzip", "deflate", "compress", "br", "zstd"];
    codings
        .iter()
        .any(|coding| encoding.contains(coding))
        .then_some(encoding)
}

/// The transport's error in the terms of the classifier.
pub(super) fn observed_send(error: &SendError) -> Observed<'_> {
    let kind = match error.kind {
        SendErrorKind::Refused => ConnectKind::Refused,
        SendErrorKind::Unreachable => ConnectKind::Unreachable,
        SendErrorKind::ConnectTimeout => ConnectKind::Timeout,
        SendErrorKind::DnsUnknown => ConnectKind::DnsUnknown,
        SendErrorKind::DnsTemporary => ConnectKind::DnsTemporary,
        SendErrorKind::TlsConfig => ConnectKind::TlsConfig,
        SendErrorKind::TlsHandshake => ConnectKind::TlsHandshake,
        SendErrorKind::Reset => return Observed::ResetBeforeHeaders { unsent: false },
        SendErrorKind::Framing => {
            return Observed::Body {
                status: 200,
                delivered: false,
                problem: BodyProblem::BadFraming {
                    detail: &error.detail,
                },
            };
        }
    };
    Observed::Connect {
        kind,
        detail: &error.detail,
    }
}
