//! `extension.uninstall`: uninstalls a failed VMSnapshot extension so that Azure Backup installs it afresh.
//!
//! On managed-disk VMs the extension is hidden: it shows in the instance view's handlers, not in the list, and is
//! deleted by name. Uninstalling needs a running VM and a ready agent, else the operation waits and times out. Never
//! while a job runs: a snapshot in progress needs the extension.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::change::{Risk, Undo};
use super::outcome::{Failure, Refusal};
use super::permission::{self, Place, Right, Uses};
use super::planning::{PlanContext, StepDraft};
use super::rules::{RuleInput, locks};
use super::vm;
use super::{Action, Check, Context, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::Handler;
use crate::arm::{ArmError, Sent, Tag};
use crate::clock::elapsed;
use crate::facts::vm_facts::VmFacts;

/// Uninstalls an extension.
const DELETE: Right = Right::change(
    "Microsoft.Compute/virtualMachines/extensions/delete",
    Place::Vm,
    "uninstalls VMSnapshot; Azure Backup installs it again",
    "VMSnapshot is not uninstalled",
);

/// Uninstalls VMSnapshot (Windows) or VMSnapshotLinux (Linux); Azure Backup installs it again with the next backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExtensionUninstall {
    /// Had no effect and is no key of the language any more; read where older playbooks and plans have it, and kept there
    /// because it is part of a plan's hash.
    #[schemars(skip)]
    #[serde(deserialize_with = "super::parameters::given", skip_serializing_if = "Option::is_none")]
    pub handler: Option<HandlerName>,
}

/// The only value that `handler` ever had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HandlerName {
    /// VMSnapshot on Windows, VMSnapshotLinux on Linux.
    #[default]
    #[serde(rename = "VMSnapshot")]
    VmSnapshot,
}

impl Action for ExtensionUninstall {
    const KEYS: &'static [&'static str] = &[];
    const OLD_KEYS: &'static [&'static str] = &["handler"];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::INSTANCE_VIEW),
        Uses::Needs(&permission::EXTENSIONS),
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::JOBS),
        Uses::Better(&permission::COMPUTE_OPERATIONS),
        Uses::Needs(&DELETE),
    ];
    const WRITES: &'static [&'static str] = &["vmsnapshot", "extensions.failed", "vm.provisioning_state"];

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        StepDraft::of(planned(&cx.input), "VMSnapshot is not installed: nothing to uninstall")
    }
}

/// The publisher's prefix in handler types; recorded as `Microsoft.Azure.RecoveryServices`.
const PUBLISHER: &str = "recoveryservices.";
/// Between two looks.
const PROBE: Duration = Duration::from_secs(15);
/// How long the agent may go on reporting a handler whose resource is gone.
const PATIENCE: Duration = Duration::from_secs(300);

/// The VMSnapshot handler in the instance view.
#[must_use]
pub fn handler(facts: &VmFacts) -> Option<&Handler> {
    facts.instance.known()?.handlers.iter().find(|handler| is_vmsnapshot(&handler.kind))
}

fn is_vmsnapshot(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.rsplit_once(PUBLISHER).is_some_and(|(_, name)| name == "vmsnapshot" || name == "vmsnapshotlinux")
}

/// The name to delete: as listed, else as the handler's type says, else by the operating system.
fn resource_name(facts: &VmFacts) -> &'static str {
    let linux = facts
        .extensions
        .known()
        .into_iter()
        .flatten()
        .find(|e| e.publisher.to_ascii_lowercase().contains("recoveryservices"))
        .map(|e| e.id.name().to_ascii_lowercase())
        .or_else(|| handler(facts).map(|handler| handler.kind.to_ascii_lowercase()))
        .map_or_else(
            || facts.vm.known().is_some_and(|vm| vm.os_type.eq_ignore_ascii_case("Linux")),
            |name| name.ends_with("vmsnapshotlinux"),
        );
    if linux { "VMSnapshotLinux" } else { "VMSnapshot" }
}

/// The uninstall; `Ok(None)` when there is nothing to uninstall.
fn planned(input: &RuleInput<'_>) -> Result<Option<(UninstallExtension, String)>, Refusal> {
    let facts = input.facts;
    if facts.instance.known().is_none() {
        let why = facts.instance.unread().unwrap_or("the VM has none");
        return Err(Refusal::new("s12.unread", format!("the instance view was not read: {why}")));
    }
    let listed = facts.extensions.known().into_iter().flatten().find(|e| {
        e.publisher.to_ascii_lowercase().contains("recoveryservices")
            && e.kind.to_ascii_lowercase().starts_with("vmsnapshot")
    });
    let (version, code) = match (handler(facts), listed) {
        (Some(handler), _) => (handler.version.clone(), handler.status.code.clone()),
        (None, Some(extension)) => (extension.version.clone(), extension.provisioning_state.clone()),
        (None, None) => return Ok(None),
    };
    guards(facts)?;
    let extension = facts
        .id
        .child("extensions", resource_name(facts))
        .map_err(|error| Refusal::new("s11.name", error.to_string()))?;
    locks::lets(input, &extension, locks::Touch::Delete)?;
    let effect = format!(
        "uninstall the extension {} ({}) from {}; Azure Backup installs it again at the next backup",
        extension.name(),
        if code.is_empty() { "state not reported" } else { code.as_str() },
        facts.id.name()
    );
    Ok(Some((UninstallExtension { extension, version, code }, effect)))
}

fn guards(facts: &VmFacts) -> Result<(), Refusal> {
    let Some(instance) = facts.instance.known() else {
        return Err(Refusal::new("s12.unread", "the instance view was not read"));
    };
    if !instance.power.eq_ignore_ascii_case("running") {
        let power = if instance.power.is_empty() { "not known" } else { instance.power.as_str() };
        return Err(Refusal::new("extension.not-running", format!("the VM is not running (power state: {power})"))
            .hint("start the VM, wait for the agent to be Ready, then run azmend again"));
    }
    if !instance.agent.as_ref().is_some_and(crate::arm::model::Agent::is_ready) {
        return Err(Refusal::new(
            "extension.agent-not-ready",
            "the guest agent is not Ready; an uninstall would time out",
        )
        .hint("repair the guest agent in the VM first"));
    }
    for item in facts.items.known().into_iter().flatten() {
        let Some(jobs) = item.jobs.known() else {
            if item.jobs.is_absent() {
                continue;
            }
            return Err(Refusal::new("s12.unread", "the backup jobs were not read, one may need the extension"));
        };
        if let Some(job) = jobs.iter().find(|job| job.running()) {
            let why = format!("a {} job is running and may need the extension", job.operation);
            return Err(
                Refusal::new("extension.job-active", why).hint("wait until it has ended, then run azmend again")
            );
        }
    }
    if facts.items.unread().is_some() {
        return Err(Refusal::new("s12.unread", "the vault items were not read, a running job may need the extension"));
    }
    // Success is read (S4): without the list nobody could tell that the extension is gone.
    if let Some(why) = facts.extensions.unread() {
        return Err(Refusal::new("s12.unread", format!("the extensions were not read: {why}")));
    }
    Ok(())
}

/// Uninstalls the VMSnapshot extension; Azure Backup installs it again at the next backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UninstallExtension {
    /// The extension resource's id.
    pub extension: ResourceId,
    /// The handler's version as read for the plan; empty when it was not reported.
    pub version: String,
    /// The handler's status code as read for the plan.
    pub code: String,
}

impl Mutation for UninstallExtension {
    const NOUN: &'static str = "extensions uninstalled";

    fn resource(&self) -> &ResourceId {
        &self.extension
    }

    fn undo(&self) -> Undo {
        Undo::NotNeeded { reason: "Azure Backup installs the extension again at the next backup".to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Low
    }

    fn facts_needed(&self) -> FactsNeeded {
        FactsNeeded { items: true, ..FactsNeeded::VM }
    }

    /// Re-reads the handler: same version and state, VM running, agent Ready, no job.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let Self { extension, version, code } = self;
        let instance = match cx.arm.instance_view(&cx.facts.id).await {
            Ok(instance) => instance,
            Err(_) if vm::is_gone(cx.arm, &cx.facts.id).await => {
                return Check::Refuse(Refusal::new("s3.changed", format!("the VM {} is gone", cx.facts.id.name())));
            }
            Err(error) => return Check::Unreadable(error),
        };
        let mut facts = cx.facts.clone();
        facts.instance = crate::facts::vm_facts::Part::Known { at: cx.arm.clock().now(), value: instance };
        match handler(&facts) {
            None if !history.attempts.is_empty() => return Check::Holds("the handler is gone".to_owned()),
            Some(handler) if history.attempts.is_empty() => {
                if handler.version != *version {
                    let why = format!("VMSnapshot has version {} and had {version} in the plan", handler.version);
                    return Check::Refuse(Refusal::new("s3.changed", why));
                }
                if handler.status.code != *code {
                    return Check::Skip(format!(
                        "VMSnapshot is in state {} and was {code} in the plan",
                        handler.status.code
                    ));
                }
            }
            _ => {}
        }
        if let Err(refusal) = guards(&facts) {
            return Check::Refuse(refusal);
        }
        if history.attempts.len() >= 4 {
            return Check::GiveUp(
                Failure::new("", format!("the extension {} is still there after 4 tries", extension.name())).with_hint(
                    "reinstall the guest agent in the VM, then run azmend again; the extension cannot be removed without it",
                ),
            );
        }
        // 204 says the name was not there; when the handler is still reported, the other name is tried.
        let target = match (history.attempts.len() % 2, extension.name()) {
            (0, _) => extension.clone(),
            (_, name) => {
                let other = if name.eq_ignore_ascii_case("VMSnapshot") { "VMSnapshotLinux" } else { "VMSnapshot" };
                match cx.facts.id.child("extensions", other) {
                    Ok(id) => id,
                    Err(error) => return Check::GiveUp(Failure::new("", error.to_string())),
                }
            }
        };
        Check::Go(Request { verb: Verb::Delete, target, before: json!({ "version": version, "code": code }) })
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.delete_extension(&request.target, tag).await
    }

    /// The extension is gone when the agent no longer reports the handler.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let instance = match cx.arm.instance_view(&cx.facts.id).await {
            Ok(instance) => instance,
            Err(error) => return Verify::Pending { why: format!("reading the instance view: {error}"), wait: PROBE },
        };
        let reported = instance.handlers.iter().any(|handler| is_vmsnapshot(&handler.kind));
        let listed = match cx.arm.extensions(&cx.facts.id).await {
            Ok(list) => list.items.iter().any(|e| e.id == self.extension),
            Err(_) if vm::is_gone(cx.arm, &cx.facts.id).await => false,
            Err(error) => return Verify::Pending { why: format!("reading the extensions: {error}"), wait: PROBE },
        };
        if !reported && !listed {
            return Verify::Done("uninstalled: neither listed nor reported by the agent".to_owned());
        }
        let waited = history.attempts.last().map_or(PATIENCE, |attempt| elapsed(attempt.at, cx.arm.clock().now()));
        if waited < PATIENCE {
            return Verify::Pending { why: "the agent to drop the handler".to_owned(), wait: PROBE };
        }
        Verify::Again { why: "the agent still reports the handler".to_owned(), wait: PROBE }
    }
}
