//! The wording of every reason, once: screens, logs, stories, reports and errors all use it.
//!
//! `brief()` is a label for columns. `sentence()` is a clause that follows a colon; it fits a running session and
//! a recorded one alike.

use std::time::Duration;

use super::{
    BreakerMode, BreakerState, BypassReason, Constraint, DiffKind, Failure, FailureClass, Fate, FieldDiff,
    Finish, LimitLevels, LimitReject, MissReason, MoveReason, Objection, SemanticGuard, SemanticMiss,
    SkipReason, StopReason, WindowCounts,
};
use crate::text::units;

impl Fate {
    /// Label of at most eight characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Hit => "cached",
            Self::Shared => "shared",
            Self::RateLimited => "limited",
            Self::CircuitOpen => "refused",
            Self::Failed => "failed",
            Self::Interrupted => "cut off",
            Self::Cancelled => "stopped",
        }
    }

    /// The fate as a clause.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Hit => "served from a stored answer",
            Self::Shared => "served by a shared flight",
            Self::RateLimited => "rate limited",
            Self::CircuitOpen => "circuit open",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }
}

impl LimitReject {
    /// Label of at most twelve characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::QueueFull => "queue full",
            Self::TooLarge => "too large",
            Self::WaitTooLong => "wait limit",
            Self::Deadline => "deadline",
            Self::UserTooLarge => "user limit",
            Self::Displaced => "displaced",
        }
    }

    /// The reason for a rejection, with the number of waiters and the forecast of its wait.
    pub fn sentence(self, waiting: u32, predicted: Option<Duration>) -> String {
        match (self, predicted.map(units::precise)) {
            (Self::QueueFull, _) => format!("queue full ({waiting} waiting)"),
            (Self::TooLarge, _) => "the prompt has more tokens than the bucket holds".to_owned(),
            (Self::UserTooLarge, _) => "the prompt has more tokens than the user's bucket holds".to_owned(),
            (Self::WaitTooLong, Some(wait)) => format!("forecast wait {wait} exceeds limit.max_wait"),
            (Self::WaitTooLong, None) => "waited for limit.max_wait".to_owned(),
            (Self::Deadline, Some(wait)) => format!("forecast wait {wait} exceeds the deadline"),
            (Self::Deadline, None) => "the deadline would pass in the queue".to_owned(),
            (Self::Displaced, _) => "queue full, displaced by a user with fewer waiting calls".to_owned(),
        }
    }

    /// The message for the caller: the sentence, the numbers of the bucket and the remedy.
    pub fn message(self, waiting: u32, predicted: Option<Duration>, levels: &LimitLevels) -> String {
        let user = levels
            .user
            .as_ref()
            .and_then(|user| Some((&user.user, user.tokens?)));
        let detail = match (self, predicted, user) {
            (Self::QueueFull, Some(wait), _) => format!("; retry in {}", units::precise(wait)),
            (Self::TooLarge, ..) => format!(
                ": needs {}, holds {}; shorten the prompt or raise limit.tokens.capacity",
                levels.needs, levels.tokens.capacity
            ),
            (Self::UserTooLarge, _, Some((user, tokens))) => format!(
                ": needs {}, {user} has {}; shorten the prompt or raise tokens.capacity in limit.each_user or limit.users",
                levels.needs, tokens.capacity
            ),
            _ => String::new(),
        };
        format!("rate limiter: {}{detail}", self.sentence(waiting, predicted))
    }
}

impl Constraint {
    /// Label of at most thirteen characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Slots => "slots",
            Self::Paused => "paused",
            Self::UserRequests => "user requests",
            Self::UserTokens => "user tokens",
        }
    }

    /// The constraint as a noun phrase, to follow "waits for" or "queued for".
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Requests => "the request bucket",
            Self::Tokens => "the token bucket",
            Self::Slots => "a free slot",
            Self::Paused => "the end of the server's pause",
            Self::UserRequests => "the user's request bucket",
            Self::UserTokens => "the user's token bucket",
        }
    }
}

impl StopReason {
    /// Label of at most fifteen characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Attempts => "attempts used",
            Self::NotRetryable => "not retryable",
            Self::NoRetryHeader => "no-retry header",
            Self::Delivered => "text delivered",
            Self::Ambiguous => "maybe billed",
            Self::Budget => "budget empty",
            Self::Deadline => "deadline",
            Self::HintTooLong => "hint too long",
            Self::CircuitOpen => "circuit open",
            Self::RateLimited => "rate limited",
        }
    }

    /// The reason why no other attempt follows.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Attempts => "all attempts used",
            Self::NotRetryable => "not retryable",
            Self::NoRetryHeader => "the server sent x-should-retry: false",
            Self::Delivered => "text was already delivered",
            Self::Ambiguous => "it may already have been billed",
            Self::Budget => "retry budget empty",
            Self::Deadline => "the wait would pass the deadline",
            Self::HintTooLong => "the server asks for too long a wait",
            Self::CircuitOpen => "circuit open",
            Self::RateLimited => "the limiter admits no other attempt",
        }
    }
}

impl MissReason {
    /// Label of at most ten characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::NeverSeen => "never seen",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Collision => "collision",
        }
    }

    /// The reason for a cache miss.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NeverSeen => "never seen before",
            Self::Expired => "stored before, but expired",
            Self::Evicted => "stored before, but evicted to make room",
            Self::Collision => "another request has this fingerprint",
        }
    }
}

impl BypassReason {
    /// Label of at most fourteen characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NotDeterministic => "not repeatable",
            Self::FreshRequested => "fresh answer",
        }
    }

    /// The reason for a bypass of the cache.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Off => "the cache is off",
            Self::NotDeterministic => "no temperature 0 and no seed, so answers may differ",
            Self::FreshRequested => "the caller requested a fresh answer",
        }
    }
}

impl SkipReason {
    /// Label of at most eleven characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Filtered => "filtered",
            Self::Empty => "empty",
            Self::TooLarge => "too large",
            Self::OtherModel => "other model",
            Self::BadText => "bad text",
        }
    }

    /// The reason for not storing an answer.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Incomplete => "it may be incomplete",
            Self::Filtered => "truncated by a content filter",
            Self::Empty => "it is empty",
            Self::TooLarge => "larger than an entry may be",
            Self::OtherModel => "answered by another model than requested",
            Self::BadText => "its text is not valid UTF-8",
        }
    }
}

impl DiffKind {
    /// The kind of difference, to follow the name of the field; empty if the name suffices.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Value => "",
            Self::Added => "added",
            Self::Missing => "left out",
            Self::Order => "the order",
            Self::Whitespace => "white space",
            Self::Case => "upper and lower case",
            Self::Time => "a time",
            Self::Id => "a random id",
            Self::Number => "a number",
        }
    }
}

impl FieldDiff {
    /// `system prompt: a time`.
    pub fn brief(&self) -> String {
        match self.how.brief() {
            "" => self.field.single_line(),
            how => format!("{}: {how}", self.field.single_line()),
        }
    }

    /// `temperature: a number, here 0.7, stored 0`.
    pub fn sentence(&self) -> String {
        let mut text = self.brief();
        for (label, value) in [("here", &self.here), ("stored", &self.stored)] {
            if !value.is_empty() {
                text = format!("{text}, {label} {}", value.single_line());
            }
        }
        text
    }
}

impl SemanticGuard {
    /// Label of at most eight characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Unit => "unit",
            Self::Negation => "negation",
            Self::Opposite => "opposite",
            Self::Name => "name",
            Self::Quote => "quote",
            Self::Role => "role",
            Self::Language => "language",
            Self::Question => "question",
            Self::Word => "word",
        }
    }
}

impl Objection {
    /// `number 60, stored 50`.
    pub fn sentence(&self) -> String {
        let guard = self.guard.brief();
        let (asked, stored) = (self.asked.single_line(), self.stored.single_line());
        match (asked.is_empty(), stored.is_empty()) {
            (false, false) => format!("{guard} {asked}, stored {stored}"),
            (false, true) => format!("{guard} {asked}, missing in the stored prompt"),
            (true, false) => format!("{guard} {stored}, only in the stored prompt"),
            (true, true) => guard.to_owned(),
        }
    }
}

impl SemanticMiss {
    /// Label of at most fourteen characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Empty => "none stored",
            Self::NotSimilar => "not similar",
            Self::GuardRejected => "guard rejected",
            Self::TimedOut => "embedder slow",
            Self::Failed => "embedder error",
            Self::Ineligible => "ineligible",
        }
    }

    /// The reason for a miss of the semantic cache.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Empty => "nothing compatible stored",
            Self::NotSimilar => "no stored prompt is similar enough",
            Self::GuardRejected => "a guard rejected the nearest prompt",
            Self::TimedOut => "the embedder is too slow",
            Self::Failed => "the embedder failed",
            Self::Ineligible => "this kind of request is never matched",
        }
    }
}

impl BreakerState {
    /// Label of at most nine characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl BreakerMode {
    /// The change of mode as a clause.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Automatic => "breaker released",
            Self::ForcedOpen => "breaker forced open",
            Self::ForcedClosed => "breaker forced closed",
        }
    }
}

impl MoveReason {
    /// Label of at most twenty characters.
    pub fn brief(self) -> &'static str {
        match self {
            Self::FailureRate => "failure rate",
            Self::Consecutive => "consecutive failures",
            Self::SlowRate => "slow rate",
            Self::CoolDown => "open time elapsed",
            Self::ProbesSucceeded => "probes succeeded",
            Self::ProbeFailed => "probe failed",
            Self::Manual => "forced",
            Self::Unused => "unused",
        }
    }

    /// The reason for a move of the breaker, with the window that led to it.
    pub fn sentence(self, window: WindowCounts) -> String {
        let WindowCounts {
            total,
            failed,
            slow,
            consecutive,
        } = window;
        match self {
            Self::FailureRate => format!("{failed} of {total} calls failed"),
            Self::SlowRate => format!("{slow} of {total} calls slow"),
            Self::Consecutive => format!("{} in a row", units::count(consecutive.into(), "failure")),
            Self::CoolDown | Self::ProbesSucceeded | Self::ProbeFailed | Self::Manual | Self::Unused => {
                self.brief().to_owned()
            }
        }
    }
}

impl WindowCounts {
    /// `11 of 20 failed, 2 slow`.
    pub fn sentence(self) -> String {
        let Self {
            total, failed, slow, ..
        } = self;
        match (total, slow) {
            (0, _) => "nothing counted yet".to_owned(),
            (_, 0) => format!("{failed} of {total} failed"),
            (_, slow) => format!("{failed} of {total} failed, {slow} slow"),
        }
    }
}

impl Failure {
    /// The HTTP status, or a label of the class of at most four characters.
    pub fn brief(&self) -> String {
        self.error_status()
            .map_or_else(|| self.class.brief().to_owned(), |status| status.to_string())
    }

    /// The HTTP status, or the class in two or three words.
    pub fn sentence(&self) -> String {
        self.error_status()
            .map_or_else(|| self.class.sentence().to_owned(), |status| status.to_string())
    }

    /// The status, if it explains the failure: 200 says nothing about a later failure.
    fn error_status(&self) -> Option<u16> {
        self.status
            .filter(|status| *status >= 300 && self.class != FailureClass::Loading)
    }
}

impl FailureClass {
    /// Label of at most four characters, where no status is known.
    pub fn brief(self) -> &'static str {
        self.words().0
    }

    /// The class in two or three words.
    pub fn sentence(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Connect => ("CON", "no connection"),
            Self::ConnectTimeout => ("TMO", "connect timeout"),
            Self::Dns => ("DNS", "unknown host"),
            Self::Tls => ("TLS", "TLS error"),
            Self::Reset => ("RST", "connection reset"),
            Self::HeaderTimeout => ("TMO", "timeout"),
            Self::RateLimited => ("429", "rate limit"),
            Self::Quota => ("QUOT", "quota used up"),
            Self::RequestTimeout => ("408", "server timeout"),
            Self::Conflict => ("409", "conflict"),
            Self::ServerError => ("500", "server error"),
            Self::BadGateway => ("502", "bad gateway"),
            Self::Unavailable => ("503", "server unavailable"),
            Self::Overloaded => ("529", "server overloaded"),
            Self::Loading => ("LOAD", "model loading"),
            Self::Invalid => ("400", "invalid request"),
            Self::ContextLength => ("CTX", "prompt too long"),
            Self::Auth => ("401", "key rejected"),
            Self::NotFound => ("404", "unknown path or model"),
            Self::TooLarge => ("413", "request too large"),
            Self::Unsupported => ("501", "not supported"),
            Self::Redirect => ("3xx", "redirect"),
            Self::Truncated => ("CUT", "truncated response"),
            Self::Interrupted => ("CUT", "truncated stream"),
            Self::Stalled => ("STAL", "stalled stream"),
            Self::NoProgress => ("STAL", "stream without data"),
            Self::Malformed => ("JSON", "malformed response"),
            Self::NotAnApi => ("HTML", "not an API response"),
            Self::Oversize => ("BIG", "response too large"),
            Self::Deadline => ("DEAD", "deadline passed"),
            Self::LimitRejected => ("LIM", "rate limited"),
            Self::BreakerRefused => ("OPEN", "circuit open"),
            Self::Internal => ("BUG", "bug in seawall"),
        }
    }
}

impl Finish {
    /// The reason for the end of a complete answer.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Stop => "finished",
            Self::Length => "truncated at the token limit",
            Self::ToolCalls => "requests tool calls",
            Self::ContentFilter => "truncated by a content filter",
            Self::Refusal => "the model refuses to answer",
            Self::Unknown => "unknown finish reason",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objection_names_what_only_one_prompt_has() {
        let sentence = |asked: &str, stored: &str| {
            let objection = Objection {
                guard: SemanticGuard::Number,
                asked: asked.into(),
                stored: stored.into(),
            };
            objection.sentence()
        };
        assert_eq!(sentence("60", "50"), "number 60, stored 50");
        assert_eq!(sentence("60", ""), "number 60, missing in the stored prompt");
        assert_eq!(sentence("", "5\n0"), "number 5 0, only in the stored prompt");
        assert_eq!(sentence("", ""), "number");
    }
}
