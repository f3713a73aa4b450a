//! Saves a drill: runs it headless, leaves out the expectations that do not hold, and writes the file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::text::{self, Heading, TestedBounds};
use super::{Drill, expect};
use crate::drills::scenario::{self, RunError, Scene};
use crate::event::Command;
use crate::settings::file::{self, ConfigError, NewFile};
use crate::text::units;
use crate::time::Utc;

/// Maximum size of the file: `seawall run` reads no larger one.
const LARGEST: usize = 1 << 20;

/// The destination of a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaveTarget {
    /// A new file. Nothing is overwritten.
    New(NewFile),
    /// This file; it is overwritten.
    File(PathBuf),
}

/// A saved drill. `Display` is a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The file.
    pub path: PathBuf,
    /// Number of commands in it.
    pub commands: usize,
    /// Number of expectations in it.
    pub expected: usize,
    /// Number of expectations that did not hold headless.
    pub left_out: usize,
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the directory is the current one, or the one given
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        let name = file::single_line(&name.to_string_lossy());
        let commands = units::count(self.commands as u64, "command");
        let expected = units::count(self.expected as u64, "expectation");
        write!(f, "saved {name}: {commands}, {expected}")?;
        if self.left_out > 0 {
            write!(f, ", {} left out", self.left_out)?;
        }
        Ok(())
    }
}

/// A drill that was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The session made no calls.
    #[error("no calls yet: a drill needs a burst, a load or a prompt")]
    Empty,
    /// The recording is incomplete.
    #[error("the session is too long for a drill (at most 10000 commands, 100000 calls, one day)")]
    TooLong,
    /// The text is not a valid scenario: a bug.
    #[error("the drill cannot be read back: {0}")]
    Unreadable(#[from] ConfigError),
    /// The scenario does not run.
    #[error("the drill cannot be run: {0}")]
    Unplayable(#[from] RunError),
    /// The scenario violates an invariant.
    #[error("the drill violates an invariant when it is run headless: {0}")]
    Broken(String),
    /// A named file that exists.
    #[error("{} exists already: choose another name", file::single_line(&path.to_string_lossy()))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {error}; start the session in a writable directory, or name a file with --record", file::single_line(&path.to_string_lossy()))]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
}

impl Drill {
    /// Runs the drill and writes it. Takes up to seconds: call it on a blocking thread.
    ///
    /// # Errors
    /// If the drill is empty or too long, does not run, or cannot be written.
    pub fn save(&self, target: &SaveTarget, unix_seconds: u64) -> Result<Saved, SaveError> {
        if self.is_full || self.duration > scenario::LONGEST {
            return Err(SaveError::TooLong);
        }
        let calls = |command: &Command| match command {
            Command::SetLoad { load } => load.is_some(),
            command => matches!(command, Command::Burst { .. } | Command::Send { .. }),
        };
        if !self.commands.iter().any(|timed| calls(&timed.command)) {
            return Err(SaveError::Empty);
        }
        let when = Utc::from_unix_seconds(unix_seconds);
        let (path, created) = match target {
            SaveTarget::File(path) => (path.clone(), None),
            SaveTarget::New(file) => {
                let unwritable = |(path, error): (PathBuf, io::Error)| match error.kind() {
                    io::ErrorKind::AlreadyExists => SaveError::Exists { path },
                    _ => SaveError::Unwritable { path, error },
                };
                let (path, file) = file.create("drill", when).map_err(unwritable)?;
                (path, Some(file))
            }
        };
        let is_new = created.is_some();
        let written = self.text(&path, when).and_then(|(text, tested)| {
            let file = created.map_or_else(|| File::create(&path), Ok);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| SaveError::Unwritable {
                    path: path.clone(),
                    error,
                })?;
            Ok(tested)
        });
        if written.is_err() && is_new {
            // an empty file would look like a drill
            drop(fs::remove_file(&path));
        }
        let tested = written?;
        let expected = tested
            .iter()
            .filter(|(bounds, value)| bounds.hold(*value))
            .count();
        Ok(Saved {
            commands: self.tables().len(),
            expected,
            left_out: tested.len() - expected,
            path,
        })
    }

    /// The text of the file, and its expectations with their values in a headless run.
    pub(super) fn text(&self, path: &Path, when: Utc) -> Result<(String, Vec<TestedBounds>), SaveError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let file = path.to_string_lossy();
        let heading = Heading {
            name: &name,
            file: &file,
            when,
        };
        let plain = scene(&name, &text::write(self, heading, &[]))?;
        let outcome = scenario::in_virtual_time(&plain, None::<io::Sink>, &Arc::default())?;
        if let Some(violation) = &outcome.violation {
            return Err(SaveError::Broken(violation.to_string()));
        }
        let tested: Vec<TestedBounds> = expect::expectations(&self.tally)
            .into_iter()
            .map(|bounds| {
                let value = bounds.measure.value(&outcome.tally);
                (bounds, value)
            })
            .collect();
        let text = text::write(self, heading, &tested);
        if text.len() > LARGEST {
            return Err(SaveError::TooLong);
        }
        scene(&name, &text)?;
        Ok((text, tested))
    }
}

fn scene(name: &str, text: &str) -> Result<Scene, ConfigError> {
    scenario::read(name, text, None, None)
}
