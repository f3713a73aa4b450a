//! Every single setting, with its unit and a sentence on what it does: what a screen, a file and a help text say of
//! it. A test holds this list against [`Policy`]: no setting is missing, none is told of that there is not.

use std::time::Duration;

use humantime_serde::re::humantime;

use super::bounds::{self, Bounds, above, between};
use super::path::PathError;
use super::{NONE, Policy};

/// What values a setting takes, and how they are stepped through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number of something, from the least on.
    Count {
        /// The least that makes sense.
        least: u64,
        /// Of what; empty where the name says it.
        unit: &'static str,
    },
    /// Bytes.
    Bytes,
    /// A fraction that is stepped by twentieths, up to so many hundredths.
    Share {
        /// 100 for a share of all.
        most_percent: u32,
    },
    /// A rate a second.
    PerSecond,
    /// A duration.
    Time,
    /// A word of the user's own.
    Text,
}

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// `retry.attempts`.
    pub path: &'static str,
    /// Its values.
    pub kind: Kind,
    /// Which numbers it takes; nothing where it has none.
    pub bounds: Option<Bounds>,
    /// What it does.
    pub about: &'static str,
    /// Whether it only takes effect when a session starts.
    pub at_start: bool,
}

const fn live(path: &'static str, kind: Kind, about: &'static str) -> Setting {
    Setting {
        path,
        kind,
        bounds: bounds::usual(kind),
        about,
        at_start: false,
    }
}

const fn at_start(path: &'static str, kind: Kind, about: &'static str) -> Setting {
    Setting {
        at_start: true,
        ..live(path, kind, about)
    }
}

/// A setting with bounds that are not those of its kind.
const fn within(bounds: Bounds, setting: Setting) -> Setting {
    Setting {
        bounds: Some(bounds),
        ..setting
    }
}

/// Zero would end all at once, or never let it begin.
const LASTING: Bounds = above(0.0, bounds::YEAR, "longer than zero and at most a year");

const fn count(least: u64, unit: &'static str) -> Kind {
    Kind::Count { least, unit }
}

const SHARE: Kind = Kind::Share { most_percent: 100 };
const COUNTS: Kind = Kind::Choice(&["attempt", "call"]);

/// All settings, by layer, in the order in which a call meets them. Not in it: the limits of single users and labels,
/// which have names of their own.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    live("cache.enabled", Kind::Switch, "Whether answers are stored, and served again to the same request of the same user."),
    live("cache.ttl", Kind::Time, "How long a stored answer may be served; 0s stores none."),
    live("cache.max_bytes", Kind::Bytes, "What all stored answers may take in memory, keys included; the least recently used goes first. 0 stores none."),
    live("cache.max_entry_bytes", Kind::Bytes, "A larger answer is not stored."),
    live("cache.store_all", Kind::Switch, "Store answers too whose request is not deterministic: no temperature 0, no seed."),

    live("semantic.mode", Kind::Choice(&["off", "on", "shadow"]), "Whether prompts that mean the same share an answer; shadow only tells what it would have served."),
    within(above(0.0, 1.0, "above 0 and at most 1 (1 serves only what the embedder cannot tell apart)"), live("semantic.threshold", SHARE, "How like a prompt must be to be served; none takes what suits the embedder (0.5 built in, 0.7 of an endpoint).")),
    live("semantic.guards", Kind::Switch, "Refuse a near prompt whose numbers, negations, names or quotes differ."),
    within(between(1.0, 1e6, "between 1 and 1000000"), live("semantic.max_entries", count(1, "prompts"), "Prompts that are remembered; the oldest goes first.")),
    within(LASTING, at_start("semantic.timeout", Kind::Time, "An embedding that takes longer is not waited for: the lookup is a miss.")),
    at_start("semantic.embedder", Kind::Text, "The URL of an embeddings API; none takes the built-in lexical embedder."),
    at_start("semantic.model", Kind::Text, "The model that the embeddings API is asked for; none lets it choose."),

    live("flight.enabled", Kind::Switch, "Identical calls in flight share one upstream call."),
    live("flight.replay_ttl", Kind::Time, "How long the result of an idempotency key is given again; 0s never."),
    live("flight.max_results", count(0, "results"), "Results that are kept for that; 0 keeps none."),

    within(between(1.0, 100.0, "at least 1 (1 means no retry) and at most 100"), live("retry.attempts", count(1, "tries"), "All tries of a call, the first included; 1 switches retries off.")),
    live("retry.max_ambiguous_retries", count(0, "retries"), "Retries after a try that may already have been billed: its answer broke or never came."),
    live("retry.base", Kind::Time, "The first backoff; it doubles with each retry. 0s tries again at once."),
    live("retry.cap", Kind::Time, "The longest backoff."),
    live("retry.jitter", Kind::Choice(&["full", "equal", "proportional", "none"]), "How backoffs are spread, so that those who failed together do not come back together."),
    live("retry.obey_hints", Kind::Switch, "Whether Retry-After and its relatives are obeyed."),
    live("retry.max_hint", Kind::Time, "A server that asks for a longer wait ends the call at once; 0s lets every such wish end it."),
    within(between(0.0, 10.0, "between 0 and 10 retries for each first attempt"), live("retry.budget_ratio", SHARE, "Retries earned by each first try: 0.2 lets retries add a fifth to the load; 0 with budget_min_per_s 0 keeps no budget.")),
    live("retry.budget_min_per_s", Kind::PerSecond, "Retries a second that are always allowed, however few calls there are."),
    within(LASTING, live("retry.budget_ttl", Kind::Time, "After this long an earned retry expires.")),

    live("limit.enabled", Kind::Switch, "Whether calls are limited at all before they are sent."),
    within(between(1.0, 1e7, "between 1 and 10000000"), live("limit.requests.capacity", count(1, "requests"), "The bucket of requests: the largest burst that goes out at once.")),
    within(between(1.0, 1e9, "between 1 and 1000000000"), live("limit.requests.refill", count(1, "requests"), "Requests the bucket gains in each period.")),
    within(between(0.001, 86_400.0, "between 1ms and 24h"), live("limit.requests.per", Kind::Time, "The period of that.")),
    within(between(1.0, 1e7, "between 1 and 10000000"), live("limit.tokens.capacity", count(1, "tokens"), "The bucket of LLM tokens, prompt and answer together: the largest burst, and the largest call.")),
    within(between(1.0, 1e9, "between 1 and 1000000000"), live("limit.tokens.refill", count(1, "tokens"), "LLM tokens the bucket gains in each period.")),
    within(between(0.001, 86_400.0, "between 1ms and 24h"), live("limit.tokens.per", Kind::Time, "The period of that.")),
    live("limit.concurrency", count(1, "slots"), "Attempts in flight at the same time."),
    live("limit.max_waiters", count(0, "waiters"), "Places in the queue; one more is turned away at once. 0 lets nobody wait."),
    live("limit.max_wait", Kind::Time, "A call that would have to wait longer is turned away at once; 0s lets nobody wait."),
    within(between(0.0, 1e7, "between 0 and 10000000"), live("limit.default_answer_tokens", count(0, "tokens"), "LLM tokens reserved for the answer where the request sets no limit.")),
    live("limit.charges", COUNTS, "What is charged: every attempt, or the call once, whatever it takes."),
    live("limit.order", Kind::Choice(&["fair", "fifo"]), "Who goes first when many wait: users in turn by weight, or whoever came first."),
    within(between(1.0, 1000.0, "between 1 and 1000"), live("limit.each_user.weight", count(1, ""), "The share of each user where many wait: twice the weight, twice as much.")),
    within(between(1.0, 1e5, "between 1 and 100000"), live("limit.max_users", count(1, "users"), "Users whose buckets are kept apart; those beyond share the buckets of one.")),

    live("breaker.enabled", Kind::Switch, "Whether calls are ever refused to spare an upstream that fails."),
    live("breaker.counts", COUNTS, "What is counted: every attempt, or the call once, after its retries."),
    within(LASTING, live("breaker.window", Kind::Time, "Outcomes older than this are forgotten.")),
    live("breaker.min_calls", count(1, "outcomes"), "Outcomes in the window before their failure rate counts."),
    within(above(0.0, 1.0, "above 0 and at most 1 (0.5 opens at half)"), live("breaker.failure_rate", SHARE, "The share of failures in the window that opens.")),
    live("breaker.consecutive", count(1, "failures"), "Failures in a row that open, whatever the rate."),
    within(above(0.0, bounds::YEAR, "longer than zero and at most a year (breaker.slow_rate = 2.0 lets no slow call open it)"), live("breaker.slow_after", Kind::Time, "A first token later than this counts as slow.")),
    within(above(0.0, 1000.0, "above 0 (above 1 means never)"), live("breaker.slow_rate", Kind::Share { most_percent: 105 }, "The share of slow outcomes that opens; above 1 never.")),
    within(above(0.0, bounds::YEAR, "longer than zero and at most breaker.open_max"), live("breaker.open", Kind::Time, "How long it stays open the first time; doubles with each failed probe.")),
    within(LASTING, live("breaker.open_max", Kind::Time, "The longest it stays open.")),
    live("breaker.open_jitter", SHARE, "The share of that time that is spread at random, so that many clients do not probe at once."),
    live("breaker.successes_to_close", count(1, "probes"), "Successful probes in a row that close it."),
    within(LASTING, live("breaker.probe_lease", Kind::Time, "A probe that has not ended by then makes room for another.")),

    within(LASTING, live("timeouts.call", Kind::Time, "One deadline over queueing, attempts and sleeps.")),
    within(LASTING, at_start("timeouts.connect", Kind::Time, "To connect, TLS included.")),
    within(LASTING, live("timeouts.headers", Kind::Time, "From the request to the response headers.")),
    within(LASTING, live("timeouts.byte_idle", Kind::Time, "Silence on the wire, pings included.")),
    within(LASTING, live("timeouts.event_idle", Kind::Time, "Silence between events that carry data: pings prove nothing about progress.")),
    within(between(1.0, bounds::WHOLE, "at least 1"), live("timeouts.max_response_bytes", Kind::Bytes, "The largest answer that is read.")),
];

/// Values that counts are stepped through, times powers of ten.
const STEPS: [u64; 13] = [10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90];
/// Times that durations are stepped through, in milliseconds.
const TIMES: [u64; 40] = [
    0,
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    300,
    500,
    750,
    1_000,
    1_500,
    2_000,
    3_000,
    4_000,
    5_000,
    6_000,
    8_000,
    10_000,
    15_000,
    20_000,
    30_000,
    45_000,
    60_000,
    90_000,
    120_000,
    180_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    14_400_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
];
/// Rates a second.
const RATES: [f64; 12] = [0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0];

impl Setting {
    /// The setting with this path.
    pub fn of(path: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.path == path)
    }

    /// Its layer: `retry` of `retry.attempts`.
    pub fn layer(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(layer, _)| layer)
    }

    /// Its name within the layer: `attempts` of `retry.attempts`.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The unit of its number; empty where the value says it, or has none.
    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Count { unit, .. } => unit,
            Kind::PerSecond => "a second",
            Kind::Bytes => "bytes",
            Kind::Switch | Kind::Choice(_) | Kind::Share { .. } | Kind::Time | Kind::Text => "",
        }
    }

    /// The next value up or down that makes sense, as text; the same one at the end of the range. Words are gone
    /// through in a circle.
    pub fn step(&self, value: &str, up: bool) -> String {
        let next = self.next(value, up);
        if self.allows(&next) {
            next
        } else {
            value.to_owned()
        }
    }

    /// Whether the value is within the bounds. What is no number is not for this to say.
    pub fn allows(&self, value: &str) -> bool {
        let number = self.number(value);
        self.bounds
            .is_none_or(|bounds| number.is_none_or(|number| bounds.hold(number)))
    }

    /// Which values it takes, where its kind does not say it: words to choose from, or bounds of its own.
    pub fn takes(&self) -> Option<String> {
        match (self.kind, self.bounds) {
            (Kind::Choice(words), _) => Some(words.join(", ")),
            (Kind::Time | Kind::Bytes | Kind::Count { least: 0, .. }, bounds)
                if bounds == bounds::usual(self.kind) =>
            {
                None
            }
            (_, bounds) => bounds.map(|bounds| bounds.rule.to_owned()),
        }
    }

    /// The number of a value; seconds of a duration.
    fn number(&self, value: &str) -> Option<f64> {
        match self.kind {
            Kind::Time => humantime::parse_duration(value)
                .ok()
                .map(|time| time.as_secs_f64()),
            _ => value.parse().ok(),
        }
    }

    fn next(&self, value: &str, up: bool) -> String {
        let same = || value.to_owned();
        match self.kind {
            Kind::Switch => (value != "true").to_string(),
            Kind::Choice(words) => {
                let at = words.iter().position(|word| *word == value).unwrap_or(0);
                let step = if up { 1 } else { words.len().saturating_sub(1) };
                let next = words.get((at + step) % words.len().max(1));
                next.map_or_else(same, |word| (*word).to_owned())
            }
            Kind::Count { least, .. } => value.parse().map_or_else(
                |_| same(),
                |value: u64| step_count(value, up).max(least).to_string(),
            ),
            Kind::Bytes => value.parse().map_or_else(
                |_| same(),
                |value: u64| {
                    if up { value.saturating_mul(2) } else { value / 2 }
                        .max(1)
                        .to_string()
                },
            ),
            Kind::Share { most_percent } => {
                let percent = value.parse().map_or(50.0, |value: f64| value * 100.0);
                // to the next twentieth
                let twentieth = percent / 5.0;
                let next = if up {
                    (twentieth + 1e-6).floor() + 1.0
                } else {
                    (twentieth - 1e-6).ceil() - 1.0
                };
                let next = (next * 5.0).clamp(0.0, f64::from(most_percent)) / 100.0;
                format!("{next:?}")
            }
            Kind::PerSecond => {
                let now = value.parse().unwrap_or(0.0);
                let next = if up {
                    RATES.iter().find(|rate| **rate > now)
                } else {
                    RATES.iter().rev().find(|rate| **rate < now)
                };
                next.map_or_else(same, |rate| format!("{rate:?}"))
            }
            Kind::Time => step_time(value, up).unwrap_or_else(same),
            Kind::Text => same(),
        }
    }

    /// The value in a policy, as [`Policy::with`] takes it; `none` where it is not set.
    pub fn value(&self, policy: &Policy) -> String {
        policy
            .settings()
            .remove(self.path)
            .unwrap_or_else(|| NONE.to_owned())
    }

    /// The policy with another value of it.
    pub fn set(&self, policy: &Policy, value: &str) -> Result<Policy, PathError> {
        policy.with(self.path, value)
    }
}

fn step_count(value: u64, up: bool) -> u64 {
    if value < 10 {
        return if up { value + 1 } else { value.saturating_sub(1) };
    }
    let mut scale = 1;
    while value / scale >= 100 {
        scale *= 10;
    }
    let steps = STEPS.iter().map(|step| step * scale);
    if up {
        let next = steps.clone().find(|step| *step > value);
        next.unwrap_or(scale.saturating_mul(100))
    } else {
        let before = steps.rev().find(|step| *step < value);
        // 10 goes to 9, 100 to 90
        before.unwrap_or(if scale == 1 { 9 } else { scale * 9 })
    }
}

fn step_time(value: &str, up: bool) -> Option<String> {
    let now = humantime::parse_duration(value).ok()?;
    let mut times = TIMES.iter().map(|millis| Duration::from_millis(*millis));
    let next = if up {
        times.find(|time| *time > now)
    } else {
        times.rev().find(|time| *time < now)
    };
    Some(super::span::written(next?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Not in the list: absent by default, and a table of its own.
    const OPEN: [&str; 2] = ["limit.each_user.requests", "limit.each_user.tokens"];

    #[test]
    fn the_list_is_what_a_policy_has() {
        let mut policy = Policy::default();
        for (path, value) in [
            ("semantic.threshold", "0.5"),
            ("semantic.embedder", "http://127.0.0.1:1"),
            ("semantic.model", "m"),
        ] {
            policy = policy.with(path, value).unwrap();
        }
        let there: BTreeSet<String> = policy.settings().into_keys().collect();
        let told: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.path.to_owned()).collect();
        assert_eq!(told.len(), SETTINGS.len(), "one is told of twice");
        assert_eq!(there, told);
        assert!(OPEN.iter().all(|path| !told.contains(*path)));
    }

    #[test]
    fn each_step_is_a_value_of_its_kind_and_goes_the_right_way() {
        let policy = Policy::default();
        for setting in SETTINGS {
            let value = setting.value(&policy);
            for up in [true, false] {
                let next = setting.step(&value, up);
                let changed = setting.set(&policy, &next);
                assert!(changed.is_ok(), "{} = {next}: {changed:?}", setting.path);
                if matches!(setting.kind, Kind::Count { .. } | Kind::Bytes) {
                    let (before, after): (u64, u64) = (value.parse().unwrap(), next.parse().unwrap());
                    assert!(
                        if up { after > before } else { after <= before },
                        "{}",
                        setting.path
                    );
                }
            }
        }
    }

    #[test]
    fn steps_go_there_and_back() {
        let attempts = Setting::of("retry.attempts").unwrap();
        assert_eq!(
            (attempts.step("3", true), attempts.step("1", false)),
            ("4".into(), "1".into())
        );
        let tokens = Setting::of("limit.tokens.capacity").unwrap();
        assert_eq!(tokens.step("20000", true), "25000");
        assert_eq!(tokens.step("100", false), "90");
        assert_eq!(tokens.step("9", true), "10");
        assert_eq!(tokens.step("99", true), "100");
        let share = Setting::of("breaker.failure_rate").unwrap();
        assert_eq!(share.step("0.5", true), "0.55");
        assert_eq!(share.step("0.52", false), "0.5");
        assert_eq!(share.step("1.0", true), "1.0");
        let open = Setting::of("breaker.open").unwrap();
        assert_eq!(
            (open.step("5s", true), open.step("5s", false)),
            ("6s".into(), "4s".into())
        );
        assert_eq!(open.step("1m", true), "1m 30s");
        let jitter = Setting::of("retry.jitter").unwrap();
        assert_eq!(
            (jitter.step("none", true), jitter.step("full", false)),
            ("full".into(), "none".into())
        );
        assert_eq!(Setting::of("cache.enabled").unwrap().step("true", true), "false");
    }
}
