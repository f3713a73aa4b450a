//! Roles, colours and glyphs. Panes ask for a [`Role`] or a glyph, never for a colour.
//!
//! - Sixteen ANSI colours of the terminal's own palette, no red/green pair, no bright black.
//! - No information is in colour alone: every role also differs by glyph and word, and in the mono theme by
//!   modifier.

use ratatui::style::{Color, Modifier, Style};

/// The meaning of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Plain.
    Text,
    /// Secondary: dim, never bright black.
    Muted,
    /// Headings and names.
    Strong,
    /// The border and title of the focused pane.
    Focus,
    /// Other borders.
    Border,
    /// The selected row.
    Selection,
    /// Good: answered, closed.
    Ok,
    /// From the cache.
    Hit,
    /// Waiting, retrying, half-open.
    Wait,
    /// Failed.
    Bad,
    /// Rejected by a guard; breaker open.
    Refused,
    /// Injected or forced by the user.
    Injected,
    /// The filled part of a gauge.
    Gauge,
    /// A key in footer and help.
    Key,
    /// Text being typed.
    Input,
}

/// The colours of a theme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// Sixteen ANSI colours.
    #[default]
    Ansi16,
    /// No colours: bold, dim, underline and reverse only.
    Mono,
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

    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        let style = Style::new();
        let colour = |colour: Color, style: Style| match self.palette {
            Palette::Ansi16 => style.fg(colour),
            Palette::Mono => style,
        };
        match role {
            Role::Text => style,
            Role::Muted | Role::Border => style.add_modifier(Modifier::DIM),
            Role::Strong | Role::Input => style.add_modifier(Modifier::BOLD),
            Role::Focus | Role::Key => colour(Color::Cyan, style.add_modifier(Modifier::BOLD)),
            Role::Selection => style.add_modifier(Modifier::REVERSED),
            Role::Ok | Role::Gauge => colour(Color::Cyan, style),
            Role::Hit => colour(Color::Blue, style.add_modifier(Modifier::UNDERLINED)),
            Role::Wait => match self.palette {
                Palette::Ansi16 => style.fg(Color::Yellow),
                Palette::Mono => style.add_modifier(Modifier::BOLD),
            },
            Role::Bad => match self.palette {
                Palette::Ansi16 => style.fg(Color::Red).add_modifier(Modifier::BOLD),
                Palette::Mono => style.add_modifier(Modifier::BOLD | Modifier::REVERSED),
            },
            Role::Refused => colour(Color::Magenta, style.add_modifier(Modifier::REVERSED)),
            Role::Injected => colour(Color::Magenta, style.add_modifier(Modifier::BOLD)),
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

/// The theme for an environment and two flags.
///
/// A locale other than UTF-8 selects ASCII glyphs. Without a locale the glyphs are Unicode, because nearly all
/// terminals support UTF-8.
///
/// The caller must call `crossterm::style::force_color_output(true)`: with `NO_COLOR` set, crossterm 0.29 writes a
/// full reset in place of each colour, which also removes bold and reverse. The mono theme never asks for a
/// colour.
pub fn choose(environment: &Environment, color: ColorChoice, ascii: bool) -> Theme {
    let dumb = environment.term.as_deref() == Some("dumb");
    let no_color = environment
        .no_color
        .as_deref()
        .is_some_and(|value| !value.is_empty());
    let mono = match color {
        ColorChoice::Always => false,
        ColorChoice::Never => true,
        ColorChoice::Auto => no_color || dumb,
    };
    let foreign = environment.locale.as_deref().is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    });
    let palette = if mono { Palette::Mono } else { Palette::Ansi16 };
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
    /// Stopped by the user.
    pub stopped: &'static str,
    /// Injected by the user.
    pub injected: &'static str,
    /// Streaming.
    pub streaming: &'static str,
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
    /// Borders: horizontal, vertical, corners (top left, top right, bottom left, bottom right).
    pub border: [&'static str; 6],
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
    stopped: "■",
    injected: "!",
    streaming: "▶",
    timeline_queue: "⋯",
    timeline_wait: "━",
    timeline_stream: "▒",
    timeline_backoff: "·",
    timeline_follow: "≈",
    timeline_now: "▏",
    caret: "▍",
    bar_full: "█",
    bar_empty: "░",
    spark: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    fills: ["█", "▒", "▓", "░", "╳", "≈", "·"],
    dot: "·",
    ellipsis: "…",
    border: ["─", "│", "┌", "┐", "└", "┘"],
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
    stopped: "o",
    injected: "!",
    streaming: ">",
    timeline_queue: ",",
    timeline_wait: "-",
    timeline_stream: "#",
    timeline_backoff: ".",
    timeline_follow: "=",
    timeline_now: "|",
    caret: "_",
    bar_full: "#",
    bar_empty: "-",
    spark: [".", ".", ":", ":", "|", "|", "#", "#"],
    fills: ["#", "4", "5", "t", "r", "c", "o"],
    dot: "-",
    ellipsis: "~",
    border: ["-", "|", "+", "+", "+", "+"],
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
        let theme = choose(&environment, color, false);
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
        assert_eq!(choose(&Environment::default(), Auto, true).glyphs, &ASCII);
    }

    #[test]
    fn mono_roles_differ_by_modifier_without_colour() {
        let mono = Theme::new(Palette::Mono, false);
        let roles = [
            Role::Ok,
            Role::Hit,
            Role::Wait,
            Role::Bad,
            Role::Refused,
            Role::Muted,
        ];
        let styles = roles.map(|role| mono.style(role));
        for (index, style) in styles.iter().enumerate() {
            assert_eq!((style.fg, style.bg), (None, None));
            assert!(
                !styles.iter().skip(index + 1).any(|other| other == style),
                "{:?}",
                roles.get(index)
            );
        }
    }
}
