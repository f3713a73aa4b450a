//! Limiter rejections: the event and the caller's error message.

use std::time::Duration;

use super::Guards;
use crate::client::Core;
use crate::client::flight::Flight;
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, FailureClass, LimitLevels, LimitReject, Observer, Phase};

impl<T: Transport, O: Observer> Core<T, O> {
    /// Emits a rejection. [`rejection`] makes the caller's error.
    pub(super) fn emit_rejected(
        &self,
        guards: &Guards,
        flight: &Flight,
        reason: LimitReject,
        predicted: Option<Duration>,
        levels: Box<LimitLevels>,
    ) {
        flight.lock().retry_in = predicted;
        let kind = EventKind::LimitRejected {
            reason,
            predicted,
            waiting: guards.limiter.waiting(),
            levels: Some(levels),
        };
        self.emit(flight, kind);
    }
}

/// The error of a call that the limiter rejects.
pub(super) fn rejection(
    reason: LimitReject,
    predicted: Option<Duration>,
    levels: &LimitLevels,
    waiting: u32,
) -> Failure {
    let message = reason.message(waiting, predicted, levels);
    let phase = match reason {
        // no wait would help
        LimitReject::TooLarge | LimitReject::UserTooLarge => Phase::Final,
        _ => Phase::NotSent,
    };
    Failure::new(FailureClass::LimitRejected, phase, message)
}
