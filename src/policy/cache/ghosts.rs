//! What a miss remembers: the fingerprints of entries that are gone, and why they went.
//!
//! Bounded by forgetting the oldest removal. Holds no keys and no answers, so a collision here can at worst
//! give a miss the wrong reason.

use std::collections::{BTreeMap, VecDeque};

use crate::event::MissReason;
use crate::policy::fingerprint::Fingerprint;

/// How many removals are remembered: about 200 KiB when full.
pub(super) const CAPACITY: usize = 4096;

/// The last [`CAPACITY`] removals. One that is stored again may stay: it is asked about only after the next
/// removal, which then counts.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    reasons: BTreeMap<Fingerprint, (u64, MissReason)>,
    /// Every removal, oldest first; one that no longer matches `reasons` happened again later.
    order: VecDeque<(u64, Fingerprint)>,
    removals: u64,
}

impl Ghosts {
    /// Takes note of a removal.
    pub(super) fn remember(&mut self, fingerprint: Fingerprint, reason: MissReason) {
        self.removals += 1;
        self.reasons.insert(fingerprint, (self.removals, reason));
        self.order.push_back((self.removals, fingerprint));
        if self.order.len() > CAPACITY {
            self.forget_oldest();
        }
    }

    /// Why there is nothing.
    pub(super) fn reason(&self, fingerprint: Fingerprint) -> MissReason {
        self.reasons
            .get(&fingerprint)
            .map_or(MissReason::NeverSeen, |&(_, reason)| reason)
    }

    fn forget_oldest(&mut self) {
        if let Some((removal, fingerprint)) = self.order.pop_front()
            && self
                .reasons
                .get(&fingerprint)
                .is_some_and(|&(latest, _)| latest == removal)
        {
            self.reasons.remove(&fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_removal_is_forgotten_first_and_memory_stays_bounded() {
        let mut ghosts = Ghosts::default();
        for n in 0..CAPACITY as u128 {
            ghosts.remember(Fingerprint(n), MissReason::Evicted);
        }
        assert_eq!(ghosts.reason(Fingerprint(0)), MissReason::Evicted);
        ghosts.remember(Fingerprint(9999), MissReason::Expired);
        assert_eq!(ghosts.reason(Fingerprint(0)), MissReason::NeverSeen);
        assert_eq!(ghosts.reason(Fingerprint(1)), MissReason::Evicted);
        assert_eq!(ghosts.reason(Fingerprint(9999)), MissReason::Expired);
        for _ in 0..3 * CAPACITY {
            ghosts.remember(Fingerprint(5), MissReason::Evicted);
        }
        assert_eq!((ghosts.order.len(), ghosts.reasons.len()), (CAPACITY, 1));
    }

    #[test]
    fn a_repeated_removal_outlives_its_first_note() {
        let mut ghosts = Ghosts::default();
        ghosts.remember(Fingerprint(0), MissReason::Evicted);
        ghosts.remember(Fingerprint(0), MissReason::Expired);
        for n in 1..CAPACITY as u128 {
            ghosts.remember(Fingerprint(n), MissReason::Evicted);
        }
        assert_eq!(ghosts.reason(Fingerprint(0)), MissReason::Expired);
    }
}
