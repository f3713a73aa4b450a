//! The event feed of playback: waits until events are due and passes controls to the player.

use std::sync::Arc;

use super::player::Player;
use crate::event::Event;
use crate::time::{Clock, Timestamp};
use crate::tui::playback::bar::{Control, Playback, PlaybackChange};
use crate::tui::{BATCH, EventFeed, Feed};

/// A player and the clock that moves it.
#[derive(Debug)]
pub struct PlaybackFeed {
    player: Player,
    clock: Clock,
}

impl PlaybackFeed {
    /// Creates a feed that plays by this clock.
    pub fn new(player: Player, clock: Clock) -> Self {
        Self { player, clock }
    }
}

impl EventFeed for PlaybackFeed {
    async fn recv(&mut self, batch: &mut Vec<Arc<Event>>) -> Feed {
        match self.player.next_due() {
            Some(due) => self.clock.sleep_until(due).await,
            // a key ends the wait: the loop calls again after each
            None => std::future::pending().await,
        }
        batch.append(&mut self.player.play(self.clock.now(), BATCH));
        Feed::Events
    }

    fn shown_at(&self, now: Timestamp) -> Timestamp {
        self.player.at(now)
    }

    fn due(&self, shown: Timestamp, _now: Timestamp) -> Option<Timestamp> {
        self.player.due(shown)
    }

    fn playback(&self, now: Timestamp) -> Option<Playback> {
        Some(self.player.playback(now))
    }

    fn control(&mut self, control: Control, now: Timestamp) -> PlaybackChange {
        self.player.control(control, now)
    }
}
