//! Misses explained by a similar stored request: counted by difference, the newest in full.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::{CallId, FieldDiff, NearMiss};
use crate::time::Timestamp;

/// Differences counted separately. Field names come from clients; a new one replaces the rarest.
const MAX_FIELDS: usize = 24;
/// Misses remembered in full.
const MAX_LATEST: usize = 32;
/// Differences read of one miss; an event has no more.
const MAX_DIFFERS: usize = 4;

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Misses {
    /// Misses with a similar stored request.
    pub explained: u64,
    /// Of those, misses that differ in one field only and would have hit without it.
    pub single: u64,
    /// Differences by field and kind. At most 24.
    pub fields: Vec<FieldCount>,
    /// Differences of kinds that are no longer in `fields`.
    pub forgotten: u64,
    /// The newest, oldest first. At most 32.
    pub latest: VecDeque<ExplainedMiss>,
}

/// Count of one kind of difference in one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldCount {
    /// The latest difference of this kind.
    pub example: FieldDiff,
    /// Misses in which it was the only one.
    pub alone: u64,
    /// Misses in which other fields differed too.
    pub with_others: u64,
}

/// A miss and the most similar stored request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedMiss {
    /// Time of the miss.
    pub at: Timestamp,
    /// The call.
    pub call: CallId,
    /// The similar stored request.
    pub near: NearMiss,
}

impl FieldCount {
    /// All misses with this difference.
    pub fn sum(&self) -> u64 {
        self.alone.saturating_add(self.with_others)
    }
}

impl Misses {
    /// The differences that came up most often alone, the most frequent first.
    pub fn by_count(&self) -> Vec<&FieldCount> {
        let mut fields: Vec<&FieldCount> = self.fields.iter().collect();
        fields.sort_by_key(|field| std::cmp::Reverse((field.alone, field.with_others)));
        fields
    }

    pub(super) fn take(&mut self, at: Timestamp, call: CallId, near: &NearMiss) {
        self.explained += 1;
        let alone = near.fields == 1;
        self.single += u64::from(alone);
        for diff in near.differs.iter().take(MAX_DIFFERS) {
            self.count(diff, alone);
        }
        if self.latest.len() >= MAX_LATEST {
            self.latest.pop_front();
        }
        let near = near.clone();
        self.latest.push_back(ExplainedMiss { at, call, near });
    }

    /// Takes back the newest miss if it is that of a call that joined a flight right after it.
    pub(super) fn take_back(&mut self, call: CallId) {
        let Some(miss) = self.latest.back().filter(|miss| miss.call == call).cloned() else {
            return;
        };
        self.latest.pop_back();
        self.explained = self.explained.saturating_sub(1);
        let alone = miss.near.fields == 1;
        self.single = self.single.saturating_sub(u64::from(alone));
        for diff in miss.near.differs.iter().take(MAX_DIFFERS) {
            let same = |one: &&mut FieldCount| one.example.field == diff.field && one.example.how == diff.how;
            if let Some(one) = self.fields.iter_mut().find(same) {
                one.alone = one.alone.saturating_sub(u64::from(alone));
                one.with_others = one.with_others.saturating_sub(u64::from(!alone));
            }
        }
        self.fields.retain(|one| one.sum() > 0);
    }

    fn count(&mut self, diff: &FieldDiff, alone: bool) {
        let same = |one: &FieldCount| one.example.field == diff.field && one.example.how == diff.how;
        let place = self.fields.iter().position(same).unwrap_or_else(|| {
            if self.fields.len() >= MAX_FIELDS {
                let rarest = self.fields.iter().enumerate().min_by_key(|(_, one)| one.sum());
                if let Some((rarest, count)) = rarest.map(|(place, one)| (place, one.sum())) {
                    self.forgotten = self.forgotten.saturating_add(count);
                    self.fields.remove(rarest);
                }
            }
            let example = diff.clone();
            self.fields.push(FieldCount {
                example,
                alone: 0,
                with_others: 0,
            });
            self.fields.len() - 1
        });
        if let Some(one) = self.fields.get_mut(place) {
            one.example = diff.clone();
            one.alone += u64::from(alone);
            one.with_others += u64::from(!alone);
        }
    }
}

#[cfg(test)]
pub(super) fn near(differs: &[(&str, crate::event::DiffKind, &str, &str)]) -> NearMiss {
    let differs: Vec<FieldDiff> = differs
        .iter()
        .map(|(field, how, here, stored)| FieldDiff {
            field: (*field).into(),
            how: *how,
            here: (*here).into(),
            stored: (*stored).into(),
        })
        .collect();
    NearMiss {
        source: CallId(1),
        prompt: "x".into(),
        fields: differs.len() as u32,
        differs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::DiffKind;

    #[test]
    fn what_differs_alone_is_counted_apart() {
        let mut misses = Misses::default();
        let stamp = (
            "system prompt",
            DiffKind::Time,
            "It is 10:32:01.",
            "It is 10:30:00.",
        );
        misses.take(Timestamp(1), CallId(2), &near(&[stamp]));
        misses.take(
            Timestamp(2),
            CallId(3),
            &near(&[stamp, ("seed", DiffKind::Number, "1", "2")]),
        );
        assert_eq!((misses.explained, misses.single), (2, 1));
        let counts: Vec<_> = misses
            .fields
            .iter()
            .map(|one| (one.alone, one.with_others))
            .collect();
        assert_eq!(counts, [(1, 1), (0, 1)]);
        let words = misses.fields[0].example.words();
        assert_eq!((words.0.as_str(), words.1.as_str()), ("10:32:01", "10:30:00"));
        assert_eq!(misses.by_count()[0].example.brief(), "system prompt: a time");
    }

    #[test]
    fn invented_fields_and_many_misses_take_no_more_room() {
        let mut misses = Misses::default();
        let known = ("temperature", DiffKind::Number, "0", "1");
        for call in 0..1000 {
            let invented = format!("field {call}");
            misses.take(
                Timestamp(call),
                CallId(call),
                &near(&[known, (&invented, DiffKind::Value, "a", "b")]),
            );
        }
        assert_eq!(
            (misses.fields.len(), misses.latest.len()),
            (MAX_FIELDS, MAX_LATEST)
        );
        let counted: u64 = misses.fields.iter().map(FieldCount::sum).sum();
        assert_eq!(counted + misses.forgotten, 2000);
        assert_eq!(misses.by_count()[0].sum(), 1000);
        assert_eq!(misses.latest.back().map(|one| one.call), Some(CallId(999)));
    }
}
