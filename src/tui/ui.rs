//! What only this screen knows: focus, scroll anchors, overlays. It refers to the model by id, never by row.

use crate::event::CallId;

use super::pane::PaneId;

/// The state of the screen itself.
#[derive(Clone, Debug, Default)]
pub struct Ui {
    /// The pane that keys go to.
    pub focus: PaneId,
    /// Whether the focused pane has the whole screen.
    pub zoomed: bool,
    /// The call under the cursor of the Attempts pane; the newest where absent.
    pub selected_call: Option<CallId>,
}
