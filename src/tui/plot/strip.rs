//! Strips of one row: the faults that were on, and the state of the breaker.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::{Axis, fill_style, put, symbols};
use crate::event::BreakerState;
use crate::time::Timestamp;
use crate::tui::theme::{Palette, Role, Theme};
use crate::tui::view::View;
use crate::tui::wrap;

/// A time with a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// Start.
    pub from: Timestamp,
    /// End; `None` if it has not ended.
    pub to: Option<Timestamp>,
    /// Labels, the longest first; the first that fits is written.
    pub labels: Vec<String>,
}

/// Draws the faults: `╱╱ outage 75% ╱╱╱╱╱`.
pub fn faults(theme: &Theme, axis: &Axis, spans: &[Labelled], row: Rect, buf: &mut Buffer) {
    let symbol = symbols(theme).faults;
    for span in spans {
        let to = span.to.unwrap_or(Timestamp(axis.end().0.saturating_add(1)));
        let Some((first, last)) = axis.columns_of(span.from, to) else {
            continue;
        };
        let last = last.min(row.width.saturating_sub(1));
        for column in first..=last {
            put(buf, row.x + column, row.y, symbol, theme.style(Role::Yours));
        }
        let room = usize::from((last + 1).saturating_sub(first));
        // two strokes on each side
        let label = span.labels.iter().find(|label| wrap::width(label) + 6 <= room);
        if let Some(label) = label {
            let text = format!(" {label} ");
            buf.set_string(
                row.x + first + 2,
                row.y,
                text,
                Style::reset().patch(theme.style(Role::Strong)),
            );
        }
    }
}

/// A state of the breaker, its start, and its end if it has ended.
type Spell = (BreakerState, Timestamp, Option<Timestamp>);

/// Draws the state of the breaker: `─` closed, `█OPEN 5 s█` open, `▒` half-open. A spell takes a column at least,
/// unless it would hide an open one.
pub fn breaker(view: &View<'_>, axis: &Axis, row: Rect, buf: &mut Buffer) {
    let state = view.state.breaker();
    let mut spells: Vec<Spell> = state
        .history
        .iter()
        .map(|spell| (spell.state, spell.from, Some(spell.to)))
        .collect();
    spells.push((state.state, state.since, None));
    let owners = owners(axis, &spells, view.state.timeline.started_at());
    let theme = view.theme;
    let symbols = symbols(theme);
    let mut column = 0;
    while let Some(owner) = owners.get(usize::from(column)).copied() {
        let same = owners
            .iter()
            .skip(usize::from(column))
            .take_while(|other| **other == owner);
        let count = (same.count() as u16).min(row.width.saturating_sub(column));
        if count == 0 {
            break;
        }
        let at = Rect {
            x: row.x + column,
            width: count,
            ..row
        };
        let spell = owner.and_then(|index| spells.get(index));
        let fill = |symbol, style, buf: &mut Buffer| {
            for x in at.left()..at.right() {
                put(buf, x, at.y, symbol, style);
            }
        };
        match spell.map(|spell| spell.0) {
            None => {}
            Some(BreakerState::Closed) => fill(symbols.closed, theme.style(Role::Border), buf),
            Some(BreakerState::HalfOpen) => fill(symbols.half_open, fill_style(theme, Role::Held), buf),
            Some(BreakerState::Open) => {
                fill(symbols.open, fill_style(theme, Role::Refused), buf);
                let after_closed = column
                    .checked_sub(1)
                    .and_then(|before| buf.cell((row.x + before, row.y)))
                    .is_some_and(|cell| cell.symbol() == symbols.closed);
                let over = spell.and_then(|(_, from, to)| Some(to.as_ref()?.since(*from)));
                open_label(theme, at, over, after_closed, buf);
            }
        }
        column += count;
    }
}

/// Writes `OPEN 5 s` into the columns of an open spell.
fn open_label(theme: &Theme, at: Rect, over: Option<Duration>, after_closed: bool, buf: &mut Buffer) {
    let long = over.map(|span| format!("OPEN {}", seconds(span)));
    let room = usize::from(at.width);
    let texts = [long, Some("OPEN".to_owned())];
    let Some(text) = texts.into_iter().flatten().find(|text| text.len() <= room) else {
        return;
    };
    let indent = u16::from(after_closed && text.len() < room);
    let style = match theme.palette {
        Palette::Mono => Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
        _ => theme.style(Role::RefusedChip),
    };
    buf.set_string(at.x + indent, at.y, text, Style::reset().patch(style));
}

/// Whole seconds or minutes: `5 s`, `12 m`.
fn seconds(span: Duration) -> String {
    let seconds = (span.as_millis() + 500) / 1000;
    if seconds < 600 {
        format!("{seconds} s")
    } else {
        format!("{} m", seconds / 60)
    }
}

/// The spell shown in each column; `None` before the start.
fn owners(axis: &Axis, spells: &[Spell], started: Option<Timestamp>) -> Vec<Option<usize>> {
    let mut owners: Vec<Option<usize>> = vec![None; usize::from(axis.columns())];
    let mut paint = |state: BreakerState| {
        for (index, (kind, from, to)) in spells.iter().enumerate() {
            let end = to.unwrap_or(Timestamp(axis.end().0.saturating_add(1)));
            let Some(started) = started.filter(|_| *kind == state) else {
                continue;
            };
            let from = (*from).max(started);
            // an empty spell of the closed breaker needs no column
            let Some((first, last)) = axis
                .columns_of(from, end)
                .filter(|_| state != BreakerState::Closed || from < end)
            else {
                continue;
            };
            for column in usize::from(first)..=usize::from(last) {
                let below = owners.get(column).copied().flatten();
                let alone = below.is_some_and(|below| {
                    let open = spells
                        .get(below)
                        .is_some_and(|spell| spell.0 == BreakerState::Open);
                    open && owners.iter().filter(|owner| **owner == Some(below)).count() == 1
                });
                if let Some(owner) = owners.get_mut(column).filter(|_| !alone) {
                    *owner = Some(index);
                }
            }
        }
    };
    paint(BreakerState::Closed);
    paint(BreakerState::Open);
    paint(BreakerState::HalfOpen);
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use BreakerState::{Closed, HalfOpen, Open};

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs_f64(seconds)
    }

    #[test]
    fn every_opening_and_every_probe_has_a_column() {
        let axis = Axis::ending(at(29.9), Duration::from_secs(30), 30);
        let spells = [
            (Closed, at(0.0), Some(at(10.0))),
            (Open, at(10.0), Some(at(15.0))),
            (HalfOpen, at(15.0), Some(at(15.2))),
            (Open, at(15.2), Some(at(25.2))),
            (HalfOpen, at(25.2), Some(at(25.3))),
            (Closed, at(25.3), Some(at(25.4))),
            (Open, at(25.4), None),
        ];
        let shown: String = owners(&axis, &spells, Some(at(2.0)))
            .into_iter()
            .map(|owner| owner.map_or('.', |owner| (b'0' + owner as u8) as char))
            .collect();
        assert_eq!(shown, "..000000001111123333333334_6666".replace('_', ""));
    }

    #[test]
    fn a_short_probe_does_not_hide_an_opening() {
        let axis = Axis::ending(at(99.0), Duration::from_secs(100), 5);
        let spells = [
            (Closed, at(0.0), Some(at(50.0))),
            (Open, at(50.0), Some(at(55.0))),
            (HalfOpen, at(55.0), Some(at(55.1))),
            (Closed, at(55.1), None),
        ];
        let shown = owners(&axis, &spells, Some(at(0.0)));
        assert_eq!(shown, [Some(0), Some(0), Some(1), Some(3), Some(3)]);
    }
}
