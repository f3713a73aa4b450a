//! States kept while reading a recording, as starting points of seeks. They are at the beginning of pieces and
//! widely spaced: a state takes about 2 MB once its rings are full.

use crate::state::State;

/// The maximum number of states kept.
pub const KEYFRAMES: u64 = 64;

/// The minimum bytes of journal between two of them, parsed and applied in 10 to 40 ms.
const MIN_SPACING: u64 = 2 << 20;

/// States with the number of events applied to each.
#[derive(Debug)]
pub(super) struct Keyframes {
    /// Bytes between two of them.
    spacing: u64,
    /// The offset of the next one.
    next: u64,
    /// The state before the first event.
    initial: Box<State>,
    kept: Vec<(usize, State)>,
}

impl Keyframes {
    /// Creates keyframes for a journal of `bytes` bytes.
    pub(super) fn new(bytes: u64, initial: State) -> Self {
        let spacing = MIN_SPACING.max(bytes.div_ceil(KEYFRAMES));
        Self {
            spacing,
            next: spacing,
            initial: Box::new(initial),
            kept: Vec::new(),
        }
    }

    /// Offers the state after `position` events, at the start of a piece.
    pub(super) fn observe(&mut self, offset: u64, position: usize, state: &State) {
        // a journal that is still written may have grown
        if offset >= self.next && (self.kept.len() as u64) < KEYFRAMES {
            self.kept.push((position, state.clone()));
            self.next = offset + self.spacing;
        }
    }

    /// The number of events of the last state at or before `position`; 0 for the initial one.
    pub(super) fn events_before(&self, position: usize) -> usize {
        self.last(position).map_or(0, |(events, _)| *events)
    }

    /// The last state at or before `position`.
    pub(super) fn state(&self, position: usize) -> State {
        self.last(position)
            .map_or(&*self.initial, |(_, state)| state)
            .clone()
    }

    fn last(&self, position: usize) -> Option<&(usize, State)> {
        let before = self.kept.partition_point(|(events, _)| *events <= position);
        self.kept.get(before.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal in pieces of a hundred events.
    fn frames(pieces: u64, bytes: u64) -> Keyframes {
        let mut frames = Keyframes::new(pieces * bytes, State::default());
        let mut state = State::default();
        for piece in 0..pieces {
            state.next_seq = piece * 100;
            frames.observe(piece * bytes, piece as usize * 100, &state);
        }
        frames
    }

    #[test]
    fn keyframes_are_few_and_never_far() {
        for (pieces, bytes) in [
            (3, 1 << 17),
            (100, 1 << 17),
            (9_000, 1 << 17),
            (40, 100 << 20),
            (5_000, 1 << 22),
        ] {
            let frames = frames(pieces, bytes);
            assert!(frames.kept.len() as u64 <= KEYFRAMES);
            // the spacing and the rest of a piece, in events
            let far = (MIN_SPACING.max(pieces * bytes / KEYFRAMES) / bytes + 2) * 100;
            for position in (0..pieces * 100).step_by(77) {
                let events = frames.events_before(position as usize) as u64;
                assert!(
                    events <= position && position - events <= far,
                    "{events} for {position} of {pieces}"
                );
                assert_eq!(frames.state(position as usize).next_seq, events);
            }
        }
        assert_eq!(frames(9_000, 1 << 17).kept.len(), 63);
        assert_eq!(frames(3, 1 << 17).kept.len(), 0);
    }
}
