//! Finding an entry by what somebody holds: a code, a number, a sentence, or a whole paste of either, in English or
//! Korean, with slips.
//!
//! Duty: rank the evidence and say whether it is enough. An exact code is worth more than an exact message, that more
//! than a number in the place of a number, that more than words; a code that several errors share ([`Catalog::ambiguous`])
//! is worth nothing without its message. Below the threshold, which the labelled texts of
//! `tests/fixtures/explain` hold, the answer is "unknown" with the near ones. Must never: panic on any text.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::evidence::{Fit, Found, Near, rank};
use super::paste::{Paste, Word};
use super::slips::slips;
use super::{Catalog, Entry, results};

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
    /// The text is a result of Windows.
    pub windows: Option<u32>,
}

/// The most that are offered.
const MOST: usize = 5;
/// What words must share to be offered as near.
const NEAR: f64 = 0.34;
/// By how much the first must be nearer than the second, when words are all that there is.
const MARGIN: f64 = 0.06;

/// A part of a message of this many letters is as good as the message.
const WHOLE_PART: usize = 60;
/// Codes that only say that a request failed; the error is inside, or beside it.
const WRAPPERS: [&str; 11] = [
    "BadRequest",
    "DeploymentFailed",
    "InvalidTemplateDeployment",
    "ResourceDeploymentFailure",
    "ResourceOperationFailure",
    "MultipleErrorsOccurred",
    "LongRunningOperationFailed",
    "PreconditionFailed",
    "StatusCode",
    "HttpStatusCode",
    "ErrorResponse",
];

/// Messages that a text says, each with its entry.
type Said<'a> = Vec<(&'a Entry, Found)>;

/// A known code in the text.
#[derive(Debug, Clone, Copy)]
struct Code<'a> {
    entry: &'a Entry,
    past: bool,
    firm: bool,
    error: usize,
    depth: usize,
    line: usize,
    order: usize,
}

impl Code<'_> {
    /// The cause first.
    fn key(&self) -> (bool, bool, Reverse<usize>, Reverse<usize>, Reverse<usize>) {
        // The details of one error are a list of equals: its first is the first. Otherwise the newest counts.
        let newest = if self.depth > 0 { usize::MAX - self.order } else { self.order };
        (self.past, !self.firm, Reverse(self.error), Reverse(self.depth), Reverse(newest))
    }
}

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
    if let Some(entry) = spelled_out(catalog, trimmed) {
        return Answer { found: vec![Match { entry, why: Why::Code, score: 900 }], sure: true, ..Answer::default() };
    }
    if let Some(number) = results::number(trimmed) {
        let entry = results::known(number).and_then(|result| catalog.by_code(result.code));
        let found: Vec<Match<'a>> =
            entry.map(|entry| Match { entry, why: Why::Number, score: 1000 }).into_iter().collect();
        return Answer { sure: !found.is_empty(), found, windows: Some(number), ..Answer::default() };
    }
    let paste = Paste::of(trimmed);
    let mut search = Search { catalog, paste: &paste, found: Vec::new() };
    let ambiguous = search.ambiguous();
    let unknown_code = search.unknown_code();
    let mut out = Answer { ambiguous, unknown_code, ..Answer::default() };
    out.sure = search.decide(&mut out);
    // Once something fits surely, what is only similar is noise.
    if out.sure && out.outer.is_none() && search.found.iter().any(|one| one.why <= Why::Part) {
        search.found.retain(|one| one.why <= Why::Part);
    }
    out.found = search.ranked(out.sure, out.outer.is_some());
    out
}

/// The entries that have words of the text, the most of them first, and how many have as many: no answer, but where to look when
/// nothing is similar.
#[must_use]
pub fn mentions<'a>(catalog: &'a Catalog, text: &str) -> (Vec<&'a Entry>, usize) {
    let words: BTreeSet<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() >= 3 || !word.is_ascii() && word.chars().count() >= 2)
        .map(str::to_lowercase)
        .collect();
    let count = |entry: &&Entry| {
        let text = format!("{} {} {}", entry.code, entry.aliases.join(" "), entry.message).to_lowercase();
        words.iter().filter(|word| text.contains(word.as_str())).count()
    };
    let most = catalog.entries().iter().map(|entry| count(&entry)).max().unwrap_or(0);
    // A word of many is no hint.
    if most == 0 || most * 2 < words.len() {
        return (Vec::new(), 0);
    }
    let mut found: Vec<&Entry> = catalog.entries().iter().filter(|entry| count(entry) == most).collect();
    // What today's service sends first, then the short texts: there the words weigh more.
    found.sort_by_key(|entry| (entry.obsolete, entry.message.len()));
    let all = found.len();
    found.truncate(MOST);
    (found, all)
}

/// A code that somebody wrote as words: "user error guest agent ...". Long ones only, for a sentence may be short.
fn spelled_out<'a>(catalog: &'a Catalog, text: &str) -> Option<&'a Entry> {
    if text.len() > 120 || text.split([' ', '_', '-']).count() < 4 {
        return None;
    }
    let code = text.replace([' ', '_', '-'], "");
    catalog.by_code(&code).filter(|_| code.len() >= 20)
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
        let messages = self.messages();
        let codes = self.codes(&messages);
        let carrier = codes.iter().find(|code| self.catalog.general(code.entry)).copied();
        let plain: Vec<Code<'a>> = codes.iter().filter(|code| !self.catalog.general(code.entry)).copied().collect();
        let (inner, general, passing) = self.said(&messages);
        if let Some(best) = plain.first() {
            if let Some(stranger) = self.stranger(best) {
                out.unknown_code = Some(stranger);
                self.put_codes(&plain);
                return false;
            }
            // Of two codes that one sentence only mentions none is the error.
            let rival = |other: &&Code<'a>| !other.firm && other.past == best.past && other.line == best.line;
            if !best.firm && inner.is_empty() && plain.iter().skip(1).any(|other| rival(&other)) {
                self.put_codes(&plain);
                return false;
            }
            // A code that a sentence only mentions is less than what a line says as a whole.
            let mentioned = !best.firm && !inner.iter().any(|(entry, _)| entry.code == best.entry.code);
            if mentioned && inner.iter().any(|(_, found)| found.fit == Fit::Whole) {
                self.put_messages(&inner);
            }
            self.put_codes(&plain);
            self.put_messages(&inner);
            out.outer = carrier.map(|code| code.entry);
            return true;
        }
        if !inner.is_empty() {
            self.put_messages(&inner);
            out.outer = carrier.map(|code| code.entry);
            return true;
        }
        if let Some(carrier) = carrier {
            return self.carried(&carrier, out);
        }
        self.put_messages(&general);
        let numbers = self.numbers();
        for entry in &numbers {
            self.put(entry, Why::Number, 1000);
        }
        if !numbers.is_empty() || !general.is_empty() {
            return true;
        }
        self.put_messages(&passing);
        if !passing.is_empty() {
            return true;
        }
        self.similar(messages, out)
    }

    /// What an error that only says that something failed passes on: words of its details, a number, else itself.
    fn carried(&mut self, carrier: &Code<'a>, out: &mut Answer<'a>) -> bool {
        if let Some(stranger) = self.stranger(carrier).filter(|_| !carrier.firm) {
            out.unknown_code = Some(stranger);
            self.put(carrier.entry, Why::CodeInside, 1000);
            return false;
        }
        let inner = self.paste.inner().and_then(|text| self.surely_near(text));
        if let Some((entry, score)) = inner.filter(|(entry, _)| !self.catalog.general(entry)) {
            self.put(entry, Why::Words, score);
            out.outer = Some(carrier.entry);
        }
        for entry in self.numbers() {
            self.put(entry, Why::Number, 1000);
        }
        self.put(carrier.entry, Why::CodeInside, 1000);
        true
    }

    /// What is only similar: a part of a message, a code with a slip, words. A code that is ambiguous or unknown forbids to
    /// be sure of it: it says that it is something else.
    fn similar(&mut self, messages: Vec<(&'a Entry, Found)>, out: &Answer<'a>) -> bool {
        let free = out.ambiguous.is_none() && out.unknown_code.is_none();
        let parts: Vec<(&'a Entry, Found)> = messages.into_iter().filter(|(_, found)| found.fit == Fit::Part).collect();
        for (entry, found) in &parts {
            self.put(entry, Why::Part, u32::try_from(found.length.min(1000)).unwrap_or(1000));
        }
        let current = |(entry, _): &&(&'a Entry, Found)| rank(entry) < 2;
        let one_part = parts.iter().filter(current).count() == 1 || (parts.len() == 1) || self.same_message(&parts);
        let typo = self.near_codes();
        let words = self.words(out.ambiguous.as_deref());
        // A part that is no longer than a letter or two less than the message is the message, whatever code others share.
        let whole = parts.len() == 1 && parts.iter().all(|(_, found)| found.length >= WHOLE_PART);
        (one_part && (free || whole && out.unknown_code.is_none())) || typo || (free && parts.is_empty() && words)
    }

    /// The messages that the text says: of errors that say why, of those that say only what failed, and of those that only
    /// pass on.
    fn said(&self, messages: &[(&'a Entry, Found)]) -> (Said<'a>, Said<'a>, Said<'a>) {
        let of = |general: bool, passing: bool| -> Said<'a> {
            let fits = |(entry, found): &&(&'a Entry, Found)| {
                let catalog = self.catalog;
                found.fit != Fit::Part
                    && catalog.general(entry) == general
                    && (!general || catalog.passes_on(entry) == passing)
            };
            messages.iter().filter(fits).copied().collect()
        };
        let (mut inner, general, passing) = (of(false, false), of(true, false), of(true, true));
        // What only the retired service said does not hide what today's service says.
        let today = general.iter().chain(&passing).any(|(entry, _)| rank(entry) < 2);
        if today && inner.iter().all(|(entry, _)| rank(entry) >= 2) {
            inner.clear();
        }
        (inner, general, passing)
    }

    fn put_codes(&mut self, codes: &[Code<'a>]) {
        for code in codes {
            self.put(code.entry, Why::CodeInside, 1000);
        }
    }

    fn put_messages(&mut self, said: &[(&'a Entry, Found)]) {
        for (entry, found) in said {
            self.put(entry, Why::Message, u32::try_from(found.length.min(1000)).unwrap_or(1000));
        }
    }

    /// The known codes, the one that names the cause first: what a sentence calls over is last, one in the place of a code
    /// or with its message before one in a sentence; then the newest error of a log, in it the innermost, and of those the
    /// last, for it is what ended the command. Codes that several errors share are no evidence.
    fn codes(&self, messages: &[(&'a Entry, Found)]) -> Vec<Code<'a>> {
        let short = self.paste.open().chars().count() <= 80;
        let mut seen: Vec<Code<'a>> = Vec::new();
        for (order, word) in self.paste.words.iter().enumerate() {
            let Some(entry) = self.code(word, short) else { continue };
            let said = messages.iter().any(|(one, found)| one.code == entry.code && found.fit != Fit::Part);
            let (past, firm) = (word.past, word.labelled || said);
            let code = Code { entry, past, firm, error: word.error, depth: word.depth, line: word.line, order };
            match seen.iter_mut().find(|known| known.entry.code == entry.code) {
                Some(old) if code.key() <= old.key() => *old = code,
                Some(_) => {}
                None => seen.push(code),
            }
        }
        seen.sort_by_key(Code::key);
        seen
    }

    /// A code that the catalogue does not know and that speaks against the best known one: a newer one in the place of a
    /// code, or any in that place when the known one is only mentioned. What only wraps another error does not count.
    fn stranger(&self, best: &Code<'a>) -> Option<String> {
        let found = self.paste.words.iter().enumerate().find(|(order, word)| {
            let newer = word.error > best.error
                || word.error == best.error && word.depth == 0 && best.depth == 0 && *order > best.order;
            word.code && !word.past && (newer || !best.firm || best.past) && self.strange(word)
        });
        found.map(|(_, word)| word.text.clone())
    }

    /// Whether a word looks like a code of Azure's that the catalogue does not know.
    fn strange(&self, word: &Word) -> bool {
        let humps = word.text.chars().filter(char::is_ascii_uppercase).count();
        let known = self.catalog.by_code(&word.text).is_some()
            || self.catalog.by_token(&word.text).is_some()
            || self.catalog.ambiguous(&word.text).is_some();
        word.text.len() >= 9
            && humps >= 2
            && word.text.chars().any(|c| c.is_ascii_lowercase())
            && !word.joined
            && !known
            && !word.text.ends_with("Exception")
            && !WRAPPERS.contains(&word.text.as_str())
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
        let mut out: Vec<&'a Entry> = Vec::new();
        let whole = self.paste.open().chars().count();
        for number in self.paste.numbers.iter().filter(|number| number.ours(whole)) {
            let Some(entry) = self.catalog.by_numeric(number.value) else { continue };
            if !out.iter().any(|known| known.code == entry.code) {
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
        let word = self.paste.words.iter().find(|word| word.labelled && self.strange(word))?;
        Some(word.text.clone())
    }

    /// Codes that are nearly a word of the text. Sure of a slip of two letters in a long code, or of one that was cut.
    fn near_codes(&mut self) -> bool {
        let whole = !self.paste.open().contains(char::is_whitespace);
        let mut sure = false;
        let mut seen = BTreeSet::new();
        for word in self.paste.words.iter().take(2000) {
            let known = self.catalog.by_code(&word.text).is_some() || self.catalog.ambiguous(&word.text).is_some();
            if known || !seen.insert(word.text.to_lowercase()) || word.text.len() > 90 {
                continue;
            }
            let humps = word.text.chars().skip(1).any(|c| c.is_ascii_uppercase()) || whole;
            let least = if whole { 7 } else { 12 };
            if word.text.len() < least || !humps {
                continue;
            }
            let near = slips(self.catalog, &word.text, whole);
            let tied = near.iter().filter(|one| Some(one.apart) == near.first().map(|first| first.apart)).count() > 1;
            let close = near.first().is_some_and(|first| first.close);
            sure |= close && !tied && (word.labelled || whole || word.text.len() >= 17);
            for one in near.into_iter().take(MOST) {
                let score = if one.apart < 9 { 900 } else { 500 };
                self.put(one.entry, Why::NearCode, score + 10 - u32::try_from(one.apart.min(10)).unwrap_or(10));
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
        let sure = self.clear(&near).is_some();
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

    /// The first, when it is near enough and no other is nearly as near.
    fn clear<'n>(&self, near: &'n [Near]) -> Option<&'n Near> {
        let (first, rest) = near.split_first()?;
        let entry = |index: usize| self.catalog.entries().get(index);
        let rival = rest.iter().find(|one| entry(one.index).is_some_and(|entry| rank(entry) < 2));
        // What only the retired service said, and what is a step of a guide, needs more than words.
        let today = entry(first.index).is_some_and(|entry| rank(entry) < 2);
        (today && first.strong && rival.is_none_or(|second| first.score - second.score >= MARGIN)).then_some(first)
    }

    /// The one entry whose words a text has, and how well.
    fn surely_near(&self, text: &str) -> Option<(&'a Entry, u32)> {
        let near = self.catalog.messages().near(text);
        let first = self.clear(&near)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
        Some((self.catalog.entries().get(first.index)?, (first.score * 1000.0) as u32))
    }

    /// Each entry once, by its best evidence. A sure answer keeps the order in which the evidence was weighed.
    fn ranked(mut self, sure: bool, inner: bool) -> Vec<Match<'a>> {
        if !sure || !inner && self.found.first().is_some_and(|first| first.why >= Why::Part) {
            self.found.sort_by_key(|one| (one.why, Reverse(one.score), rank(one.entry), one.entry.code.clone()));
        }
        let mut seen = BTreeSet::new();
        self.found.retain(|one| seen.insert(one.entry.code.as_str()));
        self.found.truncate(MOST);
        self.found
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
