//! `azmend doctor`: who is signed in, what that identity may do here, and what is missing. It only reads (S1).

use crate::actions::permissions_needed::Purpose;
use crate::actions::rights::judge;
use crate::arm::model::Subscription;
use crate::arm::{Arm, ResourceId};
use crate::cli::args::DoctorArgs;
use crate::cli::azure::Azure;
use crate::cli::commands::fix::library;
use crate::cli::commands::role::{playbooks, purpose};
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::Session;
use crate::cli::settings::{Environment, Place, environment};
use crate::engine::doctor::{DoctorReport, DoctorStatus, Examined, SignInReport};
use crate::engine::{exit, planner};
use crate::facts::collect::{CollectOptions, collect};
use crate::facts::resolve::resolve_subscriptions;
use crate::facts::rights::{Places, read_places};
use crate::playbook::Playbook;
use crate::report;

/// The most subscriptions that are looked into unless they are named.
const MOST: usize = 25;

/// Looks and says.
///
/// # Errors
/// Wrong input, or interrupted. Everything else is said in the report.
pub async fn run(session: &Session, args: &DoctorArgs) -> Result<u8, CliError> {
    let library = library(session, args.purpose.playbooks.as_deref());
    let chosen = playbooks(&library, &args.purpose)?;
    let purpose = purpose(&chosen, &args.purpose);
    if let Some(vm) = &args.vm {
        Azure::check_names(vm, &session.settings.subscriptions)?;
    }
    // All are named in the report, also those that are checked by name only; with --read-only none is.
    let shown: Vec<&Playbook> = match (args.purpose.read_only, args.purpose.playbook.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => library.iter().map(|(playbook, _)| playbook).collect(),
        (false, false) => chosen,
    };
    let mut report = session.reading(Box::pin(examine(session, args, &shown, &purpose))).await?;
    if !report.scopes.is_empty() {
        report.notes.extend(left(args));
    }
    if session.printer.for_people() {
        session.printer.data(&report::doctor::page(&report, &session.program(), session.printer.width()));
    } else {
        session.printer.json(&report);
    }
    Ok(report.exit_code)
}

async fn examine(
    session: &Session,
    args: &DoctorArgs,
    playbooks: &[&Playbook],
    purpose: &Purpose,
) -> Result<DoctorReport, CliError> {
    let azure = match session.azure() {
        Ok(azure) => azure,
        // The chosen way to sign in lacks a setting.
        Err(error) if error.kind == Kind::SignIn => {
            let mut report = match &session.settings.place {
                Place::Azure(azure) => DoctorReport::begin(azure.cloud.name(), azure.endpoint.as_str(), false),
                Place::Sandbox(_) => DoctorReport::begin("sandbox", "", true),
            };
            report.notes = notes(session.settings.sandbox(), &environment);
            return Ok(report.stopped(DoctorStatus::NotSignedIn, exit::PERMISSION, error.message));
        }
        Err(error) => return Err(error),
    };
    let (cloud, endpoint) = azure.place();
    let mut report = DoctorReport::begin(cloud, endpoint.as_str(), session.settings.sandbox());
    report.notes = notes(session.settings.sandbox(), &environment);
    match azure.who().await {
        Ok((way, claims)) => report.sign_in(way, claims),
        Err(error) => {
            let message = error.to_string();
            report.sign_in(SignInReport { way: None, tried: error.attempts }, None);
            return Ok(report.stopped(DoctorStatus::NotSignedIn, exit::PERMISSION, message));
        }
    }
    let arm = azure.reader()?;
    session.printer.dim("reading what is visible");
    let listed = arm.subscriptions().await;
    // A served sandbox says so in its first answer.
    report.sandbox = session.settings.sandbox();
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return Ok(unanswered(report, CliError::from(error))),
    };
    let visible = listed.items;
    report.notes.extend(listed.malformed.iter().map(|why| format!("a subscription could not be read: {why}")));
    if visible.is_empty() {
        let why = "no subscription is visible to this identity: it has no role assignment, or it is signed in to another tenant";
        return Ok(report.stopped(DoctorStatus::Missing, exit::PARTIAL, why));
    }
    if let Some(vm) = &args.vm {
        match azure.find_vm(&arm, vm, &session.settings.subscriptions).await {
            Ok(vm) => {
                report.subscriptions(&visible, &[vm.subscription().to_owned()]);
                examine_vm(&mut report, session, &arm, &vm, playbooks, purpose).await;
                return Ok(report.conclude(purpose));
            }
            // It is the permissions that are in question: then the subscriptions say more.
            Err(error) if error.code == "not_listed" => report.notes.push(error.message),
            Err(error) if matches!(error.kind, Kind::SignIn | Kind::ComeBack) => return Ok(unanswered(report, error)),
            Err(error) => return Err(error),
        }
    }
    let mut chosen = resolve_subscriptions(&arm, &session.settings.subscriptions).await?;
    if session.settings.subscriptions.is_empty() && chosen.len() > MOST {
        let note =
            format!("{} subscriptions are visible; the first {MOST} were checked: name others with -s", chosen.len());
        report.notes.push(note);
        chosen.truncate(MOST);
    }
    let ids: Vec<String> = chosen.iter().map(|one| one.id.clone()).collect();
    report.subscriptions(&visible, &ids);
    for subscription in &chosen {
        Box::pin(examine_subscription(&mut report, session, &arm, subscription, playbooks, purpose)).await;
    }
    Ok(report.conclude(purpose))
}

/// Azure did not take the token, or did not answer.
fn unanswered(report: DoctorReport, error: CliError) -> DoctorReport {
    let (status, code) = match error.kind {
        Kind::SignIn => (DoctorStatus::NotSignedIn, exit::PERMISSION),
        Kind::ComeBack => (DoctorStatus::Unreachable, exit::COME_BACK),
        _ => (DoctorStatus::Missing, exit::PARTIAL),
    };
    report.stopped(status, code, error.message)
}

async fn examine_subscription(
    report: &mut DoctorReport,
    session: &Session,
    arm: &Arm,
    subscription: &Subscription,
    playbooks: &[&Playbook],
    purpose: &Purpose,
) {
    let scope = match ResourceId::subscription_scope(&subscription.id) {
        Ok(scope) => scope,
        Err(error) => {
            report.notes.push(format!("a subscription could not be read: {error}"));
            return;
        }
    };
    session.printer.dim(&format!("reading the permissions in {}", subscription.name.escape_debug()));
    let judged = judge(purpose, &Box::pin(read_places(arm, &scope)).await);
    let seen = Examined {
        scope: scope.as_str(),
        name: &subscription.name,
        vm: false,
        judged: &judged,
        not_read: Default::default(),
    };
    report.examined(seen, playbooks, purpose);
}

async fn examine_vm(
    report: &mut DoctorReport,
    session: &Session,
    arm: &Arm,
    vm: &ResourceId,
    playbooks: &[&Playbook],
    purpose: &Purpose,
) {
    session.printer.dim(&format!("reading {} and its backup", vm.short_name().escape_debug()));
    let facts = Box::pin(collect(arm, vm, &CollectOptions::default())).await;
    let view = planner::view_of(&facts, arm, &Default::default());
    let judged = judge(purpose, &Places::of_vm(&facts));
    let seen = Examined {
        scope: vm.as_str(),
        name: &vm.short_name(),
        vm: true,
        judged: &judged,
        not_read: view.unread.clone(),
    };
    report.examined(seen, playbooks, purpose);
}

/// What this command never looks at, and what it skipped because of how it was called.
fn left(args: &DoctorArgs) -> Vec<String> {
    let mut notes = Vec::new();
    if args.purpose.read_only {
        notes.push("with --read-only no playbook was checked, only what audits and dry runs read".to_owned());
    }
    if args.vm.is_none() {
        notes.push(
            "not checked: roles that are assigned at a resource group or at one resource only (see --vm), and Azure Policy"
                .to_owned(),
        );
    } else {
        notes.push("not checked: other VMs, and Azure Policy".to_owned());
    }
    notes
}

/// What the environment says that Azure does not.
fn notes(sandbox: bool, environment: Environment<'_>) -> Vec<String> {
    let set = |name: &str| environment(name).is_some();
    let mut notes = Vec::new();
    // The same test as azure_identity makes; the port is that of Azure Arc's agent (himds).
    let himds = environment("IDENTITY_ENDPOINT").is_some_and(|url| url.to_string_lossy().contains(":40342"));
    if !sandbox && (himds || set("IMDS_ENDPOINT")) && !set("IDENTITY_HEADER") {
        notes.push(
            "this looks like a server of Azure Arc (IMDS_ENDPOINT or the endpoint of himds is set): azure_identity 1.0, \
             which azmend signs in with, does not know Arc's managed identity. Use a service principal \
             (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET), workload identity, or `az login` with --auth cli"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn azure_arc_is_told_from_other_managed_identities() {
        let said = |env: &[(&str, &str)], sandbox: bool| {
            let look = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            !notes(sandbox, &look).is_empty()
        };
        let arc = [
            ("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"),
            ("IMDS_ENDPOINT", "http://localhost:40342"),
        ];
        assert!(said(&arc, false) && said(&arc[..1], false) && said(&arc[1..], false));
        assert!(!said(&arc, true), "the sandbox signs in by itself");
        let worker = [("IDENTITY_ENDPOINT", "http://127.0.0.1:41000/x"), ("IDENTITY_HEADER", "h")];
        assert!(!said(&worker, false) && !said(&[], false));
    }
}
