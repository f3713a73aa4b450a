//! The index against a brute-force search and a model.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::semantic::normalise;

const SEED: u64 = 5;

fn partition(n: u8) -> RequestKey {
    RequestKey::forced(u128::from(n), &[n])
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    assert!(normalise(&mut vector));
    vector
}

/// Approximately normal numbers: sums of three uniform ones.
fn gauss(rng: &mut StdRng, dims: usize) -> Vec<f32> {
    let one = |rng: &mut StdRng| (0..3).map(|_| rng.random::<f32>()).sum::<f32>() - 1.5;
    unit((0..dims).map(|_| one(rng)).collect())
}

/// Sparse vectors of hashed words, as from a lexical embedder.
fn words(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; 384];
    for word in text.split(' ') {
        let hash = xxh3_64(word.as_bytes());
        vector[(hash % 384) as usize] += if hash >> 63 == 0 { 1.0 } else { -1.0 };
    }
    // two words must not cancel to zero
    vector[0] += 0.1;
    unit(vector)
}

fn add(index: &mut Index, version: u64, home: &RequestKey, vector: &[f32]) {
    index.add(version, home, vector.to_vec(), Sketch::new(SEED, vector));
}

fn search(index: &Index, home: &RequestKey, vector: &[f32]) -> SearchResult {
    index.search(home, vector, &Sketch::new(SEED, vector))
}

/// Every query must find the brute-force result if its similarity is above 0.6.
fn recall_is_one(stored: &[Vec<f32>], queries: &[Vec<f32>], found_at_least: usize) {
    let home = partition(1);
    let mut index = Index::new(stored.len());
    for (version, vector) in stored.iter().enumerate() {
        add(&mut index, version as u64, &home, vector);
    }
    let mut found_above = 0;
    for query in queries {
        let best = stored.iter().map(|one| cosine(query, one)).fold(-1.0, f64::max);
        let found = search(&index, &home, query);
        assert_eq!(found.compared, stored.len());
        assert!(found.nearest.is_sorted_by(|a, b| a.similarity >= b.similarity));
        if best > 0.6 {
            found_above += 1;
            let nearest = found.nearest.first().map(|near| near.similarity);
            assert_eq!(nearest, Some(best));
        }
    }
    assert!(
        found_above >= found_at_least,
        "only {found_above} queries had a neighbour above 0.6"
    );
}

#[test]
fn finds_every_near_neighbour_among_gaussian_vectors() {
    let mut rng = StdRng::seed_from_u64(1);
    for dims in [96, 384] {
        let stored: Vec<_> = (0..1_500).map(|_| gauss(&mut rng, dims)).collect();
        let noisy = |rng: &mut StdRng, noise: f32| {
            let near = &stored[rng.random_range(0..stored.len())];
            let other = gauss(rng, dims);
            unit(near.iter().zip(&other).map(|(a, b)| a + noise * b).collect())
        };
        // a noise of 1.25 leaves a cosine of about 0.62
        let queries: Vec<_> = (0..100)
            .map(|n| noisy(&mut rng, 1.25 * n as f32 / 100.0))
            .collect();
        recall_is_one(&stored, &queries, 90);
    }
}

#[test]
fn finds_every_near_neighbour_among_sparse_vectors() {
    let mut rng = StdRng::seed_from_u64(2);
    let sentence = |rng: &mut StdRng| -> Vec<String> {
        (0..rng.random_range(4..14))
            .map(|_| format!("w{}", rng.random_range(0..400)))
            .collect()
    };
    let stored: Vec<_> = (0..1_500).map(|_| sentence(&mut rng)).collect();
    let queries: Vec<_> = (0..150)
        .map(|_| {
            let mut near = stored[rng.random_range(0..stored.len())].clone();
            let place = rng.random_range(0..near.len());
            near[place] = format!("w{}", rng.random_range(0..400));
            words(&near.join(" "))
        })
        .collect();
    let stored: Vec<_> = stored.iter().map(|one| words(&one.join(" "))).collect();
    recall_is_one(&stored, &queries, 100);
}

/// More neighbours than candidates: the sketch must rank them.
#[test]
fn finds_the_nearest_of_a_thousand_neighbours() {
    let mut rng = StdRng::seed_from_u64(3);
    let centre = gauss(&mut rng, 384);
    let around = |rng: &mut StdRng, noise: f32| {
        let other = gauss(rng, 384);
        unit(centre.iter().zip(&other).map(|(a, b)| a + noise * b).collect())
    };
    let stored: Vec<_> = (0..1_000).map(|_| around(&mut rng, 0.5)).collect();
    let queries = stored.iter().step_by(10).map(|one| {
        let other = gauss(&mut rng, 384);
        unit(one.iter().zip(&other).map(|(a, b)| a + 0.2 * b).collect())
    });
    let queries: Vec<_> = queries.collect();
    recall_is_one(&stored, &queries, 100);
}

#[test]
fn partitions_and_dimensions_never_meet() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut index = Index::new(100);
    let vector = gauss(&mut rng, 384);
    add(&mut index, 1, &partition(1), &vector);
    add(&mut index, 2, &partition(2), &vector);
    add(&mut index, 3, &partition(1), &gauss(&mut rng, 64));
    let found = search(&index, &partition(1), &vector);
    assert_eq!((found.compared, found.nearest.len()), (1, 1));
    assert_eq!((found.nearest[0].version, found.nearest[0].similarity), (1, 1.0));
    assert_eq!(search(&index, &partition(3), &vector), SearchResult::default());
    // the same fingerprint, and another key
    assert_eq!(
        search(&index, &RequestKey::forced(1, b"x"), &vector),
        SearchResult::default()
    );
}

#[test]
fn evicts_the_oldest_first_and_a_new_version_counts_as_young() {
    let mut rng = StdRng::seed_from_u64(5);
    let home = partition(1);
    let mut index = Index::new(3);
    let vectors: Vec<_> = (0..5).map(|_| gauss(&mut rng, 32)).collect();
    for version in 0..3 {
        add(&mut index, version, &home, &vectors[version as usize]);
    }
    index.set_version(0, 7);
    index.set_version(9, 10);
    add(&mut index, 8, &home, &vectors[3]);
    let versions = |index: &Index| index.locations.keys().copied().collect::<Vec<_>>();
    assert_eq!(versions(&index), [2, 7, 8]);
    assert_eq!(search(&index, &home, &vectors[0]).nearest[0].version, 7);
    index.set_max_entries(1);
    assert_eq!((versions(&index), index.len()), (vec![8], 1));
    index.clear();
    assert!(index.is_empty());
    assert_eq!(search(&index, &home, &vectors[0]).compared, 0);
}

#[test]
fn sweeping_removes_dead_entries_that_no_search_finds() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut index = Index::new(1_000);
    let alive = |now: u64| move |version: u64| version + 100 > now;
    for version in 0..2_000 {
        // each in a partition of its own, which no search visits
        add(
            &mut index,
            version,
            &RequestKey::forced(u128::from(version), b"x"),
            &gauss(&mut rng, 8),
        );
        index.sweep(alive(version));
        assert!(index.len() <= 136, "{version}: {}", index.len());
    }
    for _ in 0..100 {
        index.sweep(|_| false);
    }
    assert!(index.is_empty() && index.partitions.is_empty());
}

#[test]
fn random_operations_match_a_plain_map() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut index = Index::new(40);
    let mut model: BTreeMap<u64, (u8, Vec<f32>)> = BTreeMap::new();
    for version in 0..3_000_u64 {
        let home = rng.random_range(0..3_u8);
        match rng.random_range(0..6) {
            0..3 => {
                let vector = gauss(&mut rng, 16);
                add(&mut index, version, &partition(home), &vector);
                model.insert(version, (home, vector));
                while model.len() > 40 {
                    model.pop_first();
                }
            }
            3 => {
                let victim = version.saturating_sub(rng.random_range(0..60));
                assert_eq!(index.remove(victim), model.remove(&victim).is_some());
            }
            4 => {
                let old = version.saturating_sub(rng.random_range(0..60));
                index.set_version(old, version);
                if let Some(entry) = model.remove(&old) {
                    model.insert(version, entry);
                }
            }
            _ => {
                let query = gauss(&mut rng, 16);
                let mut expected: Vec<_> = { model.iter() }
                    .filter(|(_, (of, _))| *of == home)
                    .map(|(version, (_, vector))| (*version, cosine(&query, vector)))
                    .collect();
                expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
                let found = search(&index, &partition(home), &query);
                let found = found.nearest.iter().map(|near| (near.version, near.similarity));
                assert_eq!(found.collect::<Vec<_>>(), expected);
            }
        }
        assert_eq!(index.len(), model.len());
    }
}
