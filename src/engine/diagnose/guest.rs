//! The checklist's lines about the inside of a VM.
//!
//! Duty: pure. What the probe found in, lines out. Invariants: what was not read, or not allowed to be read, is "not
//! checked" with the reason, never ok; a finding names an error of the catalogue only where Azure Backup's guides tie the
//! two together. It must never run anything.
//!
//! Sources: the guest part of Azure Backup's troubleshooting guides ("Troubleshoot Azure Backup failure: issues with the
//! agent or extension" and "Troubleshooting backup failures on Azure virtual machines", both 2025-11-12), as the
//! catalogue holds them.

use super::line::{Sheet, State};
use crate::facts::guest::{Com, Guest, GuestFacts, GuestOs, Service};
use crate::facts::vm_facts::Part;
use crate::text::plural;

const AREA: &str = "guest";
const VSS_SERVICE: &str = "ExtensionFailedVssServiceInBadState";
const VSS_WRITER: &str = "ExtensionFailedVssWriterInBadState";
const COM: &str = "ExtensionSnapshotFailedCOM";
const DTC: &str = "ExtensionInstallationFailedMDTC";
const VC: &str = "ExtensionVCRedistInstallationFailure";
const NETWORK: &str = "ExtensionSnapshotFailedNoNetwork";
const CRASH: &str = "VMRestorePointInternalError";
const AGENT: &str = "UserErrorGuestAgentStatusUnavailable";

/// What a service must be.
struct Wanted {
    name: &'static str,
    /// It must run; else it is started when it is needed.
    running: bool,
    code: Option<&'static str>,
}

const fn wanted(name: &'static str, running: bool, code: Option<&'static str>) -> Wanted {
    Wanted { name, running, code }
}

const SERVICES: [Wanted; 11] = [
    wanted("VSS", false, Some(VSS_SERVICE)),
    wanted("SwPrv", false, Some(VSS_SERVICE)),
    wanted("COMSysApp", false, Some(COM)),
    wanted("EventSystem", true, Some(COM)),
    wanted("MSDTC", false, Some(DTC)),
    wanted("CryptSvc", false, None),
    wanted("RpcSs", true, None),
    wanted("msiserver", false, Some(VC)),
    wanted("Dhcp", true, Some(NETWORK)),
    wanted("WindowsAzureGuestAgent", true, Some(AGENT)),
    wanted("RdAgent", true, Some(AGENT)),
];

/// The lines.
pub(super) fn lines(sheet: &mut Sheet, guest: &Guest) {
    match guest {
        Guest::NotAllowed => sheet.put(
            AREA,
            "inside the VM",
            State::NotChecked,
            "add --allow-guest to run a read-only script through Run Command",
            None,
        ),
        Guest::Looked(Part::Unread { why }) => sheet.put(AREA, "inside the VM", State::NotChecked, why, None),
        Guest::Looked(Part::Absent { .. }) => {
            sheet.put(AREA, "inside the VM", State::NotChecked, "there is nothing to check", None);
        }
        Guest::Looked(Part::Known { value, .. }) => match value.os {
            GuestOs::Windows => windows(sheet, value),
            GuestOs::Linux => linux(sheet, value),
        },
    }
}

fn windows(sheet: &mut Sheet, guest: &GuestFacts) {
    for wanted in SERVICES {
        service(sheet, guest, &wanted);
    }
    if let Some(network_service) = sheet.known(AREA, "account of MSDTC", &guest.dtc_network_service) {
        let said = if *network_service { "Network Service" } else { "not Network Service" };
        sheet.judge(AREA, "account of MSDTC", *network_service, said, Some(DTC));
    }
    if let Some(com) = sheet.known(AREA, "COM+ catalogue", &guest.com) {
        let said = match com {
            Com::Works => "opens".to_owned(),
            Com::Fails(code) => format!("does not open: {code}"),
        };
        sheet.judge(AREA, "COM+ catalogue", *com == Com::Works, &said, Some(COM));
    }
    writers(sheet, guest);
    let installer_off = guest.service("msiserver").and_then(Part::known).is_some_and(|one| one.start == "Disabled");
    match &guest.vc_runtime {
        Part::Known { value, .. } => sheet.put(AREA, "Visual C++ 2013 runtime", State::Ok, value, None),
        // The extension brings it along; without the installer it cannot.
        Part::Absent { .. } => {
            let said = "not installed; the backup extension installs it when needed";
            let said = if installer_off { "not installed, and Windows Installer is disabled" } else { said };
            sheet.judge(AREA, "Visual C++ 2013 runtime", !installer_off, said, Some(VC));
        }
        Part::Unread { why } => sheet.put(AREA, "Visual C++ 2013 runtime", State::NotChecked, why, None),
    }
    if let Some(dhcp) = sheet.known(AREA, "DHCP", &guest.dhcp) {
        let said = format!("{} of {} by DHCP", dhcp.dynamic, plural(dhcp.all as usize, "connected adapter"));
        sheet.judge(AREA, "DHCP", dhcp.dynamic > 0 || dhcp.all == 0, &said, Some(NETWORK));
    }
    let crashes = sheet.known(AREA, "crashes of the backup extension", &guest.crashes);
    if let Some(crashes) = crashes {
        let said = match crashes.last {
            None => "none in 14 days".to_owned(),
            Some(last) => format!("{} in 14 days, the last at {}", crashes.count, last.strftime("%Y-%m-%d %H:%MZ")),
        };
        sheet.judge(AREA, "crashes of the backup extension", crashes.count == 0, &said, Some(CRASH));
    }
    let crashed = crashes.is_some_and(|crashes| crashes.count > 0);
    anti_virus(sheet, guest, crashed);
}

fn service(sheet: &mut Sheet, guest: &GuestFacts, wanted: &Wanted) {
    let check = format!("service {}", wanted.name);
    match guest.service(wanted.name) {
        // The agent runs this very script, whatever its services are called.
        Some(Part::Absent { .. }) if matches!(wanted.code, Some(AGENT)) => {
            sheet.put(AREA, &check, State::Ok, "not installed under this name", None);
        }
        Some(Part::Absent { .. }) => sheet.put(AREA, &check, State::Problem, "not installed", wanted.code),
        Some(Part::Unread { why }) => sheet.put(AREA, &check, State::NotChecked, why, None),
        Some(Part::Known { value, .. }) => {
            sheet.judge(AREA, &check, fits(value, wanted.running), told(value), wanted.code)
        }
        None => sheet.put(AREA, &check, State::NotChecked, "not requested", None),
    }
}

fn fits(service: &Service, running: bool) -> bool {
    service.start != "Disabled" && (!running || service.state == "Running" || service.state == "StartPending")
}

fn told(service: &Service) -> String {
    format!("{}, start type {}", service.state, service.start)
}

fn writers(sheet: &mut Sheet, guest: &GuestFacts) {
    let Some(writers) = sheet.known(AREA, "VSS writers", &guest.writers) else { return };
    let all = plural(writers.all as usize, "writer");
    if writers.unwell == 0 {
        return sheet.put(AREA, "VSS writers", State::Ok, format!("{all}, all stable"), None);
    }
    let names = |failed: bool| -> Vec<String> {
        let of = writers.named.iter().filter(|one| one.failed() == failed);
        of.map(|one| format!("{} [{}]", one.name, one.state)).collect()
    };
    let (failed, busy) = (names(true), names(false));
    let more = writers.unwell as usize - writers.named.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more that are not stable") };
    if failed.is_empty() && more.is_empty() {
        let said = format!("{all}; running for a backup: {}", busy.join(", "));
        return sheet.put(AREA, "VSS writers", State::Ok, &said, None);
    }
    let named = if failed.is_empty() { &busy } else { &failed };
    let said = format!("{} of {all} not stable: {}{more}", writers.unwell, named.join(", "));
    sheet.put(AREA, "VSS writers", State::Problem, &said, Some(VSS_WRITER));
}

/// Missing exclusions stop nobody's backup by themselves: they are a problem when the extension crashes.
fn anti_virus(sheet: &mut Sheet, guest: &GuestFacts, crashed: bool) {
    const CHECK: &str = "anti-virus exclusions";
    const OTHERS: &str = "other products cannot be checked";
    match (&guest.defender, &guest.exclusions) {
        (Part::Known { value: true, .. }, Part::Known { value, .. }) => {
            let said = match (value.plugins, value.logs) {
                (true, true) => "Microsoft Defender excludes the extension's folders",
                (true, false) => "Microsoft Defender does not exclude the extension's log folder",
                (false, true) => "Microsoft Defender does not exclude the extension's program folder",
                (false, false) => "Microsoft Defender excludes neither folder of the extension",
            };
            let good = !crashed || (value.plugins && value.logs);
            sheet.judge(AREA, CHECK, good, format!("{said}; {OTHERS}"), Some(CRASH));
        }
        (Part::Known { value: false, .. } | Part::Absent { .. }, _) => {
            sheet.put(AREA, CHECK, State::Ok, format!("Microsoft Defender does not run; {OTHERS}"), None);
        }
        (Part::Unread { why }, _) | (_, Part::Unread { why }) => sheet.put(AREA, CHECK, State::NotChecked, why, None),
        (Part::Known { .. }, Part::Absent { .. }) => {
            sheet.put(AREA, CHECK, State::NotChecked, "Microsoft Defender does not report its exclusions", None);
        }
    }
}

fn linux(sheet: &mut Sheet, guest: &GuestFacts) {
    const SERVICE: &str = "agent's service";
    match guest.service("agent") {
        Some(Part::Known { value, .. }) => {
            let good = value.state == "active" && value.start != "disabled" && value.start != "masked";
            sheet.judge(AREA, SERVICE, good, format!("{}, {}", value.state, value.start), Some(AGENT));
        }
        Some(Part::Unread { why }) => sheet.put(AREA, SERVICE, State::NotChecked, why, None),
        Some(Part::Absent { .. }) => {
            sheet.put(AREA, SERVICE, State::Ok, "none of the usual names; the agent ran this script", None);
        }
        None => sheet.put(AREA, SERVICE, State::NotChecked, "not requested", None),
    }
    let Some(conf) = sheet.known(AREA, "waagent.conf", &guest.agent_conf) else { return };
    let told = |value: &str| match value {
        "-" => "not set, so the default applies".to_owned(),
        value => value.to_owned(),
    };
    // The agent takes anything but y and n for the default, which is y (WALinuxAgent, conf.py).
    let off = conf.enabled.eq_ignore_ascii_case("n");
    sheet.judge(AREA, "waagent.conf: Extensions.Enabled", !off, told(&conf.enabled), Some(CRASH));
    if conf.enable != "-" {
        let said = format!("{}; the agent does not read this key, it reads Extensions.Enabled", conf.enable);
        sheet.put(AREA, "waagent.conf: Extensions.Enable", State::Ok, &said, None);
    }
    let usual = ["-", "auto", "waagent", "cloud-init"].contains(&conf.provisioning.as_str());
    let said = told(&conf.provisioning);
    let said = if usual { said } else { format!("{said}; the guide asks for auto") };
    sheet.judge(AREA, "waagent.conf: Provisioning.Agent", usual, &said, Some(CRASH));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::engine::diagnose::Line;
    use crate::facts::guest::{Dhcp, Writer, Writers, parse};
    use jiff::Timestamp;

    const WELL: &str = "azmend-probe/1\nos=windows\nservice.VSS=Stopped Manual\nservice.SwPrv=Stopped Manual\n\
        service.COMSysApp=Running Manual\nservice.EventSystem=Running Auto\nservice.MSDTC=Stopped Manual\n\
        service.CryptSvc=Running Auto\nservice.RpcSs=Running Auto\nservice.msiserver=Stopped Manual\n\
        service.Dhcp=Running Auto\nservice.WindowsAzureGuestAgent=Running Auto\nservice.RdAgent=absent\n\
        dtc.account=network-service\nvc.x64=absent\ndhcp=1 1\ncrash=0 -\ndefender=on\nexclusion.plugins=no\n\
        exclusion.logs=no\ncom=works\nwriters=12 0\nend=azmend-probe/1\n";

    fn lines(guest: &Guest) -> Vec<Line> {
        let mut sheet = Sheet::default();
        super::lines(&mut sheet, guest);
        sheet.lines
    }

    fn facts() -> GuestFacts {
        parse(WELL, GuestOs::Windows, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn known<T>(value: T) -> Part<T> {
        Part::Known { at: Timestamp::UNIX_EPOCH, value }
    }

    /// The codes of the problems after this change.
    fn problems(change: impl FnOnce(&mut GuestFacts)) -> Vec<String> {
        let mut guest = facts();
        change(&mut guest);
        let lines = lines(&Guest::Looked(known(guest)));
        let problems = lines.into_iter().filter(|line| line.state == State::Problem);
        problems.map(|line| line.code.unwrap_or_default()).collect()
    }

    #[test]
    fn a_guest_as_it_is_shipped_has_no_problem_and_a_silent_one_is_not_ok() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
        for guest in [Guest::NotAllowed, Guest::Looked(Part::Unread { why: "no".into() })] {
            let lines = lines(&guest);
            assert!(lines.len() == 1 && lines[0].state == State::NotChecked, "{lines:?}");
        }
        let mut unread = facts();
        unread.writers = Part::Unread { why: "no".into() };
        let lines = lines(&Guest::Looked(known(unread)));
        let line = lines.iter().find(|line| line.check == "VSS writers").unwrap();
        assert_eq!((line.state, line.evidence.as_str()), (State::NotChecked, "no"));
    }

    #[test]
    fn each_finding_leads_to_its_error() {
        let set = |name: &'static str, state: &'static str, start: &'static str| {
            move |guest: &mut GuestFacts| {
                guest.services.insert(name.into(), known(Service { state: state.into(), start: start.into() }));
            }
        };
        assert_eq!(problems(set("VSS", "Stopped", "Disabled")), [VSS_SERVICE]);
        assert_eq!(problems(set("COMSysApp", "Stopped", "Disabled")), [COM]);
        assert_eq!(problems(set("EventSystem", "Stopped", "Auto")), [COM]);
        assert_eq!(problems(set("MSDTC", "Running", "Disabled")), [DTC]);
        assert_eq!(problems(set("msiserver", "Stopped", "Disabled")), [VC, VC]);
        assert_eq!(problems(set("Dhcp", "Stopped", "Auto")), [NETWORK]);
        assert_eq!(problems(|guest| guest.com = known(Com::Fails("0x80004027".into()))), [COM]);
        assert_eq!(problems(|guest| guest.dtc_network_service = known(false)), [DTC]);
        assert_eq!(problems(|guest| guest.dhcp = known(Dhcp { dynamic: 0, all: 2 })), [NETWORK]);
        let crash = |guest: &mut GuestFacts| {
            guest.crashes = known(crate::facts::guest::Crashes { count: 1, last: Some(Timestamp::UNIX_EPOCH) });
        };
        assert_eq!(problems(crash), [CRASH, CRASH], "the crash, and the missing exclusions");
        let writer = |state, error| {
            move |guest: &mut GuestFacts| {
                let named = vec![Writer { name: "W".into(), state, error }];
                guest.writers = known(Writers { all: 12, unwell: 1, named });
            }
        };
        assert_eq!(problems(writer(8, false)), [VSS_WRITER]);
        assert_eq!(problems(writer(1, true)), [VSS_WRITER]);
        assert_eq!(problems(writer(5, false)), Vec::<String>::new());
        for code in [VSS_SERVICE, VSS_WRITER, COM, DTC, VC, NETWORK, CRASH, AGENT] {
            assert!(Catalog::get().by_code(code).is_some(), "{code}");
        }
    }

    #[test]
    fn the_agents_own_key_decides_on_linux() {
        let told = |enabled: &str, enable: &str, provisioning: &str| {
            let text = format!(
                "azmend-probe/1\nos=linux\nservice.agent=active enabled\nconf.Extensions.Enabled={enabled}\n\
                 conf.Extensions.Enable={enable}\nconf.Provisioning.Agent={provisioning}\nend=azmend-probe/1\n"
            );
            let guest = parse(&text, GuestOs::Linux, Timestamp::UNIX_EPOCH).unwrap();
            lines(&Guest::Looked(known(guest))).iter().filter(|line| line.state == State::Problem).count()
        };
        assert_eq!(told("y", "-", "auto"), 0);
        assert_eq!(told("-", "n", "cloud-init"), 0);
        assert_eq!(told("n", "y", "-"), 1);
        assert_eq!(told("N", "-", "disabled"), 2);
    }
}
