//! Users' labels of semantic hits, and the thresholds learned from them.
//!
//! ```text
//! hit --> remembered --> right: counted
//!                   \--> wrong: counted; the threshold of the stored prompt rises above the hit; its answer is removed
//! ```
//!
//! Thresholds are learned per stored prompt (Schroeder et al., "vCache: Verified Semantic Prompt Caching", 2025):
//! how similar a prompt with another meaning can be depends on the stored prompt. A label belongs to the
//! fingerprint of the stored request, and therefore to one user; it outlives the answer.

use std::collections::{BTreeMap, VecDeque};

use crate::event::CallId;
use crate::policy::fingerprint::Fingerprint;
use crate::settings::SemanticLabel;

/// Hits that can still be labelled.
const MAX_RECENT: usize = 1_000;
/// Stored requests with labels; the one labelled first is dropped first.
const MAX_LABELS: usize = 10_000;
/// The distance of a raised threshold above the similarity of the wrong hit.
const MARGIN: f64 = 0.001;
/// The threshold of a prompt whose answer may serve no other prompt: it was wrong although the embeddings were
/// equal. The settings write it as 1.
const NEVER: f64 = 1.0 + MARGIN;

/// A semantic hit, or in shadow mode a hit that would have been served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SemanticHit {
    /// The call that sent the stored prompt.
    pub(crate) source: CallId,
    /// The fingerprint of its request.
    pub(crate) request: Fingerprint,
    /// The version of its answer in the exact cache.
    pub(crate) version: u64,
    /// The cosine similarity of the prompts, -1 to 1.
    pub(crate) similarity: f64,
}

/// The result of a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Labelled {
    /// The labelled hit.
    pub(crate) hit: SemanticHit,
    /// The threshold of the stored prompt from now on; above 1 if it may serve no other prompt.
    pub(crate) threshold: f64,
}

/// A label that was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LabelError {
    /// The call had no semantic hit, or it is no longer remembered.
    #[error("no recent semantic hit")]
    NoHit,
    /// The hit already has this label.
    #[error("already labelled so")]
    Repeated,
}

/// The labels of a session and the thresholds learned from them. See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// The thresholds raised by labels.
    raised: BTreeMap<Fingerprint, f64>,
    recent: BTreeMap<CallId, (SemanticHit, Option<Verdict>)>,
    /// In the order of the hits.
    order: VecDeque<CallId>,
}

/// The label of a hit, and what it changed.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    good: bool,
    /// The threshold before the label.
    before: Option<f64>,
    /// The threshold that the label set.
    set: Option<f64>,
}

impl Labels {
    /// Starts from the labels of earlier sessions.
    pub(crate) fn new(labels: &[SemanticLabel]) -> Self {
        let mut new = Self::default();
        new.configure(labels);
        new
    }

    /// Replaces the labels. Remembered hits stay.
    pub(crate) fn configure(&mut self, labels: &[SemanticLabel]) {
        let raised = labels.iter().filter_map(|label| {
            let request: Fingerprint = label.request.parse().ok()?;
            Some((request, label.threshold?))
        });
        self.raised = raised.collect();
    }

    /// Returns the least similarity at which the answer of this request is served: at least `default`, and above 1
    /// if it is never served.
    pub(crate) fn threshold(&self, request: Fingerprint, default: f64) -> f64 {
        match self.raised.get(&request) {
            Some(raised) if *raised >= 1.0 => NEVER,
            Some(raised) => raised.max(default),
            None => default,
        }
    }

    /// Remembers the semantic hit of a call.
    pub(crate) fn record_hit(&mut self, call: CallId, hit: SemanticHit) {
        if self.recent.insert(call, (hit, None)).is_none() {
            self.order.push_back(call);
        }
        while self.order.len() > MAX_RECENT {
            if let Some(oldest) = self.order.pop_front() {
                self.recent.remove(&oldest);
            }
        }
    }

    /// Labels the hit of a call as right or wrong and updates the labels of the settings. A second label of the
    /// same call replaces the first.
    ///
    /// # Errors
    /// Fails if the call has no recent hit, or if it already has this label.
    pub(crate) fn label(
        &mut self,
        labels: &mut Vec<SemanticLabel>,
        default: f64,
        call: CallId,
        good: bool,
    ) -> Result<Labelled, LabelError> {
        let (hit, verdict) = self.recent.get_mut(&call).ok_or(LabelError::NoHit)?;
        if verdict.is_some_and(|verdict| verdict.good == good) {
            return Err(LabelError::Repeated);
        }
        let hit = *hit;
        let label = label_for(labels, hit.request);
        if let Some(earlier) = *verdict {
            let counted = if earlier.good {
                &mut label.good
            } else {
                &mut label.bad
            };
            *counted = counted.saturating_sub(1);
            // unless another label has raised it since
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
            let above = (hit.similarity + MARGIN).clamp(MARGIN, 1.0);
            let raised = before.map_or(above, |before| before.max(above));
            label.threshold = Some(raised);
            set = Some(raised);
        }
        *verdict = Some(Verdict { good, before, set });
        match label.threshold {
            Some(threshold) => self.raised.insert(hit.request, threshold),
            None => self.raised.remove(&hit.request),
        };
        let threshold = self.threshold(hit.request, default);
        if labels.len() > MAX_LABELS {
            let dropped = labels.remove(0);
            if let Ok(request) = dropped.request.parse() {
                self.raised.remove(&request);
            }
        }
        Ok(Labelled { hit, threshold })
    }
}

/// The label entry of a request, appended if it has none.
fn label_for(labels: &mut Vec<SemanticLabel>, request: Fingerprint) -> &mut SemanticLabel {
    let request = request.to_string();
    let known = labels.iter().position(|label| label.request == request);
    let index = known.unwrap_or_else(|| {
        labels.push(SemanticLabel {
            request,
            ..SemanticLabel::default()
        });
        labels.len() - 1
    });
    &mut labels[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallId = CallId(5);

    fn hit(request: u128, similarity: f64) -> SemanticHit {
        SemanticHit {
            source: CallId(1),
            request: Fingerprint(request),
            version: 1,
            similarity,
        }
    }

    fn is_close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_wrong_label_raises_the_threshold_above_the_hit() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        labels.record_hit(CALL, hit(7, 0.9));
        labels.record_hit(CallId(6), hit(7, 0.85));
        let labelled = labels.label(&mut kept, 0.8, CALL, false).unwrap();
        assert!(is_close(labelled.threshold, 0.901), "{labelled:?}");
        assert!(is_close(labels.threshold(Fingerprint(7), 0.8), 0.901));
        assert!(is_close(labels.threshold(Fingerprint(7), 0.95), 0.95));
        assert!(is_close(labels.threshold(Fingerprint(8), 0.8), 0.8));
        // a less similar hit does not lower it
        let labelled = labels.label(&mut kept, 0.8, CallId(6), false).unwrap();
        assert!(is_close(labelled.threshold, 0.901), "{labelled:?}");
        assert_eq!((kept.len(), kept[0].good, kept[0].bad), (1, 0, 2));
        assert_eq!(kept[0].request, Fingerprint(7).to_string());
        // the next session starts with the same threshold
        let next = Labels::new(&kept);
        assert!(is_close(next.threshold(Fingerprint(7), 0.8), 0.901));
    }

    #[test]
    fn a_second_label_replaces_the_first() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        labels.record_hit(CALL, hit(7, 0.9));
        let mut label = |labels: &mut Labels, good| labels.label(&mut kept, 0.8, CALL, good);
        let error = |result: Result<Labelled, LabelError>| result.unwrap_err();
        assert_eq!(
            error(labels.label(&mut Vec::new(), 0.8, CallId(9), true)),
            LabelError::NoHit
        );
        label(&mut labels, false).unwrap();
        assert_eq!(error(label(&mut labels, false)), LabelError::Repeated);
        assert!(is_close(label(&mut labels, true).unwrap().threshold, 0.8));
        assert_eq!(error(label(&mut labels, true)), LabelError::Repeated);
        assert!(is_close(labels.threshold(Fingerprint(7), 0.8), 0.8));
        label(&mut labels, false).unwrap();
        assert!(is_close(labels.threshold(Fingerprint(7), 0.8), 0.901));
        assert_eq!((kept.len(), kept[0].good, kept[0].bad), (1, 0, 1));
    }

    #[test]
    fn replacing_a_label_keeps_the_threshold_of_another() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        labels.record_hit(CALL, hit(7, 0.85));
        labels.record_hit(CallId(6), hit(7, 0.9));
        labels.label(&mut kept, 0.8, CALL, false).unwrap();
        labels.label(&mut kept, 0.8, CallId(6), false).unwrap();
        let labelled = labels.label(&mut kept, 0.8, CALL, true).unwrap();
        assert!(is_close(labelled.threshold, 0.901), "{labelled:?}");
        assert_eq!((kept[0].good, kept[0].bad), (1, 1));
    }

    #[test]
    fn a_wrong_hit_with_equal_embeddings_is_never_served_again() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        labels.record_hit(CALL, hit(7, 1.0));
        let labelled = labels.label(&mut kept, 0.8, CALL, false).unwrap();
        assert!(labelled.threshold > 1.0);
        assert_eq!(kept[0].threshold, Some(1.0));
        assert!(Labels::new(&kept).threshold(Fingerprint(7), 0.8) > 1.0);
    }

    #[test]
    fn hits_and_labels_are_bounded() {
        let (mut labels, mut kept) = (Labels::default(), Vec::new());
        for n in 1..=MAX_LABELS as u64 + 20 {
            labels.record_hit(CallId(n), hit(u128::from(n), 0.9));
            labels.label(&mut kept, 0.8, CallId(n), false).unwrap();
        }
        assert_eq!((kept.len(), labels.raised.len()), (MAX_LABELS, MAX_LABELS));
        assert_eq!(
            (labels.recent.len(), labels.order.len()),
            (MAX_RECENT, MAX_RECENT)
        );
        assert!(labels.label(&mut kept, 0.8, CallId(1), true).is_err());
        assert!(is_close(labels.threshold(Fingerprint(1), 0.8), 0.8));
    }
}
