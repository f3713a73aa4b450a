//! Where calls go, and what is known of it.

use serde::{Deserialize, Serialize};

use crate::settings::{Capacity, LatencyProfile};
use crate::text::SafeText;

/// Where calls go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamInfo {
    /// `127.0.0.1:8033`, or `simulator`.
    pub host: SafeText,
    /// The model asked for, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<SafeText>,
    /// Whether answers come from the built-in simulator.
    pub simulated: bool,
    /// Whether calls stay on this machine; others may cost money.
    pub loopback: bool,
}

/// How the simulator answers while it is well: with the seed and the faults, all that is needed to have its answers
/// again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SimulatorPace {
    /// How fast.
    pub latency: LatencyProfile,
    /// How much at a time; without bounds where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
}

/// What an upstream says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "health", rename_all = "snake_case")]
pub enum UpstreamHealth {
    /// Ready.
    Ready {
        /// Models it serves.
        models: Vec<SafeText>,
    },
    /// Loading its model.
    Loading,
    /// Not usable, and why.
    Unavailable {
        /// For people.
        message: SafeText,
    },
}

impl UpstreamHealth {
    /// What to tell who asks for a model that the upstream does not list; nothing if it lists that one or none.
    /// llama-server answers under any name, with the model it has.
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
