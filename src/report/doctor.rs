//! `azmend doctor` for people.

use anstyle::Style;

use super::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, paint};
use crate::actions::permission::{NeedKind, Place};
use crate::engine::doctor::{DoctorReport, DoctorStatus, May, MissingReport, PlaybookReport, ScopeReport};
use crate::text::shell_quote;

const PLAIN: Style = Style::new();
/// Scopes that are named one by one.
const MOST: usize = 3;

/// The page. `program` is how the next command begins.
#[must_use]
pub fn page(report: &DoctorReport, program: &str, width: usize) -> String {
    let mut page = Page::new(width);
    head(&mut page, report);
    for note in &report.notes {
        page.gap();
        page.marked(&format!("{}  ", paint(CARE, "note")), 6, PLAIN, note);
    }
    // What was tried stands above already.
    if let Some(error) = report.error.as_ref().filter(|_| report.tried.is_empty() || report.signed_in_by.is_some()) {
        page.gap();
        page.item("", BAD, error);
    }
    for scope in &report.scopes {
        page.gap();
        one_scope(&mut page, scope);
    }
    page.gap();
    tail(&mut page, report, program);
    page.finish()
}

fn head(page: &mut Page, report: &DoctorReport) {
    let by = report.signed_in_by.as_deref().unwrap_or("none: no sign-in method gave a token");
    page.item("signed in by   ", if report.signed_in_by.is_some() { PLAIN } else { BAD }, by);
    for tried in &report.tried {
        page.item("  not          ", DIM, &format!("{}: {}", tried.way, tried.why));
    }
    if let Some(who) = &report.identity {
        let kind = if who.kind.is_empty() { "object" } else { &who.kind };
        page.item("identity       ", PLAIN, &format!("{kind} {}", or_unknown(&who.object_id)));
        page.item("  application  ", PLAIN, or_unknown(&who.app_id));
        if !who.resource_id.is_empty() {
            page.item("  of           ", PLAIN, &who.resource_id);
        }
        page.item("tenant         ", PLAIN, or_unknown(&who.tenant));
    } else if report.signed_in_by.is_some() {
        page.item("identity       ", DIM, "not in the token");
    }
    page.item("cloud          ", PLAIN, &format!("{}, {}", report.cloud, report.endpoint));
    for (index, one) in report.subscriptions.iter().enumerate() {
        let mark = if index == 0 { "subscriptions  " } else { "               " };
        let state = if one.state.eq_ignore_ascii_case("Enabled") { String::new() } else { format!(", {}", one.state) };
        let left_out = if one.examined { "" } else { " (not checked)" };
        page.item(mark, if one.examined { PLAIN } else { DIM }, &format!("{} {}{state}{left_out}", one.id, one.name));
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "not reported" } else { text }
}

fn one_scope(page: &mut Page, scope: &ScopeReport) {
    let kind = if scope.vm { "VM" } else { "subscription" };
    page.item("", BOLD, &format!("{kind} {}", scope.name));
    for playbook in &scope.playbooks {
        one_playbook(page, playbook);
    }
    let counts = |missing: &&MissingReport| missing.optional.is_none();
    let reads = |missing: &&MissingReport| missing.kind != NeedKind::Change;
    let all: Vec<&MissingReport> = scope.missing.iter().collect();
    let (counted, better): (Vec<&MissingReport>, Vec<&MissingReport>) = all.into_iter().partition(counts);
    let (unread, changes): (Vec<&MissingReport>, Vec<&MissingReport>) = counted.into_iter().partition(reads);
    missing(page, "cannot read", &unread);
    missing(page, "cannot change", &changes);
    missing(page, "optional", &better);
    if !scope.not_read.is_empty() {
        page.line("  could not be read this time");
        for (path, why) in &scope.not_read {
            page.item(&format!("    {path}: "), DIM, why);
        }
    }
    if scope.missing.is_empty() && scope.not_read.is_empty() {
        let some = scope.playbooks.iter().any(|playbook| playbook.may == May::NotChecked);
        page.item("  ", GOOD, if some { "nothing is missing of what was checked" } else { "nothing is missing" });
    }
}

fn one_playbook(page: &mut Page, playbook: &PlaybookReport) {
    let (word, style) = match playbook.may {
        May::Yes => ("yes   ", GOOD),
        May::Partly => ("partly", CARE),
        May::No => ("no    ", BAD),
        May::NotChecked => ("-     ", DIM),
    };
    let steps = |may: May| -> Vec<&str> {
        playbook.steps.iter().filter(|step| step.may == may).map(|step| step.id.as_str()).collect()
    };
    let mut said: Vec<String> = playbook.why.iter().map(|why| format!("not checked: {why}")).collect();
    if playbook.may != May::No {
        said.extend(Some(steps(May::No)).filter(|ids| !ids.is_empty()).map(|ids| format!("not {}", ids.join(", "))));
        said.extend(
            Some(steps(May::Partly)).filter(|ids| !ids.is_empty()).map(|ids| format!("partly {}", ids.join(", "))),
        );
    }
    let said = said.join("; ");
    if said.is_empty() {
        page.marked(&format!("  {} ", paint(style, word)), 9, PLAIN, &playbook.name);
    } else {
        let name = format!("{:<27}", playbook.name);
        page.marked(&format!("  {} {name}", paint(style, word)), 9 + name.chars().count(), DIM, &said);
    }
}

/// What is missing, by where and why: each group has one heading.
fn missing(page: &mut Page, heading: &str, list: &[&MissingReport]) {
    let mut groups: Vec<(String, Vec<&MissingReport>)> = Vec::new();
    for one in list {
        let place = place(one);
        match groups.iter_mut().find(|(known, _)| *known == place) {
            Some((_, group)) => group.push(one),
            None => groups.push((place, vec![one])),
        }
    }
    for (place, group) in groups {
        page.item("  ", BOLD, &format!("{heading} at {place}"));
        for one in group {
            page.item("    - ", PLAIN, &one.action);
            page.item("      ", DIM, &format!("without it {}", one.without));
        }
    }
}

fn place(one: &MissingReport) -> String {
    let detail = one.detail.as_deref().unwrap_or_default();
    match one.state.as_str() {
        "denied" => format!("{}: may be denied by the deny assignment {detail:?}", scopes(one)),
        "not_read" => format!("{}, as far as is known: {detail}", one.place),
        _ => scopes(one),
    }
}

/// The scopes by their last name, some of many. What was asked of a whole subscription says so.
fn scopes(one: &MissingReport) -> String {
    let whole = one.at.iter().all(|id| id.split('/').count() == 3);
    if one.place == Place::Subscription {
        return one.place.to_string();
    }
    if whole {
        return format!("{} (checked at the subscription)", one.place);
    }
    let names: Vec<&str> = one.at.iter().map(|id| id.rsplit('/').next().unwrap_or(id)).collect();
    let shown = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
    format!("{} {shown}{more}", one.place)
}

fn tail(page: &mut Page, report: &DoctorReport, program: &str) {
    match report.status {
        DoctorStatus::Ok => page.item("", GOOD, "every permission that was checked is granted"),
        DoctorStatus::NotSignedIn => page.item("", PLAIN, "sign in (az login), or choose another way with --auth"),
        DoctorStatus::Unreachable => page.item("", PLAIN, "Azure did not answer: try again later"),
        DoctorStatus::Missing => {
            let who = report.identity.as_ref().map(|who| who.object_id.as_str()).filter(|id| !id.is_empty());
            let who = who.unwrap_or("OBJECT-ID");
            if report.missing_role.is_some() {
                page.line("what is missing, as a role to assign in addition (missing_role):");
                page.line(&format!("  {program} doctor -o json"));
                page.line("the smallest role that does everything, and why:");
                page.line("  azmend role");
            }
            for scope in report.reader_missing_at.iter().take(MOST) {
                page.line("Reader on a backup resource group:");
                page.line(&format!(
                    "  az role assignment create --assignee {} --role Reader --scope {}",
                    shell_quote(who),
                    shell_quote(scope)
                ));
            }
            let denied = report.scopes.iter().flat_map(|scope| &scope.missing).any(|one| one.state == "denied");
            if denied {
                page.item("", PLAIN, "a deny assignment overrides every role: ask its owner for an exception");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::SignInAttempt;
    use crate::arm::claims::Claims;
    use crate::engine::doctor::SignInReport;

    #[test]
    fn who_signed_in_and_what_was_passed_over_is_said() {
        let mut report = DoctorReport::begin("public", "https://management.azure.com/", false);
        let tried = vec![SignInAttempt { way: "workload".into(), why: "X is not set".into() }];
        let claims = Claims {
            tenant: "t-1".into(),
            object_id: "o-1".into(),
            app_id: "a-1\u{1b}[2J".into(),
            kind: "app".into(),
            resource_id: String::new(),
        };
        report.sign_in(SignInReport { way: Some("managed-identity".into()), tried }, Some(claims));
        let page = page(&report, "azmend", 80);
        for text in ["managed-identity", "workload: X is not set", "app o-1", "t-1", "a-1"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains("\u{1b}[2J"), "text from outside does not control the terminal");
    }
}
