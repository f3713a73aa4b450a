//! States kept on the way through a recording, to go back to. They stand at the beginnings of pieces, so far apart
//! that there are not too many: one takes some two megabytes, once its rings are full.

use crate::state::State;

/// The most states that are kept.
pub const KEYFRAMES: u64 = 64;

/// The least bytes of a journal between two of them: they are parsed and folded in 10 to 40 ms.
const LEAST_APART: u64 = 2 << 20;

/// States, and how many events each has.
#[derive(Debug)]
pub(super) struct Frames {
    apart: u64,
    /// Where the next one will be kept.
    next: u64,
    /// The state before the first event.
    begins: Box<State>,
    kept: Vec<(usize, State)>,
}

impl Frames {
    /// For a journal of so many bytes that begins so.
    pub(super) fn new(bytes: u64, begins: State) -> Self {
        let apart = LEAST_APART.max(bytes.div_ceil(KEYFRAMES));
        Self {
            apart,
            next: apart,
            begins: Box::new(begins),
            kept: Vec::new(),
        }
    }

    /// Looks at the state after so many events, where a piece begins at this byte.
    pub(super) fn look(&mut self, offset: u64, position: usize, state: &State) {
        // one that grows while it is read may have more bytes than it had
        if offset >= self.next && (self.kept.len() as u64) < KEYFRAMES {
            self.kept.push((position, state.clone()));
            self.next = offset + self.apart;
        }
    }

    /// How many events the last state has that was kept of those with at most `position`; 0 is the beginning.
    pub(super) fn place(&self, position: usize) -> usize {
        self.last(position).map_or(0, |(events, _)| *events)
    }

    /// That state.
    pub(super) fn state(&self, position: usize) -> State {
        self.last(position)
            .map_or(&*self.begins, |(_, state)| state)
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
    fn frames(pieces: u64, bytes: u64) -> Frames {
        let mut frames = Frames::new(pieces * bytes, State::default());
        let mut state = State::default();
        for piece in 0..pieces {
            state.next_seq = piece * 100;
            frames.look(piece * bytes, piece as usize * 100, &state);
        }
        frames
    }

    #[test]
    fn few_states_are_kept_and_none_is_far() {
        for (pieces, bytes) in [
            (3, 1 << 17),
            (100, 1 << 17),
            (9_000, 1 << 17),
            (40, 100 << 20),
            (5_000, 1 << 22),
        ] {
            let frames = frames(pieces, bytes);
            assert!(frames.kept.len() as u64 <= KEYFRAMES);
            // by so many bytes, and the rest of a piece
            let far = (LEAST_APART.max(pieces * bytes / KEYFRAMES) / bytes + 2) * 100;
            for asked in (0..pieces * 100).step_by(77) {
                let place = frames.place(asked as usize) as u64;
                assert!(
                    place <= asked && asked - place <= far,
                    "{place} for {asked} of {pieces}"
                );
                assert_eq!(frames.state(asked as usize).next_seq, place);
            }
        }
        assert_eq!(frames(9_000, 1 << 17).kept.len(), 63);
        assert_eq!(frames(3, 1 << 17).kept.len(), 0);
    }
}
