//! Backup Server (MABS) and DPM: the backup engines of vaults, and their jobs that failed.
//!
//! They run on premises: ARM tells what they reported and changes nothing there.

use crate::facts::unread::Unread;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::jobs::explain;
use super::{VaultError, Visible, chosen_vaults, reader, rows, some};
use crate::arm::id::ResourceId;
use crate::arm::model::{Engine, EngineJob};
use crate::arm::{Arm, JobFilter};
use crate::catalog::{Catalog, Category, Entry};
use crate::clock::earlier;
use crate::facts::read::{Reader, action};

/// Name and version of the object.
pub const ENGINES_SCHEMA: &str = "azmend.engines/v1";

/// The types of backup management whose jobs servers report; only vaults with an engine are asked.
const MANAGEMENT: [&str; 3] = ["AzureBackupServer", "DPM", "MAB"];

/// One failed job of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineJobRow {
    /// Resource id.
    pub id: String,
    /// The server that Azure names; empty when it names none.
    pub server: String,
    /// What is protected.
    pub item: String,
    /// e.g. `SQLDataBase`.
    pub workload: String,
    /// e.g. `Backup`.
    pub operation: String,
    /// Start.
    pub start: Option<Timestamp>,
    /// The server's own text.
    pub error: String,
    /// What it recommends.
    pub recommendations: Vec<String>,
    /// The entry of the catalogue that the text belongs to; null when there is none.
    pub code: Option<String>,
    /// The command to run next.
    pub next: Option<String>,
}

/// One engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngineRow {
    /// Resource id.
    pub id: String,
    /// The server's name.
    pub name: String,
    /// The vault's name.
    pub vault: String,
    /// `backup_server`, `dpm`, or as Azure says it.
    pub kind: String,
    /// Version of the server; null when not sent.
    pub version: Option<String>,
    /// An update is available; null when Azure does not say.
    pub update_available: Option<bool>,
    /// Version of the Azure Backup agent on it.
    pub agent_version: Option<String>,
    /// An update of the agent is available; null when Azure does not say.
    pub agent_update_available: Option<bool>,
    /// `registrationStatus`.
    pub registration: Option<String>,
    /// `backupEngineState`.
    pub state: Option<String>,
    /// `healthStatus`.
    pub health: Option<String>,
    /// When the server last told Azure about itself (`refreshedAt`).
    pub refreshed: Option<Timestamp>,
    /// How many items it protects.
    pub protected_items: Option<i64>,
    /// How many servers it protects.
    pub protected_servers: Option<i64>,
    /// How many disks its storage has.
    pub disks: Option<i64>,
    /// Used part of its storage in percent.
    pub disk_used_percent: Option<f64>,
    /// Its jobs that failed, newest first.
    pub failed_jobs: Vec<EngineJobRow>,
}

/// The engines.
#[derive(Debug, Clone, Serialize)]
pub struct EngineInventory {
    /// When it was read.
    pub read_at: Timestamp,
    /// Jobs that started at or after.
    pub since: Timestamp,
    /// How many vaults were asked.
    pub vaults: usize,
    /// By vault and name.
    pub engines: Vec<EngineRow>,
    /// Failed jobs of servers that are none of the engines (the MARS agent, a server that was unregistered).
    pub other_failed_jobs: Vec<EngineJobRow>,
    /// What was not read.
    pub not_read: Vec<Unread>,
}

/// Reads the engines, and the jobs of vaults that have one.
///
/// # Errors
/// When the vault that was named is not there.
pub async fn engines(
    arm: &Arm,
    visible: &Visible,
    vault: Option<&str>,
    within: Duration,
) -> Result<EngineInventory, VaultError> {
    let reader = reader(arm);
    let read_at = reader.now();
    let since = earlier(read_at, within);
    let (vaults, unread) = chosen_vaults(&reader, &visible.chosen, vault).await?;
    let mut out = EngineInventory {
        read_at,
        since,
        vaults: vaults.len(),
        engines: Vec::new(),
        other_failed_jobs: Vec::new(),
        not_read: if vault.is_some() { Vec::new() } else { visible.not_read() },
    };
    out.not_read.extend(unread);
    let calls = vaults.iter().map(|vault| of_vault(&reader, vault, since)).collect();
    for (engines, other, not_read) in reader.side_by_side(calls).await {
        out.engines.extend(engines);
        out.other_failed_jobs.extend(other);
        out.not_read.extend(not_read);
    }
    Ok(out)
}

async fn of_vault(
    reader: &Reader<'_>,
    vault: &ResourceId,
    since: Timestamp,
) -> (Vec<EngineRow>, Vec<EngineJobRow>, Vec<Unread>) {
    let (engines, missing) = rows(reader, vault, &[action::ENGINES], reader.arm.engines(vault)).await;
    let unread = |kind: &str, why: String| Unread { what: format!("the {kind} of the vault {}", vault.name()), why };
    let mut not_read: Vec<Unread> = missing.map(|why| unread("backup engines", why)).into_iter().collect();
    if engines.is_empty() {
        return (Vec::new(), Vec::new(), not_read);
    }
    let filter = JobFilter { since: Some(since), status: Some("Failed".into()), until: None };
    let filter = &filter;
    let calls = MANAGEMENT.map(|management| async move {
        let call = reader.arm.engine_jobs(vault, management, filter);
        (management, rows(reader, vault, &[action::JOBS], call).await)
    });
    let mut jobs: Vec<EngineJob> = Vec::new();
    for (management, (found, missing)) in reader.side_by_side(calls.into()).await {
        // Whether the service honours the status for these types is not verified.
        jobs.extend(found.into_iter().filter(|job| job.status.eq_ignore_ascii_case("Failed")));
        not_read.extend(missing.map(|why| unread(&format!("{management} jobs"), why)));
    }
    jobs.sort_by(|a, b| b.start.cmp(&a.start).then_with(|| a.id.cmp(&b.id)));
    jobs.dedup_by(|a, b| a.id == b.id);
    let mut rows: Vec<EngineRow> = engines.iter().map(|engine| row(engine, vault)).collect();
    rows.sort_by_key(|row| row.name.to_lowercase());
    let mut other = Vec::new();
    for job in &jobs {
        let same = |row: &&mut EngineRow| {
            row.name.eq_ignore_ascii_case(&job.server)
                || row.id.rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case(&job.server))
        };
        match rows.iter_mut().find(same) {
            Some(row) => row.failed_jobs.push(job_row(job)),
            None => other.push(job_row(job)),
        }
    }
    (rows, other, not_read)
}

fn row(engine: &Engine, vault: &ResourceId) -> EngineRow {
    let kind = match engine.kind.to_ascii_lowercase().as_str() {
        "azurebackupserverengine" => "backup_server".to_owned(),
        "dpmbackupengine" => "dpm".to_owned(),
        _ => engine.kind.clone(),
    };
    let used =
        engine.used.zip(engine.available).filter(|(used, free)| *used >= 0.0 && *free >= 0.0 && used + free > 0.0);
    EngineRow {
        id: engine.id.to_string(),
        name: engine.name.clone(),
        vault: vault.name().to_owned(),
        kind,
        version: some(&engine.version),
        update_available: engine.update_available,
        agent_version: some(&engine.agent_version),
        agent_update_available: engine.agent_update_available,
        registration: some(&engine.registration),
        state: some(&engine.state),
        health: some(&engine.health),
        refreshed: engine.refreshed,
        protected_items: engine.items,
        protected_servers: engine.servers,
        disks: engine.disks,
        disk_used_percent: used.map(|(used, free)| (used / (used + free) * 1000.0).round() / 10.0),
        failed_jobs: Vec::new(),
    }
}

fn job_row(job: &EngineJob) -> EngineJobRow {
    let entry = job.errors.iter().find_map(|error| classify(&error.title, error.code, &error.text));
    let code = entry.map(|entry| entry.code.clone());
    EngineJobRow {
        id: job.id.to_string(),
        server: job.server.clone(),
        item: job.item.clone(),
        workload: job.workload.clone(),
        operation: job.operation.clone(),
        start: job.start,
        error: job.errors.first().map(|error| error.text.clone()).unwrap_or_default(),
        recommendations: job.errors.iter().flat_map(|error| error.recommendations.clone()).collect(),
        next: explain(code.as_deref()),
        code,
    }
}

/// The entry of the catalogue for Backup Server that an error belongs to. Texts of other products are not taken for it:
/// the same words mean something else on an Azure VM.
fn classify(title: &str, number: i64, text: &str) -> Option<&'static Entry> {
    let catalog = Catalog::get();
    let ours = |entry: &&'static Entry| entry.category == Category::Mabs;
    catalog
        .by_code(title)
        .filter(ours)
        .or_else(|| catalog.by_numeric(number).filter(ours))
        .or_else(|| numbers(text).find_map(|number| catalog.by_numeric(number).filter(ours)))
        .or_else(|| catalog.by_text(text).filter(ours))
}

/// The numbers behind `ID` in a text of DPM: `... (ID 33621 Details: ...)`, `(ID: 100050)`.
fn numbers(text: &str) -> impl Iterator<Item = i64> + '_ {
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let pairs: Vec<i64> = words
        .windows(2)
        .filter_map(|pair| match pair {
            [id, number] if id.eq_ignore_ascii_case("id") => number.parse().ok(),
            _ => None,
        })
        .collect();
    pairs.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_dpm_is_matched_by_its_id_and_only_within_its_own_catalogue() {
        let code = |text: &str| classify("", 0, text).map(|entry| entry.code.as_str());
        assert_eq!(code("Agent was unable to connect. (ID 100050 Details: x)"), Some("MABS_AgentCannotConnect"));
        assert_eq!(code("DPM encountered a problem. (ID: 33621)"), Some("MABS_VMware_FileFaultFault"));
        assert_eq!(code("Something (ID 400196 Details: x)"), None, "an id of Azure VM backup");
        assert_eq!(code("UserErrorRpCollectionLimitReached"), None);
        assert_eq!(code(""), None);
    }
}
