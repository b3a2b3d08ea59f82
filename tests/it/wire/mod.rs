//! Azure's real traffic: recordings that other people published, and the published contracts.
//!
//! `AZMEND_WIRE_DIR=DIR cargo test wire -- --nocapture` runs the same checks over any folder laid out like
//! `tests/fixtures/wire` and prints per file what was read and what was not understood.

mod compare;
pub mod contract;
mod decode;
mod errors;
mod kinds;
mod read;
mod replay;
pub mod requests;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;

use kinds::Kind;
use read::{FileRead, read_folder};

/// The folder, and whether it is the project's own.
fn folder() -> (PathBuf, bool) {
    match std::env::var_os("AZMEND_WIRE_DIR") {
        Some(dir) => (PathBuf::from(dir), false),
        None => (PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire"), true),
    }
}

fn files() -> (Vec<FileRead>, bool) {
    let (folder, own) = folder();
    let files = read_folder(&folder);
    assert!(!files.is_empty(), "there is nothing to read in {}", folder.display());
    (files, own)
}

/// Printed with `--nocapture`.
macro_rules! say {
    ($($arg:tt)*) => { println!($($arg)*) };
}
use say;

#[tokio::test]
async fn every_recorded_response_of_a_kind_azmend_reads_decodes() {
    let (files, own) = files();
    let (mut exchanges, mut decoded, mut models, mut other) = (0, 0, 0, 0);
    let trace = std::env::var_os("AZMEND_TEST_TRACE").is_some();
    let mut failures = Vec::new();
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for file in &files {
        failures.extend(file.unread.iter().map(|why| format!("{}: not read: {why}", file.file)));
        let pages = decode::pages_of(&file.exchanges);
        let (mut of_file, mut not) = (0, Vec::new());
        for exchange in &file.exchanges {
            exchanges += 1;
            let kind = if errors::is_excused(exchange) { Kind::Other } else { Kind::of(exchange) };
            *kinds.entry(kind).or_default() += 1;
            let result = match kind {
                Kind::Other => {
                    other += 1;
                    continue;
                }
                Kind::Error => errors::recorded(exchange).map(|()| 1),
                _ => decode::decode(exchange, kind, &pages).await,
            };
            if trace {
                say!("TRACE {kind:?} {exchange}");
            }
            match result {
                Ok(count) => {
                    of_file += 1;
                    models += count;
                    not.extend(
                        decode::unknown_words(kind, &exchange.json()).into_iter().map(|w| format!("{exchange}: {w}")),
                    );
                }
                Err(why) => not.push(format!("{exchange} as {kind:?}: {why}")),
            }
        }
        decoded += of_file;
        say!("{}: {} exchanges, {of_file} read, {} not understood", file.file, file.exchanges.len(), not.len());
        failures.extend(not);
    }
    say!(
        "{} files, {exchanges} exchanges: {decoded} read into {models} models, {other} of no kind azmend reads",
        files.len()
    );
    say!("{kinds:?}");
    for failure in &failures {
        say!("NOT UNDERSTOOD {failure}");
    }
    assert!(failures.is_empty(), "{} of {exchanges} not understood:\n{}", failures.len(), failures.join("\n"));
    if own {
        let expected = [
            Kind::Vm,
            Kind::VmList,
            Kind::InstanceView,
            Kind::Extension,
            Kind::ExtensionList,
            Kind::Collection,
            Kind::CollectionList,
            Kind::Point,
            Kind::Lock,
            Kind::LockList,
            Kind::Group,
            Kind::GroupList,
            Kind::ResourceList,
            Kind::Vault,
            Kind::VaultList,
            Kind::BackupStatus,
            Kind::Item,
            Kind::ItemList,
            Kind::RecoveryPoint,
            Kind::RecoveryPointList,
            Kind::Policy,
            Kind::PolicyList,
            Kind::Job,
            Kind::JobList,
            Kind::Proxies,
            Kind::Graph,
            Kind::AsyncOperation,
            Kind::OperationResult,
            Kind::Accepted,
            Kind::Error,
        ];
        // Subscriptions, permissions and deny assignments were recorded by nobody.
        for kind in expected {
            assert!(kinds.contains_key(&kind), "the fixtures have no {kind:?}");
        }
        let pages = files.iter().map(|file| decode::pages_of(&file.exchanges).len()).max();
        assert!(pages >= Some(2), "the fixtures have no list of three pages");
    }
}

/// The comparison itself must be able to fail.
#[test]
fn a_lost_field_is_noticed() {
    use serde_json::json;
    let raw = json!({ "id": "/subscriptions/x", "properties": { "startTime": "2024-05-13T10:18:05.7330616Z",
        "endTime": "0001-01-01T00:00:00", "status": "Failed", "errorDetails": [{ "errorCode": 400001, "errorString": "s" }] } });
    let mut model = json!({ "id": "/subscriptions/x", "start": "2024-05-13T10:18:05.7330616Z", "end": null, "status": "Failed",
        "errors": [{ "code": 400_001, "title": "", "text": "s", "recommendations": [] }], "tasks": [], "operation": "" });
    let lost = |model: &serde_json::Value| {
        let mut lost = Vec::new();
        compare::compare(model, &raw, compare::JOB, "", &mut lost);
        lost
    };
    assert_eq!(lost(&model), Vec::<String>::new());
    model["errors"][0]["code"] = json!(0);
    model["start"] = json!(null);
    model["end"] = json!("2024-05-13T10:18:05Z");
    assert_eq!(lost(&model).len(), 3, "{:?}", lost(&model));
}
