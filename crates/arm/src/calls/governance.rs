//! The typed calls about who makes things: the activity log, policy assignments and what they assign. All of them read.
//!
//! Invariant (S11): ids of policies come from Azure's answers and stand at management groups and at the tenant, where no
//! [`ResourceId`] can; they reach a URL only as one of the known forms, with every segment checked.

use jiff::Timestamp;

use crate::arm::Arm;
use crate::error::ArmError;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{ActivityEvent, PolicyAssignment, PolicyDefinition, PolicySet};

/// From the published OpenAPI (`ActivityLogs_List`).
const ACTIVITY: &str = "2015-04-01";
/// Microsoft.Authorization policies. Its contract was not at hand; this version has been stable for years.
const POLICY: &str = "2021-06-01";

impl Arm {
    /// What happened in a resource group. Azure keeps 90 days and refuses to look further back (recorded).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn activity(
        &self,
        group: &ResourceId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Listing<ActivityEvent>, ArmError> {
        let name = group.resource_group().filter(|name| !name.contains('\''));
        let name = name.ok_or_else(|| ArmError::refused(group.as_str(), "it is not a resource group"))?;
        let stamp = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        // The contract: no other form of a filter is allowed.
        let filter = format!(
            "eventTimestamp ge '{}' and eventTimestamp le '{}' and resourceGroupName eq '{name}'",
            stamp(from),
            stamp(until)
        );
        let path = format!("{}/providers/Microsoft.Insights/eventtypes/management/values", group.subscription_id());
        self.gateway.get_list(self.gateway.url(&path, &[("$filter", filter.as_str()), ("api-version", ACTIVITY)])).await
    }

    /// The policy assignments that concern a subscription: without a filter those above it and below it are listed, too.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn policy_assignments(&self, subscription: &ResourceId) -> Result<Listing<PolicyAssignment>, ArmError> {
        let path = format!("{subscription}/providers/Microsoft.Authorization/policyAssignments");
        self.gateway.get_list(self.gateway.url(&path, &[("api-version", POLICY)])).await
    }

    /// One policy.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered, or that the id is not one.
    pub async fn policy_definition(&self, id: &str) -> Result<PolicyDefinition, ArmError> {
        self.gateway.get_one(self.gateway.url(&checked(id, "policyDefinitions")?, &[("api-version", POLICY)])).await
    }

    /// One initiative.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered, or that the id is not one.
    pub async fn policy_set(&self, id: &str) -> Result<PolicySet, ArmError> {
        self.gateway.get_one(self.gateway.url(&checked(id, "policySetDefinitions")?, &[("api-version", POLICY)])).await
    }
}

/// The path of a policy or initiative: of the tenant, a management group or a subscription, and nothing else. A version below
/// it (`/versions/...`) is left out: what it does is told by the policy.
fn checked(id: &str, kind: &str) -> Result<String, ArmError> {
    let refused = || ArmError::refused(id, "it is not the id of a policy");
    let segments: Vec<&str> = id.trim_matches('/').split('/').collect();
    let plain = |segment: &&str| {
        let fits = |c: char| c.is_alphanumeric() || "-_.() ".contains(c);
        !segment.is_empty() && segment.chars().any(char::is_alphanumeric) && segment.chars().all(fits)
    };
    let is = |segment: Option<&&str>, word: &str| segment.is_some_and(|one| one.eq_ignore_ascii_case(word));
    let home = match segments.first() {
        first if is(first, "subscriptions") => 2,
        first if is(first, "providers") && is(segments.get(1), "Microsoft.Management") => 4,
        _ => 0,
    };
    let rest = segments.get(home..).unwrap_or_default();
    let known = is(rest.first(), "providers") && is(rest.get(1), "Microsoft.Authorization") && is(rest.get(2), kind);
    if !known || rest.len() < 4 || !segments.iter().all(plain) {
        return Err(refused());
    }
    Ok(format!("/{}", segments.get(..home + 4).unwrap_or_default().join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_policies_are_checked_before_they_are_a_path() {
        let kind = "policyDefinitions";
        for good in [
            "/providers/Microsoft.Authorization/policyDefinitions/0a1b",
            "/providers/Microsoft.Management/managementGroups/root/providers/Microsoft.Authorization/policyDefinitions/x",
            "/subscriptions/1/providers/microsoft.authorization/policydefinitions/lock groups",
        ] {
            assert_eq!(checked(good, kind).unwrap(), good);
        }
        let version = "/providers/Microsoft.Authorization/policyDefinitions/0a1b/versions/1.0.0";
        assert_eq!(checked(version, kind).unwrap(), "/providers/Microsoft.Authorization/policyDefinitions/0a1b");
        for bad in [
            "",
            "/",
            "/providers/Microsoft.Authorization/policyDefinitions",
            "/providers/Microsoft.Authorization/policyDefinitions/..",
            "/providers/Microsoft.Authorization/policySetDefinitions/x",
            "/providers/Microsoft.Authorization/policyDefinitions/a?b",
            "/providers/Microsoft.Authorization/policyDefinitions/a%2fb",
            "/subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v",
            "https://elsewhere/providers/Microsoft.Authorization/policyDefinitions/x",
        ] {
            assert!(checked(bad, kind).is_err(), "{bad}");
        }
    }
}
