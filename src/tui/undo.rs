//! The last changes of the session, and how to reverse them.

use std::collections::VecDeque;

use crate::event::Command;

/// The number of changes kept.
pub const DEPTH: usize = 20;

/// The reverse of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Reverse {
    /// A command that restores the earlier value.
    Send(Command),
    /// The earlier choice whether earlier turns are sent too.
    Conversation(bool),
}

/// A change and its reverse.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The change in words: `breaker forced open`.
    pub text: String,
    /// Its reverse.
    pub reverse: Reverse,
}

/// The changes that can be undone, newest last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Undo {
    changes: VecDeque<Change>,
    /// The step whose command the engine has not accepted yet.
    unconfirmed: Option<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Recorded,
    Taken(Change),
}

impl Undo {
    /// Returns true if there is nothing to undo.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Records a change. The oldest of more than [`DEPTH`] is dropped.
    pub fn record(&mut self, change: Change) {
        if self.changes.len() == DEPTH {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        self.unconfirmed = Some(Step::Recorded);
    }

    /// Takes the newest change, to reverse it.
    pub fn take(&mut self) -> Option<Change> {
        let change = self.changes.pop_back()?;
        self.unconfirmed = Some(Step::Taken(change.clone()));
        Some(change)
    }

    /// The engine accepted the command of the last step.
    pub fn on_accepted(&mut self) {
        self.unconfirmed = None;
    }

    /// The engine rejected the command of the last step, so nothing has changed.
    pub fn on_rejected(&mut self) {
        match self.unconfirmed.take() {
            Some(Step::Recorded) => {
                self.changes.pop_back();
            }
            Some(Step::Taken(change)) => self.changes.push_back(change),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: usize) -> Change {
        Change {
            text: number.to_string(),
            reverse: Reverse::Conversation(false),
        }
    }

    #[test]
    fn the_newest_changes_are_taken_first_and_the_oldest_are_dropped() {
        let mut undo = Undo::default();
        (0..DEPTH + 5).for_each(|number| undo.record(change(number)));
        let taken: Vec<String> = std::iter::from_fn(|| undo.take())
            .map(|change| change.text)
            .collect();
        let expected: Vec<String> = (5..DEPTH + 5).rev().map(|number| number.to_string()).collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn a_rejected_step_leaves_the_changes_as_they_were() {
        let mut undo = Undo::default();
        undo.record(change(1));
        undo.on_accepted();
        let before = undo.clone();
        undo.record(change(2));
        undo.on_rejected();
        assert_eq!(undo, before);
        undo.take();
        undo.on_rejected();
        assert_eq!(undo, before);
        undo.on_rejected();
        assert_eq!(undo, before);
    }
}
