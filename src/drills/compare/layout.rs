//! A text table, within 80 columns where possible: heads are wrapped, and a name that is too long has a line of
//! its own.

use std::fmt;

/// Columns of a standard terminal.
pub(super) const WIDTH: usize = 80;
/// Spaces between two columns.
const GAP: usize = 2;

/// A table; the first row is its head.
pub(super) struct Layout {
    /// The wrapped head of each column.
    heads: Vec<Vec<String>>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Layout {
    pub(super) fn new(mut table: Vec<Vec<String>>) -> Self {
        let head = if table.is_empty() {
            Vec::new()
        } else {
            table.remove(0)
        };
        let body = |at: usize| {
            let cells = table.iter().filter_map(|line| line.get(at));
            cells.map(|cell| width(cell)).max().unwrap_or(0)
        };
        let columns = head.iter().enumerate();
        let heads: Vec<Vec<String>> = columns
            .map(|(at, text)| {
                let longest = pieces(text).map(|piece| width(piece.trim_end())).max();
                wrapped_head(text, body(at).max(longest.unwrap_or(0)))
            })
            .collect();
        let widths = heads.iter().enumerate().map(|(at, lines)| {
            let head = lines.iter().map(|line| width(line)).max();
            head.unwrap_or(0).max(body(at))
        });
        Self {
            widths: widths.collect(),
            heads,
            rows: table,
        }
    }

    /// The width of its longest line.
    pub(super) fn width(&self) -> usize {
        self.widths.iter().sum::<usize>() + GAP * self.widths.len().saturating_sub(1)
    }

    /// The width left for names, if the table is too wide.
    fn room(&self) -> Option<usize> {
        let names = self.widths.first().copied().unwrap_or(0);
        (self.width() > WIDTH).then(|| (WIDTH + names).saturating_sub(self.width()))
    }

    /// Writes a row: the first column is aligned left, the others right.
    fn line(&self, f: &mut fmt::Formatter<'_>, cells: &[String], name: usize) -> fmt::Result {
        let mut text = String::new();
        for (at, (cell, wide)) in cells.iter().zip(&self.widths).enumerate() {
            let wide = if at == 0 { name } else { *wide };
            let fill = " ".repeat(wide.saturating_sub(width(cell)));
            if at == 0 {
                text.extend([cell.as_str(), &fill]);
            } else {
                text.extend([&" ".repeat(GAP), &fill, cell.as_str()]);
            }
        }
        writeln!(f, "{}", text.trim_end())
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.widths.first().copied().unwrap_or(0);
        let room = self.room().map_or(names, |room| room.min(names));
        let high = self.heads.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..high {
            // heads are aligned at the bottom
            let cells = self.heads.iter().map(|lines| {
                let at = (line + lines.len()).checked_sub(high);
                at.and_then(|at| lines.get(at)).cloned().unwrap_or_default()
            });
            self.line(f, &cells.collect::<Vec<_>>(), room)?;
        }
        for row in &self.rows {
            let name = row.first().map_or(0, |name| width(name));
            if name > room {
                writeln!(f, "{}", row.first().map_or("", String::as_str))?;
                let mut rest = row.clone();
                if let Some(name) = rest.first_mut() {
                    name.clear();
                }
                self.line(f, &rest, room)?;
            } else {
                self.line(f, row, room)?;
            }
        }
        Ok(())
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A head in lines no wider than `room` where possible: it is wrapped between words and before a `+`.
fn wrapped_head(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for piece in pieces(text) {
        let fits = width(line.trim_end()) + width(piece.trim_end()) + usize::from(line.ends_with(' '));
        if !line.is_empty() && fits > room {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        line.push_str(piece);
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// The unbreakable pieces: a word with the space after it, a setting with the `+` before it, an interval.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut inside = false;
        let end = rest.char_indices().find_map(|(at, letter)| {
            inside = (inside || letter == '(') && letter != ')';
            match letter {
                '+' if at > 0 => Some(at),
                ' ' if !inside => Some(at + 1),
                _ => None,
            }
        });
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Text in lines of at most [`WIDTH`] where its words allow it; existing line breaks stay.
pub(super) fn wrapped(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut out = String::new();
        let mut at = 0;
        for word in line.split(' ') {
            let wide = width(word);
            if at > 0 && at + 1 + wide > WIDTH {
                out.push('\n');
                at = 0;
            } else if at > 0 {
                out.push(' ');
                at += 1;
            }
            out.push_str(word);
            at += wide;
        }
        out
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> Layout {
        let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        Layout::new(rows.iter().map(row).collect())
    }

    #[test]
    fn heads_are_wrapped_and_long_names_have_a_line_of_their_own() {
        let long =
            "production+breaker.enabled=false+retry.attempts=1+limit.enabled=false+cache.enabled=false";
        let cells = ["66.8%", "1.01", "17.69s"];
        let layout = table(&[
            &["", "served", "attempts per call", "time to recover"],
            &[&["production"], &cells[..]].concat(),
            &[&[long], &cells[..]].concat(),
        ]);
        let text = layout.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3], long, "{text}");
        assert!(
            lines[1].trim_start().starts_with("served") && lines[1].ends_with("recover"),
            "{text}"
        );
        let end = |line: &str| line.chars().count();
        assert!(end(lines[2]) == end(lines[4]) && end(lines[2]) <= WIDTH, "{text}");
    }

    #[test]
    fn heads_wrap_at_settings_and_words_but_not_in_brackets() {
        assert_eq!(
            wrapped_head("production+retry.attempts=1 without breaker", 10),
            ["production", "+retry.attempts=1", "without", "breaker"]
        );
        assert_eq!(wrapped_head("difference (95 %)", 6), ["difference", "(95 %)"]);
        assert_eq!(wrapped_head("p95", 2), ["p95"]);
    }

    #[test]
    fn prose_stays_within_the_width_and_keeps_its_words() {
        let text = "word ".repeat(60);
        let wrapped = wrapped(&text);
        assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(wrapped.split_whitespace().count(), 60);
    }
}
