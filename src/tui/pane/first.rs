//! The panel before the first call, in place of the charts: what to press, what to try, and the path of a call.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use crate::tui::action::Action;
use crate::tui::keymap::{Context, Keymap};
use crate::tui::layout::{Areas, Tier};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{PaneId, card, row};

/// Columns from which the sentences have their full length.
const WIDE: usize = 112;
/// Rows from which the path is drawn in boxes.
const TALL: usize = 18;
/// Rows from which the parts have blank rows between them.
const AIRY: usize = 24;
/// The path of a call. `!` is the mark of a refused call.
const PATH: [&str; 8] = [
    "┌───────────┐      ┌─────────┐        ┌───────────┐        ┌───────────┐        ┌──────────┐",
    "│ you, b, B │─────▶│ 2 Cache │───────▶│ 3 Limiter │───────▶│ 4 Breaker │───────▶│ upstream │",
    "└───────────┘      └─────────┘        └───────────┘        └───────────┘        └──────────┘",
    "      ▲                 │ seen before       ▲ waits while          │ while OPEN:      │ fails",
    "      └─────────────────┘                   │ quota is used up     ! refused at once  ▼",
    "                                            │                                   ┌───────────┐",
    "                                            └──── again, after a random wait ───│ 5 Retries │",
    "                                                                                └───────────┘",
];
/// The same on narrow screens.
const NARROW_PATH: [&str; 4] = [
    "you ──▶ 2 Cache ──▶ 3 Limiter ──▶ 4 Breaker ──▶ upstream",
    " ▲ seen before │      ▲  (waits)    ! (OPEN)      │ fails",
    " └─────────────┘      │                           ▼",
    "                      └── after a random wait ── 5 Retries",
];

/// The area of the panel: that of the charts and the calls; `None` once there is a call, and where nothing can be
/// sent from.
pub(crate) fn area(view: &View<'_>, areas: &Areas) -> Option<Rect> {
    let ui = view.ui;
    if !card::is_first(view.state) || ui.read_only || ui.playback.is_some() {
        return None;
    }
    if areas.tier == Tier::Tiny || areas.zoomed {
        return None;
    }
    let charts = areas.panes.iter().filter(|(id, _)| is_replaced(*id));
    charts
        .map(|(_, area)| *area)
        .chain(areas.limiter_chart)
        .reduce(Rect::union)
}

/// Returns true for the panes in whose place the panel is drawn.
pub(crate) fn is_replaced(id: PaneId) -> bool {
    id.has_time_axis()
}

/// Draws the panel.
pub(crate) fn render(view: &View<'_>, keymap: &Keymap, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    Clear.render(area, buf);
    let (width, mut rows) = (usize::from(area.width), usize::from(area.height));
    let mut lines = Vec::new();
    let airy = rows >= AIRY;
    let parts = [
        ("Start here", start(view, keymap, width)),
        ("Three things to try", tries(view, keymap, width)),
        ("The path of a call", path(view, width, rows >= TALL)),
    ];
    for (name, part) in parts {
        let gap = usize::from(airy);
        // the last part is the first to go
        if part.is_empty() || part.len() + 1 + 2 * gap > rows + gap {
            break;
        }
        rows = rows.saturating_sub(part.len() + 1 + 2 * gap);
        lines.push(rule(view, name, width));
        lines.extend(vec![Line::default(); gap]);
        lines.extend(part);
        lines.extend(vec![Line::default(); gap]);
    }
    row::draw_all(&lines, area, buf);
}

fn rule(view: &View<'_>, name: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let dash = theme.glyphs.border[0];
    let rest = width.saturating_sub(row::width(name) + 3);
    Line::from(vec![
        row::piece(theme, Role::Border, dash),
        row::piece(theme, Role::Strong, format!(" {name} ")),
        row::piece(theme, Role::Border, dash.repeat(rest)),
    ])
}

/// The keys of the first minutes, in two columns: in each the longest wording that fits.
fn start(view: &View<'_>, keymap: &Keymap, width: usize) -> Vec<Line<'static>> {
    let load = key(keymap, Action::Load);
    let faults = key(keymap, Action::ToggleFaults);
    let words = |wordings: &[&str]| wordings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rows: [[(Action, Vec<String>); 2]; 4] = [
        [
            (Action::Burst10, words(&["send 10 calls"])),
            (
                Action::Prompt,
                words(&["ask a question yourself", "ask a question"]),
            ),
        ],
        [
            (Action::Burst50, words(&["send 50 calls"])),
            (
                Action::Tour,
                words(&[
                    "guided tour: all four patterns in about two minutes",
                    "guided tour",
                ]),
            ),
        ],
        [
            (
                Action::Load,
                vec![
                    format!("5 calls per second until you press {load} again"),
                    format!("5 calls per second, {load} stops"),
                    format!("5 calls/s, {load} stops"),
                ],
            ),
            (Action::Stop, words(&["stop everything"])),
        ],
        [
            (
                Action::ToggleFaults,
                vec![
                    format!("break the upstream; {faults} again repairs it"),
                    format!("break it, {faults} repairs"),
                ],
            ),
            (
                Action::Help,
                words(&["what the keys and marks on this screen mean", "keys and marks"]),
            ),
        ],
    ];
    let indent = if width >= WIDE { 4 } else { 1 };
    let column = width / 2;
    let line = |row: [(Action, Vec<String>); 2]| {
        let mut line = Line::default();
        for (index, (action, wordings)) in row.into_iter().enumerate() {
            let start = index * column + indent;
            line.push_span(row::plain(" ".repeat(start.saturating_sub(line.width()))));
            let key = key(keymap, action);
            let room = (column * (index + 1)).saturating_sub(start + row::width(&key) + 3);
            let text = wordings.into_iter().find(|text| row::width(text) <= room);
            line.push_span(row::piece(view.theme, Role::Key, key));
            line.push_span(row::plain(format!("  {}", text.unwrap_or_default())));
        }
        line
    };
    rows.into_iter().map(line).collect()
}

/// Three experiments: aim, keys, and what to see.
fn tries(view: &View<'_>, keymap: &Keymap, width: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let (ten, fifty) = (key(keymap, Action::Burst10), key(keymap, Action::Burst50));
    let (load, faults) = (key(keymap, Action::Load), key(keymap, Action::ToggleFaults));
    let hit = theme.glyphs.hit;
    let keys = |parts: &[(&str, bool)]| -> Line<'static> {
        let piece = |(text, is_key): &(&str, bool)| {
            row::piece(
                theme,
                if *is_key { Role::Key } else { Role::Muted },
                (*text).to_owned(),
            )
        };
        Line::from(parts.iter().map(piece).collect::<Vec<_>>())
    };
    let table = [
        (
            "See the cache save calls",
            keys(&[(&ten, true), (", then ", false), (&ten, true), (" again", false)]),
            format!("about four of the second ten come from the cache ({hit}), at once"),
            format!("about four come from the cache ({hit})"),
        ),
        (
            "See the breaker open",
            keys(&[(&load, true), (", wait 5 s, ", false), (&faults, true)]),
            format!("retries, then OPEN in about 3 s; {faults} again: CLOSED in about 20 s"),
            "OPEN in about 3 s".to_owned(),
        ),
        (
            "See a burst being paced",
            keys(&[(&fifty, true), (" three times", false)]),
            "requests run out, the rest wait their turn at 5 per second".to_owned(),
            "the rest waits its turn".to_owned(),
        ),
    ];
    let indent = if width >= WIDE { 4 } else { 1 };
    let rows = table.into_iter().map(|(aim, keys, long, short)| {
        let mut line = Line::from(format!("{}{}", " ".repeat(indent), row::left(aim, 27)));
        let blanks = 19_usize.saturating_sub(keys.width());
        line.spans.extend(keys.spans);
        line.push_span(row::plain(" ".repeat(blanks)));
        let room = width.saturating_sub(line.width());
        let effect = [long, short, String::new()]
            .into_iter()
            .find(|text| row::width(text) <= room);
        line.push_span(row::plain(effect.unwrap_or_default()));
        line
    });
    rows.collect()
}

/// The guards in the order in which a call meets them.
fn path(view: &View<'_>, width: usize, tall: bool) -> Vec<Line<'static>> {
    let (drawing, indent): (&[&str], usize) = match width {
        100.. if tall => (&PATH, 4),
        62.. => (&NARROW_PATH, 1),
        _ => return Vec::new(),
    };
    let theme = view.theme;
    let words = |text: &str| -> Vec<Span<'static>> {
        let text = if theme.is_ascii() {
            ascii(text)
        } else {
            text.to_owned()
        };
        match text.split_once('!') {
            Some((before, after)) => vec![
                row::plain(before.to_owned()),
                row::piece(theme, Role::Refused, theme.glyphs.failed),
                row::plain(after.to_owned()),
            ],
            None => vec![row::plain(text)],
        }
    };
    let line = |text: &&str| {
        let mut line = Line::from(" ".repeat(indent));
        line.spans.extend(words(text));
        line
    };
    drawing.iter().map(line).collect()
}

/// The drawing in ASCII.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '─' => '-',
            '│' => '|',
            '▶' => '>',
            '▲' => '^',
            '▼' => 'v',
            '┌' | '┐' | '└' | '┘' => '+',
            c => c,
        })
        .collect()
}

fn key(keymap: &Keymap, action: Action) -> String {
    keymap
        .key(Context::Normal, action)
        .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Fixture};
    use super::*;
    use crate::tui::layout::layout;
    use crate::tui::theme::{Palette, Theme};

    /// The rows of the panel on a screen of this size; none where it is not drawn.
    fn panel(fixture: &mut Fixture, width: u16, height: u16) -> Vec<String> {
        fixture.ui.size = (width, height).into();
        let screen = Rect::new(0, 0, width, height);
        let areas = layout(screen, &fixture.ui);
        let keymap = Keymap::builtin().unwrap();
        let Some(place) = area(&fixture.view(), &areas) else {
            return Vec::new();
        };
        fixture::rows(fixture, place.width, place.height, |view, at, buf| {
            render(view, &keymap, at, buf);
        })
    }

    #[test]
    fn the_panel_shows_what_it_has_room_for() {
        let mut fixture = Fixture::default();
        for (width, height, parts) in [(60, 16, 1), (80, 24, 3), (100, 30, 3), (120, 40, 3), (200, 60, 3)] {
            let rows = panel(&mut fixture, width, height);
            let rules = rows.iter().filter(|row| row.starts_with("─ ")).count();
            assert_eq!(rules, parts, "{width}x{height} {rows:#?}");
            assert!(rows.iter().any(|row| row.contains("send 10 calls")), "{rows:#?}");
            assert!(rows.iter().all(|row| !row.ends_with('…')), "{rows:#?}");
        }
        fixture.theme = Theme::new(Palette::Mono, true);
        let rows = panel(&mut fixture, 120, 40);
        assert!(rows.iter().all(|row| row.is_ascii()), "{rows:#?}");
    }

    #[test]
    fn the_first_call_and_a_zoom_end_it() {
        let mut fixture = Fixture::default();
        fixture.ui.zoomed = true;
        assert_eq!(panel(&mut fixture, 120, 40), Vec::<String>::new());
        fixture.ui.zoomed = false;
        assert!(!panel(&mut fixture, 120, 40).is_empty());
        fixture.state.calls.totals.started = 1;
        assert_eq!(panel(&mut fixture, 120, 40), Vec::<String>::new());
    }
}
