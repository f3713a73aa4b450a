//! The breakers of all models.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{BreakerView, Calls};
use crate::event::{BreakerState, Event, EventKind, Fate, MAX_MODELS, ModelName, MoveReason, WindowCounts};

/// The breakers of all models, at least one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakersView {
    first: ModelBreaker,
    /// In the order in which they were first used.
    more: Vec<ModelBreaker>,
}

/// The breaker of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelBreaker {
    /// The model; `None` for calls without one, and for models that share one breaker.
    pub model: Option<ModelName>,
    /// Its state.
    pub view: BreakerView,
    /// False until the first event about it.
    is_known: bool,
}

impl ModelBreaker {
    /// The name of the model.
    pub fn name(&self) -> &str {
        self.model.as_ref().map_or("other calls", ModelName::as_str)
    }

    /// Open before half-open before closed, then the latest to change.
    fn rank(&self) -> impl Ord + use<> {
        let state = match self.view.state {
            BreakerState::Open => 2,
            BreakerState::HalfOpen => 1,
            BreakerState::Closed => 0,
        };
        (state, self.view.since)
    }
}

impl BreakersView {
    /// All of them, in the order in which they were first used.
    pub fn all(&self) -> impl Iterator<Item = &ModelBreaker> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut ModelBreaker> {
        std::iter::once(&mut self.first).chain(&mut self.more)
    }

    /// The one that matters most: open before half-open before closed, then the latest to change.
    pub fn shown(&self) -> &ModelBreaker {
        // of equal ones the first
        let least = self.more.iter().min_by_key(|one| Reverse(one.rank()));
        match least {
            Some(one) if one.rank() > self.first.rank() => one,
            Some(_) | None => &self.first,
        }
    }

    #[cfg(test)]
    pub(crate) fn first_mut(&mut self) -> &mut BreakerView {
        &mut self.first.view
    }

    /// Adds the breaker of another model, and names the first one.
    #[cfg(test)]
    pub(crate) fn add(&mut self, first: &str, name: &str, view: BreakerView) {
        (self.first.model, self.first.is_known) = (ModelName::new(first), true);
        self.more.push(ModelBreaker {
            model: ModelName::new(name),
            view,
            is_known: true,
        });
    }

    /// All of them, the one that matters most first.
    pub fn ranked(&self) -> Vec<&ModelBreaker> {
        let mut all: Vec<_> = self.all().collect();
        all.sort_by_key(|one| Reverse(one.rank()));
        all
    }

    /// True if more than one model was called: only then are models named.
    pub fn are_several(&self) -> bool {
        !self.more.is_empty()
    }

    /// The name of a model, where several were called.
    pub fn name(&self, model: Option<&ModelName>) -> Option<&str> {
        let mut all = self.all().filter(|_| self.are_several());
        all.find(|one| one.model.as_ref() == model)
            .map(ModelBreaker::name)
    }

    /// The name of the model whose breaker matters most, where several were called.
    pub fn shown_name(&self) -> Option<&str> {
        self.are_several().then(|| self.shown().name())
    }

    /// The states of all but the one that matters most, the longest wording first: `2 others closed`, or `3 others: 1
    /// open, 2 closed`. `None` where one model was called.
    pub fn others(&self) -> Option<[String; 3]> {
        let all = self.ranked();
        let others = all.get(1..).filter(|others| !others.is_empty())?;
        let total = others.len();
        let noun = if total == 1 { "other" } else { "others" };
        Some([
            with_states(&format!("{total} {noun}"), others),
            with_states(&format!("+{total}"), others),
            format!("+{total}"),
        ])
    }

    /// The window with the largest share of failures.
    pub(super) fn worst_window(&self) -> WindowCounts {
        let share = |window: &WindowCounts| f64::from(window.failed) / f64::from(window.total.max(1));
        let windows = self.all().map(|one| one.view.window);
        windows
            .reduce(|worst, window| {
                if share(&window) > share(&worst) {
                    window
                } else {
                    worst
                }
            })
            .unwrap_or_default()
    }

    /// Openings of all of them.
    pub fn opened(&self) -> u64 {
        self.all().map(|one| one.view.opened).sum()
    }

    pub(super) fn apply(&mut self, event: &Event, calls: &Calls) {
        match &event.kind {
            EventKind::BreakerMoved {
                model,
                reason: MoveReason::Unused,
                ..
            } => self.forget(model.as_ref()),
            EventKind::BreakerAdmitted { model, .. }
            | EventKind::BreakerRefused { model, .. }
            | EventKind::BreakerRecorded { model, .. }
            | EventKind::BreakerMoved { model, .. } => self.of(model.as_ref()).view.apply(event, calls),
            EventKind::CallEnded {
                fate: Fate::CircuitOpen,
                ..
            } => {
                let call = event.call.and_then(|call| calls.recent.get(&call));
                let model = call.and_then(|call| call.model.as_ref());
                self.of_call(model).view.apply(event, calls);
            }
            EventKind::BreakerForced { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::FlightHandedOver { .. } => {
                for one in self.all_mut() {
                    one.view.apply(event, calls);
                }
            }
            session_events!()
            | call_events!()
            | cache_events!()
            | EventKind::FlightStarted { .. }
            | EventKind::FlightJoined { .. }
            | EventKind::ResultReplayed { .. }
            | semantic_events!()
            | limit_events!()
            | EventKind::AttemptStarted { .. }
            | EventKind::AttemptResponded { .. }
            | EventKind::StreamDelta { .. }
            | EventKind::AttemptEnded { .. }
            | EventKind::RetryScheduled { .. }
            | EventKind::RetryStopped { .. } => {}
        }
    }

    /// The breaker of a model, new if there was none.
    fn of(&mut self, model: Option<&ModelName>) -> &mut ModelBreaker {
        if !self.first.is_known {
            (self.first.is_known, self.first.model) = (true, model.cloned());
            return &mut self.first;
        }
        if self.first.model.as_ref() == model {
            return &mut self.first;
        }
        let known = |one: &ModelBreaker| one.model.as_ref() == model;
        let place = self.more.iter().position(known);
        // as in the client
        if place.is_none() && model.is_some() && self.more.len() >= MAX_MODELS {
            return self.of(None);
        }
        let place = place.unwrap_or_else(|| {
            let mut new = ModelBreaker {
                model: model.cloned(),
                is_known: true,
                ..ModelBreaker::default()
            };
            new.view.mode = self.first.view.mode;
            self.more.push(new);
            self.more.len() - 1
        });
        self.more.get_mut(place).unwrap_or(&mut self.first)
    }

    /// The breaker that judged the calls of a model: its own, or the one that others share.
    fn of_call(&mut self, model: Option<&ModelName>) -> &mut ModelBreaker {
        let has_own = self.all().any(|one| one.model.as_ref() == model);
        self.of(model.filter(|_| has_own))
    }

    fn forget(&mut self, model: Option<&ModelName>) {
        if self.first.model.as_ref() != model {
            return self.more.retain(|one| one.model.as_ref() != model);
        }
        let mode = self.first.view.mode;
        self.first = if self.more.is_empty() {
            ModelBreaker::default()
        } else {
            self.more.remove(0)
        };
        self.first.view.mode = mode;
    }
}

/// `text closed` where the breakers of all these models are closed, or `text: 1 open, 2 closed`.
pub fn with_states(text: &str, models: &[&ModelBreaker]) -> String {
    let states = [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
    let counts = states.map(|state| (models.iter().filter(|one| one.view.state == state).count(), state));
    let counts: Vec<_> = counts.into_iter().filter(|(count, _)| *count > 0).collect();
    if let [(_, state)] = counts.as_slice() {
        return format!("{text} {}", state.brief());
    }
    let each = counts
        .iter()
        .map(|(count, state)| format!("{count} {}", state.brief()));
    format!("{text}: {}", each.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BreakerMode, Origin, Sample};
    use crate::state::fixture::{Story, ended, moved_model};

    fn recorded(name: &str, failed: u32) -> EventKind {
        EventKind::BreakerRecorded {
            model: ModelName::new(name),
            generation: 0,
            probe: false,
            sample: if failed > 0 { Sample::Failed } else { Sample::Ok },
            window: WindowCounts {
                total: 4,
                failed,
                ..WindowCounts::default()
            },
        }
    }

    fn opens(name: &str) -> EventKind {
        moved_model(
            name,
            BreakerState::Closed,
            BreakerState::Open,
            1,
            MoveReason::Consecutive,
        )
    }

    #[test]
    fn each_model_has_its_own_state_and_the_worst_is_shown() {
        let mut story = Story::begin();
        story.emit(0, recorded("a", 0));
        let one = story.state().breakers;
        assert!(!one.are_several() && one.name(None).is_none() && one.others().is_none());
        assert_eq!(one.shown().name(), "a");
        story.emit(0, recorded("b", 3)).emit(0, recorded("a", 0));
        let two = story.state().breakers;
        assert_eq!((two.shown().name(), two.worst_window().failed), ("a", 3));
        story.at(5.0).emit(0, opens("b"));
        story
            .call_model(1, Origin::Gateway, "b")
            .emit(1, ended(Fate::CircuitOpen, 0, 1));
        let two = story.state().breakers;
        assert_eq!(two.shown().name(), "b");
        assert_eq!(two.shown().view.refused, 1);
        assert_eq!(two.first.view.refused, 0);
        assert_eq!(two.first.view.state, BreakerState::Closed);
        // the latest to open comes first
        story.at(6.0).emit(0, opens("c"));
        let three = story.state().breakers;
        let names: Vec<_> = three.ranked().into_iter().map(ModelBreaker::name).collect();
        assert_eq!(names, ["c", "b", "a"]);
        assert_eq!(three.opened(), 2);
        let wordings = ["2 others: 1 open, 1 closed", "+2: 1 open, 1 closed", "+2"];
        assert_eq!(three.others().unwrap(), wordings);
        assert_eq!(two.others().unwrap(), ["1 other closed", "+1 closed", "+1"]);
    }

    #[test]
    fn the_mode_is_that_of_all_and_a_forgotten_model_leaves() {
        let mut story = Story::begin();
        let mode = BreakerMode::ForcedOpen;
        story
            .emit(0, recorded("a", 0))
            .emit(0, EventKind::BreakerForced { mode })
            .emit(0, recorded("b", 0));
        let two = story.state().breakers;
        assert!(two.all().all(|one| one.view.mode == mode));
        let forgotten = moved_model(
            "a",
            BreakerState::Open,
            BreakerState::Closed,
            2,
            MoveReason::Unused,
        );
        story.emit(0, forgotten);
        let one = story.state().breakers;
        assert_eq!((one.shown().name(), one.are_several()), ("b", false));
        assert_eq!(one.shown().view.mode, mode);
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut story = Story::begin();
        for number in 0..1000 {
            story.emit(0, recorded(&format!("m{number}"), 0));
        }
        let flooded = story.state().breakers;
        assert!(flooded.all().count() <= MAX_MODELS + 2);
        assert!(flooded.all().any(|one| one.model.is_none()));
    }
}
