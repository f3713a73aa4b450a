//! The idempotency ledger: a caller that repeats an idempotency key gets the result of its first call, not a
//! second upstream call.
//!
//! ```text
//! claim(user, key, fingerprint)
//!     nothing stored, or too old ------> New       do the work, then complete()
//!     stored, same fingerprint --------> Replay    the stored result
//!     stored, another fingerprint -----> Mismatch  422: the key was used for another request
//! ```
//!
//! After draft-ietf-httpapi-idempotency-key-header (docs/semantics.md, Idempotency), with three choices:
//!
//! - Keys are scoped by user: two tenants may use the same key.
//! - **Errors are never stored.** `V` is the type of a *result*: a key whose call failed is new again, and the
//!   caller may retry.
//! - The first result is kept. Replays are identical, so a second `complete` for a key changes nothing until the
//!   first has expired.
//!
//! A key whose call is still running is unknown here: single flight joins such calls.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use crate::event::{CallId, UserId};
use crate::settings::FlightSettings;
use crate::time::Timestamp;

/// Completed results by user and key, bounded by `replay_ttl` and `max_results` of [`FlightSettings`].
pub struct IdempotencyLedger<V> {
    ttl: Duration,
    max_results: usize,
    /// Only users with results.
    users: BTreeMap<UserId, BTreeMap<Arc<str>, StoredResult<V>>>,
    /// Oldest first, one per result: results are never replaced, only removed from the front.
    order: VecDeque<(Timestamp, UserId, Arc<str>)>,
    /// The latest time seen: callers may arrive in another order than they read the clock.
    latest: Timestamp,
}

struct StoredResult<V> {
    fingerprint: Fingerprint,
    value: V,
    stored_at: Timestamp,
}

/// Result of [`IdempotencyLedger::claim`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Claim<'a, V> {
    /// No result is stored.
    New,
    /// The result of the same request.
    Replay {
        /// The result.
        value: &'a V,
        /// Time of completion.
        stored_at: Timestamp,
    },
    /// The key belongs to another request: an error of the caller. The stored result is neither served nor
    /// overwritten.
    Mismatch,
}

impl<V> IdempotencyLedger<V> {
    /// Returns an empty ledger.
    pub fn new(settings: &FlightSettings) -> Self {
        Self {
            ttl: settings.replay_ttl,
            max_results: settings.max_results,
            users: BTreeMap::new(),
            order: VecDeque::new(),
            latest: Timestamp::ZERO,
        }
    }

    /// Adopts new limits and removes the results beyond them. A longer TTL restores no expired result.
    pub fn configure(&mut self, now: Timestamp, settings: &FlightSettings) {
        // results expired under the old TTL are removed first
        self.trim(now);
        self.ttl = settings.replay_ttl;
        self.max_results = settings.max_results;
        self.trim(now);
    }

    /// Looks up `key` of `user`.
    pub fn claim(
        &mut self,
        now: Timestamp,
        user: &UserId,
        key: &str,
        fingerprint: Fingerprint,
    ) -> Claim<'_, V> {
        self.trim(now);
        match self.users.get(user).and_then(|keys| keys.get(key)) {
            None => Claim::New,
            Some(record) if record.fingerprint != fingerprint => Claim::Mismatch,
            Some(record) => Claim::Replay {
                value: &record.value,
                stored_at: record.stored_at,
            },
        }
    }

    /// Stores the result of a successful call. Returns false if it was not stored: the key has a result, or
    /// `max_results` or the TTL is zero.
    pub fn complete(
        &mut self,
        now: Timestamp,
        user: &UserId,
        key: &str,
        fingerprint: Fingerprint,
        value: V,
    ) -> bool {
        self.trim(now);
        let known = self.users.get(user).is_some_and(|keys| keys.contains_key(key));
        if known || self.max_results == 0 || self.ttl.is_zero() {
            return false;
        }
        let key: Arc<str> = key.into();
        let record = StoredResult {
            fingerprint,
            value,
            stored_at: self.latest,
        };
        self.users
            .entry(user.clone())
            .or_default()
            .insert(Arc::clone(&key), record);
        self.order.push_back((self.latest, user.clone(), key));
        self.trim(now);
        true
    }

    /// Removes expired results, and the oldest beyond `max_results`.
    fn trim(&mut self, now: Timestamp) {
        self.latest = self.latest.max(now);
        while let Some((stored_at, ..)) = self.order.front() {
            if self.order.len() <= self.max_results && self.latest.since(*stored_at) < self.ttl {
                break;
            }
            if let Some((_, user, key)) = self.order.pop_front() {
                self.remove(&user, &key);
            }
        }
    }

    fn remove(&mut self, user: &UserId, key: &str) {
        if let Some(keys) = self.users.get_mut(user) {
            keys.remove(key);
            if keys.is_empty() {
                self.users.remove(user);
            }
        }
    }
}

impl<V> fmt::Debug for IdempotencyLedger<V> {
    /// Without keys and results.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLedger")
            .field("results", &self.order.len())
            .field("max_results", &self.max_results)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// Returns the idempotency key of a logical call, to send upstream. It is derived from the session's seed and
/// the call's id: the same for every attempt, distinct for every call, and without a time, which would differ
/// for each attempt.
///
/// Two sessions with the same seed generate the same keys: for an upstream that honours them, draw the seed at
/// random.
pub fn call_key(seed: u64, call: CallId) -> String {
    format!("seawall-{seed:016x}-{:016x}", call.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn ledger(ttl_s: u64, max_results: usize) -> IdempotencyLedger<u32> {
        IdempotencyLedger::new(&FlightSettings {
            enabled: true,
            replay_ttl: Duration::from_secs(ttl_s),
            max_results,
        })
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    #[test]
    fn a_key_is_new_then_replays_then_is_new_again() {
        let (ada, f) = (UserId::new("ada"), Fingerprint(1));
        let mut ledger = ledger(10, 8);
        assert_eq!(ledger.claim(at(0), &ada, "k", f), Claim::New);
        assert!(ledger.complete(at(1), &ada, "k", f, 7));
        assert!(!ledger.order.is_empty());
        let replay = Claim::Replay {
            value: &7,
            stored_at: at(1),
        };
        assert_eq!(ledger.claim(at(10), &ada, "k", f), replay);
        assert_eq!(ledger.claim(at(11), &ada, "k", f), Claim::New);
        assert!(ledger.order.is_empty() && ledger.users.is_empty());
    }

    #[test]
    fn a_key_used_for_another_request_is_a_mismatch_and_not_overwritten() {
        let ada = UserId::new("ada");
        let mut ledger = ledger(10, 8);
        assert!(ledger.complete(at(0), &ada, "k", Fingerprint(1), 7));
        assert_eq!(ledger.claim(at(1), &ada, "k", Fingerprint(2)), Claim::Mismatch);
        assert!(!ledger.complete(at(1), &ada, "k", Fingerprint(2), 8));
        assert!(!ledger.complete(at(1), &ada, "k", Fingerprint(1), 9));
        let replay = Claim::Replay {
            value: &7,
            stored_at: at(0),
        };
        assert_eq!(ledger.claim(at(2), &ada, "k", Fingerprint(1)), replay);
    }

    #[test]
    fn two_users_may_use_the_same_key() {
        let (ada, bob, f) = (UserId::new("ada"), UserId::new("bob"), Fingerprint(1));
        let mut ledger = ledger(10, 8);
        assert!(ledger.complete(at(0), &ada, "k", f, 7));
        assert_eq!(ledger.claim(at(1), &bob, "k", f), Claim::New);
        assert_eq!(ledger.claim(at(1), &bob, "k", Fingerprint(2)), Claim::New);
    }

    #[test]
    fn the_oldest_is_removed_first_and_limits_of_zero_store_nothing() {
        let (ada, f) = (UserId::new("ada"), Fingerprint(1));
        let mut small = ledger(10, 2);
        for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
            assert!(small.complete(at(n as u64), &ada, key, f, 0));
        }
        assert_eq!(small.order.len(), 2);
        assert_eq!(small.claim(at(3), &ada, "a", f), Claim::New);
        assert!(matches!(small.claim(at(3), &ada, "b", f), Claim::Replay { .. }));
        assert!(!ledger(10, 0).complete(at(0), &ada, "k", f, 0));
        assert!(!ledger(0, 8).complete(at(0), &ada, "k", f, 0));
        small.configure(
            at(3),
            &FlightSettings {
                max_results: 1,
                ..FlightSettings::default()
            },
        );
        assert_eq!(small.claim(at(3), &ada, "b", f), Claim::New);
        assert!(matches!(small.claim(at(3), &ada, "c", f), Claim::Replay { .. }));
    }

    #[test]
    fn a_longer_ttl_restores_no_expired_result() {
        let (ada, f) = (UserId::new("ada"), Fingerprint(1));
        let mut ledger = ledger(10, 8);
        assert!(ledger.complete(at(0), &ada, "k", f, 7));
        assert!(ledger.complete(at(5), &ada, "l", f, 8));
        ledger.configure(at(11), &FlightSettings::default());
        assert_eq!(ledger.claim(at(11), &ada, "k", f), Claim::New);
        assert!(matches!(ledger.claim(at(11), &ada, "l", f), Claim::Replay { .. }));
    }

    #[test]
    fn debug_shows_limits_and_neither_key_nor_result() {
        let mut ledger = ledger(10, 8);
        assert!(ledger.complete(at(0), &UserId::new("ada"), "k", Fingerprint(1), 424_242));
        assert_eq!(
            format!("{ledger:?}"),
            "IdempotencyLedger { results: 1, max_results: 8, ttl: 10s, .. }"
        );
    }

    #[test]
    fn call_keys_are_constant_for_a_call() {
        let key = call_key(7, CallId(12));
        assert_eq!(key, "seawall-0000000000000007-000000000000000c");
        assert_eq!(key, call_key(7, CallId(12)));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Claim(u8, u8, u8),
        Complete(u8, u8, u8),
    }

    fn op() -> impl Strategy<Value = Op> {
        let names = (0..3u8, 0..4u8, 0..2u8);
        prop_oneof![
            names.clone().prop_map(|(u, k, f)| Op::Claim(u, k, f)),
            names.prop_map(|(u, k, f)| Op::Complete(u, k, f)),
        ]
    }

    /// A result in the model: user, key, fingerprint, when, value.
    type Row = (u8, u8, u8, u64, u32);

    proptest! {
        /// Compares with a list of rows, searched from end to end.
        #[test]
        fn agrees_with_a_plain_list(
            ops in prop::collection::vec((op(), 0..5u64), 1..80), ttl in 0..12u64, max in 0..6usize,
        ) {
            let mut ledger = ledger(ttl, max);
            let mut rows: Vec<Row> = Vec::new();
            let mut now = 0;
            for (n, (op, step)) in ops.into_iter().enumerate() {
                now += step;
                rows.retain(|row| now - row.3 < ttl);
                let value = n as u32;
                match op {
                    Op::Claim(u, k, f) => {
                        let expected = match rows.iter().find(|row| (row.0, row.1) == (u, k)) {
                            None => Claim::New,
                            Some(row) if row.2 != f => Claim::Mismatch,
                            Some(row) => Claim::Replay { value: &row.4, stored_at: at(row.3) },
                        };
                        let user = UserId::new(&u.to_string());
                        let claim = ledger.claim(at(now), &user, &k.to_string(), Fingerprint(f.into()));
                        prop_assert_eq!(claim, expected);
                    }
                    Op::Complete(u, k, f) => {
                        let fresh = !rows.iter().any(|row| (row.0, row.1) == (u, k)) && max > 0 && ttl > 0;
                        if fresh {
                            rows.push((u, k, f, now, value));
                        }
                        if rows.len() > max {
                            rows.remove(0);
                        }
                        let user = UserId::new(&u.to_string());
                        let stored = ledger.complete(at(now), &user, &k.to_string(), Fingerprint(f.into()), value);
                        prop_assert_eq!(stored, fresh);
                    }
                }
                prop_assert_eq!(ledger.order.len(), rows.len());
                prop_assert!(ledger.order.len() <= max);
                let users: BTreeSet<u8> = rows.iter().map(|row| row.0).collect();
                prop_assert_eq!(ledger.users.len(), users.len());
            }
        }

        #[test]
        fn call_keys_are_unique(a in any::<(u64, u64)>(), b in any::<(u64, u64)>()) {
            prop_assert_eq!(call_key(a.0, CallId(a.1)) == call_key(b.0, CallId(b.1)), a == b);
        }
    }
}
