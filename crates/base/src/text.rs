//! Text for people: what comes from Azure made harmless, and small words about numbers and time.
//!
//! Duty: everything that a stranger may have written (names, notes of locks, error messages) goes through [`safe`] or
//! [`safe_short`] before it reaches a terminal, and through [`shell_quote`] before it stands in a command that the user
//! may paste (S11).
//!
//! Invariants: what [`safe`] returns is one line without control, bidirectional or invisible characters; what
//! [`shell_quote`] returns is one word for the shells of this machine and can never run anything.
//!
//! It must never decide what is printed: that is `cli` and `report`.

use std::time::Duration;

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

/// The text as one harmless line: line ends and tabs become a space, another control character its picture (`␛`), a
/// bidirectional or invisible one its code (`\u{202e}`).
#[must_use]
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_safe(&mut out, c);
    }
    out
}

/// Like [`safe`], and at most `max` columns wide; a cut text ends in `…`.
#[must_use]
pub fn safe_short(text: &str, max: usize) -> String {
    let mut out = String::new();
    // The end of the longest part that still leaves room for the ellipsis.
    let (mut length, mut fits) = (0, 0);
    for c in text.chars() {
        let before = out.len();
        push_safe(&mut out, c);
        length += out.get(before..).map_or(0, UnicodeWidthStr::width);
        if length > max {
            out.truncate(fits);
            if max > 0 {
                out.push('…');
            }
            return out;
        }
        if length < max {
            fits = out.len();
        }
    }
    out
}

/// JSON text that means the same and has its control and invisible characters written as `\uXXXX`: in JSON these stand
/// only inside of strings.
#[must_use]
pub fn safe_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn push_safe(out: &mut String, c: char) {
    match c {
        // One space for each run of them: the lines of a note or a message are a sentence for whoever reads it.
        '\n' | '\r' | '\t' if out.ends_with(' ') => {}
        '\n' | '\r' | '\t' => out.push(' '),
        '\0'..='\x1f' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)),
        '\x7f' => out.push('␡'),
        _ if c.is_control() || is_invisible(c) => {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        }
        _ => out.push(c),
    }
}

/// Whether a character has no picture of its own or turns its neighbours around: Unicode's `Default_Ignorable` and
/// `Bidi_Control`, the line and paragraph separators and the interlinear annotations.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The shells that a printed command may be pasted into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// sh, bash, zsh and the like.
    Posix,
    /// PowerShell and cmd on Windows: a program cannot tell which of them started it, so one form is for both.
    Windows,
}

impl Shell {
    /// Those of this machine.
    pub const HERE: Self = if cfg!(windows) { Self::Windows } else { Self::Posix };
}

/// One word for the shells of this machine that stands for `text` and never runs anything: [`quote_for`].
#[must_use]
pub fn shell_quote(text: &str) -> String {
    quote_for(Shell::HERE, text)
}

/// One word for a shell that stands for `text` and never runs anything.
#[must_use]
pub fn quote_for(shell: Shell, text: &str) -> String {
    match shell {
        Shell::Posix => posix_quote(text),
        Shell::Windows => windows_quote(text),
    }
}

/// One word that PowerShell, cmd and bash on Windows read alike, in double quotes.
///
/// A character that one of them would act upon becomes `\u{fffd}`, so that the word is wrong there but inert: quotes (also the
/// curly ones, which PowerShell takes for quotes), `$`, backtick, `%`, `!` and what is not printed. So do `&`, `|`, `<`, `>`
/// and `^`, for `az` is a batch file and cmd reads the arguments of one a second time, perhaps without the quotes. A backslash at
/// the end would take the closing quote with it; there it becomes `/`, which ends a path just as well.
fn windows_quote(text: &str) -> String {
    // Not `,` and `@`, nor `-` at the beginning, which mean something to PowerShell; not `\`, which does to bash.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '+');
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    let acts = |c: char| {
        matches!(c, '"' | '\u{201c}'..='\u{201f}' | '$' | '`' | '%' | '!' | '&' | '|' | '<' | '>' | '^')
            || c.is_control()
            || is_invisible(c)
    };
    let inert: String = text.chars().map(|c| if acts(c) { char::REPLACEMENT_CHARACTER } else { c }).collect();
    let body = inert.trim_end_matches('\\');
    format!("\"{body}{}\"", "/".repeat(inert.len() - body.len()))
}

/// One word for a POSIX shell that stands for exactly `text` and never runs anything.
///
/// Text with control or invisible characters is written as `$'...'` with octal codes: bash, ksh and zsh read that
/// exactly; a shell that does not know the form (dash) sees an ordinary quoted word, which is wrong but inert. A
/// NUL cannot be in an argument and becomes `\u{fffd}`.
fn posix_quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@' | ',' | '+');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    if !text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut out = String::from("$'");
    for c in text.chars() {
        match c {
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            // No quote, backslash or `!` stands for itself, so every shell agrees where the word ends.
            _ if c.is_control() || is_invisible(c) || matches!(c, '\'' | '\\' | '!') => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("\\{byte:03o}"));
                }
            }
            _ => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// What the system said about a file, without its numbers: `no space is left on the disk`.
#[must_use]
pub fn io_words(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let words = match error.kind() {
        ErrorKind::NotFound => "no such file or directory",
        ErrorKind::PermissionDenied => "access is denied",
        ErrorKind::AlreadyExists => "it exists already",
        ErrorKind::StorageFull => "no space is left on the disk",
        ErrorKind::QuotaExceeded => "your disk quota is used up",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        ErrorKind::NotADirectory => "a part of the path is a file, not a directory",
        ErrorKind::IsADirectory => "it is a directory, not a file",
        ErrorKind::InvalidFilename => "the name is too long or has a character that is not allowed",
        ErrorKind::FileTooLarge => "the file would be too large",
        ErrorKind::AddrInUse => "the port is used by another process",
        ErrorKind::Unsupported => "this file system does not support it",
        _ => {
            let text = error.to_string();
            return match text.find(" (os error ") {
                Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
                None => text,
            };
        }
    };
    words.to_owned()
}

/// `1 point`, `2 points`, `0 policies`.
#[must_use]
pub fn plural(n: usize, noun: &str) -> String {
    if n == 1 {
        return format!("1 {noun}");
    }
    let vowel_before = |stem: &str| stem.ends_with(['a', 'e', 'i', 'o', 'u']);
    match noun.strip_suffix('y') {
        Some(stem) if !vowel_before(stem) => format!("{n} {stem}ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") || noun.ends_with("sh") => format!("{n} {noun}es"),
        _ => format!("{n} {noun}s"),
    }
}

/// How many look-alikes are named.
const SHOWN: usize = 3;

/// Letters of another script that look like Latin ones, in a text that is otherwise Latin: `character 2 is "е" (Cyrillic, U+0435)`.
#[must_use]
pub fn look_alikes(text: &str) -> Option<String> {
    let script = |c: char| match c {
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Some("Greek"),
        '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' => Some("Cyrillic"),
        '\u{530}'..='\u{58f}' => Some("Armenian"),
        '\u{ff01}'..='\u{ff5e}' => Some("full width"),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => Some("not a hyphen"),
        _ => None,
    };
    let found: Vec<String> = text
        .chars()
        .enumerate()
        .filter_map(|(at, c)| Some(format!("character {} is \"{c}\" ({}, U+{:04X})", at + 1, script(c)?, u32::from(c))))
        .collect();
    let latin = text.chars().any(|c| c.is_ascii_alphanumeric());
    let more = found.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (latin && !found.is_empty()).then(|| found.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ") + &more)
}

/// A duration in the two largest units: `45 s`, `12 min 5 s`, `3 h 12 min`, `2 d 3 h`. A part of a second counts as none.
#[must_use]
pub fn human_duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let Some(at) = units.iter().position(|(size, _)| secs >= *size) else { return "0 s".to_owned() };
    let mut rest = secs;
    let mut parts = Vec::new();
    for (size, name) in units.iter().skip(at).take(2) {
        if rest / size > 0 {
            parts.push(format!("{} {name}", rest / size));
        }
        rest %= size;
    }
    parts.join(" ")
}

/// A time for people, to the minute: `2026-11-20 09:05Z`. Azure's seconds and their fractions only tire the eye.
#[must_use]
pub fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%MZ").to_string()
}

/// `3 h 12 min ago`, or `just now` within the last second.
#[must_use]
pub fn ago(elapsed: Duration) -> String {
    if elapsed.as_secs() == 0 { "just now".to_owned() } else { format!("{} ago", human_duration(elapsed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_look_like_latin_ones_are_named() {
        assert_eq!(look_alikes("w\u{435}b-01").unwrap(), "character 2 is \"\u{435}\" (Cyrillic, U+0435)");
        assert_eq!(look_alikes("web\u{2013}01").unwrap(), "character 4 is \"\u{2013}\" (not a hyphen, U+2013)");
        assert!(look_alikes("\u{440}\u{430}\u{441}\u{441}-1").unwrap().ends_with("and 1 more"));
        assert_eq!(look_alikes("web-01"), None);
        // A name in one script is a name.
        assert_eq!(look_alikes("\u{440}\u{430}"), None);
        assert_eq!(look_alikes("웹-01"), None);
    }

    #[test]
    fn what_the_system_says_has_no_numbers() {
        use std::io::{Error, ErrorKind};
        assert_eq!(io_words(&Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(io_words(&Error::from(ErrorKind::StorageFull)), "no space is left on the disk");
        for code in 1..=133 {
            let words = io_words(&Error::from_raw_os_error(code));
            assert!(!words.is_empty() && !words.contains("os error"), "{code}: {words}");
        }
        assert_eq!(io_words(&Error::other("half a line")), "half a line");
    }
    use proptest::prelude::*;

    #[test]
    fn strange_text_becomes_visible() {
        let cases = [
            ("web-01", "web-01"),
            ("가상 머신 é 日本", "가상 머신 é 日本"),
            ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
            ("a\r\nb\tc", "a b c"),
            ("\x7f\u{9b}31m", "␡\\u{9b}31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("lo\u{200b}ck\u{feff}", "lo\\u{200b}ck\\u{feff}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("a\u{2028}b", "a\\u{2028}b"),
        ];
        for (text, expected) in cases {
            assert_eq!(safe(text), expected);
        }
    }

    #[test]
    fn a_cut_is_shown_and_never_splits_a_replacement() {
        assert_eq!(safe_short("abcdef", 6), "abcdef");
        assert_eq!(safe_short("abcdefg", 6), "abcde…");
        assert_eq!(safe_short("가나다라", 3), "가…");
        assert_eq!(safe_short("가나다라", 5), "가나…");
        assert_eq!(safe_short("가나", 4), "가나");
        assert_eq!(safe_short("ab\u{202e}cd", 6), "ab…");
        assert_eq!(safe_short("ab", 1), "…");
        assert_eq!(safe_short("ab", 0), "");
        assert_eq!(safe_short("", 0), "");
    }

    #[test]
    fn quoting() {
        let cases = [
            ("web-01", "web-01"),
            ("/subscriptions/1/resourceGroups/rg", "/subscriptions/1/resourceGroups/rg"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("=ls", "'=ls'"),
            ("~root", "'~root'"),
            ("a b", "'a b'"),
            ("a\nb'!", r"$'a\012b\047\041'"),
            ("a\0b", "$'a\u{fffd}b'"),
            ("\u{202e}", r"$'\342\200\256'"),
        ];
        for (text, expected) in cases {
            assert_eq!(quote_for(Shell::Posix, text), expected);
        }
    }

    #[test]
    fn quoting_on_windows() {
        let cases = [
            ("web-01", "web-01"),
            ("/subscriptions/1/resourceGroups/rg", "/subscriptions/1/resourceGroups/rg"),
            ("", "\"\""),
            ("it's", "\"it's\""),
            (r"C:\Users\me\my plan.json", "\"C:\\Users\\me\\my plan.json\""),
            (r"C:\state\", "\"C:\\state/\""),
            ("--all", "\"--all\""),
            ("a,b", "\"a,b\""),
            ("rg (old)", "\"rg (old)\""),
            ("$(calc) `n", "\"\u{fffd}(calc) \u{fffd}n\""),
            ("\" & calc & \"", "\"\u{fffd} \u{fffd} calc \u{fffd} \u{fffd}\""),
            ("\u{201d};calc", "\"\u{fffd};calc\""),
            ("%CMDCMDLINE:~-1%", "\"\u{fffd}CMDCMDLINE:~-1\u{fffd}\""),
            ("a\nb", "\"a\u{fffd}b\""),
        ];
        for (text, expected) in cases {
            assert_eq!(quote_for(Shell::Windows, text), expected, "{text}");
        }
    }

    #[cfg(unix)]
    fn echoed(shell: &str, word: &str) -> Option<String> {
        let out = std::process::Command::new(shell).args(["-c", &format!("printf '%s|' x {word} y")]).output().ok()?;
        assert!(out.status.success(), "{word}: {}", String::from_utf8_lossy(&out.stderr));
        Some(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    #[cfg(unix)]
    #[test]
    fn a_real_shell_reads_back_what_was_quoted() {
        for text in ["", "a'b", "`id` $HOME \\ \" ; & | > *", "-n", "한국어", "'", "''", "!!", "#no", "a=b", "{a,b}"]
        {
            assert_eq!(echoed("sh", &shell_quote(text)).unwrap(), format!("x|{text}|y|"));
        }
        // bash knows $'...'; where it is not installed there is nothing to compare.
        for text in ["a\nb", "\x1b[0m'`id`'", "\\'\u{200b}$(id)\n\n", "\x07 7"] {
            if let Some(read) = echoed("bash", &shell_quote(text)) {
                assert_eq!(read, format!("x|{text}|y|"));
            }
        }
    }

    #[test]
    fn plurals() {
        let words = [
            plural(1, "point"),
            plural(2, "point"),
            plural(0, "policy"),
            plural(3, "key"),
            plural(2, "batch"),
            plural(2, "other VM"),
            plural(2, "address"),
        ];
        assert_eq!(
            words,
            ["1 point", "2 points", "0 policies", "3 keys", "2 batches", "2 other VMs", "2 addresses"]
                .map(String::from)
        );
    }

    #[test]
    fn times_have_no_seconds() {
        assert_eq!(utc("2026-11-20T09:05:59.123Z".parse().unwrap()), "2026-11-20 09:05Z");
    }

    #[test]
    fn durations() {
        for (secs, text) in [
            (0, "0 s"),
            (45, "45 s"),
            (60, "1 min"),
            (725, "12 min 5 s"),
            (11_520, "3 h 12 min"),
            (3601, "1 h"),
            (183_600, "2 d 3 h"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(secs)), text);
        }
        assert_eq!(ago(Duration::from_millis(999)), "just now");
        assert_eq!(ago(Duration::from_secs(60)), "1 min ago");
    }

    proptest! {
        #[test]
        fn safe_text_is_one_visible_line(text in any::<String>(), max in 0usize..40) {
            let out = safe(&text);
            prop_assert!(out.chars().all(|c| !c.is_control() && !is_invisible(c)), "{out:?}");
            prop_assert_eq!(safe(&out), out.clone());
            let short = safe_short(&text, max);
            let columns = |text: &str| text.chars().map(|c| c.to_string().width()).sum::<usize>();
            prop_assert!(columns(&short) <= max);
            prop_assert!(out.starts_with(short.trim_end_matches('…')));
            prop_assert_eq!(columns(&out) <= max, short == out);
        }

        #[test]
        fn a_word_for_windows_is_bare_or_in_quotes_that_nothing_in_it_ends(text in any::<String>()) {
            let word = quote_for(Shell::Windows, &text);
            match word.strip_prefix('"') {
                None => prop_assert!(word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:+".contains(c)), "{word:?}"),
                Some(rest) => {
                    let inside = rest.strip_suffix('"').unwrap();
                    let acts = ['"', '\u{201c}', '\u{201d}', '\u{201e}', '$', '`', '%', '!', '&', '|', '<', '>', '^'];
                    prop_assert!(!inside.contains(acts), "{word:?}");
                    prop_assert!(!inside.ends_with('\\'));
                    prop_assert!(inside.chars().all(|c| !c.is_control() && !is_invisible(c)), "{word:?}");
                }
            }
        }

        #[test]
        fn a_quoted_word_ends_where_it_should(text in any::<String>()) {
            let word = quote_for(Shell::Posix, &text);
            prop_assert!(word.chars().all(|c| !c.is_control() && !is_invisible(c)), "{word:?}");
            // Outside of single quotes, which only a quote can end, nothing but plain characters and `\'` may stand.
            let (mut inside, mut escaped) = (false, false);
            for c in word.strip_prefix('$').unwrap_or(&word).chars() {
                match c {
                    _ if escaped => { prop_assert_eq!(c, '\''); escaped = false; }
                    '\'' => inside = !inside,
                    '\\' if !inside => escaped = true,
                    _ if inside => {}
                    _ => prop_assert!(c.is_ascii_alphanumeric() || "_-./:@,+".contains(c), "{:?}", word),
                }
            }
            prop_assert!(!inside && !escaped);
        }
    }
}
