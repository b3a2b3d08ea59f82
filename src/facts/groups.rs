//! Names of what Azure Backup makes: resource groups, restore point collections, restore points.
//!
//! Duty: to say what a name *claims*. Pure, without case as ARM compares.
//! Invariant: a parsed name reads back to the same text (without case).
//! Must never: be taken for proof. Anybody may use these names, and a policy's prefix may fit a production group; that
//! something is Backup's is proven by its points (S7) and by what else a group holds (S5).
//!
//! Sources: the default group is `AzureBackupRG_{geo}_{n}`, a policy's own `{prefix}{n}{suffix}`
//! (`instantRPDetails.azureBackupRGNamePrefix`/`Suffix`; Azure Backup documentation, "Back up a VM during creation").
//! Collections were recorded as `AzureBackup_{vm}_{digits}` (9 digits, and 19), in the VM's own group before September
//! 2018 as `AzureBackup_{vm}`; points as `AzureBackup_YYYYMMDD_HHMMSS`.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

use crate::arm::model::Policy;

/// What a default backup group name says: `AzureBackupRG_westeurope_1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultGroupName {
    /// The region's name, in lower case.
    pub geo: String,
    /// The number in digits, as written.
    pub number: String,
}

/// What a collection's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionName<'a> {
    /// The VM's name as written.
    pub vm: &'a str,
    /// The digits; `None` for the legacy form without them.
    pub number: Option<&'a str>,
}

fn strip_prefix_no_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Parses `AzureBackupRG_<geo>_<n>`. The geo is a region name: ASCII letters and digits.
#[must_use]
pub fn default_group_name(name: &str) -> Option<DefaultGroupName> {
    let (geo, number) = strip_prefix_no_case(name, "AzureBackupRG_")?.split_once('_')?;
    let is_geo = !geo.is_empty() && geo.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_geo && all_digits(number))
        .then(|| DefaultGroupName { geo: geo.to_ascii_lowercase(), number: number.to_owned() })
}

/// Whether `name` is `<prefix><n><suffix>`. An empty prefix never matches: the policy has no names of its own then.
#[must_use]
pub fn matches_pattern(name: &str, prefix: &str, suffix: &str) -> bool {
    if prefix.is_empty() {
        return false;
    }
    // Group names may hold letters of any alphabet; ARM compares them without case.
    let (name, prefix, suffix) = (name.to_lowercase(), prefix.to_lowercase(), suffix.to_lowercase());
    name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&suffix)).is_some_and(all_digits)
}

/// Whether the group's name fits the default pattern or this policy's own.
#[must_use]
pub fn is_backup_group_name(name: &str, policy: Option<&Policy>) -> bool {
    default_group_name(name).is_some()
        || policy.is_some_and(|policy| matches_pattern(name, &policy.group_prefix, &policy.group_suffix))
}

/// Reads `AzureBackup_<vm>_<digits>`, else the legacy `AzureBackup_<vm>`.
///
/// A VM name may hold dots, dashes and underscores, and may itself end in `_<digits>`: a name alone cannot tell
/// `AzureBackup_web_01` of VM `web` from the legacy collection of VM `web_01`. Ask [`names_vm`] when the VM is known.
#[must_use]
pub fn collection_name(name: &str) -> Option<CollectionName<'_>> {
    let rest = strip_prefix_no_case(name, "AzureBackup_")?;
    match rest.rsplit_once('_') {
        Some((vm, number)) if !vm.is_empty() && all_digits(number) => Some(CollectionName { vm, number: Some(number) }),
        _ => (!rest.is_empty()).then_some(CollectionName { vm: rest, number: None }),
    }
}

/// Whether the collection's name is `AzureBackup_<vm>_<digits>` or the legacy `AzureBackup_<vm>` of exactly this VM.
#[must_use]
pub fn names_vm(collection: &str, vm: &str) -> bool {
    let (collection, vm) = (collection.to_lowercase(), vm.to_lowercase());
    !vm.is_empty()
        && collection
            .strip_prefix("azurebackup_")
            .and_then(|rest| rest.strip_prefix(&vm))
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('_').is_some_and(all_digits))
}

/// Whether the name is `AzureBackup_<8 digits>_<6 digits>`.
#[must_use]
pub fn is_point_name(name: &str) -> bool {
    point_digits(name).is_some()
}

fn point_digits(name: &str) -> Option<(&str, &str)> {
    let (date, time) = strip_prefix_no_case(name, "AzureBackup_")?.split_once('_')?;
    (date.len() == 8 && time.len() == 6 && all_digits(date) && all_digits(time)).then_some((date, time))
}

/// The time in a point's name, read as UTC. `None` when the name is not a point's or its digits are not a time.
///
/// That the digits are UTC is not documented: evidence for messages, never a reason to delete (`timeCreated` is).
#[must_use]
pub fn point_time(name: &str) -> Option<Timestamp> {
    let (date, time) = point_digits(name)?;
    let number = |text: &str| text.parse::<i8>().ok();
    let date = Date::new(date[..4].parse().ok()?, number(&date[4..6])?, number(&date[6..])?).ok()?;
    let time = Time::new(number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?, 0).ok()?;
    Offset::UTC.to_timestamp(DateTime::from_parts(date, time)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn default_names() {
        let parsed = default_group_name("azurebackuprg_WestEurope_12").unwrap();
        assert_eq!((parsed.geo.as_str(), parsed.number.as_str()), ("westeurope", "12"));
        for no in [
            "AzureBackupRG_westeurope",
            "AzureBackupRG__1",
            "AzureBackupRG_westeurope_",
            "AzureBackupRG_a_1_2",
            "AzureBackupRG_west europe_1",
            "xAzureBackupRG_westeurope_1",
            "AzureBackupRG_westeurope_1x",
            "AzureBackupRG_é_1",
        ] {
            assert_eq!(default_group_name(no), None, "{no}");
        }
    }

    #[test]
    fn policy_names() {
        assert!(matches_pattern("Contoso-Snap7-rg", "contoso-snap", "-RG"));
        assert!(matches_pattern("prod1", "prod", ""), "a production group can fit a prefix: the name proves nothing");
        for (name, prefix, suffix) in [
            ("1", "", ""),
            ("contoso-rg", "contoso", "-rg"),
            ("contoso1", "contoso", "-rg"),
            ("contosox1", "contoso", ""),
            ("ab", "ab", "b"),
        ] {
            assert!(!matches_pattern(name, prefix, suffix), "{name} {prefix} {suffix}");
        }
    }

    #[test]
    fn collections_of_vms_with_awkward_names() {
        let read = |name| collection_name(name).map(|parsed| (parsed.vm, parsed.number));
        assert_eq!(
            read("AzureBackup_web01.corp.contoso.net_8566286297458822223"),
            Some(("web01.corp.contoso.net", Some("8566286297458822223")))
        );
        assert_eq!(read("azurebackup_web"), Some(("web", None)));
        assert_eq!(read("AzureBackup_"), None);
        assert_eq!(read("AzureBackupRG_web_1"), None);
        assert!(names_vm("AzureBackup_web_01_123", "web_01") && names_vm("AzureBackup_web_01", "WEB_01"));
        assert!(names_vm("AzureBackup_web_01", "web"), "both readings are possible");
        assert!(!names_vm("AzureBackup_web-011_123", "web-01") && !names_vm("AzureBackup_web_01_123", "web"));
        assert!(!names_vm("AzureBackup__1", ""));
    }

    #[test]
    fn points() {
        assert_eq!(point_time("AzureBackup_20250226_023503"), Some("2025-02-26T02:35:03Z".parse().unwrap()));
        assert!(is_point_name("azurebackup_20251301_000000"), "the shape fits");
        assert_eq!(point_time("AzureBackup_20251301_000000"), None, "but there is no month 13");
        for no in [
            "AzureBackup_20250226_0235030",
            "AzureBackup_2025022_023503",
            "snap_20250226_023503",
            "AzureBackup_20250226_02350x",
            "AzureBackup_20250226_023503_1",
            "AzureBackup_２０２５0226_023503",
        ] {
            assert!(!is_point_name(no), "{no}");
        }
    }

    proptest! {
        #[test]
        fn made_names_are_read_back(vm in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,60}", number in "[0-9]{1,20}") {
            let name = format!("AzureBackup_{vm}_{number}");
            let parsed = collection_name(&name).unwrap();
            prop_assert_eq!((parsed.vm, parsed.number), (vm.as_str(), Some(number.as_str())));
            prop_assert!(names_vm(&name.to_uppercase(), &vm));
            let legacy = format!("AzureBackup_{vm}");
            prop_assert!(names_vm(&legacy, &vm));
        }

        #[test]
        fn another_vm_is_not_named(vm in "[a-z][a-z0-9.-]{0,20}", other in "[a-z][a-z0-9.-]{0,20}", number in "[0-9]{1,20}") {
            prop_assume!(vm != other);
            let name = format!("AzureBackup_{vm}_{number}");
            prop_assert!(!names_vm(&name, &other));
        }

        #[test]
        fn groups_are_read_back(geo in "[a-z0-9]{1,20}", n in 1u32..10_000, prefix in "[A-Za-z(._-][A-Za-z0-9(._-]{0,30}", suffix in "[A-Za-z0-9)._-]{0,30}") {
            let parsed = default_group_name(&format!("AzureBackupRG_{geo}_{n}")).unwrap();
            prop_assert_eq!((parsed.geo, parsed.number), (geo, n.to_string()));
            let made = format!("{prefix}{n}{suffix}").to_uppercase();
            prop_assert!(matches_pattern(&made, &prefix, &suffix));
            let no_number = matches_pattern(&format!("{prefix}x{suffix}"), &prefix, &suffix);
            prop_assert!(!no_number);
        }

        #[test]
        fn point_times_are_read_back(second in 946_684_800i64..4_102_444_800) {
            let at = Timestamp::from_second(second).unwrap();
            let civil = Offset::UTC.to_datetime(at);
            let name = format!("AzureBackup_{:04}{:02}{:02}_{:02}{:02}{:02}", civil.year(), civil.month(), civil.day(), civil.hour(), civil.minute(), civil.second());
            prop_assert_eq!(point_time(&name), Some(at));
        }

        #[test]
        fn no_text_breaks_the_readers(text in "\\PC{0,80}") {
            let as_name = format!("AzureBackup_{text}");
            for name in [text.as_str(), as_name.as_str()] {
                let _ = (default_group_name(name), collection_name(name), point_time(name), names_vm(name, &text), matches_pattern(name, &text, &text));
            }
        }
    }
}
