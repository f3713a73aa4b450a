//! What the simulator breaks, how often, and how fast it answers when it does not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A named set of faults, as a file in `assets/faults` gives it. Each rate is a probability between 0 and
/// 1; at most one fault hits a request (one draw over the sum), so their sum must not exceed 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultProfile {
    /// Shown in the title.
    pub name: String,
    /// What it imitates, in a sentence.
    pub about: String,
    /// 429 with `retry_after`.
    pub rate_limited: f64,
    /// 500.
    pub server_error: f64,
    /// 503.
    pub unavailable: f64,
    /// 529.
    pub overloaded: f64,
    /// The request is read and nothing comes for `stall`, then the connection is reset.
    pub stall: f64,
    /// A TCP reset before the first byte of the response.
    pub reset: f64,
    /// The stream ends without its end after `cut_after` content chunks.
    pub cut: f64,
    /// The stream falls silent for `stall` after `cut_after` content chunks, then is reset.
    pub stall_mid_stream: f64,
    /// The answer comes `drip_factor` times slower, a few bytes at a time.
    pub drip: f64,
    /// 200 with JSON that does not parse.
    pub malformed: f64,
    /// 200 with `text/html`, as a captive portal answers.
    pub wrong_content_type: f64,
    /// The Retry-After of a 429, in seconds; 0 sends none.
    pub retry_after: u64,
    /// How long a stall lasts.
    #[serde(with = "super::span")]
    pub stall_for: Duration,
    /// Content chunks before a cut or a stall in mid-stream.
    pub cut_after: u32,
    /// How much slower a drip is.
    pub drip_factor: u32,
    /// How fast answers come while the profile is on; the simulator's own pace where absent.
    pub latency: Option<LatencyProfile>,
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
        }
    }
}

/// The faults seawall can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 429, with Retry-After.
    RateLimited,
    /// 500.
    ServerError,
    /// 503.
    Unavailable,
    /// 529.
    Overloaded,
    /// Silence before the first byte.
    Stall,
    /// A TCP reset before the first byte.
    Reset,
    /// A stream that ends without its end.
    Cut,
    /// Silence in mid-stream.
    StallMidStream,
    /// An answer a few bytes at a time.
    Drip,
    /// JSON that does not parse.
    Malformed,
    /// `text/html` under status 200.
    WrongContentType,
}

impl FaultKind {
    /// Every kind, in the order they are drawn and shown.
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

    /// The short name for titles and lanes.
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

    /// What it does, for the chooser.
    pub fn about(self) -> &'static str {
        match self {
            Self::RateLimited => "too many requests, with Retry-After",
            Self::ServerError => "internal server error",
            Self::Unavailable => "service unavailable",
            Self::Overloaded => "overloaded, for everybody",
            Self::Stall => "reads the request, then says nothing",
            Self::Reset => "TCP reset before the first byte",
            Self::Cut => "stream ends in mid-sentence",
            Self::StallMidStream => "stream falls silent in mid-sentence",
            Self::Drip => "answer comes a few bytes at a time",
            Self::Malformed => "status 200, JSON that does not parse",
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

    /// Sets the probability of one kind, kept between 0 and 1.
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

    /// The probability that a request is hit at all.
    pub fn total(&self) -> f64 {
        FaultKind::ALL.iter().map(|kind| self.rate(*kind)).sum()
    }

    /// Multiplies every rate so that they sum to `total` (at most 1) and keep their proportions.
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

    /// Checks that every rate is a probability and that they do not exceed 1 together.
    pub fn validate(&self) -> Result<(), String> {
        for kind in FaultKind::ALL {
            let rate = self.rate(kind);
            if !(rate.is_finite() && (0.0..=1.0).contains(&rate)) {
                return Err(format!(
                    "the rate of '{}' is {rate}: write a probability from 0 to 1",
                    kind.label()
                ));
            }
        }
        if self.total() > 1.0 + 1e-9 {
            return Err(format!(
                "the rates sum to {:.2}: at most one fault hits a request, so they must not exceed 1 together",
                self.total()
            ));
        }
        Ok(())
    }
}

/// Milliseconds, uniformly between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// At least, in milliseconds.
    pub min_ms: u64,
    /// At most, in milliseconds.
    pub max_ms: u64,
}

/// How fast the simulator answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatencyProfile {
    /// To the first token.
    pub first_token: Range,
    /// Between two tokens.
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

/// How much the simulator does at a time. Above `parallel` requests wait, above `queue` waiters they are
/// answered with 503 at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Requests answered at the same time; at least 1.
    pub parallel: u32,
    /// Requests that wait for their turn.
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
    fn more_than_certain_is_refused() {
        let faults = FaultProfile {
            rate_limited: 0.6,
            reset: 0.6,
            ..FaultProfile::default()
        };
        assert!(faults.validate().unwrap_err().contains("1.20"));
    }

    #[test]
    fn every_kind_reads_back_what_was_set() {
        for kind in FaultKind::ALL {
            let mut faults = FaultProfile::default();
            faults.set_rate(kind, 0.25);
            assert!((faults.rate(kind) - 0.25).abs() < 1e-9 && (faults.total() - 0.25).abs() < 1e-9);
        }
    }
}
