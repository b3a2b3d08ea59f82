//! Progress of a long reading on stderr: one line on a terminal, nothing elsewhere and with `--quiet`.
//!
//! It says what was read and how much is left. A remaining time is said only where what is left is known: pages of VMs that
//! Azure has counted, suspicious VMs that wait for their reads. It is of that stage alone, and counts Azure's limits in,
//! for it is measured on what went before.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::printer::Printer;
use super::settings::Output;
use crate::clock::elapsed;
use crate::facts::bulk::{Seen, Stage, Watch};
use crate::text::{human_duration, plural};

/// No more than so often is the line written anew.
const PACE: Duration = Duration::from_millis(250);
/// A remaining time needs this much of a stage behind it, in time and in VMs.
const ENOUGH: (Duration, u64) = (Duration::from_secs(3), 32);

/// Tells a person how far a reading is.
#[derive(Debug)]
pub struct ScanProgress {
    printer: Printer,
    bar: Option<ProgressBar>,
    state: Mutex<Told>,
}

/// What was told, and when.
#[derive(Debug, Default)]
struct Told {
    at: Option<Timestamp>,
    stage: Stage,
    /// When the stage began, and how many VMs of it were done then.
    began: Option<(Timestamp, u64)>,
}

impl ScanProgress {
    /// Progress for this printer.
    #[must_use]
    pub fn new(printer: &Printer) -> Self {
        let wanted = printer.live() && !printer.quiet() && printer.output() != Output::Jsonl;
        let bar = wanted.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        printer.attach(bar.clone());
        Self { printer: printer.clone(), bar, state: Mutex::default() }
    }

    /// Takes the line away.
    pub fn end(&self) {
        self.printer.attach(None);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for ScanProgress {
    fn drop(&mut self) {
        self.end();
    }
}

impl Told {
    /// The line, when it is time for one.
    fn line(&mut self, at: Timestamp, seen: &Seen) -> Option<String> {
        let done = done(seen);
        if self.stage != seen.stage || self.began.is_none() {
            (self.stage, self.began) = (seen.stage, Some((at, done)));
        } else if self.at.is_some_and(|told| elapsed(told, at) < PACE) {
            return None;
        }
        self.at = Some(at);
        let left = self
            .began
            .and_then(|(since, before)| remaining(elapsed(since, at), done.saturating_sub(before), left(seen)?));
        Some(line(seen, left))
    }
}

/// VMs of this stage that are done.
const fn done(seen: &Seen) -> u64 {
    match seen.stage {
        Stage::Lists => 0,
        Stage::Vms => seen.vms as u64,
        Stage::Suspicious => seen.read as u64,
    }
}

/// VMs of this stage that are left, where that is known.
const fn left(seen: &Seen) -> Option<u64> {
    match seen.stage {
        Stage::Lists => None,
        Stage::Vms => seen.vms_left,
        Stage::Suspicious => Some(seen.to_read.saturating_sub(seen.read) as u64),
    }
}

/// How long what is left takes at the pace of what is done; `None` before that can be told.
fn remaining(spent: Duration, done: u64, left: u64) -> Option<Duration> {
    let (time, count) = ENOUGH;
    if spent < time || done < count || left == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate of whole seconds")]
    let estimate = spent.as_secs_f64() * left as f64 / done as f64;
    Duration::try_from_secs_f64(estimate.ceil()).ok()
}

fn line(seen: &Seen, left: Option<Duration>) -> String {
    let subscriptions = plural(seen.subscriptions, "subscription");
    let mut text = match seen.stage {
        Stage::Lists => format!("{subscriptions}: vaults, items, jobs, collections, locks"),
        Stage::Vms => format!("{subscriptions}: {}", plural(seen.vms, "VM")),
        Stage::Suspicious => {
            format!("{}: {} of {} suspicious ones read", plural(seen.vms, "VM"), seen.read, seen.to_read)
        }
    };
    if let Some(more) = seen.vms_left.filter(|more| *more > 0 && seen.stage == Stage::Vms) {
        text.push_str(&format!(", {more} still to read"));
    }
    text.push_str(&format!("; {}", plural(usize::try_from(seen.calls).unwrap_or(usize::MAX), "call")));
    if seen.waited > 0 {
        text.push_str(&format!(", waited {} for Azure's limits", human_duration(Duration::from_secs(seen.waited))));
    }
    if let Some(left) = left {
        let what = if seen.stage == Stage::Vms { "all listed" } else { "done" };
        text.push_str(&format!("; {what} in about {}", human_duration(left)));
    }
    text
}

impl Watch for ScanProgress {
    fn seen(&self, at: Timestamp, seen: &Seen) {
        let Some(bar) = &self.bar else { return };
        let line = self.state.lock().unwrap_or_else(PoisonError::into_inner).line(at, seen);
        if let Some(line) = line {
            bar.set_message(line);
            bar.tick();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::later;

    fn at(millis: u64) -> Timestamp {
        later("2026-11-20T09:00:00Z".parse().unwrap(), Duration::from_millis(millis))
    }

    #[test]
    fn a_remaining_time_is_said_only_where_it_is_known() {
        let seconds = Duration::from_secs;
        assert_eq!(remaining(seconds(10), 1000, 3000), Some(seconds(30)));
        assert_eq!(remaining(seconds(10), 3000, 1), Some(seconds(1)), "never nothing while something is left");
        assert_eq!(remaining(seconds(2), 1000, 3000), None, "too early");
        assert_eq!(remaining(seconds(10), 3, 3000), None, "too few");
        assert_eq!(remaining(seconds(10), 1000, 0), None);
        let lists = Seen { subscriptions: 2, calls: 40, ..Seen::default() };
        assert_eq!(left(&lists), None);
        let vms = Seen { stage: Stage::Vms, vms: 2000, vms_left: None, ..lists };
        assert_eq!(left(&vms), None, "Azure has not counted them");
    }

    #[test]
    fn the_line_keeps_its_pace_and_begins_anew_with_each_stage() {
        let mut told = Told::default();
        let mut seen = Seen { subscriptions: 2, calls: 40, ..Seen::default() };
        let lists = "2 subscriptions: vaults, items, jobs, collections, locks; 40 calls";
        assert_eq!(told.line(at(0), &seen).as_deref(), Some(lists));
        assert_eq!(told.line(at(100), &seen), None, "too soon");
        seen = Seen { stage: Stage::Vms, vms: 1000, vms_left: Some(4000), calls: 60, waited: 12, ..seen };
        let first = told.line(at(150), &seen).unwrap();
        assert_eq!(first, "2 subscriptions: 1000 VMs, 4000 still to read; 60 calls, waited 12 s for Azure's limits");
        seen = Seen { vms: 3000, vms_left: Some(2000), ..seen };
        assert!(told.line(at(4150), &seen).unwrap().ends_with("all listed in about 4 s"));
        seen = Seen { stage: Stage::Suspicious, vms: 5000, vms_left: Some(0), to_read: 132, waited: 0, ..seen };
        assert_eq!(told.line(at(4200), &seen).unwrap(), "5000 VMs: 0 of 132 suspicious ones read; 60 calls");
        seen = Seen { read: 66, ..seen };
        let half = told.line(at(10_200), &seen).unwrap();
        assert_eq!(half, "5000 VMs: 66 of 132 suspicious ones read; 60 calls; done in about 6 s");
    }
}
