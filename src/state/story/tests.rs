//! Stories of generated sessions and of one written by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use super::store::MAX_BYTES;
use super::{CallRanking, Step, StepKind, Story, StoryStore};
use crate::event::{
    BreakerState, BucketLevel, CallId, Constraint, DiffKind, Event, EventKind, FailureClass, Fate, FieldDiff,
    FlightId, LimitLevels, LimitReject, MAX_MODELS, MissReason, ModelName, MoveReason, NearMiss,
    NearestPrompt, Objection, Origin, SemanticGuard, SemanticMiss, WindowCounts,
};
use crate::openai::Usage;
use crate::settings::{FaultKind, Policy};
use crate::state::fixture::{
    Story as Tale, admitted, attempt, delta, ended, failed, first_token, fold, moved, moved_model, queued,
    retry, session, settled, started, succeeded,
};
use crate::time::Timestamp;

fn story(tale: &Tale, call: u64) -> Story {
    tale.state().stories.story(CallId(call)).unwrap()
}

fn sentence(tale: &Tale, call: u64) -> String {
    story(tale, call).sentence().to_string()
}

/// The word that a sentence of this fate begins with.
fn word(fate: Option<Fate>) -> &'static str {
    match fate {
        Some(Fate::Answered) => "Answered in ",
        Some(Fate::Hit) => "Served ",
        Some(Fate::Shared) => "Shared ",
        Some(Fate::RateLimited) => "Limited ",
        Some(Fate::CircuitOpen) => "Refused by the breaker",
        Some(Fate::Failed) => "Failed a",
        Some(Fate::Interrupted) => "Interrupted after ",
        Some(Fate::Cancelled) => "Stopped after ",
        None => "Running: ",
    }
}

/// Invariants of every story.
fn check(story: &Story) {
    let steps = &story.steps;
    assert!(
        steps.windows(2).all(|two| two[0].offset <= two[1].offset),
        "{story}"
    );
    assert!(steps.windows(2).all(|two| two[0].at <= two[1].at), "{story}");
    let ends = steps
        .iter()
        .filter(|step| matches!(step.kind, StepKind::Finished(_)));
    assert!(ends.count() <= 1, "{story}");
    let begins = steps
        .iter()
        .filter(|step| matches!(step.kind, StepKind::Started(_)));
    assert_eq!(begins.count(), 1, "{story}");
    let sentence = story.sentence();
    assert!(sentence.starts_with(word(story.fate())), "{story}");
    assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{story}");
    for step in steps {
        let found = super::StepText::new(step);
        assert!(
            !found.text.is_empty() && found.label.chars().count() <= 10,
            "{found:?}"
        );
        assert!(!found.text.contains('\n') && found.more.iter().all(|more| !more.contains('\n')));
        let json = serde_json::to_string(step).unwrap();
        assert_eq!(&serde_json::from_str::<Step>(&json).unwrap(), step, "{json}");
    }
}

#[test]
fn every_call_of_generated_sessions_has_the_same_story_live_and_from_a_journal() {
    let mut fates = BTreeSet::new();
    for seed in 0..6 {
        let events = session(seed, 150);
        let state = fold(&events);
        let mut all = StoryStore::for_all_calls();
        for event in &events {
            all.apply(event);
        }
        for id in (1..=150).map(CallId) {
            let found = all.story(id).unwrap();
            check(&found);
            assert!(found.fate().is_some() && found.lost == 0, "{found}");
            fates.insert(found.fate());
            let mut alone = StoryStore::for_call(id);
            for event in &events {
                alone.apply(event);
            }
            assert_eq!(alone.story(id).as_ref(), Some(&found), "{found}");
            // a chat forgets its oldest calls
            if state.calls.recent.contains_key(&id) {
                assert_eq!(state.stories.story(id), Some(found));
            }
        }
    }
    assert_eq!(fates.len(), Fate::ALL.len());
}

#[test]
fn unfinished_calls_have_stories_too() {
    let events = session(8, 60);
    for cut in (0..events.len()).step_by(17) {
        let state = fold(&events[..cut]);
        for id in state.calls.recent.keys() {
            check(&state.stories.story(*id).unwrap());
        }
    }
}

/// Waits for tokens, then 429, then a timeout, then an answer with a silence in it.
fn third_try() -> Tale {
    let mut tale = Tale::begin();
    tale.at(1.0).call(12, Origin::Chat);
    let limit = Policy::default().limit;
    let levels = LimitLevels {
        requests: BucketLevel::full(&limit.requests, tale.now),
        tokens: BucketLevel::full(&limit.tokens, tale.now).debited(limit.tokens.capacity - 120),
        in_use: 3,
        needs: 268,
        user: None,
    };
    let mut waits = queued(Constraint::Tokens, Some(2.2), 3);
    if let EventKind::LimitQueued { levels: found, .. } = &mut waits {
        *found = Some(Box::new(levels));
    }
    tale.emit(12, waits);
    let now = tale.at(2.2).now;
    tale.emit(12, admitted(now, 1, 2))
        .emit(12, passed())
        .emit(12, attempt(1, 12));
    let fault = FaultKind::RateLimited;
    tale.emit(12, EventKind::FaultInjected { attempt: 1, fault });
    let now = tale.at(2.4).now;
    let mut refused = failed(1, FailureClass::RateLimited, Some(429), 200);
    if let EventKind::AttemptEnded {
        result: crate::event::AttemptResult::Failed { failure },
        ..
    } = &mut refused
    {
        failure.hint = Some(crate::event::Hint {
            wait: Duration::from_secs(1),
            source: crate::event::HintSource::RetryAfter,
        });
    }
    tale.emit(12, refused).emit(12, settled(now, 0));
    tale.emit(12, retry(2, FailureClass::RateLimited, now, 1000, Some(1)));
    tale.at(3.4).emit(12, attempt(2, 12));
    let now = tale.at(5.4).now;
    tale.emit(12, failed(2, FailureClass::HeaderTimeout, None, 2000));
    tale.emit(12, retry(3, FailureClass::HeaderTimeout, now, 400, None));
    tale.at(5.8).emit(12, attempt(3, 12));
    tale.at(6.1).emit(12, first_token(3, 300)).emit(12, delta("it "));
    tale.at(6.2).emit(12, delta("is "));
    tale.at(8.2).emit(12, delta("this."));
    tale.at(8.3).emit(12, succeeded(3, 2500));
    tale.emit(
        12,
        EventKind::CacheStored {
            bytes: 200,
            entries: 1,
            total_bytes: 200,
        },
    );
    tale.emit(12, ended(Fate::Answered, 3, 7300));
    tale
}

fn passed() -> EventKind {
    let window = WindowCounts {
        total: 20,
        failed: 4,
        ..WindowCounts::default()
    };
    EventKind::BreakerAdmitted {
        model: None,
        generation: 0,
        probe: false,
        window,
    }
}

#[test]
fn a_story_in_full() {
    let expected = "\
#12 Answered in 7.30s on attempt 3: 429 (injected, asked to wait 1s), then timeout; 1.20s queued for the token bucket; 1.40s between attempts; stream silent for 2.00s.

  0.00s  asked      ann in chat: \"question 12\"
                    fingerprint 000000000000, ~12 tokens, deadline 10m
  0.00s  cache      miss: never seen before
  0.00s  queue      waits for the token bucket: position 3 of 3, forecast 1.20s
                    saw 120 of 20000 tokens (needs 268), 60 of 60 requests, 3 slots in use
  1.20s  limiter    admitted after 0.04s for 268 tokens; 2000 of 20000 and 6 of 60 requests left
  1.20s  breaker    closed, admitted: 4 of 20 failed
  1.20s  attempt 1  sent
  1.20s  attempt 1  429 injected
  1.40s  attempt 1  failed after 0.20s: made up: RateLimited; server asks to wait 1s
  1.40s  limiter    60 of 268 reserved tokens charged
  1.40s  retry      attempt 2 in 1.00s: rate limit
                    drew 0.50s, the server asked for 1s; budget 142.9 of 10.0; deadline in 9m59s
  2.40s  attempt 2  sent
  4.40s  attempt 2  failed after 2.00s: made up: HeaderTimeout
  4.40s  retry      attempt 3 in 0.40s: timeout
                    drew 0.20s; budget 57.1 of 10.0; deadline in 9m56s
  4.80s  attempt 3  sent
  5.10s  attempt 3  first token after 0.30s
  7.20s  attempt 3  silent for 2.00s
  7.30s  attempt 3  complete after 2.50s: 60 tokens (12 asked, 48 answered); finished
  7.30s  cache      answer stored, 200 bytes
  7.30s  end        answered after 7.30s, 3 attempts
";
    let tale = third_try();
    check(&story(&tale, 12));
    assert_eq!(story(&tale, 12).to_string(), expected);
}

#[test]
fn a_follower_has_the_steps_of_the_flight_while_subscribed() {
    let mut tale = Tale::begin();
    tale.call(1, Origin::Library).emit(1, attempt(1, 1));
    let now = tale.at(1.0).now;
    tale.emit(2, started(2, Origin::Library, now));
    let join = |subscribers| EventKind::FlightJoined {
        flight: FlightId(1),
        owner: CallId(1),
        subscribers,
    };
    tale.emit(2, join(2));
    let now = tale.at(1.5).now;
    tale.emit(3, started(3, Origin::Library, now)).emit(3, join(3));
    tale.at(2.0)
        .emit(1, failed(1, FailureClass::ServerError, Some(500), 2000));
    tale.emit(1, retry(2, FailureClass::ServerError, tale.now, 500, None));
    // the owner leaves, and the first follower goes on
    let over = EventKind::FlightHandedOver {
        flight: FlightId(1),
        from: CallId(1),
    };
    tale.at(2.2)
        .emit(1, ended(Fate::Cancelled, 1, 2200))
        .emit(2, over);
    tale.at(2.5).emit(2, attempt(2, 1));
    tale.at(3.0).emit(2, succeeded(2, 500));
    tale.emit(2, ended(Fate::Answered, 1, 2000))
        .emit(3, ended(Fate::Shared, 0, 1500));
    assert_eq!(
        sentence(&tale, 1),
        "Stopped after 2.20s by the caller; 1 attempt sent; 0.20s between attempts."
    );
    assert_eq!(
        sentence(&tale, 2),
        "Answered in 2.00s on attempt 2: 500; 0.50s between attempts; took over the flight of #1."
    );
    assert_eq!(
        sentence(&tale, 3),
        "Shared the answer of #2 (identical request) after 1.50s, 60 tokens shared; failed attempts: 500; 0.50s between attempts."
    );
    let third = story(&tale, 3);
    let whose: Vec<_> = third
        .steps
        .iter()
        .filter_map(|step| step.flight_owner)
        .map(|id| id.0)
        .collect();
    assert_eq!(whose, [1, 1, 2, 2, 2], "{third}");
    assert!(third.to_string().contains("[#1] failed after 2.00s"), "{third}");
    assert!(third.to_string().contains("[#2] took over from #1"), "{third}");
    // the call that left has no later steps
    assert!(!story(&tale, 1).to_string().contains("complete"));
}

/// As many models as have a breaker, and then another one: the breaker that moved last is still known.
#[test]
fn the_latest_opening_is_remembered_among_many_models() {
    let mut tale = Tale::begin();
    let opens = |name: &str| {
        let reason = MoveReason::FailureRate;
        moved_model(name, BreakerState::Closed, BreakerState::Open, 1, reason)
    };
    for number in 0..MAX_MODELS {
        tale.at(1.0).emit(0, opens(&format!("early-{number}")));
    }
    tale.at(2.0).emit(0, opens("latest"));
    tale.at(2.0).emit(0, opens("another"));
    tale.at(4.0).call(5, Origin::Chat);
    let refused = EventKind::BreakerRefused {
        model: ModelName::new("latest"),
        until: None,
        window: WindowCounts::default(),
    };
    tale.emit(5, refused).emit(5, ended(Fate::CircuitOpen, 0, 0));
    let text = story(&tale, 5).to_string();
    assert!(text.contains("refused latest: opened 2.00s ago"), "{text}");
}

#[test]
fn a_rejection_by_the_breaker_names_the_transition_that_opened_it() {
    let mut tale = Tale::begin();
    let reason = MoveReason::FailureRate;
    tale.at(2.0).emit(
        0,
        moved(BreakerState::Closed, BreakerState::Open, 3, reason, Some(7.0)),
    );
    tale.at(4.0).call(5, Origin::Chat);
    let until = Some(Timestamp::from_secs_f64(7.0));
    let window = WindowCounts::default();
    tale.emit(
        5,
        EventKind::BreakerRefused {
            model: None,
            until,
            window,
        },
    );
    tale.emit(5, ended(Fate::CircuitOpen, 0, 0));
    assert_eq!(
        sentence(&tale, 5),
        "Refused by the breaker: opened 2.00s before (11 of 20 calls failed); nothing was sent."
    );
    let text = story(&tale, 5).to_string();
    let found = "breaker    refused: opened 2.00s ago (11 of 20 calls failed); next probe in 3.00s";
    assert!(text.contains(found), "{text}");
}

fn nearest(similarity: f64, objection: Option<Objection>) -> NearestPrompt {
    NearestPrompt {
        source: CallId(4),
        prompt: "what is a token bucket?".into(),
        similarity,
        threshold: 0.9,
        objection,
    }
}

#[test]
fn cache_steps_name_the_nearest_request() {
    let mut tale = Tale::begin();
    tale.emit(7, started(7, Origin::Chat, tale.now));
    let diff = FieldDiff {
        field: "temperature".into(),
        how: DiffKind::Number,
        here: "0.7".into(),
        stored: "0".into(),
    };
    let near = NearMiss {
        source: CallId(4),
        prompt: "what is a token bucket?".into(),
        differs: vec![diff],
        fields: 1,
    };
    let missed = EventKind::CacheMissed {
        reason: MissReason::NeverSeen,
        nearest: Some(Box::new(near)),
    };
    tale.emit(7, missed.clone());
    let objection = Some(Objection {
        guard: SemanticGuard::Number,
        asked: "3".into(),
        stored: "5".into(),
    });
    let lookup = Duration::from_micros(800);
    let refused = EventKind::SemanticMissed {
        reason: SemanticMiss::GuardRejected,
        nearest: Some(Box::new(nearest(0.95, objection))),
        candidates: 12,
        lookup,
        detail: None,
    };
    tale.emit(7, refused);
    let text = story(&tale, 7).to_string();
    for line in [
        "miss: never seen before; nearest is #4, differs in 1 field",
        "temperature: a number, here 0.7, stored 0",
        "miss: a guard rejected the nearest prompt",
        "similarity 0.95 to the prompt of #4 (needs 0.90): \"what is a token bucket?\"",
        "number 3, stored 5",
        "compared with 12 prompts in 0.8 ms",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }

    let now = tale.at(1.0).now;
    tale.emit(8, started(8, Origin::Chat, now)).emit(8, missed);
    let hit = EventKind::SemanticHit {
        nearest: Box::new(nearest(0.97, None)),
        candidates: 12,
        lookup,
        age: Duration::from_secs(9),
        saved: Usage::new(12, 48),
        saved_time: Duration::from_millis(2400),
        text: "an answer that must not be kept twice".into(),
    };
    tale.emit(8, hit).emit(8, ended(Fate::Hit, 0, 1));
    let served = "Served by the semantic cache: similarity 0.97 to the prompt of #4 (needs 0.90), 60 tokens and 2.40s saved, nothing was sent";
    assert_eq!(sentence(&tale, 8), format!("{served}."));
    let judged = EventKind::SemanticLabelled {
        source: CallId(4),
        request: "4".into(),
        good: false,
        similarity: 0.97,
        threshold: 0.98,
        removed: true,
    };
    tale.at(5.0).emit(8, judged);
    assert_eq!(sentence(&tale, 8), format!("{served}; labelled wrong."));
    check(&story(&tale, 8));
}

#[test]
fn a_rejection_by_the_limiter_names_its_reason() {
    let mut tale = Tale::begin();
    tale.call(3, Origin::Library);
    let rejected = EventKind::LimitRejected {
        reason: LimitReject::QueueFull,
        predicted: None,
        waiting: 1024,
        levels: None,
    };
    tale.emit(3, rejected).emit(3, ended(Fate::RateLimited, 0, 0));
    assert_eq!(
        sentence(&tale, 3),
        "Limited at once: queue full (1024 waiting); nothing was sent."
    );
}

#[test]
fn hostile_text_is_sanitised() {
    let mut tale = third_try();
    let evil = "\u{1b}]52;c;aGk=\u{7}\n\u{202e}gnp.exe\u{200b}";
    let mut end = failed(9, FailureClass::Internal, None, 1);
    if let EventKind::AttemptEnded {
        result: crate::event::AttemptResult::Failed { failure },
        ..
    } = &mut end
    {
        failure.message = format!("{evil}{}", "x".repeat(100_000)).as_str().into();
    }
    tale.emit(
        13,
        EventKind::CallStarted {
            origin: Origin::Library,
            user: crate::event::UserId::new(evil),
            prompt: evil.into(),
            fingerprint: evil.into(),
            prompt_tokens: u64::MAX,
            deadline: Timestamp::MAX,
            options: crate::event::CallOptions::default(),
        },
    );
    tale.emit(13, end)
        .emit(13, ended(Fate::Failed, u32::MAX, u64::MAX / 2_000_000));
    let found = story(&tale, 13);
    check(&found);
    let text = found.to_string();
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(!text.contains(['\u{202e}', '\u{200b}']));
    assert!(
        text.lines().all(|line| line.chars().count() < 600),
        "a line that never ends"
    );
}

#[test]
fn a_slow_model_is_not_called_silent_between_its_words() {
    let mut tale = Tale::begin();
    tale.call(1, Origin::Chat)
        .emit(1, attempt(1, 1))
        .emit(1, first_token(1, 10));
    for word in 1..=9 {
        tale.at(f64::from(word) * 1.5).emit(1, delta("word "));
    }
    let silences = |tale: &Tale| {
        let steps = story(tale, 1).steps;
        let silent = steps.iter().filter_map(|step| match step.kind {
            StepKind::AttemptStalled { silent, .. } => Some(silent.as_millis()),
            _ => None,
        });
        silent.collect::<Vec<_>>()
    };
    // the first two chunks do not show how slow the model is
    assert_eq!(silences(&tale), [1500]);
    tale.at(33.5)
        .emit(1, failed(1, FailureClass::Stalled, Some(200), 33_500));
    assert_eq!(silences(&tale), [1500, 20_000], "a silence that ended it counts");
}

/// Calls of a burst that wait in the queue.
fn waiting(calls: u64) -> Vec<Event> {
    let mut tale = Tale::begin();
    let limit = Policy::default().limit;
    for call in 1..=calls {
        let levels = LimitLevels {
            requests: BucketLevel::full(&limit.requests, tale.now),
            tokens: BucketLevel::full(&limit.tokens, tale.now),
            in_use: 8,
            needs: 268,
            user: None,
        };
        let mut start = started(call, Origin::Burst { burst: 1 }, tale.now);
        if let EventKind::CallStarted { prompt, .. } = &mut start {
            *prompt = "what does a token bucket do when it is empty?".into();
        }
        tale.emit(call, start);
        let (reason, nearest) = (MissReason::NeverSeen, None);
        tale.emit(call, EventKind::CacheMissed { reason, nearest });
        tale.emit(call, crate::state::fixture::flight_started(call));
        let mut waits = queued(Constraint::Tokens, None, 1);
        if let EventKind::LimitQueued { levels: found, .. } = &mut waits {
            *found = Some(Box::new(levels));
        }
        tale.emit(call, waits);
    }
    tale.events
}

#[test]
fn ten_thousand_waiting_calls_fit_and_more_lose_their_oldest_steps() {
    let state = fold(&waiting(10_000));
    let bytes = state.stories.bytes();
    assert!(bytes < MAX_BYTES && bytes > MAX_BYTES / 2, "{bytes}");
    assert!((1..=10_000).all(|call| state.stories.story(CallId(call)).unwrap().lost == 0));

    let state = fold(&waiting(14_000));
    assert!(state.stories.bytes() <= MAX_BYTES, "{}", state.stories.bytes());
    let first = state.stories.story(CallId(1)).unwrap();
    assert_eq!((first.lost, first.steps.len()), (3, 1), "{first}");
    assert!(first.to_string().contains("3 steps dropped"), "{first}");
    let last = state.stories.story(CallId(14_000)).unwrap();
    assert_eq!((last.lost, last.steps.len()), (0, 4));
}

#[test]
fn finished_stories_go_oldest_first_and_leave_nothing_behind() {
    let events = session(21, 2_500);
    let mut why = StoryStore::default();
    for event in &events {
        why.apply(event);
    }
    let kept = (1..=2_600)
        .filter(|call| why.story(CallId(*call)).is_some())
        .count();
    assert!(kept > 500 && kept <= 562, "{kept}");
    assert!(why.bytes() < MAX_BYTES / 2);
    assert_eq!(
        why.bytes(),
        why.counted(),
        "what was given back is what was taken"
    );
}

#[test]
fn a_session_says_which_calls_are_worth_a_question() {
    let mut worth = CallRanking::default();
    for event in &session(4, 300) {
        worth.apply(event);
    }
    assert_eq!((worth.calls, worth.range), (300, Some((CallId(1), CallId(300)))));
    assert!(worth.slowest.windows(2).all(|two| two[0].took >= two[1].took));
    assert!(worth.tried.iter().all(|row| row.attempts >= 2));
    let missing = worth.missing(CallId(999));
    assert!(
        missing.starts_with("no call #999: there are 300 of them, #1 to #300; ask for one that failed: #")
    );
}
