//! Results of Windows (HRESULT) that `diagnose` prints when the COM+ catalogue inside a VM does not open.
//!
//! Invariant: the meanings are those of Windows' own headers (winerror.h, [MS-ERREF]); which error of Azure Backup follows is what
//! `diagnose` says of the same finding. Must never: explain a number that stands in another text; there it can come from anything.

/// A result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowsResult {
    /// The number.
    pub number: u32,
    /// Its name in Windows' headers.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// The entry of the catalogue that `diagnose` names with it.
    pub code: &'static str,
}

const COM: &str = "ExtensionSnapshotFailedCOM";
const DTC: &str = "ExtensionInstallationFailedMDTC";

const KNOWN: [WindowsResult; 10] = [
    of(0x8007_0005, "E_ACCESSDENIED", "access is denied", COM),
    of(0x8007_041D, "ERROR_SERVICE_REQUEST_TIMEOUT", "a service did not answer the start request in time", COM),
    of(0x8007_0422, "ERROR_SERVICE_DISABLED", "a service is disabled", COM),
    of(0x8007_0424, "ERROR_SERVICE_DOES_NOT_EXIST", "a service is not installed", COM),
    of(0x8007_042C, "ERROR_SERVICE_DEPENDENCY_FAIL", "a service that this one depends on did not start", COM),
    of(0x8007_06BA, "RPC_S_SERVER_UNAVAILABLE", "the RPC server is unavailable", COM),
    of(0x8004_0154, "REGDB_E_CLASSNOTREG", "a class is not registered", COM),
    of(0x8008_0005, "CO_E_SERVER_EXEC_FAILURE", "the server of a class did not start", COM),
    of(0x8004_D01B, "XACT_E_TMNOTAVAILABLE", "the transaction manager (MSDTC) is not available", DTC),
    of(0x8004_E00F, "CONTEXT_E_TMNOTAVAILABLE", "COM+ cannot reach the transaction coordinator (MSDTC)", DTC),
];

const fn of(number: u32, name: &'static str, meaning: &'static str, code: &'static str) -> WindowsResult {
    WindowsResult { number, name, meaning, code }
}

/// The number of a text that is one result of a failure and nothing else: `0x80070422`.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    let text = text.trim().trim_end_matches(['.', ',', ')']).trim_start_matches('(');
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).filter(|digits| digits.len() == 8)?;
    // The first bit says that something failed.
    u32::from_str_radix(digits, 16).ok().filter(|number| number >> 31 == 1)
}

/// The known result of a number.
#[must_use]
pub fn known(number: u32) -> Option<WindowsResult> {
    KNOWN.iter().find(|one| one.number == number).copied()
}

/// The error of Windows inside a result (facility 7): what `net helpmsg` explains.
#[must_use]
pub const fn win32(number: u32) -> Option<u32> {
    if number >> 16 == 0x8007 { Some(number & 0xffff) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn a_result_is_known_by_its_number_only() {
        assert_eq!(number(" 0x80070422. "), Some(0x8007_0422));
        for other in ["0x8007042", "80070422", "0x00000422", "error 0x80070422", "0xzzzzzzzz"] {
            assert_eq!(number(other), None, "{other}");
        }
        assert_eq!(known(0x8007_0422).unwrap().name, "ERROR_SERVICE_DISABLED");
        assert_eq!((known(0x8007_0002), win32(0x8007_0422), win32(0x8004_0154)), (None, Some(1058), None));
        assert!(KNOWN.iter().all(|one| Catalog::get().by_code(one.code).is_some_and(|entry| entry.code == one.code)));
    }
}
