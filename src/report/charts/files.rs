//! Charts into a folder.

use std::io;
use std::path::{Path, PathBuf};

use super::Chart;

/// A folder or file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}; name a folder for --charts that can be written", .path.display())]
pub struct WriteError {
    path: PathBuf,
    error: io::Error,
}

/// Writes each chart into `folder`, which is made if it is not there. A reader sees the old file or the new one whole.
pub fn write_all(folder: &Path, charts: &[Chart]) -> Result<(), WriteError> {
    let refuse = |path: &Path| {
        let path = path.to_owned();
        move |error| WriteError { path, error }
    };
    std::fs::create_dir_all(folder).map_err(refuse(folder))?;
    for Chart { file: name, svg, .. } in charts {
        let (path, fresh) = (folder.join(name), folder.join(format!(".{name}.new")));
        std::fs::write(&fresh, svg).map_err(refuse(&fresh))?;
        std::fs::rename(&fresh, &path).map_err(refuse(&path))?;
    }
    Ok(())
}
