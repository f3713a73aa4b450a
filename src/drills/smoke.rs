//! The drill without a terminal: a burst, faults on, a burst, faults off, recovery. It prints a report.

use std::fmt::Write as _;
use std::time::Duration;

use crate::event::{BreakerState, BurstUsers, Command, Fate, UpstreamHealth, UserId};
use crate::session::source::Progress;
use crate::session::{Session, USERS};
use crate::settings::{FaultProfile, SemanticMode};
use crate::state::{FateCounts, SemanticView, State};
use crate::text::units;
use crate::time::Timestamp;

/// Calls per burst.
const BURST: u32 = 30;
/// Maximum duration of a part of the drill.
const PATIENCE: Duration = Duration::from_mins(1);
/// Time between two probes of the recovery.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// The report of a drill.
#[derive(Clone, Debug)]
pub struct Report {
    /// The text.
    pub text: String,
    /// True if calls were answered again after the faults.
    pub recovered: bool,
}

/// A drill without a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrillError {
    /// The upstream did not answer.
    #[error("{0}")]
    Unreachable(String),
}

/// A part of the drill that has ended.
struct Part {
    name: String,
    counts: FateCounts,
    took: Duration,
    attempts: u64,
}

/// Checks that the drill can run.
///
/// # Errors
/// If the upstream does not answer.
pub async fn reach(session: &Session) -> Result<(), DrillError> {
    match session.probe().await {
        UpstreamHealth::Unavailable { message, .. } => Err(DrillError::Unreachable(message.to_string())),
        _ => Ok(()),
    }
}

/// Runs the drill on a session, with these faults. `begin` is called with the name of each part.
pub async fn run(session: &Session, faults: &FaultProfile, begin: impl Fn(&str)) -> Report {
    let mut source = session.watch();
    let execute = |command| session.engine().execute(command);
    let burst = || Command::Burst {
        calls: BURST,
        users: BurstUsers::One(UserId::new(USERS[0])),
    };
    let mut parts = Vec::new();
    let start = |name: &str, state: &State| {
        begin(name);
        RunningPart::new(name, state)
    };

    let mut part = start("calm", source.state());
    execute(burst());
    part.settle(session, &mut source).await;
    parts.push(part.end(source.state()));

    let mut part = start(&format!("faults: {}", faults.name), source.state());
    execute(Command::SetFaults { on: true });
    execute(burst());
    part.settle(session, &mut source).await;
    parts.push(part.end(source.state()));

    let mut part = start("recovery", source.state());
    execute(Command::SetFaults { on: false });
    let faults_off_at = session.clock().now();
    let recovered_at = recover(session, &mut source, &mut part).await;
    part.settle(session, &mut source).await;
    parts.push(part.end(source.state()));

    let recovery = recovered_at.map(|at| at.since(faults_off_at));
    Report {
        text: write(source.state(), &parts, recovery),
        recovered: recovery.is_some(),
    }
}

/// Sends single calls until the upstream answers one and the breaker is closed.
async fn recover(
    session: &Session,
    source: &mut crate::session::source::Source,
    part: &mut RunningPart,
) -> Option<Timestamp> {
    let give_up_at = session.clock().now() + PATIENCE;
    for n in 1_u32.. {
        let answered_before = source.state().calls.totals.ended(Fate::Answered);
        let prompt = format!("Has the upstream recovered? (attempt {n})");
        session.engine().execute(Command::Send {
            prompt,
            user: UserId::new(USERS[0]),
            conversation: false,
        });
        part.settle(session, source).await;
        let state = source.state();
        let answered = state.calls.totals.ended(Fate::Answered) > answered_before;
        if answered && state.breaker().state == BreakerState::Closed {
            return Some(session.clock().now());
        }
        if session.clock().now() >= give_up_at {
            return None;
        }
        session.clock().sleep(PROBE_EVERY).await;
    }
    None
}

/// A running part of the drill.
struct RunningPart {
    name: String,
    at: Timestamp,
    counts: FateCounts,
    attempts: u64,
    last: Timestamp,
    patience: Duration,
}

impl RunningPart {
    fn new(name: &str, state: &State) -> Self {
        Self {
            name: name.to_owned(),
            at: state.last_event_at,
            counts: state.calls.totals.clone(),
            attempts: state.retry.attempts,
            last: state.last_event_at,
            patience: PATIENCE,
        }
    }

    /// Waits until no call or burst runs. Calls that take too long are cancelled, and counted in this part.
    async fn settle(&mut self, session: &Session, source: &mut crate::session::source::Source) {
        let clock = session.clock();
        let mut give_up_at = clock.now() + self.patience;
        let target = session.bus().with_state(|state| state.next_seq);
        loop {
            let state = source.state();
            let quiet = state.calls.totals.running() == 0 && state.calls.running_bursts().next().is_none();
            if quiet && state.next_seq >= target {
                self.last = state.last_event_at;
                return;
            }
            tokio::select! {
                biased;
                progress = source.advance() => if matches!(progress, Progress::Ended) { return },
                () = clock.sleep_until(give_up_at) => {
                    session.engine().execute(Command::CancelAll);
                    give_up_at = Timestamp::MAX;
                }
            }
        }
    }

    fn end(self, state: &State) -> Part {
        let mut counts = state.calls.totals.clone();
        counts.started -= self.counts.started;
        for (now, before) in counts.ended.iter_mut().zip(self.counts.ended) {
            *now -= before;
        }
        Part {
            name: self.name,
            counts,
            took: self.last.since(self.at),
            attempts: state.retry.attempts - self.attempts,
        }
    }
}

/// The calls so far on one line, with the state of the breaker unless it is closed.
pub fn progress(state: &State) -> String {
    let totals = &state.calls.totals;
    let mut text = format!(
        "{} of {} calls ended",
        totals.started - totals.running(),
        totals.started
    );
    if state.breaker().state != BreakerState::Closed {
        let _ = write!(text, ", breaker {}", state.breaker().state.brief());
    }
    let ended = ended(totals);
    if !ended.is_empty() {
        let _ = write!(text, ": {ended}");
    }
    text
}

/// The outcomes of ended calls.
fn ended(totals: &FateCounts) -> String {
    let fates = Fate::ALL.iter().filter(|fate| totals.ended(**fate) > 0);
    let fates: Vec<String> = fates
        .map(|fate| format!("{} {}", totals.ended(*fate), fate.brief()))
        .collect();
    fates.join(", ")
}

/// A summary of a session in a few lines, printed when the screen closes.
pub fn summary(state: &State) -> String {
    let mut text = String::new();
    let totals = &state.calls.totals;
    let ended = match ended(totals) {
        none if none.is_empty() => "none yet".to_owned(),
        ended => ended,
    };
    let _ = writeln!(
        text,
        "seawall   seed {}   policy {}",
        state.session.seed, state.session.policy_label
    );
    let _ = writeln!(text, "calls     {}: {ended}", totals.started);
    guards(&mut text, state);
    text
}

fn write(state: &State, parts: &[Part], recovery: Option<Duration>) -> String {
    let mut text = String::new();
    let upstream = state
        .session
        .upstream
        .as_ref()
        .map(|upstream| upstream.host.to_string())
        .unwrap_or_default();
    let _ = writeln!(
        text,
        "seawall drill   upstream {upstream}   policy {}   seed {}\n",
        state.session.policy.name, state.session.seed
    );
    let asked = state
        .session
        .upstream
        .as_ref()
        .and_then(|upstream| upstream.model.as_ref());
    let health = state.session.health.as_ref();
    if let Some(unlisted) = asked.and_then(|asked| health?.unlisted(asked.as_str())) {
        let _ = writeln!(text, "warning   {unlisted}\n");
    }
    let _ = write!(text, "{:<24}{:>6}", "part", "calls");
    for fate in Fate::ALL {
        let _ = write!(text, "{:>9}", fate.brief());
    }
    let _ = writeln!(text, "{:>9}{:>8}", "attempts", "time");
    for part in parts {
        row(&mut text, &part.name, &part.counts, part.attempts, part.took);
    }
    let took = parts.iter().map(|part| part.took).sum();
    row(&mut text, "all", &state.calls.totals, state.retry.attempts, took);
    let _ = writeln!(text);
    guards(&mut text, state);
    let _ = match recovery {
        Some(recovery) => writeln!(
            text,
            "recovery  {:.1}s after the end of the faults",
            recovery.as_secs_f64()
        ),
        None => writeln!(
            text,
            "recovery  not within {} s after the end of the faults",
            PATIENCE.as_secs()
        ),
    };
    text
}

fn guards(text: &mut String, state: &State) {
    let cache = &state.cache;
    let _ = writeln!(
        text,
        "cache     {} of {} lookups hit ({} exact, {} semantic); {}\n          {} joined a call in flight; {} tokens saved",
        cache.served(),
        cache.lookups(),
        cache.hits,
        cache.semantic,
        units::count(cache.unserved(), "new prompt"),
        units::grouped(cache.shared),
        cache.saved_tokens
    );
    if let Some(advice) = cache.advice(&state.session.policy.cache) {
        let _ = writeln!(text, "          {}", advice.text);
    }
    if state.semantic.mode != SemanticMode::Off {
        semantic(text, &state.semantic);
    }
    let _ = writeln!(
        text,
        "retries   {} of {} attempts; {} calls recovered by one; {} faults injected",
        state.retry.retries, state.retry.attempts, state.retry.recovered, state.session.injected
    );
    let _ = writeln!(
        text,
        "breaker   opened {}, refused {}, now {}",
        units::count(state.breakers.opened(), "time"),
        units::count(state.calls.totals.ended(Fate::CircuitOpen), "call"),
        state.breaker().state.brief()
    );
    let latency = state.timeline.sum(Timestamp::ZERO, state.last_event_at).latency;
    let quantile = |q| latency.quantile(q).map_or_else(|| "-".to_owned(), units::precise);
    let _ = writeln!(
        text,
        "latency   p50 {}  p95 {}  p99 {}  of {} answered by the upstream",
        quantile(0.5),
        quantile(0.95),
        quantile(0.99),
        units::count(latency.count(), "call")
    );
}

fn semantic(text: &mut String, semantic: &SemanticView) {
    let (live, shadow) = (semantic.live, semantic.shadow);
    let _ = match semantic.mode {
        SemanticMode::Shadow => writeln!(
            text,
            "semantic  shadow: {} of {} lookups would have hit; {} of {} compared answers differed",
            shadow.hits,
            shadow.asked,
            semantic.differed,
            semantic.same + semantic.differed
        ),
        SemanticMode::On | SemanticMode::Off => writeln!(
            text,
            "semantic  {} of {} lookups hit, {} rejected by a guard; {} tokens saved",
            live.hits,
            live.asked,
            semantic.refused(),
            semantic.saved_tokens
        ),
    };
}

fn row(text: &mut String, name: &str, counts: &FateCounts, attempts: u64, took: Duration) {
    let _ = write!(text, "{name:<24}{:>6}", counts.started);
    for fate in Fate::ALL {
        let _ = write!(text, "{:>9}", counts.ended(fate));
    }
    let _ = writeln!(text, "{attempts:>9}{:>7.1}s", took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::session::{SessionConfig, UpstreamConfig};

    #[tokio::test]
    async fn a_cancelled_call_is_counted_in_the_part_that_started_it() {
        // the kernel accepts connections, and no server answers
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = SessionConfig {
            upstream: Some(UpstreamConfig::new(url.parse().unwrap())),
            ..SessionConfig::default()
        };
        let session = Session::start(config).await.unwrap();
        let mut source = session.watch();
        let mut part = RunningPart::new("calm", source.state());
        part.patience = Duration::from_millis(50);
        session.engine().execute(Command::Send {
            prompt: "Hello?".into(),
            user: UserId::new("ana"),
            conversation: false,
        });
        assert_eq!(progress(&State::default()), "0 of 0 calls ended");
        part.settle(&session, &mut source).await;
        assert_eq!(progress(source.state()), "1 of 1 calls ended: 1 stopped");
        let part = part.end(source.state());
        assert_eq!((part.counts.started, part.counts.ended(Fate::Cancelled)), (1, 1));
        assert!(part.took >= Duration::from_millis(50), "{:?}", part.took);
        session.shutdown().await;
    }
}
