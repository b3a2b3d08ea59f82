//! Tests of `search`.

use super::super::korean::texts;
use super::super::paste::squeezed;
use super::*;

fn first(text: &str) -> Option<String> {
    let found = answer(Catalog::get(), text);
    found.found.first().filter(|_| found.sure).map(|one| one.entry.code.clone())
}

#[test]
fn every_entry_is_found_by_its_code_in_any_case() {
    for entry in Catalog::get().entries() {
        for code in std::iter::once(&entry.code).chain(&entry.aliases) {
            assert_eq!(first(&code.to_uppercase()).as_deref(), Some(entry.code.as_str()));
        }
    }
}

/// Every message and title, in both languages: the entry is the first, or the first has the very same sentence.
#[test]
fn every_message_finds_its_own_entry_first() {
    let own = |code: &str| -> BTreeSet<String> {
        let entry = Catalog::get().by_code(code).unwrap();
        let korean = texts().get(code);
        let all = entry.messages.iter().chain([&entry.message]);
        all.chain(korean.into_iter().flat_map(|text| text.messages.iter().chain([&text.title])))
            .map(|text| squeezed(text))
            .collect()
    };
    let mut bad = Vec::new();
    for entry in Catalog::get().entries() {
        let korean = texts().get(&entry.code);
        let all = entry.messages.iter().chain([&entry.message]);
        for message in all.chain(korean.into_iter().flat_map(|text| text.messages.iter().chain([&text.title]))) {
            let filled = message.replace(['<', '>'], "'");
            match first(&filled) {
                Some(code) if code == entry.code || own(&code).contains(&squeezed(message)) => {}
                other => bad.push(format!("{}: {message}: {other:?}", entry.code)),
            }
        }
    }
    assert_eq!(bad, Vec::<String>::new());
}

#[test]
fn people_find_what_they_hold() {
    for (text, expected) in [
        ("400196", "UserErrorGuestAgentStatusUnavailable"),
        ("UserErrorRpCollectionLimitReach", "UserErrorRpCollectionLimitReached"),
        ("usererrorrpcolectionlimitreached", "UserErrorRpCollectionLimitReached"),
        ("RpCollectionLimit", "UserErrorRpCollectionLimitReached"),
        ("BackUpOperationFailedV2", "BackUpOperationFailed"),
        ("restore point collection max limit has reached", "UserErrorRpCollectionLimitReached"),
        (
            "the job said: UserErrorKeyvaultPermissionsNotConfigured (400198)",
            "UserErrorKeyvaultPermissionsNotConfigured",
        ),
        ("복원 지점 컬렉션이 최대 한도", "UserErrorRpCollectionLimitReached"),
        ("복원지점컬렉션이최대한도에도달했습니다", "UserErrorRpCollectionLimitReached"),
        ("VM 에이전트가 Azure Backup과 통신할 수 없습니다", "UserErrorGuestAgentStatusUnavailable"),
        ("다른 백업 작업이 현재 진행 중", "UserErrorBackupOperationInProgress"),
        ("스냅샷 상태에 대해 VM 에이전트와 통신", "GuestAgentSnapshotTaskStatusError"),
        ("VSS writers bad state", "ExtensionFailedVssWriterInBadState"),
        ("ScopeLocked", "ScopeLocked"),
        ("오류 코드 400196", "UserErrorGuestAgentStatusUnavailable"),
        ("Error code: 400196.", "UserErrorGuestAgentStatusUnavailable"),
        ("백업 실패: The Restore Point collection max limit has reached.", "UserErrorRpCollectionLimitReached"),
        ("오류 UserErrorRpCollectionLimitReachd", "UserErrorRpCollectionLimitReached"),
    ] {
        assert_eq!(first(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn a_message_that_several_share_offers_them_all() {
    let found: Vec<&str> = search(Catalog::get(), "VMSnapshot 확장 작업이 실패했습니다.")
        .iter()
        .map(|one| one.entry.code.as_str())
        .collect();
    assert_eq!(&found[..2], ["ExtensionOperationFailed", "ExtensionOperationFailedForManagedDisks"]);
}

#[test]
fn a_code_that_several_errors_share_is_no_answer_without_its_message() {
    let found = answer(Catalog::get(), "OperationNotAllowed");
    assert!(!found.sure && found.ambiguous.as_deref() == Some("OperationNotAllowed"));
    assert!(found.found.len() >= 3);
    let changed = "Code: OperationNotAllowed\nMessage: Changes were made to the Virtual Machine while the operation \
                   'Create Restore Point' was in progress.";
    assert_eq!(first(changed).as_deref(), Some("OperationNotAllowed_VmChanged"));
}

#[test]
fn the_inner_of_two_errors_is_the_cause() {
    let text = r#"{"error":{"code":"UserErrorCrpReportedUserError","message":"See details","details":[{"code":"ScopeLocked","message":"x"}]}}"#;
    let found = answer(Catalog::get(), text);
    assert_eq!(found.found[0].entry.code, "ScopeLocked");
    assert_eq!(found.outer.map(|entry| entry.code.as_str()), Some("UserErrorCrpReportedUserError"));
}

#[test]
fn nothing_near_is_nothing() {
    for text in ["", " ", "qqqq", "🦀", "hello world", "김치찌개", "99999999", "!!!!", "오류", "에러"] {
        assert!(answer(Catalog::get(), text).found.is_empty(), "{text}");
    }
}

#[test]
fn a_long_log_is_searched_quickly() {
    let line =
        "DEBUG: urllib3.connectionpool: https://management.azure.com:443 \"GET /subscriptions/x HTTP/1.1\" 200 None\n";
    let log = format!("{}(ScopeLocked) locked\n", line.repeat(580));
    assert_eq!(first(&log).as_deref(), Some("ScopeLocked"));
    let strange = "AbcDefGhiJklMno ".repeat(4000);
    assert_eq!(first(&strange), None);
}

proptest::proptest! {
    #[test]
    fn any_text_is_searched(text in "\\PC{0,80}") {
        let found = search(Catalog::get(), &text);
        proptest::prop_assert!(found.len() <= MOST);
    }
}
