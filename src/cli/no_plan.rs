//! What `plan --out` saves when there is nothing to do, so that `plan --out FILE && apply FILE` ends well then too.
//!
//! Must never: be taken for a plan. It has a format of its own and changes nothing whatever is written in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::CliError;
use crate::clock::elapsed;
use crate::engine::exit;
use crate::engine::plan::{PLAN_LIFETIME, PlanError, World};
use crate::engine::result::{RunResult, Status};

const FORMAT: &str = "azmend.no-plan/v1";

/// That there was nothing to do, when, where and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoPlan {
    format: String,
    created: Timestamp,
    /// Where it was found.
    pub world: World,
    playbook: String,
    vm: String,
    why: String,
}

impl NoPlan {
    /// Nothing to do now.
    #[must_use]
    pub fn new(created: Timestamp, world: &World, playbook: &str, vm: &str, why: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            created,
            world: world.clone(),
            playbook: playbook.to_owned(),
            vm: vm.to_owned(),
            why: why.to_owned(),
        }
    }

    /// Its file.
    #[must_use]
    pub fn file_text(&self) -> String {
        // What was just made of texts and a time always serialises.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads one; `None` for what is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|one| one.format == FORMAT)
    }

    /// What applying it comes to.
    ///
    /// # Errors
    /// When it is too old: by now there may be something to do.
    pub fn applied(&self, now: Timestamp) -> Result<RunResult, CliError> {
        let age = elapsed(self.created, now);
        if age > PLAN_LIFETIME {
            return Err(PlanError::Expired(age.into()).into());
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(RunResult {
            cloud: some(&self.world.cloud),
            tenant: some(&self.world.tenant),
            subscription: some(&self.world.subscription),
            identity: some(&self.world.identity),
            playbook: some(&self.playbook),
            vm: some(&self.vm),
            started: Some(now),
            ended: Some(now),
            warnings: vec![self.why.clone()],
            ..RunResult::empty(Status::NothingToDo, exit::OK, self.world.sandbox)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_no_plan_and_a_plan_is_none() {
        let world: World = serde_json::from_str(
            r#"{"sandbox":true,"cloud":"sandbox","endpoint":"e","tenant":"t","subscription":"s","identity":"i","estate_digest":"d"}"#,
        )
        .unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let one = NoPlan::new(at("2026-11-20T09:00:00Z"), &world, "backup-now", "/x", "all is done");
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(NoPlan::parse(&text), Some(one.clone()));
        assert!(crate::engine::plan::Plan::parse(&text).is_err());
        assert_eq!(NoPlan::parse(&text.replace(FORMAT, "azmend.plan/v1")), None);
        assert_eq!(one.applied(at("2026-11-20T10:00:00Z")).unwrap().exit_code, 0);
        assert_eq!(one.applied(at("2026-11-22T10:00:00Z")).unwrap_err().code, "plan_expired");
    }
}
