//! What `azmend --version` says: the version, and in an optimised build the commit and its day.
//!
//! The same sources give the same text: the day is that of the commit, or of `SOURCE_DATE_EPOCH` where that is set. Without
//! git, or outside of azmend's own repository, there is only the version. A development build has nothing but the version either:
//! otherwise each commit would build everything again.

use std::path::Path;
use std::process::Command;

/// What is compiled: a note beside it changes no build.
const SOURCES: [&str; 6] = ["Cargo.toml", "Cargo.lock", "build.rs", "src", "crates", "playbooks"];

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let optimised = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let built_from = if optimised { built_from() } else { None };
    let text = built_from.map_or(version.clone(), |from| format!("{version} ({from})"));
    println!("cargo:rustc-env=AZMEND_VERSION={text}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
}

/// `1a2b3c4d5e6f 2026-11-27`, with `+changes` behind the commit when files differ from it.
fn built_from() -> Option<String> {
    let home = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let git = |words: &[&str]| {
        let out = Command::new("git").arg("-C").arg(&home).args(words).output().ok()?;
        let text = String::from_utf8(out.stdout).ok()?.trim().to_owned();
        out.status.success().then_some(text)
    };
    // Sources that were unpacked inside somebody's repository are not from its commits.
    let top = Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    if top != Path::new(&home).canonicalize().ok()? {
        return None;
    }
    // A path that is not there would run this again with every build.
    let watched = ["HEAD", "logs/HEAD"].into_iter().filter_map(|name| git(&["rev-parse", "--git-path", name]));
    let watched = watched.map(|path| Path::new(&home).join(path));
    let sources = SOURCES.map(|name| Path::new(&home).join(name));
    for path in watched.chain(sources).filter(|path| path.exists()) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&[&["status", "--porcelain", "--"], SOURCES.as_slice()].concat())?;
    let mark = if changes.is_empty() { "" } else { "+changes" };
    let seconds = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
    let seconds: i64 = seconds.map_or_else(|| git(&["log", "-1", "--format=%ct"]), Some)?.parse().ok()?;
    Some(format!("{commit}{mark} {}", day(seconds.div_euclid(86_400))))
}

/// The day that begins so many days after 1970-01-01, in the Gregorian calendar.
///
/// Days are counted from 0000-03-01, so that a leap day is the last day of its year and eras of 400 years are alike.
fn day(since_1970: i64) -> String {
    let days = since_1970 + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
