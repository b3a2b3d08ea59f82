//! The extension module `azmend._azmend`: the functions of the library for Python.
//!
//! Duty: JSON in, JSON out, one call for each thing that a user asks for; what the keywords are called and what is raised is Python's
//! (`python/azmend/__init__.py`). While a call works the interpreter is free: other threads run, and twice a second, at most,
//! a log line or a question needs it back. Ctrl-C is noticed within a tenth of a second and stops cleanly: a run pauses in a
//! state that its journal knows.
//!
//! Must never: decide anything, print, or change something in a place whose files are lost (S2, [`azmend::check_durable`]).

mod attend;
mod logs;
mod operation;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use azmend::{Error, Kind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use attend::Interpreter;
use operation::Operation;
use tokio_util::sync::CancellationToken;

/// What a call comes to: the exit code, the result as JSON, and the exception of a signal handler that stopped it.
type Outcome = (u8, String, Option<Py<PyAny>>);

/// Does what `operation`, a JSON object, asks for.
///
/// `log` is called with a level, the name of a logger and a line; `level` is the lowest one that is wanted; `confirm` is called
/// with a plan as JSON.
#[pyfunction]
#[pyo3(signature = (operation, log, level, confirm=None))]
fn call(py: Python<'_>, operation: &str, log: Py<PyAny>, level: u8, confirm: Option<Py<PyAny>>) -> PyResult<Outcome> {
    let operation: Operation =
        serde_json::from_str(operation).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let interpreter = Interpreter::new(log, level, confirm, CancellationToken::new());
    let sandbox = operation.place().is_sandbox();
    let worked = py.detach(|| catch_unwind(AssertUnwindSafe(|| operation::run(operation, &interpreter))));
    let done = worked.unwrap_or_else(|_| Err(Error::new(Kind::Bug, "azmend hit a bug and stopped")));
    let (code, text) = match done {
        Ok(done) => done,
        Err(error) => {
            let result = error.result(sandbox);
            let text = serde_json::to_string(&result).map_err(|error| PyValueError::new_err(error.to_string()))?;
            (result.exit_code, text)
        }
    };
    let (raised, stopped) = interpreter.raised();
    if let Some(error) = raised {
        // `confirm` itself failed: nothing was confirmed, and its exception is what the caller must see.
        return Err(error);
    }
    Ok((code, text, stopped.map(|error| error.into_value(py).into_any())))
}

/// The command line, with the words of one (the program's name first). Returns the exit code.
#[pyfunction]
fn command_line(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| azmend::cli::code(&words))
}

/// azmend's functions for Python.
#[pymodule]
mod _azmend {
    #[pymodule_export]
    use super::{call, command_line};
}
