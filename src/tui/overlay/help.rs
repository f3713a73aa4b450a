//! Help for the pane with the focus: made of the key table, so it cannot be wrong. Typing searches it.

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

/// What was searched for and how far down it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// What was searched for.
    pub search: Editor,
    /// Rows above the first visible one.
    pub scroll: usize,
    /// The pane it is about.
    pub pane: PaneId,
    /// Whether what is shown was recorded: then the keys of a replay come first, and those that do things are not
    /// there.
    pub replay: bool,
    /// Whether it is about the view that compares live instead.
    pub comparing: bool,
}

impl Help {
    /// Moves the view.
    pub fn step(&mut self, by: i64, keymap: &Keymap) {
        let last = entries(self, keymap).len().saturating_sub(1);
        self.scroll = super::stepped(self.scroll, by, last);
    }
}

/// One row of the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A heading.
    Heading(&'static str),
    /// Keys and what they do.
    Keys(String, &'static str),
    /// A mark: which role, its name, what it means.
    Mark(Role, &'static str),
    /// A stretch of a lane and what it means.
    Lane(SpanKind, &'static str),
    /// A sentence.
    Words(&'static str),
}

/// The contexts and the names of their sections.
const SECTIONS: [(Context, &str); 8] = [
    (Context::Input, "While typing a prompt"),
    (Context::Line, "While typing a filter"),
    (Context::List, "In a list"),
    (Context::Faults, "In the chooser of faults"),
    (Context::Details, "In the story of a call"),
    (Context::Confirm, "At a question"),
    (Context::Shadow, "While comparing live"),
    (Context::Value, "While writing a value"),
];

/// What the marks mean.
const MARKS: [(Role, &str); 7] = [
    (Role::Ok, "ok: answered; CLOSED"),
    (Role::Hit, "served from the cache, or shared with an equal call"),
    (Role::Wait, "waiting, retrying; HALF-OPEN"),
    (Role::Bad, "failed"),
    (Role::Refused, "refused by a guard, not sent; OPEN"),
    (Role::Injected, "made on purpose: faults are on"),
    (Role::Muted, "stopped by you"),
];

/// What the stretches of a lane mean.
const LANES: [(SpanKind, &str); 5] = [
    (SpanKind::Queued, "waits in the queue of the limiter"),
    (SpanKind::Waiting, "sent, no token yet"),
    (SpanKind::Streaming, "the answer comes in"),
    (SpanKind::BackOff, "back-off before the next try"),
    (
        SpanKind::Following,
        "shares the flight of the call whose id it bears",
    ),
];

/// Every row that passes the search.
pub fn entries(help: &Help, keymap: &Keymap) -> Vec<Entry> {
    let mut all = Vec::new();
    if help.replay {
        replay(&mut all, keymap);
    }
    if help.comparing {
        all.push(Entry::Heading("This view"));
        all.extend(whatif::ABOUT.map(Entry::Words));
        for (context, heading) in SECTIONS.iter().filter(|(context, _)| compares(*context)) {
            section(&mut all, keymap, *context, heading);
        }
        all.push(Entry::Heading("Its figures"));
        all.extend(whatif::FIGURES.map(Entry::Words));
    } else {
        all.push(Entry::Heading("This pane"));
        all.extend(help.pane.about().iter().map(|line| Entry::Words(line)));
    }
    for (group, heading) in [(Group::Do, "Do things"), (Group::Look, "Look at things")] {
        if help.replay && group == Group::Do {
            continue;
        }
        all.push(Entry::Heading(heading));
        all.extend(group_rows(keymap, group));
    }
    all.push(Entry::Heading("Marks, in colour and shape"));
    all.extend(MARKS.map(|(role, about)| Entry::Mark(role, about)));
    all.push(Entry::Heading("Lanes, in the pane Attempts"));
    all.extend(LANES.map(|(kind, about)| Entry::Lane(kind, about)));
    for (context, heading) in SECTIONS {
        if !(help.comparing && compares(context)) {
            section(&mut all, keymap, context, heading);
        }
    }
    if !help.replay {
        replay(&mut all, keymap);
    }
    all.push(Entry::Heading("The mouse"));
    all.push(Entry::Words("click a pane or a key below; the wheel scrolls"));
    all.push(Entry::Words("Shift-drag selects text, as your terminal does"));
    let wanted = help.search.text().trim().to_lowercase();
    if !wanted.is_empty() {
        // a heading that was meant brings all below it
        let mut section = false;
        let holds = |text: &str| text.to_lowercase().contains(&wanted);
        all.retain(|entry| match entry {
            Entry::Heading(text) => {
                section = holds(text);
                section
            }
            Entry::Keys(keys, about) => section || keys.to_lowercase() == wanted || holds(about),
            Entry::Mark(_, text) | Entry::Lane(_, text) | Entry::Words(text) => section || holds(text),
        });
    }
    all
}

/// What a replay has of its own.
fn replay(all: &mut Vec<Entry>, keymap: &Keymap) {
    section(all, keymap, Context::Replay, "In a replay");
    all.push(Entry::Heading("The bar of a replay"));
    all.push(Entry::Words(
        "B the breaker, F faults, P the policy changed, > a burst began",
    ));
}

/// The keys of a context.
fn section(all: &mut Vec<Entry>, keymap: &Keymap, context: Context, heading: &'static str) {
    all.push(Entry::Heading(heading));
    let rows = keymap.rows().filter(|(bound, ..)| *bound == context);
    all.extend(
        rows.map(|(bound, action, _)| {
            Entry::Keys(keymap.keys(bound, action).join(" "), action.description())
        }),
    );
}

/// Whether a context belongs to the view that compares live.
fn compares(context: Context) -> bool {
    matches!(context, Context::Shadow | Context::Value)
}

/// The actions of a group: their keys in normal mode, or how to reach them without one.
fn group_rows(keymap: &Keymap, group: Group) -> impl Iterator<Item = Entry> {
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
            Entry::Keys(keys, action.description())
        })
}

/// Draws it; the real cursor stands after what was searched for.
pub fn render(
    view: &View<'_>,
    keymap: &Keymap,
    help: &Help,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    let title = if help.comparing {
        "Help: Compare live".to_owned()
    } else {
        format!("Help: {} pane", help.pane.name())
    };
    let inner = super::frame(view, &title, "Up Down scroll   Esc closes", area, buf);
    if inner.is_empty() {
        return None;
    }
    let entries = entries(help, keymap);
    let list = Rect {
        height: inner.height - 1,
        ..inner
    };
    let height = usize::from(list.height);
    let scroll = help.scroll.min(entries.len().saturating_sub(height));
    for (entry, y) in entries.iter().skip(scroll).zip(list.y..list.bottom()) {
        buf.set_line(list.x, y, &row(view.theme, entry), list.width);
    }
    if entries.is_empty() && height > 0 {
        let none = "nothing about that; Esc closes";
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

fn row(theme: &Theme, entry: &Entry) -> Line<'static> {
    match entry {
        Entry::Heading(text) => Line::from(Span::styled(*text, theme.style(Role::Strong))),
        Entry::Words(text) => Line::from(Span::styled(format!("  {text}"), theme.style(Role::Text))),
        Entry::Keys(keys, about) => Line::from(vec![
            Span::styled(format!("  {keys:<12} "), theme.style(Role::Key)),
            Span::styled(*about, theme.style(Role::Text)),
        ]),
        Entry::Mark(role, about) => Line::from(vec![
            Span::raw("  "),
            Span::styled(mark(theme, *role), theme.style(*role)),
            Span::styled(format!("  {about}"), theme.style(Role::Text)),
        ]),
        Entry::Lane(kind, about) => {
            let (glyph, role) = timeline::span_glyph(theme, *kind);
            Line::from(vec![
                Span::raw("  "),
                Span::styled(glyph.repeat(3), theme.style(role)),
                Span::styled(format!("  {about}"), theme.style(Role::Text)),
            ])
        }
    }
}

/// The mark that goes with a role.
fn mark(theme: &Theme, role: Role) -> &'static str {
    let glyphs = theme.glyphs;
    match role {
        Role::Ok => glyphs.ok,
        Role::Hit => glyphs.hit,
        Role::Wait => glyphs.retry,
        Role::Bad => glyphs.failed,
        Role::Refused => glyphs.refused,
        Role::Injected => glyphs.injected,
        Role::Muted => glyphs.stopped,
        Role::Text
        | Role::Strong
        | Role::Focus
        | Role::Border
        | Role::Selection
        | Role::Gauge
        | Role::Key
        | Role::Input => " ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_action_stands_in_the_help() {
        let keymap = Keymap::builtin().unwrap();
        let rows = entries(&Help::default(), &keymap);
        for (_, action, chords) in keymap.rows() {
            let found = rows.iter().any(|entry| {
                matches!(entry, Entry::Keys(keys, about)
                    if *about == action.description() && chords.iter().all(|c| keys.split(' ').any(|k| k == c.to_string())))
            });
            assert!(found, "{} is missing", action.name());
        }
        for action in Action::ALL {
            let about = action.description();
            assert!(
                rows.iter()
                    .any(|entry| matches!(entry, Entry::Keys(_, text) if *text == about))
            );
        }
    }

    #[test]
    fn in_a_replay_its_keys_come_first_and_none_that_does_nothing() {
        let keymap = Keymap::builtin().unwrap();
        let help = Help {
            replay: true,
            ..Help::default()
        };
        let rows = entries(&help, &keymap);
        assert_eq!(rows.first(), Some(&Entry::Heading("In a replay")));
        let count = |heading| rows.iter().filter(|row| **row == Entry::Heading(heading)).count();
        assert_eq!((count("In a replay"), count("Do things")), (1, 0));
        assert_eq!(count("Look at things"), 1);
    }

    #[test]
    fn a_search_for_a_heading_brings_all_below_it() {
        let keymap = Keymap::builtin().unwrap();
        let help = Help {
            search: Editor::from_text("lanes"),
            ..Help::default()
        };
        let found = entries(&help, &keymap);
        assert_eq!(found.len(), 1 + LANES.len(), "{found:?}");
    }

    #[test]
    fn a_search_narrows_it() {
        let keymap = Keymap::builtin().unwrap();
        let help = Help {
            search: Editor::from_text("stored answers"),
            ..Help::default()
        };
        assert_eq!(
            entries(&help, &keymap),
            [Entry::Keys(":".into(), Action::ClearCache.description())]
        );
    }
}
