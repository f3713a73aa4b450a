//! Log lines of the session and of calls.

use super::LogKind;
use crate::event::{
    CallId, Event, EventKind, Failure, FailureClass, Fate, HintSource, StopReason, UpstreamHealth,
    UpstreamInfo,
};
use crate::settings::{FaultKind, FaultProfile};
use crate::state::{BreakersView, Call, Calls, SemanticView, Session};
use crate::text::units;
use crate::time::Timestamp;

/// Kind and text of a line, if the event has one.
pub(super) type Sentence = Option<(LogKind, String)>;

/// The line for an event, if it has one. `before` is the session before the event.
pub(super) fn of(event: &Event, before: &Session, views: Views<'_>) -> Sentence {
    let about = About {
        id: event.call.unwrap_or_default(),
        at: event.at,
        before,
        views,
    };
    match &event.kind {
        session_events!() => about.session(&event.kind),
        call_events!() => about.end(&event.kind),
        cache_events!() => about.cache(&event.kind),
        semantic_events!() => about.semantic(&event.kind),
        flight_events!() => about.flight(&event.kind),
        limit_events!() => about.limit(&event.kind),
        breaker_events!() => about.breaker(&event.kind),
        attempt_events!() => about.retry(&event.kind),
    }
}

/// The context of a log line.
pub(super) struct About<'a> {
    pub(super) id: CallId,
    pub(super) at: Timestamp,
    pub(super) before: &'a Session,
    pub(super) views: Views<'a>,
}

/// Views after the event.
#[derive(Clone, Copy)]
pub(in crate::state) struct Views<'a> {
    pub(in crate::state) calls: &'a Calls,
    pub(in crate::state) semantic: &'a SemanticView,
    pub(in crate::state) breakers: &'a BreakersView,
}

impl About<'_> {
    /// The call of the event, if it is remembered.
    pub(super) fn call(&self) -> Option<&Call> {
        self.views.calls.recent.get(&self.id)
    }

    fn session(&self, kind: &EventKind) -> Sentence {
        match kind {
            EventKind::SessionStarted { seed, upstream, .. } => Some((
                LogKind::Note,
                format!("session started: {}, seed {seed}", upstream_name(upstream)),
            )),
            EventKind::PolicyApplied { policy } => {
                Some((LogKind::Note, super::policy::applied(&self.before.policy, policy)))
            }
            EventKind::UpstreamProbed { health } => self.health(health),
            EventKind::FaultsApplied { on: true, profile } => Some((
                LogKind::Inject,
                format!("faults on: {} ({})", profile.name, rates(profile)),
            )),
            // rates can be changed beforehand: nothing was switched off then
            EventKind::FaultsApplied { on: false, profile }
                if !self.before.faults_on && self.before.faults.total() > 0.0 =>
            {
                let rates = rates(profile);
                Some((
                    LogKind::Inject,
                    format!("faults off, profile changed to {} ({rates})", profile.name),
                ))
            }
            EventKind::FaultsApplied { on: false, .. } => Some((LogKind::Inject, "faults off".to_owned())),
            EventKind::FaultInjected { fault, .. } => {
                let (fault, profile) = (fault.label(), &self.before.faults.name);
                let id = self.call().map_or_else(String::new, |_| format!("{} ", self.id));
                Some((LogKind::Inject, format!("{id}{fault} (fault profile {profile})")))
            }
            EventKind::BurstStarted { burst, calls } => Some((
                LogKind::Note,
                format!("burst {burst}: {}", units::count(u64::from(*calls), "call")),
            )),
            EventKind::BurstEnded { burst, calls } => {
                let planned = self
                    .views
                    .calls
                    .bursts
                    .iter()
                    .find(|one| one.burst == *burst)?
                    .calls;
                (calls < &planned).then(|| {
                    (
                        LogKind::Stop,
                        format!("burst {burst} stopped after {calls} of {planned} calls"),
                    )
                })
            }
            EventKind::LoadStarted { load, plan } => Some((LogKind::Note, format!("load {load}: {plan}"))),
            EventKind::LoadEnded { load, calls, skipped } => {
                let made = units::count(*calls, "call");
                let skipped = match skipped {
                    0 => String::new(),
                    skipped => format!(", {skipped} skipped"),
                };
                Some((LogKind::Note, format!("load {load} ended after {made}{skipped}")))
            }
            EventKind::Suspended { until } => {
                let wakes = until.as_secs_f64();
                Some((LogKind::Note, format!("machine suspended until {wakes:.1}")))
            }
            EventKind::GatewayListening { address } => Some((
                LogKind::Note,
                format!("gateway at http://{}/v1", address.single_line()),
            )),
            EventKind::Notice { text } => Some((LogKind::Note, text.single_line())),
            EventKind::TaskPanicked { text } => Some((
                LogKind::Fail,
                format!("a background task panicked: {}", text.single_line()),
            )),
            // shown in its own view
            EventKind::WhatIfEvaluated { .. }
            | call_events!()
            | cache_events!()
            | flight_events!()
            | semantic_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => None,
        }
    }

    /// Changes only: the health is probed repeatedly.
    fn health(&self, health: &UpstreamHealth) -> Sentence {
        if self.before.health.as_ref() == Some(health) {
            return None;
        }
        let asked = self
            .before
            .upstream
            .as_ref()
            .and_then(|upstream| upstream.model.as_ref());
        if let Some(unlisted) = asked.and_then(|asked| health.unlisted(asked.as_str())) {
            return Some((LogKind::Fail, format!("upstream ready: {unlisted}")));
        }
        let text = match health {
            UpstreamHealth::Ready { models } => match models.as_slice() {
                [] => "upstream ready".to_owned(),
                [only] => format!("upstream ready: {only}"),
                [first, rest @ ..] => format!("upstream ready: {first} and {} more", rest.len()),
            },
            UpstreamHealth::Loading => "upstream is loading its model".to_owned(),
            UpstreamHealth::Unavailable { message, .. } => {
                return Some((
                    LogKind::Fail,
                    format!("upstream unavailable: {}", message.single_line()),
                ));
            }
        };
        Some((LogKind::Note, text))
    }

    fn end(&self, kind: &EventKind) -> Sentence {
        let EventKind::CallEnded {
            fate,
            attempts,
            failure,
            usage,
            took,
        } = kind
        else {
            return None;
        };
        let (id, took) = (self.id, units::precise(*took));
        let attempts_made = || units::count(u64::from(*attempts), "attempt");
        let tokens =
            |verb: &str| usage.map_or(String::new(), |usage| format!(", {} tokens{verb}", usage.total()));
        let why = || {
            let stopped = self.call().and_then(|call| call.stopped).filter(|stopped| {
                // the failure itself says the others
                !matches!(
                    stopped,
                    StopReason::Attempts | StopReason::NotRetryable | StopReason::Delivered
                )
            });
            let stopped = stopped.map_or(String::new(), |stopped| format!(", {}", stopped.sentence()));
            let message = failure.as_ref().map_or(String::new(), |failure| {
                format!(": {}", failure.message.single_line())
            });
            stopped + &message
        };
        match fate {
            Fate::Answered => Some((
                LogKind::Ok,
                format!("{id} answered, {}, {took}{}", attempts_made(), tokens("")),
            )),
            Fate::Shared => {
                let flight = self.call().and_then(|call| call.flight);
                let text = match flight.and_then(|flight| self.views.calls.flights.get(&flight)) {
                    Some(flight) => format!(
                        "{id} shared the answer of {}, {took}{}",
                        flight.owner,
                        tokens(" saved")
                    ),
                    None => format!("{id} shared an answer, {took}{}", tokens(" saved")),
                };
                Some((LogKind::Shared, text))
            }
            Fate::Failed if *attempts == 0 => Some((LogKind::Fail, format!("{id} failed{}", why()))),
            Fate::Failed => Some((
                LogKind::Fail,
                format!("{id} failed after {}{}", attempts_made(), why()),
            )),
            Fate::Interrupted => Some((LogKind::Fail, format!("{id} interrupted after {took}{}", why()))),
            Fate::Cancelled => Some((LogKind::Stop, format!("{id} stopped after {took}"))),
            // the guard that served or rejected it has its own line
            Fate::Hit | Fate::RateLimited | Fate::CircuitOpen => None,
        }
    }

    fn retry(&self, kind: &EventKind) -> Sentence {
        match kind {
            EventKind::RetryScheduled {
                next,
                delay,
                hint,
                class,
                ..
            } => {
                let (id, attempts) = (self.id, self.before.policy.retry.attempts);
                let failure = self.call().and_then(|call| call.failure.as_ref());
                let cause = failure
                    .filter(|failure| failure.class == *class)
                    .map(Failure::brief);
                let cause = cause.unwrap_or_else(|| class.brief().to_owned());
                let hint = hint.map_or(String::new(), |hint| match hint.source {
                    HintSource::RetryAfterMs => format!(", retry-after-ms: {}", hint.wait.as_millis()),
                    HintSource::RetryAfter => format!(", Retry-After: {}", hint.wait.as_secs_f64()),
                    HintSource::RetryAfterDate => format!(", Retry-After in {}", units::duration(hint.wait)),
                    HintSource::Body => format!(", error body: retry in {}", units::duration(hint.wait)),
                    HintSource::Message => format!(", message: retry in {}", units::duration(hint.wait)),
                    HintSource::LimitReset => format!(", limit resets in {}", units::duration(hint.wait)),
                });
                let wait = units::precise(*delay);
                if *class == FailureClass::Loading {
                    // a wait, not a retry: not limited by retry.attempts
                    let text = format!("{id} model loading, next attempt in {wait}{hint}");
                    return Some((LogKind::Retry, text));
                }
                Some((
                    LogKind::Retry,
                    format!("{id} attempt {next}/{attempts} in {wait} ({cause}{hint})"),
                ))
            }
            // the line at the end of the call has the reason
            EventKind::RetryStopped { .. }
            | EventKind::AttemptStarted { .. }
            | EventKind::AttemptResponded { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::StreamDelta { .. }
            | EventKind::AttemptEnded { .. }
            | session_events!()
            | call_events!()
            | cache_events!()
            | flight_events!()
            | semantic_events!()
            | limit_events!()
            | breaker_events!() => None,
        }
    }
}

/// The simulator in short, a host as it is.
pub(super) fn upstream_name(upstream: &UpstreamInfo) -> &str {
    if upstream.simulated { "sim" } else { &upstream.host }
}

/// `429 30%, 500 10%`.
fn rates(profile: &FaultProfile) -> String {
    let kinds = FaultKind::ALL.iter().filter(|kind| profile.rate(**kind) > 0.0);
    let rates = kinds.map(|kind| format!("{} {}", kind.label(), units::rate(profile.rate(*kind))));
    let slots = profile
        .capacity
        .map(|capacity| format!("{} at a time", capacity.parallel));
    let all: Vec<String> = rates.chain(slots).collect();
    if all.is_empty() {
        return "no faults".to_owned();
    }
    all.join(", ")
}
