//! The findings by root cause: what is wrong, how often, the command for all, and the VMs it is about.

use std::collections::BTreeMap;

use super::vms::Card;
use super::{chip, command, text};
use crate::engine::audit::{Audit, Level};
use crate::text::plural;

/// So many names are shown at once.
const OPEN: usize = 12;

/// The causes, the most severe first; a name leads to its VM below.
pub fn section(audit: &Audit, cards: &[Card<'_>]) -> String {
    if audit.summary.rules.is_empty() {
        return String::new();
    }
    let mut of_rule: BTreeMap<&str, Vec<(usize, &Card<'_>)>> = BTreeMap::new();
    for (place, card) in cards.iter().enumerate() {
        for finding in &card.findings {
            let list = of_rule.entry(finding.rule.as_str()).or_default();
            if list.last().is_none_or(|(last, _)| *last != place) {
                list.push((place, card));
            }
        }
    }
    let most = audit.summary.rules.iter().map(|rule| rule.count).max().unwrap_or(1);
    let mut out = "<section aria-labelledby=\"by-cause\">\n<h2 id=\"by-cause\">By root cause</h2>\n".to_owned();
    for rule in &audit.summary.rules {
        let cards = of_rule.get(rule.rule.as_str()).map(Vec::as_slice).unwrap_or_default();
        let names: String = cards
            .iter()
            .map(|(place, card)| format!("<li><a href=\"#vm-{place}\">{}</a></li>", text(card.name)))
            .collect();
        out.push_str(&format!(
            "<section class=\"cause\">\n<h3>{} {} <span class=\"soft count\">{}</span></h3>\n{}",
            chip(rule.level),
            text(&rule.title),
            plural(rule.count, "finding"),
            bar(rule.level, rule.count, most)
        ));
        if let Some(all) = &rule.command {
            out.push_str(&format!(
                "<p class=\"soft\">All of them, each with its own plan; you confirm once:</p>\n{}",
                command(all)
            ));
        }
        let names = format!("<ul class=\"names\">{names}</ul>\n");
        let resources = plural(cards.len(), "resource");
        if cards.len() > OPEN {
            out.push_str(&format!("<details><summary>{resources}</summary>\n{names}</details>\n"));
        } else {
            out.push_str(&names);
        }
        out.push_str("</section>\n");
    }
    out.push_str(&places(audit));
    out.push_str("</section>\n");
    out
}

/// A bar as long as its share. The number is next to it as text.
fn bar(level: Level, count: usize, most: usize) -> String {
    let width = (count * 1000 / most.max(1)).max(10);
    format!(
        "<svg class=\"bar {}\" viewBox=\"0 0 1000 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect width=\"{width}\" \
         height=\"1\"/></svg>\n",
        level.as_str()
    )
}

/// The subscriptions that are shown at most.
const SUBSCRIPTIONS: usize = 10;

/// Findings by subscription, the most first; nothing for one.
fn places(audit: &Audit) -> String {
    let mut found: BTreeMap<&str, (&str, Level, usize)> = BTreeMap::new();
    for finding in audit.standing() {
        let one = found.entry(&finding.subscription).or_insert((&finding.subscription_name, finding.level, 0));
        one.1 = one.1.max(finding.level);
        one.2 += 1;
    }
    if found.len() < 2 {
        return String::new();
    }
    let all = found.len();
    let mut list: Vec<(&str, Level, usize)> = found.into_values().collect();
    list.sort_by(|a, b| b.1.cmp(&a.1).then(b.2.cmp(&a.2)).then(a.0.cmp(b.0)));
    list.truncate(SUBSCRIPTIONS);
    let most = list.iter().map(|one| one.2).max().unwrap_or(1);
    let title = if all > SUBSCRIPTIONS {
        format!("By subscription: {SUBSCRIPTIONS} of {all}")
    } else {
        "By subscription".to_owned()
    };
    let lines: String = list
        .iter()
        .map(|(name, level, count)| {
            format!("<li>{} {}: {count}\n{}</li>\n", chip(*level), text(name), bar(*level, *count, most))
        })
        .collect();
    format!("<section class=\"cause\">\n<h3>{title}</h3>\n<ul class=\"plain\">\n{lines}</ul>\n</section>\n")
}
