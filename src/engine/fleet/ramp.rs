//! In which waves a fleet goes: `1,10%,100%`.
//!
//! Pure. Invariants: what is parsed grows strictly and ends with everything, so that no VM is left over and no wave is
//! empty; the first wave of a ramp that begins with `1` is one VM, the canary.

use std::fmt;
use std::str::FromStr;

/// The ramp when none is given.
pub const DEFAULT_RAMP: &str = "1,10%,100%";
/// More stages than this are a mistake of typing.
const MOST_STAGES: usize = 20;

/// Up to how many VMs have been begun when a wave is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Count(usize),
    Percent(usize),
}

/// The stages, growing, the last of them everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ramp {
    stages: Vec<Stage>,
}

/// Why a text is no ramp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RampError(String);

impl Ramp {
    /// How many VMs each wave has, of `all`. The sum is `all`; no wave is empty.
    #[must_use]
    pub fn waves(&self, all: usize) -> Vec<usize> {
        let mut waves = Vec::new();
        let mut begun = 0;
        for stage in &self.stages {
            let upto = match *stage {
                Stage::Count(count) => count,
                // A part of a VM is a VM: the wave of 10 % of 3 is one.
                Stage::Percent(percent) => all.saturating_mul(percent).div_ceil(100),
            };
            let upto = upto.min(all);
            if upto > begun {
                waves.push(upto - begun);
                begun = upto;
            }
        }
        // The last stage is everything; should that ever not hold, what is left is a wave of its own.
        if begun < all {
            waves.push(all - begun);
        }
        waves
    }
}

impl Default for Ramp {
    fn default() -> Self {
        Self { stages: vec![Stage::Count(1), Stage::Percent(10), Stage::Percent(100)] }
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match stage {
                Stage::Count(count) => write!(f, "{count}")?,
                Stage::Percent(percent) => write!(f, "{percent}%")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Ramp {
    type Err = RampError;

    fn from_str(text: &str) -> Result<Self, RampError> {
        let wrong = |why: String| RampError(format!("{why}; a ramp looks like {DEFAULT_RAMP}"));
        let mut stages: Vec<Stage> = Vec::new();
        for word in text.split(',') {
            let stage = stage(word).map_err(wrong)?;
            let before = stages.last().copied();
            let grows = match (before, stage) {
                (None, _) | (Some(Stage::Count(_)), Stage::Percent(_)) => true,
                (Some(Stage::Count(a)), Stage::Count(b)) | (Some(Stage::Percent(a)), Stage::Percent(b)) => a < b,
                // Which of the two is more depends on how many VMs there are.
                (Some(Stage::Percent(_)), Stage::Count(_)) => {
                    return Err(wrong(format!("the count {word} comes after a percentage: counts come first")));
                }
            };
            if !grows {
                return Err(wrong(format!(
                    "{word} is not more than the stage before it: every stage counts from the start"
                )));
            }
            stages.push(stage);
        }
        if stages.len() > MOST_STAGES {
            return Err(wrong(format!("{} stages are too many ({MOST_STAGES} at most)", stages.len())));
        }
        if stages.last() != Some(&Stage::Percent(100)) {
            return Err(wrong("the last stage is not 100%: some VMs would never be started".to_owned()));
        }
        Ok(Self { stages })
    }
}

fn stage(word: &str) -> Result<Stage, String> {
    let (digits, percent) = word.strip_suffix('%').map_or((word, false), |digits| (digits, true));
    // `+1`, ` 1` and the like parse as numbers elsewhere.
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number = digits.parse::<usize>().ok().filter(|_| plain);
    match (number, percent) {
        (Some(number @ 1..=100), true) => Ok(Stage::Percent(number)),
        (Some(number), false) if number >= 1 => Ok(Stage::Count(number)),
        (Some(_), true) => Err(format!("{word:?} is not between 1% and 100%")),
        (Some(_), false) => Err(format!("{word:?} would start no VM")),
        (None, _) => Err(format!("{word:?} is neither a count nor a percentage")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waves(text: &str, all: usize) -> Vec<usize> {
        text.parse::<Ramp>().unwrap().waves(all)
    }

    #[test]
    fn a_canary_then_a_tenth_then_all() {
        assert_eq!(DEFAULT_RAMP.parse::<Ramp>().unwrap(), Ramp::default());
        assert_eq!(Ramp::default().to_string(), DEFAULT_RAMP);
        assert_eq!(waves(DEFAULT_RAMP, 100), [1, 9, 90]);
        assert_eq!(waves(DEFAULT_RAMP, 5), [1, 4], "a tenth of five is the canary alone");
        assert_eq!(waves(DEFAULT_RAMP, 11), [1, 1, 9]);
        assert_eq!(waves(DEFAULT_RAMP, 1), [1]);
        assert_eq!(waves(DEFAULT_RAMP, 0), Vec::<usize>::new());
        assert_eq!(waves("100%", 7), [7]);
        assert_eq!(waves("2,5,100%", 3), [2, 1]);
    }

    #[test]
    fn what_is_no_ramp_says_why() {
        let why = |text: &str| text.parse::<Ramp>().unwrap_err().to_string();
        for text in ["", ",", "1,", "a", "1.5", "-1", "+1", " 1", "1, 10%,100%", "%", "10 %", "1,,100%", "١,100%"] {
            assert!(why(text).contains("neither a count nor a percentage"), "{text}: {}", why(text));
        }
        assert!(why("0,100%").contains("no VM"));
        assert!(why("0%,100%").contains("between 1% and 100%") && why("101%").contains("between"));
        assert!(why("5,5,100%").contains("not more") && why("20%,10%,100%").contains("not more"));
        assert!(why("10%,5,100%").contains("counts come first"));
        for text in ["1", "1,10%", "99%"] {
            assert!(why(text).contains("the last stage is not 100%"), "{text}");
        }
        assert!(why("99999999999999999999999,100%").contains("neither"), "too large to count");
        let many: Vec<String> = (1..=20).map(|n| n.to_string()).chain(["100%".to_owned()]).collect();
        assert!(why(&many.join(",")).contains("too many"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_ramp_or_an_error_and_every_ramp_reaches_every_vm(
            text in "[0-9%,]{0,16}", all in 0usize..5000
        ) {
            if let Ok(ramp) = text.parse::<Ramp>() {
                let waves = ramp.waves(all);
                prop_assert_eq!(waves.iter().sum::<usize>(), all);
                prop_assert!(waves.iter().all(|wave| *wave > 0));
                prop_assert_eq!(ramp.to_string().parse::<Ramp>().unwrap(), ramp);
            }
        }

        #[test]
        fn growing_counts_and_percents_are_a_ramp(
            counts in proptest::collection::btree_set(1usize..500, 0..5),
            percents in proptest::collection::btree_set(1usize..100, 0..5),
            all in 0usize..5000,
        ) {
            let words: Vec<String> = counts.iter().map(ToString::to_string)
                .chain(percents.iter().map(|p| format!("{p}%"))).chain(["100%".to_owned()]).collect();
            let ramp: Ramp = words.join(",").parse().unwrap();
            let waves = ramp.waves(all);
            prop_assert_eq!(waves.iter().sum::<usize>(), all);
            if let (Some(first), Some(wave)) = (counts.first(), waves.first()) {
                prop_assert_eq!(*wave, (*first).min(all));
            }
        }
    }
}
