//! What an error is and what can be done about it: the catalogue and the playbooks put together.
//!
//! Duty: pure. It says what azmend repairs only where a playbook names the code; what the management plane could do and
//! azmend has no playbook for is not promised. It must never read Azure.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::actions::spec::ActionName;
use crate::catalog::korean::texts;
use crate::catalog::named::{Named, named};
use crate::catalog::paste::LONGEST;
use crate::catalog::search::{Answer, Why};
use crate::catalog::{Category, Entry, results};
use crate::facts::groups::{collection_name, default_group_name};
use crate::playbook::Playbook;
use crate::playbook::library::Library;

/// Name and version of the object.
pub const EXPLAIN_SCHEMA: &str = "azmend.explain/v1";

/// The language of the sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lang {
    /// English.
    En,
    /// Korean.
    Ko,
}

impl Lang {
    /// The language of a locale such as `ko_KR.UTF-8`.
    #[must_use]
    pub fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '.', '-', '@']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("ko") { Self::Ko } else { Self::En }
    }
}

/// A playbook that is for an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fix {
    /// Its name.
    pub playbook: String,
    /// What it repairs.
    pub title: String,
    /// The command; replace `VM` with the machine.
    pub command: String,
}

/// Another error that fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Other {
    /// Its code.
    pub code: String,
    /// What it is, in short.
    pub title: String,
}

/// What `azmend explain` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    /// `azmend.explain/v1`.
    pub schema: String,
    /// The language of the sentences.
    pub lang: Lang,
    /// The symbolic code.
    pub code: String,
    /// Why it was found: `code`, `code_inside`, `message`, `number`, `part`, `near_code`, `words`.
    pub found_by: String,
    /// Other spellings.
    pub aliases: Vec<String>,
    /// Numeric ids shown with it.
    pub numeric_ids: Vec<i64>,
    /// Where it comes from: `iaas-vm`, `crp`, `arm`, `restore`, `job-control`, `mabs`, `classic`, `guide-step`.
    pub category: String,
    /// What it is, in short.
    pub title: String,
    /// Only older services send it.
    pub retired: bool,
    /// What the text itself names: the locked scope and the refused operation, an extension, a disk, a vault, a policy.
    pub named: Vec<Named>,
    /// What follows from the words of the text, and how strong the evidence is.
    pub notes: Vec<String>,
    /// The code in the text that only passes this error on.
    pub outer: Option<Other>,
    /// Causes.
    pub causes: Vec<String>,
    /// How azmend notices it.
    pub detected_by: Vec<String>,
    /// The playbooks that are for it.
    pub fixes: Vec<Fix>,
    /// What to do in the guest. In Korean everything that is left to do is here, what a person decides included.
    pub in_the_guest: Vec<String>,
    /// What a person must decide or do; empty in Korean, see `in_the_guest`.
    pub by_a_person: Vec<String>,
    /// Which troubleshooting documents name it.
    pub documents: Vec<String>,
    /// Where this is written.
    pub sources: Vec<String>,
    /// Other errors that fit what was asked.
    pub others: Vec<Other>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Code => "code",
            Self::Number => "number",
            Self::Message => "message",
            Self::CodeInside => "code_inside",
            Self::Part => "part",
            Self::NearCode => "near_code",
            Self::Words => "words",
        })
    }
}

/// Where an error comes from, as the object says it.
#[must_use]
pub const fn category(category: Category) -> &'static str {
    match category {
        Category::IaasVm => "iaas-vm",
        Category::Crp => "crp",
        Category::Arm => "arm",
        Category::Restore => "restore",
        Category::JobControl => "job-control",
        Category::Mabs => "mabs",
        Category::Classic => "classic",
        Category::GuideStep => "guide-step",
    }
}

/// What an entry is called in a language; English where there is no other.
#[must_use]
pub fn title(entry: &Entry, lang: Lang) -> String {
    let korean = texts().get(&entry.code).filter(|_| lang == Lang::Ko);
    korean.map_or_else(|| entry.message.clone(), |text| text.title.clone())
}

/// The playbooks that name the code, the one for fewest codes first: it is the most specific.
#[must_use]
pub fn fixes(entry: &Entry, library: &Library, program: &str) -> Vec<Fix> {
    let mut found: Vec<(usize, Fix)> = library
        .iter()
        .filter(|(playbook, _)| playbook.codes().iter().any(|code| code.eq_ignore_ascii_case(&entry.code)))
        .map(|(playbook, _)| {
            let command = format!("{program} fix {} --vm VM", playbook.name());
            let fix = Fix { playbook: playbook.name().to_owned(), title: playbook.title().to_owned(), command };
            (playbook.codes().len(), fix)
        })
        .collect();
    found.sort_by(|a, b| (a.0, &a.1.playbook).cmp(&(b.0, &b.1.playbook)));
    found.into_iter().map(|(_, fix)| fix).collect()
}

/// The playbooks that name the code and fit what the text names: one that only removes locks from backup resource groups is
/// no repair of a lock on the VM, on its group or on the subscription.
#[must_use]
pub fn fitting(entry: &Entry, names: &[Named], library: &Library, program: &str) -> Vec<Fix> {
    let unlocks = |playbook: &Playbook| playbook.steps().iter().all(|step| step.action() == ActionName::LocksRemove);
    let useless = !locks_of_backup(names);
    let mut found = fixes(entry, library, program);
    found.retain(|fix| {
        let playbook = library.iter().map(|(playbook, _)| playbook).find(|playbook| playbook.name() == fix.playbook);
        !(useless && playbook.is_some_and(unlocks))
    });
    found
}

/// Whether a lock that a text names may be one that azmend removes; also when it names none.
fn locks_of_backup(names: &[Named]) -> bool {
    let of = |what: &str| names.iter().filter(|one| one.what == what).map(|one| one.value.clone()).collect::<Vec<_>>();
    let (locked, refused) = (of("locked_scope"), of("refused_scope"));
    match (locked.is_empty(), refused.is_empty()) {
        (true, true) => true,
        (true, false) => refused.iter().any(|scope| of_backup(scope, &[])),
        (false, _) => locked.iter().any(|scope| of_backup(scope, &refused)),
    }
}

/// Whether a scope claims to be Backup's: a backup resource group, one that holds a collection of Backup's that a request
/// was refused on, such a collection, or its points. That it is so is found out by the playbook, which reads it.
fn of_backup(scope: &str, refused: &[String]) -> bool {
    let pieces = |id: &str| id.trim_matches('/').split('/').map(str::to_lowercase).collect::<Vec<_>>();
    let after = |id: &str, kind: &str| {
        let pieces = pieces(id);
        pieces.iter().position(|piece| piece == kind).and_then(|at| pieces.get(at + 1).cloned())
    };
    let collection =
        |id: &str| after(id, "restorepointcollections").is_some_and(|name| collection_name(&name).is_some());
    let Some(group) = after(scope, "resourcegroups") else { return false };
    if collection(scope) {
        return true;
    }
    let whole = pieces(scope).len() == 4;
    let holds = |id: &String| after(id, "resourcegroups").is_some_and(|other| other == group) && collection(id);
    whole && (default_group_name(&group).is_some() || refused.iter().any(holds))
}

/// How azmend notices an error, a sentence each.
#[must_use]
pub fn detected_by(entry: &Entry, library: &Library, lang: Lang) -> Vec<String> {
    let ko = lang == Lang::Ko;
    let say = |en: &str, korean: &str| if ko { korean.to_owned() } else { en.to_owned() };
    let live = library.iter().any(|(playbook, _)| {
        playbook.codes().iter().any(|code| code.eq_ignore_ascii_case(&entry.code))
            && playbook.resolve(&std::collections::BTreeMap::new()).is_ok_and(|resolved| {
                resolved
                    .applies
                    .touched()
                    .iter()
                    .any(|path| !path.starts_with("backup.last") && !path.starts_with("playbook"))
            })
    });
    let mut out = match entry.category {
        Category::Classic => vec![say(
            "no longer: the classic API was retired; the text is still recognised",
            "이제는 감지하지 않습니다. 클래식 API는 없어졌고, 문구를 입력하면 찾습니다.",
        )],
        Category::Mabs => vec![say(
            "by the text of a failed job of a Backup Server or DPM: azmend engines",
            "Backup Server 또는 DPM의 실패한 작업 문구로 감지합니다: azmend engines",
        )],
        Category::GuideStep => vec![say(
            "a step of the guide, not an error: fix and doctor look at the same facts",
            "오류가 아니라 안내 단계입니다. fix와 doctor가 같은 사실을 봅니다.",
        )],
        Category::Crp | Category::Arm => vec![say(
            "by Azure's answer to a request, and inside the details of a failed backup job",
            "요청에 대한 Azure의 응답과, 실패한 백업 작업의 세부 정보에서 감지합니다.",
        )],
        Category::IaasVm | Category::Restore | Category::JobControl => vec![say(
            "by code, number or text of the VM's last failed job: azmend jobs",
            "VM의 마지막 실패 작업의 코드, 번호, 문구로 감지합니다: azmend jobs",
        )],
    };
    if live {
        out.push(say(
            "by what the VM shows now, also before a backup fails",
            "백업이 실패하기 전에도 VM의 현재 상태로 감지합니다.",
        ));
    }
    out
}

/// What follows from the words of the text.
fn notes(entry: &Entry, answer: &Answer<'_>, names: &[Named], length: usize, ko: bool) -> Vec<String> {
    let say = |en: String, korean: String| if ko { korean } else { en };
    let mut out: Vec<String> = shortened(length, ko).into_iter().collect();
    if let Some(code) = &answer.ambiguous {
        out.push(say(
            format!("several errors send {code}; the rest of the text decided"),
            format!("{code}는 여러 오류가 씁니다. 나머지 문구로 판단했습니다."),
        ));
    }
    if let Some(result) = answer.windows.and_then(results::known) {
        let shown = format!("0x{:08X}", result.number);
        out.push(say(
            format!(
                "{shown} is a result of Windows ({}): {}; diagnose --allow-guest prints it when the COM+ catalogue in the VM does not open",
                result.name, result.meaning
            ),
            format!(
                "{shown}은(는) Windows의 결과 코드({})입니다. VM의 COM+ 카탈로그를 열 수 없을 때 diagnose --allow-guest가 출력합니다.",
                result.name
            ),
        ));
    }
    if entry.code == "CloudInternalError" {
        out.push(say(
            "the text names no cause: look for an inner code in the job before you change anything".to_owned(),
            "문구에 원인이 없습니다. 무엇을 바꾸기 전에 작업의 세부 정보에서 안쪽 코드를 찾습니다.".to_owned(),
        ));
    }
    if entry.code == "ScopeLocked" {
        out.extend(lock_notes(names, ko));
    }
    out
}

/// That only the head and the tail of a long text were read.
#[must_use]
pub fn shortened(length: usize, ko: bool) -> Option<String> {
    let (size, read) = (length / 1024, LONGEST / 1024);
    let en = format!("the text has {size} KB: its first 16 and its last {} were read, the middle was not", read - 16);
    let korean =
        format!("문구가 {size} KB입니다. 처음 16 KB와 마지막 {} KB만 읽었고 가운데는 읽지 않았습니다.", read - 16);
    (length > LONGEST).then_some(if ko { korean } else { en })
}

/// What the refused verb and the locked scope say.
fn lock_notes(names: &[Named], ko: bool) -> Vec<String> {
    let say = |en: String, korean: String| if ko { korean } else { en };
    let of = |what: &'static str| names.iter().filter(move |one| one.what == what).map(|one| one.value.as_str());
    let mut out = Vec::new();
    match of("refused_operation").next() {
        Some("write") => out.push(say(
            "a write was refused: look for a ReadOnly lock; a CanNotDelete lock does not refuse writes".to_owned(),
            "쓰기가 거부되었습니다. ReadOnly 잠금을 찾습니다. CanNotDelete 잠금은 쓰기를 막지 않습니다.".to_owned(),
        )),
        Some(_) => out.push(say(
            "a delete was refused: a CanNotDelete or a ReadOnly lock does that".to_owned(),
            "삭제가 거부되었습니다. CanNotDelete 또는 ReadOnly 잠금 때문입니다.".to_owned(),
        )),
        None => {}
    }
    let refused: Vec<String> = of("refused_scope").map(str::to_owned).collect();
    let mut scopes = of("locked_scope").peekable();
    if scopes.peek().is_none() && !refused.is_empty() && !refused.iter().any(|scope| of_backup(scope, &[])) {
        out.push(say(
            "the refused request is not on a backup resource group: azmend does not remove this lock; its owner decides"
                .to_owned(),
            "거부된 요청은 백업 리소스 그룹에 대한 것이 아닙니다. azmend는 이 잠금을 제거하지 않습니다. 소유자가 결정합니다."
                .to_owned(),
        ));
    }
    for scope in scopes {
        let depth = scope.trim_matches('/').split('/').count();
        if depth <= 2 {
            out.push(say(
                format!(
                    "the lock is on the whole subscription ({scope}): its owner decides; azmend does not remove it"
                ),
                format!("잠금이 구독 전체({scope})에 있습니다. 소유자가 결정합니다. azmend는 제거하지 않습니다."),
            ));
            continue;
        }
        out.push(say(
            format!("the lock is on {scope}: no other lock matters for this error"),
            format!("잠금은 {scope}에 있습니다. 다른 잠금은 이 오류와 관계가 없습니다."),
        ));
        if !of_backup(scope, &refused) {
            out.push(say(
                "that is no backup resource group: azmend does not remove this lock; its owner decides".to_owned(),
                "백업 리소스 그룹이 아닙니다. azmend는 이 잠금을 제거하지 않습니다. 소유자가 결정합니다.".to_owned(),
            ));
        }
    }
    out
}

/// Explains the best of what was found; `text` is what somebody gave, whose own words are part of the answer.
#[must_use]
pub fn explain(answer: &Answer<'_>, text: &str, library: &Library, lang: Lang, program: &str) -> Option<Explanation> {
    let (first, rest) = answer.found.split_first().filter(|_| answer.sure)?;
    let entry = first.entry;
    let all = texts().get(&entry.code);
    let korean = all.filter(|_| lang == Lang::Ko);
    let names = named(text);
    let other = |entry: &Entry| Other { code: entry.code.clone(), title: title(entry, lang) };
    let english = || {
        let guest = entry.guest_fix.iter().map(|fix| match fix.os.as_str() {
            "windows" => format!("Windows: {}", fix.action),
            "linux" => format!("Linux: {}", fix.action),
            _ => fix.action.clone(),
        });
        guest.collect::<Vec<_>>()
    };
    Some(Explanation {
        schema: EXPLAIN_SCHEMA.to_owned(),
        lang: if korean.is_some() { Lang::Ko } else { Lang::En },
        code: entry.code.clone(),
        found_by: first.why.to_string(),
        aliases: entry.aliases.clone(),
        numeric_ids: entry.numeric_ids.clone(),
        category: category(entry.category).to_owned(),
        title: title(entry, lang),
        retired: entry.obsolete,
        notes: notes(entry, answer, &names, text.len(), korean.is_some()),
        outer: answer.outer.map(other),
        causes: korean.map_or_else(|| entry.causes.clone(), |text| text.causes.clone()),
        // One language on a page: an entry without Korean texts is told in English throughout.
        detected_by: detected_by(entry, library, if korean.is_some() { Lang::Ko } else { Lang::En }),
        fixes: fitting(entry, &names, library, program),
        in_the_guest: korean.map_or_else(english, |text| text.actions.clone()),
        by_a_person: korean.map_or_else(|| entry.manual.clone(), |_| Vec::new()),
        documents: all.map(|text| text.documents.clone()).unwrap_or_default(),
        sources: entry.sources.clone(),
        others: rest.iter().map(|one| other(one.entry)).collect(),
        named: names,
    })
}

#[cfg(test)]
#[path = "explain_coverage_tests.rs"]
mod coverage_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::catalog::search::answer;

    #[test]
    fn every_entry_can_be_explained_in_both_languages() {
        let library = Library::shipped();
        for entry in Catalog::get().entries() {
            for lang in [Lang::En, Lang::Ko] {
                let found = answer(Catalog::get(), &entry.code);
                let told = explain(&found, &entry.code, &library, lang, "azmend").unwrap();
                assert_eq!(told.code, entry.code);
                let help = told.fixes.len() + told.in_the_guest.len() + told.by_a_person.len();
                assert!(!told.causes.is_empty() || help > 0, "{}: nothing is said", entry.code);
                assert!(!told.detected_by.is_empty() && !told.title.is_empty());
                if lang == Lang::Ko && !told.documents.is_empty() {
                    assert_eq!(told.lang, Lang::Ko, "{}", entry.code);
                }
            }
        }
    }

    #[test]
    fn the_words_of_the_text_steer() {
        let text = "(ScopeLocked) The scope '/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/app-1' \
                    cannot perform write operation because following scope(s) are locked: '/subscriptions/s/resourceGroups/rg'.";
        let library = Library::shipped();
        let told = explain(&answer(Catalog::get(), text), text, &library, Lang::En, "azmend").unwrap();
        assert_eq!(told.code, "ScopeLocked");
        assert!(
            told.named.iter().any(|one| one.what == "locked_scope" && one.value.ends_with("/rg")),
            "{:?}",
            told.named
        );
        assert!(told.notes.iter().any(|note| note.contains("ReadOnly")), "{:?}", told.notes);
        let vague = "Code: OperationNotAllowed";
        assert_eq!(explain(&answer(Catalog::get(), vague), vague, &library, Lang::En, "azmend"), None);
    }

    #[test]
    fn the_repair_fits_the_lock_that_the_text_names() {
        let library = Library::shipped();
        let told = |target: &str, verb: &str, locked: &str| {
            let text = format!(
                "(ScopeLocked) The scope '{target}' cannot perform {verb} operation because following scope(s) are locked: \
                 '{locked}'. Please remove the lock and try again."
            );
            explain(&answer(Catalog::get(), &text), &text, &library, Lang::En, "azmend").unwrap()
        };
        let vm = "/subscriptions/s/resourceGroups/shop/providers/Microsoft.Compute/virtualMachines/till-1";
        let rg = "/subscriptions/s/resourceGroups/shop";
        let collection = |group: &str| {
            format!(
                "/subscriptions/s/resourceGroups/{group}/providers/Microsoft.Compute/restorePointCollections/AzureBackup_till-1_42"
            )
        };
        let backup = "/subscriptions/s/resourceGroups/AzureBackupRG_westeurope_3";
        for (target, verb, locked, offered) in [
            (vm, "write", vm, false),
            (vm, "write", rg, false),
            (&format!("{vm}/extensions/VMSnapshot"), "delete", rg, false),
            (vm, "delete", "/subscriptions/s", false),
            (&collection("AzureBackupRG_westeurope_3"), "delete", "/subscriptions/s", false),
            (&collection("AzureBackupRG_westeurope_3"), "delete", backup, true),
            (backup, "write", backup, true),
            (&collection("rp-till-1"), "delete", "/subscriptions/s/resourceGroups/rp-till-1", true),
            (&collection("rp-till-1"), "delete", &collection("rp-till-1"), true),
            (vm, "write", "/subscriptions/s/resourceGroups/AzureBackupRG_old", false),
        ] {
            let told = told(target, verb, locked);
            let found = told.fixes.iter().any(|fix| fix.playbook == "unlock-backup-groups");
            assert_eq!(found, offered, "{verb} {target}, locked {locked}: {:?}", told.fixes);
            let owner = told.notes.iter().any(|note| note.contains("azmend does not remove"));
            assert_eq!(owner, !offered, "{verb} {target}, locked {locked}: {:?}", told.notes);
        }
        let bare =
            explain(&answer(Catalog::get(), "ScopeLocked"), "ScopeLocked", &library, Lang::En, "azmend").unwrap();
        assert!(!bare.fixes.is_empty());
    }

    #[test]
    fn of_a_long_text_it_is_said_what_was_not_read() {
        let text = format!("start\n{}\nERROR: (ScopeLocked) locked", "a line of a log\n".repeat(9000));
        let told = explain(&answer(Catalog::get(), &text), &text, &Library::shipped(), Lang::En, "azmend").unwrap();
        assert_eq!(told.code, "ScopeLocked");
        assert!(told.notes.iter().any(|note| note.contains("KB")), "{:?}", told.notes);
    }

    #[test]
    fn locales() {
        for (locale, lang) in
            [("ko_KR.UTF-8", Lang::Ko), ("ko", Lang::Ko), ("C.UTF-8", Lang::En), ("", Lang::En), ("kok_IN", Lang::En)]
        {
            assert_eq!(Lang::of_locale(locale), lang, "{locale}");
        }
    }
}
