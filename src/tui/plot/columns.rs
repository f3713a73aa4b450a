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
    /// Length of a slot: a bin, but not less than a second, since a timeline has no finer slots.
    width: u64,
    /// Oldest first. The second half belongs to the axis.
    slots: Vec<Option<Slot>>,
}

impl Columns {
    /// The slots of an axis.
    pub fn new(timeline: &Timeline, axis: &Axis) -> Self {
        let bin = axis.bin().as_nanos() as u64;
        let width = bin.max(SECOND);
        let count = if bin < SECOND {
            axis.end().0 / SECOND - axis.middle(0).0 / SECOND + 1
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

    /// The slot of a column; `None` if there is none. Columns narrower than a second share one.
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

    /// The sum of the slots of the axis.
    pub fn sum(&self) -> Slot {
        let mut sum = Slot::default();
        for slot in self.slots.iter().skip(self.slots.len() / 2).flatten() {
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
