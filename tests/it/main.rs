//! Everything that is tested from outside: one binary, on the embedded Azure under virtual time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::let_underscore_must_use,
    clippy::print_stderr,
    clippy::type_complexity,
    reason = "a test ends where it goes wrong"
)]

mod adversity;
mod advice;
mod alerts;
mod audit;
mod automation;
/// State in a real Azurite.
mod azurite;
mod behaviour;
mod blob_matrix;
mod browser;
mod calls;
mod capture;
mod capture_scope;
mod causes;
mod checklist;
mod circles;
mod cli;
mod crash_matrix;
mod doctor;
mod earlier_runs;
mod fleet;
mod fleet_safety;
mod foretold;
mod guest;
mod interference;
mod inventory;
mod keyvault;
mod library;
mod lockwatch;
mod matrix_support;
mod matrix_truth;
mod pages;
mod permissions;
mod playbooks;
mod printed;
mod process;
mod protection;
mod python;
mod safety;
mod sandbox_time;
mod scale;
mod screen;
mod served;
mod serving;
mod sign_in;
mod simulation;
mod slow_wire;
mod spoilt;
mod support;
mod truth;
mod truth_rules;
mod undo_matrix;
mod verbs;
mod walls;
mod wire;
mod words;

/// A file that is not named above would never run.
#[test]
fn no_test_file_is_forgotten() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(here).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name} is not in main.rs");
    }
}
