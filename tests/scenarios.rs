//! The bundled scenarios, and `seawall run` from the command line: reports, journals and exit codes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests and their helpers")]

#[path = "scenarios/program.rs"]
mod program;
#[path = "scenarios/schema.rs"]
mod schema;
#[path = "scenarios/screen.rs"]
mod screen;
#[path = "scenarios/stories.rs"]
mod stories;

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use seawall::drills::scenario::{self, Report, Scene};

/// A journal in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn play(scene: &Scene) -> (Report, Vec<u8>) {
    let memory = Memory::default();
    let progress = Arc::new(AtomicU64::new(0));
    let outcome = scenario::in_virtual_time(scene, Some(memory.clone()), &progress).unwrap();
    let journal = std::mem::take(&mut *memory.0.lock().unwrap());
    (Report::new(scene, &outcome, true), journal)
}

fn load(name: &str) -> Scene {
    scenario::load(name, None, None).unwrap()
}

/// Plays a scenario without a journal.
fn report(scene: &Scene) -> Report {
    let progress = Arc::new(AtomicU64::new(0));
    let outcome = scenario::in_virtual_time(scene, None::<io::Sink>, &progress).unwrap();
    Report::new(scene, &outcome, true)
}

/// Runs `check` on each of `all`, on two threads. A panic fails the test.
fn on_two_threads<T: Sync>(all: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(one);
                }
            });
        }
    });
}

#[test]
fn every_bundled_scenario_passes_replays_identically_and_reports_by_the_schema() {
    // the longest first, so that neither thread ends long before the other
    let names: Vec<&str> = scenario::bundled().iter().rev().map(|(name, _)| *name).collect();
    let schema = schema::committed();
    on_two_threads(&names, |name| {
        let scene = load(name);
        let (report, journal) = play(&scene);
        assert!(report.met, "{name} fails:\n{report}");
        schema::validate(&schema, &serde_json::to_value(&report).unwrap())
            .unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let calls: u64 = report.fates.values().sum();
        assert_eq!(
            report.measures["calls"],
            Some(calls as f64),
            "{name}: a call without a fate"
        );
        screen::agrees(name, &journal);
        let (_, again) = play(&scene);
        let same = journal
            .split(|byte| *byte == b'\n')
            .zip(again.split(|byte| *byte == b'\n'))
            .position(|(one, other)| one != other);
        assert_eq!(same, None, "{name}: the journals differ in this line (0-based)");
        assert!(journal == again, "{name}: the journals differ in length");
    });
}

/// Seeds outside the 300 (1000 to 1299) that the bounds were taken from.
#[test]
fn every_bundled_scenario_passes_at_five_seeds() {
    let names = scenario::bundled().iter().rev();
    let all: Vec<(&str, u64)> = names
        .flat_map(|(name, _)| [1, 2, 3, 4, 5].map(|seed| (*name, seed)))
        .collect();
    on_two_threads(&all, |&(name, seed)| {
        let report = report(&scenario::load(name, None, Some(seed)).unwrap());
        assert!(report.met, "{name} fails with --seed {seed}:\n{report}");
    });
}

#[test]
fn seeds_differ_in_their_journals() {
    let play_seeded = |seed| play(&scenario::load("temperature", None, Some(seed)).unwrap());
    assert!(play_seeded(1).1 != play_seeded(2).1);
}

#[test]
fn every_bundled_scenario_has_a_comment_an_about_line_and_expectations() {
    let mut names = Vec::new();
    for (name, text) in scenario::bundled() {
        let comment = text.lines().take_while(|line| line.starts_with('#')).count();
        assert!(
            (3..=10).contains(&comment),
            "{name} begins with {comment} lines of comment"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{name}");
        let scene = load(name);
        assert_eq!(scene.scenario.name, *name);
        let about = scene.scenario.about.chars().count();
        assert!(
            (20..=110).contains(&about),
            "{name}: about has {about} characters"
        );
        assert!(
            scene.scenario.expectations.len() >= 3,
            "{name} has fewer than three expectations"
        );
        names.push(format!("{name}.toml"));
    }
    assert!(names.len() >= 15);
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/scenarios")).unwrap();
    let mut files: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    names.sort();
    assert_eq!(files, names, "every file is bundled exactly once");
}

/// With its guard switched off, a scenario must fail: otherwise its expectations test nothing.
#[test]
fn scenarios_fail_without_the_guard_under_test() {
    type Sabotage = (&'static str, fn(&mut Scene));
    let sabotages: [Sabotage; 11] = [
        ("cache-warms-up", |scene| scene.policy.cache.enabled = false),
        ("temperature", |scene| scene.policy.cache.store_all = true),
        ("thundering-herd", |scene| scene.policy.flight.enabled = false),
        ("idempotent-replay", |scene| {
            scene.policy.flight.replay_ttl = std::time::Duration::ZERO;
        }),
        ("flaky", |scene| scene.policy.retry.attempts = 1),
        ("token-bucket-burst", |scene| scene.policy.limit.enabled = false),
        ("queue-full", |scene| scene.policy.limit.max_waiters = 1024),
        ("outage", |scene| scene.policy.breaker.enabled = false),
        ("slow-upstream", |scene| scene.policy.breaker.slow_rate = 2.0),
        ("rate-limit-storm", |scene| scene.policy.retry.obey_hints = false),
        ("retry-storm-averted", |scene| {
            scene.policy.breaker.enabled = false;
            scene.policy.retry.attempts = 6;
            scene.policy.retry.max_ambiguous_retries = 5;
            (
                scene.policy.retry.budget_ratio,
                scene.policy.retry.budget_min_per_s,
            ) = (0.0, 0.0);
        }),
    ];
    on_two_threads(&sabotages, |(name, sabotage)| {
        let mut scene = load(name);
        sabotage(&mut scene);
        let report = report(&scene);
        assert!(!report.met, "{name} passes without its guard:\n{report}");
    });
}
