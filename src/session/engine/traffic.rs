//! Bursts and loads: the calls that one command makes.

use std::sync::Arc;

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use super::{Engine, OnAnswer, Running};
use crate::client::Transport;
use crate::event::{BurstUsers, EventKind, Load, MAX_RUNNING, Observer, Origin, UserId};
use crate::openai::Message;
use crate::time::Timestamp;

/// Calls that a burst or a load starts before it yields to other tasks.
const CALLS_AT_ONCE: u64 = 32;
/// A call of a load that is later than this is skipped: the machine was suspended.
const TOO_LATE: std::time::Duration = std::time::Duration::from_secs(1);

/// The running load.
#[derive(Debug)]
pub(super) struct RunningLoad {
    /// The number of the load, from 1.
    number: u64,
    calls: u64,
    skipped: u64,
    stop: CancellationToken,
}

impl<T: Transport, O: Observer + Clone> Engine<T, O> {
    /// The user whose turn it is.
    fn user(&self, users: &BurstUsers, turn: u64) -> UserId {
        let all = self.users();
        match users {
            BurstUsers::One(user) => user.clone(),
            BurstUsers::All => {
                let place = turn % all.len().max(1) as u64;
                all.get(place as usize).cloned().unwrap_or_default()
            }
        }
    }

    pub(super) fn burst(&self, calls: u32, users: BurstUsers) {
        let (burst, stop) = {
            let mut running = self.lock();
            running.burst_count += 1;
            running.bursting += 1;
            (running.burst_count, running.bursts.clone())
        };
        self.observer.emit(None, EventKind::BurstStarted { burst, calls });
        let engine = self.clone();
        self.env.spawn(async move {
            let mut made = 0;
            for turn in 0..calls {
                if stop.is_cancelled() {
                    break;
                }
                let user = engine.user(&users, u64::from(turn));
                let prompt = engine.prompts().next(&user, None);
                engine.start_traffic(&mut engine.lock(), prompt, user, Origin::Burst { burst }, true);
                made += 1;
                if u64::from(turn) % CALLS_AT_ONCE == CALLS_AT_ONCE - 1 {
                    tokio::task::yield_now().await;
                }
            }
            let ended = EventKind::BurstEnded { burst, calls: made };
            engine.observer.emit(None, ended);
            engine.lock().bursting -= 1;
            engine.ended.notify_waiters();
        });
    }

    /// Ends the running load and starts another.
    pub(super) fn set_load(&self, plan: Option<Load>) {
        let mut running = self.lock();
        self.end_load(&mut running);
        let Some(plan) = plan else { return };
        running.load_count += 1;
        let (load, stop) = (running.load_count, CancellationToken::new());
        running.load = Some(RunningLoad {
            number: load,
            calls: 0,
            skipped: 0,
            stop: stop.clone(),
        });
        let started = EventKind::LoadStarted {
            load,
            plan: Box::new(plan.clone()),
        };
        self.observer.emit(None, started);
        drop(running);
        let engine = self.clone();
        self.env.spawn(async move {
            stop.run_until_cancelled(engine.drive(load, &plan)).await;
        });
    }

    /// Ends the running load, if there is one. Under the lock, so that no call of it follows its end.
    pub(super) fn end_load(&self, running: &mut Running) {
        if let Some(ended) = running.load.take() {
            ended.stop.cancel();
            let kind = EventKind::LoadEnded {
                load: ended.number,
                calls: ended.calls,
                skipped: ended.skipped,
            };
            self.observer.emit(None, kind);
            self.ended.notify_waiters();
        }
    }

    /// Makes the calls of a load at their times, and ends it. Times count from the beginning, so that late wake-ups
    /// do not add up.
    async fn drive(&self, load: u64, plan: &Load) {
        let clock = self.env.clock;
        let mut generator = self.env.generator("loads", load);
        // 1 - U lies in (0, 1], so its logarithm is finite
        let mut gap = || {
            if plan.poisson {
                -(1.0 - generator.random::<f64>()).ln()
            } else {
                1.0
            }
        };
        let started_at = clock.now();
        let mut calls = if plan.poisson { gap() } else { 0.0 };
        let mut turn = 0;
        while let Some(due) = plan.due(calls) {
            let due = started_at + due;
            clock.sleep_until(due).await;
            self.call_of(load, plan, turn, due);
            calls += gap();
            turn += 1;
            if turn % CALLS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        clock
            .sleep_until(plan.lasts.map_or(Timestamp::MAX, |lasts| started_at + lasts))
            .await;
        let mut running = self.lock();
        if running
            .load
            .as_ref()
            .is_some_and(|running| running.number == load)
        {
            self.end_load(&mut running);
        }
    }

    /// Makes the call of a load that is due, or skips it. Does nothing if the load has ended.
    fn call_of(&self, load: u64, plan: &Load, turn: u64, due: Timestamp) {
        let user = self.user(&plan.users, turn);
        let mut running = self.lock();
        let many = running.calls.len() as u64 >= MAX_RUNNING;
        let skips = many || self.env.clock.now().since(due) > TOO_LATE;
        let Some(counts) = running.load.as_mut().filter(|running| running.number == load) else {
            return;
        };
        if skips {
            counts.skipped += 1;
            return;
        }
        counts.calls += 1;
        let prompt = self.prompts().next(&user, plan.repeat);
        self.start_traffic(&mut running, prompt, user, Origin::Load { load }, !plan.whole);
    }

    fn start_traffic(
        &self,
        running: &mut Running,
        prompt: Arc<str>,
        user: UserId,
        origin: Origin,
        stream: bool,
    ) {
        let request = self.request([Message::user(&*prompt)], self.style.traffic_tokens(), stream);
        self.start(running, &request, user, origin, OnAnswer::Remember(prompt));
    }
}

#[cfg(test)]
mod tests;
