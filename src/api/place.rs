//! Where azmend works: a real Azure and how to sign in to it, or the embedded one.
//!
//! Invariant: an endpoint is checked before it is kept, so that no token can go anywhere else. Must never: read the process's
//! environment; whoever wants it read passes it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use url::Url;

use super::error::Error;
use crate::arm::{Auth, Cloud};
use crate::text::shell_quote;

/// Which estate the sandbox is loaded with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EstateSource {
    /// The one that comes with azmend.
    BuiltIn,
    /// The user's.
    File(PathBuf),
}

/// A real Azure and how to sign in to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureSettings {
    /// Which.
    pub cloud: Cloud,
    /// The ARM endpoint, checked.
    pub endpoint: Url,
    /// Tenant to sign in to.
    pub tenant: Option<String>,
    /// Identity to use.
    pub client_id: Option<String>,
    /// How.
    pub auth: Auth,
}

/// Where azmend works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The embedded Azure.
    Sandbox(EstateSource),
    /// A real one.
    Azure(AzureSettings),
}

/// Whether the endpoint turned out to be a served sandbox (`azmend sandbox serve`), and the digest of its estate. Its answers say
/// so; only those of an endpoint on this machine over plain http are believed, which no real Azure is.
#[derive(Debug, Clone, Default)]
pub struct Served(Arc<OnceLock<String>>);

impl Served {
    /// The digest, once an answer named it.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Notes it; true the first time.
    #[must_use]
    pub fn found(&self, digest: &str) -> bool {
        self.0.set(digest.to_owned()).is_ok()
    }
}

/// What is known of where azmend works, before and after the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here {
    /// It is the embedded Azure, in this process or served by another.
    pub sandbox: bool,
    /// It may turn out to be a served sandbox.
    pub may_be_served: bool,
}

impl Here {
    /// Whether something that was made in the sandbox, or was not, is certainly not of this place. Where the sandbox may be a served
    /// one the worlds are compared as soon as this one is known (S13).
    #[must_use]
    pub const fn is_elsewhere(self, sandbox: bool) -> bool {
        !self.may_be_served && sandbox != self.sandbox
    }
}

/// Reads an environment variable as text.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl AzureSettings {
    /// The public Azure, signed in to by whatever way works first.
    ///
    /// # Errors
    /// Never for the clouds that azmend knows; see [`Self::new`].
    pub fn public() -> Result<Self, Error> {
        Self::new(Cloud::Public, None, Auth::Auto)
    }

    /// A cloud, with its own ARM endpoint unless another is given.
    ///
    /// # Errors
    /// When the endpoint cannot be trusted with a token: not https, and not http on loopback.
    pub fn new(cloud: Cloud, endpoint: Option<&str>, auth: Auth) -> Result<Self, Error> {
        let endpoint = cloud.endpoint(endpoint).map_err(|error| Error::input(error.to_string()))?;
        Ok(Self { cloud, endpoint, tenant: None, client_id: None, auth })
    }

    /// What azmend's own variables and those of Azure say: `AZMEND_CLOUD`, `AZMEND_ARM_ENDPOINT`, `AZMEND_AUTH`,
    /// `AZMEND_TENANT`, `AZMEND_CLIENT_ID`, then `AZURE_TENANT_ID` and `AZURE_CLIENT_ID`. An empty one counts as not set.
    ///
    /// # Errors
    /// When one of them has a value that cannot be.
    pub fn from_variables(variables: Variables<'_>) -> Result<Self, Error> {
        let read = |name: &str| variables(name).filter(|value| !value.is_empty());
        let wrong = |name: &str, why: &str| Error::input(format!("{name}: {why}")).code("usage");
        let cloud = match read("AZMEND_CLOUD") {
            Some(text) => text.parse::<Cloud>().map_err(|error| wrong("AZMEND_CLOUD", &error.to_string()))?,
            None => Cloud::Public,
        };
        let auth = match read("AZMEND_AUTH") {
            Some(text) => text.parse::<Auth>().map_err(|error| wrong("AZMEND_AUTH", &error))?,
            None => Auth::Auto,
        };
        let settings = Self::new(cloud, read("AZMEND_ARM_ENDPOINT").as_deref(), auth)?;
        let (tenant, client_id) = (read("AZMEND_TENANT"), read("AZMEND_CLIENT_ID"));
        Ok(Self { tenant, client_id, ..settings }.with_azures_own(variables))
    }

    /// Whether the endpoint may turn out to be a served sandbox: it is on this machine, over plain http.
    #[must_use]
    pub fn may_be_served(&self) -> bool {
        self.endpoint.scheme() == "http"
    }

    /// Fills what is missing from Azure's own variables.
    #[must_use]
    pub fn with_azures_own(self, variables: Variables<'_>) -> Self {
        let read = |name: &str| variables(name).filter(|value| !value.is_empty());
        Self {
            tenant: self.tenant.or_else(|| read("AZURE_TENANT_ID")),
            client_id: self.client_id.or_else(|| read("AZURE_CLIENT_ID")),
            ..self
        }
    }
}

impl Place {
    /// Whether this is the embedded Azure.
    #[must_use]
    pub const fn is_sandbox(&self) -> bool {
        matches!(self, Self::Sandbox(_))
    }

    /// `azmend`, with the options that the next command needs to be in the same world.
    #[must_use]
    pub fn program(&self) -> String {
        match self {
            Self::Azure(_) => "azmend".to_owned(),
            Self::Sandbox(EstateSource::BuiltIn) => "azmend --sandbox".to_owned(),
            Self::Sandbox(EstateSource::File(file)) => {
                format!("azmend --sandbox={}", shell_quote(&file.display().to_string()))
            }
        }
    }
}

/// Where runs and sandboxes are kept unless another place is named.
///
/// # Errors
/// When the environment names no home.
pub fn default_state_dir(environment: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, Error> {
    // The XDG specification ignores relative values.
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        absolute("LOCALAPPDATA")
    } else {
        absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
    };
    base.map(|dir| dir.join("azmend")).ok_or_else(|| {
        let missing =
            if cfg!(windows) { "%LOCALAPPDATA% is not set" } else { "neither XDG_STATE_HOME nor HOME is set" };
        Error::input(format!("there is no place to keep the journal: {missing}"))
            .hint("name one with --state-dir or AZMEND_STATE_DIR, or a storage account with --state azblob://...")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_in_their_order_and_checked() {
        let of = |pairs: &'static [(&str, &str)]| {
            AzureSettings::from_variables(&move |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let plain = of(&[("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZMEND_AUTH", "")]).unwrap();
        assert_eq!((plain.tenant.as_deref(), plain.client_id.as_deref()), (Some("t"), Some("c")));
        assert_eq!((plain.auth, plain.cloud), (Auth::Auto, Cloud::Public));
        let own =
            of(&[("AZURE_TENANT_ID", "t"), ("AZMEND_TENANT", "own"), ("AZMEND_AUTH", "managed-identity")]).unwrap();
        assert_eq!((own.tenant.as_deref(), own.auth), (Some("own"), Auth::ManagedIdentity));
        for wrong in
            [&[("AZMEND_AUTH", "x")][..], &[("AZMEND_CLOUD", "x")], &[("AZMEND_ARM_ENDPOINT", "http://a.example")]]
        {
            assert_eq!(of(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn the_next_command_is_in_the_same_world() {
        assert_eq!(
            Place::Sandbox(EstateSource::File("my estate.yaml".into())).program(),
            "azmend --sandbox='my estate.yaml'"
        );
        assert_eq!(Place::Azure(AzureSettings::public().unwrap()).program(), "azmend");
    }
}
