//! A folder for one run's files, removed with its content when the value goes out of scope.

use std::fs;
use std::path::{Path, PathBuf};

/// A new empty folder below the system's folder for temporary files.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder; `purpose` becomes part of its name.
    pub fn make(purpose: &str) -> Result<Scratch, String> {
        let path = std::env::temp_dir().join(format!("millrace-{purpose}-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Scratch { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}
