//! The exact prompt cache: whole answers, found by the whole request.
//!
//! An entry leaves in one of four ways, each counted once:
//!
//! ```text
//!            put             age >= ttl
//!  (nothing) ---> stored ------------------> expired    any operation, oldest first
//!                   |  \---- no room ------> evicted    put, configure: SIEVE
//!                   |  \---- same key ------> replaced  put
//!                   \------- clear --------> cleared
//! ```
//!
//! **One queue for age and eviction.** Each entry gets a version, the previous one plus 1. With one TTL for all,
//! the order of versions is the order of storing *and* of expiry: expired entries are always a prefix. Each
//! operation removes that prefix first, so no expired entry is served. A version identifies one stored answer:
//! neither the index nor the hand mistakes a newer answer for it.
//!
//! **SIEVE, not LRU** (Zhang et al., "SIEVE is Simpler than LRU: an Efficient Turn-Key Eviction Algorithm for
//! Web Caches", NSDI '24). One-off prompts are common, and LRU moves each of them through its whole queue. SIEVE
//! keeps the queue in the order of storing; a hit sets one bit; a hand moves from the oldest to the newest,
//! clears the bit of entries that have it, and evicts the first without it. New entries are judged soon (quick
//! demotion), and a hit moves nothing. Sizes differ here, so the hand continues until there is room. Known
//! weakness, from the paper: a scan over many prompts that are each requested twice is not filtered.
//!
//! Cost: lookup O(log n); eviction O(log n) amortised, since each bit cleared was set by a hit; expiry O(log n),
//! once per entry. The maps are ordered trees: no choice of keys makes them slow.

mod ghosts;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use self::ghosts::Ghosts;
use super::fingerprint::{Fingerprint, RequestKey};
use super::near_miss::NearMissIndex;
use crate::event::MissReason;
use crate::settings::CacheSettings;
use crate::time::Timestamp;

/// Estimated bytes of an entry besides its key and answer: tree nodes and reference counts (128), and the entry
/// of a typical request in the near-miss index (512). Without it a cache of tiny answers would exceed its limit
/// several times.
const ENTRY_OVERHEAD: u64 = 640;

/// Stored answers, bounded by `max_bytes` and `ttl` of [`CacheSettings`].
///
/// ```
/// use seawall::event::UserId;
/// use seawall::openai::ChatRequest;
/// use seawall::policy::cache::Cache;
/// use seawall::policy::fingerprint::{RequestKey, Scope};
/// use seawall::settings::CacheSettings;
/// use seawall::time::Timestamp;
///
/// let user = UserId::new("ana");
/// let (upstream, route) = ("http://127.0.0.1:8033", "/v1/chat/completions");
/// let scope = Scope { user: &user, credential: 0, upstream, route };
/// let key = RequestKey::new(&scope, &ChatRequest::prompt("What is a buoy?").temperature(0.0));
///
/// let (mut cache, now) = (Cache::new(&CacheSettings::default()), Timestamp::ZERO);
/// assert!(cache.get(now, &key).answer.is_err());
/// assert!(cache.put(now, key.clone(), "a float", 7).kept);
/// assert_eq!(cache.get(now, &key).answer.map(|answer| *answer.value), Ok("a float"));
/// ```
pub struct Cache<V> {
    ttl: Duration,
    max_bytes: u64,
    /// By version: the queue of SIEVE and of expiry.
    entries: BTreeMap<u64, CacheEntry<V>>,
    /// Finds an entry; its key decides if it is the right one.
    index: BTreeMap<Fingerprint, u64>,
    bytes: u64,
    last_version: u64,
    /// The hand points at the first entry with at least this version.
    hand: u64,
    /// The latest time seen: callers may arrive in another order than they read the clock.
    latest: Timestamp,
    ghosts: Ghosts,
    /// Finds requests similar to one that is not stored.
    near_misses: NearMissIndex,
}

struct CacheEntry<V> {
    key: RequestKey,
    value: V,
    bytes: u64,
    stored_at: Timestamp,
    visited: bool,
}

impl<V> CacheEntry<V> {
    fn answer(&self) -> StoredAnswer<'_, V> {
        StoredAnswer {
            key: &self.key,
            value: &self.value,
            stored_at: self.stored_at,
        }
    }
}

/// Result of [`Cache::get`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Lookup<'a, V> {
    /// The answer to exactly this request, younger than the TTL.
    pub answer: Result<StoredAnswer<'a, V>, MissReason>,
    /// Entries that the lookup removed because of their age.
    pub expired: u64,
}

/// A stored answer.
#[derive(Debug, PartialEq, Eq)]
pub struct StoredAnswer<'a, V> {
    /// The request it answers.
    pub key: &'a RequestKey,
    /// The answer.
    pub value: &'a V,
    /// Time of storing.
    pub stored_at: Timestamp,
}

/// Result of [`Cache::put`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct PutOutcome {
    /// False if the answer is larger than the cache or the TTL is zero; an older answer to the same request is
    /// kept then.
    pub kept: bool,
    /// Size of the entry in bytes: key, answer and overhead.
    pub bytes: u64,
    /// Version of the older answer to the same request that it replaced.
    pub replaced: Option<u64>,
    /// Version of this answer; 0 if it was not kept.
    pub version: u64,
    /// Entries removed to make room. One of them may be another request with the same fingerprint: the index
    /// holds only the newer one.
    pub evicted_for_room: u64,
    /// Entries removed because of their age.
    pub expired: u64,
}

/// Result of [`Cache::configure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Removed {
    /// Entries removed because of their age.
    pub expired: u64,
    /// Entries removed to fit the new limit.
    pub evicted: u64,
}

impl<V> Cache<V> {
    /// Returns an empty cache.
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
            near_misses: NearMissIndex::default(),
        }
    }

    /// Size of an entry: its key, its answer of `bytes` and the overhead.
    pub(crate) fn entry_bytes(key: &RequestKey, bytes: u64) -> u64 {
        (key.canonical().len() as u64)
            .saturating_add(bytes)
            .saturating_add(ENTRY_OVERHEAD)
    }

    /// Looks for an answer to exactly this request.
    pub fn get(&mut self, now: Timestamp, key: &RequestKey) -> Lookup<'_, V> {
        let expired = self.sweep(now);
        let version = self.index.get(&key.fingerprint());
        let answer = match version.and_then(|version| self.entries.get_mut(version)) {
            Some(entry) if entry.key == *key => {
                entry.visited = true;
                Ok(entry.answer())
            }
            Some(_) => Err(MissReason::Collision),
            None => Err(self.ghosts.reason(key.fingerprint())),
        };
        Lookup { answer, expired }
    }

    /// Returns the stored request most similar to one that is not stored, and its answer, to explain the miss.
    /// Counts as no use of the entry.
    pub fn nearest(&self, key: &RequestKey) -> Option<(&RequestKey, &V)> {
        let version = self.near_misses.nearest(key)?.version;
        let entry = self.entries.get(&version)?;
        Some((&entry.key, &entry.value))
    }

    /// Stores an answer of `bytes`, after making room for it.
    pub fn put(&mut self, now: Timestamp, key: RequestKey, value: V, bytes: u64) -> PutOutcome {
        let mut stored = PutOutcome {
            bytes: Self::entry_bytes(&key, bytes),
            expired: self.sweep(now),
            ..PutOutcome::default()
        };
        if stored.bytes > self.max_bytes || self.ttl.is_zero() {
            return stored;
        }
        let fingerprint = key.fingerprint();
        let older = self.index.get(&fingerprint).copied();
        // the visited bit belongs to the request, not to one of its answers
        let mut visited = false;
        if let Some((version, older)) = older.and_then(|version| Some((version, self.remove(version)?))) {
            if older.key == key {
                stored.replaced = Some(version);
                visited = older.visited;
            } else {
                stored.evicted_for_room += 1;
            }
        }
        stored.evicted_for_room += self.evict_down_to(self.max_bytes - stored.bytes);
        self.wrap_hand();
        self.last_version += 1;
        stored.version = self.last_version;
        self.index.insert(fingerprint, self.last_version);
        self.near_misses.insert(self.last_version, &key);
        self.bytes += stored.bytes;
        let entry = CacheEntry {
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

    /// Returns the answer with this version if it may be served: the semantic cache refers to answers by version.
    /// Removes nothing and counts as no use of the entry: see [`touch`](Self::touch).
    pub(crate) fn peek(&self, now: Timestamp, version: u64) -> Option<StoredAnswer<'_, V>> {
        let entry = self.entries.get(&version)?;
        let young = self.latest.max(now).since(entry.stored_at) < self.ttl;
        young.then(|| entry.answer())
    }

    /// The versions of all stored answers, oldest first.
    pub(crate) fn versions(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.entries.keys().copied()
    }

    /// Sets the visited bit of an entry, as a hit does.
    pub(crate) fn touch(&mut self, version: u64) {
        if let Some(entry) = self.entries.get_mut(&version) {
            entry.visited = true;
        }
    }

    /// Removes the answer with this version, which a user marked as wrong. Returns false if it is not stored.
    pub(crate) fn discard(&mut self, version: u64) -> bool {
        let Some(entry) = self.remove(version) else {
            return false;
        };
        self.ghosts.remember(entry.key.fingerprint(), MissReason::Evicted);
        true
    }

    /// Removes expired entries and returns their number. Every other operation does so too; this one is for
    /// times without requests.
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

    /// Removes all entries, and the reasons of earlier removals; returns the number of entries.
    pub fn clear(&mut self, now: Timestamp) -> u64 {
        self.latest = self.latest.max(now);
        let removed = self.entries();
        self.entries.clear();
        self.index.clear();
        self.ghosts = Ghosts::default();
        self.near_misses = NearMissIndex::default();
        self.bytes = 0;
        self.hand = 0;
        removed
    }

    /// Adopts new limits and removes the entries beyond them. A longer TTL restores no expired entry.
    pub fn configure(&mut self, now: Timestamp, settings: &CacheSettings) -> Removed {
        // entries expired under the old TTL are removed first
        let before = self.sweep(now);
        self.ttl = settings.ttl;
        self.max_bytes = settings.max_bytes;
        Removed {
            expired: before + self.sweep(now),
            evicted: self.evict_down_to(self.max_bytes),
        }
    }

    /// Number of stored answers.
    pub fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Size of all entries in bytes: at most `max_bytes`.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The instant at which the oldest answer expires; `None` if the cache is empty.
    #[cfg(test)]
    fn next_expiry(&self) -> Option<Timestamp> {
        self.entries
            .first_key_value()
            .map(|(_, oldest)| oldest.stored_at + self.ttl)
    }

    /// Evicts until at most `limit` bytes are left; returns the number of evicted entries.
    fn evict_down_to(&mut self, limit: u64) -> u64 {
        let mut evicted = 0;
        while self.bytes > limit && self.evict_one() {
            evicted += 1;
        }
        evicted
    }

    /// Moves the hand to the next entry without visited bit and removes it. Terminates: each step clears a bit,
    /// removes an entry or wraps, and after wrapping there is an entry, or the cache is empty.
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

    /// Moves a hand that has passed the newest entry back to the oldest. Called before an entry is stored, so
    /// that the hand does not reach it at once.
    fn wrap_hand(&mut self) {
        if self.entries.range(self.hand..).next().is_none() {
            self.hand = 0;
        }
    }

    /// Removes an entry from both maps, the near-miss index and the size.
    fn remove(&mut self, version: u64) -> Option<CacheEntry<V>> {
        let entry = self.entries.remove(&version)?;
        self.index.remove(&entry.key.fingerprint());
        self.near_misses.remove(version);
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
