//! The breaker of a model and its window.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Calls;
use crate::event::{
    BreakerMode, BreakerState, CallId, Event, EventKind, FailureClass, Fate, MoveReason, Sample, WindowCounts,
};
use crate::time::{Timestamp, saturating_nanos};

/// Outcomes kept.
const CELLS: usize = 60;
/// Spells kept.
const SPELLS: usize = 256;

/// The breaker, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakerView {
    /// Its state.
    pub state: BreakerState,
    /// Automatic or forced.
    pub mode: BreakerMode,
    /// Counts transitions.
    pub generation: u64,
    /// Start of the current state.
    pub since: Timestamp,
    /// End of the open time.
    pub until: Option<Timestamp>,
    /// Total length of the current open time in nanoseconds.
    pub open_ns: u64,
    /// Reason of the last transition.
    pub reason: Option<MoveReason>,
    /// The window; while open, the one that opened it.
    pub window: WindowCounts,
    /// The window that led to the current state.
    pub(crate) led_here: WindowCounts,
    /// The last 60 outcomes that counted, oldest first: good, slow or failed. The window is made of the
    /// last `window.total` of them.
    pub cells: VecDeque<Sample>,
    /// The probe that has no first token yet: until then no other is admitted.
    pub probe_waits: Option<CallId>,
    /// Probes that run.
    pub probes_out: u32,
    /// Probes in a row that ended well, in half-open.
    pub probes_ok: u32,
    /// Calls rejected.
    pub refused: u64,
    /// Calls rejected since it last opened.
    pub refused_since_open: u64,
    /// Number of openings.
    pub opened: u64,
    /// The longest time it was open, in nanoseconds.
    pub longest_open_ns: u64,
    /// The sum of times from opening to closing, in nanoseconds, and how many there were.
    pub recoveries: (u64, u64),
    /// First opening since it was last closed.
    pub down_since: Option<Timestamp>,
    /// The last probe that ended in the current half-open time.
    pub probe: Option<ProbeEnd>,
    /// Calls rejected in the current state.
    pub(crate) refused_in_spell: u64,
    /// Earlier states, oldest first, at most 256. The current one is [`BreakerView::spells`].
    pub history: VecDeque<StateSpell>,
}

/// A time spent in one state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateSpell {
    /// The state.
    pub state: BreakerState,
    /// Start.
    pub from: Timestamp,
    /// End; of the current state, the present.
    pub to: Timestamp,
    /// The transition into it; `None` for the state of the start.
    pub reason: Option<MoveReason>,
    /// The window that led to it.
    pub window: WindowCounts,
    /// Planned length of an open time; `None` for the other states, and if forced.
    #[serde(with = "crate::time::nanos_option")]
    pub planned: Option<Duration>,
    /// Calls rejected in it.
    pub refused: u64,
    /// The last probe that ended in it.
    pub probe: Option<ProbeEnd>,
}

/// The end of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeEnd {
    /// Its call.
    pub call: CallId,
    /// Its failure; `None` if it ended well.
    pub failure: Option<FailureClass>,
    /// The status of the failure, if a response came.
    pub status: Option<u16>,
}

impl BreakerView {
    pub(super) fn apply(&mut self, event: &Event, calls: &Calls) {
        match &event.kind {
            EventKind::BreakerAdmitted { probe, .. } => {
                if *probe {
                    self.probe_waits = event.call;
                    self.probes_out += 1;
                }
            }
            EventKind::AttemptFirstToken { .. } if self.probe_waits == event.call => self.probe_waits = None,
            EventKind::FlightHandedOver { from, .. } if self.probe_waits == Some(*from) => {
                self.probe_waits = event.call;
            }
            // of calls: a refused retry ends a call that failed
            EventKind::CallEnded {
                fate: Fate::CircuitOpen,
                ..
            } => {
                self.refused += 1;
                self.refused_since_open += 1;
                self.refused_in_spell += 1;
            }
            EventKind::BreakerRecorded {
                generation,
                probe,
                sample,
                window,
                model: _,
            } => {
                // A late outcome finds the window of an open breaker already empty; the window that opened it
                // stays in view until the next state.
                if self.state != BreakerState::Open || !matches!(sample, Sample::Late | Sample::Neutral) {
                    self.window = *window;
                }
                if *probe && *generation == self.generation {
                    self.probes_out = self.probes_out.saturating_sub(1);
                    self.probe_waits = self.probe_waits.filter(|call| Some(*call) != event.call);
                    self.probe = probe_end(event.call, *sample, calls).or(self.probe);
                }
                self.recorded(*sample);
            }
            EventKind::BreakerMoved {
                from,
                to,
                generation,
                reason,
                until,
                window,
                model: _,
            } => {
                self.generation = *generation;
                self.moved(event.at, *from, *to, *until);
                self.reason = Some(*reason);
                self.window = *window;
                self.led_here = *window;
            }
            EventKind::BreakerForced { mode } => self.mode = *mode,
            EventKind::BreakerRefused { .. }
            | session_events!()
            | call_events!()
            | cache_events!()
            | flight_events!()
            | semantic_events!()
            | limit_events!()
            | attempt_events!() => {}
        }
    }

    fn recorded(&mut self, sample: Sample) {
        let good = match sample {
            Sample::Ok | Sample::Slow => true,
            Sample::Failed => false,
            Sample::Neutral | Sample::Late => return,
        };
        self.cells.push_back(sample);
        if self.cells.len() > CELLS {
            self.cells.pop_front();
        }
        if self.state == BreakerState::HalfOpen {
            self.probes_ok = if good { self.probes_ok + 1 } else { 0 };
        }
    }

    /// Returns true if half-open admits no further probe, as far as the events show: they do not show the end of a
    /// lease.
    pub fn is_full(&self, successes_to_close: u32) -> bool {
        self.probe_waits.is_some() || self.probes_out >= successes_to_close
    }

    /// The states so far, oldest first; the last one is the current state up to `now`.
    pub fn spells(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = StateSpell> + '_ {
        self.history.iter().copied().chain([self.spell(now)])
    }

    /// The current state up to `now`.
    fn spell(&self, now: Timestamp) -> StateSpell {
        let planned = self.until.map(|until| self.since.until(until));
        StateSpell {
            state: self.state,
            from: self.since,
            to: now.max(self.since),
            reason: self.reason,
            window: self.led_here,
            planned: planned.filter(|_| self.state == BreakerState::Open),
            refused: self.refused_in_spell,
            probe: self.probe,
        }
    }

    fn moved(&mut self, at: Timestamp, from: BreakerState, to: BreakerState, until: Option<Timestamp>) {
        let spent = saturating_nanos(at.since(self.since));
        if from != to {
            let spell = StateSpell {
                state: from,
                ..self.spell(at)
            };
            self.history.push_back(spell);
            if self.history.len() > SPELLS {
                self.history.pop_front();
            }
            self.refused_in_spell = 0;
            self.probe = None;
        }
        if from == BreakerState::Open {
            self.longest_open_ns = self.longest_open_ns.max(spent);
        }
        match to {
            BreakerState::Open => {
                self.opened += 1;
                self.refused_since_open = 0;
                self.open_ns = until.map_or(0, |until| saturating_nanos(at.until(until)));
                self.down_since.get_or_insert(at);
            }
            BreakerState::HalfOpen => self.open_ns = 0,
            BreakerState::Closed => {
                self.open_ns = 0;
                if let Some(down_since) = self.down_since.take() {
                    let (sum, count) = &mut self.recoveries;
                    *sum = sum.saturating_add(saturating_nanos(at.since(down_since)));
                    *count += 1;
                }
            }
        }
        self.state = to;
        self.since = at;
        self.until = until;
        (self.probe_waits, self.probes_out) = (None, 0);
        self.probes_ok = 0;
    }
}

/// The end of the probe of `call`; `None` if its outcome is no evidence.
fn probe_end(call: Option<CallId>, sample: Sample, calls: &Calls) -> Option<ProbeEnd> {
    let call = call?;
    match sample {
        Sample::Ok | Sample::Slow => Some(ProbeEnd {
            call,
            failure: None,
            status: None,
        }),
        Sample::Failed => {
            let failure = calls.recent.get(&call).and_then(|call| call.failure.as_ref());
            Some(ProbeEnd {
                call,
                failure: Some(failure.map_or(FailureClass::Internal, |failure| failure.class)),
                status: failure.and_then(|failure| failure.status),
            })
        }
        Sample::Neutral | Sample::Late => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use crate::state::fixture::{Story, moved};

    const CLOSED: BreakerState = BreakerState::Closed;
    const OPEN: BreakerState = BreakerState::Open;
    const HALF: BreakerState = BreakerState::HalfOpen;

    /// The outcome of a probe of this generation, or of a call of generation 0.
    fn recorded(generation: u64, sample: Sample) -> EventKind {
        EventKind::BreakerRecorded {
            model: None,
            generation,
            probe: generation > 0,
            sample,
            window: WindowCounts::default(),
        }
    }

    #[test]
    fn what_opened_it_stays_in_view_while_late_outcomes_come_in() {
        let mut story = Story::begin();
        story.emit(0, moved(CLOSED, OPEN, 1, MoveReason::Consecutive, Some(30.0)));
        let tripped = story.state().breaker().window;
        assert!(tripped.total > 0);
        story.emit(0, recorded(0, Sample::Late));
        assert_eq!(story.state().breaker().window, tripped);
        story.emit(0, moved(OPEN, HALF, 2, MoveReason::CoolDown, None));
        story.emit(0, recorded(2, Sample::Ok));
        assert_eq!(story.state().breaker().window, WindowCounts::default());
    }

    #[test]
    fn an_outage_from_its_first_opening_to_its_end() {
        let mut story = Story::begin();
        let refused = crate::state::fixture::ended(Fate::CircuitOpen, 0, 1);
        let probe = EventKind::BreakerAdmitted {
            model: None,
            generation: 2,
            probe: true,
            window: WindowCounts::default(),
        };
        story
            .at(25.0)
            .emit(0, moved(CLOSED, OPEN, 1, MoveReason::FailureRate, Some(30.0)));
        story
            .call(1, Origin::Chat)
            .emit(1, refused.clone())
            .emit(1, refused.clone());
        story
            .at(30.0)
            .emit(0, moved(OPEN, HALF, 2, MoveReason::CoolDown, None))
            .emit(1, probe.clone());
        let half = story.state().breaker().clone();
        assert!(half.is_full(2) && half.probe_waits == Some(CallId(1)));
        let first_token = EventKind::AttemptFirstToken {
            attempt: 1,
            ttft: Duration::from_millis(10),
        };
        story.emit(1, first_token);
        let half = story.state().breaker().clone();
        assert!(half.is_full(1) && !half.is_full(2));
        story.at(31.0).emit(1, recorded(2, Sample::Failed));
        story
            .emit(0, moved(HALF, OPEN, 3, MoveReason::ProbeFailed, Some(41.0)))
            .emit(1, refused);
        let open = story.state().breaker().clone();
        assert_eq!((open.opened, open.refused, open.refused_since_open), (2, 3, 1));
        assert_eq!(open.open_ns, 10_000_000_000);
        story
            .at(41.0)
            .emit(0, moved(OPEN, HALF, 4, MoveReason::CoolDown, None))
            .emit(1, probe.clone());
        // the cut of an older stream ends the row and leaves the places as they are
        story.emit(1, recorded(4, Sample::Ok)).emit(1, probe);
        story.emit(2, recorded(2, Sample::Failed));
        assert_eq!(
            (
                story.state().breaker().probes_out,
                story.state().breaker().probes_ok
            ),
            (1, 0)
        );
        story.emit(1, recorded(4, Sample::Ok));
        let half = story.state().breaker().clone();
        assert_eq!((half.probe_waits, half.probes_out, half.probes_ok), (None, 0, 1));
        story
            .at(42.0)
            .emit(0, moved(HALF, CLOSED, 5, MoveReason::ProbesSucceeded, None));
        let view = story.state().breaker().clone();
        assert_eq!(view.longest_open_ns, 10_000_000_000);
        assert_eq!(view.recoveries, (17_000_000_000, 1));
        assert_eq!((view.down_since, view.until, view.state), (None, None, CLOSED));
        assert_eq!(
            view.cells,
            [Sample::Failed, Sample::Ok, Sample::Failed, Sample::Ok]
        );
        let spells: Vec<_> = view.history.iter().map(|spell| (spell.state, spell.to)).collect();
        let at = Timestamp::from_secs_f64;
        assert_eq!(
            spells,
            [
                (CLOSED, at(25.0)),
                (OPEN, at(30.0)),
                (HALF, at(31.0)),
                (OPEN, at(41.0)),
                (HALF, at(42.0))
            ]
        );
    }

    #[test]
    fn outcomes_that_do_not_count_leave_no_cell() {
        let mut story = Story::begin();
        for sample in [
            Sample::Ok,
            Sample::Neutral,
            Sample::Late,
            Sample::Slow,
            Sample::Failed,
        ] {
            story.emit(0, recorded(0, sample));
        }
        assert_eq!(
            story.state().breaker().cells,
            [Sample::Ok, Sample::Slow, Sample::Failed]
        );
    }
}
