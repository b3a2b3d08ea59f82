//! Tokens: the port through which the gateway gets them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text itself: only for the `Authorization` header and for credentials.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// One way to sign in that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInAttempt {
    /// e.g. `azure-cli`.
    pub way: String,
    /// Why it gave no token.
    pub why: String,
}

/// No token: every way that was tried, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot sign in to Azure: {}", .attempts.iter().map(|a| format!("{}: {}", a.way, a.why)).collect::<Vec<_>>().join("; "))]
pub struct SignInError {
    /// In the order they were tried.
    pub attempts: Vec<SignInAttempt>,
}

impl SignInError {
    /// One way, one reason.
    #[must_use]
    pub fn one(way: &str, why: &str) -> Self {
        Self { attempts: vec![SignInAttempt { way: way.to_owned(), why: why.to_owned() }] }
    }
}

/// A source of tokens for ARM.
#[async_trait]
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// A token that is valid now.
    ///
    /// # Errors
    /// When no token can be had.
    async fn token(&self) -> Result<Secret, SignInError>;

    /// Azure did not accept the last token: the next one must be new.
    async fn forget(&self) {}

    /// Who signs in, for people: `azure-cli`, `managed identity 1111...`.
    fn describe(&self) -> String;
}

/// A token that never changes: for the sandbox and tests.
#[derive(Debug, Clone)]
pub struct StaticToken {
    token: Secret,
    who: String,
}

impl StaticToken {
    /// A fixed token of `who`.
    #[must_use]
    pub fn new(token: &str, who: &str) -> Self {
        Self { token: Secret::new(token), who: who.to_owned() }
    }
}

#[async_trait]
impl TokenSource for StaticToken {
    async fn token(&self) -> Result<Secret, SignInError> {
        Ok(self.token.clone())
    }

    fn describe(&self) -> String {
        self.who.clone()
    }
}
