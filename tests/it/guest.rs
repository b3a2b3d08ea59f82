//! Help inside the VM through Run Command.

use std::collections::BTreeSet;
use std::process::Command;

use azmend::actions::guest::Setting;
use azmend::arm::ResourceId;
use azmend::engine::Planned;
use azmend::engine::choose::choose;
use azmend::engine::diagnose::{Ask, Diagnosis, State, diagnose};
use azmend::engine::planner::view_of;
use azmend::facts::collect::{CollectOptions, collect};
use azmend::facts::guest::{Guest, look};
use azmend::playbook::library::Library;
use azmend::sim::{Estate, FaultEffect, ServiceStart, ServiceState, World};

use crate::support::{Ask as LabAsk, Lab};

const ESTATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/estates/guest.yaml");

pub fn world() -> World {
    World::from_estate(&Estate::parse(include_str!("../../examples/estates/guest.yaml"), "guest.yaml").unwrap())
}

/// Whether a setting is as a change sets it. The words are those of the probe.
pub fn is_set(world: &World, vm: &ResourceId, setting: &Setting) -> bool {
    let Some(vm) = world.vm(vm) else { return false };
    match setting {
        Setting::Service { name, start, run, .. } => {
            let now = vm.guest.services[name];
            let word = match now.start {
                ServiceStart::Automatic => "Auto",
                ServiceStart::Manual => "Manual",
                ServiceStart::Disabled => "Disabled",
            };
            start.as_ref().is_none_or(|start| start == word) && (!run || now.state == ServiceState::Running)
        }
        Setting::AgentConf { key, after, .. } => vm.guest.agent_conf.get(key) == Some(after),
    }
}

async fn told(lab: &Lab, vm: &str) -> Diagnosis {
    let facts = collect(&lab.arm, &lab.vm(vm), &CollectOptions { glance: true, ..CollectOptions::default() }).await;
    let around = azmend::facts::surroundings::around(&lab.arm, &facts, false).await;
    let view = view_of(&facts, &lab.arm, &BTreeSet::new());
    let choice = choose(&Library::shipped(), &facts, &view);
    let guest = Guest::Looked(look(&lab.arm, &facts).await);
    let ask = Ask { sandbox: true, program: "azmend", code: None, vm, watch: None, guest: &guest };
    diagnose(&facts, &around, &view, &choice, lab.arm.clock().now(), &ask)
}

/// The state and the evidence of the guest's lines that are not ok.
fn unwell(told: &Diagnosis) -> Vec<(State, String)> {
    let lines = told.lines.iter().filter(|line| line.area == "guest" && line.state != State::Ok);
    lines.map(|line| (line.state, format!("{}: {}", line.check, line.evidence))).collect()
}

#[tokio::test]
async fn what_is_wrong_inside_is_named_with_its_error() {
    let lab = Lab::on(world());
    let vss = told(&lab, "vss-01").await;
    let confirmed: Vec<&str> =
        vss.causes.iter().filter(|cause| cause.confirmed).map(|cause| cause.code.as_str()).collect();
    assert_eq!(confirmed, ["ExtensionFailedVssServiceInBadState", "ExtensionSnapshotFailedCOM"], "{vss:#?}");
    let writer = told(&lab, "writer-02").await;
    assert!(unwell(&writer).iter().any(|(_, text)| text.contains("SqlServerWriter [8]")), "{:?}", unwell(&writer));
    assert!(writer.causes.iter().any(|cause| cause.code == "VMRestorePointInternalError" && cause.confirmed));
    let conf = told(&lab, "conf-03").await;
    assert_eq!(unwell(&conf).len(), 2, "{:?}", unwell(&conf));
    assert!(conf.causes[0].code == "VMRestorePointInternalError" && conf.causes[0].confirmed, "{:#?}", conf.causes);
    assert_eq!(unwell(&told(&lab, "well-05").await), []);
}

#[tokio::test]
async fn an_agent_that_is_not_ready_is_not_asked() {
    let lab = Lab::on(world());
    let silent = unwell(&told(&lab, "silent-04").await);
    assert!(silent.len() == 1 && silent[0].0 == State::NotChecked && silent[0].1.contains("Not Ready"), "{silent:?}");
    assert!(!lab.sim.log().iter().any(|exchange| exchange.path.ends_with("/runCommand")));
}

/// A script is sent once; whatever goes wrong leaves the guest unread, and nothing else.
#[tokio::test]
async fn whatever_goes_wrong_leaves_the_guest_not_checked() {
    let faults = [
        FaultEffect::LostBefore,
        FaultEffect::LostAfter,
        FaultEffect::NotSent,
        FaultEffect::OperationFails {
            code: "VMExtensionHandlerNonTransientError".into(),
            message: "no".into(),
            after_effect: false,
        },
        FaultEffect::OperationHangs,
        FaultEffect::Html503,
        FaultEffect::TokenExpired,
    ];
    for effect in faults {
        let lab = Lab::on(world());
        let shown = format!("{effect:?}");
        lab.fault("POST", "/runCommand", 1, effect);
        let told = told(&lab, "vss-01").await;
        let lines = unwell(&told);
        assert!(lines.len() == 1 && lines[0].0 == State::NotChecked, "{shown}: {lines:?}");
        assert!(told.lines.iter().any(|line| line.area == "vault" && line.state == State::Ok), "{shown}");
        let sent = lab.sim.log().iter().filter(|exchange| exchange.path.ends_with("/runCommand")).count();
        assert_eq!(sent, 1, "{shown}: one script, sent once");
    }
}

#[tokio::test]
async fn a_repair_needs_the_flag_a_ready_agent_and_something_to_repair() {
    let refused = |planned: Planned| match planned {
        Planned::Refused { refusals, .. } => refusals[0].rule.clone(),
        other => panic!("{other:?}"),
    };
    let allowed = || LabAsk { allow_guest: true, ..LabAsk::default() };
    let lab = Lab::on(world());
    assert_eq!(refused(lab.plan("vss-services", "vss-01", &LabAsk::default()).await), "guest.not-allowed");
    assert!(!lab.sim.log().iter().any(|exchange| exchange.path.ends_with("/runCommand")));
    lab.sim.edit(|world| world.vms.iter_mut().for_each(|vm| vm.agent = azmend::sim::Agent::NotReady));
    assert_eq!(refused(lab.plan("vss-services", "vss-01", &allowed()).await), "guest.not-ready");
    let lab = Lab::on(world());
    lab.fault("POST", "/runCommand", 1, FaultEffect::LostAfter);
    assert_eq!(refused(lab.plan("vss-services", "vss-01", &allowed()).await), "guest.unread");
    let plan = lab_after_an_hour(&lab).planned_and_saved("vss-services", "vss-01", &allowed()).await;
    assert!(plan.allow_guest && plan.changes().count() == 4, "{plan:#?}");
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(azmend::engine::Plan::parse(&text).unwrap(), plan);
    assert!(azmend::engine::Plan::parse(&text.replace("\"allow_guest\":true,", "")).is_err(), "it is in the hash");
}

/// The script of a lost request has ended by then.
fn lab_after_an_hour(lab: &Lab) -> &Lab {
    lab.sim.clock().advance(std::time::Duration::from_secs(3600));
    lab
}

fn azmend(line: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_azmend"))
        .arg(format!("--sandbox={ESTATE}"))
        .args(line)
        .env_clear()
        .env("AZMEND_STATE_DIR", dir.path().join("state"))
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn without_the_flag_nothing_runs_and_one_line_says_so() {
    let (code, out) = azmend(&["diagnose", "--vm", "vss-01"]);
    assert_eq!(code, 3);
    let guest: Vec<&str> =
        out.lines().skip_while(|line| *line != "guest").take_while(|line| !line.is_empty()).collect();
    insta::assert_snapshot!(guest.join("\n"), @r"
    guest
      not checked  inside the VM: add --allow-guest to run a read-only script
                   through Run Command
    ");
    let (code, out) = azmend(&["diagnose", "--vm", "vss-01", "--allow-guest"]);
    assert_eq!(code, 3);
    let guest: Vec<&str> = out.lines().skip_while(|line| *line != "guest").take(10).collect();
    insta::assert_snapshot!(guest.join("\n"), @r"
    guest
      problem      service VSS: Stopped, start type Disabled
                   [ExtensionFailedVssServiceInBadState]
      ok           service SwPrv: Stopped, start type Manual
      problem      service COMSysApp: Stopped, start type Disabled
                   [ExtensionSnapshotFailedCOM]
      problem      service EventSystem: Stopped, start type Manual
                   [ExtensionSnapshotFailedCOM]
      ok           service MSDTC: Running, start type Auto
      ok           service CryptSvc: Running, start type Auto
    ");
}

/// A command that is shown can be run: what looks inside a VM says the flag.
#[tokio::test]
async fn the_command_of_a_playbook_that_runs_scripts_names_the_flag() {
    let lab = Lab::on(world());
    let told = told(&lab, "vss-01").await;
    assert!(told.causes[0].next.ends_with("--allow-guest"), "{:#?}", told.causes);
    assert!(told.next.as_deref().is_some_and(|next| next.contains("--allow-guest")), "{:?}", told.next);
}
