//! Stories of all calls of bundled scenarios: consistent, complete, valid by the schema, and identical from a
//! journal, from the state and from the run itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seawall::drills::scenario;
use seawall::event::{CallId, Event, Fate};
use seawall::journal::{Line, Reader};
use seawall::state::State;
use seawall::state::story::{StepKind, Story, StoryStore};
use serde_json::Value;

use crate::program::seawall;
use crate::{load, on_two_threads, play, schema};

fn events(journal: &[u8]) -> Vec<Event> {
    let reader = Reader::open(std::io::Cursor::new(journal.to_owned())).unwrap();
    let events = reader.lines().filter_map(|line| match line.unwrap() {
        Line::Event(event) => Some(event),
        Line::Blank | Line::Gap(_) | Line::End { .. } => None,
    });
    events.collect()
}

/// The start of the sentence for a fate.
fn prefix(fate: Fate) -> &'static str {
    match fate {
        Fate::Answered => "Answered in ",
        Fate::Hit => "Served ",
        Fate::Shared => "Shared the answer of #",
        Fate::RateLimited => "Limited ",
        Fate::CircuitOpen => "Refused by the breaker: ",
        Fate::Failed => "Failed a",
        Fate::Interrupted => "Interrupted after ",
        Fate::Cancelled => "Stopped after ",
    }
}

fn check(story: &Story, schema: &Value) {
    let steps = &story.steps;
    assert!(
        steps.windows(2).all(|two| two[0].offset <= two[1].offset),
        "{story}"
    );
    let ends = steps
        .iter()
        .filter(|step| matches!(step.kind, StepKind::Finished(_)));
    assert_eq!((ends.count(), story.lost), (1, 0), "{story}");
    let fate = story.fate().unwrap();
    let sentence = story.sentence();
    assert!(
        sentence.starts_with(prefix(fate)) && sentence.ends_with('.'),
        "{story}"
    );
    let json = serde_json::to_value(story).unwrap();
    schema::validate(schema, &json).unwrap_or_else(|problem| panic!("{problem}\n{story}"));
}

#[test]
fn every_call_of_bundled_scenarios_has_the_same_story_from_every_source() {
    let names = [
        "outage",
        "rate-limit-storm",
        "queue-full",
        "thundering-herd",
        "cut-streams",
        "stalls",
        "idempotent-replay",
        "impatient-callers",
        "cache-warms-up",
        "suspend",
        "by-hand",
    ];
    let schema = schema::of_stories();
    let seen = std::sync::Mutex::new((BTreeSet::new(), BTreeSet::new()));
    on_two_threads(&names, |name| {
        let (_, journal) = play(&load(name));
        let events = events(&journal);
        let (mut why, mut state) = (StoryStore::for_all_calls(), State::default());
        for event in &events {
            why.apply(event);
            state.apply(event);
        }
        let calls: BTreeSet<CallId> = events.iter().filter_map(|event| event.call).collect();
        for call in &calls {
            let story = why
                .story(*call)
                .unwrap_or_else(|| panic!("{name}: no story of {call}"));
            check(&story, &schema);
            if state.calls.recent.contains_key(call) {
                assert_eq!(state.stories.story(*call).as_ref(), Some(&story), "{name}");
            }
            let json = serde_json::to_value(&story).unwrap();
            let mut seen = seen.lock().unwrap();
            seen.0.insert(story.fate());
            let steps = json["steps"].as_array().unwrap().iter();
            seen.1
                .extend(steps.map(|step| step["step"].as_str().unwrap().to_owned()));
        }
        // a single call, as `seawall why` does it: its flight owner's events count too
        for call in calls.iter().step_by(calls.len() / 20 + 1) {
            let mut alone = StoryStore::for_call(*call);
            for event in &events {
                alone.apply(event);
            }
            assert_eq!(alone.story(*call), why.story(*call), "{name}");
        }
    });
    let (fates, steps) = seen.into_inner().unwrap();
    assert_eq!(fates.len(), Fate::ALL.len(), "{fates:?}");
    assert!(steps.len() >= 20, "{steps:?}");
}

#[test]
fn a_watched_call_has_the_same_story_as_in_the_journal() {
    let mut scene = load("stalls");
    scene.watch = Some(CallId(64));
    let progress = Arc::default();
    let outcome = scenario::in_virtual_time(&scene, None::<Vec<u8>>, &progress).unwrap();
    let watched = outcome.explained.unwrap();
    let (_, journal) = play(&load("stalls"));
    let mut why = StoryStore::for_call(CallId(64));
    for event in &events(&journal) {
        why.apply(event);
    }
    assert_eq!(watched.story, why.story(CallId(64)));
}

#[test]
fn stories_of_a_failed_and_a_queued_call_in_full() {
    let story = |name: &str, call: u64| {
        let mut scene = load(name);
        scene.watch = Some(CallId(call));
        let outcome = scenario::in_virtual_time(&scene, None::<Vec<u8>>, &Arc::default()).unwrap();
        outcome.explained.unwrap().story.unwrap().to_string()
    };
    assert_eq!(
        story("outage", 230),
        "\
#230 Failed after 3 attempts in 1.12s: 503 (injected) twice, then connection reset (injected); all attempts used; 1.02s between attempts.

  0.00s  asked      ben in burst 1: \"When does an idle timeout fire during a stream? (201)\"
                    fingerprint 9cb2deb9ff80, ~18 tokens, deadline 10m
  0.00s  cache      miss: never seen before; nearest is #226, another question
  0.00s  flight     new flight: the same request may join
  0.00s  limiter    admitted at once for 66 tokens; 19903 of 20000 and 58 of 60 requests left
  0.00s  breaker    closed, admitted: 0 of 56 failed
  0.00s  attempt 1  sent
  0.00s  attempt 1  503 injected
  0.03s  attempt 1  failed after 0.03s: simulator is overloaded (503): Service temporarily overloaded (injected by seawall); not caused by your quota
  0.03s  limiter    0 of 66 reserved tokens charged
  0.03s  retry      attempt 2 in 0.12s: server overloaded
                    drew 0.12s; budget 11.2 of 13.2; deadline in 10m
  0.15s  limiter    admitted at once for 66 tokens; 19934 of 20000 and 57 of 60 requests left
  0.15s  breaker    closed, admitted: 2 of 58 failed
  0.15s  attempt 2  sent
  0.15s  attempt 2  503 injected
  0.20s  attempt 2  failed after 0.05s: simulator is overloaded (503): Service temporarily overloaded (injected by seawall); not caused by your quota
  0.20s  limiter    0 of 66 reserved tokens charged
  0.20s  retry      attempt 3 in 0.89s: server overloaded
                    drew 0.89s; budget 10.2 of 13.2; deadline in 10m
  1.10s  limiter    admitted at once for 66 tokens; 19934 of 20000 and 58 of 60 requests left
  1.10s  breaker    closed, admitted: 4 of 59 failed
  1.10s  attempt 3  sent
  1.10s  attempt 3  reset injected
  1.12s  attempt 3  failed after 0.03s: simulator closed the connection before it answered; the request may have been processed
  1.12s  limiter    66 of 66 reserved tokens charged
  1.12s  retry      no further attempt: all attempts used; budget 8.8 of 12.8
  1.12s  end        failed after 1.12s, 3 attempts
"
    );
    assert_eq!(
        story("queue-full", 499),
        "\
#499 Answered in 6.53s on attempt 1; 5.00s queued for a free slot.

  0.00s  asked      ben in burst 1: \"Which metrics should I watch? (210)\"
                    fingerprint 5f9d80c24423, ~13 tokens, deadline 10m
  0.00s  cache      miss: never seen before; nearest is #354, another question
  0.00s  flight     new flight: the same request may join
  0.00s  queue      waits for a free slot: position 25 of 25
                    saw 19944 of 20000 tokens (needs 61), 0 of 60 requests, 7 slots in use
  5.00s  limiter    admitted after 5.00s for 61 tokens; 19939 of 20000 and 0 of 60 requests left
  5.00s  breaker    closed, admitted: 0 of 188 failed
  5.00s  attempt 1  sent
  6.53s  attempt 1  complete after 1.53s: 61 tokens (13 asked, 48 answered); truncated at the token limit
  6.53s  limiter    61 of 61 reserved tokens charged
  6.53s  cache      answer stored, 2121 bytes
  6.53s  end        answered after 6.53s, 1 attempt
"
    );
}

#[test]
fn explain_and_why_print_the_same_story() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("j.ndjson");
    let path = journal.to_str().unwrap();
    let run = seawall(&["run", "stalls", "--journal", path, "--explain", "#64", "--json"]);
    assert_eq!(
        run.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let why = seawall(&["why", path, "64", "--json"]);
    assert_eq!((why.status.code(), &why.stdout), (Some(0), &run.stdout));
    let story: Value = serde_json::from_slice(&run.stdout).unwrap();
    schema::validate(&schema::of_stories(), &story).unwrap();
    let texts: BTreeMap<&str, Vec<u8>> = [
        ("run", seawall(&["run", "stalls", "--explain", "64"]).stdout),
        ("why", seawall(&["why", path, "#64"]).stdout),
    ]
    .into();
    assert_eq!(texts["run"], texts["why"]);
    let text = String::from_utf8_lossy(&texts["run"]);
    assert!(
        text.starts_with(&format!("#64 {}\n", story["sentence"].as_str().unwrap())),
        "{text}"
    );

    let list = seawall(&["why", path]);
    assert_eq!(list.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&list.stdout).contains("\nslowest\n"));
    for missing in [
        &["why", path, "9999"][..],
        &["run", "stalls", "--explain", "9999"],
    ] {
        let output = seawall(missing);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            error.contains("no call #9999: there are ") && error.contains("failed: #"),
            "{error}"
        );
    }
    let output = seawall(&["why", path, "twelve"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("write 12"));
}

#[test]
fn the_schema_rejects_an_unknown_step() {
    let schema = schema::of_stories();
    let story = |step: Value| serde_json::json!({ "story": 2, "call": 1, "fate": null, "sentence": "s", "lost": 0, "steps": [step] });
    let good = serde_json::json!({ "step": "left_queue", "at": 1, "offset": 0, "waiting": 3 });
    schema::validate(&schema, &story(good)).unwrap();
    let bad = serde_json::json!({ "step": "left_queue", "at": 1, "offset": 0, "waiting": "3" });
    assert!(
        schema::validate(&schema, &story(bad))
            .unwrap_err()
            .contains("waiting")
    );
    let unknown = serde_json::json!({ "step": "danced", "at": 1, "offset": 0 });
    assert!(schema::validate(&schema, &story(unknown)).is_err());
}
