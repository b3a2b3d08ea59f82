//! `fix --from-alert`: where the alert is read from. What it means is [`crate::api::alert`]'s.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::api::alert::alerts;
use crate::cli::error::CliError;
use crate::engine::alert::{self, Alerts, MOST_BYTES};
use crate::text::{io_words, safe};

/// Reads the alert: of a file, of stdin, or the id of a job as it was typed.
///
/// # Errors
/// When it cannot be read, or is no alert about the backup of VMs. Nothing was asked of Azure.
pub fn read(from: &Path) -> Result<Alerts, CliError> {
    alerts(&bytes_of(from)?)
}

fn bytes_of(from: &Path) -> Result<Vec<u8>, CliError> {
    let unreadable = |what: &str, error: &io::Error| {
        CliError::input(format!("{what} cannot be read: {}", io_words(error))).code("alert")
    };
    let mut bytes = Vec::new();
    let typed = from.to_str().unwrap_or_default();
    if typed == "-" {
        io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable("stdin", &error))?;
    } else {
        let shown = safe(&from.display().to_string());
        match File::open(from) {
            Ok(file) => {
                file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&shown, &error))?;
            }
            // The id of a job, where no file has that name.
            Err(_) if alert::parse(typed.as_bytes()).is_ok_and(|alerts| alerts.fired.len() == 1) => {
                bytes = typed.as_bytes().to_vec();
            }
            Err(error) => return Err(unreadable(&shown, &error)),
        }
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err(
            CliError::input("the alert is larger than 1 MB, more than Azure Monitor or Event Grid sends").code("alert")
        );
    }
    Ok(bytes)
}
