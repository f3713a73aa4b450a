//! The latest near matches of the semantic cache: two rows each, what was asked above what is stored.

use ratatui::text::{Line, Span};

use crate::event::Objection;
use crate::state::{Look, LookKind};
use crate::text::SafeText;
use crate::tui::theme::{Role, Theme};

use super::row;
use super::semantic::like;

/// Columns of a similarity or a threshold, and of the number of a call, each with the blanks before it.
const LIKE: usize = 6;
const CALL: usize = 8;
/// Columns of what came of a near match, with blanks, where there is room for words and where there is not.
const CAME: (usize, usize) = (40, 18);
/// From this width on there is.
const WIDE: usize = 110;

/// Heads of the columns of the list.
pub(super) fn head(theme: &Theme, width: usize) -> Line<'static> {
    let text = format!(
        "{}{}  {}{}",
        row::right("like", LIKE),
        row::right("call", CALL),
        row::left("what came of it", came(width)),
        "asked, and below it what is stored"
    );
    Line::from(row::piece(theme, Role::Muted, row::clip(theme, &text, width)))
}

fn came(width: usize) -> usize {
    if width >= WIDE { CAME.0 } else { CAME.1 }
}

/// What was asked, and below it what is stored.
pub(super) fn rows(theme: &Theme, look: &Look, width: usize) -> [Line<'static>; 2] {
    let nearest = &look.nearest;
    let glyphs = theme.glyphs;
    let (what, role) = match look.kind {
        LookKind::Served => (format!("{} hit", glyphs.hit), Role::Hit),
        LookKind::Shadowed => (format!("{} would hit", glyphs.hit), Role::Wait),
        LookKind::Refused => (format!("{} refused", glyphs.refused), Role::Text),
    };
    let (said, said_role) = said(theme, look, came(width) - 2);
    [
        columns(
            theme,
            (nearest.similarity, Role::Text),
            &look.call.to_string(),
            (what, role),
            &look.prompt,
            width,
        ),
        columns(
            theme,
            (nearest.threshold, Role::Muted),
            &format!("of {}", nearest.source),
            (said, said_role),
            &nearest.prompt,
            width,
        ),
    ]
}

/// What people, compared answers or the guard said of a near match.
fn said(theme: &Theme, look: &Look, room: usize) -> (String, Role) {
    let (text, role) = match (look.kind, look.label, look.compared, &look.nearest.objection) {
        (LookKind::Served, Some(true), ..) => (format!("{} judged right", theme.glyphs.ok), Role::Ok),
        (LookKind::Served, Some(false), ..) => (format!("{} judged wrong", theme.glyphs.failed), Role::Bad),
        (LookKind::Served, None, ..) => ("not judged".to_owned(), Role::Muted),
        (LookKind::Shadowed, _, Some((_, true)), _) => ("same answer".to_owned(), Role::Ok),
        (LookKind::Shadowed, _, Some((_, false)), _) => ("another answer".to_owned(), Role::Bad),
        (LookKind::Shadowed, _, None, _) => ("not compared".to_owned(), Role::Muted),
        (LookKind::Refused, _, _, Some(objection)) => return (differs(objection, room), Role::Text),
        (LookKind::Refused, _, _, None) => (String::new(), Role::Muted),
    };
    (row::clip(theme, &text, room), role)
}

/// What differs, as far as it fits whole; at least which guard saw it.
fn differs(objection: &Objection, room: usize) -> String {
    let guard = objection.guard.brief();
    let (asked, stored) = (objection.asked.single_line(), objection.stored.single_line());
    let wordings = [objection.sentence(), format!("{guard}: {asked} / {stored}")];
    let fits = wordings.into_iter().find(|text| row::width(text) <= room);
    fits.unwrap_or_else(|| guard.to_owned())
}

fn columns(
    theme: &Theme,
    (number, role): (f64, Role),
    call: &str,
    (what, what_role): (String, Role),
    prompt: &SafeText,
    width: usize,
) -> Line<'static> {
    let came = came(width);
    let padding = " ".repeat(came.saturating_sub(row::width(&what)));
    let room = width.saturating_sub(LIKE + CALL + 2 + came);
    let prompt = row::clip(theme, &prompt.single_line(), room);
    let pieces = vec![
        Line::from(row::piece(theme, role, row::right(&like(number), LIKE))),
        Line::from(row::right(call, CALL)),
        Line::from(vec![
            row::plain("  "),
            row::piece(theme, what_role, what),
            Span::raw(padding),
        ]),
        Line::from(prompt),
    ];
    row::join(theme, pieces, width)
}
