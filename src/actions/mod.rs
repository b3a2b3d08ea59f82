//! The typed actions: the only things a playbook can do.
//!
//! Duty: one table, [`table!`] below, of everything a playbook may ask for ([`Action`]) and of every kind of change that
//! comes of it ([`Mutation`]). A file holds what belongs to one action: parameters, plan, and for each kind of change its
//! before-image, check, request, proof, inverse and risk. Dispatch is one match, which the table makes.
//!
//! An action decides on facts through the [`rules`]; it never journals, waits in a loop or retries: that is the engine's
//! duty. For every change the engine asks, in this order and again before every further attempt: [`check`] (re-read,
//! guards), then journals the intent, [`send`]s once, and [`verify`]s by reading.
//!
//! To add an action, see CONTRIBUTING.md.

pub mod backup;
pub mod change;
pub mod extension;
pub mod guest;
pub mod job;
pub mod keyvault;
pub mod locks;
pub mod outcome;
mod parameters;
pub mod permission;
pub mod permissions_needed;
pub mod planning;
pub mod points;
pub mod protection;
mod protocol;
pub mod rights;
pub mod rules;
pub mod spec;
pub mod vm;

#[cfg(test)]
mod sim_tests;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::arm::id::ResourceId;
use crate::arm::{Arm, ArmError, ErrorClass, Sent, Tag};
use crate::facts::vm_facts::VmFacts;
use change::{Change, Risk, Undo};
use permission::Uses;
use planning::{PlanContext, PlanReads, StepDraft};

pub use protocol::{Attempt, Check, Context, Effect, FactsNeeded, History, Inverse, Request, Verb, Verify};

/// What a playbook may ask for: parameters, and the plan that comes of them.
trait Action: Serialize + DeserializeOwned + JsonSchema {
    /// The keys that may appear under `with`, sorted.
    const KEYS: &'static [&'static str];
    /// Keys that `azmend/v1` had under `with` and that never had an effect: each has one legal value.
    const OLD_KEYS: &'static [&'static str] = &[];
    /// The rights that it uses; those that every action needs are not repeated.
    const NEEDS: &'static [Uses];
    /// The values of the condition view that it changes or may change: a condition that looks at one of them after this
    /// step looks at what is not so yet.
    const WRITES: &'static [&'static str];

    /// The changes of a step, on the facts as earlier steps leave them.
    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft;
}

/// One kind of change. All its values are the before-image: what the guards compare with.
trait Mutation {
    /// What it is counted as in summaries: "locks removed"; empty when it changes nothing.
    const NOUN: &'static str;

    /// The resource that is changed.
    fn resource(&self) -> &ResourceId;

    /// How it is undone.
    fn undo(&self) -> Undo;

    /// What a mistake would cost.
    fn risk(&self) -> Risk;

    /// How many changes it counts for under `--max-changes` (S9).
    fn weight(&self) -> usize {
        1
    }

    /// How many restore points it deletes.
    fn points(&self) -> usize {
        0
    }

    /// The facts that its guards look at.
    fn facts_needed(&self) -> FactsNeeded {
        FactsNeeded::VM
    }

    /// Changes the facts as the change will, for later steps of the same plan.
    fn leave(&self, _facts: &mut VmFacts, _reads: &PlanReads) {}

    /// Reads the resource again, evaluates every guard again, and says what may be sent (S3).
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check;

    /// Sends one request, exactly once.
    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError>;

    /// Reads once and says whether the change is proven (S4).
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify;

    /// Reads what requests of this change did although it did not succeed.
    async fn effect(&self, cx: &Context<'_>, history: &History) -> Effect {
        if history.attempts.is_empty() {
            return Effect::None;
        }
        match self.verify(cx, history).await {
            Verify::Done(_) => Effect::Some,
            _ => Effect::Unknown,
        }
    }

    /// Reads the changed resource and says whether its inverse may be sent (S3).
    async fn check_inverse(&self, _arm: &Arm, _before: &Value, _sent: bool) -> Inverse {
        Inverse::NotNeeded("there is nothing to undo".to_owned())
    }

    /// Sends the inverse, exactly once.
    async fn send_inverse(&self, _arm: &Arm, request: &Request, _tag: &Tag) -> Result<Sent, ArmError> {
        Err(ArmError::refused(request.target.as_str(), "a change of this kind has no inverse request"))
    }

    /// The job that a finished operation names.
    fn learn(&self, _body: &Value) -> Option<ResourceId> {
        None
    }

    /// Whether a request that Azure may have taken, or could not take at the moment, may be sent again after reading.
    fn repeatable(&self) -> bool {
        true
    }
}

/// Makes [`ActionName`], [`ActionSpec`], [`ChangeKind`] and their dispatch. First the actions: the name that playbooks
/// write, the name here, the parameters. Then the kinds of change.
macro_rules! table {
    (
        actions { $( $text:literal $action:ident($spec:ty), )+ }
        changes { $( $kind:ident($change:ty), )+ }
    ) => {
        /// The name of an action.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ActionName {
            $( #[doc = concat!("`", $text, "`.")] $action, )+
        }

        /// An action with its parameters, resolved and typed.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "action", content = "with")]
        pub enum ActionSpec {
            $( #[doc = concat!("`", $text, "`.")] #[serde(rename = $text)] $action($spec), )+
        }

        /// What is changed, with the before-image.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum ChangeKind {
            $( #[doc = concat!("See [`", stringify!($change), "`].")] $kind($change), )+
        }

        $( impl From<$change> for ChangeKind {
            fn from(change: $change) -> Self {
                Self::$kind(change)
            }
        } )+

        impl ActionName {
            /// All actions, in the order of the documentation.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$action),+];

            /// The name as playbooks write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$action => $text, )+ }
            }

            /// The keys that may appear under `with`.
            #[must_use]
            pub const fn keys(self) -> &'static [&'static str] {
                match self { $( Self::$action => <$spec as Action>::KEYS, )+ }
            }

            /// Keys that `azmend/v1` had under `with` and that never had an effect.
            #[must_use]
            pub const fn old_keys(self) -> &'static [&'static str] {
                match self { $( Self::$action => <$spec as Action>::OLD_KEYS, )+ }
            }

            /// The rights that it uses.
            #[must_use]
            pub const fn needs(self) -> &'static [Uses] {
                match self { $( Self::$action => <$spec as Action>::NEEDS, )+ }
            }

            /// The values of the condition view that it changes or may change.
            #[must_use]
            pub const fn writes(self) -> &'static [&'static str] {
                match self { $( Self::$action => <$spec as Action>::WRITES, )+ }
            }

            /// The JSON Schema of its parameters.
            pub fn schema(self, generator: &mut SchemaGenerator) -> Schema {
                match self { $( Self::$action => generator.subschema_for::<$spec>(), )+ }
            }

            /// The action with these parameters; those that are missing take their defaults.
            ///
            /// # Errors
            /// A sentence that says which key or value is wrong.
            pub fn with(self, parameters: &Map<String, Value>) -> Result<ActionSpec, String> {
                let value = Value::Object(parameters.clone());
                let spec = match self { $( Self::$action => serde_json::from_value(value).map(ActionSpec::$action), )+ };
                spec.map_err(|error| error.to_string())
            }
        }

        impl ActionSpec {
            /// The action's name.
            #[must_use]
            pub const fn name(&self) -> ActionName {
                match self { $( Self::$action(_) => ActionName::$action, )+ }
            }

            /// The changes of a step, on the facts as earlier steps leave them.
            #[must_use]
            pub fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
                match self { $( Self::$action(spec) => spec.plan(cx), )+ }
            }
        }

        impl ChangeKind {
            /// How many kinds there are.
            pub const COUNT: usize = [$(stringify!($kind)),+].len();

            /// What it is counted as in summaries: "locks removed"; empty when it changes nothing.
            #[must_use]
            pub const fn noun(&self) -> &'static str {
                match self { $( Self::$kind(_) => <$change as Mutation>::NOUN, )+ }
            }
        }

        /// Does the same with the change of whichever kind.
        macro_rules! with_change {
            ($what:expr, |$it:ident| $body:expr) => {
                match $what { $( ChangeKind::$kind($it) => $body, )+ }
            };
        }
    };
}

table! {
    actions {
        "locks.remove" LocksRemove(locks::LocksRemove),
        "restore_points.delete_stale" DeleteStale(points::DeleteStale),
        "restore_points.delete_collection" DeleteCollection(points::DeleteWhole),
        "extension.uninstall" ExtensionUninstall(extension::ExtensionUninstall),
        "backup.start" BackupStart(backup::BackupStart),
        "job.wait" JobWait(job::JobWait),
        "job.cancel" JobCancel(job::JobCancel),
        "vm.reapply" VmReapply(vm::VmReapply),
        "vm.restart" VmRestart(vm::VmRestart),
        "protection.resume" ProtectionResume(protection::ProtectionResume),
        "protection.enable" ProtectionEnable(protection::ProtectionEnable),
        "keyvault.grant" KeyvaultGrant(keyvault::KeyvaultGrant),
        "guest.service" GuestService(guest::GuestService),
        "guest.agent_conf" GuestAgentConf(guest::GuestAgentConf),
    }
    changes {
        RemoveLock(locks::RemoveLock),
        DeleteCollection(points::DeleteCollection),
        DeletePoint(points::DeletePoint),
        UninstallExtension(extension::UninstallExtension),
        StartBackup(backup::StartBackup),
        AwaitJob(job::AwaitJob),
        CancelJob(job::CancelJob),
        ReapplyVm(vm::ReapplyVm),
        RestartVm(vm::RestartVm),
        ResumeProtection(protection::ResumeProtection),
        EnableProtection(protection::EnableProtection),
        GrantKeyAccess(keyvault::GrantKeyAccess),
        AssignKeyRole(keyvault::AssignKeyRole),
        SetGuest(guest::SetGuest),
    }
}

impl ActionName {
    /// Whether this action changes the value of the condition view with this path.
    #[must_use]
    pub fn changes(self, path: &str) -> bool {
        self.writes()
            .iter()
            .any(|changed| path.strip_prefix(changed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// The action with this exact name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

impl ChangeKind {
    /// The resource that is changed.
    #[must_use]
    pub fn resource(&self) -> &ResourceId {
        with_change!(self, |it| it.resource())
    }

    /// Whether a backup of the VM that runs at the same time could fail for it, or be the second one.
    #[must_use]
    pub const fn disturbs_a_backup(&self) -> bool {
        matches!(
            self,
            Self::StartBackup(_)
                | Self::DeletePoint(_)
                | Self::DeleteCollection(_)
                | Self::UninstallExtension(_)
                | Self::ReapplyVm(_)
                | Self::RestartVm(_)
        )
    }

    /// How it is undone.
    #[must_use]
    pub fn undo(&self) -> Undo {
        with_change!(self, |it| it.undo())
    }

    /// What a mistake would cost.
    #[must_use]
    pub fn risk(&self) -> Risk {
        with_change!(self, |it| it.risk())
    }

    /// How many changes it counts for under `--max-changes` (S9): every point in a collection is one.
    #[must_use]
    pub fn weight(&self) -> usize {
        with_change!(self, |it| it.weight())
    }

    /// How many restore points it deletes.
    #[must_use]
    pub fn points(&self) -> usize {
        with_change!(self, |it| it.points())
    }

    /// Changes the facts as the change will, for later steps of the same plan.
    fn leave(&self, facts: &mut VmFacts, reads: &PlanReads) {
        with_change!(self, |it| it.leave(facts, reads));
    }
}

/// The facts that the guards of this change look at.
#[must_use]
pub fn facts_needed(change: &Change) -> FactsNeeded {
    with_change!(&change.what, |it| it.facts_needed())
}

/// Reads the resource again, evaluates every guard again, and says what may be sent (S3).
pub async fn check(cx: &Context<'_>, change: &Change, history: &History) -> Check {
    with_change!(&change.what, |it| Box::pin(it.check(cx, history)).await)
}

/// Sends one request, exactly once.
///
/// # Errors
/// As Azure answered; [`ArmError::may_have_taken_effect`] says whether the answer was lost.
pub async fn send(cx: &Context<'_>, change: &Change, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
    with_change!(&change.what, |it| Box::pin(it.send(cx, request, tag)).await)
}

/// Reads once and says whether the change is proven (S4).
pub async fn verify(cx: &Context<'_>, change: &Change, history: &History) -> Verify {
    with_change!(&change.what, |it| Box::pin(it.verify(cx, history)).await)
}

/// Reads what requests of this change did although it did not succeed.
pub async fn effect(cx: &Context<'_>, change: &Change, history: &History) -> Effect {
    with_change!(&change.what, |it| Box::pin(it.effect(cx, history)).await)
}

/// Reads a changed resource again and says whether its inverse may be sent (S3). `before` is the before-image that was
/// journaled with the change's last intent; `sent`, whether a request of the inverse has left. Asked again after the inverse
/// was sent: [`Inverse::Holds`] is its proof (S4).
pub async fn check_inverse(arm: &Arm, change: &Change, before: &Value, sent: bool) -> Inverse {
    with_change!(&change.what, |it| Box::pin(it.check_inverse(arm, before, sent)).await)
}

/// Sends the inverse of a change, exactly once.
///
/// # Errors
/// As Azure answered; [`ArmError::may_have_taken_effect`] says whether the answer was lost.
pub async fn send_inverse(arm: &Arm, change: &Change, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
    with_change!(&change.what, |it| Box::pin(it.send_inverse(arm, request, tag)).await)
}

/// The job of a finished backup operation, which must be journaled.
#[must_use]
pub fn learn(change: &Change, body: &Value) -> Option<ResourceId> {
    with_change!(&change.what, |it| it.learn(body))
}

/// Whether an error of this class may be answered by another attempt, after reading again.
///
/// DELETE is repeated on throttling, 5xx and lost replies; a POST that does something each time only after 429 or a
/// refused connection (S10). A 401 comes from ARM's front door before anything happens, and the gateway has dropped the
/// token that was not accepted. Without a token nothing is sent at all: in a run that was signed in it is like the network that is
/// gone.
#[must_use]
pub fn may_send_again(change: &Change, error: &ArmError) -> bool {
    match error.class() {
        ErrorClass::Throttled | ErrorClass::NotSent | ErrorClass::SignIn => true,
        ErrorClass::Transient
        | ErrorClass::Lost
        | ErrorClass::Conflict
        | ErrorClass::BeingDeleted
        | ErrorClass::VmChanged => {
            with_change!(&change.what, |it| it.repeatable())
        }
        _ => false,
    }
}
