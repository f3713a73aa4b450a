//! Mark, word and role of everything a call can be: the one place that pairs them.

use ratatui::text::Span;

use crate::event::{BreakerMode, BreakerState, Fate};
use crate::settings::FaultKind;
use crate::state::{BreakerView, Call, Doing, FateCounts};
use crate::tui::theme::{Role, Theme};

use super::row::piece;

/// The widest word of [`of_call`].
pub const WORD_WIDTH: usize = 8;

/// How something is shown: one cell, one word, one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// One cell.
    pub glyph: &'static str,
    /// A word of at most [`WORD_WIDTH`] columns.
    pub word: &'static str,
    /// What it means.
    pub role: Role,
}

impl Mark {
    /// The cell in its role.
    pub fn cell(&self, theme: &Theme) -> Span<'static> {
        piece(theme, self.role, self.glyph)
    }

    /// Cell and word in their role.
    pub fn cell_and_word(&self, theme: &Theme) -> Span<'static> {
        piece(theme, self.role, format!("{} {}", self.glyph, self.word))
    }
}

/// How a fate is shown.
pub fn of_fate(theme: &Theme, fate: Fate) -> Mark {
    let glyphs = theme.glyphs;
    let (glyph, role) = match fate {
        Fate::Answered => (glyphs.ok, Role::Ok),
        Fate::Hit => (glyphs.hit, Role::Hit),
        Fate::Shared => (glyphs.shared, Role::Hit),
        Fate::RateLimited | Fate::CircuitOpen => (glyphs.refused, Role::Refused),
        Fate::Failed => (glyphs.failed, Role::Bad),
        Fate::Interrupted => (glyphs.cut, Role::Bad),
        Fate::Cancelled => (glyphs.stopped, Role::Muted),
    };
    Mark {
        glyph,
        word: fate.brief(),
        role,
    }
}

/// How a call is shown: by its fate, or by what it is doing.
pub fn of_call(theme: &Theme, call: &Call) -> Mark {
    if let Some(fate) = call.fate {
        return of_fate(theme, fate);
    }
    let glyphs = theme.glyphs;
    let (glyph, word, role) = match call.doing {
        Doing::Starting if call.attempts > 0 => (glyphs.retry, "retry", Role::Wait),
        Doing::Starting | Doing::Ended => (glyphs.streaming, "starts", Role::Text),
        Doing::Queued { .. } => (glyphs.queued, "queued", Role::Wait),
        // a further try is a retry until it gives a token
        Doing::Waiting if call.attempts > 1 => (glyphs.retry, "retry", Role::Wait),
        Doing::Waiting => (glyphs.streaming, "waits", Role::Text),
        Doing::Streaming => (glyphs.streaming, "stream", Role::Text),
        Doing::BackingOff { .. } => (glyphs.retry, "retry", Role::Wait),
        Doing::Following { .. } => (glyphs.shared, "shares", Role::Wait),
    };
    Mark { glyph, word, role }
}

/// How the breaker is shown: its word, and what that means for calls, since OPEN is read backwards by
/// those who do not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerMark {
    /// One cell.
    pub glyph: &'static str,
    /// `OPEN`, `FORCED OPEN`, ...
    pub word: &'static str,
    /// `calls are refused, none sent`, ...
    pub meaning: &'static str,
    /// The same, shorter.
    pub short: &'static str,
    /// What it means.
    pub role: Role,
}

/// How the breaker is shown.
pub fn of_breaker(theme: &Theme, breaker: &BreakerView, enabled: bool) -> BreakerMark {
    let glyphs = theme.glyphs;
    let (glyph, word, meaning, short, role) = match (breaker.mode, breaker.state) {
        (BreakerMode::ForcedOpen, _) => (
            glyphs.refused,
            "FORCED OPEN",
            "by you, o lets go",
            "by you, o lets go",
            Role::Refused,
        ),
        (BreakerMode::ForcedClosed, _) => (
            glyphs.injected,
            "FORCED CLOSED",
            "by you, o lets go",
            "by you, o lets go",
            Role::Injected,
        ),
        (BreakerMode::Automatic, _) if !enabled => (
            glyphs.dot,
            "OFF",
            "calls pass, none is refused",
            "calls pass",
            Role::Muted,
        ),
        (BreakerMode::Automatic, BreakerState::Closed) => {
            (glyphs.ok, "CLOSED", "calls pass", "calls pass", Role::Ok)
        }
        (BreakerMode::Automatic, BreakerState::Open) => (
            glyphs.refused,
            "OPEN",
            "calls are refused, none sent",
            "calls are refused",
            Role::Refused,
        ),
        (BreakerMode::Automatic, BreakerState::HalfOpen) => (
            glyphs.retry,
            "HALF-OPEN",
            "one probe at a time",
            "one probe at a time",
            Role::Wait,
        ),
    };
    BreakerMark {
        glyph,
        word,
        meaning,
        short,
        role,
    }
}

/// Calls that have not ended. Saturating: a count must not end the program.
pub fn running(counts: &FateCounts) -> u64 {
    counts.started.saturating_sub(counts.finished())
}

/// Faults as `429 30%`, those that are on.
pub fn faults(rates: &[(&str, f64)], gap: &str) -> String {
    let on: Vec<String> = rates
        .iter()
        .filter(|(_, rate)| *rate > 0.0)
        .map(|(label, rate)| format!("{label} {}", super::units::rate(*rate)))
        .collect();
    on.join(gap)
}

/// Whether a status is written for this fault: these are summed up as `5xx` where room is short.
pub fn is_5xx(kind: FaultKind) -> bool {
    match kind {
        FaultKind::ServerError | FaultKind::Unavailable | FaultKind::Overloaded => true,
        FaultKind::RateLimited
        | FaultKind::Stall
        | FaultKind::Reset
        | FaultKind::Cut
        | FaultKind::StallMidStream
        | FaultKind::Drip
        | FaultKind::Malformed
        | FaultKind::WrongContentType => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::Palette;

    #[test]
    fn every_fate_differs_without_colour() {
        for ascii in [false, true] {
            let theme = Theme::new(Palette::Mono, ascii);
            let mut seen: Vec<(&str, &str)> = Vec::new();
            for fate in Fate::ALL {
                let mark = of_fate(&theme, fate);
                assert!(mark.word.len() <= WORD_WIDTH, "{}", mark.word);
                assert_eq!(super::super::row::width(mark.glyph), 1);
                assert!(!seen.contains(&(mark.glyph, mark.word)), "{fate:?}");
                seen.push((mark.glyph, mark.word));
            }
        }
    }
}
