//! Recorded traffic as the input of a comparison, and how well its replay reproduces the recording.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Run;
use crate::drills::recorded::{RecordedCall, Traffic, UpstreamModel};
use crate::drills::scenario::{Measure, Tally};
use crate::settings::Policy;
use crate::text::units;
use crate::time::Timestamp;

/// Recorded traffic to compare policies with.
#[derive(Clone, Debug)]
pub struct RecordedInput {
    /// Name of the journal, for reports.
    pub name: String,
    /// The calls.
    pub traffic: Arc<Traffic>,
    /// The recorded results of the calls.
    pub tally: Arc<Tally>,
    /// The recorded policy.
    pub policy: Policy,
}

/// The recording, its results, and those of a replay under the recorded policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordingSummary {
    /// Number of calls.
    pub calls: u64,
    /// Seconds from the first call to the last.
    pub span_s: f64,
    /// Recorded attempts that the upstream is modelled on; absent if the upstream is the simulator.
    pub attempts_recorded: Option<u64>,
    /// The recorded policy; the first one if it changed.
    pub policy: String,
    /// Number of policy changes during the recording.
    pub changes: u64,
    /// Figures of the recording.
    pub observed: Figures,
    /// Figures of the recorded policy, replayed with the seed of the recording.
    pub replayed: Figures,
    /// Share of calls that end with the recorded fate.
    pub same_fate_share: Option<f64>,
}

/// The figures by which the model is judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Served calls over all calls.
    pub served_share: Option<f64>,
    /// Attempts per call that made any.
    pub amplification: Option<f64>,
    /// 95th percentile of the latency of served calls, in seconds.
    pub latency_p95: Option<f64>,
}

impl RecordingSummary {
    /// A summary; `replay` is the run of the recorded policy.
    pub(super) fn new(traffic: &Traffic, observed: &Tally, policy: &Policy, replay: &Run) -> Self {
        let calls = traffic.calls();
        let at = |call: Option<&RecordedCall>| call.map_or(Timestamp::ZERO, |call| call.at);
        Self {
            calls: calls.len() as u64,
            span_s: at(calls.last()).since(at(calls.first())).as_secs_f64(),
            attempts_recorded: match traffic.upstream_model() {
                Ok(UpstreamModel::Recorded { attempts }) => Some(attempts as u64),
                _ => None,
            },
            policy: policy.name.clone(),
            changes: traffic.changes(),
            observed: Figures::new(|measure| measure.value(observed)),
            replayed: Figures::new(|measure| replay.value(measure)),
            same_fate_share: replay.same_fate_share,
        }
    }

    /// The heading of a report.
    pub(super) fn heading(&self, seeds: u64) -> String {
        let runs = match seeds {
            1 => "replayed once".to_owned(),
            _ => format!("means of {seeds} replays"),
        };
        format!(
            "{} calls in {}, recorded under {}, {runs}",
            self.calls,
            units::duration(Duration::from_secs_f64(self.span_s)),
            self.policy
        )
    }

    /// The model of the upstream and its limits.
    pub(super) fn model(&self) -> String {
        let limits = "A call that was cancelled is cancelled at the same time again; how long the other callers \
                      would have waited is unknown. Of a prompt the first 400 characters are known.";
        match self.attempts_recorded {
            None => format!(
                "The upstream is the simulator, with the recorded calls and faults at their times and the same \
                 draws for the same attempt of the same call, so differences are caused by the policy. In a \
                 recording over sockets, calls within a few milliseconds may change order. {limits}"
            ),
            Some(attempts) => format!(
                "The upstream is modelled on its {attempts} recorded attempts: a call's own attempt if it is made \
                 within 2 s of the recorded time, else one of the 20 nearest within 10 s, else the nearest. These \
                 also stand in where nothing was sent, because the breaker was open or the cache had the answer; \
                 an attempt that timed out stays silent. Load does not change the model, which is its main \
                 weakness. On the runs it was tuned on, the served share deviates by 1 percentage point (mean) \
                 and 15 (maximum); expect larger errors, and no meaningful p95 under overload. {limits}"
            ),
        }
    }
}

impl Figures {
    fn new(value: impl Fn(Measure) -> Option<f64>) -> Self {
        Self {
            served_share: value(Measure::ServedShare),
            amplification: value(Measure::Amplification),
            latency_p95: value(Measure::LatencyP95),
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
        write!(f, "{served} served, {attempts} attempts per call, p95 {p95}")
    }
}

impl fmt::Display for RecordingSummary {
    /// The quality of the model, in a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Recorded: {}. {} replayed: {}",
            self.observed, self.policy, self.replayed
        )?;
        if let Some(share) = self.same_fate_share {
            write!(
                f,
                "; {:.1} % of the calls end with the recorded fate",
                share * 100.0
            )?;
        }
        let times = match self.changes {
            0 => return write!(f, "."),
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        write!(
            f,
            ". The policy changed {times} during the recording; the first one is replayed."
        )
    }
}

/// The share of recorded calls that end in a run with the recorded fate.
pub(super) fn same_fate_share(observed: &Tally, run: &Tally) -> Option<f64> {
    let (mut all, mut same) = (0_u64, 0_u64);
    for (call, row) in observed.rows().filter(|(_, row)| row.fate.is_some()) {
        all += 1;
        same += u64::from(run.call(call).and_then(|now| now.fate) == row.fate);
    }
    (all > 0).then(|| same as f64 / all as f64)
}
