//! Counts of what is served at a threshold.

use std::collections::BTreeMap;

use serde::Serialize;

use super::MOST_FALSE_HITS;
use super::pairs::{Half, is_paraphrase};
use super::rate::Rate;
use super::report::Scored;

/// Range of the thresholds tried, in hundredths.
const LOWEST: u32 = 30;
const HIGHEST: u32 = 98;
/// Step of the thresholds listed.
const SHOWN_STEP: u32 = 5;

/// Hits and false hits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// Paraphrases served.
    pub hits: Rate,
    /// Look-alikes served.
    pub false_hits: Rate,
}

/// The figures of one embedder at one threshold, with the guards or without.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// True if the guards are applied.
    pub guards: bool,
    /// Counts of the whole set.
    pub all: Counts,
    /// Counts of the half for tuning.
    pub tuning: Counts,
    /// Counts of the held-out half.
    pub held_out: Counts,
    /// Pairs served, by class.
    pub classes: BTreeMap<String, Rate>,
}

/// A threshold and its counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// The minimum similarity that is served.
    pub threshold: f64,
    /// Counts with the guards.
    pub guarded: Counts,
    /// Counts without the guards.
    pub unguarded: Counts,
}

/// True if a pair is served.
fn served(pair: &Scored, threshold: f64, guards: bool) -> bool {
    // a similarity is a sum of floats: a margin for rounding errors
    pair.similarity + 1e-6 >= threshold && !(guards && pair.objection.is_some())
}

fn counts<'a>(pairs: impl Iterator<Item = &'a Scored>, threshold: f64, guards: bool) -> Counts {
    let mut found = [(0, 0); 2];
    for pair in pairs {
        if let Some((count, of)) = found.get_mut(usize::from(is_paraphrase(&pair.class))) {
            *count += usize::from(served(pair, threshold, guards));
            *of += 1;
        }
    }
    let [false_hits, hits] = found.map(|(count, of)| Rate::new(count, of));
    Counts { hits, false_hits }
}

impl Figures {
    pub(super) fn new(pairs: &[Scored], threshold: f64, guards: bool) -> Self {
        let half = |half: Half| counts(pairs.iter().filter(|pair| pair.half == half), threshold, guards);
        let mut classes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for pair in pairs {
            let (count, of) = classes.entry(pair.class.clone()).or_default();
            *count += usize::from(served(pair, threshold, guards));
            *of += 1;
        }
        Self {
            guards,
            all: counts(pairs.iter(), threshold, guards),
            tuning: half(Half::Tuning),
            held_out: half(Half::HeldOut),
            classes: classes
                .into_iter()
                .map(|(class, (count, of))| (class, Rate::new(count, of)))
                .collect(),
        }
    }
}

/// The counts at thresholds in steps of 0.05.
pub(super) fn sweep(pairs: &[Scored]) -> Vec<Sweep> {
    let steps = (LOWEST..=HIGHEST).filter(|hundredth| hundredth % SHOWN_STEP == 0);
    let lines = steps.map(|hundredth| {
        let threshold = f64::from(hundredth) / 100.0;
        Sweep {
            threshold,
            guarded: counts(pairs.iter(), threshold, true),
            unguarded: counts(pairs.iter(), threshold, false),
        }
    });
    lines.collect()
}

/// The threshold, in hundredths, that serves most paraphrases of the tuning half with at most [`MOST_FALSE_HITS`];
/// of equal ones the highest.
pub(super) fn best_threshold(pairs: &[Scored], guards: bool) -> Option<f64> {
    let tried = (LOWEST..=HIGHEST).map(|hundredth| {
        let threshold = f64::from(hundredth) / 100.0;
        let tuning = pairs.iter().filter(|pair| pair.half == Half::Tuning);
        (threshold, counts(tuning, threshold, guards))
    });
    let good = tried.filter(|(_, counts)| counts.false_hits.share <= MOST_FALSE_HITS);
    // `max_by_key` returns the last of equal ones
    good.max_by_key(|(_, counts)| counts.hits.count)
        .map(|(threshold, _)| threshold)
}
