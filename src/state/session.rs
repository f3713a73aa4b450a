//! Upstream, settings and faults of a session.

use serde::{Deserialize, Serialize};

use crate::event::{
    AttemptResult, Event, EventKind, Failure, FailureClass, Load, UpstreamHealth, UpstreamInfo,
};
use crate::settings::{FaultProfile, Policy, file};
use crate::text::{SafeText, units};
use crate::time::Timestamp;

/// The frame of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The upstream; `None` before the session started.
    pub upstream: Option<UpstreamInfo>,
    /// Latest health of the upstream.
    pub health: Option<UpstreamHealth>,
    /// The running policy.
    pub policy: Policy,
    /// Its name on screens; `production+4` if four settings differ from the preset, or from the policy of the start.
    #[serde(default)]
    pub policy_label: String,
    /// The time from which the running policy holds.
    #[serde(default)]
    pub policy_at: Timestamp,
    /// The policy of the start, unless it is a preset.
    #[serde(default)]
    started_with: Option<Box<Policy>>,
    /// True if faults are injected.
    pub faults_on: bool,
    /// The fault profile.
    pub faults: FaultProfile,
    /// Faults injected.
    pub injected: u64,
    /// The address of the gateway, if it serves clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<SafeText>,
    /// The latest load, running or ended.
    #[serde(default)]
    pub load: Option<LoadRun>,
    /// The reason why the next call would fail too; `None` if no such reason is known.
    #[serde(default)]
    pub trouble: Option<Trouble>,
    /// Attempts in a row that got no connection.
    #[serde(default)]
    unreached: u32,
}

/// A load and the time of its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadRun {
    /// The number of the load, from 1.
    pub load: u64,
    /// Its rate, users and end.
    pub plan: Load,
    /// Time of the start.
    pub started_at: Timestamp,
    /// Time of the end; `None` while it runs.
    pub ended_at: Option<Timestamp>,
}

impl LoadRun {
    /// The label while it runs, such as `load 10/s, 42 s left`.
    pub fn label(&self, now: Timestamp) -> String {
        let rate = self.plan.rate_text();
        match self.plan.lasts {
            Some(lasts) => {
                let left = now.until(self.started_at + lasts);
                format!("load {rate}, {} left", units::duration(left))
            }
            None => format!("load {rate}"),
        }
    }
}

/// A failure that does not pass: a rejected key, a missing model, no connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// The class of the failure, if known.
    pub class: Option<FailureClass>,
    /// The message, with the remedy.
    pub message: SafeText,
}

/// Attempts without a connection, one after the other, that make an upstream count as down.
const DOWN_AFTER: u32 = 3;

/// The name of a policy without the changes that it lists: `production+retry.attempts=1`.
fn base_name(policy: &Policy) -> &str {
    policy.name.split('+').next().unwrap_or_default()
}

impl Session {
    /// The load that is running.
    pub fn running_load(&self) -> Option<&LoadRun> {
        self.load.as_ref().filter(|load| load.ended_at.is_none())
    }

    pub(super) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::SessionStarted { seed, upstream, .. } => {
                self.seed = *seed;
                self.upstream = Some(upstream.clone());
            }
            EventKind::PolicyApplied { policy } => {
                if self.policy_label.is_empty() && file::preset(base_name(policy)).is_none() {
                    self.started_with = Some(policy.clone());
                }
                self.policy.clone_from(policy);
                self.policy_at = event.at;
                self.policy_label = self.label();
            }
            EventKind::CacheSwitched { on } => {
                self.policy.cache.enabled = *on;
                self.policy_label = self.label();
            }
            EventKind::GatewayListening { address } => self.gateway = Some(address.clone()),
            EventKind::UpstreamProbed { health } => self.probed(health),
            EventKind::AttemptEnded {
                result: AttemptResult::Failed { failure },
                ..
            } => self.failed(failure),
            EventKind::AttemptEnded {
                result: AttemptResult::Succeeded { .. },
                ..
            } => (self.trouble, self.unreached) = (None, 0),
            EventKind::FaultsApplied { on, profile } => {
                self.faults_on = *on;
                self.faults.clone_from(profile);
            }
            EventKind::FaultInjected { .. } => self.injected += 1,
            EventKind::LoadStarted { load, plan } => {
                self.load = Some(LoadRun {
                    load: *load,
                    plan: plan.as_ref().clone(),
                    started_at: event.at,
                    ended_at: None,
                });
            }
            EventKind::LoadEnded { load, .. } => {
                if let Some(run) = self.load.as_mut().filter(|run| run.load == *load) {
                    run.ended_at = Some(event.at);
                }
            }
            EventKind::WhatIfEvaluated { .. }
            | EventKind::BurstStarted { .. }
            | EventKind::BurstEnded { .. }
            | EventKind::Suspended { .. }
            | EventKind::Notice { .. }
            | EventKind::TaskPanicked { .. }
            | call_events!()
            | EventKind::CacheHit { .. }
            | EventKind::CacheMissed { .. }
            | EventKind::CacheBypassed { .. }
            | EventKind::CacheStored { .. }
            | EventKind::CacheSkipped { .. }
            | EventKind::CacheEvicted { .. }
            | flight_events!()
            | semantic_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => {}
        }
    }

    fn label(&self) -> String {
        let base = base_name(&self.policy);
        let started_with = self.started_with.as_deref();
        let origin = file::preset(base).or(started_with.filter(|first| base_name(first) == base));
        let differing = match origin {
            Some(origin) => {
                let changes = origin.changes(&self.policy);
                // what a person labels right or wrong is no setting
                changes
                    .iter()
                    .filter(|(path, _)| !path.starts_with("semantic.labels"))
                    .count()
            }
            None => self.policy.name.split('+').count() - 1,
        };
        match differing {
            0 => base.to_owned(),
            count => format!("{base}+{count}"),
        }
    }

    fn probed(&mut self, health: &UpstreamHealth) {
        self.trouble = match health {
            UpstreamHealth::Unavailable { message, class } => Some(Trouble {
                class: *class,
                message: message.clone(),
            }),
            UpstreamHealth::Ready { .. } | UpstreamHealth::Loading => None,
        };
        self.health = Some(health.clone());
    }

    /// A failed attempt of a real upstream; what the simulator injects passes.
    fn failed(&mut self, failure: &Failure) {
        use FailureClass as C;
        if self.upstream.as_ref().is_none_or(|upstream| upstream.simulated) {
            return;
        }
        let unconnected = |class| matches!(class, C::Connect | C::ConnectTimeout | C::Dns);
        let lasts = match failure.class {
            C::Auth | C::Quota | C::NotFound | C::Unsupported | C::Redirect | C::NotAnApi | C::Tls => true,
            class if unconnected(class) => {
                self.unreached = self.unreached.saturating_add(1);
                self.unreached >= DOWN_AFTER
            }
            _ => {
                // it was reached
                self.unreached = 0;
                self.trouble = self
                    .trouble
                    .take()
                    .filter(|trouble| !trouble.class.is_some_and(unconnected));
                false
            }
        };
        if lasts {
            self.trouble = Some(Trouble {
                class: Some(failure.class),
                message: failure.message.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Origin, UpstreamInfo};
    use crate::state::State;
    use crate::state::fixture::{Story, attempt, failed, succeeded};

    fn trouble(state: &State) -> Option<FailureClass> {
        state.session.trouble.as_ref().and_then(|trouble| trouble.class)
    }

    #[test]
    fn only_what_lasts_is_trouble_and_an_answer_ends_it() {
        use FailureClass as C;
        // class, failures of it, the trouble after them
        let table = [
            (C::Auth, 1, Some(C::Auth)),
            (C::NotFound, 1, Some(C::NotFound)),
            (C::Quota, 1, Some(C::Quota)),
            (C::Connect, 2, None),
            (C::Connect, 3, Some(C::Connect)),
            (C::Unavailable, 9, None),
            (C::RateLimited, 9, None),
            (C::Reset, 9, None),
        ];
        for (class, failures, expected) in table {
            for simulated in [false, true] {
                let mut story = Story::begin();
                story.call(1, Origin::Chat);
                let mut state = story.state();
                state.session.upstream = Some(UpstreamInfo {
                    host: "localhost:11434".into(),
                    model: None,
                    simulated,
                    loopback: true,
                });
                let apply = |state: &mut State, kind| {
                    let mut one = Story::begin();
                    one.emit(1, kind);
                    if let Some(event) = one.events.last() {
                        state.apply(event);
                    }
                };
                for number in 1..=failures {
                    apply(&mut state, attempt(number, 1));
                    apply(&mut state, failed(number, class, None, 5));
                }
                let expected = expected.filter(|_| !simulated);
                assert_eq!(trouble(&state), expected, "{class:?} {failures} {simulated}");
                apply(&mut state, succeeded(failures + 1, 5));
                assert_eq!(trouble(&state), None);
            }
        }
    }

    #[test]
    fn a_policy_that_differs_from_its_preset_says_so() {
        let label = |changes: &[Policy]| {
            let mut story = Story::begin();
            story.events.clear();
            for policy in changes {
                let policy = Box::new(policy.clone());
                story.emit(0, EventKind::PolicyApplied { policy });
            }
            story.state().session.policy_label
        };
        let preset = Policy::default();
        let mut changed = preset.clone();
        changed.retry.attempts = 9;
        changed.limit.requests.capacity = 7;
        "production+retry.attempts=9+limit.requests.capacity=7".clone_into(&mut changed.name);
        let mut scenario = changed.clone();
        "retry-storm".clone_into(&mut scenario.name);
        let mut later = scenario.clone();
        later.cache.enabled = false;
        for (policies, text) in [
            (&[preset.clone()][..], "production"),
            (&[changed.clone()], "production+2"),
            (&[changed.clone(), preset.clone()], "production"),
            (std::slice::from_ref(&scenario), "retry-storm"),
            (&[scenario.clone(), later.clone()], "retry-storm+1"),
            (&[scenario.clone(), preset.clone()], "production"),
            (&[preset, later], "retry-storm"),
        ] {
            assert_eq!(label(policies), text);
        }
        let mut story = Story::begin();
        story.emit(0, EventKind::CacheSwitched { on: false });
        assert_eq!(story.state().session.policy_label, "production+1");
    }

    #[test]
    fn a_server_that_answers_is_not_down() {
        let mut story = Story::begin();
        let health = UpstreamHealth::Unavailable {
            message: "nothing listens at localhost:1".into(),
            class: Some(FailureClass::Connect),
        };
        story.emit(0, EventKind::UpstreamProbed { health });
        let mut state = story.state();
        assert_eq!(trouble(&state), Some(FailureClass::Connect));
        if let Some(upstream) = &mut state.session.upstream {
            upstream.simulated = false;
        }
        story.emit(1, failed(1, FailureClass::Unavailable, Some(503), 5));
        if let Some(event) = story.events.last() {
            state.apply(event);
        }
        assert_eq!(trouble(&state), None);
    }
}
