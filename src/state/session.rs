//! Where calls go and which settings hold.

use serde::{Deserialize, Serialize};

use crate::event::{UpstreamHealth, UpstreamInfo};
use crate::settings::{FaultProfile, Policy};

/// The frame of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The seed of everything random.
    pub seed: u64,
    /// Where calls go; nothing before the session started.
    pub upstream: Option<UpstreamInfo>,
    /// What the upstream last said of itself.
    pub health: Option<UpstreamHealth>,
    /// The settings in force.
    pub policy: Policy,
    /// Whether faults are made.
    pub faults_on: bool,
    /// Which.
    pub faults: FaultProfile,
    /// How many faults were made.
    pub injected: u64,
}
