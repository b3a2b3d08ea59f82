//! The Azure that a command works on: the real one or the embedded one, behind the same typed calls.
//!
//! Invariants: whatever only looks goes through the read-only guard (S1); the sandbox's world is kept in a file only from the
//! moment something may be changed or waited for, and from then on every command leaves it at the time at which it ends; a
//! token is never sent anywhere but to the configured endpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use url::Url;

use super::error::{Error, Kind};
use super::files;
use super::place::{AzureSettings, EstateSource, Here, Place, Served, Variables};
use crate::arm::claims::Claims;
use crate::arm::id::{IdError, check_name};
use crate::arm::{
    Arm, ArmSettings, ReadOnly, ReadPost, Request, ResourceId, Response, SignIn, SignInError, StaticToken, TokenSource,
    Transport, TransportError, Wire, token_scope, token_source,
};
use crate::clock::{Clock, SystemClock};
use crate::engine::doctor::SignInReport;
use crate::engine::plan::World;
use crate::facts::guest;
use crate::facts::inventory::Visible;
use crate::facts::resolve::{resolve_subscriptions, resolve_vm};
use crate::journal::{FileLock, LockKey, StateDir};
use crate::sim::{self, Estate, Paced, Sim};
use crate::text::io_words;

/// The endpoint of the embedded Azure: a name that cannot exist (RFC 2606), so that nothing can ever leave for it.
const SANDBOX_ENDPOINT: &str = "https://management.sandbox.invalid/";

/// The world of a sandbox and its place.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The embedded Azure.
    pub sim: Sim,
    /// The directory of its world: `<state>/sandbox/<name>-<digest>`.
    pub dir: PathBuf,
    /// The digest of the estate.
    pub digest: String,
    /// The directory that its world is kept below.
    pub home: PathBuf,
    tenant: String,
}

/// An Azure to work on.
#[derive(Debug)]
pub struct Azure {
    transport: Arc<dyn Transport>,
    tokens: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    endpoint: Url,
    cloud: String,
    tenant: String,
    /// `azmend`, with the options that the next command needs to be in this world.
    program: String,
    /// The sandbox of this process, if it is one.
    pub sandbox: Option<Sandbox>,
    served: Served,
    /// Keeps the sandbox's time when the command ends.
    _closing: Option<Closing>,
}

/// Gets what is to be said at once, whatever is being done.
pub type Say = dyn Fn(&str) + Send + Sync;

/// How an Azure is opened.
pub struct Opening<'o> {
    /// Which.
    pub place: &'o Place,
    /// The directory that the worlds of sandboxes are kept below.
    pub state_dir: &'o Path,
    /// How many of the sandbox's seconds pass in a real one; waits take no time without it.
    pub speed: Option<u32>,
    /// Where it is noted that the endpoint is a served sandbox.
    pub served: &'o Served,
    /// Is told so once.
    pub say: Arc<Say>,
}

/// Keeps a world as it is when this is dropped.
#[derive(Debug)]
struct Closing(Sim);

impl Drop for Closing {
    fn drop(&mut self) {
        let before = self.0.save_error();
        self.0.close();
        // What was reported before is known already; after the result only the log is left.
        if let Some(error) = self.0.save_error().filter(|error| before.as_ref() != Some(error)) {
            tracing::warn!("{error}");
        }
    }
}

/// A shared transport as a transport, for decorators.
#[derive(Debug)]
struct Shared(Arc<dyn Transport>);

#[async_trait]
impl Transport for Shared {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        self.0.send(request).await
    }
}

/// Watches the answers of an endpoint on this machine for the mark of a served sandbox, and says so once (S13).
struct Watched {
    inner: Arc<dyn Transport>,
    served: Served,
    say: Arc<Say>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("inner", &self.inner).field("served", &self.served).finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for Watched {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let answer = self.inner.send(request).await?;
        if let Some(digest) = answer.header(sim::SERVED_HEADER)
            && request.url.scheme() == "http"
            && self.served.found(digest)
        {
            (self.say)("sandbox: the endpoint is a served sandbox, nothing real is touched");
        }
        Ok(answer)
    }
}

impl Azure {
    /// The Azure that the environment names: the cloud and the identity as [`AzureSettings::from_variables`] reads them.
    ///
    /// # Errors
    /// When a variable has a value that cannot be, or the way to sign in lacks a setting.
    pub fn from_env() -> Result<Self, Error> {
        Self::connect(&AzureSettings::from_variables(&variable)?, &variable)
    }

    /// The embedded Azure with the estate that comes with azmend, or another. Its world is kept below `dir` as soon as
    /// something is changed; waits take no time in it.
    ///
    /// # Errors
    /// When the estate or the kept world cannot be read.
    pub fn sandbox(estate: EstateSource, dir: &Path) -> Result<Self, Error> {
        let place = Place::Sandbox(estate);
        Self::open(&Opening {
            place: &place,
            state_dir: dir,
            speed: None,
            served: &Served::default(),
            say: Arc::new(|_| {}),
        })
    }

    /// Gets ready to work; nothing is sent yet. A secret or an endpoint to sign in with comes from the process's environment.
    ///
    /// # Errors
    /// When an estate or a sandbox's state cannot be read, or the way to sign in lacks a setting.
    pub fn open(opening: &Opening<'_>) -> Result<Self, Error> {
        let program = opening.place.program();
        match opening.place {
            Place::Sandbox(source) => {
                let sandbox = Sandbox::open(source, opening.state_dir)?;
                let closing = Closing(sandbox.sim.clone());
                Ok(Self { _closing: Some(closing), ..Self::embedded(sandbox, opening.speed, program)? })
            }
            Place::Azure(azure) => {
                let watched = Watched { inner: network()?, served: opening.served.clone(), say: opening.say.clone() };
                Self::real(azure, &variable, watched)
            }
        }
    }

    /// A fresh embedded Azure of an estate: no kept world is read, and nothing of this one is ever kept.
    ///
    /// # Errors
    /// When the estate cannot be read.
    pub fn rehearsal(source: &EstateSource) -> Result<Self, Error> {
        let fresh = sim::World::from_estate(&estate(source, None)?);
        let (digest, tenant) = (fresh.estate_digest.clone(), fresh.tenant.clone());
        let sandbox = Sandbox { sim: Sim::new(fresh), dir: PathBuf::new(), digest, home: PathBuf::new(), tenant };
        Self::embedded(sandbox, None, Place::Sandbox(source.clone()).program())
    }

    fn embedded(sandbox: Sandbox, speed: Option<u32>, program: String) -> Result<Self, Error> {
        let sim = sandbox.sim.clone();
        let paced = match speed {
            None => Paced::at_once(sim),
            Some(speed) => Paced::at(sim, speed, Arc::new(SystemClock)),
        };
        Ok(Self {
            transport: Arc::new(paced.clone()),
            tokens: Arc::new(StaticToken::new("sandbox", "sandbox")),
            clock: Arc::new(paced),
            endpoint: SANDBOX_ENDPOINT.parse().map_err(|_| bug("the sandbox has no endpoint"))?,
            cloud: "sandbox".to_owned(),
            tenant: sandbox.tenant.clone(),
            program,
            sandbox: Some(sandbox),
            served: Served::default(),
            _closing: None,
        })
    }

    /// A real Azure; nothing is sent yet. What signing in needs beyond the settings, a secret or a token file, is asked of
    /// `variables`; a managed identity's endpoint is found by its library, which reads the process's environment.
    ///
    /// # Errors
    /// When the way to sign in lacks a setting.
    pub fn connect(azure: &AzureSettings, variables: Variables<'_>) -> Result<Self, Error> {
        let say: Arc<Say> = Arc::new(|text| tracing::info!("{text}"));
        Self::real(azure, variables, Watched { inner: network()?, served: Served::default(), say })
    }

    fn real(azure: &AzureSettings, variables: Variables<'_>, watched: Watched) -> Result<Self, Error> {
        let served = watched.served.clone();
        let wire: Arc<dyn Transport> = if azure.may_be_served() { Arc::new(watched) } else { watched.inner };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sign_in = SignIn {
            auth: azure.auth,
            tenant: azure.tenant.clone(),
            client_id: azure.client_id.clone(),
            cloud: azure.cloud,
            scope: token_scope(&azure.endpoint),
        };
        let tokens = token_source(&sign_in, variables, wire.clone(), clock.clone())?;
        Ok(Self {
            transport: wire,
            tokens,
            clock,
            endpoint: azure.endpoint.clone(),
            cloud: azure.cloud.name().to_owned(),
            tenant: azure.tenant.clone().unwrap_or_default(),
            program: "azmend".to_owned(),
            sandbox: None,
            served,
            _closing: None,
        })
    }

    /// How the next command in this world starts: `azmend --sandbox`.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Other words for it: with the option that names the journal, say.
    pub fn set_program(&mut self, program: String) {
        self.program = program;
    }

    /// What is known of where this is.
    #[must_use]
    pub fn here(&self) -> Here {
        Here { sandbox: self.is_sandbox(), may_be_served: self.sandbox.is_none() && self.endpoint.scheme() == "http" }
    }

    /// Whether this is the embedded Azure, in this process or served by another; the latter is known after the first answer.
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        self.sandbox.is_some() || self.served.digest().is_some()
    }

    /// The digest of the sandbox's estate; empty elsewhere.
    #[must_use]
    pub fn estate_digest(&self) -> String {
        match &self.sandbox {
            Some(sandbox) => sandbox.digest.clone(),
            None => self.served.digest().unwrap_or_default().to_owned(),
        }
    }

    /// The clock of this Azure.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn arm(&self, transport: Arc<dyn Transport>, run_id: &str) -> Result<Arm, Error> {
        let settings = ArmSettings { endpoint: self.endpoint.clone(), run_id: run_id.to_owned() };
        Ok(Arm::new(transport, self.tokens.clone(), self.clock.clone(), settings)?)
    }

    /// Calls that can only read.
    ///
    /// # Errors
    /// When the endpoint is not acceptable.
    pub fn reader(&self) -> Result<Arm, Error> {
        self.reader_with(&[])
    }

    /// The same for a command that needs more POSTs that only read (S1 names them per command).
    ///
    /// # Errors
    /// As [`Self::reader`].
    pub fn reader_with(&self, more: &[ReadPost]) -> Result<Arm, Error> {
        self.reader_within(more, false)
    }

    /// The same, and inside a VM too when that is allowed: then the scripts that only read may run.
    ///
    /// # Errors
    /// As [`Self::reader`].
    pub fn reader_within(&self, more: &[ReadPost], allow_guest: bool) -> Result<Arm, Error> {
        let allowed = [&[ReadPost::BackupStatus], more].concat();
        let guard = ReadOnly::new(Shared(self.transport.clone()), &allowed);
        let guard = if allow_guest { guard.with_scripts(guest::PROBES) } else { guard };
        self.arm(Arc::new(guard), "read-only")
    }

    /// Calls that can change something, for one run. From here on a sandbox's world is kept.
    ///
    /// # Errors
    /// When the sandbox's state cannot be written.
    pub fn writer(&self, run_id: &str) -> Result<Arm, Error> {
        self.keep()?;
        self.arm(self.transport.clone(), run_id)
    }

    /// From here on a sandbox's world is kept, its time included; nothing happens in Azure. For commands that may change
    /// something, also when they end without: the next one goes on where they ended.
    ///
    /// # Errors
    /// When the sandbox's state cannot be written.
    pub fn keep(&self) -> Result<(), Error> {
        self.sandbox.as_ref().map_or(Ok(()), Sandbox::keep)
    }

    /// Signs in, before anything is asked: a problem here deserves its own message.
    ///
    /// # Errors
    /// When no token can be had.
    pub async fn sign_in(&self) -> Result<(), Error> {
        self.tokens.token().await.map(drop).map_err(Error::from)
    }

    /// Signs in and says as whom. The token itself stays here.
    ///
    /// # Errors
    /// Every way that was tried, with the reason.
    pub async fn who(&self) -> Result<(SignInReport, Option<Claims>), SignInError> {
        let claims = Claims::of(&self.tokens.token().await?);
        Ok((SignInReport { way: Some(self.tokens.describe()), tried: self.tokens.passed_over() }, claims))
    }

    /// Name of the cloud, and the ARM endpoint.
    #[must_use]
    pub fn place(&self) -> (&str, &Url) {
        (&self.cloud, &self.endpoint)
    }

    /// Checks what the user typed before anything is sent, signing in included (S11).
    ///
    /// # Errors
    /// When a text cannot be a name or an id.
    pub fn check_names(vm: &str, subscriptions: &[String]) -> Result<(), Error> {
        Self::check_subscriptions(subscriptions)?;
        let bad = |error: IdError| Error::input(error.to_string()).code("bad_name");
        let hint = |error: IdError| bad(error).hint("--vm takes a name, group/name or a resource id");
        if vm.starts_with('/') || vm.to_ascii_lowercase().starts_with("subscriptions/") {
            return ResourceId::parse(vm).map(drop).map_err(hint);
        }
        // No VM and no group has these (Azure's naming rules for Microsoft.Compute and Microsoft.Resources); vault items do.
        if let Some(c) = vm.chars().find(|c| ";:\\|<>?*&%#\"'".contains(*c)) {
            let why = format!("a VM cannot have {c:?} in its name");
            return Err(Error::input(why).code("bad_name").hint("--vm takes a name, group/name or a resource id"));
        }
        let (group, name) = vm.split_once('/').map_or((None, vm), |(group, name)| (Some(group), name));
        if let Some(group) = group {
            check_name("resource group", group).map_err(hint)?;
        }
        check_name("VM", name).map_err(hint)
    }

    /// Refuses subscription names that cannot be.
    ///
    /// # Errors
    /// When a text cannot be a name.
    pub fn check_subscriptions(subscriptions: &[String]) -> Result<(), Error> {
        let bad = |error: IdError| Error::input(error.to_string()).code("bad_name");
        subscriptions.iter().try_for_each(|name| check_name("subscription", name).map_err(bad))
    }

    /// Signs in and finds these subscriptions; all of them when none is named.
    ///
    /// # Errors
    /// No sign-in, Azure does not answer, none is visible, or a named one does not exist.
    pub async fn visible(&self, arm: &Arm, named: &[String]) -> Result<Visible, Error> {
        self.sign_in().await?;
        let listed = arm.subscriptions().await?;
        if listed.items.is_empty() && listed.malformed.is_empty() {
            return Err(Error::new(
                Kind::Permission,
                "no subscription is visible to this identity: it has no role assignment, or it is signed in to another tenant",
            )
            .code("no_subscription"));
        }
        let chosen = if named.is_empty() { listed.items.clone() } else { resolve_subscriptions(arm, named).await? };
        Ok(Visible { all: listed.items, chosen, malformed: listed.malformed.into_lines() })
    }

    /// The VM that the user means.
    ///
    /// # Errors
    /// Not found, ambiguous, not listable; when Azure itself does not answer, that is what is said.
    pub async fn find_vm(&self, arm: &Arm, text: &str, subscriptions: &[String]) -> Result<ResourceId, Error> {
        match resolve_vm(arm, text, subscriptions).await {
            Ok(id) => Ok(id),
            Err(error) => {
                let error = Error::from(error);
                // A list that failed may be the network's fault: then it is not the name that is wrong.
                if error.code == "not_listed"
                    && let Err(cause) = arm.subscriptions().await
                {
                    let cause = Error::from(cause);
                    if matches!(cause.kind, Kind::SignIn | Kind::ComeBack) {
                        return Err(cause);
                    }
                }
                Err(error)
            }
        }
    }

    /// Where a plan for this subscription is valid (S13).
    pub async fn world(&self, arm: &Arm, subscription: &str) -> World {
        let (tenant, name) = match &self.sandbox {
            Some(sandbox) => {
                let world = sandbox.sim.world();
                let named = world.subscriptions.iter().find(|one| one.id.eq_ignore_ascii_case(subscription));
                (self.tenant.clone(), named.map(|one| one.name.clone()).unwrap_or_default())
            }
            None => {
                let found = arm.subscription(subscription).await.map(|one| (one.tenant, one.name)).unwrap_or_default();
                if found.0.is_empty() { (self.tenant.clone(), found.1) } else { found }
            }
        };
        World {
            sandbox: self.is_sandbox(),
            cloud: self.cloud.clone(),
            endpoint: self.endpoint.to_string(),
            tenant,
            subscription: subscription.to_lowercase(),
            subscription_name: name,
            identity: self.tokens.describe(),
            estate_digest: self.estate_digest(),
        }
    }
}

impl Sandbox {
    /// Loads the world: as it was left, else as the estate describes it.
    ///
    /// # Errors
    /// When the estate or the kept world cannot be read.
    pub fn open(source: &EstateSource, state_dir: &Path) -> Result<Self, Error> {
        Self::load(sim::World::from_estate(&estate(source, None)?), state_dir)
    }

    /// Loads the world as it was left, else as the estate describes it with its ages counted from `now`.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn open_at(source: &EstateSource, state_dir: &Path, now: Timestamp) -> Result<Self, Error> {
        Self::load(sim::World::from_estate(&estate(source, Some(now))?), state_dir)
    }

    fn load(fresh: sim::World, state_dir: &Path) -> Result<Self, Error> {
        let dir = place(&fresh, state_dir);
        let digest = fresh.estate_digest.clone();
        let home = state_dir.to_path_buf();
        let (state_dir, key) = (home.clone(), key(&dir));
        let busy = move || {
            StateDir::open(&state_dir, false)
                .and_then(|state| FileLock::holder(&state, &key))
                .is_ok_and(|h| h.is_some())
        };
        let sim = Sim::open(dir.join("world.json"), fresh, Box::new(busy)).map_err(unusable)?;
        let tenant = sim.world().tenant;
        Ok(Self { sim, dir, digest, home, tenant })
    }

    /// Keeps the world in its file from now on. The caller keeps other processes from doing the same ([`Sandbox::key`]).
    ///
    /// # Errors
    /// When the file cannot be written, or another process has left one that cannot be read.
    pub fn keep(&self) -> Result<(), Error> {
        files::private_dir(&self.dir)?;
        self.sim.keep().map_err(unusable)?;
        match self.sim.save_error() {
            None => Ok(()),
            Some(error) => Err(Error::not_written(error)),
        }
    }

    /// What a process that changes this world holds.
    #[must_use]
    pub fn key(&self) -> LockKey {
        key(&self.dir)
    }

    /// The directory of the world of an estate, and the estate's digest; the kept world is not read.
    ///
    /// # Errors
    /// When the estate cannot be read.
    pub fn place(source: &EstateSource, state_dir: &Path) -> Result<(PathBuf, String), Error> {
        let fresh = sim::World::from_estate(&estate(source, None)?);
        Ok((place(&fresh, state_dir), fresh.estate_digest))
    }

    /// Deletes a kept world. False when there was none.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn forget(dir: &Path) -> Result<bool, Error> {
        match std::fs::remove_dir_all(dir) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(format!("cannot remove {}: {}", dir.display(), io_words(&error)))),
        }
    }
}

/// The network.
fn network() -> Result<Arc<dyn Transport>, Error> {
    Ok(Arc::new(Wire::new().map_err(|error| Error::input(error.to_string()).code("tls"))?))
}

/// A variable of this process.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn key(dir: &Path) -> LockKey {
    LockKey::scope(&format!("the sandbox {}", dir.display()))
}

fn unusable(error: sim::LoadError) -> Error {
    Error::io(error.to_string()).hint("reset the sandbox with: azmend sandbox reset")
}

fn place(world: &sim::World, state_dir: &Path) -> PathBuf {
    state_dir.join("sandbox").join(directory_name(&world.name, &world.estate_digest))
}

/// The estate of a source, at its own time or at `now`.
fn estate(source: &EstateSource, now: Option<Timestamp>) -> Result<Estate, Error> {
    let (text, file) = match source {
        EstateSource::BuiltIn => (Estate::built_in_text().to_owned(), Path::new("built-in.yaml")),
        EstateSource::File(file) => {
            let text = files::read_text(file, sim::MAX_BYTES as u64)
                .map_err(|error| error.hint("`azmend sandbox init FILE` writes an estate to start from"))?;
            (text, file.as_path())
        }
    };
    let name = file.display().to_string();
    let parsed = match now {
        None => Estate::parse(&text, &name),
        Some(now) => Estate::parse_at(&text, &name, now),
    };
    parsed.map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
        let shown = lines.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        let more = if lines.len() > 20 { format!("\n  and {} more", lines.len() - 20) } else { String::new() };
        Error::input(format!("{} is not a valid estate:\n{shown}{more}", file.display())).code("estate")
    })
}

/// A directory's name from an estate's: the estate is the user's text, the name must be harmless.
fn directory_name(name: &str, digest: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).take(40).collect();
    format!("{}-{}", if plain.is_empty() { "estate" } else { &plain }, digest.get(..8).unwrap_or(digest))
}

fn bug(message: &str) -> Error {
    Error::new(Kind::Bug, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estates_name_cannot_leave_the_directory() {
        assert_eq!(directory_name("../../etc", "0123456789"), "------etc-01234567");
        assert_eq!(directory_name("", "0123456789"), "estate-01234567");
        assert_eq!(directory_name("Contoso", "abc"), "contoso-abc");
    }

    #[test]
    fn hostile_names_are_refused_before_anything_is_sent() {
        let huge = "x".repeat(5000);
        for vm in
            ["", "../x", "a/../b", "a%2Fb", "a;b", "a\u{1b}[2J", "a/b/c", "/subscriptions/x", "аbc\u{202e}", &huge]
        {
            let error = Azure::check_names(vm, &[]).unwrap_err();
            assert_eq!((error.exit_code(), error.code.as_str()), (2, "bad_name"), "{vm}");
        }
        for vm in ["web-01", "rg-shop/web-01"] {
            assert!(Azure::check_names(vm, &["Contoso Production".into()]).is_ok());
        }
        assert!(Azure::check_names("web-01", &["a/b".into()]).is_err());
    }

    #[test]
    fn a_bad_estate_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("e.yaml");
        std::fs::write(&file, "apiVersion: azmend/estate/v1\nnam: x\n").unwrap();
        let error = Sandbox::open(&EstateSource::File(file), dir.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.message.contains("e.yaml:2:"), "{error}");
    }

    #[tokio::test]
    async fn looking_keeps_nothing_and_changing_does() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::open(&EstateSource::BuiltIn, dir.path()).unwrap();
        assert!(!sandbox.dir.exists());
        sandbox.keep().unwrap();
        assert!(sandbox.dir.join("world.json").exists());
        assert!(Sandbox::forget(&sandbox.dir).unwrap());
        assert!(!Sandbox::forget(&sandbox.dir).unwrap());
    }
}
