//! The list of jobs, and one job that was followed.

use crate::facts::unread::Unread;
use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;

use super::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, paint};
use super::lists::{Column, laid_out};
use super::vms::unread;
use crate::facts::inventory::{JOBS_SCHEMA, JobInventory, JobProblem, JobRow};
use crate::text::{human_duration, plural, safe, safe_short};

/// How the watching of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Watching {
    /// With the job.
    Ended,
    /// Before it.
    Interrupted,
}

/// The object on stdout, of a list and of a job that was followed.
#[derive(Debug, Serialize)]
pub struct JobsReport<'a> {
    schema: &'static str,
    sandbox: bool,
    exit_code: u8,
    read_at: Timestamp,
    /// Null when one job was followed.
    since: Option<Timestamp>,
    /// Null in a list.
    watching: Option<Watching>,
    jobs: Vec<&'a JobRow>,
    not_read: &'a [Unread],
}

impl<'a> JobsReport<'a> {
    /// A list.
    #[must_use]
    pub fn list(sandbox: bool, exit_code: u8, found: &'a JobInventory) -> Self {
        Self {
            schema: JOBS_SCHEMA,
            sandbox,
            exit_code,
            read_at: found.read_at,
            since: Some(found.since),
            watching: None,
            jobs: found.jobs.iter().collect(),
            not_read: &found.not_read,
        }
    }

    /// One job.
    #[must_use]
    pub fn followed(sandbox: bool, exit_code: u8, job: &'a JobRow, watching: Watching, read_at: Timestamp) -> Self {
        let jobs = vec![job];
        let watching = Some(watching);
        Self { schema: JOBS_SCHEMA, sandbox, exit_code, read_at, since: None, watching, jobs, not_read: &[] }
    }
}

/// Whether a job with this status did what it was for.
#[must_use]
pub fn is_good(status: &str) -> bool {
    status.eq_ignore_ascii_case("Completed") || status.eq_ignore_ascii_case("CompletedWithWarnings")
}

/// Whether this status is one that a job ends with.
#[must_use]
pub fn is_final(status: &str) -> bool {
    is_good(status) || status.eq_ignore_ascii_case("Failed") || status.eq_ignore_ascii_case("Cancelled")
}

/// `2026-11-20 09:00`, UTC.
fn minute(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

/// `09:00:30`, UTC.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

fn took(row: &JobRow) -> String {
    row.seconds.map(|seconds| human_duration(Duration::from_secs(seconds))).unwrap_or_default()
}

/// Where a job is, in one line.
#[must_use]
pub fn progress(row: &JobRow) -> String {
    let mut parts = vec![row.status.clone()];
    parts.extend(row.percent.map(|percent| format!("{percent:.0} %")));
    parts.extend(row.tasks.iter().map(|task| format!("{}: {}", task.name, task.status)));
    safe_short(&parts.join(", "), 300)
}

const COLUMNS: [Column<'_>; 6] = [
    Column::Id("start (UTC)"),
    Column::Text("status"),
    Column::Text("operation"),
    Column::Id("vm"),
    Column::Text("took"),
    Column::Id("job"),
];

fn cells(row: &JobRow) -> Vec<String> {
    let job = row.job.get(..8).unwrap_or(&row.job);
    // The longest of Azure's words for it would take a quarter of a screen.
    let status = row.status.replace("CompletedWithWarnings", "Completed with warnings");
    // The year is in the line below the list.
    let start = row.start.map_or_else(|| "-".to_owned(), |at| at.strftime("%m-%d %H:%M").to_string());
    vec![start, status, row.operation.clone(), row.vm.clone(), took(row), job.to_owned()]
}

fn error(page: &mut Page, error: &JobProblem, next: Option<&str>) {
    let name = error.code.clone().or_else(|| error.number.map(|number| number.to_string()));
    let text = match name {
        Some(name) => format!("{name}: {}", error.message),
        None => error.message.clone(),
    };
    page.item("    ", BAD, &text);
    if let Some(next) = next {
        page.line(&format!("    {}", safe(next)));
    }
}

/// The page.
#[must_use]
pub fn page(found: &JobInventory, width: usize) -> String {
    let mut page = Page::new(width);
    let rows: Vec<Vec<String>> = found.jobs.iter().map(cells).collect();
    let (heading, blocks) = laid_out(&COLUMNS, &rows, width);
    if !rows.is_empty() {
        heading.iter().for_each(|line| page.line(&paint(BOLD, line)));
    }
    for (job, block) in found.jobs.iter().zip(blocks) {
        block.iter().for_each(|line| page.line(line));
        if let Some(problem) = &job.error {
            error(&mut page, problem, job.next.as_deref());
        }
    }
    page.gap();
    let jobs = if rows.is_empty() { "no job".to_owned() } else { plural(rows.len(), "job") };
    let vaults = plural(found.vaults, "vault");
    page.item("", DIM, &format!("{jobs} since {} UTC in {vaults}", minute(Some(found.since))));
    unread(&mut page, &found.not_read);
    page.finish()
}

/// A job that was followed.
#[must_use]
pub fn one(row: &JobRow, watching: Watching, width: usize) -> String {
    let mut page = Page::new(width);
    page.item("", BOLD, &format!("{} of {} in the vault {}", row.operation, row.vm, row.vault));
    page.line(&format!("  job      {}", safe(&row.job)));
    let style = match watching {
        Watching::Interrupted => CARE,
        Watching::Ended if is_good(&row.status) => GOOD,
        Watching::Ended => BAD,
    };
    page.item("  status   ", style, &progress(row));
    page.item("  started  ", Style::new(), &format!("{} UTC, took {}", minute(row.start), took(row)));
    if let Some(problem) = &row.error {
        error(&mut page, problem, row.next.as_deref());
        for recommendation in &problem.recommendations {
            page.item("    - ", DIM, recommendation);
        }
    }
    if watching == Watching::Interrupted {
        page.item("", CARE, "stopped watching; the job continues");
    }
    page.finish()
}
