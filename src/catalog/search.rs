//! Finding an entry by what somebody holds: a code, an alias, a number, a sentence or a part of one, in English or
//! Korean, with slips.
//!
//! Duty: rank, and say why each was found. Unlike [`Catalog::classify`], which decides for a playbook and so answers
//! only when it is sure, a search may offer several. Must never: panic on any text, or take long for a long one.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::korean::texts;
use super::{Catalog, Category, Entry, plain};

/// Why an entry was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its code or an alias.
    Code,
    /// A numeric id of it.
    Number,
    /// Its message.
    Message,
    /// A code in the text.
    CodeInside,
    /// A part of its message, or its message within the text.
    Part,
    /// Nearly its code.
    NearCode,
    /// Words of it.
    Words,
}

/// An entry that fits.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// Why.
    pub why: Why,
    /// How well, within a kind: 0 to 1000.
    pub score: u32,
}

/// The most that are offered.
const MOST: usize = 5;
/// Longer texts are cut: similarity is quadratic.
const LONGEST: usize = 600;

/// The entries that fit, the best first.
#[must_use]
pub fn search<'a>(catalog: &'a Catalog, text: &str) -> Vec<Match<'a>> {
    let text: String = text.trim().chars().take(LONGEST).collect();
    let found = |entry, why, score| Match { entry, why, score };
    if text.is_empty() {
        return Vec::new();
    }
    if let Some(entry) = catalog.by_code(&text) {
        return vec![found(entry, Why::Code, 1000)];
    }
    // The number beside a code, also in a sentence: "Error code: 400196."
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() >= 3);
    if let Some(entry) = numbers.filter_map(|digits| digits.parse().ok()).find_map(|id| catalog.by_numeric(id)) {
        return vec![found(entry, Why::Number, 1000)];
    }
    let wanted = Wanted::of(&text);
    let mut matches: Vec<Match<'a>> = Vec::new();
    for entry in catalog.entries() {
        if let Some((why, score)) = wanted.fits(entry) {
            matches.push(found(entry, why, score));
        }
    }
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.len() >= 8) {
        if let Some(entry) = catalog.by_code(word) {
            matches.push(found(entry, Why::CodeInside, 1000));
        }
    }
    // The best reason of each entry; then by reason, current before retired, by score, by code.
    matches.sort_by_key(|one| (one.why, rank(one.entry), Reverse(one.score), one.entry.code.clone()));
    let mut seen = BTreeSet::new();
    matches.retain(|one| seen.insert(one.entry.code.as_str()));
    // Once something fits surely, what is only similar is noise.
    if matches.first().is_some_and(|first| first.why <= Why::Part) {
        matches.retain(|one| one.why <= Why::Part);
    }
    matches.truncate(MOST);
    matches
}

/// Errors of VM backup first, steps and what is retired last.
const fn rank(entry: &Entry) -> u8 {
    match entry.category {
        _ if entry.obsolete => 3,
        Category::IaasVm | Category::Crp | Category::Arm => 0,
        Category::Restore | Category::JobControl | Category::Mabs => 1,
        Category::GuideStep | Category::Classic => 2,
    }
}

/// Korean without spaces: people copy sentences with and without them.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What is looked for, in the forms it is compared in.
struct Wanted {
    /// Words that look like codes.
    codes: Vec<String>,
    plain: String,
    words: BTreeSet<String>,
    /// What is Korean in it, and how many letters of it.
    korean: Option<(String, usize)>,
}

impl Wanted {
    fn of(text: &str) -> Self {
        let hangul = |c: char| ('가'..='힣').contains(&c);
        let korean: String = text.chars().filter(|c| hangul(*c) || c.is_whitespace() || c.is_ascii()).collect();
        let letters = korean.chars().filter(|c| hangul(*c)).count();
        // A portal's sentence in Korean around an English message: each is looked for by itself.
        let english: String = text.chars().map(|c| if hangul(c) { ' ' } else { c }).collect();
        let plain = plain(&english);
        let codes = english.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let long = if letters > 0 || text.contains(' ') { 10 } else { 5 };
        Self {
            codes: codes.filter(|word| word.len() >= long).map(str::to_lowercase).collect(),
            words: telling(&plain),
            plain,
            korean: (letters > 0).then(|| (squeezed(&korean), letters)),
        }
    }

    fn fits(&self, entry: &Entry) -> Option<(Why, u32)> {
        let mut best: Option<(Why, u32)> = None;
        let mut take = |why: Why, score: u32| {
            if best.is_none_or(|(w, s)| (why, Reverse(score)) < (w, Reverse(s))) {
                best = Some((why, score));
            }
        };
        if let Some((wanted, letters)) = &self.korean
            && let Some(korean) = texts().get(&entry.code)
        {
            for (telling, text) in korean
                .messages
                .iter()
                .map(|text| (true, text))
                .chain([(true, &korean.title)])
                .chain(korean.causes.iter().map(|text| (false, text)))
            {
                let text = squeezed(text);
                if text == *wanted {
                    take(Why::Message, 1000);
                } else if telling && *letters >= 4 && (text.contains(wanted.as_str()) || wanted.contains(text.as_str()))
                {
                    take(Why::Part, share(wanted, &text));
                } else {
                    let near = dice(wanted, &text);
                    if near >= if telling { 500 } else { 650 } {
                        take(Why::Words, near);
                    }
                }
            }
        }
        for text in std::iter::once(&entry.message).chain(&entry.messages) {
            let text = plain(text);
            if text == self.plain {
                take(Why::Message, 1000);
            } else if (self.plain.len() >= 8 && text.contains(&self.plain))
                || (text.len() >= 20 && self.plain.contains(&text))
            {
                take(Why::Part, share(&self.plain, &text));
            } else if self.words.len() >= 2 {
                let known = telling(&text);
                let common = known.intersection(&self.words).count();
                let near = thousandth(2 * common, known.len() + self.words.len());
                if near >= 500 {
                    take(Why::Words, near);
                }
            }
        }
        for word in &self.codes {
            for code in std::iter::once(&entry.code).chain(&entry.aliases) {
                let code = code.to_lowercase();
                let near = strsim::normalized_damerau_levenshtein(word, &code);
                if code.contains(word.as_str()) {
                    take(Why::NearCode, share(word, &code).max(700));
                } else if near >= 0.72 {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
                    take(Why::NearCode, (near * 1000.0) as u32);
                }
            }
        }
        best
    }
}

/// Words that tell something.
fn telling(plain: &str) -> BTreeSet<String> {
    const DULL: [&str; 22] = [
        "is", "are", "was", "be", "to", "of", "in", "on", "for", "with", "and", "or", "not", "it", "this", "that",
        "by", "from", "has", "have", "could", "failed",
    ];
    plain.split(' ').filter(|word| word.len() > 1 && !DULL.contains(word)).map(str::to_owned).collect()
}

fn thousandth(part: usize, whole: usize) -> u32 {
    u32::try_from(part.saturating_mul(1000).checked_div(whole).unwrap_or_default()).unwrap_or(1000)
}

/// How much of the longer one the shorter one is.
fn share(a: &str, b: &str) -> u32 {
    let (a, b) = (a.chars().count(), b.chars().count());
    thousandth(a.min(b), a.max(b))
}

/// Pairs of letters in common: what particles and endings change little.
fn dice(a: &str, b: &str) -> u32 {
    let pairs = |text: &str| -> BTreeSet<(char, char)> { text.chars().zip(text.chars().skip(1)).collect() };
    let (a, b) = (pairs(a), pairs(b));
    thousandth(2 * a.intersection(&b).count(), a.len() + b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Option<String> {
        search(Catalog::get(), text).first().map(|one| one.entry.code.clone())
    }

    #[test]
    fn every_entry_is_found_by_its_code_in_any_case_and_by_its_message() {
        for entry in Catalog::get().entries() {
            assert_eq!(first(&entry.code.to_uppercase()).as_deref(), Some(entry.code.as_str()));
            let same: Vec<String> =
                search(Catalog::get(), &entry.message).iter().map(|one| one.entry.code.clone()).collect();
            assert!(same.contains(&entry.code), "{}: {same:?}", entry.code);
        }
    }

    #[test]
    fn every_korean_message_finds_its_entry() {
        for (code, text) in texts() {
            for message in text.messages.iter().chain([&text.title]) {
                let found: Vec<String> =
                    search(Catalog::get(), message).iter().map(|one| one.entry.code.clone()).collect();
                assert!(found.contains(code), "{code}: {message}: {found:?}");
            }
        }
    }

    #[test]
    fn people_find_what_they_hold() {
        for (text, expected) in [
            ("400196", "UserErrorGuestAgentStatusUnavailable"),
            ("UserErrorRpCollectionLimitReach", "UserErrorRpCollectionLimitReached"),
            ("usererrorrpcolectionlimitreached", "UserErrorRpCollectionLimitReached"),
            ("RpCollectionLimit", "UserErrorRpCollectionLimitReached"),
            ("BackUpOperationFailedV2", "BackUpOperationFailed"),
            ("restore point collection max limit has reached", "UserErrorRpCollectionLimitReached"),
            (
                "the job said: UserErrorKeyvaultPermissionsNotConfigured (400198)",
                "UserErrorKeyvaultPermissionsNotConfigured",
            ),
            ("복원 지점 컬렉션이 최대 한도", "UserErrorRpCollectionLimitReached"),
            ("복원지점컬렉션이최대한도에도달했습니다", "UserErrorRpCollectionLimitReached"),
            ("VM 에이전트가 Azure Backup과 통신할 수 없습니다", "UserErrorGuestAgentStatusUnavailable"),
            ("다른 백업 작업이 현재 진행 중", "UserErrorBackupOperationInProgress"),
            ("스냅샷 상태에 대해 VM 에이전트와 통신", "GuestAgentSnapshotTaskStatusError"),
            ("VSS writers bad state", "ExtensionFailedVssWriterInBadState"),
            ("ScopeLocked", "ScopeLocked"),
            ("오류 코드 400196", "UserErrorGuestAgentStatusUnavailable"),
            ("Error code: 400196.", "UserErrorGuestAgentStatusUnavailable"),
            ("백업 실패: The Restore Point collection max limit has reached.", "UserErrorRpCollectionLimitReached"),
            ("오류 UserErrorRpCollectionLimitReachd", "UserErrorRpCollectionLimitReached"),
        ] {
            assert_eq!(first(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_message_that_several_share_offers_them_all() {
        let found: Vec<&str> = search(Catalog::get(), "VMSnapshot 확장 작업이 실패했습니다.")
            .iter()
            .map(|one| one.entry.code.as_str())
            .collect();
        assert_eq!(&found[..2], ["ExtensionOperationFailed", "ExtensionOperationFailedForManagedDisks"]);
    }

    #[test]
    fn nothing_near_is_nothing() {
        for text in ["", " ", "qqqq", "🦀", "hello world", "김치찌개", "99999999", "!!!!", "오류", "에러"] {
            assert_eq!(first(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_searched(text in "\\PC{0,80}") {
            let found = search(Catalog::get(), &text);
            proptest::prop_assert!(found.len() <= MOST);
        }
    }
}
