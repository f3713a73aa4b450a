//! The fold from events to [`Traffic`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::attempt::{AttemptEnd, RecordedAttempt};
use super::{FaultsFrom, RecordedCall, Traffic};
use crate::event::{
    AttemptResult, BreakerMode, BreakerState, BreakerStates, CallId, Command, Event, EventKind, EvictReason,
    FailureClass, Fate, ModelName, MoveReason, TimedCommand,
};
use crate::settings::{FaultProfile, Policy, TimeoutSettings};
use crate::time::Timestamp;

/// The longest prompt in LLM tokens; a larger count means a damaged file.
const LONGEST_PROMPT: u64 = 1 << 32;
/// Maximum number of fault switches and of commands kept, each.
const MOST_COMMANDS: usize = 10_000;

/// The context of the next event.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    policy: Option<Box<Policy>>,
    /// True if the breaker of a model is open or half-open.
    breaker_is_open: bool,
    breakers: BreakerStates,
    /// True if the last event explains a manual transition of the breaker.
    explains_manual_move: bool,
    /// True if the last event moved the breaker of `moved_model` by hand.
    moved_manually: bool,
    moved_model: Option<ModelName>,
    /// Interned prompts.
    prompts: HashSet<Arc<str>>,
    /// By content hash: the request that has this content without a tag.
    untagged: HashMap<u64, u64>,
}

impl Context {
    pub(super) fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    #[cfg(test)]
    pub(super) fn prompts_kept(&self) -> usize {
        self.prompts.len()
    }

    /// The deadline of a call without one of its own.
    fn deadline(&self) -> Duration {
        self.policy()
            .map_or_else(|| TimeoutSettings::default().call, |policy| policy.timeouts.call)
    }

    fn timeouts(&self) -> TimeoutSettings {
        self.policy()
            .map(|policy| policy.timeouts.clone())
            .unwrap_or_default()
    }

    /// The interned copy of a prompt.
    fn prompt(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.prompts.get(text) {
            return Arc::clone(known);
        }
        let prompt: Arc<str> = text.into();
        self.prompts.insert(Arc::clone(&prompt));
        prompt
    }

    /// True if the request would be equal to a different one without a tag.
    fn needs_tag(&mut self, call: &RecordedCall) -> bool {
        *self.untagged.entry(call.content_hash()).or_insert(call.request) != call.request
    }

    /// Drops what none of these calls refers to.
    fn retain(&mut self, calls: &[RecordedCall]) {
        self.prompts.retain(|prompt| Arc::strong_count(prompt) > 1);
        let untagged = calls.iter().filter(|call| !call.needs_tag);
        self.untagged = untagged.map(|call| (call.content_hash(), call.request)).collect();
    }
}

impl Traffic {
    /// Applies an event.
    pub fn apply(&mut self, event: &Event) {
        self.until = self.until.max(event.at);
        let explained = std::mem::take(&mut self.fold.explains_manual_move);
        let moved = std::mem::take(&mut self.fold.moved_manually);
        if let EventKind::BreakerMoved { model, to, .. } = &event.kind {
            let all = self.fold.breakers.apply(model.as_ref(), *to);
            self.fold.breaker_is_open = all != BreakerState::Closed;
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
                self.fold.explains_manual_move = true;
                let known = self.fold.policy.as_deref();
                let changed = known.is_some_and(|known| *known != **policy);
                if changed {
                    self.settings_changed(event);
                }
                self.fold.policy = Some(policy.clone());
            }
            EventKind::CacheSwitched { .. } => self.settings_changed(event),
            EventKind::FaultsApplied { on, profile } => self.switch_faults(event, *on, profile),
            EventKind::BreakerForced { mode } => {
                self.fold.explains_manual_move = true;
                self.add_command(event, Command::SetBreaker { mode: *mode });
            }
            EventKind::BreakerMoved {
                reason: MoveReason::Manual,
                model,
                to,
                ..
            } => {
                // a command moves the breakers of all models, one after the other
                let follows = moved && self.fold.moved_model != *model;
                (self.fold.moved_manually, self.fold.moved_model) = (true, model.clone());
                // a model that is called for the first time while its breaker is forced open
                let is_forced = *to == BreakerState::Open;
                self.move_breaker(event, explained || follows || is_forced);
            }
            EventKind::CacheEvicted {
                reason: EvictReason::Cleared,
                ..
            } => self.add_command(event, Command::ClearCache),
            EventKind::Suspended { until } => {
                self.until = self.until.max(*until);
                let gap = until.since(event.at);
                self.add_command(event, Command::Suspend { gap });
            }
            EventKind::CallStarted { .. } => self.begin_call(event),
            EventKind::CallEnded {
                fate: Fate::Cancelled,
                took,
                ..
            } => {
                if let Some(call) = self.recorded(event.call) {
                    call.cancelled_at = Some(call.at + *took);
                }
            }
            EventKind::FlightStarted { flight, .. } => {
                if let Some(call) = self.recorded(event.call) {
                    call.flight.get_or_insert(*flight);
                }
            }
            _ => self.apply_to_attempts(event),
        }
    }

    fn recorded(&mut self, call: Option<CallId>) -> Option<&mut RecordedCall> {
        let index = *self.call_index.get(&call?)?;
        self.calls.get_mut(index)
    }

    fn settings_changed(&mut self, event: &Event) {
        if !self.calls.is_empty() {
            self.changes += 1;
            self.changed_at = Some(event.at);
        }
    }

    fn apply_to_attempts(&mut self, event: &Event) {
        match &event.kind {
            EventKind::AttemptStarted { attempt, .. } => self.begin_attempt(event, *attempt),
            EventKind::FlightHandedOver { from, .. } => {
                if let (Some(call), Some(index)) = (event.call, self.running.remove(from)) {
                    self.running.insert(call, index);
                }
            }
            EventKind::AttemptResponded { .. } => {
                if let Some(attempt) = self.running_attempt(event.call) {
                    attempt.headers = Some(event.at.since(attempt.at));
                }
            }
            EventKind::AttemptFirstToken { ttft, .. } => {
                if let Some(attempt) = self.running_attempt(event.call) {
                    attempt.first_token = Some(*ttft);
                }
            }
            EventKind::StreamDelta { chunks, .. } => {
                if let Some(attempt) = self.running_attempt(event.call) {
                    attempt.chunks = attempt.chunks.saturating_add(u64::from(*chunks));
                }
            }
            EventKind::AttemptEnded { result, took, .. } => self.end_attempt(event.call, result, *took),
            _ => {}
        }
    }

    fn begin_call(&mut self, event: &Event) {
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
            needs_tag: false,
            breaker_closed: !self.fold.breaker_is_open,
            flight: None,
            prompt_tokens: (*prompt_tokens).min(LONGEST_PROMPT),
            options: options.clone(),
            deadline: Some(given).filter(|given| *given != self.fold.deadline()),
            cancelled_at: None,
        };
        call.needs_tag = self.fold.needs_tag(&call);
        self.call_index.insert(number, self.calls.len());
        self.calls.push(call);
    }

    fn begin_attempt(&mut self, event: &Event, number: u32) {
        let Some(call) = event.call else { return };
        let model = self
            .recorded(Some(call))
            .and_then(|call| call.options.model.clone());
        self.running.insert(call, self.attempts.len());
        self.attempts.push(RecordedAttempt {
            call,
            model,
            number,
            at: event.at,
            headers: None,
            first_token: None,
            chunks: 0,
            took: Duration::ZERO,
            end: None,
        });
    }

    fn running_attempt(&mut self, call: Option<CallId>) -> Option<&mut RecordedAttempt> {
        let index = *self.running.get(&call?)?;
        self.attempts.get_mut(index)
    }

    fn end_attempt(&mut self, call: Option<CallId>, result: &AttemptResult, took: Duration) {
        let end = match result {
            AttemptResult::Succeeded { finish, usage, .. } => Some(AttemptEnd::Answered {
                usage: *usage,
                finish: *finish,
            }),
            // a bug in seawall says nothing about the upstream
            AttemptResult::Failed { failure } if failure.class == FailureClass::Internal => None,
            AttemptResult::Failed { failure } => {
                Some(AttemptEnd::from_failure(failure, &self.fold.timeouts()))
            }
            AttemptResult::Cancelled => None,
        };
        if let Some(attempt) = self.running_attempt(call) {
            (attempt.took, attempt.end) = (took, end);
        }
        if let Some(call) = call {
            self.running.remove(&call);
        }
    }

    fn switch_faults(&mut self, event: &Event, on: bool, profile: &FaultProfile) {
        let same = |last: &FaultsFrom| last.on == on && *last.profile == *profile;
        // invalid rates come from a damaged file
        if self.faults.last().is_some_and(same) || profile.validate().is_err() {
            return;
        }
        if self.faults.len() < MOST_COMMANDS {
            self.faults.push(FaultsFrom {
                at: event.at,
                on,
                profile: Arc::new(profile.clone()),
            });
        }
    }

    fn add_command(&mut self, event: &Event, command: Command) {
        if self.commands.len() < MOST_COMMANDS {
            let at = event.at;
            self.commands.push(TimedCommand { at, command });
        }
    }

    /// Records a manual transition of the breaker: forced, changed by its settings, or reset. Only the event
    /// before it distinguishes these. A reset that releases a forced breaker first looks like a release, and then
    /// moves it.
    fn move_breaker(&mut self, event: &Event, explained: bool) {
        let released = Command::SetBreaker {
            mode: BreakerMode::Automatic,
        };
        match self.commands.last_mut() {
            Some(last) if explained && last.at == event.at && last.command == released => {
                last.command = Command::ResetBreaker;
            }
            _ if explained => {}
            _ => self.add_command(event, Command::ResetBreaker),
        }
    }

    /// Drops the commands before `since`, except one that still forces the breaker.
    fn drop_commands(&mut self, since: Timestamp) {
        let is_breaker =
            |command: &Command| matches!(command, Command::SetBreaker { .. } | Command::ResetBreaker);
        let automatic = BreakerMode::Automatic;
        let forces =
            |command: &Command| matches!(command, Command::SetBreaker { mode } if *mode != automatic);
        let old = self.commands.partition_point(|command| command.at < since);
        let last = self.commands.drain(..old).rfind(|last| is_breaker(&last.command));
        if let Some(forced) = last.filter(|last| forces(&last.command)) {
            self.commands.insert(0, forced);
        }
    }

    /// Drops the oldest calls if there are too many, and what was recorded before the oldest that stays.
    fn make_room(&mut self) {
        let Some(keep) = self.keep.filter(|keep| self.calls.len() >= *keep) else {
            return;
        };
        // a replay begins with a closed breaker: so should the oldest call that stays, if such a one is near
        let least = keep.div_ceil(4);
        let near = self.calls.iter().take(keep.div_ceil(2)).skip(least);
        let more = near.take_while(|call| !call.breaker_closed).count();
        let found = self
            .calls
            .get(least + more)
            .is_some_and(|call| call.breaker_closed);
        self.calls.drain(..if found { least + more } else { least });
        let numbered = self.calls.iter().enumerate();
        self.call_index = numbered.map(|(index, call)| (call.call, index)).collect();
        let since = self.calls.first().map_or(self.until, |call| call.at);
        let dropped = self.attempts.partition_point(|attempt| attempt.at < since);
        self.attempts.drain(..dropped);
        self.running = std::mem::take(&mut self.running)
            .into_iter()
            .filter_map(|(call, index)| Some((call, index.checked_sub(dropped)?)))
            .collect();
        // the faults at the time of the oldest call stay
        let stale = self.faults.partition_point(|faults| faults.at <= since);
        self.faults.drain(..stale.saturating_sub(1));
        self.drop_commands(since);
        self.fold.retain(&self.calls);
    }
}
