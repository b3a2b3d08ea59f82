//! The findings by VM: a card for each, the worst first, and the filter over them.

use std::collections::{BTreeMap, BTreeSet};

use super::sentences::sentences;
use super::{LEVELS, chip, command, text};
use crate::engine::audit::{Audit, Finding, Level, Since};
use crate::text::plural;

/// A VM, or another resource, with its findings.
pub struct Card<'a> {
    /// Its name.
    pub name: &'a str,
    /// The worst of its findings.
    pub level: Level,
    /// What was found, the worst first.
    pub findings: Vec<&'a Finding>,
}

/// The cards, the worst first: by level, then by how many findings of it, then by name.
pub fn group(audit: &Audit) -> Vec<Card<'_>> {
    let mut cards: BTreeMap<String, Card<'_>> = BTreeMap::new();
    for finding in audit.standing() {
        let empty = || Card { name: &finding.name, level: finding.level, findings: Vec::new() };
        let card = cards.entry(finding.resource.to_lowercase()).or_insert_with(empty);
        card.level = card.level.max(finding.level);
        card.findings.push(finding);
    }
    let mut cards: Vec<Card<'_>> = cards.into_values().collect();
    for card in &mut cards {
        card.findings.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.rule.cmp(&b.rule)));
    }
    let bad = |card: &Card<'_>| card.findings.iter().filter(|one| one.level == card.level).count();
    cards.sort_by(|a, b| b.level.cmp(&a.level).then(bad(b).cmp(&bad(a))).then_with(|| a.name.cmp(b.name)));
    cards
}

/// The cards with their filter.
pub fn section(audit: &Audit, cards: &[Card<'_>]) -> String {
    let head = "<section aria-labelledby=\"by-vm\">\n<h2 id=\"by-vm\" tabindex=\"-1\">By VM</h2>\n";
    if cards.is_empty() {
        let words =
            if audit.not_read.is_empty() { "Nothing was found." } else { "Nothing was found in what could be read." };
        return format!("{head}<p>{words}</p>\n</section>\n");
    }
    let cards: String = cards.iter().enumerate().map(|(place, card)| show(place, card)).collect();
    format!("{head}{}<div id=\"cards\">\n{cards}</div>\n</section>\n", filter(audit))
}

/// Only the script shows it: without one it would do nothing.
fn filter(audit: &Audit) -> String {
    let select = |name: &str, shown: &str, values: &[(String, String)]| {
        let one =
            |(value, shown): &(String, String)| format!("<option value=\"{}\">{}</option>", text(value), text(shown));
        let values: String = values.iter().map(one).collect();
        format!(
            "<label>{shown} <select id=\"filter-{name}\"><option value=\"\">all</option>{values}</select></label>\n"
        )
    };
    let levels = LEVELS.map(|(level, _)| (level.as_str().to_owned(), level.as_str().to_owned()));
    let rules: Vec<(String, String)> =
        audit.summary.rules.iter().map(|rule| (rule.rule.clone(), rule.title.clone())).collect();
    let places: BTreeSet<(String, String)> =
        audit.standing().map(|one| (one.subscription_name.clone(), one.subscription.clone())).collect();
    let places: Vec<(String, String)> = places.into_iter().map(|(name, id)| (id, name)).collect();
    format!(
        "<form class=\"filter\" id=\"filter\" role=\"search\">\n<label>Text <input id=\"filter-text\" type=\"search\"></label>\n\
         {}{}{}<label>Order <select id=\"order\"><option value=\"worst\">worst first</option><option value=\"name\">by \
         name</option><option value=\"count\">most findings first</option></select></label>\n<output id=\"shown\" \
         class=\"soft\" aria-live=\"polite\"></output>\n</form>\n",
        select("level", "Severity", &levels),
        select("rule", "Cause", &rules),
        select("subscription", "Subscription", &places)
    )
}

fn show(place: usize, card: &Card<'_>) -> String {
    let Some(first) = card.findings.first() else { return String::new() };
    let at = match first.group.as_str() {
        group if !group.is_empty() && group != first.name => format!("{group} in {}", first.subscription_name),
        _ => first.subscription_name.clone(),
    };
    let findings: String = card.findings.iter().map(|finding| one(finding)).collect();
    format!(
        "<article class=\"card\" id=\"vm-{place}\" data-name=\"{name}\" data-level=\"{level}\" \
         data-subscription=\"{subscription}\" aria-labelledby=\"name-{place}\">\n<h3 id=\"name-{place}\">{chip} {name}</h3>\n\
         <p class=\"soft\">{at}; {count}</p>\n{findings}<details class=\"id\"><summary>Resource id</summary><code \
         class=\"id\">{resource}</code></details>\n</article>\n",
        name = text(card.name),
        level = card.level.as_str(),
        subscription = text(&first.subscription),
        chip = chip(card.level),
        at = text(&at),
        count = plural(card.findings.len(), "finding"),
        resource = text(&first.resource),
    )
}

/// So many sentences are shown at once.
const OPEN: usize = 8;

fn one(finding: &Finding) -> String {
    let items = |lines: &[String]| lines.iter().map(|line| format!("<li>{}</li>", text(line))).collect::<String>();
    let evidence = sentences(&finding.evidence);
    let new = if finding.change == Some(Since::New) { " <span class=\"new\">new</span>" } else { "" };
    let mut out = format!(
        "<section class=\"finding\" data-level=\"{level}\" data-rule=\"{rule}\">\n<h4>{chip} {title}{new} <span \
         class=\"soft\">{rule}</span></h4>\n",
        level = finding.level.as_str(),
        rule = text(&finding.rule),
        chip = chip(finding.level),
        title = text(&finding.title),
    );
    let (open, rest) = evidence.split_at(evidence.len().min(OPEN));
    if !open.is_empty() {
        out.push_str(&format!("<ul class=\"evidence\">{}</ul>\n", items(open)));
    }
    if !rest.is_empty() {
        out.push_str(&format!(
            "<details><summary>{} more</summary><ul class=\"evidence\">{}</ul></details>\n",
            rest.len(),
            items(rest)
        ));
    }
    if let Some(fix) = &finding.command {
        out.push_str(&command(fix));
    }
    if !finding.plan.is_empty() {
        out.push_str(&format!(
            "<details class=\"plan\"><summary>What the plan does</summary><ol>{}</ol></details>\n",
            items(&finding.plan)
        ));
    }
    out.push_str("</section>\n");
    out
}
