//! Every recorded success of a kind azmend reads, through azmend's own typed calls, compared with the raw JSON.

use azmend::arm::Operation;
use azmend::arm::http::{Method, Request, Response};
use azmend::arm::model::{
    BackupStatus, Collection, Extension, FromWire, Group, InstanceView, Job, Lock, Point, Policy, ProtectedItem,
    RecoveryPoint, Subscription, Vault, Vm,
};
use azmend::arm::{Arm, ArmError, GraphQuery, GraphScope, JobFilter, Listing, PollState, ResourceId, Sent, Tag};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::compare::{self, check};
use super::kinds::Kind;
use super::read::Exchange;
use super::replay::{Replay, endpoint};

/// The other responses of the file, by address: the pages of its lists.
pub type Pages = Vec<(Url, Response)>;

pub fn pages_of(exchanges: &[Exchange]) -> Pages {
    let is_page = |e: &&Exchange| {
        e.method == "GET" && e.status == 200 && e.url.query().is_some_and(|q| q.to_lowercase().contains("skiptoken"))
    };
    exchanges.iter().filter(is_page).map(|e| (e.url.clone(), e.response())).collect()
}

/// Reads one exchange; says how many models came out, or what was lost.
pub async fn decode(exchange: &Exchange, kind: Kind, pages: &Pages) -> Result<usize, String> {
    match kind {
        Kind::AsyncOperation | Kind::OperationResult => poll(exchange, kind).await.map(|()| 1),
        Kind::Accepted => accepted(exchange).await.map(|()| 1),
        Kind::Other | Kind::Error => Ok(0),
        _ if exchange.status == 204 => Ok(0),
        _ => {
            let body = exchange.json();
            if !body.is_object() && !body.is_array() {
                return Err("the body is not JSON".into());
            }
            let count = raw(kind, &body)?;
            if !exchange.is_example() {
                typed(exchange, kind, &body, pages).await?;
            }
            Ok(count)
        }
    }
}

/// Without the gateway: `FromWire` on the body or on every element of the page.
fn raw(kind: Kind, body: &Value) -> Result<usize, String> {
    let one = |result: Result<Value, String>| result.map(|_| 1);
    match kind {
        Kind::Vm => {
            one(check::<Vm>(body, compare::VM))?;
            match body.pointer("/properties/instanceView") {
                Some(view) => one(view_inside(body, view)),
                None => Ok(1),
            }
        }
        Kind::InstanceView => one(view_inside(body, body)),
        Kind::Extension => one(check::<Extension>(body, compare::EXTENSION)),
        Kind::Collection => one(collection(body)),
        Kind::Point => one(check::<Point>(body, compare::POINT)),
        Kind::Lock => one(lock(body)),
        Kind::Group => one(check::<Group>(body, compare::GROUP)),
        Kind::Subscription => one(check::<Subscription>(body, compare::SUBSCRIPTION)),
        Kind::Vault => one(check::<Vault>(body, compare::VAULT)),
        Kind::BackupStatus => one(check::<BackupStatus>(body, compare::BACKUP_STATUS)),
        Kind::Item => one(check::<ProtectedItem>(body, compare::ITEM)),
        Kind::RecoveryPoint => one(check::<RecoveryPoint>(body, compare::RECOVERY_POINT)),
        Kind::Policy => one(policy(body)),
        Kind::Job => one(check::<Job>(body, compare::JOB)),
        Kind::VmList => list(body, |v| check::<Vm>(v, compare::VM)),
        Kind::ExtensionList => list(body, |v| check::<Extension>(v, compare::EXTENSION)),
        Kind::CollectionList => list(body, collection),
        Kind::LockList => list(body, lock),
        Kind::GroupList => list(body, |v| check::<Group>(v, compare::GROUP)),
        Kind::ResourceList => list(body, resource),
        Kind::SubscriptionList => list(body, |v| check::<Subscription>(v, compare::SUBSCRIPTION)),
        Kind::VaultList => list(body, |v| check::<Vault>(v, compare::VAULT)),
        Kind::ItemList => list(body, |v| check::<ProtectedItem>(v, compare::ITEM)),
        Kind::RecoveryPointList => list(body, |v| check::<RecoveryPoint>(v, compare::RECOVERY_POINT)),
        Kind::PolicyList => list(body, policy),
        Kind::JobList => list(body, |v| check::<Job>(v, compare::JOB)),
        Kind::Proxies => list(body, |v| Ok(v.clone())),
        // Read by the raw JSON; there is nothing to lose but the rows.
        Kind::Graph => Ok(body.pointer("/data").and_then(Value::as_array).map_or(0, Vec::len)),
        Kind::Permissions | Kind::Denies => list(body, |v| Ok(v.clone())),
        Kind::AsyncOperation | Kind::OperationResult | Kind::Accepted | Kind::Error | Kind::Other => Ok(0),
    }
}

fn list(body: &Value, one: impl Fn(&Value) -> Result<Value, String>) -> Result<usize, String> {
    // `null` is an empty list to azmend; anything else that is not a list is an error.
    let items = match body.get("value") {
        Some(Value::Array(items)) => items.as_slice(),
        Some(Value::Null) => &[],
        _ => return Err("there is no list".into()),
    };
    for (index, item) in items.iter().enumerate() {
        one(item).map_err(|why| format!("element {index}: {why}"))?;
    }
    Ok(items.len())
}

fn resource(value: &Value) -> Result<Value, String> {
    check::<ResourceId>(value, &[])
}

fn view_inside(body: &Value, view: &Value) -> Result<Value, String> {
    let model = InstanceView::from_wire(body).map_err(|why| why.to_string())?;
    let power = view["statuses"].as_array().into_iter().flatten().find_map(|status| {
        status["code"].as_str().filter(|code| code.starts_with("PowerState/")).map(|code| code[11..].to_owned())
    });
    if model.power != power.clone().unwrap_or_default() {
        return Err(format!("power: sent {power:?}, read {:?}", model.power));
    }
    let model = serde_json::to_value(model).map_err(|error| error.to_string())?;
    let mut lost = Vec::new();
    compare::compare(&model, view, compare::INSTANCE_VIEW, "", &mut lost);
    if lost.is_empty() { Ok(model) } else { Err(lost.join("; ")) }
}

fn lock(body: &Value) -> Result<Value, String> {
    let model = check::<Lock>(body, compare::LOCK)?;
    let sent: Vec<&str> = body["properties"]["owners"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|o| o["applicationId"].as_str())
        .collect();
    let read: Vec<&str> = model["owners"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if sent == read { Ok(model) } else { Err(format!("owners: sent {sent:?}, read {read:?}")) }
}

fn collection(body: &Value) -> Result<Value, String> {
    let model = check::<Collection>(body, compare::COLLECTION)?;
    let (sent, read) = (body["properties"]["restorePoints"].is_array(), model["points"].is_array());
    if sent == read { Ok(model) } else { Err(format!("points: sent {sent}, read {read}")) }
}

fn policy(body: &Value) -> Result<Value, String> {
    let model = check::<Policy>(body, compare::POLICY)?;
    let schedule = &body["properties"]["schedulePolicy"];
    let frequency = schedule["scheduleRunFrequency"].as_str().unwrap_or_default();
    if model["schedule"]["frequency"] != frequency {
        return Err(format!("schedule: sent {frequency}, read {}", model["schedule"]["frequency"]));
    }
    // The times: at the top (Standard), under the frequency (Enhanced), or the start of the hourly window.
    let lists = [
        schedule.pointer("/scheduleRunTimes"),
        schedule.pointer("/dailySchedule/scheduleRunTimes"),
        schedule.pointer("/weeklySchedule/scheduleRunTimes"),
    ];
    let sent = lists.iter().flatten().filter_map(|list| list.as_array()).map(Vec::len).max().unwrap_or(0);
    let read = model["schedule"]["times"].as_array().map_or(0, Vec::len);
    if frequency != "Hourly" && sent != read {
        return Err(format!("schedule: {sent} times were sent, {read} read"));
    }
    if frequency == "Hourly"
        && (read != 1 || model["schedule"]["interval_hours"] != schedule["hourlySchedule"]["interval"])
    {
        return Err(format!("schedule: the hourly window was not read: {}", model["schedule"]));
    }
    Ok(model)
}

/// What the gateway made of the whole exchange must be what `FromWire` makes of the same bodies.
async fn typed(exchange: &Exchange, kind: Kind, body: &Value, pages: &Pages) -> Result<(), String> {
    let replay = Replay::of([exchange.response()]).with_pages(pages.clone());
    let arm = replay.arm();
    let path = format!("/{}", exchange.segments().join("/"));
    let parent = |up: usize| -> Result<ResourceId, String> {
        let mut segments = exchange.segments();
        segments.truncate(segments.len().saturating_sub(up));
        ResourceId::parse(&segments.join("/")).map_err(|error| error.to_string())
    };
    let sub = exchange.segments().get(1).cloned().unwrap_or_default();
    let all = |body: &Value| rows(body, pages);
    match kind {
        Kind::Vm => same(arm.vm(&parent(0)?).await, body),
        Kind::InstanceView => same(arm.instance_view(&parent(1)?).await, body),
        Kind::ExtensionList => same_list(arm.extensions(&parent(1)?).await, &all(body)),
        Kind::VmList => same_list(arm.vms(&scope(&path)?).await, &all(body)),
        Kind::Collection => same(arm.collection(&parent(0)?).await, body),
        Kind::CollectionList => same_list(arm.collections(&scope(&path)?).await, &all(body)),
        Kind::Point => same(arm.point(&parent(0)?).await, body),
        Kind::Lock if exchange.method == "PUT" => put_lock(&arm, exchange, body).await,
        Kind::Lock => same(arm.lock(&parent(0)?).await, body),
        Kind::LockList => same_list(arm.locks(&scope(&path)?).await, &all(body)),
        Kind::Group => same(arm.group(&parent(0)?).await, body),
        Kind::GroupList => same_list(arm.groups(&sub).await, &all(body)),
        Kind::ResourceList if path.to_lowercase().contains("/resourcegroups/") => {
            same_list(arm.resources_in(&parent(1)?).await, &all(body))
        }
        Kind::Subscription => same(arm.subscription(&sub).await, body),
        Kind::SubscriptionList => same_list(arm.subscriptions().await, &all(body)),
        Kind::Vault => same(arm.vault(&parent(0)?).await, body),
        Kind::VaultList => same_list(arm.vaults(&sub).await, &all(body)),
        Kind::BackupStatus => {
            let vm = format!("/subscriptions/{sub}/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v");
            let vm = ResourceId::parse(&vm).map_err(|error| error.to_string())?;
            same(arm.backup_status(&vm, "westus").await, body)
        }
        Kind::Item => same(arm.protected_item(&parent(0)?).await, body),
        Kind::ItemList => same_list(arm.protected_items(&parent(1)?).await, &all(body)),
        Kind::RecoveryPointList => same_list(arm.recovery_points(&parent(1)?).await, &all(body)),
        Kind::Policy => same(arm.policy(&parent(0)?).await, body),
        Kind::Job => same(arm.job(&parent(0)?).await, body),
        Kind::JobList => same_list(arm.jobs(&parent(1)?, &JobFilter::default()).await, &all(body)),
        Kind::Proxies => {
            let guarded = arm.resource_guarded(&parent(1)?).await.map_err(|error| error.to_string())?;
            if guarded != all(body).is_empty() { Ok(()) } else { Err(format!("guarded: {guarded}")) }
        }
        Kind::Graph => {
            let asked =
                GraphQuery { text: "resources".into(), scope: GraphScope::Tenant, page_size: 1000, skip_token: None };
            let read = arm.graph_page(&asked).await.map_err(|error| error.to_string())?;
            let rows = Value::Array(read.rows.into_iter().map(Value::Object).collect());
            let said = (read.total, read.truncated, read.next.is_some());
            let next = body.get("$skipToken").is_some();
            if rows == body["data"] && said == (body["totalRecords"].as_u64(), body["resultTruncated"] == "true", next)
            {
                Ok(())
            } else {
                Err("the answer to a query changed on its way".into())
            }
        }
        _ => Ok(()),
    }
}

async fn put_lock(arm: &Arm, exchange: &Exchange, body: &Value) -> Result<(), String> {
    let lock = Lock::from_wire(body).map_err(|why| why.to_string())?;
    match arm.put_lock(&lock, &Tag::fresh()).await.map_err(|error| error.to_string())? {
        Sent::Done { status } if status == exchange.status => Ok(()),
        other => Err(format!("the lock was written, and azmend says {other:?}")),
    }
}

/// The scope that a list's address stands under: a subscription, a group or a resource.
fn scope(path: &str) -> Result<ResourceId, String> {
    let lower = path.to_lowercase();
    let end = lower
        .rfind("/providers/microsoft.authorization")
        .or_else(|| lower.rfind("/providers/microsoft.compute"))
        .unwrap_or(path.len());
    ResourceId::parse(&path[..end]).map_err(|error| error.to_string())
}

/// The elements of this page and of those that follow it in the recording.
fn rows(body: &Value, pages: &Pages) -> Vec<Value> {
    let mut rows = body["value"].as_array().cloned().unwrap_or_default();
    let mut next = body["nextLink"].as_str().and_then(|link| endpoint().join(link).ok());
    while let Some(url) = next {
        let page: Value = pages
            .iter()
            .find(|(known, _)| *known == url)
            .and_then(|(_, response)| serde_json::from_slice(&response.body).ok())
            .unwrap_or_default();
        rows.extend(page["value"].as_array().cloned().unwrap_or_default());
        next = page["nextLink"].as_str().and_then(|link| endpoint().join(link).ok());
    }
    rows
}

fn same<T: FromWire + Serialize>(read: Result<T, ArmError>, body: &Value) -> Result<(), String> {
    let read = read.map_err(|error| error.to_string())?;
    let expected = T::from_wire(body).map_err(|why| why.to_string())?;
    let (read, expected) = (serde_json::to_value(read), serde_json::to_value(expected));
    if read.is_ok() && read.ok() == expected.ok() { Ok(()) } else { Err("the typed call read something else".into()) }
}

fn same_list<T: FromWire + Serialize>(read: Result<Listing<T>, ArmError>, rows: &[Value]) -> Result<(), String> {
    let read = read.map_err(|error| error.to_string())?;
    if let Some(first) = read.malformed.first() {
        return Err(format!("{} elements were not read: {first}", read.malformed.len()));
    }
    if read.items.len() != rows.len() {
        return Err(format!("{} elements were sent, {} read", rows.len(), read.items.len()));
    }
    for (item, row) in read.items.iter().zip(rows) {
        let expected = T::from_wire(row).map_err(|why| why.to_string())?;
        if serde_json::to_value(item).ok() != serde_json::to_value(expected).ok() {
            return Err("the typed call read something else".into());
        }
    }
    Ok(())
}

/// An accepted change is followed the way its headers say, and no faster than Azure asks.
async fn accepted(exchange: &Exchange) -> Result<(), String> {
    let segments = exchange.segments();
    let id = |up: usize| ResourceId::parse(&segments[..segments.len() - up].join("/")).map_err(|e| e.to_string());
    let arm = Replay::of([exchange.response()]).arm();
    let tag = Tag::fresh();
    let low: Vec<String> = segments.iter().map(|s| s.to_lowercase()).collect();
    let word = |n: usize| low.len().checked_sub(n).map_or("", |at| low[at].as_str());
    let sent = match (exchange.method.as_str(), word(2), word(1)) {
        ("DELETE", "locks", _) => arm.delete_lock(&id(0)?, &tag).await,
        ("DELETE", "restorepointcollections", _) => arm.delete_collection(&id(0)?, &tag).await,
        ("DELETE", "restorepoints", _) => arm.delete_point(&id(0)?, &tag).await,
        ("DELETE", "extensions", _) => arm.delete_extension(&id(0)?, &tag).await,
        ("POST", _, "backup") => arm.start_backup(&id(1)?, super::replay::now(), &tag).await,
        // azmend does not send it; what follows is read the same way.
        _ => return follow(exchange).map(|_| ()),
    };
    let sent = sent.map_err(|error| error.to_string())?;
    let async_header = exchange.header("azure-asyncoperation").is_some();
    match sent {
        Sent::Done { status } if status == exchange.status && status != 202 && !async_header => Ok(()),
        Sent::Accepted(operation) if exchange.status == 202 || async_header => {
            waits_long_enough(exchange, operation.wait().as_secs())
        }
        other => Err(format!("{} was answered, and azmend says {other:?}", exchange.status)),
    }
}

fn follow(exchange: &Exchange) -> Result<Option<Operation>, String> {
    let segments = exchange.segments();
    let id = ResourceId::parse(&segments.join("/"))
        .or_else(|_| ResourceId::parse(&segments[..segments.len().saturating_sub(1)].join("/")))
        .map_err(|error| error.to_string())?;
    let gateway = Replay::default().gateway();
    let operation = Operation::started(&gateway, &exchange.request(), &id, &exchange.response());
    match (&operation, exchange.status) {
        (None, 202) => Err("202, and azmend takes it for done".into()),
        (Some(operation), _) => waits_long_enough(exchange, operation.wait().as_secs()).map(|()| None),
        (None, _) => Ok(None),
    }
}

fn waits_long_enough(exchange: &Exchange, wait: u64) -> Result<(), String> {
    let asked: u64 = exchange.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(0);
    if wait >= asked.max(1) { Ok(()) } else { Err(format!("Azure asks for {asked} s, azmend waits {wait} s")) }
}

/// One poll of a recorded operation: its state against the raw document.
async fn poll(exchange: &Exchange, kind: Kind) -> Result<(), String> {
    let segments = exchange.segments();
    let resource = segments.get(1).filter(|_| !exchange.is_example()).map_or_else(
        || "/subscriptions/11111111-1111-1111-1111-111111111111".to_owned(),
        |sub| format!("/subscriptions/{sub}"),
    );
    let resource = ResourceId::parse(&resource).map_err(|error| error.to_string())?;
    let mut start = Response::empty(202);
    let name = if kind == Kind::AsyncOperation { "azure-asyncoperation" } else { "location" };
    let url = exchange.url.as_str().parse().map_err(|_| "the address is no header".to_owned())?;
    start.headers.insert(name, url);
    let replay = Replay::of([exchange.response()]);
    let gateway = replay.gateway();
    let request = Request::new(Method::DELETE, endpoint());
    let operation = Operation::started(&gateway, &request, &resource, &start).ok_or("it is not followed")?;
    let poll = operation.poll(&gateway).await.map_err(|error| error.to_string())?;
    let body = exchange.json();
    let status = body["status"].as_str().unwrap_or_default();
    let code = body["error"]["code"].as_str().unwrap_or_default();
    let understood = match (&poll.state, exchange.status, status) {
        (PollState::InProgress, 202, _) => true,
        (PollState::InProgress, 200, "InProgress" | "Running" | "Updating" | "Deleting") => true,
        (PollState::Succeeded { body: read }, 200, "Succeeded") => *read == body,
        // A Location ends with what the request itself would have answered.
        (PollState::Succeeded { body: read }, 200 | 201, "") => *read == body,
        (PollState::Succeeded { .. }, 204, _) => true,
        (PollState::Failed(error), 200, "Failed") => error.code == code || code.is_empty(),
        (PollState::Canceled(error), 200, "Canceled" | "Cancelled") => error.code == code || code.is_empty(),
        (PollState::Canceled(_), 200, "Failed") => code == "OperationPreempted",
        _ => false,
    };
    if !understood {
        return Err(format!("HTTP {} with status {status:?} {code:?} was read as {:?}", exchange.status, poll.state));
    }
    if poll.state == PollState::InProgress { waits_long_enough(exchange, poll.wait.as_secs()) } else { Ok(()) }
}

/// Words azmend decides by: the place in a body, and the words it knows. Any other falls to a cautious default, and a
/// recording with one shows that the default is really used.
pub fn unknown_words(kind: Kind, body: &Value) -> Vec<String> {
    let elements: Vec<&Value> = match body.get("value").and_then(Value::as_array) {
        Some(items) => items.iter().collect(),
        None => vec![body],
    };
    let known: &[(&str, &[&str])] = match kind {
        Kind::Job | Kind::JobList => &[(
            "/properties/status",
            &["InProgress", "Completed", "Failed", "CompletedWithWarnings", "Cancelled", "Cancelling"],
        )],
        Kind::Item | Kind::ItemList => &[(
            "/properties/protectionState",
            &["IRPending", "Protected", "ProtectionError", "ProtectionStopped", "ProtectionPaused", "Invalid"],
        )],
        Kind::Lock | Kind::LockList => &[("/properties/level", &["CanNotDelete", "ReadOnly"])],
        Kind::Point => &[("/properties/provisioningState", &["Succeeded", "Creating", "Failed", "Deleting"])],
        Kind::Policy | Kind::PolicyList => {
            &[("/properties/schedulePolicy/scheduleRunFrequency", &["Daily", "Weekly", "Hourly", "Invalid"])]
        }
        _ => &[],
    };
    let mut unknown = Vec::new();
    for element in elements {
        for (place, words) in known {
            match element.pointer(place) {
                None | Some(Value::Null) => {}
                Some(Value::String(word)) if words.contains(&word.as_str()) => {}
                Some(other) => unknown.push(format!("{place} is {other}")),
            }
        }
        for tier in
            element.pointer("/properties/recoveryPointTierDetails").and_then(Value::as_array).into_iter().flatten()
        {
            for (key, words) in [
                ("type", &["InstantRP", "HardenedRP", "ArchivedRP"][..]),
                ("status", &["Valid", "Deleted", "Disabled", "Rehydrated", "Invalid"][..]),
            ] {
                match tier.get(key) {
                    None | Some(Value::Null) => {}
                    Some(Value::String(word)) if words.contains(&word.as_str()) => {}
                    Some(other) => unknown.push(format!("the {key} of a tier is {other}")),
                }
            }
        }
    }
    unknown
}
