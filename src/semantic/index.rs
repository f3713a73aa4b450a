//! The index: which stored prompt lies nearest.
//!
//! ```text
//! prompt's vector --> sketch --> Hamming distance to every sketch of its partition --> the 256 nearest
//!                                                                                         |
//!                                               sorted by exact cosine  <-----------------+
//! ```
//!
//! A partition holds the prompts that may be compared at all: those of one compatibility key and one number of
//! dimensions. An entry is named by the version of its answer in the exact cache, and lives no longer than that
//! answer should: whoever finds one whose answer has gone removes it, and [`Index::tidy`] looks at a few others
//! each time one is added, so that what nobody asks for again goes too.
//!
//! The scan is linear and its order of memory is the simplest: 64 bytes for each prompt, 3.2 MB for 50,000. A
//! graph (HNSW) would visit fewer and be slower to build, unable to forget, and different from run to run.
//! Vectors lie each on its own: only the nearest are read, in no order.

use std::collections::BTreeMap;
use std::fmt;

use super::sketch::{BITS, Sketch};
use crate::policy::fingerprint::RequestKey;

/// Prompts whose exact cosine is computed. A partition of no more is compared exactly as a whole.
const RESCORED: usize = 256;
/// The nearest that are given.
const GIVEN: usize = 64;
/// Entries that [`Index::tidy`] looks at.
const TIDIED: usize = 4;

/// See the module documentation.
pub struct Index {
    max_entries: usize,
    partitions: BTreeMap<PartitionKey, Partition>,
    /// Where an entry lies. In the order of versions: the oldest answer first.
    places: BTreeMap<u64, Place>,
    /// Up to which version `tidy` has come.
    tidied: u64,
}

/// The compatibility key, and the number of dimensions: another embedding model is another space.
type PartitionKey = (RequestKey, usize);

struct Place {
    partition: PartitionKey,
    slot: usize,
}

/// Parallel arrays: the n-th sketch is that of the n-th entry.
#[derive(Default)]
struct Partition {
    sketches: Vec<Sketch>,
    entries: Vec<Entry>,
}

struct Entry {
    version: u64,
    vector: Box<[f32]>,
}

/// A stored prompt near to one that was asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// The version of its answer in the exact cache.
    pub version: u64,
    /// Cosine of the two embeddings, -1 to 1.
    pub similarity: f64,
}

/// What a search finds.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Found {
    /// The nearest prompts, nearest first; of equal ones the newest first.
    pub nearest: Vec<Near>,
    /// Prompts that were compared: all of the partition.
    pub compared: usize,
}

impl Index {
    /// An empty index for so many prompts.
    pub fn new(max_entries: usize) -> Self {
        Self {
            max_entries,
            partitions: BTreeMap::new(),
            places: BTreeMap::new(),
            tidied: 0,
        }
    }

    /// Prompts in it.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds the prompt of the answer with this version; the oldest ones make room. The vector has length 1.
    pub fn add(&mut self, version: u64, partition: &RequestKey, vector: Vec<f32>, sketch: Sketch) {
        self.remove(version);
        let key = (partition.clone(), vector.len());
        let home = self.partitions.entry(key.clone()).or_default();
        let slot = home.entries.len();
        home.sketches.push(sketch);
        home.entries.push(Entry {
            version,
            vector: vector.into(),
        });
        let place = Place { partition: key, slot };
        self.places.insert(version, place);
        self.shrink();
    }

    /// The same prompt has a newer answer.
    pub fn renew(&mut self, version: u64, newer: u64) {
        let Some(place) = self.places.remove(&version) else {
            return;
        };
        if let Some(entry) = self
            .partitions
            .get_mut(&place.partition)
            .and_then(|home| home.entries.get_mut(place.slot))
        {
            entry.version = newer;
            self.places.insert(newer, place);
        }
    }

    /// Forgets the prompt of an answer; says whether it was there.
    pub fn remove(&mut self, version: u64) -> bool {
        let Some(Place { partition, slot }) = self.places.remove(&version) else {
            return false;
        };
        let Some(home) = self.partitions.get_mut(&partition) else {
            return false;
        };
        home.sketches.swap_remove(slot);
        home.entries.swap_remove(slot);
        // the last one has taken its place
        if let Some(moved) = home.entries.get(slot)
            && let Some(place) = self.places.get_mut(&moved.version)
        {
            place.slot = slot;
        }
        if home.entries.is_empty() {
            self.partitions.remove(&partition);
        }
        true
    }

    /// Looks at a few entries, each time at the next ones, and forgets those whose answers have gone. Done with
    /// every `add`, it keeps the dead below a third of the living, and costs little each time.
    pub fn tidy(&mut self, lives: impl Fn(u64) -> bool) {
        let next: Vec<u64> = { self.places.range(self.tidied..) }
            .map(|(version, _)| *version)
            .take(TIDIED)
            .collect();
        self.tidied = match next.last() {
            Some(last) if next.len() == TIDIED => last + 1,
            _ => 0,
        };
        for version in next {
            if !lives(version) {
                self.remove(version);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.partitions.clear();
        self.places.clear();
    }

    /// Takes another bound; the oldest go.
    pub fn configure(&mut self, max_entries: usize) {
        self.max_entries = max_entries;
        self.shrink();
    }

    /// The nearest prompts of a partition.
    pub fn search(&self, partition: &RequestKey, vector: &[f32], sketch: &Sketch) -> Found {
        let Some(home) = self.partitions.get(&(partition.clone(), vector.len())) else {
            return Found::default();
        };
        let mut nearest: Vec<Near> = { home.propose(sketch).into_iter() }
            .filter_map(|slot| home.entries.get(slot))
            .map(|entry| Near {
                version: entry.version,
                similarity: cosine(vector, &entry.vector),
            })
            .collect();
        nearest.sort_by(|a, b| {
            let nearer = b.similarity.total_cmp(&a.similarity);
            nearer.then(b.version.cmp(&a.version))
        });
        nearest.truncate(GIVEN);
        Found {
            nearest,
            compared: home.entries.len(),
        }
    }

    fn shrink(&mut self) {
        while self.places.len() > self.max_entries {
            let Some((&oldest, _)) = self.places.first_key_value() else {
                return;
            };
            self.remove(oldest);
        }
    }
}

impl Partition {
    /// The slots with the fewest differing bits. Distances are small whole numbers: they are counted, not sorted.
    fn propose(&self, sketch: &Sketch) -> Vec<usize> {
        if self.sketches.len() <= RESCORED {
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
            if below + *count as usize > RESCORED {
                break;
            }
            below += *count as usize;
        }
        // all that are nearer than the limit, and as many at the limit as there is room for
        let mut at_limit = RESCORED - below;
        let mut slots = Vec::with_capacity(RESCORED);
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

/// The cosine of two vectors of length 1, to a millionth: more is rounding, and 0.8 should be 0.8. Sixteen sums
/// side by side: the compiler may not reorder the sum of a plain loop, and these it can hold in vector registers.
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
    /// Without what people asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("entries", &self.places.len())
            .field("partitions", &self.partitions.len())
            .field("max_entries", &self.max_entries)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
