//! The circuit breaker: rejects calls to an upstream that is down, or to a model of it.
//!
//! Calls to a dead upstream cost time, money and slots, and keep it down. A few probes find out when it is back.
//!
//! ```text
//!                      too many failures, in a row or as a share of the window,
//!                      or too large a share slow
//!        +--------+ -------------------------------------------------> +--------+
//!   +--> | closed |                                                    |  open  | <--+
//!   |    +--------+                                                    +--------+    |
//!   |     admits all                                                   rejects all   |
//!   |                                                                       |        |
//!   | `successes_to_close`     +-----------+   the open time is over,       |        | a probe failed
//!   | probes ended well        | half-open | <-- and a call arrives --------+        |
//!   +------------------------- +-----------+ ----------------------------------------+
//!                               one probe waits for its first token, at most `successes_to_close`
//!                               run; each of both is leased for `probe_lease`
//! ```
//!
//! - Only the end of a stream is a success. Its first token admits the next probe and closes nothing: otherwise an
//!   upstream that cuts every stream would close the breaker with its first tokens.
//! - A probe that delivers for a whole lease counts as a success, so that long answers delay recovery by about one
//!   lease. Of its rest only a failure counts ([`continue_stream`](Breaker::continue_stream)).
//! - The end of a probe or of its lease frees its place: half-open admits a probe within two leases. Hystrix (PR
//!   1621) and resilience4j (issues 544, 903, 935, 1389) got stuck half-open by probes that never returned.
//! - Every transition starts a new generation with an empty window. An outcome from an older generation is
//!   [`Sample::Late`] and changes nothing (as in gobreaker): it may be as old as its admission.
//! - The [cut](Permit::cut) of a stream counts when it happens, in any generation: closed, as a failure in the
//!   window; half-open, it resets the count of good probes; open, it changes nothing.
//! - A slow probe is bad if slow calls can open at all (`slow_rate` <= 1), since one of one exceeds any rate.
//! - Only a bad outcome opens, not a success that happens to complete `min_calls`.
//! - Open lasts `v - U(0, open_jitter * v)`, `v = min(open_max, open * 2^doublings)`: the jitter is below the cap,
//!   not clamped by it. Each opening adds a doubling, and only `min_calls` good outcomes while closed (or a reset)
//!   clear them: time alone proves nothing (Envoy, issue 21142). A server hint with the outcome that opened
//!   prolongs it, by at most an hour.
//! - Forced open rejects all. Forced closed admits all and counts, but never moves. Released from forced open,
//!   it is closed with an empty window; from forced closed, it keeps its window: the next failure may open it.
//! - Disabled, it is closed and counts nothing. The mode is kept and applies again once it is enabled.
//!
//! Sources: Nygard, "Release It!"; resilience4j (rates); linkerd (backoff); docs/semantics.md, Circuit breaker.

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

/// The circuit breaker of one upstream and model. Thresholds and times: [`BreakerSettings`].
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
    /// Openings without `min_calls` good outcomes between them: the next open time is doubled this often.
    doublings: u32,
    /// Number of probes: distinguishes a lost probe from the one that replaced it.
    probes: u64,
    /// The latest instant seen: callers read the clock before they get the lock.
    latest: Timestamp,
    rng: StdRng,
}

/// [`BreakerState`] with its data.
#[derive(Debug)]
enum State {
    Closed {
        /// Good outcomes since it closed.
        good: u32,
    },
    Open {
        /// Time at which a probe is admitted; `None` while forced.
        until: Option<Timestamp>,
    },
    HalfOpen {
        /// Probes in a row that ended well.
        good: u32,
        /// The probe without a first token.
        waiting: Option<Probe>,
        /// The probes with one.
        answering: Vec<Probe>,
    },
}

/// A place in half-open.
#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u64,
    /// End of its time without a first token, or of its time with one.
    lease: Timestamp,
}

impl State {
    const CLOSED: Self = Self::Closed { good: 0 };
    const HALF_OPEN: Self = Self::HalfOpen {
        good: 0,
        waiting: None,
        answering: Vec::new(),
    };
}

impl Breaker {
    /// Returns a closed breaker in generation 0. The seed determines the jitter of its open times.
    pub fn new(settings: &BreakerSettings, seed: u64, now: Timestamp) -> Self {
        Self {
            settings: settings.clone(),
            mode: BreakerMode::Automatic,
            state: State::CLOSED,
            generation: 0,
            window: Window::new(settings.window),
            doublings: 0,
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
        if self.admits(now.max(self.latest)) {
            Ok(())
        } else {
            Err(CircuitOpen { until: self.until() })
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
        let transition = matches!(self.state, State::Open { .. })
            .then(|| self.move_to(now, State::HALF_OPEN, MoveReason::CoolDown));
        let permit = Permit {
            generation: self.generation,
            probe: self.lease(now),
            proven_at: None,
            judged: false,
            cut: false,
        };
        Acquired {
            permit: Ok(permit),
            transition,
        }
    }

    /// The first token of a probe is there: the next probe may be admitted, and the lease begins again. A probe that
    /// lost its place gets no other.
    pub fn first_token(&mut self, now: Timestamp, permit: &mut Permit) {
        let lease = self.advance(now) + self.settings.probe_lease;
        if permit.generation == self.generation
            && let State::HalfOpen {
                waiting, answering, ..
            } = &mut self.state
            && let Some(probe) = waiting.take_if(|probe| Some(probe.number) == permit.probe)
        {
            answering.push(Probe { lease, ..probe });
            permit.proven_at = Some(lease);
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
            cut,
            proven_at: _,
        } = permit;
        let reported = match sample {
            Sample::Late => Sample::Neutral,
            // counted when its lease ended
            Sample::Ok | Sample::Slow if judged => Sample::Neutral,
            reported => reported,
        };
        let present = generation == self.generation;
        let sample = match reported {
            reported if present => reported,
            Sample::Failed if cut && !matches!(self.state, State::Open { .. }) => Sample::Failed,
            _ => Sample::Late,
        };
        if self.settings.enabled {
            self.window.record(now, sample);
        }
        let window = self.window.counts(now);
        SettledPermit {
            sample,
            probe: probe.is_some(),
            generation,
            window,
            transition: self.apply_sample(now, sample, present.then_some(probe).flatten(), hint, present),
        }
    }

    /// Returns a permit for the rest of a stream whose probe was settled at the end of its lease. Only a failure
    /// counts for it. `None` if the breaker is open.
    pub fn continue_stream(&self) -> Option<Permit> {
        let is_open = matches!(self.state, State::Open { .. });
        (!is_open).then_some(Permit {
            generation: self.generation,
            probe: None,
            proven_at: None,
            judged: true,
            cut: false,
        })
    }

    /// Forces the breaker open or closed, or releases it to automatic.
    pub fn force(&mut self, now: Timestamp, mode: BreakerMode) -> Option<Transition> {
        let now = self.advance(now);
        self.mode = mode;
        self.apply_mode(now)
    }

    /// Releases and closes the breaker, and clears the window and the doublings. Earlier permits become late.
    pub fn reset(&mut self, now: Timestamp) -> Reset {
        let now = self.advance(now);
        let released = self.mode != BreakerMode::Automatic;
        self.mode = BreakerMode::Automatic;
        Reset {
            transition: self.move_to(now, State::CLOSED, MoveReason::Manual),
            released,
        }
    }

    /// The current state. It remains open after the open time until a call takes the probe.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
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
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// The counts of the window at `now`.
    pub fn window(&self, now: Timestamp) -> WindowCounts {
        self.window.counts(now.max(self.latest))
    }

    /// The next instant at which [`check`](Self::check) changes by itself: the open time or the lease of a probe
    /// ends.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        if self.admits(now) {
            return None;
        }
        match &self.state {
            State::Closed { .. } => None,
            State::Open { until } => *until,
            State::HalfOpen {
                waiting, answering, ..
            } => {
                let leases = waiting.iter().chain(answering).map(|probe| probe.lease);
                leases.filter(|lease| self.admits(*lease)).min()
            }
        }
    }

    fn admits(&self, now: Timestamp) -> bool {
        match &self.state {
            State::Closed { .. } => true,
            State::Open { until } => until.is_some_and(|until| until <= now),
            State::HalfOpen {
                waiting, answering, ..
            } => {
                let running = answering.iter().filter(|probe| probe.lease > now).count();
                waiting.is_none_or(|probe| probe.lease <= now)
                    && u32::try_from(running).is_ok_and(|running| running < self.settings.successes_to_close)
            }
        }
    }

    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Assigns a place in half-open.
    fn lease(&mut self, now: Timestamp) -> Option<u64> {
        let State::HalfOpen {
            waiting, answering, ..
        } = &mut self.state
        else {
            return None;
        };
        self.probes += 1;
        answering.retain(|probe| probe.lease > now);
        *waiting = Some(Probe {
            number: self.probes,
            lease: now + self.settings.probe_lease,
        });
        Some(self.probes)
    }

    /// Counts an outcome in the present state. `probe` has a place that it leaves; `present` is false for a stream
    /// of an older generation.
    fn apply_sample(
        &mut self,
        now: Timestamp,
        sample: Sample,
        probe: Option<u64>,
        hint: Option<Timestamp>,
        present: bool,
    ) -> Option<Transition> {
        let is_good = match sample {
            Sample::Ok => Some(true),
            Sample::Slow => Some(self.settings.slow_rate > 1.0),
            Sample::Failed => Some(false),
            Sample::Neutral | Sample::Late => None,
        };
        match &mut self.state {
            State::Open { .. } => None,
            State::Closed { good } => {
                if is_good == Some(true) && self.settings.enabled {
                    *good = good.saturating_add(1);
                    if *good >= self.settings.min_calls {
                        self.doublings = 0;
                    }
                }
                let reason = self.trip_reason(sample, self.window.counts(now))?;
                Some(self.open(now, hint, reason))
            }
            State::HalfOpen {
                good,
                waiting,
                answering,
            } => {
                if probe.is_some() {
                    let _freed = waiting.take_if(|waiting| Some(waiting.number) == probe);
                    answering.retain(|answering| Some(answering.number) != probe);
                }
                match is_good? {
                    true => {
                        *good = good.saturating_add(1);
                        (*good >= self.settings.successes_to_close)
                            .then(|| self.move_to(now, State::CLOSED, MoveReason::ProbesSucceeded))
                    }
                    false if present => Some(self.open(now, hint, MoveReason::ProbeFailed)),
                    false => {
                        *good = 0;
                        None
                    }
                }
            }
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

    fn open(&mut self, now: Timestamp, hint: Option<Timestamp>, reason: MoveReason) -> Transition {
        let own = now + self.open_time();
        self.doublings = self.doublings.saturating_add(1);
        let hint = hint.map_or(own, |hint| hint.min(now + MAX_SERVER_WAIT));
        let until = Some(own.max(hint));
        self.move_to(now, State::Open { until }, reason)
    }

    /// The open time; see the module documentation.
    fn open_time(&mut self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.doublings);
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
        let target = match (forced, &self.state) {
            (BreakerMode::ForcedClosed, State::Closed { .. })
            | (
                BreakerMode::Automatic,
                State::Closed { .. } | State::HalfOpen { .. } | State::Open { until: Some(_) },
            ) => {
                return None;
            }
            (BreakerMode::ForcedOpen, State::Open { .. }) => {
                // already open: it only loses its end
                self.state = State::Open { until: None };
                return None;
            }
            (BreakerMode::ForcedOpen, _) => State::Open { until: None },
            (BreakerMode::ForcedClosed | BreakerMode::Automatic, _) => State::CLOSED,
        };
        Some(self.move_to(now, target, MoveReason::Manual))
    }

    /// The only transition: starts a new generation with an empty window.
    fn move_to(&mut self, now: Timestamp, state: State, reason: MoveReason) -> Transition {
        let from = self.state();
        let window = self.window.counts(now);
        self.window.clear();
        if reason == MoveReason::Manual && matches!(state, State::Closed { .. }) {
            self.doublings = 0;
        }
        self.state = state;
        self.generation += 1;
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
