//! The error codes of Azure Backup: what they are called, what they mean, what can be done about them.
//!
//! Duty: the embedded catalogue and the way from what Azure sends (a title, an integer, a text) to an entry. Playbooks
//! name codes of this catalogue and nothing else.
//!
//! Invariants: codes, aliases and numeric ids are unique without case; the data is parsed once; a text that is not
//! clearly one entry's message is nobody's, because what it is taken for decides which playbook applies; a code that
//! several errors share decides nothing without its message.
//!
//! Sources are named in each entry. Numeric ids come from recorded jobs and health details (`errorDetails[]` with
//! `errorCode`, `errorTitle`, `errorString`; `healthDetails[]` with `code`, `title`, `message`); literal messages from
//! these and from Azure's documentation ("Error message" in the troubleshooting pages, CC BY 4.0).

pub mod evidence;
mod flat;
pub mod korean;
#[cfg(test)]
mod labelled_tests;
pub mod named;
mod numbers;
pub mod paste;
pub mod results;
pub mod search;
mod slips;
mod swap;

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::spelling::nearest;

use evidence::{Fit, Messages, rank};
use paste::{Paste, squeezed};

/// Where an error comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Backup of an Azure VM.
    IaasVm,
    /// The compute platform.
    Crp,
    /// ARM itself.
    Arm,
    /// Restore.
    Restore,
    /// Cancelling and listing jobs.
    JobControl,
    /// Azure Backup Server and DPM.
    Mabs,
    /// VM backup of the classic portal; no API is left.
    Classic,
    /// A step of the troubleshooting guide, not an error.
    GuideStep,
}

/// How to see that an error has this cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detect {
    /// The call to make.
    pub call: String,
    /// The field to look at.
    pub field: String,
    /// What it says.
    pub condition: String,
}

/// What the management plane can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutomaticFix {
    /// The action; one of azmend's where it has it.
    pub action: String,
    /// The call.
    pub call: String,
    /// What must hold before.
    pub guard: String,
}

/// What only somebody in the guest can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestFix {
    /// `windows`, `linux`, `any`.
    pub os: String,
    /// What to do.
    pub action: String,
    /// Whether Run Command can do it.
    pub run_command: String,
    /// `low`, `medium`, `high`.
    pub risk: String,
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The symbolic code.
    pub code: String,
    /// Other spellings.
    pub aliases: Vec<String>,
    /// Words of guest logs that mean this error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// Numeric ids that stand beside the code.
    pub numeric_ids: Vec<i64>,
    /// Where it comes from.
    pub category: Category,
    /// What it says, in short.
    pub message: String,
    /// Literal messages, as recorded or documented.
    pub messages: Vec<String>,
    /// Causes.
    pub causes: Vec<String>,
    /// How to see which cause it is.
    pub detect: Vec<Detect>,
    /// What the management plane can do.
    pub automatic_fix: Vec<AutomaticFix>,
    /// What must be done in the guest.
    pub guest_fix: Vec<GuestFix>,
    /// What people must decide or do.
    pub manual: Vec<String>,
    /// Whether trying again helps: `yes`, `no`, `after_fix`, `after_wait`, ...
    pub retry: String,
    /// Only older services send it.
    pub obsolete: bool,
    /// Where this is written.
    pub sources: Vec<String>,
    /// Anything else.
    pub notes: String,
}

/// All errors.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: Vec<Entry>,
    by_code: HashMap<String, usize>,
    by_token: HashMap<String, usize>,
    by_numeric: HashMap<i64, usize>,
    messages: Messages,
}

/// Codes that several errors share, and the errors that send them. `OperationNotAllowed`: the limit of restore points
/// (MicrosoftDocs/azure-docs#47934), a VM that changed (restore point documentation), an extension marked for deletion
/// (Azure/azure-cli#14106), an attached disk, throttling, ... The internal errors say only that something failed.
const AMBIGUOUS: [(&str, &[&str]); 8] = [
    (
        "OperationNotAllowed",
        &[
            "OperationNotAllowed_RestorePointLimit",
            "OperationNotAllowed_VmChanged",
            "OperationNotAllowed_MarkedForDeletion",
            "UserErrorRpCollectionMarkedForDeletion",
            "OperationNotAllowed_VmNotRunning",
            "TooManyRequests",
        ],
    ),
    ("InternalError", INTERNAL),
    ("InternalServerError", INTERNAL),
    ("InternalExecutionError", INTERNAL),
    ("InternalOperationError", INTERNAL),
    ("ResourceNotFound", &["ResourceNotFound", "UserErrorVmNotFoundV2"]),
    ("Forbidden", &["AuthorizationFailed", "DenyAssignmentAuthorizationFailed"]),
    ("OperationFailed", &["BackUpOperationFailed", "ExtensionOperationFailed"]),
];
/// Below this length a message is too general to be compared letter by letter.
const TELLING: usize = 22;
/// Two messages are the same from here on (1.0 is equal).
const SIMILAR: f64 = 0.9;
const INTERNAL: &[&str] =
    &["CloudInternalError", "CrpDeleteTimeout", "VMRestorePointInternalError", "BackUpOperationFailed"];

/// Errors that say nothing but that somebody else said something.
const PASSES_ON: [&str; 2] = ["UserErrorCrpReportedUserError", "BackUpOperationFailed"];
/// Errors that are named only when nothing better is: their texts hold the real one, or nothing.
const VAGUE: [&str; 2] = ["CloudInternalError", "VMRestorePointClientError"];
/// Errors that say which part failed, and not why.
const GENERAL: [&str; 2] = ["ExtensionOperationFailed", "ExtensionOperationFailedForManagedDisks"];

impl Catalog {
    /// The embedded catalogue.
    #[must_use]
    pub fn get() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        // The file is part of the program and a test holds that it parses; an empty catalogue only finds nothing.
        CATALOG.get_or_init(|| Self::parse(include_str!("codes.json")).unwrap_or_default())
    }

    fn parse(json: &str) -> Result<Self, String> {
        let entries: Vec<Entry> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let mut catalog = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            for code in std::iter::once(&entry.code).chain(&entry.aliases) {
                if catalog.by_code.insert(code.to_lowercase(), index).is_some() {
                    return Err(format!("the code {code} appears twice"));
                }
            }
            for id in &entry.numeric_ids {
                if catalog.by_numeric.insert(*id, index).is_some() {
                    return Err(format!("the numeric id {id} appears twice"));
                }
            }
            for token in &entry.tokens {
                catalog.by_token.insert(token.to_lowercase(), index);
            }
        }
        catalog.messages = Messages::of(&entries);
        catalog.entries = entries;
        Ok(catalog)
    }

    /// Every entry.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry with this code or alias, without case.
    #[must_use]
    pub fn by_code(&self, code: &str) -> Option<&Entry> {
        self.entries.get(*self.by_code.get(&code.trim().to_lowercase())?)
    }

    /// The entry with this numeric id.
    #[must_use]
    pub fn by_numeric(&self, id: i64) -> Option<&Entry> {
        self.entries.get(*self.by_numeric.get(&id)?)
    }

    /// The entry whose guest logs use this word.
    #[must_use]
    pub fn by_token(&self, word: &str) -> Option<&Entry> {
        self.entries.get(*self.by_token.get(&word.to_lowercase())?)
    }

    /// A code that several errors share, as Azure writes it, and the errors that send it.
    #[must_use]
    pub fn ambiguous(&self, code: &str) -> Option<(&'static str, &'static [&'static str])> {
        AMBIGUOUS.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).copied()
    }

    /// Whether the error only passes on what another one says, so that any other evidence is worth more.
    #[must_use]
    pub fn passes_on(&self, entry: &Entry) -> bool {
        PASSES_ON.contains(&entry.code.as_str()) || VAGUE.contains(&entry.code.as_str())
    }

    /// Whether the error says only that something failed in some part, so that its details are worth more: what passes on,
    /// and the failure of an extension that is not told.
    #[must_use]
    pub fn general(&self, entry: &Entry) -> bool {
        self.passes_on(entry) || GENERAL.contains(&entry.code.as_str())
    }

    /// The messages of all entries, to be found in a text.
    #[must_use]
    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    /// Whether a code in a text stands for this entry although others send it too: what is missing must be a VM. A VM that
    /// the text names besides is no evidence: a vault, a disk or an extension may be what was not found.
    fn vouched(&self, entry: &Entry, word: &str, paste: &Paste) -> bool {
        if self.ambiguous(word).is_none() {
            return true;
        }
        let number = paste.numbers.iter().any(|number| entry.numeric_ids.contains(&number.value));
        match missing_type(paste.open()) {
            Some(kind) => kind == "virtualmachines",
            None => number || paste.open().to_lowercase().contains("vm no longer exists"),
        }
    }

    /// The entry that an error of a job belongs to: by its title, else by its integer, else by its text. A title that
    /// several errors share (`OperationNotAllowed`) counts for nothing: then the text decides before the integer.
    #[must_use]
    pub fn classify(&self, title: &str, numeric: i64, text: &str) -> Option<&Entry> {
        if let Some(entry) = self.by_code(title) {
            return Some(entry);
        }
        if self.ambiguous(title.trim()).is_some() {
            return self.by_text(text).or_else(|| self.by_numeric(numeric));
        }
        self.by_numeric(numeric).or_else(|| self.by_text(text))
    }

    /// The error inside another one: some codes only pass on what somebody else said (`UserErrorCrpReportedUserError`,
    /// `BackUpOperationFailed`), and the details of the job say what it was. `outer` itself does not count.
    ///
    /// A known message in the text decides before a code in it, for `OperationNotAllowed` is many different things.
    #[must_use]
    pub fn inner<'a>(&self, texts: impl IntoIterator<Item = &'a str>, outer: &str) -> Option<&Entry> {
        let outer = self.by_code(outer).map(|entry| entry.code.as_str());
        // The retired service, servers on premises and the steps of a guide are no part of a VM's job; and an error that
        // only passes on is not what another one passes on.
        let possible = |entry: &&Entry| {
            Some(entry.code.as_str()) != outer
                && !PASSES_ON.contains(&entry.code.as_str())
                && !matches!(entry.category, Category::Classic | Category::Mabs | Category::GuideStep)
        };
        let pastes: Vec<Paste> = texts.into_iter().map(Paste::of).collect();
        for paste in &pastes {
            let found = self.messages.found(&paste.readings).into_iter().filter(|found| found.fit != Fit::Part);
            let found = found.filter_map(|found| Some((found.length, self.entries.get(found.index).filter(possible)?)));
            if let Some((_, entry)) =
                found.max_by_key(|(length, entry)| (*length, !self.passes_on(entry), !entry.obsolete))
            {
                return Some(entry);
            }
        }
        let words = pastes.iter().flat_map(|paste| &paste.words).map(|word| word.text.as_str());
        words
            .filter(|word| word.len() >= 11 && self.ambiguous(word).is_none())
            .find_map(|word| self.by_code(word).or_else(|| self.by_token(word)).filter(possible))
    }

    /// The entry whose code stands in the text or whose message the text is. A message that several current errors share
    /// is nobody's.
    #[must_use]
    pub fn by_text(&self, text: &str) -> Option<&Entry> {
        let paste = Paste::of(text);
        let open = paste.open();
        if open.is_empty() {
            return None;
        }
        let codes = paste.words.iter().filter(|word| word.text.len() >= 12 && self.ambiguous(&word.text).is_none());
        let mut codes: Vec<&Entry> = codes.filter_map(|word| self.by_code(&word.text)).collect();
        codes.sort_by_key(|entry| self.passes_on(entry));
        if let Some(entry) = codes.iter().find(|entry| !self.passes_on(entry)) {
            return Some(entry);
        }
        let mut found: Vec<_> =
            self.messages.found(&paste.readings).into_iter().filter(|one| one.fit != Fit::Part).collect();
        let of = |index: usize| self.entries.get(index);
        found.retain(|one| of(one.index).is_some_and(|entry| entry.category != Category::GuideStep));
        if found.iter().any(|one| of(one.index).is_some_and(|entry| !self.passes_on(entry) && rank(entry) < 2)) {
            found.retain(|one| of(one.index).is_some_and(|entry| !self.passes_on(entry)));
        }
        let current = found.iter().any(|one| of(one.index).is_some_and(|entry| rank(entry) < 2));
        found.retain(|one| !current || of(one.index).is_some_and(|entry| rank(entry) < 2));
        if let Some(longest) = found.iter().map(|one| one.length).max() {
            found.retain(|one| one.length == longest);
            return match found.as_slice() {
                [one] => of(one.index),
                _ => None,
            };
        }
        if let Some(entry) = codes.first() {
            return Some(entry);
        }
        self.nearly(&squeezed(open))
    }

    /// The one entry whose message the text nearly is, letter by letter.
    fn nearly(&self, text: &str) -> Option<&Entry> {
        // Similarity is quadratic, and a message is a sentence.
        if text.chars().count() > 400 {
            return None;
        }
        let mut best: Option<(f64, &Entry)> = None;
        for entry in self.entries.iter().filter(|entry| rank(entry) < 2) {
            for message in std::iter::once(&entry.message).chain(&entry.messages) {
                let known = squeezed(message);
                if known.len() < TELLING || known.len() * 2 < text.len() || text.len() * 2 < known.len() {
                    continue;
                }
                let score = strsim::normalized_levenshtein(&known, text);
                if score >= SIMILAR && best.is_none_or(|(old, _)| score > old) {
                    best = Some((score, entry));
                }
            }
        }
        best.map(|(_, entry)| entry)
    }

    /// The entries that a code which several errors share may mean.
    #[must_use]
    pub fn candidates(&self, code: &str) -> Vec<&Entry> {
        let codes: BTreeSet<&str> =
            self.ambiguous(code).into_iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
        self.entries.iter().filter(|entry| codes.contains(entry.code.as_str())).collect()
    }

    /// The code that was probably meant.
    #[must_use]
    pub fn suggest(&self, code: &str) -> Option<&str> {
        let near = nearest(
            code,
            self.entries.iter().flat_map(|e| std::iter::once(&e.code).chain(&e.aliases)).map(String::as_str),
        )?;
        self.by_code(near).map(|entry| entry.code.as_str())
    }
}

/// The type of the resource that a text says is missing, in lower case: the last of `Type/name/Type/name`.
fn missing_type(text: &str) -> Option<String> {
    let lower = text.to_lowercase().replace('\n', " ");
    let (at, mark) = lower.match_indices("resource ").find_map(|(at, word)| {
        let rest = lower.get(at + word.len()..)?;
        let mark = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        Some((at + word.len() + 1, mark))
    })?;
    let (id, after) = lower.get(at..)?.split_once(mark)?;
    if !["not found", "could not be found", "does not exist", "doesn't exist"].iter().any(|said| after.contains(said)) {
        return None;
    }
    let typed = id.rsplit_once("/providers/").map_or(id, |(_, typed)| typed);
    let pieces: Vec<&str> = typed.split('/').map(str::trim).filter(|piece| !piece.is_empty()).collect();
    // Provider, type, name, type, name: the type stands before the last name.
    pieces.len().checked_sub(2).and_then(|at| pieces.get(at)).map(|kind| (*kind).to_owned())
}

/// Words in lower case without articles and punctuation.
pub(crate) fn plain(text: &str) -> String {
    let lower = text.to_lowercase().replace(['\'', '’'], "");
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !matches!(*word, "" | "a" | "an" | "the"));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(title: &str, numeric: i64, text: &str) -> Option<&'static str> {
        Catalog::get().classify(title, numeric, text).map(|entry| entry.code.as_str())
    }

    #[test]
    fn the_embedded_catalogue_loads_strictly() {
        let catalog = Catalog::parse(include_str!("codes.json")).unwrap();
        assert_eq!(catalog.entries().len(), 143);
        for entry in catalog.entries() {
            assert!(!entry.message.is_empty() && !entry.sources.is_empty(), "{}", entry.code);
        }
    }

    #[test]
    fn a_code_that_stands_twice_is_refused() {
        let mut entries = Catalog::get().entries().to_vec();
        let again = entries[0].code.to_uppercase();
        entries[1].aliases.push(again);
        assert!(Catalog::parse(&serde_json::to_string(&entries).unwrap()).unwrap_err().contains("appears twice"));
    }

    #[test]
    fn codes_are_found_without_case_and_by_alias() {
        let catalog = Catalog::get();
        let code = |name| catalog.by_code(name).map(|entry| entry.code.as_str());
        assert_eq!(code("usererrorrpcollectionlimitreached"), Some("UserErrorRpCollectionLimitReached"));
        assert_eq!(code("BackUpOperationFailedV2"), Some("BackUpOperationFailed"));
        assert_eq!(code("NoSuchCode"), None);
        assert_eq!(catalog.suggest("UserErrorRpColectionLimitReach"), Some("UserErrorRpCollectionLimitReached"));
        assert_eq!(catalog.suggest("qqqq"), None);
    }

    /// The titles, integers and texts of recorded jobs and health details.
    #[test]
    fn recorded_errors_are_classified() {
        for (title, numeric, text, expected) in [
            ("", 400_160, "VM is in Failed Provisioning State.", Some("UserErrorVmProvisioningStateFailed")),
            ("", 400_136, "Virtual machine doesn't exist.", Some("UserErrorVmNotFoundV2")),
            ("", 400_002, "Backup failed with an internal error.", Some("BackUpOperationFailed")),
            ("", 400_001, "Command execution failed.", None),
            (
                "ResourceNotFound",
                320_001,
                "Could not perform the operation as VM no longer exists.",
                Some("ResourceNotFound"),
            ),
            (
                "UserErrorKeyVaultPermissionsNotConfigured",
                400_198,
                "",
                Some("UserErrorKeyvaultPermissionsNotConfigured"),
            ),
            ("UserErrorGuestAgentStatusUnavailable", 0, "", Some("UserErrorGuestAgentStatusUnavailable")),
            ("", 400_196, "", Some("UserErrorGuestAgentStatusUnavailable")),
            ("", 400_206, "", Some("ExtensionSnapshotFailedNoNetwork")),
            ("", 0, "복원 지점 컬렉션이 최대 한도에 도달했습니다.", Some("UserErrorRpCollectionLimitReached")),
            ("", 0, "VMSnapshot 확장 작업이 실패했습니다.", None),
            ("", 400_288, "", Some("UserErrorRpCollectionDeleted")),
            ("IaasVmHealthGreenDefault", 400_239, "Backup pre-check status of this virtual machine is OK.", None),
            ("UserErrorVmVaultLocationMismatch", 400_175, "Virtual machine and vault are in different region.", None),
        ] {
            assert_eq!(code(title, numeric, text), expected, "{title} {numeric} {text}");
        }
    }

    #[test]
    fn the_title_wins_over_the_integer_and_the_integer_over_the_text() {
        let text = "VM is in Failed Provisioning State.";
        assert_eq!(code("UserErrorVmNotFoundV2", 400_196, text), Some("UserErrorVmNotFoundV2"));
        assert_eq!(code("", 400_196, text), Some("UserErrorGuestAgentStatusUnavailable"));
        assert_eq!(code("", 0, text), Some("UserErrorVmProvisioningStateFailed"));
    }

    #[test]
    fn the_error_inside_an_error_is_found() {
        let catalog = Catalog::get();
        let inner =
            |text: &str| catalog.inner([text], "UserErrorCrpReportedUserError").map(|entry| entry.code.as_str());
        let locked = "Compute said: code ScopeLocked, the scope '/subscriptions/x' cannot perform delete operation \
                      because following scope(s) are locked: '/subscriptions/x'. Please remove the lock and try again.";
        for (text, expected) in [
            (locked, Some("ScopeLocked")),
            (
                "OperationNotAllowed: The number of restore points across restore point collections and resource groups \
                 for a VM cannot exceed 500.",
                Some("OperationNotAllowed_RestorePointLimit"),
            ),
            (
                "OperationNotAllowed: Changes were made to the Virtual Machine while the operation 'Create Restore Point' \
                 was in progress.",
                Some("OperationNotAllowed_VmChanged"),
            ),
            ("Error code: VMAgentStatusCommunicationError", Some("VMAgentStatusCommunicationError")),
            ("AllocationFailed", Some("AllocationFailed")),
            ("OperationNotAllowed", None),
            ("UserErrorCrpReportedUserError", None),
            ("", None),
        ] {
            assert_eq!(inner(text), expected, "{text}");
        }
    }

    #[test]
    fn texts_match_only_when_they_are_clear() {
        let rp = Some("UserErrorRpCollectionLimitReached");
        assert_eq!(code("", 0, "The Restore Point collection max limit has reached."), rp);
        assert_eq!(code("", 0, "Error Code: UserErrorRpCollectionLimitReached, retry later"), rp);
        assert_eq!(code("", 0, "Backup failed with an internal error."), Some("BackUpOperationFailed"));
        for vague in ["", "Backup failed.", "error", "VM", "The operation failed, please try again", "🦀"] {
            assert_eq!(code("", 0, vague), None, "{vague}");
        }
        assert_eq!(code("", 0, &"x".repeat(1_000_000)), None);
    }
}
