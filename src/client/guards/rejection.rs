//! What is told of whom the limiter turns away: the event, and the words for the caller with the remedy.

use std::time::Duration;

use super::Guards;
use crate::client::Core;
use crate::client::flight::Flight;
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, FailureClass, LimitLevels, LimitReject, Observer, Phase, UserId};

impl<T: Transport, O: Observer> Core<T, O> {
    /// The event; its failure is made by [`rejection`].
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

/// What a caller is told whom the limiter turned away.
pub(super) fn rejection(
    reason: LimitReject,
    predicted: Option<Duration>,
    saw: &LimitLevels,
    user: &UserId,
) -> Failure {
    let wait = predicted.map_or_else(String::new, |wait| {
        format!(", try again in {:.1}s", wait.as_secs_f64())
    });
    let tokens = saw.needs;
    let message = match reason {
        LimitReject::QueueFull => format!("rate limiter: the queue is full{wait}"),
        LimitReject::TooLarge => format!(
            "rate limiter: this call may need {tokens} tokens, but the bucket holds {}: lower max_tokens or raise limit.tokens.capacity",
            saw.tokens.capacity
        ),
        LimitReject::UserTooLarge => {
            let own = saw.user.as_ref();
            let whose = own.map_or(user, |own| &own.user);
            let capacity = own.and_then(|own| own.tokens).map_or(0, |level| level.capacity);
            format!(
                "rate limiter: this call may need {tokens} tokens, but the bucket of {whose} holds {capacity}: lower max_tokens or raise tokens.capacity in limit.each_user or limit.users"
            )
        }
        LimitReject::Displaced => format!(
            "rate limiter: the queue is full, and {user} has more calls in it than others: its last one made room"
        ),
        LimitReject::WaitTooLong if predicted.is_none() => {
            "rate limiter: waited as long as limit.max_wait allows".to_owned()
        }
        LimitReject::WaitTooLong => format!("rate limiter: the wait would be too long{wait}"),
        LimitReject::Deadline => format!("rate limiter: the deadline would pass in the queue{wait}"),
    };
    Failure::new(FailureClass::LimitRejected, Phase::NotSent, message)
}
