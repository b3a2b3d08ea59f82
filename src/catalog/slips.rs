//! Codes that are nearly a word of the text: cut, or with a slip.
//!
//! Duty: say which codes a word may be, the nearest first, and which of them it surely is one of. A word that is the exact
//! beginning of several codes is each of them. Must never: take a changed word of a code (`...DiskType` for `...DiskSize`)
//! for a slip: that is another code.

use super::evidence::rank;
use super::{Catalog, Entry};

/// A code that is near.
#[derive(Debug, Clone, Copy)]
pub struct Slip<'a> {
    /// How far: 0 a cut code, then by slips, 4 and more: not sure.
    pub apart: usize,
    /// Near enough to be sure of when no other is as near.
    pub close: bool,
    /// Its entry.
    pub entry: &'a Entry,
}

/// The codes that are near a word, the nearest first; `whole`: the word is the whole text.
#[must_use]
pub fn slips<'a>(catalog: &'a Catalog, word: &str, whole: bool) -> Vec<Slip<'a>> {
    let lower = word.to_lowercase();
    let mut near: Vec<Slip<'a>> = Vec::new();
    for entry in catalog.entries() {
        for code in std::iter::once(&entry.code).chain(&entry.aliases) {
            near.extend(slip(entry, code, &lower, whole));
        }
    }
    near.sort_by_key(|slip| (slip.apart, rank(slip.entry), slip.entry.code.clone()));
    let mut seen = std::collections::BTreeSet::new();
    near.retain(|slip| seen.insert(slip.entry.code.clone()));
    near
}

fn slip<'a>(entry: &'a Entry, code: &str, lower: &str, whole: bool) -> Option<Slip<'a>> {
    let known = code.to_lowercase();
    let apart = (known.len().abs_diff(lower.len()) <= 8).then(|| strsim::damerau_levenshtein(lower, &known));
    let long = known.len() >= 16 && lower.len() >= 14;
    let put = |apart, close| Some(Slip { apart, close, entry });
    if long && known.starts_with(lower) {
        // In a sentence a word that ends where one of the code's words does is whole, and another word than the code.
        let cut = whole || !humps(code).iter().any(|(begin, _)| *begin == lower.len());
        return put(0, cut && lower.len() * 100 >= known.len() * 70);
    }
    if let Some(apart) = apart
        && apart <= if known.len() >= 28 { 3 } else { 2 }
        && known.len() >= 12
        && within_a_word(code, lower, apart)
    {
        return put(apart, true);
    }
    if whole && lower.len() >= 12 && known.contains(lower) && lower.len() * 2 >= known.len() {
        return put(5, true);
    }
    if known.contains(lower) && (whole || lower.len() >= 12) {
        return put(9, false);
    }
    apart.filter(|apart| apart * 4 <= known.len()).and_then(|_| put(10, false))
}

/// Whether what differs is little of the words that it stands in: one letter in three, and no abbreviation for another.
fn within_a_word(code: &str, lower: &str, apart: usize) -> bool {
    let known = code.to_lowercase();
    let head = known.bytes().zip(lower.bytes()).take_while(|(a, b)| a == b).count();
    let most = known.len().min(lower.len()) - head;
    let tail = known.bytes().rev().zip(lower.bytes().rev()).take_while(|(a, b)| a == b).count().min(most);
    let (from, to) = (head, known.len() - tail);
    let (ours, theirs) =
        (known.get(from..to).unwrap_or_default(), lower.get(head..lower.len() - tail).unwrap_or_default());
    // "Un" or "Not" more or less says the opposite.
    if [ours, theirs].iter().any(|one| matches!(*one, "un" | "no" | "not")) && (ours.is_empty() || theirs.is_empty()) {
        return false;
    }
    let touched: Vec<&str> = humps(code)
        .into_iter()
        .filter(|(begin, end)| *begin < to.max(from + 1) && *end > from)
        .filter_map(|(begin, end)| code.get(begin..end))
        .collect();
    let letters: usize = touched.iter().map(|hump| hump.len()).sum();
    let short = |hump: &&str| hump.len() <= 4 && hump.chars().all(|c| c.is_ascii_uppercase());
    let replaced = !ours.is_empty() && !theirs.is_empty();
    if replaced && touched.len() == 1 && touched.iter().any(short) {
        return false;
    }
    apart <= 1 || apart * 3 <= letters || from >= known.len()
}

/// The words of a code: `Standard`, `SSD`, `Not`, `Supported`.
fn humps(code: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let upper = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_uppercase);
    let mut starts = vec![0];
    for at in 1..bytes.len() {
        let next_lower = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        if upper(at) && (!upper(at - 1) || next_lower) {
            starts.push(at);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().copied().zip(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sure(word: &str) -> Option<&'static str> {
        let near = slips(Catalog::get(), word, true);
        let first = near.first().filter(|slip| slip.close)?;
        let tied = near.iter().filter(|slip| slip.apart == first.apart).count() > 1;
        (!tied).then_some(first.entry.code.as_str())
    }

    #[test]
    fn a_slip_is_not_another_word() {
        assert_eq!(sure("UserErrorUnsupportedDiskSzie"), Some("UserErrorUnsupportedDiskSize"));
        assert_eq!(sure("usererrorunsuportedDiskSize"), Some("UserErrorUnsupportedDiskSize"));
        assert_eq!(sure("UserErrorUnsupportedDiskTier"), None);
        assert_eq!(sure("UserErrorSupportedDiskSize"), None);
        assert_eq!(sure("UserErrorStandardNVDNotSupported"), None);
    }

    #[test]
    fn in_a_sentence_whole_words_of_a_code_are_not_the_code() {
        let close = |word: &str, whole: bool| slips(Catalog::get(), word, whole).first().is_some_and(|slip| slip.close);
        assert!(!close("LinkedAuthorization", false), "another word, as in: linked authorization of a vault");
        assert!(close("LinkedAuthorizationFai", false));
        assert!(close("UserErrorGuestAgentStatusUnavail", false));
    }

    #[test]
    fn the_beginning_of_several_codes_is_none_of_them() {
        assert_eq!(sure("ExtensionSnapshotFailedN"), None);
        assert_eq!(sure("ExtensionSnapshotFailedNoNetwor"), Some("ExtensionSnapshotFailedNoNetwork"));
        let near = slips(Catalog::get(), "ExtensionSnapshotFailedN", true);
        assert!(near.iter().take(2).all(|slip| slip.entry.code.starts_with("ExtensionSnapshotFailedN")), "{near:#?}");
    }
}
