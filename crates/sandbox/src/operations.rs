//! Long-running operations: how they begin, end and are polled.
//!
//! Compute: 202 with an empty body and both `azure-asyncoperation` and `location`, a long signed query, polls with
//! HTTP 200 whatever the status; `monitor=true` is the `location` form (recordings/azure-cli/vm). Recovery Services has its
//! own three addresses (`backup`).

use serde_json::{Map, Value, json};

use crate::call::{Answer, Call, gateway_error, not_allowed, set_header, stamp_offset};
use crate::world::events::Effect;
use crate::world::{OpKind, OpStatus, Operation, World, hash_text};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;

/// A signed query as long as the recorded ones: a client that rebuilds the address loses it.
pub(crate) fn signature(name: &str, started: jiff::Timestamp) -> String {
    let certificate: String = (0..24).map(|i| hash_text(&format!("{name}{i}"))).collect();
    // .NET ticks, as in the recordings
    let ticks = (started.as_millisecond() + 62_135_596_800_000) * 10_000;
    format!(
        "t={ticks}&c=MIIHhzCCBm-gAwIBAgITHg{certificate}&s={}&h={}",
        hash_text(&format!("s{name}")),
        hash_text(&format!("h{name}"))
    )
}

/// Registers an operation that ends in `seconds`.
pub(crate) fn begin(world: &mut World, kind: OpKind, target: ResourceId, location: &str, seconds: u64) -> String {
    let name = world.next_guid();
    world.operations.push(Operation {
        name: name.clone(),
        kind,
        target,
        location: location.to_owned(),
        started: world.now,
        ended: None,
        status: OpStatus::InProgress,
        error: None,
        job: None,
        doomed: None,
        hangs: false,
    });
    world.schedule_in(seconds, Effect::OperationEnds(name.clone()));
    name
}

/// Registers a compute operation and answers 202 with its addresses.
pub(crate) fn begin_compute(
    world: &mut World,
    call: &Call,
    kind: OpKind,
    target: ResourceId,
    location: &str,
    seconds: u64,
) -> Response {
    let subscription = target.subscription().to_owned();
    let name = begin(world, kind, target, location, seconds);
    let address = |monitor: &str| {
        format!(
            "{}/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/operations/{name}?p={}&{monitor}api-version={}&{}",
            call.base,
            world.tenant,
            call.api_version(),
            signature(&name, world.now)
        )
    };
    let (poll, monitor) = (address(""), address("monitor=true&"));
    let mut response = Response::empty(202);
    set_header(&mut response, "azure-asyncoperation", &poll);
    set_header(&mut response, "location", &monitor);
    set_header(&mut response, "azure-asyncnotification", "Enabled");
    retry_after(world, &mut response);
    response
}

fn retry_after(world: &World, response: &mut Response) {
    if world.settings.retry_after > 0 {
        set_header(response, "retry-after", &world.settings.retry_after.to_string());
    }
}

/// `locations/{location}/operations/{id}`.
pub(crate) fn poll_compute(world: &World, call: &Call, name: &str) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    let found = world
        .operations
        .iter()
        .find(|o| o.name.eq_ignore_ascii_case(name) && !matches!(o.kind, OpKind::Backup | OpKind::CancelJob));
    let unsigned = || {
        gateway_error(
            401,
            "AuthenticationFailed",
            "The operation address has lost its signature: follow it as it was given.",
        )
    };
    let operation = found
        .ok_or_else(|| gateway_error(404, "OperationNotFound", &format!("The operation '{name}' was not found.")))?;
    if call.param("c").is_none() || call.param("s").is_none() {
        return Err(unsigned());
    }
    let done = operation.status != OpStatus::InProgress;
    let mut response = if call.param("monitor") == Some("true") {
        match (&operation.error, operation.status) {
            (_, OpStatus::InProgress) => Response::empty(202),
            (Some((code, message)), _) => {
                Response::json(409, &json!({ "error": { "code": code, "message": message } }))
            }
            (None, _) => match &operation.kind {
                OpKind::RunCommand(run) => Response::json(200, &run.output),
                _ => Response::empty(200),
            },
        }
    } else {
        let mut body = Map::new();
        body.insert("startTime".into(), stamp_offset(operation.started).into());
        if let Some(ended) = operation.ended {
            body.insert("endTime".into(), stamp_offset(ended).into());
        }
        body.insert("status".into(), operation.status.as_str().into());
        if let Some((code, message)) = &operation.error {
            body.insert("error".into(), json!({ "code": code, "message": message }));
        }
        if let (OpKind::RunCommand(run), OpStatus::Succeeded) = (&operation.kind, operation.status) {
            body.insert("properties".into(), json!({ "output": run.output }));
        }
        body.insert("name".into(), operation.name.as_str().into());
        Response::json(200, &Value::Object(body))
    };
    set_header(
        &mut response,
        "x-ms-ratelimit-remaining-resource",
        "Microsoft.Compute/GetOperationResource;44,Microsoft.Compute/GetOperationSubscriptionMaximum;14999",
    );
    if !done {
        retry_after(world, &mut response);
        if call.param("monitor") == Some("true") {
            set_header(&mut response, "location", &format!("{}{}?{}", call.base, call.path, query_text(call)));
        }
    }
    Ok(response)
}

fn query_text(call: &Call) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in &call.query {
        query.append_pair(name, value);
    }
    query.finish()
}
