//! One attempt, from the request to the end of its answer, under four timers: response headers, silence on the
//! wire, silence of data, and the interval at which text is emitted.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, header};

use super::Core;
use super::answer::{Answer, Chunk};
use super::assemble::{self, Assembler, Problem};
use super::flight::Flight;
use super::guards::FlightGuard;
use super::transport::{ApiKey, AttemptRequest, BodyStream, Response, SendError, SendErrorKind, Transport};
use crate::event::{EventKind, Failure, FailureClass, Observer, UpstreamHealth};
use crate::policy::classify::{self, BodyProblem, ConnectKind, Observed, Upstream};
use crate::settings::TimeoutSettings;
use crate::text::SafeText;
use crate::time::{Clock, Timestamp, unix_seconds};

/// Least interval between two deltas of a stream: one frame of the screen.
const DELTA_INTERVAL: Duration = Duration::from_millis(33);
/// Bounds on the reading of an error body.
const ERROR_BODY_BYTES: usize = 64 << 10;
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);
/// Bounds on the reading of what follows `[DONE]`, which lets the connection be used again.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_millis(250);
/// A timer may be late by its own granularity, a millisecond.
const DEADLINE_MARGIN: Duration = Duration::from_millis(2);

/// Text of a stream that is not emitted yet.
struct PendingDelta {
    text: SafeText,
    reasoning: SafeText,
    text_chunks: u32,
    reasoning_chunks: u32,
    /// Time by which it must be emitted; `None` while nothing is pending.
    due: Option<Timestamp>,
    last_emitted: Timestamp,
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Sends the request of an attempt that has begun and reads its answer. Text goes to the flight as it comes.
    pub(super) async fn exchange(
        &self,
        guard: &mut FlightGuard<'_, T, O>,
        request: AttemptRequest,
    ) -> Result<Answer, Failure> {
        let flight = guard.flight;
        let limit = guard.policy.timeouts.headers;
        let due = self.env.clock.now() + limit;
        let response = tokio::select! {
            biased;
            response = self.transport.send(request) => {
                response.map_err(|error| self.classify(&observed_send(&error)))?
            }
            () = self.env.clock.sleep_until(due) => {
                record_oversleep(flight, due, self.env.clock.now());
                return Err(self.classify(&Observed::HeaderTimeout { after: limit }));
            }
        };
        guard.responded(&response);
        if response.status != 200 {
            return Err(self.error_response(response).await);
        }
        if let Some(encoding) = content_encoding(&response.headers) {
            return Err(self.classify_body(flight, BodyProblem::Compressed { encoding: &encoding }));
        }
        match media_type(&response.headers).as_str() {
            "text/event-stream" => self.read_stream(guard, response.body).await,
            "application/json" => self.read_whole(guard, response.body).await,
            other => {
                let body = self.read_some(response.body).await;
                let excerpt = body.get(..200).unwrap_or(&body);
                Err(self.classify_body(
                    flight,
                    BodyProblem::NotAnApi {
                        content_type: other,
                        excerpt,
                    },
                ))
            }
        }
    }

    /// Reads a stream to its end. Each chunk goes to the flight at once and to the observer at intervals.
    async fn read_stream(
        &self,
        guard: &mut FlightGuard<'_, T, O>,
        mut body: BodyStream,
    ) -> Result<Answer, Failure> {
        let clock = self.env.clock;
        let flight = guard.flight;
        let TimeoutSettings {
            byte_idle,
            event_idle,
            max_response_bytes,
            ..
        } = guard.policy.timeouts;
        let mut assembler = Assembler::new(max_response_bytes);
        let mut fresh = Vec::new();
        let mut pending = PendingDelta::new(clock.now());
        let (mut last_byte, mut last_event) = (clock.now(), clock.now());
        // silence is only ever postponed: one timer serves all tokens, and looks again when it fires
        let silence = clock.sleep_until(last_byte + byte_idle.min(event_idle));
        let mut silence = std::pin::pin!(silence);
        let broken = loop {
            let silent_at = (last_byte + byte_idle).min(last_event + event_idle);
            let wake_at = pending.due.map_or(silent_at, |due| due.min(silent_at));
            let read = tokio::select! {
                biased;
                read = body.next() => Some(read),
                () = clock.sleep_until(wake_at), if pending.due.is_some() => None,
                () = &mut silence => {
                    silence.set(clock.sleep_until(silent_at));
                    None
                }
            };
            let now = clock.now();
            record_oversleep(flight, wake_at, now);
            let Some(read) = read else {
                self.emit_deltas(flight, &mut pending, now, false);
                let problem = if now >= last_byte + byte_idle {
                    BodyProblem::Stalled { after: byte_idle }
                } else if now >= last_event + event_idle {
                    BodyProblem::NoProgress { after: event_idle }
                } else {
                    continue;
                };
                self.emit_deltas(flight, &mut pending, now, true);
                return Err(self.classify_body(flight, problem));
            };
            last_byte = now;
            let bytes = match read {
                None => break None,
                Some(Err(error)) => break Some(error.reset),
                Some(Ok(bytes)) => bytes,
            };
            let events = assembler.events();
            let first = assembler.chunks() == 0;
            let pushed = assembler.push(&bytes, &mut fresh);
            if assembler.events() > events {
                last_event = now;
            }
            if first && !fresh.is_empty() {
                guard.first_token(now);
            }
            for chunk in fresh.drain(..) {
                pending.push(&chunk, now);
                flight.append(chunk);
            }
            self.emit_deltas(flight, &mut pending, now, pushed.is_err());
            pushed.map_err(|problem| self.classify_problem(flight, &problem))?;
            if assembler.is_done() {
                self.drain(flight, body).await;
                break None;
            }
        };
        self.emit_deltas(flight, &mut pending, clock.now(), true);
        let answer = assembler.finish(broken, guard.prompt_tokens);
        answer
            .map(|answer| self.redact_shown(answer))
            .map_err(|problem| self.classify_problem(flight, &problem))
    }

    /// Reads an answer that is not streamed. Nothing of it is delivered before it is complete.
    async fn read_whole(
        &self,
        guard: &FlightGuard<'_, T, O>,
        mut body: BodyStream,
    ) -> Result<Answer, Failure> {
        let flight = guard.flight;
        let TimeoutSettings {
            byte_idle,
            max_response_bytes,
            ..
        } = guard.policy.timeouts;
        let mut bytes = Vec::new();
        loop {
            let due = self.env.clock.now() + byte_idle;
            let read = tokio::select! {
                biased;
                read = body.next() => read,
                () = self.env.clock.sleep_until(due) => {
                    record_oversleep(flight, due, self.env.clock.now());
                    return Err(self.classify_body(flight, BodyProblem::Stalled { after: byte_idle }));
                }
            };
            match read {
                None => break,
                Some(Err(error)) => {
                    return Err(self.classify_problem(flight, &Problem::Truncated { reset: error.reset }));
                }
                Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
            }
            if bytes.len() as u64 > max_response_bytes {
                return Err(self.classify_body(
                    flight,
                    BodyProblem::Oversize {
                        cap: max_response_bytes,
                    },
                ));
            }
        }
        let answer = assemble::from_body(&bytes, guard.prompt_tokens)
            .map_err(|problem| self.classify_problem(flight, &problem))?;
        let now = self.env.clock.now();
        let mut pending = PendingDelta::new(now);
        for chunk in answer.to_chunks() {
            pending.push(&chunk, now);
            flight.append(chunk);
        }
        self.emit_deltas(flight, &mut pending, now, true);
        Ok(self.redact_shown(answer))
    }

    /// Redacts the text that is shown again when the answer comes from the cache.
    fn redact_shown(&self, mut answer: Answer) -> Answer {
        answer.shown = self.transport.redact(answer.shown);
        answer
    }

    /// Reads and classifies a response whose status is not 200.
    async fn error_response(&self, response: Response) -> Failure {
        let Response {
            status,
            headers,
            body,
        } = response;
        let body = self.read_some(body).await;
        let mut failure = self.classify(&Observed::Response {
            status,
            headers: &headers,
            body: &body,
            wall_seconds: unix_seconds(),
        });
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

    /// Reads the beginning of a body that is needed for a message only.
    async fn read_some(&self, mut body: BodyStream) -> Vec<u8> {
        let give_up_at = self.env.clock.now() + ERROR_BODY_TIME;
        let mut bytes = Vec::new();
        while bytes.len() < ERROR_BODY_BYTES {
            tokio::select! {
                biased;
                read = body.next() => match read {
                    Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
                    Some(Err(_)) | None => break,
                },
                () = self.env.clock.sleep_until(give_up_at) => break,
            }
        }
        bytes.truncate(ERROR_BODY_BYTES);
        bytes
    }

    /// Reads what follows `[DONE]`, within bounds, so that the connection returns to the pool. Stops before the
    /// next deadline, which must not take back an answer that is complete.
    async fn drain(&self, flight: &Flight, mut body: BodyStream) {
        let in_time = flight.next_deadline() - DEADLINE_MARGIN;
        let give_up_at = (self.env.clock.now() + DRAIN_TIME).min(in_time);
        let mut read_bytes = 0;
        while read_bytes < DRAIN_BYTES {
            tokio::select! {
                biased;
                read = body.next() => match read {
                    Some(Ok(chunk)) => read_bytes += chunk.len(),
                    Some(Err(_)) | None => break,
                },
                () = self.env.clock.sleep_until(give_up_at) => break,
            }
        }
    }

    /// Emits the pending text if it is due, or in any case if `all` is set.
    fn emit_deltas(&self, flight: &Flight, pending: &mut PendingDelta, now: Timestamp, all: bool) {
        if !(all || pending.due.is_some_and(|due| due <= now)) {
            return;
        }
        let keys = if all { &[][..] } else { self.transport.keys() };
        for (text, chunks, reasoning) in pending.take(now, keys) {
            let text = self.transport.redact(text);
            let kind = EventKind::StreamDelta {
                text,
                chunks,
                reasoning,
            };
            self.emit(flight, kind);
        }
    }

    /// Classifies what was observed, with the key redacted in the message.
    pub(super) fn classify(&self, observed: &Observed<'_>) -> Failure {
        let info = self.transport.info();
        let upstream = Upstream {
            host: &info.host,
            model: info.model.as_deref(),
            key_name: self.transport.key_name(),
        };
        let mut failure = classify::classify(&upstream, observed);
        failure.message = self.transport.redact(failure.message);
        failure
    }

    fn classify_body(&self, flight: &Flight, problem: BodyProblem<'_>) -> Failure {
        self.classify(&Observed::Body {
            status: 200,
            delivered: flight.has_delivered(),
            problem,
        })
    }

    fn classify_problem(&self, flight: &Flight, problem: &Problem) -> Failure {
        let problem = match problem {
            Problem::Malformed(excerpt) => BodyProblem::Malformed {
                excerpt: excerpt.as_bytes(),
            },
            Problem::ErrorEvent(error) => BodyProblem::ErrorEvent { error },
            Problem::TooLarge(cap) => BodyProblem::Oversize { cap: *cap },
            Problem::Truncated { reset: false } => BodyProblem::Truncated,
            Problem::Truncated { reset: true } => BodyProblem::Reset,
            Problem::Empty => BodyProblem::Empty,
        };
        self.classify_body(flight, problem)
    }
}

/// Records that the machine slept, if a timer that was due at `due` fires as late as `now`.
fn record_oversleep(flight: &Flight, due: Timestamp, now: Timestamp) {
    if Clock::overslept(due, now) {
        flight.lock().overslept = true;
    }
}

impl PendingDelta {
    fn new(now: Timestamp) -> Self {
        Self {
            text: SafeText::default(),
            reasoning: SafeText::default(),
            text_chunks: 0,
            reasoning_chunks: 0,
            due: None,
            last_emitted: now,
        }
    }

    fn push(&mut self, chunk: &Chunk, now: Timestamp) {
        match chunk {
            Chunk::Text(text) => {
                self.text.push(text);
                self.text_chunks += 1;
            }
            Chunk::Reasoning(text) => {
                self.reasoning.push(text);
                self.reasoning_chunks += 1;
            }
            Chunk::ToolCalls(_) => return,
        }
        // the first chunk after a pause is emitted at once
        let due = (self.last_emitted + DELTA_INTERVAL).max(now);
        self.due.get_or_insert(due);
    }

    /// Takes what can be emitted: `(text, chunks, reasoning)`. A text whose end may be the start of a key waits
    /// for the next chunk: a key that arrives in two chunks must not be emitted in two.
    fn take(&mut self, now: Timestamp, keys: &[ApiKey]) -> Vec<(SafeText, u32, bool)> {
        self.due = None;
        self.last_emitted = now;
        [
            (&mut self.reasoning, &mut self.reasoning_chunks, true),
            (&mut self.text, &mut self.text_chunks, false),
        ]
        .into_iter()
        .filter(|(text, chunks, _)| **chunks > 0 && !keys.iter().any(|key| key.may_start_at_end(text)))
        .map(|(text, chunks, reasoning)| (std::mem::take(text), std::mem::take(chunks), reasoning))
        .collect()
    }
}

/// The media type in lower case, without parameters. JSON where it is missing, as llama-cpp-python and some
/// proxies leave it out.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value.map_or("application/json", |value| {
        value.split(';').next().unwrap_or_default().trim()
    });
    kind.to_ascii_lowercase()
}

/// The content encoding of a compressed body.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    let encoding = String::from_utf8_lossy(value.as_bytes())
        .trim()
        .to_ascii_lowercase();
    (!matches!(encoding.as_str(), "" | "identity")).then_some(encoding)
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
