//! The exact prompt cache: whole answers, found by the whole request.
//!
//! An entry leaves in one of four ways, and each is counted once:
//!
//! ```text
//!            put             age >= ttl
//!  (nothing) ---> stored ------------------> expired    any operation, oldest first
//!                   |  \---- no room ------> evicted    put, configure: SIEVE
//!                   |  \---- same key ------> replaced  put
//!                   \------- clear --------> cleared
//! ```
//!
//! **One queue for age and for eviction.** Every entry gets a version, one more than the last. With one TTL
//! for all, the order of versions is the order of storing *and* the order of expiry, so the expired entries
//! are always a prefix: each operation first removes it, and after that nothing expired is left to be served.
//! A version names one stored answer: neither the index nor the hand can mistake a newer answer for it.
//!
//! **SIEVE, not LRU** (Zhang et al., "SIEVE is Simpler than LRU: an Efficient Turn-Key Eviction Algorithm for
//! Web Caches", NSDI '24). One-off prompts are the common case, and LRU carries each of them through its
//! whole queue. SIEVE keeps the queue in the order of storing; a hit sets one bit; a hand walks from the
//! oldest to the newest, spares entries whose bit is set, clears the bit, and evicts the first without it.
//! An entry is judged soon after it came (quick demotion), and a hit moves nothing. Sizes differ here, so
//! the hand goes on until there is room. Known weakness, from the paper: a scan over many prompts that are
//! each asked twice passes the sieve.
//!
//! Cost: a lookup is O(log n); an eviction O(log n) amortised, since each bit that the hand clears was set
//! by a hit; an expiry O(log n), once for each entry. The maps are ordered trees, so nobody can choose keys
//! that make them slow.

mod ghosts;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use self::ghosts::Ghosts;
use super::fingerprint::{Fingerprint, RequestKey};
use super::near_miss::Near;
use crate::event::MissReason;
use crate::settings::CacheSettings;
use crate::time::Timestamp;

/// What an entry costs beside its key and its answer, in bytes: the nodes of two trees, the counts of the
/// shared pointers (128), and what a usual request costs in [`policy::near`](super::near) (512). An estimate;
/// without it a cache of tiny answers would be several times its bound.
pub const ENTRY_OVERHEAD: u64 = 640;

/// Stored answers, bounded in bytes and in age. `V` is cheap to clone where it is an `Arc`.
pub struct Cache<V> {
    ttl: Duration,
    max_bytes: u64,
    /// By version: SIEVE's queue, and the queue of expiry.
    entries: BTreeMap<u64, Entry<V>>,
    /// Where to look; whether it is the right entry is decided by its key.
    index: BTreeMap<Fingerprint, u64>,
    bytes: u64,
    last_version: u64,
    /// The hand rests before the first entry with at least this version.
    hand: u64,
    /// The latest time seen: two callers may read the clock in one order and arrive in the other.
    latest: Timestamp,
    ghosts: Ghosts,
    /// What is like a request that is not stored.
    near: Near,
}

struct Entry<V> {
    key: RequestKey,
    value: V,
    bytes: u64,
    stored_at: Timestamp,
    visited: bool,
}

/// The answer to a lookup.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Lookup<'a, V> {
    /// What is there.
    pub found: Found<'a, V>,
    /// Entries that were removed for their age on the way.
    pub expired: u64,
}

/// What a lookup finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, V> {
    /// An answer to exactly this request, younger than the TTL.
    Hit {
        /// The answer.
        value: &'a V,
        /// When it was stored.
        stored_at: Timestamp,
    },
    /// Nothing that may be served.
    Miss(MissReason),
}

/// A stored answer that nobody asked for by its request.
#[derive(Debug, PartialEq, Eq)]
pub struct Peeked<'a, V> {
    /// The request it answers.
    pub key: &'a RequestKey,
    /// The answer.
    pub value: &'a V,
    /// When it was stored.
    pub stored_at: Timestamp,
}

/// What storing an answer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Stored {
    /// Whether it was kept. Not if it is larger than the whole cache, or if the TTL is zero; then the older
    /// answer to the same request stays.
    pub kept: bool,
    /// Its size: key, answer and overhead.
    pub bytes: u64,
    /// Whether it took the place of an older answer to the same request.
    pub replaced: bool,
    /// The version of that older answer.
    pub older: Option<u64>,
    /// The version of this one; 0 if it was not kept.
    pub version: u64,
    /// Entries removed to make room. One of them may be another request with the same fingerprint, which the
    /// index cannot hold twice: the newer one stays.
    pub evicted_for_room: u64,
    /// Entries removed for their age.
    pub expired: u64,
}

/// What new settings did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Removed {
    /// Entries removed for their age.
    pub expired: u64,
    /// Entries removed to fit the new bound.
    pub evicted: u64,
}

impl<V> Cache<V> {
    /// An empty cache with the bounds of these settings.
    pub fn new(settings: &CacheSettings) -> Self {
        Self {
            ttl: settings.ttl,
            max_bytes: settings.max_bytes,
            entries: BTreeMap::new(),
            index: BTreeMap::new(),
            bytes: 0,
            last_version: 0,
            hand: 0,
            latest: Timestamp::ZERO,
            ghosts: Ghosts::default(),
            near: Near::default(),
        }
    }

    /// The size an entry has: its key, its answer of `bytes`, and [`ENTRY_OVERHEAD`].
    pub fn entry_bytes(key: &RequestKey, bytes: u64) -> u64 {
        (key.canonical().len() as u64)
            .saturating_add(bytes)
            .saturating_add(ENTRY_OVERHEAD)
    }

    /// Looks for an answer to exactly this request.
    pub fn get(&mut self, now: Timestamp, key: &RequestKey) -> Lookup<'_, V> {
        let expired = self.sweep(now);
        let version = self.index.get(&key.fingerprint());
        let found = match version.and_then(|version| self.entries.get_mut(version)) {
            Some(entry) if entry.key == *key => {
                entry.visited = true;
                Found::Hit {
                    value: &entry.value,
                    stored_at: entry.stored_at,
                }
            }
            Some(_) => Found::Miss(MissReason::Collision),
            None => Found::Miss(self.ghosts.reason(key.fingerprint())),
        };
        Lookup { found, expired }
    }

    /// The stored request most like one that is not stored, and its answer: why did that one miss? Nothing
    /// moves, and nothing is served.
    pub fn nearest(&self, key: &RequestKey) -> Option<(&RequestKey, &V)> {
        let version = self.near.nearest(key)?.version;
        let entry = self.entries.get(&version)?;
        Some((&entry.key, &entry.value))
    }

    /// Stores an answer of `bytes`, and makes room for it first.
    pub fn put(&mut self, now: Timestamp, key: RequestKey, value: V, bytes: u64) -> Stored {
        let mut stored = Stored {
            bytes: Self::entry_bytes(&key, bytes),
            expired: self.sweep(now),
            ..Stored::default()
        };
        if stored.bytes > self.max_bytes || self.ttl.is_zero() {
            return stored;
        }
        let fingerprint = key.fingerprint();
        let older = self.index.get(&fingerprint).copied();
        // being asked for belongs to the request, not to one of its answers
        let mut visited = false;
        if let Some((version, older)) = older.and_then(|version| Some((version, self.remove(version)?))) {
            stored.older = (older.key == key).then_some(version);
            stored.replaced = older.key == key;
            stored.evicted_for_room += u64::from(!stored.replaced);
            visited = stored.replaced && older.visited;
        }
        stored.evicted_for_room += self.evict_down_to(self.max_bytes - stored.bytes);
        self.wrap_hand();
        self.last_version += 1;
        stored.version = self.last_version;
        self.index.insert(fingerprint, self.last_version);
        self.near.insert(self.last_version, &key);
        self.bytes += stored.bytes;
        let entry = Entry {
            key,
            value,
            bytes: stored.bytes,
            stored_at: self.latest,
            visited,
        };
        self.entries.insert(self.last_version, entry);
        stored.kept = true;
        stored
    }

    /// The answer with this version, if it may still be served: for the semantic cache, which knows answers by
    /// their versions. Nothing is removed, and nothing counts as asked for: see [`touch`](Self::touch).
    pub fn peek(&self, now: Timestamp, version: u64) -> Option<Peeked<'_, V>> {
        let entry = self.entries.get(&version)?;
        let young = self.latest.max(now).since(entry.stored_at) < self.ttl;
        young.then_some(Peeked {
            key: &entry.key,
            value: &entry.value,
            stored_at: entry.stored_at,
        })
    }

    /// The answer with this version was asked for: it is spared once by the hand, as after a hit.
    pub fn touch(&mut self, version: u64) {
        if let Some(entry) = self.entries.get_mut(&version) {
            entry.visited = true;
        }
    }

    /// Removes the answer with this version, because somebody says that it is wrong; says whether it was there.
    pub fn discard(&mut self, version: u64) -> bool {
        let Some(entry) = self.remove(version) else {
            return false;
        };
        self.ghosts.remember(entry.key.fingerprint(), MissReason::Evicted);
        true
    }

    /// Removes what is too old, and says how many. Every other operation does it too; this one is for the
    /// time in which nobody asks, at [`next_expiry`](Self::next_expiry).
    pub fn sweep(&mut self, now: Timestamp) -> u64 {
        self.latest = self.latest.max(now);
        let mut expired = 0;
        while let Some((&version, oldest)) = self.entries.first_key_value() {
            if self.latest.since(oldest.stored_at) < self.ttl {
                break;
            }
            self.ghosts
                .remember(oldest.key.fingerprint(), MissReason::Expired);
            self.remove(version);
            expired += 1;
        }
        expired
    }

    /// Forgets everything, also why something is missing, and says how many entries went.
    pub fn clear(&mut self, now: Timestamp) -> u64 {
        self.latest = self.latest.max(now);
        let removed = self.entries();
        self.entries.clear();
        self.index.clear();
        self.ghosts = Ghosts::default();
        self.near = Near::default();
        self.bytes = 0;
        self.hand = 0;
        removed
    }

    /// Takes new bounds and removes what they exclude. A longer TTL brings nothing back.
    pub fn configure(&mut self, now: Timestamp, settings: &CacheSettings) -> Removed {
        // what was too old by now stays gone, also where nobody has asked since
        let before = self.sweep(now);
        self.ttl = settings.ttl;
        self.max_bytes = settings.max_bytes;
        Removed {
            expired: before + self.sweep(now),
            evicted: self.evict_down_to(self.max_bytes),
        }
    }

    /// How many answers are stored.
    pub fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Their size: never more than `max_bytes`.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest answer will be too old.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.entries
            .first_key_value()
            .map(|(_, oldest)| oldest.stored_at + self.ttl)
    }

    /// Evicts until no more than `limit` bytes are left, and says how many entries went.
    fn evict_down_to(&mut self, limit: u64) -> u64 {
        let mut evicted = 0;
        while self.bytes > limit && self.evict_one() {
            evicted += 1;
        }
        evicted
    }

    /// Moves the hand to the next entry that was not asked for, and removes it. Ends: each step clears a
    /// bit, removes an entry, or wraps, and after wrapping there is an entry or nothing is stored.
    fn evict_one(&mut self) -> bool {
        self.wrap_hand();
        while let Some((&version, entry)) = self.entries.range_mut(self.hand..).next() {
            self.hand = version + 1;
            if entry.visited {
                entry.visited = false;
                self.wrap_hand();
                continue;
            }
            self.ghosts.remember(entry.key.fingerprint(), MissReason::Evicted);
            self.remove(version);
            return true;
        }
        false
    }

    /// A hand that has passed the newest entry goes back to the oldest. Done before an entry is stored:
    /// the hand must not fall on it at once.
    fn wrap_hand(&mut self) {
        if self.entries.range(self.hand..).next().is_none() {
            self.hand = 0;
        }
    }

    /// Takes an entry out of both maps and off the bill.
    fn remove(&mut self, version: u64) -> Option<Entry<V>> {
        let entry = self.entries.remove(&version)?;
        self.index.remove(&entry.key.fingerprint());
        self.near.remove(version);
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

impl<V> fmt::Debug for Cache<V> {
    /// Without prompts and answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("entries", &self.entries.len())
            .field("bytes", &self.bytes)
            .field("max_bytes", &self.max_bytes)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
