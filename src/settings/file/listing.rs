//! The list of all settings, for a terminal of 80 columns.

use std::fmt::Write as _;

use crate::settings::{Policy, SETTINGS, UNSET};

const WIDTH: usize = 80;
/// Columns of the widest path.
const PATH: usize = 27;
const INDENT: &str = "    ";

/// Lists every setting: path, value in this policy with its unit, and below it the description and the range.
pub fn settings_list(policy: &Policy) -> String {
    let values = policy.settings();
    let mut text = String::new();
    let mut layer = "";
    for setting in SETTINGS {
        if setting.layer() != layer {
            let gap = if layer.is_empty() { "" } else { "\n" };
            layer = setting.layer();
            let _ = writeln!(text, "{gap}{layer}");
        }
        let value = values.get(setting.path).map_or(UNSET, String::as_str);
        let value = format!("{value} {}", setting.unit());
        let _ = writeln!(text, "  {:<PATH$}  {}", setting.path, value.trim_end());
        let mut about = setting.about.to_owned();
        if let Some(range) = setting.range() {
            let _ = write!(about, " Range: {range}.");
        }
        if setting.startup_only {
            about += " Applied at startup only.";
        }
        for line in wrapped(&about, WIDTH - INDENT.len()) {
            let _ = writeln!(text, "{INDENT}{line}");
        }
    }
    text
}

/// Wraps text between words into lines of at most `width` characters.
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
        let text = settings_list(&policy);
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
            text.contains("  retry.attempts               3 attempts\n"),
            "{text}"
        );
        assert!(text.contains("  semantic.threshold           0.8\n"), "{text}");
        assert!(text.contains("  semantic.model               none\n"), "{text}");
        assert_eq!(
            text.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .matches("Applied at startup only.")
                .count(),
            4,
            "{text}"
        );
    }

    #[test]
    fn wrapping_does_not_break_words() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
        assert_eq!(wrapped("", 3), [""; 0]);
    }
}
