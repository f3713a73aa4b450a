//! The text being typed: a value with a cursor, edited by whole grapheme clusters.
//!
//! - A paste never submits.
//! - The text never contains a control character but line feed and tab.
//! - The terminal cursor is where the next character goes; IME windows follow it.

use unicode_segmentation::UnicodeSegmentation;

use crate::text::SafeText;

use super::wrap;

/// The longest draft, in bytes.
pub(crate) const MAX_PROMPT: usize = 64 << 10;

/// The number of prompts kept for Up and Down.
pub(crate) const MAX_HISTORY: usize = 100;

/// A text with a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Editor {
    text: String,
    /// A byte index, always at the edge of a cluster.
    cursor: usize,
}

impl Editor {
    /// An editor with `text`, cursor at the end.
    pub fn from_text(text: &str) -> Self {
        let mut editor = Self::default();
        editor.insert(text);
        editor
    }

    /// An editor with `text`, cursor at the end; `None` if it is too long.
    pub fn try_from_text(text: &str) -> Option<Self> {
        let mut editor = Self::default();
        editor.insert(text).then_some(editor)
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if the text is empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Row and column of the cursor in the text wrapped at `columns`.
    pub fn cursor_at(&self, columns: usize) -> (usize, usize) {
        let rows = wrap::rows(&self.text, columns);
        let row = rows
            .iter()
            .rposition(|row| row.start <= self.cursor)
            .unwrap_or_default();
        let start = rows.get(row).map_or(0, |row| row.start);
        let column = wrap::width(self.text.get(start..self.cursor).unwrap_or_default());
        // in a full row the cursor stays on the last column until the next character breaks the line
        (row, column.min(columns.saturating_sub(1)))
    }

    /// Inserts sanitised text. Returns false, and inserts nothing, if the draft would become too long.
    pub fn insert(&mut self, raw: &str) -> bool {
        let safe = SafeText::new(&printable(raw));
        if self.text.len() + safe.len() > MAX_PROMPT {
            return false;
        }
        self.text.insert_str(self.cursor, &safe);
        self.cursor += safe.len();
        true
    }

    /// Inserts text with line breaks replaced by blanks.
    pub fn insert_line(&mut self, raw: &str) -> bool {
        self.insert(&raw.replace(['\n', '\r'], " "))
    }

    /// Empties the editor and returns its text.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Applies an editing key.
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

    /// Moves one line up. Returns false on the first line.
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

    /// Moves one line down. Returns false on the last line.
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

    /// The byte index nearest to `column` in the line that begins at `from`.
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

/// The effect of an editing key.
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

/// Normalises line breaks (a terminal pastes them as carriage returns) and drops other control characters, so that
/// a pasted escape sequence is harmless.
fn printable(raw: &str) -> String {
    raw.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
        .collect()
}

/// The sent prompts, newest last, and the position reached with Up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    sent: Vec<String>,
    at: Option<usize>,
    /// The draft at the first press of Up.
    kept: String,
}

impl History {
    /// The prompts of earlier sessions, newest last.
    pub fn new(prompts: &[String]) -> Self {
        let mut history = Self::default();
        for prompt in prompts {
            history.push(prompt);
        }
        history
    }

    /// Adds a sent prompt.
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

    /// Replaces the draft by the previous prompt.
    pub fn earlier(&mut self, editor: &mut Editor) {
        let at = match self.at {
            None => {
                editor.text().clone_into(&mut self.kept);
                self.sent.len()
            }
            Some(at) => at,
        };
        if let Some((index, prompt)) = self.sent.iter().enumerate().take(at).next_back() {
            *editor = Editor::from_text(prompt);
            self.at = Some(index);
        }
    }

    /// Replaces the draft by the next prompt; after the last one, by the original draft.
    pub fn later(&mut self, editor: &mut Editor) {
        let Some(at) = self.at else { return };
        if let Some(prompt) = self.sent.get(at + 1) {
            *editor = Editor::from_text(prompt);
            self.at = Some(at + 1);
        } else {
            *editor = Editor::from_text(&self.kept);
            self.at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paste_is_one_edit_without_controls() {
        let mut editor = Editor::from_text("x");
        assert!(editor.insert("a\r\nb\rc\x1b[31m\x07\u{202e}"));
        assert_eq!(editor.text(), "xa\nb\nc[31m\u{fffd}");
        assert!(!editor.insert(&"y".repeat(MAX_PROMPT)));
    }

    #[test]
    fn edits_move_by_clusters_and_words() {
        let mut editor = Editor::from_text("one 日e\u{301}");
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
    fn the_cursor_is_measured_in_columns() {
        let mut editor = Editor::from_text("日本語 de");
        assert_eq!(editor.cursor_at(20), (0, 9));
        assert_eq!(editor.cursor_at(7), (1, 2));
        editor.edit(Edit::Start);
        assert_eq!(editor.cursor_at(7), (0, 0));
        assert_eq!(Editor::from_text("ab\n").cursor_at(7), (1, 0));
    }

    #[test]
    fn up_and_down_keep_the_column() {
        let mut editor = Editor::from_text("abc\nx\ndefg");
        assert!(editor.up());
        assert_eq!(editor.cursor_at(20), (1, 1));
        assert!(editor.up());
        assert_eq!(editor.cursor_at(20), (0, 1));
        assert!(!editor.up());
        assert!(editor.down() && editor.down() && !editor.down());
    }

    #[test]
    fn history_restores_the_draft() {
        let (mut history, mut editor) = (History::default(), Editor::from_text("dra"));
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
