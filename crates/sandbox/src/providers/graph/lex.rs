//! A query as words, literals and signs.

use super::{Fault, Parsed};

/// The longest query, in bytes.
const MAX_TEXT: usize = 32 * 1024;

/// One piece of a query.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword, in the case it was written in. `in~` is one, too.
    Word(String),
    /// A text in quotes.
    Text(String),
    /// A whole number.
    Long(i64),
    /// A number with a fraction.
    Real(f64),
    /// A span such as `14d`, in seconds.
    Span(i64),
    /// Everything else.
    Sign(&'static str),
}

/// A piece and where it stands (lines from 1, positions from 0, as Azure counts).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub token: Token,
    pub line: usize,
    pub position: usize,
}

impl Placed {
    pub fn fault(&self) -> Fault {
        let token = match &self.token {
            Token::Word(text) | Token::Text(text) => text.chars().take(100).collect(),
            Token::Long(number) => number.to_string(),
            Token::Real(number) => number.to_string(),
            Token::Span(seconds) => format!("{seconds}s"),
            Token::Sign(sign) => (*sign).to_owned(),
        };
        Fault::Parser { line: self.line, position: self.position, token }
    }
}

/// Longer signs before their beginnings. The last line is of no use in this part of the language, and pieces all the same:
/// an operator that is not known is reported before what follows it.
#[rustfmt::skip]
const SIGNS: [&str; 24] = [
    "==", "!=", "=~", "!~", "<=", ">=", "|", "(", ")", "[", "]", ",", ".", "=", "<", ">",
    "*", "/", "+", "-", "%", ":", ";", "$",
];

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    position: usize,
    out: Vec<Placed>,
}

/// Takes a query apart.
pub(super) fn lex(text: &str) -> Parsed<Vec<Placed>> {
    if text.len() > MAX_TEXT {
        return Err(Fault::Size("The query is too long."));
    }
    let mut lexer = Lexer { rest: text, line: 1, position: 0, out: Vec::new() };
    while lexer.piece()? {}
    Ok(lexer.out)
}

impl<'a> Lexer<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for c in taken.chars() {
            if c == '\n' {
                self.line += 1;
                self.position = 0;
            } else {
                self.position += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn push(&mut self, (line, position): (usize, usize), token: Token) {
        self.out.push(Placed { token, line, position });
    }

    fn here(&self) -> (usize, usize) {
        (self.line, self.position)
    }

    fn fault(&self) -> Fault {
        let token = self.rest.chars().take(1).collect();
        Fault::Parser { line: self.line, position: self.position, token }
    }

    /// The bytes at the beginning that are all of this kind.
    fn span(&self, of: impl Fn(char) -> bool) -> usize {
        self.rest.find(|c| !of(c)).unwrap_or(self.rest.len())
    }

    fn piece(&mut self) -> Parsed<bool> {
        let space = self.span(char::is_whitespace);
        self.take(space);
        let Some(first) = self.rest.chars().next() else { return Ok(false) };
        let at = self.here();
        if self.rest.starts_with("//") {
            let end = self.span(|c| c != '\n');
            self.take(end);
        } else if first == '\'' || first == '"' {
            self.take(1);
            let text = self.quoted(first)?;
            self.push(at, Token::Text(text));
        } else if self.rest.starts_with("@'") || self.rest.starts_with("@\"") {
            let quote = if self.rest.starts_with("@'") { '\'' } else { '"' };
            self.take(2);
            let end = self.span(|c| c != quote && c != '\n');
            let text = self.take(end).to_owned();
            if !self.rest.starts_with(quote) {
                return Err(self.fault());
            }
            self.take(1);
            self.push(at, Token::Text(text));
        } else if first.is_ascii_digit() || (first == '-' && self.rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            let token = self.number()?;
            self.push(at, token);
        } else if first.is_ascii_alphabetic() || first == '_' {
            let mut end = self.span(|c| c.is_ascii_alphanumeric() || c == '_');
            if &self.rest[..end] == "in" && self.rest[end..].starts_with('~') {
                end += 1;
            }
            let word = self.take(end).to_owned();
            self.push(at, Token::Word(word));
        } else {
            let sign = SIGNS.into_iter().find(|sign| self.rest.starts_with(sign)).ok_or_else(|| self.fault())?;
            self.take(sign.len());
            self.push(at, Token::Sign(sign));
        }
        Ok(true)
    }

    fn quoted(&mut self, quote: char) -> Parsed<String> {
        let mut out = String::new();
        loop {
            let plain = self.span(|c| c != quote && c != '\\' && c != '\n');
            out.push_str(self.take(plain));
            let mut next = self.rest.chars();
            match (next.next(), next.next()) {
                (Some(c), _) if c == quote => {
                    self.take(1);
                    return Ok(out);
                }
                (Some('\\'), Some(escaped)) => {
                    out.push(match escaped {
                        '\\' | '\'' | '"' => escaped,
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        _ => return Err(self.fault()),
                    });
                    self.take(2);
                }
                _ => return Err(self.fault()),
            }
        }
    }

    fn number(&mut self) -> Parsed<Token> {
        let fault = self.fault();
        let sign = usize::from(self.rest.starts_with('-'));
        let digits = sign + self.rest[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len() - sign);
        let mut end = digits;
        let fraction =
            self.rest[digits..].strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(rest) = fraction {
            end += 1 + rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        }
        let number = self.take(end);
        let unit = self.span(|c| c.is_ascii_alphanumeric() || c == '_');
        let unit = self.take(unit);
        if end > digits {
            return if unit.is_empty() { number.parse().map(Token::Real).map_err(|_| fault) } else { Err(fault) };
        }
        let whole: i64 = number.parse().map_err(|_| fault.clone())?;
        let seconds = match unit {
            "" => return Ok(Token::Long(whole)),
            "d" => 86_400,
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return Err(fault),
        };
        whole.checked_mul(seconds).map(Token::Span).ok_or(fault)
    }
}
