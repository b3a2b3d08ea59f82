//! Finding an entry by what somebody holds: a code, a number, a sentence, or a whole paste of either, in English or
//! Korean, with slips.
//!
//! Duty: rank the evidence and say whether it is enough. An exact code is worth more than an exact message, that more
//! than a number in the place of a number, that more than words; a code that several errors share ([`Catalog::ambiguous`])
//! is worth nothing without its message. Below the threshold, which the labelled texts of
//! `tests/fixtures/explain` hold, the answer is "unknown" with the near ones. Must never: panic on any text.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::evidence::{Fit, Found, rank};
use super::paste::{Paste, Word};
use super::{Catalog, Entry};

/// Why an entry was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its code or an alias.
    Code,
    /// A code in the text.
    CodeInside,
    /// Its message.
    Message,
    /// A numeric id of it.
    Number,
    /// A part of its message.
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

/// What a text leads to.
#[derive(Debug, Clone, Default)]
pub struct Answer<'a> {
    /// The entries that fit, the best first. Only when [`Answer::sure`] is the first the answer.
    pub found: Vec<Match<'a>>,
    /// The evidence is enough to name the first.
    pub sure: bool,
    /// A code in the text that several errors share.
    pub ambiguous: Option<String>,
    /// The code that only passes on what another one says, when an inner one was found.
    pub outer: Option<&'a Entry>,
    /// A code in the text that the catalogue does not know.
    pub unknown_code: Option<String>,
}

/// The most that are offered.
const MOST: usize = 5;
/// What words must share to be offered as near.
const NEAR: f64 = 0.34;
/// By how much the first must be nearer than the second, when words are all that there is.
const MARGIN: f64 = 0.06;

/// The entries that fit, the best first, sure or not.
#[must_use]
pub fn search<'a>(catalog: &'a Catalog, text: &str) -> Vec<Match<'a>> {
    answer(catalog, text).found
}

/// What a text leads to.
#[must_use]
pub fn answer<'a>(catalog: &'a Catalog, text: &str) -> Answer<'a> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Answer::default();
    }
    if let Some(entry) = catalog.by_code(trimmed) {
        return Answer { found: vec![Match { entry, why: Why::Code, score: 1000 }], sure: true, ..Answer::default() };
    }
    let paste = Paste::of(trimmed);
    let mut search = Search { catalog, paste: &paste, found: Vec::new() };
    let ambiguous = search.ambiguous();
    let unknown_code = search.unknown_code();
    let mut out = Answer { ambiguous, unknown_code, ..Answer::default() };
    out.sure = search.decide(&mut out);
    // Once something fits surely, what is only similar is noise.
    if out.sure && search.found.iter().any(|one| one.why <= Why::Part) {
        search.found.retain(|one| one.why <= Why::Part);
    }
    out.found = search.ranked(out.sure);
    out
}

struct Search<'a, 'p> {
    catalog: &'a Catalog,
    paste: &'p Paste,
    found: Vec<Match<'a>>,
}

impl<'a> Search<'a, '_> {
    fn put(&mut self, entry: &'a Entry, why: Why, score: u32) {
        self.found.push(Match { entry, why, score });
    }

    /// Collects the evidence, the strongest first, and says whether it is enough. What is collected first is the answer.
    fn decide(&mut self, out: &mut Answer<'a>) -> bool {
        let codes = self.codes();
        let messages = self.messages();
        let carrier = codes.iter().find(|entry| self.catalog.passes_on(entry)).copied();
        let plain: Vec<&'a Entry> = codes.iter().filter(|entry| !self.catalog.passes_on(entry)).copied().collect();
        let said = |found: &Vec<(&'a Entry, Found)>, catalog: &Catalog, passing: bool| -> Vec<(&'a Entry, Found)> {
            let fits =
                |(entry, found): &&(&'a Entry, Found)| found.fit != Fit::Part && catalog.passes_on(entry) == passing;
            found.iter().filter(fits).copied().collect()
        };
        let mut inner = said(&messages, self.catalog, false);
        let passing = said(&messages, self.catalog, true);
        // What only the retired service said does not hide what today's service says.
        if passing.iter().any(|(entry, _)| rank(entry) < 2) && inner.iter().all(|(entry, _)| rank(entry) >= 2) {
            inner.clear();
        }
        for entry in &plain {
            self.put(entry, Why::CodeInside, 1000);
        }
        for (entry, found) in &inner {
            self.put(entry, Why::Message, u32::try_from(found.length.min(1000)).unwrap_or(1000));
        }
        if !plain.is_empty() || !inner.is_empty() {
            out.outer = carrier;
            return true;
        }
        let numbers = self.numbers();
        for entry in &numbers {
            self.put(entry, Why::Number, 1000);
        }
        if let Some(entry) = carrier {
            self.put(entry, Why::CodeInside, 1000);
            return true;
        }
        if !numbers.is_empty() {
            return true;
        }
        for (entry, found) in &passing {
            self.put(entry, Why::Message, u32::try_from(found.length.min(1000)).unwrap_or(1000));
        }
        if !passing.is_empty() {
            return true;
        }
        // From here on a code that is ambiguous or unknown forbids to be sure: it says that it is something else.
        let free = out.ambiguous.is_none() && out.unknown_code.is_none();
        let parts: Vec<(&'a Entry, Found)> = messages.into_iter().filter(|(_, found)| found.fit == Fit::Part).collect();
        for (entry, found) in &parts {
            self.put(entry, Why::Part, u32::try_from(found.length.min(1000)).unwrap_or(1000));
        }
        let current = |(entry, _): &&(&'a Entry, Found)| rank(entry) < 2;
        let one_part = parts.iter().filter(current).count() == 1 || (parts.len() == 1) || self.same_message(&parts);
        let typo = self.near_codes();
        let words = self.words(out.ambiguous.as_deref());
        (free && one_part) || typo || (free && parts.is_empty() && words)
    }

    /// The known codes, the one that names the cause first: in the place of a code before those in a sentence, inner
    /// before outer, then in their order. Codes that several errors share are no evidence.
    fn codes(&self) -> Vec<&'a Entry> {
        let short = self.paste.open().chars().count() <= 80;
        let mut seen: Vec<(bool, Reverse<usize>, usize, &'a Entry)> = Vec::new();
        for (order, word) in self.paste.words.iter().enumerate() {
            let Some(entry) = self.code(word, short) else { continue };
            match seen.iter_mut().find(|(.., known)| known.code == entry.code) {
                Some(old) => *old = (old.0.min(!word.labelled), old.1.min(Reverse(word.depth)), old.2, entry),
                None => seen.push((!word.labelled, Reverse(word.depth), order, entry)),
            }
        }
        seen.sort_by_key(|(bare, depth, order, _)| (*bare, *depth, *order));
        seen.into_iter().map(|(.., entry)| entry).collect()
    }

    fn code(&self, word: &Word, short: bool) -> Option<&'a Entry> {
        if let Some(entry) = self.catalog.by_token(&word.text) {
            let text = self.paste.open().to_lowercase();
            let failed = ["fail", "error", "timeout", "timed out", "unable"].iter().any(|said| text.contains(said));
            return (failed || short).then_some(entry);
        }
        let entry = self.catalog.by_code(&word.text)?;
        // Short codes are words of other products, too ("toomanyrequests" of a registry): only as Azure writes them, and
        // in the place of a code.
        let exact = entry.code == word.text || entry.aliases.contains(&word.text);
        if word.text.len() < 17 && !(exact && (word.labelled || short)) {
            return None;
        }
        self.catalog.vouched(entry, &word.text, self.paste).then_some(entry)
    }

    fn messages(&self) -> Vec<(&'a Entry, Found)> {
        let found = self.catalog.messages().found(&self.paste.readings);
        let mut out: Vec<(&'a Entry, Found)> =
            found.into_iter().filter_map(|one| Some((self.catalog.entries().get(one.index)?, one))).collect();
        out.sort_by_key(|(entry, found)| {
            (found.fit == Fit::Part, rank(entry) >= 2, Reverse(found.length), rank(entry), entry.code.clone())
        });
        // The longest message is the most telling; a shorter one that is a piece of it is not a second error.
        if let Some((_, best)) = out.first().copied() {
            out.retain(|(_, found)| found.fit != Fit::Part || best.fit == Fit::Part);
        }
        out
    }

    /// Several entries with the very same message: the first of them stands for all.
    fn same_message(&self, parts: &[(&'a Entry, Found)]) -> bool {
        let Some((first, _)) = parts.first() else { return false };
        let texts: BTreeSet<String> = first.messages.iter().map(|text| super::paste::squeezed(text)).collect();
        parts.len() <= 3
            && parts
                .iter()
                .all(|(entry, _)| entry.messages.iter().any(|text| texts.contains(&super::paste::squeezed(text))))
    }

    fn numbers(&self) -> Vec<&'a Entry> {
        let text = self.paste.open().to_lowercase();
        let short = text.chars().count() <= 60;
        let about = ["backup", "dpm", "mabs", "recovery services", "백업", "バックアップ", "sicherung"];
        let about = about.iter().any(|word| text.contains(word));
        let mut out: Vec<&'a Entry> = Vec::new();
        for number in &self.paste.numbers {
            let Some(entry) = self.catalog.by_numeric(number.value) else { continue };
            // Four digits are a year or a port for most of the world.
            let told = if number.value < 10_000 { !number.alone && (number.id && short || about) } else { true };
            if told && !out.iter().any(|known| known.code == entry.code) {
                out.push(entry);
            }
        }
        out
    }

    /// A code that several errors share, and the entries that send it.
    fn ambiguous(&mut self) -> Option<String> {
        let word = self.paste.words.iter().find_map(|word| {
            let (code, _) = self.catalog.ambiguous(&word.text)?;
            let here = word.labelled || self.paste.open().len() <= 80;
            here.then(|| code.to_owned())
        })?;
        Some(word)
    }

    /// A code in the place of a code that the catalogue does not know.
    fn unknown_code(&self) -> Option<String> {
        let humps = |word: &str| word.chars().filter(char::is_ascii_uppercase).count();
        let word = self.paste.words.iter().find(|word| {
            word.labelled
                && word.text.len() >= 9
                && humps(&word.text) >= 2
                && word.text.chars().any(|c| c.is_ascii_lowercase())
                && self.catalog.by_code(&word.text).is_none()
                && self.catalog.by_token(&word.text).is_none()
                && self.catalog.ambiguous(&word.text).is_none()
        })?;
        Some(word.text.clone())
    }

    /// Codes that are nearly a word of the text. Sure of a slip of two letters in a long code, or of one that was cut.
    fn near_codes(&mut self) -> bool {
        let whole = !self.paste.open().contains(char::is_whitespace);
        let mut sure = false;
        let mut seen = BTreeSet::new();
        for word in self.paste.words.iter().take(2000) {
            let lower = word.text.to_lowercase();
            let known = self.catalog.by_code(&word.text).is_some() || self.catalog.ambiguous(&word.text).is_some();
            if known || !seen.insert(lower.clone()) || word.text.len() > 90 {
                continue;
            }
            let humps = word.text.chars().skip(1).any(|c| c.is_ascii_uppercase()) || whole;
            let least = if whole { 7 } else { 12 };
            if word.text.len() < least || !humps {
                continue;
            }
            let mut near: Vec<(usize, u32, &'a Entry)> = Vec::new();
            for entry in self.catalog.entries() {
                for code in std::iter::once(&entry.code).chain(&entry.aliases) {
                    let code = code.to_lowercase();
                    let apart = if code.len().abs_diff(lower.len()) <= 8 {
                        strsim::damerau_levenshtein(&lower, &code)
                    } else {
                        usize::MAX
                    };
                    let slip = apart <= if code.len() >= 28 { 3 } else { 2 } && code.len() >= 12;
                    let cut = code.len() >= 16
                        && lower.len() >= 14
                        && code.starts_with(&lower)
                        && lower.len() * 100 >= code.len() * 70;
                    let inside = whole && lower.len() >= 12 && code.contains(&lower) && lower.len() * 2 >= code.len();
                    if slip || cut || inside {
                        near.push((if slip { apart } else { 4 }, 900, entry));
                    } else if code.contains(&lower) && (whole || lower.len() >= 12) {
                        near.push((9, 600, entry));
                    } else if apart != usize::MAX && apart * 4 <= code.len() {
                        near.push((10, 500, entry));
                    }
                }
            }
            near.sort_by_key(|(apart, _, entry)| (*apart, rank(entry), entry.code.clone()));
            near.dedup_by_key(|(.., entry)| entry.code.clone());
            let best: Vec<&'a Entry> =
                near.iter().filter(|(_, score, _)| *score == 900).map(|(.., entry)| *entry).collect();
            let first = near.first().map(|(apart, ..)| *apart);
            let tied = near.iter().filter(|(apart, ..)| Some(*apart) == first).count() > 1;
            sure |= !best.is_empty() && !tied && (word.labelled || whole || word.text.len() >= 17);
            for (apart, score, entry) in near.into_iter().take(MOST) {
                self.put(entry, Why::NearCode, score + 10 - u32::try_from(apart.min(10)).unwrap_or(10));
            }
        }
        sure
    }

    /// Entries with the words of the text. Sure when one is near enough and no other is nearly as near.
    fn words(&mut self, ambiguous: Option<&str>) -> bool {
        if let Some(code) = ambiguous
            && let Some((_, candidates)) = self.catalog.ambiguous(code)
        {
            for (order, code) in candidates.iter().enumerate() {
                if let Some(entry) = self.catalog.by_code(code) {
                    self.put(entry, Why::Words, 900 - u32::try_from(order).unwrap_or(0));
                }
            }
            return false;
        }
        let near = self.catalog.messages().near(self.paste.open());
        let entry = |index: usize| self.catalog.entries().get(index);
        let mut sure = false;
        if let [first, rest @ ..] = near.as_slice() {
            let rival = rest.iter().find(|one| entry(one.index).is_some_and(|entry| rank(entry) < 2));
            sure = first.strong && rival.is_none_or(|second| first.score - second.score >= MARGIN);
        }
        for one in near.iter().filter(|one| one.score >= NEAR).take(MOST) {
            if let Some(entry) = entry(one.index) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
                self.put(entry, Why::Words, (one.score * 1000.0) as u32);
            }
        }
        for number in &self.paste.numbers {
            if let Some(entry) = self.catalog.by_numeric(number.value) {
                self.put(entry, Why::Words, 300);
            }
        }
        sure
    }

    /// Each entry once, by its best evidence. A sure answer keeps the order in which the evidence was weighed.
    fn ranked(mut self, sure: bool) -> Vec<Match<'a>> {
        if !sure || self.found.first().is_some_and(|first| first.why >= Why::Part) {
            self.found.sort_by_key(|one| (one.why, Reverse(one.score), rank(one.entry), one.entry.code.clone()));
        }
        let mut seen = BTreeSet::new();
        self.found.retain(|one| seen.insert(one.entry.code.as_str()));
        self.found.truncate(MOST);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::super::korean::texts;
    use super::super::paste::squeezed;
    use super::*;

    fn first(text: &str) -> Option<String> {
        let found = answer(Catalog::get(), text);
        found.found.first().filter(|_| found.sure).map(|one| one.entry.code.clone())
    }

    #[test]
    fn every_entry_is_found_by_its_code_in_any_case() {
        for entry in Catalog::get().entries() {
            for code in std::iter::once(&entry.code).chain(&entry.aliases) {
                assert_eq!(first(&code.to_uppercase()).as_deref(), Some(entry.code.as_str()));
            }
        }
    }

    /// Every message and title, in both languages: the entry is the first, or the first has the very same sentence.
    #[test]
    fn every_message_finds_its_own_entry_first() {
        let own = |code: &str| -> BTreeSet<String> {
            let entry = Catalog::get().by_code(code).unwrap();
            let korean = texts().get(code);
            let all = entry.messages.iter().chain([&entry.message]);
            all.chain(korean.into_iter().flat_map(|text| text.messages.iter().chain([&text.title])))
                .map(|text| squeezed(text))
                .collect()
        };
        let mut bad = Vec::new();
        for entry in Catalog::get().entries() {
            let korean = texts().get(&entry.code);
            let all = entry.messages.iter().chain([&entry.message]);
            for message in all.chain(korean.into_iter().flat_map(|text| text.messages.iter().chain([&text.title]))) {
                let filled = message.replace(['<', '>'], "'");
                match first(&filled) {
                    Some(code) if code == entry.code || own(&code).contains(&squeezed(message)) => {}
                    other => bad.push(format!("{}: {message}: {other:?}", entry.code)),
                }
            }
        }
        assert_eq!(bad, Vec::<String>::new());
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
    fn a_code_that_several_errors_share_is_no_answer_without_its_message() {
        let found = answer(Catalog::get(), "OperationNotAllowed");
        assert!(!found.sure && found.ambiguous.as_deref() == Some("OperationNotAllowed"));
        assert!(found.found.len() >= 3);
        let changed = "Code: OperationNotAllowed\nMessage: Changes were made to the Virtual Machine while the operation \
                       'Create Restore Point' was in progress.";
        assert_eq!(first(changed).as_deref(), Some("OperationNotAllowed_VmChanged"));
    }

    #[test]
    fn the_inner_of_two_errors_is_the_cause() {
        let text = r#"{"error":{"code":"UserErrorCrpReportedUserError","message":"See details","details":[{"code":"ScopeLocked","message":"x"}]}}"#;
        let found = answer(Catalog::get(), text);
        assert_eq!(found.found[0].entry.code, "ScopeLocked");
        assert_eq!(found.outer.map(|entry| entry.code.as_str()), Some("UserErrorCrpReportedUserError"));
    }

    #[test]
    fn nothing_near_is_nothing() {
        for text in ["", " ", "qqqq", "🦀", "hello world", "김치찌개", "99999999", "!!!!", "오류", "에러"] {
            assert!(answer(Catalog::get(), text).found.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_long_log_is_searched_quickly() {
        let line = "DEBUG: urllib3.connectionpool: https://management.azure.com:443 \"GET /subscriptions/x HTTP/1.1\" 200 None\n";
        let log = format!("{}(ScopeLocked) locked\n", line.repeat(580));
        assert_eq!(first(&log).as_deref(), Some("ScopeLocked"));
        let strange = "AbcDefGhiJklMno ".repeat(4000);
        assert_eq!(first(&strange), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_searched(text in "\\PC{0,80}") {
            let found = search(Catalog::get(), &text);
            proptest::prop_assert!(found.len() <= MOST);
        }
    }
}
