//! Pages of Resource Graph: rows, tokens, partial answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::ArmSettings;
use crate::http::{Method, Request, Response};
use crate::readonly::{ReadOnly, ReadPost};
use crate::testing::{Script, with_header};
use crate::throttle::Throttle;
use crate::token::StaticToken;
use azmend_base::clock::{Clock, VirtualClock};

const A: &str = "11111111-1111-1111-1111-111111111111";

fn arm_on(script: &Script, allowed: &[ReadPost]) -> (Arm, VirtualClock) {
    let clock = VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap());
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: "r".to_owned() };
    let transport = Arc::new(ReadOnly::new(script.clone(), allowed));
    let arm = Arm::new(transport, Arc::new(StaticToken::new("t", "t")), Arc::new(clock.clone()), settings).unwrap();
    (arm, clock)
}

fn arm(script: &Script) -> Arm {
    arm_on(script, &[ReadPost::ResourceGraph]).0
}

fn page(rows: usize, total: usize, next: Option<&str>) -> Response {
    let data: Vec<Value> = (0..rows).map(|n| json!({ "id": format!("/r/{n}") })).collect();
    let mut body =
        json!({ "totalRecords": total, "count": rows, "data": data, "facets": [], "resultTruncated": "false" });
    if let Some(token) = next {
        body["$skipToken"] = token.into();
    }
    Response::json(200, &body)
}

fn error(status: u16, code: &str, inner: &str) -> Response {
    Response::json(
        status,
        &json!({ "error": { "code": code, "message": "Please provide below info when asking for support: x.",
        "details": [{ "code": inner, "message": "Why." }] } }),
    )
}

async fn all(rows: &mut GraphRows) -> Result<usize, ArmError> {
    let mut count = 0;
    while let Some(page) = rows.next_page().await? {
        count += page.rows.len();
    }
    Ok(count)
}

fn sent(script: &Script) -> Vec<Value> {
    script.seen().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

#[tokio::test]
async fn pages_follow_the_token_with_the_same_query_and_scope() {
    let script = Script::list(vec![page(2, 3, Some("t1")), page(1, 3, None)]);
    let mut rows = arm(&script).graph_rows("resources", GraphScope::subscriptions(&[A, &A.to_uppercase()]), 2);
    assert_eq!(all(&mut rows).await.unwrap(), 3);
    assert!(rows.incomplete().is_empty(), "{:?}", rows.incomplete());
    let options = |token: Option<&str>| {
        let mut options = json!({ "$top": 2, "resultFormat": "objectArray" });
        if let Some(token) = token {
            options["$skipToken"] = token.into();
        }
        json!({ "query": "resources", "subscriptions": [A], "options": options })
    };
    assert_eq!(sent(&script), [options(None), options(Some("t1"))]);
    let seen = script.seen();
    assert_eq!(seen[0].url.query(), Some("api-version=2021-03-01"));
    assert_eq!(rows.next_page().await.unwrap(), None, "it has ended and sends nothing");
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test]
async fn subscriptions_go_in_groups_and_none_is_never_the_whole_tenant() {
    let guids: Vec<String> = (0..501).map(|n| format!("00000000-0000-4000-8000-{n:012}")).collect();
    let script = Script::new(|_| Ok(page(1, 1, None)));
    let mut rows = arm(&script).graph_rows("resources", GraphScope::subscriptions(&guids), MAX_PAGE);
    assert_eq!(all(&mut rows).await.unwrap(), 3);
    let sizes: Vec<usize> = sent(&script).iter().map(|body| body["subscriptions"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [250, 250, 1]);

    let silent = Script::list(vec![]);
    let nothing = GraphScope::subscriptions::<&str>(&[]);
    assert_eq!(all(&mut arm(&silent).graph_rows("resources", nothing.clone(), 10)).await.unwrap(), 0);
    let wrong = [
        (nothing, 10),
        (GraphScope::ManagementGroups(vec![]), 10),
        (GraphScope::subscriptions(&["web-01"]), 10),
        (GraphScope::ManagementGroups(vec!["a/b".into()]), 10),
        (GraphScope::Tenant, 0),
        (GraphScope::Tenant, 1001),
    ];
    for (scope, page_size) in wrong {
        let asked = GraphQuery { text: "resources".into(), scope, page_size, skip_token: None };
        assert_eq!(arm(&silent).graph_page(&asked).await.unwrap_err().class(), ErrorClass::Refused, "{asked:?}");
    }
    assert!(silent.seen().is_empty());
    let script = Script::new(|_| Ok(page(0, 0, None)));
    for scope in [GraphScope::Tenant, GraphScope::ManagementGroups(vec!["mg-1".into()])] {
        all(&mut arm(&script).graph_rows("resources", scope, 10)).await.unwrap();
    }
    let bodies = sent(&script);
    assert!(bodies[0].get("subscriptions").is_none() && bodies[0].get("managementGroups").is_none());
    assert_eq!(bodies[1]["managementGroups"], json!(["mg-1"]));
}

#[tokio::test]
async fn pages_that_do_not_end_are_an_error() {
    let circle = Script::new(|_| Ok(page(1, 9, Some("same"))));
    let error = all(&mut arm(&circle).graph_rows("resources", GraphScope::Tenant, 1)).await.unwrap_err();
    assert!(error.message.contains("circle"), "{error}");
    assert_eq!(circle.seen().len(), 2);
    let mut n = 0;
    let endless = Script::new(move |_| {
        n += 1;
        Ok(page(0, 9, Some(&n.to_string())))
    });
    let error = all(&mut arm(&endless).graph_rows("resources", GraphScope::Tenant, 1)).await.unwrap_err();
    assert!(error.message.contains("more than 2000 pages"), "{error}");
}

#[tokio::test]
async fn missing_rows_are_said() {
    let cut = Response::json(200, &json!({ "totalRecords": 5, "count": 1, "data": [{}], "resultTruncated": "true" }));
    let vague = Response::json(200, &json!({ "data": [{}], "resultTruncated": "true" }));
    let odd = Response::json(200, &json!({ "totalRecords": 2, "data": [{}, "x"] }));
    let partial = with_header(page(1, 1, None), "x-ms-tenant-subscription-limit-hit", "true");
    for (answer, said) in
        [(cut, "4 rows more"), (vague, "cut the rows off"), (odd, "row 1"), (partial, "a part of the subscriptions")]
    {
        let script = Script::list(vec![answer]);
        let mut rows = arm(&script).graph_rows("resources", GraphScope::Tenant, 10);
        assert_eq!(all(&mut rows).await.unwrap(), 1);
        assert!(rows.incomplete()[0].contains(said), "{:?}", rows.incomplete());
        assert_eq!(rows.incomplete().len(), 1);
    }
    for body in [json!({}), json!({ "data": null }), json!({ "data": { "columns": [], "rows": [] } }), json!([])] {
        let script = Script::list(vec![Response::json(200, &body)]);
        let failed = all(&mut arm(&script).graph_rows("resources", GraphScope::Tenant, 10)).await;
        assert!(failed.is_err(), "{body} was treated as an empty answer");
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (answer, wanted) in [
        (error(400, "BadRequest", "InvalidQuery"), Some(GraphRefusal::BadQuery)),
        (error(400, "BadRequest", "NoValidSubscriptionsInQueryRequest"), Some(GraphRefusal::NoScope)),
        (error(403, "AccessDenied", "AccessDenied"), Some(GraphRefusal::Forbidden)),
        (error(404, "InvalidResourceNamespace", ""), Some(GraphRefusal::NotOffered)),
        (error(409, "MissingSubscriptionRegistration", ""), Some(GraphRefusal::NotOffered)),
        (error(401, "InvalidAuthenticationToken", ""), None),
        (error(500, "InternalServerError", ""), None),
    ] {
        let again = answer.clone();
        let script = Script::new(move |_| Ok(again.clone()));
        let failed = all(&mut arm(&script).graph_rows("resources", GraphScope::Tenant, 10)).await.unwrap_err();
        assert_eq!(GraphRefusal::of(&failed), wanted, "{failed}");
    }
    assert!(!GraphRefusal::BadQuery.lists_may_do() && GraphRefusal::Forbidden.lists_may_do());
}

#[tokio::test]
async fn it_is_retried_like_a_read_and_passes_a_read_only_transport_that_names_it() {
    // The shape is recorded in azure-cli-extensions issue 3325; the wait is in the quota's header.
    let limited = with_header(error(429, "RateLimiting", "RateLimiting"), "x-ms-user-quota-resets-after", "00:00:04");
    let script = Script::list(vec![limited, error(503, "ServerBusy", ""), page(1, 1, None)]);
    let (arm, clock) = arm_on(&script, &[ReadPost::ResourceGraph]);
    let begin = clock.now();
    assert_eq!(all(&mut arm.graph_rows("resources", GraphScope::Tenant, 10)).await.unwrap(), 1);
    assert_eq!(script.seen().len(), 3);
    assert!(azmend_base::clock::elapsed(begin, clock.now()) >= Duration::from_secs(4));

    let (closed, _) = arm_on(&script, &[ReadPost::BackupStatus]);
    let refused = all(&mut closed.graph_rows("resources", GraphScope::Tenant, 10)).await.unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Refused);
}

#[test]
fn the_quota_tightens_its_own_bucket() {
    let now = "2026-11-20T09:00:00Z".parse().unwrap();
    let url = |path: &str| format!("https://management.azure.com{path}").parse().unwrap();
    let query = Request::new(Method::POST, url("/providers/Microsoft.ResourceGraph/resources"));
    let read = Request::new(Method::GET, url(&format!("/subscriptions/{A}")));
    let quota = |left: &str| {
        let answer = with_header(Response::empty(200), "x-ms-user-quota-remaining", left);
        with_header(answer, "x-ms-user-quota-resets-after", "00:00:03")
    };
    let burst = |throttle: &Throttle| (0..100).take_while(|_| throttle.reserve(&query, now).is_zero()).count();
    let throttle = Throttle::default();
    throttle.learn(&query, &quota("2"), None, now);
    assert_eq!(burst(&throttle), 2);
    let throttle = Throttle::default();
    throttle.learn(&query, &quota("0"), None, now);
    assert_eq!(throttle.reserve(&query, now), Duration::from_secs(3), "nothing before the quota is new");
    assert!(throttle.reserve(&read, now).is_zero(), "other reads have their own bucket");
    let throttle = Throttle::default();
    throttle.learn(&query, &quota("14"), None, now);
    throttle.learn(&query, &quota("x"), None, now);
    assert_eq!(burst(&throttle), 14);
}
