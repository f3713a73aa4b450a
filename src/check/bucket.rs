//! One bucket of the limiter, from the log alone: how much may have been granted, and how full it may be.
//!
//! **The bound** (invariant 11): for every window that ends at a grant, `granted - given back <= capacity +
//! rate * window`. With `d(t) = granted until t - rate * t` that is `d(end) - d(start) <= capacity` for every
//! start before it, and so for the one with the least `d`: one number to keep, not all pairs of grants.
//!
//! **The level** (invariant 12): from the level told last, the refill and what was taken since, the level now
//! follows. A slow-down of the server only lowers the refill, so there it lies between two levels.

use std::sync::Arc;
use std::time::Duration;

use super::violation::{Holds, ensure};
use crate::event::{BucketLevel, Event};
use crate::settings::Bucket as Settings;
use crate::time::{Timestamp, saturating_nanos};

/// What a 429 without a hint leaves of the refill.
const SLOWED: f64 = 0.7;
/// Units that a level may be off: what a change of its grain rounds away.
const ROUNDING: f64 = 0.001;

#[derive(Debug)]
pub(super) struct Bucket {
    name: &'static str,
    settings: Settings,
    per_ns: i128,
    /// Granted and not given back, in `1/per` units.
    granted: i128,
    /// The least `d`, and the grant it was before.
    least: Option<(i128, Arc<Event>)>,
    /// Units in it at this instant; nothing while that is not known.
    level: Option<(f64, Timestamp)>,
}

/// Units that go in or out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flow {
    /// A grant takes them.
    Granted(u64),
    /// A settlement gives them back.
    Back(u64),
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

    /// With other settings the bound begins anew, and the level is known when it is told.
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

    /// When the level was told last.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.level.map(|(_, since)| since)
    }

    /// Whether it has so much at this instant, for all that is known. One that was made smaller lets pass what it
    /// cannot hold when it is full.
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

    /// Invariant 11.
    pub(super) fn count(&mut self, event: &Arc<Event>, flow: Flow, late: Duration) -> Holds {
        let scaled = |units: u64| i128::from(units) * self.per_ns;
        let units = match flow {
            Flow::Back(units) => {
                self.granted -= scaled(units);
                return Ok(());
            }
            Flow::Debt(units) => {
                self.granted += scaled(units);
                return Ok(());
            }
            // one that waited while the bucket was made smaller passes when that is full
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
                "bucket of {}: {:.3} more were granted in {window:?} than {} and {} each {:?} allow",
                self.name,
                over as f64 / self.per_ns as f64,
                self.settings.capacity,
                self.settings.refill,
                self.settings.per,
            )
        })
        .map_err(|breach| breach.with([Arc::clone(first)]))
    }

    /// Invariant 12. `slowed`: whether the refill may have been slowed since the last level.
    pub(super) fn told(
        &mut self,
        at: Timestamp,
        told: &BucketLevel,
        flow: Option<Flow>,
        slowed: bool,
        late: Duration,
    ) -> Holds {
        let capacity = self.settings.capacity as f64;
        let units = told.scaled as f64 / told.per_ns.max(1) as f64;
        let stamped = told.as_of <= at && told.as_of + late >= at;
        let shaped = told.capacity == self.settings.capacity && units <= capacity + ROUNDING && stamped;
        ensure(shaped, 12, || {
            format!("bucket of {}: {units} units of {}", self.name, told.capacity)
        })?;
        if let Some((before, since)) = self.level {
            let seconds = at.since(since).as_secs_f64();
            let refill = self.settings.refill as f64 / self.settings.per.as_secs_f64();
            let after = |refill: f64| {
                let level = (before + refill * seconds).min(capacity);
                match flow {
                    None => level,
                    Some(Flow::Granted(units) | Flow::Debt(units)) => level - units as f64,
                    Some(Flow::Back(units)) => (level + units as f64).min(capacity),
                }
            };
            let least = after(if slowed { refill * SLOWED } else { refill });
            let tolerance = ROUNDING + refill * late.as_secs_f64();
            let (least, most) = (least - tolerance, after(refill) + tolerance);
            ensure((least..=most).contains(&units), 12, || {
                format!(
                    "bucket of {}: {units:.3} units are told, from {before:.3} at {since} follow {least:.3} to {most:.3}",
                    self.name
                )
            })?;
        }
        let in_debt = matches!(flow, Some(Flow::Granted(taken)) if taken <= self.settings.capacity && units < -ROUNDING);
        ensure(!in_debt, 12, || {
            format!("bucket of {}: {units:.3} units are left by a grant", self.name)
        })?;
        self.level = Some((units, at));
        Ok(())
    }
}
