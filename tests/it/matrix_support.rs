//! What the matrices share: a tape that remembers the world at every record, a watchman at the transport that knows the
//! truth, and the comparison of a result with the world it is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azmend::actions::backup::StartBackup;
use azmend::actions::change::{ChangeKind, Override};
use azmend::actions::guest::SetGuest;
use azmend::actions::guest::Setting;
use azmend::actions::job::CancelJob;
use azmend::actions::keyvault::{AssignKeyRole, GrantKeyAccess};
use azmend::actions::locks::RemoveLock;
use azmend::actions::points::{DeleteCollection, DeletePoint};
use azmend::actions::protection::{EnableProtection, ResumeProtection};
use azmend::actions::vm::{ReapplyVm, RestartVm};
use azmend::arm::ResourceId;
use azmend::arm::http::{Method, Request};
use azmend::clock::{elapsed, later};
use azmend::engine::{Plan, Planned, Run, RunResult, Silent, Status};
use azmend::journal::{AppendError, Event, Record, RunLog};
use azmend::sim::{Estate, Item, OpKind, PointState, Protection, Sim, World};
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use crate::matrix_truth::*;
use crate::support::{Ask, Lab, RUN};

/// Facts may be this old when a request leaves; a little more for the request itself.
const FRESH: Duration = Duration::from_secs(62);
/// No run of the matrices needs more requests: more is a loop.
const MOST_REQUESTS: usize = 9000;

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A journal in memory that keeps the world as it was at each record.
#[derive(Debug)]
pub struct Tape {
    sim: Sim,
    keep: bool,
    records: Mutex<Vec<Record>>,
    pub frames: Mutex<Vec<World>>,
}

impl Tape {
    pub fn new(sim: &Sim, records: Vec<Record>, keep: bool) -> Arc<Self> {
        Arc::new(Self { sim: sim.clone(), keep, records: Mutex::new(records), frames: Mutex::default() })
    }

    pub fn all(&self) -> Vec<Record> {
        locked(&self.records).clone()
    }

    fn has_intent(&self, client_request_id: &str, verb: &str, target: &ResourceId) -> bool {
        locked(&self.records).iter().rev().any(|record| {
            matches!(&record.event, Event::Intent { client_request_id: id, verb: v, target: t, .. }
                if id == client_request_id && v == verb && ResourceId::parse(t).is_ok_and(|t| t == *target))
        })
    }
}

#[async_trait]
impl RunLog for Tape {
    async fn append(&self, at: Timestamp, event: Event) -> Result<Record, AppendError> {
        if self.keep {
            let frame = self.sim.world();
            locked(&self.frames).push(frame);
        }
        let mut records = locked(&self.records);
        let record = Record { seq: records.len() as u64 + 1, at, event };
        records.push(record.clone());
        Ok(record)
    }

    fn records(&self) -> Vec<Record> {
        self.all()
    }
}

/// What happened at a request, by the choice of a test.
pub type Meddle = Box<dyn FnMut(&mut World, &Request, usize) -> bool + Send>;

/// Watches every request with knowledge of the true world, and says which rule it breaks.
pub struct Watch {
    inner: Arc<Mutex<Watched>>,
}

#[derive(Default)]
struct Watched {
    plan: Option<Plan>,
    tape: Option<Arc<Tape>>,
    broken: Vec<String>,
    reads: HashMap<String, usize>,
    /// When others interfered: request number and time.
    meddled: Option<(usize, Timestamp)>,
    mutations: Vec<(String, ResourceId)>,
    /// What was deleted or written after others had changed it unseen.
    unseen: Vec<ResourceId>,
    count: usize,
}

impl Watch {
    /// Watches this laboratory from now on; `meddle` may change the world before a request is served.
    pub fn over(lab: &Lab, mut meddle: Option<Meddle>) -> Self {
        let inner: Arc<Mutex<Watched>> = Arc::default();
        let shared = Arc::clone(&inner);
        lab.sim.on_request(Box::new(move |world, request, number| {
            assert!(number < MOST_REQUESTS, "the run goes round in circles");
            let happened = meddle.as_mut().is_some_and(|meddle| meddle(world, request, number));
            let mut watched = locked(&shared);
            watched.count = number + 1;
            if happened {
                watched.meddled = Some((number, world.now));
            }
            watched.see(world, request, number);
        }));
        Self { inner }
    }

    /// From now on these changes are allowed, with these records.
    pub fn allow(&self, plan: &Plan, tape: &Arc<Tape>) {
        let mut watched = locked(&self.inner);
        watched.plan = Some(plan.clone());
        watched.tape = Some(Arc::clone(tape));
    }

    pub fn broken(&self) -> Vec<String> {
        locked(&self.inner).broken.clone()
    }

    pub fn mutations(&self) -> Vec<(String, ResourceId)> {
        locked(&self.inner).mutations.clone()
    }

    /// The number of the last GET whose path ends like this (in lower case).
    pub fn last_read(&self, end: &str) -> Option<usize> {
        locked(&self.inner).reads.iter().filter(|(path, _)| path.ends_with(end)).map(|(_, number)| *number).max()
    }

    /// Whether this was deleted or written after others had changed it, when nobody could see that any more.
    pub fn unseen(&self, id: &ResourceId) -> bool {
        locked(&self.inner).unseen.contains(id)
    }

    /// The number of the request at which others interfered.
    pub fn meddled(&self) -> Option<usize> {
        locked(&self.inner).meddled.map(|(number, _)| number)
    }

    pub fn requests(&self) -> usize {
        locked(&self.inner).count
    }
}

impl Watched {
    fn see(&mut self, world: &World, request: &Request, number: usize) {
        let path = request.url.path().to_lowercase();
        if request.method == Method::GET {
            self.reads.insert(path, number);
            return;
        }
        // The POSTs that only read (S1).
        if path.ends_with("/backupstatus") || path.ends_with("/refreshcontainers") {
            return;
        }
        if path.ends_with("/runcommand") && is_probe(request) {
            self.reads.insert(path, number);
            return;
        }
        let text = percent(request.url.path());
        // `POST {resource}/{action}`.
        let text = match text.rsplit_once('/') {
            Some((resource, _)) if request.method == Method::POST => resource.to_owned(),
            _ => text,
        };
        let Ok(target) = ResourceId::parse(&text) else {
            self.broken.push(format!("S11: {} is no resource id", request.url.path()));
            return;
        };
        let verb = request.method.to_string();
        self.mutations.push((verb.clone(), target.clone()));
        let mut broken = Vec::new();
        match (&self.plan, &self.tape) {
            (Some(plan), Some(tape)) => {
                let id =
                    request.headers.get("x-ms-client-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default();
                if !tape.has_intent(id, &verb, &target) {
                    broken.push("S2: it has no intent".to_owned());
                }
                let blind = Blind {
                    meddled: self.meddled,
                    read: self.reads.get(&path).copied(),
                    parent: path.rsplit_once("/restorepoints/").and_then(|(up, _)| self.reads.get(up).copied()),
                    now: world.now,
                };
                if matches!(verb.as_str(), "DELETE" | "PUT") && blind.target() {
                    self.unseen.push(target.clone());
                }
                judge(&mut broken, world, plan, &verb, &target, request, &blind);
            }
            _ => broken.push("S1: a plan was being made".to_owned()),
        }
        self.broken.extend(broken.into_iter().map(|why| format!("#{number} {verb} {target}: {why}")));
    }
}

/// Whether a request runs a script that only reads.
pub fn is_probe(request: &Request) -> bool {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let script: Vec<&str> = body["script"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    body.get("parameters").is_none()
        && azmend::facts::guest::PROBES.iter().any(|probe| probe.lines().eq(script.iter().copied()))
}

/// A script inside the VM sets what the plan says, or sets it back.
fn guest_rules(say: &mut impl FnMut(&str, String), plan: &Plan, target: &ResourceId, request: &Request) {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let values: Vec<&str> =
        body["parameters"].as_array().into_iter().flatten().filter_map(|one| one["value"].as_str()).collect();
    if !plan.allow_guest {
        say("guest", "nobody allowed a script".into());
    }
    let ours = plan.changes().any(|(_, change)| match &change.what {
        ChangeKind::SetGuest(SetGuest { vm, setting: Setting::Service { name, before, start, run }, .. })
            if vm == target =>
        {
            let to = start.as_deref().unwrap_or("keep");
            let back = if start.is_some() { before.start.as_str() } else { "keep" };
            let stop = if *run && before.state == "Stopped" { "Stopped" } else { "keep" };
            values == [name.as_str(), to, if *run { "Running" } else { "keep" }]
                || values == [name.as_str(), back, stop]
        }
        ChangeKind::SetGuest(SetGuest { vm, setting: Setting::AgentConf { key, before, after }, .. })
            if vm == target =>
        {
            values == [key.as_str(), before.as_str(), after.as_str()]
                || values == [key.as_str(), after.as_str(), before.as_str()]
        }
        _ => false,
    });
    if !ours {
        say("S3", format!("a script that is not in the plan: {values:?}"));
    }
}

/// What azmend cannot have seen.
struct Blind {
    meddled: Option<(usize, Timestamp)>,
    read: Option<usize>,
    parent: Option<usize>,
    now: Timestamp,
}

impl Blind {
    /// Others interfered after the target itself was read for the last time.
    fn target(&self) -> bool {
        let read = self.read.max(self.parent);
        self.meddled.is_some_and(|(number, _)| read.is_none_or(|read| number > read))
    }

    /// Others interfered less than a minute ago.
    fn recently(&self) -> bool {
        self.meddled.is_some_and(|(_, at)| elapsed(at, self.now) <= FRESH)
    }
}

fn judge(
    broken: &mut Vec<String>,
    world: &World,
    plan: &Plan,
    verb: &str,
    target: &ResourceId,
    request: &Request,
    blind: &Blind,
) {
    let mut say = |rule: &str, why: String| broken.push(format!("{rule}: {why}"));
    let changes: Vec<&ChangeKind> = plan.changes().map(|(_, change)| &change.what).collect();
    if verb == "PUT" && target.segment("protectedItems").is_some() {
        return protection_rules(&mut say, world, plan, target, request, blind);
    }
    let kind = target.resource_type();
    if matches!(kind.as_str(), "microsoft.keyvault/vaults/accesspolicies" | "microsoft.authorization/roleassignments") {
        return grant_rules(&mut say, world, plan, verb, target, request, blind);
    }
    if verb == "PUT" {
        let planned = changes.iter().find_map(|what| match what {
            ChangeKind::RemoveLock(RemoveLock { lock }) if lock.id == *target => Some(lock),
            _ => None,
        });
        let Some(lock) = planned else { return say("S3", "a lock that this run did not remove".into()) };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |key: &str| {
            body.pointer(&format!("/properties/{key}")).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        if text("level") != lock.level || text("notes") != lock.notes {
            say("S6", format!("not as it was: {body}"));
        }
        // With the same content it changes nothing, and is sent whatever reading says.
        let other = |now: &azmend::sim::Lock| {
            now.id == *target
                && (now.level.as_str() != lock.level || now.notes.as_deref().unwrap_or_default() != lock.notes)
        };
        if world.locks.iter().any(other) && !blind.target() {
            say("S6", "another lock of its name is in force".into());
        }
        return;
    }
    let vm = world.vm(&plan.vm);
    let vm_id = vm.map(|vm| vm.vm_id.clone()).unwrap_or_default();
    if vm_id != plan.vm_id && !blind.recently() {
        say("S3", "the VM is another one".into());
    }
    let kind = target.resource_type();
    match (verb, kind.as_str()) {
        ("DELETE", "microsoft.authorization/locks") => {
            let planned = changes.iter().find_map(|what| match what {
                ChangeKind::RemoveLock(RemoveLock { lock }) if lock.id == *target => Some(lock),
                _ => None,
            });
            let Some(lock) = planned else { return say("S3", "a lock that is not in the plan".into()) };
            if let Some(now) = world.locks.iter().find(|now| now.id == *target)
                && (now.level.as_str() != lock.level
                    || now.notes.as_deref().unwrap_or_default() != lock.notes
                    || now.owners != lock.owners)
                && !blind.target()
            {
                say("S3", "its content is not that of the plan".into());
            }
            lock_rules(&mut say, world, plan, target, blind);
        }
        (
            "DELETE",
            "microsoft.compute/restorepointcollections" | "microsoft.compute/restorepointcollections/restorepoints",
        ) => {
            point_rules(&mut say, world, plan, target, &changes, blind);
        }
        ("DELETE", "microsoft.compute/virtualmachines/extensions") => {
            let ours = changes.iter().any(|what| matches!(what, ChangeKind::UninstallExtension(_)));
            if !ours || !plan.vm.covers(target) || !target.name().to_lowercase().starts_with("vmsnapshot") {
                say("S3", "an extension that is not in the plan".into());
            }
            if running_job(world, plan, FRESH) && !blind.recently() {
                say("S8", "an extension goes while a job runs".into());
            }
        }
        ("POST", "microsoft.recoveryservices/vaults/backupjobs") => {
            if !changes.iter().any(|what| matches!(what, ChangeKind::CancelJob(CancelJob { job, .. }) if job == target))
            {
                say("S3", "a job that is not in the plan".into());
            }
            if let Some(job) = world.job(target.name()) {
                if job.operation != "Backup" {
                    say("job.not-a-backup", format!("a {} job is cancelled", job.operation));
                }
                if elapsed(job.started, world.now) < Duration::from_secs(3600) {
                    say("job.young", "a young job is cancelled".into());
                }
            }
        }
        ("POST", "microsoft.compute/virtualmachines")
            if request.url.path().to_ascii_lowercase().ends_with("/runcommand") =>
        {
            guest_rules(&mut say, plan, target, request);
        }
        ("POST", "microsoft.compute/virtualmachines") => {
            let restart = request.url.path().to_ascii_lowercase().ends_with("/restart");
            let planned = |what: &&ChangeKind| match what {
                ChangeKind::ReapplyVm(ReapplyVm { vm, .. }) => !restart && vm == target,
                ChangeKind::RestartVm(RestartVm { vm }) => restart && vm == target,
                _ => false,
            };
            if !changes.iter().any(planned) {
                say("S3", "a VM that is not in the plan".into());
            }
            if running_job(world, plan, FRESH) && !blind.recently() {
                say("vm.job-active", "a VM is changed while a job runs".into());
            }
        }
        ("POST", _) => {
            if !changes
                .iter()
                .any(|what| matches!(what, ChangeKind::StartBackup(StartBackup { item, .. }) if item == target))
            {
                say("S3", "an item that is not in the plan".into());
            }
            if running_job(world, plan, FRESH) && !blind.recently() {
                say("S10", "a job runs".into());
            }
            if world.operations.iter().any(|o| o.kind == OpKind::Backup && o.ended.is_none() && !o.hangs) {
                say("S10", "an earlier request is being accepted".into());
            }
            let item = world.item(target);
            if item.is_some_and(|i| matches!(i.protection, Protection::Stopped | Protection::SoftDeleted))
                && !blind.recently()
            {
                say("S10", "its protection is stopped".into());
            }
        }
        _ => say("S3", "no verb of azmend's".into()),
    }
}

/// An item is resumed with the policy of the plan, or stopped again while it carries it.
fn protection_rules(
    say: &mut impl FnMut(&str, String),
    world: &World,
    plan: &Plan,
    target: &ResourceId,
    request: &Request,
    blind: &Blind,
) {
    let planned = plan.changes().find_map(|(_, change)| match &change.what {
        ChangeKind::ResumeProtection(ResumeProtection { item, policy, .. })
        | ChangeKind::EnableProtection(EnableProtection { item, policy, .. })
            if item == target =>
        {
            Some(policy)
        }
        _ => None,
    });
    let Some(policy) = planned else { return say("S3", "an item that is not in the plan".into()) };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |key: &str| body.pointer(&format!("/properties/{key}")).and_then(Value::as_str);
    let Some(now) = world.item(target) else { return };
    let stopping = text("protectionState") == Some("ProtectionStopped");
    if !stopping && text("policyId") != Some(policy.as_str()) {
        say("S3", format!("not the policy of the plan: {body}"));
    }
    let fits = if stopping {
        now.policy.as_ref() == Some(policy) && matches!(now.protection, Protection::Protected | Protection::Pending)
    } else {
        now.protection == Protection::Stopped
    };
    if !fits && !blind.target() {
        say("S3", format!("the item is not what it was: {:?} {:?}", now.protection, now.policy));
    }
    if running_job(world, plan, FRESH) && !blind.recently() {
        say("protection", "a job runs".into());
    }
}

/// Only the identity of the plan gets or loses something, never more than the plan says and what it had.
fn grant_rules(
    say: &mut impl FnMut(&str, String),
    world: &World,
    plan: &Plan,
    verb: &str,
    target: &ResourceId,
    request: &Request,
    blind: &Blind,
) {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    for (_, change) in plan.changes() {
        match &change.what {
            ChangeKind::AssignKeyRole(AssignKeyRole { assignment, principal, role, .. }) if assignment == target => {
                let text = |key: &str| body.pointer(&format!("/properties/{key}")).and_then(Value::as_str);
                let right = text("principalId") == Some(principal) && text("roleDefinitionId") == Some(role);
                if verb == "PUT" && !right {
                    say("S3", format!("not the assignment of the plan: {body}"));
                }
                let stands = world.role_assignments.iter().find(|now| now.id == *target);
                let ours = stands.is_none_or(|now| now.principal == *principal && role.ends_with(&now.role));
                if !ours && !blind.target() {
                    say("S3", "an assignment of somebody else's".into());
                }
                return;
            }
            ChangeKind::GrantKeyAccess(GrantKeyAccess { vault, principal, before, missing, .. })
                if vault.covers(target) =>
            {
                let list = body.pointer("/properties/accessPolicies").and_then(Value::as_array);
                let Some([entry]) = list.map(Vec::as_slice) else { return say("S3", "not one entry".into()) };
                if entry["objectId"].as_str() != Some(principal) {
                    say("S3", format!("another identity: {entry}"));
                }
                let allowed = match target.name() {
                    "add" => before.with(missing),
                    "remove" => missing.clone(),
                    other => return say("S3", format!("{other} is not azmend's")),
                };
                let sent: azmend::arm::model::KeyPermissions =
                    serde_json::from_value(entry["permissions"].clone()).unwrap_or_default();
                if !sent.without(&allowed).is_empty() {
                    say("S3", format!("more than the plan says: {entry}"));
                }
                return;
            }
            _ => {}
        }
    }
    say("S3", "a grant that is not in the plan".into());
}

/// A job of the VM that azmend can have seen.
fn running_job(world: &World, plan: &Plan, fresh: Duration) -> bool {
    world.jobs.iter().any(|job| {
        job.status.is_active()
            && elapsed(job.started, world.now) > fresh
            && world.item(&job.item).is_some_and(|item| item.vm == plan.vm)
    })
}

fn lock_rules(say: &mut impl FnMut(&str, String), world: &World, plan: &Plan, target: &ResourceId, blind: &Blind) {
    let Some(scope) = target.scope() else { return say("S5", "no scope".into()) };
    if plan.named_locks.contains(target) {
        return;
    }
    let backup_group = |group: &ResourceId| {
        let name = group.name().to_lowercase();
        let prefixes: Vec<String> = world.policies.iter().filter_map(|p| p.prefix.clone()).collect();
        let named = name.starts_with("azurebackuprg_") || prefixes.iter().any(|p| name.starts_with(&p.to_lowercase()));
        let others = world.vms.iter().any(|vm| group.covers(&vm.id))
            || world.others.iter().any(|other| group.covers(&other.id))
            || world.vaults.iter().any(|vault| group.covers(&vault.id))
            || world.collections.iter().any(|c| group.covers(&c.id) && !backup_owned(c));
        named && !others
    };
    let good = match scope.resource_type().as_str() {
        "resourcegroup" => backup_group(&scope),
        "microsoft.compute/restorepointcollections" => {
            world.collection(&scope).is_none_or(|c| backup_owned(c) && c.source == plan.vm)
        }
        _ => false,
    };
    if !good && !blind.recently() {
        say("S5", format!("it is on {}", scope.short_name()));
    }
    if let Some(lock) = world.locks.iter().find(|lock| lock.id == *target)
        && !lock.owners.is_empty()
        && !blind.recently()
    {
        say("S5", "it has owners".into());
    }
    let writable = world.permissions.iter().any(|p| {
        p.actions.iter().any(|a| a == "*")
            && !p.not_actions.iter().any(|a| a.eq_ignore_ascii_case("Microsoft.Authorization/locks/write"))
    });
    if !writable && !blind.recently() {
        say("S6", "it could not be written back".into());
    }
}

fn backup_owned(collection: &azmend::sim::Collection) -> bool {
    collection.source.is_type("Microsoft.Compute/virtualMachines")
        && !collection.points.is_empty()
        && collection.points.iter().all(|p| p.name.starts_with("AzureBackup_") && p.copied_from.is_none())
}

fn point_rules(
    say: &mut impl FnMut(&str, String),
    world: &World,
    plan: &Plan,
    target: &ResourceId,
    changes: &[&ChangeKind],
    blind: &Blind,
) {
    let whole = target.is_type("Microsoft.Compute/restorePointCollections");
    let parent = target.up_to("restorePointCollections").unwrap_or_else(|| target.clone());
    let Some(collection) = world.collection(&parent) else { return };
    let overridden = |rule: Override| plan.overrides.contains(&rule);
    // What is in the plan: the points that may go, with the collection's identity.
    let mut may_go: BTreeMap<ResourceId, Option<Timestamp>> = BTreeMap::new();
    let mut identity = None;
    let mut in_plan = false;
    for what in changes {
        match what {
            ChangeKind::DeleteCollection(DeleteCollection { collection: c, .. }) if c.id == parent => {
                in_plan = true;
                identity = Some(c.collection_id.clone());
                may_go.extend(c.points().iter().map(|p| (p.id.clone(), p.created)));
            }
            ChangeKind::DeletePoint(DeletePoint { point, collection_id }) if parent.covers(&point.id) => {
                identity = Some(collection_id.clone());
                in_plan |= point.id == *target;
                may_go.insert(point.id.clone(), point.created);
            }
            _ => {}
        }
    }
    if !in_plan {
        return say("S3", "not in the plan".into());
    }
    if identity.as_deref() != Some(collection.collection_id.as_str()) && !blind.target() {
        say("S3", "the collection was recreated".into());
    }
    let goes: Vec<_> =
        collection.points.iter().filter(|p| whole || p.name.eq_ignore_ascii_case(target.name())).collect();
    for point in &goes {
        let id = parent.child("restorePoints", &point.name).unwrap();
        let planned = may_go.get(&id);
        let same = planned.is_some_and(|created| {
            created.is_some_and(|c| elapsed(c.min(point.created), c.max(point.created)).as_secs() < 1)
        });
        if !same && !blind.target() {
            say("S3", format!("{} is not in the plan", point.name));
        }
    }
    let emptied = goes.is_empty();
    if !emptied && !backup_owned(collection) && !blind.target() {
        say("S7", "not Backup's".into());
    }
    if emptied || blind.recently() {
        return;
    }
    let items: Vec<&Item> = world.items.iter().filter(|i| i.vm == plan.vm).collect();
    if world.vm(&plan.vm).is_none() {
        let alive = |vm_id: &str| world.vms.iter().any(|vm| vm.vm_id == vm_id);
        if !items.is_empty() || goes.iter().any(|p| alive(&p.vm_id)) {
            say("orphan", "its VM lives or a vault knows it".into());
        }
        if goes.iter().any(|p| elapsed(p.created, world.now) < Duration::from_secs(30 * 86_400)) {
            say("orphan", "it is young".into());
        }
        return;
    }
    if running_job(world, plan, FRESH) && !overridden(Override::JobActive) {
        say("S8", "a job runs".into());
    }
    let mut succeeded: Vec<_> = world
        .collections_of(&plan.vm)
        .flat_map(|c| c.points.iter().map(|p| (p.created, c.id.clone(), p.name.clone(), p.state)))
        .filter(|(_, _, _, state)| *state == PointState::Succeeded)
        .collect();
    succeeded.sort_by_key(|(created, ..)| std::cmp::Reverse(*created));
    for (_, id, name, _) in succeeded.iter().take(2) {
        if *id == parent && goes.iter().any(|p| p.name == *name) && !overridden(Override::Newest) {
            say("S8", format!("{name} is one of the two newest"));
        }
    }
    for point in &goes {
        let twin = items.iter().flat_map(|i| &i.recovery_points).any(|r| {
            elapsed(r.time.min(point.created), r.time.max(point.created)) <= Duration::from_secs(600)
                && r.tiers.iter().any(|(kind, status)| kind == "HardenedRP" && status == "Valid")
        });
        if !twin && !overridden(Override::SnapshotOnly) {
            say("S8", format!("the vault has no copy of {}", point.name));
        }
        if point.state == PointState::Failed {
            say("S8", format!("{} is in a failed state", point.name));
        }
    }
    for item in &items {
        let vault = item.vault().and_then(|id| world.vault(&id));
        if item.protection == Protection::SoftDeleted && !overridden(Override::SoftDeleted) {
            say("S8", "an item is soft-deleted".into());
        }
        if item.protection == Protection::Stopped && !overridden(Override::StoppedRetained) {
            say("S8", "protection is stopped".into());
        }
        if item.recovery_points.iter().any(|r| r.ilr_session) && !overridden(Override::RecoverySession) {
            say("S8", "a file-recovery session is open".into());
        }
        if vault.is_some_and(|v| v.immutability != "Disabled" || v.resource_guard) && !overridden(Override::Immutable) {
            say("S8", "the vault is immutable or guarded".into());
        }
        if let Some(policy) = item.policy.as_ref().and_then(|p| world.policy(p))
            && policy.every_hours == 0
            && !matches!(item.protection, Protection::SoftDeleted | Protection::Stopped)
            && !overridden(Override::JobDue)
        {
            let second = world.now.as_second().rem_euclid(86_400);
            let left = (i64::from(policy.time_of_day) - second).rem_euclid(86_400);
            if left < 28 * 60 {
                say("S8", format!("a backup is due in {left} s"));
            }
        }
    }
}

/// Percent-decoding of a path.
fn percent(path: &str) -> String {
    url::form_urlencoded::parse(format!("a={}", path.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// A playbook on a VM of a world, with options.
#[derive(Clone)]
pub struct Scene {
    pub name: String,
    pub playbook: &'static str,
    pub vm: String,
    pub ask: Ask,
    pub world: World,
}

impl Scene {
    pub fn lab(&self) -> Lab {
        Lab::on(self.world.clone())
    }

    pub async fn plan(&self, lab: &Lab) -> Plan {
        match lab.plan(self.playbook, &self.vm, &self.ask).await {
            Planned::Plan(plan) => *plan,
            other => panic!("{}: no plan: {other:#?}", self.name),
        }
    }
}

/// A run over this laboratory with this journal.
pub fn run(lab: &Lab, plan: &Plan, tape: &Arc<Tape>) -> Run {
    let trace = std::env::var_os("AZMEND_TEST_TRACE").is_some();
    Run {
        arm: lab.arm.clone(),
        log: Arc::clone(tape) as Arc<dyn RunLog>,
        plan: plan.clone(),
        run_id: RUN.to_owned(),
        listener: if trace { Arc::new(crate::support::Diary::default()) } else { Arc::new(Silent) },
        cancel: CancellationToken::new(),
        deadline: None,
        pid: 1,
        earlier: azmend::engine::Earlier::default(),
    }
}

/// Comes back as often as the run asks for it.
pub async fn carry_on(lab: &Lab, run: &Run, mut result: RunResult, times: usize) -> RunResult {
    for _ in 0..times {
        if result.status != Status::Paused {
            break;
        }
        lab.sim.clock().advance(Duration::from_secs(result.retry_after.unwrap_or(60)));
        result = Box::pin(run.resume()).await;
    }
    result
}

/// A world with nothing in it but what concerns one VM: the tests' reads are then quick.
pub fn only(world: &World, vm: &ResourceId) -> World {
    let mut world = world.clone();
    world.collections.retain(|c| c.source == *vm);
    let groups: BTreeSet<ResourceId> = world.collections.iter().filter_map(|c| c.id.group_id()).collect();
    world.items.retain(|i| i.vm == *vm);
    world.jobs.retain(|j| world.items.iter().any(|i| i.id == j.item));
    world.vms.retain(|v| v.id == *vm);
    let home = vm.group_id();
    world.groups.retain(|g| groups.contains(&g.id) || home.as_ref() == Some(&g.id) || g.id.name() == "rg-backup");
    let kept: Vec<ResourceId> = world.groups.iter().map(|g| g.id.clone()).collect();
    world.subscriptions.retain(|s| s.id.eq_ignore_ascii_case(vm.subscription()));
    let there = |id: &ResourceId| {
        id.subscription().eq_ignore_ascii_case(vm.subscription()) && id.group_id().is_none_or(|g| kept.contains(&g))
    };
    world.vaults.retain(|v| there(&v.id));
    world.policies.retain(|p| there(&p.id));
    world.others.retain(|o| there(&o.id));
    world.locks.retain(|l| there(&l.id));
    world
}

/// The built-in estate.
pub fn built_in() -> World {
    World::from_estate(&Estate::built_in())
}

/// An estate of the tests.
pub fn estate(yaml: &str) -> World {
    match Estate::parse(yaml, "test.yaml") {
        Ok(estate) => World::from_estate(&estate),
        Err(errors) => panic!("{}\n{yaml}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// The world at a time.
pub fn at(world: &World, after: Duration) -> World {
    let mut world = world.clone();
    let to = later(world.now, after);
    world.advance_to(to);
    world
}

/// The watchman must be able to see: requests that no run sends break the rules he watches.
#[tokio::test]
async fn the_watchman_sees() {
    let scene = crate::crash_matrix::scene("rp-collection-limit", "web-01", Ask::default());
    let lab = scene.lab();
    let watch = Watch::over(&lab, None);
    let plan = scene.plan(&lab).await;
    assert_eq!(watch.broken(), Vec::<String>::new());
    let send = |method: Method, id: &ResourceId| {
        let url = format!("https://management.azure.com{id}?api-version=2024-07-01").parse().unwrap();
        let mut request = Request::new(method, url);
        request.headers.insert("authorization", "Bearer sandbox".parse().unwrap());
        lab.sim.serve(&request);
    };
    let world = lab.sim.world();
    send(Method::DELETE, &world.locks[0].id);
    assert!(watch.broken().iter().any(|why| why.contains("S1")), "{:?}", watch.broken());
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    watch.allow(&plan, &tape);
    let collection = &world.collections[0];
    send(Method::DELETE, &collection.id.child("restorePoints", &collection.points.last().unwrap().name).unwrap());
    let seen = watch.broken().join("\n");
    assert!(seen.contains("S2") && seen.contains("S3"), "{seen}");
    let mut foreign = plan.clone();
    for step in &mut foreign.steps {
        for change in &mut step.changes {
            if let ChangeKind::DeletePoint(DeletePoint { point, .. }) = &mut change.what {
                point.id = collection.id.child("restorePoints", &collection.points.last().unwrap().name).unwrap();
                point.created = collection.points.last().map(|p| p.created);
            }
        }
    }
    lab.sim.edit(|world| world.collections[0].points.iter_mut().for_each(|p| p.state = PointState::Succeeded));
    watch.allow(&foreign, &tape);
    send(Method::DELETE, &collection.id.child("restorePoints", &collection.points.last().unwrap().name).unwrap());
    let seen = watch.broken().join("\n");
    assert!(seen.contains("one of the two newest"), "{seen}");
}
