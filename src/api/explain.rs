//! `explain`: what an error is and what to do about it. It asks no one: no sign-in, no network.

use super::error::Error;
use crate::catalog::Catalog;
use crate::catalog::results::win32;
use crate::catalog::search::{Answer, answer, mentions};
use crate::engine::explain::{self as texts, Explanation, Lang};
use crate::playbook::library::Library;
use crate::text::plural;

/// Explains an error: its code, its number, or what was printed, in English or Korean. `program` is how commands in the
/// answer start: `azmend`, or `azmend --sandbox`.
///
/// # Errors
/// When the evidence is not enough to name one error: what is similar is in the hints then.
pub fn explain(text: &str, lang: Lang, library: &Library, program: &str) -> Result<Explanation, Error> {
    let found = answer(Catalog::get(), text);
    texts::explain(&found, text, library, lang, program).ok_or_else(|| unknown(&found, text, lang))
}

/// That the text is no known error, why, and what is near.
fn unknown(found: &Answer<'_>, text: &str, lang: Lang) -> Error {
    let start = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect::<String>();
    if let Some(number) = found.windows {
        return of_windows(number);
    }
    let message = match (&found.ambiguous, &found.unknown_code) {
        (Some(code), _) => format!("unknown: several errors send {code}, and the rest of the text names none of them"),
        (None, Some(code)) => format!("unknown: azmend does not know the code {code}"),
        (None, None) if found.found.is_empty() => format!("no known error is similar to {start:?}"),
        (None, None) => format!("unknown: {start:?} is not enough to name one error"),
    };
    let mut error = Error::input(message).code("error_not_found");
    if let Some(note) = texts::shortened(text.len(), lang == Lang::Ko) {
        error = error.hint(note);
    }
    for near in &found.found {
        error = error.hint(format!("similar, not certain: {}: {}", near.entry.code, texts::title(near.entry, lang)));
    }
    if found.ambiguous.is_some() {
        return error.hint("give the whole message, not only the code: azmend explain - reads it from stdin");
    }
    let (near, all) = if found.found.is_empty() { mentions(Catalog::get(), text) } else { (Vec::new(), 0) };
    let named = near.len();
    for entry in near {
        error = error.hint(format!("has these words: {}: {}", entry.code, texts::title(entry, lang)));
    }
    if all > named {
        error = error.hint(format!("{} have these words: give more of the message", plural(all, "known error")));
    }
    error
        .hint("search by a code, by its number (400196), or by a part of the message, English or Korean")
        .hint("everything that is known: azmend explain --list")
}

/// A result of Windows that says nothing about a backup by itself.
fn of_windows(number: u32) -> Error {
    let error = Error::input(format!(
        "unknown: 0x{number:08X} is a result of Windows, and no error of Azure Backup has this number"
    ))
    .code("error_not_found");
    let error = match win32(number) {
        Some(inner) => error.hint(format!("what it means in Windows: run there: net helpmsg {inner}")),
        None => error,
    };
    error.hint("give the whole message in which it was printed: azmend explain - reads it from stdin")
}
