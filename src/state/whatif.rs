//! The latest comparison of an edited policy with the running one.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind, WhatIfResult};
use crate::time::Timestamp;

/// The latest comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WhatIfView {
    /// The latest result and its time.
    pub latest: Option<(Timestamp, Box<WhatIfResult>)>,
}

impl WhatIfView {
    pub(super) fn apply(&mut self, event: &Event) {
        if let EventKind::WhatIfEvaluated { result } = &event.kind {
            self.latest = Some((event.at, result.clone()));
        }
    }
}
