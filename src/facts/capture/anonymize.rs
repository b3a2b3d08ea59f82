//! The names taken out of what was read.
//!
//! Invariants: what azmend decides on stays: sizes, regions, times, states, error codes, and the form of the names that
//! Azure Backup gives; everything that somebody chose is called otherwise, and every GUID has a number. Text of Azure is
//! cut down to what its classification needs. Nothing of the file leads back: numbers are given by chance, and there is no
//! digest of a name. Must never: keep a text because it looks harmless.

use crate::facts::unread::Unread;
use std::collections::BTreeSet;

use super::names::{Kind, Names};
use super::{Captured, CapturedItem, CapturedVm};
use crate::arm::id::ResourceId;
use crate::arm::model::{Extension, HealthDetail, InstanceView, Job, JobError, KeyVault, Lock, Status};
use crate::catalog::Catalog;
use crate::facts::vm_facts::Part;

/// Key Vault Administrator, a role definition of Azure itself and the same in every tenant (recorded in azure-cli's
/// test_backup_encryption): what azmend decides hangs on it.
const ADMINISTRATOR: &str = "00482a5a-887f-4fb3-b363-3b7fe8e74483";

impl Captured {
    /// Takes the names out. `chance` gives random numbers.
    pub fn anonymize(&mut self, chance: &mut dyn FnMut() -> u128) {
        let vms: BTreeSet<String> = self
            .vms
            .iter()
            .map(|vm| vm.row.vm.id.name().to_lowercase())
            .chain(self.items.iter().map(|item| item.vm.name().to_lowercase()))
            .chain(self.collections.iter().filter_map(|one| Some(one.collection.source_id()?.name().to_lowercase())))
            .collect();
        let mut names = Names::collecting();
        for policy in &self.policies {
            names.pattern(&policy.group_prefix, &policy.group_suffix);
        }
        self.groups.iter().for_each(|group| names.region(&group.location));
        self.vms.iter().for_each(|vm| names.region(&vm.row.vm.location));
        // The same walk twice: it collects first, then it replaces.
        let mut walk = Walk { names, vms };
        walk.everything(&mut self.clone());
        walk.names.settle(chance);
        walk.everything(self);
        self.left_out.iter_mut().for_each(|line| line.which.clear());
        self.left_out.dedup();
        self.not_read = self.not_read.iter().map(generic).collect();
        self.not_read.sort_by(|a, b| (&a.what, &a.why).cmp(&(&b.what, &b.why)));
        self.not_read.dedup();
        self.anonymized = true;
    }
}

/// What was not read, without its name, and the status of the answer alone.
fn generic(line: &Unread) -> Unread {
    const KNOWN: [&str; 19] = [
        "the deny assignments of",
        "the VMs of",
        "the power states of",
        "the extensions of",
        "the resource groups of",
        "the restore point collections of",
        "the locks of",
        "the vaults of",
        "the protected items of",
        "the backup policies of",
        "the backup jobs of",
        "the restore points of",
        "the recovery points of",
        "the instance view of",
        "the key vaults of",
        "the subscription",
        "the disk",
        "what protects the vault",
        "what the group",
    ];
    let what = KNOWN.iter().find(|known| line.what.starts_with(**known)).copied();
    let what = what.unwrap_or("a part").trim_end_matches(" of").to_owned();
    let status: String = line.why.chars().take_while(char::is_ascii_digit).take(3).collect();
    let why = if status.is_empty() { "it could not be read".to_owned() } else { status };
    Unread { what, why }
}

struct Walk {
    names: Names,
    vms: BTreeSet<String>,
}

impl Walk {
    fn id(&mut self, id: &mut ResourceId) {
        *id = self.names.id(id, &self.vms);
    }

    /// An id in a text; what is none is gone.
    fn id_text(&mut self, text: &mut String) {
        if !text.is_empty() {
            *text =
                ResourceId::parse(text).map_or_else(|_| String::new(), |id| self.names.id(&id, &self.vms).to_string());
        }
    }

    fn guid(&mut self, text: &mut String) {
        *text = self.names.guid(text);
    }

    fn name(&mut self, kind: Kind, text: &mut String) {
        *text = self.names.name(kind, text);
    }

    fn everything(&mut self, all: &mut Captured) {
        self.guid(&mut all.tenant);
        for one in &mut all.subscriptions {
            // One without a name is called by its id.
            if one.name.eq_ignore_ascii_case(&one.id) {
                one.name.clear();
            }
            self.name(Kind::Subscription, &mut one.name);
            self.guid(&mut one.id);
            self.guid(&mut one.tenant);
        }
        for group in &mut all.groups {
            let service = group.managed_by.to_lowercase().ends_with("/providers/microsoft.recoveryservices/");
            self.id(&mut group.id);
            if service {
                group.managed_by =
                    format!("subscriptions/{}/providers/Microsoft.RecoveryServices/", group.id.subscription());
            } else {
                self.id_text(&mut group.managed_by);
            }
        }
        all.others.iter_mut().for_each(|id| self.id(id));
        all.vms.iter_mut().for_each(|vm| self.vm(vm));
        for one in &mut all.vaults {
            self.id(&mut one.vault.id);
        }
        for policy in &mut all.policies {
            self.id(&mut policy.id);
            self.name(Kind::Prefix, &mut policy.group_prefix);
            self.name(Kind::Suffix, &mut policy.group_suffix);
        }
        all.items.iter_mut().for_each(|item| self.item(item));
        for one in &mut all.collections {
            let collection = &mut one.collection;
            self.id(&mut collection.id);
            self.id_text(&mut collection.source);
            self.guid(&mut collection.collection_id);
            for point in collection.points.iter_mut().flatten() {
                self.id(&mut point.id);
                self.guid(&mut point.vm_id);
                self.id_text(&mut point.copied_from);
            }
        }
        all.locks.iter_mut().for_each(|lock| self.lock(lock));
        for one in &mut all.key_vaults {
            self.id(&mut one.id);
            if let Part::Known { value, .. } = &mut one.vault {
                self.key_vault(value);
            }
            if let Part::Known { value, .. } = &mut one.roles {
                for role in value {
                    self.guid(&mut role.principal);
                    let definition = role.role.rsplit('/').next().unwrap_or_default().to_owned();
                    if !definition.eq_ignore_ascii_case(ADMINISTRATOR) {
                        role.role = self.names.guid(&definition);
                    }
                }
            }
        }
        for (scope, _) in &mut all.permissions {
            self.id(scope);
        }
        for deny in &mut all.denies {
            self.name(Kind::Deny, &mut deny.name);
            self.id_text(&mut deny.scope);
        }
    }

    fn lock(&mut self, lock: &mut Lock) {
        self.id(&mut lock.id);
        self.name(Kind::Notes, &mut lock.notes);
        lock.owners.iter_mut().for_each(|owner| self.guid(owner));
    }

    fn key_vault(&mut self, vault: &mut KeyVault) {
        self.id(&mut vault.id);
        for policy in &mut vault.policies {
            self.guid(&mut policy.object);
            self.guid(&mut policy.application);
        }
    }

    fn vm(&mut self, captured: &mut CapturedVm) {
        let vm = &mut captured.row.vm;
        self.id(&mut vm.id);
        self.guid(&mut vm.vm_id);
        for disk in &mut vm.disks {
            self.name(Kind::Disk, &mut disk.name);
            if let Some(id) = &mut disk.id {
                self.id(id);
            }
        }
        for disk in &mut captured.disks {
            self.id(&mut disk.id);
        }
        let tags = std::mem::take(&mut captured.row.tags);
        for (name, value) in tags {
            let entry = (self.names.name(Kind::TagName, &name), self.names.name(Kind::TagValue, &value));
            captured.row.tags.insert(entry.0, entry.1);
        }
        captured.extensions.iter_mut().for_each(|one| self.extension(one));
        if let Some(view) = &mut captured.instance {
            self.view(view);
        }
        if let Some((vault, _)) = &mut captured.encryption {
            self.id(vault);
        }
    }

    fn extension(&mut self, one: &mut Extension) {
        self.id(&mut one.id);
        (one.publisher, one.kind) = self.names.handler(&one.publisher, &one.kind);
        one.message = self.message(&one.message);
    }

    fn kind(&mut self, kind: &mut String) {
        if let Some((publisher, name)) = kind.rsplit_once('.') {
            let (publisher, name) = self.names.handler(publisher, name);
            *kind = format!("{publisher}.{name}");
        }
    }

    fn view(&mut self, view: &mut InstanceView) {
        view.statuses.iter_mut().for_each(|status| self.status(status));
        if let Some(agent) = &mut view.agent {
            self.status(&mut agent.status);
        }
        for handler in &mut view.handlers {
            self.kind(&mut handler.kind);
            self.status(&mut handler.status);
        }
        for one in &mut view.extensions {
            one.name = self.names.extension_name(&one.name);
            self.kind(&mut one.kind);
            one.statuses.iter_mut().for_each(|status| self.status(status));
        }
    }

    fn status(&mut self, status: &mut Status) {
        status.message = self.message(&status.message);
        // Codes and what is displayed are words of the platform; an extension may send others.
        let words = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | ' '));
        let code = ["ProvisioningState/", "ComponentStatus/"].iter().any(|known| status.code.starts_with(known));
        if code && words(&status.code) {
            // What follows the state is a number of Azure's, or a word of somebody's.
            let parts: Vec<&str> = status.code.split('/').collect();
            let kept =
                parts.iter().enumerate().filter(|(at, part)| *at < 2 || part.chars().all(|c| c.is_ascii_digit()));
            status.code = kept.map(|(_, part)| *part).collect::<Vec<_>>().join("/");
        } else if !status.code.is_empty() {
            let failed = status.is_failed();
            status.code = if failed { "ProvisioningState/failed" } else { "ProvisioningState/other" }.to_owned();
        }
        let known = ["Ready", "Not Ready", "Provisioning succeeded", "Provisioning failed"];
        if !known.iter().any(|known| known.eq_ignore_ascii_case(&status.display)) {
            self.name(Kind::Message, &mut status.display);
        }
    }

    /// A text: the code that it is known by, or a number.
    fn message(&mut self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        match reduced(text) {
            Some(known) => known,
            None => self.names.name(Kind::Message, text),
        }
    }

    fn title(&mut self, title: &str) -> String {
        let known = Catalog::get().by_code(title).map(|_| title.trim().to_owned());
        known.unwrap_or_else(|| self.names.name(Kind::Error, title))
    }

    fn item(&mut self, captured: &mut CapturedItem) {
        let item = &mut captured.item;
        self.id(&mut item.id);
        self.id_text(&mut item.source);
        self.id_text(&mut item.policy_id);
        self.id(&mut captured.vm);
        item.health_details.iter_mut().for_each(|detail| self.detail(detail));
        for point in &mut captured.points {
            self.id(&mut point.id);
        }
        captured.jobs.iter_mut().for_each(|job| self.job(job));
    }

    fn detail(&mut self, detail: &mut HealthDetail) {
        let mut error = JobError {
            code: detail.code,
            title: detail.title.clone(),
            text: detail.message.clone(),
            ..JobError::default()
        };
        self.error(&mut error);
        (detail.title, detail.message) = (error.title, error.text);
    }

    fn error(&mut self, error: &mut JobError) {
        error.text = self.message(&error.text);
        error.title = self.title(&error.title);
        error.recommendations.clear();
    }

    fn job(&mut self, job: &mut Job) {
        self.id(&mut job.id);
        self.name(Kind::Vm, &mut job.vm_name);
        job.container = self.names.job_container(&job.container);
        job.errors.iter_mut().for_each(|error| self.error(error));
        job.dynamic_error = self.message(&job.dynamic_error);
    }
}

/// A text that the catalogue takes for the same as this one, and that is of the catalogue alone.
fn reduced(text: &str) -> Option<String> {
    let catalog = Catalog::get();
    let seen = |text: &str| {
        let code = |entry: Option<&crate::catalog::Entry>| entry.map(|entry| entry.code.clone());
        (code(catalog.by_text(text)), code(catalog.inner([text], "")))
    };
    let wanted = seen(text);
    if wanted == (None, None) {
        return None;
    }
    let of = |code: &Option<String>| code.as_ref().and_then(|code| catalog.by_code(code));
    let entries = [of(&wanted.0), of(&wanted.1)];
    let texts = entries.into_iter().flatten().flat_map(|entry| entry.messages.iter().chain([&entry.code]));
    let mut candidates: Vec<String> = texts.cloned().collect();
    if let (Some(one), Some(other)) = (&wanted.0, &wanted.1) {
        candidates.push(format!("{one} {other}"));
        candidates.push(format!("{other} {one}"));
    }
    candidates.into_iter().find(|known| seen(known) == wanted)
}
