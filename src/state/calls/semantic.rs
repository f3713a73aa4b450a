//! What the semantic cache said to a call.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Call;
use super::fold::MAX_TEXT;
use crate::event::{EventKind, NearestPrompt, SemanticMiss};
use crate::openai::Usage;
use crate::text::SafeText;
use crate::time::nanos;

/// What the semantic cache said to a call, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticLookup {
    /// What it did.
    pub outcome: SemanticOutcome,
    /// The nearest stored prompt, where one was found.
    pub nearest: Option<NearestPrompt>,
    /// Prompts it was compared with.
    pub candidates: u32,
    /// Embedding and search.
    #[serde(with = "nanos")]
    pub lookup: Duration,
    /// What the embedder said, where it failed.
    pub detail: Option<SafeText>,
    /// In shadow mode: how like the two answers are, 0 to 1, and whether that counts as the same.
    pub compared: Option<(f64, bool)>,
    /// What a person said of the answer, last.
    pub label: Option<SemanticLabel>,
}

/// What the semantic cache did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum SemanticOutcome {
    /// It served a stored answer.
    Served {
        /// How old the answer was.
        #[serde(with = "nanos")]
        age: Duration,
        /// Tokens not spent again.
        saved: Usage,
        /// The time the answer took when it was made.
        #[serde(with = "nanos")]
        saved_time: Duration,
    },
    /// It would have served one, and the upstream was asked all the same.
    Shadowed {
        /// Tokens that would not have been spent.
        saved: Usage,
    },
    /// It served nothing.
    Missed {
        /// Why.
        reason: SemanticMiss,
    },
}

/// What a person said of a served answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticLabel {
    /// Whether it fitted.
    pub good: bool,
    /// What the stored prompt asks for from then on.
    pub threshold: f64,
    /// Whether the stored answer was removed.
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
    /// The stored prompt whose answer it got by its meaning, if that is where its answer came from.
    pub fn semantic_source(&self) -> Option<&NearestPrompt> {
        let semantic = self.semantic.as_deref()?;
        match semantic.outcome {
            SemanticOutcome::Served { .. } => semantic.nearest.as_ref(),
            SemanticOutcome::Shadowed { .. } | SemanticOutcome::Missed { .. } => None,
        }
    }

    /// Takes note of what the semantic cache says.
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
