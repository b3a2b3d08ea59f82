//! `azmend capture`: the estate that it writes is the one that it read, with the names taken out when that is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use assert_cmd::Command;
use azmend::arm::ResourceId;
use azmend::engine::Planned;
use azmend::engine::audit::Audit;
use azmend::engine::choose::choose;
use azmend::engine::planner::view_of;
use azmend::facts::bulk::Selection;
use azmend::facts::capture::{self, Captured, Wanted};
use azmend::facts::{CollectOptions, collect};
use azmend::playbook::library::Library;
use azmend::sim::{Estate, World};
use serde_json::Value;

use crate::simulation::{Dice, random_estate};
use crate::support::{Lab, check_requests, seeds};

const ESTATES: [(&str, &str); 6] = [
    ("built-in", include_str!("../../examples/estates/built-in.yaml")),
    ("backup-server", include_str!("../../examples/estates/backup-server.yaml")),
    ("bad-day", include_str!("../../examples/estates/bad-day.yaml")),
    ("encrypted", include_str!("../../examples/estates/encrypted.yaml")),
    ("guest", include_str!("../../examples/estates/guest.yaml")),
    ("repairs", include_str!("../../examples/estates/repairs.yaml")),
];

/// A laboratory without what would happen later: neither is what is there now.
pub fn lab(text: &str) -> Lab {
    let lab = Lab::of(text);
    lab.sim.edit(|world| world.faults.clear());
    lab
}

pub async fn captured_with(text: &str, wanted: &Wanted) -> Captured {
    let lab = lab(text);
    let visible = lab.visible().await;
    let (captured, _) = capture::read(&lab.arm, &visible, wanted).await.unwrap();
    assert_eq!(lab.mutations(), Vec::<String>::new(), "a capture only reads");
    check_requests(&lab);
    captured
}

pub async fn captured(text: &str) -> Captured {
    captured_with(text, &Wanted::default()).await
}

pub fn anonymized(captured: &Captured) -> Captured {
    let mut out = captured.clone();
    let mut dice = Dice(11);
    out.anonymize(&mut || (u128::from(dice.below(u64::MAX)) << 64) | u128::from(dice.below(u64::MAX)));
    out
}

/// The text, which loads.
pub fn text(captured: &Captured) -> String {
    let text = captured.text().text;
    if let Err(errors) = Estate::parse(&text, "captured.yaml") {
        panic!("{}\n{text}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    text
}

pub async fn look(text: &str, selection: &Selection) -> Audit {
    let lab = lab(text);
    lab.audited(selection).await
}

/// What is found, in an order of its own.
pub fn findings(audit: &Audit, said: impl Fn(&str) -> String) -> Vec<String> {
    let mut out: Vec<String> = audit
        .findings
        .iter()
        .map(|one| {
            let mut evidence: Vec<String> = one.evidence.iter().map(|line| said(line)).collect();
            evidence.sort();
            let command = one.command.as_deref().map(&said);
            let name = said(&one.name);
            format!("{} {name} {:?} {:?} {evidence:?} {command:?}", one.rule, one.level, one.code).to_lowercase()
        })
        .collect();
    out.sort();
    out
}

/// Names of the one and of the other, both called by the same number.
struct Alike {
    one: BTreeMap<String, usize>,
    other: BTreeMap<String, usize>,
}

impl Alike {
    fn of(original: &Captured, anonymous: &Captured) -> Self {
        let mut out = Self { one: BTreeMap::new(), other: BTreeMap::new() };
        for (one, other) in words(original).into_iter().zip(words(anonymous)) {
            let number = out.one.len();
            let number = *out.one.entry(one.to_lowercase()).or_insert(number);
            out.other.entry(other.to_lowercase()).or_insert(number);
        }
        out
    }

    fn said(names: &BTreeMap<String, usize>, text: &str) -> String {
        let text = text.to_lowercase();
        let mut sorted: Vec<&String> = names.keys().filter(|name| !name.is_empty()).collect();
        sorted.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '.'));
        let (mut out, mut rest, mut before) = (String::new(), text.as_str(), None);
        while let Some(next) = rest.chars().next() {
            let fits = |name: &&&String| {
                rest.strip_prefix(name.as_str()).is_some_and(|tail| !part(before) && !part(tail.chars().next()))
            };
            if let Some(name) = sorted.iter().find(fits) {
                out.push_str(&format!("<{}>", names[*name]));
                before = name.chars().last();
                rest = &rest[name.len()..];
            } else {
                out.push(next);
                before = Some(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        // Whether a shell needs quotes around a name is the name's affair.
        out.replace("'<", "<").replace(">'", ">")
    }
}

/// The names of a capture, in an order that taking them out keeps.
fn words(captured: &Captured) -> Vec<String> {
    let mut out = Vec::new();
    let mut id = |id: &ResourceId| {
        let segments: Vec<&str> = id.as_str().split('/').skip(1).collect();
        out.extend(
            segments
                .chunks(2)
                .filter(|pair| pair[0] != "providers")
                .filter_map(|pair| pair.get(1))
                .map(|s| (*s).to_owned()),
        );
    };
    captured.groups.iter().for_each(|group| id(&group.id));
    captured.vms.iter().for_each(|vm| id(&vm.row.vm.id));
    captured.vaults.iter().for_each(|one| id(&one.vault.id));
    captured.policies.iter().for_each(|policy| id(&policy.id));
    captured.collections.iter().for_each(|one| id(&one.collection.id));
    captured.items.iter().for_each(|item| id(&item.vm));
    captured.collections.iter().filter_map(|one| one.collection.source_id()).for_each(|source| id(&source));
    captured.locks.iter().for_each(|lock| id(&lock.id));
    captured.key_vaults.iter().for_each(|one| id(&one.id));
    out.extend(captured.subscriptions.iter().map(|one| one.name.clone()));
    out.extend(captured.locks.iter().map(|lock| lock.notes.clone()));
    out.extend(captured.locks.iter().flat_map(|lock| lock.owners.clone()));
    out.extend(captured.items.iter().flat_map(|item| &item.jobs).map(|job| job.id.name().to_owned()));
    for vm in &captured.vms {
        out.extend(vm.extensions.iter().map(|one| one.id.name().to_owned()));
    }
    out
}

/// The first cause of each VM, as `diagnose` has it.
async fn causes(text: &str) -> Vec<Option<String>> {
    let lab = lab(text);
    let library = Library::shipped();
    let mut vms: Vec<ResourceId> = lab.sim.world().vms.iter().map(|vm| vm.id.clone()).collect();
    vms.sort();
    let mut out = Vec::new();
    for vm in vms {
        let facts = collect(&lab.arm, &vm, &CollectOptions { glance: true, ..CollectOptions::default() }).await;
        let view = view_of(&facts, &lab.arm, &BTreeSet::new());
        out.push(choose(&library, &facts, &view).playbook);
    }
    out
}

/// Everything that must hold of the capture of an estate.
pub async fn holds(name: &str, original: &str) {
    let first = captured(original).await;
    let copy = text(&first);
    assert!(first.not_read.is_empty() || name == "random", "{name}: {:?}", first.not_read);
    for selection in [Selection::default(), Selection { thorough: true, ..Selection::default() }] {
        let (before, after) = (look(original, &selection).await, look(&copy, &selection).await);
        let same = |line: &str| line.to_owned();
        assert_eq!(findings(&before, same), findings(&after, same), "{name}\n{copy}");
        assert_eq!(before.not_read.len(), after.not_read.len(), "{name}: {:?} {:?}", before.not_read, after.not_read);
        assert_eq!(before.exit_code, after.exit_code, "{name}");
    }
    // A capture of it is the same file.
    let again = text(&captured(&copy).await);
    assert_eq!(copy, again, "{name}");
    nameless_is_alike(name, &first, &copy).await;
}

/// Where a refusal quotes Azure.
fn said_by_azure(line: &str) -> Option<(usize, usize)> {
    let from = line.find("azure says: ")?;
    let to = line[from..].find(" (guide.")?;
    Some((from, from + to))
}

/// The same without the names.
pub async fn nameless_is_alike(name: &str, first: &Captured, copy: &str) {
    let anonymous = anonymized(first);
    let alike = Alike::of(first, &anonymous);
    let nameless = text(&anonymous);
    let (before, after) = (look(copy, &Selection::default()).await, look(&nameless, &Selection::default()).await);
    let mut one = findings(&before, |line| Alike::said(&alike.one, line));
    let mut other = findings(&after, |line| Alike::said(&alike.other, line));
    // What Azure said of a failure has no names left to tell, and says less.
    for line in one.iter_mut().chain(&mut other) {
        while let Some((from, to)) = said_by_azure(line) {
            line.replace_range(from..to, "");
        }
    }
    let on_names = ["group-locked ", "unlock-backup-groups "];
    for line in one.iter_mut().chain(&mut other).filter(|line| on_names.iter().any(|start| line.starts_with(start))) {
        // The command of the first names one of several VMs, and without names another one is the first; that of the second
        // depends on the scope that the error's text names, which is not in there without names.
        line.truncate(line.find(" some(\"azmend").unwrap_or(line.len()));
    }
    one.sort();
    other.sort();
    assert_eq!(one, other, "{name}\n{nameless}");
}

#[tokio::test]
async fn an_audit_of_the_captured_estate_finds_the_same() {
    for (name, estate) in ESTATES {
        Box::pin(holds(name, estate)).await;
    }
}

#[tokio::test]
async fn the_first_cause_of_each_vm_is_the_same() {
    for (name, estate) in ESTATES {
        let first = captured(estate).await;
        let (before, after) = (causes(estate).await, causes(&text(&first)).await);
        assert_eq!(before, after, "{name}");
        // Without names the VMs stand in another order.
        let mut nameless = causes(&text(&anonymized(&first))).await;
        let mut before = before;
        before.sort();
        nameless.sort();
        assert_eq!(before, nameless, "{name}");
    }
}

/// What a plan would do.
async fn effects(lab: &Lab, vm: &str) -> String {
    match lab.plan("rp-collection-limit", vm, &crate::support::Ask::default()).await {
        Planned::Plan(plan) => plan.changes().map(|(_, change)| change.effect.clone()).collect::<Vec<_>>().join("\n"),
        other => format!("{other:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned(),
    }
}

#[tokio::test]
async fn a_rehearsal_plans_what_would_be_done() {
    let copy = text(&captured(ESTATES[0].1).await);
    let (real, rehearsal) = (lab(ESTATES[0].1), lab(&copy));
    let mut planned = 0;
    for vm in ["web-01", "db-03", "nas-04", "sub-lock", "app-02", "ok-07"] {
        let (before, after) = (effects(&real, vm).await, effects(&rehearsal, vm).await);
        assert_eq!(before, after, "{vm}");
        planned += usize::from(before.contains(' '));
    }
    assert!(planned >= 3, "too few plans to compare");
}

#[tokio::test]
async fn random_estates_are_captured_too() {
    for seed in seeds(12, 40) {
        let yaml = random_estate(&mut Dice(seed));
        Box::pin(holds("random", &yaml)).await;
    }
}

/// Everything that somebody chose or that names something, of a world.
fn originals(world: &World) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut id = |id: &ResourceId| {
        let segments: Vec<&str> = id.as_str().split('/').skip(1).collect();
        for pair in segments.chunks(2) {
            if let [word, name] = pair
                && *word != "providers"
                && *word != "backupFabrics"
            {
                out.extend(name.split(';').map(str::to_owned));
            }
        }
    };
    world.vms.iter().for_each(|vm| id(&vm.id));
    world.groups.iter().for_each(|group| id(&group.id));
    world.vaults.iter().for_each(|vault| id(&vault.id));
    world.policies.iter().for_each(|policy| id(&policy.id));
    world.items.iter().for_each(|item| id(&item.id));
    world.collections.iter().for_each(|one| id(&one.id));
    world.locks.iter().for_each(|lock| id(&lock.id));
    world.key_vaults.iter().for_each(|one| id(&one.id));
    out.extend(world.subscriptions.iter().map(|one| one.name.clone()));
    out.extend(world.locks.iter().filter_map(|lock| lock.notes.clone()));
    out.extend(world.locks.iter().flat_map(|lock| lock.owners.clone()));
    out.extend(world.jobs.iter().map(|job| job.name.clone()));
    out.extend(world.policies.iter().flat_map(|one| [one.prefix.clone(), one.suffix.clone()]).flatten());
    out.extend(world.items.iter().flat_map(|item| &item.recovery_points).map(|point| point.name.clone()));
    for vm in &world.vms {
        out.extend(vm.tags.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
        out.insert(vm.vm_id.clone());
        out.extend(vm.vmsnapshot.iter().map(|handler| handler.message.clone()));
        // Microsoft's own are called by their type, which stays.
        let own = vm.extensions.iter().filter(|one| !one.publisher.starts_with("Microsoft."));
        out.extend(own.map(|one| one.name.clone()));
        out.extend(vm.data_disks.iter().map(|disk| disk.name.clone()));
    }
    for one in &world.key_vaults {
        out.extend(one.policies.iter().map(|policy| policy.principal.clone()));
    }
    out.insert(world.tenant.clone());
    out.extend(world.collections.iter().map(|one| one.collection_id.clone()));
    // Names that Azure gives keep their form.
    let own = |name: &String| {
        let low = name.to_lowercase();
        name.len() < 3
            || (low.starts_with("azurebackuprg_") && low.split('_').count() == 3)
            || ["iaasvmcontainer", "iaasvmcontainerv2", "vmsnapshot", "vmsnapshotlinux", "on-the-vm"]
                .contains(&low.as_str())
    };
    out.retain(|name| !own(name));
    out
}

/// Names that are also words of the format or of Azure: they cannot be looked for in a text.
const WORDS: [&str; 12] =
    ["keep", "daily", "monitor", "backup", "team", "shop", "app", "prod", "mon", "weekly", "hourly", "env"];

/// Every value of a document and every tag's name, in lower case: the keys of the format are words of its own.
fn values(node: &Value, under: &str, out: &mut Vec<String>) {
    match node {
        Value::Object(map) => {
            for (key, value) in map {
                if under == "tags" {
                    out.push(key.to_lowercase());
                }
                values(value, key, out);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| values(value, under, out)),
        Value::String(text) => out.push(text.to_lowercase()),
        _ => {}
    }
}

#[tokio::test]
async fn no_name_is_left_in_an_anonymized_estate() {
    let mut left = Vec::new();
    for (name, estate) in ESTATES {
        let nameless = text(&anonymized(&captured(estate).await));
        let mut all = Vec::new();
        values(&serde_saphyr::from_str(&nameless).unwrap(), "", &mut all);
        all.extend(nameless.lines().filter(|line| line.starts_with('#')).skip(3).map(str::to_lowercase));
        let mut looked_for = 0;
        for original in originals(&lab(estate).sim.world()) {
            let original = original.to_lowercase();
            if WORDS.contains(&original.as_str()) {
                continue;
            }
            looked_for += 1;
            // Also in parts of names, whatever the case.
            left.extend(
                all.iter().filter(|text| text.contains(&original)).map(|text| format!("{name}: {original} in {text}")),
            );
        }
        assert!(looked_for > 10, "{name}");
        assert!(!nameless.contains('@') && !nameless.to_lowercase().contains("contoso"), "{name}");
    }
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn the_numbers_tell_nothing() {
    let first = captured(ESTATES[0].1).await;
    let numbered = |seed: u64| {
        let mut out = first.clone();
        let mut dice = Dice(seed);
        out.anonymize(&mut || u128::from(dice.below(u64::MAX)));
        out.vms.iter().map(|vm| vm.row.vm.id.name().to_owned()).collect::<Vec<_>>()
    };
    assert_ne!(numbered(1), numbered(2), "the order is chance");
    assert!(!numbered(1).is_sorted() && !numbered(2).is_sorted());
    // Named already as azmend would name it: no name is given to another.
    let renamed = ESTATES[0].1.replace("web-01", "vm-001");
    let again = anonymized(&captured(&renamed).await);
    assert!(!text(&again).contains("vm-001"));
    // The same name is called the same everywhere.
    let web = first.vms.iter().position(|vm| vm.row.vm.id.name() == "web-01").unwrap();
    let anonymous = anonymized(&first);
    let called = anonymous.vms[web].row.vm.id.name().to_owned();
    let of = first.items.iter().position(|item| item.vm == first.vms[web].row.vm.id).unwrap();
    assert_eq!(anonymous.items[of].vm.name(), called);
    assert!(anonymous.items[of].item.id.name().ends_with(&format!(";{called}")));
}

const HOSTILE: &str = r##"
apiVersion: azmend/estate/v1
name: hostile
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: "- no: \"yes\" # 'not a comment' \e[31m 한글"
    id: 5b1c0de0-0000-4000-8000-0000000000aa
    locks: [{ name: "true", level: ReadOnly, notes: "line\nbreak\r\n\ttab \u202e \u0085 \u2028 \u0000: {x: [1, 2]} %20 '" }]
    groups:
      - name: 그룹-(1)_x.
        vms:
          - name: "null"
            tags: { "- a: b": "\"", "#": "- x\n- y", "\e]0;x\a": "~", "1e3": "0x1F", "": "yes", "{{ x }}": "&a *b !c" }
            vmsnapshot: { state: failed, message: "a\nb: \"c\" \e[2J # d" }
            locks: [{ name: "1.0", level: CanNotDelete }]
            protection: { vault: "yes", policy: "no", jobs: [{ age: 1h, status: failed, error: "UserErrorX: y", message: "null\n# x" }] }
        vaults: [{ name: "yes", policies: [{ name: "no", prefix: "y", type: enhanced }] }]
"##;

#[tokio::test]
async fn hostile_names_and_texts_survive() {
    let first = captured(HOSTILE).await;
    let copy = text(&first);
    assert!(copy.chars().all(|c| !c.is_control() || c == '\n') && !copy.contains('\u{202e}'), "{copy:?}");
    let (before, after) = (lab(HOSTILE).sim.world(), lab(&copy).sim.world());
    assert_eq!(before.vms[0].tags, after.vms[0].tags);
    assert_eq!(before.vms[0].id.as_str(), after.vms[0].id.as_str());
    assert_eq!(before.subscriptions, after.subscriptions);
    assert_eq!(before.locks, after.locks);
    assert_eq!(before.vms[0].vmsnapshot.as_ref().unwrap().message, after.vms[0].vmsnapshot.as_ref().unwrap().message);
    assert_eq!(before.jobs[0].error.as_ref().unwrap().text, after.jobs[0].error.as_ref().unwrap().text);
    assert_eq!(copy, text(&captured(&copy).await));
    let (before, after) = (look(HOSTILE, &Selection::default()).await, look(&copy, &Selection::default()).await);
    let same = |line: &str| line.to_owned();
    assert_eq!(findings(&before, same), findings(&after, same));
    let nameless = text(&anonymized(&first));
    for gone in ["한글", "그룹", "not a comment", "[31m", "0x1F", "break"] {
        assert!(!nameless.contains(gone), "{gone}");
    }
}

const MORE: &str = r#"
apiVersion: azmend/estate/v1
name: more
now: 2026-11-20T09:00:00.75Z
subscriptions:
  - name: More
    id: 5b1c0de0-0000-4000-8000-0000000000ab
    groups:
      - name: rg-a
        vms:
          - { name: twice, os: linux, location: northeurope, size: Standard_E4s_v5, os_disk: { name: own-disk, size_gb: 64 } }
      - name: rg-b
        vms:
          - { name: twice, vmsnapshot: { state: not-ready, code: ProvisioningState/NotReady/1007 } }
        vaults:
          - name: v
            location: northeurope
            policies:
              - { name: weekly, schedule: { frequency: Weekly, times: ["22:00"], days: [Sunday, Wednesday] }, time_zone: Korea Standard Time }
              - { name: hours, type: enhanced, snapshot_days: 5, schedule: { frequency: Hourly, times: ["08:00"], interval_hours: 6, window_hours: 12 } }
            items:
              - of: rg-a/twice
                policy: weekly
                container: IaasVMContainer;iaasvmcontainerv2;older-group;twice
                name: VM;iaasvmcontainerv2;older-group;twice
                health: { status: ActionSuggested, details: [{ code: 400196, title: UserErrorGuestAgentStatusUnavailable, message: gone }] }
                last_backup: { status: Completed, time: 2026-11-19T22:10:11.5Z }
                recovery_points:
                  - { name: "77", time: 2026-11-19T22:00:01.25Z, tiers: { HardenedRP: Valid, InstantRP: Deleted }, consistency: CrashConsistent }
                history:
                  - { id: 5b1c0de0-0000-4000-8000-00000000000a, operation: Backup, status: InProgress, started: 2026-11-17T22:00:00Z, ends_in: 30d, tasks: [{ name: Take Snapshot, status: InProgress }] }
                  - { id: 5b1c0de0-0000-4000-8000-00000000000b, operation: Backup, status: Failed, started: 2026-11-16T22:00:00Z, ended: 2026-11-16T22:10:00Z, errors: [{ code: 1, title: A, text: b }, { code: 400196, title: UserErrorGuestAgentStatusUnavailable, text: c }] }
      - name: AzureBackupRG_northeurope_1
        location: northeurope
        resources: [{ type: Contoso.Things/widgets, name: thing }]
        collections:
          - of: /subscriptions/5b1c0de0-0000-4000-8000-0000000000ab/resourceGroups/rg-a/providers/Microsoft.Compute/virtualMachines/twice
            name: AzureBackup_twice_123456789
            id: 5b1c0de0-0000-4000-8000-0000000000c0
            disk_gb: 64
            restore_points:
              - { name: AzureBackup_20261119_220001, created: 2026-11-19T22:00:01.25Z, vm_id: 5b1c0de0-0000-4000-8000-0000000000d0 }
              - { name: mine, created: 2026-11-18T22:00:01Z, state: Failed, vm_id: "" }
          - { of: /subscriptions/5b1c0de0-0000-4000-8000-0000000000ab/resourceGroups/rg-far/providers/Microsoft.Compute/restorePointCollections/there, name: copy, deleting: true }
locks:
  - { on: /subscriptions/5b1c0de0-0000-4000-8000-0000000000ab/resourceGroups/AzureBackupRG_northeurope_1/providers/Microsoft.Compute/restorePointCollections/AzureBackup_twice_123456789/restorePoints/mine, name: on-a-point, level: CanNotDelete }
permissions:
  - { scope: /subscriptions/5b1c0de0-0000-4000-8000-0000000000ab, actions: ["*"], not_actions: [Microsoft.Compute/virtualMachines/restart/action] }
deny_assignments:
  - { name: 5b1c0de0-0000-4000-8000-0000000000e0, scope: rg-a, actions: [Microsoft.Compute/virtualMachines/delete] }
"#;

#[tokio::test]
async fn what_only_a_capture_says_comes_back_exactly() {
    let first = captured(MORE).await;
    let copy = text(&first);
    let (before, after) = (lab(MORE).sim.world(), lab(&copy).sim.world());
    assert_eq!(before.collections, after.collections);
    assert_eq!(
        before.policies.iter().map(|one| &one.schedule).collect::<Vec<_>>(),
        after.policies.iter().map(|one| &one.schedule).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(before.items, after.items);
    assert_eq!(before.locks, after.locks);
    assert_eq!(before.others, after.others);
    assert_eq!(before.permissions, after.permissions);
    assert_eq!(before.denies.len(), after.denies.len());
    assert_eq!(
        before.vms.iter().map(|vm| (&vm.size, &vm.location, &vm.vmsnapshot)).collect::<Vec<_>>().len(),
        after.vms.len()
    );
    assert_eq!(
        (after.vms[0].location.as_str(), after.vms[0].size.as_deref()),
        ("northeurope", Some("Standard_E4s_v5"))
    );
    assert_eq!(after.vms[1].vmsnapshot.as_ref().unwrap().code.as_deref(), Some("ProvisioningState/NotReady/1007"));
    let job = after.jobs.iter().find(|job| job.name.ends_with("0b")).unwrap();
    assert_eq!(job.more_errors.len(), 1);
    // Loaded as of another time, moments move with it.
    let later = Estate::parse_at(&copy, "later.yaml", "2026-11-21T09:00:00Z".parse().unwrap()).unwrap();
    let moved = World::from_estate(&later);
    assert_eq!(moved.collections[0].points[0].created.to_string(), "2026-11-19T22:00:01Z");
    Box::pin(holds("more", MORE)).await;
    // A type of somebody's own is a name too.
    let nameless = text(&anonymized(&first)).to_lowercase();
    for gone in ["contoso", "widgets", "older-group", "twice", "mine", "on-a-point", "rg-far", "own-disk"] {
        assert!(!nameless.contains(gone), "{gone}\n{nameless}");
    }
}

#[tokio::test]
async fn a_part_of_the_estate_is_captured_with_what_stands_beside_it() {
    let selection = Selection { group: Some("rg-shop".into()), ..Selection::default() };
    let part = captured_with(ESTATES[0].1, &Wanted { selection: selection.clone(), ..Wanted::default() }).await;
    assert!(part.vms.iter().any(|vm| !vm.whole), "a group of points is shared");
    assert!(part.vms.iter().filter(|vm| vm.whole).all(|vm| vm.row.vm.id.resource_group() == Some("rg-shop")));
    let copy = text(&part);
    let same = |line: &str| line.to_owned();
    let (before, after) = (look(ESTATES[0].1, &selection).await, look(&copy, &selection).await);
    assert_eq!(findings(&before, same), findings(&after, same), "{copy}");
    // One VM: its own findings.
    let vm = lab(ESTATES[0].1).vm("web-01");
    let one = captured_with(ESTATES[0].1, &Wanted { vms: vec![vm.clone()], ..Wanted::default() }).await;
    assert_eq!(one.vms.iter().filter(|vm| vm.whole).map(|vm| vm.row.vm.id.name()).collect::<Vec<_>>(), ["web-01"]);
    let after = look(&text(&one), &Selection::default()).await;
    let whole = look(ESTATES[0].1, &Selection::default()).await;
    let of =
        |audit: &Audit| findings(audit, same).into_iter().filter(|line| line.contains(" web-01 ")).collect::<Vec<_>>();
    assert_eq!(of(&whole), of(&after));
    assert!(!of(&after).is_empty());
    // What would be done to it is the same, too: the proof of its group is there.
    let (real, rehearsal) = (lab(ESTATES[0].1), lab(&text(&one)));
    assert_eq!(effects(&real, "web-01").await, effects(&rehearsal, "web-01").await);
}

#[tokio::test]
async fn what_was_not_read_is_said_in_the_head() {
    for lacking in [
        "Microsoft.Authorization/locks/read",
        "Microsoft.Compute/restorePointCollections/read",
        "Microsoft.RecoveryServices/Vaults/read",
        "Microsoft.RecoveryServices/Vaults/backupJobs/read",
        "Microsoft.Compute/virtualMachines/instanceView/read",
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/read",
    ] {
        let limited =
            format!("{}\npermissions: [{{ scope: /, actions: [\"*\"], not_actions: [{lacking}] }}]\n", ESTATES[0].1);
        let first = captured(&limited).await;
        assert!(!first.not_read.is_empty(), "{lacking}");
        let copy = text(&first);
        assert!(copy.starts_with("# ") && copy.contains("\n# NOT READ: "), "{lacking}");
        // The sandbox does not know more than was read.
        let (before, after) = (look(&limited, &Selection::default()).await, look(&copy, &Selection::default()).await);
        assert_eq!(before.not_read.is_empty(), after.not_read.is_empty(), "{lacking}");
        let nameless = text(&anonymized(&first));
        assert!(nameless.contains("\n# NOT READ: "), "{lacking}");
        assert!(!nameless.contains("web-01") && !nameless.contains("Contoso"), "{lacking}");
    }
}

fn azmend(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
    command.args(words).env_clear().env("HOME", dir).current_dir(dir);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_command_writes_a_file_that_the_sandbox_takes() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = azmend(dir.path(), &["--sandbox", "capture", "--out", "estate.yaml"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("written to estate.yaml"), "{out}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(dir.path().join("estate.yaml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (code, out, err) = azmend(dir.path(), &["--sandbox=estate.yaml", "audit", "-o", "json"]);
    assert_eq!(code, 3, "{err}");
    let copy: Value = serde_json::from_str(&out).unwrap();
    let (_, out, _) = azmend(dir.path(), &["--sandbox", "audit", "-o", "json"]);
    let original: Value = serde_json::from_str(&out).unwrap();
    // The commands name the world that they are for.
    let copied = copy["summary"].to_string().replace("--sandbox=estate.yaml", "--sandbox");
    assert_eq!(original["summary"].to_string(), copied);
    // What is there is not replaced by mistake.
    let before = std::fs::read_to_string(dir.path().join("estate.yaml")).unwrap();
    let (code, _, err) = azmend(dir.path(), &["--sandbox", "capture", "--out", "estate.yaml", "--anonymize"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--force"), "{err}");
    assert_eq!(std::fs::read_to_string(dir.path().join("estate.yaml")).unwrap(), before);
    let words = ["--sandbox", "capture", "--out", "estate.yaml", "--anonymize", "--force", "-o", "json"];
    let (code, out, err) = azmend(dir.path(), &words);
    assert_eq!(code, 0, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["schema"], &told["anonymized"]), (&"azmend.capture/v1".into(), &true.into()));
    assert!(!std::fs::read_to_string(dir.path().join("estate.yaml")).unwrap().contains("web-01"));
    assert_eq!(
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|one| one.as_ref().unwrap().file_name().to_string_lossy().contains("tmp"))
            .count(),
        0
    );
    for wrong in [
        &["--out", "x.yaml", "--vm", "nobody-77"][..],
        &["--out", "x.yaml", "--resource-group", "rg-nowhere"],
        &["--out", "x.yaml", "--vault", "no-vault"],
        &["--out", "x.yaml", "--tag", "env"],
        &["--out", "x.yaml", "--vm", "web-01", "--vault", "v"],
        &["--out", "."],
        &["--out", "nowhere/x.yaml"],
        &[],
    ] {
        let (code, _, err) = azmend(dir.path(), &[&["--sandbox", "capture"], wrong].concat());
        assert_eq!(code, 2, "{wrong:?}: {err}");
        assert!(!dir.path().join("x.yaml").exists());
    }
}

#[test]
fn a_subscription_that_cannot_be_read_is_exit_6() {
    let dir = tempfile::tempdir().unwrap();
    let limited = format!(
        "{}\npermissions: [{{ scope: /, actions: [\"*\"], not_actions: [Microsoft.Compute/virtualMachines/read, Microsoft.Authorization/locks/read] }}]\n",
        ESTATES[0].1
    );
    std::fs::write(dir.path().join("limited.yaml"), limited).unwrap();
    let (code, out, err) =
        azmend(dir.path(), &["--sandbox=limited.yaml", "capture", "--out", "estate.yaml", "-o", "json"]);
    assert_eq!(code, 6, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert!(!told["not_read"].as_array().unwrap().is_empty() && told["exit_code"] == 6);
    // With the names taken out nothing that is printed has one either: it goes into a ticket as easily as the file.
    let world = World::from_estate(&Estate::parse(ESTATES[0].1, "built-in.yaml").unwrap());
    let names: Vec<String> = world.subscriptions.iter().flat_map(|one| [one.name.clone(), one.id.clone()]).collect();
    assert!(names.iter().any(|name| out.contains(name.as_str()) || err.contains(name.as_str())), "{out}{err}");
    for format in ["json", "table"] {
        let words =
            ["--sandbox=limited.yaml", "capture", "--out", "anonymous.yaml", "--force", "--anonymize", "-o", format];
        let (code, out, err) = azmend(dir.path(), &words);
        assert_eq!(code, 6, "{err}");
        for name in &names {
            assert!(!out.contains(name.as_str()) && !err.contains(name.as_str()), "{name}: {out}{err}");
        }
    }
    assert!(err.contains("not read"), "{err}");
    let text = std::fs::read_to_string(dir.path().join("estate.yaml")).unwrap();
    assert!(text.contains("# NOT READ: "));
}
