//! The file that a world is made of, and its errors.

use super::*;

#[test]
fn the_built_in_estate_is_what_it_says() {
    let estate = Estate::parse(Estate::built_in_text(), "built-in.yaml").unwrap_or_else(|e| panic!("{e:#?}"));
    let world = World::from_estate(&estate);
    let count = |name: &str| world.succeeded_points(&world.vm_named(name).unwrap().id.clone());
    assert_eq!((count("web-01"), count("nas-04"), count("db-03"), count("ok-07")), (21, 20, 18, 2));
    let twin = world.collections.iter().find(|c| c.source.as_str().contains("rg-legacy")).unwrap();
    assert_eq!(twin.points[0].vm_id, world.vm_named("twin-06").unwrap().vm_id);
    assert_eq!(world.vms.iter().filter(|v| v.id.name() == "dup-09").count(), 2);
    assert_eq!(World::from_estate(&estate), World::from_estate(&Estate::built_in()), "ids are the same each time");
    for collection in &world.collections {
        assert!(world.group(&collection.id.group_id().unwrap()).is_some());
    }
}

fn wrong(text: &str) -> crate::Diagnostic {
    let errors = Estate::parse(text, "estate.yaml").unwrap_err();
    errors[0].clone()
}

const HEAD: &str = "apiVersion: azmend/estate/v1\nname: x\nnow: 2026-11-20T09:00:00Z\n";

#[test]
fn errors_have_their_place_and_a_hint() {
    let error = wrong(&format!("{HEAD}subscriptions:\n  - name: A\n    grups: []\n"));
    assert_eq!((error.line, error.suggestion.as_deref()), (6, Some("did you mean groups?")), "{error}");
    let error = wrong(&format!(
        "{HEAD}subscriptions:\n  - name: A\n    groups:\n      - name: rg\n        vms:\n          - name: vm\n            power: runing\n"
    ));
    assert_eq!((error.line, error.suggestion.as_deref()), (10, Some("did you mean running?")), "{error}");
    let vault = format!(
        "{HEAD}subscriptions:\n  - name: A\n    groups:\n      - name: rg\n        vaults: [{{ name: vault, policies: [{{ name: daily }}] }}]\n        vms:\n"
    );
    let error =
        wrong(&format!("{vault}          - name: vm\n            protection: {{ vault: vault, policy: dayly }}\n"));
    assert_eq!((error.line, error.suggestion.as_deref()), (11, Some("did you mean daily?")), "{error}");
    assert!(error.message.contains("no policy"), "{error}");
    let error = wrong(&format!("{vault}          - name: vm-a\n        collections: [{{ of: vm-b }}]\n"));
    assert_eq!((error.line, error.suggestion.as_deref()), (11, Some("did you mean vm-a?")), "{error}");
    let error = wrong(&format!("{HEAD}subscriptions: []\nsettings: {{ snapshot: 5x }}\n"));
    assert_eq!(error.line, 5, "{error}");
    let error = wrong(&HEAD.replace("v1", "v9").replacen("name", "subscriptions: []\nname", 1));
    assert_eq!(error.line, 1, "{error}");
    assert!(Estate::parse("][", "f").is_err() && Estate::parse("", "f").is_err());
}

#[test]
fn numbers_that_mean_nothing_have_their_place_too() {
    let estate = |keys: &str| {
        format!(
            "{HEAD}subscriptions:\n  - name: A\n    groups:\n      - name: rg\n        vms: [{{ name: vm-a }}]\n        collections:\n          - {{ of: vm-a, {keys} }}\n"
        )
    };
    let error = wrong(&estate("deletes_per_call: 0"));
    assert_eq!((error.line, error.suggestion.as_deref()), (10, Some("delete_hangs: true")), "{error}");
    let error = wrong(&estate("points: { count: 2, newest: 3d, copying: 100 }"));
    assert!(error.line == 10 && error.suggestion.is_some_and(|hint| hint.contains("0 to 99")));
    let one = "restore_points: [{ name: AzureBackup_20261101_230000, created: 2026-11-01T23:00:00Z, copying: 130 }]";
    assert!(wrong(&estate(one)).message.contains("130"));
    let parsed =
        Estate::parse(&estate("deletes_per_call: 2, points: { count: 3, newest: 3d, copying: 99 }"), "e").unwrap();
    let collection = World::from_estate(&parsed).collections[0].clone();
    assert_eq!(collection.deletes_per_call, Some(2));
    assert!(collection.points.iter().all(|point| point.copying == Some(99) && point.copied_from.is_none()));
}

#[test]
fn many_errors_of_one_kind_are_counted_not_kept() {
    let head = format!(
        "{HEAD}subscriptions:\n  - name: A\n    groups:\n      - name: rg\n        location: x\n        vms:\n"
    );
    let vms = "          - { name: vm }\n".repeat(3000);
    let errors = Estate::parse(&format!("{head}{vms}"), "estate.yaml").unwrap_err();
    assert!(errors.len() <= 21, "{}", errors.len());
    assert!(errors[0].message.contains("appears twice") && errors[0].line == 11, "{}", errors[0]);
    assert_eq!(errors.last().unwrap().message, "and 2979 more errors like these");
    let odd: String = (0..3000).map(|n| format!("          - {{ name: 'vm/{n}' }}\n")).collect();
    let errors = Estate::parse(&format!("{head}{odd}"), "estate.yaml").unwrap_err();
    assert!(errors.len() <= 21, "{}", errors.len());
}

#[test]
fn faults_and_the_timeline_come_from_the_file() {
    let text = include_str!("../../../../examples/estates/bad-day.yaml");
    let estate = Estate::parse(text, "bad-day.yaml").unwrap_or_else(|e| panic!("{e:#?}"));
    let sim = Sim::new(World::from_estate(&estate));
    assert_eq!(sim.world().faults.len(), 12);
    let lock = sim.world().locks[0].id.clone();
    assert!(matches!(reply(&sim, "DELETE", lock.as_str(), None), Reply::Lost { .. }));
    pass(&sim, 600);
    assert!(sim.world().locks.is_empty());
    pass(&sim, 600);
    assert_eq!(sim.world().locks[0].notes.as_deref(), Some("Set by the landing zone"));
    pass(&sim, 3 * 3600);
    assert_eq!(sim.world().jobs.len(), 2);
    let error = wrong(&text.replace("start_job: app-01", "start_job: app-10"));
    assert_eq!((error.line, error.suggestion.as_deref()), (59, Some("did you mean app-01?")), "{error}");
    let error = wrong(&text.replace("stale_read", "stale_reed"));
    assert_eq!(error.suggestion.as_deref(), Some("did you mean stale_read?"), "{error}");
    let error = wrong(&text.replace("level: CanNotDelete", "level: CanNotDelet"));
    assert_eq!(error.suggestion.as_deref(), Some("did you mean CanNotDelete?"), "{error}");
    let error = wrong(&text.replace("scope: rg-app", "scope: rg-ap"));
    assert_eq!(error.suggestion.as_deref(), Some("did you mean rg-app?"), "{error}");
}

#[test]
fn a_world_survives_its_process() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.json");
    let first = sim();
    first.persist(file.clone());
    unlock(&first);
    call(&first, "POST", &format!("{}/backup", item("rg-shop", "ok-07")), Some(backup_body()));
    assert_eq!(first.save_error(), None);
    let again = World::load(&file).unwrap();
    assert_eq!(again, first.world());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    first.persist(directory.path().join("no/such/place.json"));
    assert!(first.save_error().is_some());
    assert!(World::load(&directory.path().join("none")).is_err());
}

#[test]
fn equal_states_are_equal_whatever_the_time() {
    let sim = sim();
    let before = sim.world();
    let content = json!({ "properties": get(&sim, LOCK)["properties"] });
    unlock(&sim);
    assert_ne!(sim.world().canonical(), before.canonical());
    call(&sim, "PUT", &LOCK.to_lowercase(), Some(content));
    pass(&sim, 100);
    assert_eq!(sim.world().canonical(), before.canonical());
    assert_eq!(sim.world().digest(), before.digest());
}
