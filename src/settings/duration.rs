//! Serde form of durations in policy files and journals: `500ms`, `1m 30s`, `24h`. Hours are the largest unit
//! written; days and weeks are read too.

use std::time::Duration;

use humantime_serde::re::humantime;
use serde::Serializer;

pub(super) use humantime_serde::deserialize;

const SECONDS_PER_HOUR: u64 = 3600;

/// The text of a duration, which parses to the same duration.
pub(crate) fn format_duration(span: Duration) -> String {
    let hours = span.as_secs() / SECONDS_PER_HOUR;
    let rest = span.saturating_sub(Duration::from_secs(hours * SECONDS_PER_HOUR));
    match hours {
        0 => humantime::format_duration(rest).to_string(),
        _ if rest.is_zero() => format!("{hours}h"),
        _ => format!("{hours}h {}", humantime::format_duration(rest)),
    }
}

/// For `#[serde(with)]`.
pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_the_largest_unit_and_every_text_parses_back() {
        for (span, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(500), "500ms"),
            (Duration::from_secs(90), "1m 30s"),
            (Duration::from_secs(24 * SECONDS_PER_HOUR), "24h"),
            (Duration::from_secs(365 * 24 * SECONDS_PER_HOUR), "8760h"),
            (Duration::from_millis(25 * 3_600_000 + 60_001), "25h 1m 1ms"),
            (Duration::MAX, "5124095576030431h 15s 999ms 999us 999ns"),
        ] {
            assert_eq!(format_duration(span), text);
            assert_eq!(humantime::parse_duration(text), Ok(span), "{text}");
        }
        assert_eq!(
            humantime::parse_duration("1day"),
            Ok(Duration::from_secs(24 * SECONDS_PER_HOUR))
        );
    }
}
