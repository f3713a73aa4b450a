//! Markdown for reports: tables, and foreign text that cannot break out of them.

use std::fmt::Write as _;
use std::path::Path;

/// Returns text as a one-line paragraph that shows exactly these characters: no emphasis, links or tags.
pub fn escape(text: &str) -> String {
    let mut out = inline(text);
    // characters that would start a list or a rule
    let marks = out.bytes().take_while(u8::is_ascii_digit).count();
    let listed = out.starts_with(['-', '+', '=']) || (marks > 0 && out[marks..].starts_with(['.', ')']));
    if listed {
        out.insert(marks, '\\');
    }
    out
}

/// Escapes text within a cell, where no list can begin.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        // between two letters an underscore starts no emphasis, and names contain many
        let within =
            |next: Option<&char>| before.is_alphanumeric() && next.is_some_and(|next| next.is_alphanumeric());
        match letter {
            '_' if within(letters.peek()) => out.push('_'),
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '~' | '#' | '$' => out.extend(['\\', letter]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
        before = letter;
    }
    out
}

/// Returns a table of unescaped text: the first column is aligned left, the others right. Rows are as wide as the
/// head.
pub fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let mut out = String::new();
    let line = |out: &mut String, cells: &[String]| {
        for at in 0..head.len() {
            let cell = cells.get(at).map_or_else(String::new, |cell| inline(cell.trim()));
            let _ = write!(out, "| {cell} ");
        }
        out.push_str("|\n");
    };
    line(&mut out, head);
    for at in 0..head.len() {
        out.push_str(if at == 0 { "| --- " } else { "| ---: " });
    }
    out.push_str("|\n");
    for row in rows {
        line(&mut out, row);
    }
    out
}

/// Returns text as a fenced block, with a line end at its end.
pub fn verbatim(text: &str) -> String {
    // a fence ends at the next one of at least its length
    let longest = text
        .split(|letter| letter != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}text\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

/// Returns an image in a paragraph of its own. A relative path is relative to the Markdown file.
pub fn image(description: &str, file: &Path) -> String {
    let mut link = String::new();
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                link.push(char::from(*byte));
            }
            b'\\' if cfg!(windows) => link.push('/'),
            other => {
                let _ = write!(link, "%{other:02X}");
            }
        }
    }
    format!("![{}]({link})\n", inline(description))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of cells of a line: GitHub's Markdown separates them by pipes without a backslash.
    fn cells(line: &str) -> usize {
        let (mut bars, mut before) = (0, ' ');
        for letter in line.chars() {
            bars += usize::from(letter == '|' && before != '\\');
            before = if before == '\\' { ' ' } else { letter };
        }
        bars - 1
    }

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        let hostile = "a|b\\|c\n| d | <img src=x> [l](u) `*_~";
        let head = ["policy".to_owned(), hostile.to_owned()];
        let text = table(
            &head,
            &[
                vec![hostile.to_owned()],
                vec!["x".into(), "1".into(), "more".into()],
            ],
        );
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.lines().all(|line| cells(line) == 2), "{text}");
        assert!(!text.contains('<') && text.contains("\\[l\\](u)"), "{text}");
    }

    #[test]
    fn nothing_breaks_out_of_a_fence_or_a_link() {
        let text = verbatim("a\n```\n<b>\n````` x\n");
        assert!(
            text.starts_with("``````text\na\n") && text.ends_with("x\n``````\n"),
            "{text}"
        );
        assert_eq!(verbatim("a"), "```text\na\n```\n");
        let link = image("a ](x) <b>", Path::new("out dir/(1)/a b.svg"));
        assert_eq!(link, "![a \\](x) &lt;b&gt;](out%20dir/%281%29/a%20b.svg)\n");
        assert_eq!(
            image("fates", Path::new("charts/fates.svg")),
            "![fates](charts/fates.svg)\n"
        );
    }

    #[test]
    fn a_line_that_looks_like_a_list_is_escaped() {
        assert_eq!(escape("1. one"), "1\\. one");
        assert_eq!(escape("- one"), "\\- one");
        assert_eq!(escape("12 - one"), "12 - one");
        assert_eq!(escape("# one"), "\\# one");
        assert_eq!(escape("served_share of _all_"), "served_share of \\_all\\_");
    }
}
