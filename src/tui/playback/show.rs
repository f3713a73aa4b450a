//! The control room on a recording: the event loop of a live session with another feed and without an engine.

use tokio_util::sync::CancellationToken;

use super::{PlaybackFeed, Player, Recording};
use crate::time::Clock;
use crate::tui::outputs::Outputs;
use crate::tui::signals::Signals;
use crate::tui::{self, Session, Summary, TuiError, TuiOptions};

/// Plays until the user quits. Must run on the main thread, as [`tui::run`].
pub async fn show(recording: Recording, signals: Signals, options: TuiOptions) -> Result<Summary, TuiError> {
    let clock = Clock::start();
    let state = recording.initial_state();
    let player = Player::new(recording, clock.now());
    let session = Session {
        feed: PlaybackFeed::new(player, clock),
        state,
        outputs: Outputs::default(),
        clock,
        quit: CancellationToken::new(),
        signals,
    };
    tui::run(session, options).await
}
