//! A text as letters and digits only, with the way back to where each stands.
//!
//! Duty: find a message in a text whatever a terminal did to its spaces and lines, and say whether what stands around and
//! between lets it be the message. Its cost is linear in the text for each message.

/// What may stand for `<something>`: a name or an id, not a sentence.
const GAP_LETTERS: usize = 400;
/// The same in words: ids in quotes with commas between them, an operation of three words.
const GAP_WORDS: usize = 6;
/// Fewer letters than this of a last part say nothing.
const CUT: usize = 6;
/// How many beginnings are tried.
const TRIES: usize = 40;

/// A text without spaces and punctuation.
#[derive(Debug)]
pub struct Flat<'t> {
    /// As it was.
    pub reading: &'t str,
    /// Its letters and digits, in lower case.
    pub letters: String,
    /// Where each byte of `letters` comes from.
    at: Vec<u32>,
}

impl<'t> Flat<'t> {
    /// Of a text.
    #[must_use]
    pub fn of(reading: &'t str) -> Self {
        let mut letters = String::with_capacity(reading.len());
        let mut at = Vec::with_capacity(reading.len());
        for (index, c) in reading.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
            letters.extend(c.to_lowercase());
            at.resize(letters.len(), u32::try_from(index).unwrap_or(u32::MAX));
        }
        Self { reading, letters, at }
    }

    /// Whether the parts stand in the text one after the other, with no more than a name between them. A `short` message must
    /// not go on into another sentence.
    #[must_use]
    pub fn holds(&self, parts: &[String], short: bool) -> bool {
        let Some((first, rest)) = parts.split_first() else { return false };
        self.letters.match_indices(first.as_str()).take(TRIES).any(|(at, _)| {
            let end = rest.iter().try_fold(at + first.len(), |from, part| {
                let window = self.letters.get(from..)?;
                let found = window.find(part.as_str()).filter(|gap| *gap <= GAP_LETTERS)?;
                (self.words_between(from, from + found) <= GAP_WORDS).then_some(from + found + part.len())
            });
            end.is_some_and(|end| !(short && self.goes_on(end)))
        })
    }

    /// How many letters of the parts stand there when the text ends before the last part does: what was cut off.
    #[must_use]
    pub fn cut(&self, parts: &[String]) -> Option<usize> {
        let (last, rest) = parts.split_last()?;
        let before: usize = rest.iter().map(|part| part.chars().count()).sum();
        let ends = |at: &usize| last.get(..*at).is_some_and(|head| self.letters.ends_with(head));
        let at = last.char_indices().map(|(at, _)| at).rev().find(ends).filter(|at| *at >= CUT)?;
        let letters = last.get(..at)?.chars().count();
        let mut cut = rest.to_vec();
        cut.push(last.get(..at)?.to_owned());
        self.holds(&cut, false).then_some(before + letters)
    }

    /// What stands before and behind each place where these letters stand, wherever lines break in them.
    #[must_use]
    pub fn around(&self, letters: &str) -> Vec<(&'t str, &'t str)> {
        let place = |(at, _): (usize, &str)| {
            let begin = *self.at.get(at)? as usize;
            let last = *self.at.get((at + letters.len()).checked_sub(1)?)? as usize;
            let behind = self.reading.get(last..)?;
            let first = behind.chars().next()?.len_utf8();
            Some((self.reading.get(..begin)?, behind.get(first..)?))
        };
        self.letters.match_indices(letters).filter_map(place).collect()
    }

    fn words_between(&self, from: usize, to: usize) -> usize {
        let (Some(from), Some(to)) = (self.at.get(from), self.at.get(to)) else { return 0 };
        let between = self.reading.get(*from as usize..*to as usize).unwrap_or_default();
        // Of ids over several lines the lines count, not the gaps that a terminal put into them.
        between.split([' ', ',']).filter(|word| word.chars().any(char::is_alphanumeric)).count()
    }

    /// Whether what ends at `end` goes on: in the middle of a word, or with the place that it is about.
    fn goes_on(&self, end: usize) -> bool {
        let Some(next) = self.at.get(end).map(|at| *at as usize) else { return false };
        let last = self.at.get(end.saturating_sub(1)).map_or(0, |at| *at as usize);
        let between = self.reading.get(last..next).unwrap_or_default();
        let gap: String = between.chars().skip(1).collect();
        if gap.is_empty() {
            return true;
        }
        let rest = self.reading.get(next..).unwrap_or_default();
        let mut words = rest.split(' ');
        let place = match words.next() {
            Some("in" | "of" | "from" | "within" | "inside") => true,
            Some("on" | "for" | "by" | "to") => words.next().is_some_and(|word| matches!(word, "the" | "a" | "an")),
            _ => false,
        };
        gap.trim().is_empty() && !gap.contains('\n') && place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, parts: &[&str], short: bool) -> bool {
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        Flat::of(text).holds(&parts, short)
    }

    #[test]
    fn a_name_stands_between_the_parts_and_not_a_sentence() {
        let parts = ["extension", "ismarkedfordeletion"];
        assert!(holds("extension 'DependencyAgent' is marked for deletion", &parts, false));
        assert!(holds(
            "The extension ran. Later the extension 'Dep\n  endency' is marked\nfor deletion",
            &parts,
            false
        ));
        let other =
            "The extension was installed. After a while we read that the disk of the machine is marked for deletion";
        assert!(!holds(other, &parts, false));
    }

    #[test]
    fn a_message_may_be_cut_at_the_end() {
        let parts = ["thediskofthemachine".to_owned(), "wastakenaway".to_owned()];
        assert_eq!(Flat::of("Disk error: the disk of the machine 'a1' was taken").cut(&parts), Some(27));
        assert_eq!(Flat::of("the disk of the machine 'a1' was").cut(&parts), None);
        assert_eq!(Flat::of("the disk of another machine was taken").cut(&parts), None);
    }

    #[test]
    fn a_short_message_ends_where_its_sentence_ends() {
        let parts = ["thedeviceisgone"];
        assert!(holds("Error: the device is gone. Retry.", &parts, true));
        assert!(holds("the device is gone\nin a while", &parts, true));
        assert!(!holds("the device is gone from the rack", &parts, true));
        assert!(!holds("the device is goners", &parts, true));
    }
}
