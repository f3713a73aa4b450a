//! Every setting as a list, for a terminal of eighty columns.

use std::fmt::Write as _;

use crate::settings::{NONE, Policy, SETTINGS};

/// Columns of the list.
const WIDTH: usize = 80;
/// Columns of the path, which is the widest of all.
const PATH: usize = 27;
/// What stands before a sentence.
const INDENT: &str = "    ";

/// Every setting: its path, its value in this policy with the unit, and below it what it does and which values it
/// takes.
pub fn settings_text(policy: &Policy) -> String {
    let values = policy.settings();
    let mut text = String::new();
    let mut layer = "";
    for setting in SETTINGS {
        if setting.layer() != layer {
            let gap = if layer.is_empty() { "" } else { "\n" };
            layer = setting.layer();
            let _ = writeln!(text, "{gap}{layer}");
        }
        let value = values.get(setting.path).map_or(NONE, String::as_str);
        let value = format!("{value} {}", setting.unit());
        let _ = writeln!(text, "  {:<PATH$}  {}", setting.path, value.trim_end());
        let mut about = setting.about.to_owned();
        if let Some(takes) = setting.takes() {
            let _ = write!(about, " Takes: {takes}.");
        }
        if setting.at_start {
            about += " Read at the start only.";
        }
        for line in wrapped(&about, WIDTH - INDENT.len()) {
            let _ = writeln!(text, "{INDENT}{line}");
        }
    }
    text
}

/// The text in lines of so many characters, broken between words.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_setting_and_fits_eighty_columns() {
        let policy = Policy::default().with("semantic.threshold", "0.8").unwrap();
        let text = settings_text(&policy);
        for setting in SETTINGS {
            assert!(
                text.contains(&format!("  {:<PATH$}  ", setting.path)),
                "{}",
                setting.path
            );
            assert!(setting.path.len() <= PATH, "{}", setting.path);
        }
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{text}");
        assert!(
            text.contains("  retry.attempts               3 tries\n"),
            "{text}"
        );
        assert!(text.contains("  semantic.threshold           0.8\n"), "{text}");
        assert!(text.contains("  semantic.model               none\n"), "{text}");
        assert_eq!(
            text.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .matches("Read at the start only.")
                .count(),
            4,
            "{text}"
        );
    }

    #[test]
    fn words_are_not_broken() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
        assert_eq!(wrapped("", 3), [""; 0]);
    }
}
