//! The breaker and its window.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::{BreakerMode, BreakerState, MoveReason, Sample, WindowCounts};
use crate::time::Timestamp;

/// The breaker as its events tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakerView {
    /// Its state.
    pub state: BreakerState,
    /// Who decides.
    pub mode: BreakerMode,
    /// Counts transitions.
    pub generation: u64,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When open ends.
    pub until: Option<Timestamp>,
    /// How long the present open time is in all, in nanoseconds.
    pub open_ns: u64,
    /// Why it moved last.
    pub reason: Option<MoveReason>,
    /// The window.
    pub window: WindowCounts,
    /// The last 60 outcomes, oldest first.
    pub cells: VecDeque<Sample>,
    /// Whether a probe is out.
    pub probe_out: bool,
    /// Good probes in a row, in half-open.
    pub probes_ok: u32,
    /// Calls refused in all.
    pub refused: u64,
    /// Calls refused since it last opened.
    pub refused_since_open: u64,
    /// How often it opened.
    pub opened: u64,
    /// The longest time it was open, in nanoseconds.
    pub longest_open_ns: u64,
    /// The sum of times from opening to closing, in nanoseconds, and how many there were.
    pub recoveries: (u64, u64),
    /// When it opened first since it was last closed.
    pub down_since: Option<Timestamp>,
    /// Earlier states, oldest first, at most 16.
    pub history: VecDeque<StateSpell>,
}

/// A time spent in one state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateSpell {
    /// Which.
    pub state: BreakerState,
    /// From.
    pub from: Timestamp,
    /// To.
    pub to: Timestamp,
}
