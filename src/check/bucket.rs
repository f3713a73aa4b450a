//! One bucket of the limiter, derived from the log alone: the most it may have granted, and its level.
//!
//! **The bound** (invariant 11): for every window that ends at a grant, `granted - returned <= capacity +
//! rate * window`. With `d(t) = granted until t - rate * t` that is `d(end) - d(start) <= capacity` for every
//! earlier start, and so for the one with the least `d`: one number is enough instead of all pairs of grants.
//!
//! **The level** (invariant 12) follows from the last recorded level, the refill and the flows since. A slow-down
//! by the server only lowers the refill, so the level lies between two bounds then.

use std::sync::Arc;
use std::time::Duration;

use super::violation::{Holds, ensure};
use crate::event::{BucketLevel, Event};
use crate::settings::Bucket as Settings;
use crate::time::{Timestamp, saturating_nanos};

/// The share of the refill after a 429 without a hint.
const SLOWED: f64 = 0.7;
/// Tolerance of a level, in units: rounding when the resolution changes.
const ROUNDING: f64 = 0.001;

#[derive(Debug)]
pub(super) struct Bucket {
    name: &'static str,
    settings: Settings,
    per_ns: i128,
    /// Granted and not returned, in units of `1/per`.
    granted: i128,
    /// The least `d`, and the grant after it.
    least: Option<(i128, Arc<Event>)>,
    /// The level in units and its time; `None` while unknown.
    level: Option<(f64, Timestamp)>,
}

/// A flow of units.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flow {
    /// A grant takes them.
    Granted(u64),
    /// A settlement returns them.
    Returned(u64),
    /// A settlement takes more than was granted.
    Debt(u64),
}

impl Bucket {
    pub(super) fn full(name: &'static str, settings: &Settings, now: Timestamp) -> Self {
        Self {
            name,
            settings: settings.clone(),
            per_ns: i128::from(saturating_nanos(settings.per).max(1)),
            granted: 0,
            least: None,
            level: Some((settings.capacity as f64, now)),
        }
    }

    /// Restarts the bound under other settings; the level is unknown until the next record.
    pub(super) fn configure(&mut self, settings: &Settings, now: Timestamp) {
        if self.settings != *settings {
            *self = Self {
                level: None,
                ..Self::full(self.name, settings, now)
            };
        }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.settings.capacity
    }

    /// The time of the last recorded level.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.level.map(|(_, since)| since)
    }

    /// Returns true if the bucket certainly holds `units` at `at`. After a cut of its capacity a larger call
    /// passes when the bucket is full.
    pub(super) fn surely_holds(&self, units: u64, at: Timestamp, late: Duration) -> bool {
        let Some((before, since)) = self.level else {
            return false;
        };
        let capacity = self.settings.capacity as f64;
        let seconds = at.since(since).saturating_sub(late).as_secs_f64();
        let refill = self.settings.refill as f64 / self.settings.per.as_secs_f64();
        let level = (before + refill * seconds).min(capacity);
        level - ROUNDING >= (units as f64).min(capacity - 2.0 * ROUNDING)
    }

    /// Checks invariant 11.
    pub(super) fn count(&mut self, event: &Arc<Event>, flow: Flow, late: Duration) -> Holds {
        let scaled = |units: u64| i128::from(units) * self.per_ns;
        let units = match flow {
            Flow::Returned(units) => {
                self.granted -= scaled(units);
                return Ok(());
            }
            Flow::Debt(units) => {
                self.granted += scaled(units);
                return Ok(());
            }
            // a call that waited during a cut of the capacity passes when the bucket is full
            Flow::Granted(units) => units.min(self.settings.capacity),
        };
        let refill = i128::from(self.settings.refill);
        let now = refill * i128::from(event.at.0);
        let before = self.granted - now;
        if self.least.as_ref().is_none_or(|(least, _)| before < *least) {
            self.least = Some((before, Arc::clone(event)));
        }
        self.granted += scaled(units);
        let Some((least, first)) = &self.least else {
            return Ok(());
        };
        let capacity = scaled(self.settings.capacity);
        let tolerance = refill * i128::from(saturating_nanos(late));
        let over = self.granted - now - least - capacity - tolerance;
        ensure(over <= 0, 11, || {
            let window = event.at.since(first.at);
            format!(
                "bucket of {}: {:.3} units too many were granted in {window:?}; capacity {}, refill {} per {:?}",
                self.name,
                over as f64 / self.per_ns as f64,
                self.settings.capacity,
                self.settings.refill,
                self.settings.per,
            )
        })
        .map_err(|breach| breach.with([Arc::clone(first)]))
    }

    /// Checks invariant 12. `slowed` is true if the refill may have been slowed since the last level.
    pub(super) fn check_level(
        &mut self,
        at: Timestamp,
        level: &BucketLevel,
        flow: Option<Flow>,
        slowed: bool,
        late: Duration,
    ) -> Holds {
        let capacity = self.settings.capacity as f64;
        let units = level.scaled as f64 / level.per_ns.max(1) as f64;
        let stamped = level.as_of <= at && level.as_of + late >= at;
        let shaped = level.capacity == self.settings.capacity && units <= capacity + ROUNDING && stamped;
        ensure(shaped, 12, || {
            format!("bucket of {}: {units} units of {}", self.name, level.capacity)
        })?;
        if let Some((before, since)) = self.level {
            let seconds = at.since(since).as_secs_f64();
            let refill = self.settings.refill as f64 / self.settings.per.as_secs_f64();
            let after = |refill: f64| {
                let level = (before + refill * seconds).min(capacity);
                match flow {
                    None => level,
                    Some(Flow::Granted(units) | Flow::Debt(units)) => level - units as f64,
                    Some(Flow::Returned(units)) => (level + units as f64).min(capacity),
                }
            };
            let least = after(if slowed { refill * SLOWED } else { refill });
            let tolerance = ROUNDING + refill * late.as_secs_f64();
            let (least, most) = (least - tolerance, after(refill) + tolerance);
            ensure((least..=most).contains(&units), 12, || {
                format!(
                    "bucket of {}: {units:.3} units are recorded; {before:.3} at {since} gives {least:.3} to {most:.3}",
                    self.name
                )
            })?;
        }
        let in_debt = matches!(flow, Some(Flow::Granted(taken)) if taken <= self.settings.capacity && units < -ROUNDING);
        ensure(!in_debt, 12, || {
            format!("bucket of {}: a grant leaves {units:.3} units", self.name)
        })?;
        self.level = Some((units, at));
        Ok(())
    }
}
