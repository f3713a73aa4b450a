//! The only argument of a pane.

use crate::state::State;
use crate::time::Timestamp;

use super::theme::Theme;
use super::ui::Ui;

/// All that a pane may read. Shared references only: drawing changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What happened.
    pub state: &'a State,
    /// What only this screen knows.
    pub ui: &'a Ui,
    /// Roles and marks.
    pub theme: &'a Theme,
    /// The instant drawn: levels and countdowns are functions of it.
    pub now: Timestamp,
}
