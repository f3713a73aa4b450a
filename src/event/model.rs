//! Names of models.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bounded_name;
use crate::text::SafeText;

/// The most models with a circuit breaker of their own, because clients choose the names. Further ones share one.
pub const MAX_MODELS: usize = 64;

/// The model that a call asks for: one line of printable text. Each model has a circuit breaker of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "SafeText")]
pub struct ModelName(Arc<str>);

impl From<SafeText> for ModelName {
    fn from(name: SafeText) -> Self {
        Self(name.single_line().into())
    }
}

impl ModelName {
    /// The name in this text, at most 64 characters: a longer name is truncated and a hash of the whole name
    /// appended, so that models with a common prefix stay distinct. `None` if the text is empty.
    pub fn new(name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| bounded_name(name).into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_bounded_line() {
        assert_eq!(ModelName::new(""), None);
        let name = |text: &str| ModelName::new(text).unwrap().to_string();
        assert_eq!(name("gpt-4o"), "gpt-4o");
        assert!(!name("a\u{1b}[2J\nb").contains(['\u{1b}', '\n']));
        let long = "m".repeat(10_000);
        assert_eq!(name(&long).chars().count(), 64);
        assert_ne!(name(&long), name(&format!("{long}m")));
    }
}
