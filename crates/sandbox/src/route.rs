//! The front door: from a request to a response.
//!
//! Order: time passes, faults before the effect, sign-in, api-version, token bucket, route, faults after the effect, headers.

use std::time::Duration;

use crate::access;
use crate::call::{Answer, Call, Reply, error_response, set_header, unknown_path};
use crate::faults;
use crate::operations;
use crate::providers::backup;
use crate::providers::compute;
use crate::providers::engines;
use crate::providers::governance;
use crate::providers::graph;
use crate::providers::jobs;
use crate::providers::keyvault;
use crate::providers::locks;
use crate::providers::protection;
use crate::providers::resources;
use crate::providers::restore_points;
use crate::providers::run_command;
use crate::providers::surroundings;
use crate::providers::vaults;
use crate::throttle;
use crate::world::faults::Effect;
use crate::world::{OpKind, OpStatus, World, guid_from};
use azmend_arm::http::{HeaderValue, Request, Response};
use azmend_arm::id::ResourceId;

impl World {
    /// Serves one request; what it changes is in `self` afterwards, time included.
    pub fn serve(&mut self, request: &Request) -> Reply {
        self.counters.requests += 1;
        self.advance(Duration::from_millis(self.settings.latency_ms));
        let call = Call::new(request);
        let effects = faults::fire(self, &call);
        // What somebody else does happens whatever becomes of this request.
        for effect in &effects {
            if let Effect::World(event) = effect {
                self.apply_event(event);
                self.places.pages.forget();
            }
        }
        for effect in &effects {
            match effect {
                Effect::Slow { seconds } => self.advance(Duration::from_secs(*seconds)),
                Effect::NotSent => return Reply::NotSent { why: "connection refused (fault)".into() },
                Effect::LostBefore => return Reply::Lost { why: "connection reset by peer (fault)".into() },
                _ => {
                    if let Some(mut response) = faults::instead(effect, &call) {
                        self.finish(&call, &mut response);
                        return Reply::Response(response);
                    }
                }
            }
        }
        let mut response = self.answer(&call, &effects);
        for effect in &effects {
            faults::spoil(effect, &call, &mut response);
        }
        self.finish(&call, &mut response);
        if effects.contains(&Effect::LostAfter) {
            return Reply::Lost { why: "connection reset by peer (fault)".into() };
        }
        Reply::Response(response)
    }

    fn answer(&mut self, call: &Call, effects: &[Effect]) -> Response {
        if call.is_mutating() {
            self.places.pages.forget();
            faults::keep_before(self);
        }
        let before =
            if effects.contains(&Effect::StaleRead) && !call.is_mutating() { self.before.take() } else { None };
        let operations = self.operations.len();
        let answer = match before {
            Some(mut old) => {
                let answer = front_door(&mut old, call);
                // Another read may be stale too, until something changes again.
                if faults::stale_reads_left(self) {
                    self.before = Some(old);
                }
                answer
            }
            None => front_door(self, call),
        };
        let response = answer.unwrap_or_else(|early| *early);
        if self.operations.len() > operations
            && let Some(operation) = self.operations.last_mut().filter(|o| o.status == OpStatus::InProgress)
        {
            for effect in effects {
                match effect {
                    Effect::OperationFails { code, message, after_effect } => {
                        operation.doomed = Some((code.clone(), message.clone(), *after_effect));
                    }
                    Effect::OperationHangs => operation.hangs = true,
                    _ => {}
                }
            }
        }
        response
    }

    /// The headers every response has.
    fn finish(&self, call: &Call, response: &mut Response) {
        let id = guid_from(&format!("{}request{}", self.estate_digest, self.counters.requests));
        set_header(response, "x-ms-request-id", &id);
        set_header(response, "x-ms-correlation-request-id", &id);
        set_header(
            response,
            "x-ms-routing-request-id",
            &format!("WESTEUROPE:{}:{id}", self.now.strftime("%Y%m%dT%H%M%SZ")),
        );
        set_header(response, "date", &self.now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        set_header(response, "cache-control", "no-cache");
        if let Some(client) = call.headers.get("x-ms-client-request-id") {
            response.headers.insert("x-ms-client-request-id", client.clone());
        }
    }
}

fn front_door(world: &mut World, call: &Call) -> Answer {
    let token = call.headers.get("authorization").map(HeaderValue::to_str);
    match token {
        Some(Ok(text)) if text.get(..7).is_some_and(|b| b.eq_ignore_ascii_case("bearer ")) && text.len() > 7 => {
            if text[7..].trim() == "expired" {
                return Err(faults::expired_token());
            }
        }
        _ => return Err(faults::missing_token()),
    }
    if call.param("api-version").is_none_or(str::is_empty) {
        return Err(error_response(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        ));
    }
    let remaining = throttle::take(world, call)?;
    let mut response = match route(world, call) {
        Ok(response) => response,
        Err(early) => *early,
    };
    if let Some((header, count)) = remaining {
        set_header(&mut response, header, &count.to_string());
    }
    Ok(response)
}

fn route(world: &mut World, call: &Call) -> Answer {
    let low: Vec<&str> = call.low.iter().map(String::as_str).collect();
    if let Some(at) = low.windows(2).rposition(|pair| pair == ["providers", "microsoft.authorization"]) {
        let rest = low.get(at + 2..).unwrap_or_default();
        let name = || call.segments.last().map(String::as_str).unwrap_or_default();
        // Policies stand at the tenant and at management groups, too.
        match rest {
            ["policydefinitions", _] => return governance::definition(world, call, name()),
            ["policysetdefinitions", _] => return governance::set(world, call, name()),
            _ => {}
        }
        let scope = call.id(at)?;
        return match rest {
            ["policyassignments"] => governance::assignments(world, call, &scope),
            ["locks"] => locks::list(world, call, &scope),
            ["locks", _] => locks::one(world, call, &scope),
            ["roleassignments"] => keyvault::list_roles(world, call, &scope),
            ["roleassignments", _] => keyvault::one_role(world, call, &scope),
            ["permissions"] => get(call).and_then(|()| access::list_permissions(world, call, &scope)),
            ["denyassignments"] => get(call).and_then(|()| access::list_denies(world, call, &scope)),
            _ => Err(unknown_path(call)),
        };
    }
    if let [scope @ .., "providers", "microsoft.insights", "metrics"] = low.as_slice() {
        return surroundings::metrics(world, call, &call.id(scope.len())?);
    }
    if let ["subscriptions", _, "providers", "microsoft.insights", "eventtypes", "management", "values"] =
        low.as_slice()
    {
        return governance::activity(world, call, &call.id(2)?);
    }
    match low.as_slice() {
        ["providers", "microsoft.resourcegraph", "resources"] => graph::query(world, call),
        ["tenants"] => get(call).and_then(|()| resources::tenants(world, call)),
        ["subscriptions"] => get(call).and_then(|()| resources::subscriptions(world, call)),
        ["subscriptions", _] => get(call).and_then(|()| resources::subscription(world, call)),
        ["subscriptions", _, "resourcegroups"] => get(call).and_then(|()| resources::groups(world, call)),
        ["subscriptions", _, "resourcegroups", _] => resources::group(world, call),
        ["subscriptions", _, "resources"] => {
            let scope = call.id(2)?;
            resources::resources(world, call, &scope)
        }
        ["subscriptions", _, "resourcegroups", _, "resources"] => {
            let scope = call.id(4)?;
            resources::resources(world, call, &scope)
        }
        ["subscriptions", _, "providers", "microsoft.compute", rest @ ..] => compute_at_subscription(world, call, rest),
        ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.compute", rest @ ..] => {
            compute_in_group(world, call, rest)
        }
        ["subscriptions", _, "providers", "microsoft.recoveryservices", rest @ ..] => {
            let scope = call.id(2)?;
            match rest {
                ["vaults"] => vaults::list(world, call, &scope),
                ["locations", _, "backupstatus"] => vaults::backup_status(world, call, &scope),
                _ => Err(unknown_path(call)),
            }
        }
        [
            "subscriptions",
            _,
            "resourcegroups",
            _,
            "providers",
            "microsoft.network",
            "networkinterfaces",
            _,
            "effectivenetworksecuritygroups",
        ] => surroundings::effective_rules(world, call, call.id(8)?),
        ["subscriptions", _, "providers", "microsoft.network", "locations", _, "operationresults", name] => {
            surroundings::result(world, call, name)
        }
        ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.recoveryservices", rest @ ..] => {
            vault_routes(world, call, rest)
        }
        ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.keyvault", "vaults", _, rest @ ..] => {
            let vault = call.id(8)?;
            match rest {
                [] => keyvault::one(world, call, &vault),
                ["accesspolicies", kind] => keyvault::write_policies(world, call, &vault, kind),
                _ => Err(unknown_path(call)),
            }
        }
        _ => Err(unknown_path(call)),
    }
}

fn get(call: &Call) -> Result<(), Box<Response>> {
    if call.method == azmend_arm::http::Method::GET { Ok(()) } else { Err(crate::call::not_allowed(call)) }
}

fn compute_at_subscription(world: &mut World, call: &Call, rest: &[&str]) -> Answer {
    let scope = call.id(2)?;
    match rest {
        ["virtualmachines"] => compute::list(world, call, &scope),
        ["restorepointcollections"] => restore_points::list(world, call, &scope),
        ["locations", _, "operations", name] => {
            access::guard(world, call, "Microsoft.Compute/locations/operations/read", &scope)?;
            operations::poll_compute(world, call, name)
        }
        _ => Err(unknown_path(call)),
    }
}

fn compute_in_group(world: &mut World, call: &Call, rest: &[&str]) -> Answer {
    let group = || call.id(4);
    let resource = || call.id(8);
    match rest {
        ["virtualmachines"] => compute::list(world, call, &group()?),
        ["virtualmachines", _] => compute::vm(world, call, &resource()?, false),
        ["virtualmachines", _, "instanceview"] => compute::vm(world, call, &resource()?, true),
        ["virtualmachines", _, "reapply"] => compute::vm_action(world, call, resource()?, OpKind::Reapply),
        ["virtualmachines", _, "restart"] => compute::vm_action(world, call, resource()?, OpKind::Restart),
        ["virtualmachines", _, "runcommand"] => run_command::run_command(world, call, resource()?),
        ["virtualmachines", _, "extensions"] => compute::extensions(world, call, &resource()?),
        ["virtualmachines", _, "extensions", _] => compute::extension(world, call, &resource()?),
        ["disks", _] => surroundings::disk(world, call, &resource()?),
        ["restorepointcollections"] => restore_points::list(world, call, &group()?),
        ["restorepointcollections", _] => restore_points::collection(world, call, resource()?),
        ["restorepointcollections", _, "restorepoints", _] => restore_points::point(world, call),
        _ => Err(unknown_path(call)),
    }
}

fn vault_routes(world: &mut World, call: &Call, rest: &[&str]) -> Answer {
    let group = || call.id(4);
    let vault = || call.id(8);
    // .../vaults/{v}/backupFabrics/{f}/protectionContainers/{c}/protectedItems/{i}
    let item = || call.id(14);
    let job_name = || call.segments.get(9).cloned().unwrap_or_default();
    match rest {
        ["vaults"] => vaults::list(world, call, &group()?),
        ["vaults", _] => vaults::one(world, call, &vault()?),
        ["vaults", _, "backupresourceguardproxies"] => vaults::guard_proxies(world, call, &vault()?),
        ["vaults", _, "backupengines"] => engines::list(world, call, &vault()?),
        ["vaults", _, "backupprotecteditems"] => vaults::items(world, call, &vault()?),
        ["vaults", _, "backupprotectableitems"] => protection::protectable(world, call, &vault()?),
        ["vaults", _, "backupfabrics", _, "refreshcontainers"] => protection::refresh(world, call, vault()?),
        ["vaults", _, "backupfabrics", _, "operationresults", name] => backup::results(world, call, &vault()?, name),
        ["vaults", _, "backuppolicies"] => vaults::policies(world, call, &vault()?),
        ["vaults", _, "backuppolicies", _] => vaults::policy(world, call, &call.whole_id()?),
        ["vaults", _, "backupjobs"] => jobs::list(world, call, &vault()?),
        ["vaults", _, "backupjobs", _] => jobs::one(world, call, &vault()?, &job_name()),
        ["vaults", _, "backupjobs", _, "cancel"] => jobs::cancel(world, call, &vault()?, &job_name()),
        ["vaults", _, "backupjobs", _, "operationsstatus", name] => backup::status(world, call, &call.id(10)?, name),
        ["vaults", _, "backupjobs", _, "operationresults", name] => backup::results(world, call, &call.id(10)?, name),
        ["vaults", _, "backupoperations", name] => backup::status(world, call, &vault()?, name),
        ["vaults", _, "backupfabrics", _, "protectioncontainers", _, "protecteditems", _, tail @ ..] => match tail {
            [] if call.method == azmend_arm::http::Method::PUT => protection::put(world, call, item()?),
            [] => vaults::item(world, call, &item()?),
            ["backup"] => backup::post(world, call, item()?),
            ["recoverypoints"] => vaults::recovery_points(world, call, &item()?),
            ["recoverypoints", _] => {
                let name: String = call.segments.last().cloned().unwrap_or_default();
                let id: ResourceId = item()?;
                vaults::recovery_point(world, call, &id, &name)
            }
            ["operationsstatus", name] => backup::status(world, call, &item()?, name),
            ["operationresults", name] => backup::results(world, call, &item()?, name),
            _ => Err(unknown_path(call)),
        },
        _ => Err(unknown_path(call)),
    }
}
