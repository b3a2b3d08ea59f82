//! `azmend sandbox serve`: the embedded Azure over HTTP until Ctrl-C or SIGTERM.
//!
//! The secret of its identity endpoint is printed on purpose: it opens nothing but this sandbox on this machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::sandbox::source;
use crate::cli::args::ServeArgs;
use crate::cli::azure::Sandbox;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::interrupt;
use crate::cli::port;
use crate::clock::{Clock, SystemClock, elapsed};
use crate::engine::exit;
use crate::journal::{FileLock, StateDir};
use crate::sim::{Server, ServerOptions};
use crate::text::{io_words, plural};

/// How far behind a kept world may be before that is worth a word.
const BEHIND: Duration = Duration::from_secs(3600);

/// The port cannot be opened: who has it, and what to do.
fn no_port(port: u16, error: &io::Error) -> CliError {
    if error.kind() != io::ErrorKind::AddrInUse {
        return CliError::io(format!("cannot listen on 127.0.0.1:{port}: {}", io_words(error)))
            .hint("--port 0 takes any free port");
    }
    let taken = CliError::io(match port::holder(port) {
        Some(holder) => format!("the port {port} is taken by {holder}; nothing is served"),
        None => format!("the port {port} is taken by another process; nothing is served"),
    });
    taken
        .code("port_taken")
        .hint(format!("end that process, or look who has the port: {}", port::command(port)))
        .hint("or serve on any free port: azmend sandbox serve --port 0")
}

/// Runs the command.
///
/// # Errors
/// When the estate or the kept world cannot be used, or the port is taken.
pub async fn run(session: &Session, args: ServeArgs) -> Result<u8, CliError> {
    let wall: Arc<dyn Clock> = Arc::new(SystemClock);
    // Clients live in the machine's time. An estate is counted from now; a world that was left behind catches up.
    let sandbox = Sandbox::open_at(&source(session), &session.settings.state_dir, wall.now())?;
    let behind = elapsed(sandbox.sim.world().now, wall.now());
    sandbox.sim.clock().advance_to(wall.now());
    let sim = sandbox.sim.clone();
    let name = crate::text::safe(&sim.world().name);
    let speed = session.settings.speed.unwrap_or(1);
    let options = ServerOptions { port: args.port, speed, token_life: args.token_life.to_std() };
    let server = Server::bind(sim.clone(), options, wall).await.map_err(|error| no_port(args.port, &error))?;
    // Nobody else changes its world meanwhile: what one wrote the other would not know of.
    let held = FileLock::take(&StateDir::open(&session.settings.state_dir, true)?, "sandbox serve", [sandbox.key()])?;
    sandbox.keep()?;
    let identity = server.identity();
    let environment = [
        ("AZMEND_ARM_ENDPOINT", server.base()),
        ("IDENTITY_ENDPOINT", server.identity_endpoint()),
        ("IDENTITY_HEADER", identity.secret().to_owned()),
    ];
    session
        .printer
        .note(&format!("serving the sandbox {name} on {} for this machine only; Ctrl-C stops it", server.base()));
    if behind > BEHIND {
        let hours = usize::try_from(behind.as_secs() / 3600).unwrap_or(usize::MAX);
        session.printer.note(&format!("its saved state was {} behind and has caught up", plural(hours, "hour")));
        session.printer.hint("to start from a fresh one: azmend sandbox reset");
    }
    if session.printer.for_people() {
        for (variable, value) in &environment {
            // On Windows as PowerShell reads it; whoever uses cmd sees which variables it takes.
            let line = if cfg!(windows) {
                format!("$env:{variable} = '{value}'")
            } else {
                format!("export {variable}={value}")
            };
            session.printer.say(&line);
        }
    } else {
        let variables: serde_json::Map<_, _> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        // One line, whatever the format: a script reads it while the server goes on.
        let ready = json!({ "schema": "azmend.serve/v1", "name": sim.world().name, "environment": variables });
        session.printer.data(&ready.to_string());
    }
    let stop = CancellationToken::new();
    let until = stop.clone();
    let signals = tokio::spawn(async move {
        interrupt::signal().await;
        until.cancel();
    });
    server.run(stop).await;
    signals.abort();
    drop(held);
    if let Some(error) = sim.save_error() {
        return Err(CliError::io(error));
    }
    session.printer.note("the state of the sandbox was saved");
    Ok(exit::OK)
}
