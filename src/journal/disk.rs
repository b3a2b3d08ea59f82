//! State in a directory of this machine.
//!
//! Invariants: what is created gets its name when all of it is on disk; an append is synced (fsync); nothing is reached through a
//! symbolic link; the system releases what is held when the process ends, however it ends, so nothing held here is ever lost.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::error::{JournalError, shown};
use super::lock::{FileLock, HeldFile, LockKey};
use super::state::{self, StateDir};
use super::store::{Lease, Loss, Store, Thing};
use crate::clock::elapsed;

/// The file of a run that its process has locked.
const LOCK: &str = "lock";
/// What something is called until it is whole.
pub(super) const UNFINISHED: &str = ".new-";
/// What a run's directory is called while it is removed.
pub(super) const REMOVED: &str = ".old-";
/// The largest file that is read.
const MAX_FILE: u64 = 512 * 1024 * 1024;
/// How old a leftover is before it is cleared away.
const LONG_AGO: std::time::Duration = std::time::Duration::from_secs(86_400);

/// The disk.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    dir: StateDir,
}

impl Disk {
    pub(super) const fn new(dir: StateDir) -> Self {
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.root().join(name)
    }

    /// The folder of `name`, made when it is missing.
    fn folder_of(&self, path: &Path) -> Result<PathBuf, JournalError> {
        let folder = path.parent().unwrap_or(self.dir.root()).to_owned();
        state::make_private(&folder, false)?;
        state::expect_dir(&folder)?;
        Ok(folder)
    }

    /// A file with its content, written beside and renamed.
    fn create_file(&self, name: &str, content: &[u8]) -> Result<(), JournalError> {
        let path = self.path(name);
        let folder = self.folder_of(&path)?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(JournalError::Exists(stem(name)));
        }
        let beside = folder.join(format!("{UNFINISHED}{}", uuid::Uuid::new_v4()));
        let made = write_new(&beside, content)
            .and_then(|()| fs::rename(&beside, &path).map_err(|e| JournalError::io("write", &path, &e)));
        if let Err(error) = made {
            // What is left has no name that anybody reads, and is swept up later.
            fs::remove_file(&beside).ok();
            return Err(error);
        }
        state::sync_dir(&folder)?;
        state::sync_dir(self.dir.root())
    }

    /// A folder with its files, made under another name and renamed.
    fn create_folder(&self, folder: &str, files: &[(&str, &[u8])]) -> Result<(), JournalError> {
        let dir = self.path(folder);
        let above = self.folder_of(&dir)?;
        let id = stem(folder);
        if fs::symlink_metadata(&dir).is_ok() {
            return Err(JournalError::Exists(id));
        }
        let unfinished = above.join(format!("{UNFINISHED}{id}"));
        let made = make_folder(&unfinished, files).and_then(|()| {
            fs::rename(&unfinished, &dir).map_err(|e| JournalError::io("create", &dir, &e))?;
            state::sync_dir(&above)?;
            state::sync_dir(self.dir.root())
        });
        if let Err(error) = made {
            fs::remove_dir_all(&unfinished).ok();
            return Err(error);
        }
        Ok(())
    }

    fn lock_of(&self, thing: Thing<'_>) -> Result<(PathBuf, String), JournalError> {
        match thing {
            Thing::Run(run) => Ok((self.dir.run_dir(run)?.join(LOCK), format!("the run {run}"))),
            Thing::Key(key) => Ok((self.dir.locks_dir().join(key.file_name()), key.to_string())),
        }
    }
}

/// The last part of a name, without its ending: an id.
fn stem(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split('.').next().unwrap_or(last).to_owned()
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), JournalError> {
    state::create_new(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .map_err(|e| JournalError::io("write", path, &e))
}

fn make_folder(dir: &Path, files: &[(&str, &[u8])]) -> Result<(), JournalError> {
    if fs::symlink_metadata(dir).is_ok() {
        fs::remove_dir_all(dir).map_err(|e| JournalError::io("clear away", dir, &e))?;
    }
    state::make_private(dir, false)?;
    for (name, content) in files.iter().copied().chain([(LOCK, &b""[..])]) {
        write_new(&dir.join(name.rsplit('/').next().unwrap_or(name)), content)?;
    }
    state::sync_dir(dir)
}

/// The names in a directory; none when there is no such directory yet.
fn entries(dir: &Path) -> Result<Vec<String>, JournalError> {
    let failed = |e: &io::Error| JournalError::io("read", dir, e);
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .map_err(|e| failed(&e))?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| failed(&e)),
    }
}

#[async_trait]
impl Store for Disk {
    fn place(&self) -> String {
        shown(self.dir.root())
    }

    fn shown(&self, name: &str) -> String {
        shown(&self.path(name))
    }

    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let path = self.path(name);
        if !state::expect_file_or_nothing(&path)? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 > MAX_FILE => {
                Err(JournalError::io("read", &path, &io::Error::other("it is too large")))
            }
            Ok(_) => Ok(Some(bytes)),
            Err(error) => Err(JournalError::io("read", &path, &error)),
        }
    }

    async fn has(&self, folder: &str) -> Result<bool, JournalError> {
        let dir = self.path(folder);
        if state::is_missing(&dir)? {
            return Ok(false);
        }
        if let Some(above) = dir.parent() {
            state::expect_dir(above)?;
        }
        state::expect_dir(&dir)?;
        Ok(true)
    }

    async fn create(&self, files: &[(&str, &[u8])]) -> Result<(), JournalError> {
        match files {
            [(name, content)] => self.create_file(name, content),
            [(name, _), ..] => self.create_folder(name.rsplit_once('/').map_or("", |(folder, _)| folder), files),
            [] => Ok(()),
        }
    }

    async fn append(&self, name: &str, at: u64, bytes: &[u8], _: &dyn Lease) -> Result<(), JournalError> {
        let path = self.path(name);
        let failed = |error: &io::Error| JournalError::io("write", &path, error);
        state::expect_file_or_nothing(&path)?;
        let mut file = state::open_to_add(&path).map_err(|e| failed(&e))?;
        let len = file.metadata().map_err(|e| failed(&e))?.len();
        if len != at {
            return Err(failed(&io::Error::other("something else changed it")));
        }
        state::add_line(&mut file, bytes).map_err(|e| failed(&e))
    }

    async fn cut(&self, name: &str, len: u64) -> Result<(), JournalError> {
        let path = self.path(name);
        state::open_to_add(&path)
            .and_then(|file| {
                file.set_len(len)?;
                file.sync_all()
            })
            .map_err(|e| JournalError::io("write", &path, &e))
    }

    async fn names(&self, folder: &str) -> Result<Vec<String>, JournalError> {
        let mut names = entries(&self.path(folder))?;
        names.retain(|name| !name.starts_with(UNFINISHED) && !name.starts_with(REMOVED));
        Ok(names)
    }

    async fn remove_run(&self, run: &str, lease: Arc<dyn Lease>) -> Result<(), JournalError> {
        let dir = self.dir.run_dir(run)?;
        // First out of sight in one step, so that an interrupted removal leaves no half run behind.
        let removed = self.dir.runs_dir().join(format!("{REMOVED}{run}"));
        let rename = || fs::rename(&dir, &removed).map_err(|e| JournalError::io("remove", &dir, &e));
        if cfg!(windows) {
            // A directory with open files cannot be renamed there.
            drop(lease);
            rename()?;
        } else {
            rename()?;
            drop(lease);
        }
        fs::remove_dir_all(&removed).map_err(|e| JournalError::io("remove", &removed, &e))
    }

    async fn remove_fleet(&self, name: &str, key: &LockKey, lease: Arc<dyn Lease>) -> Result<(), JournalError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|e| JournalError::io("remove", &path, &e))?;
        drop(lease);
        // Without a record nobody asks for this lock again.
        fs::remove_file(self.dir.locks_dir().join(key.file_name())).ok();
        Ok(())
    }

    async fn sweep(&self, now: Timestamp) {
        for dir in [self.dir.runs_dir(), self.dir.fleets_dir()] {
            for name in entries(&dir).unwrap_or_default() {
                let path = dir.join(&name);
                if name.starts_with(REMOVED) {
                    // Left over when a removal was interrupted; the next sweep tries again.
                    fs::remove_dir_all(&path).ok();
                }
                if !name.starts_with(UNFINISHED) {
                    continue;
                }
                // Of a process that was killed while it wrote; one that writes right now is young.
                let changed = fs::symlink_metadata(&path).and_then(|found| found.modified()).ok();
                let age = changed.and_then(|at| Timestamp::try_from(at).ok()).map(|at| elapsed(at, now));
                if age.is_some_and(|age| age >= LONG_AGO) {
                    fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).ok();
                }
            }
        }
    }

    async fn hold(&self, thing: Thing<'_>, run: &str) -> Result<Arc<dyn Lease>, JournalError> {
        let (path, what) = self.lock_of(thing)?;
        if matches!(thing, Thing::Key(_)) {
            self.folder_of(&path)?;
        }
        Ok(Arc::new(Locked { _held: HeldFile::take(&path, run, &what)? }))
    }

    async fn holder(&self, thing: Thing<'_>) -> Result<Option<String>, JournalError> {
        match thing {
            Thing::Key(key) => FileLock::holder(&self.dir, key),
            Thing::Run(_) => HeldFile::holder(&self.lock_of(thing)?.0),
        }
    }
}

/// A locked file.
#[derive(Debug)]
struct Locked {
    _held: HeldFile,
}

impl Lease for Locked {
    fn id_for(&self, _: &str) -> Option<&str> {
        None
    }

    fn lost(&self) -> Option<String> {
        None
    }

    fn loss(&self) -> Loss {
        Loss::default()
    }
}
