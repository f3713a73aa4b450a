//! Time as a value. Only this file reads a clock.
//!
//! A [`Timestamp`] counts nanoseconds since the session started: unlike `Instant` it can be serialised, replayed
//! and compared. The [`Clock`] reads tokio's clock, so a current-thread runtime with a paused clock runs in
//! virtual time.

mod date;

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

pub use date::Utc;
use serde::{Deserialize, Serialize};

/// Nanoseconds since the session started. Monotonic; arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The start of the session.
    pub const ZERO: Self = Self(0);
    /// The latest timestamp.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `seconds` after the start; negative and NaN count as zero.
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1e9) as u64)
    }

    /// Seconds since the start.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Returns the time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time from `self` to `later`; zero if `later` is earlier.
    pub fn until(self, later: Self) -> Duration {
        later.since(self)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(rhs)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(rhs)))
    }
}

impl fmt::Display for Timestamp {
    /// Seconds with milliseconds: `42.108`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.as_secs_f64())
    }
}

/// Returns a duration in whole nanoseconds, at most `u64::MAX` (584 years).
pub fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Tokio's timer wheel holds about two years. A sleep longer than this never ends.
const YEAR: Duration = Duration::from_hours(24 * 365);
/// A timer on a machine that is awake is never later than this.
const MAX_LATENESS: Duration = Duration::from_secs(1);

/// The only source of time. Clones share one start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// A clock that reads zero now.
    pub fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the file that may read a clock")]
        let start = tokio::time::Instant::now();
        Self { start }
    }

    /// The time since the session started.
    pub fn now(&self) -> Timestamp {
        Timestamp(saturating_nanos(self.start.elapsed()))
    }

    /// Sleeps until the clock reads `at`; returns at once if it has passed.
    pub async fn sleep_until(&self, at: Timestamp) {
        match self.start.checked_add(Duration::from_nanos(at.0)) {
            // within the first year the clock need not be read: a stream sleeps once per token
            Some(instant) if at < Timestamp::ZERO + YEAR || self.now().until(at) < YEAR => {
                tokio::time::sleep_until(instant).await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Returns true if a timer due at `due` is more than a second late at `now`: the machine was suspended. A
    /// latency measured across such a gap says nothing about the upstream.
    pub fn overslept(due: Timestamp, now: Timestamp) -> bool {
        now.since(due) > MAX_LATENESS
    }

    /// Sleeps for `duration` from now.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Advances the clock at once, as after a suspend: nothing runs in between, and timers that fell due fire now.
    ///
    /// # Panics
    /// Panics unless the runtime's clock is paused.
    pub async fn skip(&self, gap: Duration) {
        tokio::time::advance(gap).await;
    }
}

/// Returns the wall time in seconds since the Unix epoch, for `created` fields and file names, never for
/// intervals.
pub fn unix_seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the file that may read a clock")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Serde form of a [`Duration`] inside events: whole nanoseconds.
pub mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes nanoseconds.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(super::saturating_nanos(*duration))
    }

    /// Reads nanoseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}

/// Serde form of an optional [`Duration`] inside events: whole nanoseconds or null.
pub mod nanos_option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes nanoseconds or null.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(super::saturating_nanos).serialize(serializer)
    }

    /// Reads nanoseconds or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp(5) - Duration::from_nanos(9), Timestamp::ZERO);
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_runtime_runs_in_virtual_time() {
        let clock = Clock::start();
        clock.sleep(Duration::from_hours(1)).await;
        assert_eq!(clock.now().since(Timestamp::ZERO).as_secs(), 3600);
    }
}
