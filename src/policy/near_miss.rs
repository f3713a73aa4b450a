//! Near misses: the stored request most similar to one that is not stored, to explain a miss.
//!
//! ```text
//! request = user | upstream | system prompt | earlier turns | prompt | field of the body | field ...
//!            h1  +    h2     +      h3        +      h4       +   h5   +        h6         +  ...   = sum
//!
//! stored   signatures: (sum - h1, 1)  (sum - h2, 2)  ...   "all but this field", for each field
//! missed   looks up:   (sum - h1, 1)  (sum - h2, 2)  ...   found: differs in this field and in no other
//! ```
//!
//! Each field has a 64-bit hash, and a request is their sum. The sum without one field is stored as a
//! *signature*; a request that differs only in that field has the same one. So one lookup per field finds every
//! stored request that differs in exactly one field, and two more find those with a field added or removed.
//! Otherwise three candidates are compared: the newest with the same prompt, the newest with the same
//! prompt of the same user, and the newest of the same user, model and system prompt. That is not always the
//! nearest request, but an informative one.
//!
//! The fewest differing fields win, then the same prompt, then the newest.
//!
//! Cost: O(fields * log n) per operation besides scanning the request. Memory per stored request: `9 + 2 *
//! fields of the body` signatures of about 22 bytes and a hash of 16 bytes per field; half a KiB for a typical
//! one and 1.4 KiB at most, since fields beyond `parts::MAX_BODY_FIELDS` count as one. No text is kept:
//! differences are read from the keys in the cache ([`diff`]).
//!
//! The hashes only *find*: an attacker can at worst have the wrong request shown, never an answer served.

mod diff;
mod kind;
mod parts;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use self::diff::{RequestDiff, diff};
use self::parts::Parts;
use super::fingerprint::RequestKey;

/// Tags of signatures that belong to no single field.
mod tag {
    /// The whole request.
    pub(super) const WHOLE: u64 = 101;
    /// The whole request without one field of the body, whichever.
    pub(super) const ALL_BUT_ONE: u64 = 102;
    pub(super) const PROMPT: u64 = 103;
    /// Prompt and user.
    pub(super) const USER_PROMPT: u64 = 104;
    /// User, model and system prompt.
    pub(super) const FAMILY: u64 = 105;
}

/// An index of stored requests by partial signatures. Versions are those of the cache: a later one is newer.
#[derive(Debug, Default)]
pub(super) struct NearMissIndex {
    requests: BTreeMap<u64, FieldHashes>,
    /// Signature and version.
    signatures: BTreeSet<(u64, u64)>,
}

/// The stored request nearest to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NearestRequest {
    pub(super) version: u64,
    /// Number of differing fields: at least 1 unless hashes collide.
    pub(super) fields: usize,
}

impl NearMissIndex {
    /// Adds a stored request. A key that is not of a chat request is skipped.
    pub(super) fn insert(&mut self, version: u64, key: &RequestKey) {
        let Some(hashes) = FieldHashes::new(key) else {
            return;
        };
        let signatures = hashes.signatures().into_iter();
        self.signatures
            .extend(signatures.map(|signature| (signature, version)));
        self.requests.insert(version, hashes);
    }

    pub(super) fn remove(&mut self, version: u64) {
        let Some(hashes) = self.requests.remove(&version) else {
            return;
        };
        for signature in hashes.signatures() {
            self.signatures.remove(&(signature, version));
        }
    }

    /// The stored request most similar to this one.
    pub(super) fn nearest(&self, key: &RequestKey) -> Option<NearestRequest> {
        if self.requests.is_empty() {
            return None;
        }
        let hashes = FieldHashes::new(key)?;
        let candidates = hashes
            .probes()
            .into_iter()
            .filter_map(|signature| self.newest(signature));
        let ranked = candidates.filter_map(|version| {
            let other = self.requests.get(&version)?;
            let other_prompt = hashes.prompt() != other.prompt();
            Some((hashes.differing(other), other_prompt, Reverse(version)))
        });
        ranked
            .min()
            .map(|(fields, _, Reverse(version))| NearestRequest { version, fields })
    }

    fn newest(&self, signature: u64) -> Option<u64> {
        let range = (signature, 0)..=(signature, u64::MAX);
        let (_, version) = self.signatures.range(range).next_back()?;
        Some(*version)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.signatures.is_empty()
    }
}

#[derive(Debug)]
struct FieldHashes {
    sum: u64,
    /// Name and hash, sorted by name.
    fields: Box<[(u64, u64)]>,
}

impl FieldHashes {
    fn new(key: &RequestKey) -> Option<Self> {
        let parts = Parts::from_key(key)?;
        let mut fields = parts.hashes();
        fields.sort_unstable();
        Some(Self {
            sum: fields.iter().fold(0, |sum, (_, hash)| sum.wrapping_add(*hash)),
            fields: fields.into(),
        })
    }

    fn hash_of(&self, name: u64) -> u64 {
        let found = self.fields.binary_search_by_key(&name, |(name, _)| *name);
        let field = found.ok().and_then(|index| self.fields.get(index));
        field.map_or(0, |(_, hash)| *hash)
    }

    fn prompt(&self) -> u64 {
        self.hash_of(parts::PROMPT)
    }

    /// The signatures under which a stored request is found.
    fn signatures(&self) -> Vec<u64> {
        self.combinations(tag::WHOLE, tag::ALL_BUT_ONE)
    }

    /// The signatures to look up for a missed request: the stored one may have a field more or less.
    fn probes(&self) -> Vec<u64> {
        self.combinations(tag::ALL_BUT_ONE, tag::WHOLE)
    }

    fn combinations(&self, whole: u64, all_but_one: u64) -> Vec<u64> {
        let mut signatures = self.common();
        signatures.push(sign(self.sum, whole));
        for (name, hash) in &self.fields {
            let without = self.sum.wrapping_sub(*hash);
            signatures.push(sign(without, *name));
            if parts::may_be_absent(*name) {
                signatures.push(sign(without, all_but_one));
            }
        }
        signatures
    }

    /// Signatures of several fields, without regard to the others.
    fn common(&self) -> Vec<u64> {
        let user = self.hash_of(parts::USER);
        let model = self.hash_of(parts::body_name(b"model"));
        let family = user.wrapping_add(model).wrapping_add(self.hash_of(parts::SYSTEM));
        vec![
            sign(self.prompt(), tag::PROMPT),
            sign(self.prompt().wrapping_add(user), tag::USER_PROMPT),
            sign(family, tag::FAMILY),
        ]
    }

    /// Number of fields in which two requests differ.
    fn differing(&self, other: &Self) -> usize {
        let changed = |(name, hash): &&(u64, u64)| other.hash_of(*name) != *hash;
        let only_there = |(name, _): &&(u64, u64)| self.hash_of(*name) == 0;
        self.fields.iter().filter(changed).count() + other.fields.iter().filter(only_there).count()
    }
}

/// A signature: a sum of hashes, tagged by the field it lacks or by its kind.
fn sign(sum: u64, tag: u64) -> u64 {
    xxh3_64_with_seed(&sum.to_le_bytes(), tag)
}

#[cfg(test)]
mod tests;
