//! Text wrapped by display width: wide characters take two columns, combining marks none.
//!
//! Measured with the crate that ratatui draws with, so a row never exceeds its area.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The columns of `text` on one row.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The byte ranges of the rows of `text` at `columns` columns. Breaks after a space if possible, otherwise in
/// mid-word, and at every line feed. Never empty: empty text is one empty row. A space that would start a row
/// hangs over the end of the row before it.
pub fn rows(text: &str, columns: usize) -> Vec<Range<usize>> {
    let columns = columns.max(1);
    let mut rows = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        wrap_line(line, start, columns, &mut rows);
        start += line.len() + 1;
    }
    rows
}

/// Wraps one line that begins at byte `base` of the whole text.
fn wrap_line(line: &str, base: usize, columns: usize, rows: &mut Vec<Range<usize>>) {
    let mut row_start = 0;
    let mut used = 0;
    // the byte after the last space, and the columns used up to there
    let mut space: Option<(usize, usize)> = None;
    for (at, cluster) in line.grapheme_indices(true) {
        let cells = cluster.width();
        let hangs = cluster == " ";
        if used + cells > columns
            && !hangs
            && let Some((end, before)) = space.take()
        {
            rows.push(base + row_start..base + end);
            row_start = end;
            used -= before;
        }
        // a word too long for a row of its own
        if used + cells > columns && !hangs && at > row_start {
            rows.push(base + row_start..base + at);
            row_start = at;
            used = 0;
        }
        used += cells;
        if hangs {
            space = Some((at + cluster.len(), used));
        }
    }
    rows.push(base + row_start..base + line.len());
}

/// The beginning of `text` that fits `columns` columns; `mark` (one column) replaces the rest.
pub fn fit(text: &str, columns: usize, mark: &str) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = mark.width();
    for cluster in text.graphemes(true) {
        used += cluster.width();
        if used > columns {
            break;
        }
        out.push_str(cluster);
    }
    if columns >= mark.width() {
        out.push_str(mark);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrapped(text: &str, columns: usize) -> Vec<&str> {
        rows(text, columns).into_iter().map(|row| &text[row]).collect()
    }

    #[test]
    fn words_lines_and_wide_characters() {
        assert_eq!(wrapped("a bucket admits", 9), ["a bucket ", "admits"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("a\n\nb", 5), ["a", "", "b"]);
        assert_eq!(wrapped("日本語", 4), ["日本", "語"]);
        assert_eq!(
            wrapped("e\u{301}e\u{301}e\u{301}", 2),
            ["e\u{301}e\u{301}", "e\u{301}"]
        );
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("日", 1), ["日"]);
    }

    #[test]
    fn fit_marks_the_cut() {
        assert_eq!(fit("abcdef", 4, "…"), "abc…");
        assert_eq!(fit("日本語", 4, "…"), "日…");
        assert_eq!(fit("abc", 0, "…"), "");
        assert_eq!(fit("abc", 3, "…"), "abc");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_row_is_too_wide(text in "[a-c 日\n\u{301}]{0,60}", columns in 2usize..20) {
            let rows = wrapped(&text, columns);
            for row in &rows {
                prop_assert!(row.trim_end_matches(' ').width() <= columns, "{row:?} at {columns}");
            }
            let whole: String = rows.concat();
            prop_assert_eq!(whole, text.replace('\n', ""));
        }
    }
}
