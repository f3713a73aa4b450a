//! Glyph, word and role of every state of a call and of the breaker.

use ratatui::text::Span;

use crate::event::{BreakerMode, BreakerState, Fate};
use crate::state::{BreakerView, Call, Doing};
use crate::tui::theme::{Role, Theme};

use super::row::piece;

/// The widest word of [`for_call`].
pub(crate) const WORD_WIDTH: usize = 8;

/// Glyph, word and role of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallAppearance {
    /// One column wide.
    pub(crate) glyph: &'static str,
    /// At most [`WORD_WIDTH`] columns wide.
    pub(crate) word: &'static str,
    /// The role of both.
    pub(crate) role: Role,
}

impl CallAppearance {
    /// Glyph and word in their role.
    pub(crate) fn glyph_and_word(&self, theme: &Theme) -> Span<'static> {
        piece(theme, self.role, format!("{} {}", self.glyph, self.word))
    }
}

/// The appearance of a finished call.
pub(crate) fn for_fate(theme: &Theme, fate: Fate) -> CallAppearance {
    let glyphs = theme.glyphs;
    let (glyph, role) = match fate {
        Fate::Answered => (glyphs.ok, Role::Ok),
        Fate::Hit => (glyphs.hit, Role::Saved),
        Fate::Shared => (glyphs.shared, Role::Saved),
        Fate::RateLimited | Fate::CircuitOpen => (glyphs.refused, Role::Refused),
        Fate::Failed => (glyphs.failed, Role::Broken),
        Fate::Interrupted => (glyphs.cut, Role::Broken),
        Fate::Cancelled => (glyphs.stopped, Role::Muted),
    };
    let word = fate.brief();
    CallAppearance { glyph, word, role }
}

/// The appearance of a call: its fate, or its present activity.
pub(crate) fn for_call(theme: &Theme, call: &Call) -> CallAppearance {
    if let Some(fate) = call.fate {
        return for_fate(theme, fate);
    }
    let glyphs = theme.glyphs;
    let (glyph, word, role) = match call.doing {
        Doing::Starting if call.attempts > 0 => (glyphs.retry, "retrying", Role::Held),
        Doing::Starting | Doing::Ended => (glyphs.streaming, "starting", Role::Text),
        Doing::Queued => (glyphs.queued, "queued", Role::Held),
        // a retry until its first token
        Doing::Waiting if call.attempts > 1 => (glyphs.retry, "retrying", Role::Held),
        Doing::Waiting => (glyphs.streaming, "waiting", Role::Text),
        Doing::Streaming => (glyphs.streaming, "stream", Role::Text),
        Doing::BackingOff { .. } => (glyphs.retry, "retrying", Role::Held),
        Doing::Following { .. } => (glyphs.shared, "sharing", Role::Held),
    };
    CallAppearance { glyph, word, role }
}

/// Glyph, word and role of the breaker, and the effect of its state on calls: newcomers read OPEN backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerAppearance {
    /// One column wide.
    pub(crate) glyph: &'static str,
    /// `OPEN`, `FORCED OPEN`, ...
    pub(crate) word: &'static str,
    /// `calls are refused`, ...
    pub(crate) effect: &'static str,
    /// The role of glyph and word.
    pub(crate) role: Role,
}

/// The appearance of the breaker.
pub(crate) fn for_breaker(theme: &Theme, breaker: &BreakerView, enabled: bool) -> BreakerAppearance {
    const FORCED: &str = "by you; o releases it";
    let glyphs = theme.glyphs;
    let (glyph, word, effect, role) = match (breaker.mode, breaker.state) {
        (BreakerMode::ForcedOpen, _) => (glyphs.refused, "FORCED OPEN", FORCED, Role::Refused),
        (BreakerMode::ForcedClosed, _) => (glyphs.injected, "FORCED CLOSED", FORCED, Role::Yours),
        (BreakerMode::Automatic, _) if !enabled => (glyphs.dot, "OFF", "never refuses", Role::Muted),
        (BreakerMode::Automatic, BreakerState::Closed) => (glyphs.ok, "CLOSED", "calls pass", Role::Ok),
        (BreakerMode::Automatic, BreakerState::Open) => {
            (glyphs.refused, "OPEN", "calls are refused", Role::Refused)
        }
        (BreakerMode::Automatic, BreakerState::HalfOpen) => {
            (glyphs.half_open, "HALF-OPEN", "few probes pass", Role::Held)
        }
    };
    BreakerAppearance {
        glyph,
        word,
        effect,
        role,
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
                let shown = for_fate(&theme, fate);
                assert!(shown.word.len() <= WORD_WIDTH, "{}", shown.word);
                assert_eq!(super::super::row::width(shown.glyph), 1);
                assert!(!seen.contains(&(shown.glyph, shown.word)), "{fate:?}");
                seen.push((shown.glyph, shown.word));
            }
        }
    }
}
