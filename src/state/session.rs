//! Upstream, settings and faults of a session.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind, UpstreamHealth, UpstreamInfo};
use crate::settings::{FaultProfile, Policy};

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
}

impl Session {
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
