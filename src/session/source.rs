//! The input of a screen: a state and the events that change it. A screen need not know where the events come
//! from: a session of this process, or a journal.

use std::sync::Arc;

use crate::event::Event;
use crate::session::bus::Bus;
pub use crate::session::bus::{Received, Tail};
use crate::state::State;

/// Events applied before the screen may draw.
const MAX_BATCH: usize = 256;

/// The result of [`Source::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The number of events applied.
    Applied(usize),
    /// The viewer was too slow and continues from the current state.
    Resynced {
        /// Events that it never saw one by one.
        skipped: u64,
    },
    /// The session has ended; the state is final.
    Ended,
}

/// The state of a session as one viewer has received it.
#[derive(Debug)]
pub struct Source {
    state: State,
    tail: Tail,
    batch: Vec<Arc<Event>>,
}

impl Source {
    /// Subscribes to a bus.
    pub fn live(bus: &Bus) -> Self {
        let (state, tail) = bus.subscribe();
        Self {
            state,
            tail,
            batch: Vec::with_capacity(MAX_BATCH),
        }
    }

    /// Splits into the state and the tail, for a viewer that applies events itself.
    pub fn into_parts(self) -> (State, Tail) {
        (self.state, self.tail)
    }

    /// The current state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Waits for events and applies them. Cancel-safe.
    pub async fn advance(&mut self) -> Progress {
        match self.tail.recv_many(&mut self.batch, MAX_BATCH).await {
            Received::Events(count) => {
                for event in self.batch.drain(..) {
                    self.state.apply(&event);
                }
                Progress::Applied(count)
            }
            Received::Lagged(_) => match self.tail.resubscribe() {
                Some(fresh) => {
                    let skipped = fresh.next_seq.saturating_sub(self.state.next_seq);
                    self.state = fresh;
                    Progress::Resynced { skipped }
                }
                None => Progress::Ended,
            },
            Received::Closed => Progress::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Observer;
    use crate::session::bus::TAIL_CAPACITY;
    use crate::state::fixture;
    use crate::time::Clock;

    #[tokio::test]
    async fn a_source_follows_in_batches_and_ends_with_the_bus() {
        let bus = Bus::new(Clock::start());
        let mut source = Source::live(&bus);
        let events = fixture::session(3, 40);
        for event in &events {
            bus.emit(event.call, event.kind.clone());
        }
        let whole = bus.with_state(State::clone);
        drop(bus);
        let mut applied = 0;
        while let Progress::Applied(count) = source.advance().await {
            assert!((1..=MAX_BATCH).contains(&count));
            applied += count;
        }
        assert_eq!(applied, events.len());
        assert_eq!(source.state(), &whole);
        assert_eq!(source.advance().await, Progress::Ended);
    }

    #[tokio::test]
    async fn a_source_that_lags_says_how_much_it_skipped() {
        let bus = Bus::new(Clock::start());
        let mut source = Source::live(&bus);
        let kind = &fixture::session(3, 1)[0].kind;
        let count = TAIL_CAPACITY as u64 + 100;
        for _ in 0..count {
            bus.emit(None, kind.clone());
        }
        assert_eq!(source.advance().await, Progress::Resynced { skipped: count });
        bus.with_state(|state| assert_eq!(source.state(), state));
        bus.emit(None, kind.clone());
        assert_eq!(source.advance().await, Progress::Applied(1));
    }
}
