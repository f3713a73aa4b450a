//! The text being typed: a value with a cursor, edited by whole grapheme clusters.
//!
//! Small on purpose. What matters here is what must *not* happen: a paste never submits, a control character
//! never gets in, and the real cursor stands where the next character goes (IME windows follow it).

use unicode_segmentation::UnicodeSegmentation;

use crate::text::SafeText;

use super::wrap;

/// The longest draft in bytes; more is not taken.
const MAX_BYTES: usize = 64 << 10;

/// Prompts kept for Up and Down.
const MAX_HISTORY: usize = 100;

/// Text and where the next character goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Editor {
    text: String,
    /// A byte index, always at the edge of a cluster.
    cursor: usize,
}

impl Editor {
    /// An editor with `text` in it, cursor at the end.
    pub fn with(text: &str) -> Self {
        let mut editor = Self::default();
        editor.insert(text);
        editor
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether nothing was typed.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The row and the column of the cursor, in cells, where the text is wrapped at `columns`.
    pub fn cursor_at(&self, columns: usize) -> (usize, usize) {
        let rows = wrap::rows(&self.text, columns);
        let row = rows
            .iter()
            .rposition(|row| row.start <= self.cursor)
            .unwrap_or_default();
        let start = rows.get(row).map_or(0, |row| row.start);
        let column = wrap::width(self.text.get(start..self.cursor).unwrap_or_default());
        // a full row: the cursor waits on the last cell until the next character breaks the line
        (row, column.min(columns.saturating_sub(1)))
    }

    /// Inserts text, made safe. Returns whether all of it fitted.
    pub fn insert(&mut self, raw: &str) -> bool {
        let safe = SafeText::new(&printable(raw));
        if self.text.len() + safe.len() > MAX_BYTES {
            return false;
        }
        self.text.insert_str(self.cursor, &safe);
        self.cursor += safe.len();
        true
    }

    /// Inserts text on one line.
    pub fn insert_line(&mut self, raw: &str) -> bool {
        self.insert(&raw.replace(['\n', '\r'], " "))
    }

    /// Empties it and returns what was there.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Obeys an editing key.
    pub fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Backspace => self.remove_to(self.before(self.cursor)),
            Edit::Delete => self.remove_to(self.after(self.cursor)),
            Edit::DeleteWord => self.remove_to(self.word_before()),
            Edit::DeleteToStart => self.remove_to(self.line_start()),
            Edit::DeleteToEnd => self.remove_to(self.line_end()),
            Edit::Left => self.cursor = self.before(self.cursor),
            Edit::Right => self.cursor = self.after(self.cursor),
            Edit::WordLeft => self.cursor = self.word_before(),
            Edit::WordRight => self.cursor = self.word_after(),
            Edit::Start => self.cursor = self.line_start(),
            Edit::End => self.cursor = self.line_end(),
        }
    }

    /// Moves one line up; false if there is none.
    pub fn up(&mut self) -> bool {
        let start = self.line_start();
        if start == 0 {
            return false;
        }
        let column = wrap::width(self.text.get(start..self.cursor).unwrap_or_default());
        let above = self.text.get(..start - 1).unwrap_or_default();
        let from = above.rfind('\n').map_or(0, |at| at + 1);
        self.cursor = self.at_column(from, column);
        true
    }

    /// Moves one line down; false if there is none.
    pub fn down(&mut self) -> bool {
        let end = self.line_end();
        if end == self.text.len() {
            return false;
        }
        let start = self.line_start();
        let column = wrap::width(self.text.get(start..self.cursor).unwrap_or_default());
        self.cursor = self.at_column(end + 1, column);
        true
    }

    /// The place in the line that begins at `from` which is nearest to `column`.
    fn at_column(&self, from: usize, column: usize) -> usize {
        let line = self.text.get(from..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default();
        let mut used = 0;
        for (at, cluster) in line.grapheme_indices(true) {
            used += wrap::width(cluster);
            if used > column {
                return from + at;
            }
        }
        from + line.len()
    }

    fn remove_to(&mut self, other: usize) {
        let (from, to) = (self.cursor.min(other), self.cursor.max(other));
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    fn before(&self, at: usize) -> usize {
        let head = self.text.get(..at).unwrap_or_default();
        head.grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self, at: usize) -> usize {
        let tail = self.text.get(at..).unwrap_or_default();
        at + tail.graphemes(true).next().map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let head = self.text.get(..self.cursor).unwrap_or_default().trim_end();
        head.rfind(char::is_whitespace).map_or(0, |at| self.after(at))
    }

    fn word_after(&self) -> usize {
        let tail = self.text.get(self.cursor..).unwrap_or_default();
        let skipped = tail.len() - tail.trim_start().len();
        let rest = tail.trim_start();
        self.cursor + skipped + rest.find(char::is_whitespace).unwrap_or(rest.len())
    }

    fn line_start(&self) -> usize {
        let head = self.text.get(..self.cursor).unwrap_or_default();
        head.rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        let tail = self.text.get(self.cursor..).unwrap_or_default();
        tail.find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }
}

/// What an editing key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Removes the character before the cursor.
    Backspace,
    /// Removes the character under it.
    Delete,
    /// Removes the word before it.
    DeleteWord,
    /// Removes the line up to it.
    DeleteToStart,
    /// Removes the line from it.
    DeleteToEnd,
    /// One character back.
    Left,
    /// One character on.
    Right,
    /// One word back.
    WordLeft,
    /// One word on.
    WordRight,
    /// To the start of the line.
    Start,
    /// To the end of the line.
    End,
}

/// Line feeds in one form (a terminal pastes them as carriage returns), other controls left out, so that a
/// pasted escape sequence is as harmless in the prompt as it is on the screen.
fn printable(raw: &str) -> String {
    raw.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
        .collect()
}

/// Prompts sent before, newest last, and where Up has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    sent: Vec<String>,
    at: Option<usize>,
    /// What was being typed when Up was pressed first.
    kept: String,
}

impl History {
    /// Notes a prompt that was sent.
    pub fn push(&mut self, prompt: &str) {
        self.at = None;
        if self.sent.last().is_some_and(|last| last == prompt) {
            return;
        }
        if self.sent.len() == MAX_HISTORY {
            self.sent.remove(0);
        }
        self.sent.push(prompt.to_owned());
    }

    /// Puts the prompt before into the editor.
    pub fn earlier(&mut self, editor: &mut Editor) {
        let at = match self.at {
            None => {
                editor.text().clone_into(&mut self.kept);
                self.sent.len()
            }
            Some(at) => at,
        };
        if let Some((index, prompt)) = self.sent.iter().enumerate().take(at).next_back() {
            *editor = Editor::with(prompt);
            self.at = Some(index);
        }
    }

    /// Puts the prompt after into the editor; what was being typed, after the last.
    pub fn later(&mut self, editor: &mut Editor) {
        let Some(at) = self.at else { return };
        if let Some(prompt) = self.sent.get(at + 1) {
            *editor = Editor::with(prompt);
            self.at = Some(at + 1);
        } else {
            *editor = Editor::with(&self.kept);
            self.at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paste_is_one_edit_without_controls() {
        let mut editor = Editor::with("x");
        assert!(editor.insert("a\r\nb\rc\x1b[31m\x07\u{202e}"));
        assert_eq!(editor.text(), "xa\nb\nc[31m\u{fffd}");
        assert!(!editor.insert(&"y".repeat(MAX_BYTES)));
    }

    #[test]
    fn edits_move_by_clusters_and_words() {
        let mut editor = Editor::with("one 日e\u{301}");
        editor.edit(Edit::Backspace);
        assert_eq!(editor.text(), "one 日");
        editor.edit(Edit::WordLeft);
        editor.edit(Edit::WordLeft);
        editor.edit(Edit::WordRight);
        editor.insert("!");
        assert_eq!(editor.text(), "one! 日");
        editor.edit(Edit::End);
        editor.edit(Edit::DeleteWord);
        assert_eq!(editor.text(), "one! ");
        editor.edit(Edit::DeleteToStart);
        assert_eq!(editor.text(), "");
        editor.edit(Edit::Backspace);
        editor.edit(Edit::Delete);
    }

    #[test]
    fn the_cursor_is_told_in_cells() {
        let mut editor = Editor::with("日本語 de");
        assert_eq!(editor.cursor_at(20), (0, 9));
        assert_eq!(editor.cursor_at(7), (1, 2));
        editor.edit(Edit::Start);
        assert_eq!(editor.cursor_at(7), (0, 0));
        assert_eq!(Editor::with("ab\n").cursor_at(7), (1, 0));
    }

    #[test]
    fn up_and_down_keep_the_column() {
        let mut editor = Editor::with("abc\nx\ndefg");
        assert!(editor.up());
        assert_eq!(editor.cursor_at(20), (1, 1));
        assert!(editor.up());
        assert_eq!(editor.cursor_at(20), (0, 1));
        assert!(!editor.up());
        assert!(editor.down() && editor.down() && !editor.down());
    }

    #[test]
    fn history_gives_back_what_was_being_typed() {
        let (mut history, mut editor) = (History::default(), Editor::with("dra"));
        history.push("one");
        history.push("two");
        history.earlier(&mut editor);
        history.earlier(&mut editor);
        history.earlier(&mut editor);
        assert_eq!(editor.text(), "one");
        history.later(&mut editor);
        assert_eq!(editor.text(), "two");
        history.later(&mut editor);
        assert_eq!(editor.text(), "dra");
        history.later(&mut editor);
        assert_eq!(editor.text(), "dra");
    }
}
