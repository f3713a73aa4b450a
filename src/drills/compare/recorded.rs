//! Recorded traffic as the world, and how good a model of it playing it again is.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::Run;
use crate::drills::recorded::{Answerer, RecordedCall, Traffic};
use crate::drills::scenario::{Measure, Part, Tally};
use crate::settings::Policy;
use crate::state::Percentiles;
use crate::time::Timestamp;

/// Recorded traffic, to be compared under policies.
#[derive(Clone, Debug)]
pub struct RecordedWorld {
    /// What reports call it: the name of the journal.
    pub name: String,
    /// The calls.
    pub traffic: Arc<Traffic>,
    /// The policy they were recorded under.
    pub policy: Policy,
}

/// What the recording is, what became of its calls, and what becomes of them when they are asked again under the
/// recorded policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recorded {
    /// Calls.
    pub calls: u64,
    /// Seconds from the first of them to the last.
    pub span_s: f64,
    /// Attempts that the upstream is made of; nothing where it is the simulator again.
    pub attempts_seen: Option<u64>,
    /// The policy they were recorded under; the first of them, if it changed meanwhile.
    pub policy: String,
    /// How often the settings changed meanwhile.
    pub changes: u64,
    /// What was.
    pub was: Figures,
    /// The recorded policy, asked again with the seed of the recording.
    pub again: Figures,
    /// The share of calls that end as they ended.
    pub alike: Option<f64>,
}

/// The figures by which the model is judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Served over calls.
    pub served_share: Option<f64>,
    /// Attempts for each call that made any.
    pub amplification: Option<f64>,
    /// 95 % of the served calls took no longer, in seconds.
    pub latency_p95: Option<f64>,
}

impl Recorded {
    /// The facts of a recording; `again` is the run of its own policy.
    pub(super) fn new(traffic: &Traffic, policy: &Policy, again: &Run) -> Self {
        let calls = traffic.calls();
        let at = |call: Option<&RecordedCall>| call.map_or(Timestamp::ZERO, |call| call.at);
        Self {
            calls: calls.len() as u64,
            span_s: at(calls.last()).since(at(calls.first())).as_secs_f64(),
            attempts_seen: match traffic.answerer() {
                Ok(Answerer::Seen(attempts)) => Some(attempts as u64),
                _ => None,
            },
            policy: policy.name.clone(),
            changes: traffic.changes(),
            was: Figures::of(calls),
            again: Figures {
                served_share: again.value(Measure::ServedShare),
                amplification: again.value(Measure::Amplification),
                latency_p95: again.value(Measure::LatencyP95),
            },
            alike: again.alike,
        }
    }

    /// What was recorded, in the words of a heading.
    pub(super) fn world(&self, seeds: u64) -> String {
        let Self {
            calls,
            span_s,
            policy,
            ..
        } = self;
        let runs = match seeds {
            1 => "asked again".to_owned(),
            _ => format!("asked again with {seeds} seeds: means"),
        };
        format!(
            "{calls} calls in {}, recorded under {policy}, {runs}",
            span(*span_s)
        )
    }

    /// What the upstream is, in the words of a report.
    pub(super) fn model(&self) -> String {
        let gone = "A caller who left leaves at the same moment again, and how long the others would have waited is not \
                    known; of a prompt the first 400 letters are.";
        match self.attempts_seen {
            None => format!(
                "The upstream is the simulator again: the same calls at the same times, the same draws for the same \
                 attempt of the same call, the same faults, so what differs is the policy's. Recorded over sockets, \
                 calls in the same few milliseconds may change places. {gone}"
            ),
            Some(attempts) => format!(
                "The upstream is made of the {attempts} attempts that were seen of it: a call's own attempt where it is \
                 made within 2 s of then, else one of the 20 nearest within 10 s, else the nearest. Where nothing was \
                 asked, because the breaker was open or a cache had the answer, these stand for what would have come; \
                 what was waited for in vain stays silent; and more or less load changes nothing, which is the weakest \
                 point of it. On the runs it was tuned on it was off by 1 percent point of the calls served in the mean \
                 and by 15 at the worst; expect worse, and no p95 that means anything under overload. {gone}"
            ),
        }
    }
}

/// A time in the unit that suits it.
fn span(seconds: f64) -> String {
    match seconds {
        0.0..120.0 => format!("{seconds:.1} s"),
        120.0..7200.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

impl Figures {
    fn of(calls: &[RecordedCall]) -> Self {
        use crate::event::Fate;
        let mut times = Percentiles::default();
        let (mut served, mut sent, mut attempts) = (0_u64, 0_u64, 0_u64);
        for call in calls {
            if call.fate.is_some_and(Fate::is_served) {
                served += 1;
                times.record(call.took.unwrap_or_default());
            }
            sent += u64::from(call.attempts > 0);
            attempts += u64::from(call.attempts);
        }
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        Self {
            served_share: share(served, calls.len() as u64),
            amplification: share(attempts, sent),
            latency_p95: times.quantile(0.95).map(|time| time.as_secs_f64()),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dash = || "-".to_owned();
        let served = self
            .served_share
            .map_or_else(dash, |share| format!("{:.1} %", share * 100.0));
        let attempts = self.amplification.map_or_else(dash, |mean| format!("{mean:.2}"));
        let p95 = self.latency_p95.map_or_else(dash, |p95| format!("{p95:.2} s"));
        write!(f, "{served} served, {attempts} attempts a call, p95 {p95}")
    }
}

impl fmt::Display for Recorded {
    /// How good the model is, in a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Recorded: {}. {} played again: {}",
            self.was, self.policy, self.again
        )?;
        if let Some(alike) = self.alike {
            write!(f, "; {:.1} % of the calls end as they ended", alike * 100.0)?;
        }
        write!(f, ".")?;
        match self.changes {
            0 => Ok(()),
            1 => write!(
                f,
                " The settings changed once while it was recorded; played again are the first."
            ),
            times => write!(
                f,
                " The settings changed {times} times while it was recorded; played again are the first."
            ),
        }
    }
}

/// The share of the recorded calls that end in a run as they ended.
pub(super) fn alike(traffic: &Traffic, tally: &Tally) -> Option<f64> {
    let ended = traffic.calls().iter().filter(|call| call.fate.is_some());
    let (mut all, mut same) = (0_u64, 0_u64);
    for recorded in ended {
        all += 1;
        let now = tally.call(recorded.call).and_then(|call| call.fate);
        same += u64::from(now == recorded.fate);
    }
    (all > 0).then(|| same as f64 / all as f64)
}

impl Run {
    pub(super) fn of(tally: &Tally, traffic: Option<&Traffic>) -> Self {
        Self {
            values: super::MEASURES.map(|measure| measure.of(tally, &Part::default())),
            alike: traffic.and_then(|traffic| alike(traffic, tally)),
        }
    }

    pub(super) fn value(&self, measure: Measure) -> Option<f64> {
        let at = super::MEASURES.iter().position(|one| *one == measure)?;
        self.values.get(at).copied().flatten()
    }
}
