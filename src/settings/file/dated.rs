//! New files with the date in their names.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::time::Utc;

/// Files of a kind that can be created within one second.
const MAX_PER_SECOND: u32 = 99;

/// Creates `KIND-YYYYMMDD-HHMMSS.toml` in `dir` without overwriting a file. Fails with the path and the reason.
pub(crate) fn create_dated(
    dir: &Path,
    kind: &str,
    when: Utc,
) -> Result<(PathBuf, File), (PathBuf, io::Error)> {
    let mut number = 1;
    loop {
        let name = match number {
            1 => format!("{kind}-{}.toml", when.compact()),
            number => format!("{kind}-{}-{number}.toml", when.compact()),
        };
        let path = dir.join(name);
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_PER_SECOND => {
                number += 1;
            }
            Err(error) => return Err((path, error)),
        }
    }
}
