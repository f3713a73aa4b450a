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
mod timeline;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use cause::RetryCause;
pub use storm::{Storm, StormGuard};
pub use timeline::{HISTORY, RetrySecond, RetryTimeline, WINDOW};

use crate::event::{AttemptResult, CallId, Event, EventKind, Failure, FailureClass, Fate, Hint, StopReason};
use crate::time::Timestamp;

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
/// Calls a window needs for a peak: one call with three attempts is no threefold load.
const PEAK_CALLS: u64 = 5;

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
    /// Tokens in the retry budget and its capacity; `None` without a budget.
    pub budget: Option<(f64, f64)>,
    /// Time of that value.
    pub budget_at: Option<Timestamp>,
    /// Calls that were not retried again, by reason.
    pub stopped: BTreeMap<StopReason, u64>,
    /// The last two minutes, second by second.
    pub timeline: RetryTimeline,
    /// Highest attempts per call of a window with at least five calls, and its time.
    pub peak: Option<(f64, Timestamp)>,
    /// Storms so far.
    pub storms: u64,
    /// Start of the current storm as of the last event; see [`State::storm`](super::State::storm).
    pub(crate) storming: Option<Timestamp>,
    /// Running calls.
    pub(crate) running: RunningCalls,
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
}

impl RetryView {
    pub(super) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::CallStarted { prompt_tokens, .. } => {
                if let Some(call) = event.call.and_then(|id| self.running.call(id)) {
                    call.prompt_tokens = *prompt_tokens;
                }
            }
            EventKind::AttemptStarted { attempt, .. } => self.attempt_started(event, *attempt),
            EventKind::AttemptEnded { attempt, result, .. } => {
                self.attempt_ended(event.at, *attempt > 1, result);
            }
            EventKind::RetryScheduled {
                budget, budget_max, ..
            } => {
                self.retry_scheduled(event);
                self.note_budget(event.at, *budget, *budget_max);
            }
            EventKind::RetryStopped {
                reason,
                budget,
                budget_max,
                ..
            } => {
                *self.stopped.entry(*reason).or_default() += 1;
                // without a budget there is no figure
                if *budget_max > 0.0 {
                    self.note_budget(event.at, *budget, *budget_max);
                }
            }
            EventKind::FlightHandedOver { from, .. } => self.handed_over(event.call, *from),
            EventKind::CallEnded { fate, attempts, .. } => self.call_ended(event, *fate, *attempts),
            EventKind::AttemptResponded { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::StreamDelta { .. }
            | EventKind::FlightStarted { .. }
            | EventKind::FlightJoined { .. }
            | EventKind::ResultReplayed { .. }
            | session_events!()
            | cache_events!()
            | semantic_events!()
            | limit_events!()
            | breaker_events!() => {}
        }
    }

    /// Attempts per call, over running calls and those that ended in the last 30 s; `None` without calls.
    pub fn amplification_now(&self, now: Timestamp) -> Option<f64> {
        let window = self.timeline.window(now, 0);
        let (calls, tries) = self.tries_a_call(&window);
        (calls > 0).then_some(tries)
    }

    /// Retries that brought an answer, and that failed, in the last 30 s.
    pub fn helped_lately(&self, now: Timestamp) -> (u64, u64) {
        let window = self.timeline.window(now, 0);
        (window.helped, window.failed)
    }

    /// Tries for each call that was sent, over the run; nothing where none was.
    pub fn amplification(&self) -> Option<f64> {
        (self.sent > 0).then(|| self.attempts as f64 / self.sent as f64)
    }

    /// Wasted attempts: of failed calls, and failed ones before an answer.
    pub fn fruitless(&self) -> u64 {
        self.wasted.saturating_add(self.spent)
    }

    /// Time when a picture of the last two minutes changes next without any event: with the next second, as long
    /// as something is in it.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let second = timeline::second_of(now);
        let last = self.timeline.seconds.back()?;
        (last.second.saturating_add(HISTORY) > second)
            .then(|| Timestamp(second.saturating_add(1).saturating_mul(1_000_000_000)))
    }

    fn attempt_started(&mut self, event: &Event, attempt: u32) {
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
        let second = self.timeline.at(event.at);
        let count = if retry {
            &mut second.retries[cause.unwrap_or(RetryCause::Other) as usize]
        } else {
            &mut second.first
        };
        *count = count.saturating_add(1);
        self.note_peak(event.at);
        self.watch(event.at);
    }

    fn attempt_ended(&mut self, at: Timestamp, retry: bool, result: &AttemptResult) {
        let helped = match result {
            AttemptResult::Succeeded { .. } => true,
            AttemptResult::Failed { failure } => {
                self.count_cause(failure);
                false
            }
            AttemptResult::Cancelled => return,
        };
        if !retry {
            return;
        }
        let second = self.timeline.at(at);
        let (count, all) = if helped {
            (&mut second.helped, &mut self.helped)
        } else {
            (&mut second.failed, &mut self.in_vain)
        };
        *count = count.saturating_add(1);
        *all += 1;
        self.watch(at);
    }

    fn retry_scheduled(&mut self, event: &Event) {
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
        if let Some(call) = event.call.and_then(|id| self.running.call(id)) {
            call.cause = Some(RetryCause::from_class(*class));
            if *ambiguous {
                self.ambiguous_tokens = self.ambiguous_tokens.saturating_add(call.prompt_tokens);
            }
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

    fn note_budget(&mut self, at: Timestamp, budget: f64, most: f64) {
        let kept = budget.is_finite() && most.is_finite() && most > 0.0;
        self.budget = kept.then_some((budget, most));
        self.budget_at = Some(at);
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

    fn call_ended(&mut self, event: &Event, fate: Fate, attempts: u32) {
        let known = event.call.and_then(|id| self.running.end(id)).unwrap_or_default();
        let tries = attempts.max(known.tries);
        let Some(above_one) = tries.checked_sub(1) else {
            return;
        };
        let last = self.attempts_per_call.len() - 1;
        let place = (above_one as usize).min(last);
        self.attempts_per_call[place] += 1;
        let second = self.timeline.at(event.at);
        second.ended = second.ended.saturating_add(1);
        second.ended_tries = second.ended_tries.saturating_add(tries);
        match fate {
            Fate::Answered | Fate::Hit | Fate::Shared => {
                second.answered = second.answered.saturating_add(1);
                self.answered_after[place] += 1;
                self.recovered += u64::from(tries > 1);
                self.spent = self.spent.saturating_add(u64::from(above_one));
            }
            Fate::Failed | Fate::Interrupted | Fate::RateLimited | Fate::CircuitOpen => {
                second.lost = second.lost.saturating_add(1);
                self.lost_after[place] += 1;
                self.wasted = self.wasted.saturating_add(u64::from(tries));
            }
            Fate::Cancelled => {}
        }
        self.note_peak(event.at);
        self.watch(event.at);
    }

    fn note_peak(&mut self, now: Timestamp) {
        let window = self.timeline.window(now, 0);
        let (calls, tries) = self.tries_a_call(&window);
        if calls >= PEAK_CALLS && self.peak.is_none_or(|(peak, _)| tries > peak) {
            self.peak = Some((tries, now));
        }
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
