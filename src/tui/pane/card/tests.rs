//! The cards of the scenes of the design: an outage, a storm without guards, and the screen before the first call.

use std::time::Duration;

use super::super::fixture::{self, Fixture, at, ms};
use super::super::{breaker, cache, limiter, retries, users};
use super::*;
use crate::event::{
    BreakerState, BucketLevel, CallId, FailureClass, LimitReject, Sample, UserId, WindowCounts,
};
use crate::settings::Policy;
use crate::state::{ProbeEnd, SentCalls, Slot, StateSpell, Timeline, UserUsage};
use crate::tui::theme::Palette;

type Render = fn(&View<'_>, Rect, &mut Buffer);

const CARDS: [(&str, Render); 4] = [
    ("cache", cache::render),
    ("limiter", limiter::render),
    ("breaker", breaker::render),
    ("retries", retries::render),
];

fn card(fixture: &Fixture, name: &str, width: u16, height: u16) -> Vec<String> {
    let (_, render) = CARDS.into_iter().find(|(card, _)| *card == name).unwrap();
    fixture::rows(fixture, width, height, render)
}

/// Seconds 0 to 45 of a session with an outage; the breaker opened for the third time.
fn outage() -> Fixture {
    let slot = |second: u64| Slot {
        seconds: 1,
        // 42 hits and 108 new prompts in the last 30 s
        lookups: 5,
        hits: if second % 5 < 2 { 2 } else { 1 } * u32::from(second >= 16),
        new_prompts: if second % 5 < 3 { 4 } else { 3 },
        first: if second < 36 { 2 } else { u32::from(second < 42) },
        sent: SentCalls {
            ended: u32::from(second >= 16) * 5,
            attempts: u32::from(second >= 16) * if second < 34 { 7 } else { 6 },
            ..SentCalls::default()
        },
        ..Slot::default()
    };
    let mut slots: Vec<Slot> = (0..=45).map(slot).collect();
    slots[44].joined = 1;
    (slots[20].retries[3], slots[40].retries[1]) = (4, 12);
    (slots[30].helped, slots[31].failed_attempts, slots[40].granted) = (5, 22, 5);
    (slots[31].wasted, slots[31].ended_attempts) = (11, 40);
    let mut fixture = Fixture {
        now: at(45.0),
        ..Fixture::default()
    };
    let state = &mut fixture.state;
    state.timeline = Timeline::from_slots(0, slots);
    state.calls.totals.started = 236;
    state.cache.on = true;
    (state.cache.saved_tokens, state.cache.saved_time) = (2_551, ms(71_000));
    let mut policy = Policy::default();
    policy.limit.requests.capacity = 40;
    policy.limit.concurrency = 8;
    state.limit.requests = Some(BucketLevel::full(&policy.limit.requests, at(0.0)));
    state.limit.tokens = Some(BucketLevel::full(&policy.limit.tokens, at(0.0)));
    state.session.policy = policy;
    let breaker = state.breakers.first_mut();
    breaker.state = BreakerState::Open;
    (breaker.since, breaker.until) = (at(41.4), Some(at(51.4)));
    breaker.open_ns = 10_000_000_000;
    breaker.refused_since_open = 11;
    let outcome = |failed: u8| {
        if failed == b'x' {
            Sample::Failed
        } else {
            Sample::Ok
        }
    };
    breaker.cells = b"x.x..x.x.x.xxx.xxx".iter().map(|cell| outcome(*cell)).collect();
    breaker.history = [StateSpell {
        state: BreakerState::HalfOpen,
        from: at(41.0),
        to: at(41.4),
        reason: None,
        window: WindowCounts::default(),
        planned: None,
        refused: 0,
        probe: Some(ProbeEnd {
            call: CallId(216),
            failure: Some(FailureClass::Reset),
            status: None,
        }),
    }]
    .into();
    fixture
}

/// The same session without a limiter, a breaker and a retry budget, and no answer.
fn storm() -> Fixture {
    let mut fixture = outage();
    let slot = Slot {
        seconds: 1,
        lookups: 12,
        new_prompts: 12,
        retries: [0, 0, 12, 0, 0, 0],
        wasted: 12,
        ended_attempts: 14,
        failed_attempts: 14,
        sent: SentCalls {
            ended: 5,
            attempts: 26,
            ..SentCalls::default()
        },
        ..Slot::default()
    };
    let state = &mut fixture.state;
    state.timeline = Timeline::from_slots(0, vec![slot; 46]);
    state.cache.saved_tokens = 0;
    (state.cache.entries, state.cache.bytes) = (147, 201 << 10);
    let policy = &mut state.session.policy;
    policy.limit.enabled = false;
    policy.breaker.enabled = false;
    policy.retry.budget_ratio = 0.0;
    policy.retry.budget_min_per_s = 0.0;
    state.breakers.first_mut().state = BreakerState::Closed;
    fixture
}

#[test]
fn an_outage_in_three_rows() {
    let fixture = outage();
    assert_eq!(card(&fixture, "cache", 18, 3)[0], "◇ 28% cached");
    assert_eq!(card(&fixture, "cache", 18, 3)[2], "42 of 150 lookups");
    for (name, rows) in [
        (
            "limiter",
            ["tokens   ■■■■■■■■", "requests ■■■■■■■■", "slots    ■■■■■■■■"],
        ),
        ("breaker", ["⊘ OPEN", "■■■■■··· 6.4 s", "probe was reset"]),
        ("retries", ["1.32 per call", "5 of 16 helped", "budget ■■■■····"]),
    ] {
        assert_eq!(card(&fixture, name, 18, 3), rows);
    }
}

#[test]
fn an_outage_in_five_rows() {
    let fixture = outage();
    let cache = card(&fixture, "cache", 28, 5);
    assert!(cache[1].ends_with(" 30%") || cache[1].ends_with('%'), "{cache:?}");
    assert_eq!(
        [&cache[0], &cache[2], &cache[3], &cache[4]],
        [
            "◇ 28% cached  42 of 150",
            "108 new prompts, 1 shared",
            "saved 2,551 tokens and 71 s",
            "kept for 24 h, up to 64 MiB"
        ]
    );
    for (name, rows) in [
        (
            "limiter",
            [
                "tokens   ■■■■■■■■ 20k of 20k",
                "requests ■■■■■■■■ 40 of 40",
                "slots    ■■■■■■■■ 8 of 8",
                "0 waiting; next call at once",
                "what is left; empty = wait",
            ],
        ),
        (
            "breaker",
            [
                "⊘ OPEN  calls are refused",
                "■■■■■■■■···· probe in 6.4 s",
                "✗✓✗✓✓✗✓✗✓✗✓✗✗✗✓✗✗✗ last 18",
                "last probe failed: reset",
                "opens at 50% of 10+ failed",
            ],
        ),
        (
            "retries",
            [
                "1.32 attempts per call",
                "16 retries, 5 got an answer",
                "budget ■■■■···· 6 of 11 left",
                "22 wasted attempts",
                "up to 3 attempts, full jitter",
            ],
        ),
    ] {
        assert_eq!(card(&fixture, name, 29, 5), rows);
    }
}

#[test]
fn guards_that_are_off_show_none_of_their_rules() {
    let fixture = storm();
    assert_eq!(
        card(&fixture, "limiter", 47, 7)[..6],
        [
            "OFF  every attempt is sent at once",
            "tokens    not limited",
            "requests  not limited",
            "slots     not limited",
            "0 in flight, 0 waiting",
            "switch on: = then limit.enabled",
        ]
    );
    assert_eq!(
        card(&fixture, "breaker", 48, 7)[..4],
        [
            "OFF  calls are never refused",
            "420 of 420 attempts failed in 30 s (100%)",
            "o forces it open",
            "switch on: = then breaker.enabled",
        ]
    );
    assert_eq!(
        card(&fixture, "retries", 30, 5)[..3],
        [
            "5.2 attempts per call",
            "360 retries, 0 got an answer",
            "budget none: unlimited"
        ]
    );
    let cache = card(&fixture, "cache", 47, 7);
    assert_eq!(cache[0], "◇ 0% cached  0 of 360 lookups");
    assert_eq!(
        cache[2..6],
        [
            "360 new prompts, 0 joined a call in flight",
            "saved nothing yet",
            "147 answers kept, 201 KiB of 64 MiB",
            "kept for 24 h; semantic cache off (s)"
        ]
    );
    let mut fixture = storm();
    fixture.ui.read_only = true;
    assert_eq!(
        card(&fixture, "limiter", 27, 5),
        [
            "OFF",
            "sends each attempt at once",
            "0 in flight, 0 waiting",
            "",
            ""
        ],
        "a recording has no keys that switch"
    );
    let narrow = ["OFF", "sends at once", "0 in flight"];
    assert_eq!(card(&fixture, "limiter", 17, 3), narrow);
    assert_eq!(card(&fixture, "breaker", 17, 3)[..2], ["OFF", "refuses no call"]);
    let mut fixture = storm();
    fixture.state.session.policy.retry.attempts = 1;
    fixture.state.cache.on = false;
    assert_eq!(
        card(&fixture, "retries", 18, 3),
        ["OFF", "never retries", "= switches it on"]
    );
    assert_eq!(
        card(&fixture, "cache", 28, 5)[..2],
        ["OFF", "every call is sent upstream"]
    );
    for (name, _) in CARDS {
        for (width, height) in [(18, 3), (28, 5), (47, 7)] {
            let rows = card(&fixture, name, width, height).join("\n");
            assert!(rows.starts_with("OFF"), "{rows}");
            for rule in ["opens at", "up to", "kept for", "+5", "empty = wait"] {
                assert!(!rows.contains(rule), "{rows}");
            }
        }
    }
}

#[test]
fn before_the_first_call_the_cards_explain_themselves() {
    let mut fixture = outage();
    fixture.state.calls.totals.started = 0;
    fixture.state.session.policy = Policy::default();
    *fixture.state.breakers.first_mut() = crate::state::BreakerView::default();
    for (name, rows) in [
        (
            "cache",
            [
                "◇ empty",
                "Answers a repeated question",
                "from memory: no call, no",
                "cost, no waiting.",
                "kept for 24 h, up to 64 MiB",
            ],
        ),
        (
            "limiter",
            [
                "tokens   ■■■■■■■■ 20k of 20k",
                "requests ■■■■■■■■ 40 of 40",
                "slots    ■■■■■■■■ 16 of 16",
                "Paces bursts to your quota.",
                "+1,500 tokens/s, +5 req/s",
            ],
        ),
        (
            "breaker",
            [
                "✓ CLOSED  calls pass",
                "Stops calling an upstream",
                "that keeps failing, and",
                "probes until it is back.",
                "opens at 50% of 10+ failed",
            ],
        ),
        (
            "retries",
            [
                "none yet",
                "Tries again after a failure",
                "that may pass, each time a",
                "little later, in a budget.",
                "up to 3 attempts",
            ],
        ),
    ] {
        assert_eq!(card(&fixture, name, 28, 5), rows);
    }
}

#[test]
fn a_gauge_of_what_is_left_turns_yellow_and_red() {
    let roles = [1.0, 0.25, 0.249, 0.1, 0.099, 0.0].map(left_role);
    assert_eq!(
        roles,
        [
            Role::Work,
            Role::Work,
            Role::Held,
            Role::Held,
            Role::Broken,
            Role::Broken
        ]
    );
    let mut fixture = outage();
    let bucket = fixture.state.limit.requests.unwrap();
    fixture.state.limit.requests = Some(bucket.debited(240));
    fixture.state.limit.in_use = 7;
    fixture.state.limit.rejected = [(LimitReject::WaitTooLong, 3)].into();
    fixture.state.calls.totals.ended[crate::event::Fate::RateLimited as usize] = 3;
    assert_eq!(
        card(&fixture, "limiter", 47, 5),
        [
            "tokens   ■■■■■■■■ 20k of 20k",
            "requests ■■■■■··· 25 of 40",
            "slots    ■······· 1 of 8",
            "0 waiting; next call at once",
            "limited: 3, would have waited over 60 s",
        ]
    );
    fixture.state.limit.requests = Some(bucket.debited(275));
    assert_eq!(card(&fixture, "limiter", 47, 5)[1], "requests ········ debt 10");
    assert_eq!(
        card(&fixture, "limiter", 47, 5)[3],
        "0 waiting; next call in 2.2 s"
    );
}

#[test]
fn a_breaker_says_what_comes_next_in_each_state() {
    let mut fixture = outage();
    let breaker = fixture.state.breakers.first_mut();
    breaker.until = Some(at(45.0));
    assert_eq!(card(&fixture, "breaker", 18, 3)[1], "next call probes");
    let breaker = fixture.state.breakers.first_mut();
    (breaker.state, breaker.probes_out, breaker.probes_ok) = (BreakerState::HalfOpen, 1, 1);
    assert_eq!(
        card(&fixture, "breaker", 38, 5)[1],
        "one probe is out, 1 of 2 good"
    );
    assert_eq!(card(&fixture, "breaker", 18, 3)[1], "1 of 2 good");
    let breaker = fixture.state.breakers.first_mut();
    breaker.state = BreakerState::Closed;
    (breaker.window.failed, breaker.window.total) = (3, 18);
    assert_eq!(card(&fixture, "breaker", 28, 5)[1], "3 of 18 failed in 30 s");
    // time passes without an outcome, and so without an event
    fixture.now = at(63.0);
    assert_eq!(card(&fixture, "breaker", 28, 5)[1], "no attempt ended in 30 s");
    assert_eq!(card(&fixture, "breaker", 18, 3)[1], "0 ended in 30 s");
}

/// The session of [`outage`] with a second model, whose breaker is closed.
fn two_models() -> Fixture {
    let mut fixture = outage();
    let healthy = crate::state::BreakerView::default();
    fixture
        .state
        .breakers
        .add("gpt-4o-mini", "claude-sonnet-4", healthy);
    fixture
}

#[test]
fn of_several_models_the_one_that_matters_most_is_named() {
    let mut fixture = two_models();
    assert_eq!(
        card(&fixture, "breaker", 47, 5)[0],
        "⊘ OPEN  gpt-4o-mini  calls are refused"
    );
    assert_eq!(card(&fixture, "breaker", 18, 3)[0], "⊘ OPEN  gpt-4o-mi…");
    for (room, title) in [(16, "1 other closed"), (15, "+1 closed"), (10, "+1"), (3, "")] {
        assert_eq!(breaker::title(&fixture.view(), room), title);
    }
    // closed again: the last to change stays
    fixture.state.breakers.first_mut().state = BreakerState::Closed;
    assert_eq!(
        card(&fixture, "breaker", 47, 5)[0],
        "✓ CLOSED  gpt-4o-mini  calls pass"
    );
    fixture
        .state
        .breakers
        .add("gpt-4o-mini", "o3", fixture::probing().state.breaker().clone());
    assert!(card(&fixture, "breaker", 47, 5)[0].contains("HALF-OPEN  o3"));
    assert_eq!(breaker::title(&fixture.view(), 20), "2 others closed");
}

#[test]
fn users_show_the_share_of_their_calls_that_were_served() {
    let mut story = crate::state::fixture::Story::begin();
    for call in 1..=12 {
        let now = story.now;
        story.emit(
            call,
            crate::state::fixture::started_by("ana", call, crate::event::Origin::Library, now),
        );
        let fate = if call > 3 {
            crate::event::Fate::Answered
        } else {
            crate::event::Fate::Failed
        };
        story.emit(call, crate::state::fixture::ended(fate, 1, 5));
    }
    let mut fixture = Fixture::default();
    (fixture.state, fixture.now) = (story.state(), story.now);
    fixture.ui.users = ["ana", "ben"].map(UserId::new).to_vec();
    let rows = |fixture: &Fixture| fixture::rows(fixture, 38, 3, users::render);
    assert_eq!(
        rows(&fixture),
        [
            "ana   ■■■■■■■■■■··· 75% of 12 served",
            "ben   ············· no calls ended",
            ""
        ]
    );
    assert_eq!(UserUsage::default().served(fixture.now), (0, 0));
    fixture.now = fixture.now + Duration::from_mins(2);
    assert!(rows(&fixture)[0].ends_with("no calls ended"));
}

#[test]
fn cards_fit_every_size_and_speak_ascii() {
    let fixtures: [fn() -> Fixture; 5] = [outage, storm, two_models, fixture::worst, fixture::probing];
    for fixture in fixtures {
        let mut fixture = fixture();
        fixture.theme = Theme::new(Palette::Mono, true);
        for (name, _) in CARDS {
            for width in 10..60 {
                for height in 1..8 {
                    let rows = card(&fixture, name, width, height);
                    assert!(
                        rows.iter().all(|row| row.is_ascii()),
                        "{name} {width}x{height} {rows:?}"
                    );
                }
            }
        }
    }
}
