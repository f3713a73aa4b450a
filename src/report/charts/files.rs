//! Chart files.

use std::io;
use std::path::{Path, PathBuf};

use super::Chart;

/// A folder or file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}; choose a writable folder for --charts", .path.display())]
pub struct WriteError {
    path: PathBuf,
    error: io::Error,
}

/// Writes the charts into `folder`, which is created if needed. Files are replaced atomically.
///
/// # Errors
/// If the folder or a file cannot be written.
pub fn write_all(folder: &Path, charts: &[Chart]) -> Result<(), WriteError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| WriteError { path, error }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for Chart { file: name, svg, .. } in charts {
        let (path, fresh) = (folder.join(name), folder.join(format!(".{name}.new")));
        std::fs::write(&fresh, svg).map_err(failed(&fresh))?;
        std::fs::rename(&fresh, &path).map_err(failed(&path))?;
    }
    Ok(())
}
