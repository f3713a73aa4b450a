//! Files that the program writes on request: checked before a run, emptied when it has something to write.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::settings::file::ConfigError;

/// A file to write. An existing one is refused, or kept as it is until the first write. A new one is removed again
/// if nothing is written: an empty file would look like a result.
#[derive(Debug)]
pub(crate) struct OutputFile {
    file: File,
    path: PathBuf,
    /// True if this created the file.
    is_new: bool,
    /// True after the first write.
    is_begun: bool,
}

impl OutputFile {
    /// Opens the file of `option`.
    pub(crate) fn open(option: &'static str, path: &Path, overwrite: bool) -> Result<Self, ConfigError> {
        let unwritable = |error| ConfigError::Unwritable {
            path: path.to_owned(),
            error,
        };
        let (file, is_new) = match File::create_new(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !overwrite && is_file(path) {
                    return Err(ConfigError::Exists {
                        option,
                        path: path.to_owned(),
                    });
                }
                // `create` for a link whose target is missing
                let options = File::options()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path);
                (options.map_err(unwritable)?, false)
            }
            Err(error) => return Err(unwritable(error)),
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            is_new,
            is_begun: false,
        })
    }

    /// Opens the file of an option that may be absent.
    pub(crate) fn maybe(
        option: &'static str,
        path: Option<&Path>,
        overwrite: bool,
    ) -> Result<Option<Self>, ConfigError> {
        path.map(|path| Self::open(option, path, overwrite)).transpose()
    }
}

/// Returns true for a file with content to lose; a device or a pipe has none.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}

/// Checks that none of the files of `option` exists in `folder`.
pub(crate) fn check_folder(
    option: &'static str,
    folder: Option<&Path>,
    files: &[&str],
    overwrite: bool,
) -> Result<(), ConfigError> {
    let Some(folder) = folder.filter(|_| !overwrite) else {
        return Ok(());
    };
    let existing = files
        .iter()
        .map(|name| folder.join(name))
        .find(|path| is_file(path));
    match existing {
        Some(path) => Err(ConfigError::Exists { option, path }),
        None => Ok(()),
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_begun {
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
            self.is_begun = true;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if self.is_new && !self.is_begun {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_refused_and_intact_until_the_first_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ndjson");
        let open = |overwrite| OutputFile::open("--journal", &path, overwrite);
        // nothing is left of a run that did not begin
        drop(open(false).unwrap());
        assert!(!path.exists());
        open(false).unwrap().write_all(b"an earlier run").unwrap();
        let refused = open(false).unwrap_err().to_string();
        assert!(
            refused.starts_with("--journal ")
                && refused.ends_with("exists already; name a new file, or add --overwrite"),
            "{refused}"
        );
        drop(open(true).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"an earlier run");
        open(true).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        OutputFile::open("--journal", Path::new("/dev/null"), false)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        let missing = OutputFile::open("--journal", &folder.path().join("no/x"), false).unwrap_err();
        assert!(matches!(missing, ConfigError::Unwritable { .. }), "{missing}");
    }

    #[test]
    fn a_folder_with_one_of_the_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let check = |overwrite| check_folder("--charts", Some(folder.path()), &["a.svg", "b.svg"], overwrite);
        fs::write(folder.path().join("other.svg"), "").unwrap();
        assert!(check(false).is_ok());
        fs::write(folder.path().join("b.svg"), "mine").unwrap();
        let refused = check(false).unwrap_err().to_string();
        assert!(refused.contains("b.svg: the file exists already"), "{refused}");
        assert!(check(true).is_ok());
        assert!(check_folder("--charts", None, &["b.svg"], false).is_ok());
    }
}
