//! New files; without a name, with the date in it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::time::Utc;

/// The name of a new file. Nothing is overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewFile {
    /// This file.
    Named(PathBuf),
    /// `KIND-YYYYMMDD-HHMMSS.toml` in this directory.
    Dated(PathBuf),
}

impl NewFile {
    /// Creates the file. Fails with the path and the reason.
    pub(crate) fn create(&self, kind: &str, when: Utc) -> Result<(PathBuf, File), (PathBuf, io::Error)> {
        match self {
            Self::Dated(dir) => create_dated(dir, kind, when),
            Self::Named(path) => match File::create_new(path) {
                Ok(file) => Ok((path.clone(), file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let exists = io::Error::new(error.kind(), "it exists already; choose another name");
                    Err((path.clone(), exists))
                }
                Err(error) => Err((path.clone(), error)),
            },
        }
    }
}

/// Files of a kind that can be created within one second.
const MAX_PER_SECOND: u32 = 99;

/// Creates `KIND-YYYYMMDD-HHMMSS.toml` in `dir`.
fn create_dated(dir: &Path, kind: &str, when: Utc) -> Result<(PathBuf, File), (PathBuf, io::Error)> {
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
