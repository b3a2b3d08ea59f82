//! The Azure clouds, and which endpoint a token may go to (S11).
//!
//! Invariant: an endpoint is `https` with a host and nothing else; `http` is accepted on the loopback interface alone,
//! for the sandbox. The audience of the token is that endpoint.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// One of Azure's clouds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    /// Azure.
    #[default]
    Public,
    /// Azure Government.
    UsGov,
    /// Azure operated by 21Vianet.
    China,
}

/// Why a cloud name or an endpoint is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// Unknown name.
    #[error("{0:?} is not a cloud: use public, usgov or china")]
    UnknownCloud(String),
    /// The endpoint cannot be trusted with a token.
    #[error("{endpoint:?} cannot be the ARM endpoint: {why}")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Cloud {
    /// All clouds.
    pub const ALL: [Self; 3] = [Self::Public, Self::UsGov, Self::China];

    /// The name as users write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::UsGov => "usgov",
            Self::China => "china",
        }
    }

    /// The ARM endpoint.
    #[must_use]
    pub const fn arm_endpoint(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com/",
            Self::UsGov => "https://management.usgovcloudapi.net/",
            Self::China => "https://management.chinacloudapi.cn/",
        }
    }

    /// Where to sign in.
    #[must_use]
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com/",
            Self::UsGov => "https://login.microsoftonline.us/",
            Self::China => "https://login.chinacloudapi.cn/",
        }
    }

    /// The endpoint to use: the cloud's own, or the one the user gave.
    ///
    /// # Errors
    /// When the given endpoint cannot be trusted with a token.
    pub fn endpoint(self, given: Option<&str>) -> Result<Url, CloudError> {
        parse_endpoint(given.unwrap_or_else(|| self.arm_endpoint()))
    }
}

impl FromStr for Cloud {
    type Err = CloudError;

    fn from_str(text: &str) -> Result<Self, CloudError> {
        // The second names are those of `az cloud list`.
        Ok(match text.to_ascii_lowercase().as_str() {
            "public" | "azurecloud" => Self::Public,
            "usgov" | "azureusgovernment" => Self::UsGov,
            "china" | "azurechinacloud" => Self::China,
            _ => return Err(CloudError::UnknownCloud(text.chars().take(40).collect())),
        })
    }
}

/// Reads an ARM endpoint.
///
/// # Errors
/// When a token must not go there.
pub fn parse_endpoint(text: &str) -> Result<Url, CloudError> {
    let bad = |why| CloudError::Endpoint { endpoint: text.chars().take(120).collect(), why };
    let url: Url = text.parse().map_err(|_| bad("it is not a URL"))?;
    check_endpoint(&url).map_err(bad)?;
    Ok(url)
}

/// Whether tokens may go to this endpoint.
///
/// # Errors
/// What is wrong with it.
pub fn check_endpoint(url: &Url) -> Result<(), &'static str> {
    let loopback = match url.host() {
        None => return Err("it has no host"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        // `localhost` may be pointed elsewhere by a hosts file, but only by somebody who owns the machine anyway.
        Some(Host::Domain(name)) => name == "localhost",
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err("http would send the token in clear; https is needed (http only on loopback)"),
        _ => return Err("it must start with https://"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not contain a user name or a password");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("it must be a host without a path");
    }
    Ok(())
}

/// The token's scope for an endpoint: `https://management.azure.com/.default`. Recorded SDK traffic asks with the
/// endpoint as audience; the double slash that a trailing slash gives is a known trap.
#[must_use]
pub fn token_scope(endpoint: &Url) -> String {
    format!("{}/.default", endpoint.as_str().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_has_a_usable_endpoint() {
        for cloud in Cloud::ALL {
            let endpoint = cloud.endpoint(None).unwrap();
            assert_eq!(endpoint.scheme(), "https");
            assert_eq!(cloud.name().parse(), Ok(cloud));
            assert!(!token_scope(&endpoint).contains("//.default"));
        }
        assert_eq!("AzureUSGovernment".parse(), Ok(Cloud::UsGov));
        assert!("mars".parse::<Cloud>().is_err());
    }

    #[test]
    fn http_only_on_loopback() {
        for good in [
            "https://management.local.azurestack.external",
            "http://127.0.0.1:8080",
            "http://[::1]:9/",
            "http://localhost:1",
        ] {
            assert!(parse_endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "management.azure.com",
            "http://management.azure.com",
            "http://10.0.0.1",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "ftp://127.0.0.1",
            "https://user@management.azure.com",
            "https://u:p@management.azure.com",
            "https://management.azure.com/path",
            "https://management.azure.com/?x=1",
            "https://management.azure.com/#f",
            "file:///etc/passwd",
        ] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
    }
}
