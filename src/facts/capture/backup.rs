//! The estate as text, second part: vaults with their policies, items and jobs.

use std::time::Duration;

use super::text::{Writer, known_word, same};
use super::yaml::{Map, Node, words};
use super::{CapturedItem, CapturedVault};
use crate::arm::id::ResourceId;
use crate::arm::model::{Group, Job, Policy, ProtectedItem};
use crate::clock::elapsed;

/// A job that runs for longer hangs: in the sandbox it goes on.
const HANGS: Duration = Duration::from_secs(24 * 3600);

impl Writer<'_> {
    pub(super) fn vault(&mut self, captured: &CapturedVault, group: &Group) -> Map {
        let vault = &captured.vault;
        let held = self.of_vault.remove(&vault.id).unwrap_or_default();
        let locks = self.locks(&vault.id);
        let elsewhere =
            (!vault.location.is_empty() && vault.location != group.location).then_some(vault.location.as_str());
        let immutability = known_word(&vault.immutability, &["unlocked", "locked"]);
        let policies = held.policies.into_iter().map(|policy| self.policy(policy)).collect();
        let items = held.items.into_iter().map(|item| self.item(item, &vault.id).into()).collect();
        Map::default()
            .with("name", vault.id.name())
            .with_some("location", elsewhere)
            .with_some("immutability", immutability)
            .with_some("resource_guard", captured.guarded.then_some(true))
            .with_list("policies", policies)
            .with_list("items", items)
            .with_list("locks", locks)
    }

    fn policy(&mut self, policy: &Policy) -> Node {
        let kind = known_word(&policy.policy_type, &["V1", "V2"]);
        if kind.is_none() {
            self.leave_out("a policy of a type that is not known, treated as Standard", policy.id.name());
        }
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let days = policy.snapshot_days.filter(|days| (0..=i64::from(u32::MAX)).contains(days));
        let mut map = Map::default()
            .with("name", policy.id.name())
            .with_some("type", (kind == Some("V2")).then_some("enhanced"))
            .with_some("snapshot_days", days)
            .with_some("prefix", text(&policy.group_prefix))
            .with_some("suffix", text(&policy.group_suffix));
        let schedule = &policy.schedule;
        let hourly = same(&schedule.frequency, "Hourly");
        if schedule.frequency.is_empty() || (hourly && kind != Some("V2")) {
            self.leave_out("a schedule that is not understood, treated as a daily one", policy.id.name());
            return map.line();
        }
        let mut exact = Map::default().with("frequency", schedule.frequency.as_str());
        exact = exact.with("times", words(&schedule.times));
        if !schedule.days.is_empty() {
            exact = exact.with("days", words(&schedule.days));
        }
        if hourly {
            exact = exact.with("interval_hours", schedule.interval_hours.max(0));
            exact = exact.with("window_hours", schedule.window_hours.max(0));
        }
        map = map.with("schedule", exact.line());
        map.with_some("time_zone", (policy.time_zone != "UTC").then_some(policy.time_zone.as_str())).line()
    }

    fn item(&mut self, captured: &CapturedItem, vault: &ResourceId) -> Map {
        let item = &captured.item;
        let of = self.vm_text(&captured.vm, vault);
        let (container, name) = own_names(item, &captured.vm);
        let policy = ResourceId::parse(&item.policy_id).ok();
        let policy = policy.filter(|policy| {
            let known = self.policies.contains(policy);
            if !known {
                self.leave_out("the policy of an item, which was not read", item.id.name());
            }
            known
        });
        let state = self.state(item);
        let mut map = Map::default()
            .with("of", of)
            .with_some("container", container)
            .with_some("name", name)
            .with_some("policy", policy.as_ref().map(ResourceId::name))
            .with_some("state", state);
        // A time before Azure's own "never" is none.
        let time = item.last_backup_time.filter(|time| time.as_second() > 1_000_000_000);
        if !item.last_backup_status.is_empty() || time.is_some() {
            let last = Map::default().with("status", item.last_backup_status.as_str()).with_some("time", time);
            map = map.with("last_backup", last.line());
        }
        map = map.with_some("health", health(captured));
        let mut points = Vec::new();
        for point in &captured.points {
            let Some(time) = point.time else {
                self.leave_out("a recovery point without a time", point.id.name());
                continue;
            };
            let mut tiers: Vec<_> = point.tiers.iter().collect();
            tiers.sort_by(|a, b| (&a.kind, &a.status).cmp(&(&b.kind, &b.status)));
            tiers.dedup_by(|a, b| a.kind == b.kind);
            let tiers = tiers.into_iter().fold(Map::default(), |map, tier| map.with(&tier.kind, tier.status.as_str()));
            let consistency = (point.consistency != "AppConsistent").then_some(point.consistency.as_str());
            let row = Map::default().with("name", point.id.name()).with("time", time).with("tiers", tiers.line());
            let mounted = point.file_recovery_active == Some(true);
            points.push(
                row.with_some("consistency", consistency).with_some("file_recovery", mounted.then_some(true)).line(),
            );
        }
        map = map.with_list("recovery_points", points);
        let jobs = captured.jobs.iter().filter_map(|job| self.job(job)).collect();
        map.with_list("history", jobs)
    }

    fn state(&mut self, item: &ProtectedItem) -> Option<&'static str> {
        if item.soft_deleted {
            return Some("soft-deleted");
        }
        let known = [
            ("Protected", None),
            ("IRPending", Some("pending")),
            ("ProtectionError", Some("error")),
            ("ProtectionStopped", Some("stopped")),
            ("BackupsSuspended", Some("suspended")),
        ];
        if let Some((_, state)) = known.iter().find(|(word, _)| same(word, &item.protection_state)) {
            return *state;
        }
        let taken = if item.stopped() { "stopped" } else { "error" };
        self.leave_out(
            &format!("the protection state {:?}, treated as {taken}", item.protection_state),
            item.id.name(),
        );
        Some(taken)
    }

    fn job(&mut self, job: &Job) -> Option<Node> {
        const STATES: [&str; 6] =
            ["InProgress", "Cancelling", "Cancelled", "Completed", "CompletedWithWarnings", "Failed"];
        const TASKS: [&str; 6] = ["NotStarted", "InProgress", "Completed", "Failed", "Cancelled", "Skipped"];
        let Some(started) = job.start.filter(|_| !job.status.is_empty()) else {
            self.leave_out("a job without a start or a state", job.id.name());
            return None;
        };
        // A state that nobody knows is shown as it is: such a job counts as running.
        let known = known_word(&job.status, &STATES);
        let (status, shown) = known.map_or(("InProgress", Some(job.status.as_str())), |status| (status, None));
        let mut map = Map::default()
            .with("id", job.id.name())
            .with("operation", job.operation.as_str())
            .with("status", status)
            .with_some("shown", shown)
            .with("started", started)
            .with_some("ended", job.end)
            .with_some("user", job.user_triggered);
        let mut tasks = Vec::new();
        for task in &job.tasks {
            match known_word(&task.status, &TASKS) {
                Some(status) => tasks.push(Map::default().with("name", task.id.as_str()).with("status", status).line()),
                None => self.leave_out("a task of a job in a state that is not known", job.id.name()),
            }
        }
        map = map.with_list("tasks", tasks);
        let errors: Vec<Node> = job
            .errors
            .iter()
            .map(|error| {
                let map = Map::default().with("code", error.code).with("title", error.title.as_str());
                map.with("text", error.text.as_str()).line()
            })
            .collect();
        map = map.with_list("errors", errors);
        map = map.with_some("dynamic_error", (!job.dynamic_error.is_empty()).then_some(job.dynamic_error.as_str()));
        let hangs = shown.is_some() || (job.running() && elapsed(started, self.from.now) > HANGS);
        Some(map.with_some("ends_in", hangs.then_some("30d")).line())
    }
}

/// Container and item when they are not what the sandbox makes of group and VM.
fn own_names(item: &ProtectedItem, vm: &ResourceId) -> (Option<String>, Option<String>) {
    let group = vm.resource_group().unwrap_or_default().to_lowercase();
    let short = format!("iaasvmcontainerv2;{group};{}", vm.name().to_lowercase());
    let other = |segment: &str, usual: String| {
        let own = item.id.segment(segment).unwrap_or_default();
        (own != usual).then(|| own.to_owned())
    };
    (other("protectionContainers", format!("IaasVMContainer;{short}")), other("protectedItems", format!("VM;{short}")))
}

/// What the item says of its health, when its newest finished backup does not say the same.
fn health(captured: &CapturedItem) -> Option<Node> {
    let item = &captured.item;
    let finished = captured.jobs.iter().filter(|job| job.operation == "Backup" && !job.running());
    let newest = finished.max_by_key(|job| job.start).filter(|job| same(&job.status, "Failed"));
    let error = newest.and_then(|job| job.errors.first());
    let derived = match error {
        None => item.health == "Passed" && item.health_details.is_empty(),
        Some(error) => {
            item.health == "ActionRequired"
                && item.health_details.len() == 1
                && item.health_details.iter().all(|detail| {
                    (detail.code, &detail.title, &detail.message) == (error.code, &error.title, &error.text)
                })
        }
    };
    if derived {
        return None;
    }
    let details = item.health_details.iter().map(|detail| {
        let map = Map::default().with("code", detail.code).with("title", detail.title.as_str());
        map.with("message", detail.message.as_str()).line()
    });
    Some(Map::default().with("status", item.health.as_str()).with_list("details", details.collect()).line())
}
