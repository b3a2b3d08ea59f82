//! The types of a compiled condition: what CEL itself does not check before it runs.
//!
//! Duty: walk the expression against the condition view's schema; report unknown names, wrong types, functions off the
//! list and results that are not boolean; collect the paths that the condition touches.
//!
//! Invariants: what passes here is made of booleans, whole numbers, text and lists of these, so at run time it can fail
//! only by an overflow. Nothing of the language is allowed by accident: every kind of expression is named here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::OnceLock;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, SourceInfo, operators};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::facts::view::View;
use crate::spelling::nearest;

/// The type of a value in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// Text.
    Text,
    /// A list of one type.
    List(Box<Self>),
    /// Already reported, or the element of an empty list: fits everything.
    Any,
}

impl Type {
    fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::List(a), Self::List(b)) => a.fits(b),
            _ => self == other,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("a boolean"),
            Self::Int => f.write_str("a whole number"),
            Self::Text => f.write_str("text"),
            Self::List(inner) => match **inner {
                Self::Bool => f.write_str("a list of booleans"),
                Self::Int => f.write_str("a list of whole numbers"),
                Self::Text => f.write_str("a list of texts"),
                Self::List(_) | Self::Any => f.write_str("a list"),
            },
            Self::Any => f.write_str("anything"),
        }
    }
}

/// One value that conditions can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its type.
    pub kind: Type,
    /// What it means.
    pub help: String,
}

/// Every path of the condition view with its type and meaning, from the JSON Schema of [`View`]; `params.*` and
/// `playbook.*` are added by the playbook.
pub fn view_paths() -> &'static BTreeMap<String, Known> {
    static PATHS: OnceLock<BTreeMap<String, Known>> = OnceLock::new();
    PATHS.get_or_init(|| {
        let generator = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
        let schema = generator.into_root_schema_for::<View>();
        let mut paths = BTreeMap::new();
        for (part, schema) in properties(schema.as_value()) {
            for (name, schema) in properties(schema) {
                let help = schema.get("description").and_then(Value::as_str).unwrap_or_default();
                let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
                paths.insert(format!("{part}.{name}"), Known { kind: type_of_schema(schema), help });
            }
        }
        paths
    })
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn type_of_schema(schema: &Value) -> Type {
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => Type::Bool,
        Some("integer") => Type::Int,
        Some("string") => Type::Text,
        Some("array") => Type::List(Box::new(schema.get("items").map_or(Type::Any, type_of_schema))),
        // A test holds that no value of the view ends here.
        _ => Type::Any,
    }
}

/// What is wrong with a condition, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Offset in characters from the beginning of the condition.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The functions that conditions may call, as they are written.
pub const FUNCTIONS: [&str; 6] = ["size", "contains", "startsWith", "endsWith", "exists", "all"];

/// The deepest expression that is evaluated: evaluation takes up to 32 KB of stack for each operation without
/// optimisation, and it runs on whatever thread there is. `||` and `&&` are balanced by the parser, so long lists of them are flat.
const MAX_DEPTH: usize = 24;

/// Checks a compiled condition. Returns the touched paths, or every problem.
pub fn check(
    expression: &IdedExpr,
    places: &SourceInfo,
    params: &BTreeMap<String, Type>,
) -> Result<BTreeSet<String>, Vec<Problem>> {
    let mut checker = Checker {
        places,
        params,
        locals: Vec::new(),
        touched: BTreeSet::new(),
        problems: Vec::new(),
        level: 0,
        depth: 0,
        too_deep: false,
    };
    let result = checker.type_of(expression);
    if !result.fits(&Type::Bool) {
        let hint = "compare it with something, for example `points.count > 0`";
        checker.report(expression, format!("the condition is {result}, not true or false"), Some(hint.into()));
    }
    if checker.problems.is_empty() { Ok(checker.touched) } else { Err(checker.problems) }
}

struct Checker<'a> {
    places: &'a SourceInfo,
    params: &'a BTreeMap<String, Type>,
    locals: Vec<(String, Type)>,
    touched: BTreeSet<String>,
    problems: Vec<Problem>,
    level: usize,
    depth: usize,
    too_deep: bool,
}

impl Checker<'_> {
    fn report(&mut self, expression: &IdedExpr, message: String, hint: Option<String>) -> Type {
        // The parser places a selection at its dot; people look for its beginning.
        let mut first = expression;
        while let Expr::Select(select) = &first.expr {
            first = &select.operand;
        }
        let at = self.places.offset_for(first.id).map_or(0, |(start, _)| start as usize);
        let problem = Problem { at, message, hint };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        Type::Any
    }

    fn expect(&mut self, expression: &IdedExpr, wanted: &Type, user: &str) {
        let found = self.type_of(expression);
        if !found.fits(wanted) {
            self.report(expression, format!("{user} needs {wanted}, but this is {found}"), None);
        }
    }

    fn type_of(&mut self, expression: &IdedExpr) -> Type {
        if self.depth >= MAX_DEPTH {
            // Once is enough: what lies below is not looked at, and each branch would say it again.
            if std::mem::replace(&mut self.too_deep, true) {
                return Type::Any;
            }
            let message = format!("the condition is nested more than {MAX_DEPTH} operations deep");
            return self.report(expression, message, Some("group the parts of long sums with brackets".into()));
        }
        self.depth += 1;
        let found = self.type_inside(expression);
        self.depth -= 1;
        found
    }

    fn type_inside(&mut self, expression: &IdedExpr) -> Type {
        match &expression.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => Type::Bool,
            Expr::Literal(LiteralValue::Int(_)) => Type::Int,
            Expr::Literal(LiteralValue::String(_)) => Type::Text,
            Expr::Literal(LiteralValue::Null) => {
                let hint = "every value exists: absent text is \"\" and an absent number is 0";
                self.report(expression, "null is not used in conditions".into(), Some(hint.into()))
            }
            Expr::Literal(LiteralValue::Double(_) | LiteralValue::UInt(_)) => {
                self.report(expression, "only whole numbers such as 18 are used in conditions".into(), None)
            }
            Expr::Literal(LiteralValue::Bytes(_)) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.report(expression, "this is not used in conditions".into(), None)
            }
            Expr::Ident(name) => self.ident(expression, name),
            Expr::Select(select) => self.select(expression, select),
            Expr::List(list) => {
                let mut inner = Type::Any;
                for item in &list.elements {
                    let found = self.type_of(item);
                    if !inner.fits(&found) {
                        self.report(item, format!("a list holds one type: {inner} comes before {found}"), None);
                    } else if inner == Type::Any {
                        inner = found;
                    }
                }
                Type::List(Box::new(inner))
            }
            Expr::Call(call) => self.call(expression, call),
            Expr::Comprehension(loop_) => self.comprehension(expression, loop_),
        }
    }

    fn ident(&mut self, expression: &IdedExpr, name: &str) -> Type {
        if let Some((_, kind)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return kind.clone();
        }
        let parts = parts();
        if parts.contains(name) {
            let hint = self.names_in(name).into_iter().take(3).collect::<Vec<_>>().join(", ");
            return self.report(expression, format!("{name} is a group of values: choose one"), Some(hint));
        }
        // `vm_name` and a bare `count` are as likely as a misspelt part.
        let all = self.all_names();
        let near = nearest(name, parts.iter().copied())
            .or_else(|| all.iter().map(String::as_str).find(|path| path.ends_with(&format!(".{name}"))))
            .or_else(|| nearest(name, all.iter().map(String::as_str)));
        let hint = near.map_or_else(
            || format!("known: {}", parts.iter().copied().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean {near}?"),
        );
        self.report(expression, format!("unknown name {name:?}"), Some(hint))
    }

    fn select(&mut self, expression: &IdedExpr, select: &SelectExpr) -> Type {
        if select.test {
            let hint = "every value exists: compare it with \"\" or 0 instead";
            return self.report(expression, "has() is not used in conditions".into(), Some(hint.into()));
        }
        let operand = &*select.operand;
        let Expr::Ident(part) = &operand.expr else {
            // A deeper path (`vm.name.x`) or a field of a call.
            let found = self.type_of(operand);
            return if found == Type::Any {
                Type::Any
            } else {
                self.report(operand, format!("{found} has no field {:?}", select.field), None)
            };
        };
        let path = format!("{part}.{}", select.field);
        if let Some((_, kind)) = self.locals.iter().rev().find(|(local, _)| local == part) {
            let message = format!("{part} is {kind} and has no field {:?}", select.field);
            return self.report(operand, message, None);
        }
        let found = match part.as_str() {
            "params" => self.params.get(&select.field).cloned(),
            "playbook" => (select.field == "codes").then(|| Type::List(Box::new(Type::Text))),
            _ => view_paths().get(&path).map(|known| known.kind.clone()),
        };
        if let Some(kind) = found {
            self.touched.insert(path);
            return kind;
        }
        if !parts().contains(part.as_str()) {
            return self.ident(operand, part);
        }
        let names = self.names_in(part);
        let hint = nearest(&path, names.iter().map(String::as_str)).map_or_else(
            || {
                if names.is_empty() {
                    format!("{part} has no values here")
                } else {
                    format!("known: {}", names.join(", "))
                }
            },
            |near| format!("did you mean {near}?"),
        );
        self.report(operand, format!("unknown name {path:?}"), Some(hint))
    }

    fn names_in(&self, part: &str) -> Vec<String> {
        self.all_names().into_iter().filter(|path| path.split('.').next() == Some(part)).collect()
    }

    fn all_names(&self) -> Vec<String> {
        let params = self.params.keys().map(|name| format!("params.{name}"));
        view_paths().keys().cloned().chain(params).chain(["playbook.codes".to_owned()]).collect()
    }

    fn call(&mut self, expression: &IdedExpr, call: &CallExpr) -> Type {
        let name = call.func_name.as_str();
        let shown = name.trim_matches('_').trim_start_matches('@');
        match (name, call.target.as_deref(), call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, None, args) => {
                for arg in args {
                    self.expect(arg, &Type::Bool, shown);
                }
                Type::Bool
            }
            (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, None, [arg]) => {
                self.expect(arg, &Type::Bool, shown);
                Type::Bool
            }
            (operators::NEGATE, None, [arg]) => {
                self.expect(arg, &Type::Int, "-");
                Type::Int
            }
            (operators::ADD | operators::SUBSTRACT | operators::MULTIPLY, None, args) => {
                for arg in args {
                    self.expect(arg, &Type::Int, shown);
                }
                Type::Int
            }
            (operators::GREATER | operators::GREATER_EQUALS | operators::LESS | operators::LESS_EQUALS, None, args) => {
                for arg in args {
                    self.expect(arg, &Type::Int, shown);
                }
                Type::Bool
            }
            (operators::EQUALS | operators::NOT_EQUALS, None, [left, right]) => {
                let (a, b) = (self.type_of(left), self.type_of(right));
                if !a.fits(&b) {
                    self.report(expression, format!("{a} is compared with {b}: they are never equal"), None);
                }
                Type::Bool
            }
            (operators::IN, None, [item, list]) => {
                let (item, found) = (self.type_of(item), self.type_of(list));
                if !found.fits(&Type::List(Box::new(item.clone()))) {
                    self.report(list, format!("`in` needs a list to look for {item}, but this is {found}"), None);
                }
                Type::Bool
            }
            (operators::CONDITIONAL, None, [test, yes, no]) => {
                self.expect(test, &Type::Bool, "? :");
                let (a, b) = (self.type_of(yes), self.type_of(no));
                if !a.fits(&b) {
                    self.report(expression, format!("the two sides of ? : are {a} and {b}"), None);
                }
                if a == Type::Any { b } else { a }
            }
            ("size", None, [arg]) | ("size", Some(arg), []) => {
                let found = self.type_of(arg);
                if !matches!(found, Type::Text | Type::List(_) | Type::Any) {
                    self.report(arg, format!("size needs text or a list, but this is {found}"), None);
                }
                Type::Int
            }
            ("contains" | "startsWith" | "endsWith", Some(target), [arg]) => {
                let found = self.type_of(target);
                if let Type::List(_) = found {
                    let hint = format!("write `value in list` instead of `list.{name}(value)`");
                    self.report(target, format!("{name} needs text, but this is {found}"), Some(hint));
                } else if !found.fits(&Type::Text) {
                    self.report(target, format!("{name} needs text, but this is {found}"), None);
                }
                self.expect(arg, &Type::Text, name);
                Type::Bool
            }
            (operators::DIVIDE | operators::MODULO, None, _) => {
                self.report(expression, format!("{shown} is not used in conditions"), None)
            }
            (operators::INDEX, ..) => {
                let hint = "use exists, all or in: a list may be empty";
                self.report(expression, "[...] is not used on values".into(), Some(hint.into()))
            }
            (name, ..) if FUNCTIONS.contains(&name) => {
                let hint = match name {
                    "size" => "size(list) or list.size()",
                    "exists" | "all" => "list.exists(x, condition on x)",
                    _ => "text.contains(\"part\")",
                };
                self.report(expression, format!("{name} is called in a way it does not have"), Some(hint.into()))
            }
            (name, ..) => {
                let hint = nearest(name, FUNCTIONS).map_or_else(
                    || format!("functions of conditions: {}, and the operator in", FUNCTIONS.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                self.report(expression, format!("the function {name:?} is not used in conditions"), Some(hint))
            }
        }
    }

    /// `exists` and `all` arrive here expanded: an accumulator that starts as a boolean. `map` and `filter` start with a
    /// list, `exists_one` with a number.
    fn comprehension(&mut self, expression: &IdedExpr, loop_: &ComprehensionExpr) -> Type {
        let boolean = matches!(loop_.accu_init.expr, Expr::Literal(LiteralValue::Boolean(_)));
        if !boolean || loop_.iter_var2.is_some() {
            let hint = "use exists or all with one name";
            return self.report(expression, "this loop is not used in conditions".into(), Some(hint.into()));
        }
        if self.level >= 2 {
            return self.report(expression, "loops are nested more than twice".into(), None);
        }
        if parts().contains(loop_.iter_var.as_str()) || self.locals.iter().any(|(name, _)| *name == loop_.iter_var) {
            let message = format!("the name {:?} is taken: choose another for the loop", loop_.iter_var);
            return self.report(expression, message, None);
        }
        let item = match self.type_of(&loop_.iter_range) {
            Type::List(inner) => *inner,
            Type::Any => Type::Any,
            other => self.report(&loop_.iter_range, format!("a loop needs a list, but this is {other}"), None),
        };
        self.level += 1;
        self.locals.push((loop_.iter_var.clone(), item));
        self.locals.push((loop_.accu_var.clone(), Type::Bool));
        for part in [&loop_.loop_cond, &loop_.loop_step, &loop_.result] {
            self.expect(part, &Type::Bool, "the condition of a loop");
        }
        self.locals.truncate(self.locals.len().saturating_sub(2));
        self.level -= 1;
        Type::Bool
    }
}

/// The first words of all paths.
fn parts() -> BTreeSet<&'static str> {
    let view = view_paths().keys().filter_map(|path| path.split('.').next());
    view.chain(["params", "playbook"]).collect()
}
