//! Hand-written states for the tests of the panes, and buffers as text.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::{
    BreakerMode, BreakerState, BucketLevel, CallId, Constraint, DiffKind, Failure, FailureClass, Fate,
    FieldDiff, FlightId, Hint, HintSource, MissReason, MoveReason, NearMiss, Origin, Phase, Sample,
    StopReason, UpstreamInfo, UserId, WindowCounts,
};
use crate::openai::Usage;
use crate::settings::{Bucket, FaultKind, FaultProfile};
use crate::state::{
    BackoffWait, BreakerView, Burst, CacheVerdict, CacheView, Call, Doing, ExplainedMiss, FateCounts,
    FieldCount, Flight, Misses, QueueHead, RetryView, SentCalls, Slot, Span, SpanKind, State, StateSpell,
    Timeline, Waiter,
};
use crate::time::Timestamp;
use crate::tui::theme::Theme;
use crate::tui::ui::Ui;
use crate::tui::view::View;

use SpanKind::{BackOff, Following, Queued, Streaming, Waiting};

/// The owner of everything a view refers to.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixture {
    pub(super) state: State,
    pub(super) ui: Ui,
    pub(super) theme: Theme,
    pub(super) now: Timestamp,
}

impl Fixture {
    pub(super) fn view(&self) -> View<'_> {
        View {
            state: &self.state,
            ui: &self.ui,
            theme: &self.theme,
            now: self.now,
        }
    }
}

/// Seconds as a timestamp.
pub(super) fn at(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1000.0).round() as u64 * 1_000_000)
}

/// A duration in milliseconds.
pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The rows of a pane drawn alone, without trailing blanks.
pub(super) fn rows(
    fixture: &Fixture,
    width: u16,
    height: u16,
    render: impl Fn(&View<'_>, Rect, &mut Buffer),
) -> Vec<String> {
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    render(&fixture.view(), area, &mut buf);
    text(&buf)
}

/// The rows of a buffer without trailing blanks.
pub(super) fn text(buf: &Buffer) -> Vec<String> {
    (buf.area.top()..buf.area.bottom())
        .map(|y| {
            let cells = (buf.area.left()..buf.area.right()).filter_map(|x| buf.cell((x, y)));
            let row: String = cells.map(ratatui::buffer::Cell::symbol).collect();
            row.trim_end().to_owned()
        })
        .collect()
}

/// Consecutive spans: kind, length in seconds, reason.
pub(super) fn spans(start: f64, steps: &[(SpanKind, f64, &str)]) -> Vec<Span> {
    let mut from = start;
    steps
        .iter()
        .map(|(kind, length, label)| {
            let span = Span {
                kind: *kind,
                from: at(from),
                to: Some(at(from + length)),
                label: (*label).to_owned(),
            };
            from += length;
            span
        })
        .collect()
}

/// The same with an open last span.
pub(super) fn open_spans(start: f64, steps: &[(SpanKind, f64, &str)]) -> Vec<Span> {
    let mut spans = spans(start, steps);
    if let Some(last) = spans.last_mut() {
        last.to = None;
    }
    spans
}

/// A finished call of burst 1 without spans.
pub(super) fn call(id: u64, started: f64, ended: f64, fate: Fate) -> Call {
    Call {
        model: None,
        id: CallId(id),
        origin: Origin::Burst { burst: 1 },
        user: UserId::new("ada"),
        prompt: "what does a token bucket do?".into(),
        started_at: at(started),
        deadline: at(started + 600.0),
        ended_at: Some(at(ended)),
        fate: Some(fate),
        doing: Doing::Ended,
        cache: Some(CacheVerdict::Miss {
            reason: MissReason::NeverSeen,
        }),
        semantic: None,
        flight: None,
        spans: Vec::new(),
        attempts: 0,
        status: None,
        ttft: None,
        usage: None,
        failure: None,
        stopped: None,
        injected: Vec::new(),
        finish: None,
        cached_text: "".into(),
    }
}

/// A running call.
pub(super) fn running(id: u64, started: f64, doing: Doing) -> Call {
    Call {
        fate: None,
        ended_at: None,
        doing,
        ..call(id, started, started, Fate::Answered)
    }
}

/// Calls that failed or were rejected or stopped.
fn failed_calls() -> Vec<Call> {
    let failure = |class, phase, text: &str| Some(Failure::new(class, phase, text));
    vec![
        Call {
            spans: spans(20.0, &[(Waiting, 0.2, ""), (Streaming, 0.3, "CUT")]),
            attempts: 1,
            failure: failure(
                FailureClass::Interrupted,
                Phase::Delivered,
                "the stream ended early",
            ),
            injected: vec![(1, FaultKind::Cut)],
            ..call(24, 20.0, 20.5, Fate::Interrupted)
        },
        Call {
            failure: failure(
                FailureClass::LimitRejected,
                Phase::NotSent,
                "queue full (1024 wait)",
            ),
            ..call(25, 21.0, 21.0, Fate::RateLimited)
        },
        Call {
            spans: spans(22.0, &[(Waiting, 0.4, "")]),
            attempts: 1,
            ..call(26, 22.0, 22.4, Fate::Cancelled)
        },
        Call {
            spans: spans(
                34.0,
                &[
                    (Waiting, 0.2, "500"),
                    (BackOff, 0.5, ""),
                    (Waiting, 0.2, "500"),
                    (BackOff, 0.7, ""),
                    (Waiting, 2.4, "TMO"),
                    (BackOff, 1.5, ""),
                    (Waiting, 0.3, "429"),
                ],
            ),
            attempts: 4,
            failure: failure(
                FailureClass::RateLimited,
                Phase::Refused,
                "429: too many requests",
            ),
            stopped: Some(StopReason::Attempts),
            injected: vec![(1, FaultKind::ServerError), (4, FaultKind::RateLimited)],
            ..call(30, 34.0, 39.8, Fate::Failed)
        },
        call(36, 42.0, 42.0, Fate::CircuitOpen),
    ]
}

/// Calls with an answer.
fn answered_calls() -> Vec<Call> {
    vec![
        Call {
            flight: Some(FlightId(4)),
            spans: spans(23.0, &[(Following, 0.6, "")]),
            ..call(27, 23.0, 23.6, Fate::Shared)
        },
        Call {
            // attempts shorter than a column
            spans: spans(
                30.0,
                &[
                    (Waiting, 0.02, "429"),
                    (BackOff, 0.08, ""),
                    (Waiting, 0.02, "503"),
                    (BackOff, 0.88, ""),
                    (Waiting, 0.3, ""),
                    (Streaming, 0.3, ""),
                ],
            ),
            attempts: 3,
            ..call(29, 30.0, 31.6, Fate::Answered)
        },
        Call {
            spans: spans(
                38.5,
                &[
                    (Waiting, 0.2, "429"),
                    (BackOff, 0.6, ""),
                    (Waiting, 0.3, "500"),
                    (BackOff, 0.6, ""),
                    (Waiting, 0.2, ""),
                    (Streaming, 0.5, ""),
                ],
            ),
            attempts: 3,
            ttft: Some(ms(200)),
            usage: Some(Usage::new(24, 388)),
            flight: Some(FlightId(4)),
            ..call(31, 38.5, 40.9, Fate::Answered)
        },
        Call {
            cache: Some(CacheVerdict::Hit {
                age_ns: 6_000_000_000,
                saved: Usage::new(24, 388),
                saved_ns: 2_400_000_000,
                replayed: false,
            }),
            ..call(32, 41.2, 41.2, Fate::Hit)
        },
    ]
}

/// Running calls.
fn running_calls() -> Vec<Call> {
    vec![
        Call {
            spans: open_spans(
                40.2,
                &[
                    (Queued, 0.4, ""),
                    (Waiting, 0.4, "429"),
                    (BackOff, 0.6, ""),
                    (Waiting, 0.2, "429"),
                    (BackOff, 0.0, ""),
                ],
            ),
            attempts: 2,
            injected: vec![(2, FaultKind::RateLimited)],
            ..running(33, 40.2, Doing::BackingOff { until: at(42.9) })
        },
        Call {
            spans: open_spans(41.2, &[(Waiting, 0.3, ""), (Streaming, 0.0, "")]),
            attempts: 1,
            ..running(34, 41.2, Doing::Streaming)
        },
        Call {
            spans: open_spans(41.5, &[(Queued, 0.0, "")]),
            ..running(35, 41.5, Doing::Queued)
        },
        Call {
            spans: open_spans(41.9, &[(Waiting, 0.0, "")]),
            attempts: 1,
            ..running(37, 41.9, Doing::Waiting)
        },
        Call {
            spans: open_spans(41.95, &[(Following, 0.0, "")]),
            flight: Some(FlightId(5)),
            ..running(38, 41.95, Doing::Following { owner: CallId(37) })
        },
        running(39, 42.1, Doing::Starting),
    ]
}

/// A burst of 50 with failures, after 42.1 seconds: the breaker has just opened.
pub(super) fn burst() -> Fixture {
    let mut fixture = Fixture {
        now: at(42.1),
        ..Fixture::default()
    };
    let state = &mut fixture.state;
    let calls = [failed_calls(), answered_calls(), running_calls()].concat();
    state.calls.recent = calls.into_iter().map(|call| (call.id, call)).collect();
    let flight = |owner| Flight {
        owner: CallId(owner),
        subscribers: 2,
        ..Flight::default()
    };
    state.calls.flights = BTreeMap::from([(FlightId(4), flight(31)), (FlightId(5), flight(37))]);
    let mut counts = FateCounts {
        started: 41,
        queued: 1,
        backing_off: 3,
        ..FateCounts::default()
    };
    for (fate, number) in [
        (Fate::Answered, 24),
        (Fate::Hit, 7),
        (Fate::Failed, 2),
        (Fate::CircuitOpen, 4),
    ] {
        counts.ended[fate as usize] = number;
    }
    state.calls.totals = counts.clone();
    state.calls.bursts.push_back(Burst {
        burst: 1,
        calls: 50,
        started_at: at(20.0),
        all_made: false,
        counts,
    });
    session(state);
    guards(state);
    fixture
}

/// Upstream, faults and retries.
fn session(state: &mut State) {
    state.session.seed = 7;
    state.session.upstream = Some(UpstreamInfo {
        host: "simulator".into(),
        model: Some("sim-1".into()),
        simulated: true,
        loopback: true,
    });
    state.session.faults_on = true;
    state.session.faults = FaultProfile {
        name: "storm".into(),
        rate_limited: 0.3,
        server_error: 0.05,
        unavailable: 0.05,
        ..FaultProfile::default()
    };
    state.session.injected = 17;
    state.retry = RetryView {
        attempts: 60,
        retries: 20,
        causes: BTreeMap::from([("429".into(), 14), ("500".into(), 7), ("TMO".into(), 4)]),
        attempts_per_call: [18, 3, 1, 2, 0, 0, 0, 0],
        recovered: 4,
        wasted: 9,
        backed_off: ms(14_200),
        stopped: BTreeMap::from([(StopReason::Attempts, 2)]),
        ..RetryView::default()
    };
}

/// An open breaker, low buckets and a useful cache.
fn guards(state: &mut State) {
    use Sample::{Failed, Late, Neutral, Ok};
    *state.breakers.first_mut() = BreakerView {
        state: BreakerState::Open,
        since: at(41.3),
        until: Some(at(46.3)),
        open_ns: 5_000_000_000,
        reason: Some(MoveReason::FailureRate),
        window: WindowCounts {
            total: 20,
            failed: 11,
            slow: 0,
            consecutive: 2,
        },
        cells: [
            Ok, Ok, Failed, Ok, Failed, Failed, Ok, Neutral, Ok, Failed, Failed, Ok, Failed, Ok, Failed,
            Failed, Ok, Failed, Ok, Late, Failed, Failed,
        ]
        .into(),
        refused: 9,
        refused_since_open: 4,
        opened: 2,
        longest_open_ns: 5_000_000_000,
        recoveries: (5_400_000_000, 1),
        down_since: Some(at(41.3)),
        history: [
            (BreakerState::Closed, 0.0, 25.0),
            (BreakerState::Open, 25.0, 30.0),
            (BreakerState::HalfOpen, 30.0, 30.4),
            (BreakerState::Closed, 30.4, 41.3),
        ]
        .map(|(state, from, to)| StateSpell {
            state,
            from: at(from),
            to: at(to),
            reason: None,
            window: WindowCounts::default(),
            planned: None,
            refused: 0,
            probe: None,
        })
        .into(),
        ..BreakerView::default()
    };
    let bucket = |capacity: u64, refill: u64, level: u64| {
        let settings = Bucket {
            capacity,
            refill,
            per: ms(1_000),
        };
        BucketLevel::full(&settings, at(42.1)).debited(capacity - level)
    };
    state.limit.tokens = Some(bucket(6_000, 100, 2_300));
    state.limit.requests = Some(bucket(60, 1, 42));
    state.limit.in_use = 3;
    state.limit.waiters = BTreeMap::from([(
        CallId(35),
        Waiter {
            since: at(41.5),
            needs: 410,
        },
    )]);
    state.limit.head = Some(QueueHead {
        call: CallId(35),
        constraint: Constraint::Tokens,
        ready_at: Some(at(42.5)),
    });
    state.limit.admitted = 36;
    cache(&mut state.cache);
}

/// A cache with hits.
fn cache(cache: &mut CacheView) {
    cache.hits = 7;
    cache.misses = BTreeMap::from([(MissReason::NeverSeen, 30), (MissReason::Expired, 3)]);
    cache.saved_tokens = 2_900;
    cache.saved_time = ms(4_900);
    cache.entries = 18;
    cache.bytes = 12_300;
    cache.stored = 30;
}

/// Extreme values everywhere: a forced breaker, a pause, debt, hostile text and calls of maximal duration.
pub(super) fn worst() -> Fixture {
    let mut fixture = burst();
    let state = &mut fixture.state;
    let wide = "\u{6f22}\u{5b57}\u{1b}[31m e\u{301}\u{1f469}\u{200d}\u{1f4bb} ".repeat(20);
    state.session.upstream = Some(UpstreamInfo {
        host: wide.as_str().into(),
        model: Some(wide.as_str().into()),
        simulated: false,
        loopback: false,
    });
    state.session.policy.name.clone_from(&wide);
    state.session.faults.name.clone_from(&wide);
    for kind in FaultKind::ALL {
        state.session.faults.set_rate(kind, 0.055);
    }
    state.breakers.first_mut().mode = BreakerMode::ForcedOpen;
    state.breakers.first_mut().until = None;
    state.limit.paused_until = Some(at(130.0));
    state.limit.tokens = state.limit.tokens.map(|bucket| bucket.debited(2_420));
    state.limit.waiters = (0..200)
        .map(|id| {
            (
                CallId(id),
                Waiter {
                    since: at(1.0),
                    needs: 410,
                },
            )
        })
        .collect();
    state.retry.causes.insert(wide.clone(), u64::MAX);
    extreme_retries(&mut state.retry);
    state.timeline = extreme_seconds();
    state.calls.bursts.clear();
    state.cache.near = near_misses(25);
    for field in &mut state.cache.near.fields {
        (field.alone, field.with_others) = (u64::MAX, u64::MAX);
        field.example.field = wide.as_str().into();
        field.example.here = wide.as_str().into();
    }
    for call in state.calls.recent.values_mut() {
        call.prompt = wide.as_str().into();
        call.user = UserId::new(&wide);
        call.failure = Some(Failure::new(FailureClass::Internal, Phase::Final, wide.as_str()));
        call.started_at = Timestamp::ZERO;
        call.ended_at = call.ended_at.map(|_| Timestamp::MAX);
        for span in &mut call.spans {
            span.label.clone_from(&wide);
        }
    }
    fixture
}

/// A retry storm with maximal numbers and waits.
fn extreme_retries(retry: &mut RetryView) {
    let wait = |used| BackoffWait {
        at: Timestamp::MAX,
        class: FailureClass::Quota,
        next: u32::MAX,
        drawn: Duration::MAX,
        hint: Some(Hint {
            wait: Duration::MAX,
            source: HintSource::RetryAfter,
        }),
        used,
    };
    for count in [
        &mut retry.attempts,
        &mut retry.retries,
        &mut retry.recovered,
        &mut retry.wasted,
        &mut retry.spent,
        &mut retry.helped,
        &mut retry.in_vain,
        &mut retry.ambiguous,
        &mut retry.ambiguous_tokens,
    ] {
        *count = u64::MAX;
    }
    retry.sent = 1;
    retry.answered_after = [u64::MAX; 8];
    retry.lost_after = [u64::MAX; 8];
    retry.backed_off = Duration::MAX;
    retry.peak = Some((f64::INFINITY, Timestamp::MAX));
    retry.storming = Some(Timestamp::ZERO);
    retry.waits = [wait(Duration::ZERO), wait(Duration::MAX)].into();
}

/// Seconds with maximal numbers.
fn extreme_seconds() -> Timeline {
    let slot = Slot {
        seconds: 1,
        first: u32::MAX / 8,
        retries: [u32::MAX; 6],
        granted: u32::MAX,
        wasted: u32::MAX,
        sent: SentCalls {
            ended: u32::MAX / 8,
            attempts: u32::MAX,
            ..SentCalls::default()
        },
        ..Slot::default()
    };
    Timeline::from_slots(0, vec![slot; 100])
}

/// A half-open breaker with a probe that has no first token yet.
pub(super) fn probing() -> Fixture {
    let mut fixture = burst();
    let breaker = fixture.state.breakers.first_mut();
    breaker.state = BreakerState::HalfOpen;
    breaker.until = None;
    breaker.probe_waits = Some(CallId(1));
    breaker.probes_out = 1;
    breaker.probes_ok = 1;
    breaker.window = WindowCounts::default();
    breaker.cells.clear();
    fixture
}

/// `count` misses that differ from a stored request only in a time, and one that differs in more.
pub(super) fn near_misses(count: u64) -> Misses {
    let diff = |field: &str, how, here: &str, stored: &str| FieldDiff {
        field: field.into(),
        how,
        here: here.into(),
        stored: stored.into(),
    };
    let stamp = diff(
        "system prompt",
        DiffKind::Time,
        "You help. It is 10:32:01. Be brief.",
        "You help. It is 10:30:00. Be brief.",
    );
    let tools = diff("tools", DiffKind::Order, "clock, weather", "weather, clock");
    let miss = |call: u64, differs: Vec<FieldDiff>| ExplainedMiss {
        at: at(10.0 + call as f64),
        call: CallId(call),
        near: NearMiss {
            source: CallId(1),
            prompt: "what does a token bucket do?".into(),
            fields: differs.len() as u32,
            differs,
        },
    };
    let field = |example: &FieldDiff, alone, with_others| FieldCount {
        example: example.clone(),
        alone,
        with_others,
    };
    let both = miss(count + 2, vec![stamp.clone(), tools.clone()]);
    let latest = (2..count + 2).map(|call| miss(call, vec![stamp.clone()]));
    Misses {
        explained: count + 1,
        single: count,
        fields: vec![field(&tools, 0, 1), field(&stamp, count, 1)],
        forgotten: 0,
        latest: latest.chain([both]).collect(),
    }
}
