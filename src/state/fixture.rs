//! Plausible stories of calls, as events: for the tests of everything that folds or draws them.
//!
//! [`Story`] is built event by event; [`session`] makes up a whole session from a seed, with every kind of
//! event in it, many calls at once, and exactly one end for each call.

use std::collections::BTreeMap;
use std::time::Duration;

use super::State;
use crate::event::{
    AttemptResult, BreakerMode, BreakerState, BucketLevel, BypassReason, CallId, Constraint, Event,
    EventKind, EvictReason, FORMAT_VERSION, Failure, FailureClass, Fate, Finish, FlightId, Hint, HintSource,
    LimitReject, MissReason, ModelName, MoveReason, NearestPrompt, Objection, Origin, Phase, Sample,
    SemanticGuard, SemanticMiss, Sharing, SkipReason, StopReason, UpstreamHealth, UpstreamInfo, UserId,
    WindowCounts,
};
use crate::openai::Usage;
use crate::settings::{FaultKind, FaultProfile, Policy, SemanticMode};
use crate::time::Timestamp;

/// Events in the order in which they happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// The events so far.
    pub(crate) events: Vec<Event>,
    /// Time of the next event.
    pub(crate) now: Timestamp,
}

impl Story {
    /// A session with the default policy against the simulator.
    pub(crate) fn begin() -> Self {
        let mut story = Self::default();
        let upstream = UpstreamInfo {
            host: "127.0.0.1:8033".into(),
            model: Some("sim-1".into()),
            simulated: true,
            loopback: true,
        };
        story.emit(
            0,
            EventKind::SessionStarted {
                format: FORMAT_VERSION,
                seed: 7,
                upstream,
                simulator: None,
            },
        );
        let policy = Box::default();
        story.emit(0, EventKind::PolicyApplied { policy });
        story
    }

    /// Goes to `seconds` after the start, never back.
    pub(crate) fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = self.now.max(Timestamp::from_secs_f64(seconds));
        self
    }

    /// Emits an event; `call` 0 means no call.
    pub(crate) fn emit(&mut self, call: u64, kind: EventKind) -> &mut Self {
        self.events.push(Event {
            seq: self.events.len() as u64,
            at: self.now,
            call: (call > 0).then_some(CallId(call)),
            kind,
        });
        self
    }

    /// A call begins, misses the cache and gets the flight of its own number.
    pub(crate) fn call(&mut self, call: u64, origin: Origin) -> &mut Self {
        let reason = MissReason::NeverSeen;
        self.emit(call, started(call, origin, self.now))
            .emit(
                call,
                EventKind::CacheMissed {
                    reason,
                    nearest: None,
                },
            )
            .emit(call, flight_started(call))
    }

    /// The same for a call of this model.
    pub(crate) fn call_model(&mut self, call: u64, origin: Origin, model: &str) -> &mut Self {
        let mut start = started(call, origin, self.now);
        if let EventKind::CallStarted { options, .. } = &mut start {
            options.model = ModelName::new(model);
        }
        self.emit(call, start).emit(call, flight_started(call))
    }

    /// The state after all of it.
    pub(crate) fn state(&self) -> State {
        fold(&self.events)
    }
}

/// The state after `events`.
pub(crate) fn fold(events: &[Event]) -> State {
    let mut state = State::default();
    for event in events {
        state.apply(event);
    }
    state
}

/// A call begins: every third one of the same user.
pub(crate) fn started(call: u64, origin: Origin, now: Timestamp) -> EventKind {
    let users = ["ann", "ben", "cleo"];
    started_by(users[call as usize % users.len()], call, origin, now)
}

/// A call of this user begins.
pub(crate) fn started_by(user: &str, call: u64, origin: Origin, now: Timestamp) -> EventKind {
    EventKind::CallStarted {
        origin,
        user: UserId::new(user),
        prompt: format!("question {call}").as_str().into(),
        fingerprint: format!("{call:016x}").into(),
        prompt_tokens: 12,
        deadline: now + Duration::from_mins(10),
        options: crate::event::CallOptions::default(),
    }
}

/// It gets the flight of its own number.
pub(crate) fn flight_started(call: u64) -> EventKind {
    let flight = FlightId(call);
    EventKind::FlightStarted {
        flight,
        sharing: Sharing::Off,
    }
}

/// It waits in the queue.
pub(crate) fn queued(constraint: Constraint, ready_at: Option<f64>, waiting: u32) -> EventKind {
    EventKind::LimitQueued {
        constraint,
        position: waiting,
        ready_at: ready_at.map(Timestamp::from_secs_f64),
        waiting,
        levels: None,
    }
}

/// An attempt is admitted; both buckets are left with a tenth.
pub(crate) fn admitted(now: Timestamp, in_use: u32, waiting: u32) -> EventKind {
    let limit = Policy::default().limit;
    EventKind::LimitAdmitted {
        waited: Duration::from_millis(40),
        reserved: 268,
        requests: BucketLevel::full(&limit.requests, now).debited(54),
        tokens: BucketLevel::full(&limit.tokens, now).debited(18_000),
        in_use,
        waiting,
        user: None,
    }
}

/// It gives its slot back; the buckets are full again.
pub(crate) fn settled(now: Timestamp, in_use: u32) -> EventKind {
    let limit = Policy::default().limit;
    EventKind::LimitSettled {
        reserved: 268,
        charged: 60,
        refunded: false,
        requests: BucketLevel::full(&limit.requests, now),
        tokens: BucketLevel::full(&limit.tokens, now),
        in_use,
        user: None,
    }
}

/// An HTTP request goes out.
pub(crate) fn attempt(attempt: u32, flight: u64) -> EventKind {
    let flight = FlightId(flight);
    EventKind::AttemptStarted { attempt, flight }
}

/// The first token comes.
pub(crate) fn first_token(attempt: u32, millis: u64) -> EventKind {
    let ttft = Duration::from_millis(millis);
    EventKind::AttemptFirstToken { attempt, ttft }
}

/// Text comes.
pub(crate) fn delta(text: &str) -> EventKind {
    EventKind::StreamDelta {
        text: text.into(),
        chunks: 1,
        reasoning: false,
    }
}

/// The attempt succeeds: 12 tokens of prompt, 48 of answer.
pub(crate) fn succeeded(attempt: u32, millis: u64) -> EventKind {
    EventKind::AttemptEnded {
        attempt,
        result: AttemptResult::Succeeded {
            finish: Finish::Stop,
            usage: Usage::new(12, 48),
            estimated: false,
        },
        took: Duration::from_millis(millis),
    }
}

/// A failure with a message.
pub(crate) fn failure(class: FailureClass, status: Option<u16>) -> Failure {
    let mut failure = Failure::new(class, Phase::Refused, format!("made up: {class:?}").as_str());
    failure.status = status;
    failure
}

/// The attempt fails.
pub(crate) fn failed(attempt: u32, class: FailureClass, status: Option<u16>, millis: u64) -> EventKind {
    EventKind::AttemptEnded {
        attempt,
        result: AttemptResult::Failed {
            failure: failure(class, status),
        },
        took: Duration::from_millis(millis),
    }
}

/// Another attempt follows after `millis`.
pub(crate) fn retry(
    next: u32,
    class: FailureClass,
    now: Timestamp,
    millis: u64,
    hint: Option<u64>,
) -> EventKind {
    let delay = Duration::from_millis(millis);
    EventKind::RetryScheduled {
        next,
        at: now + delay,
        delay,
        drawn: delay / 2,
        hint: hint.map(|seconds| Hint {
            wait: Duration::from_secs(seconds),
            source: HintSource::RetryAfter,
        }),
        class,
        ambiguous: false,
        budget: millis as f64 / 7.0,
        budget_max: 10.0,
    }
}

/// The call is over.
pub(crate) fn ended(fate: Fate, attempts: u32, millis: u64) -> EventKind {
    let (failure, usage) = match fate {
        Fate::Answered | Fate::Hit | Fate::Shared => (None, Some(Usage::new(12, 48))),
        Fate::Cancelled => (None, None),
        Fate::RateLimited => (Some(failure(FailureClass::LimitRejected, None)), None),
        Fate::CircuitOpen => (Some(failure(FailureClass::BreakerRefused, None)), None),
        Fate::Failed => (Some(failure(FailureClass::ServerError, Some(500))), None),
        Fate::Interrupted => (Some(failure(FailureClass::Interrupted, Some(200))), None),
    };
    EventKind::CallEnded {
        fate,
        attempts,
        failure,
        usage,
        took: Duration::from_millis(millis),
    }
}

/// The breaker moves, with 11 of 20 failed in its window.
pub(crate) fn moved(
    from: BreakerState,
    to: BreakerState,
    generation: u64,
    reason: MoveReason,
    until: Option<f64>,
) -> EventKind {
    EventKind::BreakerMoved {
        model: None,
        from,
        to,
        generation,
        reason,
        until: until.map(Timestamp::from_secs_f64),
        window: window(),
    }
}

/// The breaker of a model moves.
pub(crate) fn moved_model(
    name: &str,
    from: BreakerState,
    to: BreakerState,
    generation: u64,
    reason: MoveReason,
) -> EventKind {
    let until = (to == BreakerState::Open).then_some(100.0);
    let mut kind = moved(from, to, generation, reason, until);
    if let EventKind::BreakerMoved { model, .. } = &mut kind {
        *model = ModelName::new(name);
    }
    kind
}

/// The semantic cache is switched: a policy applied with another mode.
pub(crate) fn switched_semantic(mode: SemanticMode) -> EventKind {
    let mut policy = Policy::default();
    policy.semantic.mode = mode;
    EventKind::PolicyApplied {
        policy: Box::new(policy),
    }
}

/// The prompt of the call `source`, with this similarity.
pub(crate) fn nearest(source: u64, similarity: f64, objection: Option<Objection>) -> NearestPrompt {
    NearestPrompt {
        source: CallId(source),
        prompt: format!("what was asked in {source}").as_str().into(),
        similarity,
        threshold: 0.8,
        objection,
    }
}

/// The answer of `source` is served: 60 tokens and two seconds saved.
pub(crate) fn semantic_hit(source: u64, similarity: f64) -> EventKind {
    EventKind::SemanticHit {
        nearest: Box::new(nearest(source, similarity, None)),
        candidates: 9,
        lookup: Duration::from_micros(800),
        age: Duration::from_secs(30),
        saved: Usage::new(12, 48),
        saved_time: Duration::from_secs(2),
        text: "what was answered before".into(),
    }
}

/// Nothing is served; with an objection, or where it is only too far, the nearest prompt is that of call 1.
pub(crate) fn semantic_miss(reason: SemanticMiss, objection: Option<Objection>) -> EventKind {
    let similarity = match reason {
        SemanticMiss::NotSimilar => Some(0.5),
        SemanticMiss::GuardRejected => Some(0.93),
        SemanticMiss::Empty | SemanticMiss::TimedOut | SemanticMiss::Failed | SemanticMiss::Ineligible => {
            None
        }
    };
    EventKind::SemanticMissed {
        reason,
        nearest: similarity.map(|similarity| Box::new(nearest(1, similarity, objection))),
        candidates: 9,
        lookup: Duration::from_micros(700),
        detail: None,
    }
}

/// The answer of `source` would have been served.
pub(crate) fn shadowed(source: u64, similarity: f64) -> EventKind {
    EventKind::SemanticShadowed {
        nearest: Box::new(nearest(source, similarity, None)),
        candidates: 9,
        lookup: Duration::from_micros(800),
        saved: Usage::new(12, 48),
    }
}

/// The upstream's answer beside that of `source`: from 0.8 on it counts as the same.
pub(crate) fn compared(source: u64, agreement: f64) -> EventKind {
    EventKind::SemanticCompared {
        source: CallId(source),
        agreement,
        same: agreement >= 0.8,
    }
}

/// A person says whether the answer of `source` fitted.
pub(crate) fn labelled(source: u64, good: bool) -> EventKind {
    EventKind::SemanticLabelled {
        source: CallId(source),
        request: format!("{source:016x}").into(),
        good,
        similarity: 0.94,
        threshold: if good { 0.8 } else { 0.96 },
        removed: !good,
    }
}

fn window() -> WindowCounts {
    WindowCounts {
        total: 20,
        failed: 11,
        slow: 1,
        consecutive: 2,
    }
}

/// A made-up session of at least `calls` calls, in which every call ends.
pub(crate) fn session(seed: u64, calls: u64) -> Vec<Event> {
    let mut author = Author {
        story: Story::begin(),
        random: seed,
        next_call: 1,
        calls,
        ..Author::default()
    };
    while author.next_call <= calls || !author.running.is_empty() {
        author.step();
    }
    author.story.events
}

/// The progress of a generated call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AttemptStage {
    Fresh,
    Ready,
    Queued,
    Sent,
    Streams,
    Sleeps,
    Follows(u64),
}

/// A running call.
#[derive(Clone, Copy, Debug)]
struct Running {
    stage: AttemptStage,
    flight: u64,
    attempts: u32,
    since: Timestamp,
}

#[derive(Default)]
struct Author {
    story: Story,
    random: u64,
    next_call: u64,
    calls: u64,
    running: BTreeMap<u64, Running>,
    waiting: u32,
    in_use: u32,
    generation: u64,
    breaker: BreakerState,
    bursts: u64,
    loads: u64,
}

impl Author {
    /// A number below `bound`: splitmix64.
    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn emit(&mut self, call: u64, kind: EventKind) {
        self.story.emit(call, kind);
    }

    fn step(&mut self) {
        let pause = self.draw(20_000_000);
        self.story.now = Timestamp(self.story.now.0 + pause);
        if self.next_call <= self.calls && self.draw(4) == 0 {
            self.begin();
        }
        if self.draw(30) == 0 {
            self.meanwhile();
        }
        let count = self.running.len() as u64;
        if count > 0 {
            let place = self.draw(count) as usize;
            let (call, running) = self
                .running
                .iter()
                .nth(place)
                .map(|(id, run)| (*id, *run))
                .unwrap();
            if self.draw(25) == 0 {
                self.cancel(call, running);
            } else {
                self.go_on(call, running);
            }
        }
    }

    fn begin(&mut self) {
        let call = self.next_call;
        self.next_call += 1;
        let origin = match self.draw(6) {
            0 => Origin::Chat,
            1 => Origin::Library,
            2 if self.loads > 0 => Origin::Load { load: self.loads },
            _ if self.bursts > 0 => Origin::Burst { burst: self.bursts },
            _ => Origin::Chat,
        };
        let since = self.story.now;
        self.emit(call, started(call, origin, since));
        let running = Running {
            stage: AttemptStage::Fresh,
            flight: call,
            attempts: 0,
            since,
        };
        self.running.insert(call, running);
    }

    fn set(&mut self, call: u64, running: Running, stage: AttemptStage) {
        self.running.insert(call, Running { stage, ..running });
    }

    fn end(&mut self, call: u64, fate: Fate) {
        if let Some(running) = self.running.remove(&call) {
            let millis = self.story.now.since(running.since).as_millis() as u64;
            self.emit(call, ended(fate, running.attempts, millis));
        }
    }

    /// The owner and all who follow it.
    fn end_flight(&mut self, owner: u64, fate: Fate) {
        let followers = self.followers(owner);
        let shared = match fate {
            Fate::Answered => Fate::Shared,
            other => other,
        };
        self.end(owner, fate);
        for follower in followers {
            self.end(follower, shared);
        }
    }

    fn followers(&self, owner: u64) -> Vec<u64> {
        let follows = |running: &Running| running.stage == AttemptStage::Follows(owner);
        self.running
            .iter()
            .filter(|(_, run)| follows(run))
            .map(|(id, _)| *id)
            .collect()
    }

    fn go_on(&mut self, call: u64, running: Running) {
        let now = self.story.now;
        match running.stage {
            AttemptStage::Fresh => self.ask_cache(call, running),
            AttemptStage::Ready => self.ask_guards(call, running),
            AttemptStage::Queued => {
                self.waiting -= 1;
                if self.draw(12) == 0 {
                    let reason = LimitReject::Deadline;
                    let waiting = self.waiting;
                    let predicted = None;
                    self.emit(
                        call,
                        EventKind::LimitRejected {
                            reason,
                            predicted,
                            waiting,
                            levels: None,
                        },
                    );
                    self.end_flight(call, Fate::RateLimited);
                } else {
                    self.send(call, running);
                }
            }
            AttemptStage::Sent => match self.draw(3) {
                0 => self.fail(call, running),
                1 => {
                    let attempt = running.attempts;
                    self.emit(call, EventKind::AttemptResponded { attempt, status: 200 });
                }
                _ => {
                    let millis = 100 + self.draw(900);
                    self.emit(call, first_token(running.attempts, millis));
                    self.set(call, running, AttemptStage::Streams);
                }
            },
            AttemptStage::Streams => match self.draw(8) {
                0 => {
                    self.emit(call, succeeded(running.attempts, 500));
                    self.settle(call, Sample::Ok);
                    self.store(call);
                    self.end_flight(call, Fate::Answered);
                }
                1 if self.draw(4) == 0 => {
                    self.emit(
                        call,
                        failed(running.attempts, FailureClass::Interrupted, Some(200), 700),
                    );
                    self.settle(call, Sample::Failed);
                    let (attempt, reason) = (running.attempts, StopReason::Delivered);
                    self.emit(
                        call,
                        EventKind::RetryStopped {
                            attempt,
                            reason,
                            budget: 0.0,
                            budget_max: 0.0,
                            hint: None,
                        },
                    );
                    self.end_flight(call, Fate::Interrupted);
                }
                2 => self.emit(
                    call,
                    EventKind::StreamDelta {
                        text: "hm, … ".into(),
                        chunks: 2,
                        reasoning: true,
                    },
                ),
                _ => self.emit(call, delta("some words é ")),
            },
            AttemptStage::Sleeps => self.send(call, running),
            AttemptStage::Follows(owner) => {
                // nothing to do but wait; the owner ends it
                debug_assert!(self.running.contains_key(&owner) && now >= running.since);
            }
        }
    }

    fn ask_cache(&mut self, call: u64, running: Running) {
        let age = Duration::from_secs(3);
        let (saved, text) = (Usage::new(12, 48), "from before".into());
        match self.draw(10) {
            0 => {
                let saved_time = Duration::from_millis(800);
                self.emit(
                    call,
                    EventKind::CacheHit {
                        age,
                        saved,
                        saved_time,
                        text,
                    },
                );
                return self.end(call, Fate::Hit);
            }
            1 => {
                self.emit(call, EventKind::ResultReplayed { age, saved, text });
                return self.end(call, Fate::Hit);
            }
            2 => {
                let reason = BypassReason::NotDeterministic;
                self.emit(call, EventKind::CacheBypassed { reason });
            }
            _ => {
                let reason = MissReason::NeverSeen;
                self.emit(
                    call,
                    EventKind::CacheMissed {
                        reason,
                        nearest: None,
                    },
                );
                if self.ask_by_meaning(call) {
                    return self.end(call, Fate::Hit);
                }
            }
        }
        let own =
            |running: &Running| !matches!(running.stage, AttemptStage::Fresh | AttemptStage::Follows(_));
        let owner = self
            .running
            .iter()
            .find(|(_, run)| own(run))
            .map(|(id, run)| (*id, run.flight));
        match owner {
            Some((owner, flight)) if self.draw(4) == 0 => {
                let subscribers = self.followers(owner).len() as u32 + 2;
                let joined = EventKind::FlightJoined {
                    flight: FlightId(flight),
                    owner: CallId(owner),
                    subscribers,
                };
                self.emit(call, joined);
                self.set(call, Running { flight, ..running }, AttemptStage::Follows(owner));
            }
            _ => {
                self.emit(call, flight_started(call));
                self.set(call, running, AttemptStage::Ready);
            }
        }
    }

    /// True if the semantic cache served it.
    fn ask_by_meaning(&mut self, call: u64) -> bool {
        let source = 1 + self.draw(call);
        let similarity = 0.8 + self.draw(200) as f64 / 1000.0;
        match self.draw(6) {
            0 => {
                self.emit(call, semantic_hit(source, similarity));
                if self.draw(2) == 0 {
                    let good = self.draw(3) > 0;
                    self.emit(call, labelled(source, good));
                }
                return true;
            }
            1 => {
                self.emit(call, shadowed(source, similarity));
                // emitted before its answer: the fold does not depend on the order
                self.emit(call, compared(source, similarity));
            }
            2 => {
                let objection = Objection {
                    guard: SemanticGuard::Number,
                    asked: "60".into(),
                    stored: "50".into(),
                };
                self.emit(call, semantic_miss(SemanticMiss::GuardRejected, Some(objection)));
            }
            3 => self.emit(call, semantic_miss(SemanticMiss::Failed, None)),
            4 => self.emit(call, semantic_miss(SemanticMiss::NotSimilar, None)),
            _ => {}
        }
        false
    }

    fn ask_guards(&mut self, call: u64, running: Running) {
        let later = self.story.now + Duration::from_secs(2);
        match self.draw(8) {
            0 => {
                self.emit(
                    call,
                    EventKind::BreakerRefused {
                        model: None,
                        until: Some(later),
                        window: WindowCounts::default(),
                    },
                );
                self.end_flight(call, Fate::CircuitOpen);
            }
            1..4 => {
                self.waiting += 1;
                let constraint = match self.draw(4) {
                    0 => Constraint::Requests,
                    1 => Constraint::Tokens,
                    2 => Constraint::Slots,
                    _ => Constraint::Paused,
                };
                let waiting = self.waiting;
                self.emit(call, queued(constraint, Some(later.as_secs_f64()), waiting));
                if waiting == 1 {
                    let (constraint, ready_at) = (Constraint::Tokens, Some(later));
                    self.emit(call, EventKind::LimitHeadChanged { constraint, ready_at });
                }
                self.set(call, running, AttemptStage::Queued);
            }
            _ => self.send(call, running),
        }
    }

    fn send(&mut self, call: u64, running: Running) {
        self.in_use += 1;
        self.emit(call, admitted(self.story.now, self.in_use, self.waiting));
        let (generation, probe) = (self.generation, self.breaker == BreakerState::HalfOpen);
        self.emit(
            call,
            EventKind::BreakerAdmitted {
                model: None,
                generation,
                probe,
                window: WindowCounts::default(),
            },
        );
        let attempts = running.attempts + 1;
        self.emit(call, attempt(attempts, running.flight));
        self.set(call, Running { attempts, ..running }, AttemptStage::Sent);
    }

    fn settle(&mut self, call: u64, sample: Sample) {
        self.in_use -= 1;
        self.emit(call, settled(self.story.now, self.in_use));
        let recorded = EventKind::BreakerRecorded {
            model: None,
            generation: self.generation,
            probe: self.breaker == BreakerState::HalfOpen,
            sample,
            window: window(),
        };
        self.emit(call, recorded);
    }

    fn fail(&mut self, call: u64, running: Running) {
        let (class, status) = match self.draw(4) {
            0 => (FailureClass::RateLimited, Some(429)),
            1 => (FailureClass::ServerError, Some(500)),
            2 => (FailureClass::Reset, None),
            _ => (FailureClass::HeaderTimeout, None),
        };
        if self.draw(2) == 0 {
            let (attempt, fault) = (running.attempts, FaultKind::RateLimited);
            self.emit(call, EventKind::FaultInjected { attempt, fault });
        }
        self.emit(call, failed(running.attempts, class, status, 300));
        self.settle(
            call,
            if status == Some(429) {
                Sample::Neutral
            } else {
                Sample::Failed
            },
        );
        if running.attempts < 3 {
            let hint = (status == Some(429)).then_some(1);
            let millis = 200 + self.draw(2000);
            self.emit(
                call,
                retry(running.attempts + 1, class, self.story.now, millis, hint),
            );
            self.set(call, running, AttemptStage::Sleeps);
        } else {
            let (attempt, reason) = (running.attempts, StopReason::Attempts);
            self.emit(
                call,
                EventKind::RetryStopped {
                    attempt,
                    reason,
                    budget: 0.0,
                    budget_max: 0.0,
                    hint: None,
                },
            );
            self.end_flight(call, Fate::Failed);
        }
    }

    fn store(&mut self, call: u64) {
        self.emit(call, EventKind::SemanticStored { entries: call });
        let kind = match self.draw(5) {
            0 => EventKind::CacheSkipped {
                reason: SkipReason::Incomplete,
            },
            1 => EventKind::CacheEvicted {
                reason: EvictReason::Capacity,
                removed: 2,
                entries: 5,
                total_bytes: 900,
            },
            _ => EventKind::CacheStored {
                bytes: 200,
                entries: 6,
                total_bytes: 1100,
            },
        };
        self.emit(call, kind);
    }

    /// The caller leaves; the first follower, if any, takes over the flight as it is.
    fn cancel(&mut self, call: u64, running: Running) {
        let followers = self.followers(call);
        if let (Some((heir, rest)), false) = (followers.split_first(), running.stage == AttemptStage::Fresh) {
            let over = EventKind::FlightHandedOver {
                flight: FlightId(running.flight),
                from: CallId(call),
            };
            let since = self.running.get(heir).map_or(running.since, |heir| heir.since);
            // both orders are legal
            if self.draw(2) == 0 {
                self.end(call, Fate::Cancelled);
                self.emit(*heir, over);
            } else {
                self.emit(*heir, over);
                self.end(call, Fate::Cancelled);
            }
            self.running.insert(*heir, Running { since, ..running });
            for follower in rest {
                if let Some(follower) = self.running.get_mut(follower) {
                    follower.stage = AttemptStage::Follows(*heir);
                }
            }
            return;
        }
        match running.stage {
            AttemptStage::Queued => {
                self.waiting -= 1;
                let waiting = self.waiting;
                self.emit(call, EventKind::LimitLeft { waiting });
            }
            AttemptStage::Sent | AttemptStage::Streams => {
                let (attempt, result) = (running.attempts, AttemptResult::Cancelled);
                let took = Duration::from_millis(200);
                self.emit(
                    call,
                    EventKind::AttemptEnded {
                        attempt,
                        result,
                        took,
                    },
                );
                self.settle(call, Sample::Neutral);
            }
            AttemptStage::Fresh | AttemptStage::Ready | AttemptStage::Sleeps | AttemptStage::Follows(_) => {}
        }
        self.end(call, Fate::Cancelled);
    }

    /// Events other than those of calls.
    fn meanwhile(&mut self) {
        let now = self.story.now;
        let kind = match self.draw(14) {
            0 => EventKind::PolicyApplied {
                policy: Box::default(),
            },
            1 => EventKind::UpstreamProbed {
                health: UpstreamHealth::Loading,
            },
            2 => EventKind::UpstreamProbed {
                health: UpstreamHealth::Ready {
                    models: vec!["sim-1".into(), "sim-2".into()],
                },
            },
            3 => EventKind::UpstreamProbed {
                health: UpstreamHealth::Unavailable {
                    class: None,
                    message: "no route".into(),
                },
            },
            4 => EventKind::FaultsApplied {
                on: self.draw(2) == 0,
                profile: Box::new(FaultProfile {
                    name: "mixed".into(),
                    rate_limited: 0.3,
                    server_error: 0.1,
                    ..FaultProfile::default()
                }),
            },
            5 => {
                self.bursts += 1;
                EventKind::BurstStarted {
                    burst: self.bursts,
                    calls: 50,
                }
            }
            6 => EventKind::BurstEnded {
                burst: self.bursts,
                calls: 40,
            },
            7 => EventKind::Notice {
                text: "look here".into(),
            },
            8 => EventKind::TaskPanicked {
                text: "index out of bounds".into(),
            },
            9 => EventKind::LimitPaused {
                until: now + Duration::from_secs(1),
            },
            10 => EventKind::BreakerForced {
                mode: BreakerMode::Automatic,
            },
            11 => {
                self.loads += 1;
                EventKind::LoadStarted {
                    load: self.loads,
                    plan: Box::default(),
                }
            }
            12 => EventKind::LoadEnded {
                load: self.loads,
                calls: 30,
                skipped: 2,
            },
            _ if self.draw(2) == 0 => EventKind::CacheSwitched { on: true },
            _ => self.move_breaker(),
        };
        self.emit(0, kind);
    }

    fn move_breaker(&mut self) -> EventKind {
        self.generation += 1;
        let from = self.breaker;
        let (to, reason) = match from {
            BreakerState::Closed => (BreakerState::Open, MoveReason::FailureRate),
            BreakerState::Open => (BreakerState::HalfOpen, MoveReason::CoolDown),
            BreakerState::HalfOpen if self.draw(2) == 0 => (BreakerState::Open, MoveReason::ProbeFailed),
            BreakerState::HalfOpen => (BreakerState::Closed, MoveReason::ProbesSucceeded),
        };
        self.breaker = to;
        let until = (to == BreakerState::Open).then(|| self.story.now.as_secs_f64() + 5.0);
        moved(from, to, self.generation, reason, until)
    }
}
