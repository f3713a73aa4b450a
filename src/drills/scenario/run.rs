//! Plays a scene in virtual time or in real time, and keeps what came of it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::runner::{self, Stage};
use super::tally::Tally;
use super::{Scene, Wish};
use crate::check::{Checker, Violation};
use crate::client::{Env, ResilientClient, Transport};
use crate::drills::recorded::{Answerer, SeenUpstream, TrafficError};
use crate::event::{CallId, Event, Observer, UpstreamHealth};
use crate::journal::{Header, Journal, LiveJournal};
use crate::report::charts::History;
use crate::session::bus::{Bus, EventSink, Tap};
use crate::session::{LocalSession, Session, SessionConfig, SessionError, UpstreamConfig};
use crate::state::story::{CallRanking, Story, StoryStore};
use crate::time::{Clock, Timestamp, unix_seconds};

/// Whatever has not ended so long after the scene is stuck: no policy lets a call live longer than this.
const PATIENCE: Duration = Duration::from_hours(30);

/// What came of a scene.
#[derive(Debug)]
pub struct Outcome {
    /// What the events add up to.
    pub tally: Tally,
    /// What happened over time, for charts.
    pub history: History,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// What was not given back: tasks, flights, slots, waiters. Empty if all is well.
    pub leftovers: Vec<String>,
    /// What was asked of one call, if anything was.
    pub watched: Option<Watched>,
}

/// The call that was watched, and which calls there were.
#[derive(Debug)]
pub struct Watched {
    /// Which.
    pub call: CallId,
    /// Its story; nothing if there was no such call.
    pub story: Option<Story>,
    /// Those worth a question.
    pub worth: CallRanking,
}

/// Why a scene could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal cannot be written.
    #[error("cannot write the journal: {0}")]
    Journal(#[source] io::Error),
    /// No runtime.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// No session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The upstream does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// A machine that sleeps can only be played where time is virtual.
    #[error("the scenario has a command 'suspend', which needs virtual time: leave out --real")]
    NeedsVirtualTime,
    /// Recorded calls cannot be asked again.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
}

/// Where a scene in real time is played.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// A real upstream; the simulator on a loopback socket where there is none.
    pub server: Option<UpstreamConfig>,
    /// The model to ask for.
    pub model: Option<String>,
}

/// Hears every event.
struct Recording {
    tally: Tally,
    history: History,
    checker: Option<Checker>,
    violation: Option<Violation>,
    watched: Option<(CallId, StoryStore, CallRanking)>,
}

impl Recording {
    fn new(header: &Header, watch: Option<CallId>) -> Self {
        Self {
            tally: Tally::default(),
            history: History::default(),
            checker: Some(Checker::for_journal(header)),
            violation: None,
            watched: watch.map(|call| (call, StoryStore::for_call(call), CallRanking::default())),
        }
    }

    fn take(&mut self, event: &Arc<Event>) {
        self.tally.take(event);
        self.history.take(event);
        if let Some((_, why, worth)) = &mut self.watched {
            why.apply(event);
            worth.apply(event);
        }
        if let Some(checker) = &mut self.checker
            && let Err(violation) = checker.apply_shared(event)
        {
            self.violation = Some(violation);
            // what follows a broken promise says nothing about the others
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
            watched: self.watched.take().map(|(call, why, worth)| Watched {
                call,
                story: why.story(call),
                worth,
            }),
        }
    }
}

/// Plays a scene under virtual time, on this thread. `journal` is where its events are written, `progress`
/// is told how far it is, in milliseconds of the scene.
pub fn in_virtual_time<W: Write + Send + 'static>(
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
    // one lock: the journal has the events in the order in which the others saw them
    let written = Arc::new(Mutex::new((
        Recording::new(&header, scene.watch),
        journal,
        None::<io::Error>,
    )));
    let (hears, progress) = (Arc::clone(&written), Arc::clone(progress));
    let tap = move |event: &Arc<Event>| {
        let mut written = hears.lock().unwrap_or_else(PoisonError::into_inner);
        let (recording, journal, error) = &mut *written;
        recording.take(event);
        progress.store(event.at.0 / 1_000_000, Ordering::Relaxed);
        if let Some(out) = journal
            && let Err(broken) = out.write(event)
        {
            *error = Some(broken);
            *journal = None;
        }
    };
    let leftovers = runtime.block_on(play_locally(scene, tap))?;
    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
    let (recording, journal, error) = &mut *written;
    if let Some(error) = error.take() {
        return Err(RunError::Journal(error));
    }
    if let Some(journal) = journal.take() {
        journal
            .finish()
            .and_then(|mut out| out.flush())
            .map_err(RunError::Journal)?;
    }
    Ok(recording.finish(leftovers))
}

/// The scene in memory: before the simulator, or before what was seen of another upstream.
async fn play_locally(
    scene: &Scene,
    tap: impl FnMut(&Arc<Event>) + Send + 'static,
) -> Result<Vec<String>, RunError> {
    let clock = Clock::start();
    let config = SessionConfig {
        seed: scene.seed,
        policy: scene.policy.clone(),
        latency: scene.scenario.upstream.latency,
        capacity: scene.scenario.upstream.capacity,
        model: scene.scenario.person.model.clone(),
        answer_tokens: scene.scenario.person.answer_tokens,
        users: scene.scenario.person.ids(),
        ..SessionConfig::default()
    };
    let bus = EventSink::new(clock, tap);
    let Some(traffic) = &scene.recorded else {
        return Ok(play_in(LocalSession::start(&config, clock, bus), scene).await);
    };
    Ok(match traffic.answerer()? {
        Answerer::Simulator(_) => play_in(LocalSession::start(&config, clock, bus), scene).await,
        Answerer::Seen(_) => {
            let seen = SeenUpstream::new(traffic, scene.seed, clock)?;
            play_in(LocalSession::with_transport(seen, &config, clock, bus), scene).await
        }
    })
}

async fn play_in<T: Transport, O: Observer + Clone>(
    session: LocalSession<T, O>,
    scene: &Scene,
) -> Vec<String> {
    let LocalSession {
        env, client, engine, ..
    } = session;
    let clock = env.clock;
    let stage = Stage {
        client: client.clone(),
        engine,
        players: Env::new(clock, scene.seed),
    };
    let scene = Arc::new(scene.clone());
    let played = tokio::select! {
        biased;
        () = async {
            runner::play(&scene, &stage).await;
            env.join().await;
        } => true,
        () = clock.sleep_until(Timestamp::ZERO + scene.scenario.duration + PATIENCE) => false,
    };
    let mut leftovers = leftovers(&client, &env, &stage.players);
    if !played && leftovers.is_empty() {
        leftovers.push("the scene never came to its end".into());
    }
    leftovers
}

/// What a scene that is over still holds.
fn leftovers<T: Transport, O: Observer>(
    client: &ResilientClient<T, O>,
    env: &Env,
    players: &Env,
) -> Vec<String> {
    let held = client.held();
    [
        (env.running_tasks() + players.running_tasks(), "tasks run"),
        (held.flights, "flights are in the air"),
        (held.slots, "slots are taken"),
        (held.waiters, "wait for the limiter"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect()
}

impl Scene {
    /// Refuses what only virtual time can play.
    pub fn fits_real_time(&self) -> Result<(), RunError> {
        let mut wishes = self.scenario.commands.iter().map(|command| &command.wish);
        if wishes.any(|wish| matches!(wish, Wish::Suspend(_))) {
            return Err(RunError::NeedsVirtualTime);
        }
        Ok(())
    }
}

/// Plays a scene in real time, over sockets. Needs a multi-threaded runtime.
pub async fn in_real_time<W: Write + Send + 'static>(
    scene: &Scene,
    upstream: Upstream,
    journal: Option<W>,
    progress: &Arc<AtomicU64>,
) -> Result<Outcome, RunError> {
    scene.fits_real_time()?;
    let header =
        Header::live(scene.seed, scene.policy.clone(), unix_seconds()).with_scenario(&scene.scenario.name);
    let journal = journal
        .map(|out| Journal::try_new(out, &header).and_then(LiveJournal::start))
        .transpose()
        .map_err(RunError::Journal)?;
    let recording = Arc::new(Mutex::new(Recording::new(&header, scene.watch)));
    let (hears, progress) = (Arc::clone(&recording), Arc::clone(progress));
    let mut write = journal.as_ref().map(LiveJournal::tap);
    let tap: Tap = Box::new(move |event| {
        progress.store(event.at.0 / 1_000_000, Ordering::Relaxed);
        if let Some(write) = &mut write {
            write(event);
        }
        let mut recording = hears.lock().unwrap_or_else(PoisonError::into_inner);
        recording.take(&Arc::new(event.clone()));
    });
    let clock = Clock::start();
    let config = SessionConfig {
        seed: scene.seed,
        policy: scene.policy.clone(),
        latency: scene.scenario.upstream.latency,
        capacity: scene.scenario.upstream.capacity,
        upstream: upstream.server,
        model: upstream.model.or_else(|| scene.scenario.person.model.clone()),
        answer_tokens: scene.scenario.person.answer_tokens,
        users: scene.scenario.person.ids(),
        ..SessionConfig::default()
    };
    let session = Session::start_on(config, clock, Bus::tapped(clock, tap)).await?;
    if let UpstreamHealth::Unavailable { message } = session.probe().await {
        session.shutdown().await;
        return Err(RunError::Unreachable(message.to_string()));
    }
    let stage = Stage {
        client: session.client().clone(),
        engine: session.engine().clone(),
        players: Env::new(clock, scene.seed),
    };
    runner::play(&Arc::new(scene.clone()), &stage).await;
    let (client, env) = (session.client().clone(), session.env().clone());
    session.shutdown().await;
    let leftovers = leftovers(&client, &env, &stage.players);
    if let Some(journal) = journal {
        journal.finish().map_err(RunError::Journal)?;
    }
    let mut recording = recording.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(recording.finish(leftovers))
}
