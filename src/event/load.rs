//! A load: calls at a rate, as `:load`, `--load` and scenario files write it.
//!
//! ```text
//! RATE [DURATION] [repeat P%] [as USER|all] [poisson] [whole]
//!
//! 10/s 60s            600 calls in a minute
//! 300/m               five per second until it is stopped
//! 2..20/s 60s         a ramp
//! 5/s 30s repeat 0% as ana poisson
//! 5/s whole           answers are not streamed
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use humantime_serde::re::humantime;
use serde::{Deserialize, Serialize};

use super::{BurstUsers, UserId};
use crate::settings::duration::format_duration;
use crate::text::units::number;
use crate::time::nanos_option;

/// The highest rate, in calls per second.
const FASTEST: f64 = 1_000.0;
/// The lowest rate but that of a ramp's beginning: one call per hour.
const SLOWEST: f64 = 1.0 / 3_600.0;
/// The longest load.
const LONGEST: Duration = Duration::from_hours(24);
/// Running calls from which on a load skips calls and no burst begins: an upstream that does not answer must not fill
/// the memory.
pub const MAX_RUNNING: u64 = 1_000;
/// The end of an error message.
const FORM: &str = "write RATE [DURATION] [repeat P%] [as USER|all] [poisson] [whole], such as 10/s 60s";

/// Calls at a rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Load {
    /// Calls per second, at most 1,000; those of the beginning if `until` is set, where 0 is allowed.
    pub rate: f64,
    /// Calls per second at the end of a ramp, which needs `lasts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
    /// Time to its end, from a second to a day; `None` goes on until it is stopped.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// Share of calls that repeat one of the user's last 20 answered prompts, 0 to 1; `None` takes that of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<f64>,
    /// The users that send the calls.
    pub users: BurstUsers,
    /// True for a Poisson process in place of equal intervals.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub poisson: bool,
    /// True for answers that are not streamed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

impl Default for Load {
    /// Five calls per second, as every user in turn, until it is stopped.
    fn default() -> Self {
        Self {
            rate: 5.0,
            until: None,
            lasts: None,
            repeat: None,
            users: BurstUsers::All,
            poisson: false,
            whole: false,
        }
    }
}

impl Load {
    /// The number of calls of the whole load; `None` if it has no end. A Poisson process deviates from it.
    pub fn total(&self) -> Option<u64> {
        let seconds = self.lasts?.as_secs_f64();
        let mean = f64::midpoint(self.rate, self.until.unwrap_or(self.rate));
        // the rounding error of a rate such as 7/m must not add a call
        Some((mean * seconds - 1e-6).ceil().max(0.0) as u64)
    }

    /// The time at which `calls` calls are due, since the beginning; `None` if that is after the end.
    ///
    /// It is computed from the beginning, so that late wake-ups do not add up.
    pub fn due(&self, calls: f64) -> Option<Duration> {
        let slope = match (self.until, self.lasts) {
            (Some(until), Some(lasts)) => (until - self.rate) / lasts.as_secs_f64(),
            _ => 0.0,
        };
        // calls = rate * t + slope / 2 * t^2, solved for t without cancellation
        let root = self.rate.mul_add(self.rate, 2.0 * slope * calls);
        let divisor = self.rate + root.max(0.0).sqrt();
        let seconds = if calls <= 0.0 { 0.0 } else { 2.0 * calls / divisor };
        let due = Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|_| root >= 0.0)?;
        self.lasts
            .is_none_or(|lasts| due + Duration::from_micros(1) < lasts)
            .then_some(due)
    }

    /// The rate, such as `10/s`, `2..20/s` or `30/m`.
    pub fn rate_text(&self) -> String {
        let slow = self.rate.max(self.until.unwrap_or_default()) < 1.0;
        let (factor, unit) = if slow { (60.0, "m") } else { (1.0, "s") };
        let until = self.until.map(|until| format!("..{}", number(until * factor)));
        format!(
            "{}{}/{unit}",
            number(self.rate * factor),
            until.unwrap_or_default()
        )
    }

    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// Returns a message with the offending value.
    pub fn validate(&self) -> Result<(), String> {
        let lowest = if self.until.is_some() { 0.0 } else { SLOWEST };
        for (rate, lowest) in [(Some(self.rate), lowest), (self.until, SLOWEST)] {
            let Some(rate) = rate else { continue };
            if !(lowest..=FASTEST).contains(&rate) {
                return Err(format!(
                    "rate = {}/s (must be from one per hour to {FASTEST}/s)",
                    number(rate)
                ));
            }
        }
        if self.until.is_some() && self.lasts.is_none() {
            return Err("a ramp needs a duration: 2..20/s 60s".into());
        }
        if let Some(lasts) = self.lasts
            && !(Duration::from_secs(1)..=LONGEST).contains(&lasts)
        {
            let lasts = format_duration(lasts);
            return Err(format!("duration = {lasts} (must be from 1s to 24h)"));
        }
        if let Some(share) = self.repeat
            && !(0.0..=1.0).contains(&share)
        {
            return Err(format!(
                "repeat = {}% (must be 0% to 100%)",
                number(share * 100.0)
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Load {
    /// The form that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rate_text())?;
        if let Some(lasts) = self.lasts {
            write!(f, " {}", format_duration(lasts).replace(' ', ""))?;
        }
        if let Some(share) = self.repeat {
            write!(f, " repeat {}%", number(share * 100.0))?;
        }
        if let BurstUsers::One(user) = &self.users {
            write!(f, " as {user}")?;
        }
        f.write_str(if self.poisson { " poisson" } else { "" })?;
        f.write_str(if self.whole { " whole" } else { "" })
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let rate = words.next().ok_or_else(|| format!("no rate: {FORM}"))?;
        let (rate, until) = read_rate(rate)?;
        let mut load = Self {
            rate,
            until,
            ..Self::default()
        };
        let mut seen = Vec::new();
        while let Some(word) = words.next() {
            let key = if word.starts_with(|c: char| c.is_ascii_digit()) {
                "DURATION"
            } else {
                word
            };
            if seen.contains(&key) {
                return Err(format!("'{key}' is given twice: {FORM}"));
            }
            seen.push(key);
            match word {
                "poisson" => load.poisson = true,
                "whole" => load.whole = true,
                "repeat" => load.repeat = Some(read_share(words.next().unwrap_or_default())?),
                "as" => match words.next() {
                    Some("all") => load.users = BurstUsers::All,
                    Some(user) => load.users = BurstUsers::One(UserId::new(user)),
                    None => return Err("'as' needs a user or 'all': as ana".into()),
                },
                _ if key == "DURATION" => {
                    let lasts = humantime::parse_duration(word);
                    load.lasts = Some(lasts.map_err(|_| format!("duration '{word}': write 30s, 5m or 1h"))?);
                }
                _ => return Err(format!("'{word}' is unknown: {FORM}")),
            }
        }
        load.validate()?;
        Ok(load)
    }
}

/// Reads a load; `None` is `off`.
///
/// # Errors
/// Returns a message with the offending value.
pub fn read_load(text: &str) -> Result<Option<Load>, String> {
    match text.trim() {
        "off" => Ok(None),
        text => text.parse().map(Some),
    }
}

/// Reads `10/s`, `300/m` or `2..20/s` as calls per second.
fn read_rate(text: &str) -> Result<(f64, Option<f64>), String> {
    let refuse =
        || format!("rate '{text}': write calls per second or minute, such as 10/s, 300/m or 2..20/s");
    let (value, unit) = text.split_once('/').ok_or_else(refuse)?;
    let per = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(refuse()),
    };
    let read = |value: &str| {
        let plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let value = value.parse::<f64>().ok().filter(|_| plain).ok_or_else(refuse)?;
        Ok::<f64, String>(value / per)
    };
    match value.split_once("..") {
        Some((from, until)) => Ok((read(from)?, Some(read(until)?))),
        None => Ok((read(value)?, None)),
    }
}

/// Reads a share, such as `40%`.
///
/// # Errors
/// Returns a message with the value.
pub fn read_share(text: &str) -> Result<f64, String> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    let percent = digits
        .parse()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent));
    let percent: f64 = percent.ok_or_else(|| format!("repeat '{text}': write a share from 0% to 100%"))?;
    Ok(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Load {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        let ana = || BurstUsers::One(UserId::new("ana"));
        let plain = Load::default;
        let minute = Some(Duration::from_mins(1));
        for (text, load) in [
            ("5/s", plain()),
            (
                "10/s 60s",
                Load {
                    rate: 10.0,
                    lasts: minute,
                    ..plain()
                },
            ),
            ("300/m", plain()),
            ("0.5/s as all", Load { rate: 0.5, ..plain() }),
            (
                "2..20/s 1m",
                Load {
                    rate: 2.0,
                    until: Some(20.0),
                    lasts: minute,
                    ..plain()
                },
            ),
            (
                "0..600/m 60s poisson",
                Load {
                    rate: 0.0,
                    until: Some(10.0),
                    lasts: minute,
                    poisson: true,
                    ..plain()
                },
            ),
            (
                "5/s as ana repeat 0%",
                Load {
                    repeat: Some(0.0),
                    users: ana(),
                    ..plain()
                },
            ),
            (
                "5/s repeat 12.5 poisson",
                Load {
                    repeat: Some(0.125),
                    poisson: true,
                    ..plain()
                },
            ),
            (
                "  7200/h\t1h30m  as all",
                Load {
                    rate: 2.0,
                    lasts: Some(Duration::from_mins(90)),
                    ..plain()
                },
            ),
        ] {
            assert_eq!(read(text), load, "{text}");
            assert_eq!(read(&load.to_string()), load, "{load}");
        }
    }

    #[test]
    fn an_error_names_the_value_and_the_form() {
        for (text, message) in [
            ("", "no rate: write RATE"),
            ("10", "rate '10': write calls per second or minute, such as 10/s"),
            ("10/d", "rate '10/d'"),
            ("-1/s", "rate '-1/s'"),
            ("1e9/s", "rate '1e9/s'"),
            ("nan/s", "rate 'nan/s'"),
            ("../s 5s", "rate '../s'"),
            ("0/s", "rate = 0/s (must be from one per hour to 1000/s)"),
            ("1001/s", "rate = 1001/s"),
            ("5..0/s 5s", "rate = 0/s"),
            ("2..20/s", "a ramp needs a duration: 2..20/s 60s"),
            ("5/s 60", "duration '60': write 30s, 5m or 1h"),
            ("5/s 10ms", "duration = 10ms (must be from 1s to 24h)"),
            ("5/s 25h", "duration = 25h (must be from 1s to 24h)"),
            ("5/s 5s 6s", "'DURATION' is given twice"),
            ("5/s poisson poisson", "'poisson' is given twice"),
            ("5/s repeat", "repeat '': write a share from 0% to 100%"),
            ("5/s repeat 101%", "repeat '101%'"),
            ("5/s repeat NaN", "repeat 'NaN'"),
            ("5/s as", "'as' needs a user or 'all'"),
            ("5/s fast", "'fast' is unknown: write RATE [DURATION]"),
        ] {
            let error = text.parse::<Load>().unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn every_call_is_due_once_and_in_order() {
        for (text, total, last) in [
            ("10/s 60s", 600, 59.9),
            ("7/m 60s", 7, 360.0 / 7.0),
            ("2..20/s 60s", 660, 59.95),
            ("20..2/s 60s", 660, 59.517),
            ("0..4/s 3s", 6, 2.739),
            ("1000/s 1s", 1000, 0.999),
        ] {
            let load = read(text);
            assert_eq!(load.total(), Some(total), "{text}");
            let due: Vec<Duration> = (0..=total).map_while(|call| load.due(call as f64)).collect();
            assert_eq!(due.len() as u64, total, "{text}");
            assert!(due.is_sorted() && due[0].is_zero(), "{text}");
            assert!((due[due.len() - 1].as_secs_f64() - last).abs() < 0.01, "{text}");
        }
        assert_eq!(read("3/s").total(), None);
        // a million calls later there is no drift
        assert_eq!(read("5/s").due(1e6), Some(Duration::from_secs(200_000)));
    }
}
