//! Retries: causes, tries for each call, budget.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{AttemptResult, Event, EventKind, Fate, StopReason};

/// Labels counted one by one; what a hostile server invents beyond them is one heap.
const MAX_CAUSES: usize = 64;
/// That heap.
const OTHER: &str = "other";

/// The retry dashboard in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RetryView {
    /// HTTP tries begun.
    pub attempts: u64,
    /// Of these, with a number above 1.
    pub retries: u64,
    /// Tries that failed, by label: `429`, `500`, `TMO`, ...
    pub causes: BTreeMap<String, u64>,
    /// Calls that ended after so many tries: index 0 is one try; the last also holds all above it.
    pub tries_per_call: [u64; 8],
    /// Calls answered after more than one try.
    pub recovered: u64,
    /// Tries of calls that failed, were cut or were turned away in the end; a call that a person stopped
    /// is not counted.
    pub wasted: u64,
    /// Retries after an outcome that may already have been billed.
    pub ambiguous: u64,
    /// Time to sleep between tries, as planned.
    pub backed_off: Duration,
    /// Hints obeyed.
    pub hints: u64,
    /// Tokens in the retry budget, and the most it can hold; nothing where no budget is kept.
    pub budget: Option<(f64, f64)>,
    /// Calls that were not retried again, by reason.
    pub stopped: BTreeMap<StopReason, u64>,
}

impl RetryView {
    pub(super) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::AttemptStarted { attempt, .. } => {
                self.attempts += 1;
                self.retries += u64::from(*attempt > 1);
            }
            EventKind::AttemptEnded { result, .. } => match result {
                AttemptResult::Failed { failure } => self.count_cause(failure.label()),
                AttemptResult::Succeeded { .. } | AttemptResult::Cancelled => {}
            },
            EventKind::RetryScheduled {
                delay,
                hint,
                ambiguous,
                budget,
                budget_max,
                ..
            } => {
                self.ambiguous += u64::from(*ambiguous);
                self.backed_off = self.backed_off.saturating_add(*delay);
                self.hints += u64::from(hint.is_some_and(|hint| *delay >= hint.wait));
                let kept = budget.is_finite() && budget_max.is_finite() && *budget_max > 0.0;
                self.budget = kept.then_some((*budget, *budget_max));
            }
            EventKind::RetryStopped { reason, .. } => *self.stopped.entry(*reason).or_default() += 1,
            EventKind::CallEnded { fate, attempts, .. } => self.call_ended(*fate, *attempts),
            EventKind::AttemptResponded { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::StreamDelta { .. }
            | EventKind::CallStarted { .. }
            | session_events!()
            | cache_events!()
            | flight_events!()
            | semantic_events!()
            | limit_events!()
            | breaker_events!() => {}
        }
    }

    fn count_cause(&mut self, label: String) {
        if let Some(count) = self.causes.get_mut(&label) {
            *count += 1;
        } else if self.causes.len() < MAX_CAUSES {
            self.causes.insert(label, 1);
        } else {
            *self.causes.entry(OTHER.to_owned()).or_default() += 1;
        }
    }

    fn call_ended(&mut self, fate: Fate, attempts: u32) {
        let Some(above_one) = attempts.checked_sub(1) else {
            return;
        };
        let last = self.tries_per_call.len() - 1;
        if let Some(calls) = self.tries_per_call.get_mut((above_one as usize).min(last)) {
            *calls += 1;
        }
        match fate {
            Fate::Answered => self.recovered += u64::from(attempts > 1),
            Fate::Failed | Fate::Interrupted | Fate::Rejected | Fate::Refused => {
                self.wasted += u64::from(attempts);
            }
            Fate::Hit | Fate::Shared | Fate::Cancelled => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FailureClass, Origin};
    use crate::state::story::{Story, attempt, ended, failed, retry, succeeded};

    #[test]
    fn causes_tries_and_what_they_came_to() {
        let mut story = Story::begin();
        story.call(1, Origin::Chat).tell(1, attempt(1, 1));
        story.tell(1, failed(1, FailureClass::RateLimited, Some(429), 9));
        story
            .tell(1, retry(2, FailureClass::RateLimited, story.now, 1000, Some(1)))
            .tell(1, attempt(2, 1));
        story
            .tell(1, succeeded(2, 9))
            .tell(1, ended(Fate::Answered, 2, 9));
        story.call(2, Origin::Chat).tell(2, attempt(1, 2));
        story
            .tell(2, failed(1, FailureClass::Reset, None, 9))
            .tell(2, ended(Fate::Failed, 1, 9));
        story.call(3, Origin::Chat).tell(3, ended(Fate::Refused, 0, 9));
        story.call(4, Origin::Chat).tell(4, ended(Fate::Failed, 99, 9));
        let expected = RetryView {
            attempts: 3,
            retries: 1,
            causes: BTreeMap::from([("429".to_owned(), 1), ("RST".to_owned(), 1)]),
            tries_per_call: [1, 1, 0, 0, 0, 0, 0, 1],
            recovered: 1,
            wasted: 100,
            ambiguous: 0,
            backed_off: Duration::from_secs(1),
            hints: 1,
            budget: Some((1000.0 / 7.0, 10.0)),
            stopped: BTreeMap::new(),
        };
        assert_eq!(story.state().retry, expected);
    }

    #[test]
    fn a_server_that_invents_statuses_fills_no_memory() {
        let mut story = Story::begin();
        for status in 400..600 {
            story.tell(1, failed(1, FailureClass::Invalid, Some(status), 9));
        }
        let causes = story.state().retry.causes;
        assert_eq!(
            (causes.len(), causes["other"], causes["463"]),
            (MAX_CAUSES + 1, 136, 1)
        );
    }
}
