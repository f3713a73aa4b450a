//! Retries: causes, success and cost.
//!
//! Denominators: a call counts as *sent* when its first attempt starts; hits, shared flights and rejected calls do
//! not, and attempts are never divided by them. *Now* is a window: the running calls that
//! were sent and those that ended in the last 30 s, with all their attempts; so the number is right at once,
//! does not swing at the end of a burst, and fades with the window.

mod cause;
mod storm;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use cause::RetryCause;
pub use storm::{Storm, StormGuard};
use window::ClosedWindows;
pub use window::{RetryBudgetLevel, WINDOW};

use crate::event::{AttemptResult, CallId, Event, EventKind, Failure, FailureClass, Fate, Hint, StopReason};
use crate::state::Timeline;
use crate::time::{Timestamp, saturating_nanos};

/// Labels counted separately; more (from a hostile server) are counted as other.
const MAX_CAUSES: usize = 64;
/// The label for all others.
const OTHER: &str = "other";
/// Waits kept.
const MAX_WAITS: usize = 64;
/// Running calls tracked; beyond it only attempts are counted.
const MAX_CALLS: usize = 16_384;
/// Former owners remembered until their flight is handed over.
const MAX_LEFT: usize = 16;

/// The retry dashboard in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RetryView {
    /// HTTP attempts started.
    pub attempts: u64,
    /// Of these, with a number above 1.
    pub retries: u64,
    /// Calls with at least one attempt.
    pub sent: u64,
    /// Failed attempts by label: `429`, `500`, `TMO`, ...
    pub causes: BTreeMap<String, u64>,
    /// Ended calls by number of attempts: index 0 is one attempt; the last includes all above.
    pub attempts_per_call: [u64; 8],
    /// Of these, with an answer.
    pub answered_after: [u64; 8],
    /// Of these, failed, interrupted or rejected; the rest was cancelled.
    pub lost_after: [u64; 8],
    /// Calls answered after more than one attempt.
    pub recovered: u64,
    /// Attempts of calls that finally failed, were interrupted or rejected; cancelled calls are
    /// not counted.
    pub wasted: u64,
    /// Failed attempts of calls that were finally answered.
    pub spent: u64,
    /// Retries that brought an answer.
    pub helped: u64,
    /// Retries that failed.
    pub in_vain: u64,
    /// Retries after an outcome that may already have been billed.
    pub ambiguous: u64,
    /// The prompts of these, in LLM tokens as estimated: what may have been paid twice, without the answers.
    pub ambiguous_tokens: u64,
    /// Planned time between attempts.
    pub backed_off: Duration,
    /// Hints honoured.
    pub hints: u64,
    /// The last waits, oldest first. At most 64.
    pub waits: VecDeque<BackoffWait>,
    /// Calls that were not retried again, by reason.
    pub stopped: BTreeMap<StopReason, u64>,
    /// Highest attempts per call of a window with at least five calls, and its time.
    pub peak: Option<(f64, Timestamp)>,
    /// Storms so far.
    pub storms: u64,
    /// Start of the current storm as of the last event; see [`State::storm`](super::State::storm).
    pub(crate) storming: Option<Timestamp>,
    /// Running calls.
    pub(crate) running: RunningCalls,
    /// Time to live of the retry budget in nanoseconds, once a policy is known.
    pub(crate) budget_ttl: Option<u64>,
    /// Start of the budget: another time to live begins with an empty one.
    pub(crate) budget_since: Timestamp,
    /// Sums for the storm rule.
    pub(crate) windows: ClosedWindows,
}

/// A wait between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffWait {
    /// Start of the wait.
    pub at: Timestamp,
    /// Failure class.
    pub class: FailureClass,
    /// Number of the next attempt.
    pub next: u32,
    /// Wait drawn by the backoff.
    #[serde(with = "crate::time::nanos")]
    pub drawn: Duration,
    /// Wait requested by the server.
    pub hint: Option<Hint>,
    /// The resulting wait.
    #[serde(with = "crate::time::nanos")]
    pub used: Duration,
}

/// The bookkeeping of [`RetryView`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunningCalls {
    calls: BTreeMap<CallId, Running>,
    /// Retry causes of former owners, oldest first; the new owner continues with it.
    left: VecDeque<(CallId, RetryCause)>,
    /// Running calls that were sent.
    out_calls: u64,
    /// Their attempts so far.
    out_tries: u64,
}

/// A running call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    prompt_tokens: u64,
    tries: u32,
    /// Cause of its next attempt.
    cause: Option<RetryCause>,
    /// True if its next attempt is not charged to the retry budget.
    is_free: bool,
}

impl RetryView {
    pub(super) fn apply(&mut self, event: &Event, timeline: &mut Timeline) {
        match &event.kind {
            EventKind::CallStarted { prompt_tokens, .. } => {
                if let Some(call) = event.call.and_then(|id| self.running.call(id)) {
                    call.prompt_tokens = *prompt_tokens;
                }
            }
            EventKind::AttemptStarted { attempt, .. } => self.attempt_started(event, *attempt, timeline),
            EventKind::AttemptEnded { attempt, result, .. } => {
                self.attempt_ended(event, *attempt > 1, result, timeline);
            }
            EventKind::RetryScheduled { .. } => self.retry_scheduled(event, timeline),
            EventKind::RetryStopped { reason, .. } => *self.stopped.entry(*reason).or_default() += 1,
            EventKind::PolicyApplied { policy } => {
                let ttl = saturating_nanos(policy.retry.budget_ttl);
                if self.budget_ttl.replace(ttl).is_some_and(|before| before != ttl) {
                    self.budget_since = event.at;
                }
            }
            EventKind::FlightHandedOver { from, .. } => self.handed_over(event.call, *from),
            EventKind::CallEnded { fate, attempts, .. } => {
                self.call_ended(event, *fate, *attempts, timeline);
            }
            EventKind::AttemptResponded { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::StreamDelta { .. }
            | EventKind::FlightStarted { .. }
            | EventKind::FlightJoined { .. }
            | EventKind::ResultReplayed { .. }
            | frame_events!()
            | EventKind::FaultInjected { .. }
            | cache_events!()
            | semantic_events!()
            | limit_events!()
            | breaker_events!() => {}
        }
    }

    /// Tries for each call that was sent, over the run; nothing where none was.
    pub fn amplification(&self) -> Option<f64> {
        (self.sent > 0).then(|| self.attempts as f64 / self.sent as f64)
    }

    /// Wasted attempts: of failed calls, and failed ones before an answer.
    pub fn fruitless(&self) -> u64 {
        self.wasted.saturating_add(self.spent)
    }

    fn attempt_started(&mut self, event: &Event, attempt: u32, timeline: &mut Timeline) {
        let retry = attempt > 1;
        self.attempts += 1;
        self.retries += u64::from(retry);
        let call = event.call.and_then(|id| self.running.call(id));
        let (is_sent, cause) = match call {
            Some(call) => {
                call.tries = call.tries.saturating_add(1);
                (call.tries == 1, call.cause.take())
            }
            None => (!retry, None),
        };
        if event.call.is_some_and(|id| self.running.calls.contains_key(&id)) {
            self.running.out_calls += u64::from(is_sent);
            self.running.out_tries += 1;
        }
        self.sent += u64::from(is_sent);
        let slot = timeline.open(event.at);
        let count = if retry {
            &mut slot.retries[cause.unwrap_or(RetryCause::Other) as usize]
        } else {
            &mut slot.first
        };
        *count = count.saturating_add(1);
        self.watch(event.at, timeline);
    }

    fn attempt_ended(&mut self, event: &Event, retry: bool, result: &AttemptResult, timeline: &mut Timeline) {
        let helped = match result {
            AttemptResult::Succeeded { .. } => true,
            AttemptResult::Failed { failure } => {
                self.count_cause(failure);
                if let Some(call) = event.call.and_then(|id| self.running.calls.get_mut(&id)) {
                    call.is_free = window::is_free(failure);
                }
                false
            }
            AttemptResult::Cancelled => return,
        };
        if !retry {
            return;
        }
        let slot = timeline.open(event.at);
        let (count, all) = if helped {
            (&mut slot.helped, &mut self.helped)
        } else {
            (&mut slot.wasted, &mut self.in_vain)
        };
        *count = count.saturating_add(1);
        *all += 1;
        self.watch(event.at, timeline);
    }

    fn retry_scheduled(&mut self, event: &Event, timeline: &mut Timeline) {
        let EventKind::RetryScheduled {
            next,
            delay,
            drawn,
            hint,
            class,
            ambiguous,
            ..
        } = &event.kind
        else {
            return;
        };
        let mut is_free = false;
        if let Some(call) = event.call.and_then(|id| self.running.call(id)) {
            call.cause = Some(RetryCause::from_class(*class));
            is_free = std::mem::take(&mut call.is_free);
            if *ambiguous {
                self.ambiguous_tokens = self.ambiguous_tokens.saturating_add(call.prompt_tokens);
            }
        }
        if !is_free {
            let slot = timeline.open(event.at);
            slot.granted = slot.granted.saturating_add(1);
        }
        self.ambiguous += u64::from(*ambiguous);
        self.backed_off = self.backed_off.saturating_add(*delay);
        self.hints += u64::from(hint.is_some_and(|hint| *delay >= hint.wait));
        if self.waits.len() >= MAX_WAITS {
            self.waits.pop_front();
        }
        self.waits.push_back(BackoffWait {
            at: event.at,
            class: *class,
            next: *next,
            drawn: *drawn,
            hint: *hint,
            used: *delay,
        });
    }

    fn count_cause(&mut self, failure: &Failure) {
        let label = failure.brief();
        if let Some(count) = self.causes.get_mut(&label) {
            *count += 1;
        } else if self.causes.len() < MAX_CAUSES {
            self.causes.insert(label, 1);
        } else {
            *self.causes.entry(OTHER.to_owned()).or_default() += 1;
        }
    }

    /// The new owner makes the attempt that the former owner was waiting for, before or after its end.
    fn handed_over(&mut self, heir: Option<CallId>, from: CallId) {
        let running = self
            .running
            .calls
            .get_mut(&from)
            .and_then(|call| call.cause.take());
        let left = self.running.left.iter().rposition(|(id, _)| *id == from);
        let left = left.and_then(|place| self.running.left.remove(place));
        let cause = running.or(left.map(|(_, cause)| cause));
        if let Some(heir) = heir.and_then(|id| self.running.call(id)) {
            heir.cause = cause.or(heir.cause);
        }
    }

    fn call_ended(&mut self, event: &Event, fate: Fate, attempts: u32, timeline: &mut Timeline) {
        let known = event.call.and_then(|id| self.running.end(id)).unwrap_or_default();
        let tries = attempts.max(known.tries);
        let Some(above_one) = tries.checked_sub(1) else {
            return;
        };
        let last = self.attempts_per_call.len() - 1;
        let place = (above_one as usize).min(last);
        self.attempts_per_call[place] += 1;
        let sent = &mut timeline.open(event.at).sent;
        sent.ended = sent.ended.saturating_add(1);
        sent.attempts = sent.attempts.saturating_add(tries);
        match fate {
            Fate::Answered | Fate::Hit | Fate::Shared => {
                sent.answered = sent.answered.saturating_add(1);
                self.answered_after[place] += 1;
                self.recovered += u64::from(tries > 1);
                self.spent = self.spent.saturating_add(u64::from(above_one));
            }
            Fate::Failed | Fate::Interrupted | Fate::RateLimited | Fate::CircuitOpen => {
                sent.lost = sent.lost.saturating_add(1);
                self.lost_after[place] += 1;
                self.wasted = self.wasted.saturating_add(u64::from(tries));
            }
            Fate::Cancelled => {}
        }
        self.watch(event.at, timeline);
    }
}

impl RunningCalls {
    /// The entry of a call; `None` if too many run.
    fn call(&mut self, id: CallId) -> Option<&mut Running> {
        if self.calls.len() >= MAX_CALLS && !self.calls.contains_key(&id) {
            return None;
        }
        Some(self.calls.entry(id).or_default())
    }

    /// Removes a call that ended.
    fn end(&mut self, id: CallId) -> Option<Running> {
        let call = self.calls.remove(&id)?;
        self.out_calls = self.out_calls.saturating_sub(u64::from(call.tries > 0));
        self.out_tries = self.out_tries.saturating_sub(u64::from(call.tries));
        if let Some(cause) = call.cause {
            if self.left.len() >= MAX_LEFT {
                self.left.pop_front();
            }
            self.left.push_back((id, cause));
        }
        Some(call)
    }
}
