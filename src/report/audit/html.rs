//! `azmend audit -o html`: one page for a browser.
//!
//! Invariants: self-contained, nothing is fetched (a content security policy forbids it); every text is escaped and reaches the
//! script through the document alone, so nothing that Azure names can run; without JavaScript the tables are all there.
//! Style and script are azmend's own (`audit.css`, `audit.js`) and allowed by their hashes.

use base64::Engine as _;
use sha2::{Digest, Sha256};

use crate::engine::audit::{Audit, Finding, Level};
use crate::text::safe;

const CSS: &str = include_str!("audit.css");
const JS: &str = include_str!("audit.js");
const LEVELS: [Level; 4] = [Level::High, Level::Medium, Level::Low, Level::Info];

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
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"{policy}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>azmend audit: \
         {scope}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n<h1>Backup audit: {scope}</h1>\n<p class=\"soft\">{when}, \
         azmend {}.{sandbox}</p>\n",
        text(&audit.version)
    );
    out.push_str(&numbers(audit));
    out.push_str(&charts(audit));
    out.push_str(&not_read(audit));
    out.push_str(&findings(audit));
    out.push_str(&format!("</main>\n<script>{JS}</script>\n</body>\n</html>\n"));
    out
}

fn hash(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
}

fn numbers(audit: &Audit) -> String {
    let summary = &audit.summary;
    let mut out = "<h2>Summary</h2>\n<dl class=\"numbers\">\n".to_owned();
    let shown = [
        ("VMs", summary.vms),
        ("at risk", summary.at_risk),
        ("protected", summary.protected),
        ("subscriptions", summary.subscriptions),
        ("findings", audit.findings.len()),
        ("not read", audit.not_read.len()),
    ];
    for (name, count) in shown.into_iter().chain(summary.since.iter().map(|(name, count)| (name.as_str(), *count))) {
        out.push_str(&format!("<div><dt>{}</dt><dd>{count}</dd></div>\n", text(name)));
    }
    out.push_str("</dl>\n");
    if !summary.worst.is_empty() {
        out.push_str("<h2>Worst first</h2>\n<ol>\n");
        summary.worst.iter().for_each(|line| out.push_str(&format!("<li>{}</li>\n", text(line))));
        out.push_str("</ol>\n");
    }
    out
}

/// Bars: findings by rule, coloured by level; the numbers stand beside them as text.
fn charts(audit: &Audit) -> String {
    let rules = &audit.summary.rules;
    let Some(most) = rules.iter().map(|rule| rule.count).max().filter(|most| *most > 0) else { return String::new() };
    let height = rules.len() * 26 + 4;
    let mut out = format!(
        "<h2>Findings by rule</h2>\n<svg role=\"img\" aria-label=\"Findings by rule\" width=\"100%\" height=\"{height}\" \
         viewBox=\"0 0 760 {height}\" preserveAspectRatio=\"xMinYMin meet\">\n"
    );
    for (index, rule) in rules.iter().enumerate() {
        let (y, width) = (index * 26, (rule.count * 400 / most).max(2));
        let name: String = rule.rule.chars().take(40).collect();
        out.push_str(&format!(
            "<text x=\"0\" y=\"{}\">{}</text><rect class=\"bar {}\" x=\"290\" y=\"{}\" width=\"{width}\" height=\"16\" rx=\"2\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>\n",
            y + 16,
            text(&name),
            rule.level.as_str(),
            y + 4,
            296 + width,
            y + 16,
            rule.count
        ));
    }
    out.push_str("</svg>\n");
    out
}

fn not_read(audit: &Audit) -> String {
    if audit.not_read.is_empty() {
        return String::new();
    }
    let mut out =
        "<h2>Not seen</h2>\n<table>\n<caption>What could not be looked at: nothing is known of it.</caption>\n\
                   <thead><tr><th scope=\"col\">what</th><th scope=\"col\">why</th></tr></thead>\n<tbody>\n"
            .to_owned();
    for one in &audit.not_read {
        out.push_str(&format!("<tr><td>{}</td><td>{}</td></tr>\n", text(&one.what), text(&one.why)));
    }
    out.push_str("</tbody>\n</table>\n");
    out
}

fn findings(audit: &Audit) -> String {
    if audit.findings.is_empty() {
        return "<h2>Findings</h2>\n<p>Nothing was found.</p>\n".to_owned();
    }
    let option = |value: &str, shown: &str| format!("<option value=\"{}\">{}</option>", text(value), text(shown));
    let levels: String = LEVELS.iter().map(|level| option(level.as_str(), level.as_str())).collect();
    let rules: String = audit.summary.rules.iter().map(|rule| option(&rule.rule, &rule.rule)).collect();
    let rows: String = audit.findings.iter().map(row).collect();
    format!(
        "<h2>Findings</h2>\n<form class=\"filter\" id=\"filter\" role=\"search\">\n<label>Text <input id=\"filter-text\" \
         type=\"search\"></label>\n<label>Level <select id=\"filter-level\"><option value=\"\">all</option>{levels}</select></label>\n\
         <label>Rule <select id=\"filter-rule\"><option value=\"\">all</option>{rules}</select></label>\n<output id=\"shown\" \
         class=\"soft\"></output>\n</form>\n<table id=\"findings\">\n<caption>Worst first. The command fixes it, or explains \
         it.</caption>\n<thead><tr><th scope=\"col\">level</th><th scope=\"col\">finding</th><th scope=\"col\">resource</th><th \
         scope=\"col\">evidence</th><th scope=\"col\">command</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )
}

fn row(finding: &Finding) -> String {
    let level = finding.level.as_str();
    let items = |lines: &[String]| lines.iter().map(|line| format!("<li>{}</li>", text(line))).collect::<String>();
    let mut evidence = match finding.evidence.as_slice() {
        [] => String::new(),
        [one] if one.len() < 200 => text(one),
        many => format!("<details><summary>{} values</summary><ul>{}</ul></details>", many.len(), items(many)),
    };
    if !finding.plan.is_empty() {
        evidence.push_str(&format!("<details><summary>plan</summary><ol>{}</ol></details>", items(&finding.plan)));
    }
    let change =
        finding.change.map(|change| format!(" <span class=\"soft\">{}</span>", format!("{change:?}").to_lowercase()));
    let code = finding.code.as_deref().map(|code| format!("<br><span class=\"soft\">{}</span>", text(code)));
    let command = finding.command.as_deref().map(|command| format!("<code>{}</code>", text(command)));
    format!(
        "<tr data-level=\"{level}\" data-rule=\"{rule}\"><td class=\"level {level}\">{level}</td><td>{title}{change}{code}</td>\
         <td>{name}<br><code class=\"soft\">{resource}</code></td><td>{evidence}</td><td>{command}</td></tr>\n",
        rule = text(&finding.rule),
        title = text(&finding.title),
        change = change.unwrap_or_default(),
        code = code.unwrap_or_default(),
        name = text(&finding.name),
        resource = text(&finding.resource),
        command = command.unwrap_or_default()
    )
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
        assert_eq!(page.matches("<tr data-level=").count(), HOSTILE.len());
        assert!(!page.contains("<b>") && !page.contains('\u{1b}') && !page.contains('\u{202e}'));
        for fetched in [" src=", "<link", "@import", "url(", " href=", "<img", "<iframe"] {
            assert!(!page.contains(fetched), "{fetched}");
        }
        assert!(page.contains(&format!("script-src 'sha256-{}'", hash(JS))));
        assert!(!JS.contains("</") && !CSS.contains("</"), "they end the element that holds them");
        assert!(!JS.contains("innerHTML"), "text stays text");
    }
}
