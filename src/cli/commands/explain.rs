//! `azmend explain`: what an error is and what to do about it. It asks nobody: no sign-in, no network.

use std::collections::BTreeMap;

use serde_json::json;

use crate::catalog::Catalog;
use crate::catalog::search::search;
use crate::cli::args::ExplainArgs;
use crate::cli::commands::fix::library;
use crate::cli::error::CliError;
use crate::cli::execute::Desk;
use crate::cli::settings::environment;
use crate::engine::exit;
use crate::engine::explain::{self, Lang};
use crate::report;
use crate::report::layout::{BOLD, Page, paint};

/// Explains, or lists everything.
///
/// # Errors
/// When nothing is near.
pub fn run(desk: &Desk, args: &ExplainArgs) -> Result<u8, CliError> {
    let lang = args.lang.map_or_else(locale, Into::into);
    let text = args.text.join(" ");
    if args.list || text.trim().is_empty() {
        list(desk, lang);
        return Ok(exit::OK);
    }
    let library = library(desk, args.playbooks.as_deref());
    let found = search(Catalog::get(), &text);
    let Some(told) = explain::explain(&found, &library, lang, &desk.program()) else {
        return Err(CliError::input(format!("no known error is near {:?}", text.chars().take(80).collect::<String>()))
            .code("error_not_found")
            .hint("search by a code, by the number beside it (400196), or by a part of the message, English or Korean")
            .hint("everything that is known: azmend explain --list"));
    };
    if desk.printer.for_people() {
        desk.printer.data(&report::explain::page(&told, desk.printer.width()));
    } else {
        desk.printer.json(&told);
    }
    Ok(exit::OK)
}

/// The language of the locale, as POSIX says which variable counts.
fn locale() -> Lang {
    let set = |name: &str| environment(name).map(|value| value.to_string_lossy().into_owned());
    ["AZMEND_LANG", "LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .find_map(set)
        .map_or(Lang::En, |locale| Lang::of_locale(&locale))
}

fn list(desk: &Desk, lang: Lang) {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in Catalog::get().entries() {
        groups.entry(entry.category).or_default().push(entry);
    }
    if !desk.printer.for_people() {
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
        desk.printer.json(&json!({ "schema": "azmend.errors/v1", "errors": rows }));
        return;
    }
    let mut page = Page::new(desk.printer.width());
    for (category, entries) in groups {
        page.gap();
        page.line(&paint(BOLD, explain::category(category)));
        for entry in entries {
            page.item("  ", anstyle::Style::new(), &format!("{}: {}", entry.code, explain::title(entry, lang)));
        }
    }
    desk.printer.data(&page.finish());
}
