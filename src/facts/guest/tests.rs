//! The scripts, and what is made of their output.

#[cfg(unix)]
use std::{fs, path::Path, process::Command};

use super::*;

const WELL: &str = "azmend-probe/1\r
os=windows\r
service.VSS=Stopped Manual\r
service.SwPrv=Stopped Manual
service.COMSysApp=Running Manual
service.EventSystem=Running Auto
service.MSDTC=Running Auto
service.CryptSvc=Running Auto
service.RpcSs=Running Auto
service.msiserver=Stopped Manual
service.Dhcp=Running Auto
service.WindowsAzureGuestAgent=Running Auto
service.RdAgent=absent
dtc.account=network-service
vc.x64=12.0.40664.0
dhcp=1 1
crash=2 2026-11-18T03:04:05Z
defender=on
exclusion.plugins=no
exclusion.logs=unread Access is denied.
com=fails 0x80070422
writers=13 2
writer.1=8 error SqlServerWriter
writer.2=5 none System Writer
end=azmend-probe/1

";

fn at() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn windows(text: &str) -> Result<GuestFacts, String> {
    parse(text, GuestOs::Windows, at())
}

#[test]
fn a_whole_output_is_read() {
    let facts = windows(WELL).unwrap();
    let vss = facts.service("VSS").unwrap().known().unwrap();
    assert_eq!((vss.state.as_str(), vss.start.as_str()), ("Stopped", "Manual"));
    assert!(facts.service("RdAgent").unwrap().is_absent());
    assert_eq!(facts.exclusions.unread(), Some("Access is denied."));
    assert_eq!(facts.com.known(), Some(&Com::Fails("0x80070422".into())));
    let writers = facts.writers.known().unwrap();
    assert_eq!((writers.all, writers.unwell), (13, 2));
    assert!(writers.named[0].failed() && !writers.named[1].failed());
    assert_eq!(facts.crashes.known().unwrap().count, 2);
    assert!(WELL.len() < 4096);
}

#[test]
fn whatever_does_not_fit_makes_the_whole_unread() {
    let lines: Vec<&str> = WELL.trim().lines().collect();
    // Each line missing, each line twice, the output cut off anywhere at its beginning or its end.
    for index in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(index);
        assert!(windows(&without.join("\n")).is_err(), "without {}", lines[index]);
        let mut twice = lines.clone();
        twice.insert(index, lines[index]);
        assert!(windows(&twice.join("\n")).is_err(), "twice {}", lines[index]);
        assert!(windows(&lines[..index].join("\n")).is_err());
    }
    let text = WELL.trim();
    for cut in 1..text.len() {
        assert!(windows(&text[cut..]).is_err(), "cut at {cut}");
        assert!(windows(&text[..text.len() - cut]).is_err(), "cut at {cut} from the end");
    }
    for (from, to) in [
        ("azmend-probe/1\r", "azmend-probe/2"),
        ("end=azmend-probe/1", "end=azmend-probe/2"),
        ("os=windows", "os=linux"),
        ("VSS=Stopped Manual", "VSS=Stopped"),
        ("VSS=Stopped Manual", "VSS=stopped Manual"),
        ("VSS=Stopped Manual", "VSS=Stopped Manual now"),
        ("service.VSS=", "service.Vss="),
        ("dhcp=1 1", "dhcp=2 1"),
        ("dhcp=1 1", "dhcp=one 1"),
        ("crash=2 2026", "crash=0 2026"),
        ("crash=2 2026-11-18T03:04:05Z", "crash=2 -"),
        ("com=fails 0x80070422", "com=fails"),
        ("com=fails 0x80070422", "com=broken"),
        ("vc.x64=12.0.40664.0", "vc.x64=12.0"),
        ("writers=13 2", "writers=13 1"),
        ("writers=13 2", "writers=13 3"),
        ("writers=13 2", "writers=1 2"),
        ("writer.1=8 error SqlServerWriter", "writer.1=8 SqlServerWriter"),
        ("defender=on", "defender=on\nWARNING: the profile was not loaded"),
        ("defender=on", "defender=on\nnew=1"),
    ] {
        assert!(WELL.contains(from), "{from}");
        assert!(windows(&WELL.replace(from, to)).is_err(), "{to}");
    }
}

/// The keys that a script prints, as they stand in it.
#[test]
fn the_scripts_and_the_parser_know_the_same_keys() {
    for name in WINDOWS_SERVICES {
        assert!(WINDOWS.contains(&format!("'{name}'")), "{name}");
    }
    for script in PROBES {
        assert!(script.is_ascii(), "Windows PowerShell 5.1 reads a script without a mark as ANSI");
        assert!(script.contains("# azmend-guest probe/1"));
        assert!(script.contains("'azmend-probe/1'") && script.contains("'end=azmend-probe/1'"));
        assert!(script.len() < 16 * 1024);
    }
}

#[cfg(unix)]
fn put(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).unwrap();
}

#[cfg(unix)]
fn run_on(root: &Path) -> GuestFacts {
    let output = Command::new("sh").args(["-c", LINUX, "probe", root.to_str().unwrap()]).output().unwrap();
    parse(&String::from_utf8(output.stdout).unwrap(), GuestOs::Linux, at()).unwrap()
}

#[cfg(unix)]
#[test]
fn the_linux_probe_reads_what_the_agent_reads() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let facts = run_on(root);
    assert_eq!(facts.agent_conf.unread(), Some("no waagent.conf"));
    put(
        root,
        "usr/bin/systemctl",
        "#!/bin/sh\ncase \"$1 $2\" in 'cat waagent') exit 0;; 'is-active waagent') echo active;; \
         'is-enabled waagent') echo disabled; exit 1;; *) exit 1;; esac\n",
    );
    for (conf, enabled, enable, provisioning) in [
        ("Extensions.Enabled=y\n", "y", "-", "-"),
        ("#Extensions.Enabled=n\n", "-", "-", "-"),
        ("Extensions.Enabled=y\nExtensions.Enabled = n # off\n", "n", "-", "-"),
        ("Extensions.Enable=n\nProvisioning.Agent=\"auto\"\r\n", "-", "n", "auto"),
        ("Extensions.Enabled=$(reboot)\nProvisioning.Agent=cloud-init\n", "other", "-", "cloud-init"),
        ("Extensions.Enabled=None\nProvisioning.Agent=a b\n", "-", "-", "other"),
    ] {
        put(root, "etc/waagent.conf", conf);
        let facts = run_on(root);
        let agent = facts.service("agent").unwrap().known().unwrap();
        assert_eq!((agent.state.as_str(), agent.start.as_str()), ("active", "disabled"));
        let read = facts.agent_conf.known().unwrap();
        let read = (read.enabled.as_str(), read.enable.as_str(), read.provisioning.as_str());
        assert_eq!(read, (enabled, enable, provisioning), "{conf}");
    }
}
