//! The breakers of all models: each is followed by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Slack;
use super::breaker::Breaker;
use super::index::CallIndex;
use super::violation::{Holds, ensure};
use crate::event::{BreakerState, Event, EventKind, ModelName, MoveReason};
use crate::settings::BreakerSettings;
use crate::time::Timestamp;

/// The time for which a breaker must be unused before it gives way.
const UNUSED: Duration = Duration::from_mins(10);

#[derive(Debug, Default)]
pub(super) struct Breakers {
    /// The breaker of a model that was not called yet.
    blank: Breaker,
    /// Each with the time of its last event of a call.
    by_model: BTreeMap<Option<ModelName>, (Breaker, Timestamp)>,
}

impl Breakers {
    pub(super) fn configure(&mut self, settings: &BreakerSettings) {
        self.blank.configure(settings);
        for (breaker, _) in self.by_model.values_mut() {
            breaker.configure(settings);
        }
    }

    pub(super) fn apply(&mut self, index: &mut CallIndex, event: &Arc<Event>, slack: Slack) -> Holds {
        match &event.kind {
            EventKind::BreakerAdmitted { model, .. }
            | EventKind::BreakerRefused { model, .. }
            | EventKind::BreakerRecorded { model, .. } => {
                check_model(index, event, model.as_ref())?;
                let (breaker, used_at) = self.of(model.as_ref());
                *used_at = event.at;
                breaker.apply(index, event, slack)
            }
            EventKind::BreakerMoved {
                model,
                reason: MoveReason::Unused,
                to,
                ..
            } => self.forget(index, event, model.as_ref(), *to, slack),
            EventKind::BreakerMoved { model, .. } => self.of(model.as_ref()).0.apply(index, event, slack),
            EventKind::AttemptStarted { .. } => self.blank.apply(index, event, slack),
            EventKind::BreakerForced { .. }
            | EventKind::Suspended { .. }
            | EventKind::AttemptFirstToken { .. } => {
                let all = self.by_model.values_mut().map(|(breaker, _)| breaker);
                for breaker in all.chain([&mut self.blank]) {
                    breaker.apply(index, event, slack)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn of(&mut self, model: Option<&ModelName>) -> &mut (Breaker, Timestamp) {
        let blank = &self.blank;
        self.by_model
            .entry(model.cloned())
            .or_insert_with(|| (blank.for_model(model), Timestamp::ZERO))
    }

    /// Checks invariants 16 and 18: a breaker is forgotten only if nothing depends on it.
    fn forget(
        &mut self,
        index: &CallIndex,
        event: &Event,
        model: Option<&ModelName>,
        to: BreakerState,
        slack: Slack,
    ) -> Holds {
        let known = self.by_model.remove(&model.cloned());
        let unused = known.is_some_and(|(breaker, used_at)| {
            event.at.since(used_at) + slack.stamp >= UNUSED && breaker.is_over(event.at + slack.stamp)
        });
        ensure(unused && to == BreakerState::Closed, 16, || {
            "the breaker was in use".into()
        })?;
        let mut flights = index.flights.values();
        let holder = flights.find(|flight| {
            let permit = flight.permit.as_ref();
            permit.is_some_and(|(of, ..)| of.as_ref() == model)
        });
        match holder {
            Some(flight) => flight.ensure(false, 18, || "its breaker was forgotten".into()),
            None => Ok(()),
        }
    }
}

/// Checks invariant 18: a call meets the breaker of its own model, or the one that several share.
fn check_model(index: &CallIndex, event: &Event, model: Option<&ModelName>) -> Holds {
    let call = event.call.and_then(|call| index.calls.get(&call));
    let own = call.and_then(|call| match &call.started.kind {
        EventKind::CallStarted { options, .. } => options.model.as_ref(),
        _ => None,
    });
    ensure(model.is_none() || model == own, 18, || {
        "the breaker is that of another model".into()
    })
    .map_err(|breach| breach.with(call.map(|call| Arc::clone(&call.started))))
}
