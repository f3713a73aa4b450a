//! The stored request most like one that is not stored: why did this miss?
//!
//! ```text
//! request = user | upstream | system prompt | earlier turns | prompt | field of the body | field ...
//!            h1  +    h2     +      h3        +      h4       +   h5   +        h6         +  ...   = sum
//!
//! stored   clues: (sum - h1, 1)  (sum - h2, 2)  ...     "all but this field", for each field
//! missed   asks:  (sum - h1, 1)  (sum - h2, 2)  ...     found: differs in this field, and in no other
//! ```
//!
//! Each field has a 64-bit hash, and a request is the sum of them. What is left of the sum without one field
//! is stored as a *clue*; a request that differs from it in that field alone has the same. So every stored
//! request that differs in exactly one field is found by a lookup for each field, and with a field added or
//! left out by two more. Where there is none, the newest with the same prompt, of the same user and of
//! anybody, and the newest of the same user, model and system prompt are compared: not always the nearest
//! then, but one that says something.
//!
//! The fewest differing fields win; then one with the same prompt; then the newest.
//!
//! Cost: O(fields * log n) for each operation besides the scan of the request. Memory for each stored request
//! is `9 + 2 * fields of the body` clues of about 22 bytes and a hash of 16 bytes for each field: half a KiB
//! for a usual one, 1.4 KiB at most, since fields beyond [`parts::MAX_BODY_FIELDS`] are one. No text is kept:
//! what differs is read from the keys that the cache holds ([`diff`]).
//!
//! The hashes only *find*: an attacker can at worst have the wrong request shown, never an answer served.

mod diff;
mod kind;
mod parts;

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use self::diff::{Difference, diff};
use self::parts::Parts;
use super::fingerprint::RequestKey;

/// Names of the clues that are no field's.
mod clue {
    /// The whole request.
    pub(super) const WHOLE: u64 = 101;
    /// The whole request but a field of the body, whichever.
    pub(super) const BUT_ONE: u64 = 102;
    /// The prompt.
    pub(super) const PROMPT: u64 = 103;
    /// The prompt and the user.
    pub(super) const OWN_PROMPT: u64 = 104;
    /// User, model and system prompt.
    pub(super) const FAMILY: u64 = 105;
}

/// Where stored requests are found by what they have in common with another one. Versions are those of the
/// cache: a later one is newer.
#[derive(Debug, Default)]
pub(super) struct Near {
    prints: BTreeMap<u64, Print>,
    /// A clue and who gave it.
    clues: BTreeSet<(u64, u64)>,
}

/// A stored request like another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nearest {
    /// Which.
    pub(super) version: u64,
    /// How many fields differ: not 0, unless hashes collide.
    pub(super) fields: usize,
}

impl Near {
    /// Takes note of a stored request. One that is no chat request is not found.
    pub(super) fn insert(&mut self, version: u64, key: &RequestKey) {
        let Some(print) = Print::new(key) else { return };
        self.clues
            .extend(print.clues().into_iter().map(|clue| (clue, version)));
        self.prints.insert(version, print);
    }

    /// Forgets a stored request.
    pub(super) fn remove(&mut self, version: u64) {
        let Some(print) = self.prints.remove(&version) else {
            return;
        };
        for clue in print.clues() {
            self.clues.remove(&(clue, version));
        }
    }

    /// The stored request most like this one.
    pub(super) fn nearest(&self, key: &RequestKey) -> Option<Nearest> {
        if self.prints.is_empty() {
            return None;
        }
        let print = Print::new(key)?;
        let candidates = print.questions().into_iter().filter_map(|clue| self.newest(clue));
        let ranked = candidates.filter_map(|version| {
            let other = self.prints.get(&version)?;
            let fields = print.differing(other);
            Some((
                (fields, print.prompt() != other.prompt(), u64::MAX - version),
                fields,
            ))
        });
        ranked.min().map(|((_, _, age), fields)| Nearest {
            version: u64::MAX - age,
            fields,
        })
    }

    fn newest(&self, clue: u64) -> Option<u64> {
        let (_, version) = self.clues.range((clue, 0)..=(clue, u64::MAX)).next_back()?;
        Some(*version)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.prints.is_empty() && self.clues.is_empty()
    }
}

/// The hashes of a request.
#[derive(Debug)]
struct Print {
    sum: u64,
    /// Name and hash, sorted by name.
    fields: Box<[(u64, u64)]>,
}

impl Print {
    fn new(key: &RequestKey) -> Option<Self> {
        let parts = Parts::of(key)?;
        let mut fields = parts.hashes();
        fields.sort_unstable();
        Some(Self {
            sum: fields.iter().fold(0, |sum, (_, hash)| sum.wrapping_add(*hash)),
            fields: fields.into(),
        })
    }

    fn hash_of(&self, name: u64) -> u64 {
        let place = self.fields.binary_search_by_key(&name, |(name, _)| *name);
        place
            .ok()
            .and_then(|place| self.fields.get(place))
            .map_or(0, |(_, hash)| *hash)
    }

    fn prompt(&self) -> u64 {
        self.hash_of(parts::PROMPT)
    }

    /// What it is found by.
    fn clues(&self) -> Vec<u64> {
        let mut clues = self.common();
        clues.push(mix(self.sum, clue::WHOLE));
        for (name, hash) in &self.fields {
            let without = self.sum.wrapping_sub(*hash);
            clues.push(mix(without, *name));
            if parts::may_be_absent(*name) {
                clues.push(mix(without, clue::BUT_ONE));
            }
        }
        clues
    }

    /// What it looks for: the counterparts of [`clues`](Self::clues).
    fn questions(&self) -> Vec<u64> {
        let mut clues = self.common();
        // the other one has a field more
        clues.push(mix(self.sum, clue::BUT_ONE));
        for (name, hash) in &self.fields {
            let without = self.sum.wrapping_sub(*hash);
            clues.push(mix(without, *name));
            if parts::may_be_absent(*name) {
                clues.push(mix(without, clue::WHOLE));
            }
        }
        clues
    }

    fn common(&self) -> Vec<u64> {
        let user = self.hash_of(parts::USER);
        let model = self.hash_of(parts::body_name(b"model"));
        let family = user.wrapping_add(model).wrapping_add(self.hash_of(parts::SYSTEM));
        vec![
            mix(self.prompt(), clue::PROMPT),
            mix(self.prompt().wrapping_add(user), clue::OWN_PROMPT),
            mix(family, clue::FAMILY),
        ]
    }

    /// In how many fields two requests differ.
    fn differing(&self, other: &Self) -> usize {
        let missing = |a: &Self, b: &Self| {
            let differs = |(name, hash): &&(u64, u64)| b.hash_of(*name) != *hash;
            a.fields.iter().filter(differs).count()
        };
        let only_there = other
            .fields
            .iter()
            .filter(|(name, _)| self.hash_of(*name) == 0)
            .count();
        missing(self, other) + only_there
    }
}

/// A clue: what is known, under what name.
fn mix(known: u64, name: u64) -> u64 {
    xxh3_64_with_seed(&known.to_le_bytes(), name)
}

#[cfg(test)]
mod tests;
