//! The semantic cache in numbers: hits, shadow hits, rejections by guards, and the false-hit rate from labels
//! and compared answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Calls, Interval, Percentiles};
use crate::event::{CallId, Event, EventKind, EvictReason, NearestPrompt, SemanticGuard, SemanticMiss};
use crate::openai::Usage;
use crate::settings::SemanticMode;
use crate::text::SafeText;
use crate::time::Timestamp;

/// Near matches kept.
const MAX_RECENT: usize = 32;
/// Labelled calls remembered, so that a later label replaces the first.
const MAX_JUDGED: usize = 512;

/// The semantic cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SemanticView {
    /// The mode.
    pub mode: SemanticMode,
    /// Prompts in its index.
    pub entries: u64,
    /// Lookups in mode on.
    pub live: Lookups,
    /// Lookups in shadow mode: its hits would have been served.
    pub shadow: Lookups,
    /// Misses by reason, in both modes.
    pub misses: BTreeMap<SemanticMiss, u64>,
    /// Near matches rejected, by guard.
    pub refusals: BTreeMap<SemanticGuard, u64>,
    /// Shadow mode: upstream answers that equal the stored one.
    pub same: u64,
    /// Shadow mode: upstream answers that differ.
    pub differed: u64,
    /// Served answers labelled right.
    pub good: u64,
    /// Served answers labelled wrong.
    pub bad: u64,
    /// LLM tokens saved.
    pub saved_tokens: u64,
    /// LLM tokens that shadow hits would have saved.
    pub shadow_tokens: u64,
    /// Time saved.
    pub saved_time: Duration,
    /// Time for embedding and search.
    pub lookup: Percentiles,
    /// Consecutive lookups failed by the embedder; 0 after a success.
    pub trouble_in_a_row: u64,
    /// The embedder's last failure.
    pub trouble: Option<EmbedderTrouble>,
    /// The last 32 hits, shadow hits and rejections, oldest first.
    pub recent: VecDeque<NearMatch>,
    /// The latest label of each labelled call.
    judged: BTreeMap<CallId, bool>,
}

/// Lookups and hits. Ineligible requests are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookups {
    /// Lookups.
    pub asked: u64,
    /// Hits.
    pub hits: u64,
}

/// A lookup failed by the embedder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbedderTrouble {
    /// Time of the lookup.
    pub at: Timestamp,
    /// Timed out or failed.
    pub reason: SemanticMiss,
    /// The embedder's message.
    pub detail: Option<SafeText>,
}

/// A near match and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearMatch {
    /// The call.
    pub call: CallId,
    /// Time of the lookup.
    pub at: Timestamp,
    /// The outcome.
    pub kind: NearMatchKind,
    /// The beginning of the prompt.
    pub prompt: SafeText,
    /// The stored prompt.
    pub nearest: NearestPrompt,
    /// Tokens saved, or that would have been saved.
    pub saved: Usage,
    /// Shadow mode: similarity of the two answers, and true if they count as the same.
    pub compared: Option<(f64, bool)>,
    /// The latest label.
    pub label: Option<bool>,
}

/// Outcomes of a near match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NearMatchKind {
    /// Its answer was served.
    Served,
    /// Shadow mode: it would have been served.
    Shadowed,
    /// A guard rejected it.
    Refused,
}

impl Lookups {
    fn count(&mut self, hit: bool) {
        self.asked += 1;
        self.hits += u64::from(hit);
    }
}

impl SemanticView {
    /// Rate of wrong answers among labelled ones.
    pub fn false_by_label(&self) -> Option<Interval> {
        Interval::wilson(self.bad, self.good + self.bad)
    }

    /// Rate of differing answers among compared ones.
    pub fn false_by_comparing(&self) -> Option<Interval> {
        Interval::wilson(self.differed, self.same + self.differed)
    }

    /// Near matches rejected by guards.
    pub fn refused(&self) -> u64 {
        self.refusals.values().sum()
    }

    pub(super) fn apply(&mut self, event: &Event, calls: &Calls) {
        match &event.kind {
            EventKind::PolicyApplied { policy } => self.mode = policy.semantic.mode,
            EventKind::SemanticHit {
                nearest,
                lookup,
                saved,
                saved_time,
                ..
            } => {
                self.live.count(true);
                self.saved_tokens = self.saved_tokens.saturating_add(saved.total());
                self.saved_time = self.saved_time.saturating_add(*saved_time);
                self.embedded(*lookup);
                self.note(event, calls, NearMatchKind::Served, nearest, *saved);
            }
            EventKind::SemanticShadowed {
                nearest,
                lookup,
                saved,
                ..
            } => {
                self.shadow.count(true);
                self.shadow_tokens = self.shadow_tokens.saturating_add(saved.total());
                self.embedded(*lookup);
                self.note(event, calls, NearMatchKind::Shadowed, nearest, *saved);
            }
            EventKind::SemanticMissed {
                reason,
                nearest,
                lookup,
                detail,
                ..
            } => {
                self.missed(event, *reason, *lookup, detail.as_ref());
                if let (SemanticMiss::GuardRejected, Some(nearest)) = (reason, nearest) {
                    if let Some(objection) = &nearest.objection {
                        *self.refusals.entry(objection.guard).or_default() += 1;
                    }
                    self.note(event, calls, NearMatchKind::Refused, nearest, Usage::default());
                }
            }
            EventKind::SemanticCompared { agreement, same, .. } => {
                *if *same { &mut self.same } else { &mut self.differed } += 1;
                if let Some(near_match) = self.near_match_of(event.call) {
                    near_match.compared = Some((*agreement, *same));
                }
            }
            EventKind::SemanticStored { entries } => self.entries = *entries,
            EventKind::SemanticLabelled { good, .. } => self.labelled(event.call, *good),
            // without the cached answers the index is empty
            EventKind::CacheEvicted {
                reason: EvictReason::Cleared,
                ..
            } => self.entries = 0,
            frame_events!()
            | EventKind::FaultInjected { .. }
            | call_events!()
            | cache_events!()
            | flight_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => {}
        }
    }

    fn missed(&mut self, event: &Event, reason: SemanticMiss, lookup: Duration, detail: Option<&SafeText>) {
        *self.misses.entry(reason).or_default() += 1;
        if reason == SemanticMiss::Ineligible {
            return;
        }
        match self.mode {
            SemanticMode::Shadow => self.shadow.count(false),
            SemanticMode::On | SemanticMode::Off => self.live.count(false),
        }
        match reason {
            SemanticMiss::TimedOut | SemanticMiss::Failed => {
                self.lookup.record(lookup);
                self.trouble_in_a_row += 1;
                self.trouble = Some(EmbedderTrouble {
                    at: event.at,
                    reason,
                    detail: detail.cloned(),
                });
            }
            SemanticMiss::NotSimilar | SemanticMiss::GuardRejected => self.embedded(lookup),
            // no prompt to compare with; the event does not say if it was embedded
            SemanticMiss::Empty | SemanticMiss::Ineligible => {}
        }
    }

    /// Records a success of the embedder.
    fn embedded(&mut self, lookup: Duration) {
        self.lookup.record(lookup);
        self.trouble_in_a_row = 0;
    }

    fn note(
        &mut self,
        event: &Event,
        calls: &Calls,
        kind: NearMatchKind,
        nearest: &NearestPrompt,
        saved: Usage,
    ) {
        let Some(call) = event.call else {
            return;
        };
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        let asked = calls.recent.get(&call);
        self.recent.push_back(NearMatch {
            call,
            at: event.at,
            kind,
            prompt: asked.map(|asked| asked.prompt.clone()).unwrap_or_default(),
            nearest: nearest.clone(),
            saved,
            compared: None,
            label: None,
        });
    }

    fn near_match_of(&mut self, call: Option<CallId>) -> Option<&mut NearMatch> {
        let call = call?;
        self.recent
            .iter_mut()
            .rev()
            .find(|near_match| near_match.call == call)
    }

    /// A later label of the same call replaces the first.
    fn labelled(&mut self, call: Option<CallId>, good: bool) {
        let Some(id) = call else {
            return;
        };
        match self.judged.insert(id, good) {
            Some(true) => self.good = self.good.saturating_sub(1),
            Some(false) => self.bad = self.bad.saturating_sub(1),
            None => {}
        }
        *if good { &mut self.good } else { &mut self.bad } += 1;
        if self.judged.len() > MAX_JUDGED {
            self.judged.pop_first();
        }
        if let Some(near_match) = self.near_match_of(call) {
            near_match.label = Some(good);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Fate, Objection, Origin};
    use crate::settings::Policy;
    use crate::state::fixture::{
        Story, compared, ended, fold, labelled, semantic_hit, semantic_miss, shadowed, switched_semantic,
    };
    use crate::state::{SemanticOutcome, State};

    fn state_of(kinds: impl IntoIterator<Item = (u64, EventKind)>) -> State {
        let mut story = Story::begin();
        for (call, kind) in kinds {
            if call > 0 {
                story.call(call, Origin::Chat);
            }
            story.emit(call, kind);
        }
        story.state()
    }

    #[test]
    fn each_mode_has_its_own_rate() {
        let mut story = Story::begin();
        story.emit(0, switched_semantic(SemanticMode::On));
        story
            .call(1, Origin::Chat)
            .emit(1, semantic_miss(SemanticMiss::Empty, None));
        story.call(2, Origin::Chat).emit(2, semantic_hit(1, 0.94));
        story.emit(0, switched_semantic(SemanticMode::Shadow));
        story.call(3, Origin::Chat).emit(3, shadowed(1, 0.91));
        story
            .call(4, Origin::Chat)
            .emit(4, semantic_miss(SemanticMiss::NotSimilar, None));
        story
            .call(5, Origin::Chat)
            .emit(5, semantic_miss(SemanticMiss::Ineligible, None));
        let view = story.state().semantic;
        assert_eq!(view.mode, SemanticMode::Shadow);
        assert_eq!(view.live, Lookups { asked: 2, hits: 1 });
        assert_eq!(view.shadow, Lookups { asked: 2, hits: 1 });
        assert_eq!(view.misses.values().sum::<u64>(), 3);
        assert_eq!((view.saved_tokens, view.shadow_tokens), (60, 60));
        assert_eq!(view.saved_time, Duration::from_secs(2));
        assert_eq!(view.lookup.count(), 3);
    }

    #[test]
    fn a_refusal_is_counted_by_what_differed_and_kept_with_both_prompts() {
        let objection = Objection {
            guard: SemanticGuard::Number,
            asked: "60".into(),
            stored: "50".into(),
        };
        let state = state_of([(
            7,
            semantic_miss(SemanticMiss::GuardRejected, Some(objection.clone())),
        )]);
        assert_eq!(state.semantic.refusals, [(SemanticGuard::Number, 1)].into());
        assert_eq!(state.semantic.refused(), 1);
        let near_match = &state.semantic.recent[0];
        assert_eq!(
            (near_match.call, near_match.kind),
            (CallId(7), NearMatchKind::Refused)
        );
        assert_eq!(near_match.prompt.as_str(), "question 7");
        assert_eq!(near_match.nearest.objection, Some(objection));
        let semantic = state.calls.recent[&CallId(7)].semantic.as_ref().unwrap();
        assert_eq!(
            semantic.outcome,
            SemanticOutcome::Missed {
                reason: SemanticMiss::GuardRejected
            }
        );
    }

    #[test]
    fn the_last_word_of_a_person_counts_once() {
        let state = state_of([
            (2, semantic_hit(1, 0.94)),
            (3, semantic_hit(1, 0.93)),
            (0, EventKind::SemanticStored { entries: 4 }),
        ]);
        assert_eq!(state.semantic.false_by_label(), None);
        let mut story = Story::begin();
        story.call(2, Origin::Chat).emit(2, semantic_hit(1, 0.94));
        story.call(3, Origin::Chat).emit(3, semantic_hit(1, 0.93));
        story
            .emit(2, labelled(1, true))
            .emit(3, labelled(1, true))
            .emit(3, labelled(1, false));
        let view = story.state().semantic;
        assert_eq!((view.good, view.bad), (1, 1));
        assert_eq!(view.recent[1].label, Some(false));
        assert_eq!(view.false_by_label(), Interval::wilson(1, 2));
    }

    #[test]
    fn compared_answers_give_the_false_hit_rate_of_the_shadow() {
        let mut story = Story::begin();
        for call in 1..=41 {
            story.call(call, Origin::Chat).emit(call, shadowed(99, 0.9));
            story.emit(call, compared(99, if call <= 2 { 0.2 } else { 0.97 }));
        }
        let state = story.state();
        let rate = state.semantic.false_by_comparing().unwrap();
        assert_eq!((state.semantic.same, state.semantic.differed), (39, 2));
        assert!(
            (rate.share - 2.0 / 41.0).abs() < 1e-12 && (rate.high - 0.1614).abs() < 1e-4,
            "{rate:?}"
        );
        // the ring forgets looks, not counts
        assert_eq!(state.semantic.recent.len(), 32);
        assert_eq!(state.semantic.recent[31].compared, Some((0.97, true)));
        let semantic = state.calls.recent[&CallId(1)].semantic.as_ref().unwrap();
        assert_eq!(semantic.compared, Some((0.2, false)));
    }

    #[test]
    fn an_embedder_in_trouble_is_remembered_until_it_works_again() {
        let failed = EventKind::SemanticMissed {
            reason: SemanticMiss::Failed,
            nearest: None,
            candidates: 0,
            lookup: Duration::from_millis(3),
            detail: Some("connection refused".into()),
        };
        let mut story = Story::begin();
        story
            .call(1, Origin::Chat)
            .emit(1, failed.clone())
            .call(2, Origin::Chat)
            .emit(2, failed);
        let view = story.state().semantic;
        assert_eq!(view.trouble_in_a_row, 2);
        assert_eq!(
            view.trouble.unwrap().detail.unwrap().as_str(),
            "connection refused"
        );
        story.call(3, Origin::Chat).emit(3, semantic_hit(1, 0.9));
        assert_eq!(story.state().semantic.trouble_in_a_row, 0);
    }

    #[test]
    fn a_hit_shows_its_answer_and_a_cleared_cache_empties_the_index() {
        let mut story = Story::begin();
        story.emit(0, EventKind::SemanticStored { entries: 3 });
        story
            .call(2, Origin::Chat)
            .emit(2, semantic_hit(1, 0.94))
            .emit(2, ended(Fate::Hit, 0, 1));
        let state = story.state();
        let call = &state.calls.recent[&CallId(2)];
        assert_eq!(state.calls.answer(call), "what was answered before");
        assert_eq!(call.semantic_source().unwrap().source, CallId(1));
        assert_eq!(state.semantic.entries, 3);
        let cleared = EventKind::CacheEvicted {
            reason: EvictReason::Cleared,
            removed: 1,
            entries: 0,
            total_bytes: 0,
        };
        assert_eq!(story.emit(0, cleared).state().semantic.entries, 0);
    }

    #[test]
    fn memory_is_bounded_and_a_snapshot_goes_on_as_the_whole() {
        let mut story = Story::begin();
        story.emit(0, switched_semantic(SemanticMode::On));
        for call in 1..=700 {
            story.call(call, Origin::Library).emit(call, semantic_hit(1, 0.9));
            story
                .emit(call, labelled(1, call % 3 == 0))
                .emit(call, ended(Fate::Hit, 0, 1));
        }
        let whole = story.state();
        assert_eq!(
            (whole.semantic.judged.len(), whole.semantic.recent.len()),
            (512, 32)
        );
        assert_eq!((whole.semantic.good, whole.semantic.bad), (233, 467));
        for cut in [1, 500, 1733] {
            let snapshot = fold(&story.events[..cut]);
            let text = serde_json::to_string(&snapshot).unwrap();
            let mut viewer: State = serde_json::from_str(&text).unwrap();
            for event in &story.events[cut..] {
                viewer.apply(event);
            }
            assert_eq!(viewer, whole, "{cut}");
        }
    }

    #[test]
    fn the_mode_is_that_of_the_policy() {
        let mut policy = Policy::default();
        policy.semantic.mode = SemanticMode::On;
        let applied = EventKind::PolicyApplied {
            policy: Box::new(policy),
        };
        assert_eq!(state_of([(0, applied)]).semantic.mode, SemanticMode::On);
    }
}
