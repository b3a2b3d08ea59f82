//! The playbooks that can be run: those of the program, and those of a directory.
//!
//! Duty: load, report what is wrong, find by name.
//!
//! Invariants: a bad file never hides the good ones; a name means one playbook: a file cannot replace a shipped playbook,
//! so `azmend fix rp-collection-limit` does the same everywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::model::Playbook;
use super::source;
use crate::spelling::nearest;
use crate::text::io_words;
use crate::yaml::{self, Diagnostic, Limits, Place, quote};

/// The shipped playbooks: file name and text.
pub const SHIPPED: [(&str, &str); 16] = [
    ("rp-collection-limit.yaml", include_str!("../../playbooks/rp-collection-limit.yaml")),
    ("vm-provisioning-failed.yaml", include_str!("../../playbooks/vm-provisioning-failed.yaml")),
    ("extension-operation-failed.yaml", include_str!("../../playbooks/extension-operation-failed.yaml")),
    ("unlock-backup-groups.yaml", include_str!("../../playbooks/unlock-backup-groups.yaml")),
    ("delete-stale-collections.yaml", include_str!("../../playbooks/delete-stale-collections.yaml")),
    ("failed-vm.yaml", include_str!("../../playbooks/failed-vm.yaml")),
    ("backup-in-progress.yaml", include_str!("../../playbooks/backup-in-progress.yaml")),
    ("crp-reported-user-error.yaml", include_str!("../../playbooks/crp-reported-user-error.yaml")),
    ("backup-operation-failed.yaml", include_str!("../../playbooks/backup-operation-failed.yaml")),
    ("stale-collections-of-deleted-vm.yaml", include_str!("../../playbooks/stale-collections-of-deleted-vm.yaml")),
    ("vss-services.yaml", include_str!("../../playbooks/vss-services.yaml")),
    ("agent-configuration.yaml", include_str!("../../playbooks/agent-configuration.yaml")),
    ("backup-now.yaml", include_str!("../../playbooks/backup-now.yaml")),
    ("datasource-not-present.yaml", include_str!("../../playbooks/datasource-not-present.yaml")),
    ("unprotected-vm.yaml", include_str!("../../playbooks/unprotected-vm.yaml")),
    ("keyvault-permissions.yaml", include_str!("../../playbooks/keyvault-permissions.yaml")),
];

/// The most files of a directory that are read.
const MAX_FILES: usize = 256;

/// Where a playbook comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program.
    Shipped,
    /// A file of the user.
    File(PathBuf),
}

/// Why a name is not a playbook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no playbook {}", quote(name))]
pub struct UnknownPlaybook {
    /// What was asked for.
    pub name: String,
    /// What was probably meant, best first.
    pub near: Vec<String>,
}

/// All playbooks that can be run.
#[derive(Debug, Default)]
pub struct Library {
    playbooks: BTreeMap<String, (Playbook, Origin)>,
    problems: Vec<Diagnostic>,
}

impl Library {
    /// The shipped playbooks.
    #[must_use]
    pub fn shipped() -> Self {
        let mut library = Self::default();
        for (file, text) in SHIPPED {
            match source::read(text, file) {
                Ok(playbook) => {
                    library.playbooks.insert(playbook.name().to_owned(), (playbook, Origin::Shipped));
                }
                // A test holds that this does not happen.
                Err(errors) => library.problems.extend(errors),
            }
        }
        library
    }

    /// The shipped playbooks and those of a directory (`*.yaml` and `*.yml`, not of its subdirectories).
    #[must_use]
    pub fn with_directory(directory: &Path) -> Self {
        let mut library = Self::shipped();
        let shown = directory.display().to_string();
        let mut files = match files_of(directory) {
            Ok(files) => files,
            Err(problem) => {
                library.problems.push(problem);
                return library;
            }
        };
        if files.len() > MAX_FILES {
            let message = format!("there are {} files; only the first {MAX_FILES} are read", files.len());
            library.problems.push(Diagnostic::new(&shown, Place::START, message));
            files.truncate(MAX_FILES);
        }
        for path in files {
            library.add(&path);
        }
        library
    }

    fn add(&mut self, path: &Path) {
        let file = path.display().to_string();
        let read = yaml::read_file(path, &Limits::default()).and_then(|text| source::read_placed(&text, &file));
        let (playbook, place) = match read {
            Ok(read) => read,
            Err(errors) => return self.problems.extend(errors),
        };
        let message = match self.playbooks.get(playbook.name()) {
            None => {
                self.playbooks.insert(playbook.name().to_owned(), (playbook, Origin::File(path.to_owned())));
                return;
            }
            Some((_, Origin::Shipped)) => format!("the name {} belongs to a shipped playbook", playbook.name()),
            Some((_, Origin::File(other))) => {
                format!("the name {} is taken by {}", playbook.name(), other.display())
            }
        };
        self.problems.push(Diagnostic::new(&file, place, message).hint("choose another name"));
    }

    /// The playbook with this name.
    ///
    /// # Errors
    /// With the names that were probably meant.
    pub fn find(&self, name: &str) -> Result<&Playbook, UnknownPlaybook> {
        self.playbooks.get(name).map(|(playbook, _)| playbook).ok_or_else(|| {
            let mut left: Vec<&str> = self.playbooks.keys().map(String::as_str).collect();
            let mut near = Vec::new();
            while near.len() < 3
                && let Some(best) = nearest(name, left.iter().copied())
            {
                near.push(best.to_owned());
                left.retain(|candidate| *candidate != best);
            }
            let parts = left.iter().filter(|known| !name.is_empty() && known.split('-').any(|part| part == name));
            near.extend(parts.map(|known| (*known).to_owned()));
            UnknownPlaybook { name: name.to_owned(), near }
        })
    }

    /// Every playbook with its origin, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Playbook, &Origin)> {
        self.playbooks.values().map(|(playbook, origin)| (playbook, origin))
    }

    /// What is wrong with files of the directory.
    #[must_use]
    pub fn problems(&self) -> &[Diagnostic] {
        &self.problems
    }
}

/// The playbook files of a directory (`*.yaml` and `*.yml`, not of its subdirectories), by name.
///
/// # Errors
/// When it cannot be read.
pub fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let listed = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>());
    let mut files: Vec<PathBuf> = match listed {
        Ok(paths) => paths.into_iter().filter(|path| is_yaml(path)).collect(),
        Err(error) => {
            let message = format!("the directory cannot be read: {}", io_words(&error));
            return Err(Diagnostic::new(&directory.display().to_string(), Place::START, message));
        }
    };
    files.sort();
    Ok(files)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("yaml") || ext.eq_ignore_ascii_case("yml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_playbooks_load_under_their_file_names() {
        let library = Library::shipped();
        assert_eq!(library.problems(), []);
        assert_eq!(library.iter().count(), SHIPPED.len());
        for (file, _) in SHIPPED {
            let playbook = library.find(file.strip_suffix(".yaml").unwrap()).unwrap();
            assert!(playbook.text().starts_with("# yaml-language-server: $schema=./schema.json\n"), "{file}");
            assert!(playbook.source().starts_with("https://learn.microsoft.com/"), "{file}");
        }
    }

    #[test]
    fn near_names_are_suggested() {
        let library = Library::shipped();
        assert_eq!(library.find("rp-colection-limit").unwrap_err().near[0], "rp-collection-limit");
        assert_eq!(library.find("backup").unwrap_err().near[0], "backup-now");
        for hostile in ["", "../rp-collection-limit", "\u{1b}[31m", "zzzzzzzz"] {
            let error = library.find(hostile).unwrap_err();
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn a_directory_adds_good_files_and_reports_bad_ones() {
        let dir = tempfile::tempdir().unwrap();
        let shipped = SHIPPED.iter().find(|(name, _)| *name == "backup-now.yaml").unwrap().1;
        std::fs::write(dir.path().join("a.yaml"), shipped.replace("name: backup-now", "name: mine")).unwrap();
        std::fs::write(dir.path().join("b.yml"), shipped.replace("name: backup-now", "name: mine")).unwrap();
        std::fs::write(dir.path().join("c.yaml"), shipped).unwrap();
        std::fs::write(dir.path().join("d.yaml"), "name: [\n").unwrap();
        std::fs::write(dir.path().join("e.yaml"), b"\xff\xfe\0").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "no playbook").unwrap();
        std::fs::create_dir(dir.path().join("f.yaml")).unwrap();
        let library = Library::with_directory(dir.path());
        assert!(library.find("mine").is_ok());
        assert_eq!(library.iter().count(), SHIPPED.len() + 1);
        let problems: Vec<String> = library.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(problems[0].contains("b.yml") && problems[0].contains("is taken by"), "{}", problems[0]);
        assert!(problems[1].contains("c.yaml") && problems[1].contains("shipped"), "{}", problems[1]);
        assert!(problems[4].contains("f.yaml") && problems[4].contains("directory"), "{}", problems[4]);
        let missing = Library::with_directory(&dir.path().join("none"));
        assert_eq!((missing.iter().count(), missing.problems().len()), (SHIPPED.len(), 1));
    }
}
