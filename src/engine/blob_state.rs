//! State in a storage account: which one, and how it is opened for whoever has no command line.
//!
//! Duty: `azblob://account/container/prefix` becomes a [`State`] over the container, signed in to as to Azure itself. Must never:
//! send anything while it is opened, or accept a key, a signature or a connection string.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use crate::arm::blob::{Answer, BlobError, Container, STORAGE_SCOPE, blob_endpoint};
use crate::arm::{Cloud, SignIn, SignInError, TokenSource, Transport, token_source};
use crate::clock::Clock;
use crate::journal::{Blob, BlobFault, BlobProblem, BlobStore, Blobs, Listed, State};

/// How a place in a storage account begins.
const SCHEME: &str = "azblob://";
/// The longest prefix that is taken: names below it must fit into a blob's 1,024 characters.
const MOST_PREFIX: usize = 400;

/// `azblob://account/container/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPlace {
    account: String,
    container: String,
    prefix: String,
}

impl fmt::Display for BlobPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.account, self.container)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl BlobPlace {
    /// Whether a text is meant as a place in a storage account, and not as a path.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads a place. The names are checked by Azure's rules for accounts, containers and blobs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            // What looks like a signature or a key is not repeated: behind a ?, or in front of an @.
            let shown = if text.contains('@') { SCHEME } else { text.split('?').next().unwrap_or_default() };
            let shown: String = shown.chars().take(120).collect();
            format!("{shown:?} is no place for state: {why}")
        };
        if !Self::is_meant(text) {
            return Err(bad("it is written azblob://ACCOUNT/CONTAINER/PREFIX"));
        }
        let rest = text.get(SCHEME.len()..).unwrap_or_default();
        if rest.contains(['?', '#', '@']) {
            return Err(bad("keys and signatures are not used; azmend signs in as to Azure"));
        }
        let mut parts = rest.trim_end_matches('/').splitn(3, '/');
        let account = parts.next().unwrap_or_default();
        let container = parts.next().unwrap_or_default();
        let prefix = parts.next().unwrap_or_default();
        let small = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !(3..=24).contains(&account.len()) || !small(account) {
            return Err(bad("a storage account has 3 to 24 small letters and digits"));
        }
        let words = container.split('-').all(|word| !word.is_empty() && small(word));
        if !(3..=63).contains(&container.len()) || !words {
            return Err(bad("a container has 3 to 63 small letters, digits and single hyphens"));
        }
        let fine = |part: &str| {
            !matches!(part, "" | "." | "..")
                && !part.ends_with('.')
                && part.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        };
        if prefix.len() > MOST_PREFIX || !prefix.is_empty() && !prefix.split('/').all(fine) {
            return Err(bad("a prefix has words of letters, digits and signs, with / between them"));
        }
        Ok(Self { account: account.to_owned(), container: container.to_owned(), prefix: prefix.to_owned() })
    }

    /// The blob endpoint of its account: the cloud's own, or another one.
    ///
    /// # Errors
    /// Why a token must not go there.
    pub fn endpoint(&self, cloud: Cloud, given: Option<&str>) -> Result<Url, String> {
        blob_endpoint(cloud, &self.account, given)
    }
}

/// Why the state cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The way to sign in lacks a setting.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The place is not usable.
    #[error("{0}")]
    Place(String),
}

/// What state in a storage account is opened with.
pub struct Opening<'a> {
    /// Which.
    pub place: &'a BlobPlace,
    /// The account's blob endpoint, from [`BlobPlace::endpoint`].
    pub endpoint: &'a Url,
    /// How to sign in; its scope does not matter.
    pub sign_in: &'a SignIn,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The network.
    pub network: Arc<dyn Transport>,
    /// The machine's clock: leases go by it, also when Azure is the sandbox.
    pub clock: Arc<dyn Clock>,
    /// This machine, as others read it when it holds something.
    pub host: &'a str,
}

impl Opening<'_> {
    /// Opens it. Nothing is sent.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(self) -> Result<State, OpenError> {
        let sign_in = SignIn { scope: STORAGE_SCOPE.to_owned(), ..self.sign_in.clone() };
        let tokens = token_source(&sign_in, self.env, Arc::clone(&self.network), Arc::clone(&self.clock))?;
        self.open_with(tokens)
    }

    /// The same with tokens of another source.
    ///
    /// # Errors
    /// [`OpenError::Place`].
    pub fn open_with(self, tokens: Arc<dyn TokenSource>) -> Result<State, OpenError> {
        let names = (self.place.container.as_str(), self.place.prefix.as_str());
        let container = Container::new(self.endpoint, names, tokens, self.network, Arc::clone(&self.clock))
            .map_err(|error| OpenError::Place(error.why))?;
        let blobs = Arc::new(AzureBlobs { container });
        Ok(State::of(Arc::new(BlobStore::new(blobs, self.clock, self.host))))
    }
}

/// A container of Azure as the journal's port wants it.
#[derive(Debug)]
struct AzureBlobs {
    container: Container,
}

fn fault(error: BlobError) -> BlobFault {
    let problem = match error.answer {
        Answer::Unsure => BlobProblem::Unsure,
        Answer::NotFound => BlobProblem::NotFound,
        Answer::NoContainer => BlobProblem::NoContainer,
        Answer::Exists => BlobProblem::Exists,
        Answer::Position => BlobProblem::Position,
        Answer::LeaseTaken => BlobProblem::LeaseTaken,
        Answer::LeaseLost => BlobProblem::LeaseLost,
        Answer::SignIn => BlobProblem::SignIn,
        Answer::Denied => BlobProblem::Denied,
        Answer::Other => BlobProblem::Other,
    };
    BlobFault { problem, why: error.why }
}

#[async_trait]
impl Blobs for AzureBlobs {
    fn place(&self, name: &str) -> String {
        self.container.place(name)
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, BlobFault> {
        self.container.get(name).await.map_err(fault)
    }

    async fn put(&self, name: &str, content: &[u8]) -> Result<(), BlobFault> {
        self.container.put(name, content).await.map_err(fault)
    }

    async fn start(&self, name: &str) -> Result<(), BlobFault> {
        self.container.start(name).await.map_err(fault)
    }

    async fn append(&self, name: &str, at: u64, bytes: &[u8], lease: Option<&str>) -> Result<(), BlobFault> {
        self.container.append(name, at, bytes, lease).await.map_err(fault)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, BlobFault> {
        let listed = self.container.list(prefix).await.map_err(fault)?;
        Ok(listed.into_iter().map(|blob| Listed { name: blob.name, modified: blob.modified, tag: blob.tag }).collect())
    }

    async fn delete(&self, name: &str, lease: Option<&str>) -> Result<(), BlobFault> {
        self.container.delete(name, lease).await.map_err(fault)
    }

    async fn acquire(&self, name: &str, lease: &str, time: Duration) -> Result<(), BlobFault> {
        self.container.acquire(name, lease, time).await.map_err(fault)
    }

    async fn renew(&self, name: &str, lease: &str) -> Result<(), BlobFault> {
        self.container.renew(name, lease).await.map_err(fault)
    }

    async fn release(&self, name: &str, lease: &str) -> Result<(), BlobFault> {
        self.container.release(name, lease).await.map_err(fault)
    }

    async fn label(&self, name: &str, lease: &str, text: &str) -> Result<(), BlobFault> {
        self.container.label(name, lease, text).await.map_err(fault)
    }

    async fn look(&self, name: &str) -> Result<Blob, BlobFault> {
        let seen = self.container.look(name).await.map_err(fault)?;
        Ok(Blob { leased: seen.leased, label: seen.label })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_as_they_are() {
        for text in ["azblob://contoso/state", "azblob://contoso1/az-state/team/a_1"] {
            assert_eq!(BlobPlace::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(BlobPlace::parse("AZBLOB://contoso/state/").unwrap().to_string(), "azblob://contoso/state");
        assert!(!BlobPlace::is_meant("/var/azblob") && !BlobPlace::is_meant("azblob:/"));
    }

    #[test]
    fn what_is_no_place_is_refused_and_no_secret_repeated() {
        for text in [
            "azblob://",
            "azblob://contoso",
            "azblob://Contoso/state",
            "azblob://contoso.evil.example/state",
            "azblob://contoso/st",
            "azblob://contoso/a--b",
            "azblob://contoso/state/../other",
            "azblob://contoso/state/a//b",
            "azblob://contoso/state/\u{202e}x",
            "azblob://contoso/state?sig=SECRET",
            "azblob://user:SECRET@contoso/state",
        ] {
            let why = BlobPlace::parse(text).unwrap_err();
            assert!(!why.contains("SECRET"), "{why}");
        }
    }
}
