//! Help for the focused pane or the open overlay, generated from the key table. Typing searches it.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::state::SpanKind;
use crate::tui::action::{Action, Group};
use crate::tui::editor::Editor;
use crate::tui::keymap::{Context, Keymap};
use crate::tui::overlay::whatif;
use crate::tui::pane::{PaneId, timeline};
use crate::tui::theme::{Glyphs, Role, Theme};
use crate::tui::view::View;
use crate::tui::wrap;

/// The state of the help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// The search text.
    pub search: Editor,
    /// The first visible row.
    pub scroll: usize,
    /// The subject described first.
    pub subject: Subject,
    /// True during playback: playback keys come first, and commands to the engine are left out.
    pub replay: bool,
    /// True during the tour, which has keys of its own.
    pub tour: bool,
}

/// The subject of a help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The panel before the first call.
    Start,
    /// A pane.
    Pane(PaneId),
    /// An overlay or a text field, by its context.
    Context(Context),
}

impl Default for Subject {
    fn default() -> Self {
        Self::Pane(PaneId::default())
    }
}

impl Help {
    /// Scrolls by rows in a list of `height` visible rows.
    pub fn step(&mut self, by: i64, keymap: &Keymap, height: usize) {
        let last = rows(self, keymap).len().saturating_sub(height);
        self.scroll = super::stepped(self.scroll.min(last), by, last);
    }
}

/// The visible rows of the list in the area of a help.
pub fn height(area: Rect) -> usize {
    // border, search line, border
    usize::from(area.height.saturating_sub(3))
}

/// One row of the help.
#[derive(Clone, Debug)]
pub enum HelpRow {
    /// A heading.
    Heading(&'static str),
    /// Keys and their description.
    Keys(Cow<'static, str>, &'static str),
    /// A mark and its meaning.
    Mark(fn(&Glyphs) -> &'static str, Role, &'static str),
    /// A span of a lane and its meaning.
    Lane(SpanKind, &'static str),
    /// A sentence.
    Text(&'static str),
}

/// The contexts with keys of their own, and their headings.
const SECTIONS: [(Context, &str); 11] = [
    (Context::Input, "While typing a prompt"),
    (Context::Line, "While typing a filter"),
    (Context::List, "In the list of commands"),
    (Context::Help, "In the help"),
    (Context::Faults, "In the fault chooser"),
    (Context::Breaker, "In the list of the breaker"),
    (Context::Details, "In the story of a call"),
    (Context::Name, "While typing the name of a file"),
    (Context::Confirm, "At a question"),
    (Context::WhatIf, "In What-if"),
    (Context::Value, "While typing a value"),
];

/// The marks of calls and guards.
const MARKS: [HelpRow; 11] = [
    HelpRow::Mark(|glyphs| glyphs.ok, Role::Ok, "answered by the upstream"),
    HelpRow::Mark(|glyphs| glyphs.hit, Role::Saved, "answered from the cache"),
    HelpRow::Mark(
        |glyphs| glyphs.shared,
        Role::Saved,
        "answered by the flight of an equal call",
    ),
    HelpRow::Mark(|glyphs| glyphs.queued, Role::Held, "waits for the limiter"),
    HelpRow::Mark(|glyphs| glyphs.retry, Role::Held, "backs off before a retry"),
    HelpRow::Mark(|glyphs| glyphs.streaming, Role::Work, "runs: the answer arrives"),
    HelpRow::Mark(|glyphs| glyphs.failed, Role::Broken, "failed"),
    HelpRow::Mark(|glyphs| glyphs.cut, Role::Broken, "the answer was cut off"),
    HelpRow::Mark(
        |glyphs| glyphs.refused,
        Role::Refused,
        "refused by the breaker, or limited by the limiter",
    ),
    HelpRow::Mark(|glyphs| glyphs.stopped, Role::Muted, "stopped by you"),
    HelpRow::Mark(
        |glyphs| glyphs.injected,
        Role::Yours,
        "done by you: faults, load, a forced breaker",
    ),
];

/// The colours. Each also has a mark, a pattern or a word.
const COLOURS: [HelpRow; 5] = [
    HelpRow::Mark(
        |glyphs| glyphs.bar_full,
        Role::Work,
        "blue: first attempts, streams, what is left",
    ),
    HelpRow::Mark(|glyphs| glyphs.bar_full, Role::Saved, "cyan: cached or shared"),
    HelpRow::Mark(
        |glyphs| glyphs.bar_full,
        Role::Held,
        "yellow: waits, rate limited, half-open",
    ),
    HelpRow::Mark(|glyphs| glyphs.bar_full, Role::Broken, "red: failed"),
    HelpRow::Mark(
        |glyphs| glyphs.bar_full,
        Role::Refused,
        "magenta: refused or limited; the breaker is open",
    ),
];

/// The parts of a column of Traffic.
const FILLS: [HelpRow; 7] = [
    HelpRow::Mark(|glyphs| glyphs.fills[0], Role::Work, "first attempts"),
    HelpRow::Mark(
        |glyphs| glyphs.fills[1],
        Role::Held,
        "retries after: rate limited",
    ),
    HelpRow::Mark(
        |glyphs| glyphs.fills[2],
        Role::Broken,
        "retries after: server error",
    ),
    HelpRow::Mark(
        |glyphs| glyphs.fills[3],
        Role::Broken,
        "retries after: no connection",
    ),
    HelpRow::Mark(|glyphs| glyphs.fills[4], Role::Broken, "retries after: timed out"),
    HelpRow::Mark(
        |glyphs| glyphs.fills[5],
        Role::Broken,
        "retries after: stream cut",
    ),
    HelpRow::Mark(
        |glyphs| glyphs.fills[6],
        Role::Broken,
        "retries after: other failures",
    ),
];

/// The spans and marks of a lane.
const LANES: [HelpRow; 7] = [
    HelpRow::Lane(SpanKind::Queued, "waits in the queue of the limiter"),
    HelpRow::Lane(SpanKind::Waiting, "sent, no token yet"),
    HelpRow::Lane(SpanKind::Streaming, "the answer streams"),
    HelpRow::Lane(SpanKind::BackOff, "backs off before the next attempt"),
    HelpRow::Lane(SpanKind::Following, "shares the flight of the call shown"),
    HelpRow::Mark(
        |_| "x",
        Role::Broken,
        "a failed attempt without room for its status",
    ),
    HelpRow::Mark(|glyphs| glyphs.earlier, Role::Muted, "began before this window"),
];

/// A heading, the subjects whose help has it in front, and its rows.
type Legend = (&'static str, &'static [Subject], &'static [HelpRow]);

const LEGENDS: [Legend; 4] = [
    ("Marks", &[Subject::Start, Subject::Pane(PaneId::Calls)], &MARKS),
    ("Colours", &[Subject::Start], &COLOURS),
    (
        "Columns of 6 Traffic, from below",
        &[Subject::Pane(PaneId::Traffic), Subject::Pane(PaneId::Retries)],
        &FILLS,
    ),
    (
        "Lanes of 8 Calls",
        &[Subject::Pane(PaneId::Calls), Subject::Context(Context::Details)],
        &LANES,
    ),
];

/// The panel before the first call.
const START: [&str; 3] = [
    "Send calls, break the upstream, and watch what the guards do.",
    "A digit chooses a pane; the same digit again shows it full screen.",
    "In 1 Chat letters are text; everywhere else they are commands.",
];
const START_KEYS: [Action; 13] = [
    Action::Burst10,
    Action::Burst50,
    Action::Load,
    Action::Stop,
    Action::ToggleFaults,
    Action::ChooseFaults,
    Action::Prompt,
    Action::Tour,
    Action::Open,
    Action::Undo,
    Action::Palette,
    Action::Help,
    Action::Quit,
];

/// The keys of the tour, which are not in the key table.
const TOUR: [HelpRow; 6] = [
    HelpRow::Heading("In the tour, while no pane fills the screen"),
    HelpRow::Text("Space does what the text asks for, and so does the real key."),
    HelpRow::Keys(
        Cow::Borrowed("Space"),
        "the action of the text; at the end of a step, the next step",
    ),
    HelpRow::Keys(Cow::Borrowed("n"), "next step"),
    HelpRow::Keys(Cow::Borrowed("r"), "repeat this step"),
    HelpRow::Keys(
        Cow::Borrowed("Esc"),
        "leave the tour: policy, faults and load as before",
    ),
];

/// The mouse and Ctrl-C.
const HABITS: [HelpRow; 14] = [
    HelpRow::Heading("In every text field"),
    HelpRow::Keys(Cow::Borrowed("^A ^E"), "beginning, end; Home and End, too"),
    HelpRow::Keys(Cow::Borrowed("^U ^K"), "delete to the beginning, to the end"),
    HelpRow::Keys(
        Cow::Borrowed("^W ^D"),
        "delete the word before, the character after",
    ),
    HelpRow::Keys(Cow::Borrowed("M-b M-f"), "a word back, a word on"),
    HelpRow::Heading("Ctrl-C, one step at a time"),
    HelpRow::Text("clears the text; closes the field or overlay; stops all calls; quits"),
    HelpRow::Heading("Mouse"),
    HelpRow::Text("click: focus a pane, select a row, press a key of the footer"),
    HelpRow::Text("second click on a row: why; on a title: the whole screen"),
    HelpRow::Text("click in a chart: pause, and set the crosshair"),
    HelpRow::Text("wheel: scroll; on a chart: a longer or shorter window"),
    HelpRow::Text("Shift-drag selects text in most terminals"),
    HelpRow::Text("outside an overlay: close it"),
];

/// The content of a pane.
fn about(pane: PaneId) -> &'static [&'static str] {
    match pane {
        PaneId::Chat => &[
            "Your questions and their answers; bursts are listed under 8 Calls.",
            "Under each answer: its source, attempts, time to the first token.",
            "Letters are text here; Esc leaves, and the text is kept.",
        ],
        PaneId::Cache => &[
            "Answers a repeated question from memory: no call, no cost.",
            "Only an identical request hits: same user, model, settings, text.",
            "With the semantic cache (s) a question in other words hits too.",
        ],
        PaneId::Limiter => &[
            "Paces calls to your quota: tokens, requests, slots.",
            "Gauges show what is left; an empty one makes calls wait.",
        ],
        PaneId::Breaker => &[
            "CLOSED: calls pass. OPEN: calls are refused, nothing is sent.",
            "HALF-OPEN: one probe at a time; enough answers close it.",
        ],
        PaneId::Retries => &[
            "Tries again after a failure that may pass, a little later each time.",
            "The budget limits how many retries go beside first attempts.",
        ],
        PaneId::Traffic => &[
            "Attempts over time: first attempts, and retries by cause.",
            "Above them: faults you switched on, and the state of the breaker.",
            "A dotted line runs down from each change of faults or breaker.",
        ],
        PaneId::Latency => &[
            "Time from the start of a call to its answer: p50 and p95.",
            "A gap means no answer. Below: failures, 2-9 how many, + ten or more.",
        ],
        PaneId::Calls => &[
            "One lane per call on the time axis, newest first.",
            "429, 500, 503, 529: the status of a failed attempt.",
            "TMO timed out, RST no connection, CUT stream cut.",
            "Neighbours that sent nothing share a row: Enter opens it, Esc closes.",
            "answered +3: three more calls joined this one.",
            "Filter: failed user:ana 503 attempts>1 >2s !word",
        ],
        PaneId::Users => &[
            "Each user's share of the limiter, queue and calls.",
            "Noisy: others wait, and this user takes more than a fair share.",
        ],
        PaneId::Log => &["What happened, newest last; each line belongs to a call or a guard."],
    }
}

/// The keys that matter in a pane.
pub fn own_keys(pane: PaneId) -> &'static [Action] {
    match pane {
        // its keys are a section of their own
        PaneId::Chat => &[],
        PaneId::Cache => &[Action::ToggleCache, Action::CycleSemantic, Action::ClearCache],
        PaneId::Limiter => &[Action::ToggleOrder, Action::WhatIf],
        PaneId::Breaker => &[Action::ChooseBreaker, Action::ResetBreaker, Action::WhatIf],
        PaneId::Retries => &[Action::ToggleFaults, Action::ChooseFaults, Action::WhatIf],
        PaneId::Traffic | PaneId::Latency => &[
            Action::LongerWindow,
            Action::ShorterWindow,
            Action::Pause,
            Action::CrosshairLeft,
            Action::CrosshairRight,
        ],
        PaneId::Calls => &[
            Action::Open,
            Action::Copy,
            Action::Up,
            Action::Down,
            Action::Follow,
            Action::Filter,
            Action::FindNext,
            Action::FindPrev,
            Action::OpenGroup,
            Action::CloseGroup,
            Action::AlignCalls,
        ],
        PaneId::Users => &[
            Action::NextUser,
            Action::BurstAll,
            Action::ToggleOrder,
            Action::Filter,
        ],
        PaneId::Log => &[
            Action::Filter,
            Action::FindNext,
            Action::FindPrev,
            Action::Open,
            Action::Copy,
            Action::Follow,
        ],
    }
}

/// The purpose of an overlay or a text field.
fn about_context(context: Context) -> &'static [&'static str] {
    match context {
        Context::Input => about(PaneId::Chat),
        Context::Line => &[
            "Words are joined by AND; !word excludes; #31 is exactly this call.",
            "user:ana   failed   503   attempts>1   >2s",
        ],
        Context::List | Context::Help => &["Type to search; Enter runs the selected command."],
        Context::Faults => &[
            "A profile, or your own rates: the simulator injects these faults.",
            "This is a copy. Enter applies it once, Esc leaves all as it was.",
        ],
        Context::Breaker => &["Forces the breaker, whatever its window says, until released."],
        Context::Details => &[
            "Every decision about this call, in order, with its reason.",
            "A semantic hit can be judged: a wrong one raises its threshold.",
        ],
        Context::Name => &["A new file in this directory; nothing is overwritten."],
        Context::WhatIf => &whatif::ABOUT,
        Context::Value => &["A value in the form of a policy file: 5, 0.5, 10s, true."],
        Context::Confirm | Context::Normal | Context::Replay | Context::Always => &[],
    }
}

/// The rows that match the search.
pub fn rows(help: &Help, keymap: &Keymap) -> Vec<HelpRow> {
    let mut all = Vec::new();
    if help.replay {
        replay(&mut all, keymap);
    }
    if help.tour {
        all.extend(TOUR);
    }
    let own = subject(&mut all, help.subject, keymap);
    let (first, later): (Vec<_>, Vec<_>) = LEGENDS
        .into_iter()
        .partition(|(_, subjects, _)| subjects.contains(&help.subject));
    legends(&mut all, &first);
    // where these keys are text or have another meaning, the heading says where they apply
    let [commands, view] = match help.subject {
        Subject::Pane(PaneId::Chat) => ["Commands, after Esc", "View, after Esc"],
        Subject::Start | Subject::Pane(_) => ["Commands", "View"],
        Subject::Context(_) => ["Commands of the main screen", "View on the main screen"],
    };
    for (group, heading) in [(Group::Do, commands), (Group::Look, view)] {
        if help.replay && group == Group::Do {
            continue;
        }
        all.push(HelpRow::Heading(heading));
        all.extend(group_rows(keymap, group));
    }
    legends(&mut all, &later);
    for (context, heading) in SECTIONS.iter().filter(|(context, _)| !own.contains(context)) {
        all.push(HelpRow::Heading(heading));
        all.extend(keys_of(keymap, *context));
    }
    if !help.replay {
        replay(&mut all, keymap);
    }
    all.extend(HABITS);
    let wanted = help.search.text().trim().to_lowercase();
    if !wanted.is_empty() {
        search(&mut all, &wanted);
    }
    all
}

/// Adds legends.
fn legends(all: &mut Vec<HelpRow>, legends: &[Legend]) {
    for (heading, _, entries) in legends {
        all.push(HelpRow::Heading(heading));
        all.extend_from_slice(entries);
    }
}

/// Adds what the subject is and which keys it has. Returns the contexts listed.
fn subject(all: &mut Vec<HelpRow>, subject: Subject, keymap: &Keymap) -> Vec<Context> {
    let context = match subject {
        Subject::Start => {
            all.push(HelpRow::Heading("Start here"));
            all.extend(START.map(HelpRow::Text));
            all.extend(START_KEYS.map(|action| action_row(keymap, action)));
            return Vec::new();
        }
        Subject::Pane(PaneId::Chat) => Context::Input,
        Subject::Pane(pane) => {
            all.push(HelpRow::Heading("This pane"));
            all.extend(about(pane).iter().map(|line| HelpRow::Text(line)));
            all.extend(own_keys(pane).iter().map(|action| action_row(keymap, *action)));
            return Vec::new();
        }
        Subject::Context(context) => context,
    };
    all.push(HelpRow::Heading("Here"));
    all.extend(about_context(context).iter().map(|line| HelpRow::Text(line)));
    all.extend(keys_of(keymap, context));
    if context != Context::WhatIf {
        return vec![context];
    }
    all.push(HelpRow::Heading("While typing a value"));
    all.extend(keys_of(keymap, Context::Value));
    all.push(HelpRow::Heading("Figures of this view"));
    all.extend(whatif::FIGURES.map(HelpRow::Text));
    vec![context, Context::Value]
}

/// Keeps the rows that contain a text. A matching heading keeps its whole section.
fn search(all: &mut Vec<HelpRow>, wanted: &str) {
    let mut section = false;
    let matches = |text: &str| text.to_lowercase().contains(wanted);
    all.retain(|entry| match entry {
        HelpRow::Heading(text) => {
            section = matches(text);
            section
        }
        HelpRow::Keys(keys, about) => section || keys.to_lowercase() == wanted || matches(about),
        HelpRow::Mark(_, _, text) | HelpRow::Lane(_, text) | HelpRow::Text(text) => section || matches(text),
    });
}

/// The keys and marks of playback.
fn replay(all: &mut Vec<HelpRow>, keymap: &Keymap) {
    all.push(HelpRow::Heading("In a replay"));
    all.extend(keys_of(keymap, Context::Replay));
    all.push(HelpRow::Heading("Bar of a replay"));
    all.push(HelpRow::Text(
        "B breaker, F faults, P policy changed, > burst started",
    ));
}

/// The keys of a context.
fn keys_of(keymap: &Keymap, context: Context) -> impl Iterator<Item = HelpRow> {
    let rows = keymap.rows().filter(move |(bound, ..)| *bound == context);
    rows.map(|(bound, action, _)| {
        HelpRow::Keys(keymap.keys(bound, action).join(" ").into(), action.description())
    })
}

/// The actions of a group with their keys in normal mode.
fn group_rows(keymap: &Keymap, group: Group) -> impl Iterator<Item = HelpRow> {
    let actions = Action::ALL.iter().filter(move |action| action.group() == group);
    actions.map(|action| action_row(keymap, *action))
}

/// An action with its keys in normal mode; `:` if it is only in the list of commands.
fn action_row(keymap: &Keymap, action: Action) -> HelpRow {
    let keys = keymap.keys(Context::Normal, action);
    let keys = if keys.is_empty() {
        ":".to_owned()
    } else {
        keys.join(" ")
    };
    HelpRow::Keys(keys.into(), action.description())
}

/// The title of a help.
fn title(subject: Subject) -> String {
    let context = match subject {
        Subject::Start => return "Help: start here".to_owned(),
        Subject::Pane(pane) => return format!("Help: {} {}", pane.digit(), pane.name()),
        Subject::Context(context) => context,
    };
    let name = match context {
        Context::Faults => "faults",
        Context::Breaker => "breaker",
        Context::Details => "story of a call",
        Context::WhatIf | Context::Value => "What-if",
        Context::Line => "filter",
        Context::Name => "save",
        Context::List => "commands",
        _ => "keys",
    };
    format!("Help: {name}")
}

/// Draws the help; returns the cursor position.
pub fn render(
    view: &View<'_>,
    keymap: &Keymap,
    help: &Help,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    let rows = rows(help, keymap);
    let height = height(area);
    let last = rows.len().saturating_sub(height);
    let scroll = help.scroll.min(last);
    let note = match last {
        0 => "Esc close".to_owned(),
        _ => format!("PgUp PgDn scroll ({}%)   Esc close", scroll * 100 / last),
    };
    let inner = super::frame(view, &title(help.subject), &note, area, buf);
    if inner.is_empty() {
        return None;
    }
    let list = Rect {
        height: inner.height - 1,
        ..inner
    };
    for (entry, y) in rows.iter().skip(scroll).zip(list.y..list.bottom()) {
        buf.set_line(list.x, y, &row(view.theme, entry), list.width);
    }
    if rows.is_empty() && !list.is_empty() {
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
    let mark = |symbol: String, role, about: &str| {
        Line::from(vec![
            Span::raw("  "),
            Span::styled(symbol, theme.style(role)),
            Span::styled(format!("  {about}"), theme.style(Role::Text)),
        ])
    };
    match entry {
        HelpRow::Heading(text) => Line::from(Span::styled(*text, theme.style(Role::Strong))),
        HelpRow::Text(text) => Line::from(Span::styled(format!("  {text}"), theme.style(Role::Text))),
        HelpRow::Keys(keys, about) => Line::from(vec![
            Span::styled(format!("  {keys:<9} "), theme.style(Role::Key)),
            Span::styled(*about, theme.style(Role::Text)),
        ]),
        HelpRow::Mark(glyph, role, about) => mark(glyph(theme.glyphs).to_owned(), *role, about),
        HelpRow::Lane(kind, about) => {
            let (glyph, role) = timeline::span_glyph(theme, *kind);
            mark(glyph.repeat(3), role, about)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The subjects: every pane, and every context with a help of its own.
    fn subjects() -> Vec<Subject> {
        let panes = PaneId::ALL.into_iter().map(Subject::Pane);
        let contexts = SECTIONS.into_iter().map(|(context, _)| Subject::Context(context));
        panes.chain(contexts).chain([Subject::Start]).collect()
    }

    fn help(subject: Subject) -> Help {
        Help {
            subject,
            ..Help::default()
        }
    }

    #[test]
    fn every_help_lists_every_action_with_its_keys() {
        let keymap = Keymap::builtin().unwrap();
        for subject in subjects() {
            let rows = rows(&help(subject), &keymap);
            let lists = |action: &Action, chords: &[String]| {
                rows.iter().any(|entry| {
                    matches!(entry, HelpRow::Keys(keys, about) if *about == action.description()
                        && chords.iter().all(|chord| keys.split(' ').any(|key| key == chord)))
                })
            };
            for (context, action, _) in keymap.rows() {
                let chords = keymap.keys(context, action);
                assert!(lists(&action, &chords), "{subject:?}: {}", action.name());
            }
            for action in Action::ALL {
                assert!(lists(action, &[]), "{subject:?}: {}", action.name());
            }
        }
    }

    #[test]
    fn the_subject_comes_first_with_its_own_keys() {
        let keymap = Keymap::builtin().unwrap();
        for subject in subjects() {
            let rows = rows(&help(subject), &keymap);
            let first = rows
                .iter()
                .skip(1)
                .take_while(|row| !matches!(row, HelpRow::Heading(_)));
            let keys = first.filter(|row| matches!(row, HelpRow::Keys(..))).count();
            assert!(keys >= 2, "{subject:?}: {keys} keys");
        }
    }

    #[test]
    fn headings_say_where_the_keys_of_the_main_screen_apply() {
        let keymap = Keymap::builtin().unwrap();
        let heading = |subject, text: &str| {
            let rows = rows(&help(subject), &keymap);
            rows.iter()
                .any(|row| matches!(row, HelpRow::Heading(heading) if *heading == text))
        };
        assert!(heading(Subject::Start, "Commands"));
        assert!(heading(Subject::Pane(PaneId::Chat), "Commands, after Esc"));
        let story = Subject::Context(Context::Details);
        assert!(heading(story, "Commands of the main screen") && !heading(story, "Commands"));
    }

    #[test]
    fn the_help_of_the_tour_begins_with_its_keys() {
        let keymap = Keymap::builtin().unwrap();
        let help = Help {
            tour: true,
            ..help(Subject::Pane(PaneId::Limiter))
        };
        let rows = rows(&help, &keymap);
        assert!(matches!(&rows[0], HelpRow::Heading(text) if text.starts_with("In the tour")));
        assert!(matches!(&rows[3], HelpRow::Keys(key, "next step") if key == "n"));
    }

    #[test]
    fn nothing_is_clipped_at_eighty_columns() {
        let keymap = Keymap::builtin().unwrap();
        let overlay = super::super::Overlay::Help(Help::default());
        let area = super::super::area_of(&overlay, Rect::new(0, 0, 80, 24));
        let room = usize::from(area.width) - 4;
        for subject in subjects() {
            for entry in rows(&help(subject), &keymap) {
                let width = row(&Theme::default(), &entry).width();
                assert!(width <= room, "{entry:?} has {width} columns of {room}");
            }
        }
    }

    #[test]
    fn scrolling_ends_where_the_last_row_is_visible() {
        let keymap = Keymap::builtin().unwrap();
        let mut help = Help::default();
        let all = rows(&help, &keymap).len();
        help.step(i64::MAX / 2, &keymap, 19);
        assert_eq!(help.scroll, all - 19);
        help.step(-18, &keymap, 19);
        assert_eq!(help.scroll, all - 37, "one page back from the end");
        help.step(i64::MIN / 2, &keymap, 19);
        assert_eq!(help.scroll, 0);
    }

    #[test]
    fn playback_help_starts_with_playback_keys_and_has_no_commands() {
        let keymap = Keymap::builtin().unwrap();
        let help = Help {
            replay: true,
            ..Help::default()
        };
        let rows = rows(&help, &keymap);
        let headings: Vec<&str> = rows
            .iter()
            .filter_map(|row| match row {
                HelpRow::Heading(text) => Some(*text),
                _ => None,
            })
            .collect();
        assert_eq!(headings.first(), Some(&"In a replay"));
        let count = |heading| headings.iter().filter(|text| **text == heading).count();
        assert_eq!((count("In a replay"), count("Commands")), (1, 0));
        assert_eq!(count("View"), 1);
    }

    #[test]
    fn a_search_filters_the_rows_and_keeps_the_section_of_a_heading() {
        let keymap = Keymap::builtin().unwrap();
        let found = |text: &str| {
            let help = Help {
                search: Editor::from_text(text),
                ..Help::default()
            };
            rows(&help, &keymap)
        };
        assert_eq!(found("lanes").len(), 1 + LANES.len());
        let found = found("stored answers");
        let clear = Action::ClearCache.description();
        assert!(
            matches!(&found[..], [HelpRow::Keys(keys, about)] if keys == ":" && *about == clear),
            "{found:?}"
        );
    }
}
