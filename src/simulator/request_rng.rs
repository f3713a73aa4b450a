//! Randomness per request: each has a generator of its own, so that results do not depend on interleaving.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::settings::{FaultKind, FaultProfile, LatencyProfile, Range};

/// The random generator of one request.
#[derive(Debug)]
pub(super) struct RequestRng {
    rng: StdRng,
}

impl RequestRng {
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(xxh3_64_with_seed(&number.to_le_bytes(), seed)),
        }
    }

    /// Draws the fault of the request, if any: one draw over the sum of the rates. It is drawn even without a
    /// profile, so that switching faults on does not change later draws.
    pub(super) fn fault(&mut self, profile: Option<&FaultProfile>) -> Option<FaultKind> {
        let mut point: f64 = self.rng.random();
        let profile = profile?;
        FaultKind::ALL.into_iter().find(|kind| {
            point -= profile.rate(*kind);
            point < 0.0
        })
    }

    /// Draws the time to the first token.
    pub(super) fn first_token(&mut self, pace: &LatencyProfile) -> Duration {
        self.within(pace.first_token)
    }

    /// Draws the time to the next token.
    pub(super) fn next_token(&mut self, pace: &LatencyProfile) -> Duration {
        self.within(pace.between_tokens)
    }

    /// Draws microseconds, because whole milliseconds would show as a rhythm.
    fn within(&mut self, range: Range) -> Duration {
        let min = range.min_ms.saturating_mul(1000);
        let max = range.max_ms.saturating_mul(1000).max(min);
        Duration::from_micros(self.rng.random_range(min..=max))
    }

    /// Draws 1 to 7 bytes, few enough to split events and characters.
    pub(super) fn drip_bytes(&mut self) -> usize {
        self.rng.random_range(1..=7)
    }

    /// Draws an id in llama-server's format: `chatcmpl-` and 32 letters and digits.
    pub(super) fn id(&mut self) -> String {
        let letters = (0..32).map(|_| char::from(self.rng.sample(rand::distr::Alphanumeric)));
        std::iter::once("chatcmpl-".to_owned())
            .chain(letters.map(String::from))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_at_rate_one_always_hits_and_at_zero_never() {
        for kind in FaultKind::ALL {
            let mut profile = FaultProfile::default();
            profile.set_rate(kind, 1.0);
            for number in 0..50 {
                assert_eq!(RequestRng::new(7, number).fault(Some(&profile)), Some(kind));
                assert_eq!(
                    RequestRng::new(7, number).fault(Some(&FaultProfile::default())),
                    None
                );
            }
        }
    }

    #[test]
    fn frequencies_match_the_rates() {
        let profile = crate::settings::file::load_faults("mixed").unwrap();
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..10_000 {
            if let Some(kind) = RequestRng::new(3, number).fault(Some(&profile)) {
                *counts.entry(kind).or_insert(0_u32) += 1;
            }
        }
        for kind in FaultKind::ALL {
            let seen = f64::from(counts.get(&kind).copied().unwrap_or(0)) / 10_000.0;
            // the largest rate here has six standard deviations of 0.021
            assert!((seen - profile.rate(kind)).abs() < 0.02, "{kind:?}: {seen}");
        }
    }

    #[test]
    fn waits_stay_within_their_range_even_if_it_is_reversed() {
        let mut rng = RequestRng::new(1, 1);
        let reversed = Range { min_ms: 5, max_ms: 2 };
        assert_eq!(rng.within(reversed), Duration::from_millis(5));
        for _ in 0..100 {
            let wait = rng.within(Range { min_ms: 2, max_ms: 5 });
            assert!((Duration::from_millis(2)..=Duration::from_millis(5)).contains(&wait));
        }
    }
}
