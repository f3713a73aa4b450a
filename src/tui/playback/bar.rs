//! Playback on the screen: its keys, and the progress bar in place of the prompt.
//!
//! ```text
//! 02:41 of 07:00  x4    playing  ████F██B█████│░░>░░░B░░░░░  damaged at line 812
//! ```

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::Event;
use crate::state::State;
use crate::text::{SafeText, units};
use crate::time::Timestamp;

use crate::tui::action::Action;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;
use crate::tui::wrap;

/// The minimum width of the bar, in cells.
const MIN_BAR: usize = 10;

/// A playback control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Play or pause.
    Play,
    /// Step by events.
    Step(i8),
    /// Jump to the next or previous mark.
    Mark(i8),
    /// Double or halve the speed.
    Speed(i8),
    /// Seek by seconds.
    Seconds(i8),
    /// Go to the beginning.
    Beginning,
    /// Go to the end.
    End,
}

impl Control {
    /// The control of an action; `None` for other actions.
    pub fn from_action(action: Action) -> Option<Self> {
        Some(match action {
            Action::Play => Self::Play,
            Action::StepForward => Self::Step(1),
            Action::StepBack => Self::Step(-1),
            Action::NextMark => Self::Mark(1),
            Action::PrevMark => Self::Mark(-1),
            Action::Faster => Self::Speed(1),
            Action::Slower => Self::Speed(-1),
            Action::SecondsForward => Self::Seconds(5),
            Action::SecondsBack => Self::Seconds(-5),
            Action::Beginning => Self::Beginning,
            Action::End => Self::End,
            _ => return None,
        })
    }
}

/// The change of the shown state after a control.
#[derive(Debug, Default)]
pub struct PlaybackChange {
    /// The state to start from, if not the shown one.
    pub state: Option<Box<State>>,
    /// The events to apply to it.
    pub events: Vec<Arc<Event>>,
    /// The message to show.
    pub message: Option<String>,
}

impl PlaybackChange {
    /// Applies the change to the shown state.
    pub fn apply(self, state: &mut State) {
        if let Some(earlier) = self.state {
            *state = *earlier;
        }
        for event in &self.events {
            state.apply(event);
        }
    }
}

/// The kind of a mark. Of two marks in one cell of the bar, the later kind of this list is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// The first failed call of a series.
    Failure,
    /// A burst started.
    Burst,
    /// Settings changed.
    Policy,
    /// Faults were turned on, off or changed.
    Faults,
    /// The breaker changed its state or was forced.
    Breaker,
}

impl MarkKind {
    /// Returns true if the bar shows the mark; failures are too frequent.
    fn is_drawn(self) -> bool {
        self != Self::Failure
    }

    /// The symbol and its role; the help lists them.
    fn symbol(self) -> (&'static str, Role) {
        match self {
            Self::Failure => ("x", Role::Broken),
            Self::Burst => (">", Role::Strong),
            Self::Policy => ("P", Role::Strong),
            Self::Faults => ("F", Role::Yours),
            Self::Breaker => ("B", Role::Refused),
        }
    }
}

/// The position and state of playback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playback {
    /// The name of the journal's file; empty if unknown.
    pub name: SafeText,
    /// The shown time.
    pub at: Timestamp,
    /// The time of the last event.
    pub length: Timestamp,
    /// Number of events so far, and in total.
    pub events: (usize, usize),
    /// The speed: `x4`, `x1/4`.
    pub speed: &'static str,
    /// True while it plays.
    pub playing: bool,
    /// The marks, in order of time.
    pub marks: Arc<[(Timestamp, MarkKind)]>,
    /// The damage of the journal, in short and in full.
    pub damage: Option<(String, SafeText)>,
}

impl Playback {
    /// The reason why a control has no effect now.
    pub fn blocked(&self, control: Control) -> Option<&'static str> {
        let (done, all) = self.events;
        let before = match control {
            Control::Step(by) | Control::Seconds(by) | Control::Mark(by) => by < 0,
            Control::Beginning => true,
            Control::End => false,
            Control::Play | Control::Speed(_) => return None,
        };
        match before {
            true if done == 0 && self.at == Timestamp::ZERO => Some("already at the beginning"),
            false if done >= all && self.at >= self.length => Some("already at the end"),
            _ => None,
        }
    }

    /// The text before the bar, of constant width.
    fn status_text(&self) -> String {
        let clock = |at: Timestamp| units::clock(at.since(Timestamp::ZERO), false);
        let length = clock(self.length);
        let status = match (self.playing, self.events.0 >= self.events.1) {
            (true, _) => "playing",
            (false, true) => "the end",
            (false, false) => "paused ",
        };
        format!(
            "{:>width$} of {length}  {:<4}  {status}",
            clock(self.at),
            self.speed,
            width = length.len()
        )
    }

    /// The cell of a time in a bar of `cells` cells.
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
    let status = wrap::fit(&playback.status_text(), columns, theme.glyphs.ellipsis);
    let (mut x, _) = buf.set_stringn(area.x, area.y, &status, columns, theme.style(Role::Text));
    x = x.saturating_add(2);
    let mut room = usize::from(area.right().saturating_sub(x));
    if let Some((short, _)) = &playback.damage {
        let wide = wrap::width(short);
        // the damage takes precedence over the bar
        room = room.saturating_sub(wide + 2);
        if room < MIN_BAR {
            let left = usize::from(area.right().saturating_sub(x));
            let short = wrap::fit(short, left, theme.glyphs.ellipsis);
            buf.set_stringn(x, area.y, short, left, theme.style(Role::Broken));
            return;
        }
        let from = area
            .right()
            .saturating_sub(u16::try_from(wide).unwrap_or(u16::MAX));
        buf.set_stringn(from, area.y, short, wide, theme.style(Role::Broken));
    }
    if room >= MIN_BAR {
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
            Some(kind) => kind.symbol(),
            None if cell < here => (theme.glyphs.bar_full, Role::Work),
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
            name: "retry-storm.ndjson".into(),
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
    fn the_bar_shows_position_and_marks() {
        assert_eq!(
            line(&playback(161), 60),
            "02:41 of 07:00  x4    playing  ########B##|........F........"
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
        assert_eq!(line(&long, 40), "   00:00 of 02:01:40  x1/4  paused");
    }

    #[test]
    fn damage_is_shown_after_the_bar_or_instead_of_it() {
        let damaged = Playback {
            damage: Some(("damaged at line 812".to_owned(), "all of it".into())),
            ..playback(0)
        };
        assert_eq!(
            line(&damaged, 70),
            "00:00 of 07:00  x4    playing  |....B......F.....  damaged at line 812"
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
