//! The circuit breaker: rejects calls to an upstream that is down.
//!
//! Calls to a dead upstream cost time, money and slots, and keep it down. Something must find out when it is back,
//! but not all calls at once.
//!
//! ```text
//!                      too many failures, in a row or as a share of the window,
//!                      or too large a share slow
//!        +--------+ -------------------------------------------------> +--------+
//!   +--> | closed |                                                    |  open  | <--+
//!   |    +--------+                                                    +--------+    |
//!   |     admits all                                                   rejects all   |
//!   |                                                                       |        |
//!   | `successes_to_close`     +-----------+   the open time is over,       |        | the probe failed:
//!   | good probes in a row     | half-open | <-- and a call arrives --------+        | twice the open
//!   +------------------------- +-----------+ ----------------------------------------+ time, to `open_max`
//!                               one permit at a time: the probe, leased for `probe_lease`
//! ```
//!
//! - Every transition starts a new generation with an empty window. An outcome from an older generation is
//!   [`Sample::Late`] and changes nothing (as in gobreaker): a success that began before the outage does not close
//!   the breaker during it.
//! - Half-open gives one permit, with a lease. A probe that was cancelled or is [`Sample::Neutral`] frees its
//!   place at once, a lost one when the lease ends. Hystrix (PR 1621) and resilience4j (issues 544, 903, 935,
//!   1389) got stuck half-open by such probes.
//! - A lost probe whose place was reassigned is late, even in the same generation; otherwise it still counts.
//! - A stream is judged by its first token, which frees the place: a long answer must not keep the breaker
//!   half-open for minutes. [`continue_stream`](Breaker::continue_stream) gives a permit for the rest; if that
//!   breaks while the breaker is half-open, the probe has failed. Otherwise two streams that break after their
//!   first words would close the breaker.
//! - A slow probe is bad if slow calls can open at all (`slow_rate` <= 1), since one of one exceeds any rate.
//! - Only a bad outcome opens, not a success that happens to complete `min_calls`.
//! - Open lasts `v - U(0, open_jitter * v)`, `v = min(open_max, open * 2^failed probes in a row)`: the jitter is
//!   below the cap, not clamped by it. A server hint with the outcome that opened prolongs it, by at most an hour.
//! - Forced open rejects all. Forced closed admits all and counts, but never moves. Released from forced open,
//!   it is closed with an empty window; from forced closed, it keeps its window: the next failure may open it.
//! - Disabled, it is closed and counts nothing. The mode is kept and applies again once it is enabled.
//!
//! Sources: Nygard, "Release It!"; the rates of resilience4j, the backoff of linkerd; docs/semantics.md, Circuit
//! breaker.

mod decision;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

pub use decision::{Acquired, CircuitOpen, Permit, Reset, SettledPermit, Transition};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::window::Window;
use super::MAX_SERVER_WAIT;
use crate::event::{BreakerMode, BreakerState, MoveReason, Sample, WindowCounts};
use crate::settings::BreakerSettings;
use crate::time::Timestamp;

/// The circuit breaker of one upstream. Thresholds and times: [`BreakerSettings`].
///
/// ```
/// use seawall::event::{BreakerState, Sample};
/// use seawall::policy::breaker::Breaker;
/// use seawall::settings::BreakerSettings;
/// use seawall::time::Timestamp;
///
/// let (settings, now) = (BreakerSettings::default(), Timestamp::ZERO);
/// let mut breaker = Breaker::new(&settings, 7, now);
/// for _ in 0..settings.consecutive {
///     let permit = breaker.acquire(now).permit?;
///     let _settled = breaker.settle(now, permit, Sample::Failed, None);
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// assert!(breaker.check(now).is_err());
/// # Ok::<(), seawall::policy::breaker::CircuitOpen>(())
/// ```
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    mode: BreakerMode,
    state: State,
    /// Number of transitions.
    generation: u64,
    window: Window,
    /// Probes failed since it was closed: the open time doubled this often.
    failed_probes: u32,
    /// Number of probes: distinguishes a lost probe from the one that replaced it.
    probes: u64,
    /// The latest instant seen: callers read the clock before they get the lock.
    latest: Timestamp,
    rng: StdRng,
}

/// [`BreakerState`] with its data.
#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open {
        /// Time at which a probe is admitted; `None` while forced.
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
    /// End of the lease.
    lease: Timestamp,
}

impl Breaker {
    /// Returns a closed breaker in generation 0. The seed determines the jitter of its open times.
    pub fn new(settings: &BreakerSettings, seed: u64, now: Timestamp) -> Self {
        Self {
            settings: settings.clone(),
            mode: BreakerMode::Automatic,
            state: State::Closed,
            generation: 0,
            window: Window::new(settings.window),
            failed_probes: 0,
            probes: 0,
            latest: now,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Adopts new settings. A running open time or lease is kept. The window is emptied if its length changes.
    /// Disabling closes the breaker.
    pub fn configure(&mut self, settings: &BreakerSettings, now: Timestamp) -> Option<Transition> {
        let now = self.advance(now);
        let before = std::mem::replace(&mut self.settings, settings.clone());
        let transition = self.apply_mode(now);
        if before.window != settings.window || !settings.enabled {
            self.window = Window::new(settings.window);
        }
        transition
    }

    /// Returns an error if [`acquire`](Self::acquire) would give no permit now. For use before queueing, so that
    /// no call waits for a dead upstream. Changes nothing: the probe is taken by the call that is about to be
    /// sent.
    pub fn check(&self, now: Timestamp) -> Result<(), CircuitOpen> {
        let now = now.max(self.latest);
        match self.state {
            State::Open { until } if until.is_none_or(|until| until > now) => Err(CircuitOpen { until }),
            State::HalfOpen {
                probe: Some(Probe { lease, .. }),
                ..
            } if lease > now => Err(CircuitOpen { until: None }),
            State::Closed | State::Open { .. } | State::HalfOpen { .. } => Ok(()),
        }
    }

    /// Requests a permit, right before sending. The first request after the open time moves the breaker to
    /// half-open and gets the probe.
    pub fn acquire(&mut self, now: Timestamp) -> Acquired {
        let now = self.advance(now);
        if let Err(rejection) = self.check(now) {
            return Acquired {
                permit: Err(rejection),
                transition: None,
            };
        }
        let transition = matches!(self.state, State::Open { .. }).then(|| {
            let half_open = State::HalfOpen { good: 0, probe: None };
            self.move_to(now, half_open, MoveReason::CoolDown)
        });
        let permit = Permit {
            generation: self.generation,
            probe: self.lease(now),
            judged: false,
        };
        Acquired {
            permit: Ok(permit),
            transition,
        }
    }

    /// Settles a permit with the outcome of its attempt. `hint` is the instant until which the server asked to
    /// wait; it prolongs the open time if this outcome opens. `Late` is assigned by the breaker itself; from a
    /// caller it is treated as `Neutral`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a permit is settled once: it is moved in"
    )]
    pub fn settle(
        &mut self,
        now: Timestamp,
        permit: Permit,
        sample: Sample,
        hint: Option<Timestamp>,
    ) -> SettledPermit {
        let now = self.advance(now);
        let Permit {
            generation,
            probe,
            judged,
        } = permit;
        let reported = match sample {
            Sample::Late => Sample::Neutral,
            // counted at its first token
            Sample::Ok | Sample::Slow if judged => Sample::Neutral,
            reported => reported,
        };
        let counts = generation == self.generation && (judged || self.is_current_probe(probe));
        let sample = if counts { reported } else { Sample::Late };
        if self.settings.enabled {
            self.window.record(now, sample);
        }
        let window = self.window.counts(now);
        let transition = match (self.state, sample) {
            (_, Sample::Late) | (State::Open { .. }, _) => None,
            (State::Closed, _) => self
                .trip_reason(sample, window)
                .map(|reason| self.open(now, hint, reason)),
            // another probe may have taken the place: only a failure matters
            (State::HalfOpen { .. }, _) if judged => {
                (sample == Sample::Failed).then(|| self.fail_probe(now, hint))
            }
            (State::HalfOpen { good, .. }, _) => self.judge_probe(now, sample, hint, good),
        };
        SettledPermit {
            sample,
            probe: probe.is_some(),
            generation,
            window,
            transition,
        }
    }

    /// Returns a permit for the rest of a stream whose probe was settled by its first token: an ordinary one if
    /// that closed the breaker, one for which only a failure counts while it is half-open, `None` otherwise.
    pub fn continue_stream(&self, first: &SettledPermit) -> Option<Permit> {
        let judged = match self.state {
            State::Closed => false,
            State::HalfOpen { .. } if first.sample != Sample::Late => true,
            State::HalfOpen { .. } | State::Open { .. } => return None,
        };
        Some(Permit {
            generation: self.generation,
            probe: None,
            judged,
        })
    }

    /// Forces the breaker open or closed, or releases it to automatic.
    pub fn force(&mut self, now: Timestamp, mode: BreakerMode) -> Option<Transition> {
        let now = self.advance(now);
        self.mode = mode;
        self.apply_mode(now)
    }

    /// Releases and closes the breaker, and clears the window and the failed probes. Earlier permits become late.
    pub fn reset(&mut self, now: Timestamp) -> Reset {
        let now = self.advance(now);
        let released = self.mode != BreakerMode::Automatic;
        self.mode = BreakerMode::Automatic;
        Reset {
            transition: self.move_to(now, State::Closed, MoveReason::Manual),
            released,
        }
    }

    /// The current state. It remains open after the open time until a call takes the probe.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Automatic or forced.
    pub fn mode(&self) -> BreakerMode {
        self.mode
    }

    /// The number of transitions so far.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The end of the open time; `None` if it is not open, or forced.
    pub fn until(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { until } => until,
            State::Closed | State::HalfOpen { .. } => None,
        }
    }

    /// The counts of the window at `now`.
    pub fn window(&self, now: Timestamp) -> WindowCounts {
        self.window.counts(now.max(self.latest))
    }

    /// The next instant at which [`check`](Self::check) changes by itself: the open time or a probe's lease ends.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let change = match self.state {
            State::Closed => None,
            State::Open { until } => until,
            State::HalfOpen { probe, .. } => probe.map(|probe| probe.lease),
        };
        change.filter(|change| *change > now)
    }

    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Assigns the place of the probe in half-open; returns its number.
    fn lease(&mut self, now: Timestamp) -> Option<u64> {
        let State::HalfOpen { probe, .. } = &mut self.state else {
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

    /// False if the place of this probe was reassigned.
    fn is_current_probe(&self, number: Option<u64>) -> bool {
        match self.state {
            State::HalfOpen { probe, .. } => probe.map(|probe| probe.number) == number,
            State::Closed | State::Open { .. } => true,
        }
    }

    /// The threshold that this outcome reaches, if the breaker may open.
    fn trip_reason(&self, sample: Sample, window: WindowCounts) -> Option<MoveReason> {
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

    /// Judges a probe and frees its place.
    fn judge_probe(
        &mut self,
        now: Timestamp,
        sample: Sample,
        hint: Option<Timestamp>,
        good: u32,
    ) -> Option<Transition> {
        let is_good = match sample {
            Sample::Ok => Some(true),
            Sample::Slow => Some(self.settings.slow_rate > 1.0),
            Sample::Failed => Some(false),
            Sample::Neutral | Sample::Late => None,
        };
        let good = good.saturating_add(u32::from(is_good == Some(true)));
        match is_good {
            Some(false) => Some(self.fail_probe(now, hint)),
            Some(true) if good >= self.settings.successes_to_close => {
                Some(self.move_to(now, State::Closed, MoveReason::ProbesSucceeded))
            }
            _ => {
                self.state = State::HalfOpen { good, probe: None };
                None
            }
        }
    }

    fn fail_probe(&mut self, now: Timestamp, hint: Option<Timestamp>) -> Transition {
        self.failed_probes = self.failed_probes.saturating_add(1);
        self.open(now, hint, MoveReason::ProbeFailed)
    }

    fn open(&mut self, now: Timestamp, hint: Option<Timestamp>, reason: MoveReason) -> Transition {
        let own = now + self.open_time();
        let hint = hint.map_or(own, |hint| hint.min(now + MAX_SERVER_WAIT));
        let until = Some(own.max(hint));
        self.move_to(now, State::Open { until }, reason)
    }

    /// The open time; see the module documentation.
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

    /// Moves to the state that the mode and `enabled` require, if it is not there.
    fn apply_mode(&mut self, now: Timestamp) -> Option<Transition> {
        let forced = if self.settings.enabled {
            self.mode
        } else {
            BreakerMode::ForcedClosed
        };
        let target = match (forced, self.state) {
            (BreakerMode::ForcedClosed, State::Closed)
            | (
                BreakerMode::Automatic,
                State::Closed | State::HalfOpen { .. } | State::Open { until: Some(_) },
            ) => {
                return None;
            }
            (BreakerMode::ForcedOpen, State::Open { .. }) => {
                // already open: it only loses its end
                self.state = State::Open { until: None };
                return None;
            }
            (BreakerMode::ForcedOpen, _) => State::Open { until: None },
            (BreakerMode::ForcedClosed | BreakerMode::Automatic, _) => State::Closed,
        };
        Some(self.move_to(now, target, MoveReason::Manual))
    }

    /// The only transition: starts a new generation with an empty window.
    fn move_to(&mut self, now: Timestamp, state: State, reason: MoveReason) -> Transition {
        let from = self.state();
        let window = self.window.counts(now);
        self.window.clear();
        self.state = state;
        self.generation += 1;
        if matches!(state, State::Closed) {
            self.failed_probes = 0;
        }
        Transition {
            from,
            to: self.state(),
            generation: self.generation,
            reason,
            until: self.until(),
            window,
        }
    }
}
