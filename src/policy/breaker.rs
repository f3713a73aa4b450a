//! The circuit breaker: does not ask an upstream that is down.
//!
//! The problem: calls to a dead upstream cost time, money and slots, and keep it dead; and somebody must find
//! out when it is back, but not everybody at once.
//!
//! ```text
//!                      too many failures, in a row or as a share of the window,
//!                      or too large a share slow
//!        +--------+ -------------------------------------------------> +--------+
//!   +--> | closed |                                                    |  open  | <--+
//!   |    +--------+                                                    +--------+    |
//!   |     permits for all                                               no permits   |
//!   |                                                                       |        |
//!   | `successes_to_close`     +-----------+   the open time is over,       |        | the probe failed:
//!   | good probes in a row     | half-open | <-- and somebody asks ---------+        | twice the open
//!   +------------------------- +-----------+ ----------------------------------------+ time, to `open_max`
//!                               one permit at a time: the probe, leased for `probe_lease`
//! ```
//!
//! - Every transition begins a new generation with an empty window. A permit carries the generation that gave
//!   it; what an older one has to tell is [`Sample::Late`] and changes nothing (as in gobreaker). Else a
//!   success that began before the outage would close the breaker in the middle of it.
//! - Half-open gives one permit, with a lease. A probe that was cancelled or says nothing ([`Sample::Neutral`])
//!   frees its place at once, a lost one when the lease ends. Hystrix (PR 1621) and resilience4j (issues 544,
//!   903, 935, 1389) were wedged for ever by such probes; the exercise lets everybody in.
//! - A lost probe whose place was taken over is late, though its generation lives: of two answers only the
//!   one in the place counts. If nobody took the place, it still counts.
//! - A stream is judged by its first token: a long answer must not keep the breaker half-open for minutes. The
//!   place is free then, and [`follow`](Breaker::follow) gives a permit for the rest: if that breaks while
//!   half-open lasts, the probe has failed after all. Else two streams that always break after their first
//!   words would close it.
//! - A slow probe is a bad one while slow calls can open at all (`slow_rate` at most 1), as one of one is
//!   above any rate; else it is good.
//! - Only a bad outcome opens: not a success that happens to complete `min_calls`.
//! - Open lasts `v - U(0, open_jitter * v)`, `v = min(open_max, open * 2^failed probes in a row)`: the spread is
//!   below the cap, not cut off by it. A hint of the server with the outcome that opened makes it longer, by an
//!   hour at most.
//! - Forced open refuses all. Forced closed admits all and counts, but never moves. Let go from forced open, it
//!   starts closed with an empty window; from forced closed it stays closed with the window it counted, so the
//!   next failure may open it. A reset lets go, closes and forgets.
//! - Switched off (`enabled = false`) it is closed and counts nothing. A mode is kept and holds again once it is
//!   switched on.
//!
//! Sources: Nygard, "Release It!"; semantics 1.7; the rates of resilience4j, the backoff of linkerd.

mod decision;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

pub use decision::{Acquired, Check, Move, Permit, Refusal, Reset, Settled};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::window::Window;
use super::LONGEST_HINT;
use crate::event::{BreakerMode, BreakerState, MoveReason, Sample, WindowCounts};
use crate::settings::BreakerSettings;
use crate::time::Timestamp;

/// The breaker of one upstream.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    mode: BreakerMode,
    stage: Stage,
    /// Counts transitions.
    generation: u64,
    window: Window,
    /// Probes failed since it was closed: how often the open time doubled.
    failed_probes: u32,
    /// Counts probes, to tell a lost one from the one that took its place.
    probes: u64,
    /// The latest instant it has seen: callers read the clock before they get the lock.
    latest: Timestamp,
    rng: StdRng,
}

/// The state and what belongs to it alone.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Closed,
    Open {
        /// When a probe may pass; `None` while forced.
        until: Option<Timestamp>,
    },
    HalfOpen {
        /// Good probes in a row.
        good: u32,
        probe: Option<Probe>,
    },
}

/// The one permit of half-open.
#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u64,
    lease: Timestamp,
}

impl Breaker {
    /// A closed breaker in generation 0. The seed decides the spread of its open times.
    pub fn new(settings: &BreakerSettings, seed: u64, now: Timestamp) -> Self {
        Self {
            settings: settings.clone(),
            mode: BreakerMode::Automatic,
            stage: Stage::Closed,
            generation: 0,
            window: Window::new(settings.window),
            failed_probes: 0,
            probes: 0,
            latest: now,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Obeys other settings from now on. An open time or a lease that runs goes on. The window is emptied if its
    /// length changes. Switching off closes.
    pub fn configure(&mut self, settings: &BreakerSettings, now: Timestamp) -> Option<Move> {
        let now = self.advance(now);
        let before = std::mem::replace(&mut self.settings, settings.clone());
        let moved = self.obey(now);
        if before.window != settings.window || !settings.enabled {
            self.window = Window::new(settings.window);
        }
        moved
    }

    /// Whether [`acquire`](Self::acquire) would give a permit. Asked before queueing: do not wait for a dead
    /// upstream. Takes nothing and moves nothing: the probe is taken by the one who is about to send.
    pub fn check(&self, now: Timestamp) -> Check {
        match self.refusal(now.max(self.latest)) {
            None => Check::Pass,
            Some(Refusal { until }) => Check::Refuse { until },
        }
    }

    /// Asks for a permit, right before sending. The first to ask after the open time moves it to half-open and
    /// is the probe.
    pub fn acquire(&mut self, now: Timestamp) -> Acquired {
        let now = self.advance(now);
        if let Some(refusal) = self.refusal(now) {
            return Acquired {
                permit: Err(refusal),
                moved: None,
            };
        }
        let moved = matches!(self.stage, Stage::Open { .. }).then(|| {
            let half_open = Stage::HalfOpen { good: 0, probe: None };
            self.turn(now, half_open, MoveReason::CoolDown)
        });
        let permit = Permit {
            generation: self.generation,
            probe: self.lease(now),
            judged: false,
        };
        Acquired {
            permit: Ok(permit),
            moved,
        }
    }

    /// Takes a permit back with what its attempt says of the upstream's health. A `hint` of the server when to
    /// come back makes the open time longer if this outcome opens. `Late` is the breaker's own word; said by a
    /// caller it is taken for `Neutral`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a permit is given back once: the move is the point"
    )]
    pub fn settle(
        &mut self,
        now: Timestamp,
        permit: Permit,
        sample: Sample,
        hint: Option<Timestamp>,
    ) -> Settled {
        let now = self.advance(now);
        let Permit {
            generation,
            probe,
            judged,
        } = permit;
        let said = match sample {
            Sample::Late => Sample::Neutral,
            // counted at its first token
            Sample::Ok | Sample::Slow if judged => Sample::Neutral,
            said => said,
        };
        let known = generation == self.generation && (judged || self.in_place(probe));
        let sample = if known { said } else { Sample::Late };
        if self.settings.enabled {
            self.window.record(now, sample);
        }
        let window = self.window.counts(now);
        let moved = match (self.stage, sample) {
            (_, Sample::Late) | (Stage::Open { .. }, _) => None,
            (Stage::Closed, _) => self
                .tripped(sample, window)
                .map(|reason| self.open(now, hint, reason)),
            // another probe may be in the place by now: only a failure is news
            (Stage::HalfOpen { .. }, _) if judged => {
                (sample == Sample::Failed).then(|| self.fail_probe(now, hint))
            }
            (Stage::HalfOpen { good, .. }, _) => self.judge_probe(now, sample, hint, good),
        };
        Settled {
            sample,
            probe: probe.is_some(),
            generation,
            window,
            moved,
        }
    }

    /// A permit for the rest of a stream whose probe was settled by its first token: an ordinary one if that
    /// closed the breaker, one that only a failure matters to while it is half-open, none otherwise.
    pub fn follow(&self, first: &Settled) -> Option<Permit> {
        let judged = match self.stage {
            Stage::Closed => false,
            Stage::HalfOpen { .. } if first.sample != Sample::Late => true,
            Stage::HalfOpen { .. } | Stage::Open { .. } => return None,
        };
        Some(Permit {
            generation: self.generation,
            probe: None,
            judged,
        })
    }

    /// A person decides, or lets go.
    pub fn force(&mut self, now: Timestamp, mode: BreakerMode) -> Option<Move> {
        let now = self.advance(now);
        self.mode = mode;
        self.obey(now)
    }

    /// Lets go, closes and forgets the window and the failed probes. Permits given before are late.
    pub fn reset(&mut self, now: Timestamp) -> Reset {
        let now = self.advance(now);
        let released = self.mode != BreakerMode::Automatic;
        self.mode = BreakerMode::Automatic;
        Reset {
            moved: self.turn(now, Stage::Closed, MoveReason::Manual),
            released,
        }
    }

    /// Its state. Open until somebody takes the probe, also after the open time.
    pub fn state(&self) -> BreakerState {
        match self.stage {
            Stage::Closed => BreakerState::Closed,
            Stage::Open { .. } => BreakerState::Open,
            Stage::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Who decides.
    pub fn mode(&self) -> BreakerMode {
        self.mode
    }

    /// How many transitions there were.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When open ends; `None` if it is not open or forced.
    pub fn until(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Open { until } => until,
            Stage::Closed | Stage::HalfOpen { .. } => None,
        }
    }

    /// What the window holds at `now`.
    pub fn window(&self, now: Timestamp) -> WindowCounts {
        self.window.counts(now.max(self.latest))
    }

    /// When its answer changes though nobody does anything: the open time or the lease of a probe ends.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let change = match self.stage {
            Stage::Closed => None,
            Stage::Open { until } => until,
            Stage::HalfOpen { probe, .. } => probe.map(|probe| probe.lease),
        };
        change.filter(|change| *change > now)
    }

    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Why no permit can be given now.
    fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        match self.stage {
            Stage::Closed => None,
            Stage::Open { until } => until.is_none_or(|until| until > now).then_some(Refusal { until }),
            Stage::HalfOpen { probe, .. } => {
                let is_out = probe.is_some_and(|probe| probe.lease > now);
                is_out.then_some(Refusal { until: None })
            }
        }
    }

    /// Gives the place of the probe away, if there is one.
    fn lease(&mut self, now: Timestamp) -> Option<u64> {
        let Stage::HalfOpen { probe, .. } = &mut self.stage else {
            return None;
        };
        self.probes += 1;
        let number = self.probes;
        *probe = Some(Probe {
            number,
            lease: now + self.settings.probe_lease,
        });
        Some(number)
    }

    /// Whether nobody has taken the place of this probe.
    fn in_place(&self, number: Option<u64>) -> bool {
        match self.stage {
            Stage::HalfOpen { probe, .. } => probe.map(|probe| probe.number) == number,
            Stage::Closed | Stage::Open { .. } => true,
        }
    }

    /// The rule that an outcome broke, if it did and anybody may act on it.
    fn tripped(&self, sample: Sample, window: WindowCounts) -> Option<MoveReason> {
        let settings = &self.settings;
        let is_bad = matches!(sample, Sample::Failed | Sample::Slow);
        if !is_bad || !settings.enabled || self.mode != BreakerMode::Automatic {
            return None;
        }
        let share = |part: u32| f64::from(part) / f64::from(window.total.max(1));
        let enough = window.total >= settings.min_calls;
        if window.consecutive >= settings.consecutive {
            Some(MoveReason::Consecutive)
        } else if enough && share(window.failed) >= settings.failure_rate {
            Some(MoveReason::FailureRate)
        } else if enough && share(window.slow) >= settings.slow_rate {
            Some(MoveReason::SlowRate)
        } else {
            None
        }
    }

    /// What the probe's outcome means. Whatever it is, its place is free again.
    fn judge_probe(
        &mut self,
        now: Timestamp,
        sample: Sample,
        hint: Option<Timestamp>,
        good: u32,
    ) -> Option<Move> {
        let is_good = match sample {
            Sample::Ok => Some(true),
            Sample::Slow => Some(self.settings.slow_rate > 1.0),
            Sample::Failed => Some(false),
            Sample::Neutral | Sample::Late => None,
        };
        let good = good.saturating_add(u32::from(is_good == Some(true)));
        if is_good == Some(false) {
            Some(self.fail_probe(now, hint))
        } else if is_good == Some(true) && good >= self.settings.successes_to_close {
            Some(self.turn(now, Stage::Closed, MoveReason::ProbesSucceeded))
        } else {
            self.stage = Stage::HalfOpen { good, probe: None };
            None
        }
    }

    fn fail_probe(&mut self, now: Timestamp, hint: Option<Timestamp>) -> Move {
        self.failed_probes = self.failed_probes.saturating_add(1);
        self.open(now, hint, MoveReason::ProbeFailed)
    }

    fn open(&mut self, now: Timestamp, hint: Option<Timestamp>, reason: MoveReason) -> Move {
        let own = now + self.open_time();
        let hint = hint.map_or(own, |hint| hint.min(now + LONGEST_HINT));
        let until = Some(own.max(hint));
        self.turn(now, Stage::Open { until }, reason)
    }

    /// `v - U(0, jitter * v)`, `v = min(open_max, open * 2^failed probes)`.
    fn open_time(&mut self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failed_probes);
        let longest = self
            .settings
            .open
            .saturating_mul(doubled)
            .min(self.settings.open_max);
        let spread = self.settings.open_jitter.clamp(0.0, 1.0) * self.rng.random::<f64>();
        longest.mul_f64(1.0 - spread)
    }

    /// Goes where the mode and the switch want it. Where they want nothing new, nothing changes.
    fn obey(&mut self, now: Timestamp) -> Option<Move> {
        let forced = if self.settings.enabled {
            self.mode
        } else {
            BreakerMode::ForcedClosed
        };
        let target = match (forced, self.stage) {
            (BreakerMode::ForcedClosed, Stage::Closed)
            | (
                BreakerMode::Automatic,
                Stage::Closed | Stage::HalfOpen { .. } | Stage::Open { until: Some(_) },
            ) => {
                return None;
            }
            (BreakerMode::ForcedOpen, Stage::Open { .. }) => {
                // already open: only the end of it goes
                self.stage = Stage::Open { until: None };
                return None;
            }
            (BreakerMode::ForcedOpen, _) => Stage::Open { until: None },
            (BreakerMode::ForcedClosed | BreakerMode::Automatic, _) => Stage::Closed,
        };
        Some(self.turn(now, target, MoveReason::Manual))
    }

    /// The one place where the state changes: a new generation with an empty window.
    fn turn(&mut self, now: Timestamp, stage: Stage, reason: MoveReason) -> Move {
        let from = self.state();
        let window = self.window.counts(now);
        self.window.clear();
        self.stage = stage;
        self.generation += 1;
        if matches!(stage, Stage::Closed) {
            self.failed_probes = 0;
        }
        Move {
            from,
            to: self.state(),
            generation: self.generation,
            reason,
            until: self.until(),
            window,
        }
    }
}
