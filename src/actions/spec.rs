//! What playbooks may ask for: the names of the actions and their typed parameters.
//!
//! Duty: the part of the table of actions (see [`super`]) that playbooks see. What an action does with its parameters is
//! in the action's own file.
//!
//! Invariants: parameters are complete (defaults filled in) and in range once they are here; an unknown name, key or
//! value is an error. Nothing here can run anything.

use std::fmt;

pub use super::backup::{BackupStart, BackupUntil};
pub use super::extension::{ExtensionUninstall, HandlerName};
pub use super::guest::{ConfKey, GuestAgentConf, GuestService, ServiceName, StartType};
pub use super::job::{JobCancel, JobWait};
pub use super::keyvault::KeyvaultGrant;
pub use super::locks::{LockScope, LocksRemove};
pub use super::points::{DeleteStale, DeleteWhole, StaleKind, StaleUntil};
pub use super::protection::{ProtectionEnable, ProtectionResume};
pub use super::vm::{VmReapply, VmRestart};
pub use super::{ActionName, ActionSpec};

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn with(action: ActionName, parameters: Value) -> Result<ActionSpec, String> {
        action.with(parameters.as_object().unwrap())
    }

    #[test]
    fn every_action_has_defaults_and_a_name_that_reads_back() {
        for action in ActionName::ALL {
            assert_eq!(ActionName::parse(action.as_str()), Some(action));
            let spec = with(action, json!({})).unwrap();
            assert_eq!(spec.name(), action);
            let json = serde_json::to_value(&spec).unwrap();
            assert_eq!(json["action"], action.as_str());
            let keys: Vec<&str> = json["with"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, action.keys());
            assert_eq!(serde_json::from_value::<ActionSpec>(json).unwrap(), spec);
        }
    }

    #[test]
    fn ranges_hold() {
        for (retain, good) in [("1d", true), ("23h", false), ("0s", false), ("3650d", true), ("soon", false)] {
            assert_eq!(with(ActionName::BackupStart, json!({ "retain": retain })).is_ok(), good, "{retain}");
        }
        assert!(with(ActionName::DeleteStale, json!({ "kinds": [] })).is_err());
        assert!(with(ActionName::DeleteStale, json!({ "kinds": ["failed"] })).is_err());
        assert!(with(ActionName::LocksRemove, json!({ "scope": "subscription" })).is_err());
        assert!(with(ActionName::LocksRemove, json!({ "scop": "backup_groups" })).is_err());
        assert!(with(ActionName::ExtensionUninstall, json!({ "handler": "CustomScript" })).is_err());
    }

    /// What an action changes in the view is there in the view: a value or a whole part.
    #[test]
    fn what_an_action_writes_is_in_the_view() {
        let view = serde_json::to_value(crate::facts::view::View::empty()).unwrap();
        for action in ActionName::ALL {
            for path in action.writes() {
                assert!(view.pointer(&format!("/{}", path.replace('.', "/"))).is_some(), "{action} writes {path}");
            }
        }
    }

    /// They are written back as they were read: a plan's hash covers them.
    #[test]
    fn keys_without_effect_are_read_with_their_one_value_and_kept() {
        for (action, key, value, other) in [
            (ActionName::LocksRemove, "scope", "backup_groups", "subscription"),
            (ActionName::ExtensionUninstall, "handler", "VMSnapshot", "CustomScript"),
        ] {
            assert_eq!(action.old_keys(), [key]);
            let spec = with(action, json!({ key: value })).unwrap();
            let written = serde_json::to_value(&spec).unwrap();
            assert_eq!(written, json!({ "action": action.as_str(), "with": { key: value } }));
            assert_eq!(serde_json::from_value::<ActionSpec>(written).unwrap(), spec);
            assert!(with(action, json!({ key: other })).is_err());
            assert!(with(action, json!({ key: null })).is_err());
            let plain = serde_json::to_value(with(action, json!({})).unwrap()).unwrap();
            assert_eq!(plain, json!({ "action": action.as_str(), "with": {} }));
        }
    }

    #[test]
    fn an_action_changes_a_value_or_a_whole_part() {
        assert!(ActionName::ExtensionUninstall.changes("vmsnapshot.state"));
        assert!(ActionName::ExtensionUninstall.changes("extensions.failed"));
        assert!(!ActionName::ExtensionUninstall.changes("extensions.other_failed"));
        assert!(!ActionName::ExtensionUninstall.changes("vm.power"));
        assert!(!ActionName::DeleteStale.changes("points.limit"));
        assert!(!ActionName::LocksRemove.changes("locksmith.name"));
    }
}
