//! What is served at a threshold, counted.

use std::collections::BTreeMap;

use serde::Serialize;

use super::MOST_FALSE_HITS;
use super::pairs::{Half, is_paraphrase};
use super::rate::Rate;
use super::report::Scored;

/// The lowest threshold that is tried.
const LOWEST: u32 = 30;
/// The highest.
const HIGHEST: u32 = 98;
/// Between two lines of the sweep that is shown.
const SHOWN_STEP: u32 = 5;

/// Hits and false hits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// Paraphrases that are served.
    pub hits: Rate,
    /// Look-alikes that are served.
    pub false_hits: Rate,
}

/// The figures of one embedder at one threshold, with the guards or without.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Whether the guards are asked.
    pub guards: bool,
    /// Of the whole set.
    pub all: Counts,
    /// Of the half that tables and threshold were tuned on.
    pub tuning: Counts,
    /// Of the other.
    pub held_out: Counts,
    /// What is served of each class.
    pub classes: BTreeMap<String, Rate>,
}

/// A threshold, and what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// The least similarity that is served.
    pub threshold: f64,
    /// With the guards.
    pub guarded: Counts,
    /// Without.
    pub unguarded: Counts,
}

/// Whether a pair is served.
fn served(pair: &Scored, threshold: f64, guards: bool) -> bool {
    // a similarity is a sum of floats: what is shown as equal counts as equal
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
    /// Counts at a threshold.
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

/// What each threshold would do, in steps of 0.05.
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

/// The threshold, in hundredths, that serves most paraphrases of the tuning half with few enough false hits; the
/// highest of those that serve as many. Nothing if none has few enough.
pub(super) fn best_threshold(pairs: &[Scored], guards: bool) -> Option<f64> {
    let tried = (LOWEST..=HIGHEST).map(|hundredth| {
        let threshold = f64::from(hundredth) / 100.0;
        let tuning = pairs.iter().filter(|pair| pair.half == Half::Tuning);
        (threshold, counts(tuning, threshold, guards))
    });
    let good = tried.filter(|(_, counts)| counts.false_hits.share <= MOST_FALSE_HITS);
    // of equals `max_by_key` takes the last
    good.max_by_key(|(_, counts)| counts.hits.count)
        .map(|(threshold, _)| threshold)
}
