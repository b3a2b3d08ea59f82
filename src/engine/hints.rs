//! Commands in hints.
//!
//! A hint is written where the trouble is known, and there nobody knows in which world it will be read. Must never: change
//! anything but the beginning of a command of azmend.

use super::result::RunResult;

/// The commands that need the world: those about the sandbox, completions and manual pages are the same everywhere.
pub const COMMANDS: [&str; 15] = [
    "apply", "audit", "backup", "capture", "diagnose", "doctor", "engines", "explain", "fix", "jobs", "playbook",
    "protect", "role", "runs", "vms",
];

/// The commands of azmend in a text, begun as `program`: a hint from below does not know in which world it is read.
#[must_use]
pub fn as_program(text: &str, program: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("azmend ") {
        let (before, after) = (&rest[..at], &rest[at + "azmend ".len()..]);
        let word: &str = after.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
        out.push_str(before);
        out.push_str(if COMMANDS.contains(&word) { program } else { "azmend" });
        out.push(' ');
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A result whose hints name commands as they are begun in this world.
#[must_use]
pub fn in_world(mut result: RunResult, program: &str) -> RunResult {
    let here = |text: &mut String| *text = as_program(text, program);
    result.next.iter_mut().for_each(here);
    result.warnings.iter_mut().for_each(here);
    result.error.iter_mut().filter_map(|error| error.hint.as_mut()).for_each(here);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_a_hint_begin_as_the_program_was_called() {
        let text = "first: azmend fix a --vm v; then run azmend again, or azmend runs show; azmend --sandbox fix";
        let there = as_program(text, "azmend --sandbox");
        assert_eq!(
            there,
            "first: azmend --sandbox fix a --vm v; then run azmend again, or azmend --sandbox runs show; azmend --sandbox fix"
        );
        assert_eq!(as_program(text, "azmend"), text);
    }
}
