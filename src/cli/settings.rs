//! What was meant: resolved settings. No command looks at the command line or at the environment again.
//!
//! Duty: defaults that depend on the machine, Azure's own variables, checks between options. The sandbox takes nothing
//! from Azure's variables: a machine that is set up for production must not change what a rehearsal does, and the other
//! way round.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::args::{AuthArg, CloudArg, ColorArg, Global, LogFormatArg, OutputArg};
use super::error::CliError;
use super::places::state_dir;
pub use super::places::{Environment, environment};
use super::query::Query;
use crate::api::journal::BlobSettings;
pub use crate::api::place::{AzureSettings, EstateSource, Here, Place, Served};
use crate::arm::{Auth, Cloud, SignIn};
use crate::engine::blob_state::BlobPlace;

/// Format of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Table,
    /// One object.
    Json,
    /// The same object as YAML.
    Yaml,
    /// One object per line.
    Jsonl,
    /// Comma-separated values.
    Csv,
    /// Markdown.
    Markdown,
    /// A page.
    Html,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit's test results.
    Junit,
}

/// Everything a command needs to know of how it was called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where.
    pub place: Place,
    /// Whether the endpoint is a served sandbox, as far as it is known.
    pub served: Served,
    /// How many of the sandbox's seconds pass in a real one; waits take no time without it.
    pub speed: Option<u32>,
    /// Subscriptions to look in, ids or names; empty for all.
    pub subscriptions: Vec<String>,
    /// Whether the subscriptions were typed, and not found in the environment.
    pub subscriptions_typed: bool,
    /// Whether the subscriptions were named for azmend, by the option or its own variable: the one of Azure's tools may have been
    /// set for another purpose.
    pub subscriptions_named: bool,
    /// `--tenant` as it was typed: the whole of this tenant, `""` for the one that is signed in to.
    pub whole_tenant: Option<String>,
    /// Format of stdout.
    pub output: Output,
    /// Which part of a result is wanted.
    pub query: Option<Query>,
    /// No progress.
    pub quiet: bool,
    /// Colours.
    pub color: anstream::ColorChoice,
    /// The log filter.
    pub log_level: String,
    /// The log as JSON.
    pub log_json: bool,
    /// The state directory: of the runs, unless they are in a storage account, and of the sandboxes' worlds.
    pub state_dir: PathBuf,
    /// The storage account in which runs are kept.
    pub blobs: Option<BlobSettings>,
    /// `--state` as it was typed.
    pub state_typed: Option<String>,
    /// Whether it cannot be told who may read the state directory, and nothing speaks for its being private.
    pub state_dir_unchecked: bool,
}

impl Settings {
    /// Resolves what was typed.
    ///
    /// # Errors
    /// When options contradict each other, or no state directory can be named.
    pub fn resolve(global: &Global, environment: Environment<'_>) -> Result<Self, CliError> {
        let text = |name: &str| environment(name).and_then(|value| value.into_string().ok());
        let place = match sandbox(global.sandbox.as_deref()) {
            Some(estate) => {
                if global.arm_endpoint.is_some() {
                    return Err(CliError::input("--sandbox and --arm-endpoint exclude each other"));
                }
                Place::Sandbox(estate)
            }
            None => {
                let SignIn { auth, tenant, client_id, cloud, .. } = sign_in(global, environment);
                let azure = AzureSettings::new(cloud, global.arm_endpoint.as_deref(), auth)?;
                Place::Azure(AzureSettings { tenant, client_id, ..azure })
            }
        };
        let mut subscriptions = subscriptions(global)?;
        let subscriptions_named = !subscriptions.is_empty();
        if subscriptions.is_empty() && matches!(place, Place::Azure(_)) {
            subscriptions.extend(text("AZURE_SUBSCRIPTION_ID"));
        }
        let (output, query) = wanted(global)?;
        let (state_dir, blobs) = state(global, environment, matches!(place, Place::Sandbox(_)))?;
        Ok(Self {
            state_dir_unchecked: cfg!(windows) && blobs.is_none() && !in_profile(&state_dir, environment),
            place,
            served: Served::default(),
            speed: global.speed,
            subscriptions,
            subscriptions_typed: global.typed.subscription,
            subscriptions_named,
            whole_tenant: global.tenant.clone().filter(|_| global.typed.tenant),
            output,
            query,
            quiet: global.quiet,
            color: match global.color {
                ColorArg::Auto => anstream::ColorChoice::Auto,
                ColorArg::Always => anstream::ColorChoice::Always,
                ColorArg::Never => anstream::ColorChoice::Never,
            },
            log_level: global.log_level.clone(),
            log_json: global.log_format == LogFormatArg::Json,
            state_dir,
            blobs,
            state_typed: global.place.state.clone().filter(|_| global.typed.state),
        })
    }

    /// Whether this is the embedded Azure, in this process or served by another; the latter is known after the first answer.
    #[must_use]
    pub fn sandbox(&self) -> bool {
        self.place.is_sandbox() || self.served.digest().is_some()
    }

    /// What is known of where this is.
    #[must_use]
    pub fn here(&self) -> Here {
        let may_be_served = matches!(&self.place, Place::Azure(azure) if azure.may_be_served());
        Here { sandbox: self.sandbox(), may_be_served }
    }

    /// Whether something that was made in the sandbox, or was not, is certainly not of this place.
    #[must_use]
    pub fn elsewhere(&self, sandbox: bool) -> bool {
        self.here().is_elsewhere(sandbox)
    }
}

/// The subscriptions that were named. An option or a variable that names none would mean all of them: `-s "$SUB"` must not do
/// that when `SUB` is empty. A variable that is empty as a whole counts as not set, as everywhere.
fn subscriptions(global: &Global) -> Result<Vec<String>, CliError> {
    let names: Vec<String> = global.subscription.iter().map(|name| name.trim().to_owned()).collect();
    let empty = names.iter().any(String::is_empty);
    let all_empty = names.iter().all(String::is_empty);
    if (global.typed.subscription && empty) || (!names.is_empty() && all_empty) {
        let what = if global.typed.subscription { "--subscription" } else { "AZMEND_SUBSCRIPTION" };
        return Err(CliError::input(format!("{what} names no subscription: it is empty"))
            .code("usage")
            .hint("give an id or a name; without it azmend looks in every visible subscription"));
    }
    Ok(names.into_iter().filter(|name| !name.is_empty()).collect())
}

/// The format of stdout and the part of a result that is wanted.
fn wanted(global: &Global) -> Result<(Output, Option<Query>), CliError> {
    let format = output(global.output);
    let Some(text) = &global.query else { return Ok((format, None)) };
    let query = Query::parse(text)?;
    match format {
        Output::Json | Output::Yaml | Output::Jsonl => Ok((format, Some(query))),
        Output::Table if !global.typed.output => Ok((Output::Json, Some(query))),
        _ => Err(CliError::input("--query takes a part of a result, and this format has none")
            .code("usage")
            .hint("use it with -o json, -o yaml or -o jsonl")),
    }
}

/// The format of stdout.
#[must_use]
pub const fn output(arg: OutputArg) -> Output {
    match arg {
        OutputArg::Table => Output::Table,
        OutputArg::Json => Output::Json,
        OutputArg::Yaml => Output::Yaml,
        OutputArg::Jsonl => Output::Jsonl,
        OutputArg::Csv => Output::Csv,
        OutputArg::Markdown => Output::Markdown,
        OutputArg::Html => Output::Html,
        OutputArg::Sarif => Output::Sarif,
        OutputArg::Junit => Output::Junit,
    }
}

/// `--sandbox` alone and `AZMEND_SANDBOX=1` mean the built-in estate; `AZMEND_SANDBOX=0` means none.
fn sandbox(value: Option<&str>) -> Option<EstateSource> {
    match value? {
        "0" | "false" | "no" | "off" => None,
        "" | "built-in" | "1" | "true" | "yes" | "on" => Some(EstateSource::BuiltIn),
        file => Some(EstateSource::File(PathBuf::from(file))),
    }
}

/// How to sign in, by the options and Azure's own variables.
fn sign_in(global: &Global, environment: Environment<'_>) -> SignIn {
    let text = |name: &str| environment(name).and_then(|value| value.into_string().ok());
    SignIn {
        cloud: match global.cloud {
            CloudArg::Public => Cloud::Public,
            CloudArg::Usgov => Cloud::UsGov,
            CloudArg::China => Cloud::China,
        },
        tenant: global.tenant.clone().filter(|id| !id.is_empty()).or_else(|| text("AZURE_TENANT_ID")),
        client_id: global.client_id.clone().or_else(|| text("AZURE_CLIENT_ID")),
        auth: match global.auth {
            AuthArg::Auto => Auth::Auto,
            AuthArg::Cli => Auth::Cli,
            AuthArg::ManagedIdentity => Auth::ManagedIdentity,
            AuthArg::ServicePrincipal => Auth::ServicePrincipal,
            AuthArg::Workload => Auth::WorkloadIdentity,
        },
        scope: String::new(),
    }
}

/// Where runs are kept: the state directory, and a storage account when that is meant. What is typed wins over a variable.
fn state(
    global: &Global,
    environment: Environment<'_>,
    sandbox: bool,
) -> Result<(PathBuf, Option<BlobSettings>), CliError> {
    let typed = global.typed;
    let given = global.place.state.as_deref().filter(|text| !text.is_empty());
    let dir = global.state_dir.clone();
    let (given, dir) = match (given, dir) {
        (Some(given), Some(_)) if typed.state && !typed.state_dir => (Some(given), None),
        (Some(_), Some(dir)) if typed.state_dir && !typed.state => (None, Some(dir)),
        (Some(_), Some(_)) => {
            return Err(CliError::input("--state and --state-dir exclude each other, and so do their variables")
                .code("usage")
                .hint("--state takes a directory, too"));
        }
        (given, dir) => (given, dir),
    };
    match given {
        Some(text) if BlobPlace::is_meant(text) => {
            let blobs = BlobSettings::new(text, global.place.blob_endpoint.as_deref(), sign_in(global, environment))?;
            // Only the sandbox's world is on the disk then: without a sandbox no directory is needed.
            let dir = if sandbox { state_dir(None, environment)? } else { PathBuf::new() };
            Ok((dir, Some(blobs)))
        }
        _ if typed.blob_endpoint => {
            Err(CliError::input("--blob-endpoint works only with --state azblob://...").code("usage"))
        }
        Some(path) => Ok((PathBuf::from(path), None)),
        None => Ok((state_dir(dir, environment)?, None)),
    }
}

/// Whether a directory lies in the user's profile, which Windows keeps for the user and the administrators.
fn in_profile(dir: &Path, environment: Environment<'_>) -> bool {
    let Ok(dir) = std::path::absolute(dir) else { return false };
    ["LOCALAPPDATA", "USERPROFILE"].into_iter().filter_map(environment).any(|home| {
        let home = PathBuf::from(home);
        home.is_absolute() && dir != home && dir.starts_with(&home)
    })
}

/// The format of stdout for a command line that cannot be parsed: an error is still exactly one object then.
#[must_use]
pub fn output_of_broken(words: &[OsString], environment: Environment<'_>) -> Output {
    let read = |text: &str| match text {
        "table" => Some(Output::Table),
        "json" => Some(Output::Json),
        "yaml" => Some(Output::Yaml),
        "jsonl" => Some(Output::Jsonl),
        _ => None,
    };
    let mut found = None;
    let mut words = words.iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        let value = match word.as_ref() {
            "--" => break,
            "-o" | "--output" => words.next().map(std::borrow::Cow::into_owned),
            word => word
                .strip_prefix("--output=")
                .or_else(|| word.strip_prefix("-o=").or_else(|| word.strip_prefix("-o")))
                .map(str::to_owned),
        };
        found = value.and_then(|value| read(&value)).or(found);
    }
    found
        .or_else(|| environment("AZMEND_OUTPUT").and_then(|value| read(&value.to_string_lossy())))
        .unwrap_or(Output::Table)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::Args;

    fn resolve(words: &[&str], env: &[(&str, &str)]) -> Result<Settings, CliError> {
        let words = ["azmend"].iter().chain(words).chain(&["sandbox", "list"]);
        let args = Args::try_parse_from(words).unwrap();
        Settings::resolve(&args.global, &|name| lookup(env, name))
    }

    fn lookup(env: &[(&str, &str)], name: &str) -> Option<OsString> {
        env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn the_state_directory_follows_the_machine() {
        let dir = |words: &[&str], env: &[(&str, &str)]| resolve(words, env).map(|s| s.state_dir);
        assert_eq!(dir(&["--state-dir", "x"], &[]).unwrap(), PathBuf::from("x"));
        if cfg!(unix) {
            let home = [("HOME", "/h"), ("XDG_STATE_HOME", "/s")];
            assert_eq!(dir(&[], &home).unwrap(), PathBuf::from("/s/azmend"));
            assert_eq!(dir(&[], &home[..1]).unwrap(), PathBuf::from("/h/.local/state/azmend"));
            let relative = [("HOME", "/h"), ("XDG_STATE_HOME", "s")];
            assert_eq!(dir(&[], &relative).unwrap(), PathBuf::from("/h/.local/state/azmend"));
        }
        assert_eq!(dir(&[], &[]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn state_is_a_directory_or_a_storage_account_and_never_both() {
        let home = [("HOME", "/h"), ("LOCALAPPDATA", "/h")];
        let path = resolve(&["--state", "x"], &home).unwrap();
        assert!(path.state_dir == Path::new("x") && path.blobs.is_none());
        assert_eq!(resolve(&["--state", "x", "--state-dir", "y"], &home).unwrap_err().exit_code(), 2);
        let blob = "azblob://contoso/state/team";
        // No home is needed, but by the sandbox for its world.
        let settings = resolve(&["--state", blob, "--cloud", "usgov"], &[("AZURE_CLIENT_ID", "c")]).unwrap();
        let blobs = settings.blobs.unwrap();
        assert_eq!(blobs.place.to_string(), blob);
        assert_eq!(blobs.endpoint.as_str(), "https://contoso.blob.core.usgovcloudapi.net/");
        assert_eq!(blobs.sign_in.client_id.as_deref(), Some("c"));
        assert_eq!(settings.state_typed.as_deref(), None, "only the command line knows what was typed");
        assert!(resolve(&["--sandbox", "--state", blob], &[]).is_err());
        assert!(resolve(&["--sandbox", "--state", blob], &home).unwrap().blobs.is_some());
        for bad in
            [vec!["--state", "azblob://contoso"], vec!["--state", blob, "--blob-endpoint", "http://127.0.0.1:1/a"]]
        {
            assert_eq!(resolve(&bad, &home).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }

    #[test]
    fn a_directory_in_the_profile_is_taken_for_private() {
        let home = std::env::temp_dir().join("profile");
        let text = home.to_str().unwrap();
        let env = [("USERPROFILE", text)];
        let inside = |dir: &Path| in_profile(dir, &|name| lookup(&env, name));
        assert!(inside(&home.join("AppData/Local/azmend")));
        assert!(!inside(&home), "the profile itself is no place for a state directory");
        assert!(!inside(&std::env::temp_dir().join("profile-of-somebody-else/azmend")));
        assert!(!in_profile(&home.join("azmend"), &|_| None));
    }

    #[test]
    fn azures_variables_count_outside_the_sandbox_alone() {
        let env = [("HOME", "/h"), ("LOCALAPPDATA", "/h"), ("AZURE_SUBSCRIPTION_ID", "s"), ("AZURE_TENANT_ID", "t")];
        let azure = resolve(&[], &env).unwrap();
        assert_eq!(azure.subscriptions, ["s"]);
        let Place::Azure(place) = &azure.place else { panic!("not Azure") };
        assert_eq!(place.tenant.as_deref(), Some("t"));
        assert_eq!(resolve(&["-s", "other"], &env).unwrap().subscriptions, ["other"]);
        let sandbox = resolve(&["--sandbox"], &env).unwrap();
        assert!(sandbox.sandbox() && sandbox.subscriptions.is_empty());
    }

    fn named(words: &[&str], typed: bool) -> Result<Settings, CliError> {
        let all = ["azmend"].iter().chain(words).chain(&["sandbox", "list"]);
        let mut args = Args::try_parse_from(all).unwrap();
        args.global.typed.subscription = typed;
        Settings::resolve(&args.global, &|name| lookup(&[("HOME", "/h"), ("LOCALAPPDATA", "/h")], name))
    }

    #[test]
    fn an_empty_subscription_is_not_every_subscription() {
        for wrong in [&["-s", ""][..], &["-s", " "], &["-s", "a", "-s", ""]] {
            assert_eq!(named(wrong, true).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
        // A variable of several, the last without a name.
        assert_eq!(named(&["-s", "a;"], false).unwrap().subscriptions, ["a"]);
        assert!(named(&["-s", ";"], false).unwrap_err().message.contains("AZMEND_SUBSCRIPTION"));
        assert!(named(&["-s", "a"], true).unwrap().subscriptions_named);
        let azures = resolve(&[], &[("HOME", "/h"), ("LOCALAPPDATA", "/h"), ("AZURE_SUBSCRIPTION_ID", "s")]).unwrap();
        assert!(!azures.subscriptions_named);
    }

    #[test]
    fn a_query_makes_the_result_json_unless_a_format_was_chosen() {
        let of = |words: &[&str], typed: bool| {
            let all = ["azmend"].iter().chain(words).chain(&["sandbox", "list"]);
            let mut args = Args::try_parse_from(all).unwrap();
            args.global.typed.output = typed;
            Settings::resolve(&args.global, &|name| lookup(&[("HOME", "/h"), ("LOCALAPPDATA", "/h")], name))
        };
        assert_eq!(of(&["--query", "vms[].name"], false).unwrap().output, Output::Json);
        assert_eq!(of(&["--query", "vms[].name", "-o", "yaml"], true).unwrap().output, Output::Yaml);
        assert!(of(&["--query", "vms", "-o", "table"], true).is_err());
        assert!(of(&["--query", "vms[", "-o", "json"], true).unwrap_err().message.contains("--query"));
    }

    #[test]
    fn a_token_goes_to_https_or_loopback() {
        let env = [("HOME", "/h"), ("LOCALAPPDATA", "/h")];
        assert_eq!(resolve(&["--arm-endpoint", "http://evil.example"], &env).unwrap_err().exit_code(), 2);
        assert!(resolve(&["--arm-endpoint", "http://127.0.0.1:8080"], &env).is_ok());
        assert!(resolve(&["--sandbox", "--arm-endpoint", "https://a.example"], &env).is_err());
    }

    #[test]
    fn a_broken_command_line_still_says_its_format() {
        let output = |line: &str, env: &[(&str, &str)]| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            output_of_broken(&words, &|name| lookup(env, name))
        };
        let env = [("AZMEND_OUTPUT", "json")];
        assert_eq!(output("azmend fixx -o json", &[]), Output::Json);
        assert_eq!(output("azmend -ojsonl fixx", &[]), Output::Jsonl);
        assert_eq!(output("azmend --output=json -o table", &[]), Output::Table);
        assert_eq!(output("azmend fixx -o yaml", &env), Output::Yaml);
        assert_eq!(output("azmend fixx", &env), Output::Json);
        assert_eq!(output("azmend -o", &env), Output::Json);
        assert_eq!(output("azmend -- -o json", &[]), Output::Table);
        assert_eq!(output("azmend fix --override x", &[]), Output::Table);
    }
}
