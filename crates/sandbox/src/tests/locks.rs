//! Locks: what they stop, and how late.

use serde_json::json;

use super::*;

#[test]
fn a_lock_above_blocks_and_its_removal_takes_a_while() {
    let sim = sim();
    let collection = collection_of(&sim, "web-01", "AzureBackupRG_westeurope_1");
    let refused = call(&sim, "DELETE", &collection, None);
    assert_eq!((refused.status, code(&refused).as_str()), (409, "ScopeLocked"));
    assert_eq!(refused.header("x-ms-failure-cause"), Some("gateway"));
    let text = body(&refused)["error"]["message"].as_str().unwrap().to_owned();
    assert!(text.contains(&format!("following scope(s) are locked: '{GROUP}'. Please remove the lock")), "{text}");

    assert_eq!(call(&sim, "DELETE", LOCK, None).status, 200);
    let gone = call(&sim, "GET", LOCK, None);
    assert_eq!((gone.status, code(&gone).as_str()), (404, "LockNotFound"));
    assert_eq!(call(&sim, "DELETE", &collection, None).status, 409, "still enforced");
    pass(&sim, 60);
    assert_eq!(call(&sim, "DELETE", &collection, None).status, 202);
    assert_eq!(call(&sim, "DELETE", LOCK, None).status, 204);
}

#[test]
fn a_lock_is_put_back_exactly() {
    let sim = sim();
    let before = get(&sim, LOCK);
    assert_eq!(before["properties"]["notes"], "Protect backups. Contact: platform@contoso.example");
    unlock(&sim);
    let content = json!({ "properties": before["properties"] });
    assert_eq!(call(&sim, "PUT", LOCK, Some(content.clone())).status, 201);
    assert_eq!(call(&sim, "PUT", LOCK, Some(content)).status, 200);
    assert_eq!(get(&sim, LOCK), before);
    assert_eq!(call(&sim, "PUT", LOCK, Some(json!({ "properties": { "level": "Never" } }))).status, 400);
    assert_eq!(call(&sim, "PUT", LOCK, None).status, 400);
    assert_eq!(call(&sim, "PATCH", LOCK, None).status, 405);
}

#[test]
fn a_removed_lock_may_flip() {
    let sim = sim();
    sim.edit(|w| w.settings.lock_flapping = true);
    call(&sim, "DELETE", LOCK, None);
    let seen: Vec<u16> = (0..4).map(|_| call(&sim, "GET", LOCK, None).status).collect();
    assert_eq!(seen, [404, 200, 404, 200]);
    pass(&sim, 60);
    assert_eq!(call(&sim, "GET", LOCK, None).status, 404);
    assert_eq!(call(&sim, "GET", LOCK, None).status, 404);
}

#[test]
fn lists_are_at_above_and_below() {
    let sim = sim();
    let count = |scope: &str, filter: &str| {
        get(&sim, &format!("{scope}/providers/Microsoft.Authorization/locks{filter}"))["value"]
            .as_array()
            .unwrap()
            .len()
    };
    let collection = collection_of(&sim, "web-01", "AzureBackupRG_westeurope_1");
    assert_eq!(count(PROD, ""), 3);
    assert_eq!(count(PROD, "?$filter=atScope()"), 0);
    assert_eq!(count(&collection, ""), 1);
    assert_eq!(count(&collection, "?$filter=atScope()"), 1);
    assert_eq!(count(&format!("{SUBSIDIARY}/resourceGroups/rg-branch"), ""), 1);
    let missing =
        call(&sim, "GET", &format!("{PROD}/resourceGroups/none/providers/Microsoft.Authorization/locks"), None);
    assert_eq!((missing.status, code(&missing).as_str()), (404, "ResourceGroupNotFound"));
}

#[test]
fn a_lock_on_a_child_blocks_its_parent_and_read_only_blocks_actions() {
    let sim = sim();
    unlock(&sim);
    let collection = collection_of(&sim, "web-01", "AzureBackupRG_westeurope_1");
    let point = format!(
        "{collection}/restorePoints/{}",
        sim.world().collection(&collection.parse().unwrap()).unwrap().points[3].name
    );
    let keep = format!("{point}/providers/Microsoft.Authorization/locks/keep");
    assert_eq!(call(&sim, "PUT", &keep, Some(json!({ "properties": { "level": "CanNotDelete" } }))).status, 201);
    assert_eq!(code(&call(&sim, "DELETE", &collection, None)), "ScopeLocked");
    let other = collection_of(&sim, "ok-07", "AzureBackupRG_westeurope_1");
    assert_eq!(call(&sim, "DELETE", &other, None).status, 202);

    let freeze = format!("{VAULT}/providers/Microsoft.Authorization/locks/freeze");
    assert_eq!(call(&sim, "PUT", &freeze, Some(json!({ "properties": { "level": "ReadOnly" } }))).status, 201);
    let refused = call(&sim, "POST", &format!("{}/backup", item("rg-shop", "ok-07")), Some(backup_body()));
    assert_eq!((refused.status, code(&refused).as_str()), (409, "ScopeLocked"));
}

#[test]
fn a_subscription_lock_blocks_everything_in_it() {
    let sim = sim();
    let collection = collection_of(&sim, "sub-lock", "AzureBackupRG_northeurope_1");
    assert_eq!(code(&call(&sim, "DELETE", &collection, None)), "ScopeLocked");
}

#[test]
fn a_lock_comes_back_with_the_same_or_other_content() {
    let sim = sim();
    let before = get(&sim, LOCK);
    unlock(&sim);
    assert!(sim.edit(|w| w.put_lock_back(&LOCK.parse().unwrap(), None)));
    assert_eq!(get(&sim, LOCK), before);
    assert!(sim.edit(|w| w.put_lock_back(&LOCK.parse().unwrap(), Some("by policy"))));
    assert_eq!(get(&sim, LOCK)["properties"]["notes"], "by policy");
}

#[test]
fn a_lock_with_owners_is_deleted_by_them_alone() {
    let sim = sim();
    let owner = "ba4bc2bd-843f-4d61-9d33-199178eae34e".to_owned();
    let own = |sim: &Sim, owners: Vec<String>| {
        sim.edit(|w| w.locks.iter_mut().find(|l| l.id.name() == "no-delete").unwrap().owners = owners);
    };
    own(&sim, vec![owner.clone()]);
    assert_eq!(get(&sim, LOCK)["properties"]["owners"][0]["applicationId"], owner.as_str());
    let refused = call(&sim, "DELETE", LOCK, None);
    assert_eq!((refused.status, code(&refused).as_str()), (401, "UnauthorizedApplicationId"));
    assert_eq!(
        body(&refused)["error"]["message"],
        "The management lock 'no-delete' is owned by system application(s) 'ba4bc2bd-843f-4d61-9d33-199178eae34e'. Please \
         see https://aka.ms/arm-lock for detail."
    );
    assert_eq!(call(&sim, "GET", LOCK, None).status, 200);
    // Also inside a managed application's group, and the permission is asked first.
    sim.edit(|w| {
        let group = w.groups.iter_mut().find(|g| g.id.as_str() == GROUP).unwrap();
        group.managed_by = Some(format!("{PROD}/resourceGroups/m/providers/Microsoft.Solutions/applications/app"));
    });
    assert_eq!(code(&call(&sim, "DELETE", LOCK, None)), "UnauthorizedApplicationId");
    let caller = sim.world().caller;
    own(&sim, vec![owner, caller]);
    assert_eq!(call(&sim, "DELETE", LOCK, None).status, 200, "it is the caller's own");
    sim.edit(|w| w.revoke_permission("Microsoft.Authorization/locks/delete"));
    assert_eq!(call(&sim, "DELETE", LOCK, None).status, 403);
}

#[test]
fn a_refusal_names_the_verb_and_every_scope() {
    let sim = sim();
    let text = |response: &Response| body(response)["error"]["message"].as_str().unwrap().to_owned();
    let collection = collection_of(&sim, "web-01", "AzureBackupRG_westeurope_1");
    let keep = format!("{collection}/providers/Microsoft.Authorization/locks/keep");
    assert_eq!(call(&sim, "PUT", &keep, Some(json!({ "properties": { "level": "CanNotDelete" } }))).status, 201);
    assert_eq!(
        text(&call(&sim, "DELETE", &collection, None)),
        format!(
            "The scope '{collection}' cannot perform delete operation because following scope(s) are locked: \
             '{GROUP},{collection}'. Please remove the lock and try again."
        )
    );
    let freeze = format!("{}/providers/Microsoft.Authorization/locks/freeze", vm("ok-07"));
    assert_eq!(call(&sim, "PUT", &freeze, Some(json!({ "properties": { "level": "ReadOnly" } }))).status, 201);
    let action = format!("{}/restart", vm("ok-07"));
    assert_eq!(
        text(&call(&sim, "POST", &action, None)),
        format!(
            "The scope '{0}' cannot perform write operation because following scope(s) are locked: '{0}'. Please remove the \
             lock and try again.",
            vm("ok-07")
        )
    );
}

#[test]
fn a_stale_read_after_putting_a_lock_back_says_that_it_is_gone() {
    let sim = sim();
    let content = json!({ "properties": get(&sim, LOCK)["properties"] });
    unlock(&sim);
    sim.edit(|w| {
        let when = crate::FaultMatch {
            method: Some("GET".into()),
            path_contains: Some("locks".into()),
            nth: None,
            times: Some(2),
        };
        let effect = crate::FaultEffect::StaleRead;
        w.faults = vec![crate::Fault { id: "stale".into(), when, effect, seen: 0, fired: 0 }];
    });
    assert_eq!(call(&sim, "PUT", LOCK, Some(content)).status, 201);
    let seen: Vec<u16> = (0..4).map(|_| call(&sim, "GET", LOCK, None).status).collect();
    assert_eq!(seen, [404, 404, 200, 200]);
}
