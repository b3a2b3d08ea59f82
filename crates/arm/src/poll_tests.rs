//! Long-running operations: which address is asked, and when it is over.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::testing::{Script, exchange, lost, with_header};
use crate::token::StaticToken;
use azmend_base::clock::VirtualClock;

const RPC: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Compute/restorePointCollections/c";
const OPERATION: &str = "https://management.azure.com/subscriptions/11111111-1111-1111-1111-111111111111/providers/Microsoft.Compute/locations/westus/operations/o?p=1&api-version=2022-11-01&t=2&c=SIGNED&s=SECRET&h=3";

fn gateway(script: &Script) -> Gateway {
    let clock = VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap());
    let tokens = Arc::new(StaticToken::new("t", "t"));
    let endpoint = "https://management.azure.com".parse().unwrap();
    Gateway::new(Arc::new(script.clone()), tokens, Arc::new(clock), endpoint, "r").unwrap()
}

fn request(method: Method, path: &str) -> Request {
    Request::new(method, format!("https://management.azure.com{path}?api-version=2024-07-01").parse().unwrap())
}

fn accepted(headers: &[(&str, &str)]) -> Response {
    headers.iter().fold(Response::empty(202), |response, (name, value)| with_header(response, name, value))
}

fn start_at(gateway: &Gateway, method: Method, path: &str, headers: &[(&str, &str)]) -> Operation {
    let id = ResourceId::parse(RPC).unwrap();
    Operation::started(gateway, &request(method, path), &id, &accepted(headers)).unwrap()
}

/// Starts a deletion with `headers` and polls once for every answer.
async fn follow(headers: &[(&str, &str)], answers: Vec<Response>) -> Vec<Result<Poll, ArmError>> {
    let count = answers.len();
    let script = Script::list(answers);
    let gateway = gateway(&script);
    let mut operation = start_at(&gateway, Method::DELETE, RPC, headers);
    let mut polls = Vec::new();
    for _ in 0..count {
        let poll = operation.poll(&gateway).await;
        if let Ok(poll) = &poll {
            operation = poll.operation.clone();
        }
        polls.push(poll);
    }
    polls
}

fn states(polls: Vec<Result<Poll, ArmError>>) -> Vec<&'static str> {
    let name = |poll: Result<Poll, ArmError>| match poll.map(|poll| poll.state) {
        Ok(PollState::InProgress) => "in progress",
        Ok(PollState::Succeeded { .. }) => "succeeded",
        Ok(PollState::Failed(_)) => "failed",
        Ok(PollState::Canceled(_)) => "canceled",
        Ok(PollState::Gone) => "gone",
        Err(_) => "error",
    };
    polls.into_iter().map(name).collect()
}

fn status(state: &str) -> Response {
    Response::json(200, &json!({ "status": state, "name": "o" }))
}

fn not_found() -> Response {
    Response::json(404, &json!({ "error": { "code": "ResourceNotFound", "message": "m" } }))
}

const ASYNC: &[(&str, &str)] = &[("azure-asyncoperation", OPERATION), ("location", OPERATION)];

#[test]
fn the_chooser() {
    let gateway = gateway(&Script::list(vec![]));
    let shown =
        |method, path: &str, headers: &[(&str, &str)]| format!("{:?}", start_at(&gateway, method, path, headers));
    assert!(shown(Method::DELETE, RPC, ASYNC).contains("by Azure-AsyncOperation"));
    assert!(shown(Method::DELETE, RPC, &ASYNC[1..]).contains("by Location"));
    assert!(shown(Method::DELETE, RPC, &[]).contains("by GET until 404"));
    assert!(shown(Method::PUT, RPC, &[]).contains("by provisioningState"));
    let elsewhere = [("azure-asyncoperation", "https://evil.example/o?sig=1")];
    assert!(shown(Method::DELETE, RPC, &elsewhere).contains("by GET until 404"), "another host is not followed");
    let id = ResourceId::parse(RPC).unwrap();
    for done in [200, 204] {
        assert_eq!(Operation::started(&gateway, &request(Method::DELETE, RPC), &id, &Response::empty(done)), None);
    }
    let created = with_header(Response::empty(201), "azure-asyncoperation", OPERATION);
    assert!(Operation::started(&gateway, &request(Method::PUT, RPC), &id, &created).is_some());
}

#[tokio::test]
async fn signed_urls_are_followed_as_they_are_and_never_shown() {
    let script = Script::list(vec![status("InProgress")]);
    let gateway = gateway(&script);
    let operation = start_at(&gateway, Method::DELETE, RPC, ASYNC);
    let journaled = serde_json::to_string(&operation).unwrap();
    let resumed: Operation = serde_json::from_str(&journaled).unwrap();
    assert_eq!(resumed, operation);
    let poll = resumed.poll(&gateway).await.unwrap();
    assert_eq!(script.seen()[0].url.as_str(), OPERATION);
    let journaled = serde_json::to_string(&operation.unsigned()).unwrap();
    for shown in [format!("{operation:?}"), format!("{poll:?}"), journaled] {
        assert!(!shown.contains("SIGNED") && !shown.contains("SECRET"), "{shown}");
    }
}

#[tokio::test]
async fn a_journaled_operation_has_lost_its_signature_and_nothing_else() {
    let unauthorized = Response::json(401, &json!({ "error": { "code": "AuthenticationFailed", "message": "m" } }));
    let bad = Response::json(400, &json!({ "error": { "code": "InvalidParameter", "message": "m" } }));
    for (headers, refusal) in [(ASYNC, unauthorized.clone()), (&ASYNC[1..], bad)] {
        let script = Script::list(vec![status("InProgress"), refusal]);
        let gateway = gateway(&script);
        let operation = start_at(&gateway, Method::DELETE, RPC, headers).unsigned();
        assert!(operation.poll(&gateway).await.is_ok(), "tried, in case Azure answers");
        let url = script.seen()[0].url.clone();
        assert_eq!(url.path(), url::Url::parse(OPERATION).unwrap().path());
        assert!(url.query_pairs().any(|(name, _)| name == "api-version"), "{url}");
        assert!(url.query_pairs().all(|(name, _)| !SIGNING.contains(&name.as_ref())), "{url}");
        let error = operation.poll(&gateway).await.unwrap_err();
        assert!(operation.misses_its_signature(&error), "no answer about the operation: {error}");
    }
    // An operation of Recovery Services has no signature to lose.
    let plain = [("location", "https://management.azure.com/o?api-version=2024-04-01")];
    let gateway = gateway(&Script::list(vec![unauthorized]));
    let operation = start_at(&gateway, Method::DELETE, RPC, &plain);
    assert_eq!(operation.unsigned(), operation);
}

#[tokio::test]
async fn an_edited_journal_cannot_send_the_token_elsewhere() {
    let script = Script::list(vec![status("Succeeded")]);
    let gateway = gateway(&script);
    let operation = start_at(&gateway, Method::DELETE, RPC, ASYNC);
    let edited = serde_json::to_string(&operation).unwrap().replace("management.azure.com", "evil.example");
    let edited: Operation = serde_json::from_str(&edited).unwrap();
    assert_eq!(edited.poll(&gateway).await.unwrap_err().class(), ErrorClass::Refused);
    assert!(script.seen().is_empty());
}

#[tokio::test]
async fn status_documents() {
    let states = states(
        follow(
            ASYNC,
            vec![
                status("InProgress"),
                status("Whatever"),
                Response::empty(202),
                status("succeeded"),
                status("Cancelled"),
                Response::empty(200),
                Response::empty(204),
                Response::json(200, &json!({ "status": "Failed", "error": { "code": "OperationPreempted" } })),
                exchange("crp_InternalExecutionError_ps2018").1,
                exchange("sql_OperationTimedOut_status_canceled").1,
            ],
        )
        .await,
    );
    let expected = [
        "in progress",
        "in progress",
        "in progress",
        "succeeded",
        "canceled",
        "succeeded",
        "succeeded",
        "canceled",
        "failed",
        "canceled",
    ];
    assert_eq!(states, expected);
}

#[tokio::test]
async fn a_failed_operation_keeps_its_error() {
    let polls = follow(ASYNC, vec![exchange("crp_VMExtensionProvisioningTimeout").1]).await;
    let Ok(Poll { state: PollState::Failed(error), wait, .. }) = &polls[0] else { panic!("{polls:?}") };
    assert_eq!(error.code, "VMExtensionProvisioningTimeout");
    assert_eq!(error.request, format!("DELETE {RPC}"), "the error is the change's, not the poll's");
    assert!(error.may_have_taken_effect() && wait.is_zero());
}

#[tokio::test]
async fn locations() {
    let location = &ASYNC[1..];
    let conflict = Response::json(409, &json!({ "error": { "code": "Conflict", "message": "m" } }));
    let answers = vec![
        Response::empty(202),
        status("InProgress"),
        Response::empty(204),
        Response::json(200, &json!({})),
        conflict,
    ];
    assert_eq!(
        states(follow(location, answers).await),
        ["in progress", "in progress", "succeeded", "succeeded", "failed"]
    );
}

#[tokio::test]
async fn without_headers_the_resource_itself_is_read() {
    let state = |state: &str| Response::json(200, &json!({ "properties": { "provisioningState": state } }));
    let answers = vec![state("Deleting"), state("Succeeded"), state("Failed"), not_found()];
    assert_eq!(states(follow(&[], answers).await), ["in progress", "in progress", "failed", "gone"]);
    let proxy = Response::empty(404);
    assert_eq!(states(follow(&[], vec![proxy]).await), ["in progress"], "a bare 404 is not ARM's word");
    let script = Script::list(vec![state("Updating"), Response::json(200, &json!({ "id": 1 }))]);
    let gateway = gateway(&script);
    let operation = start_at(&gateway, Method::POST, &format!("{RPC}/action"), &[]);
    assert_eq!(operation.poll(&gateway).await.unwrap().state, PollState::InProgress);
    assert!(matches!(operation.poll(&gateway).await.unwrap().state, PollState::Succeeded { .. }));
    assert!(script.seen()[0].url.path().ends_with("/restorePointCollections/c"));
}

#[tokio::test]
async fn a_404_right_after_the_start_and_passing_faults_are_tolerated() {
    let mut answers = vec![not_found(); 3];
    answers.push(status("InProgress"));
    answers.push(not_found());
    let got = states(follow(ASYNC, answers).await);
    assert_eq!(got, ["in progress", "in progress", "in progress", "in progress", "error"]);
    let mut answers = vec![exchange("503_ServerTimeout_list_locks").1; 5];
    answers.push(status("InProgress"));
    answers.extend(vec![exchange("429_on_lro_status_poll").1; 6]);
    let got = states(follow(ASYNC, answers).await);
    assert_eq!(got.iter().filter(|state| **state == "in progress").count(), 11);
    assert_eq!(got[11], "error", "but not for ever");
    let forbidden = Response::json(403, &json!({ "error": { "code": "AuthorizationFailed" } }));
    assert_eq!(states(follow(ASYNC, vec![forbidden]).await), ["error"]);
    let script = Script::new(|_| Err(lost("reset")));
    let gateway = gateway(&script);
    let poll = start_at(&gateway, Method::DELETE, RPC, ASYNC).poll(&gateway).await.unwrap();
    assert_eq!((poll.state, script.seen().len()), (PollState::InProgress, 1));
}

#[tokio::test]
async fn waits() {
    let wait = |seconds: &str| with_header(status("InProgress"), "retry-after", seconds);
    let polls = follow(ASYNC, vec![status("InProgress"), wait("0"), wait("2"), wait("61"), status("Succeeded")]).await;
    let waits: Vec<u64> = polls.into_iter().map(|poll| poll.unwrap().wait.as_secs()).collect();
    assert_eq!(waits, [5, 5, 5, 61, 0], "compute is polled no faster than every 5 s");
    let gateway = gateway(&Script::list(vec![]));
    let item = ResourceId::parse("/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v").unwrap();
    let backup = |headers: &[(&str, &str)]| {
        Operation::started(&gateway, &request(Method::POST, &format!("{item}/backup")), &item, &accepted(headers))
            .unwrap()
            .wait()
            .as_secs()
    };
    assert_eq!(backup(&[("retry-after", "60")]), 60);
    assert_eq!(backup(&[]), 15);
}
