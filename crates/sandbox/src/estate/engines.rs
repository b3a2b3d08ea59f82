//! Backup engines as they are written in an estate.

use serde::Deserialize;

use crate::estate::Finished;
use crate::world::{Engine, EngineJob, JobStatus, World, guid_from};
use azmend_arm::id::ResourceId;
use azmend_base::clock::{earlier, later};
use azmend_base::duration::Span;
use azmend_base::yaml::Spanned;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EngineKind {
    #[default]
    BackupServer,
    Dpm,
}

fn healthy() -> String {
    "Healthy".into()
}

fn registered() -> String {
    "Registered".into()
}

fn backup() -> String {
    "Backup".into()
}

/// A Backup Server or DPM server in an estate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineSpec {
    pub name: Spanned<String>,
    #[serde(default, rename = "type")]
    pub kind: EngineKind,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub agent: String,
    #[serde(default)]
    pub update: bool,
    #[serde(default)]
    pub agent_update: bool,
    #[serde(default = "healthy")]
    pub health: String,
    #[serde(default = "registered")]
    pub registration: String,
    #[serde(default)]
    pub items: u32,
    #[serde(default)]
    pub servers: u32,
    #[serde(default)]
    pub disks: u32,
    #[serde(default)]
    pub used: u32,
    #[serde(default)]
    pub available: u32,
    #[serde(default)]
    pub refreshed: Option<Span>,
    #[serde(default)]
    pub jobs: Vec<EngineJobSpec>,
}

/// A job of an engine in an estate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineJobSpec {
    pub age: Span,
    pub status: Finished,
    pub item: String,
    #[serde(default)]
    pub workload: String,
    #[serde(default = "backup")]
    pub operation: String,
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub recommendations: Vec<String>,
    #[serde(default)]
    pub took: Option<Span>,
}

/// Puts an engine and its jobs into the world.
pub(crate) fn add(world: &mut World, id: &ResourceId, spec: &EngineSpec) {
    let now = world.now;
    for (index, job) in spec.jobs.iter().enumerate() {
        let started = earlier(now, job.age.to_std());
        let status = match job.status {
            Finished::Completed => JobStatus::Completed,
            Finished::CompletedWithWarnings => JobStatus::CompletedWithWarnings,
            Finished::Failed => JobStatus::Failed,
            Finished::Cancelled => JobStatus::Cancelled,
            Finished::InProgress => JobStatus::InProgress,
        };
        let took = job.took.unwrap_or(Span::from_secs(600)).to_std();
        world.engine_jobs.push(EngineJob {
            engine: id.clone(),
            name: guid_from(&format!("{}job{index}", id.key())),
            operation: job.operation.clone(),
            item: job.item.clone(),
            workload: job.workload.clone(),
            status,
            started,
            ended: (status != JobStatus::InProgress).then(|| later(started, took).min(now)),
            error: job.error.clone(),
            recommendations: job.recommendations.clone(),
        });
    }
    world.engines.push(Engine {
        id: id.clone(),
        dpm: spec.kind == EngineKind::Dpm,
        version: spec.version.clone(),
        agent: spec.agent.clone(),
        update: spec.update,
        agent_update: spec.agent_update,
        health: spec.health.clone(),
        registration: spec.registration.clone(),
        items: spec.items,
        servers: spec.servers,
        disks: spec.disks,
        used: spec.used,
        available: spec.available,
        refreshed: spec.refreshed.map(|age| earlier(now, age.to_std())),
    });
}
