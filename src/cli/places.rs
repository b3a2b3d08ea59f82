//! The environment, and where azmend keeps its files by default.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::CliError;

/// Reads an environment variable; a set but empty one counts as not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The process's environment.
#[must_use]
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The state directory: as given, else by the rules of the machine.
///
/// # Errors
/// When none can be named.
pub fn state_dir(given: Option<PathBuf>, environment: Environment<'_>) -> Result<PathBuf, CliError> {
    if let Some(dir) = given {
        if dir.as_os_str().is_empty() {
            return Err(CliError::input("--state-dir is empty"));
        }
        return Ok(dir);
    }
    // The XDG specification ignores relative values.
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        absolute("LOCALAPPDATA")
    } else {
        absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
    };
    base.map(|dir| dir.join("azmend")).ok_or_else(|| {
        let missing =
            if cfg!(windows) { "%LOCALAPPDATA% is not set" } else { "neither XDG_STATE_HOME nor HOME is set" };
        CliError::input(format!("there is no place to keep the journal: {missing}"))
            .hint("name one with --state-dir or AZMEND_STATE_DIR, or a storage account with --state azblob://...")
    })
}
