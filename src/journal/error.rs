//! Why the journal cannot do something. Texts are for users: a lower-case sentence with the path; what to do is the
//! [`JournalError::hint`].

use std::io;
use std::path::{Path, PathBuf};

use crate::text::{io_words, safe, shell_quote};

/// Why the state directory, a run or a lock cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// There is no state directory (and none was to be created).
    #[error("there is no state directory {}", shown(.path))]
    NoStateDir {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something else stands where a directory or a file belongs.
    #[error("{} is {found}, not a {wanted}", shown(.path))]
    WrongKind {
        /// What was looked at.
        path: PathBuf,
        /// `directory` or `file`.
        wanted: &'static str,
        /// What stands there: `a symbolic link`, `a file`, ...
        found: &'static str,
    },
    /// Others may read or write the state directory.
    #[error("the state directory {} is open to other users (mode {mode:04o}); it must be 0700", shown(.path))]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The state directory belongs to somebody else.
    #[error("the state directory {} belongs to another user (uid {uid})", shown(.path))]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Not a run id at all.
    #[error("\"{}\" is not a run id", safe(.0))]
    NotARunId(String),
    /// No such run.
    #[error("there is no run \"{}\" in {state}", safe(.run))]
    NoRun {
        /// The id or its beginning.
        run: String,
        /// Where the state is.
        state: String,
    },
    /// No such fleet.
    #[error("there is no fleet \"{}\" in {state}", safe(.fleet))]
    NoFleet {
        /// The id or its beginning.
        fleet: String,
        /// Where the state is.
        state: String,
    },
    /// The record of a fleet cannot be understood.
    #[error("{path} is not the record of a fleet: {}", safe(.why))]
    NotAFleet {
        /// The file.
        path: String,
        /// Why not.
        why: String,
    },
    /// Several runs begin like that.
    #[error("{} runs start with \"{}\"", .candidates.len(), safe(.prefix))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The runs, newest first.
        candidates: Vec<String>,
    },
    /// A run with this id is there already.
    #[error("the run {0} exists already")]
    Exists(String),
    /// Another process holds what this one needs.
    #[error("another azmend ({holder}) is working on {what}")]
    Busy {
        /// On what: `this VM (web-01)`, `the run ...`.
        what: String,
        /// `pid 4711, run 0199...`, or that it is not known.
        holder: String,
    },
    /// The system refused.
    #[error("cannot {action} {}: {why}", shown(.path))]
    Io {
        /// `create`, `read`, `write`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        why: String,
        /// Its kind.
        kind: io::ErrorKind,
    },
    /// The storage account did not do it.
    #[error("cannot {action} {place}: {why}")]
    Storage {
        /// `create`, `read`, `write`, ...
        action: &'static str,
        /// The blob or container.
        place: String,
        /// What it said.
        why: String,
        /// What kind of trouble it is.
        trouble: Trouble,
    },
}

/// What kind of trouble a storage account makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It does not answer, or not in time: it may have done what it was asked.
    Unreachable,
    /// No token could be had.
    SignIn,
    /// This identity may not.
    Denied,
    /// There is no such container.
    NoContainer,
    /// The lease was lost: another process may hold what this one held.
    LeaseLost,
    /// Something else wrote to it.
    Changed,
    /// Anything else.
    Other,
}

impl JournalError {
    /// Whether the same may work in a while, without anybody doing something about it.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Storage { trouble: Trouble::Unreachable, .. })
    }

    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), why: io_words(error), kind: error.kind() }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let quoted = |path: &Path| shell_quote(&path.to_string_lossy());
        let hint = match self {
            Self::NoStateDir { .. } => {
                "nothing was run from here yet; if runs were stored elsewhere, name that state directory".to_owned()
            }
            Self::WrongKind { found: "a symbolic link", .. } => {
                "name the real directory as the state directory; links in it are not followed".to_owned()
            }
            Self::WrongKind { path, .. } => format!("move {} away or use another state directory", quoted(path)),
            Self::Open { path, .. } => {
                format!("check that no one changed what is in it, then run: chmod 700 {}", quoted(path))
            }
            Self::Owner { .. } => "use a state directory of your own, or run azmend as its owner".to_owned(),
            Self::NotARunId(_) => {
                "a run id looks like 01890a5d-ac96-774b-bcce-b302099a8057; its first characters are enough".to_owned()
            }
            Self::NoRun { .. } | Self::NoFleet { .. } => "see `azmend runs list`".to_owned(),
            Self::NotAFleet { .. } => "its runs still exist: see `azmend runs list`".to_owned(),
            Self::Ambiguous { candidates, .. } => {
                format!("write more of the id: {}", candidates.iter().take(5).cloned().collect::<Vec<_>>().join(", "))
            }
            Self::Exists(run) => format!("see `azmend runs show {run}`"),
            Self::Busy { holder, .. } if holder.contains("host ") => {
                "wait until it has ended; what a machine held that is gone is free a minute after its end".to_owned()
            }
            Self::Busy { .. } => "wait until it has ended, or end it with Ctrl-C there; then start again".to_owned(),
            Self::Io { kind, path, .. } => io_hint(*kind, path)?,
            Self::Storage { trouble, place, .. } => match trouble {
                Trouble::Unreachable => "check the network and the storage account's firewall, then try again".to_owned(),
                Trouble::SignIn => "azmend signs in to the storage account as it does to Azure: see `azmend doctor`".to_owned(),
                Trouble::Denied => format!(
                    "give this identity the role \"Storage Blob Data Contributor\" on the container of {place}; a new \
                     assignment takes some minutes, and the account's firewall must admit this machine"
                ),
                Trouble::NoContainer => {
                    "make the container first: az storage container create --auth-mode login --account-name ACCOUNT --name NAME"
                        .to_owned()
                }
                Trouble::LeaseLost | Trouble::Changed => "see `azmend runs list` for who works on it now".to_owned(),
                Trouble::Other => return None,
            },
        };
        Some(hint)
    }
}

/// What to do about a kind of system error at `path`.
pub(super) fn io_hint(kind: io::ErrorKind, path: &Path) -> Option<String> {
    let hint = match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("free some space where {} is, or use another state directory", shown(path))
        }
        io::ErrorKind::ReadOnlyFilesystem => "use a state directory on a file system that can be written".to_owned(),
        io::ErrorKind::PermissionDenied => "give yourself access to it, or use another state directory".to_owned(),
        io::ErrorKind::Unsupported => {
            "this file system cannot lock files; use a state directory on a local disk".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}

/// A path as users may see it.
pub(super) fn shown(path: &Path) -> String {
    safe(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_path_and_what_to_do() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = JournalError::io("write", Path::new("/state/runs/\x1b[2J"), &full);
        assert_eq!(error.to_string(), "cannot write /state/runs/␛[2J: no space is left on the disk");
        assert!(error.hint().unwrap().starts_with("free some space"));
        let open = JournalError::Open { path: "/st ate".into(), mode: 0o755 };
        assert!(open.to_string().contains("(mode 0755)"));
        assert!(open.hint().unwrap().ends_with("chmod 700 '/st ate'"));
    }
}
