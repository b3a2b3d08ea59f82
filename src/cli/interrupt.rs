//! Ctrl-C and SIGTERM: stop cleanly. A request that left is answered and journaled first; nothing is cut off.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::printer::Printer;

/// Listens until dropped.
#[derive(Debug)]
pub struct Interrupts {
    task: JoinHandle<()>,
}

impl Interrupts {
    /// The first signal cancels `token`; later ones say what is going on.
    #[must_use]
    pub fn listen(token: CancellationToken, printer: Printer) -> Self {
        let task = tokio::spawn(async move {
            let Some(mut signals) = Signals::new() else { return };
            let mut count = 0u32;
            while signals.next().await {
                count += 1;
                if count == 1 {
                    token.cancel();
                    printer.say("Stopping: waiting for the current Azure operation. Press Ctrl-C again for options.");
                } else {
                    printer.say(
                        "Still stopping: waiting for the current request, then (with --relock) restoring locks. To stop at once: kill -9, then `azmend runs resume`.",
                    );
                }
            }
        });
        Self { task }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for the first signal; for ever when signals cannot be listened to.
pub async fn signal() {
    let heard = match Signals::new() {
        Some(mut signals) => signals.next().await,
        None => false,
    };
    if !heard {
        std::future::pending::<()>().await;
    }
}

/// Ctrl-C and SIGTERM, from the moment it is made: none is lost between two waits.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Some(Self {
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
        })
    }

    async fn next(&mut self) -> bool {
        tokio::select! {
            got = self.interrupt.recv() => got.is_some(),
            got = self.terminate.recv() => got.is_some(),
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Option<Self> {
        Some(Self)
    }

    async fn next(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}
