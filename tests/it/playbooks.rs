//! Playbooks of one's own: `playbook new`, `validate` and `test`, as their author uses them.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// Exit code, stdout and stderr.
type Done = (i32, String, String);

fn run(dir: &Path, line: &str) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
    command.env_clear().env("COLUMNS", "100").env("AZMEND_STATE_DIR", dir.join("state")).current_dir(dir);
    let out = command.args(line.split_whitespace()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// The VM of this name in a test's result.
fn vm<'a>(test: &'a Value, name: &str) -> &'a Value {
    let ends = format!("/{name}");
    test["vms"].as_array().unwrap().iter().find(|one| one["result"]["vm"].as_str().unwrap().ends_with(&ends)).unwrap()
}

#[test]
fn a_new_playbook_is_valid_tested_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(dir.path(), "playbook new weekly-room");
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("azmend playbook test weekly-room.yaml"), "{err}");
    assert_eq!(run(dir.path(), "playbook validate weekly-room.yaml").0, 0);
    let before = std::fs::read_to_string(dir.path().join("weekly-room.yaml")).unwrap();
    let (code, _, err) = run(dir.path(), "playbook new weekly-room");
    assert_eq!(code, 2);
    assert!(err.contains("it exists already; nothing was changed"), "{err}");
    assert_eq!(std::fs::read_to_string(dir.path().join("weekly-room.yaml")).unwrap(), before);
    for (name, word) in [("backup-now", "shipped playbook"), ("Weekly", "not a name"), ("auto", "not a name")] {
        let (code, _, err) = run(dir.path(), &format!("playbook new {name}"));
        assert!(code == 2 && err.contains(word), "{name}: {err}");
        assert!(!dir.path().join(format!("{name}.yaml")).exists());
    }
    let (code, out, _) = run(dir.path(), "playbook new other --out o.yaml -o json");
    let made: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &made["name"], &made["file"]), (0, &"other".into(), &"o.yaml".into()));
}

#[test]
fn a_test_shows_what_the_conditions_saw_and_what_fix_would_do() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), "playbook new weekly-room").0, 0);
    assert_eq!(run(dir.path(), "sandbox init mine.yaml").0, 0);
    let (code, out, err) = run(dir.path(), "playbook test weekly-room.yaml --estate mine.yaml -o json");
    let test: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let schema: Value = serde_json::from_str(&azmend::report::schema::rehearsal_json()).unwrap();
    assert!(jsonschema::is_valid(&schema, &test), "{test}");
    assert_eq!(test["exit_code"], code);
    // One VM was not read in full: that is the worst of all.
    assert_eq!(code, 6);
    assert!(err.contains("would be changed") && err.contains("nothing was changed"), "{err}");

    let web = vm(&test, "web-01");
    assert_eq!(web["result"]["status"], "planned");
    let applies = &web["conditions"][0];
    assert_eq!((&applies["step"], &applies["came_to"]), (&Value::Null, &"true".into()));
    assert_eq!((&applies["values"]["points.count"], &applies["values"]["params.margin"]), (&21.into(), &3.into()));
    assert_eq!((&web["conditions"][1]["step"], &web["conditions"][1]["came_to"]), (&"clean".into(), &"true".into()));
    let healthy = vm(&test, "ok-07");
    assert_eq!(
        (&healthy["conditions"][0]["came_to"], &healthy["conditions"].as_array().unwrap().len()),
        (&"false".into(), &1)
    );
    let unread = &vm(&test, "stop-12")["conditions"][0];
    assert_eq!((&unread["came_to"], &unread["values"]["points.limit"]), (&"not_checked".into(), &Value::Null));

    // The same changes as a dry run of `fix` shows.
    let (code, out, _) = run(dir.path(), "--sandbox=mine.yaml fix weekly-room --vm web-01 --playbooks . -n -o json");
    let fix: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &fix["changes"]), (3, &web["result"]["changes"]));
    // A parameter changes what conditions see; one VM is asked for.
    let (code, out, _) = run(dir.path(), "playbook test weekly-room.yaml --vm OK-07 --set margin=17 -o json");
    let test: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, test["vms"].as_array().unwrap().len()), (3, 1));
    assert_eq!(test["vms"][0]["conditions"][0]["values"]["params.margin"], 17);
    // Nothing of it is kept.
    assert!(!dir.path().join("state").exists());
}

#[test]
fn a_test_for_people_has_the_values_and_every_line_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), "playbook new weekly-room").0, 0);
    let (code, out, err) = run(dir.path(), "playbook test weekly-room.yaml --vm web-01");
    assert_eq!(code, 3, "{err}");
    for text in [
        "rg-shop/web-01  7 changes",
        "points.count is",
        "when of clean  true: points.expired > 0",
        "  - remove the CanNotDelete lock",
    ] {
        assert!(out.contains(text), "{text}: {out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    for (line, word) in [
        ("playbook test none.yaml", "no such file"),
        ("playbook test weekly-room.yaml --vm web-1", "did you mean web-01?"),
        ("playbook test weekly-room.yaml --set margin=99", "out of range"),
        ("playbook test weekly-room.yaml --estate weekly-room.yaml", "not a valid estate"),
    ] {
        let (code, _, err) = run(dir.path(), line);
        assert!(code == 2 && err.contains(word), "{line}: {err}");
    }
}

#[test]
fn a_directory_is_validated_file_by_file_with_one_summary() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    let (code, _, err) = run(dir.path(), "playbook validate mine");
    assert!(code == 2 && err.contains("1 problem in 0 files"), "{err}");
    assert_eq!(run(dir.path(), "playbook new one --out mine/one.yaml").0, 0);
    let good = std::fs::read_to_string(mine.join("one.yaml")).unwrap();
    // As an editor on Windows saves it.
    let windows = format!("\u{feff}{}", good.replace("name: one", "name: two").replace('\n', "\r\n"));
    std::fs::write(mine.join("two.yml"), &windows).unwrap();
    assert_eq!(run(dir.path(), "playbook validate mine").0, 0);
    std::fs::write(mine.join("same.yaml"), &good).unwrap();
    std::fs::write(
        mine.join("slip.yaml"),
        windows.replace("name: two", "name: four").replace("points.expired > 0", "points.expired = 0"),
    )
    .unwrap();
    std::fs::write(mine.join("notes.txt"), "no playbook").unwrap();
    let (code, out, err) = run(dir.path(), "playbook validate mine");
    assert_eq!(code, 2);
    assert!(out.contains("one.yaml: valid") && out.contains("two.yml: valid"), "{out}");
    assert!(out.contains("is taken by"), "{out}");
    let line = good.lines().position(|line| line.contains("when: points.expired")).unwrap() + 1;
    assert!(out.contains(&format!("slip.yaml:{line}:26: when: = does not compare: use ==")), "{out}");
    assert!(err.contains("2 problems in 4 files; 2 valid"), "{err}");
    // The shipped ones are valid as they are, and no other file can have their names.
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks");
    let (code, _, err) = run(dir.path(), &format!("playbook validate {shipped}"));
    assert!(code == 0 && err.contains("16 files are valid"), "{err}");
    std::fs::write(mine.join("own.yaml"), good.replace("name: one", "name: backup-now")).unwrap();
    let (_, out, _) = run(dir.path(), "playbook validate mine");
    assert!(out.contains("belongs to a shipped playbook"), "{out}");
}
