//! Fault profiles: the faults that the simulator injects, their rates, and its latency.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::units;

/// A named set of faults, as in `assets/faults`. Each rate is a probability from 0 to 1, default 0. At most one
/// fault hits a request (one draw over the sum), so the rates must not exceed 1 in total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FaultProfile {
    /// The name shown in titles.
    pub name: String,
    /// A sentence that describes what the profile imitates.
    pub about: String,
    /// Rate of status 429 with `retry_after`.
    pub rate_limited: f64,
    /// Rate of status 500.
    pub server_error: f64,
    /// Rate of status 503.
    pub unavailable: f64,
    /// Rate of status 529.
    pub overloaded: f64,
    /// Rate of stalls: the request is read, no byte is sent for `stall_for`, then the connection is reset.
    pub stall: f64,
    /// Rate of TCP resets before the first byte of the response.
    pub reset: f64,
    /// Rate of truncated answers: the stream breaks off after `cut_after` content chunks.
    pub cut: f64,
    /// Rate of streams that go silent for `stall_for` after `cut_after` content chunks and are then reset.
    pub stall_mid_stream: f64,
    /// Rate of answers that are sent `drip_factor` times slower, a few bytes at a time.
    pub drip: f64,
    /// Rate of status 200 with malformed JSON.
    pub malformed: f64,
    /// Rate of status 200 with `text/html`, as from a captive portal.
    pub wrong_content_type: f64,
    /// The Retry-After of a 429 in seconds, default 1; 0 sends none.
    pub retry_after: u64,
    /// The length of a stall. Default: 20 s.
    #[serde(with = "super::duration")]
    pub stall_for: Duration,
    /// Content chunks sent before a truncation or a stall in mid-stream. Default: 6.
    pub cut_after: u32,
    /// The factor by which a drip is slower. Default: 8.
    pub drip_factor: u32,
    /// The latency while the profile is active. Default: absent, the simulator's own.
    pub latency: Option<LatencyProfile>,
    /// The capacity while the profile is active. Default: absent, the simulator's own.
    pub capacity: Option<Capacity>,
}

impl Default for FaultProfile {
    fn default() -> Self {
        Self {
            name: "none".into(),
            about: String::new(),
            rate_limited: 0.0,
            server_error: 0.0,
            unavailable: 0.0,
            overloaded: 0.0,
            stall: 0.0,
            reset: 0.0,
            cut: 0.0,
            stall_mid_stream: 0.0,
            drip: 0.0,
            malformed: 0.0,
            wrong_content_type: 0.0,
            retry_after: 1,
            stall_for: Duration::from_secs(20),
            cut_after: 6,
            drip_factor: 8,
            latency: None,
            capacity: None,
        }
    }
}

/// A fault that the simulator can inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// Status 429 with Retry-After.
    RateLimited,
    /// Status 500.
    ServerError,
    /// Status 503.
    Unavailable,
    /// Status 529.
    Overloaded,
    /// Silence before the first byte, then a reset.
    Stall,
    /// A TCP reset before the first byte.
    Reset,
    /// A truncated answer.
    Cut,
    /// Silence in mid-stream, then a reset.
    StallMidStream,
    /// A slow answer, a few bytes at a time.
    Drip,
    /// Malformed JSON with status 200.
    Malformed,
    /// `text/html` with status 200.
    WrongContentType,
}

impl FaultKind {
    /// Every kind, in the order in which they are drawn and shown.
    pub const ALL: [Self; 11] = [
        Self::RateLimited,
        Self::ServerError,
        Self::Unavailable,
        Self::Overloaded,
        Self::Stall,
        Self::Reset,
        Self::Cut,
        Self::StallMidStream,
        Self::Drip,
        Self::Malformed,
        Self::WrongContentType,
    ];

    /// The short name for titles and timelines.
    pub fn label(self) -> &'static str {
        match self {
            Self::RateLimited => "429",
            Self::ServerError => "500",
            Self::Unavailable => "503",
            Self::Overloaded => "529",
            Self::Stall => "stall",
            Self::Reset => "reset",
            Self::Cut => "cut",
            Self::StallMidStream => "hang",
            Self::Drip => "drip",
            Self::Malformed => "bad json",
            Self::WrongContentType => "html",
        }
    }

    /// A one-line description.
    pub fn about(self) -> &'static str {
        match self {
            Self::RateLimited => "too many requests, with Retry-After",
            Self::ServerError => "internal server error",
            Self::Unavailable => "service unavailable",
            Self::Overloaded => "overloaded for all clients",
            Self::Stall => "reads the request, sends nothing",
            Self::Reset => "TCP reset before the first byte",
            Self::Cut => "answer is truncated in mid-sentence",
            Self::StallMidStream => "stream goes silent in mid-sentence",
            Self::Drip => "answer arrives a few bytes at a time",
            Self::Malformed => "status 200, malformed JSON",
            Self::WrongContentType => "status 200, an HTML page",
        }
    }
}

impl FaultProfile {
    /// The probability of one kind.
    pub fn rate(&self, kind: FaultKind) -> f64 {
        match kind {
            FaultKind::RateLimited => self.rate_limited,
            FaultKind::ServerError => self.server_error,
            FaultKind::Unavailable => self.unavailable,
            FaultKind::Overloaded => self.overloaded,
            FaultKind::Stall => self.stall,
            FaultKind::Reset => self.reset,
            FaultKind::Cut => self.cut,
            FaultKind::StallMidStream => self.stall_mid_stream,
            FaultKind::Drip => self.drip,
            FaultKind::Malformed => self.malformed,
            FaultKind::WrongContentType => self.wrong_content_type,
        }
    }

    /// Sets the probability of one kind, clamped to 0 to 1.
    pub fn set_rate(&mut self, kind: FaultKind, rate: f64) {
        let rate = if rate.is_finite() {
            rate.clamp(0.0, 1.0)
        } else {
            0.0
        };
        *match kind {
            FaultKind::RateLimited => &mut self.rate_limited,
            FaultKind::ServerError => &mut self.server_error,
            FaultKind::Unavailable => &mut self.unavailable,
            FaultKind::Overloaded => &mut self.overloaded,
            FaultKind::Stall => &mut self.stall,
            FaultKind::Reset => &mut self.reset,
            FaultKind::Cut => &mut self.cut,
            FaultKind::StallMidStream => &mut self.stall_mid_stream,
            FaultKind::Drip => &mut self.drip,
            FaultKind::Malformed => &mut self.malformed,
            FaultKind::WrongContentType => &mut self.wrong_content_type,
        } = rate;
    }

    /// The probability that a request is hit by any fault.
    pub fn total(&self) -> f64 {
        FaultKind::ALL.iter().map(|kind| self.rate(*kind)).sum()
    }

    /// The effect in a few words, such as `75% of attempts fail` or `4 at a time`.
    pub fn effect(&self) -> String {
        let share = (self.total() > 0.0).then(|| format!("{} of attempts fail", units::rate(self.total())));
        let slots = self
            .capacity
            .map(|capacity| format!("{} at a time", capacity.parallel));
        let effects: Vec<String> = share.into_iter().chain(slots).collect();
        if effects.is_empty() {
            return "no attempts fail".to_owned();
        }
        effects.join(", ")
    }

    /// Scales the rates to sum to `total` (at most 1), keeping their proportions.
    pub fn scale_to(&mut self, total: f64) {
        let now = self.total();
        if now <= 0.0 {
            return;
        }
        let factor = total.clamp(0.0, 1.0) / now;
        for kind in FaultKind::ALL {
            self.set_rate(kind, self.rate(kind) * factor);
        }
    }

    /// Checks that every rate is a probability and that their sum does not exceed 1.
    ///
    /// # Errors
    /// Returns a message with the offending rate.
    pub fn validate(&self) -> Result<(), String> {
        for kind in FaultKind::ALL {
            let rate = self.rate(kind);
            if !(rate.is_finite() && (0.0..=1.0).contains(&rate)) {
                return Err(format!(
                    "rate of '{}' = {rate} (must be from 0 to 1)",
                    kind.label()
                ));
            }
        }
        if self.total() > 1.0 + 1e-9 {
            return Err(format!(
                "sum of the rates = {:.2} (must be at most 1, because at most one fault hits a request)",
                self.total()
            ));
        }
        if self.capacity.is_some_and(|capacity| capacity.parallel == 0) {
            return Err("capacity.parallel = 0 (must be 1 or more)".into());
        }
        Ok(())
    }
}

/// A uniform range of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The lower bound, in milliseconds.
    pub min_ms: u64,
    /// The upper bound, in milliseconds.
    pub max_ms: u64,
}

/// The latency of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatencyProfile {
    /// The time to the first token. Default: 180 to 420 ms.
    pub first_token: Range,
    /// The time between two tokens. Default: 12 to 32 ms.
    pub between_tokens: Range,
}

impl Default for LatencyProfile {
    fn default() -> Self {
        Self {
            first_token: Range {
                min_ms: 180,
                max_ms: 420,
            },
            between_tokens: Range {
                min_ms: 12,
                max_ms: 32,
            },
        }
    }
}

/// The capacity of the simulator. Requests above `parallel` wait; requests above `queue` waiters get a 503 at
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Requests answered at the same time, at least 1.
    pub parallel: u32,
    /// Requests that may wait. Default: 0.
    #[serde(default)]
    pub queue: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_keeps_proportions() {
        let mut faults = FaultProfile {
            rate_limited: 0.3,
            reset: 0.1,
            ..FaultProfile::default()
        };
        faults.scale_to(0.8);
        assert!((faults.rate_limited - 0.6).abs() < 1e-9 && (faults.reset - 0.2).abs() < 1e-9);
        faults.scale_to(9.0);
        assert!((faults.total() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn rejects_rates_above_one_in_total() {
        let faults = FaultProfile {
            rate_limited: 0.6,
            reset: 0.6,
            ..FaultProfile::default()
        };
        assert!(faults.validate().unwrap_err().contains("1.20"));
    }

    #[test]
    fn the_effect_names_failures_and_capacity() {
        let mut faults = FaultProfile::default();
        assert_eq!(faults.effect(), "no attempts fail");
        faults.capacity = Some(Capacity {
            parallel: 4,
            queue: 60,
        });
        assert_eq!(faults.effect(), "4 at a time");
        faults.reset = 0.75;
        assert_eq!(faults.effect(), "75% of attempts fail, 4 at a time");
        faults.capacity = Some(Capacity {
            parallel: 0,
            queue: 60,
        });
        assert!(faults.validate().unwrap_err().contains("capacity.parallel = 0"));
    }

    #[test]
    fn every_rate_round_trips() {
        for kind in FaultKind::ALL {
            let mut faults = FaultProfile::default();
            faults.set_rate(kind, 0.25);
            assert!((faults.rate(kind) - 0.25).abs() < 1e-9 && (faults.total() - 0.25).abs() < 1e-9);
        }
    }
}
