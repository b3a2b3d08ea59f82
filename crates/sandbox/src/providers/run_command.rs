//! Run Command: `virtualMachines/{vm}/runCommand`, and what scripts of azmend's do inside a VM.
//!
//! Duty: scripts are told by their header line `# azmend-guest <name>/<version>` and their parameters; any other script
//! runs and prints nothing. The answers have the recorded forms (see `arm::model::RunOutput`), and hold the last 4096
//! bytes. One script at a time: 409 `Conflict` in the words of public reports (azure-cli issues 19137 and 32305). Not
//! recorded, and the unkind of the ways it can be here: an agent that is not Ready leaves the operation running for the
//! 90 minutes a script may take and then fails it in the words of another extension's failure; a VM that does not run
//! answers 409 `OperationNotAllowed`; a shell of the other system 400.

use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, not_allowed, resource_not_found, set_header};
use crate::operations;
use crate::world::{
    Agent, Guest, GuestRun, GuestService, OpKind, OpStatus, Power, ServiceStart, ServiceState, Vm, World,
};
use azmend_arm::http::Method;
use azmend_arm::id::ResourceId;

/// The documented least time of a script.
const SECONDS: u64 = 20;
/// The documented longest time.
const LONGEST: u64 = 90 * 60;
/// What Run Command keeps of an output.
const KEPT: usize = 4096;
/// Stable writers of a Windows Server.
const WRITERS: usize = 12;

/// `virtualMachines/{vm}/runCommand`.
pub(crate) fn run_command(world: &mut World, call: &Call, vm_id: ResourceId) -> Answer {
    if call.method != Method::POST {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.Compute/virtualMachines/runCommand/action", &vm_id)?;
    let vm = world.vm(&vm_id).ok_or_else(|| resource_not_found(&vm_id))?;
    let shell = call.body.get("commandId").and_then(Value::as_str).unwrap_or_default();
    let wanted = if vm.windows { "RunPowerShellScript" } else { "RunShellScript" };
    if !shell.eq_ignore_ascii_case(wanted) {
        let message =
            format!("The command '{shell}' is not supported by the operating system of VM '{}'.", vm_id.name());
        return Err(error_response(400, "InvalidParameter", &message));
    }
    if vm.power != Power::Running {
        let message = "The operation requires the VM to be running (or set to run).";
        return Err(error_response(409, "OperationNotAllowed", message));
    }
    let busy = |o: &crate::world::Operation| {
        matches!(o.kind, OpKind::RunCommand(_)) && o.status == OpStatus::InProgress && o.target == vm_id
    };
    if world.operations.iter().any(busy) {
        let message =
            "Run command extension execution is in progress. Please wait for completion before invoking a run command.";
        return Err(error_response(409, "Conflict", message));
    }
    let run = GuestRun { script: header(&call.body), parameters: values(&call.body), output: Value::Null };
    let seconds = if vm.agent == Agent::Ready { SECONDS } else { LONGEST };
    let location = vm.location.clone();
    let kind = OpKind::RunCommand(Box::new(run));
    let mut response = operations::begin_compute(world, call, kind, vm_id, &location, seconds);
    let remaining = "Microsoft.Compute/UpdateVMSubscriptionMaximum;1499,Microsoft.Compute/UpdateVMResource;11";
    set_header(&mut response, "x-ms-ratelimit-remaining-resource", remaining);
    Ok(response)
}

/// Whether a request runs a script that only reads, for the log.
pub(crate) fn only_reads(call: &Call) -> bool {
    call.low.last().is_some_and(|last| last == "runcommand") && header(&call.body) == "probe/1"
}

/// The name and version in a script's header, which stands in one of its first lines.
fn header(body: &Value) -> String {
    let lines = body.get("script").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let name = lines.flat_map(str::lines).take(3).find_map(|line| line.strip_prefix("# azmend-guest "));
    name.unwrap_or_default().trim().to_owned()
}

fn values(body: &Value) -> Vec<String> {
    let all = body.get("parameters").and_then(Value::as_array).into_iter().flatten();
    all.map(|one| one.get("value").and_then(Value::as_str).unwrap_or_default().to_owned()).collect()
}

/// The end of a script: its effect, and the answer.
pub(crate) fn end(world: &mut World, id: &ResourceId, run: &GuestRun) -> Result<Value, (String, String)> {
    let now = world.now;
    let Some(vm) = world.vm_mut(id) else { return Ok(Value::Null) };
    if vm.power != Power::Running || vm.agent != Agent::Ready {
        // errors/exchanges/async-failures/crp_VMAgentStatusCommunicationError
        let message = format!(
            "VM '{}' has not reported status for VM agent or extensions. Verify that the OS is up and healthy, the VM has a running VM \
             agent, and that it can establish outbound connections to Azure storage.",
            vm.id.name()
        );
        return Err(("VMAgentStatusCommunicationError".into(), message));
    }
    let printed = match (run.script.as_str(), run.parameters.as_slice()) {
        ("probe/1", []) if vm.windows => windows(&vm.guest, now),
        ("probe/1", []) => linux(&vm.guest),
        ("service/1", [name, start, state]) if vm.windows => service(&mut vm.guest, name, start, state),
        ("agent-conf/1", [key, before, after]) if !vm.windows => setting(&mut vm.guest, key, before, after),
        _ => String::new(),
    };
    Ok(answer(vm, &printed))
}

fn answer(vm: &Vm, printed: &str) -> Value {
    let kept = printed.get(printed.len().saturating_sub(KEPT)..).unwrap_or_default();
    let row = |code: &str, message: String| json!({ "code": code, "level": "Info", "displayStatus": "Provisioning succeeded", "message": message });
    if vm.windows {
        return json!({ "value": [
            row("ComponentStatus/StdOut/succeeded", kept.trim_end().to_owned()),
            row("ComponentStatus/StdErr/succeeded", String::new())
        ] });
    }
    let message = format!("Enable succeeded: \n[stdout]\n{kept}\n[stderr]\n");
    json!({ "value": [row("ProvisioningState/succeeded", message)] })
}

const fn state_word(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Running => "Running",
        ServiceState::Stopped => "Stopped",
    }
}

const fn start_word(start: ServiceStart) -> &'static str {
    match start {
        ServiceStart::Automatic => "Auto",
        ServiceStart::Manual => "Manual",
        ServiceStart::Disabled => "Disabled",
    }
}

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn windows(guest: &Guest, now: jiff::Timestamp) -> String {
    let mut lines = vec!["azmend-probe/1".to_owned(), "os=windows".to_owned()];
    for (name, service) in &guest.services {
        lines.push(format!("service.{name}={} {}", state_word(service.state), start_word(service.start)));
    }
    lines.push(format!("dtc.account={}", if guest.dtc_network_service { "network-service" } else { "other" }));
    lines.push(format!("vc.x64={}", guest.vc_runtime));
    lines.push(format!("dhcp={} 1", u32::from(guest.dhcp)));
    let last = azmend_base::clock::earlier(now, std::time::Duration::from_secs(86_400));
    let last = if guest.crashes == 0 { "-".to_owned() } else { last.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() };
    lines.push(format!("crash={} {last}", guest.crashes));
    lines.push(format!("defender={}", if guest.defender { "on" } else { "off" }));
    lines.push(format!("exclusion.plugins={}", yes(guest.exclusions)));
    lines.push(format!("exclusion.logs={}", yes(guest.exclusions)));
    let works = guest.com == "works" && runs(guest, "COMSysApp");
    lines.push(match (works, guest.com.as_str()) {
        (true, _) => "com=works".to_owned(),
        // A service that cannot be started: ERROR_SERVICE_DISABLED.
        (false, "works") => "com=fails 0x80070422".to_owned(),
        (false, code) => format!("com=fails {code}"),
    });
    if runs(guest, "VSS") {
        let unwell = &guest.vss_writers;
        lines.push(format!("writers={} {}", WRITERS + unwell.len(), unwell.len()));
        for (index, writer) in unwell.iter().take(8).enumerate() {
            let error = if writer.state > 5 { "error" } else { "none" };
            lines.push(format!("writer.{}={} {error} {}", index + 1, writer.state, writer.name));
        }
    } else {
        lines.push("writers=unread vssadmin ended with 2".to_owned());
    }
    lines.push("end=azmend-probe/1".to_owned());
    lines.join("\r\n")
}

/// Whether a service runs or comes up when it is asked for.
fn runs(guest: &Guest, name: &str) -> bool {
    guest
        .services
        .get(name)
        .is_some_and(|one| one.state == ServiceState::Running || (one.start != ServiceStart::Disabled && !one.stuck))
}

fn linux(guest: &Guest) -> String {
    let mut lines = vec!["azmend-probe/1".to_owned(), "os=linux".to_owned(), "service.agent=active enabled".to_owned()];
    for key in ["Extensions.Enabled", "Extensions.Enable", "Provisioning.Agent"] {
        let value = guest.agent_conf.get(key).map_or("-", String::as_str);
        lines.push(format!("conf.{key}={value}"));
    }
    lines.push("end=azmend-probe/1\n".to_owned());
    lines.join("\n")
}

/// `service.ps1`: the start type first, then the state.
fn service(guest: &mut Guest, name: &str, start: &str, state: &str) -> String {
    let Some(GuestService { state: is, start: starts, stuck }) = guest.services.get_mut(name) else {
        return "azmend-service/1\nrefused=unknown service\nend=azmend-service/1".to_owned();
    };
    match start {
        "Auto" => *starts = ServiceStart::Automatic,
        "Manual" => *starts = ServiceStart::Manual,
        "Disabled" => *starts = ServiceStart::Disabled,
        _ => {}
    }
    match state {
        "Running" if *starts != ServiceStart::Disabled && !*stuck => *is = ServiceState::Running,
        "Stopped" => *is = ServiceState::Stopped,
        _ => {}
    }
    "azmend-service/1\ndone=yes\nend=azmend-service/1".to_owned()
}

/// `agent_conf.sh`: one setting, when it still has its value; `-` is one that is not there.
fn setting(guest: &mut Guest, key: &str, before: &str, after: &str) -> String {
    let is = guest.agent_conf.get(key).map_or("-", String::as_str);
    if is != before {
        return "azmend-agent-conf/1\nrefused=changed\nend=azmend-agent-conf/1\n".to_owned();
    }
    if after == "-" {
        guest.agent_conf.remove(key);
    } else {
        guest.agent_conf.insert(key.to_owned(), after.to_owned());
    }
    "azmend-agent-conf/1\ndone=yes\nend=azmend-agent-conf/1\n".to_owned()
}
