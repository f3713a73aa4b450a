//! What people say of semantic hits, and what follows from it.
//!
//! ```text
//! hit --> remembered --> good: counted
//!                   \--> bad:  counted; the stored prompt asks for more than was seen; its answer goes
//! ```
//!
//! Thresholds are learned for each stored prompt, not for all (Schroeder et al., "vCache: Verified Semantic Prompt
//! Caching", 2025): how near another prompt may come without meaning something else depends on the prompt. A label
//! counts for the request that was stored, by its fingerprint, and so for one user alone; it outlives the answer.

use std::collections::{BTreeMap, VecDeque};

use crate::event::CallId;
use crate::policy::fingerprint::Fingerprint;
use crate::settings::SemanticLabel;

/// Hits that can still be judged.
const RECENT: usize = 1_000;
/// Stored requests with labels; the ones labelled first go.
const MAX_LABELS: usize = 10_000;
/// A threshold that a bad label sets is so much above the similarity it was given for.
const ABOVE: f64 = 0.001;
/// The threshold of a prompt that no other one may ever be answered with: a bad label was given where the
/// embedder saw no difference at all. In the settings it is written as 1.
const NEVER: f64 = 1.0 + ABOVE;

/// A semantic hit, or what would have been one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Served {
    /// The call that had asked the stored prompt.
    pub source: CallId,
    /// The request it had made.
    pub request: Fingerprint,
    /// The version of the answer in the exact cache.
    pub version: u64,
    /// How like the prompts are.
    pub similarity: f64,
}

/// A label was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Labelled {
    /// What it was given for.
    pub served: Served,
    /// What the stored prompt asks for from now on, if more than the threshold of all.
    pub threshold: f64,
}

/// A label was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLabelled {
    /// The call had no semantic hit, or it is forgotten.
    #[error("it had no answer from the semantic cache, or that is too long ago")]
    NoHit,
    /// The same was said before.
    #[error("that was said of it before")]
    Before,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Labels {
    /// The thresholds that labels ask for.
    raised: BTreeMap<Fingerprint, f64>,
    recent: BTreeMap<CallId, (Served, Option<Said>)>,
    /// In the order they were served.
    order: VecDeque<CallId>,
}

/// What was said of a hit.
#[derive(Clone, Copy, Debug)]
struct Said {
    good: bool,
    /// The threshold before.
    before: Option<f64>,
    /// The threshold it set.
    set: Option<f64>,
}

impl Labels {
    /// With what was said in earlier sessions.
    pub fn new(labels: &[SemanticLabel]) -> Self {
        let mut new = Self::default();
        new.configure(labels);
        new
    }

    /// Takes other labels. What was served stays.
    pub fn configure(&mut self, labels: &[SemanticLabel]) {
        let raised = labels.iter().filter_map(|label| {
            let request: Fingerprint = label.request.parse().ok()?;
            Some((request, label.threshold?))
        });
        self.raised = raised.collect();
    }

    /// What a prompt must be like this request at least; above 1 where nothing may.
    pub fn threshold(&self, request: Fingerprint, of_all: f64) -> f64 {
        match self.raised.get(&request) {
            Some(raised) if *raised >= 1.0 => NEVER,
            Some(raised) => raised.max(of_all),
            None => of_all,
        }
    }

    /// A call was served by meaning, or would have been.
    pub fn served(&mut self, call: CallId, served: Served) {
        if self.recent.insert(call, (served, None)).is_none() {
            self.order.push_back(call);
        }
        while self.order.len() > RECENT {
            if let Some(oldest) = self.order.pop_front() {
                self.recent.remove(&oldest);
            }
        }
    }

    /// Takes a label, and writes it into the settings. Another one for the same call takes the place of the first.
    pub fn label(
        &mut self,
        labels: &mut Vec<SemanticLabel>,
        of_all: f64,
        call: CallId,
        good: bool,
    ) -> Result<Labelled, NotLabelled> {
        let (served, said) = self.recent.get_mut(&call).ok_or(NotLabelled::NoHit)?;
        if said.is_some_and(|said| said.good == good) {
            return Err(NotLabelled::Before);
        }
        let served = *served;
        let label = label_of(labels, served.request);
        if let Some(earlier) = *said {
            let counted = if earlier.good {
                &mut label.good
            } else {
                &mut label.bad
            };
            *counted = counted.saturating_sub(1);
            // not if another label has raised it since
            if earlier.set.is_some() && label.threshold == earlier.set {
                label.threshold = earlier.before;
            }
        }
        let before = label.threshold;
        let mut set = None;
        if good {
            label.good = label.good.saturating_add(1);
        } else {
            label.bad = label.bad.saturating_add(1);
            let above = (served.similarity + ABOVE).clamp(ABOVE, 1.0);
            let raised = before.map_or(above, |before| before.max(above));
            label.threshold = Some(raised);
            set = Some(raised);
        }
        *said = Some(Said { good, before, set });
        match label.threshold {
            Some(threshold) => self.raised.insert(served.request, threshold),
            None => self.raised.remove(&served.request),
        };
        let threshold = self.threshold(served.request, of_all);
        if labels.len() > MAX_LABELS {
            let forgotten = labels.remove(0);
            if let Ok(request) = forgotten.request.parse() {
                self.raised.remove(&request);
            }
        }
        Ok(Labelled { served, threshold })
    }
}

/// The labels of a request: those it has, or new ones at the end.
fn label_of(labels: &mut Vec<SemanticLabel>, request: Fingerprint) -> &mut SemanticLabel {
    let request = request.to_string();
    let known = labels.iter().position(|label| label.request == request);
    let place = known.unwrap_or_else(|| {
        labels.push(SemanticLabel {
            request,
            ..SemanticLabel::default()
        });
        labels.len() - 1
    });
    &mut labels[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallId = CallId(5);

    fn served(request: u128, similarity: f64) -> Served {
        Served {
            source: CallId(1),
            request: Fingerprint(request),
            version: 1,
            similarity,
        }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_bad_label_asks_for_more_than_was_seen_and_a_good_one_counts() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        labels.served(CALL, served(7, 0.9));
        labels.served(CallId(6), served(7, 0.85));
        let labelled = labels.label(&mut kept, 0.8, CALL, false).unwrap();
        assert!(near(labelled.threshold, 0.901), "{labelled:?}");
        assert!(near(labels.threshold(Fingerprint(7), 0.8), 0.901));
        assert!(near(labels.threshold(Fingerprint(7), 0.95), 0.95));
        assert!(near(labels.threshold(Fingerprint(8), 0.8), 0.8));
        // a worse one does not lower it
        let labelled = labels.label(&mut kept, 0.8, CallId(6), false).unwrap();
        assert!(near(labelled.threshold, 0.901), "{labelled:?}");
        assert_eq!((kept.len(), kept[0].good, kept[0].bad), (1, 0, 2));
        assert_eq!(kept[0].request, Fingerprint(7).to_string());
        // and what is kept says the same to the next session
        let next = Labels::new(&kept);
        assert!(near(next.threshold(Fingerprint(7), 0.8), 0.901));
    }

    #[test]
    fn who_changes_his_mind_has_said_it_once() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        labels.served(CALL, served(7, 0.9));
        let mut label = |labels: &mut Labels, good| labels.label(&mut kept, 0.8, CALL, good);
        let not = |result: Result<Labelled, NotLabelled>| result.unwrap_err();
        assert_eq!(
            not(labels.label(&mut Vec::new(), 0.8, CallId(9), true)),
            NotLabelled::NoHit
        );
        label(&mut labels, false).unwrap();
        assert_eq!(not(label(&mut labels, false)), NotLabelled::Before);
        assert!(near(label(&mut labels, true).unwrap().threshold, 0.8));
        assert_eq!(not(label(&mut labels, true)), NotLabelled::Before);
        assert!(near(labels.threshold(Fingerprint(7), 0.8), 0.8));
        label(&mut labels, false).unwrap();
        assert!(near(labels.threshold(Fingerprint(7), 0.8), 0.901));
        assert_eq!((kept.len(), kept[0].good, kept[0].bad), (1, 0, 1));
    }

    #[test]
    fn taking_back_leaves_what_another_label_asks_for() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        labels.served(CALL, served(7, 0.85));
        labels.served(CallId(6), served(7, 0.9));
        labels.label(&mut kept, 0.8, CALL, false).unwrap();
        labels.label(&mut kept, 0.8, CallId(6), false).unwrap();
        let labelled = labels.label(&mut kept, 0.8, CALL, true).unwrap();
        assert!(near(labelled.threshold, 0.901), "{labelled:?}");
        assert_eq!((kept[0].good, kept[0].bad), (1, 1));
    }

    #[test]
    fn what_the_embedder_cannot_tell_apart_is_never_served_once_it_was_wrong() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        labels.served(CALL, served(7, 1.0));
        let labelled = labels.label(&mut kept, 0.8, CALL, false).unwrap();
        assert!(labelled.threshold > 1.0);
        assert_eq!(kept[0].threshold, Some(1.0));
        assert!(Labels::new(&kept).threshold(Fingerprint(7), 0.8) > 1.0);
    }

    #[test]
    fn both_memories_are_bounded() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        for n in 1..=MAX_LABELS as u64 + 20 {
            labels.served(CallId(n), served(u128::from(n), 0.9));
            labels.label(&mut kept, 0.8, CallId(n), false).unwrap();
        }
        assert_eq!((kept.len(), labels.raised.len()), (MAX_LABELS, MAX_LABELS));
        assert_eq!((labels.recent.len(), labels.order.len()), (RECENT, RECENT));
        assert!(labels.label(&mut kept, 0.8, CallId(1), true).is_err());
        assert!(near(labels.threshold(Fingerprint(1), 0.8), 0.8));
    }
}
