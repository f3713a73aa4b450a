//! The stored request most like one that missed, and what differs.

use ratatui::text::{Line, Span};

use crate::event::{FieldDiff, NearMiss};
use crate::state::{Call, ExplainedMiss};
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{row, units};

/// Columns of the names at the left of a story.
const LABEL: usize = 15;
/// Rows of one text.
const ROWS: usize = 2;

/// What the story of a call says of it, in lines of at most `width` columns; none where the call did not miss,
/// or nothing like it is stored.
pub fn lines(view: &View<'_>, call: &Call, width: usize) -> Vec<Line<'static>> {
    let Some(near) = &call.near else {
        return Vec::new();
    };
    let theme = view.theme;
    let mut lines = Vec::new();
    let mut fact = |name: &str, text: &str| {
        for (index, text) in row::wrap(theme, text, width.saturating_sub(LABEL), ROWS)
            .into_iter()
            .enumerate()
        {
            let name = if index == 0 { name } else { "" };
            lines.push(Line::from(vec![
                row::piece(theme, Role::Muted, row::left(name, LABEL)),
                row::plain(text),
            ]));
        }
    };
    let prompt = excerpt(theme, &near.prompt);
    let quoted = if prompt.is_empty() {
        String::new()
    } else {
        format!(": {prompt}")
    };
    fact("nearest", &format!("{}{quoted}", near.source));
    for (index, diff) in near.differs.iter().enumerate() {
        let name = match (index, near.fields) {
            (0, 1) => "differs only in",
            (0, _) => "differs in",
            _ => "",
        };
        fact(name, &diff.label());
        let (here, stored) = sides(theme, diff);
        if !here.is_empty() || !stored.is_empty() {
            fact("  here", &here);
            fact("  stored", &stored);
        }
    }
    let untold = u64::from(near.fields).saturating_sub(near.differs.len() as u64);
    if untold > 0 {
        fact("", &format!("and in {untold} more"));
    }
    lines
}

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
    let label = first.map(|diff| row::plain(format!(" {}", diff.label())));
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

fn sides(theme: &Theme, diff: &FieldDiff) -> (String, String) {
    let side = |text: &str| excerpt(theme, text);
    (side(&diff.here), side(&diff.stored))
}

/// The text on one line, with the ellipsis of the theme.
fn excerpt(theme: &Theme, text: &str) -> String {
    text.replace('\n', " ").replace('…', theme.glyphs.ellipsis)
}

#[cfg(test)]
mod tests {
    use super::super::{scene, story};
    use super::*;

    #[test]
    fn a_story_shows_both_texts() {
        let mut scene = scene::burst();
        let mut call = scene::call(40, 44.0, 45.0, crate::event::Fate::Answered);
        call.near = scene::near_misses(1)
            .latest
            .back()
            .map(|miss| Box::new(miss.near.clone()));
        if let Some(near) = call.near.as_mut() {
            near.fields = 7;
        }
        scene.state.calls.recent.insert(call.id, call.clone());
        let told: Vec<String> = story::lines(&scene.view(), &call, 70)
            .iter()
            .map(|line| line.to_string().trim_end().to_owned())
            .collect();
        let from = told
            .iter()
            .position(|line| line.starts_with("cache"))
            .unwrap_or_default();
        assert_eq!(
            told[from..from + 9],
            [
                "cache          miss: never seen before",
                "nearest        #1: what does a token bucket do?",
                "differs in     system prompt: a time",
                "  here         You help. It is 10:32:01. Be brief.",
                "  stored       You help. It is 10:30:00. Be brief.",
                "               tools: the order",
                "  here         clock, weather",
                "  stored       weather, clock",
                "               and in 5 more",
            ]
        );
        call.near = None;
        assert_eq!(lines(&scene.view(), &call, 70), []);
    }
}
