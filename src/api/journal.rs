//! Where runs are kept: a directory, or a storage account that several machines share and that outlives them.
//!
//! Must never: accept a key or a signature; a storage account is signed in to as Azure itself is.

use std::sync::{Arc, OnceLock};

use url::Url;

use super::error::Error;
use super::place::{AzureSettings, Variables};
use crate::arm::{SignIn, Wire};
use crate::clock::SystemClock;
use crate::engine::blob_state::{BlobPlace, OpenError, Opening};
use crate::journal::State;

/// A storage account in which runs are kept, and how to sign in to it.
#[derive(Debug, Clone)]
pub struct BlobSettings {
    /// Which.
    pub place: BlobPlace,
    /// Its blob endpoint, checked.
    pub endpoint: Url,
    /// As to Azure itself; of the sandbox, as the options and Azure's variables say.
    pub sign_in: SignIn,
    /// The state itself, opened once for all that a command does with it.
    pub opened: OnceLock<State>,
}

impl BlobSettings {
    /// Reads `azblob://ACCOUNT/CONTAINER/PREFIX`. `endpoint` is another blob endpoint than the cloud's own.
    ///
    /// # Errors
    /// When it is no such place, or the endpoint cannot be trusted with a token.
    pub fn new(place: &str, endpoint: Option<&str>, sign_in: SignIn) -> Result<Self, Error> {
        let bad = |why: String| Error::input(why).code("usage");
        let place = BlobPlace::parse(place).map_err(bad)?;
        let endpoint = place.endpoint(sign_in.cloud, endpoint).map_err(bad)?;
        Ok(Self { place, endpoint, sign_in, opened: OnceLock::new() })
    }

    /// The same, signed in to as to this Azure.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn beside(place: &str, endpoint: Option<&str>, azure: &AzureSettings) -> Result<Self, Error> {
        let sign_in = SignIn {
            auth: azure.auth,
            tenant: azure.tenant.clone(),
            client_id: azure.client_id.clone(),
            cloud: azure.cloud,
            scope: String::new(),
        };
        Self::new(place, endpoint, sign_in)
    }

    /// Opens it; nothing is sent. What signing in needs beyond the settings is asked of `variables`.
    ///
    /// # Errors
    /// When the way to sign in lacks a setting.
    pub fn open(&self, variables: Variables<'_>) -> Result<State, Error> {
        let network = Wire::new().map_err(|error| Error::input(error.to_string()).code("tls"))?;
        let opening = Opening {
            place: &self.place,
            endpoint: &self.endpoint,
            sign_in: &self.sign_in,
            env: variables,
            network: Arc::new(network),
            clock: Arc::new(SystemClock),
            host: &host(variables),
        };
        opening.open().map_err(|error| match error {
            OpenError::SignIn(error) => Error::from(error),
            OpenError::Place(why) => Error::input(why).code("state"),
        })
    }
}

/// The name of this machine, for messages: there is no call for it in the standard library.
fn host(variables: Variables<'_>) -> String {
    let named =
        ["COMPUTERNAME", "HOSTNAME"].into_iter().find_map(|name| variables(name).filter(|name| !name.is_empty()));
    named
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
