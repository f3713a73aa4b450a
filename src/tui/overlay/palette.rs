//! The command palette. Typing filters the list; a number at the end is the argument: `burst 10000`. After some words
//! the rest of the line is: `system Be brief.`

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::tui::action::{Action, Group};
use crate::tui::editor::Editor;
use crate::tui::keymap::{Context, Keymap};
use crate::tui::theme::Role;
use crate::tui::view::View;
use crate::tui::wrap;

/// The largest burst.
pub const MAX_BURST: u32 = 100_000;

/// The commands that take the rest of the line, by their first word.
const WITH_TEXT: [Action; 3] = [Action::SetSystem, Action::SetTemperature, Action::Load];

/// The state of the palette.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    /// The typed text.
    pub query: Editor,
    /// The row under the cursor.
    pub selected: usize,
}

impl Palette {
    /// The matching commands, best first.
    pub fn matches(&self) -> Vec<Action> {
        if let Some((action, _)) = self.with_text() {
            return vec![action];
        }
        let (text, number) = self.parts();
        let mut found: Vec<(usize, Action)> = Action::ALL
            .iter()
            .filter(|action| {
                matches!(action.group(), Group::Do | Group::Look) || applies_to_selected_call(**action)
            })
            .filter(|action| action.pane_index().is_none())
            .filter_map(|action| score(*action, &text, number).map(|score| (score, *action)))
            .collect();
        found.sort_by_key(|(score, _)| *score);
        found.into_iter().map(|(_, action)| action).collect()
    }

    /// The command under the cursor.
    pub fn chosen(&self) -> Option<Action> {
        let matches = self.matches();
        matches
            .get(self.selected.min(matches.len().saturating_sub(1)))
            .copied()
    }

    /// The number at the end of the typed text: the size of a burst.
    pub fn number(&self) -> Option<u32> {
        self.parts().1
    }

    /// The command that takes the rest of the line, and this text.
    pub fn with_text(&self) -> Option<(Action, &str)> {
        let (word, text) = self.query.text().trim_start().split_once(' ')?;
        let action = WITH_TEXT
            .into_iter()
            .find(|action| action.label().eq_ignore_ascii_case(word))?;
        Some((action, text.trim()))
    }

    /// Moves the cursor.
    pub fn step(&mut self, by: i64) {
        let last = self.matches().len().saturating_sub(1);
        self.selected = super::stepped(self.selected, by, last);
    }

    /// Moves the cursor to the row at `y` of the screen; `area` is that of the palette.
    pub fn select(&mut self, area: Rect, y: u16) {
        // border and query are above the list, a border is below it
        let height = usize::from(area.height.saturating_sub(3));
        let last = self.matches().len().saturating_sub(1);
        let first = super::first_row(self.selected.min(last), height);
        if let Some(row) = y.checked_sub(area.y + 2).map(usize::from)
            && row < height
        {
            self.selected = (first + row).min(last);
        }
    }

    /// The text in lower case without the number, and the number at the end.
    fn parts(&self) -> (String, Option<u32>) {
        let text = self.query.text().trim().to_lowercase();
        let (head, tail) = text.rsplit_once(' ').unwrap_or(("", &text));
        let digits = tail.replace(['_', ',', '\''], "");
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
            return (text, None);
        }
        // a number that overflows means the maximum
        let number = digits.parse().unwrap_or(MAX_BURST).clamp(1, MAX_BURST);
        (head.trim().to_owned(), Some(number))
    }
}

/// Returns true if an action takes a number.
pub fn takes_number(action: Action) -> bool {
    matches!(action, Action::BurstOf | Action::BurstAll)
}

/// Returns true for actions of a story that also apply to the selected call.
fn applies_to_selected_call(action: Action) -> bool {
    matches!(action, Action::LabelGood | Action::LabelBad)
}

/// The match of an action, 0 best; `None` without a match. Letters must occur in order, leading whole words are
/// better; with a number only actions that take one match.
fn score(action: Action, text: &str, number: Option<u32>) -> Option<usize> {
    if number.is_some() && !takes_number(action) {
        return None;
    }
    let name = action.description().to_lowercase();
    let label = action.label().to_lowercase();
    if text.is_empty() || label.starts_with(text) {
        return Some(0);
    }
    if let Some(at) = label.find(text).or_else(|| name.find(text)) {
        return Some(1 + at.min(50));
    }
    let all = format!("{label} {name}");
    let begins = |wanted: &str| {
        all.split(|c: char| !c.is_alphanumeric())
            .any(|word| word.starts_with(wanted))
    };
    if text.split_whitespace().all(begins) {
        return Some(60);
    }
    let mut rest = name.chars();
    text.chars()
        .filter(|c| !c.is_whitespace())
        .all(|wanted| rest.any(|c| c == wanted))
        .then_some(100)
}

/// Draws the palette; returns the cursor position.
pub fn render(
    view: &View<'_>,
    keymap: &Keymap,
    palette: &Palette,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    let inner = super::frame(view, "Commands", "Enter run   Esc close", area, buf);
    if inner.is_empty() {
        return None;
    }
    let room = usize::from(inner.width.saturating_sub(3));
    let text = palette.query.text();
    buf.set_string(inner.x, inner.y, ":", view.theme.style(Role::Key));
    buf.set_stringn(
        inner.x.saturating_add(2),
        inner.y,
        text,
        room,
        view.theme.style(Role::Input),
    );
    let matches = palette.matches();
    let selected = palette.selected.min(matches.len().saturating_sub(1));
    let list = Rect {
        y: inner.y + 1,
        height: inner.height - 1,
        ..inner
    };
    if matches.is_empty() && list.height > 0 {
        let none = "no command matches; a burst takes a number: burst 200";
        view.draw_notice(list, none, buf);
    }
    let first = super::first_row(selected, usize::from(list.height));
    for ((index, action), y) in matches.iter().enumerate().skip(first).zip(list.y..list.bottom()) {
        let key = keymap.key(Context::Normal, *action).unwrap_or_default();
        let mut about = action.description().to_owned();
        if let (true, Some(number)) = (takes_number(*action), palette.number()) {
            about = about.replace("burst of any size: burst 200", "burst of 20 calls");
            about = about.replace("20 calls", &format!("{number} calls"));
        }
        let style = view.theme.style(if index == selected {
            Role::Selection
        } else {
            Role::Text
        });
        let about = wrap::fit(
            &about,
            usize::from(list.width.saturating_sub(8)),
            view.theme.glyphs.ellipsis,
        );
        let line = Line::from(vec![
            Span::styled(format!("{key:>6}  "), view.theme.style(Role::Key)),
            Span::styled(about, style),
        ]);
        buf.set_line(list.x, y, &line, list.width);
    }
    let right = u16::try_from(wrap::width(text).min(room)).unwrap_or_default();
    Some(Position::new(inner.x.saturating_add(2 + right), inner.y))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(query: &str) -> (Option<Action>, Option<u32>) {
        let palette = Palette {
            query: Editor::from_text(query),
            selected: 0,
        };
        (palette.chosen(), palette.number())
    }

    #[test]
    fn finds_commands_by_name_and_by_letters() {
        assert_eq!(chosen("clear cache").0, Some(Action::ClearCache));
        assert_eq!(chosen("reset br").0, Some(Action::ResetBreaker));
        assert_eq!(chosen("rstbrkr").0, Some(Action::ResetBreaker));
        assert_eq!(chosen("qqqq").0, None);
    }

    #[test]
    fn a_command_takes_the_rest_of_the_line_as_it_is() {
        let palette = |query: &str| Palette {
            query: Editor::from_text(query),
            selected: 0,
        };
        let typed = palette("System  Be Brief 20 ");
        assert_eq!(typed.with_text(), Some((Action::SetSystem, "Be Brief 20")));
        assert_eq!(typed.matches(), [Action::SetSystem]);
        assert_eq!(
            palette("temperature 0.7").with_text(),
            Some((Action::SetTemperature, "0.7"))
        );
        assert_eq!(palette("system").with_text(), None);
        assert_eq!(palette("system").chosen(), Some(Action::SetSystem));
        assert_eq!(palette("burst 20").with_text(), None);
    }

    #[test]
    fn a_number_at_the_end_is_the_size_of_a_burst() {
        assert_eq!(chosen("burst 10000"), (Some(Action::BurstOf), Some(10_000)));
        assert_eq!(chosen("12").1, Some(12));
        assert_eq!(
            chosen("burst 99999999999999"),
            (Some(Action::BurstOf), Some(MAX_BURST))
        );
        assert_eq!(chosen("burst 0").1, Some(1));
        assert_eq!(chosen("burst all 30"), (Some(Action::BurstAll), Some(30)));
        assert_eq!(chosen("burst, all users 30").0, Some(Action::BurstAll));
    }
}
