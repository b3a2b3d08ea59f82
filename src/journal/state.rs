//! The state directory: where runs, locks and the sandbox's world are kept.
//!
//! ```text
//! <state>/runs/<run id>/plan.json       what was confirmed
//!                       journal.jsonl   what happened
//!                       lock            held by the process that works on the run
//!                       lock.holder     who that is, for messages
//! <state>/locks/<hash>.lock             one for each VM and each scope with locks that a run works on
//! <state>/locks/<hash>.lock.holder      who works on it, for messages
//! <state>/fleets/<fleet id>.jsonl        which runs belong together
//! <state>/sandbox/                      the sandbox's own
//! ```
//!
//! Invariants: the directory belongs to the user alone (0700, S11); nothing in it is reached through a symbolic link. On
//! Windows nothing in the standard library tells who owns a directory or who may read it: there it is private as far as
//! the user's profile is, and whoever names another place is warned by `cli`.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::error::JournalError;

/// An opened, checked state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Opens the directory; with `create` it is made when it is missing, and must be writable. Without, nothing is
    /// written: for looking, and for putting locks back when the disk is full or read-only.
    ///
    /// # Errors
    /// [`JournalError`] when it is missing, not a directory, a symbolic link, open to others, somebody else's, or
    /// unusable.
    pub fn open(path: &Path, create: bool) -> Result<Self, JournalError> {
        let root = std::path::absolute(path).map_err(|e| JournalError::io("find", path, &e))?;
        if create {
            make_private(&root, true)?;
        } else if is_missing(&root)? {
            return Err(JournalError::NoStateDir { path: root });
        }
        let metadata = expect_dir(&root)?;
        check_private(&root, &metadata)?;
        fs::read_dir(&root).map_err(|e| JournalError::io("read", &root, &e))?;
        let state = Self { root };
        if create {
            state.check_owner(&metadata)?;
            for dir in [state.runs_dir(), state.locks_dir(), state.sandbox_dir()] {
                make_private(&dir, false)?;
                expect_dir(&dir)?;
            }
        }
        Ok(state)
    }

    /// The directory itself, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the runs are.
    #[must_use]
    pub fn runs_dir(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Where the records of fleets are; made with the first of them.
    #[must_use]
    pub fn fleets_dir(&self) -> PathBuf {
        self.root.join("fleets")
    }

    /// Where the locks between processes are.
    #[must_use]
    pub fn locks_dir(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Where the sandbox may keep its world.
    #[must_use]
    pub fn sandbox_dir(&self) -> PathBuf {
        self.root.join("sandbox")
    }

    /// The directory of a run that exists.
    pub(super) fn run_dir(&self, run: &str) -> Result<PathBuf, JournalError> {
        check_run_id(run)?;
        let dir = self.runs_dir().join(run);
        if is_missing(&dir)? {
            return Err(JournalError::NoRun { run: run.to_owned(), state: super::error::shown(&self.root) });
        }
        expect_dir(&self.runs_dir())?;
        expect_dir(&dir)?;
        Ok(dir)
    }

    /// The files that this process creates here must have the directory's owner. There is no safe call in the standard
    /// library for "who am I", so a file is made and looked at; that shows as well that the directory can be written.
    #[cfg(unix)]
    fn check_owner(&self, metadata: &Metadata) -> Result<(), JournalError> {
        use std::os::unix::fs::MetadataExt as _;
        let probe = self.root.join(format!(".probe-{}", uuid::Uuid::new_v4()));
        let owner = create_new(&probe).and_then(|file| file.metadata()).map(|m| m.uid());
        // The probe is empty and its name is never used again: a leftover harms nobody.
        fs::remove_file(&probe).ok();
        match owner {
            Ok(uid) if uid == metadata.uid() => Ok(()),
            Ok(_) => Err(JournalError::Owner { path: self.root.clone(), uid: metadata.uid() }),
            Err(error) => Err(JournalError::io("write to", &self.root, &error)),
        }
    }

    #[cfg(not(unix))]
    fn check_owner(&self, _: &Metadata) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Run ids are UUIDs in their usual lower-case form and nothing else, so that they are safe as names of directories.
pub(super) fn is_run_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
        && uuid::Uuid::try_parse(text).is_ok()
}

pub(super) fn check_run_id(text: &str) -> Result<(), JournalError> {
    if is_run_id(text) { Ok(()) } else { Err(JournalError::NotARunId(text.chars().take(80).collect())) }
}

pub(super) fn is_missing(path: &Path) -> Result<bool, JournalError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(JournalError::io("look at", path, &error)),
    }
}

fn kind_of(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_file() {
        "a file"
    } else {
        "something else"
    }
}

/// A directory that is not a symbolic link.
pub(super) fn expect_dir(path: &Path) -> Result<Metadata, JournalError> {
    let metadata = fs::symlink_metadata(path).map_err(|e| JournalError::io("look at", path, &e))?;
    if metadata.is_dir() {
        return Ok(metadata);
    }
    Err(JournalError::WrongKind { path: path.to_owned(), wanted: "directory", found: kind_of(&metadata) })
}

/// A regular file that is not a symbolic link, or nothing.
pub(super) fn expect_file_or_nothing(path: &Path) -> Result<bool, JournalError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(metadata) => {
            Err(JournalError::WrongKind { path: path.to_owned(), wanted: "file", found: kind_of(&metadata) })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(JournalError::io("look at", path, &error)),
    }
}

#[cfg(unix)]
fn check_private(path: &Path, metadata: &Metadata) -> Result<(), JournalError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(JournalError::Open { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &Metadata) -> Result<(), JournalError> {
    Ok(())
}

/// Makes a directory that only its owner may enter; one that is there stays as it is.
pub(super) fn make_private(path: &Path, parents: bool) -> Result<(), JournalError> {
    let mut builder = DirBuilder::new();
    builder.recursive(parents);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    match builder.create(path) {
        Ok(()) => Ok(()),
        // What stands there is looked at by the caller.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(JournalError::io("create", path, &error)),
    }
}

#[cfg(unix)]
fn private_options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_options() -> OpenOptions {
    OpenOptions::new()
}

/// A new file for the owner alone; fails when anything (a link too) stands there.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    private_options().write(true).create_new(true).open(path)
}

/// An existing file that lines are added to, by [`add_line`] alone. It is not opened for appending: on Windows such a handle
/// may not set the length of its file, and half a line must be cut off before the next one is added.
pub(super) fn open_to_add(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Adds bytes at the end of a file, wherever its handle stood; they are on disk when this returns.
pub(super) fn add_line(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::End(0))?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// The file of a lock, made when missing; read-only when the file system is, for a lock needs no more.
pub(super) fn open_lock_file(path: &Path) -> Result<File, JournalError> {
    expect_file_or_nothing(path)?;
    let opened = private_options().read(true).write(true).create(true).truncate(false).open(path);
    let opened = opened.or_else(|error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => File::open(path).map_err(|_| error),
        _ => Err(error),
    });
    opened.map_err(|e| JournalError::io("open", path, &e))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), JournalError> {
    // Windows cannot open a directory as a file; its file system journals names itself.
    if cfg!(unix) {
        File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| JournalError::io("write", path, &e))?;
    }
    Ok(())
}

#[cfg(test)]
mod adding {
    use super::*;

    #[test]
    fn a_file_that_lines_are_added_to_can_be_cut_too() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, "one\ntw").unwrap();
        let mut file = open_to_add(&path).unwrap();
        file.set_len(4).unwrap();
        add_line(&mut file, b"two\n").unwrap();
        // The handle stands behind what is cut now: nothing is left open in between.
        file.set_len(4).unwrap();
        add_line(&mut file, b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nthree\n");
        assert!(open_to_add(&home.path().join("none")).is_err(), "it makes no file");
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn everything_it_makes_is_private() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/state");
        let state = StateDir::open(&path, true).unwrap();
        for dir in [path.clone(), state.runs_dir(), state.locks_dir(), state.sandbox_dir()] {
            assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700, "{dir:?}");
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 3, "no probe is left");
        assert_eq!(StateDir::open(&path, false).unwrap(), state);
    }

    #[test]
    fn what_it_refuses() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        assert!(matches!(StateDir::open(&at("none"), false), Err(JournalError::NoStateDir { .. })));
        assert!(!at("none").exists());

        fs::write(at("file"), "x").unwrap();
        for create in [true, false] {
            let error = StateDir::open(&at("file"), create).unwrap_err();
            assert!(error.to_string().ends_with("is a file, not a directory"), "{error}");
        }
        assert!(matches!(StateDir::open(&at("file").join("in"), true), Err(JournalError::Io { .. })));

        StateDir::open(&at("real"), true).unwrap();
        symlink(at("real"), at("link")).unwrap();
        let error = StateDir::open(&at("link"), true).unwrap_err();
        assert!(error.to_string().ends_with("is a symbolic link, not a directory"), "{error}");

        fs::set_permissions(at("real"), fs::Permissions::from_mode(0o750)).unwrap();
        let error = StateDir::open(&at("real"), false).unwrap_err();
        assert_eq!(error, JournalError::Open { path: at("real"), mode: 0o750 });

        fs::set_permissions(at("real"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_dir(at("real/runs")).unwrap();
        symlink(home.path(), at("real/runs")).unwrap();
        assert!(matches!(StateDir::open(&at("real"), true), Err(JournalError::WrongKind { .. })));
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        StateDir::open(&path, true).unwrap();
        // Only root can give a directory away; for everybody else the mode check above is what counts.
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
            assert_eq!(StateDir::open(&path, true), Err(JournalError::Owner { path, uid: 12_345 }));
        }
    }

    #[test]
    fn run_ids_cannot_leave_the_directory() {
        for text in
            ["", "..", "../../etc", "01890A5D-ac96-774b-bcce-b302099a8057", "{01890a5d-ac96-774b-bcce-b302099a8057}"]
        {
            assert!(check_run_id(text).is_err(), "{text}");
        }
        assert!(is_run_id("01890a5d-ac96-774b-bcce-b302099a8057"));
    }
}
