//! The timeline: what will happen, and making it happen when its time has come.
//!
//! Invariant: effects are applied in order of time, each at its own time, before any request of a later time is served.

use std::time::Duration;

use jiff::Timestamp;

use crate::faults;
use crate::job_life;
use crate::providers::{backup, compute, protection, restore_points, run_command};
use crate::world::events::Effect;
use crate::world::{OpKind, OpStatus, World};
use azmend_base::clock::later;

impl World {
    /// Lets time pass to `to` (never back), with everything that happens meanwhile.
    pub fn advance_to(&mut self, to: Timestamp) {
        while self.timeline.first().is_some_and(|event| event.at <= to) {
            let event = self.timeline.remove(0);
            self.now = self.now.max(event.at);
            faults::keep_before(self);
            self.places.pages.forget();
            match event.effect {
                Effect::OperationEnds(name) => end_operation(self, &name),
                Effect::SnapshotStarts(job) => job_life::snapshot_starts(self, &job),
                Effect::SnapshotEnds(job) => job_life::snapshot_ends(self, &job),
                Effect::TransferEnds(job) => job_life::transfer_ends(self, &job),
                Effect::JobCancelled(job) => job_life::cancelled(self, &job),
                Effect::ServiceCleanup(vm) => job_life::service_cleanup(self, &vm),
                Effect::Happens(event) => {
                    self.apply_event(&event);
                }
            }
        }
        self.now = self.now.max(to);
    }

    /// Lets `by` pass.
    pub fn advance(&mut self, by: Duration) {
        self.advance_to(later(self.now, by));
    }
}

/// The end of an operation: its effect, or what a fault made of it.
fn end_operation(world: &mut World, name: &str) {
    let Some(operation) = world.operation_mut(name) else { return };
    if operation.status != OpStatus::InProgress {
        return;
    }
    let (kind, target, doomed, hangs) =
        (operation.kind.clone(), operation.target.clone(), operation.doomed.clone(), operation.hangs);
    let happens = doomed.as_ref().is_none_or(|(_, _, effect)| *effect);
    let mut error = None;
    let mut output = None;
    let mut never = hangs;
    match kind {
        OpKind::DeleteCollection if happens && !hangs => match restore_points::end_collection_delete(world, &target) {
            restore_points::Ended::Done => {}
            restore_points::Ended::Failed(code, message) => error = Some((code, message)),
            restore_points::Ended::Hangs => never = true,
        },
        OpKind::DeleteCollection => {
            if let Some(collection) = world.collection_mut(&target) {
                restore_points::undo_deleting(collection);
            }
        }
        OpKind::DeletePoint => restore_points::end_point_delete(world, &target, happens && !hangs),
        OpKind::DeleteExtension if happens && !hangs => error = compute::end_extension_delete(world, &target).err(),
        OpKind::DeleteExtension => {}
        OpKind::Backup if happens && !hangs => backup::accepted(world, name, &target),
        OpKind::Backup => {}
        OpKind::CancelJob => job_life::cancel_accepted(world, name, happens),
        OpKind::Reapply if happens && !hangs => error = compute::end_reapply(world, &target).err(),
        OpKind::Restart if happens && !hangs => compute::end_restart(world, &target),
        OpKind::Reapply | OpKind::Restart => {}
        OpKind::EffectiveRules => {}
        OpKind::RefreshContainers => protection::discover(world),
        OpKind::ResumeProtection | OpKind::StopProtection | OpKind::EnableProtection if hangs => {}
        OpKind::ResumeProtection | OpKind::StopProtection | OpKind::EnableProtection => {
            protection::end(world, name, happens);
        }
        OpKind::RunCommand(ref run) if happens && !hangs => match run_command::end(world, &target, run) {
            Ok(answer) => output = Some(answer),
            Err(failed) => error = Some(failed),
        },
        OpKind::RunCommand(_) => {}
    }
    let now = world.now;
    let Some(operation) = world.operation_mut(name) else { return };
    if never {
        operation.hangs = true;
        return;
    }
    if let (OpKind::RunCommand(run), Some(output)) = (&mut operation.kind, output) {
        run.output = output;
    }
    operation.ended = Some(now);
    if let Some((code, message, _)) = doomed {
        error = Some((code, message));
    }
    operation.status = match &error {
        None => OpStatus::Succeeded,
        // OperationPreempted is recorded with the status Canceled
        Some((code, _)) if code == "OperationPreempted" => OpStatus::Canceled,
        Some(_) => OpStatus::Failed,
    };
    operation.error = error;
}
