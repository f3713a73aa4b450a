//! Limiter rejections: the event and the caller's error message.

use std::time::Duration;

use super::Guards;
use crate::client::Core;
use crate::client::flight::Flight;
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, FailureClass, LimitLevels, LimitReject, Observer, Phase};

impl<T: Transport, O: Observer> Core<T, O> {
    /// Emits the event; [`rejection`] makes the caller's error.
    pub(super) fn note_rejected(
        &self,
        guards: &Guards,
        flight: &Flight,
        reason: LimitReject,
        predicted: Option<Duration>,
        saw: Box<LimitLevels>,
    ) {
        let kind = EventKind::LimitRejected {
            reason,
            predicted,
            waiting: guards.limiter.waiting(),
            saw: Some(saw),
        };
        self.note(flight, kind);
    }
}

/// The caller's error for a rejection.
pub(super) fn rejection(
    reason: LimitReject,
    predicted: Option<Duration>,
    saw: &LimitLevels,
    waiting: u32,
) -> Failure {
    let message = reason.message(waiting, predicted, saw);
    Failure::new(FailureClass::LimitRejected, Phase::NotSent, message)
}
