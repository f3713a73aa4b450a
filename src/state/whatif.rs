//! The copy of the settings that is judged beside those in force.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind, WhatIfResult};
use crate::time::Timestamp;

/// What was last judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WhatIfView {
    /// The latest judgement, and when it came. One is kept.
    pub latest: Option<(Timestamp, Box<WhatIfResult>)>,
}

impl WhatIfView {
    pub(super) fn apply(&mut self, event: &Event) {
        if let EventKind::WhatIfEvaluated { result } = &event.kind {
            self.latest = Some((event.at, result.clone()));
        }
    }
}
