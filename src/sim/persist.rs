//! A world in a file, so that a sandbox outlives its process.
//!
//! Invariant: the file is always a whole world: written beside it, synced, then renamed over it. Its mode is 0600.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::world::World;

/// Why a world's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read the sandbox state {file}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It is not a world.
    #[error("{file} is not a sandbox state of this version of azmend")]
    Parse {
        /// The file.
        file: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl World {
    /// Reads a world that was saved.
    ///
    /// # Errors
    /// [`LoadError`] when the file cannot be read or is not a world.
    pub fn load(file: &Path) -> Result<Self, LoadError> {
        let shown = || file.display().to_string();
        let bytes = fs::read(file).map_err(|source| LoadError::Read { file: shown(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| LoadError::Parse { file: shown(), source })
    }

    /// Writes the world to a file, whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        let mut name = file.file_name().map(std::ffi::OsStr::to_os_string).unwrap_or_default();
        name.push(".tmp");
        let beside = file.with_file_name(name);
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut out = options.open(&beside)?;
        out.write_all(&bytes)?;
        out.sync_all()?;
        drop(out);
        fs::rename(&beside, file)?;
        if let Some(directory) = file.parent().filter(|d| !d.as_os_str().is_empty())
            && let Ok(directory) = File::open(directory)
        {
            // not every file system can sync a directory; the file itself is synced
            drop(directory.sync_all());
        }
        Ok(())
    }
}
