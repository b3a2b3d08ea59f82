//! `azmend explain`: what an error is and what to do about it. It asks nobody: no sign-in, no network.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Read};

use serde_json::json;

use crate::api;
use crate::catalog::Catalog;
use crate::cli::args::ExplainArgs;
use crate::cli::commands::fix::library;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::settings::environment;
use crate::engine::exit;
use crate::engine::explain::{self, Lang};
use crate::report;
use crate::report::layout::{BOLD, Page, paint};
use crate::text::io_words;

/// The most that is read of a file or of stdin; what is used of it is less, from its head and its tail.
const MOST_READ: u64 = 256 * 1024 * 1024;

/// Explains, or lists everything.
///
/// # Errors
/// When the text cannot be read, and when its evidence is not enough to name one error: then the near ones are listed.
pub fn run(session: &Session, args: &ExplainArgs) -> Result<u8, CliError> {
    let lang = args.lang.map_or_else(locale, Into::into);
    let given = args.file.is_some() || args.text == ["-"];
    let text = given_text(args)?;
    if args.list || (text.trim().is_empty() && !given) {
        list(session, lang);
        return Ok(exit::OK);
    }
    let library = library(session, args.playbooks.as_deref());
    let told = api::explain(&text, lang, &library, &session.program())?;
    if session.printer.for_people() {
        session.printer.data(&report::explain::page(&told, session.printer.width()));
    } else {
        session.printer.json(&told);
    }
    Ok(exit::OK)
}

/// What is to be explained: the arguments, a file, or stdin. Without any of them what is piped in; a terminal is not asked.
fn given_text(args: &ExplainArgs) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    if let Some(path) = &args.file {
        let read = File::open(path).and_then(|file| file.take(MOST_READ).read_to_end(&mut bytes));
        read.map_err(|error| CliError::input(format!("{} cannot be read: {}", path.display(), io_words(&error))))?;
    } else if args.text == ["-"] || args.text.is_empty() && !args.list && !io::stdin().is_terminal() {
        let read = io::stdin().lock().take(MOST_READ).read_to_end(&mut bytes);
        read.map_err(|error| CliError::input(format!("stdin cannot be read: {}", io_words(&error))))?;
    } else {
        return Ok(args.text.join(" "));
    }
    Ok(decoded(&bytes))
}

/// The text of bytes. PowerShell's redirection writes UTF-16; other tools leave its mark out, and then the zeros of its
/// Latin letters tell.
fn decoded(bytes: &[u8]) -> String {
    let zeros = |at: usize| bytes.iter().skip(at).step_by(2).take(2048).filter(|byte| **byte == 0).count();
    let few = bytes.len().min(4096) / 20;
    let (rest, big) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, false),
        [0xfe, 0xff, rest @ ..] => (rest, true),
        _ if zeros(1) > few && zeros(0) == 0 => (bytes, false),
        _ if zeros(0) > few && zeros(1) == 0 => (bytes, true),
        _ => return String::from_utf8_lossy(bytes).into_owned(),
    };
    let (pairs, _) = rest.as_chunks::<2>();
    let units: Vec<u16> =
        pairs.iter().map(|pair| if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) }).collect();
    String::from_utf16_lossy(&units)
}

/// The language of the locale, as POSIX says which variable counts.
fn locale() -> Lang {
    let set = |name: &str| environment(name).map(|value| value.to_string_lossy().into_owned());
    ["AZMEND_LANG", "LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .find_map(set)
        .map_or(Lang::En, |locale| Lang::of_locale(&locale))
}

fn list(session: &Session, lang: Lang) {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in Catalog::get().entries() {
        groups.entry(entry.category).or_default().push(entry);
    }
    if !session.printer.for_people() {
        let rows: Vec<_> = groups
            .iter()
            .flat_map(|(category, entries)| entries.iter().map(move |entry| (*category, *entry)))
            .map(|(category, entry)| {
                json!({
                    "code": entry.code,
                    "category": explain::category(category),
                    "numeric_ids": entry.numeric_ids,
                    "title": explain::title(entry, lang),
                })
            })
            .collect();
        session.printer.json(&json!({ "schema": "azmend.errors/v1", "errors": rows }));
        return;
    }
    let mut page = Page::new(session.printer.width());
    for (category, entries) in groups {
        page.gap();
        page.line(&paint(BOLD, explain::category(category)));
        for entry in entries {
            page.item("  ", anstyle::Style::new(), &format!("{}: {}", entry.code, explain::title(entry, lang)));
        }
    }
    session.printer.data(&page.finish());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_read_with_and_without_its_mark() {
        let text = "ERROR: (ScopeLocked) 잠금";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            &little[..],
            &big,
            text.as_bytes(),
            &[&[0xff, 0xfe], &little[..]].concat(),
            &[&[0xfe, 0xff], &big[..]].concat(),
        ] {
            assert_eq!(decoded(bytes), text);
        }
        assert_eq!(decoded(b""), "");
    }
}
