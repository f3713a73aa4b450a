//! Upstream, settings and faults of a session.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind, Load, UpstreamHealth, UpstreamInfo};
use crate::settings::{FaultProfile, Policy};
use crate::text::units;
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
    /// True if faults are injected.
    pub faults_on: bool,
    /// The fault profile.
    pub faults: FaultProfile,
    /// Faults injected.
    pub injected: u64,
    /// The latest load, running or ended.
    #[serde(default)]
    pub load: Option<LoadRun>,
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
            EventKind::PolicyApplied { policy } => self.policy.clone_from(policy),
            EventKind::CacheSwitched { on } => self.policy.cache.enabled = *on,
            EventKind::UpstreamProbed { health } => self.health = Some(health.clone()),
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
}
