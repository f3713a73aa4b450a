//! Labels by stored request, and their file format.

use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::settings::{SemanticLabel, SemanticSettings};

/// Labels kept; the least recently labelled request is dropped first.
pub(crate) const MAX_LABELS: usize = 4096;

const HEADER: &str = "\
# Labels of answers that the semantic cache served (right or wrong), by stored request.
# seawall rewrites this file with each label. Delete an entry, or the file, to drop its labels.
";

/// The labels of all stored requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LabelSet {
    /// The most recently labelled request comes last.
    labels: Vec<SemanticLabel>,
    /// The threshold of a request without one of its own.
    default_threshold: f64,
}

/// One label by a user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Label {
    /// The fingerprint of the stored request, in hex.
    pub(crate) request: String,
    /// True if its answer was right.
    pub(crate) good: bool,
    /// The threshold of the request from now on.
    pub(crate) threshold: f64,
}

impl Label {
    /// The label of a `SemanticLabelled` event; `None` for other events.
    pub(crate) fn from_event(kind: &EventKind) -> Option<Self> {
        let EventKind::SemanticLabelled {
            request,
            good,
            threshold,
            ..
        } = kind
        else {
            return None;
        };
        Some(Self {
            request: request.to_string(),
            good: *good,
            threshold: *threshold,
        })
    }
}

impl LabelSet {
    /// Starts from the labels in the settings.
    pub(crate) fn new(settings: &SemanticSettings) -> Self {
        Self {
            labels: settings.labels.clone(),
            default_threshold: settings.effective_threshold(),
        }
    }

    /// Adds a label.
    pub(crate) fn add(&mut self, new: &Label) {
        let index = self.labels.iter().position(|label| label.request == new.request);
        let mut label = index.map_or_else(
            || SemanticLabel {
                request: new.request.clone(),
                ..SemanticLabel::default()
            },
            |index| self.labels.remove(index),
        );
        let count = if new.good { &mut label.good } else { &mut label.bad };
        *count = count.saturating_add(1);
        // the default is not written, because it would outlive a change of the setting
        label.threshold = (new.threshold > self.default_threshold).then(|| new.threshold.min(1.0));
        self.labels.push(label);
        if self.labels.len() > MAX_LABELS {
            self.labels.remove(0);
        }
    }

    /// The file format.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = HEADER.to_owned();
        let file = LabelFile { label: &self.labels };
        // serialising these types cannot fail
        text.push_str(&toml::to_string(&file).unwrap_or_default());
        text
    }
}

#[derive(Serialize)]
struct LabelFile<'a> {
    label: &'a [SemanticLabel],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParsedLabelFile {
    #[serde(default)]
    label: Vec<toml::Spanned<SemanticLabel>>,
}

/// A label and its position in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LocatedLabel {
    /// The label.
    pub(crate) label: SemanticLabel,
    /// The byte offset.
    pub(crate) at: usize,
}

/// Parses a label file.
///
/// # Errors
/// Fails if the text is not a valid label file.
pub(crate) fn parse_labels(text: &str) -> Result<Vec<LocatedLabel>, toml::de::Error> {
    let file: ParsedLabelFile = toml::from_str(text)?;
    let labels = file.label.into_iter().map(|label| LocatedLabel {
        at: label.span().start,
        label: label.into_inner(),
    });
    Ok(labels.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(request: &str, good: bool, threshold: f64) -> Label {
        Label {
            request: request.into(),
            good,
            threshold,
        }
    }

    fn round_trip(set: &LabelSet) -> Vec<SemanticLabel> {
        let labels = parse_labels(&set.to_toml()).unwrap();
        labels.into_iter().map(|located| located.label).collect()
    }

    #[test]
    fn a_set_continues_from_the_settings_and_round_trips() {
        const A: &str = "0000000000000000000000000000000a";
        const B: &str = "0000000000000000000000000000000b";
        let settings = SemanticSettings {
            labels: vec![SemanticLabel {
                request: A.into(),
                good: 3,
                bad: 1,
                threshold: Some(0.9),
            }],
            ..SemanticSettings::default()
        };
        let mut set = LabelSet::new(&settings);
        assert_eq!(round_trip(&set), settings.labels);
        set.add(&label(A, false, 1.01));
        set.add(&label(B, true, settings.effective_threshold()));
        assert_eq!(round_trip(&set), set.labels);
        let first = &set.labels[0];
        assert_eq!((first.good, first.bad, first.threshold), (3, 2, Some(1.0)));
        assert_eq!(set.labels[1].threshold, None);
        let merged = SemanticSettings {
            labels: round_trip(&set),
            ..settings
        };
        let policy = crate::settings::Policy {
            semantic: merged,
            ..crate::settings::Policy::default()
        };
        policy.validate().unwrap();
    }

    #[test]
    fn a_full_set_drops_the_least_recently_labelled_request() {
        let mut set = LabelSet::new(&SemanticSettings::default());
        for number in 0..MAX_LABELS {
            set.add(&label(&format!("{number:032x}"), true, 0.9));
        }
        set.add(&label(&format!("{:032x}", 0), true, 0.9));
        set.add(&label("ffff", true, 0.9));
        assert_eq!(set.labels.len(), MAX_LABELS);
        let has = |number: usize| {
            set.labels
                .iter()
                .any(|label| label.request == format!("{number:032x}"))
        };
        assert_eq!((has(0), has(1), has(2)), (true, false, true));
        // the size limit of configuration files
        assert!(set.to_toml().len() < 1 << 20, "{}", set.to_toml().len());
    }
}
