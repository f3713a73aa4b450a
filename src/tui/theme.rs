//! Roles, colours and glyphs. Panes ask for a [`Role`] or a glyph, never for a colour.
//!
//! - By default the sixteen ANSI colours of the terminal's own palette, no red/green pair, no bright black.
//! - No information is in colour alone: every state also has its own mark, pattern or word.
//! - Only chips set a background.

use ratatui::style::{Color, Modifier, Style};

/// The meaning of a piece of text. Colour lives in marks, bars and chips; words keep the terminal's own foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Plain.
    Text,
    /// Secondary: dim, never bright black.
    Muted,
    /// Headings, names, the one figure of a pane.
    Strong,
    /// The rule of the focused pane.
    Focus,
    /// The title of the focused pane.
    Title,
    /// Other rules, dividers, axes.
    Border,
    /// The selected row of an overlay.
    Selection,
    /// Answered, closed: no colour, since calm is plain.
    Ok,
    /// First attempts, streams, gauges.
    Work,
    /// Cached, shared.
    Saved,
    /// Queued, backing off, rate limited, half-open.
    Held,
    /// Failed, 5xx, no connection, timed out.
    Broken,
    /// Refused by a guard; breaker open.
    Refused,
    /// The chip of an open breaker.
    RefusedChip,
    /// The chip of a failure.
    BrokenChip,
    /// The chip of a wait.
    HeldChip,
    /// Done by the user: faults, load, a forced breaker. No hue.
    Yours,
    /// A key in footer and help.
    Key,
    /// Text being typed.
    Input,
}

/// The colours of a theme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// Sixteen ANSI colours of the terminal.
    #[default]
    Ansi16,
    /// Fixed 24-bit colours that people with a colour vision deficiency can distinguish: Okabe and Ito, Color
    /// Universal Design (2008).
    Truecolor,
    /// Bright ANSI colours, and nothing dim.
    HighContrast,
    /// No colours: bold, dim, underline and reverse only.
    Mono,
}

impl Palette {
    /// Work, saved, held, broken, refused.
    fn hues(self) -> Option<[Color; 5]> {
        match self {
            Self::Ansi16 => Some([
                Color::Blue,
                Color::Cyan,
                Color::Yellow,
                Color::Red,
                Color::Magenta,
            ]),
            Self::Truecolor => Some([
                Color::Rgb(0x56, 0xB4, 0xE9),
                Color::Rgb(0x7F, 0xD4, 0xC1),
                Color::Rgb(0xE6, 0x9F, 0x00),
                Color::Rgb(0xD5, 0x5E, 0x00),
                Color::Rgb(0xCC, 0x79, 0xA7),
            ]),
            Self::HighContrast => Some([
                Color::LightBlue,
                Color::LightCyan,
                Color::LightYellow,
                Color::LightRed,
                Color::LightMagenta,
            ]),
            Self::Mono => None,
        }
    }
}

/// A palette and a set of glyphs.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// The colours.
    pub palette: Palette,
    /// The glyphs.
    pub glyphs: &'static Glyphs,
}

impl Default for Theme {
    fn default() -> Self {
        Self {
            palette: Palette::Ansi16,
            glyphs: &UNICODE,
        }
    }
}

impl Theme {
    /// A theme with Unicode or ASCII glyphs.
    pub fn new(palette: Palette, ascii: bool) -> Self {
        Self {
            palette,
            glyphs: if ascii { &ASCII } else { &UNICODE },
        }
    }

    /// Returns true if all glyphs are ASCII.
    pub fn is_ascii(&self) -> bool {
        self.glyphs.heavy_rule.is_ascii()
    }

    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        let style = Style::new();
        let bold = style.add_modifier(Modifier::BOLD);
        let dim = match self.palette {
            Palette::HighContrast => style,
            _ => style.add_modifier(Modifier::DIM),
        };
        let hue = |index: usize, style: Style| match self.palette.hues() {
            Some(hues) => style.fg(hues[index]),
            None => style,
        };
        // a chip sets both colours, so that its text is readable on every background
        let chip = |index: usize, text: Color| match self.palette.hues() {
            Some(hues) => bold.bg(hues[index]).fg(text),
            None => bold.add_modifier(Modifier::REVERSED),
        };
        match role {
            Role::Text | Role::Ok => style,
            Role::Muted | Role::Border => dim,
            Role::Strong | Role::Input | Role::Focus | Role::Key | Role::Yours => bold,
            Role::Selection => style.add_modifier(Modifier::REVERSED),
            Role::Title => bold.add_modifier(Modifier::REVERSED),
            Role::Work => hue(0, style),
            Role::Saved => hue(1, style),
            Role::Held => hue(2, style),
            Role::Broken => hue(3, bold),
            Role::Refused => hue(4, style),
            Role::RefusedChip => chip(4, Color::White),
            Role::BrokenChip => chip(3, Color::White),
            Role::HeldChip => chip(2, Color::Black),
        }
    }
}

/// The value of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// As the environment says.
    #[default]
    Auto,
    /// Colours, whatever the environment says.
    Always,
    /// No colours.
    Never,
}

/// The environment variables that determine colours and glyphs. Read once, passed down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `NO_COLOR`: effective if set and not empty.
    pub no_color: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
    /// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set and not empty.
    pub locale: Option<String>,
}

/// The theme for an environment and the flags.
///
/// Without `palette` the colours are those of the terminal, whatever `COLORTERM` says: they fit its background. A flag
/// outranks `NO_COLOR`; [`ColorChoice::Never`] outranks `palette`.
///
/// A locale other than UTF-8 selects ASCII glyphs. Without a locale the glyphs are Unicode, because nearly all
/// terminals support UTF-8.
///
/// The caller must call `crossterm::style::force_color_output(true)`: with `NO_COLOR` set, crossterm 0.29 writes a
/// full reset in place of each colour, which also removes bold and reverse. The mono theme never asks for a
/// colour.
pub fn choose(environment: &Environment, color: ColorChoice, palette: Option<Palette>, ascii: bool) -> Theme {
    let dumb = environment.term.as_deref() == Some("dumb");
    let no_color = environment
        .no_color
        .as_deref()
        .is_some_and(|value| !value.is_empty());
    let mono = match color {
        ColorChoice::Always => false,
        ColorChoice::Never => true,
        ColorChoice::Auto => palette.is_none() && (no_color || dumb),
    };
    let foreign = environment.locale.as_deref().is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    });
    let palette = if mono {
        Palette::Mono
    } else {
        palette.unwrap_or_default()
    };
    Theme::new(palette, ascii || dumb || foreign)
}

/// One column each, with an ASCII equivalent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Answered.
    pub ok: &'static str,
    /// From the cache.
    pub hit: &'static str,
    /// By another call's flight.
    pub shared: &'static str,
    /// Retrying.
    pub retry: &'static str,
    /// In the queue.
    pub queued: &'static str,
    /// Failed.
    pub failed: &'static str,
    /// Cut off in mid-stream.
    pub cut: &'static str,
    /// Rejected by a guard.
    pub refused: &'static str,
    /// A half-open breaker.
    pub half_open: &'static str,
    /// Stopped by the user.
    pub stopped: &'static str,
    /// Injected by the user.
    pub injected: &'static str,
    /// Streaming.
    pub streaming: &'static str,
    /// The selected row of a list.
    pub cursor: &'static str,
    /// After a number: times.
    pub times: &'static str,
    /// Lane: began left of the scale.
    pub earlier: &'static str,
    /// Timeline: in the queue.
    pub timeline_queue: &'static str,
    /// Timeline: waiting for the first token.
    pub timeline_wait: &'static str,
    /// Timeline: streaming.
    pub timeline_stream: &'static str,
    /// Timeline: back-off.
    pub timeline_backoff: &'static str,
    /// Timeline: in another call's flight.
    pub timeline_follow: &'static str,
    /// Timeline: now.
    pub timeline_now: &'static str,
    /// The end of streaming text.
    pub caret: &'static str,
    /// A full cell of a gauge.
    pub bar_full: &'static str,
    /// An empty cell of a gauge.
    pub bar_empty: &'static str,
    /// Heights of a sparkline, lowest first.
    pub spark: [&'static str; 8],
    /// Fills of the parts of a stacked column, the lowest first.
    pub fills: [&'static str; 7],
    /// Between facts on one line.
    pub dot: &'static str,
    /// In place of omitted text.
    pub ellipsis: &'static str,
    /// A step of the tour: past.
    pub step_done: &'static str,
    /// A step of the tour: the one that is shown.
    pub step_here: &'static str,
    /// A step of the tour: to come.
    pub step_ahead: &'static str,
    /// Borders: horizontal, vertical, corners (top left, top right, bottom left, bottom right).
    pub border: [&'static str; 6],
    /// Junctions of a rule and a divider: down, left, right, cross.
    pub tees: [&'static str; 4],
    /// The rule of the focused pane.
    pub heavy_rule: &'static str,
    /// A divider that begins on the rule of the focused pane.
    pub heavy_tee: &'static str,
}

/// The glyphs for UTF-8 terminals.
pub const UNICODE: Glyphs = Glyphs {
    ok: "✓",
    hit: "◇",
    shared: "≈",
    retry: "↻",
    queued: "…",
    failed: "✗",
    cut: "↯",
    refused: "⊘",
    half_open: "◐",
    stopped: "■",
    injected: "!",
    streaming: "▶",
    cursor: "›",
    times: "×",
    earlier: "◂",
    timeline_queue: "┄",
    timeline_wait: "─",
    timeline_stream: "━",
    timeline_backoff: "·",
    timeline_follow: "≈",
    timeline_now: "▏",
    caret: "▍",
    bar_full: "■",
    bar_empty: "·",
    spark: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    fills: ["░", "▒", "▓", "▚", "█", "╳", "·"],
    dot: "·",
    ellipsis: "…",
    step_done: "●",
    step_here: "◉",
    step_ahead: "○",
    border: ["─", "│", "╭", "╮", "╰", "╯"],
    tees: ["┬", "┤", "├", "┼"],
    heavy_rule: "━",
    heavy_tee: "┯",
};

/// The glyphs for all other terminals.
pub const ASCII: Glyphs = Glyphs {
    ok: "+",
    hit: "c",
    shared: "=",
    retry: "~",
    queued: ".",
    failed: "x",
    cut: "%",
    refused: "!",
    half_open: "?",
    stopped: "o",
    injected: "!",
    streaming: ">",
    cursor: ">",
    times: "x",
    earlier: "<",
    timeline_queue: ",",
    timeline_wait: "-",
    timeline_stream: "=",
    timeline_backoff: ".",
    timeline_follow: "~",
    timeline_now: "|",
    caret: "_",
    bar_full: "#",
    bar_empty: ".",
    spark: [".", ".", ":", ":", "|", "|", "#", "#"],
    fills: [".", "4", "5", "c", "t", "x", "o"],
    dot: "-",
    ellipsis: "~",
    step_done: "*",
    step_here: "@",
    step_ahead: ".",
    border: ["-", "|", "+", "+", "+", "+"],
    tees: ["+", "+", "+", "+"],
    heavy_rule: "=",
    heavy_tee: "+",
};

#[cfg(test)]
mod tests {
    use super::*;

    /// True for mono, true for ASCII.
    fn chosen(no_color: &str, term: &str, locale: &str, color: ColorChoice) -> (bool, bool) {
        let some = |text: &str| (text != "-").then(|| text.to_owned());
        let environment = Environment {
            no_color: some(no_color),
            term: some(term),
            locale: some(locale),
        };
        let theme = choose(&environment, color, None, false);
        (theme.palette == Palette::Mono, *theme.glyphs == ASCII)
    }

    #[test]
    fn flags_win_over_the_environment() {
        use ColorChoice::{Always, Auto, Never};
        let utf8 = "de_DE.UTF-8";
        assert_eq!(chosen("-", "xterm", utf8, Auto), (false, false));
        assert_eq!(chosen("1", "xterm", utf8, Auto), (true, false));
        assert_eq!(chosen("", "xterm", utf8, Auto), (false, false));
        assert_eq!(chosen("1", "xterm", utf8, Always), (false, false));
        assert_eq!(chosen("-", "xterm", utf8, Never), (true, false));
        assert_eq!(chosen("-", "dumb", utf8, Auto), (true, true));
        assert_eq!(chosen("-", "-", "C", Auto), (false, true));
        assert_eq!(chosen("-", "-", "-", Auto), (false, false));
        assert_eq!(choose(&Environment::default(), Auto, None, true).glyphs, &ASCII);
        let mono = Environment {
            no_color: Some("1".to_owned()),
            ..Environment::default()
        };
        for (color, expected) in [(Auto, Palette::Truecolor), (Never, Palette::Mono)] {
            assert_eq!(
                choose(&mono, color, Some(Palette::Truecolor), false).palette,
                expected
            );
        }
    }

    #[test]
    fn no_role_of_a_word_has_a_background_but_the_chips() {
        let chips = [Role::RefusedChip, Role::BrokenChip, Role::HeldChip];
        let words = [
            Role::Text,
            Role::Ok,
            Role::Muted,
            Role::Strong,
            Role::Yours,
            Role::Key,
        ];
        for palette in [
            Palette::Ansi16,
            Palette::Truecolor,
            Palette::HighContrast,
            Palette::Mono,
        ] {
            let theme = Theme::new(palette, false);
            for role in words {
                assert_eq!(
                    (theme.style(role).fg, theme.style(role).bg),
                    (None, None),
                    "{role:?}"
                );
            }
            for role in chips {
                let style = theme.style(role);
                let reversed = style.add_modifier.contains(Modifier::REVERSED);
                assert_eq!(reversed, palette == Palette::Mono, "{role:?}");
                assert_eq!(style.fg.is_some() && style.bg.is_some(), !reversed, "{role:?}");
            }
        }
    }
}
