//! From an estate's text to a world: ids are made, references are resolved, series become points.
//!
//! Invariants: nothing is drawn by chance (ids come from names); every wrong reference is reported, not only the first.

use std::collections::HashMap;
use std::time::Duration;

use crate::estate::engines;
use crate::estate::{
    CollectionSpec, EstateSpec, GroupSpec, Immutability, LockSpec, Os, PolicyKind, PolicySpec, Snap, SoftDelete,
    SubscriptionSpec, Tier, VaultSpec, VmSpec,
};
use crate::job_life::BROKEN;
use crate::world::events::Effect;
use crate::world::{
    Agent, Collection, DenyAssignment, Extension, Group, Guest, Handler, HandlerState, Lock, OtherResource, Permission,
    Point, PointState, Policy, Power, Subscription, Vault, Vm, World, digits_from, guid_from, point_name,
};
use azmend_arm::id::{ResourceId, is_guid};
use azmend_base::clock::later;
use azmend_base::spelling::did_you_mean;
use azmend_base::yaml::{Diagnostic, Place, Spanned};

/// The world of an estate, and what is wrong with it.
pub(crate) fn build(spec: &EstateSpec, file: &str) -> (World, Vec<Diagnostic>) {
    let mut builder = Builder {
        world: World::empty(spec.now),
        shift: spec.shift,
        file: file.to_owned(),
        errors: Vec::new(),
        kinds: HashMap::new(),
        left_out: 0,
        vms: HashMap::new(),
    };
    builder.head(spec);
    let mut scopes = Vec::new();
    for subscription in &spec.subscriptions {
        if let Some(scope) = builder.subscription(subscription) {
            scopes.push((scope, &subscription.groups));
        }
    }
    let groups = || scopes.iter().flat_map(|(scope, groups)| groups.iter().map(move |g| (scope, g)));
    for (scope, group) in groups() {
        builder.group(scope, group);
    }
    // policies before items, VMs before collections, items before the points that the vault knows
    for (scope, group) in groups() {
        let Some(id) = builder.group_id(scope, &group.name) else { continue };
        for vault in &group.vaults {
            builder.vault(&id, group, vault);
        }
        for vm in &group.vms {
            builder.vm(&id, group, vm);
        }
        builder.key_vaults(&id, group);
    }
    for (scope, group) in groups() {
        let Some(id) = builder.group_id(scope, &group.name) else { continue };
        builder.encryption(&id, group);
        builder.items(&id, group);
    }
    // copies after what they are copies of
    for copies in [false, true] {
        for (scope, group) in groups() {
            let Some(id) = builder.group_id(scope, &group.name) else { continue };
            for collection in group.collections.iter().filter(|c| builder.is_copy(c) == copies).collect::<Vec<_>>() {
                builder.collection(&id, group, collection);
            }
        }
    }
    builder.tail(spec);
    if builder.left_out > 0 {
        let message = format!("and {} more errors like these", builder.left_out);
        builder.errors.push(Diagnostic::new(file, Place::START, message));
    }
    (builder.world, builder.errors)
}

/// How many errors of one kind are kept, and how many in all: an estate of a million duplicates is one mistake.
const ERRORS_OF_A_KIND: usize = 20;
const ERRORS: usize = 200;

/// An error's message without what it quotes.
fn kind_of(message: &str) -> String {
    message.split('"').step_by(2).collect()
}

/// A world that is being made.
pub(crate) struct Builder {
    pub world: World,
    /// How far moments of the estate move.
    pub shift: jiff::SignedDuration,
    file: String,
    errors: Vec<Diagnostic>,
    /// How many errors there are of each kind.
    kinds: HashMap<String, usize>,
    /// How many were not kept.
    left_out: usize,
    /// Its VMs by what they may be called, in lower case: id, `group/name` and name.
    vms: HashMap<String, Vec<ResourceId>>,
}

impl Builder {
    pub(crate) fn error<T>(&mut self, at: &Spanned<T>, message: String, hint: Option<String>) {
        self.error_at(Place::of(at), message, hint);
    }

    fn error_at(&mut self, place: Place, message: String, suggestion: Option<String>) {
        let kind = kind_of(&message);
        let known = self.kinds.get(&kind).copied().unwrap_or_default();
        if known >= ERRORS_OF_A_KIND || self.errors.len() >= ERRORS {
            self.left_out += 1;
            return;
        }
        self.kinds.insert(kind, known + 1);
        self.errors.push(Diagnostic { suggestion, ..Diagnostic::new(&self.file, place, message) });
    }

    pub(crate) fn checked<T>(&mut self, at: &Spanned<String>, id: Result<T, azmend_arm::id::IdError>) -> Option<T> {
        match id {
            Ok(id) => Some(id),
            Err(error) => {
                self.error(at, error.to_string(), None);
                None
            }
        }
    }

    fn head(&mut self, spec: &EstateSpec) {
        if spec.api_version.value != "azmend/estate/v1" {
            self.error(
                &spec.api_version,
                format!("apiVersion {:?} is not known", spec.api_version.value),
                Some("this version of azmend reads azmend/estate/v1".into()),
            );
        }
        if let Some(principal) = &spec.backup_principal {
            if is_guid(&principal.value) {
                self.world.backup_principal.clone_from(&principal.value);
            } else {
                self.error(principal, format!("the backup principal {:?} is not a GUID", principal.value), None);
            }
        }
        let world = &mut self.world;
        world.name.clone_from(&spec.name);
        world.tenant = guid_from(&format!("tenant/{}", spec.name));
        world.caller = guid_from(&format!("caller/{}", spec.name));
        let settings = &mut world.settings;
        let given = &spec.settings;
        if let Some(value) = given.latency_ms {
            settings.latency_ms = value;
        }
        if let Some(value) = given.page_size {
            settings.page_size = value;
        }
        if let Some(value) = given.lock_flapping {
            settings.lock_flapping = value;
        }
        for (field, value) in [
            (&mut settings.throttling, given.throttling),
            (&mut settings.numeric_tiers, given.numeric_tiers),
            (&mut settings.vm_lock_stops_backup, given.vm_lock_stops_backup),
        ] {
            if let Some(value) = value {
                *field = value;
            }
        }
        for (field, value) in [
            (&mut settings.lock_release_delay, given.lock_release_delay),
            (&mut settings.service_cleanup_after, given.service_cleanup_after),
            (&mut settings.collection_delete, given.collection_delete),
            (&mut settings.point_delete, given.point_delete),
            (&mut settings.extension_delete, given.extension_delete),
            (&mut settings.retry_after, given.retry_after),
            (&mut settings.backup_accept, given.backup_accept),
            (&mut settings.snapshot, given.snapshot),
            (&mut settings.transfer, given.transfer),
        ] {
            if let Some(value) = value {
                *field = value.as_secs();
            }
        }
        if let Some(tenant) = &spec.tenant {
            if is_guid(&tenant.value) {
                self.world.tenant.clone_from(&tenant.value);
            } else {
                self.error(tenant, format!("the tenant {:?} is not a GUID", tenant.value), None);
            }
        }
    }

    fn subscription(&mut self, spec: &SubscriptionSpec) -> Option<ResourceId> {
        let made = guid_from(&format!("subscription/{}", spec.name.value));
        let id = match &spec.id {
            Some(id) if is_guid(&id.value) => id.value.clone(),
            Some(id) => {
                self.error(id, format!("the subscription id {:?} is not a GUID", id.value), None);
                made
            }
            None => made,
        };
        if self.world.subscription(&id).is_some() {
            self.error(&spec.name, format!("the subscription {:?} appears twice", spec.name.value), None);
        }
        self.world.subscriptions.push(Subscription {
            id: id.clone(),
            name: spec.name.value.clone(),
            listed: spec.listed,
        });
        let scope = self.checked(&spec.name, ResourceId::subscription_scope(&id))?;
        self.locks(&scope, &spec.locks);
        Some(scope)
    }

    fn group_id(&mut self, scope: &ResourceId, name: &Spanned<String>) -> Option<ResourceId> {
        ResourceId::group(scope.subscription(), &name.value).ok()
    }

    fn group(&mut self, scope: &ResourceId, spec: &GroupSpec) {
        let id = ResourceId::group(scope.subscription(), &spec.name.value);
        let Some(id) = self.checked(&spec.name, id) else { return };
        if self.world.group(&id).is_some() {
            self.error(&spec.name, format!("the resource group {:?} appears twice", spec.name.value), None);
            return;
        }
        let managed_by = spec.managed_by.as_ref().map(|by| match by.as_str() {
            "backup" => format!("subscriptions/{}/providers/Microsoft.RecoveryServices/", scope.subscription()),
            other => other.to_owned(),
        });
        self.world.groups.push(Group { id: id.clone(), location: spec.location.clone(), managed_by });
        self.locks(&id, &spec.locks);
        for resource in &spec.resources {
            let made = resource
                .kind
                .value
                .split_once('/')
                .ok_or(())
                .map(|(namespace, kind)| id.resource(namespace, kind, &resource.name.value));
            match made {
                Ok(Ok(made)) => self.world.others.push(OtherResource { id: made, location: spec.location.clone() }),
                Ok(Err(error)) => self.error(&resource.name, error.to_string(), None),
                Err(()) => self.error(
                    &resource.kind,
                    format!("{:?} is not a resource type", resource.kind.value),
                    Some("write it like Microsoft.Sql/servers".into()),
                ),
            }
        }
    }

    pub(crate) fn locks(&mut self, scope: &ResourceId, locks: &[LockSpec]) {
        for lock in locks {
            let id = scope.resource("Microsoft.Authorization", "locks", &lock.name.value);
            let Some(id) = self.checked(&lock.name, id) else { continue };
            self.world.locks.push(Lock {
                id,
                level: lock.level,
                notes: lock.notes.clone(),
                owners: lock.owners.clone(),
            });
        }
    }

    fn vault(&mut self, group: &ResourceId, group_spec: &GroupSpec, spec: &VaultSpec) {
        let id = group.resource("Microsoft.RecoveryServices", "vaults", &spec.name.value);
        let Some(id) = self.checked(&spec.name, id) else { return };
        self.world.vaults.push(Vault {
            id: id.clone(),
            location: spec.location.clone().unwrap_or_else(|| group_spec.location.clone()),
            immutability: match spec.immutability {
                Immutability::Disabled => "Disabled",
                Immutability::Unlocked => "Unlocked",
                Immutability::Locked => "Locked",
            }
            .into(),
            soft_delete: match spec.soft_delete {
                SoftDelete::Enabled => "Enabled",
                SoftDelete::Disabled => "Disabled",
                SoftDelete::AlwaysOn => "AlwaysON",
            }
            .into(),
            resource_guard: spec.resource_guard,
        });
        self.locks(&id, &spec.locks);
        for policy in &spec.policies {
            self.policy(&id, policy);
        }
        for engine in &spec.engines {
            if let Some(id) = self.checked(&engine.name, id.child("backupEngines", &engine.name.value)) {
                engines::add(&mut self.world, &id, engine);
            }
        }
    }

    fn policy(&mut self, vault: &ResourceId, spec: &PolicySpec) {
        let id = vault.child("backupPolicies", &spec.name.value);
        let Some(id) = self.checked(&spec.name, id) else { return };
        let time = spec.at.split_once(':').and_then(|(h, m)| Some((h.parse::<u32>().ok()?, m.parse::<u32>().ok()?)));
        let time = time.filter(|(h, m)| *h < 24 && *m < 60);
        if time.is_none() {
            self.error(
                &spec.name,
                format!("the time {:?} of this policy is not a time of day", spec.at),
                Some("write it like \"23:00\"".into()),
            );
        }
        let enhanced = spec.kind == PolicyKind::Enhanced;
        self.world.policies.push(Policy {
            id,
            enhanced,
            snapshot_days: spec.snapshot_days.unwrap_or(if enhanced { 7 } else { 2 }),
            vault_days: spec.vault_days.unwrap_or(30),
            every_hours: spec.every_hours,
            time_of_day: time.map_or(0, |(h, m)| h * 3600 + m * 60),
            prefix: spec.prefix.clone(),
            suffix: spec.suffix.clone(),
            limit: spec.limit,
            schedule: crate::estate::exact::schedule(spec),
        });
    }

    fn vm(&mut self, group: &ResourceId, group_spec: &GroupSpec, spec: &VmSpec) {
        let id = group.resource("Microsoft.Compute", "virtualMachines", &spec.name.value);
        let Some(id) = self.checked(&spec.name, id) else { return };
        if self.vms.contains_key(id.key()) {
            self.error(
                &spec.name,
                format!("the virtual machine {:?} appears twice in {}", spec.name.value, group.name()),
                None,
            );
            return;
        }
        let windows = spec.os == Os::Windows;
        let snap = &spec.vmsnapshot;
        let handler = (snap.state != Snap::Absent).then(|| Handler {
            version: snap.version.clone().unwrap_or_else(|| if windows { "1.0.95.0" } else { "1.0.9241.0" }.into()),
            state: match snap.state {
                Snap::Failed => HandlerState::Failed,
                Snap::NotReady => HandlerState::NotReady,
                Snap::Ready | Snap::Absent => HandlerState::Ready,
            },
            code: snap.code.clone(),
            message: snap
                .message
                .clone()
                .unwrap_or_else(|| if snap.state == Snap::Failed { BROKEN.into() } else { String::new() }),
        });
        let extensions = spec
            .extensions
            .iter()
            .map(|e| Extension {
                name: e.name.value.clone(),
                publisher: e.publisher.clone(),
                kind: e.kind.clone(),
                version: e.version.clone(),
                ok: e.state == crate::estate::Good::Succeeded,
            })
            .collect();
        let guest = self.guest(spec);
        for text in [id.key().to_owned(), id.short_name().to_ascii_lowercase(), id.name().to_ascii_lowercase()] {
            self.vms.entry(text).or_default().push(id.clone());
        }
        self.world.vms.push(Vm {
            vm_id: spec.vm_id.clone().unwrap_or_else(|| guid_from(&format!("vm/{}", id.key()))),
            id: id.clone(),
            location: spec.location.clone().unwrap_or_else(|| group_spec.location.clone()),
            size: spec.size.clone(),
            windows,
            power: spec.power.unwrap_or(Power::Running),
            agent: spec.agent.unwrap_or(Agent::Ready),
            provisioned: spec.state == crate::estate::Good::Succeeded,
            managed_disks: spec.managed_disks,
            vmsnapshot: handler,
            broken: snap.broken,
            extensions,
            encryption: None,
            tags: spec.tags.clone(),
            hidden_from_vaults: spec.hidden_from_vaults,
            os_disk: spec.os_disk.clone(),
            data_disks: data_disks(&id, &spec.disks),
            load: spec.load,
            outbound: spec.outbound.clone(),
            guest,
        });
        self.locks(&id, &spec.locks);
    }

    fn guest(&mut self, spec: &VmSpec) -> Guest {
        let shipped = Guest::default();
        for name in spec.guest.services.keys() {
            if !shipped.services.contains_key(name) {
                let known: Vec<&str> = shipped.services.keys().map(String::as_str).collect();
                let hint = format!("the services of a guest are {}", known.join(", "));
                self.error(&spec.name, format!("no script looks at the service {name:?}"), Some(hint));
            }
        }
        spec.guest.clone().completed()
    }

    /// A VM that is not in the estate any more: `group/name`, in the subscription of `near`.
    pub(crate) fn gone_vm(&mut self, near: &ResourceId, text: &Spanned<String>) -> Option<ResourceId> {
        if text.value.starts_with('/') {
            return self.checked(text, ResourceId::parse(&text.value));
        }
        let Some((group, name)) = text.value.split_once('/') else {
            self.error(
                text,
                format!("{:?} must be group/name, because the virtual machine is not in the estate", text.value),
                None,
            );
            return None;
        };
        let id = ResourceId::vm(near.subscription(), group, name);
        self.checked(text, id)
    }

    /// A VM of the estate by name or `group/name`.
    pub(crate) fn find_vm(&mut self, text: &Spanned<String>) -> Option<ResourceId> {
        let wanted = &text.value;
        let whole = ResourceId::parse(wanted).ok();
        // Points copied from another region have a collection for a source.
        if let Some(id) = whole.as_ref().filter(|id| !id.is_type("Microsoft.Compute/virtualMachines")) {
            return Some(id.clone());
        }
        let called = whole.map_or_else(|| wanted.to_ascii_lowercase(), |id| id.key().to_owned());
        let found = self.vms.get(&called).cloned().unwrap_or_default();
        match found.as_slice() {
            [one] => Some(one.clone()),
            [] => {
                let names: Vec<String> =
                    self.world.vms.iter().flat_map(|vm| [vm.id.name().to_owned(), vm.id.short_name()]).collect();
                let hint = did_you_mean(wanted, names.iter().map(String::as_str))
                    .or_else(|| Some("for a deleted one write deleted: true".into()));
                self.error(text, format!("there is no virtual machine {wanted:?} in this estate"), hint);
                None
            }
            [first, ..] => {
                let hint = format!("write {}", first.short_name());
                self.error(
                    text,
                    format!("there are {} virtual machines {wanted:?} in this estate", found.len()),
                    Some(hint),
                );
                None
            }
        }
    }

    /// Whether a collection is one of copies: what it is `of` is no VM.
    fn is_copy(&self, spec: &CollectionSpec) -> bool {
        match ResourceId::parse(&spec.of.value) {
            Ok(id) => !id.is_type("Microsoft.Compute/virtualMachines"),
            Err(_) => !spec.deleted && !self.vms.contains_key(&spec.of.value.to_ascii_lowercase()),
        }
    }

    /// How far a copy to another region is.
    pub(crate) fn copying(&mut self, percent: Option<&Spanned<u8>>) -> Option<u8> {
        let percent = percent?;
        if percent.value < 100 {
            return Some(percent.value);
        }
        let hint = "0 to 99; omit it when the copy is complete".to_owned();
        self.error(percent, format!("copying: {} is not how far an unfinished copy is", percent.value), Some(hint));
        None
    }

    /// What a collection is of: a VM of the estate, one that is gone, or a collection that its points are copied from.
    fn source_of(&mut self, group: &ResourceId, spec: &CollectionSpec) -> Option<ResourceId> {
        if spec.deleted {
            return self.gone_vm(group, &spec.of);
        }
        let of = &spec.of.value;
        let named = self.world.collections.iter().find(|c| c.id.name().eq_ignore_ascii_case(of));
        match named.filter(|_| !self.vms.contains_key(&of.to_ascii_lowercase())) {
            Some(collection) => Some(collection.id.clone()),
            None => self.find_vm(&spec.of),
        }
    }

    /// The points that a collection's points are copies of, oldest first.
    fn originals(&self, source: &ResourceId) -> Vec<String> {
        let found = self.world.collection(source);
        found
            .map(|c| c.points.iter().map(|p| format!("{}/restorePoints/{}", c.id, p.name)).collect())
            .unwrap_or_default()
    }

    fn collection(&mut self, group: &ResourceId, group_spec: &GroupSpec, spec: &CollectionSpec) {
        let Some(vm) = self.source_of(group, spec) else { return };
        let made = format!("AzureBackup_{}_{}", vm.name(), digits_from(&format!("{}{}", group.key(), vm.key())));
        let name = spec.name.as_ref().map_or(made, |n| n.value.clone());
        let id = group.resource("Microsoft.Compute", "restorePointCollections", &name);
        let Some(id) = self.checked(spec.name.as_ref().unwrap_or(&spec.of), id) else { return };
        let vm_id = self.world.vm(&vm).map_or_else(|| guid_from(&format!("vm/{}", vm.key())), |vm| vm.vm_id.clone());
        let item = self.world.item_of(&vm).map(|i| i.id.clone());
        let originals = self.originals(&vm);
        let mut points: Vec<Point> = Vec::new();
        for series in &spec.points.0 {
            let copying = self.copying(series.copying.as_ref());
            let carried = series
                .vm_id_of
                .as_ref()
                .and_then(|other| self.find_vm(other))
                .and_then(|id| self.world.vm(&id).map(|vm| vm.vm_id.clone()));
            for (index, at) in self.times(series).into_iter().enumerate() {
                if let Some(item) = &item
                    && series.tier != Tier::None
                {
                    self.recovery_point(item, at, series.tier, series.file_recovery);
                }
                if series.tier == Tier::Vault {
                    continue;
                }
                // the snapshot is made a few seconds after the recovery point's time
                let created = later(at, Duration::from_millis(3_400 + 137 * (index as u64 % 7)));
                let name = match &series.named {
                    Some(named) => format!("{named}{:03}", index + 1),
                    None => point_name(at),
                };
                let from_source = || format!("{id}-source/restorePoints/{name}");
                points.push(Point {
                    // the newest is a copy of the newest
                    copied_from: originals.iter().rev().nth(index).cloned().or_else(|| series.copied.then(from_source)),
                    copying,
                    name,
                    created,
                    state: if series.state == crate::estate::Good::Failed {
                        PointState::Failed
                    } else {
                        PointState::Succeeded
                    },
                    vm_id: carried.clone().unwrap_or_else(|| vm_id.clone()),
                    in_use: series.in_use,
                });
            }
        }
        points.extend(self.exact_points(&id, &vm_id, spec));
        points.sort_by_key(|p| p.created);
        self.locks(&id, &spec.locks);
        if let Some(each) = spec.deletes_per_call.as_ref().filter(|each| each.value == 0) {
            self.error(
                each,
                "deletes_per_call: 0 would never delete anything".into(),
                Some("delete_hangs: true".into()),
            );
        }
        let source = if originals.is_empty() && spec.points.0.iter().any(|s| s.copied) {
            ResourceId::parse(&format!("{id}-source")).unwrap_or(vm)
        } else {
            vm
        };
        self.world.collections.push(Collection {
            collection_id: spec.id.clone().unwrap_or_else(|| guid_from(&format!("collection/{}", id.key()))),
            id,
            location: spec.location.clone().unwrap_or_else(|| group_spec.location.clone()),
            source,
            deleting: spec.deleting,
            disk_gb: spec.disk_gb,
            deletes_needed: spec.deletes_needed.unwrap_or(1).max(1),
            delete_hangs: spec.delete_hangs,
            deletes_per_call: spec.deletes_per_call.as_ref().map(|each| each.value.max(1)),
            points,
        });
    }

    /// `/`, a subscription's name or id, `group`, `subscription/group`, or a resource id.
    pub(crate) fn scope(&mut self, text: &Spanned<String>) -> Option<String> {
        let wanted = text.value.as_str();
        if wanted == "/" {
            return Some("/".into());
        }
        if let Ok(id) = ResourceId::parse(wanted) {
            return Some(id.as_str().to_owned());
        }
        let subscription = self
            .world
            .subscriptions
            .iter()
            .find(|s| s.name.eq_ignore_ascii_case(wanted) || s.id.eq_ignore_ascii_case(wanted));
        if let Some(subscription) = subscription {
            return Some(format!("/subscriptions/{}", subscription.id));
        }
        let (within, group) = wanted.split_once('/').map_or((None, wanted), |(s, g)| (Some(s), g));
        let in_named = |g: &&Group| {
            within.is_none_or(|s| {
                self.world.subscription(g.id.subscription()).is_some_and(|known| known.name.eq_ignore_ascii_case(s))
            })
        };
        let found = self.world.groups.iter().filter(in_named).find(|g| g.id.name().eq_ignore_ascii_case(group));
        if let Some(found) = found {
            return Some(found.id.as_str().to_owned());
        }
        let names: Vec<&str> = self
            .world
            .subscriptions
            .iter()
            .map(|s| s.name.as_str())
            .chain(self.world.groups.iter().map(|g| g.id.name()))
            .collect();
        let hint = did_you_mean(wanted, names);
        self.error(text, format!("there is no subscription or resource group {wanted:?} in this estate"), hint);
        None
    }

    fn tail(&mut self, spec: &EstateSpec) {
        if !spec.permissions.is_empty() {
            self.world.permissions.clear();
        }
        for permission in &spec.permissions {
            let Some(scope) = self.scope(&permission.scope) else { continue };
            self.world.permissions.push(Permission {
                scope,
                actions: permission.actions.clone(),
                not_actions: permission.not_actions.clone(),
            });
        }
        for deny in &spec.deny_assignments {
            let Some(scope) = self.scope(&deny.scope).and_then(|scope| ResourceId::parse(&scope).ok()) else {
                continue;
            };
            self.world.denies.push(DenyAssignment {
                name: guid_from(&format!("deny/{}/{}", scope.key(), deny.name)),
                title: deny.name.clone(),
                scope,
                actions: deny.actions.clone(),
                not_actions: deny.not_actions.clone(),
                system_protected: deny.system_protected,
            });
        }
        self.governance(&spec.policy_assignments, &spec.activity, spec.now);
        self.scoped_locks(spec);
        self.running_jobs();
        let planned = spec.faults.iter().filter_map(|f| match &f.effect {
            crate::world::faults::Effect::World(event) => Some((f.id.referenced, event)),
            _ => None,
        });
        for (at, event) in planned.chain(spec.timeline.iter().map(|t| (t.after.referenced, &t.event))) {
            if let Some(target) = self.world.missing_target(event) {
                let hint = did_you_mean(target, self.world.vms.iter().map(|vm| vm.id.name()));
                let message = format!("there is no {target:?} in this estate for this event");
                self.error_at(Place::from(at), message, hint);
            }
        }
        self.world.faults = spec.faults.iter().map(crate::estate::FaultSpec::fault).collect();
        for event in &spec.timeline {
            self.world.schedule_in(event.after.value.as_secs(), Effect::Happens(event.event.clone()));
        }
    }

    /// Ties jobs that run at the beginning to what they work on: the collection, or the recovery point in transfer.
    fn running_jobs(&mut self) {
        for index in 0..self.world.jobs.len() {
            let job = &self.world.jobs[index];
            if !job.status.is_active() || job.operation != "Backup" {
                continue;
            }
            let Some(item) = self.world.item(&job.item) else { continue };
            if job.is_taking_snapshot() {
                let collection = self.world.live_collection(&item.vm);
                self.world.jobs[index].collection = collection;
            } else {
                let newest = item.recovery_points.iter().filter(|r| r.tiers.len() == 1).max_by_key(|r| r.time);
                let made = newest.map(|r| r.name.clone());
                self.world.jobs[index].recovery_point = made;
            }
        }
    }
}

/// The data disks; one without a name gets the one that the portal gives.
fn data_disks(vm: &ResourceId, specs: &[crate::world::DiskSpec]) -> Vec<crate::world::DiskSpec> {
    let named = |(lun, spec): (usize, &crate::world::DiskSpec)| {
        let mut disk = spec.clone();
        if disk.name.is_empty() {
            disk.name = format!("{}_DataDisk_{lun}", vm.name());
        }
        disk
    };
    specs.iter().enumerate().map(named).collect()
}
