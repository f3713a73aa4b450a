//! How much the simulated server can do at a time. What comes above that waits in its queue, and what comes
//! above the queue is told that the server is overloaded: as a real one, it gets slow before it says no.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::Capacity;

/// The slots of a server and the queue in front of them. A handle: clones share both.
#[derive(Clone, Debug)]
pub struct Slots {
    /// Fair: first come, first served.
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    queue: usize,
}

/// A slot, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// Somebody in the queue. Dropped when it leaves, with a slot or without.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    /// A server without bounds has so many slots that nobody ever waits.
    pub fn new(capacity: Option<Capacity>) -> Self {
        let (parallel, queue) = match capacity {
            Some(Capacity { parallel, queue }) => (parallel as usize, queue as usize),
            None => (Semaphore::MAX_PERMITS, 0),
        };
        Self {
            free: Arc::new(Semaphore::new(parallel)),
            waiting: Arc::default(),
            queue,
        }
    }

    /// Waits for a slot; nothing if the queue is full. Cancel-safe.
    pub async fn enter(&self) -> Option<Slot> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(Slot { _permit: permit });
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let waiting = Waiting(&self.waiting);
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        drop(waiting);
        permit.map(|permit| Slot { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_slot_waits_and_who_finds_no_place_is_turned_away() {
        let slots = Slots::new(Some(Capacity {
            parallel: 1,
            queue: 1,
        }));
        let first = slots.enter().await;
        assert!(first.is_some());
        let mut second = Box::pin(slots.enter());
        assert!((&mut second).now_or_never().is_none());
        assert!(slots.enter().await.is_none());
        drop(first);
        let second = second.await;
        assert!(second.is_some());
        drop(second);
        assert!(slots.enter().await.is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_its_place() {
        let slots = Slots::new(Some(Capacity {
            parallel: 1,
            queue: 1,
        }));
        let first = slots.enter().await;
        let mut gone = Box::pin(slots.enter());
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        let mut next = Box::pin(slots.enter());
        assert!((&mut next).now_or_never().is_none());
        drop(first);
        assert!(next.await.is_some());
    }
}
