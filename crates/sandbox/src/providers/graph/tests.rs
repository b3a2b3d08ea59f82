//! The queries of Resource Graph that the sandbox answers, and what it refuses.

use proptest::prelude::*;

use super::value::{Kind, Val};
use super::*;
use crate::{Estate, Permission, Reply, Sim};
use azmend_arm::http::{HeaderValue, Request};

const PROD: &str = "5b1c0de0-0000-4000-8000-000000000001";

fn sim() -> Sim {
    Sim::new(World::from_estate(&Estate::built_in()))
}

fn send(sim: &Sim, body: &Value) -> Response {
    let url = "https://management.azure.com/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01";
    let mut request = Request::new(Method::POST, url.parse().unwrap());
    request.headers.insert("authorization", HeaderValue::from_static("Bearer sandbox"));
    request.body = body.to_string().into();
    match sim.serve(&request) {
        Reply::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

fn ask(sim: &Sim, query: &str) -> Vec<Value> {
    sim.edit(|world| world.settings.throttling = false);
    let response = send(sim, &json!({ "query": query }));
    let body = json_of(&response);
    assert_eq!(response.status, 200, "{query}: {body}");
    assert_eq!(body["count"], body["data"].as_array().unwrap().len());
    body["data"].as_array().unwrap().clone()
}

/// The second code of a refusal.
fn refusal(sim: &Sim, query: &str) -> String {
    sim.edit(|world| world.settings.throttling = false);
    let response = send(sim, &json!({ "query": query }));
    let body = json_of(&response);
    assert_eq!((response.status, &body["error"]["code"]), (400, &json!("BadRequest")), "{query}: {body}");
    assert_eq!(body["error"]["details"][0]["code"], "InvalidQuery");
    body["error"]["details"][1]["code"].as_str().unwrap().to_owned()
}

/// One row with a column for every kind, evaluated.
fn value(expression: &str) -> Value {
    let table: &[(&str, Kind)] = &[("name", Kind::Text), ("p", Kind::Dynamic), ("n", Kind::Long)];
    let p = json!({ "a": { "b c": [1, { "x": "Deep" }] }, "text": "Web-01 west", "no": null, "num": 7, "real": 1.5, "flag": true,
        "empty": "", "time": "2026-11-20T08:00:00Z", "digits": "42" });
    let row = vec![
        ("name".to_owned(), Val::Text("Web-01".into())),
        ("p".to_owned(), Val::Dynamic(p)),
        ("n".to_owned(), Val::Long(5)),
    ];
    let query = parse::parse(&format!("resources | project v = {expression}"))
        .unwrap_or_else(|f| panic!("{expression}: {f:?}"));
    check::check(&query, table).unwrap_or_else(|f| panic!("{expression}: {f:?}"));
    let rows = eval::run(&query, vec![row], "2026-11-20T09:00:00Z".parse().unwrap());
    rows[0][0].1.clone().into_json()
}

#[test]
fn expressions() {
    for (expression, wanted) in [
        ("name == 'Web-01'", json!(true)),
        ("name == 'web-01'", json!(false)),
        ("name =~ \"web-01\"", json!(true)),
        ("name !~ 'web-01'", json!(false)),
        ("name != 'x' and n < 6", json!(true)),
        ("name has 'web'", json!(true)),
        ("name has '0'", json!(false)),
        ("name contains 'B-0'", json!(true)),
        ("name startswith 'WEB' and name endswith '-01'", json!(true)),
        ("name in ('a', 'Web-01')", json!(true)),
        ("name in ('web-01')", json!(false)),
        ("name in~ ('web-01')", json!(true)),
        ("n in (1, 5)", json!(true)),
        // `and` binds closer than `or`.
        ("true or false and false", json!(true)),
        ("(true or false) and false", json!(false)),
        ("not(name == 'x')", json!(true)),
        ("p.a['b c'][1].x", json!("Deep")),
        ("p.a['b c'][9].x", json!(null)),
        ("p.text =~ 'WEB-01 WEST'", json!(true)),
        ("p.num >= 7 and p.real > 1 and p.num == 7.0", json!(true)),
        ("p.flag == true", json!(true)),
        ("p.num == 'x'", json!(false)),
        // Null: `==` is false, `!=` true, an order is null.
        ("p.no == 'x'", json!(false)),
        ("p.no != 'x'", json!(true)),
        ("p.no < 1", json!(null)),
        ("p.no < 1 or true", json!(true)),
        ("p.no < 1 and true", json!(null)),
        ("not(p.no < 1)", json!(null)),
        ("isnull(p.no) and isnull(p.none.deeper) and not(isnull(name))", json!(true)),
        ("isempty(p.empty) and isempty(p.no) and isnotempty(p.a)", json!(true)),
        ("tolower(name)", json!("web-01")),
        ("tostring(p.num)", json!("7")),
        ("tostring(p.no)", json!("")),
        ("tostring(p.a)", json!("{\"b c\":[1,{\"x\":\"Deep\"}]}")),
        ("toint(p.digits)", json!(42)),
        ("toint(3000000000)", json!(null)),
        ("tolong(3000000000)", json!(3_000_000_000_i64)),
        ("tolong(p.real)", json!(1)),
        ("tolong(name)", json!(null)),
        ("tobool('TRUE')", json!(true)),
        ("tobool(p.text)", json!(null)),
        ("todatetime(p.time) >= ago(1h)", json!(true)),
        ("todatetime(p.time) > ago(59m)", json!(false)),
        ("todatetime(p.text) > ago(1d)", json!(null)),
        ("now()", json!("2026-11-20T09:00:00.0000000Z")),
        ("ago(1d)", json!("2026-11-19T09:00:00.0000000Z")),
        (r"'it\'s' == @'it' or 'a\\b' == @'a\b'", json!(true)),
        ("-3 < n", json!(true)),
    ] {
        assert_eq!(value(expression), wanted, "{expression}");
    }
}

#[test]
fn operators() {
    let sim = sim();
    let all = ask(&sim, "resources");
    assert!(all.len() > 20 && all[0].as_object().unwrap().len() == 16);
    // Recorded: a query may begin with its first operator.
    assert_eq!(ask(&sim, "project id, tags, properties | limit 2").len(), 2);
    let vms = ask(
        &sim,
        "Resources // all\n| where type =~ 'Microsoft.Compute/virtualMachines'\n| project id, properties.vmId | order by id asc",
    );
    assert_eq!(vms.len(), sim.world().vms.len());
    assert!(vms.windows(2).all(|pair| pair[0]["id"].as_str() < pair[1]["id"].as_str()));
    assert!(vms[0]["properties_vmId"].is_string());
    let down = ask(&sim, "resources | where type == 'microsoft.compute/virtualmachines' | order by id | take 1");
    assert_eq!(down[0]["id"], vms[vms.len() - 1]["id"], "down is the default");
    let both = ask(&sim, "resources | extend name = 'x', old = name | where name != old | project name, old | limit 1");
    assert_eq!(both[0]["name"], "x");
    assert_ne!(both[0]["old"], "x", "one extend sees the row as it was");
    let running = "properties.extended.instanceView.powerState.code == 'PowerState/running'";
    let on = ask(&sim, &format!("resources | where {running} | project id")).len();
    let world = sim.world();
    assert_eq!(on, world.vms.iter().filter(|vm| vm.power == crate::Power::Running).count());
    let groups = ask(&sim, "resourcecontainers | where type =~ 'microsoft.resources/subscriptions/resourcegroups'");
    assert_eq!(
        groups.len(),
        world.groups.iter().filter(|g| world.subscription(g.id.subscription()).unwrap().listed).count()
    );
    let jobs = ask(
        &sim,
        "recoveryservicesresources | where type endswith '/backupjobs' | project start = todatetime(properties.startTime), id",
    );
    assert!(!jobs.is_empty() && jobs.len() <= world.jobs.len());
    assert!(ask(&sim, "resources | where type has 'locks'").is_empty(), "no lock is in Resource Graph");
}

#[test]
fn what_is_not_understood_is_refused_as_azure_does_it() {
    let sim = sim();
    for (query, code) in [
        ("", "ParserFailure"),
        ("resources |", "ParserFailure"),
        ("resources where", "ParserFailure"),
        ("resources | where name == 'x", "ParserFailure"),
        ("resources | where (name == 'x'", "ParserFailure"),
        ("resources | where name = 'x'", "ParserFailure"),
        ("resources | project tolower(id)", "ParserFailure"),
        ("resources | project-away id", "ParserFailure"),
        ("resources | where name in ()", "ParserFailure"),
        ("resources | limit -1", "ParserFailure"),
        ("resources | limit x", "ParserFailure"),
        ("resources | order id", "ParserFailure"),
        ("resources | where ago(5weeks) < now()", "ParserFailure"),
        ("resources | where name == 'x' #", "ParserFailure"),
        ("resources; resources", "ParserFailure"),
        ("resources | parse id with *", "InvalidQueryLanguage"),
        ("resources | summarize count()", "InvalidQueryLanguage"),
        ("resources | join (resources) on id", "InvalidQueryLanguage"),
        ("resources | Where name == 'x'", "InvalidQueryLanguage"),
        ("virtualmachines | limit 1", "DisallowedLogicalTableName"),
        ("authorizationresources", "DisallowedLogicalTableName"),
        ("resources | where nosuch == 'x'", "SemanticError"),
        ("resources | where Name == 'x'", "SemanticError"),
        ("resources | project id | where name == 'x'", "SemanticError"),
        ("resources | where name", "SemanticError"),
        ("resources | where properties.x", "SemanticError"),
        ("resources | where name > 3", "SemanticError"),
        ("resources | where name == 3", "SemanticError"),
        ("resources | where name.x == 'a'", "SemanticError"),
        ("resources | where tostring(properties.startTime) > ago(1d)", "SemanticError"),
        ("resources | where strlen(name) > 3", "SemanticError"),
        ("resources | where tolower(properties.x) == 'a'", "SemanticError"),
        ("resources | order by properties", "SemanticError"),
        ("resources | project id, id", "SemanticError"),
    ] {
        assert_eq!(refusal(&sim, query), code, "{query}");
    }
    let body = json_of(&send(&sim, &json!({ "query": "resources\n| where name = 'x'" })));
    assert_eq!(
        body["error"]["details"][1],
        json!({ "code": "ParserFailure", "message": "ParserFailure", "line": 2,
        "characterPositionInLine": 13, "token": "=" })
    );
}

#[test]
fn hostile_sizes_are_refused() {
    let sim = sim();
    let deep = format!("resources | where {}true{}", "(".repeat(5_000), ")".repeat(5000));
    let nots = format!("resources | where {}true{}", str::repeat("not(", 5_000), ")".repeat(5000));
    let calls = format!("resources | project a = {}id{}", "tolower(".repeat(2000), ")".repeat(2000));
    let many = format!("resources {}", "| limit 1".repeat(200));
    let wide = format!("resources | extend {}", (0..300).map(|n| format!("a{n}=id")).collect::<Vec<_>>().join(","));
    for query in [deep, nots, calls, many, wide, "x".repeat(40_000)] {
        assert_eq!(refusal(&sim, &query), "QueryTooComplex", "{}", &query[..40]);
    }
    let long = format!("resources | where {} | project id", vec!["name != 'x'"; 1500].join(" and "));
    assert!(!ask(&sim, &long).is_empty(), "a chain is no depth");
    let path = format!("resources | where isnull(properties{})", ".a".repeat(10_000));
    assert!(!ask(&sim, &path).is_empty());
}

#[test]
fn pages_scopes_and_their_refusals() {
    let sim = sim();
    sim.edit(|world| world.settings.throttling = false);
    let query = "resources | project id | order by id asc";
    let ask_page = |options: Value| json_of(&send(&sim, &json!({ "query": query, "options": options })));
    let whole = ask_page(json!({}));
    let total = whole["totalRecords"].as_u64().unwrap();
    assert_eq!((whole["count"].as_u64(), whole.get("$skipToken")), (Some(total), None));
    let (mut ids, mut token, mut pages) = (Vec::new(), None::<Value>, 0);
    loop {
        let mut options = json!({ "$top": 7 });
        if let Some(token) = &token {
            options["$skipToken"] = token.clone();
        }
        let page = ask_page(options);
        assert_eq!((&page["totalRecords"], &page["resultTruncated"]), (&json!(total), &json!("false")));
        ids.extend(page["data"].as_array().unwrap().clone());
        pages += 1;
        match page.get("$skipToken") {
            Some(next) => token = Some(next.clone()),
            None => break,
        }
    }
    assert_eq!((Value::Array(ids), pages), (whole["data"].clone(), total.div_ceil(7)));
    let unordered = json_of(&send(&sim, &json!({ "query": "resources | project name", "options": { "$top": 2 } })));
    assert_eq!((unordered.get("$skipToken"), &unordered["resultTruncated"]), (None, &json!("true")));

    let inner = |body: Value| {
        let response = send(&sim, &body);
        assert_eq!(response.status, 400, "{body}");
        json_of(&response)["error"]["details"][0]["code"].as_str().unwrap().to_owned()
    };
    let other = json!({ "query": "resources | project id", "options": { "$skipToken": token } });
    assert_eq!(inner(other), "InvalidSkipToken", "the token of another query");
    assert_eq!(inner(json!({ "query": query, "options": { "$top": 1001 } })), "InvalidOptions");
    assert_eq!(inner(json!({ "query": query, "options": { "$top": 0 } })), "InvalidOptions");
    assert_eq!(inner(json!({ "query": query, "subscriptions": ["web"] })), "SubscriptionsContainInvalidGuids");
    let nobody = "00000000-0000-4000-8000-00000000dead";
    assert_eq!(inner(json!({ "query": query, "subscriptions": [nobody] })), "NoValidSubscriptionsInQueryRequest");
    assert_eq!(inner(json!({ "query": query, "managementGroups": ["mg"] })), "InvalidManagementGroup");
    assert_eq!(inner(json!({})), "InvalidQuery");

    let one = json_of(&send(&sim, &json!({ "query": query, "subscriptions": [PROD.to_uppercase(), nobody] })));
    let rows = one["data"].as_array().unwrap();
    assert!(!rows.is_empty() && (rows.len() as u64) < total);
    assert!(rows.iter().all(|row| row["id"].as_str().unwrap().contains(PROD)), "left out without a word");
    sim.edit(|world| {
        let scope = format!("/subscriptions/{PROD}/resourceGroups/rg-shop");
        world.permissions = vec![Permission {
            scope,
            actions: vec!["Microsoft.Compute/virtualMachines/read".into()],
            not_actions: vec![],
        }];
    });
    let few = json_of(&send(&sim, &json!({ "query": "resources | project id, type, resourceGroup" })));
    let few = few["data"].as_array().unwrap();
    assert!(!few.is_empty());
    assert!(few.iter().all(|r| r["type"] == "microsoft.compute/virtualmachines" && r["resourceGroup"] == "rg-shop"));
}

#[test]
fn the_quota_of_the_user() {
    let sim = sim();
    let body = json!({ "query": "resources | limit 1" });
    for left in (0..15).rev() {
        let response = send(&sim, &body);
        assert_eq!(
            (response.status, response.header("x-ms-user-quota-remaining")),
            (200, Some(left.to_string().as_str()))
        );
    }
    let limited = send(&sim, &body);
    assert_eq!((limited.status, &json_of(&limited)["error"]["code"]), (429, &json!("RateLimiting")));
    let wait: u64 =
        limited.header("x-ms-user-quota-resets-after").unwrap().rsplit(':').next().unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait));
    sim.edit(|world| world.advance(std::time::Duration::from_secs(wait)));
    assert_eq!(send(&sim, &body).header("x-ms-user-quota-remaining"), Some("14"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn no_text_makes_it_panic(parts in prop::collection::vec(prop_oneof![
        prop::sample::select(vec![
            "resources", "|", "where", "extend", "project", "order", "by", "asc", "desc", "limit", "take", "id", "name", "properties", "tags",
            "(", ")", "[", "]", ",", ".", "=", "==", "!=", "=~", "!~", "<", ">=", "has", "contains", "in", "in~", "and", "or", "not(", "tolower(",
            "tostring(", "todatetime(", "ago(", "now()", "1", "-9223372036854775808", "9223372036854775807d", "1.5", "14d", "'x'", "\"y\"", "@'z'", "'",
            "\\", "//", "\n", "true", "isnull(", "toint(",
        ]).prop_map(str::to_owned),
        "\\PC{0,6}",
    ], 0..24)) {
        let text = parts.join(" ");
        if let Ok(query) = parse::parse(&text)
            && check::check(&query, rows::COLUMNS).is_ok()
        {
            let row = rows::COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), match kind {
                Kind::Text => Val::Text("Ä-01".into()),
                _ => Val::Dynamic(json!({ "x": [1, null, "é"] })),
            })).collect();
            let out = eval::run(&query, vec![row], "2026-11-20T09:00:00Z".parse().unwrap());
            prop_assert!(out.len() <= 1);
        }
    }
}
