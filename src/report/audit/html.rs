//! `azmend audit -o html`: one page for a browser.
//!
//! Invariants: self-contained, nothing is fetched (a content security policy forbids it); every text is escaped and reaches the
//! script through the document alone, so nothing that Azure names can run; without JavaScript the tables are all there.
//! Style and script are azmend's own (`audit.css`, `audit.js`) and allowed by their hashes.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use sha2::{Digest, Sha256};

use crate::engine::audit::{Audit, Finding, Level};
use crate::report::audit::changes;
use crate::text::{plural, safe};

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
    out.push_str(&fleets(audit));
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
        ("within objective", summary.objective.within),
        ("subscriptions", summary.subscriptions),
        ("findings", audit.standing().count()),
        ("not read", audit.not_read.len()),
    ];
    for (name, count) in shown.into_iter().chain(summary.since.iter().map(|(name, count)| (name.as_str(), *count))) {
        out.push_str(&format!("<div><dt>{}</dt><dd>{count}</dd></div>\n", text(name)));
    }
    out.push_str("</dl>\n");
    if !summary.planned.is_empty() {
        out.push_str(&format!("<p>All plans together: {}.</p>\n", text(&changes(&summary.planned))));
    }
    if !summary.worst.is_empty() {
        out.push_str("<h2>Worst first</h2>\n<ol>\n");
        summary.worst.iter().for_each(|line| out.push_str(&format!("<li>{}</li>\n", text(line))));
        out.push_str("</ol>\n");
    }
    out
}

/// One bar of a chart.
struct Bar {
    name: String,
    level: Level,
    count: usize,
}

/// How many subscriptions the chart has at most.
const SUBSCRIPTIONS: usize = 10;

/// Findings by rule and by subscription, as bars; the numbers stand beside them as text.
fn charts(audit: &Audit) -> String {
    let rules = &audit.summary.rules;
    let by_rule: Vec<Bar> =
        rules.iter().map(|rule| Bar { name: rule.rule.clone(), level: rule.level, count: rule.count }).collect();
    let mut places: BTreeMap<&str, Bar> = BTreeMap::new();
    for finding in audit.standing() {
        let name = || finding.subscription_name.clone();
        let bar = places.entry(&finding.subscription);
        let bar = bar.or_insert_with(|| Bar { name: name(), level: finding.level, count: 0 });
        bar.count += 1;
        bar.level = bar.level.max(finding.level);
    }
    let all = places.len();
    let mut by_place: Vec<Bar> = places.into_values().collect();
    by_place.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    by_place.truncate(SUBSCRIPTIONS);
    let title = match all > SUBSCRIPTIONS {
        true => format!("Findings by subscription: {SUBSCRIPTIONS} of {all}"),
        false => "Findings by subscription".to_owned(),
    };
    let second = if all > 1 { chart(&title, &by_place) } else { String::new() };
    format!("<div class=\"charts\">\n{}{second}</div>\n", chart("Findings by rule", &by_rule))
}

fn chart(title: &str, bars: &[Bar]) -> String {
    let Some(most) = bars.iter().map(|bar| bar.count).max().filter(|most| *most > 0) else { return String::new() };
    let height = bars.len() * 26 + 4;
    // Who hears the page has the numbers here: an image hides what is in it.
    let told: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.name, bar.count)).collect();
    let told = text(&format!("{title}: {}", told.join(", ")));
    let mut out = format!(
        "<section>\n<h2>{title}</h2>\n<svg role=\"img\" aria-label=\"{told}\" width=\"600\" height=\"{height}\" \
         viewBox=\"0 0 600 {height}\">\n"
    );
    for (index, bar) in bars.iter().enumerate() {
        let (y, width) = (index * 26, (bar.count * 280 / most).max(2));
        let short: String = safe(&bar.name).chars().take(34).collect();
        out.push_str(&format!(
            "<text x=\"0\" y=\"{}\">{}</text><rect class=\"bar {}\" x=\"250\" y=\"{}\" width=\"{width}\" height=\"16\" rx=\"2\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>\n",
            y + 16,
            text(&short),
            bar.level.as_str(),
            y + 4,
            256 + width,
            y + 16,
            bar.count
        ));
    }
    out.push_str("</svg>\n</section>\n");
    out
}

/// The commands that repair all findings of a rule.
fn fleets(audit: &Audit) -> String {
    let rows: String = audit
        .summary
        .rules
        .iter()
        .filter_map(|rule| Some((rule, rule.command.as_deref()?)))
        .map(|(rule, command)| {
            let command = format!("<code class=\"command\">{}</code>", text(command));
            format!("<tr><td>{}</td><td>{}</td><td>{command}</td></tr>\n", text(&rule.title), rule.count)
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<h2>All at once</h2>\n<table>\n<caption>Every VM gets its own plan; you confirm once.</caption>\n\
         <thead><tr><th scope=\"col\">Finding</th><th scope=\"col\">VMs</th><th scope=\"col\">Command</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n"
    )
}

fn not_read(audit: &Audit) -> String {
    if audit.not_read.is_empty() {
        return String::new();
    }
    let mut out = "<h2>Not seen</h2>\n<table>\n<caption>What could not be read: its state is unknown.</caption>\n\
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
    let select = |name: &str, shown: &str, values: &[(String, String)]| {
        let one =
            |(value, shown): &(String, String)| format!("<option value=\"{}\">{}</option>", text(value), text(shown));
        let values: String = values.iter().map(one).collect();
        format!(
            "<label>{shown} <select id=\"filter-{name}\"><option value=\"\">all</option>{values}</select></label>\n"
        )
    };
    let levels = LEVELS.map(|level| (level.as_str().to_owned(), level.as_str().to_owned()));
    let rules: BTreeSet<&str> = audit.findings.iter().map(|one| one.rule.as_str()).collect();
    let rules: Vec<(String, String)> = rules.into_iter().map(|rule| (rule.to_owned(), rule.to_owned())).collect();
    let places: BTreeSet<(String, String)> =
        audit.findings.iter().map(|one| (one.subscription_name.clone(), one.subscription.clone())).collect();
    let places: Vec<(String, String)> = places.into_iter().map(|(name, id)| (id, name)).collect();
    let rows: String = audit.findings.iter().map(row).collect();
    format!(
        "<h2>Findings</h2>\n<form class=\"filter\" id=\"filter\" role=\"search\">\n<label>Text <input id=\"filter-text\" \
         type=\"search\"></label>\n{}{}{}<output id=\"shown\" class=\"soft\"></output>\n</form>\n<table id=\"findings\" \
         class=\"findings\">\n<caption>Worst first. The command fixes it, or explains it.</caption>\n<colgroup><col \
         class=\"level\"><col class=\"finding\"><col class=\"resource\"><col></colgroup>\n<thead><tr><th \
         scope=\"col\">Level</th><th scope=\"col\">Finding</th><th scope=\"col\">Resource</th><th scope=\"col\">Evidence and \
         command</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
        select("level", "Level", &levels),
        select("rule", "Rule", &rules),
        select("subscription", "Subscription", &places)
    )
}

/// So many values are shown at once.
const OPEN: usize = 5;

fn row(finding: &Finding) -> String {
    let level = finding.level.as_str();
    let items = |lines: &[String]| lines.iter().map(|line| format!("<li>{}</li>", text(line))).collect::<String>();
    let long = finding.evidence.len() > OPEN || finding.evidence.iter().any(|line| line.len() > 300);
    let mut evidence = match finding.evidence.as_slice() {
        [] => String::new(),
        many if long => {
            format!("<details><summary>{}</summary><ul>{}</ul></details>", plural(many.len(), "value"), items(many))
        }
        few => format!("<ul>{}</ul>", items(few)),
    };
    if !finding.plan.is_empty() {
        evidence.push_str(&format!(
            "<details class=\"plan\"><summary>plan</summary><ol>{}</ol></details>",
            items(&finding.plan)
        ));
    }
    if let Some(command) = &finding.command {
        evidence.push_str(&format!("<code class=\"command\">{}</code>", text(command)));
    }
    let more = [finding.code.clone(), finding.change.map(|change| format!("{change:?}").to_lowercase())];
    let more: String =
        more.iter().flatten().map(|more| format!("<br><span class=\"soft\">{}</span>", text(more))).collect();
    let place = match finding.group.as_str() {
        group if !group.is_empty() && group != finding.name => format!("{group} in {}", finding.subscription_name),
        _ => finding.subscription_name.clone(),
    };
    format!(
        "<tr data-level=\"{level}\" data-rule=\"{rule}\" data-subscription=\"{subscription}\"><td class=\"level \
         {level}\">{level}</td><td>{title}<br><span class=\"soft\">{rule}</span>{more}</td><td><strong>{name}</strong><br><span \
         class=\"soft\">{place}</span><details><summary>id</summary><code>{resource}</code></details></td><td>{evidence}</td></tr>\n",
        rule = text(&finding.rule),
        subscription = text(&finding.subscription),
        title = text(&finding.title),
        name = text(&finding.name),
        place = text(&place),
        resource = text(&finding.resource),
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
