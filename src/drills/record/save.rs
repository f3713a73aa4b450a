//! Keeps a drill: plays it headless, leaves out what does not hold there, and writes the file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::text::{self, Heading, Tried};
use super::{Drill, expect};
use crate::drills::scenario::{self, Part, RunError, Scene};
use crate::settings::file::{self, ConfigError};
use crate::time::Utc;

/// A scenario file is no larger: `seawall run` would refuse it.
const LARGEST: usize = 1 << 20;

/// Where a drill goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into this directory, under a name with the date. Nothing is overwritten.
    Dated(PathBuf),
    /// Into this file, which is this session's own.
    File(PathBuf),
}

/// What was kept. `Display` is a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where.
    pub path: PathBuf,
    /// Commands in it.
    pub commands: usize,
    /// Expectations in it.
    pub expected: usize,
    /// Expectations that did not hold headless.
    pub left_out: usize,
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the directory is where the program stands, or what the person wrote
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        let name = file::single_line(&name.to_string_lossy());
        let (commands, expected) = (self.commands, self.expected);
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        write!(
            f,
            "saved {name}: {commands} command{}, {expected} expectation{}",
            plural(commands),
            plural(expected)
        )?;
        if self.left_out > 0 {
            write!(f, ", {} left out", self.left_out)?;
        }
        Ok(())
    }
}

/// Why a drill was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// There is none.
    #[error("nothing was asked yet: a drill needs a burst or a prompt")]
    Empty,
    /// Not all of it was kept.
    #[error("the session is too long for a drill: more than 10000 commands, 100000 calls or a day")]
    TooLong,
    /// It cannot be played: a bug.
    #[error("the drill cannot be read again: {0}")]
    Unreadable(#[from] ConfigError),
    /// It cannot be played.
    #[error("the drill cannot be played: {0}")]
    Unplayable(#[from] RunError),
    /// It broke a promise, which no expectation may hide.
    #[error("the drill broke a promise when it was played headless: {0}")]
    Broken(String),
    /// No file.
    #[error("cannot write {}: {error}; end the session and start it where you may write, with --record FILE if you like", file::single_line(&path.to_string_lossy()))]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl Drill {
    /// Plays it, and writes it. Takes a while: not for a thread that others wait for. `unix_seconds` is now.
    pub fn save(&self, place: &Place, unix_seconds: u64) -> Result<Saved, SaveError> {
        if self.is_full || self.duration > scenario::LONGEST {
            return Err(SaveError::TooLong);
        }
        if !self.commands.iter().any(|command| command.wish.calls()) {
            return Err(SaveError::Empty);
        }
        let when = Utc::from_unix_seconds(unix_seconds);
        let (path, made) = match place {
            Place::File(path) => (path.clone(), None),
            Place::Dated(dir) => {
                let made = file::create_dated(dir, "drill", when);
                let (path, file) = made.map_err(|(path, error)| SaveError::Unwritable { path, error })?;
                (path, Some(file))
            }
        };
        let is_new = made.is_some();
        let told = self.told(&path, when).and_then(|(text, tried)| {
            let file = made.map_or_else(|| File::create(&path), Ok);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| SaveError::Unwritable {
                    path: path.clone(),
                    error,
                })?;
            Ok(tried)
        });
        let tried = match told {
            Ok(tried) => tried,
            Err(error) => {
                if is_new {
                    // an empty file would look like a drill
                    drop(fs::remove_file(&path));
                }
                return Err(error);
            }
        };
        let expected = tried.iter().filter(|(bounds, value)| bounds.hold(*value)).count();
        Ok(Saved {
            commands: self.commands.len(),
            expected,
            left_out: tried.len() - expected,
            path,
        })
    }

    /// The text of the file, and its expectations with what they came to headless.
    pub(super) fn told(&self, path: &Path, when: Utc) -> Result<(String, Vec<Tried>), SaveError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let file = path.to_string_lossy();
        let heading = Heading {
            name: &name,
            file: &file,
            when,
        };
        let without = scene(&name, &text::write(self, heading, &[]))?;
        let outcome = scenario::in_virtual_time(&without, None::<io::Sink>, &Arc::default())?;
        if let Some(violation) = &outcome.violation {
            return Err(SaveError::Broken(violation.to_string()));
        }
        let bounds = expect::of(&self.tally).into_iter();
        let tried: Vec<Tried> = bounds
            .map(|bounds| {
                let value = bounds.measure.of(&outcome.tally, &Part::default());
                (bounds, value)
            })
            .collect();
        let text = text::write(self, heading, &tried);
        if text.len() > LARGEST {
            return Err(SaveError::TooLong);
        }
        scene(&name, &text)?;
        Ok((text, tried))
    }
}

fn scene(name: &str, text: &str) -> Result<Scene, ConfigError> {
    scenario::read(name, text, None, None)
}
