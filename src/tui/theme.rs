//! Colour has meaning, not place: panes ask for a [`Role`] or a mark, never for a colour.
//!
//! Sixteen ANSI colours of the terminal's own palette, no red/green pair, no bright black. Every role also
//! differs by mark and word, and in the mono theme by modifier, so nothing is told by colour alone.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text means.
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
    /// Turned away by a guard; open.
    Refused,
    /// Made on purpose by the user.
    Injected,
    /// The filled part of a gauge.
    Gauge,
    /// A key in footer and help.
    Key,
    /// Text being typed.
    Input,
}

/// How many colours there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// Sixteen.
    #[default]
    Ansi16,
    /// None: bold, dim, underline and reverse only.
    Mono,
}

/// Roles and marks.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Colours.
    pub palette: Palette,
    /// Marks.
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
    /// A theme.
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

/// One cell each, with an ASCII twin.
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
    /// Cut in mid-stream.
    pub cut: &'static str,
    /// Turned away.
    pub refused: &'static str,
    /// Stopped by a person.
    pub stopped: &'static str,
    /// Made on purpose.
    pub injected: &'static str,
    /// Streaming.
    pub streaming: &'static str,
    /// Lane: in the queue.
    pub lane_queue: &'static str,
    /// Lane: waiting for the first token.
    pub lane_wait: &'static str,
    /// Lane: streaming.
    pub lane_stream: &'static str,
    /// Lane: before another attempt.
    pub lane_backoff: &'static str,
    /// Lane: in another call's flight.
    pub lane_follow: &'static str,
    /// Lane: now.
    pub lane_now: &'static str,
    /// The end of text that still grows.
    pub caret: &'static str,
    /// A full cell of a gauge.
    pub bar_full: &'static str,
    /// An empty cell of a gauge.
    pub bar_empty: &'static str,
    /// Heights of a sparkline, lowest first.
    pub spark: [&'static str; 8],
    /// Between facts on one line.
    pub dot: &'static str,
    /// Where something was left out.
    pub ellipsis: &'static str,
    /// Borders: horizontal, vertical, corners (top left, top right, bottom left, bottom right).
    pub border: [&'static str; 6],
}

/// For terminals that speak UTF-8.
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
    lane_queue: "⋯",
    lane_wait: "━",
    lane_stream: "▒",
    lane_backoff: "·",
    lane_follow: "≈",
    lane_now: "▏",
    caret: "▍",
    bar_full: "█",
    bar_empty: "░",
    spark: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    dot: "·",
    ellipsis: "…",
    border: ["─", "│", "┌", "┐", "└", "┘"],
};

/// For all others.
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
    lane_queue: ",",
    lane_wait: "-",
    lane_stream: "#",
    lane_backoff: ".",
    lane_follow: "=",
    lane_now: "|",
    caret: "_",
    bar_full: "#",
    bar_empty: "-",
    spark: [".", ".", ":", ":", "|", "|", "#", "#"],
    dot: "-",
    ellipsis: "~",
    border: ["-", "|", "+", "+", "+", "+"],
};
