//! Errors of everything that a user asks for: a kind (which decides the exit code), one sentence, hints apart.
//!
//! All conversions from the errors of the rooms are here, so that no other room knows exit codes of the command line.

use crate::actions::change::Refusal;
use crate::arm::{ArmError, ErrorClass, SignInError};
use crate::engine::exit;
use crate::engine::plan::PlanError;
use crate::engine::result::{ErrorResult, RunResult, Status};
use crate::facts::resolve::ResolveError;

/// What kind of error this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line.
    Usage,
    /// A file, a name, a value.
    Input,
    /// No token.
    SignIn,
    /// A permission is missing.
    Permission,
    /// A rule of azmend or the user said no.
    Refused,
    /// Azure cannot be reached, or the user interrupted: come back.
    ComeBack,
    /// What decides could not be read.
    Unread,
    /// A file of azmend's own cannot be read or written.
    Io,
    /// azmend itself is wrong.
    Bug,
}

/// Why azmend did not do what was asked. Nothing was changed, unless the message says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind.
    pub kind: Kind,
    /// A stable word for scripts: `usage`, `sign_in`, `s8.newest`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hints: Vec<String>,
    /// When to come back, in seconds.
    pub retry_after: Option<u64>,
}

impl Error {
    /// An error of a kind, with the kind's own code.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, code: kind.code().to_owned(), message: message.into(), hints: Vec::new(), retry_after: None }
    }

    /// Wrong input.
    #[must_use]
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }

    /// Refused; nothing was changed.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// A file of azmend's own.
    #[must_use]
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(Kind::Io, message)
    }

    /// The journal, or the state that it depends on, cannot be written: nothing is sent then (S2), and nothing was.
    #[must_use]
    pub fn not_written(message: impl std::fmt::Display) -> Self {
        Self::refused(format!("{message}; nothing was changed")).code("s2.not-written")
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to do, if there is something.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hints.extend(hint.map(Into::into));
        self
    }

    /// Another code than that of the kind.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage | Kind::Input | Kind::Io => exit::INPUT,
            Kind::SignIn | Kind::Permission => exit::PERMISSION,
            Kind::Refused => exit::REFUSED,
            Kind::ComeBack => exit::COME_BACK,
            Kind::Unread => exit::PARTIAL,
            Kind::Bug => exit::BUG,
        }
    }

    /// The error in the shape of the result object.
    #[must_use]
    pub fn result(&self, sandbox: bool) -> RunResult {
        let status = match self.kind {
            Kind::Usage | Kind::Input | Kind::Io | Kind::Bug => Status::Error,
            Kind::Refused => Status::Refused,
            Kind::SignIn | Kind::Permission | Kind::ComeBack | Kind::Unread => Status::Failed,
        };
        let hint = (!self.hints.is_empty()).then(|| self.hints.join("; "));
        RunResult {
            retry_after: self.retry_after,
            error: Some(ErrorResult { code: self.code.clone(), message: self.message.clone(), hint }),
            ..RunResult::empty(status, self.exit_code(), sandbox)
        }
    }
}

impl Kind {
    const fn code(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Input => "input",
            Self::SignIn => "sign_in",
            Self::Permission => "permission",
            Self::Refused => "refused",
            Self::ComeBack => "come_back",
            Self::Unread => "not_read",
            Self::Io => "io",
            Self::Bug => "bug",
        }
    }
}

impl From<SignInError> for Error {
    fn from(error: SignInError) -> Self {
        Self::new(Kind::SignIn, error.to_string())
            .hint("run `az login`, or choose another way with --auth")
            .hint("to try azmend without Azure, add --sandbox")
    }
}

impl From<ArmError> for Error {
    fn from(error: ArmError) -> Self {
        let kind = match error.class() {
            ErrorClass::SignIn => Kind::SignIn,
            ErrorClass::Forbidden | ErrorClass::DeniedByAssignment => Kind::Permission,
            ErrorClass::NotSent | ErrorClass::Lost | ErrorClass::Transient | ErrorClass::Throttled => Kind::ComeBack,
            ErrorClass::NotFound => Kind::Input,
            _ => Kind::Unread,
        };
        let mut out = Self::new(kind, error.to_string()).maybe_hint(error.hint());
        if kind == Kind::ComeBack {
            out.retry_after = Some(error.retry_after.map_or(60, |span| span.as_secs()));
        }
        if !error.code.is_empty() {
            out.code.clone_from(&error.code);
        }
        out
    }
}

impl From<ResolveError> for Error {
    fn from(error: ResolveError) -> Self {
        let code = match &error {
            ResolveError::NotFound { .. } => "vm_not_found",
            ResolveError::Ambiguous { .. } => "vm_ambiguous",
            ResolveError::CannotList { .. } => "not_listed",
            ResolveError::BadName(_) => "bad_name",
            ResolveError::SubscriptionNotFound { .. } => "subscription_not_found",
            ResolveError::SubscriptionAmbiguous { .. } => "subscription_ambiguous",
        };
        let mut out = Self::input(error.to_string()).code(code).maybe_hint(error.hint());
        if matches!(error, ResolveError::CannotList { passing: true, .. }) {
            // Nothing is wrong with what was typed: a scheduler is to come back.
            out.kind = Kind::ComeBack;
            out.retry_after = Some(60);
        }
        out
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        let (kind, code, hint) = match &error {
            PlanError::NotAPlan(_) => (Kind::Input, "plan_unreadable", None),
            PlanError::Format(_) => (Kind::Input, "plan_format", Some("make the plan again with this azmend")),
            PlanError::Edited => {
                (Kind::Refused, "plan_edited", Some("make the plan again: azmend plan ... --out FILE"))
            }
            PlanError::Expired(_) => {
                (Kind::Refused, "plan_expired", Some("make the plan again: azmend plan ... --out FILE"))
            }
            PlanError::Future(_) => (Kind::Refused, "plan_future", None),
            PlanError::World(_) => {
                (Kind::Refused, "s13.world", Some("apply it where it was made, or make a new plan here"))
            }
        };
        Self::new(kind, error.to_string()).code(code).maybe_hint(hint)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.why).code(refusal.rule).maybe_hint(refusal.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::JournalError;

    #[test]
    fn kinds_have_the_published_exit_codes() {
        let codes = [
            (Kind::Usage, 2),
            (Kind::Input, 2),
            (Kind::SignIn, 4),
            (Kind::Permission, 4),
            (Kind::Refused, 5),
            (Kind::Unread, 6),
            (Kind::ComeBack, 7),
            (Kind::Bug, 1),
        ];
        for (kind, code) in codes {
            let error = Error::new(kind, "x");
            assert_eq!((error.exit_code(), error.result(true).exit_code), (code, code), "{kind:?}");
        }
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_is_a_refusal_that_changed_nothing() {
        use std::io;
        let error = |action: &'static str, kind: io::ErrorKind| {
            Error::from(JournalError::Io { action, path: "/state".into(), why: "why".into(), kind })
        };
        let full = error("write", io::ErrorKind::StorageFull);
        assert_eq!((full.exit_code(), full.code.as_str()), (5, "s2.not-written"));
        assert_eq!(full.message, "cannot write /state: why; nothing was changed");
        assert!(full.hints.iter().any(|hint| hint.contains("free some space")), "{:?}", full.hints);
        assert_eq!(error("create", io::ErrorKind::ReadOnlyFilesystem).exit_code(), 5);
        // Who only reads has another problem.
        assert_eq!(error("read", io::ErrorKind::PermissionDenied).exit_code(), 2);
    }

    #[test]
    fn an_edited_plan_is_refused_and_a_broken_one_is_input() {
        assert_eq!(Error::from(PlanError::Edited).exit_code(), 5);
        assert_eq!(Error::from(PlanError::NotAPlan("x".into())).exit_code(), 2);
    }
}
