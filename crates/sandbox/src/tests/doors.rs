//! What any request meets first: versions, names, permissions, unknown paths.

use proptest::prelude::*;

use super::*;
use crate::Permission;

#[test]
fn sign_in_and_api_version() {
    let sim = sim();
    let mut bare = request("GET", PROD, None);
    bare.headers.remove("authorization");
    let Reply::Response(refused) = sim.serve(&bare) else { panic!() };
    assert_eq!(refused.status, 401);
    bare.headers.insert("authorization", HeaderValue::from_static("Bearer expired"));
    let Reply::Response(refused) = sim.serve(&bare) else { panic!() };
    assert_eq!((refused.status, code(&refused).as_str()), (401, "ExpiredAuthenticationToken"));
    let mut versionless = request("GET", PROD, None);
    versionless.url.set_query(None);
    let Reply::Response(refused) = sim.serve(&versionless) else { panic!() };
    assert_eq!((refused.status, code(&refused).as_str()), (400, "MissingApiVersionParameter"));
}

#[test]
fn every_response_is_traceable() {
    let sim = sim();
    let mut asked = request("GET", PROD, None);
    asked.headers.insert("x-ms-client-request-id", HeaderValue::from_static("mine"));
    let Reply::Response(first) = sim.serve(&asked) else { panic!() };
    assert_eq!(first.header("x-ms-client-request-id"), Some("mine"));
    assert_eq!(first.header("x-ms-ratelimit-remaining-subscription-reads"), Some("249"));
    let Reply::Response(second) = sim.serve(&asked) else { panic!() };
    assert_ne!(first.header("x-ms-request-id"), second.header("x-ms-request-id"));
    let log = sim.log();
    assert_eq!((log.len(), log[0].status, log[0].mutating), (2, Some(200), false));
    assert_eq!(log[0].client_request_id.as_deref(), Some("mine"));
}

#[test]
fn unknown_paths_verbs_and_subscriptions() {
    let sim = sim();
    assert_eq!(call(&sim, "GET", "/nowhere", None).status, 404);
    assert_eq!(call(&sim, "GET", &format!("{PROD}/providers/Microsoft.Web/sites"), None).status, 404);
    assert_eq!(call(&sim, "POST", &vm("web-01"), None).status, 405);
    assert_eq!(call(&sim, "DELETE", &format!("{PROD}/resourceGroups/rg-shop"), None).status, 405);
    let other = "/subscriptions/00000000-0000-4000-8000-00000000dead/providers/Microsoft.Compute/virtualMachines";
    assert_eq!(code(&call(&sim, "GET", other, None)), "SubscriptionNotFound");
}

#[test]
fn lists_come_in_pages_on_the_callers_own_address() {
    let sim = sim();
    sim.edit(|w| w.settings.page_size = 5);
    let mut address =
        format!("http://127.0.0.1:8080{PROD}/providers/Microsoft.Compute/virtualMachines?api-version=2024-07-01");
    let mut names = Vec::new();
    for _ in 0..10 {
        let found = get(&sim, &address);
        names.extend(found["value"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap().to_owned()));
        match found["nextLink"].as_str() {
            Some(next) => {
                assert!(next.starts_with("http://127.0.0.1:8080/"), "{next}");
                address = next.to_owned();
            }
            None => break,
        }
    }
    assert_eq!(names.len(), sim.world().vms.iter().filter(|v| v.id.as_str().starts_with(PROD)).count());
}

#[test]
fn permissions_filter_rows_and_refuse_the_rest() {
    let sim = sim();
    sim.edit(|w| {
        w.permissions = vec![Permission {
            scope: format!("{PROD}/resourceGroups/rg-data"),
            actions: vec!["*/read".into()],
            not_actions: vec![],
        }];
    });
    let listed = get(&sim, &format!("{PROD}/providers/Microsoft.Compute/virtualMachines"));
    assert_eq!(listed["value"].as_array().unwrap().len(), 2);
    let refused = call(&sim, "GET", &vm("web-01"), None);
    assert_eq!((refused.status, code(&refused).as_str()), (403, "AuthorizationFailed"));
    let text = body(&refused)["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        text.contains(
            "does not have authorization to perform action 'Microsoft.Compute/virtualMachines/read' over scope"
        ),
        "{text}"
    );
    assert_eq!(get(&sim, "/subscriptions")["value"].as_array().unwrap().len(), 1);
    let granted = get(&sim, &format!("{PROD}/resourceGroups/rg-data/providers/Microsoft.Authorization/permissions"));
    assert_eq!(granted["value"][0]["actions"][0], "*/read");
    assert_eq!(
        get(&sim, &format!("{PROD}/providers/Microsoft.Authorization/permissions"))["value"].as_array().unwrap().len(),
        0
    );
}

#[test]
fn a_revoked_permission_and_a_deny_assignment() {
    let sim = sim();
    sim.edit(|w| w.revoke_permission("Microsoft.Authorization/locks/delete"));
    assert_eq!(code(&call(&sim, "DELETE", LOCK, None)), "AuthorizationFailed");
    let text = r#"
apiVersion: azmend/estate/v1
name: small
now: 2026-11-20T09:00:00Z
subscriptions: [{ name: One, groups: [{ name: rg-a, vms: [{ name: vm-a }] }] }]
deny_assignments: [{ name: blueprint, scope: rg-a, actions: ["*/delete"] }]
"#;
    let denied = Sim::new(World::from_estate(&Estate::parse(text, "small.yaml").unwrap()));
    let id = denied.world().vms[0].id.clone();
    let refused = call(&denied, "DELETE", &format!("{id}/extensions/VMSnapshot"), None);
    assert_eq!((refused.status, code(&refused).as_str()), (403, "DenyAssignmentAuthorizationFailed"));
    let listed = get(&denied, &format!("{}/providers/Microsoft.Authorization/denyAssignments", id.group_id().unwrap()));
    assert_eq!(listed["value"][0]["properties"]["isSystemProtected"], true);
}

#[test]
fn patterns_of_roles() {
    use crate::access::matches;
    for (pattern, action, expected) in [
        ("*", "a/b", true),
        ("*/read", "Microsoft.Compute/virtualMachines/read", true),
        ("*/read", "Microsoft.Compute/virtualMachines/delete", false),
        ("Microsoft.Compute/*", "microsoft.compute/disks/read", true),
        ("Microsoft.Compute/*/read", "microsoft.compute/disks/read", true),
        ("Microsoft.Compute/*/read", "microsoft.network/disks/read", false),
        ("Microsoft.Compute/disks/read", "microsoft.compute/disks/read", true),
        ("Microsoft.Compute/disks", "microsoft.compute/disks/read", false),
    ] {
        assert_eq!(matches(pattern, action), expected, "{pattern} {action}");
    }
}

#[test]
fn arm_throttles_by_verb_and_lets_go_with_time() {
    let sim = sim();
    sim.edit(|w| w.settings.latency_ms = 0);
    let statuses: Vec<u16> = (0..260).map(|_| call(&sim, "GET", PROD, None).status).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 429).count(), 10);
    let refused = call(&sim, "GET", PROD, None);
    assert_eq!(code(&refused), "SubscriptionRequestsThrottled");
    assert_eq!(refused.header("retry-after"), Some("6"));
    assert_eq!(refused.header("x-ms-ratelimit-remaining-subscription-reads"), Some("0"));
    pass(&sim, 6);
    assert_eq!(call(&sim, "GET", PROD, None).status, 200);
}

#[test]
fn reading_jobs_is_limited_per_hour_in_prose() {
    let sim = sim();
    let jobs = format!("{VAULT}/backupJobs");
    for _ in 0..150 {
        assert_eq!(call(&sim, "GET", &jobs, None).status, 200);
    }
    let refused = call(&sim, "GET", &jobs, None);
    assert_eq!((refused.status, code(&refused).as_str()), (429, "ResourceRequestsThrottled"));
    assert_eq!(refused.header("retry-after"), None);
    pass(&sim, 3600);
    assert_eq!(call(&sim, "GET", &jobs, None).status, 200);
}

#[test]
fn groups_and_their_resources() {
    let sim = sim();
    let group = get(&sim, GROUP);
    assert!(group["managedBy"].as_str().unwrap().ends_with("/providers/Microsoft.RecoveryServices/"));
    let rows = get(&sim, &format!("{PROD}/resourceGroups/contoso-prod1/resources"));
    let kinds: Vec<&str> = rows["value"].as_array().unwrap().iter().map(|r| r["type"].as_str().unwrap()).collect();
    assert!(
        kinds.contains(&"Microsoft.Sql/servers") && kinds.contains(&"Microsoft.Compute/virtualMachines"),
        "{kinds:?}"
    );
    let rows = get(&sim, &format!("{GROUP}/resources"));
    assert!(rows["value"].as_array().unwrap().iter().all(|r| r["type"] == "Microsoft.Compute/restorePointCollections"));
    assert_eq!(get(&sim, "/tenants")["value"].as_array().unwrap().len(), 1);
}

/// Addresses of everything in the built-in estate.
fn addresses(sim: &Sim) -> Vec<String> {
    let world = sim.world();
    let mut out = vec![
        PROD.to_owned(),
        LOCK.to_owned(),
        VAULT.to_owned(),
        format!("{VAULT}/backupJobs"),
        format!("{PROD}/resourceGroups"),
    ];
    for vm in &world.vms {
        out.push(vm.id.to_string());
        out.push(format!("{}/extensions/VMSnapshot", vm.id));
        out.push(format!("{}/instanceView", vm.id));
    }
    for collection in &world.collections {
        out.push(collection.id.to_string());
        out.push(format!("{}/providers/Microsoft.Authorization/locks/l", collection.id));
        out.extend(collection.points.iter().take(3).map(|p| format!("{}/restorePoints/{}", collection.id, p.name)));
    }
    for item in &world.items {
        out.push(format!("{}/backup", item.id));
        out.push(format!("{}/recoveryPoints", item.id));
        out.push(item.id.to_string());
    }
    out.extend(world.jobs.iter().filter_map(|j| j.id()).flat_map(|id| [id.to_string(), format!("{id}/cancel")]));
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_keeps_the_world_in_order(seed in any::<u64>(), steps in prop::collection::vec((0usize..6, any::<prop::sample::Index>(), 0u64..4000), 1..40)) {
        let sim = sim();
        let addresses = addresses(&sim);
        sim.edit(|w| w.faults = crate::FaultPlan::random(seed));
        let mut links: Vec<String> = Vec::new();
        for (verb, at, wait) in steps {
            let method = ["GET", "DELETE", "POST", "PUT", "DELETE", "GET"][verb];
            let body = match method {
                "POST" => Some(backup_body()),
                "PUT" => Some(json!({ "properties": { "level": "CanNotDelete" } })),
                _ => None,
            };
            let target = at.get(&addresses);
            if let Reply::Response(response) = reply(&sim, method, target, body) {
                prop_assert!(response.header("x-ms-request-id").is_some());
                links.extend(response.header("location").map(str::to_owned));
                links.extend(response.header("azure-asyncoperation").map(str::to_owned));
            }
            if let Some(link) = links.last() {
                reply(&sim, "GET", link, None);
            }
            pass(&sim, wait);
            let world = sim.world();
            prop_assert!(world.timeline.windows(2).all(|w| w[0].at <= w[1].at));
            prop_assert!(world.timeline.first().is_none_or(|e| e.at > world.now));
            let mut ids: Vec<&str> = world.collections.iter().map(|c| c.id.key()).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), world.collections.len());
        }
        // the same steps from the same world are the same: it goes through a file and back
        let text = serde_json::to_string(&sim.world()).unwrap();
        prop_assert_eq!(serde_json::from_str::<World>(&text).unwrap(), sim.world());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn nothing_panics(
        method in prop::sample::select(vec!["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "BREW"]),
        parts in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "subscriptions", "5b1c0de0-0000-4000-8000-000000000001", "resourceGroups", "rg-shop", "rg-backup", "providers",
                "Microsoft.Compute", "Microsoft.Authorization", "Microsoft.RecoveryServices", "vaults", "bkp-vault", "virtualMachines", "web-01",
                "locks", "extensions", "restorePointCollections", "restorePoints", "backupJobs", "backup", "operations", "locations", "%3B", "%", "%zz",
                "backupFabrics", "protectionContainers", "protectedItems", "permissions", "denyAssignments", "cancel", "resources", "..", "",
            ]).prop_map(str::to_owned),
            "\\PC{0,12}",
        ], 0..16),
        query in "\\PC{0,40}",
        text in "\\PC{0,60}",
    ) {
        let sim = sim();
        let mut url = Url::parse("https://management.azure.com/").unwrap();
        url.set_path(&parts.join("/"));
        url.set_query(Some(&format!("api-version=1&{query}")));
        let mut asked = Request::new(method.parse::<Method>().unwrap(), url);
        asked.headers.insert("authorization", HeaderValue::from_static("Bearer x"));
        asked.body = text.into();
        if let Reply::Response(response) = sim.serve(&asked) {
            prop_assert!((200..600).contains(&response.status));
        }
    }
}
