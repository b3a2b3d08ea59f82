//! Who makes things: policy assignments, what they assign, and the activity log.
//!
//! Ids of policies are kept as text: they stand at management groups and at the tenant, too. What an effect or a rule does not
//! say plainly stays as it came; nothing is guessed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::{FromWire, Malformed, first_text, objects, text, texts, time};

/// A policy assignment that concerns a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAssignment {
    /// Its id.
    pub id: String,
    /// `properties.displayName`, its name where it has none.
    pub title: String,
    /// `properties.scope`.
    pub scope: String,
    /// `properties.notScopes`.
    pub not_scopes: Vec<String>,
    /// The id of a policy or of an initiative.
    pub definition: String,
    /// `properties.enforcementMode` is not `DoNotEnforce`.
    pub enforced: bool,
    /// `properties.parameters`: each with its value as text.
    pub parameters: Vec<(String, String)>,
}

/// `parameters` as an assignment or a member of an initiative gives them.
fn parameters(value: &Value, pointer: &str, member: &str) -> Vec<(String, String)> {
    let all = value.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(name, one)| Some((name.clone(), one.get(member)?.as_str()?.to_owned()))).collect()
}

impl FromWire for PolicyAssignment {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let (id, definition) = (text(value, "/id"), text(value, "/properties/policyDefinitionId"));
        if id.is_empty() || definition.is_empty() {
            return Err(Malformed("it names no policy".into()));
        }
        Ok(Self {
            id,
            title: first_text(value, &["/properties/displayName", "/name"]),
            scope: text(value, "/properties/scope"),
            not_scopes: texts(value, "/properties/notScopes"),
            definition,
            enforced: !text(value, "/properties/enforcementMode").eq_ignore_ascii_case("DoNotEnforce"),
            parameters: parameters(value, "/properties/parameters", "value"),
        })
    }
}

/// A policy: as much of it as tells whether it makes or changes locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDefinition {
    /// `properties.displayName`, its name where it has none.
    pub title: String,
    /// `properties.policyRule.then.effect` as it stands: a word, or an expression over a parameter.
    pub effect: String,
    /// Default values of its parameters.
    pub defaults: Vec<(String, String)>,
    /// Its rule names `Microsoft.Authorization/locks`: what it looks for, or what its template deploys.
    pub names_locks: bool,
}

impl FromWire for PolicyDefinition {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let rule = value.pointer("/properties/policyRule").filter(|rule| rule.is_object());
        let rule = rule.ok_or_else(|| Malformed("it has no rule".into()))?;
        Ok(Self {
            title: first_text(value, &["/properties/displayName", "/name"]),
            effect: text(rule, "/then/effect"),
            defaults: parameters(value, "/properties/parameters", "defaultValue"),
            names_locks: rule.to_string().to_ascii_lowercase().contains("microsoft.authorization/locks"),
        })
    }
}

/// A policy of an initiative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyMember {
    /// The id of the policy.
    pub definition: String,
    /// What it is given: a word, or an expression over a parameter of the initiative.
    pub parameters: Vec<(String, String)>,
}

/// An initiative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySet {
    /// `properties.displayName`, its name where it has none.
    pub title: String,
    /// Its policies.
    pub members: Vec<PolicyMember>,
    /// Default values of its parameters.
    pub defaults: Vec<(String, String)>,
}

impl FromWire for PolicySet {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        if !value.pointer("/properties/policyDefinitions").is_some_and(Value::is_array) {
            return Err(Malformed("it has no list of policies".into()));
        }
        let member = |one: &Value| PolicyMember {
            definition: text(one, "/policyDefinitionId"),
            parameters: parameters(one, "/parameters", "value"),
        };
        Ok(Self {
            title: first_text(value, &["/properties/displayName", "/name"]),
            members: objects(value, "/properties/policyDefinitions").map(member).collect(),
            defaults: parameters(value, "/properties/parameters", "defaultValue"),
        })
    }
}

/// An event of the activity log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityEvent {
    /// `eventTimestamp`.
    pub at: Option<Timestamp>,
    /// `caller`: a user's name, or the object id of an application.
    pub caller: String,
    /// `operationName.value`, e.g. `Microsoft.Authorization/locks/write`.
    pub operation: String,
    /// `status.value`: Started, Succeeded, Failed, ...
    pub status: String,
    /// `resourceId`, the scope of the authorization where it has none.
    pub resource: String,
}

impl FromWire for ActivityEvent {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let operation = first_text(value, &["/operationName/value", "/authorization/action"]);
        if operation.is_empty() {
            return Err(Malformed("it names no operation".into()));
        }
        Ok(Self {
            at: time(value, "/eventTimestamp"),
            caller: text(value, "/caller"),
            operation,
            status: text(value, "/status/value"),
            resource: first_text(value, &["/resourceId", "/authorization/scope"]),
        })
    }
}
