//! Keeps two processes of one machine apart: one exclusive file lock for each VM and each scope whose locks are worked on. State
//! on a disk is held by these, and the sandbox's world, which is always on a disk. Leases of blobs are in [`super::blob`].
//!
//! Invariants: a lock is never waited for; several are taken in one order and all or none; the system releases them when
//! the process ends, however it ends. Who holds a lock stands in a file beside it: on Windows nobody else can read a file that
//! is locked. That file is for messages only, and one that a killed process left says nothing. Two machines are not kept
//! apart, also when they share the directory over a network file system that does not carry locks.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::chain;
use super::error::JournalError;
use super::state::{StateDir, create_new, expect_dir, expect_file_or_nothing, make_private, open_lock_file};
use crate::text::{safe, safe_short};

/// What a lock is for. Resource ids differ in case only by accident, so case does not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockKey {
    key: String,
    what: String,
}

impl LockKey {
    /// Everything about one VM, by its resource id.
    #[must_use]
    pub fn vm(id: &str) -> Self {
        let name = id.rsplit('/').next().unwrap_or(id);
        Self { key: format!("vm\n{}", id.to_lowercase()), what: format!("this VM ({})", safe_short(name, 80)) }
    }

    /// The management locks at one scope, by its resource id.
    #[must_use]
    pub fn scope(id: &str) -> Self {
        Self { key: format!("scope\n{}", id.to_lowercase()), what: format!("the locks of {}", safe_short(id, 200)) }
    }

    /// A fleet that is under way, or taken up again.
    #[must_use]
    pub fn fleet(id: &str) -> Self {
        Self { key: format!("fleet\n{}", id.to_lowercase()), what: format!("the fleet {}", safe_short(id, 80)) }
    }

    /// Whether this is the same lock, whatever it is called.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }

    pub(super) fn file_name(&self) -> String {
        let mut name = chain::digest(&[self.key.as_bytes()]);
        name.truncate(16);
        name + ".lock"
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Locks that are held until this is dropped.
#[derive(Debug)]
#[must_use = "the locks are released when this is dropped"]
pub struct FileLock {
    held: Vec<HeldFile>,
}

impl FileLock {
    /// Takes the locks of all keys, or none of them; never waits.
    ///
    /// # Errors
    /// [`JournalError::Busy`] names who holds one of them.
    pub fn take(state: &StateDir, run: &str, keys: impl IntoIterator<Item = LockKey>) -> Result<Self, JournalError> {
        let mut keys: Vec<LockKey> = keys.into_iter().collect();
        keys.sort();
        keys.dedup_by(|a, b| a.is_same(b));
        let dir = state.locks_dir();
        make_private(&dir, false)?;
        expect_dir(&dir)?;
        let held = keys
            .iter()
            .map(|key| HeldFile::take(&dir.join(key.file_name()), run, &key.what))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { held })
    }

    /// Who holds the lock of this key now, if anybody does. Nothing is made, and nobody is kept away by looking.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn holder(state: &StateDir, key: &LockKey) -> Result<Option<String>, JournalError> {
        HeldFile::holder(&state.locks_dir().join(key.file_name()))
    }

    /// How many locks are held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// One locked file, and who holds it beside it.
#[derive(Debug)]
pub(super) struct HeldFile {
    beside: PathBuf,
    /// Closing it releases the lock. It stays: removing it while another opens it would let two hold "the" lock.
    _file: File,
}

impl HeldFile {
    pub(super) fn take(path: &Path, run: &str, what: &str) -> Result<Self, JournalError> {
        let file = open_lock_file(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::Busy { what: what.to_owned(), holder: holder(path) });
            }
            Err(TryLockError::Error(error)) => return Err(JournalError::io("lock", &PathBuf::from(path), &error)),
        }
        // On a full or read-only disk the lock holds all the same; only the message of others says less.
        let beside = beside(path);
        fs::remove_file(&beside).ok();
        let text = format!("pid {}, run {run}\n", std::process::id());
        create_new(&beside).and_then(|mut file| file.write_all(text.as_bytes())).ok();
        Ok(Self { beside, _file: file })
    }

    /// Who has this file locked now, if anybody does.
    pub(super) fn holder(path: &Path) -> Result<Option<String>, JournalError> {
        if !expect_file_or_nothing(path)? {
            return Ok(None);
        }
        let file = File::open(path).map_err(|e| JournalError::io("open", path, &e))?;
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(holder(path))),
            Err(TryLockError::Error(error)) => Err(JournalError::io("lock", path, &error)),
        }
    }
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        // Before the lock is released, so that it is never the next one's.
        fs::remove_file(&self.beside).ok();
    }
}

/// The file beside a lock.
fn beside(lock: &Path) -> PathBuf {
    let mut name = lock.as_os_str().to_owned();
    name.push(".holder");
    PathBuf::from(name)
}

fn holder(lock: &Path) -> String {
    let mut bytes = [0; 120];
    let read = File::open(beside(lock)).and_then(|mut file| file.read(&mut bytes)).unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(..read).unwrap_or_default()).trim().to_owned();
    if text.is_empty() { "process not known".to_owned() } else { safe(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(&home.path().join("s"), true).unwrap();
        let held = FileLock::take(&state, RUN, [LockKey::vm("/subscriptions/1/vm/web-01")]).unwrap();
        let error = FileLock::take(&state, "other", [LockKey::vm("/SUBSCRIPTIONS/1/vm/WEB-01")]).unwrap_err();
        let expected = format!("another azmend (pid {}, run {RUN}) is working on this VM (WEB-01)", std::process::id());
        assert_eq!(error.to_string(), expected);
        let names = |dir: &Path| -> Vec<String> {
            let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            entries.collect()
        };
        // The locked file itself has nothing to read: on Windows nobody could.
        let lock = names(&state.locks_dir()).into_iter().find(|name| name.ends_with(".lock")).unwrap();
        assert_eq!(fs::metadata(state.locks_dir().join(&lock)).unwrap().len(), 0);
        drop(held);
        assert_eq!(names(&state.locks_dir()), [lock], "who held it is gone with the lock");
        assert_eq!(FileLock::take(&state, "other", [LockKey::vm("/subscriptions/1/vm/web-01")]).unwrap().len(), 1);
    }

    #[test]
    fn who_holds_a_lock_can_be_asked_without_taking_it() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(&home.path().join("s"), true).unwrap();
        let key = LockKey::fleet(RUN);
        assert_eq!(FileLock::holder(&state, &key).unwrap(), None);
        assert!(!state.locks_dir().join(key.file_name()).exists(), "asking makes nothing");
        let held = FileLock::take(&state, RUN, [key.clone()]).unwrap();
        let holder = FileLock::holder(&state, &key).unwrap().unwrap();
        assert!(holder.contains(&format!("pid {}", std::process::id())), "{holder}");
        assert!(FileLock::take(&state, "other", [key.clone()]).unwrap_err().to_string().contains("the fleet 01890a5d"));
        drop(held);
        assert_eq!(FileLock::holder(&state, &key).unwrap(), None);
        assert_eq!(FileLock::take(&state, "other", [key, LockKey::vm(RUN)]).unwrap().len(), 2);
    }

    #[test]
    fn several_are_taken_all_or_none_and_a_scope_is_not_a_vm() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(&home.path().join("s"), true).unwrap();
        let (a, b, c) = (LockKey::vm("/a"), LockKey::scope("/a"), LockKey::scope("/c"));
        let held = FileLock::take(&state, RUN, [b.clone(), a.clone(), a.clone()]).unwrap();
        assert_eq!(held.len(), 2);
        assert!(matches!(FileLock::take(&state, RUN, [c.clone(), b.clone()]), Err(JournalError::Busy { .. })));
        let other = FileLock::take(&state, RUN, [c]).unwrap();
        drop((held, other));
        assert!(FileLock::take(&state, RUN, [a, b]).is_ok());
    }
}
