//! From events to traffic.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::attempt::{SeenAttempt, SeenEnd};
use super::{Deed, FaultsFrom, RecordedCall, Traffic};
use crate::event::{
    AttemptResult, BreakerMode, BreakerState, CallId, Event, EventKind, EvictReason, FailureClass, MoveReason,
};
use crate::settings::{Policy, TimeoutSettings};
use crate::time::Timestamp;

/// No prompt is longer, in LLM tokens: a count beyond is a broken file.
const LONGEST_PROMPT: u64 = 1 << 32;
/// Faults and deeds that are kept.
const MOST_DEEDS: usize = 10_000;

/// What the fold knows of now.
#[derive(Clone, Debug, Default)]
pub(super) struct Now {
    policy: Option<Box<Policy>>,
    /// Or half open.
    breaker_is_open: bool,
    /// Whether the last event was of a kind that explains a move of the breaker by hand.
    explains: bool,
    /// Each prompt once.
    prompts: HashSet<Arc<str>>,
    /// By what a rebuilt request would say: the request that says it without a tag.
    said: HashMap<u64, u64>,
}

impl Now {
    pub(super) fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    #[cfg(test)]
    pub(super) fn prompts_kept(&self) -> usize {
        self.prompts.len()
    }

    /// How long a call may take where it does not say.
    fn deadline(&self) -> Duration {
        self.policy()
            .map_or_else(|| TimeoutSettings::default().call, |policy| policy.timeouts.call)
    }

    fn timeouts(&self) -> TimeoutSettings {
        self.policy()
            .map(|policy| policy.timeouts.clone())
            .unwrap_or_default()
    }

    /// The one copy of this prompt.
    fn prompt(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.prompts.get(text) {
            return Arc::clone(known);
        }
        let prompt: Arc<str> = text.into();
        self.prompts.insert(Arc::clone(&prompt));
        prompt
    }

    /// Whether a request would be mistaken for another one without a tag.
    fn is_twin(&mut self, call: &RecordedCall) -> bool {
        *self.said.entry(call.said()).or_insert(call.request) != call.request
    }

    /// Forgets what no call has that is left.
    fn keep(&mut self, calls: &[RecordedCall]) {
        self.prompts.retain(|prompt| Arc::strong_count(prompt) > 1);
        let plain = calls.iter().filter(|call| !call.twin);
        self.said = plain.map(|call| (call.said(), call.request)).collect();
    }
}

impl Traffic {
    /// Takes note of an event.
    pub fn take(&mut self, event: &Event) {
        self.until = self.until.max(event.at);
        let explained = std::mem::take(&mut self.fold.explains);
        if let EventKind::BreakerMoved { to, .. } = &event.kind {
            self.fold.breaker_is_open = *to != BreakerState::Closed;
        }
        match &event.kind {
            EventKind::SessionStarted {
                seed,
                upstream,
                simulator,
                ..
            } => {
                self.seed = *seed;
                self.upstream = Some(upstream.clone());
                self.simulator = simulator.as_deref().cloned();
            }
            EventKind::PolicyApplied { policy } => {
                self.fold.explains = true;
                let known = self.fold.policy.as_deref();
                let changed = known.is_some_and(|known| *known != **policy);
                if changed {
                    self.settings_changed(event);
                }
                self.fold.policy = Some(policy.clone());
            }
            EventKind::CacheSwitched { .. } => self.settings_changed(event),
            EventKind::FaultsApplied { on, profile } => self.switch(event, *on, profile),
            EventKind::BreakerForced { mode } => {
                self.fold.explains = true;
                self.did(event, Deed::Force(*mode));
            }
            EventKind::BreakerMoved {
                reason: MoveReason::Manual,
                ..
            } => self.moved_by_hand(event, explained),
            EventKind::CacheEvicted {
                reason: EvictReason::Cleared,
                ..
            } => self.did(event, Deed::ClearCache),
            EventKind::Suspended { until } => {
                self.until = self.until.max(*until);
                self.did(event, Deed::Suspend(until.since(event.at)));
            }
            EventKind::CallStarted { .. } => self.begin(event),
            EventKind::CallEnded {
                fate, attempts, took, ..
            } => {
                if let Some(call) = self.recorded(event.call) {
                    (call.fate, call.took, call.attempts) = (Some(*fate), Some(*took), *attempts);
                }
            }
            EventKind::FlightStarted { flight, .. } => {
                if let Some(call) = self.recorded(event.call) {
                    call.flight.get_or_insert(*flight);
                }
            }
            _ => self.attempt(event),
        }
    }

    fn recorded(&mut self, call: Option<CallId>) -> Option<&mut RecordedCall> {
        let place = *self.places.get(&call?)?;
        self.calls.get_mut(place)
    }

    fn settings_changed(&mut self, event: &Event) {
        if !self.calls.is_empty() {
            self.changes += 1;
            self.changed_at = Some(event.at);
        }
    }

    /// What becomes of attempts.
    fn attempt(&mut self, event: &Event) {
        match &event.kind {
            EventKind::AttemptStarted { attempt, .. } => self.send(event, *attempt),
            EventKind::FlightHandedOver { from, .. } => {
                if let (Some(call), Some(place)) = (event.call, self.open.remove(from)) {
                    self.open.insert(call, place);
                }
            }
            EventKind::AttemptResponded { .. } => {
                if let Some(attempt) = self.running(event.call) {
                    attempt.headers = Some(event.at.since(attempt.at));
                }
            }
            EventKind::AttemptFirstToken { ttft, .. } => {
                if let Some(attempt) = self.running(event.call) {
                    attempt.first_token = Some(*ttft);
                }
            }
            EventKind::StreamDelta { chunks, .. } => {
                if let Some(attempt) = self.running(event.call) {
                    attempt.chunks = attempt.chunks.saturating_add(u64::from(*chunks));
                }
            }
            EventKind::AttemptEnded { result, took, .. } => self.end(event.call, result, *took),
            _ => {}
        }
    }

    fn begin(&mut self, event: &Event) {
        let (
            Some(number),
            EventKind::CallStarted {
                origin,
                user,
                prompt,
                fingerprint,
                prompt_tokens,
                deadline,
                options,
            },
        ) = (event.call, &event.kind)
        else {
            return;
        };
        self.make_room();
        let given = deadline.since(event.at);
        let mut call = RecordedCall {
            call: number,
            at: event.at,
            user: user.clone(),
            origin: *origin,
            prompt: self.fold.prompt(prompt),
            request: xxh3_64(fingerprint.as_bytes()),
            twin: false,
            calm: !self.fold.breaker_is_open,
            flight: None,
            prompt_tokens: (*prompt_tokens).min(LONGEST_PROMPT),
            options: options.clone(),
            deadline: Some(given).filter(|given| *given != self.fold.deadline()),
            fate: None,
            took: None,
            attempts: 0,
        };
        call.twin = self.fold.is_twin(&call);
        self.places.insert(number, self.calls.len());
        self.calls.push(call);
    }

    fn send(&mut self, event: &Event, number: u32) {
        let Some(call) = event.call else { return };
        self.open.insert(call, self.attempts.len());
        self.attempts.push(SeenAttempt {
            call,
            number,
            at: event.at,
            headers: None,
            first_token: None,
            chunks: 0,
            took: Duration::ZERO,
            end: None,
        });
    }

    fn running(&mut self, call: Option<CallId>) -> Option<&mut SeenAttempt> {
        let place = *self.open.get(&call?)?;
        self.attempts.get_mut(place)
    }

    fn end(&mut self, call: Option<CallId>, result: &AttemptResult, took: Duration) {
        let end = match result {
            AttemptResult::Succeeded { finish, usage, .. } => Some(SeenEnd::Answered {
                usage: *usage,
                finish: *finish,
            }),
            // a bug of ours says nothing of the upstream
            AttemptResult::Failed { failure } if failure.class == FailureClass::Internal => None,
            AttemptResult::Failed { failure } => Some(SeenEnd::failed(failure, &self.fold.timeouts())),
            AttemptResult::Cancelled => None,
        };
        if let Some(attempt) = self.running(call) {
            (attempt.took, attempt.end) = (took, end);
        }
        if let Some(call) = call {
            self.open.remove(&call);
        }
    }

    fn switch(&mut self, event: &Event, on: bool, profile: &crate::settings::FaultProfile) {
        let same = |last: &FaultsFrom| last.on == on && *last.profile == *profile;
        // rates that are none come from a broken file
        if self.faults.last().is_some_and(same) || profile.validate().is_err() {
            return;
        }
        if self.faults.len() < MOST_DEEDS {
            self.faults.push(FaultsFrom {
                at: event.at,
                on,
                profile: Arc::new(profile.clone()),
            });
        }
    }

    fn did(&mut self, event: &Event, deed: Deed) {
        if self.deeds.len() < MOST_DEEDS {
            self.deeds.push((event.at, deed));
        }
    }

    /// A person forced the breaker, or changed its settings, or reset it. That is told only by what came before: a
    /// reset that lets a forced breaker go looks as if it were only let go, and then moves it all the same.
    fn moved_by_hand(&mut self, event: &Event, explained: bool) {
        match self.deeds.last_mut() {
            Some((at, deed @ Deed::Force(BreakerMode::Automatic))) if explained && *at == event.at => {
                *deed = Deed::Reset;
            }
            _ if explained => {}
            _ => self.did(event, Deed::Reset),
        }
    }

    /// Forgets what was done before, but not that the breaker is forced since.
    fn forget_deeds(&mut self, since: Timestamp) {
        let done = self.deeds.partition_point(|(at, _)| *at < since);
        let held = |deed: &Deed| matches!(deed, Deed::Force(_) | Deed::Reset);
        let last = self.deeds.drain(..done).rfind(|(_, deed)| held(deed));
        if let Some(forced) =
            last.filter(|(_, deed)| matches!(deed, Deed::Force(mode) if *mode != BreakerMode::Automatic))
        {
            self.deeds.insert(0, forced);
        }
    }

    /// Forgets the oldest calls where there are too many, and what was seen before the oldest that stays.
    fn make_room(&mut self) {
        let Some(keep) = self.keep.filter(|keep| self.calls.len() >= *keep) else {
            return;
        };
        // played again, the breaker begins closed: the oldest call that stays is one that found it so, if any is near
        let go = keep.div_ceil(4);
        let near = self.calls.iter().take(keep.div_ceil(2)).skip(go);
        let more = near.take_while(|call| !call.calm).count();
        let found = self.calls.get(go + more).is_some_and(|call| call.calm);
        self.calls.drain(..if found { go + more } else { go });
        self.places = self
            .calls
            .iter()
            .enumerate()
            .map(|(place, call)| (call.call, place))
            .collect();
        let since = self.calls.first().map_or(self.until, |call| call.at);
        let gone = self.attempts.partition_point(|attempt| attempt.at < since);
        self.attempts.drain(..gone);
        self.open = std::mem::take(&mut self.open)
            .into_iter()
            .filter_map(|(call, place)| Some((call, place.checked_sub(gone)?)))
            .collect();
        // the faults that were on when the oldest call was made hold for it
        let stale = self.faults.partition_point(|faults| faults.at <= since);
        self.faults.drain(..stale.saturating_sub(1));
        self.forget_deeds(since);
        self.fold.keep(&self.calls);
    }
}
