//! The breakers of one upstream: one for each model.
//!
//! An upstream may serve one model and fail at another, so each model is judged by its own outcomes. A model is
//! whatever a client writes, and a client may write anything:
//!
//! - At most [`MAX_MODELS`] models have a breaker of their own. Calls of further models, and calls without a model,
//!   share one.
//! - A new model takes the place of the one that was not used for the longest time, if that is [`UNUSED`] or more,
//!   no attempt of it runs and its open time is over. Its breaker is forgotten: [`MoveReason::Unused`].
//! - Settings, the mode and a reset apply to all of them.

use std::time::Duration;

use super::breaker::{Acquired, Breaker, Permit, SettledPermit, Transition};
use crate::event::{BreakerMode, BreakerState, MAX_MODELS, ModelName, MoveReason, Sample};
use crate::settings::BreakerSettings;
use crate::time::Timestamp;

/// The time after which the breaker of a model gives way to that of another one.
pub const UNUSED: Duration = Duration::from_mins(10);

/// See the module documentation.
#[derive(Debug)]
pub struct Breakers {
    settings: BreakerSettings,
    mode: BreakerMode,
    seed: u64,
    /// Number of models so far: each breaker draws the jitter of its open times from a seed of its own.
    models: u64,
    named: Vec<ModelBreaker>,
    /// The breaker of calls without a model and of models without a place.
    others: ModelBreaker,
}

/// The breaker of a model.
#[derive(Debug)]
pub struct ModelBreaker {
    /// The model; `None` for the breaker that the others share.
    pub model: Option<ModelName>,
    breaker: Breaker,
    /// False until the first call: nothing of it was emitted yet.
    is_used: bool,
    used_at: Timestamp,
    /// Permits out.
    permits: u32,
}

/// The place of a breaker among the others: valid as long as a permit of it is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(Option<usize>);

/// A transition of the breaker of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The model; `None` for the breaker that the others share.
    pub model: Option<ModelName>,
    /// The change.
    pub transition: Transition,
}

impl Breakers {
    /// Returns breakers that are all closed. `model` is the model of calls that name no other, if known: it has a
    /// breaker from the start, which can be forced before the first call.
    pub fn new(settings: &BreakerSettings, seed: u64, model: Option<ModelName>, now: Timestamp) -> Self {
        let mut breakers = Self {
            settings: settings.clone(),
            mode: BreakerMode::Automatic,
            seed,
            models: 0,
            named: Vec::new(),
            others: ModelBreaker::new(None, Breaker::new(settings, seed, now), now),
        };
        if let Some(model) = model {
            let breaker = breakers.make(model, now);
            breakers.named.push(breaker);
        }
        breakers
    }

    /// The known name that is equal to `model`.
    pub fn name(&self, model: &str) -> Option<&ModelName> {
        let names = self.named.iter().filter_map(|one| one.model.as_ref());
        names.into_iter().find(|name| name.as_str() == model)
    }

    /// The place of the breaker of a model, and the transitions that giving it one caused.
    pub fn place(&mut self, now: Timestamp, model: Option<&ModelName>) -> (Place, Vec<Moved>) {
        let mut moves = Vec::new();
        let known = |one: &ModelBreaker| one.model.as_ref() == model;
        let place = model.and_then(|model| match self.named.iter().position(known) {
            Some(place) => Some(place),
            None => self.add(model, now, &mut moves),
        });
        let place = Place(place);
        if !self.at(place).is_used {
            let (settings, mode) = (self.settings.clone(), self.mode);
            moves.extend(self.at(place).begin(&settings, mode, now));
        }
        let found = self.at(place);
        found.used_at = found.used_at.max(now);
        (place, moves)
    }

    /// The breaker at a place.
    pub fn at(&mut self, Place(place): Place) -> &mut ModelBreaker {
        let named = place.and_then(|place| self.named.get_mut(place));
        named.unwrap_or(&mut self.others)
    }

    /// Adopts new settings: see [`Breaker::configure`].
    pub fn configure(&mut self, settings: &BreakerSettings, now: Timestamp) -> Vec<Moved> {
        self.settings = settings.clone();
        self.change(|breaker| breaker.configure(settings, now))
    }

    /// Forces all breakers open or closed, or releases them to automatic.
    pub fn force(&mut self, now: Timestamp, mode: BreakerMode) -> Vec<Moved> {
        self.mode = mode;
        self.ensure_used(now);
        self.change(|breaker| breaker.force(now, mode))
    }

    /// Releases and closes all breakers, and clears their windows. Returns true if they were forced before.
    pub fn reset(&mut self, now: Timestamp) -> (Vec<Moved>, bool) {
        let released = std::mem::take(&mut self.mode) != BreakerMode::Automatic;
        self.ensure_used(now);
        let moves = self.change(|breaker| Some(breaker.reset(now).transition));
        (moves, released)
    }

    /// Applies a change to the breakers in use. The others follow when they are used for the first time.
    fn change(&mut self, mut change: impl FnMut(&mut Breaker) -> Option<Transition>) -> Vec<Moved> {
        let all = self.named.iter_mut().chain([&mut self.others]);
        let used = all.filter(|one| one.is_used);
        used.filter_map(|one| change(&mut one.breaker).map(|transition| one.moved(transition)))
            .collect()
    }

    /// A change before the first call is that of the first breaker.
    fn ensure_used(&mut self, now: Timestamp) {
        if !self.others.is_used && self.named.iter().all(|one| !one.is_used) {
            let first = self.named.first_mut().unwrap_or(&mut self.others);
            let _still_closed = first.begin(&self.settings, BreakerMode::Automatic, now);
        }
    }

    /// A breaker for a model that has none; `None` if there is no place.
    fn add(&mut self, model: &ModelName, now: Timestamp, moves: &mut Vec<Moved>) -> Option<usize> {
        if self.named.len() < MAX_MODELS {
            let breaker = self.make(model.clone(), now);
            self.named.push(breaker);
            return Some(self.named.len() - 1);
        }
        let unused = self
            .named
            .iter()
            .enumerate()
            .filter(|(_, one)| one.gives_way(now));
        let (place, _) = unused.min_by_key(|(_, one)| one.used_at)?;
        let breaker = self.make(model.clone(), now);
        let unused = std::mem::replace(self.named.get_mut(place)?, breaker);
        if unused.is_used {
            moves.push(unused.forgotten(now));
        }
        Some(place)
    }

    fn make(&mut self, model: ModelName, now: Timestamp) -> ModelBreaker {
        let breaker = Breaker::new(&self.settings, self.seed.wrapping_add(self.models), now);
        self.models += 1;
        ModelBreaker::new(Some(model), breaker, now)
    }
}

impl ModelBreaker {
    fn new(model: Option<ModelName>, breaker: Breaker, now: Timestamp) -> Self {
        Self {
            model,
            breaker,
            is_used: false,
            used_at: now,
            permits: 0,
        }
    }

    /// The first use: it adopts what was set before it.
    fn begin(&mut self, settings: &BreakerSettings, mode: BreakerMode, now: Timestamp) -> Option<Moved> {
        self.is_used = true;
        let _still_closed = self.breaker.configure(settings, now);
        let transition = self.breaker.force(now, mode)?;
        Some(self.moved(transition))
    }

    /// The breaker.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// See [`Breaker::acquire`].
    pub fn acquire(&mut self, now: Timestamp) -> Acquired {
        let acquired = self.breaker.acquire(now);
        self.permits += u32::from(acquired.permit.is_ok());
        acquired
    }

    /// See [`Breaker::first_token`].
    pub fn first_token(&mut self, now: Timestamp, permit: &mut Permit) {
        self.breaker.first_token(now, permit);
    }

    /// See [`Breaker::settle`].
    pub fn settle(
        &mut self,
        now: Timestamp,
        permit: Permit,
        sample: Sample,
        hint: Option<Timestamp>,
    ) -> SettledPermit {
        self.permits = self.permits.saturating_sub(1);
        self.used_at = self.used_at.max(now);
        self.breaker.settle(now, permit, sample, hint)
    }

    /// See [`Breaker::continue_stream`].
    pub fn continue_stream(&mut self) -> Option<Permit> {
        let permit = self.breaker.continue_stream();
        self.permits += u32::from(permit.is_some());
        permit
    }

    /// A transition of this breaker.
    pub fn moved(&self, transition: Transition) -> Moved {
        Moved {
            model: self.model.clone(),
            transition,
        }
    }

    fn gives_way(&self, now: Timestamp) -> bool {
        let is_over = self.breaker.until().is_none_or(|until| until <= now);
        self.permits == 0 && is_over && now.since(self.used_at) >= UNUSED
    }

    fn forgotten(&self, now: Timestamp) -> Moved {
        self.moved(Transition {
            from: self.breaker.state(),
            to: BreakerState::Closed,
            generation: self.breaker.generation() + 1,
            reason: MoveReason::Unused,
            until: None,
            window: self.breaker.window(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn breakers() -> Breakers {
        let settings = BreakerSettings {
            consecutive: 2,
            open_jitter: 0.0,
            ..BreakerSettings::default()
        };
        Breakers::new(&settings, 1, None, at(0))
    }

    fn model(name: &str) -> Option<ModelName> {
        ModelName::new(name)
    }

    /// An attempt of this model; false if it was refused. With its moves.
    fn attempt(breakers: &mut Breakers, second: u64, name: &str, sample: Sample) -> (bool, Vec<Moved>) {
        let (place, mut moves) = breakers.place(at(second), model(name).as_ref());
        let one = breakers.at(place);
        let acquired = one.acquire(at(second));
        moves.extend(acquired.transition.map(|step| one.moved(step)));
        let Ok(permit) = acquired.permit else {
            return (false, moves);
        };
        let settled = one.settle(at(second), permit, sample, None);
        moves.extend(settled.transition.map(|step| one.moved(step)));
        (true, moves)
    }

    fn names(moves: &[Moved]) -> Vec<(Option<&str>, BreakerState, MoveReason)> {
        let name = |one: &Moved| (one.transition.to, one.transition.reason);
        let all = moves.iter().map(|one| (one.model.as_ref(), name(one)));
        all.map(|(model, (to, reason))| (model.map(ModelName::as_str), to, reason))
            .collect()
    }

    #[test]
    fn a_failing_model_opens_its_breaker_alone() {
        let mut breakers = breakers();
        let mut moves = Vec::new();
        for _ in 0..2 {
            assert!(attempt(&mut breakers, 1, "good", Sample::Ok).0);
            let (admitted, moved) = attempt(&mut breakers, 1, "bad", Sample::Failed);
            assert!(admitted);
            moves.extend(moved);
        }
        let opened = (Some("bad"), BreakerState::Open, MoveReason::Consecutive);
        assert_eq!(names(&moves), [opened]);
        assert!(!attempt(&mut breakers, 2, "bad", Sample::Ok).0);
        assert!(attempt(&mut breakers, 2, "good", Sample::Ok).0);
        // calls without a model have a breaker too
        assert!(attempt(&mut breakers, 2, "", Sample::Ok).0);
        // half-open, and good outcomes of the other model close nothing
        let (admitted, moves) = attempt(&mut breakers, 10, "bad", Sample::Ok);
        let half_open = (Some("bad"), BreakerState::HalfOpen, MoveReason::CoolDown);
        assert!(admitted);
        assert_eq!(names(&moves), [half_open]);
        for _ in 0..5 {
            assert_eq!(attempt(&mut breakers, 10, "good", Sample::Ok), (true, Vec::new()));
        }
        let (_, moves) = attempt(&mut breakers, 10, "bad", Sample::Ok);
        let closed = (Some("bad"), BreakerState::Closed, MoveReason::ProbesSucceeded);
        assert_eq!(names(&moves), [closed]);
    }

    #[test]
    fn a_flood_of_names_stays_bounded_and_takes_nothing_from_a_model_in_use() {
        let mut breakers = breakers();
        let (place, _) = breakers.place(at(0), model("bad").as_ref());
        for _ in 0..2 {
            attempt(&mut breakers, 0, "bad", Sample::Failed);
        }
        for number in 0..10_000 {
            let (admitted, moves) = attempt(&mut breakers, 0, &format!("invented-{number}"), Sample::Ok);
            assert!(admitted && moves.is_empty());
        }
        assert_eq!(breakers.named.len(), MAX_MODELS);
        assert_eq!(breakers.place(at(1), model("bad").as_ref()).0, place);
        assert!(!attempt(&mut breakers, 1, "bad", Sample::Ok).0);
        // models without a place share one breaker
        for name in ["late", "later"] {
            attempt(&mut breakers, 1, name, Sample::Failed);
        }
        assert!(!attempt(&mut breakers, 1, "latest", Sample::Ok).0);
        assert!(!attempt(&mut breakers, 1, "", Sample::Ok).0);
    }

    #[test]
    fn a_model_that_was_not_used_for_long_gives_way() {
        let mut breakers = breakers();
        let first = model("model-0");
        for number in 0..MAX_MODELS {
            attempt(&mut breakers, 0, &format!("model-{number}"), Sample::Ok);
        }
        let (place, _) = breakers.place(at(0), first.as_ref());
        let permit = breakers.at(place).acquire(at(0)).permit.unwrap();
        // the second is open for longer than it is unused, the third was used
        let hour = at(3600);
        for (sample, hint) in [(Sample::Failed, None), (Sample::Failed, Some(hour))] {
            let (place, _) = breakers.place(at(1), model("model-1").as_ref());
            let open = breakers.at(place);
            let permit = open.acquire(at(1)).permit.unwrap();
            let _settled = open.settle(at(1), permit, sample, hint);
        }
        attempt(&mut breakers, 500, "model-2", Sample::Ok);
        assert_eq!(attempt(&mut breakers, 599, "new", Sample::Ok), (true, Vec::new()));
        let (_, moves) = attempt(&mut breakers, 600, "new", Sample::Ok);
        let forgotten = (Some("model-3"), BreakerState::Closed, MoveReason::Unused);
        assert_eq!(names(&moves), [forgotten]);
        assert_eq!(attempt(&mut breakers, 600, "new", Sample::Ok), (true, Vec::new()));
        let _settled = breakers.at(place).settle(at(700), permit, Sample::Ok, None);
        assert_eq!(breakers.named.len(), MAX_MODELS);
    }

    #[test]
    fn commands_act_on_all_and_on_those_that_come_later() {
        let mut breakers = breakers();
        let open = |name| (name, BreakerState::Open, MoveReason::Manual);
        let closed = |name| (name, BreakerState::Closed, MoveReason::Manual);
        // before the first call there is one breaker
        assert_eq!(
            names(&breakers.force(at(0), BreakerMode::ForcedOpen)),
            [open(None)]
        );
        let (admitted, moves) = attempt(&mut breakers, 1, "a", Sample::Ok);
        assert!(!admitted);
        assert_eq!(names(&moves), [open(Some("a"))]);
        let (moves, released) = breakers.reset(at(2));
        assert!(released);
        assert_eq!(names(&moves), [closed(Some("a")), closed(None)]);
        assert!(attempt(&mut breakers, 3, "b", Sample::Ok).0);
        let settings = BreakerSettings {
            consecutive: 1,
            ..BreakerSettings::default()
        };
        assert!(breakers.configure(&settings, at(4)).is_empty());
        for name in ["a", "b", "c"] {
            let (_, moves) = attempt(&mut breakers, 5, name, Sample::Failed);
            assert_eq!(
                names(&moves),
                [(Some(name), BreakerState::Open, MoveReason::Consecutive)]
            );
        }
    }

    #[test]
    fn a_breaker_that_was_not_used_follows_at_its_first_use() {
        let mut breakers = Breakers::new(&BreakerSettings::default(), 1, model("m"), at(0));
        let off = BreakerSettings {
            enabled: false,
            ..BreakerSettings::default()
        };
        assert!(breakers.configure(&off, at(0)).is_empty());
        assert!(breakers.force(at(0), BreakerMode::ForcedOpen).is_empty());
        let open = |name| (name, BreakerState::Open, MoveReason::Manual);
        let moves = breakers.configure(&BreakerSettings::default(), at(1));
        assert_eq!(names(&moves), [open(Some("m"))]);
        let (admitted, moves) = attempt(&mut breakers, 2, "", Sample::Ok);
        assert!(!admitted);
        assert_eq!(names(&moves), [open(None)]);
    }

    #[test]
    fn the_model_known_from_the_start_is_the_one_that_commands_act_on() {
        let mut breakers = Breakers::new(&BreakerSettings::default(), 1, model("m"), at(0));
        let moves = breakers.force(at(0), BreakerMode::ForcedOpen);
        assert_eq!(
            names(&moves),
            [(Some("m"), BreakerState::Open, MoveReason::Manual)]
        );
        assert_eq!(breakers.name("m"), model("m").as_ref());
        assert!(!attempt(&mut breakers, 1, "m", Sample::Ok).0);
    }
}
