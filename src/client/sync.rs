//! The client's locks and tasks: the standard library's and tokio's, and nothing else where the crate is used.
//!
//! In the crate's own tests they can also be shuttle's. There every lock and every await is a place where
//! another thread may be let in, and the scheduler that decides it can be told to try thousands of ways: see
//! `tests/schedules.rs`.

#[cfg(not(test))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(test)]
pub(super) use explored::{Exploration, Mutex, MutexGuard};

use std::future::Future;

use tokio_util::task::TaskTracker;

/// Starts a task that `tasks` counts until it has ended.
pub(super) fn spawn(tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
    #[cfg(test)]
    if explored::is_explored() {
        drop(shuttle::future::spawn(tasks.track_future(task)));
        return;
    }
    drop(tasks.spawn(task));
}

#[cfg(test)]
mod explored {
    use std::cell::Cell;
    use std::ops::{Deref, DerefMut};
    use std::sync::{LockResult, PoisonError};

    thread_local! {
        // shuttle runs all its threads as coroutines on the one that started it
        static EXPLORED: Cell<bool> = const { Cell::new(false) };
    }

    /// Whether shuttle decides here who runs next.
    pub(super) fn is_explored() -> bool {
        EXPLORED.get()
    }

    /// While it lives, the locks that are made and the tasks that are started on this thread are shuttle's.
    pub(in crate::client) struct Exploration(());

    impl Exploration {
        pub(in crate::client) fn begin() -> Self {
            EXPLORED.set(true);
            Self(())
        }
    }

    impl Drop for Exploration {
        fn drop(&mut self) {
            EXPLORED.set(false);
        }
    }

    /// A lock of the standard library. Where schedules are explored it has a gate, at which threads wait their
    /// turn: the lock itself is always free there.
    #[derive(Debug)]
    pub(in crate::client) struct Mutex<T> {
        gate: Option<shuttle::sync::Mutex<()>>,
        inner: std::sync::Mutex<T>,
    }

    impl<T> Mutex<T> {
        pub(in crate::client) fn new(value: T) -> Self {
            Self {
                gate: is_explored().then(shuttle::sync::Mutex::default),
                inner: std::sync::Mutex::new(value),
            }
        }

        pub(in crate::client) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            let gate = self.gate.as_ref();
            let gate = gate.map(|gate| gate.lock().unwrap_or_else(PoisonError::into_inner));
            match self.inner.lock() {
                Ok(inner) => Ok(MutexGuard { inner, _gate: gate }),
                Err(poisoned) => Err(PoisonError::new(MutexGuard {
                    inner: poisoned.into_inner(),
                    _gate: gate,
                })),
            }
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    /// Opens the lock first and the gate second: the order of the fields.
    pub(in crate::client) struct MutexGuard<'a, T> {
        inner: std::sync::MutexGuard<'a, T>,
        _gate: Option<shuttle::sync::MutexGuard<'a, ()>>,
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.inner
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.inner
        }
    }
}
