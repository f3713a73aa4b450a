//! Labels by the stored request they are about, and their file.

use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::settings::{SemanticLabel, SemanticSettings};

/// Labels kept; the ones that were not touched for longest go first.
pub const MAX_LABELS: usize = 4096;

/// In front of the labels in their file.
const HEAD: &str = "\
# What you said of answers that the semantic cache served (g right, b wrong), by the stored request.
# seawall writes this file anew with each label. Delete an entry, or the file, to forget it.
";

/// Labels, the one that was touched last at the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    labels: Vec<SemanticLabel>,
    /// What every stored prompt asks for where no label says more.
    threshold: f64,
}

/// One word of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The fingerprint of the stored request, in hex.
    pub request: String,
    /// Whether its answer fitted.
    pub good: bool,
    /// What its prompt asks for from now on.
    pub threshold: f64,
}

impl Entry {
    /// The word that an event tells of, if it does.
    pub fn of(kind: &EventKind) -> Option<Self> {
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

impl Book {
    /// The labels that these settings have already.
    pub fn new(settings: &SemanticSettings) -> Self {
        Self {
            labels: settings.labels.clone(),
            threshold: settings.effective_threshold(),
        }
    }

    /// Takes note of one.
    pub fn note(&mut self, entry: &Entry) {
        let place = self
            .labels
            .iter()
            .position(|label| label.request == entry.request);
        let mut label = place.map_or_else(
            || SemanticLabel {
                request: entry.request.clone(),
                ..SemanticLabel::default()
            },
            |place| self.labels.remove(place),
        );
        let count = if entry.good {
            &mut label.good
        } else {
            &mut label.bad
        };
        *count = count.saturating_add(1);
        // what all ask for is not written: it would outlive a change of the setting
        label.threshold = (entry.threshold > self.threshold).then(|| entry.threshold.min(1.0));
        self.labels.push(label);
        if self.labels.len() > MAX_LABELS {
            self.labels.remove(0);
        }
    }

    /// The file that says all this.
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        let file = Shelf { label: &self.labels };
        // it fails for no such value; a file with its head alone would say so too
        text.push_str(&toml::to_string(&file).unwrap_or_default());
        text
    }
}

/// The file as it is written.
#[derive(Serialize)]
struct Shelf<'a> {
    label: &'a [SemanticLabel],
}

/// The file as it is read, with the place of each label.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placed {
    #[serde(default)]
    label: Vec<toml::Spanned<SemanticLabel>>,
}

/// A label, and the byte of its file at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelAt {
    /// What it says.
    pub label: SemanticLabel,
    /// Where it stands.
    pub at: usize,
}

/// Reads the file.
pub fn read(text: &str) -> Result<Vec<LabelAt>, toml::de::Error> {
    let placed: Placed = toml::from_str(text)?;
    let labels = placed.label.into_iter().map(|label| LabelAt {
        at: label.span().start,
        label: label.into_inner(),
    });
    Ok(labels.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(request: &str, good: bool, threshold: f64) -> Entry {
        Entry {
            request: request.into(),
            good,
            threshold,
        }
    }

    fn read_back(book: &Book) -> Vec<SemanticLabel> {
        let labels = read(&book.text()).unwrap();
        labels.into_iter().map(|label| label.label).collect()
    }

    #[test]
    fn a_book_goes_on_from_what_it_was_given_and_is_read_as_it_was_written() {
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
        let mut book = Book::new(&settings);
        assert_eq!(read_back(&book), settings.labels);
        book.note(&entry(A, false, 1.01));
        book.note(&entry(B, true, settings.effective_threshold()));
        assert_eq!(read_back(&book), book.labels);
        let first = &book.labels[0];
        assert_eq!((first.good, first.bad, first.threshold), (3, 2, Some(1.0)));
        assert_eq!(book.labels[1].threshold, None);
        let merged = SemanticSettings {
            labels: read_back(&book),
            ..settings
        };
        let policy = crate::settings::Policy {
            semantic: merged,
            ..crate::settings::Policy::default()
        };
        policy.validate().unwrap();
    }

    #[test]
    fn it_is_bounded_and_forgets_what_was_not_touched_for_longest() {
        let mut book = Book::new(&SemanticSettings::default());
        for number in 0..MAX_LABELS {
            book.note(&entry(&format!("{number:032x}"), true, 0.9));
        }
        book.note(&entry(&format!("{:032x}", 0), true, 0.9));
        book.note(&entry("ffff", true, 0.9));
        assert_eq!(book.labels.len(), MAX_LABELS);
        let has = |number: usize| {
            book.labels
                .iter()
                .any(|label| label.request == format!("{number:032x}"))
        };
        assert_eq!((has(0), has(1), has(2)), (true, false, true));
        // what is written must be small enough to be read again
        assert!(book.text().len() < 1 << 20, "{}", book.text().len());
    }
}
