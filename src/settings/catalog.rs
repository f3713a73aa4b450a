//! The catalogue of settings: path, kind, bounds, unit and description of each. Screens, policy files and
//! `seawall policy --settings` are generated from it. A test checks it against [`Policy`].

use std::time::Duration;

use humantime_serde::re::humantime;

use super::bounds::{Bounds, MAX_INTEGER, YEAR, above, between};
use super::duration::format_duration;

/// The kind of value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingKind {
    /// `true` or `false`.
    Toggle,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Count {
        /// The smallest number.
        min: u64,
        /// The unit; empty if the name says it.
        unit: &'static str,
    },
    /// A number of bytes.
    Bytes,
    /// A fraction, stepped by 0.05.
    Ratio {
        /// The last step, in percent; 100 for a share.
        max_percent: u32,
    },
    /// A rate per second.
    PerSecond,
    /// A duration.
    Duration,
    /// Free text.
    Text,
}

/// A setting of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Setting {
    /// The path: `retry.attempts`.
    pub path: &'static str,
    /// The kind of value.
    pub kind: SettingKind,
    /// The numeric bounds, if it has any.
    pub bounds: Option<Bounds>,
    /// The description, in full sentences.
    pub about: &'static str,
    /// True if a change takes effect at the next start only.
    pub startup_only: bool,
}

const fn live(path: &'static str, kind: SettingKind, about: &'static str) -> Setting {
    Setting {
        path,
        kind,
        bounds: default_bounds(kind),
        about,
        startup_only: false,
    }
}

const fn startup(path: &'static str, kind: SettingKind, about: &'static str) -> Setting {
    Setting {
        startup_only: true,
        ..live(path, kind, about)
    }
}

/// Replaces the default bounds of the kind.
const fn within(bounds: Bounds, setting: Setting) -> Setting {
    Setting {
        bounds: Some(bounds),
        ..setting
    }
}

const fn default_bounds(kind: SettingKind) -> Option<Bounds> {
    use SettingKind as K;
    match kind {
        K::Count { min: 0, .. } | K::Bytes => Some(between(0.0, MAX_INTEGER, "a whole number, 0 or more")),
        K::Count { min, .. } => Some(between(min as f64, MAX_INTEGER, "1 or more")),
        K::Ratio { .. } => Some(between(0.0, 1.0, "from 0 to 1")),
        K::PerSecond => Some(between(0.0, 1e6, "from 0 to 1000000")),
        K::Duration => Some(between(0.0, YEAR, "at most a year")),
        K::Toggle | K::Choice(_) | K::Text => None,
    }
}

const POSITIVE: Bounds = above(0.0, YEAR, "above 0s and at most a year");

const fn count(min: u64, unit: &'static str) -> SettingKind {
    SettingKind::Count { min, unit }
}

const TOGGLE: SettingKind = SettingKind::Toggle;
const DURATION: SettingKind = SettingKind::Duration;
const RATIO: SettingKind = SettingKind::Ratio { max_percent: 100 };
const COUNTS: SettingKind = SettingKind::Choice(&["attempt", "call"]);

/// Every setting, by layer, in the order in which a call passes the layers. Limits of single users and semantic
/// labels have names of their own and are not listed.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    live("cache.enabled", TOGGLE, "Stores answers and serves them again to the same request of the same user."),
    live("cache.ttl", DURATION, "Lifetime of a stored answer; 0s stores nothing."),
    live("cache.max_bytes", SettingKind::Bytes, "Memory for all stored answers, keys included; answers without a recent hit are evicted first. 0 stores nothing."),
    live("cache.max_entry_bytes", SettingKind::Bytes, "Largest answer that is stored."),
    live("cache.store_all", TOGGLE, "Also stores answers to requests that are not deterministic: no temperature 0, no seed."),

    live("semantic.mode", SettingKind::Choice(&["off", "on", "shadow"]), "Serves stored answers to similar prompts; shadow asks the upstream and logs what would have been served."),
    within(above(0.0, 1.0, "above 0 and at most 1; 1 serves only prompts with equal embeddings"), live("semantic.threshold", RATIO, "Least similarity of a prompt that is served; none uses the embedder's default: 0.5 built-in, 0.7 for an endpoint.")),
    live("semantic.guards", TOGGLE, "Rejects a similar prompt whose numbers, negations, names or quotes differ."),
    within(between(1.0, 1e6, "from 1 to 1000000"), live("semantic.max_entries", count(1, "prompts"), "Prompts in the index; the oldest is evicted first.")),
    within(POSITIVE, startup("semantic.timeout", DURATION, "Longest wait for an embedding; after that the lookup is a miss.")),
    startup("semantic.embedder", SettingKind::Text, "URL of an embeddings API; none uses the built-in lexical embedder."),
    startup("semantic.model", SettingKind::Text, "Model for the embeddings API; none uses the server's default."),

    live("flight.enabled", TOGGLE, "Identical calls in flight share one upstream call."),
    live("flight.replay_ttl", DURATION, "Time for which a result is replayed for its idempotency key; 0s disables replay."),
    live("flight.max_results", count(0, "results"), "Results kept for replay; 0 keeps none."),

    within(between(1.0, 100.0, "from 1 to 100; 1 disables retries"), live("retry.attempts", count(1, "attempts"), "Attempts per call, the first included; 1 disables retries.")),
    live("retry.max_ambiguous_retries", count(0, "retries"), "Retries after an attempt that may already have been billed: its answer was truncated or never arrived."),
    live("retry.base", DURATION, "First backoff; it doubles with each retry. 0s retries at once."),
    live("retry.cap", DURATION, "Longest backoff."),
    live("retry.jitter", SettingKind::Choice(&["full", "equal", "proportional", "none"]), "Randomises backoffs, so that calls that failed together do not retry together."),
    live("retry.obey_hints", TOGGLE, "Waits as long as the server asks in Retry-After and similar headers."),
    live("retry.max_hint", DURATION, "A server that asks for a longer wait ends the call at once; with 0s, any requested wait ends it."),
    within(between(0.0, 10.0, "from 0 to 10 retries per first attempt"), live("retry.budget_ratio", RATIO, "Retries earned by each first attempt: 0.2 lets retries add 20% to the load; 0 with budget_min_per_s 0 disables the budget.")),
    live("retry.budget_min_per_s", SettingKind::PerSecond, "Retries that are always allowed, however few calls there are."),
    within(POSITIVE, live("retry.budget_ttl", DURATION, "Lifetime of an earned retry.")),

    live("limit.enabled", TOGGLE, "Limits calls before they are sent."),
    within(between(1.0, 1e7, "from 1 to 10000000"), live("limit.requests.capacity", count(1, "requests"), "Size of the request bucket: the largest burst.")),
    within(between(1.0, 1e9, "from 1 to 1000000000"), live("limit.requests.refill", count(1, "requests"), "Requests added to the bucket per period.")),
    within(between(0.001, 86_400.0, "from 1ms to 24h"), live("limit.requests.per", DURATION, "Refill period of the request bucket.")),
    within(between(1.0, 1e7, "from 1 to 10000000"), live("limit.tokens.capacity", count(1, "tokens"), "Size of the bucket of LLM tokens, prompt and answer together: the largest burst, and the largest call.")),
    within(between(1.0, 1e9, "from 1 to 1000000000"), live("limit.tokens.refill", count(1, "tokens"), "LLM tokens added to the bucket per period.")),
    within(between(0.001, 86_400.0, "from 1ms to 24h"), live("limit.tokens.per", DURATION, "Refill period of the token bucket.")),
    live("limit.concurrency", count(1, "slots"), "Attempts in flight at the same time."),
    live("limit.max_waiters", count(0, "waiters"), "Length of the queue; a call that finds it full is limited. 0 disables queueing."),
    live("limit.max_wait", DURATION, "A call whose predicted wait is longer is limited at once; 0s disables queueing."),
    within(between(0.0, 1e7, "from 0 to 10000000"), live("limit.default_answer_tokens", count(0, "tokens"), "LLM tokens reserved for the answer if the request sets no limit.")),
    live("limit.charges", COUNTS, "Charges every attempt, or each call once regardless of its retries."),
    live("limit.order", SettingKind::Choice(&["fair", "fifo"]), "Order of the queue: users in turn by weight, or calls as they arrived."),
    within(between(1.0, 1000.0, "from 1 to 1000"), live("limit.each_user.weight", count(1, ""), "Share of each user while calls queue: twice the weight, twice the share.")),
    within(between(1.0, 1e5, "from 1 to 100000"), live("limit.max_users", count(1, "users"), "Users with buckets of their own; all others share one set.")),

    live("breaker.enabled", TOGGLE, "Refuses calls while the upstream is failing."),
    live("breaker.counts", COUNTS, "Counts every attempt, or each call once after its retries."),
    within(POSITIVE, live("breaker.window", DURATION, "Outcomes older than this do not count.")),
    live("breaker.min_calls", count(1, "outcomes"), "Outcomes in the window before the failure rate counts."),
    within(above(0.0, 1.0, "above 0 and at most 1"), live("breaker.failure_rate", RATIO, "Failure rate in the window that opens the breaker.")),
    live("breaker.consecutive", count(1, "failures"), "Consecutive failures that open the breaker, whatever the rate."),
    within(above(0.0, YEAR, "above 0s and at most a year; set breaker.slow_rate = 2.0 to ignore slow calls"), live("breaker.slow_after", DURATION, "A first token later than this counts as slow.")),
    within(above(0.0, 1000.0, "above 0 and at most 1000; above 1 never opens"), live("breaker.slow_rate", SettingKind::Ratio { max_percent: 105 }, "Rate of slow outcomes that opens the breaker; above 1 never opens it.")),
    within(above(0.0, YEAR, "above 0s and at most breaker.open_max"), live("breaker.open", DURATION, "First open period; each opening doubles it until min_calls good outcomes.")),
    within(POSITIVE, live("breaker.open_max", DURATION, "Longest open period.")),
    live("breaker.open_jitter", RATIO, "Fraction of the open period that is random, so that many clients do not probe at once."),
    live("breaker.successes_to_close", count(1, "probes"), "Consecutive probes that must end well to close the breaker; as many run at once."),
    within(POSITIVE, live("breaker.probe_lease", DURATION, "A silent probe loses its place after this time; one that delivers counts as ended well.")),

    within(POSITIVE, live("timeouts.call", DURATION, "Deadline of a call, with queueing, attempts and backoffs.")),
    within(POSITIVE, startup("timeouts.connect", DURATION, "Time to connect, with TLS.")),
    within(POSITIVE, live("timeouts.headers", DURATION, "Time from the request to the response headers.")),
    within(POSITIVE, live("timeouts.byte_idle", DURATION, "Longest silence on the wire; a ping counts as data.")),
    within(POSITIVE, live("timeouts.event_idle", DURATION, "Longest gap between events with data; pings do not count.")),
    within(POSITIVE, live("timeouts.after_finish", DURATION, "Longest wait for usage and [DONE] after the finish reason.")),
    within(between(1.0, MAX_INTEGER, "1 or more"), live("timeouts.max_response_bytes", SettingKind::Bytes, "Largest decoded response.")),
];

/// Steps of counts, times powers of ten.
const COUNT_STEPS: [u64; 13] = [10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90];
/// Steps of durations, in milliseconds.
#[rustfmt::skip]
const DURATION_STEPS: [u64; 40] = [
    0, 1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000,
    6_000, 8_000, 10_000, 15_000, 20_000, 30_000, 45_000, 60_000, 90_000, 120_000, 180_000, 300_000,
    600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 21_600_000, 43_200_000,
    86_400_000, 172_800_000,
];
/// Steps of rates per second.
const RATE_STEPS: [f64; 12] = [0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0];

impl Setting {
    /// Returns the setting with this path.
    pub fn find(path: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.path == path)
    }

    /// The layer: `retry` of `retry.attempts`.
    pub fn layer(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(layer, _)| layer)
    }

    /// The name within the layer: `attempts` of `retry.attempts`.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The unit of the number; empty if the value contains it or has none.
    pub fn unit(&self) -> &'static str {
        match self.kind {
            SettingKind::Count { unit, .. } => unit,
            SettingKind::PerSecond => "per s",
            SettingKind::Bytes => "bytes",
            SettingKind::Toggle
            | SettingKind::Choice(_)
            | SettingKind::Ratio { .. }
            | SettingKind::Duration
            | SettingKind::Text => "",
        }
    }

    /// Returns the next value up or down, or the same value at the end of the range. Choices wrap around.
    pub fn step(&self, value: &str, up: bool) -> String {
        let next = self.next(value, up);
        if self.allows(&next) {
            next
        } else {
            value.to_owned()
        }
    }

    /// Returns false if the value is a number out of bounds. Other values are not checked here.
    pub fn allows(&self, value: &str) -> bool {
        let number = self.number(value);
        self.bounds
            .is_none_or(|bounds| number.is_none_or(|number| bounds.contains(number)))
    }

    /// The choices or the numeric range in words; `None` for the default range of the kind.
    pub fn range(&self) -> Option<String> {
        match (self.kind, self.bounds) {
            (SettingKind::Choice(words), _) => Some(words.join(", ")),
            (SettingKind::Duration | SettingKind::Bytes | SettingKind::Count { min: 0, .. }, bounds)
                if bounds == default_bounds(self.kind) =>
            {
                None
            }
            (_, bounds) => bounds.map(|bounds| bounds.rule.to_owned()),
        }
    }

    /// A value as a number; a duration in seconds.
    fn number(&self, value: &str) -> Option<f64> {
        match self.kind {
            SettingKind::Duration => humantime::parse_duration(value)
                .ok()
                .map(|time| time.as_secs_f64()),
            _ => value.parse().ok(),
        }
    }

    fn next(&self, value: &str, up: bool) -> String {
        let same = || value.to_owned();
        match self.kind {
            SettingKind::Toggle => (value != "true").to_string(),
            SettingKind::Choice(words) => {
                let at = words.iter().position(|word| *word == value).unwrap_or(0);
                let step = if up { 1 } else { words.len().saturating_sub(1) };
                let next = words.get((at + step) % words.len().max(1));
                next.map_or_else(same, |word| (*word).to_owned())
            }
            SettingKind::Count { min, .. } => value.parse().map_or_else(
                |_| same(),
                |value: u64| step_count(value, up).max(min).to_string(),
            ),
            SettingKind::Bytes => value.parse().map_or_else(
                |_| same(),
                |value: u64| {
                    if up { value.saturating_mul(2) } else { value / 2 }
                        .max(1)
                        .to_string()
                },
            ),
            SettingKind::Ratio { max_percent } => {
                let percent = value.parse().map_or(50.0, |value: f64| value * 100.0);
                // to the next twentieth
                let twentieth = percent / 5.0;
                let next = if up {
                    (twentieth + 1e-6).floor() + 1.0
                } else {
                    (twentieth - 1e-6).ceil() - 1.0
                };
                let next = (next * 5.0).clamp(0.0, f64::from(max_percent)) / 100.0;
                format!("{next:?}")
            }
            SettingKind::PerSecond => {
                let now = value.parse().unwrap_or(0.0);
                let next = if up {
                    RATE_STEPS.iter().find(|rate| **rate > now)
                } else {
                    RATE_STEPS.iter().rev().find(|rate| **rate < now)
                };
                next.map_or_else(same, |rate| format!("{rate:?}"))
            }
            SettingKind::Duration => step_duration(value, up).unwrap_or_else(same),
            SettingKind::Text => same(),
        }
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
    let steps = COUNT_STEPS.iter().map(|step| step * scale);
    if up {
        let next = steps.clone().find(|step| *step > value);
        next.unwrap_or(scale.saturating_mul(100))
    } else {
        let before = steps.rev().find(|step| *step < value);
        // 10 steps down to 9, 100 to 90
        before.unwrap_or(if scale == 1 { 9 } else { scale * 9 })
    }
}

fn step_duration(value: &str, up: bool) -> Option<String> {
    let now = humantime::parse_duration(value).ok()?;
    let mut times = DURATION_STEPS.iter().map(|millis| Duration::from_millis(*millis));
    let next = if up {
        times.find(|time| *time > now)
    } else {
        times.rev().find(|time| *time < now)
    };
    Some(format_duration(next?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::Policy;

    /// Optional tables, not in the catalogue.
    const OPTIONAL_TABLES: [&str; 2] = ["limit.each_user.requests", "limit.each_user.tokens"];

    #[test]
    fn the_catalogue_lists_every_setting_of_a_policy_once() {
        let mut policy = Policy::default();
        for (path, value) in [
            ("semantic.threshold", "0.5"),
            ("semantic.embedder", "http://127.0.0.1:1"),
            ("semantic.model", "m"),
        ] {
            policy = policy.with(path, value).unwrap();
        }
        let in_policy: BTreeSet<String> = policy.settings().into_keys().collect();
        let listed: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.path.to_owned()).collect();
        assert_eq!(listed.len(), SETTINGS.len(), "a setting is listed twice");
        assert_eq!(in_policy, listed);
        assert!(OPTIONAL_TABLES.iter().all(|path| !listed.contains(*path)));
    }

    #[test]
    fn every_step_is_valid_and_moves_in_the_right_direction() {
        let policy = Policy::default();
        for setting in SETTINGS {
            let value = setting.value(&policy);
            for up in [true, false] {
                let next = setting.step(&value, up);
                let changed = policy.with(setting.path, &next);
                assert!(changed.is_ok(), "{} = {next}: {changed:?}", setting.path);
                if matches!(setting.kind, SettingKind::Count { .. } | SettingKind::Bytes) {
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
    fn steps_follow_the_tables_in_both_directions() {
        let attempts = Setting::find("retry.attempts").unwrap();
        assert_eq!(
            (attempts.step("3", true), attempts.step("1", false)),
            ("4".into(), "1".into())
        );
        let tokens = Setting::find("limit.tokens.capacity").unwrap();
        assert_eq!(tokens.step("20000", true), "25000");
        assert_eq!(tokens.step("100", false), "90");
        assert_eq!(tokens.step("9", true), "10");
        assert_eq!(tokens.step("99", true), "100");
        let share = Setting::find("breaker.failure_rate").unwrap();
        assert_eq!(share.step("0.5", true), "0.55");
        assert_eq!(share.step("0.52", false), "0.5");
        assert_eq!(share.step("1.0", true), "1.0");
        let open = Setting::find("breaker.open").unwrap();
        assert_eq!(
            (open.step("5s", true), open.step("5s", false)),
            ("6s".into(), "4s".into())
        );
        assert_eq!(open.step("1m", true), "1m 30s");
        let jitter = Setting::find("retry.jitter").unwrap();
        assert_eq!(
            (jitter.step("none", true), jitter.step("full", false)),
            ("full".into(), "none".into())
        );
        assert_eq!(
            Setting::find("cache.enabled").unwrap().step("true", true),
            "false"
        );
    }
}
