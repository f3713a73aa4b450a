//! The latest comparison of an edited policy with the running one.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind, NOT_EVALUATED, WhatIfResult};
use crate::text::SafeText;
use crate::time::Timestamp;

/// The latest comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WhatIfView {
    /// The latest result and its time.
    pub latest: Option<(Timestamp, Box<WhatIfResult>)>,
    /// The notice of a failed evaluation, until the next result.
    #[serde(default)]
    pub problem: Option<SafeText>,
}

impl WhatIfView {
    pub(super) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::WhatIfEvaluated { result } => {
                self.latest = Some((event.at, result.clone()));
                self.problem = None;
            }
            EventKind::Notice { text } if text.as_str().starts_with(NOT_EVALUATED) => {
                self.problem = Some(text.clone());
            }
            _ => {}
        }
    }
}
