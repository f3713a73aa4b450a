//! The tasks that run a scene: callers and commands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use super::script::{Arrival, Callers, Impatience};
use super::{Scene, recorded_calls};
use crate::client::{CallContext, Env, ResilientClient, Transport};
use crate::event::{Command, EventKind, Load, Observer, Origin, TimedCommand, UserId};
use crate::openai::{ChatRequest, Message};
use crate::session::engine::{Engine, Prompts};
use crate::time::{Clock, Timestamp};

/// A caller that is later than this was suspended; it does not make up for the calls it missed.
const SUSPENDED: Duration = Duration::from_secs(1);

/// The client, engine and tasks of a run.
#[derive(Debug)]
pub(super) struct Runner<T: Transport, O: Observer> {
    pub(super) client: ResilientClient<T, O>,
    pub(super) engine: Engine<T, O>,
    /// The callers and commands; what they start runs in the environment of the client.
    pub(super) tasks: Env,
}

impl<T: Transport, O: Observer + Clone> Clone for Runner<T, O> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            engine: self.engine.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

/// Runs a scene until no caller or command is left and every call has ended.
pub(super) async fn run<T: Transport, O: Observer + Clone>(scene: &Scene, runner: &Runner<T, O>) {
    let stop = Stop::default();
    if let Some(traffic) = &scene.recorded {
        recorded_calls::spawn(traffic, runner);
    }
    for (index, callers) in scene.scenario.callers.iter().enumerate() {
        let group = Group {
            index: index as u64,
            until: at(callers.until.unwrap_or(scene.scenario.duration)),
            prompts: Prompts::from_list(
                &callers.prompts.list,
                callers.prompts.distinct as usize,
                callers.prompts.skew,
            ),
            callers: callers.clone(),
            stop: stop.clone(),
            runner: runner.clone(),
        };
        runner.tasks.spawn(Arc::new(group).arrive());
    }
    runner.tasks.spawn(execute(scene, runner.clone(), stop));
    runner.tasks.join().await;
    runner.engine.settled().await;
}

fn at(since_start: Duration) -> Timestamp {
    Timestamp::ZERO + since_start
}

/// Cancels the calls of callers that run now, not those that come later.
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

/// Executes commands at their times. A load ends with the scenario.
fn execute<T: Transport, O: Observer + Clone>(
    scene: &Scene,
    runner: Runner<T, O>,
    stop: Stop,
) -> impl Future<Output = ()> + Send + 'static {
    let mut commands = scene.commands.clone();
    let loads = |timed: &TimedCommand| matches!(timed.command, Command::SetLoad { .. });
    if commands.iter().any(loads) {
        commands.push(TimedCommand {
            at: at(scene.scenario.duration),
            command: Command::SetLoad { load: None },
        });
    }
    execute_all(commands, runner, stop)
}

async fn execute_all<T: Transport, O: Observer + Clone>(
    commands: Vec<TimedCommand>,
    runner: Runner<T, O>,
    stop: Stop,
) {
    let clock = runner.tasks.clock;
    for TimedCommand { at, command } in commands {
        clock.sleep_until(at).await;
        if let Command::Suspend { gap } = command {
            let until = clock.now() + gap;
            runner.engine.emit(EventKind::Suspended { until });
            clock.skip(gap).await;
            continue;
        }
        let stops_all = command == Command::CancelAll;
        runner.engine.execute(command);
        if stops_all {
            stop.all();
        }
    }
}

/// A group of callers.
struct Group<T: Transport, O: Observer + Clone> {
    index: u64,
    callers: Callers,
    until: Timestamp,
    prompts: Prompts,
    stop: Stop,
    runner: Runner<T, O>,
}

impl<T: Transport, O: Observer + Clone> Group<T, O> {
    /// Makes the calls of the group at their times.
    async fn arrive(self: Arc<Self>) {
        let clock = self.clock();
        let mut generator = self.runner.tasks.generator("callers", self.index);
        clock.sleep_until(at(self.callers.from)).await;
        match self.callers.arrival {
            Arrival::Steady { per_s } => {
                let gap = Duration::from_secs_f64(1.0 / per_s);
                self.one_by_one(&mut generator, |_| gap).await;
            }
            Arrival::Poisson { per_s } => {
                self.one_by_one(&mut generator, |generator| {
                    Duration::from_secs_f64(exponential(generator) / per_s)
                })
                .await;
            }
            Arrival::Ramp {
                from_per_s,
                to_per_s,
                poisson,
            } => {
                let ramp = Load {
                    rate: from_per_s,
                    until: Some(to_per_s),
                    poisson,
                    ..Load::default()
                };
                self.ramp(&mut generator, ramp).await;
            }
            Arrival::Burst { calls, every } => self.bursts(&mut generator, calls, every).await,
            Arrival::Closed { workers, think } => {
                for worker in 0..workers {
                    let group = Arc::clone(&self);
                    let kind = format!("workers of {}", group.index);
                    let generator = group.runner.tasks.generator(&kind, u64::from(worker));
                    self.runner
                        .tasks
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
            if now.since(next) > SUSPENDED {
                next = now;
            }
            next = next + gap(generator);
        }
    }

    async fn ramp(self: &Arc<Self>, generator: &mut StdRng, mut ramp: Load) {
        let clock = self.clock();
        let from = clock.now();
        ramp.lasts = Some(self.until.since(from));
        let gap = |generator: &mut StdRng| {
            if ramp.poisson { exponential(generator) } else { 1.0 }
        };
        let mut calls = if ramp.poisson { gap(generator) } else { 0.0 };
        let mut turn = 0;
        while let Some(due) = ramp.due(calls) {
            clock.sleep_until(from + due).await;
            // a suspended caller does not make up for the calls it missed
            if clock.now().since(from + due) <= SUSPENDED {
                self.start(generator, turn);
            }
            turn += 1;
            calls += gap(generator);
        }
    }

    async fn bursts(self: &Arc<Self>, generator: &mut StdRng, calls: u32, every: Option<Duration>) {
        let clock = self.clock();
        let mut next = clock.now();
        loop {
            for turn in 0..calls {
                self.start(generator, turn);
                // streams must not wait for a whole burst
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
                // a cache hit without a think time takes no virtual time: without this the loop would not end
                clock.sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Makes a call in a task of its own.
    fn start(self: &Arc<Self>, generator: &mut StdRng, turn: u32) {
        let call = self.call(generator, turn);
        self.runner.tasks.spawn(call);
    }

    /// Makes a call now; the future reads it to its end or cancels it.
    fn call(&self, generator: &mut StdRng, turn: u32) -> impl Future<Output = ()> + Send + 'static {
        let callers = &self.callers;
        let clock = self.clock();
        let user = callers.users.get(turn as usize % callers.users.len().max(1));
        let user = user.map_or_else(UserId::default, |name| UserId::new(name));
        let engine = &self.runner.engine;
        let mixed = callers
            .prompts
            .repeat
            .map(|repeat| engine.next_prompt(&user, Some(repeat)));
        let prompt = mixed
            .as_deref()
            .unwrap_or_else(|| self.prompts.draw(generator))
            .to_owned();
        let cancelled_at =
            cancelled_after(callers.impatience.as_ref(), generator).map(|after| clock.now() + after);
        let key = (callers.keys > 0).then(|| format!("key {}", generator.random_range(0..callers.keys)));
        let system = callers.system.as_deref().map(|text| at_time(text, clock.now()));
        let messages = system.map(Message::system).into_iter();
        let request = ChatRequest::new(messages.chain([Message::user(prompt)]))
            .temperature(callers.temperature)
            .max_tokens(callers.max_tokens)
            .with("stream", callers.stream);
        let request = if callers.stream {
            request.with("stream_options", serde_json::json!({ "include_usage": true }))
        } else {
            request
        };
        let context = CallContext {
            user: user.clone(),
            origin: Origin::Burst {
                burst: self.index + 1,
            },
            deadline: callers.deadline,
            cacheable: false,
            fresh: callers.fresh,
            no_store: false,
            idempotency_key: key,
            prompt_tokens: None,
        };
        let stop = self.stop.token();
        let stream = self.runner.client.call(&request, context);
        let engine = engine.clone();
        async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                ended = stream.finish() => if let (Ok(_), Some(prompt)) = (ended, mixed) {
                    engine.remember_prompt(user, prompt);
                },
                () = clock.sleep_until(cancelled_at.unwrap_or(Timestamp::MAX)) => {}
            }
        }
    }

    fn clock(&self) -> Clock {
        self.runner.tasks.clock
    }
}

/// The text with the time in place of `{time}`.
fn at_time(text: &str, now: Timestamp) -> String {
    let seconds = now.since(Timestamp::ZERO).as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    text.replace("{time}", &format!("{hours:02}:{minutes:02}:{:02}", seconds % 60))
}

/// An interval of a Poisson process of one call per unit.
fn exponential(generator: &mut StdRng) -> f64 {
    // 1 - U lies in (0, 1], so its logarithm is finite
    -(1.0 - generator.random::<f64>()).ln()
}

/// The time after which a caller cancels, if it does.
fn cancelled_after(impatience: Option<&Impatience>, generator: &mut StdRng) -> Option<Duration> {
    let Impatience { share, within } = impatience?;
    let (drawn, part): (f64, f64) = (generator.random(), generator.random());
    (drawn < *share).then(|| within.mul_f64(part))
}
