//! Policy assignments and the activity log as they are written in an estate.

use jiff::Timestamp;
use serde::Deserialize;

use crate::estate::build::Builder;
use crate::world::governance::{Activity, PolicyAssigned};
use azmend_arm::id::ResourceId;
use azmend_base::clock::earlier;
use azmend_base::duration::Span;
use azmend_base::yaml::Spanned;

/// A policy assignment in an estate, with its policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicySpec {
    pub name: String,
    /// A subscription, `group`, or the id of a management group.
    pub scope: Spanned<String>,
    pub effect: String,
    /// The type of resource that its rule names.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub not_scopes: Vec<String>,
    #[serde(default)]
    pub enforced: Option<bool>,
    /// It is assigned with an initiative of this name.
    #[serde(default)]
    pub initiative: Option<String>,
    /// The effect stands in a parameter.
    #[serde(default)]
    pub by_parameter: bool,
    /// Azure does not find its definition.
    #[serde(default)]
    pub lost: bool,
}

/// An event of the activity log in an estate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivitySpec {
    /// The resource group.
    pub group: Spanned<String>,
    /// A lock on it.
    pub lock: String,
    /// `write` or `delete`.
    pub operation: String,
    pub by: String,
    pub age: Span,
}

impl Builder {
    /// Policy assignments and the activity log.
    pub(crate) fn governance(&mut self, policies: &[PolicySpec], activity: &[ActivitySpec], now: Timestamp) {
        for spec in policies {
            let above = spec.scope.value.starts_with("/providers/Microsoft.Management/");
            let scope = if above { Some(spec.scope.value.clone()) } else { self.scope(&spec.scope) };
            let Some(scope) = scope else { continue };
            self.world.policies_assigned.push(PolicyAssigned {
                name: spec.name.clone(),
                scope,
                effect: spec.effect.clone(),
                kind: spec.kind.clone(),
                not_scopes: spec.not_scopes.clone(),
                enforced: spec.enforced.unwrap_or(true),
                initiative: spec.initiative.clone(),
                by_parameter: spec.by_parameter,
                lost: spec.lost,
            });
        }
        for spec in activity {
            let scope = self.scope(&spec.group).and_then(|scope| ResourceId::parse(&scope).ok());
            let lock = scope.and_then(|scope| scope.resource("Microsoft.Authorization", "locks", &spec.lock).ok());
            let Some(resource) = lock else { continue };
            self.world.activity.push(Activity {
                at: earlier(now, spec.age.to_std()),
                caller: spec.by.clone(),
                operation: format!("Microsoft.Authorization/locks/{}", spec.operation),
                resource,
            });
        }
    }
}
