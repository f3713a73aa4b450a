//! The stored request most like one that missed, and what differs.

use ratatui::text::{Line, Span};

use crate::event::{FieldDiff, NearMiss};
use crate::state::ExplainedMiss;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{row, units};

/// A miss in a row of a list: when, which call, what differs, and how.
pub(super) fn summary(view: &View<'_>, miss: &ExplainedMiss, width: usize) -> Line<'static> {
    let theme = view.theme;
    let at = units::clock(miss.at.since(crate::time::Timestamp::ZERO), false);
    let mut pieces = vec![Line::from(vec![
        row::piece(theme, Role::Muted, format!("{at}  ")),
        row::plain(row::left(&miss.call.to_string(), 6)),
        row::piece(
            theme,
            Role::Muted,
            format!(" like {}", row::left(&miss.near.source.to_string(), 6)),
        ),
    ])];
    pieces.extend(what(theme, &miss.near).map(Line::from));
    row::join(theme, pieces, width)
}

/// ` system prompt: a time`, ` 10:32:01 | 10:30:00`, `, 2 more`: what differs first, and how much besides.
fn what(theme: &Theme, near: &NearMiss) -> impl Iterator<Item = Span<'static>> {
    let first = near.differs.first();
    let label = first.map(|diff| row::plain(format!(" {}", diff.brief())));
    let more = match near.fields {
        0 | 1 => None,
        fields => Some(row::plain(format!(" and {} more", fields - 1))),
    };
    let texts = first.map(|diff| {
        let (here, stored) = words(theme, diff);
        row::piece(
            theme,
            Role::Muted,
            format!("  {here} {} {stored}", theme.glyphs.dot),
        )
    });
    label.into_iter().chain(more).chain(texts)
}

/// The words in which the two differ, short.
pub(super) fn words(theme: &Theme, diff: &FieldDiff) -> (String, String) {
    let (here, stored) = diff.words();
    let short = |text: &str| match text {
        "" => "(nothing)".to_owned(),
        text => row::clip(theme, &excerpt(theme, text), 20),
    };
    (short(&here), short(&stored))
}

/// The text on one line, with the ellipsis of the theme.
fn excerpt(theme: &Theme, text: &str) -> String {
    text.replace('\n', " ").replace('…', theme.glyphs.ellipsis)
}
