//! The what-if overlay: the running policy beside an edited one, evaluated on the same calls.
//!
//! ```text
//!   80x24: sentence, note        120x40: running | edited   | sentence, note
//!          running | edited              settings by layer  | observed | running | edited | difference
//!          selected setting                                 |
//!          main figures                  selected setting   | calls that would have ended differently
//! ```
//!
//! Nothing is cached for drawing: running values come from the state, edited values are the changes over them.

pub mod draft;
mod figures;
mod list;
mod value;
mod wording;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use super::super::layout::{MIN_HEIGHT, MIN_WIDTH};
use crate::text::units;
use crate::tui::pane::row;
use crate::tui::theme::Role;
use crate::tui::view::View;
use crate::tui::wrap;

pub use draft::{AT_START, Draft, ValueLine, Values, values};
use figures::Figures;

/// The description of this overlay in its help.
pub const ABOUT: [&str; 14] = [
    "the running policy beside an edited copy",
    "after each edit the calls of this session are replayed under both",
    "policies against the same upstream; nothing is sent",
    "  with the simulator: same random draws, so the result is exact",
    "  with a real upstream: as recorded, so the result is an estimate",
    "  a remote embedder is not called: the built-in one replaces it",
    "observed (obs.): the results of the calls so far",
    "running (runs): the running policy, replayed from the first call;",
    "  differs from observed if settings changed during the session, or",
    "  if calls were dropped: the newest 10000 are kept, 1/4 as warm-up",
    "edited (edit): the edited policy; difference: edited less running",
    "calls still running are replayed to their end under both",
    "edits are kept when this view is closed",
    "* changed: the edited value differs from the running one",
];

/// The meaning of each figure, for the help.
pub const FIGURES: [&str; 16] = [
    "better, worse: only for figures where the direction is clear",
    "served: answered by the upstream, the cache or a shared flight",
    "of all: percentage of calls served",
    "cached: answered by the cache",
    "shared: answered by the flight of an equal call",
    "limited: the queue of the limiter was full, or the wait too long",
    "refused: the breaker was open; not sent",
    "failed: every attempt failed, or the deadline passed",
    "cut off: the answer was interrupted after its first token",
    "stopped: by you; not ended: still running",
    "attempts: requests sent; retries: attempts after the first",
    "queued: calls that waited for the limiter",
    "p50, p95: latency percentiles of served calls",
    "tokens: LLM tokens used by attempts",
    "wasted: tokens of answers that no caller received",
    "opened: times the breaker opened",
];

/// The areas of the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Regions {
    /// The result in a sentence, and a note on the method.
    head: Rect,
    /// The column headings and the list.
    list: Rect,
    /// The selected setting.
    about: Rect,
    figures: Rect,
    /// True if list and figures are side by side.
    wide: bool,
}

/// The areas on a screen; `None` if it is too small.
fn regions(screen: Rect) -> Option<Regions> {
    if screen.width < MIN_WIDTH || screen.height < MIN_HEIGHT {
        return None;
    }
    let inner = inside(super::centred(screen, screen.width, screen.height));
    let rows = |y: u16, height: u16| Rect {
        y: inner.y + y,
        height,
        ..inner
    };
    let wide = inner.width >= 116 && inner.height >= 26;
    if !wide {
        let head = if inner.height >= 18 { 2 } else { 1 };
        let list = inner.height - head - 3 - 4;
        return Some(Regions {
            head: rows(0, head),
            list: rows(head, list),
            about: rows(head + list, 3),
            figures: rows(head + list + 3, 4),
            wide,
        });
    }
    let left = if inner.width >= 170 { 90 } else { 65 };
    let column = |area: Rect| Rect { width: left, ..area };
    let right = |area: Rect| Rect {
        x: inner.x + left + 2,
        width: inner.width - left - 2,
        ..area
    };
    Some(Regions {
        head: right(rows(0, 5)),
        list: column(rows(0, inner.height - 5)),
        about: column(rows(inner.height - 4, 4)),
        figures: right(rows(6, inner.height - 6)),
        wide,
    })
}

/// The area inside the border, with a blank column on each side.
fn inside(area: Rect) -> Rect {
    Rect {
        x: area.x.saturating_add(2),
        y: area.y.saturating_add(1),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

/// Returns true if the screen is large enough.
pub fn fits(screen: Rect) -> bool {
    regions(screen).is_some()
}

/// The setting at a position on the screen.
pub fn setting_at(draft: &Draft, screen: Rect, at: Position) -> Option<usize> {
    let list = regions(screen)?.list;
    let line = at.y.checked_sub(list.y + 1)?;
    let inside = list.contains(at);
    inside
        .then(|| list::setting_at(draft, usize::from(line), usize::from(list.height) - 1))
        .flatten()
}

/// The number of visible lines of the list.
pub fn page(screen: Rect) -> usize {
    regions(screen).map_or(1, |regions| {
        usize::from(regions.list.height).saturating_sub(1).max(1)
    })
}

/// The first visible line of the list, such that the cursor is visible.
pub fn top(draft: &Draft, screen: Rect) -> usize {
    list::top(draft, page(screen))
}

/// Draws the overlay; returns the cursor position if a value is typed.
pub fn render(view: &View<'_>, screen: Rect, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let (draft, theme) = (&view.ui.whatif, view.theme);
    let policy = &view.state.session.policy;
    let running = values(policy);
    let changes = draft.count(&running);
    let note = match draft.line {
        Some(_) => "Enter accept   Esc cancel",
        None if area.width < 70 => "Enter apply   U undo   Esc close",
        None => "Enter apply   U undo   Esc close, edits are kept",
    };
    let note = wrap::fit(
        note,
        usize::from(area.width).saturating_sub(4),
        theme.glyphs.ellipsis,
    );
    super::frame(view, &title(view, changes), &note, area, buf);
    let Some(regions) = regions(screen) else {
        let text = format!("needs a terminal of {MIN_WIDTH}x{MIN_HEIGHT}; Esc closes");
        let text = row::piece(theme, Role::Held, text);
        row::draw(&Line::from(text), 0, inside(area), buf);
        return None;
    };
    let cursor = list::render(theme, draft, &running, regions.list, buf);
    list::about(theme, draft, regions.about, buf);
    head(view, changes, regions.head, buf);
    let (result, current) = wording::latest_result(view.state, draft);
    let figures = Figures {
        result,
        current: current && draft.error.is_none(),
        changed: changes > 0,
    };
    if regions.wide {
        rule(view, regions, buf);
        let rows = figures::table(theme, figures, regions.figures, buf) + 1;
        let below = Rect {
            y: regions.figures.y + rows.min(regions.figures.height),
            height: regions.figures.height.saturating_sub(rows),
            ..regions.figures
        };
        figures::examples(theme, figures, below, buf);
    } else {
        figures::main(theme, figures, regions.figures, buf);
    }
    cursor
}

/// `What-if: production, 2 edits`.
fn title(view: &View<'_>, changes: usize) -> String {
    let name = view.state.session.policy.name.replace(char::is_control, " ");
    let name = wrap::fit(&name, 40, view.theme.glyphs.ellipsis);
    match changes {
        0 => format!("What-if: {name}, no edits"),
        edits => format!("What-if: {name}, {}", units::count(edits as u64, "edit")),
    }
}

/// The result in a sentence, and a note on the method below.
fn head(view: &View<'_>, changes: usize, area: Rect, buf: &mut Buffer) {
    let (draft, theme, width) = (&view.ui.whatif, view.theme, usize::from(area.width));
    let sentence = wording::sentence(view.state, draft, changes, view.ui.paused.is_some());
    let rows = usize::from(area.height);
    let tall = rows > 2 || draft.error.is_some();
    let mut lines: Vec<Line<'static>> = if tall {
        let texts = sentence.within(|text| row::wrap(theme, text, width, usize::MAX), 2.min(rows));
        let texts = texts.unwrap_or_else(|| row::wrap(theme, &sentence.text(), width, 2.min(rows)));
        let styled = texts
            .into_iter()
            .map(|text| row::piece(theme, sentence.role, text));
        styled.map(Line::from).collect()
    } else {
        let pieces = sentence.pieces.iter();
        let pieces = pieces.map(|text| Line::from(row::piece(theme, sentence.role, text.clone())));
        vec![row::join(theme, pieces, width)]
    };
    let (result, _) = wording::latest_result(view.state, draft);
    let room = rows.saturating_sub(if rows > 2 { 2 } else { lines.len() });
    if let Some(result) = result
        && room > 0
    {
        lines.resize(rows - room, Line::default());
        let role = if wording::is_doubtful(result) {
            Role::Held
        } else {
            Role::Muted
        };
        let mut notes = wording::notes(result)
            .into_iter()
            .map(|text| row::wrap(theme, &text, width, room + 1));
        // the last wording fits at every width
        let note = notes.find(|texts| texts.len() <= room).unwrap_or_default();
        lines.extend(
            note.into_iter()
                .map(|text| Line::from(row::piece(theme, role, text))),
        );
    }
    row::draw_all(&lines, area, buf);
}

/// The line between list and figures.
fn rule(view: &View<'_>, regions: Regions, buf: &mut Buffer) {
    let [_, vertical, ..] = view.theme.glyphs.border;
    let x = regions.list.right();
    for y in regions.head.y..regions.about.bottom() {
        buf.set_stringn(x, y, vertical, 1, view.theme.style(Role::Border));
    }
}
