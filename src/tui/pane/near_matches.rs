//! The latest near matches of the semantic cache: two rows each, the prompt above the stored prompt.

use ratatui::text::{Line, Span};

use crate::event::Objection;
use crate::state::{NearMatch, NearMatchKind};
use crate::text::SafeText;
use crate::tui::theme::{Role, Theme};

use super::row;
use super::semantic::similarity;

/// Columns of a similarity or a threshold, and of the id of a call, each with the blanks before it.
const SIMILARITY: usize = 6;
const CALL: usize = 8;
/// Columns of the outcome with its blanks, from [`WIDE`] on and below.
const OUTCOME: (usize, usize) = (40, 18);
/// Width from which the outcome is spelled out.
const WIDE: usize = 110;

/// The column heads of the list.
pub(super) fn head(theme: &Theme, width: usize) -> Line<'static> {
    let text = format!(
        "{}{}  {}{}",
        row::right("score", SIMILARITY),
        row::right("call", CALL),
        row::left("outcome", outcome_width(width)),
        "prompt, and below it the stored prompt"
    );
    row::muted(theme, row::clip(theme, &text, width))
}

fn outcome_width(width: usize) -> usize {
    if width >= WIDE { OUTCOME.0 } else { OUTCOME.1 }
}

/// The prompt with its similarity, and the stored prompt with its threshold.
pub(super) fn rows(theme: &Theme, near_match: &NearMatch, width: usize) -> [Line<'static>; 2] {
    let nearest = &near_match.nearest;
    let glyphs = theme.glyphs;
    let outcome = match near_match.kind {
        NearMatchKind::Served => (format!("{} hit", glyphs.hit), Role::Saved),
        NearMatchKind::Shadowed => (format!("{} would hit", glyphs.hit), Role::Held),
        NearMatchKind::Refused => (format!("{} rejected", glyphs.refused), Role::Text),
    };
    let judgement = judgement(theme, near_match, outcome_width(width) - 2);
    [
        columns(
            theme,
            (nearest.similarity, Role::Text),
            &near_match.call.to_string(),
            outcome,
            &near_match.prompt,
            width,
        ),
        columns(
            theme,
            (nearest.threshold, Role::Muted),
            &format!("of {}", nearest.source),
            judgement,
            &nearest.prompt,
            width,
        ),
    ]
}

/// The judgement of a near match: by a user, by comparing answers, or by a guard.
fn judgement(theme: &Theme, near_match: &NearMatch, room: usize) -> (String, Role) {
    let (text, role) = match (
        near_match.kind,
        near_match.label,
        near_match.compared,
        &near_match.nearest.objection,
    ) {
        (NearMatchKind::Served, Some(true), ..) => (format!("{} judged right", theme.glyphs.ok), Role::Ok),
        (NearMatchKind::Served, Some(false), ..) => {
            (format!("{} judged wrong", theme.glyphs.failed), Role::Broken)
        }
        (NearMatchKind::Served, None, ..) => ("not judged".to_owned(), Role::Muted),
        (NearMatchKind::Shadowed, _, Some((_, true)), _) => ("same answer".to_owned(), Role::Ok),
        (NearMatchKind::Shadowed, _, Some((_, false)), _) => ("different answer".to_owned(), Role::Broken),
        (NearMatchKind::Shadowed, _, None, _) => ("not compared".to_owned(), Role::Muted),
        (NearMatchKind::Refused, _, _, Some(objection)) => return (differs(objection, room), Role::Text),
        (NearMatchKind::Refused, _, _, None) => (String::new(), Role::Muted),
    };
    (row::clip(theme, &text, room), role)
}

/// The difference, if it fits; at least the name of the guard.
fn differs(objection: &Objection, room: usize) -> String {
    let guard = objection.guard.brief();
    let (asked, stored) = (objection.asked.single_line(), objection.stored.single_line());
    let wordings = [objection.sentence(), format!("{guard}: {asked} / {stored}")];
    let fits = wordings.into_iter().find(|text| row::width(text) <= room);
    fits.unwrap_or_else(|| guard.to_owned())
}

fn columns(
    theme: &Theme,
    (score, role): (f64, Role),
    call: &str,
    (outcome, outcome_role): (String, Role),
    prompt: &SafeText,
    width: usize,
) -> Line<'static> {
    let outcome_width = outcome_width(width);
    let padding = " ".repeat(outcome_width.saturating_sub(row::width(&outcome)));
    let room = width.saturating_sub(SIMILARITY + CALL + 2 + outcome_width);
    let prompt = row::clip(theme, &prompt.single_line(), room);
    let pieces = [
        Line::from(row::piece(
            theme,
            role,
            row::right(&similarity(score), SIMILARITY),
        )),
        Line::from(row::right(call, CALL)),
        Line::from(vec![
            row::plain("  "),
            row::piece(theme, outcome_role, outcome),
            Span::raw(padding),
        ]),
        Line::from(prompt),
    ];
    row::join(theme, pieces, width)
}
