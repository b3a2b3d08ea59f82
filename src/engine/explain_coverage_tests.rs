//! `docs/coverage.md` is what the catalogue and the playbooks say.

use super::{Category, Entry, Lang, Library, detected_by, fixes, texts};
use crate::catalog::Catalog;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/coverage.md");

/// `docs/coverage.md`: every code of the troubleshooting documents, then the others, and how azmend deals with each.
fn page(entries: &[Entry], library: &Library) -> String {
    let mut out = String::from(
        "# Coverage\n\nEvery error of the five troubleshooting documents, then the others that azmend knows. This page is made from the\n\
         catalogue and the playbooks (`AZMEND_BLESS=1 cargo test --lib coverage`); a test holds it to them. \"Fixed by\" names playbooks\n\
         only: what none of them does is guidance, by `azmend explain CODE`.\n",
    );
    let (named, others): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|entry| texts().contains_key(&entry.code));
    for (heading, rows) in [("Codes of the documents", named), ("Other codes", others)] {
        out.push_str(&format!(
            "\n## {heading}\n\n| code | ids | what | detected | fixed by | guided by |\n|---|---|---|---|---|---|\n"
        ));
        for entry in rows {
            let ids: Vec<String> = entry.numeric_ids.iter().map(ToString::to_string).collect();
            let fixed: Vec<String> =
                fixes(entry, library, "azmend").into_iter().map(|fix| format!("`{}`", fix.playbook)).collect();
            let (guest, person) = (entry.guest_fix.len(), entry.manual.len());
            let guided = match (guest, person) {
                (0, 0) if fixed.is_empty() => "`explain`: causes".to_owned(),
                (0, 0) => "`explain`".to_owned(),
                (_, 0) => "`explain`: guest".to_owned(),
                (0, _) => "`explain`: person".to_owned(),
                _ => "`explain`: guest, person".to_owned(),
            };
            let detected = match entry.category {
                Category::Classic => "retired",
                Category::Mabs => "engine job's text",
                Category::GuideStep => "a step, not an error",
                Category::Crp | Category::Arm => "Azure's answer, job details",
                _ if detected_by(entry, library, Lang::En).len() > 1 => "last job, live facts",
                _ => "last job",
            };
            out.push_str(&format!(
                "| `{}` | {} | {} | {detected} | {} | {guided} |\n",
                entry.code,
                if ids.is_empty() { "none recorded".to_owned() } else { ids.join(", ") },
                entry.message.replace('|', "\\|").replace('<', "&lt;"),
                if fixed.is_empty() { "guidance only".to_owned() } else { fixed.join(", ") },
            ));
        }
    }
    out
}

#[test]
fn the_coverage_page_is_up_to_date() {
    let page = page(Catalog::get().entries(), &Library::shipped());
    if std::env::var_os("AZMEND_BLESS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(found == page, "docs/coverage.md is old: run AZMEND_BLESS=1 cargo test --lib coverage");
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        assert_eq!(line.matches(" | ").count(), 5, "{line}");
        assert!(!line.contains("|  |"), "an empty cell: {line}");
    }
}
