//! The result of the semantic cache for a call.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Call;
use super::fold::MAX_TEXT;
use crate::event::{EventKind, NearestPrompt, SemanticMiss};
use crate::openai::Usage;
use crate::text::SafeText;
use crate::time::nanos;

/// The result of a semantic lookup and its evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticLookup {
    /// The outcome.
    pub outcome: SemanticOutcome,
    /// The nearest stored prompt, if one was found.
    pub nearest: Option<NearestPrompt>,
    /// Prompts compared.
    pub candidates: u32,
    /// Time for embedding and search.
    #[serde(with = "nanos")]
    pub lookup: Duration,
    /// The embedder's error, if it failed.
    pub detail: Option<SafeText>,
    /// Shadow mode: similarity of the two answers, 0 to 1, and true if they count as the same.
    pub compared: Option<(f64, bool)>,
    /// The latest label of the answer.
    pub label: Option<SemanticLabel>,
}

/// Outcomes of a semantic lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum SemanticOutcome {
    /// A stored answer was served.
    Served {
        /// Age of the answer.
        #[serde(with = "nanos")]
        age: Duration,
        /// Tokens saved.
        saved: Usage,
        /// Time the answer originally took.
        #[serde(with = "nanos")]
        saved_time: Duration,
    },
    /// Shadow mode: an answer would have been served; the call went to the upstream.
    Shadowed {
        /// Tokens that would have been saved.
        saved: Usage,
    },
    /// No answer was served.
    Missed {
        /// The reason.
        reason: SemanticMiss,
    },
}

/// A label of a served answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticLabel {
    /// True if labelled right.
    pub good: bool,
    /// Similarity that the stored prompt requires from then on.
    pub threshold: f64,
    /// True if the stored answer was removed.
    pub removed: bool,
}

impl SemanticLookup {
    fn new(
        outcome: SemanticOutcome,
        nearest: Option<&NearestPrompt>,
        candidates: u32,
        lookup: Duration,
    ) -> Self {
        Self {
            outcome,
            nearest: nearest.cloned(),
            candidates,
            lookup,
            detail: None,
            compared: None,
            label: None,
        }
    }
}

impl Call {
    /// The stored prompt whose answer was served by the semantic cache, if any.
    pub fn semantic_source(&self) -> Option<&NearestPrompt> {
        let semantic = self.semantic.as_deref()?;
        match semantic.outcome {
            SemanticOutcome::Served { .. } => semantic.nearest.as_ref(),
            SemanticOutcome::Shadowed { .. } | SemanticOutcome::Missed { .. } => None,
        }
    }

    /// Records an event of the semantic cache.
    pub(super) fn note_semantic(&mut self, kind: &EventKind) {
        match kind {
            EventKind::SemanticHit {
                nearest,
                candidates,
                lookup,
                age,
                saved,
                saved_time,
                text,
            } => {
                let outcome = SemanticOutcome::Served {
                    age: *age,
                    saved: *saved,
                    saved_time: *saved_time,
                };
                self.semantic = Some(Box::new(SemanticLookup::new(
                    outcome,
                    Some(nearest),
                    *candidates,
                    *lookup,
                )));
                self.cached_text.push_within(text, MAX_TEXT);
            }
            EventKind::SemanticShadowed {
                nearest,
                candidates,
                lookup,
                saved,
            } => {
                let outcome = SemanticOutcome::Shadowed { saved: *saved };
                self.semantic = Some(Box::new(SemanticLookup::new(
                    outcome,
                    Some(nearest),
                    *candidates,
                    *lookup,
                )));
            }
            EventKind::SemanticMissed {
                reason,
                nearest,
                candidates,
                lookup,
                detail,
            } => {
                let outcome = SemanticOutcome::Missed { reason: *reason };
                let semantic = SemanticLookup::new(outcome, nearest.as_deref(), *candidates, *lookup);
                self.semantic = Some(Box::new(SemanticLookup {
                    detail: detail.clone(),
                    ..semantic
                }));
            }
            EventKind::SemanticCompared { agreement, same, .. } => {
                if let Some(semantic) = &mut self.semantic {
                    semantic.compared = Some((*agreement, *same));
                }
            }
            EventKind::SemanticLabelled {
                good,
                threshold,
                removed,
                ..
            } => {
                if let Some(semantic) = &mut self.semantic {
                    semantic.label = Some(SemanticLabel {
                        good: *good,
                        threshold: *threshold,
                        removed: *removed,
                    });
                }
            }
            EventKind::SemanticStored { .. }
            | session_events!()
            | call_events!()
            | cache_events!()
            | flight_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => {}
        }
    }
}
