//! Run Command: a script for a VM, and what it printed.
//!
//! Contract `VirtualMachines_RunCommand` (compute 2024-07-01). The forms of the answer are recorded: on Linux one status
//! whose message holds `[stdout]` and `[stderr]` (azure-cli, `test_vm_run_command_with_parameters`), on Windows one
//! status for each of them (the contract's example, and azure-sdk-for-python, `test_compute_vm`). Azure keeps only the
//! last 4096 bytes of what a script printed.

use serde_json::Value;

/// What runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// `RunShellScript`: `/bin/sh` on Linux.
    Sh,
    /// `RunPowerShellScript`: Windows PowerShell 5.1.
    PowerShell,
}

impl Shell {
    /// The `commandId`.
    #[must_use]
    pub const fn command_id(self) -> &'static str {
        match self {
            Self::Sh => "RunShellScript",
            Self::PowerShell => "RunPowerShellScript",
        }
    }
}

/// A script for a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCommand<'a> {
    /// What runs it.
    pub shell: Shell,
    /// Its text.
    pub script: &'a str,
    /// Names and values: `param()` in PowerShell, `$1`, `$2`... in this order on Linux (recorded).
    pub parameters: &'a [(&'a str, &'a str)],
}

/// What a script printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOutput {
    /// The end of its standard output.
    pub stdout: String,
    /// The end of its error output.
    pub stderr: String,
}

impl RunOutput {
    /// Reads the last answer of the operation: its status document (`properties.output`) or the result itself.
    ///
    /// # Errors
    /// Why it cannot be used, in a fragment for people.
    pub fn of(body: &Value) -> Result<Self, String> {
        let rows = body.pointer("/properties/output/value").or_else(|| body.get("value")).and_then(Value::as_array);
        let Some(rows) = rows else { return Err("Azure sent nothing of what the script printed".to_owned()) };
        let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (mut stdout, mut stderr) = (None, None);
        for row in rows {
            let code = text(row, "code").to_ascii_lowercase();
            let message = text(row, "message");
            if code.contains("/failed") {
                return Err(format!("Run Command failed: {message}"));
            }
            let parts = match code.as_str() {
                "componentstatus/stdout/succeeded" => (Some(message), None),
                "componentstatus/stderr/succeeded" => (None, Some(message)),
                "provisioningstate/succeeded" => {
                    let Some((_, printed)) = message.split_once("[stdout]\n") else {
                        return Err("the answer of Run Command has no [stdout]".to_owned());
                    };
                    // The last one: a script may print the word, Azure prints it after everything.
                    let Some((out, err)) =
                        printed.rsplit_once("[stderr]\n").or_else(|| printed.rsplit_once("[stderr]"))
                    else {
                        return Err("the answer of Run Command has no [stderr]".to_owned());
                    };
                    (Some(out.to_owned()), Some(err.to_owned()))
                }
                _ => (None, None),
            };
            for (part, kept) in [(parts.0, &mut stdout), (parts.1, &mut stderr)] {
                match part {
                    Some(_) if kept.is_some() => return Err("Run Command answered twice".to_owned()),
                    Some(part) => *kept = Some(part),
                    None => {}
                }
            }
        }
        let stdout = stdout.ok_or("Azure sent nothing of what the script printed")?;
        Ok(Self { stdout, stderr: stderr.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_recorded_forms_are_read() {
        // azure-cli, test_vm_run_command_with_parameters
        let linux = json!({ "status": "Succeeded", "properties": { "output": { "value": [{
            "code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded",
            "message": "Enable succeeded: \n[stdout]\n/var/lib/waagent/run-command/download/0/script.sh hello\n\n[stderr]\n"
        }] } } });
        let read = RunOutput::of(&linux).unwrap();
        assert_eq!(read.stdout, "/var/lib/waagent/run-command/download/0/script.sh hello\n\n");
        assert_eq!(read.stderr, "");
        // azure-sdk-for-python, test_compute_vm
        let windows = json!({ "value": [
            { "code": "ComponentStatus/StdOut/succeeded", "message": "This is a sample script with parameters  " },
            { "code": "ComponentStatus/StdErr/succeeded", "message": "" }
        ] });
        assert_eq!(RunOutput::of(&windows).unwrap().stdout, "This is a sample script with parameters  ");
    }

    #[test]
    fn anything_else_is_not_taken_for_output() {
        for bad in [
            json!(null),
            json!({ "status": "Succeeded" }),
            json!({ "value": [] }),
            json!({ "value": [{ "code": "ComponentStatus/StdErr/succeeded", "message": "x" }] }),
            json!({ "value": [{ "code": "ProvisioningState/succeeded", "message": "Enable succeeded" }] }),
            json!({ "value": [{ "code": "ProvisioningState/succeeded", "message": "[stdout]\nx" }] }),
            json!({ "value": [{ "code": "ProvisioningState/failed/1", "message": "[stdout]\nx\n[stderr]\n" }] }),
            json!({ "value": [{ "code": "ComponentStatus/StdOut/succeeded", "message": "a" },
                { "code": "ComponentStatus/StdOut/succeeded", "message": "b" }] }),
        ] {
            assert!(RunOutput::of(&bad).is_err(), "{bad}");
        }
    }
}
