//! Log lines of the guards: cache, flights, limiter and breaker.

use super::LogKind;
use super::sentence::{About, Sentence, upstream_name};
use crate::event::{BreakerState, EventKind, EvictReason, MoveReason, NearMiss, Origin, WindowCounts};
use crate::text::units;

impl About<'_> {
    /// A call that a guard did not let through, or only its retry.
    fn not_sent(&self, kind: LogKind, why: &str) -> (LogKind, String) {
        let id = self.id;
        if self.call().is_some_and(|call| call.attempts > 0) {
            (LogKind::Retry, format!("{id} not retried: {why}"))
        } else {
            (kind, format!("{id} {why}"))
        }
    }

    pub(super) fn cache(&self, kind: &EventKind) -> Sentence {
        let id = self.id;
        match kind {
            EventKind::CacheHit { saved, .. } => Some((
                LogKind::Hit,
                format!("{id} exact hit, {} tokens saved", saved.total()),
            )),
            EventKind::CacheEvicted { reason, removed, .. } => match reason {
                EvictReason::Cleared => Some((
                    LogKind::Note,
                    format!("cache cleared, {} removed", units::count(*removed, "answer")),
                )),
                EvictReason::Expired | EvictReason::Capacity | EvictReason::Labelled => None,
            },
            EventKind::CacheSwitched { on } => {
                Some((LogKind::Note, format!("cache {}", if *on { "on" } else { "off" })))
            }
            EventKind::CacheMissed {
                nearest: Some(nearest),
                ..
            } => self.near_miss(nearest),
            EventKind::CacheMissed { nearest: None, .. }
            | EventKind::CacheBypassed { .. }
            | EventKind::CacheStored { .. }
            | EventKind::CacheSkipped { .. }
            | session_events!()
            | call_events!()
            | semantic_events!()
            | flight_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => None,
        }
    }

    /// For chat calls only: a burst would fill the log.
    fn near_miss(&self, nearest: &NearMiss) -> Sentence {
        let chat = self.call().is_some_and(|call| call.origin == Origin::Chat);
        let diff = nearest
            .differs
            .first()
            .filter(|diff| !diff.is_another_question())?;
        (chat && nearest.fields == 1).then(|| {
            let text = format!(
                "{} missed: only the {} differs from {}",
                self.id,
                diff.brief(),
                nearest.source
            );
            (LogKind::Note, text)
        })
    }

    pub(super) fn flight(&self, kind: &EventKind) -> Sentence {
        let id = self.id;
        match kind {
            EventKind::ResultReplayed { saved, .. } => Some((
                LogKind::Hit,
                format!("{id} replayed, {} tokens saved", saved.total()),
            )),
            EventKind::FlightHandedOver { from, .. } => {
                Some((LogKind::Shared, format!("{id} took over the flight of {from}")))
            }
            EventKind::FlightStarted { .. }
            | EventKind::FlightJoined { .. }
            | session_events!()
            | call_events!()
            | cache_events!()
            | semantic_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => None,
        }
    }

    pub(super) fn limit(&self, kind: &EventKind) -> Sentence {
        let id = self.id;
        match kind {
            EventKind::LimitQueued {
                constraint,
                ready_at,
                waiting: 1,
                ..
            } => {
                let next = ready_at.map_or(String::new(), |ready_at| {
                    format!(", next admission in {}", units::duration(self.at.until(ready_at)))
                });
                Some((
                    LogKind::Bucket,
                    format!("{id} queued for {}{next}", constraint.sentence()),
                ))
            }
            EventKind::LimitRejected {
                reason,
                predicted,
                waiting,
                ..
            } => {
                let why = reason.sentence(*waiting, *predicted);
                Some(self.not_sent(LogKind::Limited, &why))
            }
            EventKind::LimitPaused { until } => Some((
                LogKind::Bucket,
                format!(
                    "paused for {}, requested by the server",
                    units::duration(self.at.until(*until))
                ),
            )),
            EventKind::LimitQueued { .. }
            | EventKind::LimitAdmitted { .. }
            | EventKind::LimitSettled { .. }
            | EventKind::LimitLeft { .. }
            | EventKind::LimitHeadChanged { .. }
            | session_events!()
            | call_events!()
            | cache_events!()
            | semantic_events!()
            | flight_events!()
            | breaker_events!()
            | attempt_events!() => None,
        }
    }

    pub(super) fn breaker(&self, kind: &EventKind) -> Sentence {
        match kind {
            EventKind::BreakerRefused { model, until, .. } => {
                let of = self.views.breakers.name(model.as_ref());
                let of = of.map_or(String::new(), |model| format!(" for {model}"));
                let next = until.map_or(String::new(), |until| {
                    format!(", probe in {}", units::duration(self.at.until(until)))
                });
                Some(self.not_sent(LogKind::Refused, &format!("circuit open{of}{next}")))
            }
            EventKind::BreakerMoved {
                model,
                to,
                reason,
                until,
                window,
                ..
            } => {
                let name = self.before.upstream.as_ref().map_or("", upstream_name);
                let what = match to {
                    BreakerState::Open => {
                        let cool_down = until.map_or(String::new(), |until| {
                            format!(", cool-down {}", units::duration(self.at.until(until)))
                        });
                        format!("open: {}{cool_down}", self.trip(*reason, *window))
                    }
                    BreakerState::HalfOpen => "half-open, a few probes pass".to_owned(),
                    BreakerState::Closed if *reason == MoveReason::Manual => "reset".to_owned(),
                    BreakerState::Closed if *reason == MoveReason::Unused => "unused, forgotten".to_owned(),
                    BreakerState::Closed => "closed, upstream recovered".to_owned(),
                };
                let model = self.views.breakers.name(model.as_ref()).unwrap_or_default();
                let names = ["breaker", name, model]
                    .into_iter()
                    .filter(|name| !name.is_empty());
                let names = names.collect::<Vec<_>>().join(" ");
                Some((LogKind::Breaker, format!("{names}: {what}")))
            }
            EventKind::BreakerForced { mode } => Some((LogKind::Breaker, mode.sentence().to_owned())),
            EventKind::BreakerAdmitted { .. }
            | EventKind::BreakerRecorded { .. }
            | session_events!()
            | call_events!()
            | cache_events!()
            | semantic_events!()
            | flight_events!()
            | limit_events!()
            | attempt_events!() => None,
        }
    }

    /// The reason for opening, with the share that exceeded its limit.
    fn trip(&self, reason: MoveReason, window: WindowCounts) -> String {
        let policy = &self.before.policy.breaker;
        let (part, limit) = match reason {
            MoveReason::FailureRate => (window.failed, policy.failure_rate),
            MoveReason::SlowRate => (window.slow, policy.slow_rate),
            _ => return reason.sentence(window),
        };
        let share = f64::from(part) / f64::from(window.total.max(1));
        let (share, limit) = (units::rate(share), units::rate(limit));
        format!("{} ({share} >= {limit})", reason.sentence(window))
    }
}
