//! The custom role for people: each action, why, and what happens without it.

use anstyle::Style;

use super::layout::{BOLD, DIM, Page, paint};
use crate::actions::permission::NeedKind;
use crate::actions::permissions_needed::{EVERY_READ, Need, RoleDefinition};

/// The page.
#[must_use]
pub fn page(role: &RoleDefinition, needs: &[&Need], width: usize) -> String {
    let mut page = Page::new(width);
    page.item("", BOLD, &role.name);
    page.item("", Style::new(), &role.description);
    let parts = [
        ("To look", NeedKind::Fact),
        ("To check and follow changes", NeedKind::Follow),
        ("To change", NeedKind::Change),
    ];
    for (heading, kind) in parts {
        let part: Vec<&&Need> = needs.iter().filter(|need| need.kind == kind && need.action != EVERY_READ).collect();
        if part.is_empty() {
            continue;
        }
        page.gap();
        page.line(&paint(BOLD, heading));
        for need in part {
            page.item("  ", Style::new(), need.action);
            page.item("      ", Style::new(), &format!("{}; at {}", need.why, need.place));
            page.item("      ", DIM, &format!("without it {}", need.without));
            if let Some(optional) = need.optional {
                page.item("      ", DIM, &format!("optional: {optional}"));
            }
        }
    }
    if let Some(reader) = needs.iter().find(|need| need.action == EVERY_READ) {
        page.gap();
        page.line(&paint(BOLD, "In addition: Reader on each backup resource group"));
        page.item("  ", Style::new(), &format!("{}: {}", reader.action, reader.why));
        page.item("      ", DIM, &format!("without it {}", reader.without));
        page.item(
            "      ",
            DIM,
            "it is not in the role, so that it grants no read access to the rest of the subscription; an identity with Reader on the subscription already has it",
        );
    }
    page.gap();
    page.line(&paint(BOLD, "Can be assigned at"));
    for scope in &role.assignable_scopes {
        page.item("  ", Style::new(), scope);
    }
    page.gap();
    page.item("", DIM, "azmend role -o json > role.json && az role definition create --role-definition @role.json");
    page.finish()
}
