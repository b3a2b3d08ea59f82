//! `azmend explain` for people, in the language that was asked for.

use anstyle::Style;

use super::layout::{BOLD, CARE, DIM, GOOD, Page, paint};
use crate::engine::explain::{Explanation, Lang, Other};

const PLAIN: Style = Style::new();

/// The fixed words of the page.
struct Words {
    causes: &'static str,
    detected: &'static str,
    fixes: &'static str,
    none: &'static str,
    guest: &'static str,
    person: &'static str,
    source: &'static str,
    others: &'static str,
    retired: &'static str,
    also: &'static str,
    named: &'static str,
    outer: &'static str,
}

const ENGLISH: Words = Words {
    causes: "Causes",
    detected: "How azmend notices it",
    fixes: "What azmend repairs",
    none: "nothing: no playbook repairs it",
    guest: "In the guest",
    person: "What you must decide or do",
    source: "Source",
    others: "Also possible",
    retired: "only older services send it",
    also: "also",
    named: "What the text says",
    outer: "only wraps another error",
};

const KOREAN: Words = Words {
    causes: "원인",
    detected: "azmend의 감지 방법",
    fixes: "azmend가 고치는 것",
    none: "없음: 이 오류를 위한 플레이북이 없습니다",
    guest: "할 일",
    person: "사람이 결정할 일",
    source: "출처",
    others: "다른 후보",
    retired: "예전 서비스에서만 나옵니다",
    also: "다른 이름",
    named: "문구가 말하는 것",
    outer: "바깥 코드(전달만 함)",
};

/// The page.
#[must_use]
pub fn page(told: &Explanation, width: usize) -> String {
    let words = if told.lang == Lang::Ko { &KOREAN } else { &ENGLISH };
    let mut page = Page::new(width);
    page.line(&paint(BOLD, &told.code));
    page.item("", PLAIN, &told.title);
    let ids: Vec<String> = told.numeric_ids.iter().map(ToString::to_string).collect();
    let names: Vec<String> = told.aliases.iter().cloned().chain(ids).collect();
    if !names.is_empty() {
        page.item(&format!("{}  ", words.also), DIM, &names.join(", "));
    }
    if let Some(why) = found_by(&told.found_by, told.lang) {
        page.item("", DIM, why);
    }
    if told.retired {
        page.item("", CARE, words.retired);
    }
    if let Some(outer) = &told.outer {
        page.item(&format!("{}  ", words.outer), DIM, &outer.code);
    }
    if told.found_by != "code" {
        let names = told.named.iter().map(|one| format!("{}: {}", one.what.replace('_', " "), one.value));
        list(&mut page, words.named, &told.notes.iter().cloned().chain(names).collect::<Vec<_>>());
    }
    list(&mut page, words.causes, &told.causes);
    list(&mut page, words.detected, &told.detected_by);
    page.gap();
    page.line(&paint(BOLD, words.fixes));
    for fix in &told.fixes {
        page.item("  ", GOOD, &fix.command);
        page.item("      ", PLAIN, &fix.title);
    }
    if told.fixes.is_empty() {
        page.item("  ", DIM, words.none);
    }
    list(&mut page, words.guest, &told.in_the_guest);
    list(&mut page, words.person, &told.by_a_person);
    list(&mut page, words.source, &told.sources);
    others(&mut page, words.others, &told.others);
    page.finish()
}

/// Why it was found, when that was not by its code.
fn found_by(why: &str, lang: Lang) -> Option<&'static str> {
    let ko = lang == Lang::Ko;
    Some(match why {
        "number" if ko => "번호로 찾았습니다",
        "number" => "found by its number",
        "message" if ko => "메시지로 찾았습니다",
        "message" => "found by its message",
        "part" if ko => "메시지의 일부로 찾았습니다",
        "part" => "found by a part of its message",
        "near_code" if ko => "비슷한 코드로 찾았습니다",
        "near_code" => "found by a code that is nearly this one",
        "words" if ko => "비슷한 문구로 찾았습니다: 맞는지 확인하십시오",
        "words" => "found by similar words: check that it is what you mean",
        _ => return None,
    })
}

fn list(page: &mut Page, heading: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    page.gap();
    page.line(&paint(BOLD, heading));
    for line in lines {
        page.item("  - ", PLAIN, line);
    }
}

fn others(page: &mut Page, heading: &str, others: &[Other]) {
    if others.is_empty() {
        return;
    }
    page.gap();
    page.line(&paint(BOLD, heading));
    for other in others {
        page.item("  ", PLAIN, &format!("{}: {}", other.code, other.title));
    }
}
