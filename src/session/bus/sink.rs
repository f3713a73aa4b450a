//! A bus without viewers: stamps events as a [`Bus`](super::Bus) does and passes them to its tap, but keeps no
//! state.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{CallId, Event, EventKind, Observer};
use crate::time::{Clock, Timestamp};

/// An observer that stamps events and passes them to one tap. Clones share it.
#[derive(Clone)]
pub struct EventSink {
    clock: Clock,
    end: Arc<Mutex<End>>,
}

/// A tap that may keep the events.
type SharedTap = Box<dyn FnMut(&Arc<Event>) + Send>;

struct End {
    next_seq: u64,
    last_at: Timestamp,
    tap: SharedTap,
}

impl EventSink {
    /// An empty sink that stamps events with `clock`. The tap must meet the conditions of
    /// [`Bus::tapped`](super::Bus::tapped); it may keep the events.
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

impl Observer for EventSink {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        // read under the lock: the order of the times is the order of the events
        let at = self.clock.now().max(end.last_at);
        let seq = end.next_seq;
        (end.next_seq, end.last_at) = (seq + 1, at);
        (end.tap)(&Arc::new(Event { seq, at, call, kind }));
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::bus::Bus;
    use crate::state::fixture;

    #[tokio::test(start_paused = true)]
    async fn a_sink_emits_the_events_of_a_bus() {
        let clock = Clock::start();
        let (from_bus, on_bus) = std::sync::mpsc::channel();
        let (from_sink, on_sink) = std::sync::mpsc::channel();
        let tap = move |event: &Event| from_bus.send(event.clone()).unwrap();
        let bus = Bus::tapped(clock, Box::new(tap));
        let sink = EventSink::new(clock, move |event| from_sink.send(Event::clone(event)).unwrap());
        for event in fixture::session(7, 20) {
            bus.emit(event.call, event.kind.clone());
            sink.emit(event.call, event.kind);
            clock.sleep(std::time::Duration::from_millis(3)).await;
        }
        drop((bus, sink));
        let on_bus: Vec<Event> = on_bus.iter().collect();
        assert!(!on_bus.is_empty());
        assert_eq!(on_sink.iter().collect::<Vec<_>>(), on_bus);
    }
}
