//! The bus: stamps every event with its sequence number and time, and passes it to all subscribers.
//!
//! ```text
//! emit --lock--> seq, at -> recent events -> ring of 4096 -> Tail, Tail, ...
//!                               └─ 64 of them, or a reader of the State: State::apply for each
//! subscribe --same lock--> (copy of the State, Tail): no event is missing between the two and none comes twice
//! ```
//!
//! The state is brought up to date in batches: events in a row take less time than one by one between calls, because
//! code and data stay in the processor's cache.
//!
//! Producers never wait for a viewer. A viewer that falls behind by more than the ring is marked as lagged and
//! subscribes again: it skips the events in between and continues from the current state. A consumer that needs
//! every event, such as a journal, taps the bus: see [`Bus::tapped`]. A run without viewers uses an [`EventSink`],
//! which has only the tap and keeps no state.

mod sink;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use sink::EventSink;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::event::{CallId, Event, EventKind, Observer};
use crate::state::{State, Stats};
use crate::time::{Clock, Timestamp};

/// Events that a tail may be behind before it has lagged.
pub const TAIL_CAPACITY: usize = 4096;

/// Events after which the state is brought up to date without a reader.
const BATCH: usize = 64;

/// A function that a tapped bus calls with every event.
pub type Tap = Box<dyn FnMut(&Event) + Send>;

/// The event bus of a session. Clones share it; it closes with the last clone.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    // never held across an await: fold, copy, send
    canonical: Mutex<Canonical>,
}

struct Canonical {
    /// Lags behind by the events in `recent`: see [`Canonical::state`].
    state: State,
    recent: Vec<Arc<Event>>,
    next_seq: u64,
    last_event_at: Timestamp,
    tails: Sender<Arc<Event>>,
    tap: Option<Tap>,
}

impl Bus {
    /// An empty bus that stamps events with `clock`.
    pub fn new(clock: Clock) -> Self {
        Self::with_tap(clock, None)
    }

    /// An empty bus that passes every event to `tap` in order and exactly once.
    ///
    /// The tap runs under the lock of the bus, so every producer waits for it: it must be quick, and must not
    /// block or call the bus. A tap that writes to disk hands over to a thread, as `journal::LiveJournal` does.
    pub fn tapped(clock: Clock, tap: Tap) -> Self {
        Self::with_tap(clock, Some(tap))
    }

    fn with_tap(clock: Clock, tap: Option<Tap>) -> Self {
        let (tails, _) = broadcast::channel(TAIL_CAPACITY);
        let canonical = Canonical {
            state: State::default(),
            recent: Vec::with_capacity(BATCH),
            next_seq: 0,
            last_event_at: Timestamp::ZERO,
            tails,
            tap,
        };
        Self {
            shared: Arc::new(Shared {
                clock,
                canonical: Mutex::new(canonical),
            }),
        }
    }

    /// Returns the current state and the tail of events after it.
    pub fn subscribe(&self) -> (State, Tail) {
        let mut canonical = self.shared.lock();
        let tail = Tail {
            bus: Arc::downgrade(&self.shared),
            events: canonical.tails.subscribe(),
            lagged: None,
        };
        (canonical.state().clone(), tail)
    }

    /// Reads the current state. Producers wait meanwhile, so `read` should be short.
    pub fn with_state<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(self.shared.lock().state())
    }

    /// The current figures of all guards.
    pub fn stats(&self) -> Stats {
        let now = self.shared.clock.now();
        self.with_state(|state| state.stats(now))
    }
}

impl Observer for Bus {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        let mut canonical = self.shared.lock();
        // read under the lock: the order of the times is the order of the events
        let at = self.shared.clock.now().max(canonical.last_event_at);
        let event = Arc::new(Event {
            seq: canonical.next_seq,
            at,
            call,
            kind,
        });
        canonical.next_seq += 1;
        canonical.last_event_at = at;
        if let Some(tap) = &mut canonical.tap {
            tap(&event);
        }
        if canonical.tails.receiver_count() > 0 {
            // fails if the last tail was just dropped: then no viewer misses the event
            drop(canonical.tails.send(Arc::clone(&event)));
        }
        canonical.recent.push(event);
        if canonical.recent.len() >= BATCH {
            canonical.state();
        }
    }
}

impl Canonical {
    /// The state, up to date.
    fn state(&mut self) -> &State {
        for event in self.recent.drain(..) {
            self.state.apply(&event);
        }
        &self.state
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next_seq = self.with_state(|state| state.next_seq);
        f.debug_struct("Bus").field("next_seq", &next_seq).finish()
    }
}

impl Shared {
    /// Ignores poisoning: a panic of another thread under the lock must not end the session.
    fn lock(&self) -> MutexGuard<'_, Canonical> {
        self.canonical.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of [`Tail::recv_many`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The number of events appended, at least one.
    Events(usize),
    /// The number of events that the ring has overwritten before this tail read them. The tail returns nothing
    /// else until it subscribes again.
    Lagged(u64),
    /// The bus is closed and all its events were returned.
    Closed,
}

/// The events after a snapshot, in order and without a gap.
pub struct Tail {
    bus: Weak<Shared>,
    events: Receiver<Arc<Event>>,
    lagged: Option<u64>,
}

impl Tail {
    /// Waits for events and appends 1 to `max` of them to `batch`. Cancel-safe: a future dropped while it waits
    /// has taken none.
    pub async fn recv_many(&mut self, batch: &mut Vec<Arc<Event>>, max: usize) -> Received {
        if let Some(lost) = self.lagged {
            return Received::Lagged(lost);
        }
        match self.events.recv().await {
            Ok(event) => batch.push(event),
            Err(RecvError::Lagged(lost)) => {
                self.lagged = Some(lost);
                return Received::Lagged(lost);
            }
            Err(RecvError::Closed) => return Received::Closed,
        }
        let mut count = 1;
        while count < max {
            match self.events.try_recv() {
                Ok(event) => {
                    batch.push(event);
                    count += 1;
                }
                Err(TryRecvError::Lagged(lost)) => {
                    // return the events before the gap first
                    self.lagged = Some(lost);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Received::Events(count)
    }

    /// Subscribes again and returns the current state; `None` if the bus is closed.
    pub fn resubscribe(&mut self) -> Option<State> {
        let shared = self.bus.upgrade()?;
        let (state, tail) = Bus { shared }.subscribe();
        *self = tail;
        Some(state)
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tail = f.debug_struct("Tail");
        tail.field("behind", &self.events.len())
            .field("lagged", &self.lagged)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixture;

    fn bus() -> Bus {
        Bus::new(Clock::start())
    }

    fn notice(number: usize) -> EventKind {
        EventKind::Notice {
            text: format!("{number}").into(),
        }
    }

    #[tokio::test]
    async fn a_snapshot_and_its_tail_have_no_gap() {
        let bus = bus();
        let events = fixture::session(7, 60);
        let mut viewers = Vec::new();
        for (place, event) in events.iter().enumerate() {
            if place % 50 == 0 {
                viewers.push(bus.subscribe());
            }
            bus.emit(event.call, event.kind.clone());
        }
        let whole = bus.with_state(State::clone);
        assert_eq!(whole.next_seq, events.len() as u64);
        drop(bus);
        for (mut state, mut tail) in viewers {
            let mut batch = Vec::new();
            while tail.recv_many(&mut batch, 64).await != Received::Closed {
                for event in batch.drain(..) {
                    assert_eq!(event.seq, state.next_seq);
                    assert!(event.at >= state.last_event_at);
                    state.apply(&event);
                }
            }
            assert_eq!(state, whole);
        }
    }

    #[tokio::test]
    async fn a_slow_tail_lags_and_blocks_no_producer() {
        let bus = bus();
        let (_, mut slow) = bus.subscribe();
        for number in 0..TAIL_CAPACITY + 10 {
            bus.emit(None, notice(number));
        }
        let mut batch = Vec::new();
        assert_eq!(slow.recv_many(&mut batch, 8).await, Received::Lagged(10));
        assert_eq!(slow.recv_many(&mut batch, 8).await, Received::Lagged(10));
        assert_eq!(batch, []);
        let fresh = slow.resubscribe().unwrap();
        assert_eq!(fresh, bus.with_state(State::clone));
        bus.emit(None, notice(0));
        assert_eq!(slow.recv_many(&mut batch, 8).await, Received::Events(1));
        assert_eq!(batch[0].seq, fresh.next_seq);
    }

    #[tokio::test]
    async fn a_full_ring_is_not_a_lag() {
        let bus = bus();
        let (_, mut tail) = bus.subscribe();
        for number in 0..TAIL_CAPACITY {
            bus.emit(None, notice(number));
        }
        let mut batch = Vec::new();
        assert_eq!(
            tail.recv_many(&mut batch, usize::MAX).await,
            Received::Events(TAIL_CAPACITY)
        );
    }

    #[tokio::test]
    async fn a_closed_bus_is_reported_after_the_last_event() {
        let bus = bus();
        let (_, mut tail) = bus.subscribe();
        bus.emit(None, notice(1));
        drop(bus);
        let mut batch = Vec::new();
        assert_eq!(tail.recv_many(&mut batch, 8).await, Received::Events(1));
        assert_eq!(tail.recv_many(&mut batch, 8).await, Received::Closed);
        assert_eq!(tail.resubscribe(), None);
    }

    #[test]
    fn a_tap_sees_every_event_in_order() {
        let (seen, events_seen) = std::sync::mpsc::channel();
        let bus = Bus::tapped(
            Clock::start(),
            Box::new(move |event| seen.send(event.clone()).unwrap()),
        );
        let events = fixture::session(7, 20);
        for event in &events {
            bus.emit(event.call, event.kind.clone());
        }
        drop(bus);
        let seen: Vec<Event> = events_seen.iter().collect();
        assert!(seen.iter().map(|event| event.seq).eq(0..events.len() as u64));
        assert!(
            seen.iter()
                .map(|event| &event.kind)
                .eq(events.iter().map(|event| &event.kind))
        );
    }

    #[test]
    fn a_panic_under_the_lock_does_not_end_the_bus() {
        let bus = bus();
        let other = bus.clone();
        let panicked = std::thread::spawn(move || other.with_state(|_| panic!("on purpose"))).join();
        assert!(panicked.is_err());
        bus.emit(None, notice(1));
        assert_eq!(bus.with_state(|state| state.next_seq), 1);
    }

    #[test]
    fn threads_share_one_order() {
        let bus = bus();
        let (mut state, tail) = bus.subscribe();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let bus = &bus;
                scope.spawn(move || {
                    for number in 0..500 {
                        bus.emit(None, notice(thread * 1000 + number));
                    }
                });
            }
        });
        let mut events = tail.events;
        while let Ok(event) = events.try_recv() {
            assert_eq!(event.seq, state.next_seq);
            assert!(event.at >= state.last_event_at);
            state.apply(&event);
        }
        assert_eq!(state, bus.with_state(State::clone));
    }
}
