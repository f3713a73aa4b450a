//! Time, randomness and tasks, injected in one place.

use std::future::Future;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::task::TaskTracker;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::sync;
use crate::time::Clock;

/// The clock, the seed of all randomness, and the set of tasks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    /// The only source of time.
    pub clock: Clock,
    /// The seed from which every generator is derived.
    pub seed: u64,
    tasks: TaskTracker,
}

impl Env {
    /// Creates an environment without tasks.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            seed,
            tasks: TaskTracker::new(),
        }
    }

    /// Spawns a task for which [`join`](Self::join) waits. Needs a tokio runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        sync::spawn(&self.tasks, task);
    }

    /// Number of running tasks.
    pub fn running_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until every task has ended, including those that are spawned meanwhile.
    pub async fn join(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The seed of the `n`-th item of a kind. It depends on these two alone, not on the order of events.
    pub(crate) fn derive_seed(&self, kind: &str, n: u64) -> u64 {
        xxh3_64_with_seed(&n.to_le_bytes(), xxh3_64_with_seed(kind.as_bytes(), self.seed))
    }

    /// A generator with the seed of [`derive_seed`](Self::derive_seed).
    pub(crate) fn generator(&self, kind: &str, n: u64) -> StdRng {
        StdRng::seed_from_u64(self.derive_seed(kind, n))
    }
}
