//! What was typed for `explain`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum, ValueHint};

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  azmend explain UserErrorRpCollectionLimitReached
  azmend explain 400196                                    the number of a code
  azmend explain \"VM agent is unable to communicate\"      a part of the message
  azmend explain --lang ko \"다른 백업 작업이 현재 진행 중\"
  az backup job show ... 2>&1 | azmend explain -           a whole log or answer, up to 64 KB
  azmend explain --file error.txt
  azmend explain --list                                    everything that is known";

/// `azmend explain`.
#[derive(Debug, ClapArgs)]
pub struct ExplainArgs {
    /// The code, its number, or what was printed: a message, JSON, a log; - reads it from stdin, and so does
    /// no ERROR when text is piped in
    #[arg(value_name = "ERROR")]
    pub text: Vec<String>,
    /// Read the text from a file
    #[arg(long, value_name = "FILE", conflicts_with = "text", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The language of the answer [default: AZMEND_LANG, else that of the locale]
    #[arg(long, value_enum, ignore_case = true, value_name = "LANG")]
    pub lang: Option<LangArg>,
    /// List everything that is known
    #[arg(long, conflicts_with_all = ["text", "file"])]
    pub list: bool,
    /// A directory with playbooks of your own
    #[arg(long, value_name = "DIR", env = "AZMEND_PLAYBOOKS", value_hint = ValueHint::DirPath)]
    pub playbooks: Option<PathBuf>,
}

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LangArg {
    /// English
    En,
    /// Korean
    Ko,
}

impl From<LangArg> for crate::engine::explain::Lang {
    fn from(lang: LangArg) -> Self {
        match lang {
            LangArg::En => Self::En,
            LangArg::Ko => Self::Ko,
        }
    }
}
