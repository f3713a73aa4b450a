//! Ghosts: fingerprints of removed entries, with the reason of their removal.
//!
//! Bounded by forgetting the oldest removal. Holds neither keys nor answers: a collision can at worst give a
//! miss the wrong reason.

use std::collections::{BTreeMap, VecDeque};

use crate::event::MissReason;
use crate::policy::fingerprint::Fingerprint;

/// Number of removals that are remembered: about 200 KiB when full.
pub(super) const CAPACITY: usize = 4096;

/// The last [`CAPACITY`] removals. A request that is stored again may stay: its reason is read only after its next
/// removal, which replaces it.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    reasons: BTreeMap<Fingerprint, (u64, MissReason)>,
    /// All removals, oldest first; one that does not match `reasons` was repeated later.
    order: VecDeque<(u64, Fingerprint)>,
    removals: u64,
}

impl Ghosts {
    pub(super) fn remember(&mut self, fingerprint: Fingerprint, reason: MissReason) {
        self.removals += 1;
        self.reasons.insert(fingerprint, (self.removals, reason));
        self.order.push_back((self.removals, fingerprint));
        if self.order.len() > CAPACITY {
            self.forget_oldest();
        }
    }

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
    fn a_repeated_removal_outlives_the_first() {
        let mut ghosts = Ghosts::default();
        ghosts.remember(Fingerprint(0), MissReason::Evicted);
        ghosts.remember(Fingerprint(0), MissReason::Expired);
        for n in 1..CAPACITY as u128 {
            ghosts.remember(Fingerprint(n), MissReason::Evicted);
        }
        assert_eq!(ghosts.reason(Fingerprint(0)), MissReason::Expired);
    }
}
