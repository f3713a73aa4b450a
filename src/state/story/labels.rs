//! The words of stories. Short and plain: no code of an enum stands on a screen.

use std::time::Duration;

use super::step::{Level, Levels, OwnLevels};
use crate::event::{
    BreakerState, BypassReason, Constraint, DiffKind, Failure, FailureClass, FieldDiff, Finish, Hint,
    LimitReject, MissReason, MoveReason, SemanticGuard, SemanticMiss, SkipReason, StopReason, WindowCounts,
};

/// A time: hundredths below ten seconds, tenths below a minute, then minutes and hours. At most seven columns.
pub fn span(span: Duration) -> String {
    let hundredths = (span.as_micros() + 5_000) / 10_000;
    if hundredths < 1_000 {
        return format!("{}.{:02}s", hundredths / 100, hundredths % 100);
    }
    let tenths = (span.as_millis() + 50) / 100;
    if tenths < 600 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    long(span)
}

/// A time as one says it: `0.24s`, `3.4s`, `12s`.
pub(super) fn brief(time: Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    match tenths {
        ..10 => span(time),
        10..100 => format!("{}.{}s", tenths / 10, tenths % 10),
        100..600 => format!("{}s", (time.as_millis() + 500) / 1000),
        _ => long(time),
    }
}

/// A time without more digits than it needs: `1s`, `0.5s`, `90s` as `1m30s`.
pub(super) fn plain(span: Duration) -> String {
    let millis = span.as_millis();
    if millis >= 60_000 {
        return long(span);
    }
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

fn long(span: Duration) -> String {
    let seconds = (span.as_millis() + 500) / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 if seconds == 0 => format!("{minutes}m"),
        0 => format!("{minutes}m{seconds:02}s"),
        1..100 => format!("{hours}h{minutes:02}m"),
        _ => format!("{}d", hours / 24),
    }
}

/// `1 try`, `3 tries`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `first`, `second`, .. `12th`.
pub(super) fn ordinal(number: u32) -> String {
    const WORDS: [&str; 9] = [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
    ];
    let word = usize::try_from(number)
        .ok()
        .and_then(|at| WORDS.get(at.checked_sub(1)?));
    if let Some(word) = word {
        return (*word).to_owned();
    }
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What a waiter waits for.
pub(super) fn constraint(constraint: Constraint) -> &'static str {
    match constraint {
        Constraint::Requests => "the request bucket",
        Constraint::Tokens => "the token bucket",
        Constraint::Slots => "a free slot",
        Constraint::Paused => "the pause the server asked for",
        Constraint::UserRequests => "the user's own requests",
        Constraint::UserTokens => "the user's own tokens",
    }
}

/// Why a waiter waited, after `because`.
pub(super) fn short_of(constraint: Constraint) -> &'static str {
    match constraint {
        Constraint::Requests => "the request bucket was short",
        Constraint::Tokens => "the token bucket was short",
        Constraint::Slots => "all slots were taken",
        Constraint::Paused => "the server had asked for a pause",
        Constraint::UserRequests => "the user's own requests were used up",
        Constraint::UserTokens => "the user's own tokens were used up",
    }
}

/// Why the limiter turned a call away.
pub(super) fn reject(reason: LimitReject, waiting: u32, predicted: Option<Duration>) -> String {
    match (reason, predicted) {
        (LimitReject::QueueFull, _) => format!("the queue was full ({waiting} waiting)"),
        (LimitReject::TooLarge, _) => "it needs more tokens than the bucket holds".to_owned(),
        (LimitReject::UserTooLarge, _) => "it needs more tokens than the user's bucket holds".to_owned(),
        (LimitReject::WaitTooLong, Some(wait)) => {
            format!("it would have had to wait {}, longer than allowed", span(wait))
        }
        (LimitReject::WaitTooLong, None) => "it waited as long as is allowed".to_owned(),
        (LimitReject::Deadline, Some(wait)) => {
            format!(
                "its deadline would have passed in the queue ({} to wait)",
                span(wait)
            )
        }
        (LimitReject::Deadline, None) => "its deadline would have passed in the queue".to_owned(),
        (LimitReject::Displaced, _) => {
            format!("the queue was full ({waiting} waiting) and other users had fewer calls in it")
        }
    }
}

/// Why the cache had nothing.
pub(super) fn miss(reason: MissReason) -> &'static str {
    match reason {
        MissReason::NeverSeen => "never seen before",
        MissReason::Expired => "stored once, too old now",
        MissReason::Evicted => "stored once, removed to make room",
        MissReason::Collision => "another request has this fingerprint",
    }
}

/// Why the cache was not asked.
pub(super) fn bypass(reason: BypassReason) -> &'static str {
    match reason {
        BypassReason::Off => "the cache is off",
        BypassReason::NotDeterministic => "no temperature 0 and no seed, another answer may be wanted",
        BypassReason::Asked => "the caller asked for a fresh answer",
    }
}

/// Why an answer was not stored.
pub(super) fn skip(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Incomplete => "it may not be complete",
        SkipReason::Filtered => "a filter cut it",
        SkipReason::Empty => "it is empty",
        SkipReason::TooLarge => "it is larger than an entry may be",
        SkipReason::OtherModel => "another model answered than was asked",
        SkipReason::BadText => "its text is not valid UTF-8",
    }
}

/// `temperature: another number, 0.7 here and 0 there`.
pub(super) fn diff(diff: &FieldDiff) -> String {
    let how = match diff.how {
        DiffKind::Value => "another value",
        DiffKind::Added => "only this one has it",
        DiffKind::Missing => "only the stored one has it",
        DiffKind::Order => "another order",
        DiffKind::Whitespace => "other white space",
        DiffKind::Case => "other case",
        DiffKind::Time => "another time",
        DiffKind::Id => "another id",
        DiffKind::Number => "another number",
    };
    let field = diff.field.single_line();
    let (here, there) = (diff.here.single_line(), diff.stored.single_line());
    match (here.is_empty(), there.is_empty()) {
        (true, true) => format!("{field}: {how}"),
        (false, true) => format!("{field}: {how}, here {here}"),
        (true, false) => format!("{field}: {how}, there {there}"),
        (false, false) => format!("{field}: {how}, here {here}, there {there}"),
    }
}

/// What a guard of the semantic cache found.
pub(super) fn guard(guard: SemanticGuard) -> &'static str {
    match guard {
        SemanticGuard::Number => "another number",
        SemanticGuard::Unit => "another unit",
        SemanticGuard::Negation => "a negation",
        SemanticGuard::Opposite => "an opposite",
        SemanticGuard::Name => "another name",
        SemanticGuard::Quote => "another quote",
        SemanticGuard::Role => "other roles",
        SemanticGuard::Language => "another language",
        SemanticGuard::Question => "another question",
        SemanticGuard::Word => "another word",
    }
}

/// Why nothing was served by meaning.
pub(super) fn unlike(reason: SemanticMiss) -> &'static str {
    match reason {
        SemanticMiss::Empty => "nothing compatible is stored",
        SemanticMiss::Below => "no prompt is like enough",
        SemanticMiss::Refused => "a guard refused the nearest prompt",
        SemanticMiss::Late => "the embedder took too long",
        SemanticMiss::Failed => "the embedder failed",
        SemanticMiss::Ineligible => "such a request is never matched by meaning",
    }
}

/// What went wrong, as one says it: `429`, `a timeout`.
pub(super) fn failed(failure: &Failure) -> String {
    let status = failure.status.filter(|status| *status >= 300);
    match status {
        Some(status) if failure.class != FailureClass::Loading => status.to_string(),
        _ => class(failure.class).to_owned(),
    }
}

/// A class of failures, as one says it.
pub(super) fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Connect => "no connection",
        FailureClass::ConnectTimeout => "no connection in time",
        FailureClass::Dns => "an unknown host",
        FailureClass::Tls => "a TLS error",
        FailureClass::Reset => "a reset connection",
        FailureClass::HeaderTimeout => "a timeout",
        FailureClass::RateLimited => "a rate limit",
        FailureClass::Quota => "a used-up quota",
        FailureClass::RequestTimeout => "a timeout of the server",
        FailureClass::Conflict => "a conflict",
        FailureClass::ServerError => "a server error",
        FailureClass::BadGateway => "a bad gateway",
        FailureClass::Unavailable => "an unavailable server",
        FailureClass::Overloaded => "an overloaded server",
        FailureClass::Loading => "a model still loading",
        FailureClass::Invalid => "an invalid request",
        FailureClass::ContextLength => "too long a prompt",
        FailureClass::Auth => "a refused key",
        FailureClass::NotFound => "an unknown path or model",
        FailureClass::TooLarge => "too large a request",
        FailureClass::Unsupported => "something the server cannot do",
        FailureClass::Redirect => "a redirect",
        FailureClass::Cut => "a cut answer",
        FailureClass::Interrupted => "a cut stream",
        FailureClass::Stalled => "a stalled stream",
        FailureClass::NoProgress => "a stream without data",
        FailureClass::Malformed => "a malformed answer",
        FailureClass::NotAnApi => "an answer that is no API's",
        FailureClass::Oversize => "too large an answer",
        FailureClass::Deadline => "the deadline",
        FailureClass::LimitRejected => "the limiter",
        FailureClass::BreakerRefused => "the breaker",
        FailureClass::Internal => "a bug in seawall",
    }
}

/// Why no other attempt followed.
pub(super) fn stop(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Attempts => "all allowed tries were made",
        StopReason::NotRetryable => "asking again would change nothing",
        StopReason::ServerSaysNo => "the server said not to retry",
        StopReason::Delivered => "text was already delivered",
        StopReason::Ambiguous => "it may already have been billed",
        StopReason::Budget => "the retry budget was empty",
        StopReason::Deadline => "the wait would have ended after the deadline",
        StopReason::HintTooLong => "the server asked for too long a wait",
        StopReason::BreakerOpen => "the breaker was open",
        StopReason::Limited => "the limiter turned the next try away",
    }
}

/// How an answer ended.
pub(super) fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "the model was done",
        Finish::Length => "cut at its limit of tokens",
        Finish::ToolCalls => "the model asks for tools",
        Finish::ContentFilter => "cut by a filter",
        Finish::Unknown => "end marker without a reason",
    }
}

/// What a window holds: `11 of 20 failed`.
pub(super) fn window(window: WindowCounts) -> String {
    let WindowCounts {
        total, failed, slow, ..
    } = window;
    match (total, slow) {
        (0, _) => "nothing counted yet".to_owned(),
        (_, 0) => format!("{failed} of {total} failed"),
        (_, slow) => format!("{failed} of {total} failed, {slow} slow"),
    }
}

/// Why the breaker opened, after `because`.
pub(super) fn opened(reason: MoveReason, counts: WindowCounts) -> String {
    match reason {
        MoveReason::FailureRate => format!("{} of {} calls had failed", counts.failed, counts.total),
        MoveReason::Consecutive => format!("{} in a row had failed", counts.consecutive),
        MoveReason::SlowRate => format!("{} of {} calls were slow", counts.slow, counts.total),
        MoveReason::ProbeFailed => "its probe failed".to_owned(),
        MoveReason::Manual => "a person forced it".to_owned(),
        MoveReason::CoolDown | MoveReason::ProbesSucceeded => window(counts),
    }
}

/// The breaker's state.
pub(super) fn state(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    }
}

/// `, the server asked for 1s`.
pub(super) fn hint(hint: Option<Hint>) -> String {
    hint.map_or_else(String::new, |hint| {
        format!(", the server asked for {}", plain(hint.wait))
    })
}

/// `; budget 9.0 of 10`.
pub(super) fn budget(left: f64, max: f64) -> String {
    if max > 0.0 {
        format!("; budget {left:.1} of {max:.0}")
    } else {
        String::new()
    }
}

/// A level in whole units, debt with its sign.
pub(super) fn level(level: Level) -> String {
    // down: a call for which 0.9 requests are there waits, and must not read of one
    format!("{} of {}", level.level.floor() as i64, level.capacity)
}

/// What a call found in the buckets.
pub(super) fn levels(levels: &Levels) -> String {
    let Levels {
        requests,
        tokens,
        in_use,
        needs,
        user,
    } = levels;
    let own = user.as_ref().map_or_else(String::new, |own| own_levels(own));
    format!(
        "saw {} tokens (needs {needs}), {} requests, {} in use{own}",
        level(*tokens),
        level(*requests),
        count(u64::from(*in_use), "slot", "slots"),
    )
}

/// `; ann has 3 of 10 requests, 90 of 900 tokens`.
pub(super) fn own_levels(own: &OwnLevels) -> String {
    let parts: Vec<String> = [(own.requests, "requests"), (own.tokens, "tokens")]
        .into_iter()
        .filter_map(|(bucket, name)| Some(format!("{} {name}", level(bucket?))))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("; {} has {}", own.user, parts.join(", "))
}
