//! The display form of setting values; they are stored in the form of a policy file.

use std::time::Duration;

use humantime_serde::re::humantime;

use crate::settings::{Policy, Setting, SettingKind, UNSET};
use crate::text::units;
use crate::tui::wrap;

/// A value in at most `room` columns; exact if it fits.
pub(super) fn shown(setting: &Setting, value: &str, room: usize, ellipsis: &str) -> String {
    let text = display(setting, value).unwrap_or_else(|| value.to_owned());
    if wrap::width(&text) <= room {
        return text;
    }
    match (setting.kind, value.parse()) {
        (SettingKind::Count { .. }, Ok(count)) => units::amount(count),
        _ => wrap::fit(&text, room, ellipsis),
    }
}

fn display(setting: &Setting, value: &str) -> Option<String> {
    if value == UNSET {
        return None;
    }
    match setting.kind {
        SettingKind::Toggle => Some(if value == "true" { "on" } else { "off" }.to_owned()),
        SettingKind::Bytes => value.parse().ok().map(bytes),
        SettingKind::Ratio { .. } => value.parse().ok().and_then(percent),
        SettingKind::PerSecond => value.strip_suffix(".0").map(str::to_owned),
        SettingKind::Duration => {
            let span = humantime::parse_duration(value).ok()?;
            // units::setting drops small parts, which would hide a change here
            let whole = if span.as_secs() < 60 {
                1_000_000
            } else {
                1_000_000_000
            };
            let exact = span.as_nanos().is_multiple_of(whole)
                && (span.as_secs() < 3600 || span.as_secs().is_multiple_of(60));
            exact.then(|| units::setting(span))
        }
        SettingKind::Choice(_) | SettingKind::Count { .. } | SettingKind::Text => None,
    }
}

/// Bytes in the largest unit that is exact.
fn bytes(bytes: u64) -> String {
    let shift = bytes.trailing_zeros();
    match shift {
        _ if bytes == 0 => "0 B".to_owned(),
        30.. => format!("{} GiB", bytes >> 30),
        20.. => format!("{} MiB", bytes >> 20),
        10.. => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

/// Parses bytes with a unit: `2 MiB`, `512KiB`. `None` without a unit or on overflow.
pub(super) fn whole_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..)? {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.trim_end().parse::<u64>().ok()?.checked_mul(unit)
}

/// A share in per cent with up to two decimals; `None` if that is not exact.
fn percent(share: f64) -> Option<String> {
    let hundredths = share * 10_000.0;
    let exact = share.is_finite() && (hundredths - hundredths.round()).abs() < 1e-6;
    let text = format!("{:.2}", share * 100.0);
    exact.then(|| format!("{}%", text.trim_end_matches('0').trim_end_matches('.')))
}

/// The unit beside a value; empty if the value includes it.
pub(super) fn unit(setting: &Setting) -> &'static str {
    match setting.kind {
        SettingKind::Bytes => "",
        _ => setting.unit(),
    }
}

/// The default and the range of a setting: `default 3   1 or more attempts`.
pub(super) fn range(setting: &Setting, production: &Policy) -> String {
    let value = setting.value(production);
    let default = display(setting, &value).unwrap_or(value);
    format!("default {default}   {}", takes(setting))
}

/// The values a setting accepts, as they are typed.
pub(super) fn takes(setting: &Setting) -> String {
    // an unreachable upper bound is not shown
    let ends = setting
        .bounds
        .filter(|bounds| !bounds.exclusive_min && bounds.max <= 1e9);
    match setting.kind {
        SettingKind::Toggle => "on or off".to_owned(),
        SettingKind::Choice(choices) => choices.join(", "),
        SettingKind::Count { min, unit } => {
            let most = ends.map(|ends| ends.max as u64);
            let most = most.map(|most| {
                if most < 10_000 {
                    most.to_string()
                } else {
                    units::amount(most)
                }
            });
            let range = most.map_or_else(|| format!("{min} or more"), |most| format!("{min} to {most}"));
            format!("{range} {unit}").trim_end().to_owned()
        }
        SettingKind::Bytes => "bytes: 65536, 64 KiB, 2 MiB".to_owned(),
        SettingKind::Ratio { .. } => "a share: 0.5 or 50%".to_owned(),
        SettingKind::PerSecond => "a number per second: 0.5, 2".to_owned(),
        SettingKind::Duration => match ends {
            Some(ends) if ends.min > 0.0 => {
                let end = |seconds: f64| {
                    if seconds < 1.0 {
                        format!("{:.0}ms", seconds * 1000.0)
                    } else {
                        units::setting(Duration::from_secs_f64(seconds))
                    }
                };
                format!("a time from {} to {}", end(ends.min), end(ends.max))
            }
            _ => "a time: 500ms, 2s, 1m 30s".to_owned(),
        },
        SettingKind::Text => "a word".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_readable_and_never_hide_a_change() {
        let table = [
            ("cache.enabled", "true", "on"),
            ("cache.enabled", "false", "off"),
            ("cache.max_bytes", "67108864", "64 MiB"),
            ("cache.max_bytes", "67108865", "67108865 B"),
            ("cache.max_bytes", "1536", "1536 B"),
            ("breaker.failure_rate", "0.5", "50%"),
            ("breaker.failure_rate", "0.525", "52.5%"),
            ("breaker.failure_rate", "0.123456", "0.123456"),
            ("breaker.slow_rate", "1.05", "105%"),
            ("semantic.threshold", "none", "none"),
            ("limit.tokens.capacity", "90000", "90000"),
            ("limit.tokens.capacity", "123456789012", "123G"),
            ("retry.budget_min_per_s", "10.0", "10"),
            ("retry.budget_min_per_s", "0.5", "0.5"),
            ("retry.base", "250ms", "0.25s"),
            ("retry.base", "1s 500us", "1s 500us"),
            ("cache.ttl", "10m", "10m"),
            ("cache.ttl", "1day", "24h"),
            ("cache.ttl", "1h 1s", "1h 1s"),
            ("retry.jitter", "full", "full"),
        ];
        for (path, value, text) in table {
            let setting = Setting::find(path).unwrap();
            assert_eq!(shown(setting, value, 10, "…"), text, "{path} {value}");
        }
        let url = Setting::find("semantic.embedder").unwrap();
        assert_eq!(shown(url, "http://127.0.0.1:8080", 8, "…"), "http://…");
    }

    #[test]
    fn bytes_are_parsed_as_they_are_shown() {
        for count in [0, 1, 1536, 1 << 10, 3 << 20, 64 << 20, 5 << 30, u64::MAX] {
            assert_eq!(whole_bytes(&bytes(count)), Some(count));
        }
        assert_eq!(whole_bytes("512KiB"), Some(512 << 10));
        for text in [
            "",
            "2",
            "MiB",
            "2 MB",
            "1.5 MiB",
            "-1 B",
            "99999999999 GiB",
            "2 é",
        ] {
            assert_eq!(whole_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn the_default_is_that_of_the_default_policy() {
        let range_of = |path: &str| range(Setting::find(path).unwrap(), &Policy::default());
        assert_eq!(
            range_of("retry.attempts"),
            format!("default {}   1 to 100 attempts", Policy::default().retry.attempts)
        );
        assert_eq!(range_of("limit.max_waiters"), "default 1024   0 or more waiters");
        assert_eq!(range_of("limit.tokens.refill"), "default 90000   1 to 1G tokens");
        assert_eq!(range_of("limit.each_user.weight"), "default 1   1 to 1000");
        assert_eq!(
            range_of("limit.requests.per"),
            "default 1m   a time from 1ms to 24h"
        );
        assert_eq!(range_of("retry.cap"), "default 8s   a time: 500ms, 2s, 1m 30s");
        assert_eq!(range_of("cache.enabled"), "default on   on or off");
        assert_eq!(
            range_of("semantic.threshold"),
            "default none   a share: 0.5 or 50%"
        );
    }
}
