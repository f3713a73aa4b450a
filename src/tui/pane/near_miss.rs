//! Near misses: the most similar stored request, and the fields that differ.

use ratatui::text::{Line, Span};

use crate::event::{FieldDiff, NearMiss};
use crate::state::ExplainedMiss;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{row, units};

/// A miss as one row: time, call, nearest request, and what differs.
pub(super) fn summary(view: &View<'_>, miss: &ExplainedMiss, width: usize) -> Line<'static> {
    let theme = view.theme;
    let at = units::clock(miss.at.since(crate::time::Timestamp::ZERO), false);
    let near = row::left(&miss.near.source.to_string(), 6);
    let first = Line::from(vec![
        row::piece(theme, Role::Muted, format!("{at}  ")),
        row::plain(row::left(&miss.call.to_string(), 6)),
        row::piece(theme, Role::Muted, format!(" near {near}")),
    ]);
    let rest = differences(theme, &miss.near).map(Line::from);
    row::join(theme, std::iter::once(first).chain(rest), width)
}

/// ` system prompt: a time`, ` and 2 more`, `  10:32:01 · 10:30:00`: the first difference and the number of
/// others.
fn differences(theme: &Theme, near: &NearMiss) -> impl Iterator<Item = Span<'static>> {
    let first = near.differs.first();
    let label = first.map(|diff| row::plain(format!(" {}", diff.brief())));
    let more = match near.fields {
        0 | 1 => None,
        fields => Some(row::plain(format!(" and {} more", fields - 1))),
    };
    let texts = first.map(|diff| {
        let (here, stored) = excerpts(theme, diff);
        row::piece(
            theme,
            Role::Muted,
            format!("  {here} {} {stored}", theme.glyphs.dot),
        )
    });
    label.into_iter().chain(more).chain(texts)
}

/// The differing values of both requests, clipped.
pub(super) fn excerpts(theme: &Theme, diff: &FieldDiff) -> (String, String) {
    let (here, stored) = diff.words();
    let short = |text: &str| match text {
        "" => "(nothing)".to_owned(),
        text => {
            let line = text.replace('\n', " ").replace('…', theme.glyphs.ellipsis);
            row::clip(theme, &line, 20)
        }
    };
    (short(&here), short(&stored))
}
