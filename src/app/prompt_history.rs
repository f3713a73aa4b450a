//! Prompts of earlier sessions, for Up and Down in the chat: a file in the state directory that only its owner can
//! read, with a JSON string per line, the newest last.
//!
//! ```text
//! sent prompt --> channel --> thread --> read, add, truncate --> file.tmp --rename--> file
//! ```
//!
//! - The file is read again before each write, so that prompts of two sessions are both kept.
//! - A file of others' making is tolerated: what is not a prompt is skipped, and what is not a file is ignored.
//! - The screen never waits for the disk.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use crate::event::{EventKind, Observer};
use crate::semantic::label_store::replace_file;
use crate::text::SafeText;
use crate::tui::editor::{MAX_HISTORY, MAX_PROMPT};

/// The largest file that is read; a larger one has no prompts.
const MAX_READ: u64 = 1 << 20;
/// The largest file that is written, in bytes; the oldest prompts are dropped.
const MAX_BYTES: usize = 256 << 10;

/// Returns the file; `env` looks up a variable. `None` if neither XDG_STATE_HOME nor HOME is set.
pub(crate) fn history_file(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // the XDG specification ignores a relative path
    let folder = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("seawall").join("prompts.jsonl"))
}

/// Reads the prompts, the newest last; an empty list without a readable file.
pub(crate) fn load(file: &Path) -> Vec<String> {
    read(file).unwrap_or_default()
}

fn read(file: &Path) -> io::Result<Vec<String>> {
    // opening a pipe would wait for its writer
    if !fs::metadata(file)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_READ + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_READ {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let lines = bytes.split(|byte| *byte == b'\n');
    let prompts = lines.filter_map(|line| serde_json::from_slice::<String>(line).ok());
    let prompts = prompts.filter(|prompt| !prompt.trim().is_empty() && prompt.len() <= MAX_PROMPT);
    Ok(newest(prompts.collect()))
}

/// Keeps the newest prompts, within the limits.
fn newest(mut prompts: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let fit = prompts.iter().rev().take(MAX_HISTORY).take_while(|prompt| {
        // quotes, line end, and room for escapes
        bytes += prompt.len() + 16;
        bytes <= MAX_BYTES
    });
    let kept = fit.count();
    prompts.drain(..prompts.len() - kept);
    prompts
}

/// Adds a prompt to the file.
fn add(file: &Path, prompt: &str) -> io::Result<()> {
    let mut prompts = load(file);
    // asked again: it moves to the end
    prompts.retain(|earlier| earlier != prompt);
    prompts.push(prompt.to_owned());
    let mut text = String::new();
    for prompt in newest(prompts) {
        text.push_str(&serde_json::to_string(&prompt)?);
        text.push('\n');
    }
    replace_file(file, &text)
}

/// Adds sent prompts to the file on a thread of its own, which ends with the last sender.
#[derive(Debug)]
pub(crate) struct PromptWriter {
    thread: JoinHandle<()>,
}

impl PromptWriter {
    /// Starts the thread. The first failed write emits a notice through `observer`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(
        file: PathBuf,
        observer: impl Observer + 'static,
    ) -> io::Result<(Self, Sender<String>)> {
        let (sender, prompts) = channel::<String>();
        let thread = thread::Builder::new().name("prompts".into()).spawn(move || {
            let mut reported = false;
            for prompt in prompts {
                let Err(error) = add(&file, &prompt) else { continue };
                if !reported {
                    reported = true;
                    let text = format!(
                        "prompts are not kept for the next session: cannot write {}: {error}",
                        file.display()
                    );
                    let text = SafeText::excerpt(&text.replace('\n', " "), 400);
                    observer.emit(None, EventKind::Notice { text });
                }
            }
        })?;
        Ok((Self { thread }, sender))
    }

    /// Waits until the sent prompts are written. The senders must be gone.
    pub(crate) fn finish(self) {
        drop(self.thread.join());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use super::*;

    fn in_folder(folder: &Path) -> PathBuf {
        folder.join("state/seawall/prompts.jsonl")
    }

    #[test]
    fn prompts_are_kept_in_order_in_a_file_of_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = in_folder(folder.path());
        assert_eq!(load(&file), [""; 0]);
        let (writer, prompts) = PromptWriter::start(file.clone(), Arc::new(())).unwrap();
        for prompt in ["one", "two\nlines \u{1b}", "one"] {
            prompts.send(prompt.to_owned()).unwrap();
        }
        drop(prompts);
        writer.finish();
        assert_eq!(load(&file), ["two\nlines \u{1b}", "one"]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1,
            "a temporary file is left"
        );
    }

    #[test]
    fn the_file_is_bounded_and_the_newest_prompts_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = in_folder(folder.path());
        for number in 0..MAX_HISTORY + 5 {
            add(&file, &number.to_string()).unwrap();
        }
        let kept = load(&file);
        assert_eq!((kept.len(), kept[0].as_str()), (MAX_HISTORY, "5"));
        for letter in ["a", "b", "c", "d", "e"] {
            add(&file, &letter.repeat(MAX_PROMPT)).unwrap();
        }
        assert!(fs::metadata(&file).unwrap().len() <= MAX_BYTES as u64);
        assert_eq!(load(&file).last().map(|prompt| &prompt[..1]), Some("e"));
    }

    #[test]
    fn what_is_not_a_prompt_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prompts.jsonl");
        let long = "x".repeat(MAX_PROMPT + 1);
        let lines = format!("\"a\"\n{{}}\n\"unclosed\n\u{0}\n\"\"\n\"{long}\"\n7\n\"b\"");
        fs::write(&file, [lines.as_bytes(), b"\n\xff\xfe\n\"c\"\n"].concat()).unwrap();
        assert_eq!(load(&file), ["a", "b", "c"]);
        fs::write(&file, vec![b'\n'; MAX_READ as usize + 1]).unwrap();
        assert_eq!(load(&file), [""; 0]);
        // a folder in its place is neither read nor written
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(load(&file), [""; 0]);
        assert!(add(&file, "a").is_err());
    }

    #[test]
    fn the_state_directory_follows_the_xdg_specification() {
        for (name, value, expected) in [
            ("XDG_STATE_HOME", "/state", Some("/state/seawall/prompts.jsonl")),
            ("XDG_STATE_HOME", "relative", None),
            (
                "HOME",
                "/home/ana",
                Some("/home/ana/.local/state/seawall/prompts.jsonl"),
            ),
        ] {
            let found = history_file(|wanted| (wanted == name).then(|| value.into()));
            assert_eq!(found, expected.map(PathBuf::from), "{name}={value}");
        }
    }
}
