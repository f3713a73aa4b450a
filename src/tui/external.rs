//! The prompt in the user's editor: `$VISUAL`, `$EDITOR` or `vi`, on a private file, in place of the screen.
//!
//! ```text
//! draft --> file (0600) --> screen restored --> sh -c "$EDITOR file" --> screen set up again --> draft
//! ```
//!
//! Events are applied meanwhile. Ctrl-C belongs to the editor; SIGTERM and SIGHUP end both.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tokio::process::{Child, Command};

use super::editor::MAX_PROMPT;

/// Names tried for the file.
const TRIES: u32 = 16;

/// The file of a prompt. Removed when dropped.
#[derive(Debug)]
pub(super) struct PromptFile(PathBuf);

impl PromptFile {
    /// Writes `text` to a new file in `folder` that only its owner can read.
    pub(super) fn create(folder: &Path, text: &str) -> io::Result<Self> {
        for number in 0..TRIES {
            let path = folder.join(format!("seawall-{}-{number}.md", std::process::id()));
            // a file or a link of that name is not opened
            match File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
            {
                Ok(mut file) => {
                    let created = Self(path);
                    file.write_all(text.as_bytes())?;
                    return Ok(created);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Starts the editor, a command with options as a shell reads it. The shell waits for it even after Ctrl-C, which
    /// the editor handles. It ends with the program.
    pub(super) fn edit(&self, editor: &str) -> io::Result<Child> {
        Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("trap : INT; {editor} \"$1\""))
            .arg("seawall")
            .arg(&self.0)
            .kill_on_drop(true)
            .spawn()
    }

    /// Reads the text back without the line end that editors add.
    pub(super) fn read(&self) -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(&self.0)?
            .take(MAX_PROMPT as u64 + 2)
            .read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

impl Drop for PromptFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[tokio::test]
    async fn the_editor_gets_a_private_file_and_its_text_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        // a link in the way is not followed
        let first = folder.path().join(format!("seawall-{}-0.md", std::process::id()));
        symlink("/nowhere", &first).unwrap();
        let file = PromptFile::create(folder.path(), "a \u{e9}").unwrap();
        let mode = fs::metadata(&file.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let script = "sh -c 'printf \"%s\\nmore\\n\" \"$(cat \"$1\")\" > \"$1\"' --";
        assert!(file.edit(script).unwrap().wait().await.unwrap().success());
        assert_eq!(file.read().unwrap(), "a \u{e9}\nmore");
        let missing = file.edit("/nowhere/editor").unwrap().wait().await.unwrap();
        assert_eq!(missing.code(), Some(127));
        drop(file);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "only the link is left"
        );
    }
}
