//! Words of a sentence, and whether two sentences that share most of them say the same.
//!
//! Duty: "communicate with Azure Monitor" and "communicate with Azure Backup" share all words but one, and that one is what
//! they are about. Must never: call a sentence the same when one of its telling words stands for another.

use std::collections::BTreeSet;

use super::plain;

/// Words whose absence or presence changes nothing.
const SOFT: [&str; 44] = [
    "azure",
    "microsoft",
    "service",
    "services",
    "operation",
    "currently",
    "unable",
    "job",
    "request",
    "please",
    "again",
    "try",
    "retry",
    "later",
    "its",
    "only",
    "also",
    "still",
    "then",
    "when",
    "while",
    "during",
    "after",
    "before",
    "so",
    "we",
    "see",
    "more",
    "does",
    "do",
    "did",
    "doesnt",
    "didnt",
    "cant",
    "can",
    "will",
    "may",
    "being",
    "any",
    "all",
    "now",
    "there",
    "needs",
    "occurred",
];
/// Names of what a message is about: without them it is about something else.
const NAMES: [&str; 5] = ["backup", "vmsnapshot", "vmsnapshotlinux", "sicherung", "dpm"];
/// Words that any product's internal error has.
const GENERIC: [&str; 44] = [
    "internal",
    "unexpected",
    "execution",
    "command",
    "server",
    "operation",
    "retry",
    "try",
    "again",
    "few",
    "minutes",
    "later",
    "wait",
    "then",
    "time",
    "while",
    "another",
    "progress",
    "currently",
    "please",
    "request",
    "occurred",
    "unknown",
    "after",
    "until",
    "interner",
    "internem",
    "internen",
    "versuchen",
    "sie",
    "den",
    "vorgang",
    "nach",
    "einigen",
    "minuten",
    "zu",
    "wiederholen",
    "bei",
    "der",
    "die",
    "das",
    "ein",
    "es",
    "erneut",
];

/// Words that tell something.
#[must_use]
pub fn telling(plain: &str) -> BTreeSet<String> {
    const DULL: [&str; 60] = [
        "is", "are", "was", "were", "be", "to", "of", "in", "on", "for", "with", "and", "or", "not", "it", "this",
        "that", "by", "from", "has", "have", "could", "failed", "as", "because", "due", "at", "which", "been", "some",
        "error", "message", "code", "please", "cannot", "your",
        // German, which joins clauses in several ways.
        "der", "die", "das", "dem", "den", "des", "ein", "eine", "einen", "einer", "und", "oder", "im", "auf", "mit",
        "von", "wird", "werden", "wurde", "da", "weil", "denn", "wegen", "aufgrund",
    ];
    plain.split(' ').filter(|word| word.len() > 1 && !DULL.contains(word)).map(str::to_owned).collect()
}

/// The words that tell something, each as often as it stands there, with one spelling for what has several.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let plain = plain(text).replace("virtual machines", "vm").replace("virtual machine", "vm");
    let known = telling(&plain);
    let spelled = plain.split(' ').filter(|word| known.contains(*word)).map(|word| match word {
        "vms" => "vm",
        "maximum" => "max",
        "doesnt" | "does" | "do" => "does",
        word => word,
    });
    spelled.map(str::to_owned).collect()
}

/// In what two sentences are not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// A telling word of the message is missing in the text.
    pub missing: bool,
    /// The text has a telling word that the message does not have.
    pub extra: bool,
    /// The message names a product and the text does not.
    pub nameless: bool,
}

impl Apart {
    /// Of a message and a text.
    #[must_use]
    pub fn of(message: &[String], text: &[String]) -> Self {
        let mut extra: Vec<&String> = text.iter().collect();
        let mut missing: Vec<&String> = Vec::new();
        for word in message {
            let same = extra.iter().position(|other| *other == word);
            match same.or_else(|| extra.iter().position(|other| alike(word, other))) {
                Some(at) => {
                    extra.remove(at);
                }
                None => missing.push(word),
            }
        }
        let tells = |word: &&&String| !SOFT.contains(&word.as_str());
        // What a machine is called is no word of a sentence.
        let name = |word: &&&String| word.chars().any(|c| c.is_ascii_digit());
        Self {
            missing: missing.iter().any(|word| tells(&word)),
            extra: extra.iter().any(|word| tells(&word) && !name(&word)),
            nameless: missing.iter().any(|word| NAMES.contains(&word.as_str())),
        }
    }
}

/// Whether the words say nothing but that something went wrong somewhere.
#[must_use]
pub fn generic(words: &[String]) -> bool {
    words.iter().all(|word| GENERIC.contains(&word.as_str()) || SOFT.contains(&word.as_str()) || word == "fehler")
}

/// The same word in another form, or with a slip.
fn alike(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let longest = a.chars().count().max(b.chars().count());
    let shared = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    shared >= 5 && shared * 10 >= longest * 6
        || longest >= 6 && !opposite(a, b) && strsim::damerau_levenshtein(a, b) <= usize::from(longest >= 9) + 1
}

/// "supported" and "unsupported" are near and the opposite.
#[must_use]
pub fn opposite(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    ["un", "in", "dis", "de", "re"].iter().any(|prefix| long.strip_prefix(prefix) == Some(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let apart = Apart::of(&words(a), &words(b));
        !(apart.missing && apart.extra || apart.nameless)
    }

    #[test]
    fn a_telling_word_in_the_place_of_another_is_another_sentence() {
        let message = "The agent cannot reach the Azure Backup service from the virtual machine";
        assert!(same(message, "agent cannot reach the Azure Backup service from the VM"));
        assert!(same(message, "The agents could not reach Azure Backup from virtual machines"));
        assert!(same(message, "The agent cannot reach the Azure Backup servcie from the virtual machine app-1"));
        assert!(!same(message, "The agent cannot reach the Azure Arc service from the virtual machine"));
        assert!(!same("disk limit exceeded, disk detached", "disk limit exceeded, quota detached"));
        assert!(!same("backup of the disk has stopped", "the disk has stopped"));
        assert!(!same("the size is supported", "the size is unsupported"));
    }

    #[test]
    fn words_of_any_internal_error_are_generic() {
        assert!(generic(&words("An internal error occurred, please retry the operation in a few minutes")));
        assert!(!generic(&words("The snapshot ended with an internal error")));
    }
}
