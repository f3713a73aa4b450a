//! Files of prompts: a prompt per line, or JSON lines with a field `prompt`.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::{ConfigError, printable_path, single_line};
use super::read::read_limited;

/// The size limit of a file of prompts.
const MAX_BYTES: u64 = 16 << 20;
/// The most prompts of a file.
const MAX_PROMPTS: usize = 100_000;
/// The longest prompt in bytes.
const MAX_PROMPT_BYTES: usize = 256 << 10;

/// Reads a file of prompts. Empty lines are skipped; a byte order mark and carriage returns are ignored.
///
/// # Errors
/// If the file cannot be read, has no prompts or too many, or a line is not a prompt.
pub fn read_prompts(path: &Path) -> Result<Vec<String>, ConfigError> {
    let text = read_limited(path, MAX_BYTES, "file of prompts")?;
    let name = printable_path(path);
    parse_prompts(&text).map_err(|(line, message)| ConfigError::Syntax {
        name,
        line,
        message: single_line(&message).to_string(),
    })
}

/// The prompts of a text, or the line of the first error and its message. The file has JSON lines if its first line is
/// a JSON object.
fn parse_prompts(text: &str) -> Result<Vec<String>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim).enumerate();
    let mut lines = lines.filter(|(_, line)| !line.is_empty()).peekable();
    let json = lines.peek().is_some_and(|(_, line)| object(line).is_some());
    let mut prompts = Vec::new();
    for (index, line) in lines {
        let refuse = |message: &str| (index + 1, message.to_owned());
        let prompt = if json {
            let fields = object(line).ok_or_else(|| refuse("not a JSON object, as the first line is"))?;
            let prompt = fields.get("prompt").and_then(Value::as_str);
            let prompt = prompt.ok_or_else(|| refuse("no field `prompt` with a text"))?;
            prompt.to_owned()
        } else {
            line.to_owned()
        };
        if prompt.trim().is_empty() {
            return Err(refuse("the prompt is empty"));
        }
        if prompt.len() > MAX_PROMPT_BYTES {
            return Err(refuse("the prompt is longer than 256 KiB"));
        }
        if prompts.len() == MAX_PROMPTS {
            return Err(refuse("more than 100000 prompts"));
        }
        prompts.push(prompt);
    }
    if prompts.is_empty() {
        return Err((1, "no prompts: write one per line".to_owned()));
    }
    Ok(prompts)
}

fn object(line: &str) -> Option<Map<String, Value>> {
    line.starts_with('{').then(|| serde_json::from_str(line).ok())?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_and_json_lines_are_read() {
        for (text, prompts) in [
            ("one\ntwo\n", vec!["one", "two"]),
            ("\u{feff}one\r\n\r\n  two  \r\n", vec!["one", "two"]),
            (
                "{\"prompt\":\"a\\nb\"}\n\n{\"id\":1,\"prompt\":\"c\"}",
                vec!["a\nb", "c"],
            ),
            ("\u{feff}{\"prompt\":\"\\u001b[2J\"}", vec!["\u{1b}[2J"]),
            (
                "{curly} braces\n{\"prompt\":1}",
                vec!["{curly} braces", "{\"prompt\":1}"],
            ),
            ("[1]\n\"quoted\"\n🦀", vec!["[1]", "\"quoted\"", "🦀"]),
            ("same\nsame", vec!["same", "same"]),
        ] {
            assert_eq!(
                parse_prompts(text),
                Ok(prompts.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_names_the_line() {
        let long = format!("ok\n{}", "x".repeat(MAX_PROMPT_BYTES + 1));
        let many = "x\n".repeat(MAX_PROMPTS + 1);
        for (text, line, message) in [
            ("", 1, "no prompts"),
            ("\u{feff}\r\n\n  ", 1, "no prompts"),
            ("{\"prompt\":\"a\"}\nplain", 2, "not a JSON object"),
            ("{\"prompt\":\"a\"}\n{\"prompt\":\"b\"", 2, "not a JSON object"),
            ("{\"prompt\":\"a\"}\n\n{\"text\":\"b\"}", 3, "no field `prompt`"),
            ("{\"prompt\":[\"a\"]}", 1, "no field `prompt`"),
            ("{\"prompt\":\" \"}", 1, "the prompt is empty"),
            (&long, 2, "longer than 256 KiB"),
            (&many, MAX_PROMPTS + 1, "more than 100000 prompts"),
        ] {
            let (found, error) = parse_prompts(text).unwrap_err();
            assert!(found == line && error.contains(message), "line {found}: {error}");
        }
    }

    #[test]
    fn a_hostile_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prompts.txt");
        let error = |content: &[u8]| {
            fs::write(&file, content).unwrap();
            read_prompts(&file).unwrap_err().to_string()
        };
        assert!(error(b"menu\xe9\n").contains("prompts.txt"));
        assert!(error(&vec![b'x'; MAX_BYTES as usize + 1]).contains("prompts.txt"));
        assert!(error(b"").contains("line 1: no prompts"));
        assert!(read_prompts(folder.path()).is_err());
        assert!(read_prompts(&folder.path().join("absent")).is_err());
    }
}
