//! What Python asks for, and doing it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use azmend::actions::change::Override;
use azmend::arm::ResourceId;
use azmend::duration::Span;
use azmend::engine::audit::{Audit, Level};
use azmend::engine::blob_state::BlobPlace;
use azmend::engine::explain::Lang;
use azmend::engine::{LoopGuard, Plan};
use azmend::facts::bulk::Collector;
use azmend::playbook::library::Library;
use azmend::text::shell_quote;
use azmend::{
    AuditOptions, Azure, AzureSettings, BlobSettings, DiagnoseOptions, Error, EstateSource, FixOptions, Journal, Watch,
};
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::attend::Interpreter;
use crate::logs::Diagnostics;

/// What is asked for, with the options of the command of the same name.
#[derive(Debug, Deserialize)]
#[serde(tag = "operation", rename_all = "lowercase")]
pub enum Operation {
    /// `fix`.
    Fix(Box<Fix>),
    /// `audit`.
    Audit(Box<AuditAsked>),
    /// `diagnose`.
    Diagnose(Box<DiagnoseAsked>),
    /// `explain`.
    Explain(Box<Explain>),
    /// `runs resume`.
    Resume(Box<TakeUp>),
    /// `runs undo`.
    Undo(Box<TakeUp>),
    /// `runs list`.
    Runs(Box<ListRuns>),
}

/// Where, and signed in how; the options of every command.
#[derive(Debug, Default, Deserialize)]
pub struct Here {
    sandbox: Option<String>,
    state: Option<String>,
    #[serde(default)]
    durable_state: bool,
    tenant: Option<String>,
    client_id: Option<String>,
    auth: Option<String>,
    cloud: Option<String>,
    arm_endpoint: Option<String>,
    blob_endpoint: Option<String>,
    #[serde(default)]
    subscription: Vec<String>,
}

/// `fix`.
#[derive(Debug, Deserialize)]
pub struct Fix {
    #[serde(flatten)]
    here: Here,
    playbook: String,
    vm: String,
    set: BTreeMap<String, String>,
    dry_run: bool,
    yes: bool,
    relock: bool,
    allow_guest: bool,
    max_changes: Option<usize>,
    deadline: Option<String>,
    playbooks: Option<PathBuf>,
    r#override: Vec<String>,
    lock: Vec<String>,
    loop_guard: Option<String>,
}

/// `audit`.
#[derive(Debug, Deserialize)]
pub struct AuditAsked {
    #[serde(flatten)]
    here: Here,
    whole_tenant: Option<String>,
    management_group: Vec<String>,
    resource_group: Option<String>,
    tag: Vec<String>,
    vault: Option<String>,
    playbooks: Option<PathBuf>,
    playbook: Vec<String>,
    code: Vec<String>,
    min_severity: Level,
    fail_on: Option<Level>,
    plans: bool,
    baseline: Option<Audit>,
    collector: String,
    thorough: bool,
}

/// `diagnose`.
#[derive(Debug, Deserialize)]
pub struct DiagnoseAsked {
    #[serde(flatten)]
    here: Here,
    vm: String,
    code: Option<String>,
    job: Option<String>,
    network: bool,
    locks: bool,
    allow_guest: bool,
    playbooks: Option<PathBuf>,
}

/// `explain`.
#[derive(Debug, Deserialize)]
pub struct Explain {
    text: String,
    lang: String,
    playbooks: Option<PathBuf>,
}

/// `runs resume` and `runs undo`.
#[derive(Debug, Deserialize)]
pub struct TakeUp {
    #[serde(flatten)]
    here: Here,
    run: String,
    deadline: Option<String>,
    yes: bool,
}

/// `runs list`.
#[derive(Debug, Deserialize)]
pub struct ListRuns {
    #[serde(flatten)]
    here: Here,
}

/// The exit code, and the result as JSON.
type Done = Result<(u8, String), Error>;

impl Operation {
    /// Where it is about; nothing is checked yet.
    pub fn place(&self) -> &Here {
        const NOWHERE: &Here = &Here {
            sandbox: None,
            state: None,
            durable_state: false,
            tenant: None,
            client_id: None,
            auth: None,
            cloud: None,
            arm_endpoint: None,
            blob_endpoint: None,
            subscription: Vec::new(),
        };
        match self {
            Self::Fix(asked) => &asked.here,
            Self::Audit(asked) => &asked.here,
            Self::Diagnose(asked) => &asked.here,
            Self::Explain(_) => NOWHERE,
            Self::Resume(asked) | Self::Undo(asked) => &asked.here,
            Self::Runs(asked) => &asked.here,
        }
    }
}

/// Does it.
///
/// # Errors
/// As the library says.
pub fn run(operation: Operation, interpreter: &Interpreter) -> Done {
    let log = interpreter.log();
    let diagnostics = Diagnostics { log: log.clone(), level: interpreter.level };
    // Of this thread only, and only while this call works: the program's own subscriber is not touched.
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(diagnostics));
    let notes = log.clone();
    let watch = Watch {
        listener: Arc::new(log),
        notes: Arc::new(move |note| notes.note(note)),
        cancel: interpreter.cancel(),
        ..Watch::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io(format!("cannot start: {error}")))?;
    let done = runtime.block_on(interpreter.attend(Box::pin(work(operation, interpreter, &watch))));
    runtime.shutdown_background();
    drop(guard);
    done
}

async fn work(operation: Operation, interpreter: &Interpreter, watch: &Watch) -> Done {
    match operation {
        Operation::Fix(asked) => fix(*asked, interpreter, watch).await,
        Operation::Resume(asked) => {
            let (azure, journal) = asked.here.to_change().await?;
            let mut confirm = confirm(asked.yes, interpreter)?;
            let stop_after = span(asked.deadline.as_deref())?;
            let done = azmend::resume(&azure, &journal, &asked.run, stop_after, &mut confirm, watch).await;
            journal.close().await;
            let done = done?;
            json(done.exit_code, &done)
        }
        Operation::Undo(asked) => {
            // What was changed is undone wherever its journal is: that is never less safe than leaving it (S6).
            let (azure, journal) = (asked.here.azure()?, asked.here.journal(false).await?);
            let mut confirm = confirm(asked.yes, interpreter)?;
            let done = azmend::undo(&azure, &journal, &asked.run, &mut confirm, watch).await;
            journal.close().await;
            let done = done?;
            json(done.exit_code, &done)
        }
        Operation::Audit(asked) => audit(*asked, watch).await,
        Operation::Diagnose(asked) => {
            let azure = asked.here.azure()?;
            let options = DiagnoseOptions {
                subscriptions: asked.here.subscriptions(),
                vm: asked.vm,
                code: asked.code,
                job: asked.job,
                network: asked.network,
                locks: asked.locks,
                allow_guest: asked.allow_guest,
                playbooks: asked.playbooks,
            };
            let found = azmend::diagnose(&azure, &options, watch).await?;
            json(found.exit_code, &found)
        }
        Operation::Explain(asked) => {
            let library = asked.playbooks.as_deref().map_or_else(Library::shipped, Library::with_directory);
            json(0, &azmend::explain(&asked.text, Lang::of_locale(&asked.lang), &library, "azmend")?)
        }
        Operation::Runs(asked) => {
            let journal = asked.here.journal(false).await?;
            json(0, &azmend::runs(&journal).await?)
        }
    }
}

async fn fix(asked: Fix, interpreter: &Interpreter, watch: &Watch) -> Done {
    let options = FixOptions {
        subscriptions: asked.here.subscriptions(),
        playbook: asked.playbook,
        vm: asked.vm,
        set: asked.set,
        dry_run: asked.dry_run,
        relock: asked.relock,
        allow_guest: asked.allow_guest,
        max_changes: asked.max_changes,
        deadline: span(asked.deadline.as_deref())?,
        playbooks: asked.playbooks,
        overrides: asked.r#override.iter().map(|name| rule(name)).collect::<Result<_, _>>()?,
        locks: asked.lock.iter().map(|id| lock(id)).collect::<Result<_, _>>()?,
        loop_guard: guard(asked.loop_guard.as_deref())?,
        alert: None,
    };
    if asked.dry_run {
        // What earlier runs did counts where there is a journal; none is made.
        let azure = asked.here.azure()?;
        let journal = asked.here.journal(false).await.ok();
        let proposal = azmend::plan(&azure, journal.as_ref(), &options, watch).await?;
        let result = proposal.result(&options)?;
        return json(result.exit_code, &result);
    }
    let mut confirm = confirm(asked.yes, interpreter)?;
    let (azure, journal) = asked.here.to_change().await?;
    let done = azmend::fix(&azure, &journal, &options, &mut confirm, watch).await;
    journal.close().await;
    let done = done?;
    json(done.exit_code, &done)
}

async fn audit(asked: AuditAsked, watch: &Watch) -> Done {
    let azure = asked.here.azure()?;
    let wide = asked.whole_tenant.is_some() || !asked.management_group.is_empty();
    let options = AuditOptions {
        subscriptions: if wide { Vec::new() } else { asked.here.subscriptions() },
        tenant: asked.whole_tenant,
        management_groups: asked.management_group,
        resource_group: asked.resource_group,
        tags: asked.tag,
        vault: asked.vault,
        playbooks: asked.playbooks,
        rules: asked.playbook,
        codes: asked.code,
        min: asked.min_severity,
        fail_on: asked.fail_on,
        plans: asked.plans,
        baseline: asked.baseline,
        collector: match asked.collector.as_str() {
            "auto" => None,
            "graph" => Some(Collector::Graph),
            "arm" => Some(Collector::Arm),
            other => return Err(Error::input(format!("collector {other:?}: use auto, graph or arm")).code("usage")),
        },
        thorough: asked.thorough,
    };
    let found = azmend::audit(&azure, &options, watch).await?;
    json(found.exit_code, &found)
}

fn json(code: u8, value: &impl Serialize) -> Done {
    let text =
        serde_json::to_string(value).map_err(|error| Error::io(format!("the result cannot be written: {error}")))?;
    Ok((code, text))
}

/// Who confirms. That no one would is found out before anything is read.
fn confirm(yes: bool, interpreter: &Interpreter) -> Result<impl FnMut(&Plan) -> bool + Send, Error> {
    if !yes && !interpreter.can_confirm() {
        return Err(Error::refused("not confirmed: neither yes nor confirm was given; nothing was changed")
            .code("not_confirmed")
            .hint("look at the plan with dry_run=True, then pass yes=True, or confirm=a function that gets the plan"));
    }
    Ok(move |plan: &Plan| yes || interpreter.confirmed(plan))
}

fn span(text: Option<&str>) -> Result<Option<Span>, Error> {
    text.map(str::parse::<Span>).transpose().map_err(|error| Error::input(format!("deadline: {error}")).code("usage"))
}

/// `3/7d`; `off` for no limit.
fn guard(text: Option<&str>) -> Result<Option<LoopGuard>, Error> {
    match text {
        None => Ok(Some(LoopGuard::default())),
        Some("off") => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|error| Error::input(format!("loop_guard: {error}")).code("usage"))
        }
    }
}

fn rule(name: &str) -> Result<Override, Error> {
    Override::parse(name).ok_or_else(|| {
        let names: Vec<&str> = Override::ALL.iter().map(|rule| rule.name()).collect();
        Error::input(format!("override {name:?} is not a rule: use {}", names.join(", "))).code("usage")
    })
}

fn lock(id: &str) -> Result<ResourceId, Error> {
    let wrong = || Error::input(format!("{id:?} is not the id of a lock")).code("bad_name");
    ResourceId::parse(id).ok().filter(|id| id.is_type("Microsoft.Authorization/locks")).ok_or_else(wrong)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Here {
    /// Whether this is the embedded Azure.
    pub const fn is_sandbox(&self) -> bool {
        self.sandbox.is_some()
    }

    /// The place that was named for journals and sandboxes, by keyword or by variable.
    fn named_state(&self) -> Option<String> {
        self.state.clone().or_else(|| environment("AZMEND_STATE")).or_else(|| environment("AZMEND_STATE_DIR"))
    }

    /// The directory of sandboxes' worlds, and of the runs where no storage account is named.
    fn directory(&self) -> Result<PathBuf, Error> {
        match self.named_state() {
            Some(place) if !BlobPlace::is_meant(&place) => Ok(PathBuf::from(place)),
            _ => azmend::default_state_dir(&|name| std::env::var_os(name))
                .map_err(|error| Error { hints: vec!["name one with state=... or AZMEND_STATE".to_owned()], ..error }),
        }
    }

    /// The journal; `create` makes a directory that is missing, and makes sure that a storage account can be written to.
    async fn journal(&self, create: bool) -> Result<Journal, Error> {
        let Some(place) = self.named_state().filter(|place| BlobPlace::is_meant(place)) else {
            return Ok(Journal::in_dir(&self.directory()?, create)?);
        };
        let endpoint = self.blob_endpoint.clone().or_else(|| environment("AZMEND_BLOB_ENDPOINT"));
        let azure = self.azure_settings()?;
        let journal = BlobSettings::beside(&place, endpoint.as_deref(), &azure)?.open(&environment)?;
        if create {
            journal.check().await?;
        }
        Ok(journal)
    }

    /// An Azure and a journal for a call that changes something: only where the journal is not lost (S2).
    async fn to_change(&self) -> Result<(Azure, Journal), Error> {
        if !self.is_sandbox() {
            let named = self.named_state();
            azmend::check_durable(named.as_deref(), self.durable_state, &environment)?;
        }
        let journal = self.journal(true).await?;
        Ok((self.azure()?, journal))
    }

    fn azure(&self) -> Result<Azure, Error> {
        let mut azure = match &self.sandbox {
            None => Azure::connect(&self.azure_settings()?, &environment)?,
            Some(estate) => {
                let source = match estate.as_str() {
                    "" | "built-in" => EstateSource::BuiltIn,
                    file => EstateSource::File(PathBuf::from(file)),
                };
                Azure::sandbox(source, &self.directory()?)?
            }
        };
        if let Some(place) = self.named_state().filter(|place| BlobPlace::is_meant(place)) {
            azure.set_program(format!("{} --state {}", azure.program(), shell_quote(&place)));
        }
        Ok(azure)
    }

    fn azure_settings(&self) -> Result<AzureSettings, Error> {
        AzureSettings::from_variables(&|name| {
            let given = match name {
                "AZMEND_CLOUD" => &self.cloud,
                "AZMEND_AUTH" => &self.auth,
                "AZMEND_ARM_ENDPOINT" => &self.arm_endpoint,
                "AZMEND_TENANT" => &self.tenant,
                "AZMEND_CLIENT_ID" => &self.client_id,
                _ => &None,
            };
            given.clone().or_else(|| environment(name))
        })
    }

    fn subscriptions(&self) -> Vec<String> {
        if !self.subscription.is_empty() {
            return self.subscription.clone();
        }
        if let Some(list) = environment("AZMEND_SUBSCRIPTION") {
            return list.split(';').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect();
        }
        if self.is_sandbox() { Vec::new() } else { environment("AZURE_SUBSCRIPTION_ID").into_iter().collect() }
    }
}
