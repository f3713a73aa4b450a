use std::io::{self, Write};
use std::sync::Mutex;

use super::*;
use crate::drills::recorded::{self, Recorded};
use crate::drills::scenario::{self, Outcome, in_virtual_time};
use crate::event::{CallId, Fate};

/// A journal that stays in memory.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Minutes with an outage, callers who leave, keys, prompts that differ in what is not recorded, and commands.
const WORLD: &str = r#"
duration = "4m"

[[callers]]
users = ["ana", "ben"]
arrival.poisson = { per_s = 5.0 }
prompts = { distinct = 60, skew = 0.9 }
impatience = { share = 0.2, within = "3s" }
system = "It is {time}. Be brief."
max_tokens = 24

[[callers]]
users = ["cleo"]
arrival.steady = { per_s = 1.3 }
prompts = { distinct = 30, skew = 0.0 }
temperature = 0.7
keys = 20
stream = false
deadline = "20s"
max_tokens = 12

[[upstream.phase]]
from = "1m"
until = "2m"
faults = "outage"

[[command]]
at = "150s"
do = "force_open"

[[command]]
at = "153s"
do = "automatic"

[[command]]
at = "170s"
do = "clear_cache"
"#;

fn record(scene: &Scene) -> (Outcome, Recorded) {
    let paper = Paper::default();
    let outcome = in_virtual_time(scene, Some(paper.clone()), &Arc::default()).unwrap();
    let journal = std::mem::take(&mut *paper.0.lock().unwrap());
    (outcome, recorded::load(io::Cursor::new(journal)).unwrap())
}

fn again(recorded: &Recorded, policy: Policy, seed: u64) -> Outcome {
    let traffic = Arc::new(recorded.traffic.clone());
    let scene = Scene::of_traffic("again", traffic, policy, seed).unwrap();
    let outcome = in_virtual_time(&scene, None::<io::Sink>, &Arc::default()).unwrap();
    assert_eq!(outcome.violation.as_ref().map(ToString::to_string), None);
    assert_eq!(outcome.leftovers, Vec::<String>::new());
    outcome
}

/// What became of each call.
fn ends(
    recorded: &Recorded,
    outcome: &Outcome,
) -> Vec<(CallId, Option<Fate>, u32, Option<std::time::Duration>)> {
    let calls = recorded.traffic.calls().iter();
    calls
        .map(|recorded| {
            let call = outcome.tally.call(recorded.call).unwrap();
            assert_eq!(call.started_at, recorded.at, "{}", recorded.call);
            (recorded.call, call.fate, call.attempts, call.took)
        })
        .collect()
}

#[test]
fn the_recorded_policy_meets_the_same_simulator_again() {
    let scene = scenario::read("world", WORLD, None, None).unwrap();
    let (then, recorded) = record(&scene);
    let now = again(&recorded, recorded.header.policy.clone(), recorded.traffic.seed);
    let (then, now) = (ends(&recorded, &then), ends(&recorded, &now));
    assert!(then.len() > 1000);
    let differ: Vec<_> = then.iter().zip(&now).filter(|(then, now)| then != now).collect();
    assert!(
        differ.is_empty(),
        "{} of {}: {:?}",
        differ.len(),
        then.len(),
        &differ[..differ.len().min(5)]
    );
}

#[test]
fn so_do_scenarios_with_faults_of_every_kind() {
    for name in ["idempotent-replay", "cut-streams", "brownout", "suspend"] {
        let scene = scenario::load(name, None, None).unwrap();
        let (then, recorded) = record(&scene);
        let now = again(&recorded, recorded.header.policy.clone(), recorded.traffic.seed);
        assert_eq!(ends(&recorded, &then), ends(&recorded, &now), "{name}");
    }
}

/// With what is seen of an upstream that is always well, the same policy does as it did.
#[test]
fn what_was_seen_of_an_upstream_answers_as_it_did() {
    let scene = scenario::load("calm", None, None).unwrap();
    let (then, mut recorded) = record(&scene);
    // as if it had been a real one
    recorded.traffic.simulator = None;
    let now = again(&recorded, recorded.header.policy.clone(), recorded.traffic.seed);
    let fates = |outcome: &Outcome| -> Vec<_> {
        let ends = ends(&recorded, outcome).into_iter();
        ends.map(|(call, fate, attempts, _)| (call, fate, attempts))
            .collect()
    };
    let (then, now) = (fates(&then), fates(&now));
    let same = then.iter().zip(&now).filter(|(then, now)| then == now).count();
    assert!(same * 100 >= then.len() * 99, "{same} of {}", then.len());
}
