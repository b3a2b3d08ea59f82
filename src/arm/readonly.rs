//! Read-only means read-only (S1): a transport that refuses everything that could change something.
//!
//! Duty: dry runs, audits and captures send only through this decorator. Invariant: what is let through is `GET` and
//! the POSTs named in [`ReadPost`] that the command asked for, recognised by their whole path; every other request
//! ends here as [`TransportError::Refused`] and is counted. It never changes a request.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::http::{Method, Request, Response, Transport, TransportError};

/// A POST that only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadPost {
    /// `.../providers/Microsoft.RecoveryServices/locations/{region}/backupStatus`.
    BackupStatus,
    /// `/providers/Microsoft.ResourceGraph/resources`.
    ResourceGraph,
    /// `.../networkInterfaces/{nic}/effectiveNetworkSecurityGroups`.
    EffectiveNetworkRules,
    /// `.../vaults/{vault}/backupFabrics/{fabric}/refreshContainers`: a vault looks for VMs; nothing of the user's changes.
    RefreshContainers,
}

impl ReadPost {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::BackupStatus, Self::ResourceGraph, Self::EffectiveNetworkRules, Self::RefreshContainers];

    /// Whether a path is this call, by all of its segments (any case, as ARM compares).
    #[must_use]
    pub fn matches(self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        // `*` stands for a name.
        let wanted: &[&str] = match self {
            Self::BackupStatus => {
                &["subscriptions", "*", "providers", "microsoft.recoveryservices", "locations", "*", "backupstatus"]
            }
            Self::ResourceGraph => &["providers", "microsoft.resourcegraph", "resources"],
            Self::EffectiveNetworkRules => &[
                "subscriptions",
                "*",
                "resourcegroups",
                "*",
                "providers",
                "microsoft.network",
                "networkinterfaces",
                "*",
                "effectivenetworksecuritygroups",
            ],
            Self::RefreshContainers => &[
                "subscriptions",
                "*",
                "resourcegroups",
                "*",
                "providers",
                "microsoft.recoveryservices",
                "vaults",
                "*",
                "backupfabrics",
                "*",
                "refreshcontainers",
            ],
        };
        segments.len() == wanted.len() && wanted.iter().zip(segments).all(|(want, got)| *want == "*" || *want == got)
    }
}

/// Whether a request only reads: a GET, or one of the POSTs of [`ReadPost`].
#[must_use]
pub fn only_reads(request: &Request) -> bool {
    request.method == Method::GET
        || (request.method == Method::POST && ReadPost::ALL.iter().any(|post| post.matches(request.url.path())))
}

/// Lets only reads through to the transport under it.
#[derive(Debug)]
pub struct ReadOnly<T> {
    inner: T,
    allowed: Vec<ReadPost>,
    passed: AtomicU64,
    refused: AtomicU64,
}

impl<T: Transport> ReadOnly<T> {
    /// Guards `inner`; `allowed` are the reading POSTs this command needs.
    #[must_use]
    pub fn new(inner: T, allowed: &[ReadPost]) -> Self {
        Self { inner, allowed: allowed.to_vec(), passed: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// How many requests were let through.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// How many requests were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn allows(&self, request: &Request) -> bool {
        request.method == Method::GET
            || (request.method == Method::POST && self.allowed.iter().any(|post| post.matches(request.url.path())))
    }
}

#[async_trait]
impl<T: Transport> Transport for ReadOnly<T> {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        if self.allows(request) {
            self.passed.fetch_add(1, Ordering::Relaxed);
            return self.inner.send(request).await;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(TransportError::Refused {
            request: request.summary(),
            why: "rule s1: this command only reads, and the request could change something".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;

    const SUB: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";

    async fn try_send(guard: &ReadOnly<Script>, method: Method, path: &str) -> bool {
        let url = format!("https://management.azure.com{path}").parse().unwrap();
        match guard.send(&Request::new(method, url)).await {
            Ok(_) => true,
            Err(TransportError::Refused { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn only_reads_pass() {
        let script = Script::new(|_| Ok(Response::empty(200)));
        let guard = ReadOnly::new(script.clone(), &[ReadPost::BackupStatus]);
        let status =
            format!("{SUB}/providers/microsoft.recoveryservices/Locations/westeurope/backupStatus?api-version=1");
        assert!(try_send(&guard, Method::GET, "/anything").await);
        assert!(try_send(&guard, Method::POST, &status).await);
        for (method, path) in [
            (Method::PUT, status.as_str()),
            (Method::DELETE, "/x"),
            (Method::PATCH, "/x"),
            (Method::HEAD, "/x"),
            (Method::POST, "/providers/Microsoft.ResourceGraph/resources"),
            (Method::POST, "/x/backup?y=/backupStatus"),
            (Method::POST, "/subscriptions/s/resourceGroups/g/providers/P/t/backupStatus"),
            (Method::POST, "/a/backupStatus"),
        ] {
            assert!(!try_send(&guard, method.clone(), path).await, "{method} {path}");
        }
        assert_eq!((guard.passed(), guard.refused(), script.seen().len()), (2, 8, 2));
    }

    #[test]
    fn resource_graph_is_a_read() {
        let post = |path: &str| {
            only_reads(&Request::new(Method::POST, format!("https://management.azure.com{path}").parse().unwrap()))
        };
        assert!(post("/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01"));
        assert!(!post("/providers/Microsoft.ResourceGraph/resourcesHistory"));
        assert!(!post(&format!(
            "{SUB}/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/v/backupJobs/j/cancel"
        )));
    }
}
