//! What `azmend doctor` says: one object, the same keys always (`azmend.doctor/v1`).
//!
//! Duty: put together who signed in, what is visible, what each playbook may do where, and what is missing. Pure: what
//! was read comes in. Invariants: "ok" is said only when everything that was asked about may be done and was read;
//! grants that azmend works without are told but do not count. Must never: hold a token, or decide what a run may do.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exit;
use crate::actions::permission::{NeedKind, Place};
use crate::actions::permissions_needed::{EVERY_READ, Need, Purpose, RoleDefinition};
use crate::actions::rights::{Finding, Held, Judged};
use crate::actions::spec::ActionName;
use crate::arm::SignInAttempt;
use crate::arm::claims::Claims;
use crate::arm::model::Subscription;
use crate::playbook::Playbook;

/// Name and version of the object.
pub const DOCTOR_SCHEMA: &str = "azmend.doctor/v1";

/// Its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoctorStatus {
    /// Everything that was asked about may be done.
    Ok,
    /// Something is missing or was not read.
    Missing,
    /// No token.
    NotSignedIn,
    /// Azure did not answer.
    Unreachable,
}

/// How azmend signed in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignInReport {
    /// The way that gave a token.
    pub way: Option<String>,
    /// The ways before it, with the reason; all of them when none gave one.
    pub tried: Vec<SignInAttempt>,
}

/// A way to sign in that gave no token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriedReport {
    /// Its name as `--auth` takes it.
    pub way: String,
    /// Why.
    pub why: String,
}

/// A visible subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionReport {
    /// GUID.
    pub id: String,
    /// Display name.
    pub name: String,
    /// `Enabled`, `Warned`, `Disabled`, ...
    pub state: String,
    /// Whether it was checked.
    pub examined: bool,
}

/// An action that is not held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingReport {
    /// The ARM action.
    pub action: String,
    /// Where it is needed.
    pub place: Place,
    /// What it is for.
    pub kind: NeedKind,
    /// `not_granted`, `denied` (a deny assignment may cover it) or `not_read`.
    pub state: String,
    /// The scopes where it is missing.
    pub at: Vec<String>,
    /// More about it: the deny assignment's name, or why it was not read.
    pub detail: Option<String>,
    /// What it is for, a fragment.
    pub why: String,
    /// What happens without it, a fragment.
    pub without: String,
    /// Nothing stops without it: why it is still requested.
    pub optional: Option<String>,
}

/// Whether something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum May {
    /// All of it.
    Yes,
    /// Some of it.
    Partly,
    /// Nothing of it.
    No,
    /// It was not checked.
    NotChecked,
}

/// A step of a playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepReport {
    /// Its id.
    pub id: String,
    /// Its action.
    pub action: String,
    /// Whether it may be done.
    pub may: May,
    /// The ARM actions that are missing, see `missing`.
    pub missing: Vec<String>,
}

/// A playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaybookReport {
    /// Its name.
    pub name: String,
    /// Whether it may be run.
    pub may: May,
    /// Step by step.
    pub steps: Vec<StepReport>,
    /// Why it was not checked.
    pub why: Option<String>,
}

/// A subscription or a VM that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScopeReport {
    /// Resource id.
    pub scope: String,
    /// Name for people.
    pub name: String,
    /// Whether it is a VM (else a subscription).
    pub vm: bool,
    /// The playbooks.
    pub playbooks: Vec<PlaybookReport>,
    /// What is not held.
    pub missing: Vec<MissingReport>,
    /// Of a VM: the parts that were not read just now, by their path in the condition view, with the reason.
    pub not_read: BTreeMap<String, String>,
}

/// What `azmend doctor` gives back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorReport {
    /// [`DOCTOR_SCHEMA`].
    pub schema: String,
    /// Its state.
    pub status: DoctorStatus,
    /// The process's exit code.
    pub exit_code: u8,
    /// Whether this was the embedded Azure.
    pub sandbox: bool,
    /// Cloud.
    pub cloud: String,
    /// ARM endpoint.
    pub endpoint: String,
    /// The way that gave a token.
    pub signed_in_by: Option<String>,
    /// The ways that gave none, in the order they were tried.
    pub tried: Vec<TriedReport>,
    /// Who signed in, as the token says (not verified).
    pub identity: Option<Claims>,
    /// The subscriptions that are visible.
    pub subscriptions: Vec<SubscriptionReport>,
    /// What was checked.
    pub scopes: Vec<ScopeReport>,
    /// A role of what is missing, ready for `az role definition create`; null when nothing is.
    pub missing_role: Option<RoleDefinition>,
    /// The scopes where the built-in role Reader is missing in addition.
    pub reader_missing_at: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// Why nothing more is known.
    pub error: Option<String>,
}

/// One scope that was looked into.
#[derive(Debug)]
pub struct Examined<'a> {
    /// Resource id.
    pub scope: &'a str,
    /// Name for people.
    pub name: &'a str,
    /// Whether it is a VM.
    pub vm: bool,
    /// What was found.
    pub judged: &'a Judged,
    /// Of a VM: what was not read just now.
    pub not_read: BTreeMap<String, String>,
}

impl DoctorReport {
    /// A report that knows only where it looked.
    #[must_use]
    pub fn begin(cloud: &str, endpoint: &str, sandbox: bool) -> Self {
        Self {
            schema: DOCTOR_SCHEMA.to_owned(),
            status: DoctorStatus::Ok,
            exit_code: exit::OK,
            sandbox,
            cloud: cloud.to_owned(),
            endpoint: endpoint.to_owned(),
            signed_in_by: None,
            tried: Vec::new(),
            identity: None,
            subscriptions: Vec::new(),
            scopes: Vec::new(),
            missing_role: None,
            reader_missing_at: Vec::new(),
            notes: Vec::new(),
            error: None,
        }
    }

    /// How the sign-in went.
    pub fn sign_in(&mut self, report: SignInReport, claims: Option<Claims>) {
        self.signed_in_by = report.way;
        self.tried = report.tried.into_iter().map(|one| TriedReport { way: one.way, why: one.why }).collect();
        self.identity = claims;
    }

    /// The end of a report that could not go on.
    #[must_use]
    pub fn stopped(mut self, status: DoctorStatus, exit_code: u8, error: impl Into<String>) -> Self {
        self.status = status;
        self.exit_code = exit_code;
        self.error = Some(error.into());
        self
    }

    /// The subscriptions that are visible; `examined` are the ids of those looked into.
    pub fn subscriptions(&mut self, visible: &[Subscription], examined: &[String]) {
        let one = |subscription: &Subscription| SubscriptionReport {
            id: subscription.id.clone(),
            name: subscription.name.clone(),
            state: subscription.state.clone(),
            examined: examined.iter().any(|id| id.eq_ignore_ascii_case(&subscription.id)),
        };
        self.subscriptions = visible.iter().map(one).collect();
    }

    /// Adds what was looked into.
    pub fn examined(&mut self, seen: Examined<'_>, playbooks: &[&Playbook], purpose: &Purpose) {
        let judged = seen.judged;
        self.scopes.push(ScopeReport {
            scope: seen.scope.to_owned(),
            name: seen.name.to_owned(),
            vm: seen.vm,
            playbooks: playbooks.iter().map(|playbook| playbook_report(playbook, judged, purpose)).collect(),
            missing: judged.missing().map(missing).collect(),
            not_read: seen.not_read,
        });
        if !judged.fine() {
            self.missing();
        }
    }

    fn missing(&mut self) {
        self.status = DoctorStatus::Missing;
        self.exit_code = exit::worst(self.exit_code, exit::PARTIAL);
    }

    /// Draws the conclusion: what was not read counts, and what is missing becomes a role.
    #[must_use]
    pub fn conclude(mut self, purpose: &Purpose) -> Self {
        if self.scopes.is_empty() || self.scopes.iter().any(|scope| !scope.not_read.is_empty()) {
            self.missing();
        }
        let not_granted = |need: &&Need| {
            self.scopes.iter().flat_map(|scope| &scope.missing).any(|m| m.action == need.action && m.state != "denied")
        };
        let needs: Vec<&Need> = purpose.needs().into_iter().filter(not_granted).collect();
        let scopes = |wanted: &dyn Fn(&MissingReport) -> bool| -> Vec<String> {
            let with = self.scopes.iter().filter(|scope| scope.missing.iter().any(wanted));
            let mut out: Vec<String> = with.map(|scope| subscription_of(&scope.scope)).collect();
            out.sort();
            out.dedup();
            out
        };
        let role = RoleDefinition::of(
            "azmend (what is missing)",
            "What azmend doctor found missing. Assign it in addition to the roles that the identity has.",
            needs,
            scopes(&|m| m.state != "denied"),
        );
        let missing_role = (!role.actions.is_empty()).then_some(role);
        let mut reader: Vec<String> = self
            .scopes
            .iter()
            .flat_map(|scope| &scope.missing)
            .filter(|m| m.action == EVERY_READ && m.state == "not_granted")
            .flat_map(|m| m.at.iter().cloned())
            .collect();
        reader.sort();
        reader.dedup();
        (self.missing_role, self.reader_missing_at) = (missing_role, reader);
        self
    }
}

fn subscription_of(scope: &str) -> String {
    scope.split('/').take(3).collect::<Vec<_>>().join("/")
}

fn missing(finding: &Finding) -> MissingReport {
    let (state, at, detail) = match &finding.held {
        Held::No { at } => ("not_granted", at.iter().map(ToString::to_string).collect(), None),
        Held::Denied { by, at } => ("denied", at.iter().map(ToString::to_string).collect(), Some(by.clone())),
        Held::Unknown { why } => ("not_read", Vec::new(), Some(why.clone())),
        Held::Yes => ("held", Vec::new(), None),
    };
    let need = finding.need;
    MissingReport {
        action: need.action.to_owned(),
        place: need.place,
        kind: need.kind,
        state: state.to_owned(),
        at,
        detail,
        why: need.why.to_owned(),
        without: need.without.to_owned(),
        optional: need.optional.map(str::to_owned),
    }
}

/// A playbook, checked or not: all are named, so that one that is missing is not taken for one that cannot run.
fn playbook_report(playbook: &Playbook, judged: &Judged, purpose: &Purpose) -> PlaybookReport {
    let asked = |action: ActionName| purpose.actions().contains(&action);
    let does = |wanted: &[ActionName]| {
        playbook.steps().iter().any(|step| wanted.contains(&step.action()) && !asked(step.action()))
    };
    let by_name = format!("check it with --playbook {}", playbook.name());
    let not_checked = |why: String| PlaybookReport {
        name: playbook.name().to_owned(),
        may: May::NotChecked,
        steps: Vec::new(),
        why: Some(why),
    };
    // What grants, and what runs in the VM, is asked for by name; unnamed it is not judged.
    if does(&[ActionName::KeyvaultGrant]) {
        return not_checked(format!("it grants a permission: {by_name}"));
    }
    if does(&[ActionName::GuestService, ActionName::GuestAgentConf]) {
        return not_checked(format!("it runs scripts inside the VM: {by_name}"));
    }
    let steps: Vec<StepReport> = playbook
        .steps()
        .iter()
        .filter(|step| asked(step.action()))
        .map(|step| {
            let stops = judged.stops(step.action());
            let whole = stops.iter().any(|finding| !finding.need.partly.contains(&step.action()));
            let may = if stops.is_empty() {
                May::Yes
            } else if whole || !judged.some_change(step.action()) {
                May::No
            } else {
                May::Partly
            };
            StepReport {
                id: step.id().to_owned(),
                action: step.action().as_str().to_owned(),
                may,
                missing: stops.into_iter().map(|finding| finding.need.action.to_owned()).collect(),
            }
        })
        .collect();
    let may = if steps.is_empty() {
        return not_checked("none of its changes was asked about".to_owned());
    } else if steps.iter().all(|step| step.may == May::Yes) {
        May::Yes
    } else if steps.iter().all(|step| step.may == May::No) {
        May::No
    } else {
        May::Partly
    };
    PlaybookReport { name: playbook.name().to_owned(), may, steps, why: None }
}
