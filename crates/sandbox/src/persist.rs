//! A world in a file, so that a sandbox outlives its process.
//!
//! Two files: the world as of its last change, and beside it what passes without a change (time, token buckets, counted
//! requests and faults), which is small and is written at every wait. A world is a pure function of time, so both
//! together are the world as it was left, with every job and operation that went on meanwhile.
//!
//! Invariants: each file is always whole (written beside it, then renamed over it); its mode is 0600; time in them never goes
//! back, whoever writes; a process that only reads never writes over what another one changed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use azmend_base::text::io_words;

use crate::world::{Bucket, World};

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
    /// Reads a world that was saved, as it was left: with the time that passed since its last change.
    ///
    /// # Errors
    /// [`LoadError`] when the file cannot be read or is not a world.
    pub fn load(file: &Path) -> Result<Self, LoadError> {
        let shown = || file.display().to_string();
        let bytes = fs::read(file).map_err(|source| LoadError::Read { file: shown(), source })?;
        let mut world: Self =
            serde_json::from_slice(&bytes).map_err(|source| LoadError::Parse { file: shown(), source })?;
        if let Some(passed) = Passed::read(&passed_file(file)) {
            passed.apply(&mut world);
        }
        Ok(world)
    }

    /// Writes the world to a file, whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        self.write(file, true)
    }

    /// The same, also without waiting for the disk: then a power failure may cost it, a kill does not.
    fn write(&self, file: &Path, sync: bool) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        replace(file, &bytes, sync)?;
        if !sync {
            return Ok(());
        }
        if let Some(directory) = file.parent().filter(|d| !d.as_os_str().is_empty())
            && let Ok(directory) = File::open(directory)
        {
            // not every file system can sync a directory; the file itself is synced
            drop(directory.sync_all());
        }
        Ok(())
    }
}

/// Writes a file of the user's alone beside its place, then renames it over it.
fn replace(file: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut name = file.file_name().map(std::ffi::OsStr::to_os_string).unwrap_or_default();
    name.push(".tmp");
    let beside = file.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    private(&mut options);
    let mut out = options.open(&beside)?;
    out.write_all(bytes)?;
    if sync {
        out.sync_all()?;
    }
    drop(out);
    fs::rename(&beside, file)
}

/// New files are the user's alone.
fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _: &mut OpenOptions = options;
}

fn passed_file(file: &Path) -> PathBuf {
    file.with_extension("time")
}

/// What requests that only read, and waits, change in a world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    /// The world it belongs to, by [`super::Counters::saves`].
    saves: u64,
    now: Timestamp,
    requests: u64,
    buckets: BTreeMap<String, Bucket>,
    /// How often each lingering lock was read.
    reads: Vec<u32>,
    /// How often each fault was met, and fired.
    faults: Vec<(u32, u32)>,
}

impl Passed {
    fn of(world: &World, now: Timestamp) -> Self {
        Self {
            saves: world.counters.saves,
            now: now.max(world.now),
            requests: world.counters.requests,
            buckets: world.buckets.clone(),
            reads: world.lingering.iter().map(|lock| lock.reads).collect(),
            faults: world.faults.iter().map(|fault| (fault.seen, fault.fired)).collect(),
        }
    }

    /// None when there is none. One that cannot be read says nothing: the world beside it is whole without it.
    fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    /// Lets the same pass in the world.
    fn apply(self, world: &mut World) {
        if self.saves == world.counters.saves {
            world.counters.requests = self.requests;
            world.buckets = self.buckets;
            for (lock, reads) in world.lingering.iter_mut().zip(self.reads) {
                lock.reads = reads;
            }
            for (fault, (seen, fired)) in world.faults.iter_mut().zip(self.faults) {
                (fault.seen, fault.fired) = (seen, fired);
            }
        }
        world.advance_to(self.now);
    }
}

/// Tells one version of a file from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self { modified: metadata.modified().ok()?, length: metadata.len(), inode })
    }
}

/// Whether another process works on the world right now.
pub type Busy = Box<dyn Fn() -> bool + Send>;

/// What a process may do with the kept world.
pub(crate) enum Role {
    /// It only reads: what it lets pass is kept, and no more than that while another one changes something.
    Reads(Busy),
    /// It changes the world, and keeps others from doing so.
    Changes,
}

/// Where a world is kept.
pub(crate) struct Store {
    file: PathBuf,
    role: Role,
    /// The file as it was last read or written here.
    stamp: Option<Stamp>,
    /// Something is kept already, or will have to be.
    kept: bool,
    /// The time and the requests that are kept.
    upto: (Timestamp, u64),
    /// The world's own file lacks what passed.
    behind: bool,
    /// Why the last try to save failed.
    pub error: Option<String>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.file.display())
    }
}

impl Store {
    /// A place that holds nothing of this world yet.
    pub(crate) fn new(file: PathBuf, role: Role, world: &World) -> Self {
        let upto = (world.now, world.counters.requests);
        Self { file, role, stamp: None, kept: false, upto, behind: false, error: None }
    }

    /// Reads the kept world, or takes this one when none is kept. Nothing is written.
    pub(crate) fn open(file: PathBuf, fresh: World, busy: Busy) -> Result<(Self, World), LoadError> {
        let _guard = guard(&file, false);
        let stamp = match fs::metadata(&file) {
            Ok(_) => Stamp::of(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(LoadError::Read { file: file.display().to_string(), source }),
        };
        let passed = Passed::read(&passed_file(&file));
        let kept = stamp.is_some() || passed.is_some();
        let mut world = fresh;
        if stamp.is_some() {
            world = World::load(&file)?;
        } else if let Some(passed) = passed {
            passed.apply(&mut world);
        }
        let upto = (world.now, world.counters.requests);
        Ok((Self { file, role: Role::Reads(busy), stamp, kept, upto, behind: false, error: None }, world))
    }

    /// From now on this process changes the world, which others may have moved on since it was read here.
    pub(crate) fn change(&mut self, world: &mut World) -> Result<(), LoadError> {
        if matches!(self.role, Role::Changes) {
            return Ok(());
        }
        let _guard = guard(&self.file, false);
        let stamp = Stamp::of(&self.file);
        if stamp.is_some() && stamp != self.stamp {
            *world = World::load(&self.file)?;
            self.stamp = stamp;
        } else if let Some(passed) = Passed::read(&passed_file(&self.file)) {
            world.advance_to(passed.now);
        }
        self.role = Role::Changes;
        Ok(())
    }

    /// Saves the world after a change.
    pub(crate) fn save(&mut self, world: &mut World) {
        let saved = self.write(world, self.stamp.is_none());
        self.note(saved);
    }

    /// Saves what passed: after a wait and at the end always, after a request when a second has passed since the last time. A
    /// process that only reads, and need not wait, begins nothing: a world that was not used yet is not kept because of it.
    pub(crate) fn pass(&mut self, world: &mut World, now: Timestamp, when: When) {
        let (then, requests) = self.upto;
        let long = azmend_base::clock::elapsed(then, now).as_secs() >= 1;
        let moved = now > then || world.counters.requests != requests;
        match when {
            When::Waited => self.kept = true,
            When::Read if !long => return,
            When::Read => {}
            When::End if matches!(self.role, Role::Changes) => {
                let saved = self.write(world, true);
                return self.note(saved);
            }
            When::End => {}
        }
        if self.kept && moved {
            self.behind = true;
            let saved = self.write_passed(world, now);
            self.note(saved);
        }
    }

    fn note(&mut self, saved: io::Result<()>) {
        self.error =
            saved.err().map(|e| format!("cannot save the sandbox state {}: {}", self.file.display(), io_words(&e)));
    }

    fn write(&mut self, world: &mut World, sync: bool) -> io::Result<()> {
        self.make_dir()?;
        let guard = guard(&self.file, true);
        if let Role::Reads(busy) = &self.role
            && (busy() || Stamp::of(&self.file) != self.stamp)
        {
            // Another process changes the world, or has changed it: what it made of it counts.
            drop(guard);
            return self.write_passed(world, world.now);
        }
        world.counters.saves += 1;
        if let Err(error) = world.write(&self.file, sync) {
            world.counters.saves -= 1;
            return Err(error);
        }
        self.stamp = Stamp::of(&self.file);
        self.behind = false;
        drop(guard);
        self.write_passed(world, world.now)
    }

    /// Makes the directory, for the user alone. Who changes the world has made it: if it is gone, so is the sandbox.
    fn make_dir(&self) -> io::Result<()> {
        let Some(directory) = self.file.parent().filter(|d| !d.exists()) else { return Ok(()) };
        if matches!(self.role, Role::Changes) {
            return Ok(());
        }
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)
    }

    fn write_passed(&mut self, world: &World, now: Timestamp) -> io::Result<()> {
        self.make_dir()?;
        let _guard = guard(&self.file, true);
        self.kept = true;
        self.upto = (now, world.counters.requests);
        let file = passed_file(&self.file);
        let mut mine = Passed::of(world, now);
        if let Some(there) = Passed::read(&file) {
            let latest = there.now.max(mine.now);
            let theirs = match self.role {
                Role::Changes => there.saves > mine.saves,
                Role::Reads(_) => there.saves > mine.saves || (there.saves == mine.saves && there.now > mine.now),
            };
            if theirs {
                mine = there;
            }
            mine.now = latest;
        }
        let bytes = serde_json::to_vec(&mine).map_err(io::Error::other)?;
        replace(&file, &bytes, false)
    }
}

/// Why what passed is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// A request was answered that changed nothing.
    Read,
    /// A wait is over.
    Waited,
    /// The command ends.
    End,
}

/// Keeps other processes out of the files for the moment. Where a file system has no locks, or nothing can be written, there
/// is no guard: then the last one to write wins.
fn guard(file: &Path, create: bool) -> Option<File> {
    let lock = file.with_extension("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(create).truncate(false);
    private(&mut options);
    let held = options.open(lock).ok()?;
    held.lock().ok()?;
    Some(held)
}
