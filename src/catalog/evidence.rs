//! The messages of the catalogue, prepared to be found in a text: whole, inside, in part, or by similar words.
//!
//! Duty: say which entries a text is evidence for, and how strong each piece is. What follows from it is decided in
//! `search` (for people) and in [`super::Catalog`] (for playbooks).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::flat::Flat;
use super::paste::squeezed;
use super::swap::{Apart, generic, opposite, telling};
use super::{Category, Entry, korean, plain};

/// Below this many letters and digits a message counts only as a whole line, not inside another text.
const INSIDE: usize = 20;
/// The same for Korean and Japanese, where a sentence is short.
const INSIDE_EAST: usize = 11;
/// Shorter texts than this are no part of a message.
const PART: usize = 14;
/// The same for Korean and Japanese.
const PART_EAST: usize = 6;
/// Up to this many letters slips in words are looked for: each is compared with all words of all messages.
const CORRECTED: usize = 400;
/// A message whose end was cut off has at least this many letters.
const CUT: usize = 30;
/// Below this many letters a message may be the beginning of another sentence ("doesn't exist in the host pool").
const SENTENCE: usize = 40;

/// A message, prepared.
#[derive(Debug, Clone)]
pub struct Known {
    /// The entry that it belongs to.
    pub index: usize,
    /// Without spaces and punctuation; in parts where `<something>` stands between them.
    parts: Vec<String>,
    /// All parts together.
    whole: String,
    /// Its words.
    words: BTreeSet<String>,
    /// Its words, each as often as it stands there.
    bag: Vec<String>,
    /// Letters in it.
    length: usize,
    /// It is a title of azmend's, not a message of Azure's.
    title: bool,
}

/// How a text and a message fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// The text, or a line of it, is the message.
    Whole,
    /// The message stands in the text.
    Inside,
    /// The text is a large part of the message.
    Part,
}

/// A message that was found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The entry.
    pub index: usize,
    /// How.
    pub fit: Fit,
    /// How many letters fit.
    pub length: usize,
}

/// Words that fit.
#[derive(Debug, Clone, Copy)]
pub struct Near {
    /// The entry.
    pub index: usize,
    /// 0 to 1.
    pub score: f64,
    /// Enough to be sure of, when no other entry is as near.
    pub strong: bool,
}

/// The messages of all entries.
#[derive(Debug, Default)]
pub struct Messages {
    known: Vec<Known>,
    /// How telling a word is: rare words tell more.
    weight: HashMap<String, f64>,
    /// The weight of a word that no message has.
    strange: f64,
}

/// Korean, Japanese, Chinese: a sentence of few letters.
#[must_use]
pub fn east(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    let east = text.chars().filter(|c| matches!(c, '가'..='힣' | 'ぁ'..='ヿ' | '一'..='鿿')).count();
    east * 3 >= letters && east > 0
}

impl Messages {
    /// Prepares the messages of the entries, the Korean ones among them.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut known = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let korean = korean::texts().get(&entry.code);
            let titles = [Some(&entry.message), korean.map(|text| &text.title)].into_iter().flatten();
            let messages = entry.messages.iter().chain(korean.iter().flat_map(|text| &text.messages));
            for (text, title) in titles.map(|text| (text, true)).chain(messages.map(|text| (text, false))) {
                known.push(Known::of(index, text, title));
            }
        }
        let mut seen: HashMap<String, BTreeSet<usize>> = HashMap::new();
        for message in &known {
            for word in &message.words {
                seen.entry(word.clone()).or_default().insert(message.index);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "some hundred entries")]
        let rare = |count: usize| ((entries.len().max(1) as f64) / count.max(1) as f64).ln() + 0.2;
        let weight = seen.into_iter().map(|(word, entries)| (word, rare(entries.len()))).collect();
        Self { known, weight, strange: rare(1) }
    }

    /// The messages that the text is, or holds, or is a large part of; the best of each entry.
    #[must_use]
    pub fn found(&self, readings: &[String]) -> Vec<Found> {
        let mut best: BTreeMap<usize, Found> = BTreeMap::new();
        for reading in readings {
            let text = Flat::of(reading);
            if text.letters.is_empty() {
                continue;
            }
            let lines: BTreeSet<String> = segments(reading).map(|segment| squeezed(&segment)).collect();
            for known in &self.known {
                let Some((fit, length)) = known.fits(&text, &lines) else { continue };
                let found = Found { index: known.index, fit, length };
                let old = best.entry(known.index).or_insert(found);
                if (found.fit == Fit::Part, std::cmp::Reverse(found.length))
                    < (old.fit == Fit::Part, std::cmp::Reverse(old.length))
                {
                    *old = found;
                }
            }
        }
        best.into_values().collect()
    }

    /// The entries whose messages have the words of a sentence of the text, the best first.
    #[must_use]
    pub fn near(&self, text: &str) -> Vec<Near> {
        let mut best: BTreeMap<usize, Near> = BTreeMap::new();
        let short = text.chars().count() <= CORRECTED;
        for sentence in segments(text).filter(|sentence| sentence.chars().count() <= 400).take(400) {
            let sentence = if short { self.corrected_sentence(&sentence) } else { sentence };
            let words = telling(&plain(&sentence));
            let bag = super::swap::words(&sentence);
            let letters = squeezed(&sentence);
            let is_east = east(&sentence);
            if !is_east && words.len() < 2 {
                continue;
            }
            for known in &self.known {
                let near = if is_east { by_letters(known, &letters, &bag) } else { self.by_words(known, &words, &bag) };
                let Some(near) = near else { continue };
                let old = best.entry(near.index).or_insert(near);
                if (near.strong, near.score) > (old.strong, old.score) {
                    *old = near;
                }
            }
        }
        let mut out: Vec<Near> = best.into_values().collect();
        out.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
        out
    }

    /// A sentence whose words are spelled as the messages spell them: "virutal machine" is a VM, too.
    fn corrected_sentence(&self, sentence: &str) -> String {
        let words: Vec<String> = plain(sentence).split(' ').map(|word| self.corrected(word.to_owned())).collect();
        words.join(" ")
    }

    /// A word with a slip of one letter, as the messages write it.
    fn corrected(&self, word: String) -> String {
        let known = |other: &&String| {
            other.len().abs_diff(word.len()) <= 1
                && strsim::damerau_levenshtein(other, &word) == 1
                && !opposite(other, &word)
        };
        if word.len() < 7 || self.weight.contains_key(&word) {
            return word;
        }
        self.weight.keys().filter(known).min().cloned().unwrap_or(word)
    }

    fn by_words(&self, known: &Known, words: &BTreeSet<String>, bag: &[String]) -> Option<Near> {
        let weigh = |word: &String| self.weight.get(word).copied().unwrap_or(self.strange);
        let common: Vec<&String> = known.words.intersection(words).collect();
        if common.len() < 2 {
            return None;
        }
        let shared: f64 = common.iter().map(|word| weigh(word)).sum();
        let (theirs, ours): (f64, f64) = (known.words.iter().map(weigh).sum(), words.iter().map(weigh).sum());
        let score = 2.0 * shared / (theirs + ours);
        // Nearly the same sentence; or every word of the text is in this message, and they are enough of it.
        let same = score >= 0.78 && common.len() >= 4 || score >= 0.95 && common.len() >= 3;
        let within = common.len() == words.len() && common.len() >= 4 && shared / theirs >= 0.45;
        // A word that tells something and stands for another one makes it another sentence, however near. A title is
        // azmend's wording: a telling word more is another sentence, too. And who it is about must be said.
        let apart = Apart::of(&known.bag, bag);
        let other = apart.extra && (apart.missing || known.title) || apart.nameless;
        let strong = (same || within) && !other && !generic(bag);
        Some(Near { index: known.index, score, strong })
    }
}

impl Known {
    fn of(index: usize, text: &str, title: bool) -> Self {
        let parts: Vec<String> =
            placeholders(text).iter().map(|part| squeezed(part)).filter(|part| !part.is_empty()).collect();
        let whole = parts.concat();
        Self {
            index,
            length: whole.chars().count(),
            whole,
            parts,
            words: telling(&plain(text)),
            bag: super::swap::words(text),
            title,
        }
    }

    fn fits(&self, text: &Flat<'_>, lines: &BTreeSet<String>) -> Option<(Fit, usize)> {
        if self.length < 4 {
            return None;
        }
        if lines.contains(&self.whole) || text.letters == self.whole {
            return Some((Fit::Whole, self.length));
        }
        let is_east = east(&self.whole);
        let least = if is_east { INSIDE_EAST } else { INSIDE };
        let short = !is_east && self.length < SENTENCE;
        if self.length >= least && text.holds(&self.parts, short) {
            return Some((Fit::Inside, self.length));
        }
        if let Some(letters) =
            text.cut(&self.parts).filter(|letters| *letters >= CUT && letters * 10 >= self.length * 6)
            && !self.title
        {
            return Some((Fit::Part, letters));
        }
        let letters = text.letters.chars().count();
        let is_east = east(&text.letters);
        let least = if is_east { PART_EAST } else { PART };
        let words = text.reading.split_whitespace().count();
        let part = letters >= least && (words >= 3 || is_east) && letters * 100 >= self.length * 45 && !self.title
            || letters >= least && words >= 4 && letters * 100 >= self.length * 70;
        (part && self.whole.contains(&text.letters) && (is_east || !generic(&super::swap::words(text.reading))))
            .then_some((Fit::Part, letters))
    }
}

/// The parts of a message around its `<something>`.
fn placeholders(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                out.push(String::new());
            }
            c if !inside => {
                if let Some(last) = out.last_mut() {
                    last.push(c);
                }
            }
            _ => {}
        }
    }
    out
}

/// The lines, cells, quoted values and sentences of a text, each also without a label before a colon.
pub fn segments(text: &str) -> impl Iterator<Item = String> + '_ {
    let joined = text.replace('\n', " ");
    let sentences: Vec<String> = joined
        .split(['"', '|'])
        .flat_map(|part| part.split(". ").map(str::to_owned).collect::<Vec<_>>())
        .chain(text.split(['\n', '|', '"']).map(str::to_owned))
        .collect();
    let mut seen = BTreeSet::new();
    sentences
        .into_iter()
        .flat_map(|sentence| {
            let label = sentence.split_once(':').filter(|(label, _)| label.chars().count() <= 40);
            let rest = label.map(|(_, rest)| rest.trim().to_owned());
            [Some(sentence.trim().to_owned()), rest]
        })
        .flatten()
        .filter(move |sentence| !sentence.is_empty() && seen.insert(sentence.clone()))
}

/// Pairs of letters in common: what particles and endings change little.
fn by_letters(known: &Known, letters: &str, bag: &[String]) -> Option<Near> {
    if !east(&known.whole) {
        return None;
    }
    let pairs = |text: &str| -> BTreeSet<(char, char)> { text.chars().zip(text.chars().skip(1)).collect() };
    let (a, b) = (pairs(&known.whole), pairs(letters));
    if a.len() < 5 || b.len() < 5 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "some hundred letters")]
    let score = 2.0 * a.intersection(&b).count() as f64 / (a.len() + b.len()) as f64;
    // Names stand in Latin letters: another name is another product.
    let strong = score >= 0.78 && b.len() >= 10 && !other_name(&known.bag, bag);
    (score >= 0.4).then_some(Near { index: known.index, score, strong })
}

/// Whether the text names something in Latin letters that the message does not, in the place of a name that it does.
fn other_name(known: &[String], text: &[String]) -> bool {
    let latin = |words: &[String]| -> BTreeSet<String> {
        let of = |word: &String| word.chars().filter(char::is_ascii_alphabetic).collect::<String>();
        words.iter().map(of).filter(|word| word.len() >= 2).collect()
    };
    let (known, text) = (latin(known), latin(text));
    known.difference(&text).next().is_some() && text.difference(&known).next().is_some()
}

/// Errors of VM backup first, steps and what is retired last.
#[must_use]
pub const fn rank(entry: &Entry) -> u8 {
    match entry.category {
        _ if entry.obsolete => 3,
        Category::IaasVm | Category::Crp | Category::Arm => 0,
        Category::Restore | Category::JobControl | Category::Mabs => 1,
        Category::GuideStep | Category::Classic => 2,
    }
}
