//! The table of permissions (`actions::needs`) tells the truth: exactly these do, and each one matters as it says.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use azmend::actions::change::Override;
use azmend::actions::permission::Place;
use azmend::actions::permissions_needed::{EVERY_READ, NEEDS, Need, Purpose, RoleDefinition};
use azmend::actions::rights::{Finding, Held, judge};
use azmend::actions::spec::ActionName;
use azmend::engine::{PlanRequest, Planned, make_plan};
use azmend::facts::rights::{Places, read_places};
use azmend::facts::{CollectOptions, collect};
use azmend::playbook::Playbook;
use azmend::sim::{Estate, Permission, World};

use crate::support::{Ask, Lab, SUB};

static BUILT_IN: LazyLock<World> = LazyLock::new(|| World::from_estate(&Estate::built_in()));
static REPAIRS: LazyLock<World> = LazyLock::new(|| {
    World::from_estate(&Estate::parse(include_str!("../../examples/estates/repairs.yaml"), "repairs.yaml").unwrap())
});
static ENCRYPTED: LazyLock<World> = LazyLock::new(|| {
    World::from_estate(&Estate::parse(include_str!("../../examples/estates/encrypted.yaml"), "encrypted.yaml").unwrap())
});
/// The subscription of the encrypted VMs.
const THIRD: &str = "5b1c0de0-0000-4000-8000-000000000004";
static GUEST: LazyLock<World> = LazyLock::new(crate::guest::world);
/// The subscription of the guests.
const GUEST_SUB: &str = "5b1c0de0-0000-4000-8000-000000000009";
/// The subscription of the repairs.
const OTHER: &str = "5b1c0de0-0000-4000-8000-000000000003";

/// One playbook action at work on a VM of the built-in estate.
struct Deed {
    name: &'static str,
    action: ActionName,
    playbook: &'static str,
    vm: &'static str,
    /// Elsewhere the locks over the points would be in the way too.
    locks: bool,
    set: &'static [(&'static str, &'static str)],
    overrides: &'static [Override],
    /// On a machine of examples/estates/repairs.yaml.
    repair: bool,
    /// Inside a machine of examples/estates/guest.yaml.
    guest: bool,
    /// What another step of the playbook needs.
    besides: &'static [&'static str],
}

const OLD: &str = "/subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/old-05";

const DEEDS: &[Deed] = &[
    deed("locks", ActionName::LocksRemove, "unlock-backup-groups", "web-01", true),
    deed("points", ActionName::DeleteStale, "rp-collection-limit", "web-01", false),
    deed("superseded", ActionName::DeleteStale, "delete-stale-collections", "db-03", false),
    deed("orphan", ActionName::DeleteStale, "delete-stale-collections", OLD, false),
    Deed {
        set: &[("cleanup", "collection")],
        overrides: &[Override::Newest, Override::SnapshotOnly],
        ..deed("collection", ActionName::DeleteCollection, "rp-collection-limit", "web-01", false)
    },
    deed("extension", ActionName::ExtensionUninstall, "extension-operation-failed", "app-02", false),
    deed("backup", ActionName::BackupStart, "backup-now", "ok-07", false),
    Deed { repair: true, ..deed("wait", ActionName::JobWait, "backup-in-progress", "slow-03", false) },
    Deed {
        repair: true,
        set: &[("mode", "cancel")],
        ..deed("cancel", ActionName::JobCancel, "backup-in-progress", "stuck-02", false)
    },
    Deed { repair: true, ..deed("reapply", ActionName::VmReapply, "failed-vm", "state-01", false) },
    Deed {
        repair: true,
        set: &[("restart", "true")],
        besides: &["Microsoft.Compute/virtualMachines/reapply/action"],
        ..deed("restart", ActionName::VmRestart, "failed-vm", "state-01", false)
    },
    Deed {
        set: &[("policy", "daily-2d")],
        ..deed("resume", ActionName::ProtectionResume, "datasource-not-present", "stop-12", false)
    },
    Deed {
        set: &[("vault", "bkp-repairs"), ("policy", "daily")],
        repair: true,
        ..deed("protect", ActionName::ProtectionEnable, "unprotected-vm", "free-09", false)
    },
    Deed {
        set: &[("grant", "true"), ("principal", "7a4d2c10-0000-4000-8000-00000000beef")],
        ..deed("access policy", ActionName::KeyvaultGrant, "keyvault-permissions", "enc-01", false)
    },
    Deed {
        set: &[("grant", "true"), ("principal", "7a4d2c10-0000-4000-8000-00000000beef")],
        ..deed("role assignment", ActionName::KeyvaultGrant, "keyvault-permissions", "enc-03", false)
    },
    Deed {
        guest: true,
        set: &[("backup", "false")],
        ..deed("service", ActionName::GuestService, "vss-services", "vss-01", false)
    },
    Deed { guest: true, ..deed("conf", ActionName::GuestAgentConf, "agent-configuration", "conf-03", false) },
];

const fn deed(name: &'static str, action: ActionName, playbook: &'static str, vm: &'static str, locks: bool) -> Deed {
    Deed { name, action, playbook, vm, locks, set: &[], overrides: &[], repair: false, guest: false, besides: &[] }
}

/// What a caller may do: the role at the subscription, and Reader on the backup groups.
fn granted(needs: &[&Need], sub: &str) -> Vec<Permission> {
    let role = RoleDefinition::of("role", "", needs.iter().copied(), vec![format!("/subscriptions/{sub}")]);
    let mut out = vec![Permission {
        scope: format!("/subscriptions/{sub}"),
        actions: role.actions,
        not_actions: role.not_actions,
    }];
    if needs.iter().any(|need| need.action == EVERY_READ) {
        for group in ["AzureBackupRG_westeurope_0", "AzureBackupRG_westeurope_1"] {
            out.push(Permission {
                scope: format!("/subscriptions/{sub}/resourceGroups/{group}"),
                actions: vec![EVERY_READ.to_owned()],
                not_actions: Vec::new(),
            });
        }
    }
    out
}

/// What came of the deed's own action: each change with its outcome, or why there was none.
/// The table is about actions. The condition of this step would leave the whole playbook not checked.
fn without_reload(playbook: &Playbook) -> Playbook {
    let text = playbook.text();
    let Some((before, rest)) = text.split_once("  - id: reload\n").filter(|_| playbook.name() == "rp-collection-limit")
    else {
        return playbook.clone();
    };
    let (_, after) = rest.split_once("  - id: backup\n").unwrap();
    azmend::playbook::source::read(&format!("{before}  - id: backup\n{after}"), "own.yaml").unwrap()
}

async fn done(deed: &Deed, needs: Option<&[&Need]>) -> String {
    let (mut world, sub) = if deed.action == ActionName::KeyvaultGrant {
        (ENCRYPTED.clone(), THIRD)
    } else if deed.repair {
        (REPAIRS.clone(), OTHER)
    } else if deed.guest {
        (GUEST.clone(), GUEST_SUB)
    } else {
        (BUILT_IN.clone(), SUB)
    };
    let permissions = needs.map(|needs| {
        let mut granted = granted(needs, sub);
        if let Some(role) = granted.first_mut() {
            role.actions.extend(deed.besides.iter().map(|action| (*action).to_owned()));
        }
        granted
    });
    if !deed.locks {
        world.locks.clear();
    }
    // Less to read makes it faster: only what is the VM's own stays in the backup groups.
    let name = deed.vm.rsplit('/').next().unwrap_or_default();
    world.collections.retain(|collection| collection.source.name() == name);
    world.vms.retain(|vm| vm.id.name() == name);
    world.items.retain(|item| item.vm.name() == name);
    if let Some(permissions) = permissions {
        world.permissions = permissions;
    }
    let lab = Lab::on(world);
    let ask = Ask { set: deed.set.to_vec(), overrides: deed.overrides.to_vec(), allow_guest: true, ..Ask::default() };
    let vm = if deed.vm.starts_with('/') { deed.vm.to_owned() } else { lab.vm(deed.vm).to_string() };
    let own = without_reload(lab.playbook(deed.playbook));
    let request = PlanRequest { playbook: &own, ..lab.request(deed.playbook, &vm, &ask) };
    let plan = match make_plan(&lab.arm, &request).await {
        Planned::Plan(plan) => *plan,
        Planned::NothingToDo { why, .. } => return format!("nothing: {why}"),
        Planned::NotChecked { unread, .. } => return format!("not checked: {unread:?}"),
        Planned::Refused { refusals, .. } => return format!("refused: {}", refusals[0].rule),
        Planned::Waiting { why, .. } => return format!("waiting: {why}"),
        Planned::Input(errors) => panic!("{errors:?}"),
    };
    let log = std::sync::Arc::default();
    let result = lab.run(&plan, &log).start().await;
    let steps: BTreeSet<&str> =
        plan.steps.iter().filter(|step| step.action.name() == deed.action).map(|step| step.id.as_str()).collect();
    let lines: Vec<String> = result
        .changes
        .iter()
        .filter(|change| steps.contains(change.step.as_str()))
        .map(|change| format!("{}: {}", change.resource_id, change.outcome))
        .collect();
    if lines.is_empty() { "no such change".to_owned() } else { lines.join("\n") }
}

fn all() -> Vec<&'static Need> {
    Purpose::to(ActionName::ALL).needs()
}

#[tokio::test]
async fn exactly_this_role_does_everything() {
    for deed in DEEDS {
        let full = done(deed, None).await;
        assert!(
            (full.contains("succeeded") || full.contains("already_done")) && !full.contains("failed"),
            "{}: {full}",
            deed.name
        );
        assert_eq!(done(deed, Some(&all())).await, full, "{}", deed.name);
        // The role of this action alone does too.
        let own = done(deed, Some(&Purpose::to([deed.action]).needs())).await;
        assert_eq!(own, full, "{} alone", deed.name);
    }
}

#[tokio::test]
async fn each_missing_action_stops_what_the_table_says_and_nothing_else() {
    let mut wrong = Vec::new();
    let mut full = Vec::new();
    for deed in DEEDS {
        full.push(done(deed, None).await);
    }
    for need in NEEDS.iter() {
        let rest: Vec<&Need> = all().into_iter().filter(|other| other.action != need.action).collect();
        let mut stopped = BTreeSet::new();
        let mut goes_on = BTreeSet::new();
        for (deed, full) in DEEDS.iter().zip(&full) {
            let now = done(deed, Some(&rest)).await;
            if std::env::var_os("AZMEND_TEST_TRACE").is_some() && *full != now {
                eprintln!("without {}: {}: {now}", need.action, deed.name);
            }
            let list = if *full == now { &mut goes_on } else { &mut stopped };
            list.insert(deed.action.as_str());
        }
        // What a script printed is in its operation alone; everything else is read from the resource itself.
        let operations = need.action == "Microsoft.Compute/locations/operations/read";
        let said: BTreeSet<&str> = if need.is_optional() && !operations {
            BTreeSet::new()
        } else {
            need.blocks.iter().map(|action| action.as_str()).collect()
        };
        let partly: BTreeSet<&str> = need.partly.iter().map(|action| action.as_str()).collect();
        if partly != stopped.intersection(&goes_on).copied().collect() {
            wrong.push(format!("{}: stops a part of {:?}", need.action, stopped.intersection(&goes_on)));
        }
        if stopped != said {
            wrong.push(format!("{}: stops {stopped:?}, the table says {said:?}", need.action));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(Place::ALL.iter().all(|place| NEEDS.iter().any(|need| need.place == *place)));
}

/// `doctor` names exactly what is missing, for the VM and for its subscription.
#[tokio::test]
async fn each_missing_action_is_named() {
    for need in NEEDS.iter() {
        let rest: Vec<&Need> = all().into_iter().filter(|other| other.action != need.action).collect();
        let mut world = BUILT_IN.clone();
        world.permissions = granted(&rest, SUB);
        let lab = Lab::on(world);
        let vm = lab.vm("web-01");
        let facts = Box::pin(collect(&lab.arm, &vm, &CollectOptions::default())).await;
        let places = [Places::of_vm(&facts), Box::pin(read_places(&lab.arm, &vm.subscription_id())).await];
        for places in &places {
            let judged = judge(&Purpose::to(ActionName::ALL), places);
            let missing: Vec<&Finding> = judged.missing().collect();
            let named = missing.iter().find(|finding| finding.need.action == need.action);
            assert!(
                matches!(named, Some(Finding { held: Held::No { .. } | Held::Unknown { .. }, .. })),
                "{}",
                need.action
            );
            // What is named beside it is not known because of it: the groups or vaults were not listed.
            let others = missing.iter().filter(|finding| finding.need.action != need.action);
            let sure: Vec<&&Finding> = others.filter(|finding| !matches!(finding.held, Held::Unknown { .. })).collect();
            assert!(sure.is_empty(), "without {}: {sure:?}", need.action);
            assert_eq!(judged.fine(), missing.iter().all(|finding| finding.need.is_optional()));
        }
        assert_eq!(lab.mutations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn exactly_this_role_is_enough_for_doctor() {
    let mut world = BUILT_IN.clone();
    world.permissions = granted(&all(), SUB);
    let lab = Lab::on(world);
    let vm = lab.vm("web-01");
    let facts = Box::pin(collect(&lab.arm, &vm, &CollectOptions::default())).await;
    for places in [Places::of_vm(&facts), Box::pin(read_places(&lab.arm, &vm.subscription_id())).await] {
        let judged = judge(&Purpose::to(ActionName::ALL), &places);
        assert_eq!(judged.missing().map(|finding| finding.need.action).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
