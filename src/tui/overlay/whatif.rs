//! The running policy beside one edited copy, judged on the same calls.
//!
//! ```text
//!   80x24: sentence, note       120x40:  running | copy    | sentence, note
//!          running | copy                settings by layer | really | running | copy | difference
//!          the setting                                     |
//!          main figures                  the setting       | calls that would have ended otherwise
//! ```
//!
//! Nothing is kept for drawing: the values that run are those of the state, the copy's are its changes over them.

pub mod draft;
mod figures;
mod list;
mod value;
mod words;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use super::super::layout::{MIN_HEIGHT, MIN_WIDTH};
use crate::tui::pane::row;
use crate::tui::theme::Role;
use crate::tui::view::View;
use crate::tui::wrap;

pub use draft::{AT_START, Shadow, Values, Written, values};
use figures::Figures;

/// What is said of this view in its help.
pub const ABOUT: [&str; 14] = [
    "the running policy beside one copy of it that you edit",
    "after each change the calls of this session are played again, under",
    "both and before the same upstream; nothing is sent for it",
    "  before the simulator: with the same draws, so exactly",
    "  before a real upstream: as it was seen, so it is an estimate",
    "  an embedder elsewhere is not asked: the built-in one stands in",
    "really: what became of the calls when they were made, so far",
    "running: the policy that runs, played again from the first call on;",
    "  near to really, or the settings were others at the time, or the",
    "  first calls are gone: the newest 10000 are kept, a quarter warms up",
    "copy: your copy, played again; difference: copy less running",
    "a call that still runs is played to its end, under both",
    "the copy is kept when this is closed, as its changes alone",
    "* changed: that value of the copy is not the running one",
];

/// What each of its figures says, in its help.
pub const FIGURES: [&str; 16] = [
    "better or worse stands where one figure alone can say so",
    "served: got an answer: their own, a stored one, or another call's",
    "of all: those of 100 calls that were served",
    "from cache: got a stored answer",
    "shared: got the answer that an equal call had under way",
    "rejected: turned away by the limiter: no room in its queue or time",
    "refused: turned away by the open breaker, not sent",
    "failed: every try failed, or the call ran out of time",
    "cut: the answer broke off after some of it had come",
    "stopped: by you; not ended: these still run",
    "attempts: requests sent; retries: those after the first of a call",
    "queued: calls that had to wait for the limiter",
    "p50, p95: half, and 95 of 100, of the served had it within that",
    "tokens: LLM tokens that attempts used",
    "wasted: those of them that no caller got",
    "opened: times the breaker opened",
];

/// Where everything stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    /// The sentence, and how it was judged.
    head: Rect,
    /// The heading of the columns, and the list.
    list: Rect,
    /// The setting under the cursor.
    about: Rect,
    figures: Rect,
    /// Whether list and figures stand beside each other.
    wide: bool,
}

/// Where everything stands on a screen; nothing where there is no room.
fn places(screen: Rect) -> Option<Places> {
    if screen.width < MIN_WIDTH || screen.height < MIN_HEIGHT {
        return None;
    }
    let inner = inside(super::place(screen, screen.width, screen.height));
    let rows = |y: u16, height: u16| Rect {
        y: inner.y + y,
        height,
        ..inner
    };
    let wide = inner.width >= 116 && inner.height >= 26;
    if !wide {
        let head = if inner.height >= 18 { 2 } else { 1 };
        let list = inner.height - head - 3 - 4;
        return Some(Places {
            head: rows(0, head),
            list: rows(head, list),
            about: rows(head + list, 3),
            figures: rows(head + list + 3, 4),
            wide,
        });
    }
    let left = if inner.width >= 170 { 90 } else { 65 };
    let column = |place: Rect| Rect { width: left, ..place };
    let right = |place: Rect| Rect {
        x: inner.x + left + 2,
        width: inner.width - left - 2,
        ..place
    };
    Some(Places {
        head: right(rows(0, 5)),
        list: column(rows(0, inner.height - 5)),
        about: column(rows(inner.height - 4, 4)),
        figures: right(rows(6, inner.height - 6)),
        wide,
    })
}

/// The place inside the border, with a column of air on each side.
fn inside(area: Rect) -> Rect {
    Rect {
        x: area.x.saturating_add(2),
        y: area.y.saturating_add(1),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

/// Whether there is room for it.
pub fn fits(screen: Rect) -> bool {
    places(screen).is_some()
}

/// The setting at a place on the screen.
pub fn setting_at(shadow: &Shadow, screen: Rect, at: Position) -> Option<usize> {
    let list = places(screen)?.list;
    let line = at.y.checked_sub(list.y + 1)?;
    let inside = list.contains(at);
    inside
        .then(|| list::setting_at(shadow, usize::from(line), usize::from(list.height) - 1))
        .flatten()
}

/// Lines of the list that are seen at once.
pub fn page(screen: Rect) -> usize {
    places(screen).map_or(1, |places| {
        usize::from(places.list.height).saturating_sub(1).max(1)
    })
}

/// The first line of the list, moved so that the cursor is seen.
pub fn top(shadow: &Shadow, screen: Rect) -> usize {
    list::top(shadow, page(screen))
}

/// Draws it; the real cursor stands in the value that is written.
pub fn render(view: &View<'_>, screen: Rect, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let (shadow, theme) = (&view.ui.shadow, view.theme);
    let policy = &view.state.session.policy;
    let running = values(policy);
    let changes = shadow.count(&running);
    let note = match shadow.line {
        Some(_) => "Enter takes it   Esc leaves it as it was",
        None if area.width < 70 => "Enter commits   u takes back   Esc closes",
        None => "Enter commits   u takes back   Esc closes, the copy is kept",
    };
    let note = wrap::fit(
        note,
        usize::from(area.width).saturating_sub(4),
        theme.glyphs.ellipsis,
    );
    super::frame(view, &title(view, changes), &note, area, buf);
    let Some(places) = places(screen) else {
        let text = format!("comparing needs {MIN_WIDTH}x{MIN_HEIGHT}; Esc closes");
        let text = row::piece(theme, Role::Wait, text);
        row::draw(&Line::from(text), 0, inside(area), buf);
        return None;
    };
    let cursor = list::render(theme, shadow, &running, places.list, buf);
    list::about(theme, shadow, places.about, buf);
    head(view, changes, places.head, buf);
    let (result, current) = words::heard(view.state, shadow);
    let figures = Figures {
        result,
        current: current && shadow.error.is_none(),
        changed: changes > 0,
    };
    if places.wide {
        rule(view, places, buf);
        let rows = figures::table(theme, figures, places.figures, buf) + 1;
        let below = Rect {
            y: places.figures.y + rows.min(places.figures.height),
            height: places.figures.height.saturating_sub(rows),
            ..places.figures
        };
        figures::examples(theme, figures, below, buf);
    } else {
        figures::main(theme, figures, places.figures, buf);
    }
    cursor
}

/// `Compare live: production, copy with 2 changes`.
fn title(view: &View<'_>, changes: usize) -> String {
    let name = view.state.session.policy.name.replace(char::is_control, " ");
    let name = wrap::fit(&name, 40, view.theme.glyphs.ellipsis);
    match changes {
        0 => format!("Compare live: {name}, copy without change"),
        1 => format!("Compare live: {name}, copy with 1 change"),
        many => format!("Compare live: {name}, copy with {many} changes"),
    }
}

/// The sentence, and below it how it was judged.
fn head(view: &View<'_>, changes: usize, area: Rect, buf: &mut Buffer) {
    let (shadow, theme, width) = (&view.ui.shadow, view.theme, usize::from(area.width));
    let sentence = words::sentence(view.state, shadow, changes, view.ui.paused.is_some());
    let rows = usize::from(area.height);
    let tall = rows > 2 || shadow.error.is_some();
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
    let (result, _) = words::heard(view.state, shadow);
    let room = rows.saturating_sub(if rows > 2 { 2 } else { lines.len() });
    if let Some(result) = result
        && room > 0
    {
        lines.resize(rows - room, Line::default());
        let role = if words::is_doubtful(result) {
            Role::Wait
        } else {
            Role::Muted
        };
        let mut wordings = words::notes(result)
            .into_iter()
            .map(|text| row::wrap(theme, &text, width, room + 1));
        // the last one is short enough at every width
        let note = wordings.find(|texts| texts.len() <= room).unwrap_or_default();
        lines.extend(
            note.into_iter()
                .map(|text| Line::from(row::piece(theme, role, text))),
        );
    }
    row::draw_all(&lines, area, buf);
}

/// The line between list and figures.
fn rule(view: &View<'_>, places: Places, buf: &mut Buffer) {
    let [_, vertical, ..] = view.theme.glyphs.border;
    let x = places.list.right();
    for y in places.head.y..places.about.bottom() {
        buf.set_stringn(x, y, vertical, 1, view.theme.style(Role::Border));
    }
}
