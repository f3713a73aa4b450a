//! Facts of a call other than its activity.

use super::fold::MAX_TEXT;
use super::{CacheVerdict, Call, Doing};
use crate::event::{CallId, Event, EventKind, Origin};
use crate::text::SafeText;
use crate::time::saturating_nanos;

/// Faults remembered of a call.
const MAX_INJECTED: usize = 16;

impl Call {
    /// Creates a call from `CallStarted`.
    pub(super) fn from_start(event: &Event, id: CallId) -> Option<Self> {
        let EventKind::CallStarted {
            origin,
            user,
            prompt,
            deadline,
            options,
            ..
        } = &event.kind
        else {
            return None;
        };
        Some(Self {
            id,
            origin: *origin,
            user: user.clone(),
            model: options.model.clone(),
            prompt: prompt.clone(),
            started_at: event.at,
            deadline: *deadline,
            ended_at: None,
            fate: None,
            doing: Doing::Starting,
            cache: None,
            semantic: None,
            flight: None,
            spans: Vec::new(),
            attempts: 0,
            status: None,
            ttft: None,
            usage: None,
            failure: None,
            stopped: None,
            injected: Vec::new(),
            finish: None,
            cached_text: SafeText::default(),
        })
    }

    pub(super) fn is_chat(&self) -> bool {
        match self.origin {
            Origin::Chat => true,
            Origin::Burst { .. } | Origin::Load { .. } | Origin::Library | Origin::Gateway => false,
        }
    }

    /// Records an event that does not change the activity of the call.
    pub(super) fn note_facts(&mut self, kind: &EventKind) {
        match kind {
            EventKind::CacheHit {
                age,
                saved,
                saved_time,
                text,
            } => {
                self.cache = Some(CacheVerdict::Hit {
                    age_ns: saturating_nanos(*age),
                    saved: *saved,
                    saved_ns: saturating_nanos(*saved_time),
                    replayed: false,
                });
                self.cached_text.push_within(text, MAX_TEXT);
            }
            EventKind::ResultReplayed { age, saved, text } => {
                self.cache = Some(CacheVerdict::Hit {
                    age_ns: saturating_nanos(*age),
                    saved: *saved,
                    saved_ns: 0,
                    replayed: true,
                });
                self.cached_text.push_within(text, MAX_TEXT);
            }
            EventKind::CacheMissed { reason, .. } => {
                self.cache = Some(CacheVerdict::Miss { reason: *reason });
            }
            EventKind::CacheBypassed { reason } => {
                self.cache = Some(CacheVerdict::Bypass { reason: *reason });
            }
            EventKind::FaultInjected { attempt, fault } => {
                if self.injected.len() < MAX_INJECTED {
                    self.injected.push((*attempt, *fault));
                }
            }
            semantic_events!() => self.note_semantic(kind),
            EventKind::AttemptResponded { status, .. } => self.status = Some(*status),
            EventKind::RetryStopped { reason, .. } => self.stopped = Some(*reason),
            frame_events!()
            | EventKind::PolicyApplied { .. }
            | EventKind::CacheStored { .. }
            | EventKind::CacheSkipped { .. }
            | EventKind::CacheEvicted { .. }
            | EventKind::CacheSwitched { .. }
            | EventKind::FlightStarted { .. }
            | EventKind::FlightJoined { .. }
            | EventKind::FlightHandedOver { .. }
            | EventKind::AttemptStarted { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::StreamDelta { .. }
            | EventKind::AttemptEnded { .. }
            | EventKind::RetryScheduled { .. }
            | call_events!()
            | limit_events!()
            | breaker_events!() => {}
        }
    }
}
