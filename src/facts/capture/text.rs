//! The estate as text. What the format cannot say becomes a line of the head.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::single_reads::vm_of;
use super::yaml::{Map, Node, comment, document, words};
use super::{Captured, CapturedItem, CapturedVault, CapturedVm, LeftOut};
use crate::arm::id::{ResourceId, is_guid};
use crate::arm::model::{Group, Lock, Policy, SizedCollection, Status, Subscription};
use crate::facts::derive::{is_vmsnapshot, vmsnapshot};
use crate::facts::vm_facts::KeyVaultFacts;

/// The text of an estate, and what it does not say.
#[derive(Debug, Clone)]
pub struct EstateText {
    /// The file.
    pub text: String,
    /// What was read and is not in it.
    pub left_out: Vec<LeftOut>,
}

impl Captured {
    /// The estate.
    #[must_use]
    pub fn text(&self) -> EstateText {
        let mut writer = Writer::of(self);
        let body = writer.estate();
        let mut left_out = self.left_out.clone();
        left_out.append(&mut writer.left_out);
        left_out.sort();
        left_out.dedup();
        let mut text = comment("An estate for the sandbox of azmend: azmend --sandbox=FILE audit");
        let how = if self.anonymized { "Captured and anonymized by azmend" } else { "Captured by azmend" };
        text.push_str(&comment(&format!("{how} as of {}.", self.now)));
        text.push_str(&comment(
            "Not captured: metrics, network rules, what is inside of the machines, Backup Servers.",
        ));
        for line in &self.not_read {
            text.push_str(&comment(&format!("NOT READ: {}: {}", line.what, line.why)));
        }
        for line in &left_out {
            let which = if line.which.is_empty() { String::new() } else { format!(": {}", line.which) };
            text.push_str(&comment(&format!("NOT CAPTURED: {}{which}", line.what)));
        }
        text.push_str(&document(&body));
        EstateText { text, left_out }
    }
}

pub(super) struct Writer<'a> {
    pub(super) from: &'a Captured,
    pub(super) locks: HashMap<String, Vec<&'a Lock>>,
    /// Scopes whose locks were written where they stand.
    pub(super) inline: HashSet<String>,
    pub(super) left_out: Vec<LeftOut>,
    groups: HashMap<String, Vec<&'a Group>>,
    inside: HashMap<ResourceId, Inside<'a>>,
    /// Policies and items by their vault.
    pub(super) of_vault: HashMap<ResourceId, OfVault<'a>>,
    pub(super) policies: HashSet<&'a ResourceId>,
    vms: HashSet<&'a ResourceId>,
    /// How many VMs are called by this `group/name`, in lower case.
    short_names: HashMap<String, usize>,
}

/// What a group holds. Lists are made once: an estate has thousands of groups and of VMs.
#[derive(Default)]
struct Inside<'a> {
    vms: Vec<&'a CapturedVm>,
    vaults: Vec<&'a CapturedVault>,
    key_vaults: Vec<&'a KeyVaultFacts>,
    collections: Vec<&'a SizedCollection>,
    others: Vec<&'a ResourceId>,
}

/// What a vault holds.
#[derive(Default)]
pub(super) struct OfVault<'a> {
    pub(super) policies: Vec<&'a Policy>,
    pub(super) items: Vec<&'a CapturedItem>,
}

pub(super) fn same(text: &str, other: &str) -> bool {
    text.eq_ignore_ascii_case(other)
}

/// One of the known words, whatever its case.
pub(super) fn known_word(text: &str, known: &[&'static str]) -> Option<&'static str> {
    known.iter().copied().find(|word| same(word, text))
}

impl<'a> Writer<'a> {
    fn of(from: &'a Captured) -> Self {
        let mut locks: HashMap<String, Vec<&Lock>> = HashMap::new();
        let mut sorted: Vec<&Lock> = from.locks.iter().collect();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        for lock in sorted {
            locks.entry(lock.scope().key().to_owned()).or_default().push(lock);
        }
        let mut out = Self {
            from,
            locks,
            inline: HashSet::new(),
            left_out: Vec::new(),
            groups: HashMap::new(),
            inside: HashMap::new(),
            of_vault: HashMap::new(),
            policies: from.policies.iter().map(|policy| &policy.id).collect(),
            vms: from.vms.iter().map(|vm| &vm.row.vm.id).collect(),
            short_names: HashMap::new(),
        };
        for group in &from.groups {
            out.groups.entry(group.id.subscription().to_lowercase()).or_default().push(group);
        }
        for vm in &out.vms {
            *out.short_names.entry(vm.short_name().to_ascii_lowercase()).or_default() += 1;
        }
        out.place();
        out
    }

    /// Everything to the group or vault that holds it, in the order in which it is written.
    fn place(&mut self) {
        let from = self.from;
        let mut at = |id: &ResourceId, put: &dyn Fn(&mut Inside<'a>)| {
            if let Some(group) = id.group_id() {
                put(self.inside.entry(group).or_default());
            }
        };
        from.vms.iter().for_each(|one| at(&one.row.vm.id, &|inside| inside.vms.push(one)));
        from.vaults.iter().for_each(|one| at(&one.vault.id, &|inside| inside.vaults.push(one)));
        from.key_vaults.iter().for_each(|one| at(&one.id, &|inside| inside.key_vaults.push(one)));
        from.collections.iter().for_each(|one| at(&one.collection.id, &|inside| inside.collections.push(one)));
        from.others.iter().for_each(|one| at(one, &|inside| inside.others.push(one)));
        let mut of = |id: &ResourceId, put: &dyn Fn(&mut OfVault<'a>)| {
            if let Some(vault) = id.up_to("vaults") {
                put(self.of_vault.entry(vault).or_default());
            }
        };
        from.policies.iter().for_each(|one| of(&one.id, &|vault| vault.policies.push(one)));
        from.items.iter().for_each(|one| of(&one.item.id, &|vault| vault.items.push(one)));
        self.groups.values_mut().for_each(|groups| groups.sort_by(|a, b| a.id.cmp(&b.id)));
        for inside in self.inside.values_mut() {
            inside.vms.sort_by(|a, b| a.row.vm.id.cmp(&b.row.vm.id));
            inside.vaults.sort_by(|a, b| a.vault.id.cmp(&b.vault.id));
            inside.key_vaults.sort_by(|a, b| a.id.cmp(&b.id));
            inside.collections.sort_by(|a, b| a.collection.id.cmp(&b.collection.id));
            inside.others.sort();
        }
        for vault in self.of_vault.values_mut() {
            vault.policies.sort_by(|a, b| a.id.cmp(&b.id));
            vault.items.sort_by(|a, b| a.item.id.cmp(&b.item.id));
        }
    }

    pub(super) fn leave_out(&mut self, what: &str, which: &str) {
        self.left_out.push(LeftOut { what: what.to_owned(), which: which.to_owned() });
    }

    fn estate(&mut self) -> Map {
        let from = self.from;
        let mut subscriptions: Vec<&Subscription> = from.subscriptions.iter().collect();
        subscriptions.sort_by_key(|one| one.id.to_lowercase());
        let subscriptions = subscriptions.into_iter().map(|one| self.subscription(one).into()).collect();
        let mut map = Map::default()
            .with("apiVersion", "azmend/estate/v1")
            .with("name", if from.anonymized { "anonymized" } else { "captured" })
            .with("now", from.now)
            .with_some("tenant", is_guid(&from.tenant).then_some(from.tenant.as_str()))
            .with("subscriptions", Node::List(subscriptions));
        map = map.with_list("locks", self.other_locks());
        map = map.with_list("permissions", self.permissions());
        map.with_list("deny_assignments", self.denies())
    }

    fn subscription(&mut self, one: &Subscription) -> Map {
        let name = if one.name.is_empty() { one.id.as_str() } else { one.name.as_str() };
        let scope = ResourceId::subscription_scope(&one.id).ok();
        let locks = scope.as_ref().map(|scope| self.locks(scope)).unwrap_or_default();
        let groups = self.groups.remove(&one.id.to_lowercase()).unwrap_or_default();
        let groups = groups.into_iter().map(|group| self.group(group).into()).collect();
        Map::default()
            .with("name", name)
            .with("id", one.id.as_str())
            .with_list("locks", locks)
            .with_list("groups", groups)
    }

    pub(super) fn locks(&mut self, scope: &ResourceId) -> Vec<Node> {
        self.inline.insert(scope.key().to_owned());
        let locks = self.locks.get(scope.key()).cloned().unwrap_or_default();
        locks.into_iter().filter_map(|lock| self.lock(lock, None)).collect()
    }

    fn lock(&mut self, lock: &Lock, on: Option<&ResourceId>) -> Option<Node> {
        let Some(level) = known_word(&lock.level, &["CanNotDelete", "ReadOnly"]) else {
            self.leave_out("a lock of a level that is not known", lock.id.name());
            return None;
        };
        let mut map = Map::default().with_some("on", on.map(ResourceId::as_str)).with("name", lock.id.name());
        map = map.with("level", level).with_some("notes", (!lock.notes.is_empty()).then_some(lock.notes.as_str()));
        if !lock.owners.is_empty() {
            map = map.with("owners", words(&lock.owners));
        }
        Some(map.line())
    }

    /// Locks on what has no place of its own in an estate.
    fn other_locks(&mut self) -> Vec<Node> {
        let mut rest: Vec<&Lock> =
            self.from.locks.iter().filter(|lock| !self.inline.contains(lock.scope().key())).collect();
        rest.sort_by(|a, b| a.id.cmp(&b.id));
        rest.into_iter().filter_map(|lock| self.lock(lock, Some(&lock.scope()))).collect()
    }

    fn group(&mut self, group: &Group) -> Map {
        let id = &group.id;
        let inside = self.inside.remove(id).unwrap_or_default();
        let service = format!("subscriptions/{}/providers/Microsoft.RecoveryServices/", id.subscription());
        let managed_by = match group.managed_by.as_str() {
            "" => None,
            by if same(by, &service) => Some("backup"),
            by => Some(by),
        };
        let mut map = Map::default()
            .with("name", id.name())
            .with("location", group.location.as_str())
            .with_some("managed_by", managed_by)
            .with_list("locks", self.locks(id));
        let vms = inside.vms.into_iter().map(|vm| self.vm(vm, group).into()).collect();
        let vaults = inside.vaults.into_iter().map(|one| self.vault(one, group).into()).collect();
        let keys = inside.key_vaults.into_iter().map(|one| self.key_vault(one).into()).collect();
        let collections =
            inside.collections.into_iter().filter_map(|one| self.collection(one, group)).map(Node::from).collect();
        let others = inside.others.into_iter().filter_map(resource).collect();
        map = map.with_list("vms", vms).with_list("vaults", vaults).with_list("key_vaults", keys);
        map.with_list("collections", collections).with_list("resources", others)
    }

    fn vm(&mut self, captured: &CapturedVm, group: &Group) -> Map {
        let vm = &captured.row.vm;
        let locks = self.locks(&vm.id);
        let elsewhere = (!vm.location.is_empty() && vm.location != group.location).then_some(vm.location.as_str());
        let map = Map::default().with("name", vm.id.name()).with_some("location", elsewhere);
        if !captured.whole {
            return map.with_list("locks", locks);
        }
        let os = known_word(&vm.os_type, &["windows", "linux"]);
        if os.is_none() {
            self.leave_out("an operating system that is not known, treated as Windows", vm.id.name());
        }
        let state = match known_word(&vm.provisioning_state, &["succeeded", "failed"]) {
            Some("succeeded") => None,
            Some(state) => Some(state),
            None => {
                self.leave_out(&format!("the state {:?}, treated as Succeeded", vm.provisioning_state), vm.id.name());
                None
            }
        };
        let (power, agent) = self.power_and_agent(captured);
        let mut map = map
            .with_some("size", (!vm.size.is_empty()).then_some(vm.size.as_str()))
            .with_some("os", os)
            .with_some("power", power)
            .with_some("agent", agent)
            .with_some("state", state)
            .with_some("managed_disks", (!vm.managed_disks).then_some(false))
            .with_some("vm_id", (!vm.vm_id.is_empty()).then_some(vm.vm_id.as_str()));
        if !captured.row.tags.is_empty() {
            let tags =
                captured.row.tags.iter().fold(Map::default(), |map, (name, value)| map.with(name, value.as_str()));
            map = map.with("tags", tags.line());
        }
        map = map.with_some("vmsnapshot", self.vmsnapshot(captured, power));
        map = map.with_list("extensions", extensions(captured));
        map = self.disks(captured, map);
        let encryption = captured.encryption.as_ref();
        map = map.with_some(
            "encryption",
            encryption.map(|(vault, key)| {
                Map::default().with("vault", vault.short_name()).with_some("key", key.then_some(true)).line()
            }),
        );
        map.with_list("locks", locks)
    }

    fn power_and_agent(&mut self, captured: &CapturedVm) -> (Option<&'static str>, Option<&'static str>) {
        let name = captured.row.vm.id.name();
        let shown = captured.instance.as_ref().map_or("", |view| view.power.as_str());
        let shown = if shown.is_empty() { captured.row.power.as_str() } else { shown };
        let power = match known_word(shown, &["running", "stopped", "deallocated"]) {
            Some(power) => power,
            None => {
                let near = [("starting", "running"), ("stopping", "stopped"), ("deallocating", "deallocated")];
                let near = near.iter().find(|(word, _)| same(word, shown)).map_or("running", |(_, near)| near);
                self.leave_out(&format!("the power state {shown:?}, treated as {near}"), name);
                near
            }
        };
        // Of a machine that does not run the sandbox shows no agent, as Azure mostly does.
        let agent = match captured.instance.as_ref().filter(|_| power == "running").map(|view| &view.agent) {
            None => None,
            Some(None) => Some("missing"),
            Some(Some(agent)) if agent.is_ready() => None,
            Some(Some(agent)) => {
                if !same(&agent.status.display, "Not Ready") {
                    self.leave_out(
                        &format!("the agent's status {:?}, treated as Not Ready", agent.status.display),
                        name,
                    );
                }
                Some("not-ready")
            }
        };
        (Some(power).filter(|power| *power != "running"), agent)
    }

    /// What the instance view, and the resource on machines with unmanaged disks, say of it.
    fn vmsnapshot(&mut self, captured: &CapturedVm, power: Option<&str>) -> Option<Node> {
        let instance = captured.instance.clone().unwrap_or_default();
        let view = vmsnapshot(&instance, &captured.extensions);
        let ready = instance.agent.as_ref().is_some_and(crate::arm::model::Agent::is_ready);
        if !view.present {
            // Of a machine that does not run, or whose agent says nothing, it cannot be told.
            let told = (ready && power.is_none()) || !captured.row.vm.managed_disks;
            return (captured.instance.is_some() && told).then(|| Map::default().with("state", "absent").line());
        }
        if captured.row.vm.managed_disks && (power.is_some() || !ready) {
            self.leave_out("VMSnapshot as it was shown without a ready agent", captured.row.vm.id.name());
        }
        let (state, usual) = match view.state.as_str() {
            "Failed" => (Some("failed"), "ProvisioningState/failed/1007"),
            "Ready" => (None, "ProvisioningState/succeeded"),
            _ => (Some("not-ready"), "ProvisioningState/NotReady"),
        };
        let code = (!view.code.is_empty() && view.code != usual).then_some(view.code.as_str());
        // Without a message the sandbox makes one up for a failed handler.
        let message = (!view.message.is_empty() || state == Some("failed")).then_some(view.message.as_str());
        let map = Map::default()
            .with_some("state", state)
            .with_some("version", (!view.version.is_empty()).then_some(view.version.as_str()));
        Some(map.with_some("code", code).with_some("message", message).line())
    }

    fn disks(&mut self, captured: &CapturedVm, mut map: Map) -> Map {
        let vm = &captured.row.vm;
        let mut data = Vec::new();
        for attached in &vm.disks {
            let own = captured.disks.iter().find(|disk| attached.id.as_ref() == Some(&disk.id));
            let size = attached.size_gb.or(own.and_then(|disk| disk.size_gb));
            let sku = if attached.sku.is_empty() { own.map_or("", |disk| disk.sku.as_str()) } else { &attached.sku };
            // The managed disk's own name: the profile may call it otherwise.
            let name = attached.id.as_ref().map_or(attached.name.as_str(), ResourceId::name);
            let shared = own.and_then(|disk| disk.max_shares).filter(|shares| (2..=255).contains(shares));
            let disk = Map::default()
                .with_some("name", (!name.is_empty()).then_some(name))
                .with_some("size_gb", size.filter(|size| (0..=i64::from(u32::MAX)).contains(size)))
                .with_some("sku", (!sku.is_empty()).then_some(sku))
                .with_some("shared", shared)
                .with_some("ephemeral", attached.ephemeral.then_some(true));
            if attached.os {
                map = map.with("os_disk", disk.line());
            } else {
                if attached.unmanaged {
                    self.leave_out("a data disk that is not managed, treated as a managed one", vm.id.name());
                }
                data.push(disk.line());
            }
        }
        map.with_list("disks", data)
    }

    fn key_vault(&mut self, facts: &KeyVaultFacts) -> Map {
        let locks = self.locks(&facts.id);
        let map = Map::default().with("name", facts.id.name());
        let Some(vault) = facts.vault.known() else { return map.with_list("locks", locks) };
        let mut policies = Vec::new();
        for policy in &vault.policies {
            if !policy.application.is_empty() || !is_guid(&policy.object) {
                self.leave_out("an access policy for an application on behalf of someone", facts.id.name());
                continue;
            }
            let mut entry = Map::default().with("principal", policy.object.as_str());
            let permissions = &policy.permissions;
            for (name, list) in [
                ("keys", &permissions.keys),
                ("secrets", &permissions.secrets),
                ("certificates", &permissions.certificates),
                ("storage", &permissions.storage),
            ] {
                if !list.is_empty() {
                    entry = entry.with(name, words(list));
                }
            }
            policies.push(entry.line());
        }
        let mut roles = BTreeMap::new();
        for role in facts.roles.known().into_iter().flatten() {
            let definition = role.role.rsplit('/').next().unwrap_or_default();
            if role.conditional || !is_guid(&role.principal) || !is_guid(definition) {
                self.leave_out("a role assignment with a condition, or of a kind that is not known", facts.id.name());
                continue;
            }
            let entry = Map::default().with("principal", role.principal.as_str()).with("role", definition);
            roles.insert((role.principal.to_lowercase(), definition.to_lowercase()), entry.line());
        }
        let map = map.with_some("rbac", vault.rbac.then_some(true));
        map.with_list("policies", policies).with_list("roles", roles.into_values().collect()).with_list("locks", locks)
    }

    fn permissions(&self) -> Vec<Node> {
        let mut sorted: Vec<_> = self.from.permissions.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let entries = sorted.into_iter().flat_map(|(scope, granted)| granted.iter().map(move |one| (scope, one)));
        entries
            .map(|(scope, one)| {
                let map = Map::default().with("scope", scope.as_str()).with("actions", words(&one.actions));
                let map =
                    if one.not_actions.is_empty() { map } else { map.with("not_actions", words(&one.not_actions)) };
                map.line()
            })
            .collect()
    }

    fn denies(&mut self) -> Vec<Node> {
        let mut out = Vec::new();
        let from = self.from;
        for deny in &from.denies {
            let Ok(scope) = ResourceId::parse(&deny.scope) else {
                self.leave_out("a deny assignment above subscriptions", &deny.name);
                continue;
            };
            let map = Map::default().with("name", deny.name.as_str()).with("scope", scope.as_str());
            let mut map = map.with("actions", words(&deny.actions));
            if !deny.not_actions.is_empty() {
                map = map.with("not_actions", words(&deny.not_actions));
            }
            out.push(map.with_some("system_protected", (!deny.system_protected).then_some(false)).line());
        }
        out
    }

    /// The VM as the sandbox finds it again: `group/name`, or its id where that could be another one.
    pub(super) fn vm_text(&self, vm: &ResourceId, near: &ResourceId) -> String {
        let exact = self.vms.get(vm).copied().unwrap_or(vm);
        let short = exact.short_name();
        let twice = self.short_names.get(&short.to_ascii_lowercase()).is_some_and(|vms| *vms > 1);
        let near = same(vm.subscription(), near.subscription());
        if near && !twice { short } else { exact.as_str().to_owned() }
    }

    /// Whether the VM is in the estate.
    pub(super) fn has_vm(&self, vm: &ResourceId) -> bool {
        self.vms.contains(vm)
    }

    fn collection(&mut self, one: &SizedCollection, group: &Group) -> Option<Map> {
        let collection = &one.collection;
        let locks = self.locks(&collection.id);
        let Some(source) = collection.source_id() else {
            self.leave_out("a restore point collection without a source", collection.id.name());
            return None;
        };
        let vm = vm_of(collection);
        let of = vm.as_ref().map_or_else(|| source.as_str().to_owned(), |vm| self.vm_text(vm, &group.id));
        let gone = vm.as_ref().is_some_and(|vm| !self.has_vm(vm));
        let elsewhere = (!collection.location.is_empty() && collection.location != group.location)
            .then_some(collection.location.as_str());
        // 0 is "not sent"; 30 is what the sandbox sends of itself.
        let size = one.disk_gb.filter(|gb| (0..=i64::from(u32::MAX)).contains(gb)).unwrap_or(0);
        let has_points = !collection.points().is_empty();
        let map = Map::default()
            .with("of", of)
            .with_some("deleted", gone.then_some(true))
            .with("name", collection.id.name())
            .with_some("id", (!collection.collection_id.is_empty()).then_some(collection.collection_id.as_str()))
            .with_some("location", elsewhere)
            .with_some("deleting", same(&collection.provisioning_state, "Deleting").then_some(true))
            .with_some("disk_gb", (has_points && size != 30).then_some(size));
        let mut points: Vec<_> = collection.points().iter().collect();
        points.sort_by(|a, b| (a.created, a.id.key()).cmp(&(b.created, b.id.key())));
        let mut rows = Vec::new();
        for point in points {
            let Some(created) = point.created else {
                self.leave_out("a restore point without a time", point.id.name());
                continue;
            };
            let state = match known_word(&point.provisioning_state, &["Succeeded", "Creating", "Deleting", "Failed"]) {
                Some("Succeeded") => None,
                Some(state) => Some(state),
                None => {
                    self.leave_out("the state of a restore point, treated as Creating", point.id.name());
                    Some("Creating")
                }
            };
            let copied = (!point.copied_from.is_empty()).then_some(point.copied_from.as_str());
            let row = Map::default().with("name", point.id.name()).with("created", created).with_some("state", state);
            let row = row.with("vm_id", point.vm_id.as_str()).with_some("copied_from", copied);
            rows.push(
                row.with_some("copying", point.copy_percent.filter(|percent| *percent < 100).map(i64::from)).line(),
            );
        }
        Some(map.with_list("restore_points", rows).with_list("locks", locks))
    }
}

/// `{ type: Microsoft.Sql/servers, name: sql }`.
fn resource(id: &ResourceId) -> Option<Node> {
    let (_, tail) = id.as_str().rsplit_once("/providers/")?;
    let mut parts = tail.split('/');
    let kind = format!("{}/{}", parts.next()?, parts.next()?);
    Some(Map::default().with("type", kind).with("name", id.name()).line())
}

/// The extensions by their kind, from resources, views and handlers alike.
fn extensions(captured: &CapturedVm) -> Vec<Node> {
    struct One {
        name: String,
        kind: String,
        version: String,
        failed: bool,
    }
    let mut found: BTreeMap<String, One> = BTreeMap::new();
    let encrypts = |kind: &str| kind.to_lowercase().contains(".azurediskencryption");
    // The sandbox shows VMSnapshot and disk encryption of itself.
    let skipped = |kind: &str| is_vmsnapshot(kind) || encrypts(kind) || !kind.contains('.');
    for one in &captured.extensions {
        let kind = format!("{}.{}", one.publisher, one.kind);
        if !skipped(&kind) {
            let failed = same(&one.provisioning_state, "Failed");
            let new = One { name: one.id.name().to_owned(), kind: kind.clone(), version: one.version.clone(), failed };
            found.insert(kind.to_lowercase(), new);
        }
    }
    let empty = crate::arm::model::InstanceView::default();
    let view = captured.instance.as_ref().unwrap_or(&empty);
    let views = view.extensions.iter().map(|one| {
        (one.name.as_str(), one.kind.as_str(), one.version.as_str(), one.statuses.iter().any(Status::is_failed))
    });
    let handlers = view.handlers.iter().map(|one| {
        (
            one.kind.rsplit('.').next().unwrap_or_default(),
            one.kind.as_str(),
            one.version.as_str(),
            one.status.is_failed(),
        )
    });
    for (name, kind, version, failed) in views.chain(handlers) {
        // A view may come without its type: the name is unique among a VM's extensions.
        let by_name = || found.values().find(|one| same(&one.name, name)).map(|one| one.kind.clone());
        let kind = if kind.is_empty() { by_name().unwrap_or_default() } else { kind.to_owned() };
        if skipped(&kind) {
            continue;
        }
        let one = found.entry(kind.to_lowercase()).or_insert_with(|| One {
            name: name.to_owned(),
            kind: kind.clone(),
            version: String::new(),
            failed: false,
        });
        one.failed |= failed;
        if version.len() > one.version.len() {
            version.clone_into(&mut one.version);
        }
    }
    let row = |one: &One| {
        let (publisher, kind) = one.kind.rsplit_once('.').unwrap_or(("", &one.kind));
        let map = Map::default().with("name", one.name.as_str()).with("publisher", publisher).with("type", kind);
        map.with("version", one.version.as_str()).with_some("state", one.failed.then_some("failed")).line()
    };
    found.values().map(row).collect()
}
