//! The scripts, and how a setting stands.

#[cfg(unix)]
use std::process::Command;

use super::*;
use crate::facts::guest::parse;
use jiff::Timestamp;

fn linux(enabled: &str) -> GuestFacts {
    let text = format!(
        "azmend-probe/1\nos=linux\nservice.agent=active enabled\nconf.Extensions.Enabled={enabled}\n\
         conf.Extensions.Enable=-\nconf.Provisioning.Agent=auto\nend=azmend-probe/1\n"
    );
    parse(&text, GuestOs::Linux, Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn a_setting_of_somebody_else_is_neither_before_nor_after() {
    let setting = Setting::AgentConf { key: "Extensions.Enabled".into(), before: "n".into(), after: "y".into() };
    assert_eq!(setting.stand(&linux("n")), Ok(Stand::Before));
    assert_eq!(setting.stand(&linux("y")), Ok(Stand::After));
    assert!(matches!(setting.stand(&linux("-")), Ok(Stand::Other(_))));
    let mut facts = linux("n");
    let service = |state: &str, start: &str| Service { state: state.into(), start: start.into() };
    let known = |value| Part::Known { at: Timestamp::UNIX_EPOCH, value };
    let setting = Setting::Service {
        name: "EventSystem".into(),
        before: service("Stopped", "Disabled"),
        start: Some("Auto".into()),
        run: true,
    };
    for (now, stand) in [
        (service("Stopped", "Disabled"), Stand::Before),
        (service("Running", "Auto"), Stand::After),
        (service("Stopped", "Auto"), Stand::Between),
    ] {
        facts.services.insert("EventSystem".into(), known(now));
        assert_eq!(setting.stand(&facts), Ok(stand));
    }
    for now in [service("Stopped", "Manual"), service("Running", "Disabled")] {
        facts.services.insert("EventSystem".into(), known(now));
        assert!(matches!(setting.stand(&facts), Ok(Stand::Other(_))));
    }
    facts.services.insert("EventSystem".into(), Part::Unread { why: "no".into() });
    assert!(setting.stand(&facts).is_err());
}

#[test]
fn the_service_script_has_the_list_and_the_header() {
    for name in crate::actions::spec::ServiceName::ALL {
        assert!(SERVICE.contains(&format!("'{}'", name.name())));
    }
    assert!(SERVICE.is_ascii() && SERVICE.starts_with("# azmend-guest service/1\n"));
    assert!(!SERVICE.contains("-Force\n") && !SERVICE.contains("Restart-"));
    assert!(AGENT_CONF.is_ascii() && AGENT_CONF.contains("\n# azmend-guest agent-conf/1\n"));
}

#[cfg(unix)]
#[test]
fn the_agents_configuration_changes_in_one_value_and_comes_back_exactly() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    let file = dir.path().join("etc/waagent.conf");
    let run = |key: &str, from: &str, to: &str| {
        let root = dir.path().to_str().unwrap();
        let output = Command::new("sh").args(["-c", AGENT_CONF, "script", key, from, to, root]).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().nth(1).unwrap().to_owned()
    };
    let conf = "# head\nExtensions.Enabled=y\nProvisioning.Agent=auto\nExtensions.Enabled = \"n\"  # by hand\nLast=1\n";
    std::fs::write(&file, conf).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(run("Extensions.Enabled", "n", "y"), "done=yes");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), conf.replace("\"n\"", "\"y\""));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(run("Extensions.Enabled", "n", "y"), "failed=the setting is not as it was");
    assert_eq!(run("Extensions.Enabled", "y", "n"), "done=yes");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), conf, "exactly as it was");
    for (key, from, to) in [
        ("Lib.Dir", "y", "n"),
        ("Extensions.Enabled", "n", "$(reboot)"),
        ("Extensions.Enabled", "", "y"),
        ("Provisioning.Agent", "aut", "n"),
    ] {
        assert!(run(key, from, to).starts_with("failed="), "{key} {from} {to}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), conf);
    }
    assert_eq!(std::fs::read_dir(dir.path().join("etc")).unwrap().count(), 1, "nothing is left beside it");
}
