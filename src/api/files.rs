//! Files of the user: plans, estates, playbooks. Reading is bounded, writing is whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::error::Error;
use crate::text::io_words;

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// When it is missing, too large, not a file or not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let shown = path.display();
    let failed = |error: io::Error| Error::input(format!("cannot read {shown}: {}", io_words(&error)));
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Error::input(format!("{shown} is a directory, not a file")));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Error::input(format!("{shown} is larger than {} MB", limit / (1024 * 1024))));
    }
    String::from_utf8(bytes).map_err(|_| Error::input(format!("{shown} is not a text file in UTF-8")))
}

/// What is wrong with JSON of a user, without the parser's own words.
pub fn json_words(error: &serde_json::Error) -> String {
    if error.is_data() {
        return "a part of it is missing, or of another kind".to_owned();
    }
    format!("it is not JSON (line {}, column {})", error.line(), error.column())
}

/// Writes a file for its owner alone (0600): beside its place first, then renamed over it.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(format!("cannot write {}: {}", path.display(), io_words(&error)));
    if path.is_dir() {
        return Err(Error::io(format!("{} is a directory", path.display())));
    }
    let beside = path.with_file_name(format!(".azmend-{}.tmp", uuid::Uuid::new_v4()));
    let written = write_new(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Nothing half-written stays; that the removal fails too changes nothing.
        drop(fs::remove_file(&beside));
    }
    written.map_err(failed)
}

/// Writes a file for its owner alone where nothing stands: whole or not at all.
///
/// # Errors
/// `AlreadyExists`, or as the system says.
pub fn write_private_new(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_file_name(format!(".azmend-{}.tmp", uuid::Uuid::new_v4()));
    let written = write_new(&beside, text).and_then(|()| match fs::hard_link(&beside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => match path.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            // A file system without links: the name was free a moment ago.
            Err(_) => fs::rename(&beside, path),
        },
        linked => linked,
    });
    // Gone already after a rename; that a removal fails changes nothing about the file.
    drop(fs::remove_file(&beside));
    written
}

/// Writes a new file; fails when something stands there.
///
/// # Errors
/// As the system says.
pub fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A directory for its owner alone (0700), with its parents.
///
/// # Errors
/// When it cannot be made.
pub fn private_dir(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|error| Error::io(format!("cannot create {}: {}", path.display(), io_words(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_cannot_be_read_is_placed() {
        let words = |text: &str| json_words(&serde_json::from_str::<Vec<u8>>(text).unwrap_err());
        assert_eq!(words("[1,\n}"), "it is not JSON (line 2, column 1)");
        assert_eq!(words("{}"), "a part of it is missing, or of another kind");
    }

    #[test]
    fn reading_is_bounded_and_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, [b'x'; 2048]).unwrap();
        assert!(read_text(&file, 4096).is_ok());
        assert!(read_text(&file, 1024).unwrap_err().message.contains("larger"));
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(read_text(&file, 1024).unwrap_err().message.contains("UTF-8"));
        assert!(read_text(dir.path(), 1024).unwrap_err().message.contains("directory"));
        assert_eq!(read_text(&dir.path().join("none"), 1).unwrap_err().exit_code(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_plan_is_private_and_replaced_whole() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plan.json");
        write_private(&file, "one").unwrap();
        write_private(&file, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_new(&file, "three").is_err());
        assert_eq!(write_private_new(&file, "four").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        write_private_new(&dir.path().join("new"), "five").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("new")).unwrap(), "five");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(write_private(dir.path(), "x").is_err());
    }
}
