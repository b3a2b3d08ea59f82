//! The command line.
//!
//! Duty: what was typed ([`args`]) becomes what was meant ([`settings`]); one file per command; [`printer`] is the only
//! writer of stdout and stderr; [`confirm`] the only one who asks; every end has an exit code of design 6c.
//!
//! Must never: decide about Azure's resources (that is the engine's), send anything itself, or change something that was
//! not confirmed.

pub mod args;
mod candidates;
mod commands;
mod confirm;
mod execute;
mod interrupt;
mod jitter;
mod logging;
mod no_plan;
mod places;
mod port;
mod printer;
mod progress;
mod query;
mod scan_progress;
mod settings;
mod shape;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;
use clap::parser::ValueSource;

use args::{Args, Command, Typed};
use error::{CliError, Kind};
use execute::Session;
use printer::Printer;
use settings::{Output, Settings, environment, output_of_broken};

use crate::api::{azure, files};
use crate::engine::exit;

/// The library's error, under the name that the commands use.
mod error {
    pub use crate::api::error::{Error as CliError, Kind};
}
/// Longer lines of help are hard to read.
const WIDEST_HELP: usize = 100;

/// Runs azmend with the words of the command line (the program's name first).
pub fn main(words: Vec<OsString>) -> ExitCode {
    ExitCode::from(code(&words))
}

/// The same for a program that is azmend only in part: the exit code as a number.
#[must_use]
pub fn code(words: &[OsString]) -> u8 {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
        let printer = Printer::new(Output::Table, false, anstream::ColorChoice::Auto);
        printer.error(
            &CliError::new(Kind::Bug, format!("azmend hit a bug and stopped{place}"))
                .hint("what was done is in the journal: azmend runs list, then azmend runs resume")
                .hint("please report it with this message and `azmend --version`"),
        );
    }));
    // The shell asks for what can be typed next: nothing else is done then.
    if let Some(code) = commands::completions::answered(words) {
        return code;
    }
    // A panic is turned into exit code 1 and, with JSON, still into one result object.
    let run = || run(words);
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(code) => code,
        Err(_) => {
            let output = output_of_broken(words, &environment);
            if output != Output::Table {
                let printer = Printer::new(output, true, anstream::ColorChoice::Never);
                printer.whole(&CliError::new(Kind::Bug, "azmend hit a bug and stopped").result(false));
            }
            exit::BUG
        }
    }
}

fn run(words: &[OsString]) -> u8 {
    // Help is data: it is laid out for stdout.
    let width = Printer::new(Output::Table, true, anstream::ColorChoice::Auto).width().min(WIDEST_HELP);
    let parsed = Args::for_people(width).try_get_matches_from(words).and_then(|matches| {
        let mut args = Args::from_arg_matches(&matches)?;
        let typed = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        args.global.typed = Typed {
            tenant: typed("tenant"),
            subscription: typed("subscription"),
            output: matches.value_source("output") != Some(ValueSource::DefaultValue),
            state: typed("state"),
            state_dir: typed("state_dir"),
            blob_endpoint: typed("blob_endpoint"),
        };
        Ok((args, args::formats(matches.subcommand_name().unwrap_or_default())))
    });
    let (args, formats) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return not_parsed(&error, words),
    };
    let output = settings::output(args.global.output);
    let settings = match Settings::resolve(&args.global, &environment) {
        Ok(settings) => settings,
        Err(error) => {
            let printer = Printer::new(output, args.global.quiet, anstream::ColorChoice::Auto);
            return failed(&printer, &error, args.global.sandbox.is_some());
        }
    };
    let printer = Printer::with_query(settings.output, settings.query.clone(), settings.quiet, settings.color);
    if let Err(error) = logging::start(&settings) {
        return failed(&printer, &error, settings.sandbox());
    }
    let session = Session { settings, printer: printer.clone() };
    let code = match dispatch(&session, args.command, formats) {
        Ok(code) => code,
        // Whether it is a served sandbox may be known only now.
        Err(error) => failed(&printer, &error, session.settings.sandbox()),
    };
    match printer.failure() {
        None => code,
        Some(why) => {
            printer.error(&CliError::io(format!("the result could not be written to stdout: {why}")));
            // The work is done; that nobody can read the result is not success.
            if code == exit::OK { exit::PARTIAL } else { code }
        }
    }
}

/// Wrong usage, or help and version, which are no errors.
fn not_parsed(error: &clap::Error, words: &[OsString]) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let printer = Printer::new(Output::Table, false, anstream::ColorChoice::Auto);
            printer.data(&args::shown(&error.render().ansi().to_string()));
            return exit::OK;
        }
        _ => {}
    }
    let output = output_of_broken(words, &environment);
    let printer = Printer::new(output, false, anstream::ColorChoice::Auto);
    printer.say(args::shown(&error.render().ansi().to_string()).trim_end());
    if output != Output::Table {
        let text = args::shown(&error.render().to_string());
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let message = match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing",
            _ => first.strip_prefix("error: ").unwrap_or(first),
        };
        let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: ")).unwrap_or("see azmend --help");
        printer.whole(&CliError::new(Kind::Usage, message).hint(tip).result(false));
    }
    exit::INPUT
}

/// Tells of an error, in the result object too. Returns the exit code.
fn failed(printer: &Printer, error: &CliError, sandbox: bool) -> u8 {
    printer.error(error);
    if printer.is_json() {
        printer.whole(&error.result(sandbox));
    }
    error.exit_code()
}

fn dispatch(session: &Session, command: Command, formats: &[args::OutputArg]) -> Result<u8, CliError> {
    let output = session.settings.output;
    if !formats.iter().any(|one| settings::output(*one) == output) {
        let name = format!("{output:?}").to_lowercase();
        return Err(CliError::input(format!("this command does not write {name}"))
            .code("format_not_supported")
            .hint(format!("it writes {}", args::format_words(formats))));
    }
    if session.settings.whole_tenant.as_deref() == Some("") && !matches!(command, Command::Audit(_)) {
        return Err(CliError::input("--tenant needs the id of a tenant here").code("usage"));
    }
    if session.settings.speed.is_some() && !session.settings.sandbox() && !matches!(command, Command::Sandbox(_)) {
        return Err(CliError::input("--speed works only with --sandbox")
            .code("usage")
            .hint("add --sandbox, or omit --speed"));
    }
    match command {
        Command::Completions { shell } => return commands::completions::run(session, shell),
        Command::Man { dir } => return commands::man::run(session, &dir),
        Command::Playbook(command) => return commands::playbook::run(session, &command),
        Command::Role(args) => return commands::role::run(session, &args),
        Command::Explain(args) => return commands::explain::run(session, &args),
        _ => {}
    }
    if session.settings.state_dir_unchecked {
        session.printer.warn(&format!(
            "who may read and change the state directory {} cannot be checked on Windows, and it is not in your profile",
            crate::text::safe(&session.settings.state_dir.to_string_lossy())
        ));
        session.printer.hint("make sure that no one else can: its files decide which locks azmend restores");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io(format!("cannot start: {}", crate::text::io_words(&error))))?;
    let code = runtime.block_on(async {
        Box::pin(warn_of_locks(session, &command)).await;
        match command {
            Command::Fix(typed) => Box::pin(fix(session, (*typed).into())).await,
            Command::Plan(typed) => Box::pin(fix(session, (*typed).into())).await,
            Command::Apply(args) => commands::apply::run(session, args).await,
            Command::Runs(command) => commands::runs::run(session, command).await,
            Command::Sandbox(args::SandboxCommand::Serve(args)) => commands::serve::run(session, args).await,
            Command::Sandbox(command) => commands::sandbox::run(session, command).await,
            Command::Backup(args) => Box::pin(commands::backup::run(session, *args)).await,
            Command::Protect(args) => Box::pin(commands::protect::run(session, *args)).await,
            Command::Vms(args) => commands::vms::run(session, &args).await,
            Command::Jobs(args) => commands::jobs::run(session, &args).await,
            Command::Engines(args) => commands::engines::run(session, &args).await,
            Command::Audit(args) => Box::pin(commands::audit::run(session, &args)).await,
            Command::Capture(args) => Box::pin(commands::capture::run(session, &args)).await,
            Command::Diagnose(args) => commands::diagnose::run(session, &args).await,
            Command::Doctor(args) => commands::doctor::run(session, &args).await,
            Command::Playbook(_)
            | Command::Role(_)
            | Command::Explain(_)
            | Command::Completions { .. }
            | Command::Man { .. } => Ok(exit::OK),
        }
    });
    // What was held is free for others before the process ends, and not only when its lease is over.
    runtime.block_on(store::close(&session.settings));
    // A question that nobody answered must not keep the process.
    runtime.shutdown_background();
    code
}

/// One VM or many.
async fn fix(session: &Session, args: args::FixArgs) -> Result<u8, CliError> {
    if args.fleet.wanted() {
        Box::pin(commands::fleet::run(session, args)).await
    } else {
        Box::pin(commands::fix::run(session, args)).await
    }
}

/// While a run of this state directory has locks off, every start says so (S6).
async fn warn_of_locks(session: &Session, command: &Command) {
    // The state directory's own problems are told by the commands that need it.
    let Ok(Some(state)) = store::existing(&session.settings).await else { return };
    // These tell of locks themselves, or put them back right now.
    let about = match command {
        Command::Runs(args::RunsCommand::Show { id }) => Some(id.as_str()),
        Command::Runs(args::RunsCommand::Resume { id, .. } | args::RunsCommand::Undo { id, .. }) => id.as_deref(),
        Command::Sandbox(args::SandboxCommand::Reset) => return,
        _ => None,
    };
    let settings = &session.settings;
    let mut runs = store::runs_with_locks_off(&state, settings.sandbox()).await;
    if settings.here().may_be_served {
        runs.extend(store::runs_with_locks_off(&state, true).await);
    }
    // A lock that several runs removed is off once: the newest run, which is first, restores it.
    let mut warned = std::collections::BTreeSet::new();
    for (run, locks) in runs {
        if about.is_some_and(|id| run.starts_with(&id.to_ascii_lowercase())) {
            warned.extend(locks.iter().map(|lock| lock.id.key().to_owned()));
            continue;
        }
        let new: Vec<_> = locks.iter().filter(|lock| warned.insert(lock.id.key().to_owned())).collect();
        for lock in &new {
            session.printer.warn(&format!(
                "the run {} has removed the lock {} on {}",
                store::short(&run),
                lock.id.name(),
                lock.scope().short_name()
            ));
        }
        if !new.is_empty() {
            let what = if new.len() == 1 { "it" } else { "them" };
            session.printer.hint(&format!("restore {what}: {} runs undo {run}", session.program()));
        }
    }
}
