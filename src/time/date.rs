//! A wall-clock time as a UTC date, for file names and headings.

use std::fmt;

/// A date and time in UTC. `Display` is `2026-11-25 23:51:02 UTC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    year: u64,
    month: u64,
    day: u64,
    second: u64,
}

impl Utc {
    /// Converts seconds since the Unix epoch.
    ///
    /// The algorithm is from Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (`civil_from_days`):
    /// years begin in March, so that the leap day is the last day.
    pub fn from_unix_seconds(unix_seconds: u64) -> Self {
        let shifted = unix_seconds / 86_400 + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            second: unix_seconds % 86_400,
        }
    }

    /// `20261125-235102`.
    pub fn compact(&self) -> String {
        let (hour, minute, second) = self.time();
        format!(
            "{:04}{:02}{:02}-{hour:02}{minute:02}{second:02}",
            self.year, self.month, self.day
        )
    }

    fn time(&self) -> (u64, u64, u64) {
        (self.second / 3_600, self.second / 60 % 60, self.second % 60)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = self.time();
        write!(
            f,
            "{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC",
            self.year, self.month, self.day
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_match_the_calendar() {
        // date -u -d @N
        for (unix, date) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(Utc::from_unix_seconds(unix).to_string(), date);
        }
        assert_eq!(Utc::from_unix_seconds(951_782_400).compact(), "20000229-000000");
    }
}
