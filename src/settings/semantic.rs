//! The settings of the semantic cache.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds::Rule;

/// The mode of the semantic cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SemanticMode {
    /// No lookups.
    #[default]
    Off,
    /// Similar prompts are served from the cache.
    On,
    /// The upstream answers; the answer that would have been served is logged and compared with it.
    Shadow,
}

impl SemanticMode {
    /// The next mode in the cycle off, on, shadow.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Off => Self::On,
            Self::On => Self::Shadow,
            Self::Shadow => Self::Off,
        }
    }

    /// The mode as a policy file writes it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Shadow => "shadow",
        }
    }
}

/// The semantic cache: answers to prompts that mean the same. The prompt cache holds the answers; an answer
/// evicted there is gone here too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SemanticSettings {
    /// The mode. Default: off.
    pub mode: SemanticMode,
    /// The least cosine similarity that is served, above 0 and at most 1. Default: absent, the embedder decides:
    /// see [`SemanticSettings::effective_threshold`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// True if a match whose numbers, negations, names or quotes differ is rejected. Default: true.
    pub guards: bool,
    /// Prompts in the index; the oldest is evicted first. 1 to 1,000,000, default 10,000.
    pub max_entries: usize,
    /// The URL of an OpenAI-compatible embeddings API, with or without `/v1`. Default: absent, the built-in
    /// lexical embedder is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<String>,
    /// The model to request from it. Default: absent, the server decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The longest wait for an embedding, above 0 s; after that the lookup is a miss. Default: 500 ms.
    #[serde(with = "super::duration")]
    pub timeout: Duration,
    /// The users' verdicts on served answers. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<SemanticLabel>,
}

/// The users' verdicts on the answer to one stored request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SemanticLabel {
    /// The fingerprint of the stored request, in hex.
    pub request: String,
    /// The number of times its answer was labelled right.
    #[serde(default)]
    pub good: u32,
    /// The number of times its answer was labelled wrong.
    #[serde(default)]
    pub bad: u32,
    /// The least similarity at which its answer is served, if above the general threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

impl Default for SemanticSettings {
    fn default() -> Self {
        Self {
            mode: SemanticMode::Off,
            threshold: None,
            guards: true,
            max_entries: 10_000,
            embedder: None,
            model: None,
            timeout: Duration::from_millis(500),
            labels: Vec::new(),
        }
    }
}

impl SemanticSettings {
    /// The default threshold of the built-in embedder. From 0.3 to 0.5 it serves nearly the same bundled
    /// paraphrases and no look-alike, because the guards decide there. A higher threshold loses misspelled and
    /// shortened prompts; a lower one leaves a gap in the guards uncovered.
    pub const BUILT_IN_THRESHOLD: f64 = 0.5;
    /// The default threshold of an embeddings API. A model places questions about one subject close together, and
    /// its guards accept unmatched words: of 2961 pairs of prompts that shared one word and nothing else,
    /// all-MiniLM-L6-v2 with guards would have served 33 at 0.5 and 16 at 0.7 (most of which did mean the same),
    /// at the cost of 6 of the 151 bundled paraphrases. `seawall semantic --eval` finds the threshold for a model.
    pub const ENDPOINT_THRESHOLD: f64 = 0.7;

    /// The least similarity that is served: `threshold`, or the default of the embedder.
    pub fn effective_threshold(&self) -> f64 {
        self.threshold.unwrap_or(if self.embedder.is_some() {
            Self::ENDPOINT_THRESHOLD
        } else {
            Self::BUILT_IN_THRESHOLD
        })
    }

    /// The bounds of the labels.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let bad_threshold = self
            .labels
            .iter()
            .filter_map(|label| label.threshold)
            .find(|threshold| !(*threshold > 0.0 && *threshold <= 1.0));
        let is_hex = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bad_request = self.labels.iter().find(|label| !is_hex(&label.request));
        vec![
            Rule {
                holds: bad_request.is_none(),
                key: "semantic.labels.request".to_owned(),
                value: bad_request.map(|label| label.request.clone()).unwrap_or_default(),
                allowed: "a request fingerprint of 32 hex digits",
            },
            Rule {
                holds: bad_threshold.is_none(),
                key: "semantic.labels.threshold".to_owned(),
                value: bad_threshold.unwrap_or_default().to_string(),
                allowed: "above 0 and at most 1",
            },
        ]
    }
}
