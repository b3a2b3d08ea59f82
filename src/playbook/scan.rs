//! The look at a condition's text before it is compiled.
//!
//! Duty: bound what the CEL parser gets. Its stack overflows on deep nesting and on long chains (tried with cel 0.15),
//! and a stack overflow cannot be caught, so length, levels and tokens are counted here first.
//!
//! Invariants: refuses what it does not understand (raw, byte and triple-quoted strings, comments, any character outside
//! strings that conditions have no use for), so its count of brackets cannot be led astray by quotes.

/// The longest condition in bytes.
pub const MAX_BYTES: usize = 1024;
/// The deepest nesting of brackets and prefix operators.
pub const MAX_LEVELS: usize = 32;
/// The most words, numbers, strings and operators.
pub const MAX_TOKENS: usize = 256;

/// The most digits of a number: more do not fit into 64 bits.
const MAX_DIGITS: usize = 18;

/// What is wrong and at which character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanError {
    /// Offset in characters.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

/// Checks length, nesting and characters.
///
/// # Errors
/// The first thing that must not reach the parser.
pub fn scan(source: &str) -> Result<(), ScanError> {
    let fail = |at, message: String| Err(ScanError { at, message });
    if source.len() > MAX_BYTES {
        return fail(0, format!("the condition is {} bytes long; at most {MAX_BYTES} are allowed", source.len()));
    }
    if source.trim().is_empty() {
        return fail(0, "the condition is empty".into());
    }
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut open, mut prefixes, mut tokens) = (0, 0usize, 0usize, 0usize);
    while let Some(&c) = chars.get(at) {
        let start = at;
        at += 1;
        if matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        tokens += 1;
        let mut prefix = false;
        match c {
            '"' | '\'' => at = string(&chars, start)?,
            '(' | '[' => open += 1,
            ')' | ']' => open = open.saturating_sub(1),
            '!' if chars.get(at) == Some(&'=') => at += 1,
            // Minus may be binary: counting it as a prefix as well only refuses earlier.
            '!' | '-' => prefix = true,
            '/' if chars.get(at) == Some(&'/') => {
                return fail(start, "comments (//) are not allowed in a condition: use a YAML comment (#)".into());
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => {
                while chars.get(at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    at += 1;
                }
                if c.is_ascii_digit() && at - start > MAX_DIGITS {
                    return fail(start, format!("a number can have at most {MAX_DIGITS} digits"));
                }
                if matches!(chars.get(at), Some('"' | '\'')) {
                    return fail(start, "raw and byte strings are not allowed in a condition".into());
                }
            }
            '<' if chars.get(at) == Some(&'>') => {
                return fail(start, "<> is not an operator of conditions: use !=".into());
            }
            '=' if chars.get(at) == Some(&'>') => {
                return fail(start, "=> is not an operator of conditions: use >=".into());
            }
            '=' if chars.get(at) == Some(&'<') => {
                return fail(start, "=< is not an operator of conditions: use <=".into());
            }
            '=' if chars.get(at) == Some(&'=') && chars.get(at + 1) == Some(&'=') => {
                return fail(start, "=== is not an operator of conditions: use ==".into());
            }
            '<' | '>' if chars.get(at) == Some(&c) => {
                return fail(start, format!("{c}{c} is not an operator of conditions: use {c} or {c}="));
            }
            // Two characters, one operator.
            '&' | '|' | '=' | '<' | '>' if chars.get(at).is_some_and(|next| *next == c || *next == '=') => at += 1,
            '=' => return fail(start, "= does not compare: use ==, <= or >=".into()),
            '&' | '|' => return fail(start, format!("{c} is not an operator of conditions: use {c}{c}")),
            '.' | ',' | '?' | ':' | '+' | '*' | '/' | '%' | '<' | '>' => {}
            '{' | '}' => return fail(start, "maps ({...}) are not allowed in a condition".into()),
            '“' | '”' | '„' | '‘' | '’' | '`' => {
                return fail(start, format!("the quote {c} is not a quote of conditions: use \" or '"));
            }
            other => return fail(start, format!("the character {other:?} is not allowed in a condition")),
        }
        prefixes = if prefix { prefixes + 1 } else { 0 };
        if open + prefixes > MAX_LEVELS {
            return fail(start, format!("the condition is nested more than {MAX_LEVELS} levels deep"));
        }
        if tokens > MAX_TOKENS {
            return fail(start, format!("the condition has more than {MAX_TOKENS} words and operators"));
        }
    }
    Ok(())
}

/// The offset after the string that begins at `start`.
fn string(chars: &[char], start: usize) -> Result<usize, ScanError> {
    let quote = chars.get(start);
    if chars.get(start + 1) == quote && chars.get(start + 2) == quote {
        return Err(ScanError { at: start, message: "triple-quoted strings are not allowed in a condition".into() });
    }
    let mut at = start + 1;
    while let Some(c) = chars.get(at) {
        at += 1;
        match c {
            '\\' => {
                // The escapes of CEL; a path of Windows has others.
                let known = |c: &char| "abfnrtv\\?\"'`xXuU01234567".contains(*c);
                if let Some(escaped) = chars.get(at).filter(|c| !known(c)) {
                    let message = format!("\\{escaped} is not an escape of conditions: write \\\\ for a backslash");
                    return Err(ScanError { at: at - 1, message });
                }
                at += 1;
            }
            '\n' | '\r' => break,
            c if Some(c) == quote => return Ok(at),
            _ => {}
        }
    }
    Err(ScanError { at: start, message: "this string does not end".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_conditions_pass() {
        for good in [
            r#"backup.last_error in playbook.codes || points.count > points.limit"#,
            r#"vmsnapshot.state == "Failed" && !agent.ready"#,
            r#"extensions.failed.exists(x, x.startsWith('It\'s (((')) "#,
            "points.count - -1 > 0 ? true : false",
            r#"vm.name == "웹-01""#,
            "!(vm.name!='a')&&points.count>=1||points.count<=2",
        ] {
            assert_eq!(scan(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_could_hurt_the_parser_does_not_reach_it() {
        for (bad, word) in [
            (" ".to_owned(), "empty"),
            ("a".repeat(1025), "1024"),
            ("(".repeat(33), "levels"),
            ("!".repeat(33), "levels"),
            ("-".repeat(33), "levels"),
            (format!("{}{}", "(".repeat(20), "!".repeat(20)), "levels"),
            ("a.".repeat(200), "words"),
            (r#"")))" + ((("#.to_owned() + &"(".repeat(40), "levels"),
            ("{\"a\": 1}.a".into(), "maps"),
            ("r'x' == 'x'".into(), "raw"),
            ("'''a'b'''".into(), "triple"),
            ("'a".into(), "does not end"),
            ("'a\\'".into(), "does not end"),
            ("vm.name // x".into(), "comments"),
            ("vm.name = 'x'".into(), "use =="),
            ("points.count =< 3".into(), "use <="),
            ("points.count => 3".into(), "use >="),
            ("points.count <> 3".into(), "use !="),
            ("points.count === 3".into(), "use =="),
            ("points.count >> 3".into(), "use > or >="),
            ("99999999999999999999 > points.count".into(), "18 digits"),
            ("vm.name == “x”".into(), "use \" or '"),
            ("vm.name == 'a\\q'".into(), "write \\\\"),
            ("vm.exists & agent.ready".into(), "use &&"),
            ("vm.exists | agent.ready".into(), "use ||"),
            ("vm`name`".into(), "the quote `"),
            ("@result".into(), "'@'"),
            ("νm.name".into(), "'ν'"),
        ] {
            let error = scan(&bad).unwrap_err();
            assert!(error.message.contains(word), "{bad}: {}", error.message);
        }
        assert_eq!(scan("a == #").unwrap_err().at, 5);
        assert_eq!(scan("vm.name = 'x'").unwrap_err().at, 8);
    }
}
