//! Names and what they are called instead.
//!
//! Invariants: the same name of the same kind is always called the same; the numbers are given by chance, so neither a
//! number nor the order of the file tells anything of a name; no replacement is the name of something in the estate.

use std::collections::{BTreeMap, BTreeSet};

use crate::arm::id::{ResourceId, is_guid};
use crate::facts::collect::plain_location;
use crate::facts::groups::{collection_name, default_group_name, is_point_name, matches_pattern};

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Subscription,
    Group,
    Vm,
    Vault,
    Policy,
    KeyVault,
    Collection,
    Digits,
    Point,
    RecoveryPoint,
    Container,
    Item,
    Lock,
    Disk,
    Interface,
    Extension,
    Publisher,
    ExtensionType,
    Resource,
    Deny,
    TagName,
    TagValue,
    Notes,
    Message,
    Error,
    Prefix,
    Suffix,
    Geo,
    Guid,
}

impl Kind {
    fn called(self, number: usize) -> String {
        match self {
            Self::Subscription => format!("subscription-{number:02}"),
            Self::Group => format!("rg-{number:03}"),
            Self::Vm => format!("vm-{number:03}"),
            Self::Vault => format!("vault-{number:02}"),
            Self::Policy => format!("policy-{number:02}"),
            Self::KeyVault => format!("kv-{number:03}"),
            Self::Collection => format!("collection-{number:03}"),
            Self::Digits => format!("{}", 100_000_000_000_000 + number),
            Self::Point => format!("point-{number:04}"),
            Self::RecoveryPoint => format!("{}", 100_000_000_000_000 + number),
            Self::Container => format!("container-{number:03}"),
            Self::Item => format!("item-{number:03}"),
            Self::Lock => format!("lock-{number:03}"),
            Self::Disk => format!("disk-{number:04}"),
            Self::Interface => format!("nic-{number:04}"),
            Self::Extension => format!("extension-{number:03}"),
            Self::Publisher => format!("Publisher{number:02}"),
            Self::ExtensionType => format!("Type{number:02}"),
            Self::Resource => format!("resource-{number:03}"),
            Self::Deny => format!("deny-{number:02}"),
            Self::TagName => format!("tag-{number:02}"),
            Self::TagValue => format!("value-{number:03}"),
            Self::Notes => format!("note {number:03}"),
            Self::Message => format!("message {number:03}"),
            Self::Error => format!("Error{number:03}"),
            Self::Prefix => format!("backup{number:02}x"),
            Self::Suffix => format!("x{number:02}"),
            Self::Geo => format!("geo{number:02}"),
            Self::Guid => format!("00000000-0000-4000-8000-{number:012}"),
        }
    }

    /// Whether two names that differ in case are one.
    const fn folds(self) -> bool {
        !matches!(self, Self::TagValue | Self::Notes | Self::Message | Self::Error)
    }
}

/// What every name is called.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// `None` while the names are collected.
    called: BTreeMap<(Kind, String), Option<String>>,
    /// Prefixes and suffixes of groups, as policies have them.
    patterns: BTreeSet<(String, String)>,
    /// Azure's regions in the estate.
    regions: BTreeSet<String>,
    collecting: bool,
}

impl Names {
    /// An empty list that collects.
    pub(super) fn collecting() -> Self {
        Self { collecting: true, ..Self::default() }
    }

    /// Gives the numbers; `chance` decides their order.
    pub(super) fn settle(&mut self, chance: &mut dyn FnMut() -> u128) {
        let taken: BTreeSet<String> = self.called.keys().map(|(_, name)| name.to_lowercase()).collect();
        let mut keys: Vec<(Kind, u128, String)> =
            self.called.keys().map(|(kind, name)| (*kind, chance(), name.clone())).collect();
        keys.sort();
        let (mut last, mut number) = (None, 0);
        for (kind, _, name) in keys {
            if last != Some(kind) {
                (last, number) = (Some(kind), 0);
            }
            let called = loop {
                number += 1;
                let called = kind.called(number);
                if !taken.contains(&called.to_lowercase()) {
                    break called;
                }
            };
            self.called.insert((kind, name), Some(called));
        }
        self.collecting = false;
    }

    /// What it is called; nothing stays nothing.
    pub(super) fn name(&mut self, kind: Kind, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        let key = (kind, if kind.folds() { name.to_lowercase() } else { name.to_owned() });
        if self.collecting {
            self.called.insert(key, None);
            return name.to_owned();
        }
        // What was not collected does not exist: the same walk collects and replaces.
        self.called.get(&key).cloned().flatten().unwrap_or_else(|| kind.called(0))
    }

    /// A pattern of group names, before any group is named.
    pub(super) fn pattern(&mut self, prefix: &str, suffix: &str) {
        if !prefix.is_empty() {
            self.patterns.insert((prefix.to_owned(), suffix.to_owned()));
        }
    }

    /// Where something stands, before any group is named.
    pub(super) fn region(&mut self, location: &str) {
        self.regions.insert(plain_location(location));
    }

    pub(super) fn guid(&mut self, text: &str) -> String {
        self.name(Kind::Guid, text)
    }

    /// A group's name: Azure Backup's own keep their form, with a policy's prefix and suffix replaced. A policy is asked
    /// first: its prefix may look like the beginning of a default name, and is a word of somebody's all the same.
    pub(super) fn group(&mut self, name: &str) -> String {
        let fits = self.patterns.iter().find(|(prefix, suffix)| matches_pattern(name, prefix, suffix)).cloned();
        if let Some((prefix, suffix)) = fits {
            let low = name.to_lowercase();
            let rest = low.strip_prefix(&prefix.to_lowercase()).unwrap_or(&low);
            let digits = rest.strip_suffix(&suffix.to_lowercase()).unwrap_or(rest).to_owned();
            return format!("{}{digits}{}", self.name(Kind::Prefix, &prefix), self.name(Kind::Suffix, &suffix));
        }
        match default_group_name(name) {
            // The locations of the estate stay in it: a region of one of them tells nothing more.
            Some(default) if self.regions.contains(&default.geo) => name.to_owned(),
            // Anybody may use the form with a word that is no region.
            Some(default) => format!("AzureBackupRG_{}_{}", self.name(Kind::Geo, &default.geo), default.number),
            None => self.name(Kind::Group, name),
        }
    }

    /// A collection's name: `AzureBackup_<VM>_<digits>` keeps its form.
    fn collection(&mut self, name: &str, vms: &BTreeSet<String>) -> String {
        let Some(parsed) = collection_name(name) else { return self.name(Kind::Collection, name) };
        // A VM may itself be called `web_01`: the longest that is one decides.
        let rest = &name["AzureBackup_".len()..];
        if vms.contains(&rest.to_lowercase()) {
            return format!("AzureBackup_{}", self.name(Kind::Vm, rest));
        }
        let vm = self.name(Kind::Vm, parsed.vm);
        match parsed.number {
            Some(number) => format!("AzureBackup_{vm}_{}", self.name(Kind::Digits, number)),
            None => format!("AzureBackup_{vm}"),
        }
    }

    /// `IaasVMContainer;iaasvmcontainerv2;<group>;<vm>`, `VM;iaasvmcontainerv2;<group>;<vm>`.
    fn container(&mut self, kind: Kind, name: &str) -> String {
        let parts: Vec<&str> = name.split(';').collect();
        let head = |words: &[&str]| {
            words.iter().all(|word| {
                ["iaasvmcontainer", "iaasvmcontainerv2", "vm"].iter().any(|known| known.eq_ignore_ascii_case(word))
            })
        };
        match parts.as_slice() {
            [words @ .., group, vm] if !words.is_empty() && head(words) => {
                let (group, vm) = (self.group(group), self.name(Kind::Vm, vm));
                format!("{};{};{}", words.join(";"), group.to_lowercase(), vm.to_lowercase())
            }
            _ => self.name(kind, name),
        }
    }

    /// A job's container, which leaves out the first word.
    pub(super) fn job_container(&mut self, name: &str) -> String {
        if name.is_empty() { String::new() } else { self.container(Kind::Container, name) }
    }

    /// An id, segment by segment.
    pub(super) fn id(&mut self, id: &ResourceId, vms: &BTreeSet<String>) -> ResourceId {
        let text = self.id_text(id, vms);
        ResourceId::parse(&text).unwrap_or_else(|_| id.subscription_id())
    }

    fn id_text(&mut self, id: &ResourceId, vms: &BTreeSet<String>) -> String {
        let segments: Vec<&str> = id.as_str().split('/').skip(1).collect();
        let mut out = String::new();
        let mut namespace = String::new();
        for pair in segments.chunks(2) {
            let (word, name) = (pair[0], pair.get(1).copied().unwrap_or_default());
            let low = word.to_ascii_lowercase();
            let called = match (namespace.as_str(), low.as_str()) {
                (_, "providers") => {
                    namespace = name.to_ascii_lowercase();
                    name.to_owned()
                }
                (_, "subscriptions" | "backupjobs" | "roleassignments" | "roledefinitions") => self.guid(name),
                (_, "resourcegroups") => self.group(name),
                ("microsoft.compute", "virtualmachines") => self.name(Kind::Vm, name),
                ("microsoft.compute", "extensions") => self.extension(name),
                ("microsoft.compute", "disks") => self.name(Kind::Disk, name),
                ("microsoft.compute", "restorepointcollections") => self.collection(name, vms),
                ("microsoft.compute", "restorepoints") if is_point_name(name) => name.to_owned(),
                ("microsoft.compute", "restorepoints") => self.name(Kind::Point, name),
                ("microsoft.network", "networkinterfaces") => self.name(Kind::Interface, name),
                ("microsoft.recoveryservices", "vaults") => self.name(Kind::Vault, name),
                ("microsoft.keyvault", "vaults") => self.name(Kind::KeyVault, name),
                (_, "backuppolicies") => self.name(Kind::Policy, name),
                (_, "backupfabrics") => name.to_owned(),
                (_, "protectioncontainers") => self.container(Kind::Container, name),
                (_, "protecteditems") => self.container(Kind::Item, name),
                (_, "recoverypoints") => self.name(Kind::RecoveryPoint, name),
                ("microsoft.authorization", "locks") => self.name(Kind::Lock, name),
                _ if is_guid(name) => self.guid(name),
                _ => self.name(Kind::Resource, name),
            };
            // The type of a resource of somebody else may be a name of theirs.
            let word = match namespace.starts_with("microsoft.") || namespace.is_empty() {
                true => word.to_owned(),
                false if low == "providers" => word.to_owned(),
                false => self.name(Kind::ExtensionType, word),
            };
            let called = match low.as_str() {
                "providers" if !namespace.starts_with("microsoft.") => self.name(Kind::Publisher, name),
                _ => called,
            };
            out.push('/');
            out.push_str(&word);
            out.push('/');
            out.push_str(&called);
        }
        out
    }

    fn extension(&mut self, name: &str) -> String {
        // Azure's own are recognised by their names.
        let known = ["VMSnapshot", "VMSnapshotLinux", "AzureDiskEncryption", "AzureDiskEncryptionForLinux"];
        if known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return name.to_owned();
        }
        self.name(Kind::Extension, name)
    }

    /// The name of an extension where it stands alone.
    pub(super) fn extension_name(&mut self, name: &str) -> String {
        self.extension(name)
    }

    /// Publisher and type of an extension: Microsoft's are kept.
    pub(super) fn handler(&mut self, publisher: &str, kind: &str) -> (String, String) {
        if publisher.to_ascii_lowercase().starts_with("microsoft.") {
            return (publisher.to_owned(), kind.to_owned());
        }
        (self.name(Kind::Publisher, publisher), self.name(Kind::ExtensionType, kind))
    }
}
