//! What the guards say: cache, flights, limiter and breaker.

use super::LogKind;
use super::sentence::{About, Sentence, count, seconds, upstream_name};
use crate::event::{
    BreakerMode, BreakerState, Constraint, EventKind, EvictReason, LimitReject, MoveReason, NearMiss, Origin,
    WindowCounts,
};

impl About<'_> {
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
                    format!("cache cleared, {} gone", count(*removed, "answer")),
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

    /// Of a person's own question only: a burst would fill the log.
    fn near_miss(&self, nearest: &NearMiss) -> Sentence {
        let chat = self.call.is_some_and(|call| call.origin == Origin::Chat);
        let diff = nearest
            .differs
            .first()
            .filter(|diff| !diff.is_another_question())?;
        (chat && nearest.fields == 1).then(|| {
            let text = format!(
                "{} missed: only the {} is not that of {}",
                self.id,
                diff.label(),
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
                Some((LogKind::Shared, format!("{id} goes on with the flight of {from}")))
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
                let what = match constraint {
                    Constraint::Requests => "requests short",
                    Constraint::Tokens => "tokens short",
                    Constraint::Slots => "all slots in use",
                    Constraint::Paused => "paused",
                    Constraint::UserRequests => "the user's requests short",
                    Constraint::UserTokens => "the user's tokens short",
                };
                let next = ready_at.map_or(String::new(), |ready_at| {
                    format!(", next admit in {}", seconds(self.at.until(ready_at)))
                });
                Some((LogKind::Bucket, format!("{what}: {id} queued{next}")))
            }
            EventKind::LimitRejected {
                reason,
                predicted,
                waiting,
                ..
            } => {
                let why = match reason {
                    LimitReject::QueueFull => format!("the queue is full ({waiting} waiting)"),
                    LimitReject::TooLarge => "needs more than the bucket can hold".to_owned(),
                    LimitReject::WaitTooLong => match predicted {
                        Some(wait) => format!("would wait {}", seconds(*wait)),
                        None => "waited as long as it may".to_owned(),
                    },
                    LimitReject::UserTooLarge => "needs more than its user's bucket can hold".to_owned(),
                    LimitReject::Displaced => {
                        "the queue is full, and other users have fewer calls in it".to_owned()
                    }
                    LimitReject::Deadline => "its deadline would pass in the queue".to_owned(),
                };
                Some((LogKind::Refuse, format!("{id} turned away by the limiter: {why}")))
            }
            EventKind::LimitPaused { until } => Some((
                LogKind::Bucket,
                format!(
                    "paused for {}: the server asks for it",
                    seconds(self.at.until(*until))
                ),
            )),
            EventKind::LimitQueued { .. }
            | EventKind::LimitAdmitted { .. }
            | EventKind::LimitSettled { .. }
            | EventKind::LimitLeft { .. }
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
        let id = self.id;
        match kind {
            EventKind::BreakerRefused { until, .. } => {
                let next = until.map_or(String::new(), |until| {
                    format!(", probe in {}", seconds(self.at.until(until)))
                });
                Some((LogKind::Refuse, format!("{id} refused: breaker open{next}")))
            }
            EventKind::BreakerMoved {
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
                            format!(", cool-down {}", seconds(self.at.until(until)))
                        });
                        format!("{}{cool_down}", self.trip(*reason, window))
                    }
                    BreakerState::HalfOpen => "half-open, one probe may pass".to_owned(),
                    BreakerState::Closed if *reason == MoveReason::Manual => "closed by hand".to_owned(),
                    BreakerState::Closed => "closed, the upstream is back".to_owned(),
                };
                let gap = if name.is_empty() { "" } else { " " };
                Some((LogKind::Breaker, format!("breaker{gap}{name}: {what}")))
            }
            EventKind::BreakerForced { mode } => {
                let what = match mode {
                    BreakerMode::Automatic => "breaker decides by itself again",
                    BreakerMode::ForcedOpen => "breaker held open by hand",
                    BreakerMode::ForcedClosed => "breaker held closed by hand",
                };
                Some((LogKind::Breaker, what.to_owned()))
            }
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

    /// Why it opened.
    fn trip(&self, reason: MoveReason, window: &WindowCounts) -> String {
        let policy = &self.before.policy.breaker;
        let percent = |part: u32| f64::from(part) * 100.0 / f64::from(window.total.max(1));
        match reason {
            MoveReason::FailureRate => format!(
                "{}/{} failed ({:.0}%) >= {:.0}%",
                window.failed,
                window.total,
                percent(window.failed),
                policy.failure_rate * 100.0
            ),
            MoveReason::SlowRate => format!(
                "{}/{} slow ({:.0}%) >= {:.0}%",
                window.slow,
                window.total,
                percent(window.slow),
                policy.slow_rate * 100.0
            ),
            MoveReason::Consecutive => format!("{} failures in a row", window.consecutive),
            MoveReason::ProbeFailed => "probe failed, open again".to_owned(),
            MoveReason::Manual => "opened by hand".to_owned(),
            MoveReason::CoolDown | MoveReason::ProbesSucceeded => "open".to_owned(),
        }
    }
}
