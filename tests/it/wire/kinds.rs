//! Which of azmend's reads a recorded exchange is.

use super::read::Exchange;

/// A kind of response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Vm,
    VmList,
    InstanceView,
    Extension,
    ExtensionList,
    Collection,
    CollectionList,
    Point,
    Lock,
    LockList,
    Group,
    GroupList,
    ResourceList,
    Subscription,
    SubscriptionList,
    Vault,
    VaultList,
    BackupStatus,
    Item,
    ItemList,
    RecoveryPoint,
    RecoveryPointList,
    Policy,
    PolicyList,
    Job,
    JobList,
    Permissions,
    Denies,
    Proxies,
    Graph,
    /// Polls of the Azure-AsyncOperation header: a status document.
    AsyncOperation,
    /// Polls of the Location header.
    OperationResult,
    /// An accepted change (its headers say how to follow it).
    Accepted,
    /// A status of 400 or more.
    Error,
    /// Nothing azmend reads.
    Other,
}

impl Kind {
    pub fn of(exchange: &Exchange) -> Self {
        if exchange.is_example() {
            return of_example(exchange);
        }
        if exchange.status >= 400 {
            return Self::Error;
        }
        if !exchange.url.host_str().is_some_and(|host| host.starts_with("management.")) {
            return Self::Other;
        }
        let segments: Vec<String> = exchange.segments().iter().map(|s| s.to_lowercase()).collect();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match exchange.method.as_str() {
            "GET" => get(&path, exchange),
            "PUT" if exchange.status <= 201 && is_lock(&path) => Self::Lock,
            "POST" if path.last() == Some(&"backupstatus") => Self::BackupStatus,
            "POST" if path.ends_with(&["microsoft.resourcegraph", "resources"]) => Self::Graph,
            "DELETE" | "PUT" | "POST" if is_ours(&path) => Self::Accepted,
            _ => Self::Other,
        }
    }
}

fn is_lock(path: &[&str]) -> bool {
    let n = path.len();
    n >= 4 && path[n - 4..n - 1] == ["providers", "microsoft.authorization", "locks"]
}

/// Changes of resources that azmend changes too.
fn is_ours(path: &[&str]) -> bool {
    match path {
        _ if is_lock(path) => true,
        [_, _, _, _, "providers", "microsoft.compute", "restorepointcollections", ..] => true,
        [_, _, _, _, "providers", "microsoft.compute", "virtualmachines", _, "extensions", _] => true,
        [.., "backup"] => path.contains(&"protecteditems"),
        [.., "cancel"] => path.contains(&"backupjobs"),
        _ => false,
    }
}

fn get(path: &[&str], exchange: &Exchange) -> Kind {
    if let Some(at) = path.windows(2).rposition(|pair| pair == ["providers", "microsoft.authorization"]) {
        return match &path[at + 2..] {
            ["locks"] => Kind::LockList,
            ["locks", _] => Kind::Lock,
            ["permissions"] => Kind::Permissions,
            ["denyassignments"] => Kind::Denies,
            _ => Kind::Other,
        };
    }
    match path {
        ["subscriptions"] => Kind::SubscriptionList,
        ["subscriptions", _] => Kind::Subscription,
        ["subscriptions", _, "resourcegroups"] => Kind::GroupList,
        ["subscriptions", _, "resourcegroups", _] => Kind::Group,
        ["subscriptions", _, "resources"] | ["subscriptions", _, "resourcegroups", _, "resources"] => {
            Kind::ResourceList
        }
        ["subscriptions", _, "operationresults", _] => Kind::OperationResult,
        ["subscriptions", _, "providers", "microsoft.compute", "locations", _, "operations", _] => {
            let monitor = exchange.url.query_pairs().any(|(key, value)| key == "monitor" && value == "true");
            if monitor { Kind::OperationResult } else { Kind::AsyncOperation }
        }
        ["subscriptions", _, "providers", "microsoft.compute", "virtualmachines"]
        | ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.compute", "virtualmachines"] => {
            Kind::VmList
        }
        ["subscriptions", _, "providers", "microsoft.compute", "restorepointcollections"]
        | ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.compute", "restorepointcollections"] => {
            Kind::CollectionList
        }
        [_, _, _, _, "providers", "microsoft.compute", rest @ ..] => match rest {
            ["virtualmachines", _] => Kind::Vm,
            ["virtualmachines", _, "instanceview"] => Kind::InstanceView,
            ["virtualmachines", _, "extensions"] => Kind::ExtensionList,
            ["virtualmachines", _, "extensions", _] => Kind::Extension,
            ["restorepointcollections", _] => Kind::Collection,
            ["restorepointcollections", _, "restorepoints", _] => Kind::Point,
            _ => Kind::Other,
        },
        ["subscriptions", _, "providers", "microsoft.recoveryservices", "vaults"]
        | ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.recoveryservices", "vaults"] => {
            Kind::VaultList
        }
        [_, _, _, _, "providers", "microsoft.recoveryservices", "vaults", _, rest @ ..] => vault(rest),
        _ => Kind::Other,
    }
}

fn vault(rest: &[&str]) -> Kind {
    match rest {
        [] => Kind::Vault,
        ["backupprotecteditems"] => Kind::ItemList,
        ["backupfabrics", _, "protectioncontainers", _, "protecteditems", _, tail @ ..] => match tail {
            [] => Kind::Item,
            ["recoverypoints"] => Kind::RecoveryPointList,
            ["recoverypoints", _] => Kind::RecoveryPoint,
            ["operationsstatus", _] => Kind::AsyncOperation,
            ["operationresults", _] => Kind::OperationResult,
            _ => Kind::Other,
        },
        ["backuppolicies"] => Kind::PolicyList,
        ["backuppolicies", _] => Kind::Policy,
        ["backupjobs"] => Kind::JobList,
        ["backupjobs", _] => Kind::Job,
        ["backupresourceguardproxies"] => Kind::Proxies,
        ["backupoperations" | "operationstatus", _] | ["backupjobs", _, "operationsstatus", _] => Kind::AsyncOperation,
        [.., "operationresults", _] => Kind::OperationResult,
        _ => Kind::Other,
    }
}

/// An example has no address: its file's name and its ids tell.
fn of_example(exchange: &Exchange) -> Kind {
    let body = exchange.json();
    if exchange.status != 200 || !body.is_object() {
        return Kind::Other;
    }
    let file = exchange.file.rsplit('/').next().unwrap_or_default().to_lowercase();
    if file == "getbackupstatus.json" {
        return Kind::BackupStatus;
    }
    if file.contains("operationstatus") && body.get("status").is_some() {
        return Kind::AsyncOperation;
    }
    if body.get("statuses").is_some() || body.get("vmAgent").is_some() {
        return Kind::InstanceView;
    }
    let (element, list) = match body.get("value").and_then(|value| value.as_array()) {
        Some(items) => (items.first().cloned().unwrap_or_default(), true),
        None => (body, false),
    };
    let id = element.get("id").and_then(|id| id.as_str()).unwrap_or_default().to_lowercase();
    let path: Vec<&str> = id.split('/').filter(|segment| !segment.is_empty()).collect();
    match (get(&path, exchange), list) {
        (Kind::Vm, true) => Kind::VmList,
        (Kind::Extension, true) => Kind::ExtensionList,
        (Kind::Collection, true) => Kind::CollectionList,
        (Kind::Lock, true) => Kind::LockList,
        (Kind::Vault, true) => Kind::VaultList,
        (Kind::Item, true) => Kind::ItemList,
        (Kind::RecoveryPoint, true) => Kind::RecoveryPointList,
        (Kind::Policy, true) => Kind::PolicyList,
        (Kind::Job, true) => Kind::JobList,
        (Kind::Group, true) => Kind::GroupList,
        (kind, false) => kind,
        (_, true) => Kind::Other,
    }
}
