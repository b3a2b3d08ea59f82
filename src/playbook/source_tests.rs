//! What the reader accepts, and every error it gives.

use std::collections::BTreeMap;

use super::after::StepOutcome::{Failed, Skipped, Succeeded};
use super::conditions::{Type, view_paths};
use super::library::{Library, SHIPPED};
use super::model::{OnFailure, ParamValue, Severity, Verdict};
use super::source::read;
use crate::actions::spec::{ActionName, ActionSpec, BackupUntil, StaleKind, StaleUntil};
use crate::facts::view::View;

const GOOD: &str = "\
apiVersion: azmend/v2
name: mine
title: Mine
codes: [rpCollectionLimitReached]
severity: low
parameters:
  mode: { one_of: [room, all], default: room, help: how far }
  retain: { type: duration, default: 7d, help: how long }
  tries: { type: int, default: 2, min: 1, max: 3, help: how often }
  loud: { type: bool, default: false, help: whether }
  note: { type: string, default: '', help: what }
applies: true
steps:
  - id: clean
    action: restore_points.delete_stale
    with: { kinds: [orphan], until: { param: mode } }
    when: params.tries > 1 && params.loud && params.note == ''
    on_failure: continue
    timeout: 30m
  - id: backup
    action: backup.start
    with:
      retain: { param: retain }
    after: { clean: [succeeded, skipped] }
";

fn errors(text: &str) -> Vec<String> {
    read(text, "p.yaml").expect_err(text).iter().map(|error| error.to_string().replace("\n  hint: ", " / ")).collect()
}

fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_good_playbook_is_read_whole() {
    let playbook = read(GOOD, "p.yaml").unwrap();
    assert_eq!((playbook.name(), playbook.title(), playbook.severity()), ("mine", "Mine", Severity::Low));
    // Aliases are accepted and become the catalogue's code.
    assert_eq!(playbook.codes(), ["UserErrorRpCollectionLimitReached"]);
    let step = &playbook.steps()[0];
    assert_eq!(
        (step.id(), step.on_failure(), step.timeout().to_string()),
        ("clean", OnFailure::Continue, "30m".into())
    );
    let step = &playbook.steps()[1];
    assert_eq!((step.on_failure(), step.timeout().to_string(), step.when()), (OnFailure::Stop, "2h".into(), None));
    let [after] = step.after() else { panic!("{:?}", step.after()) };
    assert_eq!(
        (after.step.as_str(), after.outcomes.iter().copied().collect::<Vec<_>>()),
        ("clean", vec![Succeeded, Skipped])
    );
    let resolved = playbook.resolve(&set(&[])).unwrap();
    assert_eq!(resolved.steps[1].after, step.after());
    // One word is a list of one.
    let one = read(&GOOD.replace("clean: [succeeded, skipped]", "clean: failed"), "p.yaml").unwrap();
    assert_eq!(one.steps()[1].after()[0].outcomes, [Failed].into());
}

#[test]
fn after_names_earlier_steps_and_outcomes_that_can_be() {
    for (to, expected) in [
        ("after: clean", "24:12: after must be a map, but this is text / write after: { step: [succeeded, skipped] }"),
        ("after: {}", "24:12: after names no step / name an earlier step, or omit after"),
        (
            "after: { clea: failed }",
            "24:14: after names \"clea\", which is no step of this playbook / did you mean clean?",
        ),
        ("after: { x: failed }", "24:14: after names \"x\", which is no step of this playbook / earlier steps: clean"),
        ("after: { backup: failed }", "24:14: the step backup cannot come after itself"),
        (
            "after: { clean: [] }",
            "24:21: the list of outcomes of clean is empty: this step could never run / \
             one or more of succeeded, skipped, refused, failed",
        ),
        ("after: { clean: [failed, failed] }", "24:30: the outcome failed appears twice"),
        ("after: { clean: suceeded }", "24:21: unknown outcome \"suceeded\" / did you mean succeeded?"),
        ("after: { clean: [done] }", "24:22: unknown outcome \"done\" / one of succeeded, skipped, refused, failed"),
        (
            "after: { clean: { a: b } }",
            "24:21: the outcomes of clean must be a word or a list, but this is a map / \
             one or more of succeeded, skipped, refused, failed",
        ),
        (
            "after: { clean: true }",
            "24:21: the outcomes of clean must be a word or a list, but this is a boolean / \
             one or more of succeeded, skipped, refused, failed",
        ),
    ] {
        let found = errors(&GOOD.replace("after: { clean: [succeeded, skipped] }", to));
        assert_eq!(found, [format!("p.yaml:{expected}")], "{to}");
    }
    let later = GOOD.replace("    on_failure: continue\n", "    on_failure: continue\n    after: { backup: failed }\n");
    assert_eq!(
        errors(&later),
        ["p.yaml:19:14: after names backup, which comes later (line 21) / \
          a step can only depend on an earlier one: move backup up"]
    );
    // Nobody runs after a step that stopped the run.
    let stops = GOOD.replace("    on_failure: continue\n", "").replace("[succeeded, skipped]", "[refused, failed]");
    assert_eq!(
        errors(&stops),
        ["p.yaml:23:14: no step runs after clean failed: it stops the run then / \
          give clean on_failure: continue, or omit failed here"]
    );
    let first = "after: { x: failed }\n    on_failure: continue";
    let found = errors(&GOOD.replace("on_failure: continue", first));
    assert!(found[0].ends_with("this is the first step: omit after"), "{found:?}");
}

/// `when` is decided before the first step.
#[test]
fn a_when_may_not_look_at_what_an_earlier_step_changes() {
    const TWO: &str = "\
apiVersion: azmend/v1
name: mine
title: Mine
severity: low
applies: vmsnapshot.state == 'Failed'
steps:
  - id: unlock
    action: locks.remove
    when: points.count > 0 && locks.total > 0
  - id: reload
    action: extension.uninstall
    when: vmsnapshot.state == 'Failed' && agent.ready
    on_failure: continue
  - id: backup
    action: backup.start
    when: agent.ready
";
    assert!(read(TWO, "p.yaml").is_ok());
    let with = |when: &str| TWO.replace("    when: agent.ready\n", &format!("    when: {when}\n"));
    assert_eq!(
        errors(&with("agent.ready && vmsnapshot.state != 'Failed'")),
        [
            "p.yaml:16:26: when: it is decided before the first step, but looks at vmsnapshot.state, which the earlier step \
          reload (extension.uninstall, line 10) changes / say how this step depends on it: \
          after: { reload: [succeeded, skipped] }; a condition for the whole playbook belongs in applies, a choice that people make in a parameter"
        ]
    );
    assert_eq!(
        errors(&with("locks.total == 0 && vmsnapshot.present && vm.provisioning_state == 'Failed'")),
        ["p.yaml:16:11: when: it is decided before the first step, but looks at locks.total, vm.provisioning_state, \
          vmsnapshot.present, which the earlier steps unlock (locks.remove, line 7) and reload (extension.uninstall, \
          line 10) change / say how this step depends on it: after: { unlock: [succeeded, skipped], reload: [succeeded, \
          skipped] }; a condition for the whole playbook belongs in applies, a choice that people make in a parameter"]
    );
    // What the message asks for is enough, and the version of the language makes no difference.
    let good = format!("{}    after: {{ reload: [succeeded, skipped] }}\n", with("vmsnapshot.state == 'Failed'"));
    assert!(read(&good, "p.yaml").is_ok());
    assert!(read(&good.replace("azmend/v1", "azmend/v2"), "p.yaml").is_ok());
    // Another step's `after` is not enough; nor is one of two.
    let other = format!("{}    after: {{ unlock: succeeded }}\n", with("vmsnapshot.state == 'Failed'"));
    assert_eq!(errors(&other).len(), 1);
    // Of an extension that is not VMSnapshot nothing changes.
    for when in ["extensions.other_failed == 0", "vm.power != 'running'", "points.count < points.limit", "true"] {
        assert!(read(&with(when), "p.yaml").is_ok(), "{when}");
    }
    // In a block the place is that of the value.
    let block = with("|\n      agent.ready &&\n      vmsnapshot.present");
    assert!(errors(&block)[0].starts_with("p.yaml:18:7: when:"), "{:?}", errors(&block));
}

/// The keys without effect of the first version.
#[test]
fn old_keys_are_read_in_old_playbooks_only() {
    const OLD: &str = "\
apiVersion: azmend/v1
name: mine
title: Mine
severity: low
applies: true
steps:
  - id: unlock
    action: locks.remove
    with: { scope: backup_groups }
  - id: reload
    action: extension.uninstall
    with: { handler: VMSnapshot }
";
    let resolved = read(OLD, "p.yaml").unwrap().resolve(&BTreeMap::new()).unwrap();
    assert_eq!(serde_json::to_value(&resolved.steps[0].action).unwrap()["with"]["scope"], "backup_groups");
    assert_eq!(
        errors(&OLD.replace("backup_groups", "everything").replace(": VMSnapshot", ": VmSnapshot")),
        [
            "p.yaml:9:20: scope: \"everything\" is not allowed; the only value is backup_groups",
            "p.yaml:12:22: handler: \"VmSnapshot\" is not allowed; the only value is VMSnapshot / did you mean VMSnapshot?"
        ]
    );
    assert_eq!(
        errors(&OLD.replace("azmend/v1", "azmend/v2")),
        [
            "p.yaml:9:13: unknown key \"scope\" in with of locks.remove / it takes none",
            "p.yaml:12:13: unknown key \"handler\" in with of extension.uninstall / it takes none"
        ]
    );
}

#[test]
fn parameters_resolve_to_typed_actions() {
    let playbook = read(GOOD, "p.yaml").unwrap();
    let resolved = playbook.resolve(&set(&[])).unwrap();
    assert_eq!(resolved.params["tries"], ParamValue::Int(2));
    let ActionSpec::DeleteStale(stale) = &resolved.steps[0].action else { panic!() };
    assert_eq!((stale.kinds.as_slice(), stale.until), ([StaleKind::Orphan].as_slice(), StaleUntil::Room));
    assert_eq!(resolved.runs(&resolved.steps[0], &View::empty()), Verdict::False);
    let resolved =
        playbook.resolve(&set(&[("mode", "all"), ("loud", "true"), ("retain", "1d12h"), ("note", "")])).unwrap();
    let ActionSpec::DeleteStale(stale) = &resolved.steps[0].action else { panic!() };
    assert_eq!(stale.until, StaleUntil::All);
    assert_eq!(resolved.runs(&resolved.steps[0], &View::empty()), Verdict::True);
    let ActionSpec::BackupStart(backup) = &resolved.steps[1].action else { panic!() };
    assert_eq!((backup.retain.to_string(), backup.until), ("36h".into(), BackupUntil::Snapshot));
    assert!(resolved.codes.iter().any(|code| code == "RpCollectionLimitReached"), "{:?}", resolved.codes);
}

#[test]
fn every_wrong_set_is_reported_with_a_suggestion() {
    let playbook = read(GOOD, "p.yaml").unwrap();
    let errors = playbook
        .resolve(&set(&[("retian", "1d"), ("mode", "rom"), ("tries", "9"), ("loud", "yes"), ("note", "a\u{1b}[0m")]))
        .unwrap_err();
    assert_eq!(
        errors,
        [
            "the playbook mine has no parameter \"retian\"; did you mean retain?",
            "mode: \"rom\" is not one of room, all; did you mean room?",
            "tries: 9 is out of range: 1 to 3",
            "loud: \"yes\" is not true or false",
            "note: the text contains a control character",
        ]
    );
    // In the parameter's range, but not in the action's.
    let errors = playbook.resolve(&set(&[("retain", "1h")])).unwrap_err();
    assert!(errors[0].starts_with("the step backup: 1h is out of range"), "{errors:?}");
    let errors = Library::shipped().find("unlock-backup-groups").unwrap().resolve(&set(&[("x", "1")])).unwrap_err();
    assert!(errors[0].ends_with("it has no parameters"), "{errors:?}");
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let text = "\
apiVersion: azmend/v3
name: My Playbook
titel: x
codes: [UserErrorRpColectionLimitReached, ScopeLocked, scopelocked, 5]
severity: hihg
source: http://example.com
parameters:
  retain: { type: duration, default: 30, help: x }
  Bad: { type: int, default: x, help: y, mix: 1 }
  both: { one_of: [a, a], type: bool, default: a }
applies: backup.last_eror in playbook.codes && vm.name
steps:
  - id: a
    action: locks.remov
  - id: a
    action: backup.start
    with: { retain: { param: retian }, until: snapshoot, keep: 1 }
    when: points.count
    on_failure: retry
    timeout: 10
";
    let errors = errors(text);
    let expected = [
        "p.yaml:1:1: the playbook has no title",
        "p.yaml:1:13: this apiVersion is not known / write apiVersion: azmend/v2",
        "p.yaml:2:7: \"My Playbook\" is not a name for a playbook / 1 to 64 lower-case letters, digits and hyphens",
        "p.yaml:3:1: unknown key \"titel\" in the playbook / did you mean title?",
        "p.yaml:4:9: unknown error code \"UserErrorRpColectionLimitReached\" / did you mean UserErrorRpCollectionLimitReached?",
        "p.yaml:4:56: the error code ScopeLocked appears twice",
        "p.yaml:4:69: an error code must be text, but this is a whole number / put it in quotes",
        "p.yaml:5:11: unknown severity \"hihg\" / did you mean high?",
        "p.yaml:6:9: the source must be an https:// address",
        "p.yaml:8:38: the default must be a duration, but this is a whole number / write it with a unit: 90s, 15m, 2h, 30d",
        "p.yaml:9:3: \"Bad\" is not a name for a parameter / 1 to 32 lower-case letters, digits and underscores, a letter first",
        "p.yaml:9:30: the default must be a whole number, but this is text",
        "p.yaml:9:42: unknown key \"mix\" in the parameter \"Bad\" / did you mean max?",
        "p.yaml:10:9: the parameter \"both\" has no help",
        "p.yaml:10:27: the parameter \"both\" has both one_of and type: choose one",
        "p.yaml:11:10: applies: unknown name \"backup.last_eror\" / did you mean backup.last_error?",
        "p.yaml:11:48: applies: && needs a boolean, but this is text",
        "p.yaml:14:13: unknown action \"locks.remov\" / did you mean locks.remove?",
        "p.yaml:15:9: the step id \"a\" appears twice: first in line 13",
        "p.yaml:17:30: unknown parameter \"retian\" / did you mean retain?",
        "p.yaml:17:47: until: \"snapshoot\" is not one of snapshot, job / did you mean snapshot?",
        "p.yaml:17:58: unknown key \"keep\" in with of backup.start / known keys: retain, until",
        "p.yaml:18:11: when: the condition is a whole number, not true or false / compare it with something, for example `points.count > 0`",
        "p.yaml:19:17: unknown on_failure \"retry\" / one of stop, continue",
        "p.yaml:20:14: the timeout must be a duration, but this is a whole number / write it with a unit: 90s, 15m, 2h, 30d",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn one_change_one_error() {
    for (from, to, expected) in [
        ("applies: true", "applies: 'vm.nme == \"x\"'", "p.yaml:12:"),
        (
            "applies: true",
            "applies: |\n  vm.exists &&\n  vm.nme == 'x'",
            "p.yaml:14:3: applies: unknown name \"vm.nme\"",
        ),
        ("applies: true", "applies: [a]", "must be a condition, but this is a list"),
        ("applies: true", "applies: vm.exists // why", "comments"),
        ("- id: clean", "- id: Clean", "is not an id for a step"),
        ("kinds: [orphan]", "kinds: []", "the list is empty"),
        ("kinds: [orphan]", "kinds: [orphn]", "\"orphn\" is not one of orphan, superseded, expired"),
        ("kinds: [orphan]", "kinds: orphan", "kinds: must be a list, but this is text"),
        ("kinds: [orphan]", "kinds: { parm: mode }", "did you mean param?"),
        ("retain: { param: retain }", "retain: 1h", "out of range"),
        ("retain: { param: retain }", "retain: 30", "retain: must be "),
        ("retain: { param: retain }", "retain: { param: note }", "the parameter note can be \"\""),
        ("until: { param: mode }", "until: { param: tries }", "the parameter tries can be \"2\""),
        (
            "one_of: [room, all]",
            "one_of: [room, some]",
            "the parameter mode can be \"some\", which until does not take",
        ),
        ("default: 7d, help", "default: 7d, min: 1h, help", "the parameter retain can be \"1h\""),
        ("default: 7d, help", "default: 7d, min: 8d, help", "the default: 7d is out of range: 8d to 3650d"),
        ("default: 7d, help", "default: 7d, min: 8d, max: 1d, help", "is above max"),
        ("default: 2, min: 1", "default: 2, min: 3", "the default: 2 is out of range"),
        ("default: room", "default: rom", "did you mean room?"),
        ("default: false, help", "default: no, help", "must be true or false, but this is text"),
        ("default: false, help", "default: false, min: 1, help", "min has no meaning for a bool"),
        ("  loud:", "  in:", "\"in\" is a reserved word"),
        (" && params.loud", "", "the parameter loud is used nowhere"),
        ("timeout: 30m", "timeout: 5s", "the timeout 5s is out of range: 1m to 7d"),
        ("name: mine", "name: ../mine", "is not a name for a playbook"),
        ("name: mine", "name: mіne", "is not a name for a playbook"),
        ("title: Mine", "title: \"M\\e[31mine\"", "contains the control character"),
        ("title: Mine", "title: ''", "the title is empty"),
        ("title: Mine", "title: yes: no", "p.yaml:3:"),
        ("severity: low", "severity: low\nseverity: high", "appears twice"),
        ("codes: [rpCollectionLimitReached]", "codes: rpCollectionLimitReached", "codes must be a list"),
        ("  - id: clean", "  - clean\n  - id: clean", "the step must be a map, but this is text"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let errors = errors(&GOOD.replacen(from, to, 1));
        assert!(errors.iter().any(|error| error.contains(expected)), "{from} -> {to}: {errors:#?}");
        assert!(errors.len() <= 2, "{from} -> {to}: {errors:#?}");
    }
}

#[test]
fn what_is_no_playbook_has_a_place() {
    for (text, expected) in [
        ("", "p.yaml:1:1: is empty"),
        ("- a\n", "the playbook must be a map, but this is a list"),
        ("just text\n", "the playbook must be a map, but this is text"),
        ("steps: {}\n", "steps must be a list"),
        ("steps: []\n", "steps must have 1 to 32 steps"),
        ("parameters: 3\n", "parameters must be a map"),
    ] {
        let errors = errors(text);
        assert!(errors.iter().any(|error| error.contains(expected)), "{text}: {errors:#?}");
    }
    let many = "  - { id: x, action: locks.remove }\n".repeat(500);
    assert!(errors(&format!("steps:\n{many}")).iter().any(|error| error.contains("1 to 32 steps")));
}

/// What the shipped playbooks do by default, so that a change of it is seen.
#[test]
fn the_shipped_playbooks_resolve() {
    let library = Library::shipped();
    let mut found = BTreeMap::new();
    for (playbook, _) in library.iter() {
        let resolved = playbook.resolve(&BTreeMap::new()).unwrap();
        let steps: Vec<String> = resolved
            .steps
            .iter()
            .map(|step| {
                let after: String = step.after.iter().map(|after| format!(" after {after}")).collect();
                format!("{} {}{after}", step.action.name(), step.when.as_ref().map_or("-", |when| when.source()))
            })
            .collect();
        found.insert(playbook.name().to_owned(), steps.join("; "));
        assert_eq!(resolved.applies(&View::empty()), Verdict::False, "{}", playbook.name());
    }
    // The playbooks that dispatch on an inner error are held by what they do, below.
    found.retain(|name, _| !["crp-reported-user-error", "backup-operation-failed"].contains(&name.as_str()));
    let expected = [
        ("backup-now", "backup.start -"),
        (
            "backup-in-progress",
            "job.wait params.mode == \"wait\"; job.cancel params.mode == \"cancel\"; \
             backup.start - after wait was skipped after cancel succeeded or was skipped",
        ),
        ("failed-vm", "vm.reapply -; vm.restart params.restart; backup.start backup.protected"),
        ("stale-collections-of-deleted-vm", "locks.remove params.unlock; restore_points.delete_stale -"),
        (
            "vss-services",
            "guest.service -; guest.service -; guest.service -; guest.service -; guest.service -; \
             backup.start params.backup && backup.protected",
        ),
        ("agent-configuration", "guest.agent_conf -; guest.agent_conf -"),
        ("datasource-not-present", "protection.resume -; backup.start params.backup"),
        ("delete-stale-collections", "locks.remove params.unlock; restore_points.delete_stale -"),
        (
            "extension-operation-failed",
            "extension.uninstall agent.ready; \
             backup.start agent.ready || vm.power == \"stopped\" || vm.power == \"deallocated\"",
        ),
        (
            "rp-collection-limit",
            "locks.remove -; restore_points.delete_stale params.cleanup == \"stale\"; \
             restore_points.delete_collection params.cleanup == \"collection\"; \
             extension.uninstall vmsnapshot.state == \"Failed\"; backup.start -",
        ),
        ("keyvault-permissions", "keyvault.grant -; backup.start params.backup"),
        ("unlock-backup-groups", "locks.remove -"),
        ("unprotected-vm", "protection.enable -"),
        (
            "vm-provisioning-failed",
            "extension.uninstall vmsnapshot.state == \"Failed\"; backup.start extensions.other_failed == 0",
        ),
    ];
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(name, steps)| (name.to_owned(), steps.to_owned())).collect();
    assert_eq!(found, expected);
}

/// The steps whose `when` holds, by what the VM shows.
#[test]
fn the_shipped_playbooks_choose_their_steps_by_the_inner_error() {
    let library = Library::shipped();
    let steps = |name: &str, change: &dyn Fn(&mut View)| {
        let mut view = View::empty();
        view.vm.exists = true;
        view.vm.power = "running".into();
        view.agent.ready = true;
        view.points.limit = 18;
        change(&mut view);
        let resolved = library.find(name).unwrap().resolve(&BTreeMap::new()).unwrap();
        let on = resolved.steps.iter().filter(|step| resolved.runs(step, &view) == Verdict::True);
        on.map(|step| step.id.as_str().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let inner = |code: &'static str| move |view: &mut View| view.backup.inner_error = code.to_owned();
    let failed = |view: &mut View| view.vmsnapshot.state = "Failed".into();
    let silent = |view: &mut View| {
        view.vmsnapshot.state = "Failed".into();
        view.agent.ready = false;
    };
    let crp = "crp-reported-user-error";
    assert_eq!(steps(crp, &inner("ScopeLocked")), "unlock clean backup");
    assert_eq!(steps(crp, &inner("TooManyRequests")), "backup");
    assert_eq!(steps(crp, &inner("ExtensionSnapshotFailedCOM")), "");
    assert_eq!(steps(crp, &failed), "reload backup");
    assert_eq!(steps(crp, &silent), "");
    let internal = "backup-operation-failed";
    assert_eq!(steps(internal, &|_| {}), "backup");
    assert_eq!(steps(internal, &|view| view.points.count = 18), "unlock clean backup");
    assert_eq!(steps(internal, &inner("ScopeLocked")), "unlock backup");
    assert_eq!(steps(internal, &failed), "reload backup");
    assert_eq!(steps(internal, &silent), "");
    // What was not read of the extension does not matter where the agent is silent.
    let unread = |view: &mut View| {
        view.mark_unread("vmsnapshot", "403");
        view.agent.ready = false;
    };
    assert_eq!(steps(internal, &unread), "");
}

#[test]
fn the_shipped_playbooks_are_of_the_current_version() {
    for (file, text) in SHIPPED {
        assert!(text.contains(&format!("\napiVersion: {}\n", super::source::API_VERSION)), "{file}");
    }
}

#[test]
fn the_shipped_playbooks_apply_where_they_should() {
    let library = Library::shipped();
    let applies = |name: &str, change: fn(&mut View)| {
        let mut view = View::empty();
        change(&mut view);
        library.find(name).unwrap().resolve(&BTreeMap::new()).unwrap().applies(&view)
    };
    for (name, change) in [
        ("rp-collection-limit", (|v| v.points.count = 1) as fn(&mut View)),
        ("rp-collection-limit", |v| v.backup.last_error = "UserErrorRpCollectionLimitReached".into()),
        ("rp-collection-limit", |v| v.backup.last_error = "RpCollectionLimitReached".into()),
        ("vm-provisioning-failed", |v| v.vm.provisioning_state = "Failed".into()),
        ("extension-operation-failed", |v| v.backup.last_error = "ExtensionOperationFailed".into()),
        ("unlock-backup-groups", |v| v.locks.collections = 1),
        ("delete-stale-collections", |v| v.points.superseded = 3),
        ("failed-vm", |v| {
            v.vm.exists = true;
            v.vm.provisioning_state = "Failed".into();
        }),
        ("backup-in-progress", |v| v.backup.last_error = "UserErrorBackupOperationInProgress".into()),
        ("crp-reported-user-error", |v| v.backup.last_error = "UserErrorCrpReportedUserError".into()),
        ("backup-operation-failed", |v| v.backup.last_error = "BackUpOperationFailed".into()),
        ("vss-services", |v| {
            v.vm.exists = true;
            v.backup.last_error = "ExtensionFailedVssServiceInBadState".into();
        }),
        ("agent-configuration", |v| {
            v.vm.exists = true;
            v.backup.last_error = "VMRestorePointInternalError".into();
        }),
        ("stale-collections-of-deleted-vm", |v| v.points.orphaned = 1),
        ("keyvault-permissions", |v| {
            v.vm.exists = true;
            v.backup.last_error = "UserErrorKeyvaultPermissionsNotConfigured".into();
        }),
        ("datasource-not-present", |v| {
            v.vm.exists = true;
            v.backup.item_count = 1;
        }),
        ("backup-now", |v| {
            v.vm.exists = true;
            v.backup.protected = true;
        }),
    ] {
        assert_eq!(applies(name, change), Verdict::True, "{name}");
    }
    let verdict = applies("rp-collection-limit", |v| v.mark_unread("points", "429"));
    assert!(matches!(verdict, Verdict::NotChecked { .. }), "{verdict:?}");
}

/// A step of a playbook that is made up: its action, the value that its `when` looks at, the steps that its `after` names.
type Made = (usize, Option<usize>, Vec<usize>);

fn made_up(steps: &[Made], paths: &[(&String, &super::conditions::Known)]) -> String {
    let mut text =
        "apiVersion: azmend/v2\nname: made-up\ntitle: Made up\nseverity: low\napplies: true\nsteps:\n".to_owned();
    for (number, (action, when, after)) in steps.iter().enumerate() {
        let action = ActionName::ALL[action % ActionName::ALL.len()];
        text.push_str(&format!("  - id: s{number}\n    action: {action}\n    on_failure: continue\n"));
        if let Some(when) = when {
            let (path, known) = paths[when % paths.len()];
            let test = match known.kind {
                Type::Bool => format!("{path} == true"),
                Type::Int => format!("{path} > 0"),
                Type::Text => format!("{path} == 'x'"),
                _ => format!("size({path}) > 0"),
            };
            text.push_str(&format!("    when: {test}\n"));
        }
        if !after.is_empty() {
            let named: Vec<String> = after.iter().map(|step| format!("s{step}: [failed, skipped]")).collect();
            text.push_str(&format!("    after: {{ {} }}\n", named.join(", ")));
        }
    }
    text
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(300))]

    /// A playbook is read exactly when every `after` names earlier steps and no `when` looks back without one.
    #[test]
    fn steps_that_depend_on_each_other_are_read_when_they_may(
        steps in proptest::collection::vec(
            (0usize..14, proptest::option::weighted(0.7, 0usize..200), proptest::collection::btree_set(0usize..5, 0..3)),
            1..5,
        )
    ) {
        let steps: Vec<Made> = steps.into_iter().map(|(a, when, after)| (a, when, after.into_iter().collect())).collect();
        let paths: Vec<_> = view_paths().iter().collect();
        let good = steps.iter().enumerate().all(|(number, (_, when, after))| {
            let earlier = after.iter().all(|step| *step < number);
            let path = when.map(|when| paths[when % paths.len()].0.as_str());
            let looks_back = (0..number).any(|before| {
                let action = ActionName::ALL[steps[before].0 % ActionName::ALL.len()];
                path.is_some_and(|path| action.changes(path)) && !after.contains(&before)
            });
            earlier && !looks_back
        });
        let text = made_up(&steps, &paths);
        match read(&text, "p.yaml") {
            Ok(playbook) => {
                proptest::prop_assert!(good, "{text}");
                for (step, (_, _, after)) in playbook.steps().iter().zip(&steps) {
                    let named: Vec<String> = step.after().iter().map(|after| after.step.clone()).collect();
                    let expected: Vec<String> = after.iter().map(|step| format!("s{step}")).collect();
                    proptest::prop_assert_eq!(named, expected);
                }
            }
            Err(errors) => {
                proptest::prop_assert!(!good, "{text}{errors:#?}");
                // Every error about a `when` says the way out.
                let whens: Vec<_> = errors.iter().filter(|error| error.message.starts_with("when:")).collect();
                proptest::prop_assert!(whens.iter().all(|error| error.suggestion.is_some()));
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(200))]

    /// Shipped playbooks with pieces cut out and thrown in: an answer, never a panic.
    #[test]
    fn mutilated_playbooks_are_survived(which in 0..SHIPPED.len(), from in 0usize..2000, len in 0usize..60, junk in "[ \\n:{}\\[\\]a-z'\"&*!-]{0,12}") {
        let text: Vec<char> = SHIPPED[which].1.chars().collect();
        let from = from.min(text.len());
        let to = (from + len).min(text.len());
        let changed: String = text[..from].iter().copied().chain(junk.chars()).chain(text[to..].iter().copied()).collect();
        if let Err(errors) = read(&changed, "p.yaml") {
            proptest::prop_assert!(!errors.is_empty());
            let placed = errors.iter().all(|e| e.line >= 1 && e.column >= 1 && !e.to_string().contains('\u{1b}'));
            proptest::prop_assert!(placed);
        }
    }
}
