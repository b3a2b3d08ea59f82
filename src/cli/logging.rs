//! Diagnostics on stderr. They are for looking into azmend, never the audit trail: that is the journal.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::error::CliError;
use super::settings::Settings;

/// Starts the diagnostics.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(settings: &Settings) -> Result<(), CliError> {
    let level = settings.log_level.as_str();
    let plain = level.bytes().all(|b| b.is_ascii_alphabetic());
    let known = ["off", "error", "warn", "info", "debug", "trace"].iter().any(|l| l.eq_ignore_ascii_case(level));
    if plain && !known {
        return Err(unknown(level));
    }
    // A plain level is azmend's own: libraries may log what is none of a user's business, and hyper logs headers.
    let filter = if plain { format!("off,azmend={level}") } else { level.to_owned() };
    let filter = EnvFilter::try_new(filter).map_err(|_| unknown(level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let color = match settings.color {
        anstream::ColorChoice::Never => false,
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => true,
        anstream::ColorChoice::Auto => anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never,
    };
    let started = if settings.log_json {
        builder.json().finish().try_init()
    } else {
        builder.with_ansi(color).finish().try_init()
    };
    // Already started: only in tests that call the command line twice.
    drop(started);
    Ok(())
}

fn unknown(level: &str) -> CliError {
    CliError::input(format!("{level:?} is not a log level"))
        .hint("use off, error, warn, info, debug, trace, or azmend=debug")
}
