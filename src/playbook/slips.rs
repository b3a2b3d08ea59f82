//! What is wrong with a condition that the parser refused, in words of people.
//!
//! Duty: find the slip in the text itself: a word where an operator belongs (`and`, `is`), an operator of another language
//! (`<>`), two values without an operator between them, a bracket that is never closed, an end that comes too early.
//!
//! Invariants: it only explains; whether a condition is valid is the parser's business. It must never give back the
//! parser's own text, which names the parser's rules and not what to type.

use super::check::Problem;

/// Words of other languages, and how conditions write them.
const WORDS: &[(&str, &str)] = &[
    ("and", "&&"),
    ("or", "||"),
    ("not", "!"),
    ("is", "=="),
    ("eq", "=="),
    ("equals", "=="),
    ("ne", "!="),
    ("gt", ">"),
    ("ge", ">="),
    ("lt", "<"),
    ("le", "<="),
    ("like", "contains(\"...\")"),
    ("matches", "contains(\"...\")"),
    ("match", "contains(\"...\")"),
];

/// What a piece of a condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A name, a number, a text.
    Value,
    /// `!` and `-` before a value.
    Prefix,
    /// An operator between two values, and the comma.
    Between,
    /// `(` or `[`.
    Open,
    /// `)` or `]`.
    Close,
}

/// A piece of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    at: usize,
    text: String,
    kind: Kind,
}

/// The slip, at its place.
#[must_use]
pub fn explain(source: &str) -> Option<Problem> {
    let pieces = pieces(source);
    let first = pieces.first()?;
    let found = |at: usize, message: String, hint: &str| {
        Some(Problem { at, message, hint: (!hint.is_empty()).then(|| hint.to_owned()) })
    };
    if let Some((piece, write)) = pieces.iter().find_map(word) {
        let before = if *write == *"!" {
            "write ! before what is denied, for example !vm.exists".to_owned()
        } else {
            format!("write {write}")
        };
        return found(piece.at, format!("{:?} is not a word of conditions", piece.text), &before);
    }
    if first.kind == Kind::Between {
        return found(first.at, format!("{} has no value in front of it", first.text), "");
    }
    let mut open: Vec<&Piece> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let next = pieces.get(index + 1);
        match piece.kind {
            Kind::Open => open.push(piece),
            Kind::Close => {
                let wanted = if piece.text == ")" { "(" } else { "[" };
                match open.pop() {
                    Some(start) if start.text == wanted => {}
                    Some(start) => return found(piece.at, format!("{} is closed by {}", start.text, piece.text), ""),
                    None => return found(piece.at, format!("{} closes nothing", piece.text), "remove it"),
                }
            }
            _ => {}
        }
        let ends = matches!(piece.kind, Kind::Value | Kind::Close);
        match next {
            None if !ends => {
                let what = if piece.kind == Kind::Open { "is never closed" } else { "has no value after it" };
                return found(piece.at, format!("{} {what}", piece.text), "");
            }
            Some(next) if ends && matches!(next.kind, Kind::Value | Kind::Prefix) && next.text != "-" => {
                let why = format!("an operator is missing between {} and {}", piece.text, next.text);
                return found(next.at, why, "such as ==, > or &&");
            }
            Some(next) if matches!(piece.kind, Kind::Between | Kind::Prefix) && next.kind == Kind::Between => {
                return found(next.at, format!("a value is missing between {} and {}", piece.text, next.text), "");
            }
            Some(next) if matches!(piece.kind, Kind::Between | Kind::Prefix) && next.kind == Kind::Close => {
                return found(next.at, format!("a value is missing between {} and {}", piece.text, next.text), "");
            }
            _ => {}
        }
    }
    if let Some(piece) = open.first() {
        let end = if piece.text == "(" { ")" } else { "]" };
        return found(
            piece.at,
            format!("the bracket {} is never closed", piece.text),
            &format!("add {end} where it ends"),
        );
    }
    let question = pieces.iter().find(|piece| piece.text == "?");
    let colon = pieces.iter().any(|piece| piece.text == ":");
    match question {
        Some(piece) if !colon => found(piece.at, "? needs two values".into(), "write condition ? value : other value"),
        _ => None,
    }
}

/// A word where conditions have an operator. A name of the view is never one of them: those have a dot.
fn word(piece: &Piece) -> Option<(&Piece, &'static str)> {
    let lower = piece.text.to_ascii_lowercase();
    let known = WORDS.iter().find(|(word, _)| piece.kind == Kind::Value && *word == lower)?;
    Some((piece, known.1))
}

/// The pieces, each at its character. The text has been through `scan`: its strings end.
fn pieces(source: &str) -> Vec<Piece> {
    let chars: Vec<char> = source.chars().collect();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        at += 1;
        if c.is_whitespace() {
            continue;
        }
        let more = |at: usize, test: &dyn Fn(char) -> bool| chars.iter().skip(at).take_while(|c| test(**c)).count();
        let kind = match c {
            '"' | '\'' => {
                let mut escaped = false;
                for inner in chars.iter().skip(at) {
                    at += 1;
                    if *inner == c && !escaped {
                        break;
                    }
                    escaped = *inner == '\\' && !escaped;
                }
                Kind::Value
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => {
                at += more(at, &|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
                let text: String = chars.iter().skip(start).take(at - start).collect();
                if text == "in" { Kind::Between } else { Kind::Value }
            }
            '(' | '[' => Kind::Open,
            ')' | ']' => Kind::Close,
            '.' => {
                // A call on what a bracket gave: `size(x).y`.
                at += more(at, &|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
                continue;
            }
            '!' if chars.get(at) != Some(&'=') => Kind::Prefix,
            '-' if pieces.last().is_none_or(|last| !matches!(last.kind, Kind::Value | Kind::Close)) => Kind::Prefix,
            _ => {
                if matches!(chars.get(at), Some('=' | '&' | '|')) && matches!(c, '=' | '!' | '<' | '>' | '&' | '|') {
                    at += 1;
                }
                Kind::Between
            }
        };
        pieces.push(Piece { at: start, text: chars.iter().skip(start).take(at - start).collect(), kind });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::playbook::conditions::Condition;

    #[test]
    fn slips_are_named_at_their_place() {
        for (text, at, message, hint) in [
            ("not vm.exists", 0, "\"not\" is not a word", "write !"),
            ("vm.exists and agent.ready", 10, "\"and\" is not a word", "write &&"),
            ("vm.exists OR agent.ready", 10, "\"OR\" is not a word", "write ||"),
            ("points.count is 3", 13, "\"is\" is not a word", "write =="),
            ("vm.name eq \"x\"", 8, "\"eq\" is not a word", "write =="),
            ("backup.last_error matches \"x\"", 18, "\"matches\"", "contains"),
            ("points.count > ", 13, "> has no value after it", ""),
            ("== 3", 0, "== has no value in front", ""),
            ("points.count > 3 points.limit", 17, "missing between 3 and points.limit", "=="),
            ("points.count > > 3", 15, "a value is missing between > and >", ""),
            ("(vm.exists", 0, "the bracket ( is never closed", "add )"),
            ("backup.last_error in [\"x\", \"y\"", 21, "the bracket [ is never closed", "add ]"),
            ("vm.exists)", 9, ") closes nothing", "remove"),
            ("(vm.exists]", 10, "( is closed by ]", ""),
            ("vm.exists ?", 10, "? has no value after it", ""),
            ("vm.exists ? true", 10, "? needs two values", "condition ?"),
            ("vm.exists &&", 10, "&& has no value after it", ""),
            ("(points.count > )", 16, "a value is missing between > and )", ""),
        ] {
            let problem = Condition::compile(text, &BTreeMap::new()).unwrap_err().remove(0);
            let found = format!("{} {}", problem.message, problem.hint.unwrap_or_default());
            assert!(found.contains(message) && found.contains(hint), "{text}: {found}");
            assert_eq!(problem.at, at, "{text}: {found}");
        }
    }

    #[test]
    fn a_good_condition_has_no_slip() {
        for good in [
            "points.count - -1 > 0 ? vm.exists : !agent.ready",
            "extensions.failed.exists(x, x.startsWith('a and b')) && size(extensions.failed) > 0",
            "backup.last_error in [\"a\", \"it's (\"] || !(vm.name != '\\'' && vm.exists)",
        ] {
            assert_eq!(explain(good), None, "{good}");
        }
    }
}
