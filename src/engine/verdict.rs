//! Status and exit code of a run: one table.
//!
//! Duty: [`verdict`] is total over what can be said of a run at its end ([`Ends`]). Invariants, held by a test over every
//! cell: "nothing changed" (exit 4 and 5) is impossible once a request left that may have taken effect; a lock that was to be
//! restored and is not, and an outcome that stays unknown, are always 8; success is 0 only when everything was read.
//! Must never: look at anything else.

use super::exit;
use super::result::Status;

/// Why a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All steps, or a change stopped it.
    Steps,
    /// It paused and can be resumed.
    Paused,
    /// Its journal cannot be written.
    JournalLost,
    /// It was undone.
    Undone,
}

/// The worst that its changes came to, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worst {
    /// Every one holds; of an undoing: everything is as it was.
    Holds,
    /// A required step did not run; of an undoing: something could not be undone.
    Missing,
    /// Something failed.
    Failed,
    /// A permission was missing.
    Forbidden,
    /// A rule stopped something.
    Refused,
    /// Everything else holds, and the backup itself failed.
    BackupFailed,
    /// It is not known whether something happened.
    Unknown,
}

/// What can be said of a run at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub ended: Ended,
    pub worst: Worst,
    /// A request may have taken effect.
    pub changed: bool,
    /// A lock was to be restored and is not.
    pub lock_owed: bool,
    /// Something was not read.
    pub unread: bool,
}

/// Status and exit code.
pub(super) const fn verdict(ends: Ends) -> (Status, u8) {
    if ends.lock_owed {
        return (Status::Stuck, exit::STUCK);
    }
    match (ends.ended, ends.worst) {
        (Ended::Paused, Worst::Unknown) | (Ended::Steps | Ended::Undone, Worst::Unknown) => {
            (Status::Stuck, exit::STUCK)
        }
        (Ended::Paused, _) => (Status::Paused, exit::COME_BACK),
        (Ended::JournalLost, _) if ends.changed => (Status::Partial, exit::PARTIAL),
        (Ended::JournalLost, _) => (Status::Failed, exit::INPUT),
        (Ended::Undone, Worst::Holds) => (Status::Undone, exit::OK),
        (Ended::Undone, _) => (Status::Partial, exit::PARTIAL),
        (Ended::Steps, Worst::Holds) if ends.unread => (Status::Succeeded, exit::PARTIAL),
        (Ended::Steps, Worst::Holds) => (Status::Succeeded, exit::OK),
        (Ended::Steps, Worst::BackupFailed) => (Status::Failed, exit::STILL_FAILS),
        (Ended::Steps, _) if ends.changed => (Status::Partial, exit::PARTIAL),
        (Ended::Steps, Worst::Forbidden) => (Status::Failed, exit::PERMISSION),
        (Ended::Steps, Worst::Refused) => (Status::Refused, exit::REFUSED),
        (Ended::Steps, Worst::Failed | Worst::Missing) => (Status::Failed, exit::PARTIAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: [Ended; 4] = [Ended::Steps, Ended::Paused, Ended::JournalLost, Ended::Undone];
    const WORST: [Worst; 7] = [
        Worst::Holds,
        Worst::Missing,
        Worst::Failed,
        Worst::Forbidden,
        Worst::Refused,
        Worst::BackupFailed,
        Worst::Unknown,
    ];

    fn cells() -> impl Iterator<Item = Ends> {
        ENDED.into_iter().flat_map(|ended| {
            WORST.into_iter().flat_map(move |worst| {
                (0..8u8).map(move |bits| Ends {
                    ended,
                    worst,
                    changed: bits & 1 != 0,
                    lock_owed: bits & 2 != 0,
                    unread: bits & 4 != 0,
                })
            })
        })
    }

    #[test]
    fn nothing_changed_is_only_said_when_nothing_changed() {
        for ends in cells() {
            let (status, code) = verdict(ends);
            let nothing = matches!(code, exit::PERMISSION | exit::REFUSED | exit::INPUT);
            assert!(!(nothing && ends.changed), "{ends:?}: {code}");
            assert!(!(nothing && ends.lock_owed), "{ends:?}: {code}");
            assert_eq!(status == Status::Refused, code == exit::REFUSED, "{ends:?}");
        }
    }

    #[test]
    fn an_owed_lock_and_an_unknown_outcome_need_a_person() {
        for ends in cells() {
            let (status, code) = verdict(ends);
            let journal = ends.ended == Ended::JournalLost;
            let person = ends.lock_owed || ends.worst == Worst::Unknown && !journal;
            assert_eq!(code == exit::STUCK, person, "{ends:?}: {code}");
            assert_eq!(status == Status::Stuck, person, "{ends:?}");
        }
    }

    #[test]
    fn success_is_said_only_of_what_holds_and_was_read() {
        for ends in cells() {
            let (_, code) = verdict(ends);
            let good =
                matches!(ends.ended, Ended::Steps | Ended::Undone) && ends.worst == Worst::Holds && !ends.lock_owed;
            let read = !ends.unread || ends.ended == Ended::Undone;
            assert_eq!(code == exit::OK, good && read, "{ends:?}: {code}");
            if ends.ended == Ended::Paused && !ends.lock_owed && ends.worst != Worst::Unknown {
                assert_eq!(code, exit::COME_BACK, "{ends:?}");
            }
            if ends.ended == Ended::Steps && ends.worst == Worst::BackupFailed && !ends.lock_owed {
                assert_eq!(code, exit::STILL_FAILS, "{ends:?}");
            }
        }
    }
}
