//! Runs a scene in virtual time or in real time, and returns the folds of its events.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Scene;
use super::runner::{self, Runner};
use super::tally::Tally;
use crate::check::{Checker, Violation};
use crate::client::{Env, ResilientClient, Transport};
use crate::drills::recorded::{ReplayUpstream, TrafficError, UpstreamModel};
use crate::event::{CallId, Command, Event, Observer, TimedCommand, UpstreamHealth};
use crate::journal::{Header, Journal, LiveJournal};
use crate::report::charts::History;
use crate::session::bus::{Bus, EventSink, Tap};
use crate::session::{LocalSession, Session, SessionConfig, SessionError, UpstreamConfig};
use crate::state::story::{CallRanking, Story, StoryStore};
use crate::time::{Clock, Timestamp, unix_seconds};

/// A call that has not ended this long after the scene is stuck: no policy lets a call run longer.
const PATIENCE: Duration = Duration::from_hours(30);

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The calls and the counts of the run.
    pub tally: Tally,
    /// The run over time, for charts.
    pub history: History,
    /// The first violation of an invariant.
    pub violation: Option<Violation>,
    /// Resources that were not released: tasks, flights, slots, waiters.
    pub leftovers: Vec<String>,
    /// The explanation of [`Scene::watch`].
    pub explained: Option<ExplainedCall>,
}

/// A call and its explanation.
#[derive(Debug)]
pub struct ExplainedCall {
    /// The number of the call.
    pub call: CallId,
    /// Its story; absent if there was no such call.
    pub story: Option<Story>,
    /// Calls worth explaining.
    pub worth: CallRanking,
}

/// A scene that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal could not be written.
    #[error("cannot write the journal")]
    Journal(#[source] io::Error),
    /// The async runtime could not be started.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// The session could not be started.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The upstream did not answer.
    #[error("{0}")]
    Unreachable(String),
    /// The scene suspends the machine, which needs virtual time.
    #[error("the scenario has a suspend command, which needs virtual time: remove --real")]
    NeedsVirtualTime,
    /// The recorded calls cannot be replayed.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
}

/// The upstream of a run in real time.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// A real upstream; absent: the simulator on a loopback socket.
    pub server: Option<UpstreamConfig>,
    /// The model to request, in place of the scenario's.
    pub model: Option<String>,
}

/// The folds of a run.
struct Folds {
    tally: Tally,
    history: History,
    checker: Option<Checker>,
    violation: Option<Violation>,
    explained: Option<(CallId, StoryStore, CallRanking)>,
}

impl Folds {
    fn new(header: &Header, watch: Option<CallId>) -> Self {
        Self {
            tally: Tally::default(),
            history: History::default(),
            checker: Some(Checker::for_journal(header)),
            violation: None,
            explained: watch.map(|call| (call, StoryStore::for_call(call), CallRanking::default())),
        }
    }

    fn apply(&mut self, event: &Arc<Event>) {
        self.tally.apply(event);
        self.history.apply(event);
        if let Some((_, why, worth)) = &mut self.explained {
            why.apply(event);
            worth.apply(event);
        }
        if let Some(checker) = &mut self.checker
            && let Err(violation) = checker.apply_shared(event)
        {
            self.violation = Some(violation);
            // after one violation the state of the checker is unreliable
            self.checker = None;
        }
    }

    fn finish(&mut self, leftovers: Vec<String>) -> Outcome {
        if let Some(checker) = self.checker.take() {
            self.violation = checker.finish(true).err();
        }
        Outcome {
            tally: std::mem::take(&mut self.tally),
            history: std::mem::take(&mut self.history),
            violation: self.violation.take(),
            leftovers,
            explained: self.explained.take().map(|(call, why, worth)| ExplainedCall {
                call,
                story: why.story(call),
                worth,
            }),
        }
    }
}

/// Runs a scene in virtual time, on this thread. Events are written to `journal`; `progress` is set to the time of
/// the scene, in milliseconds.
///
/// # Errors
/// If the runtime or the journal fails, or recorded calls cannot be replayed.
pub fn in_virtual_time<W: Write + Send + 'static>(
    scene: &Scene,
    journal: Option<W>,
    progress: &Arc<AtomicU64>,
) -> Result<Outcome, RunError> {
    until(&CancellationToken::new(), scene, journal, progress)
}

/// Runs a scene as [`in_virtual_time`] does, on another thread. Cancelling `end` ends the run, which then closes the
/// journal; its outcome says nothing.
///
/// # Errors
/// Those of [`in_virtual_time`].
pub async fn in_virtual_time_aside<W: Write + Send + 'static>(
    scene: Arc<Scene>,
    journal: Option<W>,
    progress: Arc<AtomicU64>,
    end: CancellationToken,
) -> Result<Outcome, RunError> {
    let run = tokio::task::spawn_blocking(move || until(&end, &scene, journal, &progress));
    run.await
        .map_err(|error| RunError::Runtime(io::Error::other(error)))?
}

fn until<W: Write + Send + 'static>(
    end: &CancellationToken,
    scene: &Scene,
    journal: Option<W>,
    progress: &Arc<AtomicU64>,
) -> Result<Outcome, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(RunError::Runtime)?;
    let header = Header::virtual_time(scene.seed, scene.policy.clone()).with_scenario(&scene.scenario.name);
    let journal = journal
        .map(|out| Journal::try_new(out, &header))
        .transpose()
        .map_err(RunError::Journal)?;
    // one lock, so that journal and folds see the events in the same order
    let written = Arc::new(Mutex::new((
        Folds::new(&header, scene.watch),
        journal,
        None::<io::Error>,
    )));
    let (tapped, progress) = (Arc::clone(&written), Arc::clone(progress));
    let tap = move |event: &Arc<Event>| {
        let mut written = tapped.lock().unwrap_or_else(PoisonError::into_inner);
        let (folds, journal, error) = &mut *written;
        folds.apply(event);
        progress.store(event.at.0 / 1_000_000, Ordering::Relaxed);
        if let Some(out) = journal
            && let Err(broken) = out.write(event)
        {
            *error = Some(broken);
            *journal = None;
        }
    };
    let run = end.run_until_cancelled(run_locally(scene, tap));
    // the outcome of a run that was ended is not read
    let leftovers = runtime.block_on(run).transpose()?.unwrap_or_default();
    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
    let (folds, journal, error) = &mut *written;
    if let Some(error) = error.take() {
        return Err(RunError::Journal(error));
    }
    if let Some(journal) = journal.take() {
        journal
            .finish()
            .and_then(|mut out| out.flush())
            .map_err(RunError::Journal)?;
    }
    Ok(folds.finish(leftovers))
}

/// Runs the scene in memory, against the simulator or against a model of the recorded upstream.
async fn run_locally(
    scene: &Scene,
    tap: impl FnMut(&Arc<Event>) + Send + 'static,
) -> Result<Vec<String>, RunError> {
    let clock = Clock::start();
    let config = scene.session_config();
    let bus = EventSink::new(clock, tap);
    if let Some(traffic) = &scene.recorded
        && let UpstreamModel::Recorded { .. } = traffic.upstream_model()?
    {
        let upstream = ReplayUpstream::new(traffic, scene.seed, clock)?;
        return Ok(run_in(LocalSession::with_transport(upstream, &config, clock, bus), scene).await);
    }
    Ok(run_in(LocalSession::start(&config, clock, bus), scene).await)
}

async fn run_in<T: Transport, O: Observer + Clone>(
    session: LocalSession<T, O>,
    scene: &Scene,
) -> Vec<String> {
    let LocalSession {
        env, client, engine, ..
    } = session;
    let clock = env.clock;
    let runner = Runner {
        client: client.clone(),
        engine,
        tasks: Env::new(clock, scene.seed),
    };
    let ended = tokio::select! {
        biased;
        () = async {
            runner::run(scene, &runner).await;
            env.join().await;
        } => true,
        () = clock.sleep_until(Timestamp::ZERO + scene.scenario.duration + PATIENCE) => false,
    };
    let mut leftovers = leftovers(&client, &env, &runner.tasks);
    if !ended && leftovers.is_empty() {
        leftovers.push("the scene has not ended".into());
    }
    leftovers
}

/// The resources that a scene holds after its end.
fn leftovers<T: Transport, O: Observer>(
    client: &ResilientClient<T, O>,
    env: &Env,
    tasks: &Env,
) -> Vec<String> {
    let held = client.held();
    [
        (env.running_tasks() + tasks.running_tasks(), "running tasks"),
        (held.flights, "open flights"),
        (held.slots, "limiter slots in use"),
        (held.waiters, "waiters of the limiter"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, resource)| format!("{count} {resource}"))
    .collect()
}

impl Scene {
    fn session_config(&self) -> SessionConfig {
        let (upstream, requests) = (&self.scenario.upstream, &self.scenario.requests);
        SessionConfig {
            seed: self.seed,
            policy: self.policy.clone(),
            latency: upstream.latency,
            capacity: upstream.capacity,
            model: requests.model.clone(),
            answer_tokens: requests.answer_tokens,
            users: requests.user_ids(),
            prompts: requests.prompts.clone(),
            repeat: requests.repeat,
            ..SessionConfig::default()
        }
    }

    /// Checks that the scene can run in real time.
    ///
    /// # Errors
    /// If it suspends the machine.
    pub fn check_real_time(&self) -> Result<(), RunError> {
        let suspends = |command: &TimedCommand| matches!(command.command, Command::Suspend { .. });
        if self.commands.iter().any(suspends) {
            return Err(RunError::NeedsVirtualTime);
        }
        Ok(())
    }
}

/// Runs a scene in real time, over sockets. Needs a multi-threaded runtime.
///
/// # Errors
/// If the scene needs virtual time, the upstream does not answer, or session or journal fail.
pub async fn in_real_time<W: Write + Send + 'static>(
    scene: &Scene,
    upstream: Upstream,
    journal: Option<W>,
    progress: &Arc<AtomicU64>,
) -> Result<Outcome, RunError> {
    scene.check_real_time()?;
    let header =
        Header::live(scene.seed, scene.policy.clone(), unix_seconds()).with_scenario(&scene.scenario.name);
    let mut live = LiveJournal::waiting();
    let folds = Arc::new(Mutex::new(Folds::new(&header, scene.watch)));
    let (tapped, progress) = (Arc::clone(&folds), Arc::clone(progress));
    let mut write = journal.is_some().then(|| live.tap());
    let tap: Tap = Box::new(move |event| {
        progress.store(event.at.0 / 1_000_000, Ordering::Relaxed);
        if let Some(write) = &mut write {
            write(event);
        }
        let mut folds = tapped.lock().unwrap_or_else(PoisonError::into_inner);
        folds.apply(&Arc::new(event.clone()));
    });
    let clock = Clock::start();
    let config = scene.session_config();
    let config = SessionConfig {
        upstream: upstream.server,
        model: upstream.model.or(config.model),
        ..config
    };
    let session = Session::start_on(config, clock, Bus::tapped(clock, tap)).await?;
    if let UpstreamHealth::Unavailable { message, .. } = session.probe().await {
        session.shutdown().await;
        return Err(RunError::Unreachable(message.to_string()));
    }
    // nothing is written before: a run that cannot start keeps the journal of an earlier one
    if let Some(out) = journal {
        let begun = Journal::try_new(out, &header).and_then(|journal| live.begin(journal));
        begun.map_err(RunError::Journal)?;
    }
    let runner = Runner {
        client: session.client().clone(),
        engine: session.engine().clone(),
        tasks: Env::new(clock, scene.seed),
    };
    runner::run(scene, &runner).await;
    let (client, env) = (session.client().clone(), session.env().clone());
    session.shutdown().await;
    let leftovers = leftovers(&client, &env, &runner.tasks);
    live.finish().map_err(RunError::Journal)?;
    let mut folds = folds.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(folds.finish(leftovers))
}
