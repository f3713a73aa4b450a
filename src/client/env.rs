//! Everything that is not deterministic, injected once.

use std::future::Future;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::task::TaskTracker;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::sync;
use crate::time::Clock;

/// The clock, the seed from which every call derives its own generator, and the set of tasks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    /// The only source of time.
    pub clock: Clock,
    /// The seed of everything random.
    pub seed: u64,
    tasks: TaskTracker,
}

impl Env {
    /// An environment that starts now.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            seed,
            tasks: TaskTracker::new(),
        }
    }

    /// Starts a task that is waited for at the end.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        sync::spawn(&self.tasks, task);
    }

    /// Tasks that run now.
    pub fn running_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until every task has ended. Tasks may still start others until then.
    pub async fn join(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A seed of its own for the `n`-th thing of a kind: the order in which things happen does not matter.
    pub fn derive_seed(&self, kind: &str, n: u64) -> u64 {
        xxh3_64_with_seed(&n.to_le_bytes(), xxh3_64_with_seed(kind.as_bytes(), self.seed))
    }

    /// A generator of its own for the `n`-th thing of a kind.
    pub fn generator(&self, kind: &str, n: u64) -> StdRng {
        StdRng::seed_from_u64(self.derive_seed(kind, n))
    }
}
