//! Durations, counts, bytes and shares as text: the only formatters of the crate.
//!
//! Each form has a greatest width, so a column can reserve it and nothing moves when a value grows.
//! Durations in policy files, which must read back exactly, are in `settings/duration.rs`.

use std::time::Duration;

/// The widest [`duration`], [`precise`] and [`countdown`].
pub(crate) const DURATION_WIDTH: usize = 5;

/// The widest [`amount`].
pub(crate) const AMOUNT_WIDTH: usize = 4;

/// A duration in at most five columns: `0.4s`, `12s`, `2m10s`, `1h40m`, `5d`.
pub(crate) fn duration(span: Duration) -> String {
    tenths((span.as_millis() + 50) / 100, 100).unwrap_or_else(|| whole((span.as_millis() + 500) / 1000))
}

/// A measured duration in at most five columns, with as many digits as fit: `0.71s`, `12.4s`, `2m10s`.
pub(crate) fn precise(span: Duration) -> String {
    let hundredths = (span.as_micros() + 5_000) / 10_000;
    if hundredths < 1000 {
        return format!("{}.{:02}s", hundredths / 100, hundredths % 100);
    }
    tenths((span.as_millis() + 50) / 100, 600).unwrap_or_else(|| duration(span))
}

/// The rest of a wait, rounded up: zero only when it is over. At most five columns.
pub(crate) fn countdown(left: Duration) -> String {
    tenths(left.as_nanos().div_ceil(100_000_000), 100)
        .unwrap_or_else(|| whole(left.as_nanos().div_ceil(1_000_000_000)))
}

/// A duration in a sentence, rounded up: `0.4 s`, `12 s`, `13 min`, `2 h`.
pub(crate) fn seconds(span: Duration) -> String {
    let tenths = span.as_nanos().div_ceil(100_000_000);
    let seconds = span.as_nanos().div_ceil(1_000_000_000);
    match seconds {
        _ if tenths < 100 => format!("{}.{} s", tenths / 10, tenths % 10),
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// The duration of a computation: `40 us`, `0.8 ms`, `12 ms`, `1.2s`.
pub(crate) fn computation(span: Duration) -> String {
    let micros = span.as_micros();
    match micros {
        ..100 => format!("{micros} us"),
        100..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => duration(span),
    }
}

/// A configured duration, without needless decimals: `5s`, `0.25s`, `0.5s` for 500 ms, `10m`, `24h`.
pub(crate) fn setting(span: Duration) -> String {
    let millis = span.as_millis();
    if span.is_zero() {
        return "0s".into();
    }
    if millis == 0 {
        return format!("{}us", span.as_micros());
    }
    if millis < 60_000 {
        let text = format!("{}.{:03}", millis / 1000, millis % 1000);
        return format!("{}s", text.trim_end_matches('0').trim_end_matches('.'));
    }
    let seconds = span.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

/// Time since the start as on a clock: `00:42`, or `00:00:42` if `hours` is set or an hour has passed.
pub(crate) fn clock(since_start: Duration, hours: bool) -> String {
    let seconds = since_start.as_secs();
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours || h > 0 {
        format!("{h:02}:{m:02}:{s:02}")
    } else {
        format!("{m:02}:{s:02}")
    }
}

/// A number with its noun: `1 call`, `3 calls`, `2 tries`, `4 matches`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match noun
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']))
    {
        _ if number == 1 => format!("1 {noun}"),
        Some(stem) => format!("{number} {stem}ies"),
        None if noun.ends_with("ch") => format!("{number} {noun}es"),
        None => format!("{number} {noun}s"),
    }
}

/// A number with at most three decimals and no trailing zeros: `0.25`, `12`.
pub(crate) fn number(value: f64) -> String {
    // adding zero turns -0 into 0
    ((value * 1000.0).round() / 1000.0 + 0.0).to_string()
}

/// A count in at most four columns: `412`, `2.3k`, `20k`, `1.5M`.
pub(crate) fn amount(count: u64) -> String {
    const STEPS: [(u64, &str); 6] = [
        (1_000, "k"),
        (1_000_000, "M"),
        (1_000_000_000, "G"),
        (1_000_000_000_000, "T"),
        (1_000_000_000_000_000, "P"),
        (1_000_000_000_000_000_000, "E"),
    ];
    if count < 1_000 {
        return count.to_string();
    }
    for (unit, letter) in STEPS {
        let tenths = u128::from(count / (unit / 10) + u64::from(count % (unit / 10) >= unit / 20));
        if tenths < 100 && !tenths.is_multiple_of(10) {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        let whole = (u128::from(count) + u128::from(unit / 2)) / u128::from(unit);
        if whole < 1_000 {
            return format!("{whole}{letter}");
        }
    }
    count.to_string()
}

/// A count with its thousands apart: `412`, `2,551`, `1,500,000`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The end of a scale: the smallest of 1, 2, 5, 10, 20, 50, ... (and 0.5, 0.2, ...) that is not less than `value`;
/// 1 if `value` is not a positive number.
pub(crate) fn nice(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10.0_f64.powi(value.log10().floor() as i32);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value * (1.0 - 1e-9))
        .unwrap_or(value)
}

/// Bytes in at most eight columns: `812 B`, `12 KiB`, `64 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", amount(bytes >> 30)),
    }
}

/// A share of 1 as a percentage in exactly four columns: ` 38%`.
pub(crate) fn percent(share: f64) -> String {
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    format!("{:3.0}%", share * 100.0)
}

/// A share of 1 as a percentage with at most one decimal, without padding: `30%`, `2.5%`.
pub(crate) fn rate(share: f64) -> String {
    let tenths = (share * 1000.0).round() as u64;
    if tenths.is_multiple_of(10) {
        format!("{}%", tenths / 10)
    } else {
        format!("{}.{}%", tenths / 10, tenths % 10)
    }
}

/// A part of a sample: `18% 7/40`; under ten only `2/5`, because a percentage would suggest precision.
pub(crate) fn sample(part: u64, of: u64) -> String {
    if of < 10 {
        return format!("{part}/{of}");
    }
    format!("{:.0}% {part}/{of}", part as f64 * 100.0 / of as f64)
}

/// Seconds with one decimal, if below the limit; both are in tenths of a second.
fn tenths(tenths: u128, below: u128) -> Option<String> {
    (tenths < below).then(|| format!("{}.{}s", tenths / 10, tenths % 10))
}

/// Whole seconds from ten up.
fn whole(seconds: u128) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..60 => format!("{seconds}s"),
        60..600 => format!("{minutes}m{:02}s", seconds % 60),
        600..3600 => format!("{minutes}m"),
        3600..36_000 => format!("{hours}h{:02}m", minutes % 60),
        36_000..360_000 => format!("{hours}h"),
        // no session is longer than ten thousand days, but a wrong number may be
        _ => format!("{}d", (hours / 24).min(9_999)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn durations_in_five_columns() {
        let table = [
            (0, "0.0s"),
            (49, "0.0s"),
            (50, "0.1s"),
            (440, "0.4s"),
            (9_949, "9.9s"),
            (9_950, "10s"),
            (12_400, "12s"),
            (59_600, "1m00s"),
            (130_000, "2m10s"),
            (900_000, "15m"),
            (6_000_000, "1h40m"),
            (40_000_000, "11h"),
            (432_000_000, "5d"),
        ];
        for (millis, text) in table {
            assert_eq!(duration(ms(millis)), text, "{millis} ms");
        }
    }

    #[test]
    fn a_countdown_is_zero_only_at_the_end() {
        let table = [
            (0, "0.0s"),
            (1, "0.1s"),
            (4_200, "4.2s"),
            (4_201, "4.3s"),
            (9_901, "10s"),
            (59_001, "1m00s"),
        ];
        for (millis, text) in table {
            assert_eq!(countdown(ms(millis)), text, "{millis} ms");
        }
    }

    #[test]
    fn amounts_settings_rates_and_counts() {
        let amounts = [
            0,
            999,
            1_000,
            2_310,
            6_000,
            9_960,
            20_000,
            999_499,
            999_500,
            1_550_000,
            u64::MAX,
        ];
        let texts = [
            "0", "999", "1k", "2.3k", "6k", "10k", "20k", "999k", "1M", "1.6M", "18E",
        ];
        assert_eq!(amounts.map(amount), texts);
        assert_eq!(
            [250, 500, 5_000, 600_000, 86_400_000, 90_000].map(|millis| setting(ms(millis))),
            ["0.25s", "0.5s", "5s", "10m", "24h", "1m30s"]
        );
        assert_eq!([0.3, 0.025, 0.0, 1.0].map(rate), ["30%", "2.5%", "0%", "100%"]);
        assert_eq!(
            [sample(2, 5), sample(7, 40), sample(0, 0)],
            ["2/5", "18% 7/40", "0/0"]
        );
        assert_eq!(
            [0, 412, 2_551, 1_500_000].map(grouped),
            ["0", "412", "2,551", "1,500,000"]
        );
        assert_eq!(
            [812, 12_400, 64 << 20, 3 << 30].map(bytes),
            ["812 B", "12 KiB", "64 MiB", "3 GiB"]
        );
        assert_eq!(
            [0.3, 1.0, 1.1, 3.0, 10.0, 999.0, 0.0, f64::NAN].map(|value| nice(value).to_string()),
            ["0.5", "1", "2", "5", "10", "1000", "1", "1"]
        );
        assert_eq!(
            [0, 710, 12_440, 59_940, 59_960, 130_000].map(|millis| precise(ms(millis))),
            ["0.00s", "0.71s", "12.4s", "59.9s", "1m00s", "2m10s"]
        );
        assert_eq!(
            [40, 800, 12_300, 1_200_000].map(|micros| computation(Duration::from_micros(micros))),
            ["40 us", "0.8 ms", "12 ms", "1.2s"]
        );
        assert_eq!(
            [
                count(1, "try"),
                count(2, "try"),
                count(0, "call"),
                count(2, "match"),
                count(0, "key")
            ],
            ["1 try", "2 tries", "0 calls", "2 matches", "0 keys"]
        );
        assert_eq!(
            [0.1 + 0.2, -0.0, 12.0, 0.0004].map(number),
            ["0.3", "0", "12", "0"]
        );
        assert_eq!(clock(ms(42_000), false), "00:42");
        assert_eq!(clock(ms(3_642_000), false), "01:00:42");
    }

    #[test]
    fn no_text_exceeds_its_greatest_width() {
        let mut nanos = 1u64;
        while nanos < u64::MAX / 3 {
            for span in [Duration::from_nanos(nanos), Duration::from_nanos(nanos * 2 - 1)] {
                for text in [duration(span), precise(span), countdown(span)] {
                    assert!(text.len() <= DURATION_WIDTH, "{text}");
                }
            }
            assert!(amount(nanos).len() <= AMOUNT_WIDTH, "{}", amount(nanos));
            nanos = nanos.saturating_mul(2).saturating_add(7);
        }
    }
}
