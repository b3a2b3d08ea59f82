//! The part of a result that is wanted.
//!
//! A query is checked before anything is asked of Azure. Must never: change what a command does; one that fails on the result
//! only makes the exit code tell, for what was done is done.

use serde::Serialize;
use serde_json::Value;

use super::error::CliError;

/// A JMESPath expression that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is wrong.
    pub fn parse(text: &str) -> Result<Self, CliError> {
        match jmespath::compile(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(CliError::input(format!("--query is not a JMESPath expression: {}", first_line(&error)))
                .code("usage")
                .hint("for example --query 'vms[].name', in quotes; the language: https://jmespath.org")),
        }
    }

    /// The part of a value.
    ///
    /// # Errors
    /// When the expression does not fit the value.
    pub fn of(&self, value: &impl Serialize) -> Result<Value, String> {
        let found = jmespath::compile(&self.0).and_then(|expression| expression.search(value));
        let found = found.map_err(|error| format!("--query failed on it: {}", first_line(&error)))?;
        serde_json::to_value(&*found).map_err(|error| error.to_string())
    }
}

fn first_line(error: &jmespath::JmespathError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
