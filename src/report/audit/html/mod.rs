//! `azmend audit -o html`: one page for a browser.
//!
//! Duty: the numbers, the trend since a baseline, the findings by root cause and by VM, worst first everywhere.
//!
//! Invariants: self-contained, nothing is fetched (a content security policy forbids it); every text is escaped and reaches the
//! script through the document alone, so nothing that Azure names can run; without JavaScript everything is there, and there is no
//! control that does nothing. Style and script are azmend's own (`page.css`, `page.js`) and allowed by their hashes. No command is
//! broken over lines.

mod causes;
mod sentences;
mod vms;

use base64::Engine as _;
use sha2::{Digest, Sha256};

use crate::engine::audit::{Audit, Finding, Level, Since};
use crate::report::audit::changes;
use crate::text::safe;

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");
/// The worst first, with what each means.
const LEVELS: [(Level, &str); 4] = [
    (Level::High, "backups fail, or will fail"),
    (Level::Medium, "a backup is at risk"),
    (Level::Low, "can become a problem"),
    (Level::Info, "good to know"),
];

/// The page.
#[must_use]
pub fn html(audit: &Audit) -> String {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(CSS),
        hash(JS)
    );
    let scope = text(&audit.scope);
    let sandbox = if audit.sandbox { " The embedded Azure, nothing real." } else { "" };
    let when = audit.ended.strftime("%Y-%m-%d %H:%M UTC");
    let vms = vms::group(audit);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"{policy}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>azmend audit: \
         {scope}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#by-vm\">Skip to the VMs</a>\n\
         <header>\n<h1>Backup audit: {scope}</h1>\n<p class=\"soft\">{when}, azmend {}.{sandbox}</p>\n</header>\n<main>\n",
        text(&audit.version)
    );
    out.push_str(&numbers(audit));
    out.push_str(&trend(audit));
    out.push_str(&worst(audit));
    out.push_str(&not_read(audit));
    out.push_str(&causes::section(audit, &vms));
    out.push_str(&vms::section(audit, &vms));
    out.push_str(&gone(audit));
    out.push_str(&format!("</main>\n<script>{JS}</script>\n</body>\n</html>\n"));
    out
}

fn hash(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
}

/// The tiles, and what the colours mean.
fn numbers(audit: &Audit) -> String {
    let summary = &audit.summary;
    let mut out =
        "<section aria-labelledby=\"summary\">\n<h2 id=\"summary\">Summary</h2>\n<dl class=\"numbers\">\n".to_owned();
    let shown = [
        ("VMs", summary.vms),
        ("at risk", summary.at_risk),
        ("protected", summary.protected),
        ("within objective", summary.objective.within),
        ("subscriptions", summary.subscriptions),
        ("findings", audit.standing().count()),
        ("not read", audit.not_read.len()),
    ];
    for (name, count) in shown {
        out.push_str(&format!("<div><dt>{name}</dt><dd>{count}</dd></div>\n"));
    }
    out.push_str("</dl>\n<ul class=\"legend\" aria-label=\"Severity\">\n");
    for (level, meaning) in LEVELS {
        let count = summary.levels.get(level.as_str()).copied().unwrap_or_default();
        out.push_str(&format!("<li>{} {count}: {meaning}</li>\n", chip(level)));
    }
    out.push_str("</ul>\n");
    if !summary.planned.is_empty() {
        out.push_str(&format!("<p>All plans together: {}.</p>\n", text(&changes(&summary.planned))));
    }
    out.push_str("</section>\n");
    out
}

/// What became more and what became less since the baseline, by severity.
fn trend(audit: &Audit) -> String {
    if audit.summary.since.is_empty() {
        return String::new();
    }
    let since = audit.baseline.map(|at| format!(" of {}", at.strftime("%Y-%m-%d %H:%M UTC"))).unwrap_or_default();
    let mut out = format!(
        "<section aria-labelledby=\"trend\">\n<h2 id=\"trend\">Trend</h2>\n<p class=\"soft\">Compared with the \
         baseline{since}.</p>\n<table aria-labelledby=\"trend\">\n<thead><tr><th scope=\"col\">Severity</th><th scope=\"col\">Before</th><th \
         scope=\"col\">Now</th><th scope=\"col\">New</th><th scope=\"col\">Gone</th></tr></thead>\n<tbody>\n"
    );
    for (level, _) in LEVELS {
        let count = |wanted: Since| {
            audit.findings.iter().filter(|one| one.level == level && one.change == Some(wanted)).count()
        };
        let (new, same, gone) = (count(Since::New), count(Since::Unchanged), count(Since::Gone));
        let (before, now) = (same + gone, same + new);
        if before + now == 0 {
            continue;
        }
        let arrow = match now.cmp(&before) {
            std::cmp::Ordering::Greater => "<span class=\"worse\">\u{2191} more</span>",
            std::cmp::Ordering::Less => "<span class=\"better\">\u{2193} less</span>",
            std::cmp::Ordering::Equal => "<span class=\"soft\">= same</span>",
        };
        out.push_str(&format!(
            "<tr><th scope=\"row\">{}</th><td>{before}</td><td>{now} {arrow}</td><td>{new}</td><td>{gone}</td></tr>\n",
            chip(level)
        ));
    }
    out.push_str("</tbody>\n</table>\n");
    if !audit.not_read.is_empty() {
        out.push_str("<p class=\"soft\">Not everything was read: no finding is reported as gone.</p>\n");
    }
    out.push_str("</section>\n");
    out
}

fn worst(audit: &Audit) -> String {
    if audit.summary.worst.is_empty() {
        return String::new();
    }
    let lines: String = audit.summary.worst.iter().map(|line| format!("<li>{}</li>\n", text(line))).collect();
    format!("<section aria-labelledby=\"worst\">\n<h2 id=\"worst\">Worst first</h2>\n<ol>\n{lines}</ol>\n</section>\n")
}

fn not_read(audit: &Audit) -> String {
    if audit.not_read.is_empty() {
        return String::new();
    }
    let lines: String = audit
        .not_read
        .iter()
        .map(|one| format!("<li><strong>{}</strong>: {}</li>\n", text(&one.what), text(&one.why)))
        .collect();
    format!(
        "<section aria-labelledby=\"not-read\">\n<h2 id=\"not-read\">Not read</h2>\n<p>What could not be read: its state is \
         unknown.</p>\n<ul>\n{lines}</ul>\n</section>\n"
    )
}

fn gone(audit: &Audit) -> String {
    let gone: Vec<&Finding> = audit.findings.iter().filter(|one| one.change == Some(Since::Gone)).collect();
    if gone.is_empty() {
        return String::new();
    }
    let lines: String = gone
        .iter()
        .map(|one| format!("<li>{} {}: {}</li>\n", chip(one.level), text(&one.name), text(&one.title)))
        .collect();
    format!(
        "<section aria-labelledby=\"gone\">\n<h2 id=\"gone\">Gone since the baseline</h2>\n<ul class=\"plain\">\n{lines}</ul>\n\
         </section>\n"
    )
}

/// The severity as a word in its colour.
fn chip(level: Level) -> String {
    format!("<span class=\"chip {0}\">{0}</span>", level.as_str())
}

/// A command in one line, whatever its length: it scrolls. The script puts a button next to it.
fn command(command: &str) -> String {
    format!("<div class=\"copy\"><code class=\"command\">{}</code></div>\n", text(command))
}

/// Text for HTML, in content and in attributes.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in safe(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::audit::testing::{HOSTILE, hostile};

    #[test]
    fn hostile_text_makes_no_tag_and_nothing_is_fetched() {
        let page = html(&hostile());
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("<section class=\"finding\"").count(), HOSTILE.len());
        assert!(!page.contains("<b>") && !page.contains('\u{1b}') && !page.contains('\u{202e}'));
        for fetched in [" src=", "<link", "@import", "url(", "<img", "<iframe", " style="] {
            assert!(!page.contains(fetched), "{fetched}");
        }
        // Links are to places of the page itself.
        assert_eq!(page.matches(" href=").count(), page.matches(" href=\"#").count());
        assert!(page.contains(&format!("script-src 'sha256-{}'", hash(JS))));
        assert!(!JS.contains("</") && !CSS.contains("</"), "they end the element that holds them");
        assert!(!JS.contains("innerHTML"), "text stays text");
    }

    #[test]
    fn a_trend_counts_what_came_and_what_is_gone() {
        let mut audit = hostile();
        assert!(!html(&audit).contains("id=\"trend\""), "there is no trend without a baseline");
        audit.findings.iter_mut().for_each(|one| one.change = Some(Since::Unchanged));
        audit.findings[0].change = Some(Since::New);
        audit.findings[1].change = Some(Since::Gone);
        audit.findings[2].change = Some(Since::Gone);
        audit.summary.since.insert("new".into(), 1);
        let page = html(&audit);
        let same = HOSTILE.len() - 3;
        let row = format!(
            "<td>{}</td><td>{} <span class=\"better\">\u{2193} less</span></td><td>1</td><td>2</td>",
            same + 2,
            same + 1
        );
        assert!(page.contains(&row), "{row} in {page}");
        assert!(page.contains("Gone since the baseline"));
        assert_eq!(page.matches("<section class=\"finding\"").count(), HOSTILE.len() - 2, "what is gone is not found");
    }

    #[test]
    fn links_lead_to_a_place_that_exists() {
        let page = html(&hostile());
        let targets = page.split(" href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        let mut count = 0;
        for target in targets {
            assert_eq!(page.matches(&format!(" id=\"{target}\"")).count(), 1, "{target}");
            count += 1;
        }
        assert!(count > HOSTILE.len());
    }
}
