//! How long a deletion is pursued, and when a run is to come back for it.
//!
//! Duty: pure judgement over the times of requests that made no progress. A collection's deletion is known to time out on
//! CRP without a documented error code, and one of a point whose disk restore point is exported can go on for ever: neither is
//! a failed run, and neither is hammered. Invariant: progress starts the count again, so a large collection that shrinks
//! with every request comes to its end; what never gets anywhere is bounded, in one run and over all runs.

use std::time::Duration;

use jiff::Timestamp;

use crate::actions::outcome::Failure;
use crate::actions::{Attempt, Check, Verify};
use crate::clock::elapsed;
use crate::text::plural;

/// Between two looks at what Azure is deleting.
pub(super) const BUSY: Duration = Duration::from_secs(15);
/// `Deleting` is waited for in one run for this long.
const DELETING: Duration = Duration::from_secs(30 * 60);
/// `Deleting` that lasts longer is not waited for in any run.
const DELETING_FOR_EVER: Duration = Duration::from_secs(24 * 3600);
/// A request after which nothing changed for this long was not just refused: Azure works on it, or something holds it.
const SLOW: Duration = Duration::from_secs(15 * 60);
/// Between two rounds of requests.
const LULL: Duration = Duration::from_secs(3600);
/// Requests without progress in one round.
const ROUND: usize = 6;
/// Rounds without progress.
const ROUNDS: usize = 4;

/// The likely cause of a deletion that does not end, and what to do.
pub(super) const HINT: &str = "the likely cause is a shared access (SAS) or an export of one of its disk restore points, \
                               which has to be ended first, or Azure's compute service still working on it; try again later";

/// What to do when no request was answered.
const UNANSWERED: &str =
    "every answer was lost on the way: look at the network or a proxy between azmend and Azure; try again later";

/// Whether another request may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pace {
    /// Yes.
    Go,
    /// Later.
    Later(Duration),
    /// Never again.
    Enough,
}

/// `tries`: when the requests since the last progress left, oldest first.
pub(super) fn pace(tries: &[Timestamp], now: Timestamp) -> Pace {
    if tries.len() >= ROUND * ROUNDS {
        return Pace::Enough;
    }
    let recent: Vec<Duration> = tries.iter().map(|at| elapsed(*at, now)).filter(|age| *age < LULL).collect();
    match recent.last() {
        Some(newest) if recent.len() >= ROUND => Pace::Later(LULL.saturating_sub(*newest)),
        _ => Pace::Go,
    }
}

/// What a check says about requests that got nowhere, oldest first; `None`: another one may leave. A cause is named only of
/// requests that Azure answered.
pub(super) fn check(attempts: &[&Attempt], now: Timestamp, what: &str) -> Option<Check> {
    let requests = plural(attempts.len(), "request");
    let answered = attempts.iter().any(|attempt| attempt.answered);
    let hint = if answered { HINT } else { UNANSWERED };
    let did = if answered { "did not delete" } else { "without an answer did not delete" };
    let tries: Vec<Timestamp> = attempts.iter().map(|attempt| attempt.at).collect();
    match pace(&tries, now) {
        Pace::Go => None,
        Pace::Later(wait) => {
            Some(Check::Late { why: format!("{requests} {did} {what}"), wait, hint: Some(hint.to_owned()) })
        }
        Pace::Enough => {
            let why = format!("over several hours {requests} {did} {what}");
            Some(Check::GiveUp(Failure::new("", why).with_hint(hint)))
        }
    }
}

/// What follows when nothing has changed since the last request, which left `since` ago.
pub(super) fn unchanged(since: Duration, what: &str) -> Verify {
    if (SLOW..LULL).contains(&since) {
        let why = format!("{} after the request {what} is still there", minutes(since));
        return Verify::Late { why, wait: LULL.saturating_sub(since), hint: Some(HINT.to_owned()) };
    }
    Verify::Again { why: format!("{what} is still there"), wait: BUSY }
}

/// What follows when Azure says that it is deleting since the last request, which left `since` ago.
pub(super) fn deleting(since: Duration, what: &str) -> Verify {
    if since >= DELETING_FOR_EVER {
        let why = format!("Azure has been deleting {what} for more than a day");
        return Verify::Failed(Failure::new("", why).with_hint(HINT));
    }
    if since >= DELETING {
        let why = format!("Azure has been deleting {what} for {}", minutes(since));
        return Verify::Late { why, wait: DELETING, hint: Some(HINT.to_owned()) };
    }
    Verify::Pending { why: format!("Azure is deleting {what}"), wait: BUSY }
}

/// The same, before a request.
pub(super) fn check_deleting(since: Duration, what: &str) -> Check {
    match deleting(since, what) {
        Verify::Late { why, wait, hint } => Check::Late { why, wait, hint },
        Verify::Failed(failure) => Check::GiveUp(failure),
        _ => Check::Wait { why: format!("Azure is deleting {what}"), wait: BUSY },
    }
}

fn minutes(since: Duration) -> String {
    plural(usize::try_from(since.as_secs() / 60).unwrap_or(usize::MAX), "minute")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::later;

    fn at(minutes: u64) -> Timestamp {
        later("2026-11-20T09:00:00Z".parse().unwrap(), Duration::from_secs(minutes * 60))
    }

    #[test]
    fn requests_without_progress_come_in_rounds_and_end() {
        let mut tries: Vec<Timestamp> = Vec::new();
        let (mut now, mut rounds) = (0, 0);
        loop {
            match pace(&tries, at(now)) {
                Pace::Go => tries.push(at(now)),
                Pace::Later(wait) => {
                    assert!(!wait.is_zero() && wait <= LULL);
                    assert_eq!(tries.len() % ROUND, 0);
                    // Coming back too early sends nothing.
                    assert!(matches!(pace(&tries, at(now + 1)), Pace::Later(_)));
                    now += wait.as_secs() / 60;
                    rounds += 1;
                }
                Pace::Enough => break,
            }
            now += 1;
        }
        assert_eq!((tries.len(), rounds), (ROUND * ROUNDS, ROUNDS - 1));
    }

    #[test]
    fn a_cause_is_named_only_of_what_azure_answered() {
        let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg";
        let target = crate::arm::id::ResourceId::parse(id).unwrap();
        for answered in [true, false] {
            let one = Attempt { at: at(0), target: target.clone(), remaining: None, answered };
            let attempts = vec![&one; ROUND];
            let Some(Check::Late { why, hint, .. }) = check(&attempts, at(1), "x") else { panic!() };
            assert_eq!((hint.unwrap().contains("SAS"), why.contains("without an answer")), (answered, !answered));
        }
    }

    #[test]
    fn what_takes_long_is_come_back_for_and_not_sent_again_at_once() {
        let minute = |minutes: u64| Duration::from_secs(minutes * 60);
        assert!(matches!(unchanged(minute(1), "x"), Verify::Again { .. }));
        for long in [15, 20, 59] {
            let Verify::Late { wait, hint, .. } = unchanged(minute(long), "x") else { panic!("{long}") };
            assert_eq!(wait + minute(long), LULL);
            assert!(hint.unwrap().contains("SAS"));
        }
        assert!(matches!(unchanged(minute(60), "x"), Verify::Again { .. }));
        assert!(matches!(deleting(minute(29), "x"), Verify::Pending { .. }));
        assert!(matches!(deleting(minute(30), "x"), Verify::Late { .. }));
        assert!(matches!(check_deleting(minute(30), "x"), Check::Late { .. }));
        assert!(matches!(deleting(minute(24 * 60), "x"), Verify::Failed(_)));
    }
}
