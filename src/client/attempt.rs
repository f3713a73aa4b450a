//! One attempt from the request to the end of its answer, with its four clocks: headers, silence on the
//! wire, silence of data, and the pace at which text is told to the screen.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, header};

use super::Core;
use super::answer::{Answer, Chunk};
use super::assemble::{self, Assembler, Problem};
use super::flight::Flight;
use super::guards::Pass;
use super::transport::{ApiKey, AttemptRequest, BodyStream, Response, SendError, SendErrorKind, Transport};
use crate::event::{AttemptResult, EventKind, Failure, FailureClass, Observer, UpstreamHealth};
use crate::policy::classify::{self, BodyProblem, ConnectKind, Observed, Progress, Upstream};
use crate::settings::TimeoutSettings;
use crate::text::SafeText;
use crate::time::{Clock, Timestamp, unix_seconds};

/// Text is told at most this often: a frame of the screen.
const TELL_EVERY: Duration = Duration::from_millis(33);
/// An error body is read so far, and no longer than this.
const ERROR_BODY_BYTES: usize = 64 << 10;
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);
/// After `[DONE]` the rest of the body is read so far, so that the connection can be used again.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_millis(250);
/// A timer may be late by its own granularity, a millisecond.
const DEADLINE_MARGIN: Duration = Duration::from_millis(2);

/// What every step of an attempt needs to know.
pub(super) struct Attempt<'a> {
    pub(super) flight: &'a Flight,
    pub(super) number: u32,
    pub(super) started_at: Timestamp,
    pub(super) prompt_tokens: u64,
    pub(super) timeouts: &'a TimeoutSettings,
}

/// Says how the attempt ended if it did not come to its own end: dropping the future that runs an attempt
/// is how it is cancelled, and a deadline and a panic end it in the same way.
struct Ending<'a, T: Transport, O: Observer> {
    core: &'a Core<T, O>,
    flight: &'a Flight,
    number: u32,
    started_at: Timestamp,
    ended: bool,
}

impl<T: Transport, O: Observer> Ending<'_, T, O> {
    fn tell(&mut self, result: AttemptResult) {
        self.ended = true;
        let took = self.core.env.clock.now().since(self.started_at);
        self.core.note(
            self.flight,
            EventKind::AttemptEnded {
                attempt: self.number,
                result,
                took,
            },
        );
    }
}

impl<T: Transport, O: Observer> Ending<'_, T, O> {
    /// Why the attempt ended, if not because nobody wants it any more. Left in the flight for the breaker: an
    /// upstream that hangs until callers run out of time must not look healthy.
    fn cut_short(&self) -> Option<Failure> {
        let mut log = self.flight.lock();
        let failure = if std::thread::panicking() {
            self.core.judge(&Observed::Panic { detail: "panic" })
        } else if log.expired {
            let owner = log.subscribers.first();
            let given = owner.map(|one| one.deadline.since(one.started_at));
            let progress = match (log.chunks.is_empty(), log.responded) {
                (false, _) => Progress::Delivered,
                (true, true) => Progress::Begun,
                (true, false) => Progress::Sent,
            };
            self.core.judge(&Observed::Deadline {
                after: given.unwrap_or_default(),
                progress,
            })
        } else {
            return None;
        };
        log.cut_short = Some(failure.clone());
        Some(failure)
    }
}

impl<T: Transport, O: Observer> Drop for Ending<'_, T, O> {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(match self.cut_short() {
                Some(failure) => AttemptResult::Failed { failure },
                None => AttemptResult::Cancelled,
            });
        }
    }
}

/// Text not yet told to the screen.
struct Untold {
    text: SafeText,
    reasoning: SafeText,
    text_chunks: u32,
    reasoning_chunks: u32,
    /// When it must be told; nothing while there is none.
    due: Option<Timestamp>,
    last_told: Timestamp,
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Makes an attempt that was told of as begun. Text goes to the flight as it comes; the end is told once,
    /// whatever happens.
    pub(super) async fn attempt(
        &self,
        attempt: &Attempt<'_>,
        request: AttemptRequest,
        pass: &mut Pass<'_, T, O>,
    ) -> Result<Answer, Failure> {
        let Attempt {
            flight,
            number,
            started_at,
            ..
        } = *attempt;
        let mut ending = Ending {
            core: self,
            flight,
            number,
            started_at,
            ended: false,
        };
        let result = self.exchange(attempt, request, pass).await;
        ending.tell(match &result {
            Ok(answer) => AttemptResult::Succeeded {
                finish: answer.finish,
                usage: answer.usage,
                estimated: answer.estimated,
            },
            Err(failure) => AttemptResult::Failed {
                failure: failure.clone(),
            },
        });
        result
    }

    async fn exchange(
        &self,
        attempt: &Attempt<'_>,
        request: AttemptRequest,
        pass: &mut Pass<'_, T, O>,
    ) -> Result<Answer, Failure> {
        let limit = attempt.timeouts.headers;
        let due = self.env.clock.now() + limit;
        let response = tokio::select! {
            biased;
            response = self.transport.send(request) => {
                response.map_err(|error| self.judge(&observed_send(&error)))?
            }
            () = self.env.clock.sleep_until(due) => {
                woke(attempt, due, self.env.clock.now());
                return Err(self.judge(&Observed::HeaderTimeout { after: limit }));
            }
        };
        let status = response.status;
        attempt.flight.lock().responded = true;
        self.note(
            attempt.flight,
            EventKind::AttemptResponded {
                attempt: attempt.number,
                status,
            },
        );
        if status != 200 {
            return Err(self.refusal(response).await);
        }
        if let Some(encoding) = packing(&response.headers) {
            return Err(self.judge_body(attempt, BodyProblem::Packed { encoding: &encoding }));
        }
        match media_type(&response.headers).as_str() {
            "text/event-stream" => self.read_stream(attempt, response.body, pass).await,
            "application/json" => self.read_whole(attempt, response.body).await,
            other => {
                let body = self.read_some(response.body).await;
                let excerpt = body.get(..200).unwrap_or(&body);
                Err(self.judge_body(
                    attempt,
                    BodyProblem::NotAnApi {
                        content_type: other,
                        excerpt,
                    },
                ))
            }
        }
    }

    /// Reads a stream to its end; each piece goes to the flight at once and to the screen in frames.
    async fn read_stream(
        &self,
        attempt: &Attempt<'_>,
        mut body: BodyStream,
        pass: &mut Pass<'_, T, O>,
    ) -> Result<Answer, Failure> {
        let clock = self.env.clock;
        let TimeoutSettings {
            byte_idle,
            event_idle,
            max_response_bytes,
            ..
        } = *attempt.timeouts;
        let mut assembler = Assembler::new(max_response_bytes);
        let mut fresh = Vec::new();
        let mut untold = Untold::new(clock.now());
        let (mut last_byte, mut last_event) = (clock.now(), clock.now());
        // silence is only ever put off: one timer is kept over all tokens, and looks again when it fires
        let silence = clock.sleep_until(last_byte + byte_idle.min(event_idle));
        let mut silence = std::pin::pin!(silence);
        let broken = loop {
            let silent_at = (last_byte + byte_idle).min(last_event + event_idle);
            let wake_at = untold.due.map_or(silent_at, |due| due.min(silent_at));
            let read = tokio::select! {
                biased;
                read = body.next() => Some(read),
                () = clock.sleep_until(wake_at), if untold.due.is_some() => None,
                () = &mut silence => {
                    silence.set(clock.sleep_until(silent_at));
                    None
                }
            };
            let now = clock.now();
            woke(attempt, wake_at, now);
            let Some(read) = read else {
                self.tell(attempt, &mut untold, now, false);
                let problem = if now >= last_byte + byte_idle {
                    BodyProblem::Stalled { after: byte_idle }
                } else if now >= last_event + event_idle {
                    BodyProblem::NoProgress { after: event_idle }
                } else {
                    continue;
                };
                self.tell(attempt, &mut untold, now, true);
                return Err(self.judge_body(attempt, problem));
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
                self.first_token(attempt, now.since(attempt.started_at), pass);
            }
            for chunk in fresh.drain(..) {
                untold.push(&chunk, now);
                attempt.flight.append(chunk);
            }
            self.tell(attempt, &mut untold, now, pushed.is_err());
            pushed.map_err(|problem| self.judge_problem(attempt, &problem))?;
            if assembler.is_done() {
                self.drain(attempt.flight, body).await;
                break None;
            }
        };
        self.tell(attempt, &mut untold, clock.now(), true);
        let answer = assembler.finish(broken, attempt.prompt_tokens);
        answer
            .map(|answer| self.shown(answer))
            .map_err(|problem| self.judge_problem(attempt, &problem))
    }

    fn first_token(&self, attempt: &Attempt<'_>, ttft: Duration, pass: &mut Pass<'_, T, O>) {
        let number = attempt.number;
        self.note(
            attempt.flight,
            EventKind::AttemptFirstToken {
                attempt: number,
                ttft,
            },
        );
        attempt.flight.lock().first_token_after = Some(ttft);
        pass.first_token(ttft);
    }

    /// Reads an answer that comes whole; nothing of it is delivered before it is complete.
    async fn read_whole(&self, attempt: &Attempt<'_>, mut body: BodyStream) -> Result<Answer, Failure> {
        let TimeoutSettings {
            byte_idle,
            max_response_bytes,
            ..
        } = *attempt.timeouts;
        let mut bytes = Vec::new();
        loop {
            let due = self.env.clock.now() + byte_idle;
            let read = tokio::select! {
                biased;
                read = body.next() => read,
                () = self.env.clock.sleep_until(due) => {
                    woke(attempt, due, self.env.clock.now());
                    return Err(self.judge_body(attempt, BodyProblem::Stalled { after: byte_idle }));
                }
            };
            match read {
                None => break,
                Some(Err(error)) => {
                    return Err(self.judge_problem(attempt, &Problem::Cut { reset: error.reset }));
                }
                Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
            }
            if bytes.len() as u64 > max_response_bytes {
                return Err(self.judge_body(
                    attempt,
                    BodyProblem::Oversize {
                        cap: max_response_bytes,
                    },
                ));
            }
        }
        let answer = assemble::whole(&bytes, attempt.prompt_tokens)
            .map_err(|problem| self.judge_problem(attempt, &problem))?;
        let now = self.env.clock.now();
        let mut untold = Untold::new(now);
        for chunk in answer.to_chunks() {
            untold.push(&chunk, now);
            attempt.flight.append(chunk);
        }
        self.tell(attempt, &mut untold, now, true);
        Ok(self.shown(answer))
    }

    /// The answer with the key hidden in what a screen shows of it again when it comes from the cache.
    fn shown(&self, mut answer: Answer) -> Answer {
        answer.shown = self.transport.veiled(answer.shown);
        answer
    }

    /// Classifies a response that is no 200.
    async fn refusal(&self, response: Response) -> Failure {
        let Response {
            status,
            headers,
            body,
        } = response;
        let body = self.read_some(body).await;
        let mut failure = self.judge(&Observed::Response {
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

    /// Which models there are, if the one to ask for is none of them.
    fn unlisted_model(&self) -> Option<String> {
        let asked = self.transport.info().model?;
        let models = self
            .lock()
            .models
            .iter()
            .map(|model| SafeText::new(model))
            .collect();
        UpstreamHealth::Ready { models }.unlisted(asked.as_str())
    }

    /// The beginning of a body that only matters for a message.
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

    /// Reads what follows `[DONE]`, within bounds, so that the connection goes back to the pool. The answer is
    /// whole by then: no deadline may pass meanwhile and take it back.
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

    /// Tells the screen what has come, if it is time or all of it is wanted.
    fn tell(&self, attempt: &Attempt<'_>, untold: &mut Untold, now: Timestamp, all: bool) {
        if !(all || untold.due.is_some_and(|due| due <= now)) {
            return;
        }
        let key = self.transport.key().filter(|_| !all);
        for (text, chunks, reasoning) in untold.take(now, key) {
            let text = self.transport.veiled(text);
            self.note(
                attempt.flight,
                EventKind::StreamDelta {
                    text,
                    chunks,
                    reasoning,
                },
            );
        }
    }

    fn judge(&self, observed: &Observed<'_>) -> Failure {
        let info = self.transport.info();
        let upstream = Upstream {
            host: &info.host,
            model: info.model.as_deref(),
            key_name: self.transport.key_name(),
        };
        let mut failure = classify::classify(&upstream, observed);
        failure.message = self.transport.veiled(failure.message);
        failure
    }

    fn judge_body(&self, attempt: &Attempt<'_>, problem: BodyProblem<'_>) -> Failure {
        self.judge(&Observed::Body {
            status: 200,
            delivered: attempt.flight.has_delivered(),
            problem,
        })
    }

    fn judge_problem(&self, attempt: &Attempt<'_>, problem: &Problem) -> Failure {
        let problem = match problem {
            Problem::Malformed(excerpt) => BodyProblem::Malformed {
                excerpt: excerpt.as_bytes(),
            },
            Problem::ErrorEvent(error) => BodyProblem::ErrorEvent { error },
            Problem::TooLarge(cap) => BodyProblem::Oversize { cap: *cap },
            Problem::Cut { reset: false } => BodyProblem::Cut,
            Problem::Cut { reset: true } => BodyProblem::Reset,
            Problem::Empty => BodyProblem::Empty,
        };
        self.judge_body(attempt, problem)
    }
}

/// Takes note if what should have happened at `due` happens so late that the machine must have slept.
fn woke(attempt: &Attempt<'_>, due: Timestamp, now: Timestamp) {
    if Clock::overslept(due, now) {
        attempt.flight.lock().overslept = true;
    }
}

impl Untold {
    fn new(now: Timestamp) -> Self {
        Self {
            text: SafeText::default(),
            reasoning: SafeText::default(),
            text_chunks: 0,
            reasoning_chunks: 0,
            due: None,
            last_told: now,
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
        // the first piece after a pause is told at once, the rest in frames
        let due = (self.last_told + TELL_EVERY).max(now);
        self.due.get_or_insert(due);
    }

    /// What to tell: `(text, chunks, reasoning)`. A text at whose end the key may have begun waits for what
    /// follows: a key that comes in two pieces must not be told in two.
    fn take(&mut self, now: Timestamp, key: Option<&ApiKey>) -> Vec<(SafeText, u32, bool)> {
        self.due = None;
        self.last_told = now;
        [
            (&mut self.reasoning, &mut self.reasoning_chunks, true),
            (&mut self.text, &mut self.text_chunks, false),
        ]
        .into_iter()
        .filter(|(text, chunks, _)| **chunks > 0 && key.is_none_or(|key| !key.may_begin_at_end(text)))
        .map(|(text, chunks, reasoning)| (std::mem::take(text), std::mem::take(chunks), reasoning))
        .collect()
    }
}

/// The type of a body in lower case, without its parameters; llama-cpp-python and some proxies leave it out.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value.map_or("application/json", |value| {
        value.split(';').next().unwrap_or_default().trim()
    });
    kind.to_ascii_lowercase()
}

/// How the body is packed, if it is.
fn packing(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    let encoding = String::from_utf8_lossy(value.as_bytes())
        .trim()
        .to_ascii_lowercase();
    (!matches!(encoding.as_str(), "" | "identity")).then_some(encoding)
}

/// The policy's word for what the transport saw.
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
