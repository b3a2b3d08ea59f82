//! Misspelt words: which of the known ones was probably meant.
//!
//! Duty: the one measure of likeness behind every "did you mean". Invariants: capitals, `_`, `-` and blanks make no
//! difference; the cost is bounded whatever was typed. Must never: choose for the user; an error stays an error.

use std::cmp::Ordering;

/// The most words that are suggested at once.
const MOST: usize = 3;

/// The measure is quadratic: a longer text is no misspelt name.
const LONGEST: usize = 128;

/// How far a candidate is from what was typed: slips, and for a part of a name no more than the slips that are allowed.
fn distance(typed: &str, candidate: &str) -> Option<usize> {
    let candidate = plain(candidate);
    let (letters, others) = (typed.chars().count(), candidate.chars().count());
    let allowed = (letters.max(others) / 3).max(1);
    let slips = strsim::damerau_levenshtein(typed, &candidate);
    // A part of a name (`limit` for `rp-collection-limit`) is as good as slips of the allowed number.
    let part = letters >= 3 && candidate.contains(typed) || others >= 3 && typed.contains(&candidate);
    if part { Some(slips.min(allowed)) } else { (slips <= allowed).then_some(slips) }
}

fn plain(text: &str) -> String {
    text.to_lowercase().replace(['_', '-', ' '], "")
}

/// The values whose names are near to what was typed, the nearest first, at most three; of equals the first by name.
#[must_use]
pub fn near_by<'a, T>(typed: &str, named: impl IntoIterator<Item = (&'a str, T)>) -> Vec<T> {
    let typed = if typed.len() > LONGEST { String::new() } else { plain(typed) };
    if typed.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<(usize, &str, T)> = named
        .into_iter()
        .filter(|(name, _)| name.len() <= LONGEST)
        .filter_map(|(name, value)| Some((distance(&typed, name)?, name, value)))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1)).then(Ordering::Equal));
    found.into_iter().take(MOST).map(|(_, _, value)| value).collect()
}

/// The candidates near to what was typed, each once, the nearest first, at most three.
#[must_use]
pub fn near<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all: Vec<&str> = candidates.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    near_by(typed, all.into_iter().map(|word| (word, word)))
}

/// The candidate that was probably meant, if any is near enough.
#[must_use]
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near(typed, candidates).into_iter().next()
}

/// `did you mean ...?`, if any candidate is near enough.
#[must_use]
pub fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(typed, candidates).map(|word| format!("did you mean {word}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_parts_are_near() {
        let names = ["rp-collection-limit", "WEB-03", "web-01", "web-02", "web-02"];
        assert_eq!(near("rp-colection-limt", names), ["rp-collection-limit"]);
        assert_eq!(near("LIMIT", names), ["rp-collection-limit"]);
        assert_eq!(near("web-03", names), ["WEB-03", "web-01", "web-02"]);
        assert_eq!(nearest("onFailure", ["retain", "on_failure"]), Some("on_failure"));
        assert_eq!(nearest("retian", ["retain", "on_failure"]), Some("retain"));
        assert_eq!(did_you_mean("w\u{435}b-01", ["web-01"]).as_deref(), Some("did you mean web-01?"));
    }

    #[test]
    fn what_is_far_empty_or_endless_is_not() {
        for typed in ["zzz", "", "--", "completely different", &"r".repeat(100_000)] {
            assert_eq!(near(typed, ["web-01", "retain"]), Vec::<&str>::new(), "{typed:.20}");
        }
        assert_eq!(near("web", [&*"web".repeat(100), ""]), Vec::<&str>::new());
    }

    #[test]
    fn values_come_with_their_names() {
        assert_eq!(near_by("web", [("web-02", 2), ("web-01-old", 3), ("db", 4), ("web-01", 1)]), [1, 2, 3]);
    }
}
