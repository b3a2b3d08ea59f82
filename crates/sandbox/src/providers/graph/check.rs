//! What is wrong with a query before any row is looked at: columns that do not exist, values that do not go together.
//!
//! Stricter than Azure where its documentation leaves it open (a dynamic value compared with a time, or in `tolower()`,
//! needs a conversion here), so that a query that passes here is one that Azure takes.

use super::parse::{Compare, Expr, Function, Operator, Query};
use super::value::{Kind, Val};
use super::{Fault, Parsed};

/// The most columns of a table.
const MAX_COLUMNS: usize = 200;

/// Columns in order, with their kinds.
pub(super) type Columns = Vec<(String, Kind)>;

fn wrong<T>(why: String) -> Parsed<T> {
    Err(Fault::Meaning(why))
}

/// Checks a query over a table; the columns of its answer.
pub(super) fn check(query: &Query, table: &[(&str, Kind)]) -> Parsed<Columns> {
    let mut columns: Columns = table.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    for operator in &query.operators {
        match operator {
            Operator::Where(predicate) => {
                let kind = kind(predicate, &columns)?;
                if kind != Kind::Bool {
                    return wrong(format!("'where' operator: the predicate is of type {}, not bool", kind.name()));
                }
            }
            Operator::Extend(named) => {
                let kinds = kinds(named, &columns)?;
                for (name, kind) in kinds {
                    match columns.iter_mut().find(|(known, _)| *known == name) {
                        Some(known) => known.1 = kind,
                        None => columns.push((name, kind)),
                    }
                }
            }
            Operator::Project(named) => columns = kinds(named, &columns)?,
            Operator::Order(keys) => {
                for (key, _) in keys {
                    if kind(key, &columns)? == Kind::Dynamic {
                        return wrong("'order' operator: a key cannot be of type dynamic".to_owned());
                    }
                }
            }
            Operator::Take(_) => {}
        }
        if columns.len() > MAX_COLUMNS {
            return Err(Fault::Size("The query has too many columns."));
        }
    }
    Ok(columns)
}

fn kinds(named: &[(String, Expr)], columns: &Columns) -> Parsed<Columns> {
    let mut out: Columns = Vec::new();
    for (name, expr) in named {
        if out.iter().any(|(known, _)| known == name) {
            return wrong(format!("The column name '{name}' was used more than once."));
        }
        out.push((name.clone(), kind(expr, columns)?));
    }
    Ok(out)
}

fn kind(expr: &Expr, columns: &Columns) -> Parsed<Kind> {
    Ok(match expr {
        Expr::Literal(value) => match value {
            Val::Bool(_) => Kind::Bool,
            Val::Long(_) => Kind::Long,
            Val::Real(_) => Kind::Real,
            Val::Text(_) => Kind::Text,
            Val::Time(_) => Kind::Time,
            Val::Span(_) => Kind::Span,
            Val::Null | Val::Dynamic(_) => Kind::Dynamic,
        },
        Expr::Path(column, steps) => {
            let Some((_, kind)) = columns.iter().find(|(name, _)| name == column) else {
                return wrong(format!("Failed to resolve scalar expression named '{column}'"));
            };
            if !steps.is_empty() && *kind != Kind::Dynamic {
                return wrong(format!("A path into '{column}' of type {} cannot be followed", kind.name()));
            }
            *kind
        }
        Expr::Not(inner) => flag(inner, columns)?,
        Expr::All(parts) | Expr::Any(parts) => {
            for part in parts {
                flag(part, columns)?;
            }
            Kind::Bool
        }
        Expr::In(value, list, fold) => {
            let left = kind(value, columns)?;
            for element in list {
                let right = kind(element, columns)?;
                let fits = if *fold { is_text(left) && is_text(right) } else { alike(left, right) };
                if !fits {
                    return wrong(format!("'in': types {} and {} cannot be compared", left.name(), right.name()));
                }
            }
            Kind::Bool
        }
        Expr::Compare(by, left, right) => {
            let (left, right) = (kind(left, columns)?, kind(right, columns)?);
            let fits = match by {
                Compare::Equal | Compare::NotEqual => alike(left, right),
                Compare::Less | Compare::LessOrEqual | Compare::Greater | Compare::GreaterOrEqual => {
                    let number = |kind: Kind| kind.is_number() || kind == Kind::Dynamic;
                    (number(left) && number(right)) || (left == right && matches!(left, Kind::Time | Kind::Span))
                }
                _ => is_text(left) && is_text(right),
            };
            if !fits {
                return wrong(format!("Cannot compare values of types {} and {}", left.name(), right.name()));
            }
            Kind::Bool
        }
        Expr::Call(function, given) => {
            let given = given.iter().map(|expr| kind(expr, columns)).collect::<Parsed<Vec<_>>>()?;
            let first = given.first().copied();
            let (fits, kind) = match function {
                Function::IsEmpty | Function::IsNotEmpty | Function::IsNull => (true, Kind::Bool),
                Function::ToLower => (first == Some(Kind::Text), Kind::Text),
                Function::ToString => (true, Kind::Text),
                Function::ToInt | Function::ToLong => (!matches!(first, Some(Kind::Time | Kind::Span)), Kind::Long),
                Function::ToBool => (!matches!(first, Some(Kind::Time | Kind::Span)), Kind::Bool),
                Function::ToDatetime => (matches!(first, Some(Kind::Text | Kind::Dynamic | Kind::Time)), Kind::Time),
                Function::Now => (true, Kind::Time),
                Function::Ago => (first == Some(Kind::Span), Kind::Time),
            };
            if !fits {
                let name = first.map_or("nothing", Kind::name);
                return wrong(format!("A function cannot take an argument of type {name}"));
            }
            kind
        }
    })
}

fn flag(expr: &Expr, columns: &Columns) -> Parsed<Kind> {
    match kind(expr, columns)? {
        Kind::Bool => Ok(Kind::Bool),
        other => wrong(format!("A logical operator needs values of type bool, not {}", other.name())),
    }
}

fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Dynamic)
}

/// Whether `==` may stand between them.
fn alike(left: Kind, right: Kind) -> bool {
    let scalar = |kind: Kind| !matches!(kind, Kind::Time | Kind::Span);
    left == right
        || (left.is_number() && right.is_number())
        || (left == Kind::Dynamic && scalar(right))
        || (right == Kind::Dynamic && scalar(left))
}
