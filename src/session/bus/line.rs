//! A bus that nobody watches: every event gets its place and its time and goes to the tap, as on a
//! [`Bus`](super::Bus), but is not folded into a state, which nobody would read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{CallId, Event, EventKind, Observer};
use crate::time::{Clock, Timestamp};

/// See the module documentation. Cloning is cheap; it ends with its last clone.
#[derive(Clone)]
pub struct Line {
    clock: Clock,
    end: Arc<Mutex<End>>,
}

/// A tap that may keep what it is given.
type Keeping = Box<dyn FnMut(&Arc<Event>) + Send>;

struct End {
    next_seq: u64,
    last_at: Timestamp,
    tap: Keeping,
}

impl Line {
    /// A line without a past; events are stamped by `clock`. What is said of the tap of a
    /// [tapped bus](super::Bus::tapped) holds for this one, which may also keep what it is given.
    pub fn new(clock: Clock, tap: impl FnMut(&Arc<Event>) + Send + 'static) -> Self {
        let end = End {
            next_seq: 0,
            last_at: Timestamp::ZERO,
            tap: Box::new(tap),
        };
        Self {
            clock,
            end: Arc::new(Mutex::new(end)),
        }
    }
}

impl Observer for Line {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        // read under the lock: the order of the times is the order of the events
        let at = self.clock.now().max(end.last_at);
        let seq = end.next_seq;
        (end.next_seq, end.last_at) = (seq + 1, at);
        (end.tap)(&Arc::new(Event { seq, at, call, kind }));
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::bus::Bus;
    use crate::state::fixture;

    /// What is played without a screen is numbered and timed as under one.
    #[tokio::test(start_paused = true)]
    async fn a_line_tells_what_the_tap_of_a_bus_is_told() {
        let clock = Clock::start();
        let (from_bus, on_bus) = std::sync::mpsc::channel();
        let (from_line, on_line) = std::sync::mpsc::channel();
        let tap = move |event: &Event| from_bus.send(event.clone()).unwrap();
        let bus = Bus::tapped(clock, Box::new(tap));
        let line = Line::new(clock, move |event| from_line.send(Event::clone(event)).unwrap());
        for event in fixture::session(7, 20) {
            bus.emit(event.call, event.kind.clone());
            line.emit(event.call, event.kind);
            clock.sleep(std::time::Duration::from_millis(3)).await;
        }
        drop((bus, line));
        let on_bus: Vec<Event> = on_bus.iter().collect();
        assert!(!on_bus.is_empty());
        assert_eq!(on_line.iter().collect::<Vec<_>>(), on_bus);
    }
}
