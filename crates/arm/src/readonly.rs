//! Read-only means read-only (S1): a transport that refuses everything that could change something.
//!
//! Duty: dry runs, audits and captures send only through this decorator. Invariant: what is let through is `GET` and
//! the POSTs named in [`ReadPost`] that the command asked for, recognised by their whole path, and `runCommand` with
//! exactly one of the scripts it was given, which only read; every other request ends here as
//! [`TransportError::Refused`] and is counted. It never changes a request.

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
        is_path(wanted, path)
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
    scripts: &'static [&'static str],
    passed: AtomicU64,
    refused: AtomicU64,
}

impl<T: Transport> ReadOnly<T> {
    /// Guards `inner`; `allowed` are the reading POSTs this command needs.
    #[must_use]
    pub fn new(inner: T, allowed: &[ReadPost]) -> Self {
        Self { inner, allowed: allowed.to_vec(), scripts: &[], passed: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Also lets `runCommand` through, with these scripts to the letter and without parameters. They must only read.
    #[must_use]
    pub fn with_scripts(mut self, scripts: &'static [&'static str]) -> Self {
        self.scripts = scripts;
        self
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
            || (request.method == Method::POST && runs_one_of(self.scripts, request))
    }
}

/// Whether a request runs one of these scripts in a VM, unchanged.
fn runs_one_of(scripts: &[&str], request: &Request) -> bool {
    /// The body of the contract `VirtualMachines_RunCommand`; anything else in it is refused.
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Body {
        #[serde(rename = "commandId")]
        _command_id: String,
        script: Vec<String>,
    }
    const PATH: [&str; 9] = [
        "subscriptions",
        "*",
        "resourcegroups",
        "*",
        "providers",
        "microsoft.compute",
        "virtualmachines",
        "*",
        "runcommand",
    ];
    if scripts.is_empty() || !is_path(&PATH, request.url.path()) {
        return false;
    }
    let Ok(body) = serde_json::from_slice::<Body>(&request.body) else { return false };
    scripts.iter().any(|script| script.lines().eq(body.script.iter().map(String::as_str)))
}

/// Whether a path has these segments, in any case; `*` stands for a name.
fn is_path(wanted: &[&str], path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    segments.len() == wanted.len() && wanted.iter().zip(segments).all(|(want, got)| *want == "*" || *want == got)
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

    #[tokio::test]
    async fn only_the_given_scripts_run() {
        const PROBE: &str = "# reads\necho 1\n";
        let run = |body: serde_json::Value| {
            let url = format!("{SUB}/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v/runCommand");
            let mut request = Request::new(Method::POST, format!("https://management.azure.com{url}").parse().unwrap());
            request.body = body.to_string().into();
            request
        };
        let guard = ReadOnly::new(Script::new(|_| Ok(Response::empty(202))), &[]).with_scripts(&[PROBE]);
        let good = serde_json::json!({ "commandId": "RunShellScript", "script": ["# reads", "echo 1"] });
        assert!(guard.send(&run(good.clone())).await.is_ok());
        for bad in [
            serde_json::json!({ "commandId": "RunShellScript", "script": ["# reads", "echo 1", "rm x"] }),
            serde_json::json!({ "commandId": "RunShellScript", "script": ["# reads"] }),
            serde_json::json!({ "commandId": "RunShellScript" }),
            serde_json::json!({ "commandId": "RunShellScript", "script": ["# reads", "echo 1"],
                "parameters": [{ "name": "root", "value": "/x" }] }),
        ] {
            assert!(guard.send(&run(bad.clone())).await.is_err(), "{bad}");
        }
        let closed = ReadOnly::new(Script::new(|_| Ok(Response::empty(202))), &[ReadPost::BackupStatus]);
        assert!(closed.send(&run(good.clone())).await.is_err());
        // A script is never a read that the gateway may repeat: Azure runs one at a time.
        assert!(!only_reads(&run(good)));
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
