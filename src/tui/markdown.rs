//! Markdown of an answer as styled rows: bold, italic, code, headings, lists, quotes, tables, fences.
//!
//! ```text
//!  text --pulldown-cmark--> events --Writer--> paragraphs with styles --wrap--> rows
//! ```
//!
//! - The text may be incomplete: an open fence or emphasis is drawn as far as it goes, and no word is lost.
//! - A line break of the text is a line break on the screen, as chat programs do it.
//! - Entities can spell control characters, so decoded text is sanitised again.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::theme::{Role, Theme};
use super::wrap;
use crate::text::SafeText;

/// The widest rule.
const RULE: usize = 24;
/// Columns of a tab.
const TAB: &str = "    ";

/// The rows of `text` at `columns` columns.
pub(crate) fn rows(theme: &Theme, text: &str, columns: usize) -> Vec<Line<'static>> {
    let mut writer = Writer {
        theme,
        columns: columns.max(1),
        rows: Vec::new(),
        text: Styled::default(),
        open: Vec::new(),
        lists: Vec::new(),
        bold: 0,
        italic: 0,
        code: false,
        link: None,
        table: None,
    };
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        writer.take(event);
    }
    writer.flush();
    writer.rows
}

/// The part of a streaming answer to draw: without a last line of marks only, which may become a list, a heading, a
/// table or a fence with the next characters.
pub(crate) fn settled(text: &str) -> &str {
    let start = text.rfind('\n').map_or(0, |at| at + 1);
    let (before, last) = text.split_at(start);
    let marks = |c: char| "-=*_#`~>|:+ ".contains(c);
    if last.chars().all(marks) { before } else { text }
}

/// Text with styles.
#[derive(Debug, Default)]
struct Styled {
    text: String,
    /// The end of each run of one style, in bytes.
    runs: Vec<(usize, Style)>,
}

impl Styled {
    fn push(&mut self, text: &str, style: Style) {
        self.text.push_str(text);
        match self.runs.last_mut() {
            Some((end, last)) if *last == style => *end = self.text.len(),
            _ => self.runs.push((self.text.len(), style)),
        }
    }

    /// The spans of a range of bytes.
    fn spans(&self, range: std::ops::Range<usize>) -> Vec<Span<'static>> {
        let mut spans = Vec::new();
        let mut start = 0;
        for (end, style) in &self.runs {
            let part = start.max(range.start)..(*end).min(range.end);
            start = *end;
            if let Some(text) = self.text.get(part).filter(|text| !text.is_empty()) {
                spans.push(Span::styled(text.to_owned(), *style));
            }
        }
        spans
    }
}

/// A block that indents the blocks within it.
#[derive(Debug)]
enum Container {
    Quote,
    /// The marker, until its row is written; then blanks of its width.
    Item {
        marker: String,
        width: usize,
    },
}

/// The cells of a table so far.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<Vec<String>>,
    cell: String,
}

struct Writer<'a> {
    theme: &'a Theme,
    columns: usize,
    rows: Vec<Line<'static>>,
    /// The paragraph so far.
    text: Styled,
    open: Vec<Container>,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    bold: u32,
    italic: u32,
    /// True within a code block.
    code: bool,
    /// The address of the open link or image, and the start of its text.
    link: Option<(String, usize)>,
    table: Option<Table>,
}

impl Writer<'_> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.push(&text, self.style()),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                let tick = self.theme.style(Role::Muted);
                self.push("`", tick);
                self.push(&text, self.style());
                self.push("`", tick);
            }
            Event::SoftBreak | Event::HardBreak => self.push("\n", Style::new()),
            Event::Rule => {
                self.begin();
                let rule = self.theme.glyphs.border[0].repeat(self.room().min(RULE));
                self.row(vec![Span::styled(rule, self.theme.style(Role::Border))]);
            }
            Event::FootnoteReference(_) | Event::TaskListMarker(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.begin(),
            Tag::Heading { .. } => {
                self.begin();
                self.bold += 1;
            }
            Tag::BlockQuote(_) => {
                self.begin();
                self.open.push(Container::Quote);
            }
            Tag::CodeBlock(kind) => {
                self.begin();
                self.code = true;
                if let CodeBlockKind::Fenced(language) = kind
                    && !language.is_empty()
                {
                    let language = SafeText::new(&language).single_line();
                    self.code_rows(&language, self.theme.style(Role::Muted));
                }
            }
            Tag::List(first) => {
                self.begin();
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush();
                let bullet = if self.theme.is_ascii() { "-" } else { "\u{2022}" };
                let marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}. ");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => format!("{bullet} "),
                };
                let width = wrap::width(&marker);
                self.open.push(Container::Item { marker, width });
            }
            Tag::Emphasis => self.italic += 1,
            Tag::Strong => self.bold += 1,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.link = Some((dest_url.into_string(), self.text.text.len()));
            }
            Tag::Table(_) => {
                self.begin();
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.flush(),
            TagEnd::Heading(_) => {
                self.flush();
                self.bold = self.bold.saturating_sub(1);
            }
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.flush();
                // an empty item is a row with its marker
                if matches!(self.open.last(), Some(Container::Item { marker, .. }) if !marker.is_empty()) {
                    self.row(Vec::new());
                }
                self.open.pop();
            }
            TagEnd::CodeBlock => {
                self.code = false;
                let text = std::mem::take(&mut self.text).text;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                for line in text.split('\n') {
                    self.code_rows(line, Style::new());
                }
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
            }
            TagEnd::Emphasis => self.italic = self.italic.saturating_sub(1),
            TagEnd::Strong => self.bold = self.bold.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::TableCell => {
                if let Some(table) = &mut self.table {
                    let cell = std::mem::take(&mut table.cell);
                    if let Some(row) = table.rows.last_mut() {
                        row.push(cell);
                    }
                }
            }
            TagEnd::Table => self.end_table(),
            _ => {}
        }
    }

    fn push(&mut self, text: &str, style: Style) {
        let text = text.replace('\t', TAB);
        let text = SafeText::new(&text);
        match &mut self.table {
            Some(table) => table.cell.push_str(&text.single_line()),
            None => self.text.push(&text, style),
        }
    }

    /// The style of inline text.
    fn style(&self) -> Style {
        let mut style = Style::new();
        for (is_on, modifier) in [
            (self.bold > 0, Modifier::BOLD),
            (self.italic > 0, Modifier::ITALIC),
            (self.link.is_some(), Modifier::UNDERLINED),
        ] {
            if is_on {
                style = style.add_modifier(modifier);
            }
        }
        style
    }

    /// Adds the address after the text of a link, unless the text is the address.
    fn end_link(&mut self) {
        let Some((address, start)) = self.link.take() else {
            return;
        };
        let text = self.text.text.get(start..).unwrap_or_default();
        if self.table.is_none() && !address.is_empty() && text != address {
            let muted = self.theme.style(Role::Muted);
            self.push(&format!(" ({address})"), muted);
        }
    }

    /// Ends the paragraph before a block. Blocks that no list or quote contains are apart.
    fn begin(&mut self) {
        self.flush();
        if self.open.is_empty() && !self.rows.is_empty() {
            self.rows.push(Line::default());
        }
    }

    /// Columns inside the open lists and quotes.
    fn room(&self) -> usize {
        let widths = self.open.iter().map(|container| match container {
            Container::Quote => 2,
            Container::Item { width, .. } => *width,
        });
        // deep nesting leaves half of the row to the text
        self.columns
            .saturating_sub(widths.sum())
            .max(self.columns.div_ceil(2))
    }

    /// Writes the paragraph so far.
    fn flush(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        let end = text.text.trim_end().len();
        text.text.truncate(end);
        if end == 0 {
            return;
        }
        for range in wrap::rows(&text.text, self.room()) {
            self.row(text.spans(range));
        }
    }

    /// Writes a line of code: a bar in front, blanks kept.
    fn code_rows(&mut self, line: &str, style: Style) {
        let bar = format!("{} ", self.theme.glyphs.border[1]);
        for range in wrap::rows(line, self.room().saturating_sub(2)) {
            let text = line.get(range).unwrap_or_default().to_owned();
            let bar = Span::styled(bar.clone(), self.theme.style(Role::Border));
            self.row(vec![bar, Span::styled(text, style)]);
        }
    }

    /// Writes a row behind the markers of the open lists and quotes.
    fn row(&mut self, spans: Vec<Span<'static>>) {
        let muted = self.theme.style(Role::Muted);
        let bar = format!("{} ", self.theme.glyphs.border[1]);
        let indent = self.columns.saturating_sub(self.room());
        let mut used = 0;
        let mut all = Vec::new();
        for container in &mut self.open {
            let (mark, width) = match container {
                Container::Quote => (bar.clone(), 2),
                Container::Item { marker, width } => {
                    let marker = std::mem::take(marker);
                    (format!("{marker:width$}", width = *width), *width)
                }
            };
            used += width;
            if used <= indent {
                all.push(Span::styled(mark, muted));
            }
        }
        all.extend(spans);
        self.rows.push(Line::from(all));
    }

    /// Writes a table with aligned columns, or row by row if it is too wide.
    fn end_table(&mut self) {
        let Some(table) = self.table.take() else { return };
        let count = table.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..count)
            .map(|column| {
                let cells = table.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| wrap::width(cell)).max().unwrap_or_default()
            })
            .collect();
        let gaps = 3 * count.saturating_sub(1);
        let whole = widths.iter().sum::<usize>() + gaps;
        let fits = whole <= self.room();
        let bar = format!(" {} ", self.theme.glyphs.border[1]);
        for (at, row) in table.rows.iter().enumerate() {
            let style = if at == 0 {
                Style::new().add_modifier(Modifier::BOLD)
            } else {
                Style::new()
            };
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = if fits {
                    width.saturating_sub(wrap::width(cell))
                } else {
                    0
                };
                if column > 0 {
                    self.text.push(&bar, self.theme.style(Role::Border));
                }
                self.text.push(&format!("{cell}{}", " ".repeat(pad)), style);
            }
            self.flush();
            if at == 0 && fits {
                let rule = self.theme.glyphs.border[0].repeat(whole);
                self.row(vec![Span::styled(rule, self.theme.style(Role::Border))]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tui::theme::Palette;

    fn drawn(text: &str, columns: usize) -> Vec<String> {
        let theme = Theme::default();
        rows(&theme, text, columns)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// The texts with a modifier.
    fn with(text: &str, modifier: Modifier) -> Vec<String> {
        let theme = Theme::new(Palette::Mono, false);
        let rows = rows(&theme, text, 60);
        let spans = rows.iter().flat_map(|row| &row.spans);
        let with = spans.filter(|span| span.style.add_modifier.contains(modifier));
        with.map(|span| span.content.to_string()).collect()
    }

    #[test]
    fn blocks_are_drawn_with_their_marks() {
        for (text, rows) in [
            ("a\nb\n\nc", &["a", "b", "", "c"][..]),
            ("# Title\ntext", &["Title", "", "text"]),
            (
                "- one\n- two\n  1. deep\n  2. er\n- ",
                &["• one", "• two", "  1. deep", "  2. er", "•"],
            ),
            (
                "1. a long item that wraps",
                &["1. a long", "   item that", "   wraps"],
            ),
            ("> quote\n> more", &["│ quote", "│ more"]),
            (
                "```rust\nfn a() {\n    b\n}\n```\nx",
                &["│ rust", "│ fn a() {", "│     b", "│ }", "", "x"],
            ),
            ("use `a  b` here", &["use `a  b`", "here"]),
            ("a\n\n---\nb", &["a", "", "────────────", "", "b"]),
            ("|n|x|\n|-|-|\n|ab|1|", &["n  │ x", "──────", "ab │ 1"]),
            ("[docs](http://a.b)", &["docs ", "(http://a.b)"]),
            ("<http://a.b> <b>", &["http://a.b", "<b>"]),
            ("a\\*b\\* 2 * 3 * 4", &["a*b* 2 * 3 *", "4"]),
            ("snake_case_name", &["snake_case_na", "me"]),
        ] {
            let found: Vec<String> = drawn(text, if text.starts_with("snake") { 13 } else { 12 });
            let found: Vec<&str> = found.iter().map(|row| row.trim_end()).collect();
            let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
            assert_eq!(found, rows, "{text:?}");
        }
    }

    #[test]
    fn emphasis_is_a_modifier_that_mono_terminals_show() {
        assert_eq!(with("a **b _c_** d", Modifier::BOLD), ["b ", "c"]);
        assert_eq!(with("a **b _c_** d", Modifier::ITALIC), ["c"]);
        assert_eq!(with("# T\nx", Modifier::BOLD), ["T"]);
        assert_eq!(with("[l](u)", Modifier::UNDERLINED), ["l"]);
        // not yet closed
        assert_eq!(with("a **b", Modifier::BOLD), [""; 0]);
    }

    #[test]
    fn an_entity_cannot_spell_a_control_character() {
        let text = drawn("&#27;]0;x&#7; &#x202e;abc `&#27;` \u{1b}[2J", 60).concat();
        assert!(
            !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{text:?}"
        );
    }

    #[test]
    fn a_streaming_line_of_marks_is_held_back() {
        assert_eq!(settled("a\n-"), "a\n");
        assert_eq!(settled("a\n``"), "a\n");
        assert_eq!(settled("a\n- b"), "a\n- b");
        assert_eq!(settled("4"), "4");
    }

    #[test]
    fn deep_nesting_leaves_room_for_the_text() {
        let text = format!("{} deep", ">".repeat(500));
        let rows = drawn(&text, 40);
        assert!(rows.iter().any(|row| row.contains("deep")), "{rows:?}");
        assert!(rows.iter().all(|row| wrap::width(row) <= 40), "{rows:?}");
    }

    proptest! {
        /// Each prefix of an answer is drawn while it streams.
        #[test]
        fn no_prefix_loses_a_letter_or_exceeds_its_columns(
            text in "([a-d]{1,4}|[*_`#>|~-]{1,3}|1\\.|\\[x\\]\\(y\\)|&lt;|<b>|日| |\n|\n\n|    ){0,40}",
            columns in 8usize..40,
        ) {
            let letters = |text: &str| text.chars().filter(|c| ('a'..='d').contains(c)).count();
            for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
                let part = &text[..end];
                let rows = drawn(part, columns);
                for row in &rows {
                    prop_assert!(wrap::width(row.trim_end()) <= columns, "{row:?} of {part:?} at {columns}");
                }
                // GitHub's tables drop cells beyond those of their head
                if !part.contains('|') {
                    prop_assert_eq!(letters(part), letters(&rows.concat()), "{:?}: {:?}", part, rows);
                }
            }
        }
    }
}
