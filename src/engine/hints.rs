//! Commands in hints: how they begin where they are read, and how far they reach.
//!
//! A hint is written where the trouble is known, and there nobody knows in which world it will be read, nor how wide the
//! screen is. Must never: change anything but the beginning of a command of azmend.

use super::result::RunResult;

/// The commands that need the world: those about the sandbox, completions and manual pages are the same everywhere.
pub const COMMANDS: [&str; 16] = [
    "apply", "audit", "backup", "capture", "diagnose", "doctor", "engines", "explain", "fix", "jobs", "plan",
    "playbook", "protect", "role", "runs", "vms",
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

/// Makes the commands that a result names those of the world in which it was made.
pub fn in_world(result: &mut RunResult, program: &str) {
    let here = |text: &mut String| *text = as_program(text, program);
    result.next.iter_mut().for_each(here);
    result.warnings.iter_mut().for_each(here);
    let errors = result.error.iter_mut().chain(result.changes.iter_mut().filter_map(|change| change.error.as_mut()));
    errors.filter_map(|error| error.hint.as_mut()).for_each(here);
}

/// The commands of azmend with words of their own behind them, and how many.
const OPERANDS: [(&str, usize); 8] =
    [("fix", 1), ("plan", 1), ("apply", 1), ("explain", 1), ("help", 2), ("runs", 2), ("playbook", 2), ("sandbox", 2)];

/// If a command of azmend or of the Azure CLI stands at the beginning of this text: how many bytes of the text it is, with
/// the punctuation after it. What follows is prose again.
#[must_use]
pub fn command_at(text: &str) -> Option<usize> {
    let mut words = shell_words(text);
    let (_, program) = words.next()?;
    // Of `az`, the words of the group and the verb.
    let mut operands = match program {
        "azmend" => 0,
        "az" => 4,
        _ => return None,
    };
    let (mut end, mut verb) = (program.len(), false);
    // The word before was an option, or joins two commands: the next one belongs to it.
    let mut open = false;
    for (at, word) in words {
        // A gap: what is behind it says what the command is for.
        if at > end + 1 {
            break;
        }
        let joins = matches!(word, "|" | "&&" | ">" | ">>" | "<" | "2>&1");
        let option = word.starts_with('-');
        let plain = word.trim_end_matches([',', ';', ':', '.', ')', '`']);
        if !verb && program == "azmend" && !option {
            if !(COMMANDS.contains(&plain) || ["completions", "help", "sandbox"].contains(&plain)) {
                break;
            }
            operands = OPERANDS.iter().find(|(name, _)| *name == plain).map_or(0, |(_, count)| *count);
            verb = true;
        } else if !(joins || option || open) {
            let name = |c: char| c.is_ascii_lowercase() || c == '-';
            if operands == 0 || (program == "az" && !plain.chars().all(name)) {
                break;
            }
            operands -= 1;
            verb = true;
        }
        end = at + word.len();
        if plain.len() < word.len() && !word.ends_with("...") && !joins {
            break;
        }
        // After `&&` or a pipe another program starts; `--sandbox` has no value behind it.
        open = joins || (option && !word.contains('=') && word != "--sandbox" && verb);
        if open && matches!(word, "|" | "&&") {
            operands = 6;
        }
    }
    (end > program.len()).then_some(end)
}

/// The words of a shell's line, each with its place; quotes belong to them.
fn shell_words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..)?;
        let start = from + (rest.len() - rest.trim_start_matches(' ').len());
        let mut quote = None;
        let mut end = text.len();
        for (at, c) in text.get(start..)?.char_indices() {
            match (quote, c) {
                (None, ' ') => {
                    end = start + at;
                    break;
                }
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                _ => {}
            }
        }
        from = end;
        text.get(start..end).filter(|word| !word.is_empty()).map(|word| (start, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reaches_to_its_last_word() {
        let of = |text: &'static str| command_at(text).map(|length| &text[..length]);
        let whole = [
            "azmend runs undo 0199f3a2",
            "azmend --sandbox=x.yaml fix rp-collection-limit --vm web-01",
            "azmend --sandbox fix auto --all -s 'Contoso Production'",
            "azmend role -o json > role.json && az role definition create --role-definition @role.json",
            "az lock create --name no-delete --notes 'Do not; delete' --subscription 5b1c",
            "azmend doctor",
        ];
        for text in whole {
            assert_eq!(of(text), Some(text));
        }
        assert_eq!(of("azmend jobs shows it"), Some("azmend jobs"));
        assert_eq!(
            of("az lock delete --ids /subscriptions/x, or name it"),
            Some("az lock delete --ids /subscriptions/x,")
        );
        assert_eq!(of("azmend explain 400196; then rest"), Some("azmend explain 400196;"));
        assert_eq!(of("azmend fix auto --dry-run   what would be done"), Some("azmend fix auto --dry-run"));
        assert_eq!(of("azmend fix --dry-run` does"), Some("azmend fix --dry-run`"));
        for prose in ["azmend again", "azmend", "az", "a azmend fix", "azmend has found", "azure cli"] {
            assert_eq!(of(prose), None, "{prose}");
        }
    }

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
