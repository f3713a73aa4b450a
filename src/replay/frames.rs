//! States kept on the way through a recording, to go back to: so many events apart that not too many are kept.

use crate::state::State;

/// The most states that are kept. At least half as many are, once so many were seen.
pub const KEYFRAMES: usize = 128;

/// The least events between two of them.
const LEAST_APART: usize = 512;

/// States after `every`, `2 * every`, .. events.
#[derive(Debug)]
pub(super) struct Frames {
    every: usize,
    states: Vec<State>,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            every: LEAST_APART,
            states: Vec::new(),
        }
    }
}

impl Frames {
    /// Looks at the state after so many events; to be called after each.
    pub(super) fn look(&mut self, position: usize, state: &State) {
        if !position.is_multiple_of(self.every) {
            return;
        }
        if self.states.len() == KEYFRAMES {
            // every second one stays
            let mut place = 0;
            self.states.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.every *= 2;
        }
        if position.is_multiple_of(self.every) {
            self.states.push(state.clone());
        }
    }

    /// How many events the last state has that was kept of those with at most `position`.
    pub(super) fn place(&self, position: usize) -> usize {
        (position / self.every).min(self.states.len()) * self.every
    }

    /// That state.
    pub(super) fn state(&self, position: usize) -> State {
        let kept = self.place(position) / self.every;
        let state = kept.checked_sub(1).and_then(|place| self.states.get(place));
        state.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_states_are_kept_and_none_is_far() {
        let mut frames = Frames::default();
        let mut state = State::default();
        for position in 1..=140_000 {
            state.next_seq = position as u64;
            frames.look(position, &state);
            if position % 9973 != 0 {
                continue;
            }
            for asked in [0, 511, 512, 513, position / 3, position - 1, position] {
                let place = frames.place(asked);
                assert!(place <= asked, "{place} for {asked} of {position}");
                assert!(asked - place <= LEAST_APART.max(2 * position / KEYFRAMES));
                assert_eq!(frames.state(asked).next_seq, place as u64);
            }
        }
        assert!((KEYFRAMES / 2..=KEYFRAMES).contains(&frames.states.len()));
    }
}
