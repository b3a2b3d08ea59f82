//! Simulation: seeded random estates and faults under virtual time, with the safety rules as invariants.
//!
//! A seed is an estate, a playbook, an operator (fix, resume after pauses, undo, a saved plan, a crash, a second run, the
//! members of a fleet) and what goes wrong; after every command the result is compared with the world ([`crate::truth`]).
//! `AZMEND_SEED=n` replays one seed and prints its estate; `AZMEND_SEEDS=n` runs that many.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use azmend::actions::change::Override;
use azmend::arm::ResourceId;
use azmend::engine::owed::Locks;
use azmend::engine::{Earlier, Plan, Planned, Run, RunResult, RunState, Status, Unlocking, make_plan};
use azmend::journal::{EndKind, Event, Fact, Purpose, Record};
use azmend::sim::{Corruption, Fault, FaultEffect, FaultMatch, FaultPlan, World, WorldEvent};

use crate::crash_matrix::{FREE, inside, key_vault, repair};
use crate::matrix_support::*;
use crate::support::{Ask, Lab};
use crate::truth::Coverage;

const SUB: &str = "77777777-0000-4000-8000-000000000001";

/// splitmix64.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len() as u64) as usize]
    }
}

fn locks(dice: &mut Dice, percent: u64, name: &str) -> String {
    let mut out = Vec::new();
    for i in 0..2 {
        if dice.percent(if i == 0 { percent } else { percent / 4 }) {
            let level = dice.of(&["CanNotDelete", "CanNotDelete", "CanNotDelete", "ReadOnly"]);
            let notes = dice.of(&["", ", notes: \"It's \\\"ours\\\"\"", ", notes: keep"]);
            let owners = if dice.percent(8) { ", owners: [0f1e2d3c-0000-4000-8000-00000000beef]" } else { "" };
            out.push(format!("{{ name: {name}-{i}, level: {level}{notes}{owners} }}"));
        }
    }
    if out.is_empty() { String::new() } else { format!("locks: [{}]", out.join(", ")) }
}

fn series(dice: &mut Dice, longest: u64) -> String {
    let mut out = Vec::new();
    for _ in 0..dice.between(1, 3) {
        let count = dice.between(1, longest);
        let newest = dice.of(&["50m", "3h", "10h", "34h", "58h", "5d", "12d", "31d", "45d", "95d"]);
        let every = dice.of(&["1d", "1d", "1d", "4h", "7d"]);
        let tier = dice.of(&["both", "both", "both", "both", "snapshot", "none"]);
        let mut more = String::new();
        if dice.percent(6) {
            more.push_str(", state: failed");
        }
        if dice.percent(4) {
            more.push_str(", in_use: true");
        }
        if dice.percent(3) {
            more.push_str(", file_recovery: true");
        }
        out.push(format!("{{ count: {count}, newest: {newest}, every: {every}, tier: {tier}{more} }}"));
    }
    format!("[{}]", out.join(", "))
}

fn jobs(dice: &mut Dice) -> String {
    let error = dice.of(&[
        "UserErrorRpCollectionLimitReached",
        "UserErrorRpCollectionLimitReached",
        "UserErrorResourceIsInLockedState",
        "ExtensionOperationFailed",
        "UserErrorGuestAgentStatusUnavailable",
    ]);
    let mut out = Vec::new();
    if dice.percent(70) {
        out.push(format!("{{ age: 10h, status: failed, error: {error}, user: {} }}", dice.of(&["false", "true"])));
    }
    if dice.percent(60) {
        out.push("{ age: 34h, status: completed, user: false }".to_owned());
    }
    if dice.percent(8) {
        let phase = dice.of(&["transfer", "snapshot"]);
        let ends = dice.of(&["30s", "3m", "2h"]);
        out.push(format!("{{ age: 20m, status: in-progress, phase: {phase}, ends_in: {ends}, user: false }}"));
    }
    for _ in 0..dice.below(6) * dice.below(2) {
        let age = dice.between(1, 23);
        out.push(format!("{{ age: {age}h, status: failed, error: {error}, user: true }}"));
    }
    format!("[{}]", out.join(", "))
}

/// The world of a small random estate, for other tests.
pub fn random_world(seed: u64) -> azmend::sim::World {
    estate(&random_estate(&mut Dice(seed)))
}

/// A small estate of this seed.
pub fn random_estate(dice: &mut Dice) -> String {
    let mut y = String::new();
    let minute = dice.below(60);
    let hour = dice.below(24);
    let _ = writeln!(y, "apiVersion: azmend/estate/v1\nname: random\nnow: 2026-11-20T{hour:02}:{minute:02}:00Z");
    let _ = writeln!(
        y,
        "settings: {{ page_size: {}, lock_release_delay: {}s, lock_flapping: {}, snapshot: {}s, transfer: {}m, retry_after: {}s }}",
        dice.of(&["2", "5", "50"]),
        dice.between(0, 150),
        dice.percent(30),
        dice.between(20, 400),
        dice.between(5, 200),
        dice.of(&["0", "5", "20"]),
    );
    let _ = writeln!(y, "subscriptions:\n  - name: Random\n    id: {SUB}");
    let line = |y: &mut String, indent: usize, text: &str| {
        if !text.is_empty() {
            let _ = writeln!(y, "{}{text}", " ".repeat(indent));
        }
    };
    let text = locks(dice, 4, "sub");
    line(&mut y, 4, &text);
    line(&mut y, 4, "groups:");
    line(&mut y, 6, "- name: rg-app");
    let text = locks(dice, 8, "own");
    line(&mut y, 8, &text);
    let vms = dice.between(1, 3);
    line(&mut y, 8, "vms:");
    for i in 0..vms {
        let mut vm = format!("- {{ name: vm-{i}, os: {}", dice.of(&["windows", "linux"]));
        let _ =
            write!(vm, ", power: {}", dice.of(&["running", "running", "running", "running", "stopped", "deallocated"]));
        let _ = write!(vm, ", agent: {}", dice.of(&["ready", "ready", "ready", "ready", "not-ready", "missing"]));
        if dice.percent(15) {
            vm.push_str(", state: failed");
        }
        if dice.percent(25) {
            let _ = write!(
                vm,
                ", vmsnapshot: {{ state: {}, broken: {} }}",
                dice.of(&["failed", "absent"]),
                dice.percent(30)
            );
        }
        if dice.percent(10) {
            vm.push_str(", extensions: [{ name: Mon, publisher: P, type: Mon, version: 1.0.0.0, state: failed }]");
        }
        let text = locks(dice, 5, "vm");
        if !text.is_empty() {
            let _ = write!(vm, ", {text}");
        }
        if dice.percent(92) {
            let state = dice.of(&[
                "protected",
                "protected",
                "protected",
                "protected",
                "protected",
                "error",
                "stopped",
                "soft-deleted",
                "pending",
            ]);
            let jobs = jobs(dice);
            let _ = write!(
                vm,
                ", protection: {{ vault: v, policy: {}, state: {state}, jobs: {jobs} }}",
                dice.of(&["p", "p", "q"])
            );
        }
        line(&mut y, 10, &format!("{vm} }}"));
    }
    for (number, percent) in [(1, 60), (0, 30)] {
        line(&mut y, 6, &format!("- name: AzureBackupRG_westeurope_{number}"));
        let text = locks(dice, percent, "lock");
        line(&mut y, 8, &text);
        let mut rows = Vec::new();
        for i in 0..vms {
            if dice.percent(if number == 1 { 92 } else { 35 }) {
                let mut row = format!("- {{ of: vm-{i}, points: {}", series(dice, 12));
                if dice.percent(25) {
                    let _ = write!(row, ", deletes_needed: {}, delete_hangs: {}", dice.between(2, 4), dice.percent(30));
                }
                let text = locks(dice, 12, "col");
                if !text.is_empty() {
                    let _ = write!(row, ", {text}");
                }
                rows.push(format!("{row} }}"));
            }
        }
        if number == 1 && dice.percent(40) {
            rows.push(format!("- {{ of: rg-app/gone, deleted: true, points: {} }}", series(dice, 6)));
        }
        if number == 0 && dice.percent(15) {
            rows.push("- { of: vm-0, name: VeeamBackup_vm-0_1, points: [{ count: 2, newest: 40d, tier: none, named: veeam- }] }".into());
        }
        if !rows.is_empty() {
            line(&mut y, 8, "collections:");
            for row in rows {
                line(&mut y, 10, &row);
            }
        }
        if dice.percent(6) {
            line(&mut y, 8, "resources: [{ type: Microsoft.Sql/servers, name: sql }]");
        }
    }
    line(&mut y, 6, "- name: rg-backup");
    line(&mut y, 8, "vaults:");
    let immutability = dice.of(&[
        "disabled", "disabled", "disabled", "disabled", "disabled", "disabled", "disabled", "unlocked", "locked",
    ]);
    let at = format!("{:02}:{:02}", dice.below(24), dice.of(&["00", "30"]));
    line(
        &mut y,
        10,
        &format!(
            "- {{ name: v, immutability: {immutability}, resource_guard: {}, policies: [{{ name: p, snapshot_days: {}, at: \"{at}\" }}, {{ name: q, type: enhanced, snapshot_days: 3, every_hours: {}, at: \"08:00\" }}]{} }}",
            dice.percent(6),
            dice.between(1, 5),
            dice.of(&["0", "4"]),
            if dice.percent(10) { ", items: [{ of: rg-app/gone, state: soft-deleted }]" } else { "" }
        ),
    );
    if dice.percent(10) {
        let action = dice.of(&[
            "Microsoft.Authorization/locks/write",
            "Microsoft.Authorization/locks/delete",
            "Microsoft.Compute/restorePointCollections/read",
            "Microsoft.Compute/restorePointCollections/restorePoints/delete",
            "Microsoft.Authorization/locks/read",
            "Microsoft.RecoveryServices/Vaults/backupJobs/read",
        ]);
        let _ = writeln!(y, "permissions: [{{ scope: /, actions: [\"*\"], not_actions: [{action}] }}]");
    }
    if dice.percent(15) {
        let _ = writeln!(y, "timeline: [{{ after: {}s, do: {{ start_job: vm-0 }} }}]", dice.between(5, 900));
    }
    y
}

/// The estates of `examples/`, each machine with what it is for.
fn example(dice: &mut Dice) -> Scene {
    let ask = |set: &[(&'static str, &'static str)]| Ask { set: set.to_vec(), ..Ask::default() };
    let built_in = crate::crash_matrix::scene;
    let mut scene = match dice.below(36) {
        0 => repair("failed-vm", "state-01", ask(&[("restart", "true")])),
        1 => repair("failed-vm", "state-01", ask(&[])),
        2 => repair("backup-in-progress", "stuck-02", ask(&[("mode", "cancel")])),
        3 => repair("backup-in-progress", "slow-03", ask(&[])),
        4 => repair("crp-reported-user-error", "locked-04", ask(&[])),
        5 => repair("backup-operation-failed", "again-06", ask(&[])),
        6 => repair("stale-collections-of-deleted-vm", "gone-08", ask(&[("unlock", "true")])),
        7 | 8 => repair("unprotected-vm", "free-09", ask(&FREE)),
        9 => inside("vss-services", "vss-01", ask(&[("backup", "false")])),
        10 => inside("vss-services", "vss-01", ask(&[])),
        11 => inside("agent-configuration", "conf-03", ask(&[])),
        12 => key_vault("keyvault-permissions", "enc-01", &[("backup", "true")]),
        13 => key_vault("keyvault-permissions", "enc-02", &[]),
        14 => key_vault("keyvault-permissions", "enc-03", &[]),
        15 => built_in("datasource-not-present", "stop-12", ask(&[("policy", "daily-2d")])),
        16 => {
            let set = [("policy", "daily-2d"), ("backup", "true")];
            built_in("datasource-not-present", "stop-12", ask(&set))
        }
        17 => built_in("vm-provisioning-failed", "app-02", ask(&[])),
        18 => built_in("extension-operation-failed", "app-02", ask(&[])),
        19 => built_in("backup-now", "ok-07", ask(&[("follow", "job")])),
        20 => built_in("backup-now", "ok-07", ask(&[])),
        21 | 22 => built_in("unlock-backup-groups", "web-01", ask(&[])),
        23 => built_in("unlock-backup-groups", "db-03", ask(&[])),
        24 => built_in("delete-stale-collections", "db-03", ask(&[("unlock", "true")])),
        25 => crate::crash_matrix::orphan_scene(),
        26 => crate::crash_matrix::whole_collection_scene(),
        27 | 28 => built_in("rp-collection-limit", "db-03", ask(&[])),
        29 => built_in("rp-collection-limit", "nas-04", ask(&[])),
        30 | 31 => built_in("rp-collection-limit", "web-01", ask(&[("cleanup", "service")])),
        32 => built_in("rp-collection-limit", "web-01", ask(&[("follow", "job")])),
        _ => built_in("rp-collection-limit", "web-01", ask(&[])),
    };
    let service = scene.ask.set.contains(&("cleanup", "service"));
    scene.ask.relock = !service && dice.percent(50);
    scene.world.settings.lock_release_delay = dice.below(150);
    scene.world.settings.lock_flapping = dice.percent(30);
    scene.world.settings.page_size = dice.between(2, 50) as usize;
    scene
}

/// Machines that share a locked group, and one that does not.
fn shared(dice: &mut Dice) -> Scene {
    let mut world = estate(crate::fleet::ESTATE);
    world.settings.lock_release_delay = dice.below(150);
    world.settings.lock_flapping = dice.percent(30);
    // Fewer points over the limit: a member is then quicker.
    for collection in world.collections.iter_mut().filter(|c| c.points.len() == 20) {
        collection.points.drain(..dice.between(0, 2) as usize);
    }
    let playbook = dice.of(&["rp-collection-limit", "rp-collection-limit", "unlock-backup-groups"]);
    let set = if playbook == "rp-collection-limit" && dice.percent(50) { vec![("cleanup", "service")] } else { vec![] };
    let relock = set.is_empty() && dice.percent(50);
    let vm = world.vms[0].id.to_string();
    Scene { name: format!("{playbook} on a fleet"), playbook, vm, ask: Ask { set, relock, ..Ask::default() }, world }
}

/// A playbook on a machine of a random estate.
fn random(dice: &mut Dice, yaml: &str) -> Scene {
    const PLAYBOOKS: [&str; 24] = [
        "rp-collection-limit",
        "rp-collection-limit",
        "rp-collection-limit",
        "rp-collection-limit",
        "rp-collection-limit",
        "rp-collection-limit",
        "delete-stale-collections",
        "delete-stale-collections",
        "delete-stale-collections",
        "unlock-backup-groups",
        "unlock-backup-groups",
        "extension-operation-failed",
        "vm-provisioning-failed",
        "backup-now",
        "backup-now",
        "stale-collections-of-deleted-vm",
        "stale-collections-of-deleted-vm",
        "datasource-not-present",
        "unprotected-vm",
        "failed-vm",
        "backup-in-progress",
        "backup-operation-failed",
        "crp-reported-user-error",
        "vss-services",
    ];
    let playbook = dice.of(&PLAYBOOKS);
    let deleted = playbook == "stale-collections-of-deleted-vm";
    let name = if deleted { "gone" } else { dice.of(&["vm-0", "vm-0", "vm-0", "vm-1", "vm-2", "gone"]) };
    let mut ask = Ask { relock: dice.percent(50), max_changes: Some(60), allow_guest: true, ..Ask::default() };
    match playbook {
        "rp-collection-limit" if dice.percent(30) => {
            ask.set.push(("cleanup", dice.of(&["service", "collection"])));
        }
        "delete-stale-collections" | "stale-collections-of-deleted-vm" if dice.percent(60) => {
            ask.set.push(("unlock", "true"));
        }
        "datasource-not-present" => ask.set.push(("policy", "p")),
        "unprotected-vm" => ask.set.extend([("vault", "v"), ("policy", "p")]),
        "backup-in-progress" => ask.set.push(("mode", dice.of(&["wait", "cancel"]))),
        _ => {}
    }
    let follows = ["rp-collection-limit", "extension-operation-failed", "vm-provisioning-failed", "backup-now"];
    if dice.percent(30) && follows.contains(&playbook) {
        ask.set.push(("follow", "job"));
    }
    let vm = machine(name);
    Scene { name: format!("{playbook} on {name}"), playbook, vm, ask, world: estate(yaml) }
}

fn machine(name: &str) -> String {
    format!("/subscriptions/{SUB}/resourceGroups/rg-app/providers/Microsoft.Compute/virtualMachines/{name}")
}

/// One plan on its way: its journal, and the world as it was when it began.
struct FleetRun {
    plan: Plan,
    tape: Arc<Tape>,
    start: World,
    run: Run,
}

/// What a seed came across.
struct Tale {
    lab: Lab,
    watch: Watch,
    cover: Coverage,
    wrong: Vec<String>,
    story: String,
    dice: Dice,
    /// Whether somebody else did something.
    others: bool,
}

impl Tale {
    fn over(lab: Lab, meddle: Option<Meddle>, cover: Coverage, dice: Dice) -> Self {
        let watch = Watch::over(&lab, meddle);
        Self { lab, watch, cover, wrong: Vec::new(), story: String::new(), dice, others: false }
    }

    async fn plan(&mut self, playbook: &str, vm: &str, ask: &Ask, earlier: &Earlier) -> Option<Plan> {
        let mut request = self.lab.request(playbook, vm, ask);
        request.earlier = earlier.clone();
        let planned = Box::pin(make_plan(&self.lab.arm, &request)).await;
        self.cover.planned(playbook, &planned);
        self.wrong.extend(self.watch.broken());
        match planned {
            Planned::Plan(plan) => Some(*plan),
            _ => None,
        }
    }

    /// The plan of a scene; on a random estate of one of a few, for most of them do not fit it.
    async fn some_plan(&mut self, mut scene: Scene, yaml: Option<&str>) -> Option<(Plan, Scene)> {
        for _ in 0..5 {
            if let Some(plan) = self.plan(scene.playbook, &scene.vm, &scene.ask, &Earlier::default()).await {
                return Some((plan, scene));
            }
            let overrides = scene.ask.overrides;
            scene = random(&mut self.dice, yaml?);
            scene.ask.overrides = overrides;
        }
        None
    }

    fn embark(&self, plan: Plan, records: Vec<Record>, start: World, film: bool, earlier: &Earlier) -> FleetRun {
        let tape = Tape::new(&self.lab.sim, records, film);
        self.watch.allow(&plan, &tape);
        let mut run = run(&self.lab, &plan, &tape);
        run.earlier = earlier.clone();
        FleetRun { plan, tape, start, run }
    }

    fn judge(&mut self, command: &str, voyage: &FleetRun, result: &RunResult) {
        let _ = writeln!(self.story, "{command}: {}", brief(result));
        let now = self.lab.sim.world();
        let records = voyage.tape.all();
        self.others |= self.watch.meddled().is_some();
        let wrong = untruths(&voyage.plan, result, &voyage.start, &now, &records, self.others);
        self.wrong.extend(wrong.into_iter().map(|text| format!("{command}: {text}")));
        self.cover.add("commands", command);
        self.cover.ran(&voyage.plan, result, &records);
    }

    /// Comes back as often as the run asks for it.
    async fn carry_on(&mut self, voyage: &FleetRun, mut result: RunResult) -> RunResult {
        for _ in 0..5 {
            if result.status != Status::Paused {
                break;
            }
            self.lab.sim.clock().advance(Duration::from_secs(result.retry_after.unwrap_or(60)));
            result = Box::pin(voyage.run.resume()).await;
            self.judge("resume", voyage, &result);
        }
        result
    }

    async fn undo(&mut self, voyage: &FleetRun) {
        let result = Box::pin(voyage.run.undo()).await;
        self.judge("undo", voyage, &result);
        if result.status == Status::Paused || result.status == Status::Stuck && self.dice.percent(50) {
            self.lab.sim.clock().advance(Duration::from_secs(600));
            let result = Box::pin(voyage.run.undo()).await;
            self.judge("undo again", voyage, &result);
        }
    }

    /// Once nothing goes wrong any more an undo restores every lock: no run may end in a place from which there is no way back.
    async fn make_good(&mut self, voyage: &FleetRun) {
        self.lab.sim.edit(|world| world.faults.clear());
        self.lab.sim.clock().advance(Duration::from_secs(3600));
        let result = Box::pin(voyage.run.undo()).await;
        self.judge("undo in the end", voyage, &result);
        if self.others {
            return;
        }
        let now = self.lab.sim.world();
        for lock in voyage.start.locks.iter().filter(|lock| !now.locks.iter().any(|there| there.id == lock.id)) {
            let scope = lock.id.scope().filter(|scope| scope.is_type("Microsoft.Compute/restorePointCollections"));
            if scope.is_none_or(|scope| now.collection(&scope).is_some()) {
                self.wrong.push(format!("nothing is wrong any more, and undo leaves the lock {} off", lock.id.name()));
            }
        }
    }

    /// The process died after some record, before or after the request that follows it took effect; then it is resumed, or
    /// undone.
    async fn crash(&mut self, voyage: &FleetRun) {
        let records = voyage.tape.all();
        let frames = locked(&voyage.tape.frames).clone();
        let kept = 1 + self.dice.below(records.len() as u64) as usize;
        let after = self.dice.percent(50);
        let frame = if after { frames.get(kept) } else { frames.get(kept - 1) };
        let world = frame.cloned().unwrap_or_else(|| self.lab.sim.world());
        let wait = Duration::from_secs(60 * self.dice.below(120) * self.dice.below(2));
        let world = at(&world, wait);
        let (kept, last) = (records[..kept].to_vec(), kept);
        let _ = writeln!(self.story, "cut after record {last} (request sent: {after}), {wait:?} later");
        self.wrong.extend(self.watch.broken());
        let lab = Lab::on(world.clone());
        let cover = std::mem::take(&mut self.cover);
        let dice = Dice(self.dice.next());
        let mut second = Self::over(lab, None, cover, dice);
        second.others = self.others;
        let state = RunState::fold(&voyage.plan, &kept);
        let again = second.embark(voyage.plan.clone(), kept, voyage.start.clone(), false, &voyage.run.earlier);
        match state {
            Err(error) => second.wrong.push(format!("the records up to a crash do not fold: {error}")),
            Ok(state) if !state.resumable() => {
                let _ = Box::pin(again.run.resume()).await;
                if !second.watch.mutations().is_empty() {
                    second.wrong.push("resuming a finished run changed something".to_owned());
                }
            }
            Ok(_) if second.dice.percent(65) => {
                let result = Box::pin(again.run.resume()).await;
                second.judge("resume after a crash", &again, &result);
                second.carry_on(&again, result).await;
            }
            Ok(_) => second.undo(&again).await,
        }
        match second.dice.below(10) {
            0..3 => second.undo(&again).await,
            3..6 => second.make_good(&again).await,
            _ => {}
        }
        self.wrong.extend(second.watch.broken());
        self.wrong.append(&mut second.wrong);
        self.story.push_str(&second.story);
        self.cover = second.cover;
    }

    /// The members of a fleet: planned before the first of them begins, then run one after the other.
    async fn members(&mut self, scene: &Scene) {
        let mut plans = Vec::new();
        for vm in &scene.world.vms {
            plans.extend(self.plan(scene.playbook, vm.id.as_str(), &scene.ask, &Earlier::default()).await);
        }
        let mut earlier = Earlier::default();
        for plan in plans {
            let start = self.lab.sim.world();
            let voyage = self.embark(plan, Vec::new(), start, false, &earlier);
            let result = Box::pin(voyage.run.start()).await;
            self.judge("member of a fleet", &voyage, &result);
            self.carry_on(&voyage, result).await;
            learn(&mut earlier, &voyage.tape.all());
        }
    }
}

/// What a journal of this machine says to the next run, as [`Earlier::read`] takes it from the disk.
fn learn(earlier: &mut Earlier, records: &[Record]) {
    let locks = Locks::of(records);
    for record in records {
        match &record.event {
            Event::Ended { change, purpose: Purpose::Do, ending } if ending.outcome == EndKind::Succeeded => {
                let scope = locks.off().find(|(id, _)| id == change).map(|(_, lock)| lock.scope());
                earlier.unlockings.extend(scope.map(|scope| Unlocking { scope, at: record.at }));
            }
            Event::Learned { key: Fact::Job, value, .. } => earlier.jobs.extend(ResourceId::parse(value).ok()),
            _ => {}
        }
    }
}

/// What goes wrong with a request that changes something, or with the readings of locks around one. The faults of the
/// sandbox's own plan mostly meet reads.
fn aimed(dice: &mut Dice, index: u64) -> Fault {
    let fails = |after_effect| FaultEffect::OperationFails {
        code: "InternalExecutionError".into(),
        message: "An internal execution error occurred.".into(),
        after_effect,
    };
    let reply = |status, code: &str| FaultEffect::Reply {
        status,
        code: code.into(),
        message: "The simulation says so.".into(),
        retry_after: None,
        raw_body: None,
    };
    let (method, path, effect) = match dice.below(22) {
        0 | 1 => (dice.of(&["DELETE", "PUT", "POST"]), None, FaultEffect::LostAfter),
        2 => (dice.of(&["DELETE", "PUT", "POST"]), None, FaultEffect::LostBefore),
        3 => (dice.of(&["DELETE", "PUT", "POST"]), None, FaultEffect::NotSent),
        4 => (dice.of(&["DELETE", "POST"]), None, fails(true)),
        5 => (dice.of(&["DELETE", "POST"]), None, fails(false)),
        6 => (dice.of(&["DELETE", "POST"]), None, FaultEffect::OperationHangs),
        7 => (dice.of(&["DELETE", "PUT", "POST"]), None, reply(409, "Conflict")),
        8 => (dice.of(&["DELETE", "PUT", "POST"]), None, reply(403, "AuthorizationFailed")),
        9 => (dice.of(&["DELETE", "PUT", "POST"]), None, reply(404, "ResourceNotFound")),
        10 => (dice.of(&["DELETE", "PUT", "POST"]), None, reply(503, "ServiceUnavailable")),
        11 | 12 => {
            let status = [200, 202, 204, 403, 404, 410, 500][dice.below(7) as usize];
            ("DELETE", Some("/locks/"), FaultEffect::Corrupt(Corruption::Status(status)))
        }
        13 => ("DELETE", Some("/locks/"), reply(204, "")),
        14 => ("PUT", Some("/locks/"), reply(200, "")),
        15 | 16 => ("GET", Some("/locks/"), FaultEffect::StaleRead),
        // That of a lock is believed when it is stable: it comes once.
        17 => ("GET", Some("/locks/"), reply(404, dice.of(&["LockNotFound", "SubscriptionNotFound", ""]))),
        // That of a point would be believed.
        18 => ("GET", Some("restorepoint"), reply(404, dice.of(&["SubscriptionNotFound", "", "NotFound"]))),
        19 => ("GET", None, FaultEffect::Throttle { retry_after: dice.between(60, 4000), times: 1 }),
        20 => ("GET", None, FaultEffect::NotSent),
        _ => ("GET", Some("backupjobs"), FaultEffect::StaleRead),
    };
    let reads = method == "GET";
    let long = reads && effect == FaultEffect::NotSent;
    let once = matches!(&effect, FaultEffect::Reply { code, .. } if code == "LockNotFound");
    let times = match (long, once) {
        (true, _) => dice.between(3, 40),
        (_, true) => 1,
        _ => [1, 1, 1, 2, 3, 9][dice.below(6) as usize],
    };
    let when = FaultMatch {
        method: Some(method.to_owned()),
        path_contains: path.map(str::to_owned),
        nth: Some(dice.between(1, if reads { 30 } else { 4 }) as u32),
        times: Some(times as u32),
    };
    Fault { id: format!("aimed-{index}"), when, effect, seen: 0, fired: 0 }
}

/// Somebody else does one thing before one request.
fn somebody(dice: &mut Dice, scene: &Scene) -> (Meddle, String) {
    let events: Vec<WorldEvent> = crate::interference::events(scene);
    let event = events[dice.below(events.len() as u64) as usize].clone();
    let at = dice.between(5, 160) as usize;
    let text = format!("{event:?} before request {at}");
    (Box::new(move |world, _, number| number == at && world.apply_event(&event)), text)
}

/// One seed. What it broke, with the estate.
async fn simulate(seed: u64, cover: &mut Coverage) -> Option<String> {
    let mut dice = Dice(seed);
    let yaml = random_estate(&mut dice);
    let fleet = dice.percent(6);
    let drawn = !fleet && dice.percent(40);
    let scene = match (fleet, drawn) {
        (true, _) => shared(&mut dice),
        (_, true) => random(&mut dice, &yaml),
        _ => example(&mut dice),
    };
    let mut ask = scene.ask.clone();
    // Every fourth seed is allowed to break rules by name.
    if seed % 4 == 3 {
        ask.overrides = Override::ALL.into_iter().filter(|_| dice.percent(60)).collect();
    }
    let mut scene = Scene { ask, ..scene };
    let mut faults: Vec<Fault> = if dice.percent(60) { FaultPlan::random(seed) } else { Vec::new() };
    if dice.percent(55) {
        faults.extend((0..dice.between(1, 2)).map(|index| aimed(&mut dice, index)));
    }
    let early = dice.percent(25);
    let meddle = dice.percent(8).then(|| somebody(&mut dice, &scene));
    let mut describe = format!("seed {seed}: {}, {:?}, faults (early: {early}) {faults:#?}", scene.name, scene.ask);
    let meddle = meddle.map(|(meddle, text)| {
        let _ = write!(describe, "\nsomebody else: {text}");
        meddle
    });
    let lab = Lab::on(scene.world.clone());
    let mut tale = Tale::over(lab, meddle, std::mem::take(cover), dice);
    let trouble = |tale: &Tale| tale.lab.sim.edit(|world| world.faults.extend(faults.iter().cloned()));
    if early {
        trouble(&tale);
    }
    let way = if fleet || scene.vm == machine("vm-0") && tale.dice.percent(8) {
        "fleet"
    } else {
        tale.dice.of(&["plain", "plain", "plain", "saved", "crash", "crash", "twice"])
    };
    tale.cover.add("ways", way);
    if way == "fleet" {
        if !early {
            trouble(&tale);
        }
        tale.members(&scene).await;
    } else if let Some((mut plan, chosen)) = tale.some_plan(scene.clone(), drawn.then_some(yaml.as_str())).await {
        scene = chosen;
        if way == "saved" {
            let text = serde_json::to_string_pretty(&plan).unwrap();
            let parsed = Plan::parse(&text).unwrap();
            assert_eq!(parsed.hash, plan.hash, "a saved plan reads otherwise");
            plan = parsed;
            let wait = tale.dice.below(23 * 3600);
            tale.lab.sim.clock().advance(Duration::from_secs(wait));
        }
        if !early {
            trouble(&tale);
        }
        // Azure's own clean-up may have been at work while the plan lay there.
        let start = if way == "saved" { tale.lab.sim.world() } else { scene.world.clone() };
        let voyage = tale.embark(plan, Vec::new(), start, way == "crash", &Earlier::default());
        let first = Box::pin(voyage.run.start()).await;
        tale.judge("fix", &voyage, &first);
        let result = tale.carry_on(&voyage, first).await;
        match way {
            "crash" => tale.crash(&voyage).await,
            "twice" => {
                let mut earlier = Earlier::default();
                learn(&mut earlier, &voyage.tape.all());
                let pause = tale.dice.below(8000);
                tale.lab.sim.clock().advance(Duration::from_secs(pause));
                if let Some(plan) = tale.plan(scene.playbook, &scene.vm, &scene.ask, &earlier).await {
                    let start = tale.lab.sim.world();
                    let second = tale.embark(plan, Vec::new(), start, false, &earlier);
                    let result = Box::pin(second.run.start()).await;
                    tale.judge("fix again", &second, &result);
                    tale.carry_on(&second, result).await;
                    if tale.dice.percent(35) {
                        tale.undo(&second).await;
                    }
                }
            }
            _ if tale.dice.percent(30) => tale.make_good(&voyage).await,
            _ if tale.dice.percent(35) => {
                if result.status == Status::Paused {
                    tale.lab.sim.clock().advance(Duration::from_secs(60));
                }
                tale.undo(&voyage).await;
            }
            _ => {}
        }
    }
    tale.cover.faults(&tale.lab.sim.world());
    if tale.watch.meddled().is_some() {
        tale.cover.add("faults", "(somebody else)");
    }
    tale.wrong.extend(tale.watch.broken());
    let Tale { cover: covered, mut wrong, story, .. } = tale;
    *cover = covered;
    if std::env::var_os("AZMEND_SEED").is_some() {
        let _ = write!(describe, "\nran: {} {:?}", scene.name, scene.ask);
        say(&format!("{}\n{describe}\n{story}\n", if scene.vm.contains(SUB) { &yaml } else { "" }));
    }
    if wrong.is_empty() {
        return None;
    }
    wrong.sort();
    wrong.dedup();
    let story = story.replace('\n', "\n  ");
    Some(format!("seed {seed} ({way}: {}): {}\n  {story}", scene.name, wrong.join("\n  ")))
}

/// On the terminal also when the test holds.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Seeds, unless AZMEND_SEEDS says otherwise: about two minutes of one core.
const SEEDS: u64 = 1_000;

/// What the default seeds must come across: a simulation that does not is blind there.
const MUST: [(&str, &[&str]); 7] = [
    ("ways", &["plain", "saved", "crash", "twice", "fleet"]),
    ("commands", &["fix", "resume", "undo", "resume after a crash", "fix again", "member of a fleet"]),
    ("statuses", &["succeeded", "partial", "refused", "paused", "failed", "undone", "stuck"]),
    ("outcomes", &["succeeded", "already_done", "refused", "failed", "unknown", "not_run", "pending"]),
    ("locks", &["restored", "off"]),
    ("pauses", &["clean_up_pending", "unreachable", "operation_pending"]),
    (
        "faults",
        &[
            "Throttle",
            "LostBefore",
            "LostAfter",
            "NotSent",
            "OperationFails",
            "OperationHangs",
            "Slow",
            "StaleRead",
            "EmptyPage",
            "MalformedBody",
            "Html503",
            "TokenExpired",
            "Reply",
            "Corrupt(Status)",
            "Corrupt(NextLink)",
            "Corrupt(Truncate)",
            "Corrupt(Html)",
            "Corrupt(Empty)",
            "(somebody else)",
        ],
    ),
];

/// The seeds of one thread.
fn part(seeds: &[u64]) -> (Vec<String>, Coverage) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut cover = Coverage::default();
    let mut broken = Vec::new();
    for seed in seeds {
        // A panic must say its seed too.
        let guard = Seed(*seed);
        broken.extend(runtime.block_on(Box::pin(simulate(*seed, &mut cover))));
        std::mem::forget(guard);
    }
    (broken, cover)
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        say(&format!("AZMEND_SEED={} panicked\n", self.0));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the real run took; nothing depends on it")]
fn seeds() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("AZMEND_SEED");
    let from = number("AZMEND_FROM").unwrap_or(0);
    let many = number("AZMEND_SEEDS").unwrap_or(SEEDS);
    let seeds: Vec<u64> = one.map_or_else(|| (from..from + many).collect(), |seed| vec![seed]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let began = Instant::now();
    let parts: Vec<Vec<u64>> =
        (0..threads).map(|part| seeds.iter().copied().skip(part).step_by(threads).collect()).collect();
    let mut broken = Vec::new();
    let mut cover = Coverage::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = parts
            .iter()
            .map(|seeds| {
                let thread = std::thread::Builder::new().stack_size(32 << 20);
                thread.spawn_scoped(scope, move || part(seeds)).unwrap()
            })
            .collect();
        for thread in running {
            let (found, covered) = thread.join().expect("a seed panicked");
            broken.extend(found);
            cover.merge(covered);
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    say(&format!("simulation: {} seeds in {seconds:.0} s, {} broken\n{}", seeds.len(), broken.len(), cover.text()));
    assert!(
        broken.is_empty(),
        "{} of {} seeds break a rule (replay one with AZMEND_SEED=n):\n{}",
        broken.len(),
        seeds.len(),
        broken.iter().take(60).cloned().collect::<Vec<_>>().join("\n")
    );
    if seeds.len() as u64 >= SEEDS {
        let mut missing = cover.missing(&MUST);
        let library = azmend::playbook::library::Library::shipped();
        let names: Vec<&str> = library.iter().map(|(playbook, _)| playbook.name()).collect();
        missing.extend(cover.missing(&[("playbooks with a plan", names.as_slice())]));
        assert!(missing.is_empty(), "the simulation does not come across {missing:?}\n{}", cover.text());
    }
}
