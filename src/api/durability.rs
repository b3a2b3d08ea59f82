//! Whether a journal outlives the job that writes it (S2): asked before anything is changed from inside of a job.
//!
//! Invariant: where that is not known the answer is no. Must never: touch a file, or ask anything but the variables that it is given.
//!
//! How a job of Azure Automation is recognised. That its cloud sandbox offers the account's identity by `IDENTITY_ENDPOINT` and
//! `IDENTITY_HEADER` is documented (Automation, "Using a system-assigned managed identity"); App Service, Functions and Container
//! Apps set both as well, and their disks go with the instance, too. `AUTOMATION_ASSET_*` and `AZUREPS_HOST_ENVIRONMENT` are not documented:
//! public scripts read them to find out that they are a job of Automation, some of them on a hybrid worker, so that they do not tell
//! the cloud sandbox from a worker. Whether a Python job has them is not verified. All of them therefore count as "a place whose
//! disk may go with the job", and whoever knows better, on a hybrid worker or with a mounted share, says so.

use super::error::Error;
use super::place::Variables;
use crate::actions::change::Refusal;
use crate::engine::blob_state::BlobPlace;

/// Variables of a job of Azure Automation, in the cloud or on a hybrid worker.
const AUTOMATION: [&str; 3] =
    ["AUTOMATION_ASSET_ACCOUNTID", "AUTOMATION_ASSET_ENDPOINT", "AUTOMATION_ASSET_SANDBOX_ID"];

/// What kind of job this is, if its disk may go with it.
#[must_use]
pub fn job(variables: Variables<'_>) -> Option<&'static str> {
    let set = |name: &str| variables(name).is_some_and(|value| !value.is_empty());
    let host = variables("AZUREPS_HOST_ENVIRONMENT").is_some_and(|host| host.starts_with("AzureAutomation"));
    if host || AUTOMATION.into_iter().any(set) {
        Some("a job of Azure Automation")
    } else if set("IDENTITY_ENDPOINT") && set("IDENTITY_HEADER") {
        Some("a job of a cloud service")
    } else {
        None
    }
}

/// Refuses to change anything with a journal that may be lost. `named` is the place that the user named for the journal, `vouched`
/// whether the user says that it outlives the job.
///
/// # Errors
/// When this is such a job and the place is not known to outlive it.
pub fn check(named: Option<&str>, vouched: bool, variables: Variables<'_>) -> Result<(), Error> {
    let Some(job) = job(variables) else { return Ok(()) };
    if named.is_some_and(|place| vouched || BlobPlace::is_meant(place)) {
        return Ok(());
    }
    let what = match named {
        None => "no place was named for the journal".to_owned(),
        Some(place) => format!("{place:?} may be lost with the job"),
    };
    let why = format!(
        "this is {job}, and {what}: a lock that azmend removes could not be restored after the job ends; nothing was changed"
    );
    let storage = "keep the journal in a storage account: state=\"azblob://ACCOUNT/CONTAINER/PREFIX\"";
    Err(Error::from(Refusal::new("s2.not-durable", why).hint(storage))
        .hint("on a hybrid worker, or with a mounted share: state=\"/var/lib/azmend\", durable_state=True"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(named: Option<&str>, vouched: bool, set: &[(&str, &str)]) -> Result<(), String> {
        let variables = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        check(named, vouched, &variables).map_err(|error| error.code)
    }

    #[test]
    fn a_job_whose_disk_may_go_with_it_changes_nothing_without_a_place_that_someone_vouches_for() {
        let jobs: [&[(&str, &str)]; 5] = [
            &[("AUTOMATION_ASSET_ACCOUNTID", "1")],
            &[("AUTOMATION_ASSET_SANDBOX_ID", "1")],
            &[("AUTOMATION_ASSET_ENDPOINT", "http://x")],
            &[("AZUREPS_HOST_ENVIRONMENT", "AzureAutomation/")],
            &[("IDENTITY_ENDPOINT", "http://x"), ("IDENTITY_HEADER", "y")],
        ];
        for set in jobs {
            assert_eq!(of(None, false, set).unwrap_err(), "s2.not-durable", "{set:?}");
            assert_eq!(of(Some("/tmp/x"), false, set).unwrap_err(), "s2.not-durable", "{set:?}");
            assert_eq!(of(None, true, set).unwrap_err(), "s2.not-durable", "no place was named: {set:?}");
            assert!(of(Some("/var/lib/azmend"), true, set).is_ok(), "{set:?}");
            assert!(of(Some("azblob://contoso/state/team"), false, set).is_ok(), "{set:?}");
        }
    }

    #[test]
    fn elsewhere_the_users_own_directory_is_good() {
        let machines: [&[(&str, &str)]; 4] = [
            &[],
            &[("IDENTITY_ENDPOINT", "http://x")],
            &[("AUTOMATION_ASSET_ACCOUNTID", "")],
            &[("AZUREPS_HOST_ENVIRONMENT", "Other")],
        ];
        for set in machines {
            assert!(of(None, false, set).is_ok(), "{set:?}");
        }
    }
}
