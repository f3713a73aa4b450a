use std::io::{self, Write};
use std::sync::Mutex;

use super::*;
use crate::drills::recorded::{self, LoadedJournal};
use crate::drills::scenario::{self, Outcome, in_virtual_time};
use crate::event::{CallId, Fate};

/// A journal in memory.
#[derive(Clone, Default)]
struct MemoryJournal(Arc<Mutex<Vec<u8>>>);

impl Write for MemoryJournal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Minutes with an outage, cancelled calls, keys, prompts whose difference is not recorded, and commands.
const SCENARIO: &str = r#"
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

fn record(scene: &Scene) -> (Outcome, LoadedJournal) {
    let memory = MemoryJournal::default();
    let outcome = in_virtual_time(scene, Some(memory.clone()), &Arc::default()).unwrap();
    let journal = std::mem::take(&mut *memory.0.lock().unwrap());
    (outcome, recorded::load(io::Cursor::new(journal)).unwrap())
}

fn replay(recorded: &LoadedJournal, policy: Policy, seed: u64) -> Outcome {
    let traffic = Arc::new(recorded.traffic.clone());
    let scene = Scene::from_traffic("replay", traffic, policy, seed).unwrap();
    let outcome = in_virtual_time(&scene, None::<io::Sink>, &Arc::default()).unwrap();
    assert_eq!(outcome.violation.as_ref().map(ToString::to_string), None);
    assert_eq!(outcome.leftovers, Vec::<String>::new());
    outcome
}

/// The result of each call.
fn ends(
    recorded: &LoadedJournal,
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
fn the_recorded_policy_gets_the_same_results_from_the_simulator() {
    let scene = scenario::read("recorded", SCENARIO, None, None).unwrap();
    let (then, recorded) = record(&scene);
    let now = replay(&recorded, recorded.header.policy.clone(), recorded.traffic.seed);
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
fn scenarios_with_faults_of_every_kind_are_reproduced() {
    for name in ["idempotent-replay", "cut-streams", "brownout", "suspend"] {
        let scene = scenario::load(name, None, None).unwrap();
        let (then, recorded) = record(&scene);
        let now = replay(&recorded, recorded.header.policy.clone(), recorded.traffic.seed);
        assert_eq!(ends(&recorded, &then), ends(&recorded, &now), "{name}");
    }
}

/// With a healthy upstream the model reproduces the recording.
#[test]
fn the_model_of_a_healthy_upstream_reproduces_its_answers() {
    let scene = scenario::load("calm", None, None).unwrap();
    let (then, mut recorded) = record(&scene);
    // as if the upstream were real
    recorded.traffic.simulator = None;
    let now = replay(&recorded, recorded.header.policy.clone(), recorded.traffic.seed);
    let fates = |outcome: &Outcome| -> Vec<_> {
        let ends = ends(&recorded, outcome).into_iter();
        ends.map(|(call, fate, attempts, _)| (call, fate, attempts))
            .collect()
    };
    let (then, now) = (fates(&then), fates(&now));
    let same = then.iter().zip(&now).filter(|(then, now)| then == now).count();
    assert!(same * 100 >= then.len() * 99, "{same} of {}", then.len());
}
