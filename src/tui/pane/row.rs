//! Lines that fit: pieces that have no room are left out whole, words are not cut.
//!
//! A pane lists the pieces or wordings of a line in order of importance; this file selects what fits the width. It
//! does all writing into the buffer, clipped to the area.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::tui::theme::{Role, Theme};
use crate::tui::wrap as text_wrap;

pub(crate) use crate::tui::wrap::width;

/// A text in a role.
pub(crate) fn piece(theme: &Theme, role: Role, text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), theme.style(role))
}

/// Secondary text.
pub(crate) fn muted(theme: &Theme, text: impl Into<String>) -> Line<'static> {
    Line::from(piece(theme, Role::Muted, text))
}

/// Plain text.
pub(crate) fn plain(text: impl Into<String>) -> Span<'static> {
    Span::raw(text.into())
}

/// Writes a line on row `row` of `area`, clipped to both.
pub(crate) fn draw(line: &Line<'_>, row: usize, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.width == 0 || row >= usize::from(area.height) {
        return;
    }
    buf.set_line(area.x, area.y + row as u16, line, area.width);
}

/// Writes lines from the top of `area` down, one per row, as many as fit.
pub(crate) fn draw_all(lines: &[Line<'_>], area: Rect, buf: &mut Buffer) {
    for (row, line) in lines.iter().enumerate().take(usize::from(area.height)) {
        draw(line, row, area, buf);
    }
}

/// Highlights a row of `area` as selected, on top of its content.
pub(crate) fn select(theme: &Theme, row: usize, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if row < usize::from(area.height) {
        let row = Rect {
            y: area.y + row as u16,
            height: 1,
            ..area
        };
        buf.set_style(row, theme.style(Role::Selection));
    }
}

/// The first wording that fits `width` columns, or else the last one, clipped.
pub(crate) fn first_fit(
    theme: &Theme,
    wordings: impl IntoIterator<Item = impl Into<Line<'static>>>,
    width: usize,
) -> Line<'static> {
    let mut last = Line::default();
    for wording in wordings {
        last = wording.into();
        if last.width() <= width {
            return last;
        }
    }
    clip_line(theme, last, width)
}

/// As many whole pieces from the front as fit; at least the first one, clipped. Each piece includes the blanks in
/// front of it.
pub(crate) fn join(
    theme: &Theme,
    pieces: impl IntoIterator<Item = impl Into<Line<'static>>>,
    width: usize,
) -> Line<'static> {
    let mut joined = Line::default();
    let mut used = 0;
    for (index, piece) in pieces.into_iter().enumerate() {
        let piece = piece.into();
        let wide = piece.width();
        if used + wide > width {
            if index == 0 {
                return clip_line(theme, piece, width);
            }
            break;
        }
        used += wide;
        joined.spans.extend(piece.spans);
    }
    trim_end(joined)
}

/// `left` and, aligned to the right edge of `width` columns, `right`, with at least `gap` blanks between; only
/// `left` if both do not fit.
pub(crate) fn apart(left: Line<'static>, right: Line<'static>, gap: usize, width: usize) -> Line<'static> {
    let free = width.saturating_sub(left.width() + right.width());
    if right.width() == 0 || left.width() + right.width() + gap > width {
        return left;
    }
    let mut line = left;
    line.spans.push(Span::raw(" ".repeat(free)));
    line.spans.extend(right.spans);
    line
}

/// `text` in at most `width` columns: cut after a word if one fits, with the theme's ellipsis.
pub(crate) fn clip(theme: &Theme, text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(theme.glyphs.ellipsis.width());
    let mut end = 0;
    let mut word_end = 0;
    let mut used = 0;
    for (at, c) in text.char_indices() {
        if c == ' ' {
            word_end = at;
        }
        used += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        if used > room {
            break;
        }
        end = at + c.len_utf8();
    }
    if text.get(end..).is_some_and(|rest| rest.starts_with(' ')) {
        word_end = end;
    }
    // a long first word is cut rather than left out
    let cut = if word_end * 2 >= end { word_end } else { end };
    let kept = text.get(..cut).unwrap_or("").trim_end();
    if width == 0 {
        return String::new();
    }
    format!("{kept}{}", theme.glyphs.ellipsis)
}

/// Breaks `text` into at most `most` lines of at most `width` columns, between words if possible; clips the last
/// line if there is more text.
pub(crate) fn wrap(theme: &Theme, text: &str, width: usize, most: usize) -> Vec<String> {
    if width == 0 || most == 0 {
        return Vec::new();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    if text.is_empty() {
        return Vec::new();
    }
    let rows = text_wrap::rows(&text, width);
    let last = rows.len().min(most) - 1;
    let line = |(index, row): (usize, &std::ops::Range<usize>)| {
        let end = if index == last { text.len() } else { row.end };
        let line = text.get(row.start..end).unwrap_or_default();
        clip(theme, line.trim(), width)
    };
    rows.iter().enumerate().take(most).map(line).collect()
}

/// `text` right-aligned in `width` columns.
pub(crate) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// `text` left-aligned in `width` columns.
pub(crate) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Drops the spans at the end that do not fit, and clips the first of them.
fn clip_line(theme: &Theme, line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    let mut kept = Line::default();
    let mut used = 0;
    for span in line.spans {
        let wide = span.width();
        if used + wide > width {
            kept.push_span(Span::styled(clip(theme, &span.content, width - used), span.style));
            break;
        }
        used += wide;
        kept.push_span(span);
    }
    kept
}

/// Removes trailing blanks, unless their style makes them visible.
fn trim_end(mut line: Line<'static>) -> Line<'static> {
    while let Some(last) = line.spans.last_mut() {
        let visible = last
            .style
            .add_modifier
            .intersects(Modifier::REVERSED | Modifier::UNDERLINED);
        if visible || !last.content.ends_with(' ') {
            break;
        }
        let trimmed = last.content.trim_end().to_owned();
        if trimmed.is_empty() {
            line.spans.pop();
        } else {
            last.content = trimmed.into();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_stay_whole() {
        let theme = Theme::default();
        assert_eq!(clip(&theme, "the breaker is open", 19), "the breaker is open");
        assert_eq!(clip(&theme, "the breaker is open", 15), "the breaker is…");
        assert_eq!(clip(&theme, "the breaker is open", 14), "the breaker…");
        assert_eq!(clip(&theme, "incomprehensible", 6), "incom…");
        assert_eq!(clip(&theme, "ab", 1), "…");
        assert_eq!(clip(&theme, "ab", 0), "");
        assert_eq!(
            wrap(&theme, "one two  three\nfour", 9, 9),
            ["one two", "three", "four"]
        );
        assert_eq!(wrap(&theme, "one two three four", 9, 2), ["one two", "three…"]);
    }

    #[test]
    fn pieces_are_left_out_whole() {
        let theme = Theme::default();
        let pieces = || ["one", "  two", "  three"];
        assert_eq!(join(&theme, pieces(), 14).to_string(), "one  two");
        assert_eq!(join(&theme, pieces(), 15).to_string(), "one  two  three");
        assert_eq!(join(&theme, pieces(), 2).to_string(), "o…");
        assert_eq!(apart("ab".into(), "cd".into(), 1, 6).to_string(), "ab  cd");
        assert_eq!(apart("ab".into(), "cd".into(), 2, 5).to_string(), "ab");
    }

    proptest! {
        #[test]
        fn no_clipped_or_wrapped_line_is_too_wide(text in "[a-z 漢字é]{0,30}", columns in 0usize..30) {
            let theme = Theme::default();
            prop_assert!(clip(&theme, &text, columns).width() <= columns);
            for line in wrap(&theme, &text, columns, 3) {
                prop_assert!(line.width() <= columns);
            }
        }
    }
}
