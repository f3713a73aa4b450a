//! Who plays a scene: callers, the illness of the upstream, and the commands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use super::script::{Arrival, Callers, Impatience};
use super::wish::Wish;
use super::{Scene, changes, recorded_calls};
use crate::client::{CallContext, Env, ResilientClient, Transport};
use crate::event::{Command, EventKind, Observer, Origin, UserId};
use crate::openai::{ChatRequest, Message};
use crate::session::engine::{Engine, Prompts};
use crate::text::SafeText;
use crate::time::{Clock, Timestamp};

/// Who finds itself later than this behind its plan was asleep: it does not make up for what it missed.
const ASLEEP: Duration = Duration::from_secs(1);

/// The stage a scene is played on.
#[derive(Debug)]
pub(super) struct Stage<T: Transport, O: Observer> {
    pub(super) client: ResilientClient<T, O>,
    pub(super) engine: Engine<T, O>,
    /// Its own set of tasks: the players, not what they set going.
    pub(super) players: Env,
}

impl<T: Transport, O: Observer + Clone> Clone for Stage<T, O> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            engine: self.engine.clone(),
            players: self.players.clone(),
        }
    }
}

/// Plays a scene to its end: until nobody calls any more and every call has its answer, or has been given up.
pub(super) async fn play<T: Transport, O: Observer + Clone>(scene: &Arc<Scene>, stage: &Stage<T, O>) {
    if let Some(traffic) = &scene.recorded {
        recorded_calls::play(traffic, stage);
        stage.players.join().await;
        stage.engine.settled().await;
        return;
    }
    let stop = Stop::default();
    for (index, group) in scene.scenario.callers.iter().enumerate() {
        let group = Group {
            index: index as u64,
            until: at(group.until.unwrap_or(scene.scenario.duration)),
            prompts: Prompts::from_list(
                &group.prompts.list,
                group.prompts.distinct as usize,
                group.prompts.skew,
            ),
            words: group.clone(),
            stop: stop.clone(),
            stage: stage.clone(),
        };
        stage.players.spawn(Arc::new(group).arrive());
    }
    stage.players.spawn(fall_ill(Arc::clone(scene), stage.clone()));
    stage
        .players
        .spawn(command(Arc::clone(scene), stage.clone(), stop));
    stage.players.join().await;
    stage.engine.settled().await;
}

fn at(since_start: Duration) -> Timestamp {
    Timestamp::ZERO + since_start
}

/// Stops the calls that run now, not those that come later.
#[derive(Clone, Debug, Default)]
struct Stop(Arc<Mutex<CancellationToken>>);

impl Stop {
    fn token(&self) -> CancellationToken {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn all(&self) {
        let mut token = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *token).cancel();
    }
}

/// Switches faults on and off as the phases say.
async fn fall_ill<T: Transport, O: Observer + Clone>(scene: Arc<Scene>, stage: Stage<T, O>) {
    let clock = stage.players.clock;
    for (phase, profile) in &scene.phases {
        clock.sleep_until(at(phase.from)).await;
        let profile = Box::new(profile.clone());
        stage.engine.execute(Command::SetFaultProfile { profile });
        stage.engine.execute(Command::SetFaults { on: true });
        clock.sleep_until(at(phase.until)).await;
        stage.engine.execute(Command::SetFaults { on: false });
    }
}

/// Obeys the commands of the script.
async fn command<T: Transport, O: Observer + Clone>(scene: Arc<Scene>, stage: Stage<T, O>, stop: Stop) {
    let clock = stage.players.clock;
    let mut commands = scene.scenario.commands.clone();
    commands.sort_by_key(|command| command.at);
    for command in commands {
        clock.sleep_until(at(command.at)).await;
        for command in command.wish.commands() {
            stage.engine.execute(command);
        }
        match command.wish {
            Wish::CancelAll => stop.all(),
            Wish::ApplyPolicy(name) => {
                if let Some((_, policy)) = scene.policies.iter().find(|(known, _)| *known == name) {
                    stage.client.apply(policy.clone());
                }
            }
            Wish::Set(settings) => match changes::set(&stage.client.policy(), &settings) {
                Ok(policy) => stage.client.apply_keeping_labels(policy),
                // under a policy that the scenario was not read with
                Err(message) => stage.engine.emit(EventKind::Notice {
                    text: SafeText::new(&format!("not set: {message}")),
                }),
            },
            Wish::Suspend(gap) => {
                stage.engine.emit(EventKind::Suspended {
                    until: clock.now() + gap,
                });
                clock.skip(gap).await;
            }
            _ => {}
        }
    }
}

/// Callers of one kind.
struct Group<T: Transport, O: Observer + Clone> {
    index: u64,
    words: Callers,
    until: Timestamp,
    prompts: Prompts,
    stop: Stop,
    stage: Stage<T, O>,
}

impl<T: Transport, O: Observer + Clone> Group<T, O> {
    /// Makes the calls of the group at their times.
    async fn arrive(self: Arc<Self>) {
        let clock = self.clock();
        let mut generator = self.stage.players.generator("callers", self.index);
        clock.sleep_until(at(self.words.from)).await;
        match self.words.arrival {
            Arrival::Steady { per_s } => {
                let gap = Duration::from_secs_f64(1.0 / per_s);
                self.one_by_one(&mut generator, |_| gap).await;
            }
            Arrival::Poisson { per_s } => {
                // 1 - U lies in (0, 1], so its logarithm is finite
                let gap = |generator: &mut StdRng| -(1.0 - generator.random::<f64>()).ln() / per_s;
                self.one_by_one(&mut generator, |generator| {
                    Duration::from_secs_f64(gap(generator))
                })
                .await;
            }
            Arrival::Burst { calls, every } => self.bursts(&mut generator, calls, every).await,
            Arrival::Closed { workers, think } => {
                for worker in 0..workers {
                    let group = Arc::clone(&self);
                    let kind = format!("workers of {}", group.index);
                    let generator = group.stage.players.generator(&kind, u64::from(worker));
                    self.stage
                        .players
                        .spawn(async move { group.work(generator, worker, think).await });
                }
            }
        }
    }

    async fn one_by_one(self: &Arc<Self>, generator: &mut StdRng, gap: impl Fn(&mut StdRng) -> Duration) {
        let clock = self.clock();
        let mut next = clock.now() + gap(generator);
        let mut turn = 0;
        while next < self.until {
            clock.sleep_until(next).await;
            let now = clock.now();
            if now >= self.until {
                break;
            }
            self.start(generator, turn);
            turn = turn.wrapping_add(1);
            if now.since(next) > ASLEEP {
                next = now;
            }
            next = next + gap(generator);
        }
    }

    async fn bursts(self: &Arc<Self>, generator: &mut StdRng, calls: u32, every: Option<Duration>) {
        let clock = self.clock();
        let mut next = clock.now();
        loop {
            for turn in 0..calls {
                self.start(generator, turn);
                // others get their turn: a burst must not hold up the streams
                if turn % 32 == 31 {
                    tokio::task::yield_now().await;
                }
            }
            let Some(every) = every else { return };
            next = (next + every).max(clock.now());
            if next >= self.until {
                return;
            }
            clock.sleep_until(next).await;
        }
    }

    /// One worker of a closed loop.
    async fn work(self: Arc<Self>, mut generator: StdRng, worker: u32, think: Duration) {
        let clock = self.clock();
        while clock.now() < self.until {
            let began = clock.now();
            self.call(&mut generator, worker).await;
            clock.sleep(think).await;
            if clock.now() == began {
                // answered from the cache and no pause: time must go on, or this loop never ends
                clock.sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Makes a call that nobody here waits for.
    fn start(self: &Arc<Self>, generator: &mut StdRng, turn: u32) {
        let call = self.call(generator, turn);
        self.stage.players.spawn(call);
    }

    /// Makes a call, now; the future reads it to its end, or gives it up.
    fn call(&self, generator: &mut StdRng, turn: u32) -> impl Future<Output = ()> + Send + 'static {
        let words = &self.words;
        let clock = self.clock();
        let user = words.users.get(turn as usize % words.users.len().max(1));
        let prompt = self.prompts.draw(generator).to_owned();
        let leaves_at = leaves_at(words.impatience.as_ref(), generator).map(|after| clock.now() + after);
        let key = (words.keys > 0).then(|| format!("key {}", generator.random_range(0..words.keys)));
        let instructions = words.system.as_deref().map(|text| at_time(text, clock.now()));
        let messages = instructions.map(Message::system).into_iter();
        let request = ChatRequest::new(messages.chain([Message::user(prompt)]))
            .temperature(words.temperature)
            .max_tokens(words.max_tokens)
            .with("stream", words.stream);
        let request = if words.stream {
            request.with("stream_options", serde_json::json!({ "include_usage": true }))
        } else {
            request
        };
        let context = CallContext {
            user: user.map_or_else(UserId::default, |name| UserId::new(name)),
            origin: Origin::Burst {
                burst: self.index + 1,
            },
            deadline: words.deadline,
            cacheable: false,
            fresh: words.fresh,
            idempotency_key: key,
            prompt_tokens: None,
        };
        let stop = self.stop.token();
        let stream = self.stage.client.call(&request, context);
        async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                ended = stream.finish() => drop(ended),
                () = clock.sleep_until(leaves_at.unwrap_or(Timestamp::MAX)) => {}
            }
        }
    }

    fn clock(&self) -> Clock {
        self.stage.players.clock
    }
}

/// Instructions with the time in place of `{time}`.
fn at_time(text: &str, now: Timestamp) -> String {
    let seconds = now.since(Timestamp::ZERO).as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    text.replace("{time}", &format!("{hours:02}:{minutes:02}:{:02}", seconds % 60))
}

/// After how long a caller gives up, if it is one of those that do.
fn leaves_at(impatience: Option<&Impatience>, generator: &mut StdRng) -> Option<Duration> {
    let Impatience { share, within } = impatience?;
    let (drawn, part): (f64, f64) = (generator.random(), generator.random());
    (drawn < *share).then(|| within.mul_f64(part))
}
