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
            let mut count = 0u32;
            while signal().await {
                count += 1;
                if count == 1 {
                    token.cancel();
                    printer.say("stopping: what Azure is doing now is awaited and written down, then the run pauses");
                } else {
                    printer.say(
                        "still stopping: the request that is on its way is awaited, and locks are put back if you \
                         asked for that. To force it: kill -9, then `azmend runs resume`",
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

/// Waits for a signal; false when signals cannot be listened to.
#[cfg(unix)]
pub async fn signal() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                got = interrupt.recv() => got.is_some(),
                got = terminate.recv() => got.is_some(),
            }
        }
        _ => false,
    }
}

/// Waits for a signal; false when signals cannot be listened to.
#[cfg(not(unix))]
pub async fn signal() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
