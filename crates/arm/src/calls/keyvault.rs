//! The typed calls about key vaults and role assignments. No generated client is linked for them.
//!
//! Invariants as in [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change
//! is sent exactly once. Access policies are only ever added and removed by themselves; the calls that write a whole
//! vault, or replace its access policies, are not here on purpose. No key, secret or certificate is ever touched.

use serde_json::{Value, json};

use crate::arm::Arm;
use crate::error::ArmError;
use crate::http::{Method, Request, Tag};
use crate::id::{ResourceId, is_guid};
use crate::listing::Listing;
use crate::model::{KeyPermissions, KeyVault, RoleAssignment};
use crate::poll::{Operation, Sent};

/// Microsoft.KeyVault; from the published OpenAPI.
const KEY_VAULT: &str = "2023-07-01";
/// Microsoft.Authorization; as azure-cli sends it (recorded).
const ROLES: &str = "2022-04-01";

/// What an identity gets or loses in a key vault's access policies.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    /// The vault's tenant.
    pub tenant: &'a str,
    /// Object id of the identity.
    pub principal: &'a str,
    /// The permissions.
    pub permissions: &'a KeyPermissions,
}

impl Arm {
    fn path(&self, id: &ResourceId, rest: &str, query: &[(&str, &str)]) -> url::Url {
        self.gateway.url(&format!("{id}{rest}"), query)
    }

    /// One key vault.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn key_vault(&self, id: &ResourceId) -> Result<KeyVault, ArmError> {
        is_key_vault(id)?;
        self.gateway.get_one(self.path(id, "", &[("api-version", KEY_VAULT)])).await
    }

    /// The role assignments at a key vault and above it.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn role_assignments(&self, vault: &ResourceId) -> Result<Listing<RoleAssignment>, ArmError> {
        is_key_vault(vault)?;
        let query = [("api-version", ROLES), ("$filter", "atScope()")];
        self.gateway.get_list(self.path(vault, "/providers/Microsoft.Authorization/roleAssignments", &query)).await
    }

    /// Writes access policies: `target` is `{vault}/accessPolicies/add` or `.../remove`.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn write_access_policy(
        &self,
        target: &ResourceId,
        grant: Grant<'_>,
        tag: &Tag,
    ) -> Result<Sent, ArmError> {
        let refused = |why: &str| ArmError::refused(target.as_str(), why);
        if !target.is_type("Microsoft.KeyVault/vaults/accessPolicies") || !["add", "remove"].contains(&target.name()) {
            return Err(refused("it is not an addition to or a removal from access policies"));
        }
        if !is_guid(grant.principal) || !is_guid(grant.tenant) {
            return Err(refused("the identity or its tenant is not a GUID"));
        }
        if grant.permissions.is_empty() {
            return Err(refused("there is no permission to write"));
        }
        let permissions = serde_json::to_value(grant.permissions).unwrap_or_default();
        let policy = json!({ "tenantId": grant.tenant, "objectId": grant.principal, "permissions": permissions });
        let body = json!({ "properties": { "accessPolicies": [policy] } });
        self.change(Method::PUT, target, KEY_VAULT, &body, tag).await
    }

    /// Assigns a role to a service principal. `role` is the id of the role definition.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn assign_role(
        &self,
        assignment: &ResourceId,
        role: &str,
        principal: &str,
        tag: &Tag,
    ) -> Result<Sent, ArmError> {
        is_assignment(assignment)?;
        let refused = |why: &str| ArmError::refused(assignment.as_str(), why);
        let definition = ResourceId::parse(role).ok();
        if !definition.is_some_and(|role| role.is_type("Microsoft.Authorization/roleDefinitions")) {
            return Err(refused("the role is not a role definition"));
        }
        if !is_guid(principal) {
            return Err(refused("the identity is not a GUID"));
        }
        // With its type Azure does not look the principal up in the directory, where it may not have arrived yet.
        let properties =
            json!({ "roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal" });
        self.change(Method::PUT, assignment, ROLES, &json!({ "properties": properties }), tag).await
    }

    /// Removes a role assignment.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn unassign_role(&self, assignment: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        is_assignment(assignment)?;
        self.change(Method::DELETE, assignment, ROLES, &Value::Null, tag).await
    }

    async fn change(
        &self,
        method: Method,
        target: &ResourceId,
        version: &str,
        body: &Value,
        tag: &Tag,
    ) -> Result<Sent, ArmError> {
        let mut request = Request::new(method, self.path(target, "", &[("api-version", version)]));
        if !body.is_null() {
            request.body = body.to_string().into();
        }
        let response = Box::pin(self.gateway.send(request.clone(), Some(tag.client_request_id))).await?;
        Ok(Operation::started(&self.gateway, &request, target, &response)
            .map_or(Sent::Done { status: response.status }, Sent::Accepted))
    }
}

fn is_key_vault(id: &ResourceId) -> Result<(), ArmError> {
    if id.is_type("Microsoft.KeyVault/vaults") {
        return Ok(());
    }
    Err(ArmError::refused(id.as_str(), "it is not a key vault"))
}

/// Only an assignment on a single key vault: never one on a group or a subscription.
fn is_assignment(id: &ResourceId) -> Result<(), ArmError> {
    let on_vault = id.scope().is_some_and(|scope| scope.is_type("Microsoft.KeyVault/vaults"));
    if id.is_type("Microsoft.Authorization/roleAssignments") && on_vault {
        return Ok(());
    }
    Err(ArmError::refused(id.as_str(), "it is not a role assignment on a key vault"))
}
