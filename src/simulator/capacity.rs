//! The capacity of the simulated server: parallel slots and a queue. Requests above the queue get a 503, so that
//! the server slows down before it rejects, as a real one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::Capacity;

/// The slots of a server and their queue. Clones share both.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    /// First in, first out.
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    queue: usize,
}

/// A slot, released when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// A place in the queue, released when dropped.
struct QueuePlace<'a>(&'a AtomicUsize);

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    /// Creates the slots; without a capacity no request ever waits.
    pub(super) fn new(capacity: Option<Capacity>) -> Self {
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

    /// Waits for a slot; `None` if the queue is full. Cancel-safe.
    pub(super) async fn enter(&self) -> Option<Slot> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(Slot { _permit: permit });
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let place = QueuePlace(&self.waiting);
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        drop(place);
        permit.map(|permit| Slot { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_request_waits_for_a_slot_and_is_rejected_by_a_full_queue() {
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
    async fn a_cancelled_wait_frees_its_place_in_the_queue() {
        let slots = Slots::new(Some(Capacity {
            parallel: 1,
            queue: 1,
        }));
        let first = slots.enter().await;
        let mut cancelled = Box::pin(slots.enter());
        assert!((&mut cancelled).now_or_never().is_none());
        drop(cancelled);
        let mut next = Box::pin(slots.enter());
        assert!((&mut next).now_or_never().is_none());
        drop(first);
        assert!(next.await.is_some());
    }
}
