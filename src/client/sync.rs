//! The client's locks and tasks: those of the standard library and tokio.
//!
//! In the crate's own tests they can also be shuttle's. There every lock and every await may switch to another
//! thread, and the scheduler explores thousands of such schedules: see `tests/schedules.rs`.

#[cfg(not(test))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(test)]
pub(super) use explored::{Exploration, Mutex, MutexGuard};

use std::future::Future;

use tokio_util::task::TaskTracker;

/// Returns true if a task can be spawned from this thread.
pub(super) fn can_spawn() -> bool {
    #[cfg(test)]
    if explored::is_explored() {
        return true;
    }
    tokio::runtime::Handle::try_current().is_ok()
}

/// Spawns a task that `tasks` counts until it has ended.
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
    use std::sync::atomic::Ordering;
    use std::sync::{LockResult, PoisonError};

    use shuttle::sync::atomic::AtomicBool;

    thread_local! {
        // shuttle runs all its threads as coroutines on the one that started it
        static EXPLORED: Cell<bool> = const { Cell::new(false) };
    }

    /// Returns true if shuttle schedules this thread.
    pub(super) fn is_explored() -> bool {
        EXPLORED.get()
    }

    /// While it lives, locks and tasks that this thread creates are shuttle's.
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

    /// A lock of the standard library. Where schedules are explored, threads wait at a gate in front of it, so the
    /// lock itself is always free.
    #[derive(Debug)]
    pub(in crate::client) struct Mutex<T> {
        gate: Option<Gate>,
        inner: std::sync::Mutex<T>,
    }

    #[derive(Debug, Default)]
    struct Gate {
        way_in: shuttle::sync::Mutex<()>,
        way_out: AtomicBool,
    }

    /// Switches threads when it is dropped: the code after an unlock is often tokio's, which never switches.
    struct WayOut<'a>(&'a AtomicBool);

    impl Drop for WayOut<'_> {
        fn drop(&mut self) {
            self.0.load(Ordering::SeqCst);
        }
    }

    impl<T> Mutex<T> {
        pub(in crate::client) fn new(value: T) -> Self {
            Self {
                gate: is_explored().then(Gate::default),
                inner: std::sync::Mutex::new(value),
            }
        }

        pub(in crate::client) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            let way_in = self.gate.as_ref().map(|gate| {
                let way_in = &gate.way_in;
                way_in.lock().unwrap_or_else(PoisonError::into_inner)
            });
            let way_out = self.gate.as_ref().map(|gate| WayOut(&gate.way_out));
            let guard = |inner| MutexGuard {
                inner,
                _way_in: way_in,
                _way_out: way_out,
            };
            match self.inner.lock() {
                Ok(inner) => Ok(guard(inner)),
                Err(poisoned) => Err(PoisonError::new(guard(poisoned.into_inner()))),
            }
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    /// The order of the fields matters: unlock, open the gate, switch threads.
    pub(in crate::client) struct MutexGuard<'a, T> {
        inner: std::sync::MutexGuard<'a, T>,
        _way_in: Option<shuttle::sync::MutexGuard<'a, ()>>,
        _way_out: Option<WayOut<'a>>,
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
