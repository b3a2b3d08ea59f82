//! The environment, and where azmend keeps its files by default.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::CliError;
use crate::api::default_state_dir;

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
    default_state_dir(environment)
}
