//! Microsoft.Compute 2024-07-01: VMs, their extensions, disks and power, scripts in them.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use azure_mgmt_compute::package_2024_07_01 as compute;
use serde_json::Value;

use super::bridge::{ask, client, first};
use super::{group, is_scope, names, of_type};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::gateway::one;
use crate::http::{Method, Request, Tag};
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{Disk, Extension, FromWire as _, InstanceView, PowerRow, RunCommand, TaggedVm, Vm, WholeVm};
use crate::poll::Sent;

const VM: &str = "Microsoft.Compute/virtualMachines";
const EXTENSION: &str = "Microsoft.Compute/virtualMachines/extensions";
/// Api-versions of the calls without a generated client, from the published OpenAPI.
const COMPUTE: &str = "2024-07-01";
const DISKS: &str = "2023-10-02";

/// The extension resources in the answer of a VM's GET, when it is certain that the answer has all of them.
///
/// That `resources` is missing when there are none is recorded; that it is never missing otherwise is not documented. So
/// the instance view of the same answer must agree: every extension and every handler that it tells of is there (but for
/// VMSnapshot, which Azure hides), and of an encrypted VM the extension that encrypts.
fn extensions_in(body: &Value, vm: &Vm, view: &InstanceView) -> Option<Vec<Extension>> {
    let rows = match body.get("resources") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(rows)) => rows.as_slice(),
        Some(_) => return None,
    };
    let mut found = Vec::new();
    for row in rows {
        let mut extension = Extension::from_wire(row).ok().filter(|one| !one.kind.is_empty())?;
        let told = view.extensions.iter().find(|told| told.name.eq_ignore_ascii_case(extension.id.name()));
        // The message is in the instance view alone.
        if let Some(status) = told.and_then(|told| told.statuses.first()) {
            extension.message.clone_from(&status.message);
        }
        found.push(extension);
    }
    let named = |name: &str| found.iter().any(|one| one.id.name().eq_ignore_ascii_case(name));
    let of_kind = |kind: &str| {
        kind.to_ascii_lowercase().contains("recoveryservices.vmsnapshot")
            || found.iter().any(|one| format!("{}.{}", one.publisher, one.kind).eq_ignore_ascii_case(kind))
    };
    let encrypted = !view.encryption.is_empty() || !vm.encryption.is_empty();
    let encrypts = |one: &Extension| one.kind.to_ascii_lowercase().starts_with("azurediskencryption");
    let agrees = view.extensions.iter().all(|told| named(&told.name))
        && view.handlers.iter().all(|handler| of_kind(&handler.kind))
        && (!encrypted || found.iter().any(encrypts));
    agrees.then_some(found)
}

impl Arm {
    /// The VMs of a subscription or resource group.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vms(&self, scope: &ResourceId) -> Result<Listing<Vm>, ArmError> {
        is_scope(scope)?;
        let exchange = ask(&self.gateway, None, |seam| {
            let vms = client!(seam, compute)?.virtual_machines_client();
            Ok(match scope.resource_group() {
                Some(group) => first(vms.list(group, scope.subscription()).into_stream()),
                None => first(vms.list_all(scope.subscription()).into_stream()),
            })
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// The VMs of a subscription with their tags.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn tagged_vms(&self, scope: &ResourceId) -> Result<Listing<TaggedVm>, ArmError> {
        is_scope(scope)?;
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(first(client!(seam, compute)?.virtual_machines_client().list_all(scope.subscription()).into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// The power states of the VMs of a subscription: the list with `statusOnly=true`, never one call per VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn power_states(&self, scope: &ResourceId) -> Result<Listing<PowerRow>, ArmError> {
        is_scope(scope)?;
        let exchange = ask(&self.gateway, None, |seam| {
            let vms = client!(seam, compute)?.virtual_machines_client();
            Ok(first(vms.list_all(scope.subscription()).status_only("true").into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// One VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vm(&self, id: &ResourceId) -> Result<Vm, ArmError> {
        let ([name], group) = (names(id, VM)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(client!(seam, compute)?.virtual_machines_client().get(group, name, id.subscription()).send())
        });
        exchange.await?.one()
    }

    /// One VM together with its instance view: one call where [`Arm::vm`] and [`Arm::instance_view`] are two. The view is
    /// `None` when Azure left it out.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vm_with_view(&self, id: &ResourceId) -> Result<(Vm, Option<InstanceView>), ArmError> {
        self.whole_vm(id).await.map(|whole| (whole.vm, whole.view))
    }

    /// One VM with everything that its own GET carries: the instance view (`$expand=instanceView`), and the extension
    /// resources (`resources`; 22 of 22 recorded GETs of VMs with extensions have them in full, lists only their ids).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn whole_vm(&self, id: &ResourceId) -> Result<WholeVm, ArmError> {
        of_type(id, "Microsoft.Compute/virtualMachines")?;
        let url = self.gateway.url(id.as_str(), &[("$expand", "instanceView"), ("api-version", COMPUTE)]);
        let summary = Request::new(Method::GET, url.clone()).summary();
        let body = self.gateway.get(url).await?;
        let view: Option<InstanceView> = match body.pointer("/properties/instanceView") {
            Some(view) if view.is_object() => Some(one(&summary, &body)?),
            _ => None,
        };
        let vm: Vm = one(&summary, &body)?;
        let extensions = view.as_ref().and_then(|view| extensions_in(&body, &vm, view));
        Ok(WholeVm { vm, view, extensions })
    }

    /// The VM's instance view.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn instance_view(&self, id: &ResourceId) -> Result<InstanceView, ArmError> {
        let ([name], group) = (names(id, VM)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(client!(seam, compute)?.virtual_machines_client().instance_view(group, name, id.subscription()).send())
        });
        exchange.await?.one()
    }

    /// The extension resources of a VM, with their status messages.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn extensions(&self, id: &ResourceId) -> Result<Listing<Extension>, ArmError> {
        let ([name], group) = (names(id, VM)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let extensions = client!(seam, compute)?.virtual_machine_extensions_client();
            Ok(extensions.list(group, name, id.subscription()).expand("instanceView").send())
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// One managed disk.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn disk(&self, id: &ResourceId) -> Result<Disk, ArmError> {
        of_type(id, "Microsoft.Compute/disks")?;
        self.gateway.get_one(self.gateway.url(id.as_str(), &[("api-version", DISKS)])).await
    }

    /// Deletes an extension; 204 when it is not there.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_extension(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let ([vm, name], group) = (names(id, EXTENSION)?, group(id)?);
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            let extensions = client!(seam, compute)?.virtual_machine_extensions_client();
            Ok(extensions.delete(group, vm, name, id.subscription()).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }

    /// Applies the model of a VM again.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn reapply_vm(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let ([vm], group) = (names(id, VM)?, group(id)?);
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            Ok(client!(seam, compute)?.virtual_machines_client().reapply(group, vm, id.subscription()).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }

    /// Restarts a VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn restart_vm(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let ([vm], group) = (names(id, VM)?, group(id)?);
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            Ok(client!(seam, compute)?.virtual_machines_client().restart(group, vm, id.subscription()).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }

    /// Runs a script in a VM. Azure runs one at a time, answers 409 while another runs, and cannot cancel one; what it
    /// printed is in the last answer of the operation ([`super::model::RunOutput`]).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn run_command(&self, id: &ResourceId, command: &RunCommand<'_>, tag: &Tag) -> Result<Sent, ArmError> {
        let ([vm], group) = (names(id, VM)?, group(id)?);
        let mut input = compute::models::RunCommandInput::new(command.shell.command_id().to_owned());
        input.script = command.script.lines().map(str::to_owned).collect();
        let parameter = |(name, value): &(&str, &str)| {
            compute::models::RunCommandInputParameter::new((*name).to_owned(), (*value).to_owned())
        };
        input.parameters = command.parameters.iter().map(parameter).collect();
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            let vms = client!(seam, compute)?.virtual_machines_client();
            Ok(vms.run_command(group, vm, input, id.subscription()).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }
}
