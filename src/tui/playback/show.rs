//! The control room on a recording: the same loop as for a live session, with another feed and nobody to command.

use tokio_util::sync::CancellationToken;

use super::{Player, Projector, Recording};
use crate::time::Clock;
use crate::tui::{self, Session, Summary, TuiError, TuiOptions};

/// Takes the terminal and plays until somebody quits. On the main thread, as [`tui::run`] asks.
pub async fn show(recording: Recording, options: TuiOptions) -> Result<Summary, TuiError> {
    let clock = Clock::start();
    let state = recording.begins();
    let player = Player::new(recording, clock.now());
    let session = Session {
        feed: Projector::new(player, clock),
        state,
        commands: None,
        keeper: None,
        clock,
        quit: CancellationToken::new(),
    };
    tui::run(session, options).await
}
