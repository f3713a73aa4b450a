//! Reading of a success response under three timers: silence on the wire, silence of data, and the interval at
//! which text is emitted. A complete answer waits a little for what may follow it: usage and `[DONE]`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, header};

use super::Core;
use super::answer::{Answer, Chunk};
use super::answer_reader::{AnswerReader, BodyEnd, ReadProblem};
use super::attempt::record_oversleep;
use super::flight::Flight;
use super::guards::FlightGuard;
use super::layers::UpstreamRequest;
use super::transport::{ApiKey, BodyStream, Response, Transport};
use super::wire::{WireHead, WireHold, WireResponse};
use crate::dialect::Dialect;
use crate::event::{EventKind, Failure, Observer};
use crate::policy::classify::BodyProblem;
use crate::settings::TimeoutSettings;
use crate::text::SafeText;
use crate::time::Timestamp;

/// Least interval between two deltas of a stream: one frame of the screen.
const DELTA_INTERVAL: Duration = Duration::from_millis(33);
/// Bounds on the reading of what follows `[DONE]`, which lets the connection be used again.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_millis(250);
/// A timer may be late by its own granularity, a millisecond.
const DEADLINE_MARGIN: Duration = Duration::from_millis(2);

/// Text of a stream that is not emitted yet.
struct PendingDelta<'a> {
    /// Keys to redact.
    secrets: &'a [ApiKey],
    text: SafeText,
    reasoning: SafeText,
    text_chunks: u32,
    reasoning_chunks: u32,
    /// Time by which it must be emitted; `None` while nothing is pending.
    due: Option<Timestamp>,
    last_emitted: Timestamp,
}

/// A failure while a body is read.
enum ReadFailure {
    Silent(BodyProblem<'static>),
    Problem(ReadProblem),
}

/// A silence that has lasted too long.
enum Silent {
    /// After a complete answer.
    Complete,
    Problem(BodyProblem<'static>),
}

/// The silences of one body.
struct Silence {
    byte_idle: Duration,
    event_idle: Duration,
    after_finish: Duration,
    last_byte: Timestamp,
    last_event: Timestamp,
    /// Once the answer is complete, the end of the wait for what follows it.
    complete_at: Option<Timestamp>,
}

impl Silence {
    fn new(timeouts: &TimeoutSettings, now: Timestamp) -> Self {
        Self {
            byte_idle: timeouts.byte_idle,
            event_idle: timeouts.event_idle,
            after_finish: timeouts.after_finish,
            last_byte: now,
            last_event: now,
            complete_at: None,
        }
    }

    /// Bytes arrived, with or without news.
    fn arrived(&mut self, now: Timestamp, with_news: bool) {
        self.last_byte = now;
        if with_news {
            self.last_event = now;
        }
    }

    /// The answer is complete, or grew after it was.
    fn complete(&mut self, now: Timestamp, deadline: Timestamp) {
        self.complete_at = Some((now + self.after_finish).min(deadline));
    }

    /// The earliest end of a silence.
    fn ends_at(&self) -> Timestamp {
        let idle = (self.last_byte + self.byte_idle).min(self.last_event + self.event_idle);
        self.complete_at.map_or(idle, |at| at.min(idle))
    }

    /// The silence that has lasted too long, if one has.
    fn ended(&self, now: Timestamp) -> Option<Silent> {
        let (byte_idle, event_idle) = (self.byte_idle, self.event_idle);
        if self.complete_at.is_some_and(|at| at <= now) {
            Some(Silent::Complete)
        } else if now >= self.last_byte + byte_idle {
            Some(Silent::Problem(BodyProblem::Stalled { after: byte_idle }))
        } else if now >= self.last_event + event_idle {
            Some(Silent::Problem(BodyProblem::NoProgress { after: event_idle }))
        } else {
            None
        }
    }
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Reads the answer of a success response to its end. Each chunk goes to the flight at once and to the observer
    /// at intervals; of a body that is not a stream nothing is delivered before it is complete.
    pub(super) async fn read_answer(
        &self,
        guard: &mut FlightGuard<'_, T, O>,
        request: &UpstreamRequest,
        response: Response,
    ) -> Result<Answer, Failure> {
        let flight = guard.flight;
        let content_type = media_type(&response.headers);
        let max_bytes = guard.policy.timeouts.max_response_bytes;
        let dialect = request.wire.as_ref().map_or(Dialect::Chat, |wire| wire.dialect);
        let mut reader =
            AnswerReader::new(content_type == EVENT_STREAM, max_bytes, request.choices).with_dialect(dialect);
        let mut pending = PendingDelta::new(self.env.clock.now(), &request.secrets);
        let mut passing = request
            .wire
            .as_ref()
            .and_then(|_| Passing::new(flight, response.status));
        let read = self
            .read_body(guard, response.body, &mut reader, &mut pending, passing.as_mut())
            .await;
        let ended = read.and_then(|end| {
            let mut fresh = Vec::new();
            let ended = reader.end(end, &mut fresh);
            pending.deliver(flight, &mut fresh, self.env.clock.now());
            ended.map_err(ReadFailure::Problem)
        });
        self.emit_deltas(flight, &mut pending, self.env.clock.now(), true);
        match ended {
            Ok(()) => {}
            Err(ReadFailure::Silent(problem)) => {
                return Err(self.classify_body(flight, response.status, problem));
            }
            Err(ReadFailure::Problem(problem)) => {
                let mut failure = self.classify_problem(flight, response.status, &content_type, &problem);
                failure.message = request.redact(failure.message);
                return Err(failure);
            }
        }
        if let Some(passing) = &mut passing {
            passing.pass_rest(flight);
        }
        let mut answer = reader.answer(guard.prompt_tokens);
        if let (Some(passing), true) = (passing, request.storable || request.client_key.is_some()) {
            answer.wire = Some(Arc::new(passing.response(flight).stored()));
        }
        // it is shown again when the answer comes from the cache
        answer.shown = request.redact(answer.shown);
        Ok(answer)
    }

    /// Reads a body until it ends, or says nothing more that matters. Returns how it ended.
    async fn read_body(
        &self,
        guard: &mut FlightGuard<'_, T, O>,
        mut body: BodyStream,
        reader: &mut AnswerReader,
        pending: &mut PendingDelta<'_>,
        mut passing: Option<&mut Passing>,
    ) -> Result<BodyEnd, ReadFailure> {
        let (clock, flight) = (self.env.clock, guard.flight);
        let mut silence = Silence::new(&guard.policy.timeouts, clock.now());
        let mut fresh = Vec::new();
        // silence is only ever postponed: one timer serves all tokens, and looks again when it fires
        let timer = clock.sleep_until(silence.ends_at());
        let mut timer = std::pin::pin!(timer);
        loop {
            let wake_at = pending
                .due
                .map_or(silence.ends_at(), |due| due.min(silence.ends_at()));
            let read = tokio::select! {
                biased;
                read = body.next() => Some(read),
                () = clock.sleep_until(wake_at), if pending.due.is_some() => None,
                () = &mut timer => {
                    timer.set(clock.sleep_until(silence.ends_at()));
                    None
                }
            };
            let now = clock.now();
            record_oversleep(flight, wake_at, now);
            match read {
                None => self.emit_deltas(flight, pending, now, false),
                Some(None) => return Ok(BodyEnd::Clean),
                Some(Some(Err(error))) if error.reset => return Ok(BodyEnd::Reset),
                Some(Some(Err(_))) => return Ok(BodyEnd::Cut),
                Some(Some(Ok(bytes))) => {
                    let (progress, chunks) = (reader.progress(), reader.chunks());
                    let pushed = reader.push(&bytes, &mut fresh);
                    silence.arrived(now, reader.progress() > progress);
                    // unread bytes pass at once, and count as delivered
                    if reader.chunks() > chunks || !reader.dialect().is_known() {
                        guard.token(now);
                    }
                    pending.deliver(flight, &mut fresh, now);
                    self.emit_deltas(flight, pending, now, false);
                    pushed.map_err(ReadFailure::Problem)?;
                    if let Some(passing) = &mut passing {
                        passing.pass(flight, &bytes, reader);
                    }
                    if reader.is_done() {
                        self.drain(flight, body).await;
                        return Ok(BodyEnd::Clean);
                    }
                    let is_new = silence.complete_at.is_none() || reader.chunks() > chunks;
                    if !reader.is_complete() {
                        silence.complete_at = None;
                    } else if is_new {
                        // the wait must not run into the deadline, which would take the answer back
                        let deadline = flight.next_deadline() - DEADLINE_MARGIN;
                        silence.complete(now, deadline);
                        timer.set(clock.sleep_until(silence.ends_at()));
                    }
                }
            }
            match silence.ended(now) {
                None => {}
                Some(Silent::Problem(problem)) if !reader.has_ended() => {
                    return Err(ReadFailure::Silent(problem));
                }
                Some(_) => return Ok(BodyEnd::Clean),
            }
        }
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
    fn emit_deltas(&self, flight: &Flight, pending: &mut PendingDelta<'_>, now: Timestamp, all: bool) {
        if !(all || pending.due.is_some_and(|due| due <= now)) {
            return;
        }
        for (text, chunks, reasoning) in pending.take(now, all) {
            let kind = EventKind::StreamDelta {
                text,
                chunks,
                reasoning,
            };
            self.emit(flight, kind);
        }
    }

    fn classify_problem(
        &self,
        flight: &Flight,
        status: u16,
        content_type: &str,
        problem: &ReadProblem,
    ) -> Failure {
        let problem = match problem {
            ReadProblem::Malformed(excerpt) => BodyProblem::Malformed {
                excerpt: excerpt.as_bytes(),
            },
            ReadProblem::NotAnApi(excerpt) if content_type == JSON => BodyProblem::Malformed {
                excerpt: excerpt.as_bytes(),
            },
            ReadProblem::NotAnApi(excerpt) => BodyProblem::NotAnApi {
                content_type,
                excerpt: excerpt.as_bytes(),
            },
            ReadProblem::ErrorEvent(error) => BodyProblem::ErrorEvent { error },
            ReadProblem::TooLarge(cap) => BodyProblem::Oversize { cap: *cap },
            ReadProblem::Truncated { reset: false } => BodyProblem::Truncated,
            ReadProblem::Truncated { reset: true } => BodyProblem::Reset,
            ReadProblem::Empty => BodyProblem::Empty,
        };
        self.classify_body(flight, status, problem)
    }
}

impl<'a> PendingDelta<'a> {
    fn new(now: Timestamp, secrets: &'a [ApiKey]) -> Self {
        Self {
            secrets,
            text: SafeText::default(),
            reasoning: SafeText::default(),
            text_chunks: 0,
            reasoning_chunks: 0,
            due: None,
            last_emitted: now,
        }
    }

    /// Passes chunks on to the flight and keeps their text for the next event.
    fn deliver(&mut self, flight: &Flight, fresh: &mut Vec<Chunk>, now: Timestamp) {
        for chunk in fresh.drain(..) {
            self.push(&chunk, now);
            flight.append(chunk);
        }
    }

    fn push(&mut self, chunk: &Chunk, now: Timestamp) {
        match chunk {
            Chunk::Text(text) | Chunk::Refusal(text) => {
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

    /// Takes what can be emitted, redacted: `(text, chunks, reasoning)`. A text whose end may be the start of a key
    /// waits for the next chunk, unless this is the end: a key that arrives in two chunks must not be emitted in two.
    fn take(&mut self, now: Timestamp, is_end: bool) -> Vec<(SafeText, u32, bool)> {
        let secrets = self.secrets;
        let waits = |text: &SafeText| !is_end && secrets.iter().any(|key| key.may_start_at_end(text));
        self.due = None;
        self.last_emitted = now;
        [
            (&mut self.reasoning, &mut self.reasoning_chunks, true),
            (&mut self.text, &mut self.text_chunks, false),
        ]
        .into_iter()
        .filter(|(text, chunks, _)| **chunks > 0 && !waits(text))
        .map(|(text, chunks, reasoning)| {
            let text = secrets
                .iter()
                .fold(std::mem::take(text), |text, key| key.redact(text));
            (text, std::mem::take(chunks), reasoning)
        })
        .collect()
    }
}

/// The bytes of a response on their way to the calls of its flight.
struct Passing {
    head: Arc<WireHead>,
    hold: WireHold,
}

impl Passing {
    /// `None` before the headers of a response have arrived.
    fn new(flight: &Flight, status: u16) -> Option<Self> {
        let headers = flight.lock().headers.clone()?;
        let head = Arc::new(WireHead::new(status, headers)?);
        let hold = WireHold::default();
        Some(Self { head, hold })
    }

    /// Passes on the events of a stream that has content.
    fn pass(&mut self, flight: &Flight, bytes: &[u8], reader: &AnswerReader) {
        self.hold.push(bytes, reader.is_stream());
        let ready = match reader.dialect() {
            dialect if !dialect.is_known() => self.hold.take_rest(),
            _ if reader.chunks() > 0 => self.hold.take_events(),
            _ => None,
        };
        if let Some(bytes) = ready {
            flight.append_wire(&self.head, bytes);
        }
    }

    /// Passes on the rest of a complete answer, or its head alone if it is empty.
    fn pass_rest(&mut self, flight: &Flight) {
        let rest = self.hold.take_rest().unwrap_or_default();
        flight.append_wire(&self.head, rest);
    }

    /// The whole response.
    fn response(&self, flight: &Flight) -> WireResponse {
        WireResponse {
            head: self.head.as_ref().clone(),
            body: flight.lock().wire.body.clone(),
        }
    }
}

const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";

/// The media type in lower case, without parameters. JSON where it is missing, as llama-cpp-python and some
/// proxies leave it out.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value.map_or(JSON, |value| value.split(';').next().unwrap_or_default().trim());
    kind.to_ascii_lowercase()
}
