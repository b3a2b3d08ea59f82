//! All short sequences of what can be seen, and what must hold of what follows.

use super::*;
use crate::actions::Verb;
use crate::arm::error::{ErrorKind, Failure as ArmFailure};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn request() -> Request {
    let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg";
    Request { verb: Verb::Delete, target: ResourceId::parse(id).unwrap(), before: serde_json::Value::Null }
}

fn arm_error(kind: ErrorKind, code: &str) -> ArmError {
    ArmError::from(ArmFailure {
        request: "GET /x".into(),
        kind,
        code: code.into(),
        message: "no".into(),
        target: String::new(),
        details: Vec::new(),
        request_id: String::new(),
        client_request_id: String::new(),
        correlation_id: String::new(),
        retry_after: None,
        locked_scopes: Vec::new(),
    })
}

fn send_error(class: ErrorClass, lost: bool, again: bool) -> Seen {
    let failure = Failure::new("Code", "Azure's words");
    Seen::Sent(SendSeen::Error(SendError { class, failure, retry_after: None, lost, deletes: true, again }))
}

fn guards(check: Check) -> Seen {
    Seen::Guards { check: Box::new(check), partly_unread: false }
}

/// What can be seen after each kind of instruction.
fn answers(next: &Next) -> Vec<Seen> {
    let second = Duration::from_secs(1);
    match next {
        Next::Guard { .. } => vec![
            guards(Check::Go(request())),
            guards(Check::Holds("gone".into())),
            guards(Check::Wait { why: "busy".into(), wait: second }),
            guards(Check::Refuse(Refusal::new("s8.newest", "it is new"))),
            Seen::Guards { check: Box::new(Check::Refuse(Refusal::new("s12.unread", "?"))), partly_unread: true },
            guards(Check::Unreadable(arm_error(ErrorKind::NotSent, ""))),
            guards(Check::Unreadable(arm_error(ErrorKind::Http { status: 429 }, "TooManyRequests"))),
            guards(Check::Unreadable(arm_error(ErrorKind::Http { status: 403 }, "AuthorizationFailed"))),
            guards(Check::GiveUp(Failure::new("", "too often"))),
            guards(Check::Follow(None)),
        ],
        Next::Send(_) => vec![
            Seen::Sent(SendSeen::Done),
            send_error(ErrorClass::Lost, true, true),
            send_error(ErrorClass::Transient, true, true),
            send_error(ErrorClass::Conflict, false, true),
            send_error(ErrorClass::Throttled, false, true),
            send_error(ErrorClass::NotFound, false, false),
            send_error(ErrorClass::ScopeLocked, false, false),
            send_error(ErrorClass::Forbidden, false, false),
            Seen::TimedOut { what: "Azure".into(), goes_on: true, open: false },
        ],
        Next::Prove => vec![
            Seen::Proof(Verify::Done("deleted (confirmed)".into())),
            Seen::Proof(Verify::Pending { why: "wait".into(), wait: second }),
            Seen::Proof(Verify::Again { why: "there".into(), wait: second }),
            Seen::Proof(Verify::Failed(Failure::new("", "no"))),
            Seen::Proof(Verify::Unknown("?".into())),
            Seen::Proof(Verify::Late { why: "slow".into(), wait: second, hint: None }),
        ],
        Next::Reread => vec![Seen::Reread(None), Seen::Reread(Some(Box::new(arm_error(ErrorKind::NotSent, ""))))],
        Next::LookAtLocks(_) => vec![
            Seen::Locks(LocksSeen::Releasing),
            Seen::Locks(LocksSeen::CameBack(Refusal::new("s5.came-back", "somebody"))),
            Seen::Locks(LocksSeen::Late("slow".into())),
            Seen::Locks(LocksSeen::Other(Failure::new("ScopeLocked", "another"))),
        ],
        Next::Wait { .. } => {
            vec![Seen::Waited, Seen::TimedOut { what: "Azure".into(), goes_on: true, open: false }]
        }
        Next::Answer { .. } => vec![Seen::Answered],
        Next::Learn(_) => vec![Seen::Learned],
        Next::Poll(_) => vec![
            Seen::Poll(PollSeen::Ended),
            Seen::Poll(PollSeen::Failed(Failure::new("Conflict", "no"))),
            Seen::Poll(PollSeen::Unreachable("no network".into())),
            Seen::Poll(PollSeen::Lost { how: Answer::Lost, failure: Failure::new("", "no") }),
        ],
        Next::End(_) | Next::Pause { .. } => Vec::new(),
    }
}

/// Replays a sequence and gives what follows it, with the trail of instructions.
fn replay(purpose: Purpose, proven_by: ProvenBy, seen: &[Seen]) -> Vec<Next> {
    let mut machine = Machine::new(purpose, proven_by, false, at(0));
    seen.iter().enumerate().map(|(i, seen)| machine.next(seen.clone(), at(i64::try_from(i).unwrap()))).collect()
}

/// Every sequence up to this length.
fn sequences(purpose: Purpose, proven_by: ProvenBy, longest: usize, mut each: impl FnMut(&[Seen], &[Next])) {
    let mut open = vec![vec![Seen::Journal { phase: Phase::Idle, to_prove: false }]];
    for _ in 0..longest {
        let mut longer = Vec::new();
        for seen in open {
            let trail = replay(purpose, proven_by, &seen);
            each(&seen, &trail);
            let next = trail.last().unwrap();
            longer.extend(answers(next).into_iter().map(|answer| {
                let mut more = seen.clone();
                more.push(answer);
                more
            }));
        }
        open = longer;
    }
}

#[test]
fn between_two_requests_lie_the_guards_and_success_follows_a_reading() {
    for (purpose, proven_by) in
        [(Purpose::Do, ProvenBy::Reading), (Purpose::Relock, ProvenBy::Reading), (Purpose::Undo, ProvenBy::Guards)]
    {
        let mut count = 0;
        sequences(purpose, proven_by, 7, |seen, trail| {
            count += 1;
            for (i, next) in trail.iter().enumerate() {
                if matches!(next, Next::Send(_)) {
                    let read = matches!(&seen[i], Seen::Guards { check, .. } if matches!(**check, Check::Go(_)));
                    assert!(read, "{purpose:?}: sent after {:?}", seen[i]);
                }
                if let Next::End(End::Outcome(Outcome::Succeeded { .. } | Outcome::AlreadyDone { .. })) = next {
                    let read = matches!(&seen[i], Seen::Proof(Verify::Done(_)))
                        || matches!(&seen[i], Seen::Guards { check, .. } if matches!(**check, Check::Holds(_)));
                    assert!(read, "{purpose:?}: success after {:?}", seen[i]);
                }
                if let Next::End(End::Outcome(Outcome::AlreadyDone { .. })) = next {
                    let taken = seen[..i].iter().any(|s| {
                        matches!(s, Seen::Sent(SendSeen::Done))
                            || matches!(s, Seen::Sent(SendSeen::Error(e)) if e.lost || e.class == ErrorClass::NotFound)
                    });
                    assert!(!taken, "already done, after a request that may have taken effect: {seen:?}");
                }
                if purpose != Purpose::Do {
                    assert!(!matches!(next, Next::Pause { .. }), "an undoing ends, it does not pause: {seen:?}");
                }
            }
        });
        assert!(count > 1000, "{purpose:?}: {count}");
    }
}

#[test]
fn a_conflict_that_stays_is_a_failure_in_azures_words() {
    let mut machine = Machine::new(Purpose::Do, ProvenBy::Reading, false, at(0));
    let mut seen = guards(Check::Go(request()));
    for _ in 0..40 {
        match machine.next(seen, at(0)) {
            Next::Send(_) => seen = send_error(ErrorClass::Conflict, false, true),
            Next::Wait { .. } => seen = Seen::Waited,
            Next::Guard { .. } => seen = guards(Check::Go(request())),
            Next::End(End::Outcome(Outcome::Failed { error })) => {
                assert_eq!((error.message.as_str(), error.code.as_str()), ("Azure's words", "Code"));
                assert!(error.hint.is_some());
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never ends");
}

#[test]
fn a_restoration_waits_through_a_storm_of_429() {
    let throttled = |retry_after| {
        let failure = Failure::new("TooManyRequests", "wait");
        let (class, retry_after) = (ErrorClass::Throttled, Some(Duration::from_secs(retry_after)));
        Seen::Sent(SendSeen::Error(SendError { class, failure, retry_after, lost: false, deletes: false, again: true }))
    };
    for (every, storm, comes_back) in [(60, 10 * 60, true), (20, 14 * 60, true), (60, 3600, false)] {
        let mut machine = Machine::new(Purpose::Relock, ProvenBy::Reading, true, at(0));
        let mut now = 0;
        let mut seen = guards(Check::Go(request()));
        let end = loop {
            match machine.next(seen, at(now)) {
                Next::Send(_) if now >= storm => seen = Seen::Sent(SendSeen::Done),
                Next::Send(_) => seen = throttled(every),
                Next::Wait { wait, .. } => {
                    now += i64::try_from(wait.as_secs()).unwrap();
                    seen = Seen::Waited;
                }
                Next::Guard { .. } => seen = guards(Check::Go(request())),
                Next::Prove => seen = Seen::Proof(Verify::Done("restored".into())),
                end => break end,
            }
            assert!(now < 7200, "it never ends");
        };
        let back = matches!(end, Next::End(End::Outcome(Outcome::Succeeded { .. })));
        assert_eq!(back, comes_back, "429 every {every} s for {storm} s: {end:?}");
    }
}

#[test]
fn what_could_not_be_reached_pauses_a_change_and_is_bounded_for_a_restoration() {
    for purpose in [Purpose::Do, Purpose::Relock] {
        let mut machine = Machine::new(purpose, ProvenBy::Reading, false, at(0));
        let mut now = 0;
        let mut seen = guards(Check::Go(request()));
        let end = loop {
            match machine.next(seen, at(now)) {
                Next::Send(_) => seen = send_error(ErrorClass::NotSent, false, true),
                Next::Wait { wait, .. } => {
                    now += i64::try_from(wait.as_secs()).unwrap();
                    seen = Seen::Waited;
                }
                Next::Guard { .. } => seen = guards(Check::Go(request())),
                end => break end,
            }
            assert!(now < 7200, "{purpose:?} never ends");
        };
        match purpose {
            Purpose::Do => assert!(matches!(end, Next::Pause { why: PauseReason::Unreachable, .. }), "{end:?}"),
            _ => {
                assert!(matches!(end, Next::End(End::Outcome(Outcome::Failed { .. }))), "{end:?}");
                assert!(now >= 10 * 60, "a network that is gone for ten minutes leaves no lock off: {now}");
            }
        }
    }
}

#[test]
fn an_intent_without_an_answer_counts_as_lost_and_is_read() {
    let mut machine = Machine::new(Purpose::Do, ProvenBy::Reading, true, at(0));
    let next = machine.next(Seen::Journal { phase: Phase::Intended, to_prove: true }, at(0));
    assert!(matches!(next, Next::Answer { how: Answer::Lost, .. }), "{next:?}");
    assert_eq!(machine.next(Seen::Answered, at(0)), Next::Prove);
    // Of a restoration reading proves nothing: it is sent again, behind its guards.
    let mut machine = Machine::new(Purpose::Undo, ProvenBy::Reading, true, at(0));
    let next = machine.next(Seen::Journal { phase: Phase::Intended, to_prove: false }, at(0));
    assert!(matches!(next, Next::Answer { how: Answer::Lost, .. }), "{next:?}");
    assert_eq!(machine.next(Seen::Answered, at(0)), Next::Guard { old_facts: false });
}

#[test]
fn a_step_whose_time_is_over_goes_on_or_pauses_and_never_leaves_a_request_open() {
    let mut machine = Machine::new(Purpose::Do, ProvenBy::Reading, true, at(0));
    let over = |goes_on| Seen::TimedOut { what: "Azure".into(), goes_on, open: true };
    assert!(matches!(machine.next(over(false), at(0)), Next::Pause { why: PauseReason::OperationPending, .. }));
    assert!(matches!(machine.next(over(true), at(0)), Next::Answer { how: Answer::OperationTimeout, .. }));
    let end = machine.next(Seen::Answered, at(0));
    assert!(matches!(end, Next::End(End::Outcome(Outcome::Failed { .. }))), "{end:?}");
}

/// A reading after a lost PUT may be of the lock that was deleted, or say for ever that there is none.
#[test]
fn a_restoration_whose_answer_was_lost_is_sent_again() {
    for purpose in [Purpose::Relock, Purpose::Undo] {
        let mut machine = Machine::new(purpose, ProvenBy::Reading, true, at(0));
        let next = machine.next(Seen::Journal { phase: Phase::Intended, to_prove: false }, at(0));
        assert!(matches!(next, Next::Answer { how: Answer::Lost, .. }), "{next:?}");
        assert_eq!(machine.next(Seen::Answered, at(0)), Next::Guard { old_facts: false });
        assert!(matches!(machine.next(guards(Check::Go(request())), at(0)), Next::Send(_)));
        assert!(matches!(machine.next(send_error(ErrorClass::Lost, true, true), at(0)), Next::Wait { .. }));
        assert_eq!(machine.next(Seen::Waited, at(0)), Next::Guard { old_facts: false });
    }
}

/// What was not read for a moment refuses nothing: everything is read again, once.
#[test]
fn a_refusal_on_what_was_not_read_needs_a_second_reading() {
    let refused =
        || Seen::Guards { check: Box::new(Check::Refuse(Refusal::new("s12.unread", "not read"))), partly_unread: true };
    let mut machine = Machine::new(Purpose::Do, ProvenBy::Reading, false, at(0));
    assert_eq!(machine.next(refused(), at(1)), Next::Reread);
    assert_eq!(machine.next(Seen::Reread(None), at(2)), Next::Guard { old_facts: false });
    assert_eq!(machine.next(refused(), at(3)), Next::Reread);
    let end = machine.next(Seen::Reread(None), at(4));
    assert!(matches!(&end, Next::End(End::Outcome(Outcome::Refused { .. }))), "{end:?}");
    // Neither is Azure that asks to wait, nor Azure that cannot be asked at all, a reason to refuse.
    let mut machine = Machine::new(Purpose::Do, ProvenBy::Reading, false, at(0));
    assert_eq!(machine.next(refused(), at(1)), Next::Reread);
    let end = machine.next(Seen::PutOff, at(2));
    assert!(matches!(&end, Next::Pause { why: PauseReason::Throttled, .. }), "{end:?}");
    let mut machine = Machine::new(Purpose::Do, ProvenBy::Reading, false, at(0));
    assert_eq!(machine.next(refused(), at(1)), Next::Reread);
    let error = arm_error(ErrorKind::NotSent, "");
    let end = machine.next(Seen::Reread(Some(Box::new(error))), at(2));
    assert!(matches!(&end, Next::Pause { why: PauseReason::Unreachable, .. }), "{end:?}");
}
