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
pub struct Meaning {
    /// What it did.
    pub outcome: MeaningOutcome,
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
    pub label: Option<MeaningLabel>,
}

/// What the semantic cache did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum MeaningOutcome {
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
pub struct MeaningLabel {
    /// Whether it fitted.
    pub good: bool,
    /// What the stored prompt asks for from then on.
    pub threshold: f64,
    /// Whether the stored answer was removed.
    pub removed: bool,
}

impl Meaning {
    fn new(
        outcome: MeaningOutcome,
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
    pub fn served_by_meaning(&self) -> Option<&NearestPrompt> {
        let meaning = self.meaning.as_deref()?;
        match meaning.outcome {
            MeaningOutcome::Served { .. } => meaning.nearest.as_ref(),
            MeaningOutcome::Shadowed { .. } | MeaningOutcome::Missed { .. } => None,
        }
    }

    /// Takes note of what the semantic cache says.
    pub(super) fn learn_meaning(&mut self, kind: &EventKind) {
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
                let outcome = MeaningOutcome::Served {
                    age: *age,
                    saved: *saved,
                    saved_time: *saved_time,
                };
                self.meaning = Some(Box::new(Meaning::new(
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
                let outcome = MeaningOutcome::Shadowed { saved: *saved };
                self.meaning = Some(Box::new(Meaning::new(
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
                let outcome = MeaningOutcome::Missed { reason: *reason };
                let meaning = Meaning::new(outcome, nearest.as_deref(), *candidates, *lookup);
                self.meaning = Some(Box::new(Meaning {
                    detail: detail.clone(),
                    ..meaning
                }));
            }
            EventKind::SemanticCompared { agreement, same, .. } => {
                if let Some(meaning) = &mut self.meaning {
                    meaning.compared = Some((*agreement, *same));
                }
            }
            EventKind::SemanticLabelled {
                good,
                threshold,
                removed,
                ..
            } => {
                if let Some(meaning) = &mut self.meaning {
                    meaning.label = Some(MeaningLabel {
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
