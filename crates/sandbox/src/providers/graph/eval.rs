//! Evaluating a checked query, row by row. Total: nothing here can fail, a value that cannot be had is null.
//!
//! Null as in the language: `==` with one null is false and `!=` is true, any other comparison with a null is null, and a
//! null predicate drops its row. Text operators take a null for an empty text.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::parse::{Compare, Expr, Function, Operator, Query, Step};
use super::value::Val;
use azmend_base::clock::{earlier, later};

/// A row: columns in order.
pub(super) type Row = Vec<(String, Val)>;

/// Runs the operators over the rows of the table.
pub(super) fn run(query: &Query, mut rows: Vec<Row>, now: Timestamp) -> Vec<Row> {
    for operator in &query.operators {
        match operator {
            Operator::Where(predicate) => rows.retain(|row| eval(predicate, row, now) == Val::Bool(true)),
            Operator::Project(named) => {
                rows = rows
                    .iter()
                    .map(|row| named.iter().map(|(name, expr)| (name.clone(), eval(expr, row, now))).collect())
                    .collect();
            }
            Operator::Extend(named) => {
                for row in &mut rows {
                    // All of one `extend` see the row as it was before.
                    let new: Vec<Val> = named.iter().map(|(_, expr)| eval(expr, row, now)).collect();
                    for ((name, _), value) in named.iter().zip(new) {
                        match row.iter_mut().find(|(known, _)| known == name) {
                            Some(known) => known.1 = value,
                            None => row.push((name.clone(), value)),
                        }
                    }
                }
            }
            Operator::Order(keys) => order(&mut rows, keys, now),
            Operator::Take(count) => rows.truncate(usize::try_from(*count).unwrap_or(usize::MAX)),
        }
    }
    rows
}

/// Nulls stand first on the way up and last on the way down. The sort is stable.
fn order(rows: &mut [Row], keys: &[(Expr, bool)], now: Timestamp) {
    rows.sort_by_cached_key(|row| Keyed(keys.iter().map(|(key, up)| (eval(key, row, now), *up)).collect()));
}

struct Keyed(Vec<(Val, bool)>);

impl Ord for Keyed {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        let orders = pairs.map(|((a, up), (b, _))| {
            let order = match (a.is_null(), b.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                _ => a.compare(b).unwrap_or(Ordering::Equal),
            };
            if *up { order } else { order.reverse() }
        });
        orders.fold(Ordering::Equal, Ordering::then)
    }
}

impl PartialOrd for Keyed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Keyed {}

fn eval(expr: &Expr, row: &Row, now: Timestamp) -> Val {
    match expr {
        Expr::Literal(value) => value.clone(),
        Expr::Path(column, steps) => {
            let Some((_, value)) = row.iter().find(|(name, _)| name == column) else { return Val::Null };
            match value {
                Val::Dynamic(value) if !steps.is_empty() => {
                    let found = steps.iter().try_fold(value, |value, step| match step {
                        Step::Name(name) => value.get(name),
                        Step::Index(index) => value.get(index),
                    });
                    Val::Dynamic(found.cloned().unwrap_or(Value::Null))
                }
                value => value.clone(),
            }
        }
        Expr::Not(inner) => match eval(inner, row, now).plain() {
            Val::Bool(flag) => Val::Bool(!flag),
            _ => Val::Null,
        },
        Expr::All(parts) => chain(parts, row, now, false),
        Expr::Any(parts) => chain(parts, row, now, true),
        Expr::In(value, list, fold) => {
            let by = if *fold { Compare::Like } else { Compare::Equal };
            let value = eval(value, row, now).plain();
            Val::Bool(
                list.iter().any(|element| compare(by, &value, &eval(element, row, now).plain()) == Val::Bool(true)),
            )
        }
        Expr::Compare(by, left, right) => compare(*by, &eval(left, row, now).plain(), &eval(right, row, now).plain()),
        Expr::Call(function, given) => call(*function, given.first().map(|expr| eval(expr, row, now)), now),
    }
}

/// `or` for `wins` true, `and` for `wins` false: the winning value decides, else a null makes it null.
fn chain(parts: &[Expr], row: &Row, now: Timestamp, wins: bool) -> Val {
    let mut out = Val::Bool(!wins);
    for part in parts {
        match eval(part, row, now).plain() {
            Val::Bool(flag) if flag == wins => return Val::Bool(wins),
            Val::Bool(_) => {}
            _ => out = Val::Null,
        }
    }
    out
}

fn compare(by: Compare, left: &Val, right: &Val) -> Val {
    let (folded, wanted) = (|| left.text().to_lowercase(), || right.text().to_lowercase());
    let ordered = |fits: fn(Ordering) -> bool| left.compare(right).map_or(Val::Null, |order| Val::Bool(fits(order)));
    Val::Bool(match by {
        Compare::Equal => equal(left, right),
        Compare::NotEqual => !equal(left, right),
        Compare::Like => folded() == wanted(),
        Compare::NotLike => folded() != wanted(),
        Compare::Less => return ordered(Ordering::is_lt),
        Compare::LessOrEqual => return ordered(Ordering::is_le),
        Compare::Greater => return ordered(Ordering::is_gt),
        Compare::GreaterOrEqual => return ordered(Ordering::is_ge),
        Compare::Has => has_term(&folded(), &wanted()),
        Compare::Contains => folded().contains(&wanted()),
        Compare::StartsWith => folded().starts_with(&wanted()),
        Compare::EndsWith => folded().ends_with(&wanted()),
    })
}

fn equal(left: &Val, right: &Val) -> bool {
    match (left, right) {
        (Val::Dynamic(a), Val::Dynamic(b)) => a == b,
        _ => left.compare(right) == Some(Ordering::Equal),
    }
}

/// `has`: the text as a whole term, with no letter or digit beside it.
fn has_term(text: &str, term: &str) -> bool {
    let open = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    text.match_indices(term)
        .any(|(at, found)| open(text[..at].chars().next_back()) && open(text[at + found.len()..].chars().next()))
}

fn call(function: Function, given: Option<Val>, now: Timestamp) -> Val {
    let given = given.unwrap_or(Val::Null);
    match function {
        Function::IsEmpty => Val::Bool(given.is_empty()),
        Function::IsNotEmpty => Val::Bool(!given.is_empty()),
        Function::IsNull => Val::Bool(given.is_null()),
        Function::ToLower => Val::Text(given.text().to_lowercase()),
        Function::ToString => Val::Text(given.text()),
        Function::ToInt => match whole(given) {
            Val::Long(number) if i32::try_from(number).is_ok() => Val::Long(number),
            _ => Val::Null,
        },
        Function::ToLong => whole(given),
        Function::ToBool => match given.plain() {
            Val::Bool(flag) => Val::Bool(flag),
            Val::Long(number) => Val::Bool(number != 0),
            Val::Text(text) if text.trim().eq_ignore_ascii_case("true") => Val::Bool(true),
            Val::Text(text) if text.trim().eq_ignore_ascii_case("false") => Val::Bool(false),
            _ => Val::Null,
        },
        Function::ToDatetime => match given.plain() {
            Val::Time(time) => Val::Time(time),
            Val::Text(text) => {
                let text = text.trim();
                let time = text.parse::<Timestamp>().or_else(|_| format!("{text}Z").parse());
                time.map_or(Val::Null, Val::Time)
            }
            _ => Val::Null,
        },
        Function::Now => Val::Time(now),
        Function::Ago => match given {
            Val::Span(seconds) => {
                let span = Duration::from_secs(seconds.unsigned_abs());
                Val::Time(if seconds < 0 { later(now, span) } else { earlier(now, span) })
            }
            _ => Val::Null,
        },
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be inside the range before")]
fn whole(given: Val) -> Val {
    match given.plain() {
        Val::Long(number) => Val::Long(number),
        Val::Bool(flag) => Val::Long(i64::from(flag)),
        Val::Real(number) if number.abs() < 9.0e18 => Val::Long(number.trunc() as i64),
        Val::Text(text) => text.trim().parse().map_or(Val::Null, Val::Long),
        _ => Val::Null,
    }
}
