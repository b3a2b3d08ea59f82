//! `azmend audit`: every VM of a scope. It only reads (S1).

use std::path::Path;
use std::sync::Arc;

use crate::api::Watch;
use crate::api::audit::{AuditOptions, Reading, look as read_scope};
pub use crate::api::audit::{of_tenant, selection_of};
use crate::arm::{Arm, ResourceId};
use crate::cli::args::{AuditArgs, CollectorArg, FailOnArg, LevelArg};
use crate::cli::candidates;
use crate::cli::commands::fix;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::files;
use crate::cli::jitter;
use crate::cli::scan_progress::ScanProgress;
use crate::cli::settings::Output;
use crate::engine::audit::{AUDIT_SCHEMA, Ask, Audit, Level};
use crate::facts::bulk::{Collector, Selection};
use crate::facts::inventory::Visible;
use crate::playbook::library::Library;
use crate::report::audit::{ENDINGS, Format, file, render};

/// The largest baseline that is read.
const MAX_BASELINE: u64 = 256 * 1024 * 1024;

/// Looks.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted; what cannot be read beyond that is said in the audit.
pub async fn run(session: &Session, args: &AuditArgs) -> Result<u8, CliError> {
    // Everything that was typed is checked before anything is sent.
    let library = fix::library(session, args.playbooks.as_deref());
    let wide = wide(session, args)?;
    let options = AuditOptions {
        subscriptions: if wide { Vec::new() } else { session.settings.subscriptions.clone() },
        tenant: session.settings.whole_tenant.clone().filter(|_| wide),
        ..options(args)?
    };
    let checked = options.check(&library)?;
    let outs = outs(args)?;
    let azure = session.azure()?;
    jitter::wait(session, &azure, args.jitter.jitter).await?;
    let progress = Arc::new(ScanProgress::new(&session.printer));
    let watch = Watch { scan: progress.clone(), ..session.notes() };
    let mut names = Names::default();
    let found = session.reading(Box::pin(checked.read(&azure, &watch, &mut |vm| names.add(vm)))).await;
    progress.end();
    let found = found?;
    names.remember(session);
    // A file that cannot be written costs nothing of what was read.
    let mut lost: Option<CliError> = None;
    for (path, format) in outs {
        if let Err(error) = files::write_private(path, &file(&found, format))
            && let Some(earlier) = lost.replace(error)
        {
            session.printer.warn(&earlier.message);
        }
    }
    let format = match session.printer.output() {
        Output::Json | Output::Yaml => Format::Json,
        Output::Jsonl => Format::Jsonl,
        Output::Csv => Format::Csv,
        Output::Markdown => Format::Markdown,
        Output::Html => Format::Html,
        Output::Sarif => Format::Sarif,
        Output::Junit => Format::Junit,
        Output::Table => Format::Table(session.printer.width()),
    };
    // The page writes a large audit in parts; a part of it or YAML is made from the whole object.
    if session.printer.is_json() && !session.printer.plain_json() {
        session.printer.json(&found);
    } else {
        session.printer.data(&render(&found, format));
    }
    lost.map_or(Ok(found.exit_code), Err)
}

/// Reads a scope and makes the audit of it, with its progress.
///
/// # Errors
/// When a named vault or group does not exist, or Azure does not answer at all.
pub async fn look(
    session: &Session,
    arm: &Arm,
    library: &Library,
    visible: &Visible,
    selection: &Selection,
    ask: &Ask,
) -> Result<Audit, CliError> {
    let progress = ScanProgress::new(&session.printer);
    let mut names = Names::default();
    let by = Reading { collector: None, watch: &progress, seen: &mut |vm| names.add(vm) };
    let found = read_scope(arm, library, visible, selection, ask, by).await;
    progress.end();
    let found = found?;
    names.remember(session);
    Ok(found)
}

/// The VMs that were read, for who types their names next.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl Names {
    fn add(&mut self, vm: &ResourceId) {
        if self.0.len() < candidates::MOST {
            self.0.push(vm.short_name());
        }
    }

    fn remember(self, session: &Session) {
        candidates::remember_vms(&session.settings.state_dir, session.settings.sandbox(), self.0);
    }
}

/// What was typed but for the scope's subscriptions.
fn options(args: &AuditArgs) -> Result<AuditOptions, CliError> {
    Ok(AuditOptions {
        subscriptions: Vec::new(),
        tenant: None,
        management_groups: args.management_group.clone(),
        resource_group: args.resource_group.clone(),
        tags: args.tag.clone(),
        vault: args.vault.clone(),
        playbooks: args.playbooks.clone(),
        rules: args.playbook.clone(),
        codes: args.code.clone(),
        min: match args.min_severity {
            LevelArg::Info => Level::Info,
            LevelArg::Low => Level::Low,
            LevelArg::Medium => Level::Medium,
            LevelArg::High => Level::High,
        },
        fail_on: match args.fail_on {
            FailOnArg::Info => Some(Level::Info),
            FailOnArg::Low => Some(Level::Low),
            FailOnArg::Medium => Some(Level::Medium),
            FailOnArg::High => Some(Level::High),
            FailOnArg::Never => None,
        },
        plans: args.plans,
        baseline: args.baseline.as_deref().map(read_baseline).transpose()?,
        collector: match args.collector {
            CollectorArg::Auto => None,
            CollectorArg::Graph => Some(Collector::Graph),
            CollectorArg::Arm => Some(Collector::Arm),
        },
        thorough: args.thorough,
    })
}

/// Whether the scope is wider than the subscriptions that the environment names.
fn wide(session: &Session, args: &AuditArgs) -> Result<bool, CliError> {
    let tenant = session.settings.whole_tenant.is_some() && !session.settings.subscriptions_typed;
    let group = !args.management_group.is_empty();
    if group && session.settings.subscriptions_typed {
        return Err(CliError::input("--management-group and --subscription exclude each other").code("usage"));
    }
    if session.settings.whole_tenant.as_deref() == Some("") && (group || session.settings.subscriptions_typed) {
        let why = "--tenant without an id means all of the tenant: omit the other scope, or give the tenant's id";
        return Err(CliError::input(why).code("usage"));
    }
    Ok(tenant || group)
}

fn outs(args: &AuditArgs) -> Result<Vec<(&Path, Format)>, CliError> {
    let one = |path: &'_ std::path::PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        Format::of_ending(ending).ok_or_else(|| {
            CliError::input(format!("{}: the file extension does not name a format", path.display()))
                .code("format_not_supported")
                .hint(format!("an audit is written as {ENDINGS}"))
        })
    };
    // Found out before anything is read, which can take long.
    let place = |path: &Path| {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        match directory {
            _ if path.is_dir() => Err(CliError::io(format!("{} is a directory", path.display()))),
            Some(parent) if !parent.is_dir() => {
                Err(CliError::io(format!("there is no directory {}", parent.display())))
            }
            _ => Ok(()),
        }
    };
    args.out.iter().map(|path| place(path).and(Ok((path.as_path(), one(path)?)))).collect()
}

/// An audit that was written as JSON.
///
/// # Errors
/// When it is none.
pub fn read_baseline(path: &Path) -> Result<Audit, CliError> {
    let text = files::read_text(path, MAX_BASELINE)?;
    let wrong = |why: String| {
        CliError::input(format!("{} is not an audit of azmend: {why}", path.display()))
            .code("baseline")
            .hint("a baseline is what `azmend audit -o json` or `--out FILE.json` wrote")
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(files::json_words(&error)))?;
    match value.get("schema").and_then(serde_json::Value::as_str) {
        Some(AUDIT_SCHEMA) => {}
        Some(other) => return Err(wrong(format!("its schema is {other:?}, not {AUDIT_SCHEMA}"))),
        None => return Err(wrong("it names no schema".to_owned())),
    }
    serde_json::from_value(value).map_err(|error| wrong(files::json_words(&error)))
}
