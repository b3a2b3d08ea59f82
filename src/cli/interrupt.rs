//! Ctrl-C and SIGTERM, and on Windows Ctrl-Break, a closed window, a sign-out and a shutdown: stop cleanly. A request that left is
//! answered and journaled first; nothing is cut off. After the last three Windows ends the process in seconds, whether it is
//! done or not: then the run is one that was killed, and `azmend runs resume` goes on with it.

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
                    printer.statement(
                        "Stopping: waiting for the current Azure operation. Press Ctrl-C again for options.",
                    );
                } else {
                    printer.statement(&format!(
                        "Still stopping: waiting for the current request, then (with --relock) restoring locks. To stop at once: \
                         {}, then `azmend runs resume`.",
                        if cfg!(windows) { "end the process in Task Manager" } else { "kill -9" }
                    ));
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

/// What Windows tells a console program, from the moment it is made.
#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    interrupt_too: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    sign_out: tokio::signal::windows::CtrlLogoff,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    fn new() -> Option<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
        Some(Self {
            interrupt: ctrl_c().ok()?,
            interrupt_too: ctrl_break().ok()?,
            close: ctrl_close().ok()?,
            sign_out: ctrl_logoff().ok()?,
            shutdown: ctrl_shutdown().ok()?,
        })
    }

    async fn next(&mut self) -> bool {
        tokio::select! {
            got = self.interrupt.recv() => got.is_some(),
            got = self.interrupt_too.recv() => got.is_some(),
            got = self.close.recv() => got.is_some(),
            got = self.sign_out.recv() => got.is_some(),
            got = self.shutdown.recv() => got.is_some(),
        }
    }
}
