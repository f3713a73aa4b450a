//! The timeline of a call: its activities, one span after the other.

use super::{Call, Doing, Span, SpanKind};
use crate::time::Timestamp;

/// Spans of a timeline; the oldest are dropped first.
const MAX_SPANS: usize = 64;

impl Call {
    /// Closes the open span, if any, and starts the one for `doing`, if any.
    pub(super) fn enter(&mut self, doing: Doing, at: Timestamp, label: String) {
        self.close(at, label);
        self.doing = doing;
        if let Some(kind) = span_of(&doing) {
            if self.spans.len() >= MAX_SPANS {
                self.spans.remove(0);
            }
            self.spans.push(Span {
                kind,
                from: at,
                to: None,
                label: String::new(),
            });
        }
    }

    fn close(&mut self, at: Timestamp, label: String) {
        if let Some(span) = self.spans.last_mut()
            && span.to.is_none()
        {
            span.to = Some(at);
            span.label = label;
        }
    }
}

/// The kind of span for an activity.
fn span_of(doing: &Doing) -> Option<SpanKind> {
    match doing {
        Doing::Queued => Some(SpanKind::Queued),
        Doing::Waiting => Some(SpanKind::Waiting),
        Doing::Streaming => Some(SpanKind::Streaming),
        Doing::BackingOff { .. } => Some(SpanKind::BackOff),
        Doing::Following { .. } => Some(SpanKind::Following),
        Doing::Starting | Doing::Ended => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CallId, Constraint, EventKind, FailureClass, Fate, FlightId, Origin};
    use crate::state::fixture::{
        Story, admitted, attempt, delta, ended, failed, first_token, queued, retry, started, succeeded,
    };

    /// `(kind, from, to, label)`, times in milliseconds.
    fn lane(story: &Story, call: u64) -> Vec<(SpanKind, u64, Option<u64>, String)> {
        let state = story.state();
        let millis = |at: Timestamp| at.0 / 1_000_000;
        let spans = state.calls.recent[&CallId(call)].spans.iter();
        spans
            .map(|span| {
                (
                    span.kind,
                    millis(span.from),
                    span.to.map(millis),
                    span.label.clone(),
                )
            })
            .collect()
    }

    fn row(kind: SpanKind, from: u64, to: u64, label: &str) -> (SpanKind, u64, Option<u64>, String) {
        (kind, from, Some(to), label.to_owned())
    }

    #[test]
    fn a_call_with_two_retries() {
        let mut story = Story::begin();
        story.at(1.0).call(1, Origin::Chat);
        story.emit(1, queued(Constraint::Tokens, Some(1.4), 1));
        let now = story.at(1.4).now;
        story.emit(1, admitted(now, 1, 0)).emit(1, attempt(1, 1));
        let now = story.at(1.6).now;
        story.emit(1, failed(1, FailureClass::RateLimited, Some(429), 200));
        story.emit(1, retry(2, FailureClass::RateLimited, now, 1000, Some(1)));
        story.at(2.6).emit(1, attempt(2, 1));
        let now = story.at(5.6).now;
        story.emit(1, failed(2, FailureClass::HeaderTimeout, None, 3000));
        story.emit(1, retry(3, FailureClass::HeaderTimeout, now, 400, None));
        story.at(6.0).emit(1, attempt(3, 1));
        story.at(6.3).emit(1, first_token(3, 300)).emit(1, delta("it "));
        story.at(6.5).emit(1, delta("works")).emit(1, succeeded(3, 500));
        story.emit(1, ended(Fate::Answered, 3, 5500));
        let expected = [
            row(SpanKind::Queued, 1000, 1400, ""),
            row(SpanKind::Waiting, 1400, 1600, "429"),
            row(SpanKind::BackOff, 1600, 2600, ""),
            row(SpanKind::Waiting, 2600, 5600, "TMO"),
            row(SpanKind::BackOff, 5600, 6000, ""),
            row(SpanKind::Waiting, 6000, 6300, ""),
            row(SpanKind::Streaming, 6300, 6500, ""),
        ];
        assert_eq!(lane(&story, 1), expected);
        let state = story.state();
        let call = &state.calls.recent[&CallId(1)];
        assert_eq!((call.attempts, call.fate), (3, Some(Fate::Answered)));
        assert_eq!(state.calls.answer(call), "it works");
    }

    #[test]
    fn the_end_of_a_call_closes_what_is_open_and_says_why() {
        let mut story = Story::begin();
        story.call(1, Origin::Chat).emit(1, attempt(1, 1));
        assert_eq!(lane(&story, 1), [(SpanKind::Waiting, 0, None, String::new())]);
        story.at(2.0).emit(1, ended(Fate::Failed, 1, 2000));
        assert_eq!(lane(&story, 1), [row(SpanKind::Waiting, 0, 2000, "500")]);
    }

    #[test]
    fn an_heir_goes_on_with_what_the_owner_did() {
        for ends_first in [true, false] {
            let mut story = Story::begin();
            story.call(1, Origin::Chat);
            story.emit(2, started(2, Origin::Chat, story.now));
            let (flight, owner) = (FlightId(1), CallId(1));
            let subscribers = 2;
            story.emit(
                2,
                EventKind::FlightJoined {
                    flight,
                    owner,
                    subscribers,
                },
            );
            story
                .at(1.0)
                .emit(1, queued(Constraint::Tokens, Some(9.0), 1))
                .at(2.0);
            let over = EventKind::FlightHandedOver { flight, from: owner };
            if ends_first {
                story.emit(1, ended(Fate::Cancelled, 0, 2000)).emit(2, over);
            } else {
                story.emit(2, over).emit(1, ended(Fate::Cancelled, 0, 2000));
            }
            let state = story.state();
            assert_eq!(state.calls.recent[&CallId(2)].doing, Doing::Queued);
            let head = state.limit.head.map(|head| (head.call, head.constraint));
            assert_eq!(head, Some((CallId(2), Constraint::Tokens)));
            assert_eq!((state.calls.totals.queued, state.calls.totals.following), (1, 0));
            assert!(state.limit.waiters.keys().eq([&CallId(2)]));
            let shared = &state.calls.flights[&flight];
            assert_eq!((shared.owner, shared.subscribers), (CallId(2), 1));
            story.at(3.0);
            let expected = [
                row(SpanKind::Following, 0, 2000, ""),
                (SpanKind::Queued, 2000, None, String::new()),
            ];
            assert_eq!(lane(&story, 2), expected);
        }
    }

    #[test]
    fn a_long_lane_keeps_its_end() {
        let mut story = Story::begin();
        story.call(1, Origin::Chat);
        for number in 1..=100 {
            story.at(f64::from(number)).emit(1, attempt(number, 1));
        }
        let lane = lane(&story, 1);
        assert_eq!((lane.len(), lane[63].1), (64, 100_000));
    }
}
