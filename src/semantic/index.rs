//! The vector index: finds the stored prompts nearest to a new one.
//!
//! ```text
//! prompt's vector --> sketch --> Hamming distance to every sketch of its partition --> the 256 nearest
//!                                                                                         |
//!                                               sorted by exact cosine  <-----------------+
//! ```
//!
//! A partition holds the prompts that may be compared: those with the same compatibility key and number of
//! dimensions. An entry is identified by the version of its answer in the exact cache and should not outlive that
//! answer: a lookup that finds the answer gone removes the entry, and [`Index::sweep`] checks a few others on each
//! insertion, so that entries no search finds go too.
//!
//! The scan is linear over contiguous memory: 64 bytes per prompt, 3.2 MB for 50,000. A graph (HNSW) would visit
//! fewer entries, but it is slower to build, cannot delete, and differs from run to run. Vectors are allocated
//! separately: only those of the candidates are read, in no particular order.

use std::collections::BTreeMap;
use std::fmt;

use super::sketch::{BITS, Sketch};
use crate::policy::fingerprint::RequestKey;

/// Candidates whose exact cosine is computed. A smaller partition is compared exactly as a whole.
const CANDIDATES: usize = 256;
/// Results of a search.
const MAX_RESULTS: usize = 64;
/// Entries that one [`Index::sweep`] checks.
const SWEEP_SIZE: usize = 4;

/// The vector index of the semantic cache. See the module documentation.
pub struct Index {
    max_entries: usize,
    partitions: BTreeMap<PartitionKey, Partition>,
    /// The location of each entry, by version: the oldest answer first.
    locations: BTreeMap<u64, Location>,
    /// The version at which the next sweep starts.
    sweep_from: u64,
}

/// The compatibility key and the number of dimensions: each embedding model has its own space.
type PartitionKey = (RequestKey, usize);

struct Location {
    partition: PartitionKey,
    slot: usize,
}

/// Parallel arrays: the n-th sketch belongs to the n-th entry.
#[derive(Default)]
struct Partition {
    sketches: Vec<Sketch>,
    entries: Vec<IndexEntry>,
}

struct IndexEntry {
    version: u64,
    vector: Box<[f32]>,
}

/// A stored prompt that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The version of its answer in the exact cache.
    pub version: u64,
    /// The cosine of the two embeddings, -1 to 1.
    pub similarity: f64,
}

/// The result of a search.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct SearchResult {
    /// The nearest prompts, at most 64, nearest first; equally near ones newest first.
    pub nearest: Vec<Neighbour>,
    /// The number of prompts compared: all of the partition.
    pub compared: usize,
}

impl Index {
    /// Creates an empty index for at most `max_entries` prompts.
    pub fn new(max_entries: usize) -> Self {
        Self {
            max_entries,
            partitions: BTreeMap::new(),
            locations: BTreeMap::new(),
            sweep_from: 0,
        }
    }

    /// The number of prompts.
    pub fn len(&self) -> usize {
        self.locations.len()
    }

    /// Returns true if the index has the prompt of this answer.
    pub fn contains(&self, version: u64) -> bool {
        self.locations.contains_key(&version)
    }

    /// Returns true without prompts.
    pub fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }

    /// Adds the prompt of the answer with this version and evicts the oldest ones above the limit. The vector has
    /// length 1.
    pub fn add(&mut self, version: u64, partition: &RequestKey, vector: Vec<f32>, sketch: Sketch) {
        self.remove(version);
        let key = (partition.clone(), vector.len());
        let home = self.partitions.entry(key.clone()).or_default();
        let slot = home.entries.len();
        home.sketches.push(sketch);
        home.entries.push(IndexEntry {
            version,
            vector: vector.into(),
        });
        let location = Location { partition: key, slot };
        self.locations.insert(version, location);
        self.shrink();
    }

    /// Replaces the version of an entry: its prompt has a newer answer.
    pub fn set_version(&mut self, version: u64, newer: u64) {
        let Some(location) = self.locations.remove(&version) else {
            return;
        };
        if let Some(entry) = self
            .partitions
            .get_mut(&location.partition)
            .and_then(|home| home.entries.get_mut(location.slot))
        {
            entry.version = newer;
            self.locations.insert(newer, location);
        }
    }

    /// Removes the prompt of an answer; returns false if the index has no such prompt.
    pub fn remove(&mut self, version: u64) -> bool {
        let Some(Location { partition, slot }) = self.locations.remove(&version) else {
            return false;
        };
        let Some(home) = self.partitions.get_mut(&partition) else {
            return false;
        };
        home.sketches.swap_remove(slot);
        home.entries.swap_remove(slot);
        // the last entry has moved to this slot
        if let Some(moved) = home.entries.get(slot)
            && let Some(location) = self.locations.get_mut(&moved.version)
        {
            location.slot = slot;
        }
        if home.entries.is_empty() {
            self.partitions.remove(&partition);
        }
        true
    }

    /// Checks the next few entries and removes those whose answers are gone. One sweep per insertion keeps dead
    /// entries below a third of the live ones.
    pub fn sweep(&mut self, is_alive: impl Fn(u64) -> bool) {
        let next: Vec<u64> = { self.locations.range(self.sweep_from..) }
            .map(|(version, _)| *version)
            .take(SWEEP_SIZE)
            .collect();
        self.sweep_from = match next.last() {
            Some(last) if next.len() == SWEEP_SIZE => last + 1,
            _ => 0,
        };
        for version in next {
            if !is_alive(version) {
                self.remove(version);
            }
        }
    }

    /// Removes all prompts.
    pub fn clear(&mut self) {
        self.partitions.clear();
        self.locations.clear();
    }

    /// Sets the limit and evicts the oldest prompts above it.
    pub fn set_max_entries(&mut self, max_entries: usize) {
        self.max_entries = max_entries;
        self.shrink();
    }

    /// Finds the nearest prompts of a partition.
    pub fn search(&self, partition: &RequestKey, vector: &[f32], sketch: &Sketch) -> SearchResult {
        let Some(home) = self.partitions.get(&(partition.clone(), vector.len())) else {
            return SearchResult::default();
        };
        let mut nearest: Vec<Neighbour> = { home.candidates(sketch).into_iter() }
            .filter_map(|slot| home.entries.get(slot))
            .map(|entry| Neighbour {
                version: entry.version,
                similarity: cosine(vector, &entry.vector),
            })
            .collect();
        nearest.sort_by(|a, b| {
            let nearer = b.similarity.total_cmp(&a.similarity);
            nearer.then(b.version.cmp(&a.version))
        });
        nearest.truncate(MAX_RESULTS);
        SearchResult {
            nearest,
            compared: home.entries.len(),
        }
    }

    fn shrink(&mut self) {
        while self.locations.len() > self.max_entries {
            let Some((&oldest, _)) = self.locations.first_key_value() else {
                return;
            };
            self.remove(oldest);
        }
    }
}

impl Partition {
    /// The slots with the fewest differing bits. Distances are small integers, so they are counted instead of
    /// sorted.
    fn candidates(&self, sketch: &Sketch) -> Vec<usize> {
        if self.sketches.len() <= CANDIDATES {
            return (0..self.sketches.len()).collect();
        }
        let distances: Vec<u16> = self.sketches.iter().map(|one| one.distance(sketch)).collect();
        let mut counts = [0_u32; BITS + 1];
        for distance in &distances {
            if let Some(count) = counts.get_mut(usize::from(*distance)) {
                *count += 1;
            }
        }
        let (mut below, mut limit) = (0, 0);
        for (distance, count) in counts.iter().enumerate() {
            limit = distance;
            if below + *count as usize > CANDIDATES {
                break;
            }
            below += *count as usize;
        }
        // all slots below the limit, and slots at the limit while there is room
        let mut at_limit = CANDIDATES - below;
        let mut slots = Vec::with_capacity(CANDIDATES);
        for (slot, distance) in distances.iter().enumerate() {
            let distance = usize::from(*distance);
            if distance < limit || (distance == limit && at_limit > 0) {
                at_limit -= usize::from(distance == limit);
                slots.push(slot);
            }
        }
        slots
    }
}

/// The cosine of two vectors of length 1, rounded to a millionth so that 0.8 is 0.8. Sixteen parallel sums fit
/// vector registers; the compiler may not reorder the sum of a plain loop.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    const STEPS: f64 = 1e6;
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let dot = f64::from(sums.iter().sum::<f32>() + rest);
    ((dot * STEPS).round() / STEPS).clamp(-1.0, 1.0)
}

impl fmt::Debug for Index {
    /// Leaves out the prompts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("entries", &self.locations.len())
            .field("partitions", &self.partitions.len())
            .field("max_entries", &self.max_entries)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
