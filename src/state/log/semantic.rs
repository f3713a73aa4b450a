//! Log lines of the semantic cache: hits, shadow hits, near matches rejected by a guard, and their evaluation.
//! No line for a prompt without a similar one, the common case.

use super::LogKind;
use super::sentence::{About, Sentence};
use crate::event::{EventKind, NearestPrompt, SemanticMiss};
use crate::text::SafeText;

impl About<'_> {
    pub(super) fn semantic(&self, kind: &EventKind) -> Sentence {
        let id = self.id;
        match kind {
            EventKind::SemanticHit { nearest, saved, .. } => Some((
                LogKind::Hit,
                format!(
                    "{id} semantic hit {:.2} with {}, {} tokens saved",
                    nearest.similarity,
                    nearest.source,
                    saved.total()
                ),
            )),
            EventKind::SemanticShadowed { nearest, .. } => Some((
                LogKind::Note,
                format!(
                    "{id} would be a semantic hit {:.2} with {} (shadow: sent to the upstream)",
                    nearest.similarity, nearest.source
                ),
            )),
            EventKind::SemanticMissed {
                reason: SemanticMiss::GuardRejected,
                nearest: Some(nearest),
                ..
            } => Some((LogKind::Note, refused(&id.to_string(), nearest))),
            EventKind::SemanticMissed {
                reason: reason @ (SemanticMiss::Failed | SemanticMiss::TimedOut),
                detail,
                ..
            } if self.views.semantic.trouble_in_a_row == 1 => {
                let failure = embedder_failure(*reason, detail.as_ref());
                Some((
                    LogKind::Fail,
                    format!("{failure}; semantic lookups miss until it recovers"),
                ))
            }
            EventKind::SemanticCompared {
                source,
                agreement,
                same: false,
            } => Some((
                LogKind::Note,
                format!("{id} differs from the answer of {source} (similarity {agreement:.2})"),
            )),
            EventKind::SemanticLabelled {
                source,
                good,
                threshold,
                removed,
                ..
            } => {
                let verdict = if *good { "right" } else { "wrong" };
                let gone = if *removed { ", its answer is removed" } else { "" };
                let from_now = if *good {
                    format!("the prompt of {source} still requires {threshold:.2}")
                } else {
                    format!("the prompt of {source} requires {threshold:.2} from now on")
                };
                Some((
                    LogKind::Note,
                    format!("{id} semantic hit labelled {verdict}: {from_now}{gone}"),
                ))
            }
            EventKind::SemanticMissed { .. }
            | EventKind::SemanticCompared { .. }
            | EventKind::SemanticStored { .. }
            | session_events!()
            | call_events!()
            | cache_events!()
            | flight_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => None,
        }
    }
}

/// The failure of the embedder: `the embedder failed: connection refused`.
fn embedder_failure(reason: SemanticMiss, detail: Option<&SafeText>) -> String {
    let what = reason.sentence();
    match detail.map(SafeText::single_line) {
        // most details name the embedder already
        Some(detail) if detail.starts_with("the embedder") => detail,
        Some(detail) => format!("{what}: {detail}"),
        None => what.to_owned(),
    }
}

/// `#7 semantic 0.93 with #1 rejected: number 60, stored 50`.
fn refused(id: &str, nearest: &NearestPrompt) -> String {
    let why = nearest
        .objection
        .as_ref()
        .map_or(String::new(), |objection| format!(": {}", objection.sentence()));
    format!(
        "{id} semantic {:.2} with {} rejected{why}",
        nearest.similarity, nearest.source
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{Objection, Origin, SemanticGuard};
    use crate::settings::SemanticMode;
    use crate::state::fixture::{
        Story, compared, labelled, semantic_hit, semantic_miss, shadowed, switched_semantic,
    };

    fn objection(asked: &str, stored: &str) -> Objection {
        Objection {
            guard: SemanticGuard::Number,
            asked: asked.into(),
            stored: stored.into(),
        }
    }

    #[test]
    fn near_matches_are_logged_and_distant_ones_are_not() {
        let mut story = Story::begin();
        story.emit(0, switched_semantic(SemanticMode::Shadow));
        for call in 1..=9 {
            story.call(call, Origin::Library);
        }
        story.emit(1, semantic_miss(SemanticMiss::NotSimilar, None));
        story.emit(2, semantic_hit(1, 0.941));
        story.emit(2, labelled(1, false));
        story.emit(3, shadowed(1, 0.9)).emit(3, compared(1, 0.97));
        story.emit(4, shadowed(1, 0.9)).emit(4, compared(1, 0.31));
        story.emit(
            5,
            semantic_miss(SemanticMiss::GuardRejected, Some(objection("60", "50"))),
        );
        let failed = EventKind::SemanticMissed {
            reason: SemanticMiss::Failed,
            nearest: None,
            candidates: 0,
            lookup: Duration::ZERO,
            detail: Some("connection\nrefused".into()),
        };
        for call in 6..=8 {
            story.emit(call, failed.clone());
        }
        let log = story.state().log;
        let lines: Vec<_> = log
            .lines
            .iter()
            .skip(2)
            .map(|line| format!("{} {}", line.kind.label(), line.text))
            .collect();
        assert_eq!(
            lines,
            [
                "note policy production applied: semantic cache in shadow",
                "hit #2 semantic hit 0.94 with #1, 60 tokens saved",
                "note #2 semantic hit labelled wrong: the prompt of #1 requires 0.96 from now on, its answer is removed",
                "note #3 would be a semantic hit 0.90 with #1 (shadow: sent to the upstream)",
                "note #4 would be a semantic hit 0.90 with #1 (shadow: sent to the upstream)",
                "note #4 differs from the answer of #1 (similarity 0.31)",
                "note #5 semantic 0.93 with #1 rejected: number 60, stored 50",
                "fail the embedder failed: connection refused; semantic lookups miss until it recovers",
            ]
        );
    }
}
