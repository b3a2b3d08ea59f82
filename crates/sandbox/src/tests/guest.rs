//! Run Command.

use super::*;
use crate::{Agent, Power};

fn run(sim: &Sim, name: &str, body: &Value) -> Response {
    call(sim, "POST", &format!("{}/runCommand", vm(name)), Some(body.clone()))
}

#[test]
fn a_script_runs_alone_and_its_output_comes_with_the_operation() {
    let sim = sim();
    let other = json!({ "commandId": "RunPowerShellScript", "script": ["Write-Output hello"] });
    let accepted = run(&sim, "app-02", &other);
    assert_eq!(accepted.status, 202);
    let again = run(&sim, "app-02", &other);
    assert_eq!((again.status, code(&again).as_str()), (409, "Conflict"));
    let ended = follow(&sim, &accepted);
    assert_eq!(ended["properties"]["output"]["value"][0]["code"], "ComponentStatus/StdOut/succeeded");
    assert_eq!(
        ended["properties"]["output"]["value"][0]["message"], "",
        "what azmend did not write runs and prints nothing"
    );
    assert_eq!(run(&sim, "app-02", &other).status, 202);
}

#[test]
fn a_probe_is_told_by_its_header_wherever_it_stands_and_by_nothing_else() {
    let sim = sim();
    for (script, printed) in [
        (json!(["#!/bin/sh", "# azmend-guest probe/1", "anything"]), true),
        (json!(["#!/bin/sh\n# azmend-guest probe/1\nanything"]), true),
        (json!(["# azmend-guest probe/2"]), false),
        (json!(["echo azmend-guest probe/1"]), false),
    ] {
        let ended = follow(&sim, &run(&sim, "busy-08", &json!({ "commandId": "RunShellScript", "script": script })));
        let message = ended["properties"]["output"]["value"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("Enable succeeded: \n[stdout]\n") && message.ends_with("[stderr]\n"));
        assert_eq!(message.contains("end=azmend-probe/1"), printed, "{script}");
    }
}

#[test]
fn without_a_ready_agent_nothing_runs() {
    let sim = sim();
    let script = json!({ "commandId": "RunPowerShellScript", "script": ["# azmend-guest probe/1"] });
    sim.edit(|w| w.vm_mut(&vm("app-02").parse().unwrap()).unwrap().agent = Agent::NotReady);
    let accepted = run(&sim, "app-02", &script);
    assert_eq!(accepted.status, 202);
    pass(&sim, 3600);
    let address = accepted.header("azure-asyncoperation").unwrap().to_owned();
    assert_eq!(get(&sim, &address)["status"], "InProgress");
    pass(&sim, 1800);
    assert_eq!(follow(&sim, &accepted)["error"]["code"], "VMAgentStatusCommunicationError");
    sim.edit(|w| w.vm_mut(&vm("app-02").parse().unwrap()).unwrap().power = Power::Deallocated);
    assert_eq!(code(&run(&sim, "app-02", &script)), "OperationNotAllowed");
    let wrong = json!({ "commandId": "RunPowerShellScript", "script": [] });
    assert_eq!(run(&sim, "busy-08", &wrong).status, 400);
}
