//! Help for the focused pane, generated from the key table. Typing searches it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::state::SpanKind;
use crate::tui::action::{Action, Group};
use crate::tui::editor::Editor;
use crate::tui::keymap::{Context, Keymap};
use crate::tui::overlay::whatif;
use crate::tui::pane::{PaneId, timeline};
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;
use crate::tui::wrap;

/// The state of the help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// The search text.
    pub search: Editor,
    /// The first visible row.
    pub scroll: usize,
    /// The pane described.
    pub pane: PaneId,
    /// True during playback: playback keys come first, and commands to the engine are left out.
    pub replay: bool,
    /// True if it describes the what-if overlay instead of a pane.
    pub whatif: bool,
}

impl Help {
    /// Scrolls by rows.
    pub fn step(&mut self, by: i64, keymap: &Keymap) {
        let last = rows(self, keymap).len().saturating_sub(1);
        self.scroll = super::stepped(self.scroll, by, last);
    }
}

/// One row of the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelpRow {
    /// A heading.
    Heading(&'static str),
    /// Keys and their description.
    Keys(String, &'static str),
    /// A symbol and its meaning.
    Symbol(Role, &'static str),
    /// A span of a timeline and its meaning.
    Timeline(SpanKind, &'static str),
    /// A sentence.
    Text(&'static str),
}

/// The contexts and their headings.
const SECTIONS: [(Context, &str); 8] = [
    (Context::Input, "While typing a prompt"),
    (Context::Line, "While typing a filter"),
    (Context::List, "In a list"),
    (Context::Faults, "In the fault chooser"),
    (Context::Details, "In the story of a call"),
    (Context::Confirm, "At a confirmation"),
    (Context::WhatIf, "In What-if"),
    (Context::Value, "While typing a value"),
];

/// The symbols and their meanings.
const SYMBOLS: [(Role, &str); 7] = [
    (Role::Ok, "ok: answered; CLOSED"),
    (Role::Saved, "served from the cache, or by a shared flight"),
    (Role::Held, "waiting, retrying; HALF-OPEN"),
    (Role::Broken, "failed"),
    (Role::Refused, "rejected by breaker or limiter, not sent; OPEN"),
    (Role::Yours, "injected: faults are on"),
    (Role::Muted, "stopped by you"),
];

/// The spans of a timeline and their meanings.
const TIMELINES: [(SpanKind, &str); 5] = [
    (SpanKind::Queued, "waiting in the queue of the limiter"),
    (SpanKind::Waiting, "sent, no token yet"),
    (SpanKind::Streaming, "the answer is streaming"),
    (SpanKind::BackOff, "back-off before the next attempt"),
    (SpanKind::Following, "shares the flight of the call shown"),
];

/// The rows that match the search.
pub fn rows(help: &Help, keymap: &Keymap) -> Vec<HelpRow> {
    let mut all = Vec::new();
    if help.replay {
        replay(&mut all, keymap);
    }
    if help.whatif {
        all.push(HelpRow::Heading("This view"));
        all.extend(whatif::ABOUT.map(HelpRow::Text));
        for (context, heading) in SECTIONS.iter().filter(|(context, _)| is_whatif(*context)) {
            section(&mut all, keymap, *context, heading);
        }
        all.push(HelpRow::Heading("Figures of this view"));
        all.extend(whatif::FIGURES.map(HelpRow::Text));
    } else {
        all.push(HelpRow::Heading("This pane"));
        all.extend(help.pane.about().iter().map(|line| HelpRow::Text(line)));
    }
    for (group, heading) in [(Group::Do, "Commands"), (Group::Look, "View")] {
        if help.replay && group == Group::Do {
            continue;
        }
        all.push(HelpRow::Heading(heading));
        all.extend(group_rows(keymap, group));
    }
    all.push(HelpRow::Heading("Symbols"));
    all.extend(SYMBOLS.map(|(role, about)| HelpRow::Symbol(role, about)));
    all.push(HelpRow::Heading("Timelines of the Attempts pane"));
    all.extend(TIMELINES.map(|(kind, about)| HelpRow::Timeline(kind, about)));
    for (context, heading) in SECTIONS {
        if !(help.whatif && is_whatif(context)) {
            section(&mut all, keymap, context, heading);
        }
    }
    if !help.replay {
        replay(&mut all, keymap);
    }
    all.push(HelpRow::Heading("Mouse"));
    all.push(HelpRow::Text("click a pane or a footer key; the wheel scrolls"));
    all.push(HelpRow::Text("Shift-drag selects text"));
    let wanted = help.search.text().trim().to_lowercase();
    if !wanted.is_empty() {
        // a matching heading includes its whole section
        let mut section = false;
        let matches = |text: &str| text.to_lowercase().contains(&wanted);
        all.retain(|entry| match entry {
            HelpRow::Heading(text) => {
                section = matches(text);
                section
            }
            HelpRow::Keys(keys, about) => section || keys.to_lowercase() == wanted || matches(about),
            HelpRow::Symbol(_, text) | HelpRow::Timeline(_, text) | HelpRow::Text(text) => {
                section || matches(text)
            }
        });
    }
    all
}

/// The keys and marks of playback.
fn replay(all: &mut Vec<HelpRow>, keymap: &Keymap) {
    section(all, keymap, Context::Replay, "In a replay");
    all.push(HelpRow::Heading("Bar of a replay"));
    all.push(HelpRow::Text(
        "B breaker, F faults, P policy changed, > burst started",
    ));
}

/// The keys of a context.
fn section(all: &mut Vec<HelpRow>, keymap: &Keymap, context: Context, heading: &'static str) {
    all.push(HelpRow::Heading(heading));
    let rows = keymap.rows().filter(|(bound, ..)| *bound == context);
    all.extend(
        rows.map(|(bound, action, _)| {
            HelpRow::Keys(keymap.keys(bound, action).join(" "), action.description())
        }),
    );
}

/// Returns true for the contexts of the what-if overlay.
fn is_whatif(context: Context) -> bool {
    matches!(context, Context::WhatIf | Context::Value)
}

/// The actions of a group with their keys in normal mode; `:` for those only in the palette.
fn group_rows(keymap: &Keymap, group: Group) -> impl Iterator<Item = HelpRow> {
    Action::ALL
        .iter()
        .filter(move |action| action.group() == group)
        .map(|action| {
            let keys = keymap.keys(Context::Normal, *action);
            let keys = if keys.is_empty() {
                ":".to_owned()
            } else {
                keys.join(" ")
            };
            HelpRow::Keys(keys, action.description())
        })
}

/// Draws the help; returns the cursor position.
pub fn render(
    view: &View<'_>,
    keymap: &Keymap,
    help: &Help,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    let title = if help.whatif {
        "Help: What-if".to_owned()
    } else {
        format!("Help: {} pane", help.pane.name())
    };
    let inner = super::frame(view, &title, "Up Down scroll   Esc close", area, buf);
    if inner.is_empty() {
        return None;
    }
    let rows = rows(help, keymap);
    let list = Rect {
        height: inner.height - 1,
        ..inner
    };
    let height = usize::from(list.height);
    let scroll = help.scroll.min(rows.len().saturating_sub(height));
    for (entry, y) in rows.iter().skip(scroll).zip(list.y..list.bottom()) {
        buf.set_line(list.x, y, &row(view.theme, entry), list.width);
    }
    if rows.is_empty() && height > 0 {
        let none = "no match; Esc closes";
        view.draw_notice(list, none, buf);
    }
    let lead = "type to search: ";
    let line = Line::from(vec![
        Span::styled(lead, view.theme.style(Role::Muted)),
        Span::styled(help.search.text().to_owned(), view.theme.style(Role::Input)),
    ]);
    let y = inner.bottom() - 1;
    buf.set_line(inner.x, y, &line, inner.width);
    let right = wrap::width(lead) + wrap::width(help.search.text());
    let right = u16::try_from(right).unwrap_or(u16::MAX).min(inner.width - 1);
    Some(Position::new(inner.x + right, y))
}

fn row(theme: &Theme, entry: &HelpRow) -> Line<'static> {
    match entry {
        HelpRow::Heading(text) => Line::from(Span::styled(*text, theme.style(Role::Strong))),
        HelpRow::Text(text) => Line::from(Span::styled(format!("  {text}"), theme.style(Role::Text))),
        HelpRow::Keys(keys, about) => Line::from(vec![
            Span::styled(format!("  {keys:<12} "), theme.style(Role::Key)),
            Span::styled(*about, theme.style(Role::Text)),
        ]),
        HelpRow::Symbol(role, about) => Line::from(vec![
            Span::raw("  "),
            Span::styled(symbol(theme, *role), theme.style(*role)),
            Span::styled(format!("  {about}"), theme.style(Role::Text)),
        ]),
        HelpRow::Timeline(kind, about) => {
            let (glyph, role) = timeline::span_glyph(theme, *kind);
            Line::from(vec![
                Span::raw("  "),
                Span::styled(glyph.repeat(3), theme.style(role)),
                Span::styled(format!("  {about}"), theme.style(Role::Text)),
            ])
        }
    }
}

/// The symbol of a role.
fn symbol(theme: &Theme, role: Role) -> &'static str {
    let glyphs = theme.glyphs;
    match role {
        Role::Ok => glyphs.ok,
        Role::Saved => glyphs.hit,
        Role::Held => glyphs.retry,
        Role::Broken => glyphs.failed,
        Role::Refused => glyphs.refused,
        Role::Yours => glyphs.injected,
        Role::Muted => glyphs.stopped,
        Role::Text
        | Role::Strong
        | Role::Focus
        | Role::Border
        | Role::Selection
        | Role::Work
        | Role::Title
        | Role::RefusedChip
        | Role::BrokenChip
        | Role::HeldChip
        | Role::Key
        | Role::Input => " ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_bound_action() {
        let keymap = Keymap::builtin().unwrap();
        let rows = rows(&Help::default(), &keymap);
        for (_, action, chords) in keymap.rows() {
            let found = rows.iter().any(|entry| {
                matches!(entry, HelpRow::Keys(keys, about)
                    if *about == action.description() && chords.iter().all(|c| keys.split(' ').any(|k| k == c.to_string())))
            });
            assert!(found, "{} is missing", action.name());
        }
        for action in Action::ALL {
            let about = action.description();
            assert!(
                rows.iter()
                    .any(|entry| matches!(entry, HelpRow::Keys(_, text) if *text == about))
            );
        }
    }

    #[test]
    fn playback_help_starts_with_playback_keys_and_has_no_commands() {
        let keymap = Keymap::builtin().unwrap();
        let help = Help {
            replay: true,
            ..Help::default()
        };
        let rows = rows(&help, &keymap);
        assert_eq!(rows.first(), Some(&HelpRow::Heading("In a replay")));
        let count = |heading| {
            rows.iter()
                .filter(|row| **row == HelpRow::Heading(heading))
                .count()
        };
        assert_eq!((count("In a replay"), count("Commands")), (1, 0));
        assert_eq!(count("View"), 1);
    }

    #[test]
    fn a_search_for_a_heading_includes_its_section() {
        let keymap = Keymap::builtin().unwrap();
        let help = Help {
            search: Editor::from_text("timelines"),
            ..Help::default()
        };
        let found = rows(&help, &keymap);
        assert_eq!(found.len(), 1 + TIMELINES.len(), "{found:?}");
    }

    #[test]
    fn a_search_filters_the_rows() {
        let keymap = Keymap::builtin().unwrap();
        let help = Help {
            search: Editor::from_text("stored answers"),
            ..Help::default()
        };
        assert_eq!(
            rows(&help, &keymap),
            [HelpRow::Keys(":".into(), Action::ClearCache.description())]
        );
    }
}
