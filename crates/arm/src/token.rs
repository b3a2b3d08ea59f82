//! Tokens: the port through which the gateway gets them, and the settings of signing in.
//!
//! Invariants: a [`Secret`] never shows itself, not even in Debug; a failed sign-in names every way that was tried.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::cloud::Cloud;

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

/// How to sign in (`--auth`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// The first that is set up of: service principal by secret, workload identity, managed identity, Azure CLI.
    #[default]
    Auto,
    /// The identity logged in to the Azure CLI.
    Cli,
    /// The managed identity of this machine, container or function.
    ManagedIdentity,
    /// A service principal with a secret (`AZURE_CLIENT_SECRET`).
    ServicePrincipal,
    /// Workload identity (`AZURE_FEDERATED_TOKEN_FILE`).
    WorkloadIdentity,
}

impl Auth {
    /// All ways.
    pub const ALL: [Self; 5] =
        [Self::Auto, Self::Cli, Self::ManagedIdentity, Self::ServicePrincipal, Self::WorkloadIdentity];

    /// The name as users write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cli => "cli",
            Self::ManagedIdentity => "managed-identity",
            Self::ServicePrincipal => "service-principal",
            Self::WorkloadIdentity => "workload",
        }
    }
}

impl std::str::FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|auth| auth.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|auth| auth.name()).collect();
            format!("use one of {}", names.join(", "))
        })
    }
}

/// The settings of signing in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Which way.
    pub auth: Auth,
    /// Tenant; else `AZURE_TENANT_ID`.
    pub tenant: Option<String>,
    /// Client id of a service principal or a user-assigned identity; else `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// The cloud: decides where to sign in, unless `AZURE_AUTHORITY_HOST` does.
    pub cloud: Cloud,
    /// The scope of the token: `cloud::token_scope` of the ARM endpoint.
    pub scope: String,
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

    /// How it signs in, for people: `cli`, `managed-identity`.
    fn describe(&self) -> String;

    /// The ways that were passed over before the one that gave a token, with the reason.
    fn passed_over(&self) -> Vec<SignInAttempt> {
        Vec::new()
    }
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
