//! The slots of the timeline behind the columns of an axis.

use std::time::Duration;

use super::{Axis, SECOND};
use crate::state::{Sliding, Slot, Timeline};

/// The shortest time that a point of a percentile covers.
const LEAST_COVER: Duration = Duration::from_secs(3);
/// The part of a window that a point of a percentile covers.
const COVER: u32 = 20;

/// The slots of an axis, and those of an equal time before it, which a scale needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    axis: Axis,
    /// Length of a slot: a bin, but not less than a slot of the timeline, and a multiple of one that is coarser than a
    /// second. So none counts in two bins.
    width: u64,
    /// Oldest first. The second half belongs to the axis.
    slots: Vec<Option<Slot>>,
}

impl Columns {
    /// The slots of an axis.
    pub fn new(timeline: &Timeline, axis: &Axis) -> Self {
        let bin = axis.bin().as_nanos() as u64;
        let step = timeline.step(axis.start()).as_nanos() as u64;
        let width = if step > SECOND {
            bin.div_ceil(step) * step
        } else {
            bin.max(SECOND)
        };
        let count = if bin < width {
            axis.end().0 / width - axis.middle(0).0 / width + 1
        } else {
            u64::from(axis.columns())
        };
        let slots = timeline.bins(axis.end(), Duration::from_nanos(width), count as usize * 2);
        Self {
            axis: *axis,
            width,
            slots,
        }
    }

    /// The slot of a column; `None` before the start and while suspended. Columns narrower than a slot share one.
    pub fn get(&self, column: u16) -> Option<&Slot> {
        self.slots.get(self.place(column)?)?.as_ref()
    }

    /// The place of a column's slot.
    fn place(&self, column: u16) -> Option<usize> {
        if self.axis.is_before_start(column) {
            return None;
        }
        let back = self.axis.end().0 / self.width - self.axis.middle(column).0 / self.width;
        self.slots.len().checked_sub(back as usize + 1)
    }

    /// The column that shows something once per slot: the middle one of those that share it.
    pub fn is_middle(&self, column: u16) -> bool {
        let same = |other: &u16| self.place(*other) == self.place(column);
        let before = (0..column).rev().take_while(same).count();
        let after = (column + 1..self.axis.columns()).take_while(same).count();
        before == after || before + 1 == after
    }

    /// The slots of the axis, one per column.
    pub fn each(&self) -> impl Iterator<Item = Option<&Slot>> {
        (0..self.axis.columns()).map(|column| self.get(column))
    }

    /// The greatest value of a slot in the axis, and in the time before it.
    pub fn most(&self, value: impl Fn(&Slot) -> f64) -> (f64, f64) {
        let (before, within) = self.slots.split_at(self.slots.len() / 2);
        let most = |slots: &[Option<Slot>]| slots.iter().flatten().map(&value).fold(0.0, f64::max);
        (most(within), most(before))
    }

    /// The sum of the slots of the axis. A slot that the first column cuts does not count: the sum is that of the
    /// window that the cards and the title name.
    pub fn sum(&self) -> Slot {
        let mut sum = Slot::default();
        let half = self.slots.len() / 2;
        let (end, from) = (self.axis.end(), self.axis.end() - self.axis.span());
        let first = (end.0 / self.width + 1).saturating_sub(half as u64) * self.width;
        let is_cut = from.0 > 0 && first <= from.0;
        for slot in self.slots.iter().skip(half + usize::from(is_cut)).flatten() {
            sum.merge(slot);
        }
        sum
    }

    /// Sums of counts per column, each over the time `over` that ends with the column; `None` where there is no slot.
    pub fn sums<const N: usize>(
        &self,
        over: Duration,
        counts: impl Fn(&Slot) -> [u32; N],
    ) -> Vec<Option<[u64; N]>> {
        let count = (over.as_nanos() / u128::from(self.width)).max(1) as usize;
        let sum = |place: usize| {
            let slots = self
                .slots
                .iter()
                .take(place + 1)
                .skip((place + 1).saturating_sub(count));
            slots.flatten().fold([0; N], |mut sum: [u64; N], slot| {
                for (sum, one) in sum.iter_mut().zip(counts(slot)) {
                    *sum += u64::from(one);
                }
                sum
            })
        };
        (0..self.axis.columns())
            .map(|column| {
                let place = self.place(column)?;
                self.slots.get(place)?.as_ref()?;
                Some(sum(place))
            })
            .collect()
    }

    /// The time that a point of a percentile covers.
    pub fn cover(&self) -> Duration {
        (self.axis.span() / COVER).max(LEAST_COVER)
    }

    /// Two quantiles of the answered calls per column, in seconds, each over the time of [`Columns::cover`] that ends
    /// with the column; and the greatest of the time before the axis. `None` where there was no answer.
    pub fn quantiles(&self, low: f64, high: f64) -> (Vec<Option<(f64, f64)>>, f64) {
        let cover = self.cover().as_nanos().div_ceil(u128::from(self.width)) as usize;
        let mut sliding = Sliding::default();
        let points: Vec<Option<(f64, f64)>> = (0..self.slots.len())
            .map(|place| {
                if let Some(Some(slot)) = self.slots.get(place) {
                    sliding.add(&slot.latency);
                }
                if let Some(Some(slot)) = place.checked_sub(cover).and_then(|old| self.slots.get(old)) {
                    sliding.remove(&slot.latency);
                }
                let seconds = |quantile| sliding.quantile(quantile).map(|span| span.as_secs_f64());
                Some((seconds(low)?, seconds(high)?))
            })
            .collect();
        let before = points.iter().take(points.len() / 2).flatten();
        let before = before.map(|(_, high)| *high).fold(0.0, f64::max);
        let values = (0..self.axis.columns())
            .map(|column| points.get(self.place(column)?).copied().flatten())
            .collect();
        (values, before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use crate::state::fixture::{Story, attempt};
    use crate::time::Timestamp;

    /// Seconds 5 to 49, with their number as first attempts; an answer of a second in every tenth.
    fn timeline() -> Timeline {
        let slot = |second: u32| {
            let mut slot = Slot {
                seconds: 1,
                first: second,
                ..Slot::default()
            };
            if second.is_multiple_of(10) {
                slot.latency.record(Duration::from_secs(1));
            }
            slot
        };
        Timeline::from_slots(5, (5..50).map(slot).collect())
    }

    fn columns(end: f64, span: u64, columns: u16) -> Columns {
        let axis = Axis::ending(Timestamp::from_secs_f64(end), Duration::from_secs(span), columns);
        Columns::new(&timeline(), &axis)
    }

    #[test]
    fn columns_narrower_than_a_second_share_its_slot() {
        for count in [60, 90, 130] {
            let columns = columns(34.9, 30, count);
            let mut shown: Vec<u32> = columns
                .each()
                .map(|slot| slot.map_or(0, |slot| slot.first))
                .collect();
            let marked = (0..count).filter(|column| columns.is_middle(*column));
            assert_eq!(marked.count(), 30, "{count}: one mark per second");
            shown.dedup();
            assert_eq!(shown, (5..35).collect::<Vec<u32>>(), "{count}");
        }
    }

    #[test]
    fn a_sum_is_that_of_the_window_of_the_cards() {
        // at 40.3 the first column shows the end of second 10, which began before the window
        for (end, first) in [(40.3, 11), (40.0, 11), (40.9, 11)] {
            for count in [30, 60, 90, 130] {
                let sum = columns(end, 30, count).sum().first;
                assert_eq!(sum, (first..=40).sum::<u32>(), "{end} {count}");
            }
        }
    }

    #[test]
    fn a_long_session_counts_every_second_once() {
        let mut story = Story::begin();
        for second in 0..1_500 {
            story
                .at(f64::from(second))
                .call(1, Origin::Chat)
                .emit(1, attempt(1, 1));
        }
        let timeline = story.state().timeline;
        for count in [40, 100, 170, 400] {
            let axis = Axis::ending(story.now, Duration::from_mins(30), count);
            let columns = Columns::new(&timeline, &axis);
            assert_eq!(columns.sum().first, 1_500, "{count}");
        }
    }

    #[test]
    fn wider_columns_have_the_sums_of_their_seconds() {
        let columns = columns(49.0, 50, 10);
        let shown: Vec<Option<u32>> = columns.each().map(|slot| slot.map(|slot| slot.first)).collect();
        let sum = |second: u32| Some((second..second + 5).sum::<u32>());
        assert_eq!(shown[0], None, "before the start");
        assert_eq!(shown[1..], (1..10).map(|bin| sum(bin * 5)).collect::<Vec<_>>());
        assert_eq!(columns.sum().first, (5..50).sum::<u32>());
    }

    #[test]
    fn a_point_covers_three_seconds_and_a_gap_has_none() {
        let columns = columns(34.0, 30, 30);
        let (values, before) = columns.quantiles(0.5, 0.95);
        let seconds: Vec<u64> = (0..30)
            .filter(|column| values[usize::from(*column)].is_some())
            .map(|column| columns.axis.middle(column).0 / SECOND)
            .collect();
        assert_eq!(seconds, [10, 11, 12, 20, 21, 22, 30, 31, 32]);
        assert!(before == 0.0, "{before}");
    }

    #[test]
    fn counts_are_summed_over_the_time_before() {
        let columns = columns(34.0, 30, 30);
        let sums = columns.sums(Duration::from_secs(2), |slot| [slot.first]);
        assert_eq!((sums[0], sums[1], sums[29]), (Some([5]), Some([11]), Some([67])));
    }
}
