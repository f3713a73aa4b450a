//! The simulator in memory: performs a script under a given clock. With a paused clock an hour of answers takes no
//! real time.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use http::{HeaderName, HeaderValue};

use super::capacity::Slots;
use super::fault::{FaultControl, FaultSink};
use super::script::{ChatSpec, Conditions, Script, Step, attempt_number};
use crate::client::{ApiKey, AttemptRequest, BodyError, Response, SendError, SendErrorKind, Transport};
use crate::dialect::Dialect;
use crate::event::UpstreamInfo;
use crate::openai::ChatRequest;
use crate::settings::{Capacity, FaultKind, LatencyProfile};
use crate::time::Clock;

/// An event as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LocalEvent {
    /// The status and the header fields, without those of the framing.
    Head {
        status: u16,
        headers: Vec<(&'static str, String)>,
    },
    /// A piece of the body.
    Bytes(Bytes),
    /// The connection was reset; nothing follows.
    Reset,
    /// The connection was closed before the end of the body; nothing follows.
    Cut,
    /// The body is complete; nothing follows.
    End,
}

/// Performs a script from now on. Times are absolute: a slow reader finds several steps due at once, as on a
/// socket. `on_inject` is called when the wait for the fault begins. Dropping the stream ends the answer.
fn local_stream(
    script: Script,
    clock: Clock,
    on_inject: impl Fn(FaultKind) + Send,
) -> impl Stream<Item = LocalEvent> + Send {
    let fault = script.fault;
    let steps = script.steps.into_iter().enumerate();
    stream::unfold(
        (steps, clock.now(), on_inject),
        move |(mut steps, at, on_inject)| async move {
            let (index, next) = steps.next()?;
            if let Some((fault_step, fault)) = fault
                && fault_step == index
            {
                on_inject(fault);
            }
            let at = at + next.after;
            clock.sleep_until(at).await;
            let event = match next.step {
                Step::Head { status, headers, .. } => LocalEvent::Head { status, headers },
                Step::Bytes(bytes) => LocalEvent::Bytes(bytes),
                Step::Reset => LocalEvent::Reset,
                Step::Cut => LocalEvent::Cut,
                Step::End => LocalEvent::End,
            };
            Some((event, (steps, at, on_inject)))
        },
    )
}

/// The simulator as an in-memory transport, for virtual time. Clones share one server.
#[derive(Clone)]
pub struct LocalTransport {
    seed: u64,
    pace: LatencyProfile,
    slots: Slots,
    faults: FaultControl,
    sink: Arc<dyn FaultSink>,
    clock: Clock,
}

impl std::fmt::Debug for LocalTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalTransport")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl LocalTransport {
    /// Creates a simulator that draws from `seed`, with unlimited capacity and no sink for faults.
    pub fn new(seed: u64, pace: LatencyProfile, faults: FaultControl, clock: Clock) -> Self {
        Self {
            seed,
            pace,
            slots: Slots::new(None),
            faults,
            sink: Arc::new(()),
            clock,
        }
    }

    /// Limits the capacity.
    #[must_use]
    pub fn with_capacity(self, capacity: Option<Capacity>) -> Self {
        Self {
            slots: Slots::new(capacity),
            ..self
        }
    }

    /// Reports every injected fault to `sink`.
    #[must_use]
    pub fn with_sink(self, sink: Arc<dyn FaultSink>) -> Self {
        Self { sink, ..self }
    }
}

impl Transport for LocalTransport {
    fn keys(&self) -> &[ApiKey] {
        &[]
    }

    async fn send(&self, request: AttemptRequest) -> Result<Response, SendError> {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let chat = ChatRequest::try_from(body).unwrap_or_else(|_| ChatRequest::new([]));
        let profile = self.faults.active();
        let conditions = Conditions {
            faults: profile.as_deref(),
            pace: self.pace,
            seed: self.seed,
            number: attempt_number(request.call.0, request.attempt),
        };
        let script = Script::new(
            &ChatSpec::with_prompt_tokens(&chat, request.prompt_tokens),
            &conditions,
        );
        let slots = self.faults.slots().unwrap_or_else(|| self.slots.clone());
        let slot = slots.enter().await;
        let script = if slot.is_some() {
            script
        } else {
            Script::busy(Dialect::Chat)
        };
        let (sink, call, attempt) = (Arc::clone(&self.sink), request.call.0, request.attempt);
        let on_inject = move |fault| sink.injected(Some(call), attempt, fault);
        let mut events = Box::pin(local_stream(script, self.clock, on_inject));
        let Some(LocalEvent::Head { status, headers }) = events.next().await else {
            return Err(SendError {
                kind: SendErrorKind::Reset,
                detail: "connection reset".into(),
            });
        };
        let headers = headers.into_iter().filter_map(|(name, value)| {
            Some((
                HeaderName::from_bytes(name.as_bytes()).ok()?,
                HeaderValue::try_from(value).ok()?,
            ))
        });
        let broken = |reset, detail: &str| {
            Err(BodyError {
                reset,
                detail: detail.into(),
            })
        };
        let body = events.filter_map(move |event| {
            // the slot is held until the body ends or is dropped
            let _held = &slot;
            std::future::ready(match event {
                LocalEvent::Bytes(bytes) => Some(Ok(bytes)),
                LocalEvent::Reset => Some(broken(true, "connection reset")),
                LocalEvent::Cut => Some(broken(false, "connection closed before the end of the body")),
                LocalEvent::Head { .. } | LocalEvent::End => None,
            })
        });
        Ok(Response {
            status,
            headers: headers.collect(),
            body: Box::pin(body),
        })
    }

    fn info(&self) -> UpstreamInfo {
        UpstreamInfo {
            host: "simulator".into(),
            model: Some(super::MODEL.into()),
            simulated: true,
            loopback: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::FaultProfile;

    #[tokio::test(start_paused = true)]
    async fn a_stall_takes_its_time_on_the_virtual_clock() {
        let faults = FaultProfile {
            stall: 1.0,
            stall_for: Duration::from_hours(1),
            ..FaultProfile::default()
        };
        let conditions = Conditions {
            faults: Some(&faults),
            pace: LatencyProfile::default(),
            seed: 1,
            number: 1,
        };
        let script = Script::new(&ChatSpec::new(&ChatRequest::prompt("sea")), &conditions);
        let clock = Clock::start();
        let events: Vec<_> = local_stream(script, clock, |_| {}).collect().await;
        assert_eq!(events, [LocalEvent::Reset]);
        assert_eq!(clock.now().as_secs_f64().round() as u64, 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_complete_and_follows_its_schedule() {
        let ask = ChatSpec::new(&ChatRequest::prompt("sea").with("stream", true));
        let conditions = Conditions {
            faults: None,
            pace: LatencyProfile::default(),
            seed: 1,
            number: 1,
        };
        let script = Script::new(&ask, &conditions);
        let planned: Duration = script.steps.iter().map(|step| step.after).sum();
        let clock = Clock::start();
        let events: Vec<_> = local_stream(script.clone(), clock, |_| {}).collect().await;
        assert_eq!(events.len(), script.steps.len());
        assert_eq!(events.last(), Some(&LocalEvent::End));
        let took = clock.now().since(crate::time::Timestamp::ZERO);
        assert!(
            took.abs_diff(planned) < Duration::from_millis(2),
            "{took:?} {planned:?}"
        );
    }
}
