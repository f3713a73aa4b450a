//! Files with the date in their names.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::time::Utc;

/// So many files of a kind may be made within a second.
const SAME_SECOND: u32 = 99;

/// A file with its kind and the date in its name, made now: nobody else's is touched. Where it cannot be made, which
/// and why.
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
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < SAME_SECOND => number += 1,
            Err(error) => return Err((path, error)),
        }
    }
}
