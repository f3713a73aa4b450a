//! What a replay adds to the screen: the keys that move through it, and a bar of its time where a prompt would be
//! typed.
//!
//! ```text
//! 02:41 of 07:00  x4    playing  ████F██B█████│░░>░░░B░░░░░  damaged at line 812
//! ```

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::Event;
use crate::state::State;
use crate::text::SafeText;
use crate::time::Timestamp;

use crate::tui::action::Action;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;
use crate::tui::wrap;

/// The least cells of a bar that says anything.
const LEAST: usize = 10;

/// A key of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Play, or stand still.
    Play,
    /// By so many events.
    Step(i8),
    /// To the next mark, or the one before.
    Mark(i8),
    /// Twice as fast, or half.
    Speed(i8),
    /// By so many seconds.
    Seconds(i8),
    /// To the beginning.
    Beginning,
    /// To the end.
    End,
}

impl Control {
    /// What an action asks of a replay; nothing if it is no action of one.
    pub fn of(action: Action) -> Option<Self> {
        Some(match action {
            Action::Play => Self::Play,
            Action::StepOn => Self::Step(1),
            Action::StepBack => Self::Step(-1),
            Action::NextMark => Self::Mark(1),
            Action::PrevMark => Self::Mark(-1),
            Action::Faster => Self::Speed(1),
            Action::Slower => Self::Speed(-1),
            Action::SecondsOn => Self::Seconds(5),
            Action::SecondsBack => Self::Seconds(-5),
            Action::Beginning => Self::Beginning,
            Action::End => Self::End,
            _ => return None,
        })
    }
}

/// What a key of a replay came to.
#[derive(Debug, Default)]
pub struct Moved {
    /// The state to start from, where it is not the one that is shown.
    pub state: Option<Box<State>>,
    /// What is to be folded into it.
    pub events: Vec<Arc<Event>>,
    /// What a person should be told.
    pub said: Option<String>,
}

impl Moved {
    /// Leads from the state that is shown to the new one.
    pub fn apply(self, state: &mut State) {
        if let Some(earlier) = self.state {
            *state = *earlier;
        }
        for event in &self.events {
            state.apply(event);
        }
    }
}

/// What a mark of the bar stands for. Where two fall in one cell the later kind of this list is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// A call failed after others had not.
    Failure,
    /// A burst began.
    Burst,
    /// Settings were changed.
    Policy,
    /// Faults were switched or changed.
    Faults,
    /// The breaker changed its state, or was forced.
    Breaker,
}

impl MarkKind {
    /// Whether the bar shows it: failures are too many.
    fn is_drawn(self) -> bool {
        self != Self::Failure
    }

    /// Shape and colour; the help names them.
    fn look(self) -> (&'static str, Role) {
        match self {
            Self::Failure => ("x", Role::Bad),
            Self::Burst => (">", Role::Strong),
            Self::Policy => ("P", Role::Strong),
            Self::Faults => ("F", Role::Injected),
            Self::Breaker => ("B", Role::Refused),
        }
    }
}

/// Where a replay is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playback {
    /// The time that is shown.
    pub at: Timestamp,
    /// When the last event happened.
    pub length: Timestamp,
    /// Events that have happened, and how many there are.
    pub events: (usize, usize),
    /// How fast: `x4`, `x1/4`.
    pub speed: &'static str,
    /// Whether it moves.
    pub playing: bool,
    /// The marks, in the order of their times.
    pub marks: Arc<[(Timestamp, MarkKind)]>,
    /// What is wrong with the journal, in a few words and in full.
    pub damage: Option<(String, SafeText)>,
}

impl Playback {
    /// Minutes and seconds, hours where there are any.
    fn clock(at: Timestamp) -> String {
        let seconds = at.0 / 1_000_000_000;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match hours {
            0 => format!("{minutes:02}:{seconds:02}"),
            _ => format!("{hours}:{minutes:02}:{seconds:02}"),
        }
    }

    /// Why a key does nothing now.
    pub fn blocked(&self, control: Control) -> Option<&'static str> {
        let (done, all) = self.events;
        let before = match control {
            Control::Step(by) | Control::Seconds(by) | Control::Mark(by) => by < 0,
            Control::Beginning => true,
            Control::End => false,
            Control::Play | Control::Speed(_) => return None,
        };
        match before {
            true if done == 0 && self.at == Timestamp::ZERO => Some("this is the beginning"),
            false if done >= all && self.at >= self.length => Some("this is the end"),
            _ => None,
        }
    }

    /// The words in front of the bar: they keep their width while time passes.
    fn words(&self) -> String {
        let length = Self::clock(self.length);
        let doing = match (self.playing, self.events.0 >= self.events.1) {
            (true, _) => "playing",
            (false, true) => "the end",
            (false, false) => "paused ",
        };
        format!(
            "{:>width$} of {length}  {:<4}  {doing}",
            Self::clock(self.at),
            self.speed,
            width = length.len()
        )
    }

    /// The cell of an instant in a bar of `cells` cells.
    fn cell(&self, at: Timestamp, cells: usize) -> usize {
        let last = cells.saturating_sub(1);
        let part = at.0 as f64 / self.length.0.max(1) as f64;
        ((part * last as f64).round() as usize).min(last)
    }
}

/// Draws the bar.
pub fn render(view: &View<'_>, playback: &Playback, area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    let columns = usize::from(area.width);
    let words = wrap::fit(&playback.words(), columns, theme.glyphs.ellipsis);
    let (mut x, _) = buf.set_stringn(area.x, area.y, &words, columns, theme.style(Role::Text));
    x = x.saturating_add(2);
    let mut room = usize::from(area.right().saturating_sub(x));
    if let Some((short, _)) = &playback.damage {
        let wide = wrap::width(short);
        // what is wrong goes before the bar where there is no room for both
        room = room.saturating_sub(wide + 2);
        if room < LEAST {
            let left = usize::from(area.right().saturating_sub(x));
            let short = wrap::fit(short, left, theme.glyphs.ellipsis);
            buf.set_stringn(x, area.y, short, left, theme.style(Role::Bad));
            return;
        }
        let from = area
            .right()
            .saturating_sub(u16::try_from(wide).unwrap_or(u16::MAX));
        buf.set_stringn(from, area.y, short, wide, theme.style(Role::Bad));
    }
    if room >= LEAST {
        bar(
            theme,
            playback,
            Rect {
                x,
                width: u16::try_from(room).unwrap_or(u16::MAX),
                ..area
            },
            buf,
        );
    }
}

fn bar(theme: &Theme, playback: &Playback, area: Rect, buf: &mut Buffer) {
    let cells = usize::from(area.width);
    let here = playback.cell(playback.at, cells);
    let mut drawn = vec![None; cells];
    for (at, kind) in playback.marks.iter().filter(|(_, kind)| kind.is_drawn()) {
        if let Some(cell) = drawn.get_mut(playback.cell(*at, cells)) {
            *cell = (*cell).max(Some(*kind));
        }
    }
    for (cell, (x, mark)) in (area.x..area.right()).zip(drawn).enumerate() {
        let (symbol, role) = match mark {
            _ if cell == here => (theme.glyphs.border[1], Role::Focus),
            Some(kind) => kind.look(),
            None if cell < here => (theme.glyphs.bar_full, Role::Gauge),
            None => (theme.glyphs.bar_empty, Role::Muted),
        };
        buf.set_stringn(x, area.y, symbol, 1, theme.style(role));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::ASCII;
    use crate::tui::ui::Ui;

    fn playback(at: u64) -> Playback {
        let second = |seconds: u64| Timestamp(seconds * 1_000_000_000);
        Playback {
            at: second(at),
            length: second(420),
            events: (at as usize, 420),
            speed: "x4",
            playing: true,
            marks: [
                (second(10), MarkKind::Failure),
                (second(120), MarkKind::Burst),
                (second(121), MarkKind::Breaker),
                (second(300), MarkKind::Faults),
            ]
            .into(),
            damage: None,
        }
    }

    fn line(playback: &Playback, width: u16) -> String {
        let theme = Theme {
            glyphs: &ASCII,
            ..Theme::default()
        };
        let (state, ui) = (State::default(), Ui::default());
        let view = View {
            state: &state,
            ui: &ui,
            theme: &theme,
            now: Timestamp::ZERO,
        };
        let area = Rect::new(0, 0, width, 1);
        let mut buf = Buffer::empty(area);
        render(&view, playback, area, &mut buf);
        let cells = buf.content().iter().map(ratatui::buffer::Cell::symbol);
        cells.collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn the_bar_says_where_it_is_and_has_its_marks() {
        assert_eq!(
            line(&playback(161), 60),
            "02:41 of 07:00  x4    playing  ########B##|--------F--------"
        );
        let ended = Playback {
            playing: false,
            ..playback(420)
        };
        assert_eq!(
            line(&ended, 60),
            "07:00 of 07:00  x4    the end  ########B###########F#######|"
        );
        let long = Playback {
            length: Timestamp(7_300_000_000_000),
            speed: "x1/4",
            playing: false,
            ..playback(0)
        };
        assert_eq!(line(&long, 40), "  00:00 of 2:01:40  x1/4  paused");
    }

    #[test]
    fn what_is_wrong_stands_behind_the_bar_or_instead_of_it() {
        let damaged = Playback {
            damage: Some(("damaged at line 812".to_owned(), "all of it".into())),
            ..playback(0)
        };
        assert_eq!(
            line(&damaged, 70),
            "00:00 of 07:00  x4    playing  |----B------F-----  damaged at line 812"
        );
        assert_eq!(
            line(&damaged, 52),
            "00:00 of 07:00  x4    playing  damaged at line 812"
        );
        for width in 0..120 {
            assert!(line(&damaged, width).len() <= usize::from(width));
        }
    }
}
