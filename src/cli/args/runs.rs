//! What was typed for `runs`.

use clap::Subcommand;

use crate::duration::Span;

/// `azmend runs`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List the runs, the newest first
    #[command(after_help = "Example:\n  azmend runs list -o json")]
    List,
    /// Show what a run did, change by change, or what became of a fleet
    #[command(after_help = "Example:\n  azmend runs show 0199f3a2")]
    Show {
        /// The run or the fleet: its id or its first characters
        #[arg(value_name = "RUN")]
        id: String,
    },
    /// Resume a run that was paused or killed
    ///
    /// Everything is read again first; what was done already is not done again. Deletions can be resumed for 24 hours,
    /// restoring locks never expires.
    #[command(
        after_help = "Examples:\n  azmend runs resume                                    the last one that can be resumed\n  azmend runs resume 0199f3a2 --yes --deadline 2h45m"
    )]
    Resume {
        /// The run: its id or its first characters [default: the last one that can be resumed]
        #[arg(value_name = "RUN")]
        id: Option<String>,
        /// Do not ask for confirmation; every safety rule still applies
        #[arg(short, long)]
        yes: bool,
        /// Stop cleanly after this time (90s, 45m, 2h45m)
        #[arg(long, value_name = "TIME", env = "AZMEND_DEADLINE")]
        deadline: Option<Span>,
    },
    /// Undo what a run did: removed locks are restored exactly
    ///
    /// Deleted restore points cannot be recovered, as the plan shows. The result states for every change whether it was
    /// undone, needs no undo, or is irreversible.
    #[command(
        after_help = "Examples:\n  azmend runs undo                                      the last one that can be undone\n  azmend runs undo 0199f3a2"
    )]
    Undo {
        /// The run: its id or its first characters [default: the last one that can be undone]
        #[arg(value_name = "RUN")]
        id: Option<String>,
        /// Do not ask for confirmation; every safety rule still applies
        #[arg(short, long)]
        yes: bool,
    },
    /// Delete the records of old runs that have ended; never of a run whose locks are off
    #[command(after_help = "Example:\n  azmend runs prune --older-than 90d")]
    Prune {
        /// How long ago a run must have ended
        #[arg(long, value_name = "TIME", default_value = "30d")]
        older_than: Span,
    },
}
