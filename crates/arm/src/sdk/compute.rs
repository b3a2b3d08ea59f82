//! Microsoft.Compute 2024-07-01: VMs, extensions, restore points.

use azure_mgmt_compute::package_2024_07_01 as compute;
use uuid::Uuid;

use super::bridge::{ask, client, first};
use super::{group, names};
use crate::api::{Listing, Sent};
use crate::error::ArmError;
use crate::gateway::Gateway;
use crate::id::ResourceId;
use crate::model::{Collection, Extension, InstanceView, Point, RunCommand, Vm};

const VM: &str = "Microsoft.Compute/virtualMachines";
const EXTENSION: &str = "Microsoft.Compute/virtualMachines/extensions";
const COLLECTION: &str = "Microsoft.Compute/restorePointCollections";
const POINT: &str = "Microsoft.Compute/restorePointCollections/restorePoints";

/// VMs of a subscription or resource group.
pub async fn vms(gateway: &Gateway, scope: &ResourceId) -> Result<Listing<Vm>, ArmError> {
    let exchange = ask(gateway, None, |seam| {
        let vms = client!(seam, compute)?.virtual_machines_client();
        Ok(match scope.resource_group() {
            Some(group) => first(vms.list(group, scope.subscription()).into_stream()),
            None => first(vms.list_all(scope.subscription()).into_stream()),
        })
    });
    exchange.await?.pages(gateway).await
}

/// One VM.
pub async fn vm(gateway: &Gateway, id: &ResourceId) -> Result<Vm, ArmError> {
    let ([name], group) = (names(id, VM)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        Ok(client!(seam, compute)?.virtual_machines_client().get(group, name, id.subscription()).send())
    });
    exchange.await?.one()
}

/// The instance view of a VM.
pub async fn instance_view(gateway: &Gateway, id: &ResourceId) -> Result<InstanceView, ArmError> {
    let ([name], group) = (names(id, VM)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        Ok(client!(seam, compute)?.virtual_machines_client().instance_view(group, name, id.subscription()).send())
    });
    exchange.await?.one()
}

/// The extension resources of a VM, with their status messages.
pub async fn extensions(gateway: &Gateway, id: &ResourceId) -> Result<Listing<Extension>, ArmError> {
    let ([name], group) = (names(id, VM)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        let extensions = client!(seam, compute)?.virtual_machine_extensions_client();
        Ok(extensions.list(group, name, id.subscription()).expand("instanceView").send())
    });
    exchange.await?.pages(gateway).await
}

/// Deletes an extension; 204 when it is not there.
pub async fn delete_extension(gateway: &Gateway, id: &ResourceId, tag: Uuid) -> Result<Sent, ArmError> {
    let ([vm, name], group) = (names(id, EXTENSION)?, group(id)?);
    let exchange = ask(gateway, Some(tag), |seam| {
        let extensions = client!(seam, compute)?.virtual_machine_extensions_client();
        Ok(extensions.delete(group, vm, name, id.subscription()).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}

/// Applies the model of a VM again.
pub async fn reapply(gateway: &Gateway, id: &ResourceId, tag: Uuid) -> Result<Sent, ArmError> {
    let ([vm], group) = (names(id, VM)?, group(id)?);
    let exchange = ask(gateway, Some(tag), |seam| {
        Ok(client!(seam, compute)?.virtual_machines_client().reapply(group, vm, id.subscription()).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}

/// Restarts a VM.
pub async fn restart(gateway: &Gateway, id: &ResourceId, tag: Uuid) -> Result<Sent, ArmError> {
    let ([vm], group) = (names(id, VM)?, group(id)?);
    let exchange = ask(gateway, Some(tag), |seam| {
        Ok(client!(seam, compute)?.virtual_machines_client().restart(group, vm, id.subscription()).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}

/// Runs a script in a VM (`VirtualMachines_RunCommand`). Its lines go as a list, as azure-cli sends them (recorded).
pub async fn run_command(
    gateway: &Gateway,
    id: &ResourceId,
    command: &RunCommand<'_>,
    tag: Uuid,
) -> Result<Sent, ArmError> {
    let ([vm], group) = (names(id, VM)?, group(id)?);
    let mut input = compute::models::RunCommandInput::new(command.shell.command_id().to_owned());
    input.script = command.script.lines().map(str::to_owned).collect();
    let parameter = |(name, value): &(&str, &str)| {
        compute::models::RunCommandInputParameter::new((*name).to_owned(), (*value).to_owned())
    };
    input.parameters = command.parameters.iter().map(parameter).collect();
    let exchange = ask(gateway, Some(tag), |seam| {
        let vms = client!(seam, compute)?.virtual_machines_client();
        Ok(vms.run_command(group, vm, input, id.subscription()).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}

/// Restore point collections of a subscription or resource group, without points (lists never expand them).
pub async fn collections(gateway: &Gateway, scope: &ResourceId) -> Result<Listing<Collection>, ArmError> {
    let exchange = ask(gateway, None, |seam| {
        let collections = client!(seam, compute)?.restore_point_collections_client();
        Ok(match scope.resource_group() {
            Some(group) => first(collections.list(scope.subscription(), group).into_stream()),
            None => first(collections.list_all(scope.subscription()).into_stream()),
        })
    });
    exchange.await?.pages(gateway).await
}

/// One collection with its points.
pub async fn collection(gateway: &Gateway, id: &ResourceId) -> Result<Collection, ArmError> {
    let ([name], group) = (names(id, COLLECTION)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        let collections = client!(seam, compute)?.restore_point_collections_client();
        Ok(collections.get(id.subscription(), group, name).expand("restorePoints").send())
    });
    exchange.await?.one()
}

/// Deletes a collection and all its points.
pub async fn delete_collection(gateway: &Gateway, id: &ResourceId, tag: Uuid) -> Result<Sent, ArmError> {
    let ([name], group) = (names(id, COLLECTION)?, group(id)?);
    let exchange = ask(gateway, Some(tag), |seam| {
        Ok(client!(seam, compute)?.restore_point_collections_client().delete(id.subscription(), group, name).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}

/// One restore point with its instance view (the progress of a copy).
pub async fn point(gateway: &Gateway, id: &ResourceId) -> Result<Point, ArmError> {
    let ([collection, name], group) = (names(id, POINT)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        let points = client!(seam, compute)?.restore_points_client();
        Ok(points.get(id.subscription(), group, collection, name).expand("instanceView").send())
    });
    exchange.await?.one()
}

/// Deletes one restore point.
pub async fn delete_point(gateway: &Gateway, id: &ResourceId, tag: Uuid) -> Result<Sent, ArmError> {
    let ([collection, name], group) = (names(id, POINT)?, group(id)?);
    let exchange = ask(gateway, Some(tag), |seam| {
        Ok(client!(seam, compute)?.restore_points_client().delete(id.subscription(), group, collection, name).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}
