//! The labelled texts: what the search must answer first, and for what it must say that it does not know.

use super::Catalog;
use super::search::answer;

/// A text and the codes that may be answered first; none: unknown.
struct Labelled {
    expected: Vec<String>,
    text: String,
}

fn texts() -> Vec<Labelled> {
    let mut out = Vec::new();
    for block in include_str!("../../tests/fixtures/explain/labelled.txt").split("\n=== ").skip(1) {
        let Some((label, text)) = block.split_once('\n') else { continue };
        let expected: Vec<String> = label.split('|').map(|code| code.trim().to_owned()).collect();
        let expected = if expected == ["unknown"] { Vec::new() } else { expected };
        out.push(Labelled { expected, text: text.trim_end_matches('\n').to_owned() });
    }
    out
}

/// Says the figures, and each text that is answered wrongly or missed.
#[test]
fn no_text_is_answered_wrongly() {
    let (mut right, mut wrong, mut missed, mut quiet) = (0_u32, Vec::new(), Vec::new(), 0_u32);
    let texts = texts();
    for one in &texts {
        let found = answer(Catalog::get(), &one.text);
        let first = found.found.first().filter(|_| found.sure).map(|one| one.entry.code.clone());
        let start: String = one.text.chars().take(90).collect();
        match first {
            Some(code) if one.expected.contains(&code) => right += 1,
            Some(code) => wrong.push(format!("{code}, want {:?}: {start}", one.expected)),
            None if one.expected.is_empty() => quiet += 1,
            None => missed.push(format!("unknown, want {:?}: {start}", one.expected)),
        }
    }
    let (said, known) =
        (f64::from(right) + wrong.len() as f64, texts.iter().filter(|one| !one.expected.is_empty()).count());
    let (precision, recall) = (f64::from(right) / said.max(1.0), f64::from(right) / (known as f64).max(1.0));
    let told = format!(
        "{} texts: {right} right, {quiet} rightly unknown, precision {precision:.3}, recall {recall:.3}, cost {}\n\
         wrong: {wrong:#?}\nmissed: {missed:#?}",
        texts.len(),
        3 * wrong.len() + missed.len()
    );
    println!("{told}");
    assert!(texts.len() >= 150, "{told}");
    assert!(wrong.is_empty(), "{told}");
    assert!(recall >= 0.97, "{told}");
}
