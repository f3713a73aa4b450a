//! The wait before the next attempt if the server names none.
//!
//! `v = base * 2^n` for n from 0, spread by [`Jitter`]:
//!
//! | jitter | delay | source |
//! |---|---|---|
//! | full | `U(0, min(cap, v))` | AWS Architecture Blog, "Exponential Backoff And Jitter": "full jitter" |
//! | equal | `w/2 + U(0, w/2)`, `w = min(cap, v)` | the same: "equal jitter" |
//! | proportional | `min(cap, v + 0.3 * U(0, v))` | exercise 07, `withRetry` |
//! | none | `min(cap, v)` | for comparison |
//!
//! Full and equal draw **after** the clamp. The exercise clamps after the draw: once `v` reaches the cap, all
//! callers wait exactly the cap and collide again. It is kept to demonstrate that.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::settings::{Jitter, RetrySettings};
use crate::time::saturating_nanos;

/// The waits of one call, an infinite iterator. The same seed gives the same waits.
#[derive(Debug)]
pub struct Backoff {
    base: u64,
    cap: u64,
    jitter: Jitter,
    /// Waits drawn so far.
    drawn: u32,
    rng: StdRng,
}

impl Backoff {
    /// Waits that start at `base` and double up to `cap`. Arithmetic saturates.
    pub fn new(base: Duration, cap: Duration, jitter: Jitter, seed: u64) -> Self {
        Self {
            base: saturating_nanos(base),
            cap: saturating_nanos(cap),
            jitter,
            drawn: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Waits as configured by `base`, `cap` and `jitter`.
    pub fn from_settings(settings: &RetrySettings, seed: u64) -> Self {
        Self::new(settings.base, settings.cap, settings.jitter, seed)
    }

    /// `base * 2^n`, before the clamp.
    fn raw(&self) -> u64 {
        let factor = 1_u64.checked_shl(self.drawn).unwrap_or(u64::MAX);
        self.base.saturating_mul(factor)
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let raw = self.raw();
        let clamped = raw.min(self.cap);
        self.drawn = self.drawn.saturating_add(1);
        let delay = match self.jitter {
            Jitter::Full => self.rng.random_range(0..=clamped),
            Jitter::Equal => {
                let half = clamped / 2;
                half + self.rng.random_range(0..=clamped - half)
            }
            Jitter::Proportional => {
                let spread = three_tenths(self.rng.random_range(0..=raw));
                raw.saturating_add(spread).min(self.cap)
            }
            Jitter::None => clamped,
        };
        Some(Duration::from_nanos(delay))
    }
}

/// 0.3 of a number, without overflow.
fn three_tenths(nanos: u64) -> u64 {
    let share = u128::from(nanos) * 3 / 10;
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Duration = Duration::from_millis(500);
    const CAP: Duration = Duration::from_secs(8);

    impl Backoff {
        /// Upper bound of the next wait: `min(cap, v)`; for proportional `min(cap, 1.3 * v)`.
        fn ceiling(&self) -> Duration {
            let raw = self.raw();
            let top = match self.jitter {
                Jitter::Full | Jitter::Equal | Jitter::None => raw,
                Jitter::Proportional => raw.saturating_add(three_tenths(raw)),
            };
            Duration::from_nanos(top.min(self.cap))
        }
    }

    fn delays(jitter: Jitter, seed: u64, count: usize) -> Vec<Duration> {
        Backoff::new(BASE, CAP, jitter, seed).take(count).collect()
    }

    #[test]
    fn without_jitter_the_wait_doubles_up_to_the_cap() {
        let millis: Vec<u128> = delays(Jitter::None, 0, 7)
            .iter()
            .map(Duration::as_millis)
            .collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        assert_eq!(delays(Jitter::Full, 7, 20), delays(Jitter::Full, 7, 20));
        assert_ne!(delays(Jitter::Full, 7, 20), delays(Jitter::Full, 8, 20));
    }

    #[test]
    fn at_the_cap_the_exercise_does_not_spread_and_full_jitter_does() {
        let sixth = |jitter, seed| delays(jitter, seed, 6).pop().unwrap();
        let collisions: Vec<Duration> = (0..50).map(|seed| sixth(Jitter::Proportional, seed)).collect();
        assert_eq!(collisions, vec![CAP; 50]);
        let mut spread: Vec<Duration> = (0..50).map(|seed| sixth(Jitter::Full, seed)).collect();
        spread.sort();
        spread.dedup();
        assert_eq!(spread.len(), 50);
        assert!(spread.first().unwrap() < &(CAP / 4) && spread.last().unwrap() > &(CAP / 4 * 3));
    }

    #[test]
    fn the_mean_of_full_jitter_is_half_the_ceiling() {
        let sum: Duration = (0..2000).map(|seed| delays(Jitter::Full, seed, 1)[0]).sum();
        let mean = sum / 2000;
        assert!(mean > BASE * 45 / 100 && mean < BASE * 55 / 100, "{mean:?}");
    }

    #[test]
    fn each_jitter_covers_its_range() {
        // (jitter, range of the third wait in ms), v = 2 s
        for (jitter, from, to) in [
            (Jitter::Full, 0, 2000),
            (Jitter::Equal, 1000, 2000),
            (Jitter::Proportional, 2000, 2600),
            (Jitter::None, 2000, 2000),
        ] {
            let mut backoff = Backoff::new(BASE, CAP, jitter, 0);
            let _earlier = (backoff.next(), backoff.next());
            assert_eq!(backoff.ceiling(), Duration::from_millis(to), "{jitter:?}");
            let thirds: Vec<u128> = (0..1000)
                .map(|seed| delays(jitter, seed, 3)[2].as_millis())
                .collect();
            let (least, most) = (*thirds.iter().min().unwrap(), *thirds.iter().max().unwrap());
            let to = u128::from(to);
            assert!((from..=from + 20).contains(&least), "{jitter:?}: {least} ms");
            assert!((to - 20..=to).contains(&most), "{jitter:?}: {most} ms");
        }
    }

    proptest! {
        #[test]
        fn every_wait_is_within_its_range(
            base in any::<u64>(), cap in any::<u64>(), seed in any::<u64>(),
            jitter in prop::sample::select(vec![Jitter::Full, Jitter::Equal, Jitter::Proportional, Jitter::None]),
        ) {
            let mut backoff = Backoff::new(Duration::from_nanos(base), Duration::from_nanos(cap), jitter, seed);
            for n in 0..100_u32 {
                let raw = u128::from(base).saturating_mul(1 << n.min(70));
                let clamped = raw.min(u128::from(cap));
                let ceiling = backoff.ceiling().as_nanos();
                let delay = backoff.next().unwrap().as_nanos();
                prop_assert!(delay <= ceiling && ceiling <= u128::from(cap));
                match jitter {
                    Jitter::Full => prop_assert!(delay <= clamped),
                    Jitter::Equal => prop_assert!(delay >= clamped / 2 && delay <= clamped),
                    Jitter::Proportional => prop_assert!(delay >= clamped),
                    Jitter::None => prop_assert_eq!(delay, clamped),
                }
            }
        }
    }
}
