//! The upstream and its health.

use serde::{Deserialize, Serialize};

use super::FailureClass;
use crate::settings::{Capacity, LatencyProfile};
use crate::text::SafeText;

/// The upstream of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamInfo {
    /// `127.0.0.1:8033`, or `simulator`.
    pub host: SafeText,
    /// The requested model, if named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<SafeText>,
    /// True for the built-in simulator.
    pub simulated: bool,
    /// True if calls stay on this machine; others may cost money.
    pub loopback: bool,
}

/// Latency and capacity of the simulator without faults. With the seed and the faults they reproduce its
/// answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SimulatorPace {
    /// The latency profile.
    pub latency: LatencyProfile,
    /// The capacity; unlimited if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
}

/// The health of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "health", rename_all = "snake_case")]
#[non_exhaustive]
pub enum UpstreamHealth {
    /// Ready.
    Ready {
        /// Models it serves.
        models: Vec<SafeText>,
    },
    /// Loading its model.
    Loading,
    /// Not usable.
    Unavailable {
        /// The error message.
        message: SafeText,
        /// The class of the failure, if it is one that a call would meet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<FailureClass>,
    },
}

impl UpstreamHealth {
    /// Returns a message if the upstream lists models, but not the requested one. llama-server answers under any
    /// name with the model it has.
    pub fn unlisted(&self, asked: &str) -> Option<String> {
        let Self::Ready { models } = self else { return None };
        let listed = models.iter().any(|model| model.as_str() == asked);
        if listed || models.is_empty() {
            return None;
        }
        let some: Vec<&str> = models.iter().take(3).map(SafeText::as_str).collect();
        let rest = models.len().saturating_sub(some.len());
        let more = if rest == 0 {
            String::new()
        } else {
            format!(" and {rest} more")
        };
        let asked = SafeText::excerpt(asked, 60);
        Some(format!("no model '{asked}' there, but {}{more}", some.join(", ")))
    }
}
