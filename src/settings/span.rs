//! Durations as files and journals have them: `500ms`, `1m 30s`, `24h`. Hours are the largest unit that is written;
//! days and weeks are read too.

use std::time::Duration;

use humantime_serde::re::humantime;
use serde::Serializer;

pub(super) use humantime_serde::deserialize;

/// Seconds of an hour.
const HOUR: u64 = 3600;

/// A duration in words. It reads back as the same.
pub(super) fn written(span: Duration) -> String {
    let hours = span.as_secs() / HOUR;
    let rest = span.saturating_sub(Duration::from_secs(hours * HOUR));
    match hours {
        0 => humantime::format_duration(rest).to_string(),
        _ if rest.is_zero() => format!("{hours}h"),
        _ => format!("{hours}h {}", humantime::format_duration(rest)),
    }
}

/// For `#[serde(with)]`.
pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_the_largest_unit_and_all_of_it_reads_back() {
        for (span, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(500), "500ms"),
            (Duration::from_secs(90), "1m 30s"),
            (Duration::from_secs(24 * HOUR), "24h"),
            (Duration::from_secs(365 * 24 * HOUR), "8760h"),
            (Duration::from_millis(25 * 3_600_000 + 60_001), "25h 1m 1ms"),
            (Duration::MAX, "5124095576030431h 15s 999ms 999us 999ns"),
        ] {
            assert_eq!(written(span), text);
            assert_eq!(humantime::parse_duration(text), Ok(span), "{text}");
        }
        assert_eq!(
            humantime::parse_duration("1day"),
            Ok(Duration::from_secs(24 * HOUR))
        );
    }
}
