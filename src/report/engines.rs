//! The list of backup engines.

use jiff::Timestamp;
use serde::Serialize;

use super::layout::{BAD, BOLD, CARE, DIM, Page, paint};
use super::vms::{age, unread};
use crate::facts::inventory::{ENGINES_SCHEMA, EngineInventory, EngineJobRow, EngineRow};
use crate::text::{plural, safe};

/// The object on stdout.
#[derive(Debug, Serialize)]
pub struct EnginesReport<'a> {
    schema: &'static str,
    sandbox: bool,
    exit_code: u8,
    #[serde(flatten)]
    inventory: &'a EngineInventory,
}

impl<'a> EnginesReport<'a> {
    /// The object.
    #[must_use]
    pub const fn new(sandbox: bool, exit_code: u8, inventory: &'a EngineInventory) -> Self {
        Self { schema: ENGINES_SCHEMA, sandbox, exit_code, inventory }
    }
}

fn version(what: &str, version: Option<&str>, update: Option<bool>) -> Option<String> {
    let known = match update {
        Some(true) => ", update available",
        Some(false) => ", no update available",
        None => "",
    };
    version.map(|version| format!("{what} {version}{known}"))
}

fn count(n: i64, noun: &str) -> String {
    usize::try_from(n).map_or_else(|_| format!("{n} {noun}s"), |n| plural(n, noun))
}

fn engine(page: &mut Page, row: &EngineRow, now: Timestamp) {
    let kind = match row.kind.as_str() {
        "backup_server" => "Backup Server",
        "dpm" => "System Center DPM server",
        other => other,
    };
    page.gap();
    page.item("", BOLD, &format!("{} ({kind}) in the vault {}", row.name, row.vault));
    let versions = [
        version("version", row.version.as_deref(), row.update_available),
        version("agent", row.agent_version.as_deref(), row.agent_update_available),
    ];
    let updates = row.update_available == Some(true) || row.agent_update_available == Some(true);
    let text = versions.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let text = if text.is_empty() { "Azure does not say".to_owned() } else { text };
    page.item("  versions   ", if updates { CARE } else { DIM }, &text);
    let states: Vec<&str> =
        [&row.registration, &row.state, &row.health].into_iter().flatten().map(String::as_str).collect();
    page.item("  state      ", DIM, &if states.is_empty() { "Azure does not say".into() } else { states.join(", ") });
    let refreshed = row.refreshed.map_or_else(|| "Azure does not say".to_owned(), |at| age(at, now));
    page.item("  refreshed  ", DIM, &refreshed);
    let mut protects: Vec<String> = Vec::new();
    protects.extend(row.protected_items.map(|n| count(n, "item")));
    protects.extend(row.protected_servers.map(|n| format!("of {}", count(n, "server"))));
    if !protects.is_empty() {
        page.item("  protects   ", DIM, &protects.join(" "));
    }
    if let Some(percent) = row.disk_used_percent {
        let disks = row.disks.map(|n| format!(" of {}", count(n, "disk"))).unwrap_or_default();
        page.item("  storage    ", if percent >= 90.0 { BAD } else { DIM }, &format!("{percent} % used{disks}"));
    }
    if !row.failed_jobs.is_empty() {
        page.line(&format!("  {}", paint(BAD, &format!("{} failed", plural(row.failed_jobs.len(), "job")))));
        row.failed_jobs.iter().for_each(|one| job(page, one));
    }
}

fn job(page: &mut Page, job: &EngineJobRow) {
    let at = job.start.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M ").to_string());
    let workload = if job.workload.is_empty() { String::new() } else { format!(" ({})", job.workload) };
    page.item("  - ", BOLD, &format!("{at}{} of {}{workload}", job.operation, job.item));
    if !job.error.is_empty() {
        page.item("    ", BAD, &job.error);
    }
    for recommendation in &job.recommendations {
        page.item("    the server recommends: ", DIM, recommendation);
    }
    match &job.next {
        Some(next) => page.line(&format!("    {}", safe(next))),
        None => page.item("    ", DIM, "the catalogue has no entry for this text"),
    }
}

/// The page.
#[must_use]
pub fn page(found: &EngineInventory, width: usize) -> String {
    let mut page = Page::new(width);
    for row in &found.engines {
        engine(&mut page, row, found.read_at);
    }
    if !found.other_failed_jobs.is_empty() {
        page.gap();
        page.line(&paint(BOLD, "failed jobs of other servers"));
        for one in &found.other_failed_jobs {
            job(&mut page, one);
        }
    }
    page.gap();
    let vaults = plural(found.vaults, "vault");
    if found.engines.is_empty() {
        let where_ = if found.not_read.is_empty() { "" } else { " that could be read" };
        let text = format!("no Backup Server and no DPM server in {vaults}{where_}");
        page.item("", DIM, &text);
    } else {
        let text = format!(
            "{} in {vaults}; failed jobs since {} UTC. They run on premises: azmend reads what they reported to the vault and changes nothing on them. Repair them on the server",
            plural(found.engines.len(), "server"),
            found.since.strftime("%Y-%m-%d %H:%M")
        );
        page.item("", DIM, &text);
    }
    unread(&mut page, &found.not_read);
    page.finish()
}
