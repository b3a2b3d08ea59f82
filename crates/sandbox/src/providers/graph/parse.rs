//! From pieces to a query.
//!
//! The language: a table (`resources`, `resourcecontainers`, `recoveryservicesresources`; none means `resources`, as
//! recorded) and operators behind `|`: `where`, `extend`, `project`, `order by ... asc|desc`, `limit` or `take`. Expressions:
//! literals, columns with paths (`a.b`, `a['b']`, `a[0]`), `==` `!=` `=~` `!~` `<` `<=` `>` `>=` `has` `contains` `startswith`
//! `endswith` `in` `in~`, `and`, `or`, `not()`, and the functions of [`Function`].
//!
//! Chains of `and` and `or` are lists and paths are lists, so that the depth of an expression is the depth of its
//! brackets, which is bounded: no query overflows the stack.

use super::lex::{Placed, Token, lex};
use super::value::Val;
use super::{Fault, Parsed};

/// The deepest brackets.
const MAX_DEPTH: usize = 48;
/// The most operators.
const MAX_OPERATORS: usize = 100;

/// The tables of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Resources,
    Containers,
    RecoveryServices,
}

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub table: Table,
    pub operators: Vec<Operator>,
}

/// One step behind `|`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operator {
    Where(Expr),
    Extend(Vec<(String, Expr)>),
    Project(Vec<(String, Expr)>),
    /// Keys, and whether each goes up.
    Order(Vec<(Expr, bool)>),
    Take(u64),
}

/// A part of a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Like,
    NotLike,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Has,
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    IsEmpty,
    IsNotEmpty,
    IsNull,
    ToLower,
    ToString,
    ToInt,
    ToLong,
    ToBool,
    ToDatetime,
    Now,
    Ago,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Literal(Val),
    Path(String, Vec<Step>),
    Call(Function, Vec<Self>),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Compare(Compare, Box<Self>, Box<Self>),
    /// Value, list, whether without case.
    In(Box<Self>, Vec<Self>, bool),
}

const OPERATORS: [&str; 6] = ["where", "extend", "project", "order", "limit", "take"];
/// Words that are no columns.
const RESERVED: [&str; 12] =
    ["and", "or", "in", "in~", "has", "contains", "startswith", "endswith", "by", "asc", "desc", "not"];

struct Parser {
    pieces: Vec<Placed>,
    at: usize,
    depth: usize,
}

/// Reads a query.
pub(super) fn parse(text: &str) -> Parsed<Query> {
    let mut parser = Parser { pieces: lex(text)?, at: 0, depth: 0 };
    let mut operators = Vec::new();
    let first = parser.word().map(str::to_owned);
    let table = match first {
        Some(word) if parser.starts_an_operator(&word) => {
            operators.push(parser.operator()?);
            Table::Resources
        }
        Some(word) => {
            parser.at += 1;
            match word.to_ascii_lowercase().as_str() {
                "resources" => Table::Resources,
                "resourcecontainers" => Table::Containers,
                "recoveryservicesresources" => Table::RecoveryServices,
                _ => return Err(Fault::Table(word)),
            }
        }
        None => return Err(parser.fault()),
    };
    while parser.at < parser.pieces.len() {
        parser.sign("|")?;
        operators.push(parser.operator()?);
        if operators.len() > MAX_OPERATORS {
            return Err(Fault::Size("The query has too many operators."));
        }
    }
    Ok(Query { table, operators })
}

impl Parser {
    fn token(&self) -> Option<&Token> {
        self.pieces.get(self.at).map(|piece| &piece.token)
    }

    fn word(&self) -> Option<&str> {
        match self.token() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// An operator's keyword; followed by `|` or nothing it would be the name of a table.
    fn starts_an_operator(&self, word: &str) -> bool {
        OPERATORS.contains(&word)
            && !matches!(self.pieces.get(self.at + 1).map(|p| &p.token), None | Some(Token::Sign("|")))
    }

    fn fault(&self) -> Fault {
        let end = |last: &Placed| Fault::Parser { line: last.line, position: last.position, token: "<EOF>".to_owned() };
        self.pieces.get(self.at).map_or_else(
            || {
                self.pieces
                    .last()
                    .map_or_else(|| Fault::Parser { line: 1, position: 0, token: "<EOF>".to_owned() }, end)
            },
            Placed::fault,
        )
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.token(), Some(Token::Sign(found)) if *found == sign)
    }

    fn try_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> Parsed<()> {
        if self.try_sign(sign) { Ok(()) } else { Err(self.fault()) }
    }

    fn try_word(&mut self, word: &str) -> bool {
        let found = self.word() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn operator(&mut self) -> Parsed<Operator> {
        let Some(word) = self.word().map(str::to_owned) else { return Err(self.fault()) };
        if !OPERATORS.contains(&word.as_str()) {
            return Err(Fault::Operator(word));
        }
        self.at += 1;
        match word.as_str() {
            "where" => self.any().map(Operator::Where),
            "extend" => self.named(false).map(Operator::Extend),
            "project" => self.named(true).map(Operator::Project),
            "order" => {
                if !self.try_word("by") {
                    return Err(self.fault());
                }
                self.keys().map(Operator::Order)
            }
            _ => match self.token() {
                Some(Token::Long(count)) => {
                    let count = u64::try_from(*count).map_err(|_| self.fault())?;
                    self.at += 1;
                    Ok(Operator::Take(count))
                }
                _ => Err(self.fault()),
            },
        }
    }

    /// `a = expression, b`; a column alone names itself, a path its names with `_` between them.
    fn named(&mut self, bare: bool) -> Parsed<Vec<(String, Expr)>> {
        let mut out: Vec<(String, Expr)> = Vec::new();
        loop {
            let assigned = self.word().is_some()
                && matches!(self.pieces.get(self.at + 1).map(|piece| &piece.token), Some(Token::Sign("=")));
            let (name, expr) = if assigned {
                let name = self.word().unwrap_or_default().to_owned();
                if RESERVED.contains(&name.as_str()) {
                    return Err(self.fault());
                }
                self.at += 2;
                (name, self.any()?)
            } else {
                let fault = self.fault();
                let expr = self.any()?;
                match &expr {
                    Expr::Path(column, steps) if bare => {
                        let mut name = column.clone();
                        for step in steps {
                            let Step::Name(step) = step else { return Err(fault) };
                            name = format!("{name}_{step}");
                        }
                        (name, expr)
                    }
                    _ => return Err(fault),
                }
            };
            out.push((name, expr));
            if !self.try_sign(",") {
                return Ok(out);
            }
        }
    }

    fn keys(&mut self) -> Parsed<Vec<(Expr, bool)>> {
        let mut out = Vec::new();
        loop {
            let key = self.any()?;
            // Down is what the language does when nothing is said.
            let up = self.try_word("asc");
            if !up {
                self.try_word("desc");
            }
            out.push((key, up));
            if !self.try_sign(",") {
                return Ok(out);
            }
        }
    }

    fn any(&mut self) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Size("The query is nested too deep."));
        }
        let mut parts = vec![self.all()?];
        while self.try_word("or") {
            parts.push(self.all()?);
        }
        self.depth -= 1;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Any(parts) })
    }

    fn all(&mut self) -> Parsed<Expr> {
        let mut parts = vec![self.compared()?];
        while self.try_word("and") {
            parts.push(self.compared()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::All(parts) })
    }

    fn compared(&mut self) -> Parsed<Expr> {
        let left = self.primary()?;
        let by = match self.token() {
            Some(Token::Sign("==")) => Compare::Equal,
            Some(Token::Sign("!=")) => Compare::NotEqual,
            Some(Token::Sign("=~")) => Compare::Like,
            Some(Token::Sign("!~")) => Compare::NotLike,
            Some(Token::Sign("<")) => Compare::Less,
            Some(Token::Sign("<=")) => Compare::LessOrEqual,
            Some(Token::Sign(">")) => Compare::Greater,
            Some(Token::Sign(">=")) => Compare::GreaterOrEqual,
            Some(Token::Word(word)) => match word.as_str() {
                "has" => Compare::Has,
                "contains" => Compare::Contains,
                "startswith" => Compare::StartsWith,
                "endswith" => Compare::EndsWith,
                "in" | "in~" => {
                    let fold = word == "in~";
                    self.at += 1;
                    self.sign("(")?;
                    let list = self.list()?;
                    if list.is_empty() {
                        return Err(self.fault());
                    }
                    return Ok(Expr::In(Box::new(left), list, fold));
                }
                _ => return Ok(left),
            },
            _ => return Ok(left),
        };
        self.at += 1;
        Ok(Expr::Compare(by, Box::new(left), Box::new(self.primary()?)))
    }

    /// Expressions up to the closing bracket.
    fn list(&mut self) -> Parsed<Vec<Expr>> {
        let mut out = Vec::new();
        if self.try_sign(")") {
            return Ok(out);
        }
        loop {
            out.push(self.any()?);
            if self.try_sign(")") {
                return Ok(out);
            }
            self.sign(",")?;
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let fault = self.fault();
        let Some(token) = self.token().cloned() else { return Err(fault) };
        self.at += 1;
        let literal = match token {
            Token::Text(text) => Val::Text(text),
            Token::Long(number) => Val::Long(number),
            Token::Real(number) => Val::Real(number),
            Token::Span(seconds) => Val::Span(seconds),
            Token::Sign("(") => {
                let inner = self.any()?;
                self.sign(")")?;
                return Ok(inner);
            }
            Token::Sign(_) => return Err(fault),
            Token::Word(word) if self.is_sign("(") => {
                self.at += 1;
                return self.call(&word, fault);
            }
            Token::Word(word) => match word.as_str() {
                "true" => Val::Bool(true),
                "false" => Val::Bool(false),
                reserved if RESERVED.contains(&reserved) => return Err(fault),
                _ => return Ok(Expr::Path(word, self.steps()?)),
            },
        };
        Ok(Expr::Literal(literal))
    }

    fn steps(&mut self) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.try_sign(".") {
                let Some(name) = self.word().map(str::to_owned) else { return Err(self.fault()) };
                self.at += 1;
                steps.push(Step::Name(name));
            } else if self.try_sign("[") {
                let step = match self.token() {
                    Some(Token::Text(name)) => Step::Name(name.clone()),
                    Some(Token::Long(index)) => Step::Index(usize::try_from(*index).map_err(|_| self.fault())?),
                    _ => return Err(self.fault()),
                };
                self.at += 1;
                self.sign("]")?;
                steps.push(step);
            } else {
                return Ok(steps);
            }
        }
    }

    fn call(&mut self, name: &str, fault: Fault) -> Parsed<Expr> {
        let mut given = self.list()?;
        if name == "not" {
            return if given.len() == 1 { Ok(Expr::Not(Box::new(given.remove(0)))) } else { Err(fault) };
        }
        let (function, wanted) = match name {
            "isempty" => (Function::IsEmpty, 1),
            "isnotempty" => (Function::IsNotEmpty, 1),
            "isnull" => (Function::IsNull, 1),
            "tolower" => (Function::ToLower, 1),
            "tostring" => (Function::ToString, 1),
            "toint" => (Function::ToInt, 1),
            "tolong" => (Function::ToLong, 1),
            "tobool" => (Function::ToBool, 1),
            "todatetime" => (Function::ToDatetime, 1),
            "now" => (Function::Now, 0),
            "ago" => (Function::Ago, 1),
            _ => return Err(Fault::Meaning(format!("Unknown function: '{name}'."))),
        };
        if given.len() == wanted { Ok(Expr::Call(function, given)) } else { Err(fault) }
    }
}
