//! Counts of fates and of what running calls do.

use std::collections::VecDeque;

use super::{Burst, Doing, FateCounts};
use crate::event::{Fate, Origin};

impl FateCounts {
    /// A running call does something else now.
    pub(super) fn moved(&mut self, before: &Doing, after: &Doing) {
        if let Some(count) = self.doing(before) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.doing(after) {
            *count += 1;
        }
    }

    /// A call ended; it has `moved` to [`Doing::Ended`] before.
    pub(super) fn ended_as(&mut self, fate: Fate) {
        if let Some(count) = self.ended.get_mut(fate as usize) {
            *count += 1;
        }
    }

    fn doing(&mut self, doing: &Doing) -> Option<&mut u64> {
        match doing {
            Doing::Queued => Some(&mut self.queued),
            Doing::Waiting => Some(&mut self.waiting),
            Doing::Streaming => Some(&mut self.streaming),
            Doing::BackingOff { .. } => Some(&mut self.backing_off),
            Doing::Following { .. } => Some(&mut self.following),
            Doing::Starting | Doing::Ended => None,
        }
    }
}

/// The counts of the burst that a call of this origin belongs to, if it is remembered.
pub(super) fn of_burst(bursts: &mut VecDeque<Burst>, origin: Origin) -> Option<&mut FateCounts> {
    let Origin::Burst { burst } = origin else {
        return None;
    };
    let its = bursts.iter_mut().rfind(|one| one.burst == burst)?;
    Some(&mut its.counts)
}
