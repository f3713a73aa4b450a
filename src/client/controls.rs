//! What a person changes while the client runs: the settings as a whole, and the switches of single guards. Each
//! change and its events are made in one step, under the locks.

use std::sync::Arc;

use super::ResilientClient;
use super::guards::moved;
use super::transport::Transport;
use crate::event::{BreakerMode, CallId, EventKind, EvictReason, Observer};
use crate::settings::{Policy, QueueOrder, SemanticMode};

impl<T: Transport, O: Observer> ResilientClient<T, O> {
    /// The settings in force.
    pub fn policy(&self) -> Policy {
        self.core.lock().policy.as_ref().clone()
    }

    /// Takes other settings. Levels and stored answers stay, as far as they fit.
    pub fn apply(&self, policy: Policy) {
        self.change(|_| policy);
    }

    /// Takes other settings that were written with these in view: what people said of semantic hits meanwhile stays.
    pub fn take(&self, policy: Policy) {
        self.change(|now| {
            let mut policy = policy;
            policy.semantic.labels = now.semantic.labels;
            policy
        });
    }

    /// Takes what `change` makes of the settings, in one step: between reading and writing them a label would get
    /// lost.
    fn change(&self, change: impl FnOnce(Policy) -> Policy) {
        let mut index = self.core.index();
        let mut guards = self.core.lock();
        let policy = change(guards.policy.as_ref().clone());
        let now = self.core.env.clock.now();
        let removed = guards.cache.configure(now, &policy.cache);
        index.configure(policy.semantic.max_entries);
        drop(index);
        guards.labels.configure(&policy.semantic.labels);
        guards.ledger.configure(now, &policy.flight);
        guards.limiter.configure(&policy.limit, now);
        let step = guards.breaker.configure(&policy.breaker, now);
        guards.budget.configure(&policy.retry);
        self.core.observer.emit(
            None,
            EventKind::PolicyApplied {
                policy: Box::new(policy.clone()),
            },
        );
        guards.policy = Arc::new(policy);
        // what the head of the queue waits for may be there under these settings
        guards.wake_head(now);
        if let Some(step) = step {
            self.core.observer.emit(None, moved(step));
        }
        for (reason, removed) in [
            (EvictReason::Expired, removed.expired),
            (EvictReason::Capacity, removed.evicted),
        ] {
            if removed > 0 {
                self.core.note_evicted(&guards, reason, removed);
            }
        }
    }

    /// Switches the cache on or off. What is stored stays.
    pub fn switch_cache(&self, on: bool) {
        let mut guards = self.core.lock();
        let mut policy = guards.policy.as_ref().clone();
        policy.cache.enabled = on;
        guards.policy = Arc::new(policy);
        self.core.observer.emit(None, EventKind::CacheSwitched { on });
    }

    /// Switches the semantic cache. What is in its index stays.
    pub fn set_semantic(&self, mode: SemanticMode) {
        self.change(|mut policy| {
            policy.semantic.mode = mode;
            policy
        });
    }

    /// Lets the limiter's queue go by turns or by arrival.
    pub fn set_queue_order(&self, order: QueueOrder) {
        self.change(|mut policy| {
            policy.limit.order = order;
            policy
        });
    }

    /// Takes what a person says of a semantic hit: it is written into the settings (see [`policy`](Self::policy)),
    /// and the answer of a bad one is removed. Where there is nothing to label, that is told, and nothing happens.
    pub fn label(&self, call: CallId, good: bool) {
        self.core.label(call, good);
    }

    /// Forgets every stored answer.
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

    /// Forces the breaker open or closed, or lets it decide again.
    pub fn force_breaker(&self, mode: BreakerMode) {
        let mut guards = self.core.lock();
        let step = guards.breaker.force(self.core.env.clock.now(), mode);
        self.core.observer.emit(None, EventKind::BreakerForced { mode });
        if let Some(step) = step {
            self.core.observer.emit(None, moved(step));
        }
    }

    /// Closes the breaker and forgets its window.
    pub fn reset_breaker(&self) {
        let mut guards = self.core.lock();
        let reset = guards.breaker.reset(self.core.env.clock.now());
        if reset.released {
            self.core.observer.emit(
                None,
                EventKind::BreakerForced {
                    mode: BreakerMode::Automatic,
                },
            );
        }
        self.core.observer.emit(None, moved(reset.transition));
    }
}
