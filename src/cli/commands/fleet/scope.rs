//! Which VMs a fleet is about: those of a scope that a bulk audit finds, those of an audit's file, those of an earlier fleet.
//!
//! What is found here decides only which VMs are looked at: each is then read by ARM and planned anew.

use crate::facts::unread::Unread;
use std::collections::BTreeMap;

use super::Order;
use super::retry::Again;
use crate::arm::{Arm, ResourceId};
use crate::cli::args::{FixArgs, FleetArgs};
use crate::cli::azure::Azure;
use crate::cli::commands::{audit, vms};
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::settings::Place;
use crate::engine::audit::{Ask, Audit, Level, Since, playbook_of};
use crate::facts::bulk::Selection;
use crate::facts::inventory::Visible;
use crate::playbook::model::Severity;
use crate::text::{plural, safe_short};

/// The VMs to look at.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Their ids, each once, in their order.
    pub vms: Vec<ResourceId>,
    /// Which are meant, in words.
    pub scope: String,
    /// What could not be looked into.
    pub not_read: Vec<Unread>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// What was typed about the scope, read and checked.
#[derive(Debug)]
pub(super) struct Hints {
    selection: Selection,
    audit: Option<Audit>,
}

/// Without a question the scope has to be named: what happens to be visible is not what somebody meant. Azure's own variable does not
/// count, for it may have been set for another purpose. In the sandbox, where nothing is real, all of it is meant.
///
/// # Errors
/// When it is not.
pub(super) fn said(session: &Session, args: &FixArgs) -> Result<(), CliError> {
    let fleet = &args.fleet;
    let named = matches!(session.settings.place, Place::Sandbox(_))
        || session.settings.subscriptions_named
        || tenant(session).is_some()
        || fleet.from.is_some()
        || fleet.retry_failed.is_some();
    if !args.yes || args.dry_run || named {
        return Ok(());
    }
    Err(CliError::input(
        "--yes with --all needs its scope: without one it is every subscription that this identity sees",
    )
    .code("scope_not_named")
    .hint("name it with --subscription, --tenant ID or --from FILE")
    .hint(format!(
        "see what would be done: {} plan {} --all",
        session.program(),
        args.playbook.as_deref().unwrap_or("auto")
    )))
}

/// Checks the scope's options, and reads the file of `--from`.
///
/// # Errors
/// Wrong names, or a file that is no audit of this kind of world.
pub(super) fn hints(session: &Session, args: &FleetArgs) -> Result<Hints, CliError> {
    let selection = audit::selection_of(args.resource_group.as_deref(), &args.tag, args.vault.as_deref())?;
    let selection = Selection { thorough: args.thorough, ..selection };
    let Some(file) = &args.from else { return Ok(Hints { selection, audit: None }) };
    let read = audit::read_baseline(file).map_err(|error| CliError { hints: Vec::new(), ..error }.code("from"));
    let found =
        read.map_err(|error| error.hint("--from takes what `azmend audit -o json` or `--out FILE.json` wrote"))?;
    if session.settings.elsewhere(found.sandbox) {
        let word = |sandbox| if sandbox { "the sandbox" } else { "Azure" };
        let (there, here) = (word(found.sandbox), word(session.settings.sandbox()));
        let hint = if found.sandbox { "add --sandbox" } else { "omit --sandbox" };
        return Err(CliError::refused(format!("{} is an audit of {there}, this is {here}", file.display()))
            .code("s13.world")
            .hint(hint));
    }
    Ok(Hints { selection, audit: Some(found) })
}

/// The VMs.
///
/// # Errors
/// No sign-in, a named vault or group that is not there, a file with something else than ids.
pub(super) async fn wanted(
    order: &Order<'_>,
    azure: &Azure,
    arm: &Arm,
    hints: Hints,
    again: Option<&Again>,
) -> Result<Wanted, CliError> {
    let visible = match tenant(order.session) {
        Some(id) => audit::of_tenant(vms::visible_of(azure, arm, &[]).await?, id)?,
        None => vms::visible(order.session, azure, arm).await?,
    };
    let mut wanted = match (again, &hints.audit) {
        (Some(again), _) => {
            let (vms, outside) = inside(order.session, &visible, again.vms.clone());
            let mut warnings = again.left.clone();
            warnings.extend(outside);
            let args = order.args;
            if !again.record.beyond.is_empty()
                && args.overrides.is_empty()
                && args.locks.is_empty()
                && !args.allow_guest
            {
                let typed = again.record.beyond.join(" ");
                warnings
                    .push(format!("the fleet was made with {typed}: give every option that overrides a rule again"));
            }
            Wanted {
                vms,
                scope: format!("what was left of the fleet {}", again.record.id),
                warnings,
                ..Wanted::default()
            }
        }
        (None, Some(audit)) => of_file(order, &visible, audit)?,
        (None, None) => of_scope(order, arm, &visible, &hints.selection).await?,
    };
    let by_key: BTreeMap<String, ResourceId> = wanted.vms.drain(..).map(|vm| (vm.key().to_owned(), vm)).collect();
    wanted.vms = by_key.into_values().collect();
    Ok(wanted)
}

/// The tenant all of which is meant, as for an audit: one that was typed, without a subscription beside it. With Azure
/// Lighthouse the subscriptions of others are visible too.
pub(super) fn tenant(session: &Session) -> Option<&str> {
    session.settings.whole_tenant.as_deref().filter(|id| !id.is_empty() && !session.settings.subscriptions_typed)
}

/// Whether a finding is one that this fleet would repair.
fn repairs(order: &Order<'_>, rule: &str) -> bool {
    let rule = playbook_of(rule);
    match order.named {
        Some(playbook) => playbook.name() == rule,
        None => order.library.find(rule).is_ok_and(|playbook| playbook.severity() != Severity::Info),
    }
}

async fn of_scope(order: &Order<'_>, arm: &Arm, visible: &Visible, selection: &Selection) -> Result<Wanted, CliError> {
    let ask = Ask {
        rules: order.named.map(|playbook| playbook.name().to_owned()).into_iter().collect(),
        codes: Vec::new(),
        min: Level::Info,
        fail_on: None,
        program: order.session.program(),
        scope: scope(order.session, visible, selection),
        sandbox: order.session.settings.sandbox(),
    };
    order.session.printer.dim("reading VMs, vaults, restore points and locks");
    let found = audit::look(order.session, arm, order.library, visible, selection, &ask).await;
    // Its hint names an option of `audit` that there is none of here: without Resource Graph the lists were tried already.
    let found = found.map_err(|error| {
        let hints = error.hints.iter().filter(|hint| !hint.contains("--collector")).cloned().collect();
        CliError { hints, ..error }
    })?;
    let vms = ids(order, &found, |_| true)?;
    Ok(Wanted { vms, scope: found.scope, not_read: found.not_read, warnings: Vec::new() })
}

fn of_file(order: &Order<'_>, visible: &Visible, audit: &Audit) -> Result<Wanted, CliError> {
    // What a baseline had and the audit did not find any more is in the file too.
    let vms = ids(order, audit, |one| one.change != Some(Since::Gone))?;
    let (vms, outside) = inside(order.session, visible, vms);
    // VMs of what the audit could not read are not in the file: this fleet has not seen them either (S12).
    let unread =
        |one: &Unread| Unread { what: one.what.clone(), why: format!("in the audit of {}: {}", audit.ended, one.why) };
    Ok(Wanted {
        vms,
        scope: format!("an audit of {} ({})", audit.ended, audit.scope),
        not_read: audit.not_read.iter().map(unread).collect(),
        warnings: outside.into_iter().collect(),
    })
}

/// The VMs of the findings.
fn ids(
    order: &Order<'_>,
    audit: &Audit,
    also: impl Fn(&crate::engine::audit::Finding) -> bool,
) -> Result<Vec<ResourceId>, CliError> {
    let mut vms = Vec::new();
    for finding in audit.findings.iter().filter(|one| repairs(order, &one.rule) && also(one)) {
        for resource in finding.repaired() {
            let id = ResourceId::parse(resource).map_err(|error| {
                let shown = safe_short(resource, 200);
                CliError::input(format!("the finding {:?} is about {shown:?}: {error}", safe_short(&finding.rule, 80)))
                    .code("from")
            })?;
            if id.is_type("Microsoft.Compute/virtualMachines") {
                vms.push(id);
            }
        }
    }
    Ok(vms)
}

/// The VMs of the subscriptions that were asked for, and what to say of the others.
fn inside(session: &Session, visible: &Visible, vms: Vec<ResourceId>) -> (Vec<ResourceId>, Option<String>) {
    if session.settings.subscriptions.is_empty() && tenant(session).is_none() {
        return (vms, None);
    }
    let all = vms.len();
    let chosen = |vm: &ResourceId| visible.chosen.iter().any(|one| one.id.eq_ignore_ascii_case(vm.subscription()));
    let vms: Vec<ResourceId> = vms.into_iter().filter(chosen).collect();
    let outside = all - vms.len();
    let text = (outside > 0).then(|| format!("{} skipped: not in the requested subscriptions", plural(outside, "VM")));
    (vms, text)
}

/// What was asked for, in words.
fn scope(session: &Session, visible: &Visible, selection: &Selection) -> String {
    let mut parts = vec![if let Some(id) = tenant(session) {
        format!("tenant {}", id.to_lowercase())
    } else if session.settings.subscriptions.is_empty() {
        "all visible subscriptions".to_owned()
    } else {
        let mut names: Vec<String> = visible.chosen.iter().map(|one| format!("subscription {}", one.name)).collect();
        names.sort();
        names.join(", ")
    }];
    parts.extend(selection.group.as_ref().map(|group| format!("resource group {group}")));
    parts.extend(selection.tags.iter().map(|(name, value)| format!("tag {name}={value}")));
    parts.extend(selection.vault.as_ref().map(|vault| format!("vault {vault}")));
    parts.extend(selection.thorough.then(|| "thorough".to_owned()));
    parts.join("; ")
}
