//! The lines about what surrounds the VM: disks, load, other backups at the same time, network rules.
//!
//! Duty: pure, as the whole checklist. Invariant: limits are those of Azure's documents, and where these disagree or leave
//! something open the line says so instead of judging.

use super::line::{Sheet, State};
use crate::arm::model::{NetworkRule, RuleSet};
use crate::facts::surroundings::{Around, CPU, DiskFacts, InterfaceRules, Load, MEMORY};
use crate::facts::vm_facts::{Part, VmFacts};
use crate::text::plural;

/// Azure Backup takes disks up to here everywhere (troubleshooting guide, 2020 to 2025).
const SURE_GB: i64 = 32_767;
/// And up to here in some regions (FAQ of October 2025).
const MOST_GB: i64 = 65_536;
/// With Azure Disk Encryption (troubleshooting guide).
const ENCRYPTED_GB: i64 = 4_096;
/// Of all disks of a VM together (FAQ of October 2025).
const TOGETHER_GB: i64 = 512 * 1_024;
/// The share of processors or memory from which the guide expects snapshots to time out, in percent.
const BUSY: f64 = 90.0;

const SIZE: &str = "UserErrorUnsupportedDiskSize";
const BUSY_CODE: &str = "SnapshotIssues_General";
const NO_NETWORK: &str = "ExtensionSnapshotFailedNoNetwork";

/// Everything of this file.
pub(super) fn lines(sheet: &mut Sheet, around: &Around) {
    disks(sheet, &around.disks);
    load(sheet, &around.load);
    network(sheet, around.network.as_deref());
}

fn disks(sheet: &mut Sheet, disks: &[DiskFacts]) {
    for disk in disks {
        one_disk(sheet, disk);
    }
    let sizes: Option<Vec<i64>> = disks.iter().map(size).collect();
    let total = sizes.iter().flatten().fold(0_i64, |sum, size| sum.saturating_add(*size));
    if total > TOGETHER_GB {
        let said = format!("{total} GB; Azure Backup supports {TOGETHER_GB} GB per VM");
        sheet.put("disks", "all together", State::Problem, said, Some(SIZE));
    }
}

fn size(disk: &DiskFacts) -> Option<i64> {
    disk.disk.known().and_then(|known| known.size_gb).or(disk.attached.size_gb)
}

fn one_disk(sheet: &mut Sheet, disk: &DiskFacts) {
    let attached = &disk.attached;
    let check = if attached.os { format!("OS disk {}", attached.name) } else { format!("data disk {}", attached.name) };
    if attached.ephemeral {
        // Support matrix of VM restore points: not supported, the disk has to be excluded.
        let said = "an ephemeral OS disk; restore points do not support it, it has to be excluded from the backup";
        return sheet.put("disks", &check, State::Problem, said, Some("OperationNotAllowed_DisksNotAllocated"));
    }
    let known = disk.disk.known();
    let sku = known.map(|known| known.sku.as_str()).filter(|sku| !sku.is_empty()).unwrap_or(&attached.sku);
    let gb = size(disk);
    let mut said = match gb {
        Some(gb) => format!("{gb} GB {sku}"),
        None => sku.to_owned(),
    };
    if attached.unmanaged {
        said.push_str("page blob (not managed)");
    }
    let encrypted = attached.encrypted || known.is_some_and(|known| known.encrypted);
    if encrypted {
        said.push_str(", encrypted in the guest");
    }
    let said = said.trim().to_owned();
    if let Some(shares) = known.and_then(|known| known.max_shares).filter(|shares| *shares > 1) {
        let said = format!("{said}, shared by up to {shares} machines");
        return sheet.put("disks", &check, State::Problem, said, Some("UserErrorSharedDiskBackupNotSupported"));
    }
    match gb {
        Some(gb) if gb > MOST_GB || (encrypted && gb > ENCRYPTED_GB) => {
            let most = if encrypted { ENCRYPTED_GB } else { MOST_GB };
            sheet.put("disks", &check, State::Problem, format!("{said}; Azure Backup supports {most} GB"), Some(SIZE));
        }
        Some(gb) if gb > SURE_GB => {
            let said = format!("{said}: over 32 TB is supported in some regions only, which azmend cannot tell");
            sheet.put("disks", &check, State::NotChecked, said, None);
        }
        Some(_) if disk.disk.unread().is_none() => sheet.put("disks", &check, State::Ok, said, None),
        // The profile alone does not tell whether the disk is shared.
        _ => {
            let why = disk.disk.unread().unwrap_or("Azure does not say its size");
            sheet.put("disks", &check, State::NotChecked, why, None);
        }
    }
}

fn load(sheet: &mut Sheet, load: &Part<Load>) {
    const AREA: &str = "load";
    match load {
        Part::Absent { .. } => {}
        Part::Unread { why } => sheet.put(AREA, "around the last failure", State::NotChecked, why.clone(), None),
        Part::Known { value, .. } => {
            let when = format!("{} to {}", value.from.strftime("%Y-%m-%d %H:%M"), value.until.strftime("%H:%MZ"));
            let most = |name: &str, busy: fn(f64) -> f64| {
                let metric = value.metrics.iter().find(|metric| metric.name.eq_ignore_ascii_case(name))?;
                metric.values.iter().map(|(_, value)| busy(*value)).reduce(f64::max)
            };
            for (check, most) in [("processor", most(CPU, |busy| busy)), ("memory", most(MEMORY, |free| 100.0 - free))]
            {
                match most {
                    Some(most) => {
                        let said = format!("at most {most:.0} % in use, {when}");
                        sheet.judge(AREA, check, most <= BUSY, said, BUSY_CODE);
                    }
                    None => sheet.put(AREA, check, State::NotChecked, format!("Azure has no values, {when}"), None),
                }
            }
        }
    }
}

/// The guide advises to spread schedules and names no number: said, not judged.
pub(super) fn together(sheet: &mut Sheet, facts: &VmFacts) {
    let items = facts.items.known().into_iter().flatten().filter(|item| item.jobs.known().is_some());
    let count: usize = items.map(|item| item.began_together).sum();
    if count > 0 {
        let said = format!("{} of other VMs started in the same minute as the last one", plural(count, "backup"));
        sheet.put("jobs", "at the same time", State::Ok, said, None);
    }
}

fn network(sheet: &mut Sheet, interfaces: Option<&[InterfaceRules]>) {
    let Some(interfaces) = interfaces else {
        let said = "add --network to read the effective rules, which takes some seconds";
        return sheet.put("network", "rules to Storage", State::NotChecked, said, None);
    };
    if interfaces.is_empty() {
        sheet.put("network", "rules to Storage", State::NotChecked, "no network interface is known", None);
    }
    for one in interfaces {
        let Some(sets) = sheet.known("network", one.interface.name(), &one.rules) else { continue };
        let name = one.interface.name();
        let (state, said) = match sets.iter().find_map(|set| storage(set)) {
            None if sets.is_empty() => (State::Ok, "no network security group".to_owned()),
            None => (State::Ok, "443 to Storage is not denied".to_owned()),
            Some(rule) => (State::Problem, format!("rule {} denies 443 to Storage", rule.name)),
        };
        let code = (state == State::Problem).then_some(NO_NETWORK);
        sheet.put("network", &format!("{name}: Storage"), state, said, code);
        // Rules do not concern the platform's address unless they name it (virtual network documentation); the guest's own
        // firewall may, and cannot be seen from here.
        let (state, said) = match sets.iter().find_map(platform) {
            None => (State::Ok, "no rule names it; the guest's own firewall is not visible from here".to_owned()),
            Some(rule) => (State::Problem, format!("rule {} denies it", rule.name)),
        };
        let code = (state == State::Problem).then_some(NO_NETWORK);
        sheet.put("network", &format!("{name}: 168.63.129.16"), state, said, code);
    }
}

/// The rule that denies TCP 443 to Azure Storage, when the first rule that is about it does. Rules for single addresses say
/// nothing about the tag and are passed over.
fn storage(set: &RuleSet) -> Option<&NetworkRule> {
    let about = |to: &String| {
        let to = to.to_ascii_lowercase();
        let everywhere = ["*", "0.0.0.0/0", "internet", "storage", "azurecloud", "any"];
        everywhere.contains(&to.as_str()) || to.starts_with("storage.") || to.starts_with("azurecloud.")
    };
    decides(set, 443, |rule| rule.to.iter().any(about))
}

/// The rule that denies the platform's address by name.
fn platform(set: &RuleSet) -> Option<&NetworkRule> {
    let about = |rule: &NetworkRule| rule.to.iter().any(|to| to == "168.63.129.16" || to == "168.63.129.16/32");
    decides(set, 80, about).or_else(|| decides(set, 32_526, about))
}

fn decides(set: &RuleSet, port: u16, about: impl Fn(&NetworkRule) -> bool) -> Option<&NetworkRule> {
    let tcp =
        |rule: &NetworkRule| !rule.protocol.eq_ignore_ascii_case("Udp") && !rule.protocol.eq_ignore_ascii_case("Icmp");
    let here = |rule: &&NetworkRule| {
        rule.outbound && tcp(rule) && about(rule) && rule.ports.iter().any(|ports| within(ports, port))
    };
    set.rules.iter().find(here).filter(|rule| !rule.allows)
}

/// Whether `443`, `400-500` or `*` covers a port.
fn within(ports: &str, port: u16) -> bool {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    match ports.split_once('-') {
        _ if ports.trim() == "*" => true,
        Some((first, last)) => number(first).is_some_and(|n| n <= port) && number(last).is_some_and(|n| n >= port),
        None => number(ports) == Some(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(priority: i64, allows: bool, to: &str, ports: &str) -> NetworkRule {
        NetworkRule {
            name: format!("r{priority}"),
            priority,
            allows,
            outbound: true,
            protocol: "Tcp".into(),
            ports: vec![ports.into()],
            to: vec![to.into()],
        }
    }

    fn set(rules: Vec<NetworkRule>) -> RuleSet {
        RuleSet { group: "/nsg".into(), rules }
    }

    #[test]
    fn the_first_rule_that_is_about_it_decides() {
        let denied = |rules| storage(&set(rules)).map(|rule| rule.name.clone());
        let everything = || rule(4096, false, "*", "0-65535");
        assert_eq!(denied(vec![everything()]).as_deref(), Some("r4096"));
        assert_eq!(denied(vec![rule(100, true, "Storage.WestEurope", "443"), everything()]), None);
        assert_eq!(denied(vec![rule(100, true, "Storage", "80-90"), everything()]).as_deref(), Some("r4096"));
        assert_eq!(denied(vec![rule(100, true, "10.0.0.4/32", "443"), everything()]).as_deref(), Some("r4096"));
        let inbound = NetworkRule { outbound: false, ..everything() };
        let udp = NetworkRule { protocol: "Udp".into(), ..everything() };
        assert_eq!(denied(vec![inbound, udp]), None);
    }

    #[test]
    fn the_platforms_address_is_only_denied_by_name() {
        assert!(platform(&set(vec![rule(100, false, "*", "*")])).is_none());
        assert!(platform(&set(vec![rule(100, false, "168.63.129.16/32", "*")])).is_some());
        assert!(platform(&set(vec![rule(100, false, "168.63.129.16", "53")])).is_none());
    }

    #[test]
    fn ports_that_are_no_ports_cover_nothing() {
        assert!(within("*", 443) && within("443-443", 443) && within(" 443 ", 443));
        assert!(!within("", 443) && !within("x-y", 443) && !within("444-", 443) && !within("99999", 443));
    }
}
