//! Changes while the client runs: the policy as a whole, and single guards. Each change and its events are one
//! step under the locks.

use std::sync::Arc;

use super::ResilientClient;
use super::guards::moved_event;
use super::transport::Transport;
use crate::event::{BreakerMode, CallId, EventKind, EvictReason, Observer};
use crate::policy::breakers::Moved;
use crate::settings::{Policy, QueueOrder, SemanticMode};

impl<T: Transport, O: Observer> ResilientClient<T, O> {
    /// The current policy.
    pub fn policy(&self) -> Policy {
        self.core.lock().policy.as_ref().clone()
    }

    /// Applies another policy. Levels and stored answers are kept as far as they fit. Emits `PolicyApplied`.
    pub fn apply(&self, policy: Policy) {
        self.change(|_| policy);
    }

    /// Applies another policy but keeps the current labels of semantic hits, which may be newer than the policy.
    pub fn apply_keeping_labels(&self, mut policy: Policy) {
        self.change(|current| {
            policy.semantic.labels = current.semantic.labels;
            policy
        });
    }

    /// Applies a change to the policy as one step: a label set between reading and writing would be lost.
    fn change(&self, change: impl FnOnce(Policy) -> Policy) {
        let mut index = self.core.index();
        let mut guards = self.core.lock();
        let was_off = guards.policy.semantic.mode == SemanticMode::Off;
        let policy = change(guards.policy.as_ref().clone());
        let switched_on = was_off && policy.semantic.mode != SemanticMode::Off;
        let now = self.core.env.clock.now();
        let removed = guards.cache.configure(now, &policy.cache);
        index.set_max_entries(policy.semantic.max_entries);
        drop(index);
        guards.labels.configure(&policy.semantic.labels);
        guards.ledger.configure(now, &policy.flight);
        guards.limiter.configure(&policy.limit, now);
        let moves = guards.breakers.configure(&policy.breaker, now);
        guards.budget.configure(&policy.retry);
        self.core.observer.emit(
            None,
            EventKind::PolicyApplied {
                policy: Box::new(policy.clone()),
            },
        );
        guards.policy = Arc::new(policy);
        // the head of the queue may have its turn under the new policy
        self.core.wake_head(&mut guards, now);
        self.emit_moves(moves);
        for (reason, removed) in [
            (EvictReason::Expired, removed.expired),
            (EvictReason::Capacity, removed.evicted),
        ] {
            if removed > 0 {
                self.core.emit_evicted(&guards, reason, removed);
            }
        }
        if switched_on && guards.cache.entries() > 0 {
            let core = Arc::clone(&self.core);
            self.core.env.spawn(async move {
                core.closed.run_until_cancelled(core.index_stored()).await;
            });
        }
    }

    /// Switches the exact cache on or off. Stored answers are kept.
    pub fn switch_cache(&self, on: bool) {
        let mut guards = self.core.lock();
        let mut policy = guards.policy.as_ref().clone();
        policy.cache.enabled = on;
        guards.policy = Arc::new(policy);
        self.core.observer.emit(None, EventKind::CacheSwitched { on });
    }

    /// Sets the mode of the semantic cache. Its index is kept; where it was off, the prompts of the stored answers are
    /// indexed.
    pub fn set_semantic(&self, mode: SemanticMode) {
        self.change(|mut policy| {
            policy.semantic.mode = mode;
            policy
        });
    }

    /// Sets the order of the limiter's queue.
    pub fn set_queue_order(&self, order: QueueOrder) {
        self.change(|mut policy| {
            policy.limit.order = order;
            policy
        });
    }

    /// Labels the semantic hit of a call as good or bad. The label becomes part of the [`policy`](Self::policy),
    /// and a bad hit is removed from the cache. A call without a semantic hit emits a notice and changes nothing.
    pub fn label(&self, call: CallId, good: bool) {
        self.core.label(call, good);
    }

    /// Removes every stored answer.
    pub fn clear_cache(&self) {
        let mut index = self.core.index();
        let mut guards = self.core.lock();
        let removed = guards.cache.clear(self.core.env.clock.now());
        index.clear();
        drop(index);
        let kind = EventKind::CacheEvicted {
            reason: EvictReason::Cleared,
            removed,
            entries: 0,
            total_bytes: 0,
        };
        self.core.observer.emit(None, kind);
    }

    /// Forces the breakers of all models open or closed, or returns them to automatic.
    pub fn force_breaker(&self, mode: BreakerMode) {
        let mut guards = self.core.lock();
        let moves = guards.breakers.force(self.core.env.clock.now(), mode);
        self.core.observer.emit(None, EventKind::BreakerForced { mode });
        self.emit_moves(moves);
    }

    /// Closes the breakers of all models, clears their windows and returns them to automatic.
    pub fn reset_breaker(&self) {
        let mut guards = self.core.lock();
        let (moves, released) = guards.breakers.reset(self.core.env.clock.now());
        if released {
            let mode = BreakerMode::Automatic;
            self.core.observer.emit(None, EventKind::BreakerForced { mode });
        }
        self.emit_moves(moves);
    }

    /// Emits moves of breakers, under the lock of the guards.
    fn emit_moves(&self, moves: Vec<Moved>) {
        for moved in moves {
            self.core.observer.emit(None, moved_event(moved));
        }
    }
}
