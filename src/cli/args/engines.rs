//! What was typed for `engines`.

use clap::Args as ClapArgs;

use crate::duration::Span;

pub(super) const ENGINES_EXAMPLES: &str = "\
Examples:
  azmend engines
  azmend engines --vault bkp-vault --since 14d -o json";

/// `azmend engines`.
#[derive(Debug, ClapArgs)]
pub struct EnginesArgs {
    /// Only this vault: name, group/name or resource id
    #[arg(long, value_name = "VAULT")]
    pub vault: Option<String>,
    /// Failed jobs that started within this time
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub since: Span,
}
