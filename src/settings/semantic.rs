//! The settings of the semantic cache.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds::Rule;

/// What the semantic cache does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SemanticMode {
    /// Nothing.
    #[default]
    Off,
    /// Near matches are served.
    On,
    /// The upstream answers; what would have been served is told, and compared with its answer.
    Shadow,
}

impl SemanticMode {
    /// What a key press makes of it: off, on, shadow, off.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Off => Self::On,
            Self::On => Self::Shadow,
            Self::Shadow => Self::Off,
        }
    }

    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Shadow => "shadow",
        }
    }
}

/// The semantic cache: answers to prompts that mean the same. It stands on the exact cache, which holds the
/// answers: what that one forgets is gone here too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SemanticSettings {
    /// Whether near matches are looked for, and served.
    pub mode: SemanticMode,
    /// The least similarity that is served, a cosine above 0 and up to 1; where absent, what suits the embedder: see
    /// [`SemanticSettings::least`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Whether a near match is refused whose numbers, negations, names or quotes differ.
    pub guards: bool,
    /// Prompts in the index at most; the oldest goes first.
    pub max_entries: usize,
    /// URL of an OpenAI-compatible embeddings API, with or without `/v1`; the built-in lexical embedder where
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<String>,
    /// The model to ask it for, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// An embedding that takes longer is not waited for: the lookup is a miss.
    #[serde(with = "super::span")]
    pub timeout: Duration,
    /// What people said of served answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<SemanticLabel>,
}

/// What people said of the answer to one stored request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SemanticLabel {
    /// The fingerprint of the stored request, in hex.
    pub request: String,
    /// How often its answer fitted.
    #[serde(default)]
    pub good: u32,
    /// How often it did not.
    #[serde(default)]
    pub bad: u32,
    /// What a prompt must be like it at least, instead of the threshold of all, if that is less.
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
    /// The threshold of the built-in embedder. From 0.3 to 0.5 it serves the same prompts of the bundled pairs within
    /// a few, and no look-alike, for the guards decide there; higher, misspelled and shortened prompts are lost, and
    /// lower, a gap in the guards would have nothing behind it.
    pub const BUILT_IN: f64 = 0.5;
    /// The threshold of an embeddings API. A model puts questions about one thing near each other, and its guards let
    /// words be left over: of 2961 pairs of prompts that shared a word and nothing else, all-MiniLM-L6-v2 with guards
    /// would have served 33 at 0.5 and 16 at 0.7 (of which most did mean the same), for 6 of the 151 bundled
    /// paraphrases less. `seawall semantic --eval` finds the one for a model.
    pub const ENDPOINT: f64 = 0.7;

    /// The least similarity that is served: the one set, or the one that suits the embedder.
    pub fn least(&self) -> f64 {
        self.threshold.unwrap_or(if self.embedder.is_some() {
            Self::ENDPOINT
        } else {
            Self::BUILT_IN
        })
    }

    /// Bounds of the labels.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let is_threshold = |value: f64| value > 0.0 && value <= 1.0;
        let bad_label = self
            .labels
            .iter()
            .find(|label| !label.threshold.is_none_or(is_threshold));
        let is_hex = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let nameless = self.labels.iter().find(|label| !is_hex(&label.request));
        vec![
            (
                nameless.is_none(),
                "semantic.labels.request".to_owned(),
                nameless.map(|label| label.request.clone()).unwrap_or_default(),
                "the fingerprint of the stored request, 32 hex digits",
            ),
            (
                bad_label.is_none(),
                "semantic.labels.threshold".to_owned(),
                bad_label
                    .and_then(|label| label.threshold)
                    .unwrap_or_default()
                    .to_string(),
                "above 0 and at most 1",
            ),
        ]
    }
}
