use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn settings(ttl_s: u64, max_bytes: u64) -> CacheSettings {
    CacheSettings {
        ttl: Duration::from_secs(ttl_s),
        max_bytes,
        ..CacheSettings::default()
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * SECOND)
}

/// A key of one byte whose fingerprint is its name.
fn key(name: u8) -> RequestKey {
    RequestKey::forced(name.into(), &[name])
}

/// The size of an answer that makes an entry of [`key`] `bytes` large.
fn sized(bytes: u64) -> u64 {
    bytes - ENTRY_OVERHEAD - 1
}

/// A cache with room for `entries` entries of 1000 bytes.
fn cache(entries: u64) -> Cache<u32> {
    Cache::new(&settings(60, entries * 1000))
}

fn put(cache: &mut Cache<u32>, now: Timestamp, name: u8, value: u32) -> PutOutcome {
    cache.put(now, key(name), value, sized(1000))
}

type Answer = Result<(u32, Timestamp), MissReason>;

/// The answer of a lookup, without its key.
fn answer(lookup: Lookup<'_, u32>) -> Answer {
    lookup.answer.map(|answer| (*answer.value, answer.stored_at))
}

fn miss<'a>(reason: MissReason) -> Lookup<'a, u32> {
    Lookup {
        answer: Err(reason),
        expired: 0,
    }
}

#[test]
fn an_answer_is_served_until_its_ttl_and_then_a_miss_is_expired() {
    let mut cache = cache(4);
    assert_eq!(cache.get(at(0), &key(1)), miss(MissReason::NeverSeen));
    let stored = put(&mut cache, at(1), 1, 7);
    let expected = PutOutcome {
        kept: true,
        bytes: 1000,
        version: 1,
        ..PutOutcome::default()
    };
    assert_eq!(stored, expected);
    assert_eq!(cache.next_expiry(), Some(at(61)));
    let last = Timestamp(at(61).0 - 1);
    assert_eq!(answer(cache.get(last, &key(1))), Ok((7, at(1))));
    let late = Lookup {
        answer: Err(MissReason::Expired),
        expired: 1,
    };
    assert_eq!(cache.get(at(61), &key(1)), late);
    assert_eq!(cache.get(at(62), &key(1)), miss(MissReason::Expired));
    assert_eq!(
        (cache.entries(), cache.bytes(), cache.next_expiry()),
        (0, 0, None)
    );
}

#[test]
fn a_newer_answer_replaces_the_older_one_with_a_new_ttl() {
    let mut cache = cache(1);
    assert!(put(&mut cache, at(0), 1, 7).kept);
    let stored = put(&mut cache, at(30), 1, 8);
    let expected = PutOutcome {
        kept: true,
        bytes: 1000,
        replaced: Some(1),
        version: 2,
        ..PutOutcome::default()
    };
    assert_eq!(stored, expected);
    assert_eq!(cache.peek(at(70), 1), None);
    assert_eq!(cache.peek(at(70), 2).map(|stored| *stored.value), Some(8));
    assert_eq!(answer(cache.get(at(70), &key(1))), Ok((8, at(30))));
    assert_eq!((cache.entries(), cache.bytes()), (1, 1000));
}

#[test]
fn a_collision_is_never_served() {
    let (mine, yours) = (RequestKey::forced(1, b"mine"), RequestKey::forced(1, b"yours"));
    let mut cache: Cache<u32> = cache(4);
    assert!(cache.put(at(0), mine.clone(), 7, 10).kept);
    assert_eq!(cache.get(at(1), &yours), miss(MissReason::Collision));
    let stored = cache.put(at(2), yours.clone(), 8, 10);
    assert_eq!((stored.replaced, stored.evicted_for_room), (None, 1));
    assert_eq!(cache.get(at(3), &mine), miss(MissReason::Collision));
    assert_eq!(answer(cache.get(at(3), &yours)), Ok((8, at(2))));
    assert_eq!(cache.entries(), 1);
}

#[test]
fn a_visited_entry_survives_a_scan_of_one_off_prompts() {
    let mut cache = cache(4);
    for name in 0..4 {
        assert!(put(&mut cache, at(0), name, 0).kept);
    }
    assert!(cache.get(at(1), &key(0)).answer.is_ok());
    // LRU would evict it after four of these
    for name in 10..100 {
        assert_eq!(put(&mut cache, at(2), name, 0).evicted_for_room, 1);
    }
    assert!(cache.get(at(3), &key(0)).answer.is_ok());
    assert_eq!(cache.get(at(3), &key(1)), miss(MissReason::Evicted));
    assert_eq!(cache.get(at(3), &key(200)), miss(MissReason::NeverSeen));
}

#[test]
fn an_answer_larger_than_the_cache_is_not_kept_and_removes_nothing() {
    let mut cache = cache(2);
    assert!(put(&mut cache, at(0), 1, 7).kept);
    let stored = cache.put(at(1), key(1), 8, sized(2001));
    let expected = PutOutcome {
        bytes: 2001,
        ..PutOutcome::default()
    };
    assert_eq!(stored, expected);
    assert_eq!(cache.put(at(1), key(2), 8, u64::MAX).bytes, u64::MAX);
    assert_eq!(answer(cache.get(at(1), &key(1))), Ok((7, at(0))));
    let stored = cache.put(at(1), key(3), 8, sized(2000));
    assert_eq!((stored.kept, stored.evicted_for_room), (true, 1));
    assert!(!Cache::new(&settings(0, 9000)).put(at(0), key(1), 1, 1).kept);
}

#[test]
fn new_limits_apply_at_once() {
    let mut cache = cache(4);
    for name in 0..4 {
        assert!(put(&mut cache, at(u64::from(name)), name, 0).kept);
    }
    let removed = cache.configure(at(4), &settings(3, 1999));
    let expected = Removed {
        expired: 2,
        evicted: 1,
    };
    assert_eq!(removed, expected);
    assert_eq!(cache.get(at(4), &key(1)), miss(MissReason::Expired));
    assert_eq!(cache.get(at(4), &key(2)), miss(MissReason::Evicted));
    assert_eq!(cache.next_expiry(), Some(at(6)));
}

#[test]
fn a_longer_ttl_restores_no_expired_entry() {
    let mut cache = Cache::new(&settings(3, 4000));
    assert!(put(&mut cache, at(0), 1, 7).kept);
    assert!(put(&mut cache, at(2), 2, 8).kept);
    let removed = cache.configure(at(4), &settings(60, 4000));
    assert_eq!((removed.expired, removed.evicted), (1, 0));
    assert_eq!(cache.get(at(4), &key(1)), miss(MissReason::Expired));
    assert_eq!(answer(cache.get(at(4), &key(2))), Ok((8, at(2))));
}

#[test]
fn clear_also_forgets_the_reasons_of_removals() {
    let mut cache = cache(1);
    assert!(put(&mut cache, at(0), 1, 0).kept);
    assert!(put(&mut cache, at(0), 2, 0).kept);
    assert_eq!(cache.clear(at(1)), 1);
    assert_eq!((cache.entries(), cache.bytes(), cache.clear(at(1))), (0, 0, 0));
    assert_eq!(cache.get(at(1), &key(1)), miss(MissReason::NeverSeen));
    assert_eq!(cache.get(at(1), &key(2)), miss(MissReason::NeverSeen));
}

#[test]
fn a_timestamp_older_than_the_latest_makes_no_entry_younger() {
    let mut cache = cache(4);
    assert_eq!(cache.sweep(at(100)), 0);
    // this caller read the clock before the sweep did
    assert!(put(&mut cache, at(90), 1, 7).kept);
    assert_eq!(cache.next_expiry(), Some(at(160)));
    assert_eq!(answer(cache.get(at(50), &key(1))), Ok((7, at(100))));
    assert_eq!(cache.sweep(at(160)), 1);
    assert_eq!(cache.get(at(50), &key(1)), miss(MissReason::Expired));
}

#[test]
fn the_longest_ttl_never_expires() {
    let mut cache = Cache::new(&CacheSettings {
        ttl: Duration::MAX,
        ..settings(0, 9000)
    });
    assert!(cache.put(at(0), key(1), 7, 1).kept);
    assert_eq!(cache.next_expiry(), Some(Timestamp::MAX));
    assert_eq!(answer(cache.get(Timestamp::MAX, &key(1))), Ok((7, at(0))));
}

#[test]
fn debug_shows_bounds_and_no_answer() {
    let mut cache = cache(4);
    assert!(put(&mut cache, at(0), 1, 424_242).kept);
    assert_eq!(
        format!("{cache:?}"),
        "Cache { entries: 1, bytes: 1000, max_bytes: 4000, ttl: 60s, .. }"
    );
}

/// A model of the same semantics: one list, searched from end to end. The hand moves as in the paper's algorithm
/// 1.
#[derive(Debug, Default)]
struct Model {
    ttl: u64,
    max_bytes: u64,
    now: u64,
    /// Oldest first.
    rows: Vec<Row>,
    /// The row that is judged next; `None` for the oldest.
    hand: Option<u32>,
    removed: Vec<(u8, MissReason)>,
    last_version: u64,
}

#[derive(Clone, Debug)]
struct Row {
    name: u8,
    value: u32,
    bytes: u64,
    stored_at: u64,
    visited: bool,
    version: u64,
}

/// Three names share each fingerprint.
fn colliding(name: u8) -> RequestKey {
    RequestKey::forced(u128::from(name / 3), &[name])
}

impl Model {
    fn remove(&mut self, at: usize) -> Row {
        let row = self.rows.remove(at);
        if self.hand == Some(row.value) {
            // the row at this index is the next newer one now
            self.hand = self.rows.get(at).map(|row| row.value);
        }
        row
    }

    fn sweep(&mut self) -> u64 {
        let mut expired = 0;
        while let Some(at) = self
            .rows
            .iter()
            .position(|row| self.now - row.stored_at >= self.ttl)
        {
            let row = self.remove(at);
            self.removed.push((row.name / 3, MissReason::Expired));
            expired += 1;
        }
        expired
    }

    fn bytes(&self) -> u64 {
        self.rows.iter().map(|row| row.bytes).sum()
    }

    fn evict_down_to(&mut self, limit: u64) -> u64 {
        let mut evicted = 0;
        while self.bytes() > limit {
            let mut at = self
                .rows
                .iter()
                .position(|row| Some(row.value) == self.hand)
                .unwrap_or(0);
            while self.rows[at].visited {
                self.rows[at].visited = false;
                at = (at + 1) % self.rows.len();
            }
            self.hand = Some(self.rows[at].value);
            let row = self.remove(at);
            self.removed.push((row.name / 3, MissReason::Evicted));
            evicted += 1;
        }
        evicted
    }

    fn reason(&self, name: u8) -> MissReason {
        let latest = self.removed.iter().rev().find(|(group, _)| *group == name / 3);
        latest.map_or(MissReason::NeverSeen, |&(_, reason)| reason)
    }

    fn put(&mut self, name: u8, value: u32, bytes: u64) -> PutOutcome {
        let mut stored = PutOutcome {
            bytes,
            expired: self.sweep(),
            ..PutOutcome::default()
        };
        if bytes > self.max_bytes || self.ttl == 0 {
            return stored;
        }
        let mut visited = false;
        if let Some(at) = self.rows.iter().position(|row| row.name / 3 == name / 3) {
            let row = self.remove(at);
            stored.replaced = (row.name == name).then_some(row.version);
            stored.evicted_for_room = u64::from(row.name != name);
            visited = row.name == name && row.visited;
        }
        stored.evicted_for_room += self.evict_down_to(self.max_bytes - bytes);
        self.last_version += 1;
        stored.version = self.last_version;
        self.rows.push(Row {
            version: self.last_version,
            name,
            value,
            bytes,
            stored_at: self.now,
            visited,
        });
        stored.kept = true;
        stored
    }

    fn get(&mut self, name: u8) -> Option<(u32, u64)> {
        let row = self.rows.iter_mut().find(|row| row.name == name)?;
        row.visited = true;
        Some((row.value, row.stored_at))
    }
}

#[derive(Clone, Debug)]
enum Op {
    Get(u8),
    Put(u8, u64),
    Touch(u8),
    Discard(u8),
    Sweep,
    Clear,
    Configure(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..24u8).prop_map(Op::Get),
        8 => (0..24u8, ENTRY_OVERHEAD + 1..1200).prop_map(|(name, bytes)| Op::Put(name, bytes)),
        1 => (0..24u8).prop_map(Op::Touch),
        1 => (0..24u8).prop_map(Op::Discard),
        1 => Just(Op::Sweep),
        1 => Just(Op::Clear),
        1 => (0..40u64, 0..2000u64).prop_map(|(ttl, max)| Op::Configure(ttl, max)),
    ]
}

proptest! {
    /// Compares whole results with the model after every operation, and checks invariants 22 (the key decides)
    /// and 24 (bytes and TTL), and that the counts add up.
    #[test]
    fn agrees_with_a_plain_list(
        ops in prop::collection::vec((op(), prop_oneof![3 => Just(0), 1 => 0..9u64]), 1..120),
        ttl in 1..40u64, max_bytes in 200..2000u64,
    ) {
        let mut cache: Cache<u32> = Cache::new(&settings(ttl, max_bytes));
        let mut model = Model { ttl, max_bytes, ..Model::default() };
        let mut put_names = Vec::new();
        let (mut kept, mut left) = (0, 0);
        for (value, (op, step)) in (0u32..).zip(ops) {
            model.now += step;
            let now = at(model.now);
            put_names.push(None);
            match op {
                Op::Get(name) => {
                    let expired = model.sweep();
                    left += expired;
                    let collides = model.rows.iter().any(|row| row.name / 3 == name / 3);
                    let reason = if collides { MissReason::Collision } else { model.reason(name) };
                    let expected = model.get(name);
                    let expected = expected.map_or(Err(reason), |(value, stored_at)| Ok((value, at(stored_at))));
                    let lookup = cache.get(now, &colliding(name));
                    prop_assert_eq!(lookup.expired, expired);
                    let found = answer(lookup);
                    prop_assert_eq!(found, expected);
                    if let Ok((value, stored_at)) = found {
                        prop_assert_eq!(put_names[value as usize], Some(name));
                        prop_assert!(now.since(stored_at) < Duration::from_secs(model.ttl));
                    }
                }
                Op::Put(name, bytes) => {
                    put_names[value as usize] = Some(name);
                    let stored = cache.put(now, colliding(name), value, sized(bytes));
                    prop_assert_eq!(stored, model.put(name, value, bytes));
                    kept += u64::from(stored.kept);
                    left += stored.expired + stored.evicted_for_room + u64::from(stored.replaced.is_some());
                }
                Op::Touch(name) => {
                    if let Some(row) = model.rows.iter_mut().find(|row| row.name == name) {
                        row.visited = true;
                        cache.touch(row.version);
                    }
                }
                Op::Discard(name) => {
                    if let Some(at) = model.rows.iter().position(|row| row.name == name) {
                        let version = model.remove(at).version;
                        model.removed.push((name / 3, MissReason::Evicted));
                        prop_assert!(cache.discard(version));
                        prop_assert!(!cache.discard(version));
                        left += 1;
                    }
                }
                Op::Sweep => {
                    let expired = cache.sweep(now);
                    prop_assert_eq!(expired, model.sweep());
                    left += expired;
                    let next = cache.next_expiry();
                    prop_assert!(next.is_none_or(|next| next > now));
                }
                Op::Clear => {
                    let removed = cache.clear(now);
                    prop_assert_eq!(removed, model.rows.len() as u64);
                    left += removed;
                    model = Model {
                        ttl: model.ttl, max_bytes: model.max_bytes, now: model.now,
                        last_version: model.last_version, ..Model::default()
                    };
                }
                Op::Configure(ttl, max_bytes) => {
                    let before = model.sweep();
                    (model.ttl, model.max_bytes) = (ttl, max_bytes);
                    let expired = before + model.sweep();
                    let evicted = model.evict_down_to(max_bytes);
                    let removed = cache.configure(now, &settings(ttl, max_bytes));
                    prop_assert_eq!(removed, Removed { expired, evicted });
                    left += expired + evicted;
                }
            }
            for version in 0..=model.last_version {
                let row = model.rows.iter().find(|row| row.version == version);
                let row = row.filter(|row| model.now - row.stored_at < model.ttl);
                let peeked = cache.peek(now, version);
                let peeked = peeked.map(|stored| (stored.key.clone(), *stored.value, stored.stored_at));
                prop_assert_eq!(peeked, row.map(|row| (colliding(row.name), row.value, at(row.stored_at))));
            }
            prop_assert_eq!(cache.bytes(), model.bytes());
            prop_assert!(cache.bytes() <= model.max_bytes);
            prop_assert_eq!(cache.entries(), model.rows.len() as u64);
            prop_assert_eq!(cache.index.len(), cache.entries.len());
            prop_assert_eq!(kept, left + cache.entries());
        }
    }
}
