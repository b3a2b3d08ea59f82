//! The published JSON Schema of the result object (`docs/schema/result.schema.json`), made from the types.

use crate::engine::audit::{AUDIT_SCHEMA, Audit};
use crate::engine::diagnose::{DIAGNOSIS_SCHEMA, Diagnosis};
use crate::engine::doctor::{DOCTOR_SCHEMA, DoctorReport};
use crate::engine::explain::{EXPLAIN_SCHEMA, Explanation};
use crate::engine::fleet::result::{FLEET_SCHEMA, FleetResult};
use crate::engine::rehearsal::{REHEARSAL_SCHEMA, Rehearsal};
use crate::engine::result::{RESULT_SCHEMA, RunResult};

/// The schema, as the file in `docs/schema` has it.
#[must_use]
pub fn json() -> String {
    let mut schema = schemars::schema_for!(RunResult);
    schema.insert("title".to_owned(), RESULT_SCHEMA.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema of what `azmend doctor` gives back, as `docs/schema/doctor.schema.json` has it.
#[must_use]
pub fn doctor_json() -> String {
    let mut schema = schemars::schema_for!(DoctorReport);
    schema.insert("title".to_owned(), DOCTOR_SCHEMA.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema of what `azmend diagnose` gives back, as `docs/schema/diagnosis.schema.json` has it.
#[must_use]
pub fn diagnosis_json() -> String {
    let mut schema = schemars::schema_for!(Diagnosis);
    schema.insert("title".to_owned(), DIAGNOSIS_SCHEMA.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema of what `azmend explain` gives back, as `docs/schema/explain.schema.json` has it.
#[must_use]
pub fn explain_json() -> String {
    let mut schema = schemars::schema_for!(Explanation);
    schema.insert("title".to_owned(), EXPLAIN_SCHEMA.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema of what `azmend audit` gives back, as `docs/schema/audit.schema.json` has it.
#[must_use]
pub fn audit_json() -> String {
    let mut schema = schemars::schema_for!(Audit);
    schema.insert("title".to_owned(), AUDIT_SCHEMA.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema of what `azmend fix --all` gives back, as `docs/schema/fleet.schema.json` has it.
#[must_use]
pub fn fleet_json() -> String {
    let mut schema = schemars::schema_for!(FleetResult);
    schema.insert("title".to_owned(), FLEET_SCHEMA.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema of what `azmend playbook test` gives back, as `docs/schema/playbook-test.schema.json` has it.
#[must_use]
pub fn rehearsal_json() -> String {
    let mut schema = schemars::schema_for!(Rehearsal);
    schema.insert("title".to_owned(), REHEARSAL_SCHEMA.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::result::Status;

    /// `AZMEND_UPDATE=1 cargo test schema` writes the file anew.
    #[test]
    fn the_published_schema_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/result.schema.json");
        if std::env::var_os("AZMEND_UPDATE").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema")).unwrap();
            std::fs::write(file, json()).unwrap();
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == json(), "run: AZMEND_UPDATE=1 cargo test schema");
    }

    #[test]
    fn the_published_schema_of_doctor_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/doctor.schema.json");
        if std::env::var_os("AZMEND_UPDATE").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema")).unwrap();
            std::fs::write(file, doctor_json()).unwrap();
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == doctor_json(), "run: AZMEND_UPDATE=1 cargo test schema");
    }

    #[test]
    fn the_published_schema_of_diagnosis_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/diagnosis.schema.json");
        if std::env::var_os("AZMEND_UPDATE").is_some() {
            std::fs::write(file, diagnosis_json()).unwrap();
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == diagnosis_json(), "run: AZMEND_UPDATE=1 cargo test schema");
    }

    #[test]
    fn the_published_schema_of_explain_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/explain.schema.json");
        if std::env::var_os("AZMEND_UPDATE").is_some() {
            std::fs::write(file, explain_json()).unwrap();
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == explain_json(), "run: AZMEND_UPDATE=1 cargo test schema");
    }

    #[test]
    fn the_published_schema_of_audit_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/audit.schema.json");
        if std::env::var_os("AZMEND_UPDATE").is_some() {
            std::fs::write(file, audit_json()).unwrap();
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == audit_json(), "run: AZMEND_UPDATE=1 cargo test schema");
    }

    #[test]
    fn the_published_schema_of_fleets_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/fleet.schema.json");
        if std::env::var_os("AZMEND_UPDATE").is_some() {
            std::fs::write(file, fleet_json()).unwrap();
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == fleet_json(), "run: AZMEND_UPDATE=1 cargo test schema");
    }

    #[test]
    fn the_published_schema_of_playbook_tests_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/playbook-test.schema.json");
        if std::env::var_os("AZMEND_UPDATE").is_some() {
            std::fs::write(file, rehearsal_json()).unwrap();
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == rehearsal_json(), "run: AZMEND_UPDATE=1 cargo test schema");
    }

    #[test]
    fn results_fit_the_schema() {
        let schema: serde_json::Value = serde_json::from_str(&json()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let empty = serde_json::to_value(RunResult::empty(Status::Error, 2, false)).unwrap();
        assert!(validator.is_valid(&empty));
        let mut wrong = empty;
        wrong["status"] = "great".into();
        assert!(!validator.is_valid(&wrong));
    }
}
