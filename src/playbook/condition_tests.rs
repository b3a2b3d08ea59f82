//! What conditions accept, refuse and decide.

use std::collections::BTreeMap;

use super::conditions::{Condition, ParamValue, Type, Verdict, view_paths};
use crate::duration::Span;
use crate::facts::view::View;

fn types() -> BTreeMap<String, Type> {
    let types = [("cleanup", Type::Text), ("retain", Type::Int), ("unlock", Type::Bool)];
    types.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect()
}

fn params() -> BTreeMap<String, ParamValue> {
    BTreeMap::from([
        ("cleanup".to_owned(), ParamValue::Text("stale".into())),
        ("retain".to_owned(), ParamValue::Duration(Span::from_secs(86_400))),
        ("unlock".to_owned(), ParamValue::Bool(true)),
    ])
}

fn view() -> View {
    let mut view = View::empty();
    view.vm.name = "web-01".into();
    view.vm.exists = true;
    view.backup.last_error = "UserErrorRpCollectionLimitReached".into();
    view.points.count = 25;
    view.points.limit = 18;
    view.extensions.failed = vec!["VMSnapshot".into(), "Custom".into()];
    view
}

fn compile(source: &str) -> Condition {
    Condition::compile(source, &types()).unwrap_or_else(|problems| panic!("{source}: {problems:#?}"))
}

fn decide(source: &str, view: &View) -> Verdict {
    compile(source).evaluate(view, &params(), &["UserErrorRpCollectionLimitReached".to_owned()])
}

fn problems(source: &str) -> String {
    let problems = Condition::compile(source, &types()).expect_err(source);
    let lines = problems.iter().map(|p| format!("{}: {} / {}", p.at, p.message, p.hint.as_deref().unwrap_or("-")));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn conditions_decide() {
    for (source, expected) in [
        ("backup.last_error in playbook.codes || points.count > points.limit", true),
        ("points.count - points.limit - 8 < 0", true),
        ("points.count * 2 == 50 && -points.limit == -18", true),
        ("params.cleanup == \"stale\"", true),
        ("params.cleanup != 'stale'", false),
        ("params.retain >= 86400 && params.unlock", true),
        ("size(extensions.failed) == 2 && extensions.failed.size() == 2 && vm.name.size() == 6", true),
        ("extensions.failed.exists(e, e.startsWith('VM') && e.endsWith('shot') && e.contains('Snap'))", true),
        ("extensions.failed.all(e, e == 'VMSnapshot')", false),
        ("'Custom' in extensions.failed && !('x' in [])", true),
        ("vm.power in ['running', 'stopped']", false),
        ("extensions.failed == []", false),
        ("vm.exists ? vm.name == 'web-01' : false", true),
        ("vm.name == \"웹-01\"", false),
        ("policy.type == '' && !policy.enhanced", true),
        ("true", true),
    ] {
        assert_eq!(decide(source, &view()), if expected { Verdict::True } else { Verdict::False }, "{source}");
    }
}

#[test]
fn every_path_of_the_view_can_be_read() {
    for (path, known) in view_paths() {
        let source = match known.kind {
            Type::Bool => format!("!{path}"),
            Type::Int => format!("{path} == 0"),
            Type::Text => format!("{path} == ''"),
            Type::List(_) => format!("size({path}) == 0"),
            Type::Any => panic!("{path} has no type"),
        };
        let condition = compile(&source);
        assert_eq!(condition.touched(), std::slice::from_ref(path));
        assert_eq!(condition.evaluate(&View::empty(), &params(), &[]), Verdict::True, "{source}");
        assert!(!known.help.is_empty(), "{path}");
    }
    assert!(view_paths().len() > 40, "{}", view_paths().len());
}

#[test]
fn what_was_not_read_is_not_decided() {
    let mut view = view();
    view.mark_unread("points", "403: no permission");
    let unread = |source| match decide(source, &view) {
        Verdict::NotChecked { unread } => unread,
        other => panic!("{source}: {other:?}"),
    };
    assert_eq!(unread("points.count > 3"), ["points.count: 403: no permission"]);
    // Short-circuiting would have spared it; it still counts.
    assert_eq!(unread("vm.exists || points.count > 3").len(), 1);
    assert_eq!(unread("false && points.failed == points.count").len(), 2);
    assert_eq!(decide("vm.exists", &view), Verdict::True);
    view.mark_unread("extensions.failed", "timeout");
    assert!(matches!(decide("extensions.failed.exists(e, e == 'x')", &view), Verdict::NotChecked { .. }));
    assert_eq!(decide("extensions.other_failed == 0", &view), Verdict::True);
}

/// `when` is only open when what was not read could change the answer.
#[test]
fn what_was_not_read_matters_to_when_only_if_it_can_decide() {
    let mut view = view();
    view.mark_unread("points", "403");
    view.mark_unread("vm.power", "429");
    let when = |source: &str| compile(source).decide(&view, &params(), &[]);
    for (source, expected) in [
        ("vm.exists || points.count > 3", Some(true)),
        ("points.count > 3 || vm.exists", Some(true)),
        ("!vm.exists && points.failed == points.count", Some(false)),
        ("points.failed == points.count && !vm.exists", Some(false)),
        ("params.cleanup == 'service' && (points.count > 3 || vm.power == 'running')", Some(false)),
        ("vm.exists ? params.unlock : points.count > 3", Some(true)),
        ("extensions.failed.exists(e, e == 'VMSnapshot' || e == vm.power)", Some(true)),
        ("extensions.failed.all(e, e == 'Custom' && e == vm.power)", Some(false)),
        ("vm.name == 'web-01'", Some(true)),
        ("vm.exists && points.count > 3", None),
        ("points.count > 3 || !vm.exists", None),
        ("points.count == points.count", None),
        ("!(points.count > 3)", None),
        ("points.count > 3 ? vm.exists : vm.exists", None),
        ("vm.power in ['running'] || points.count in [1]", None),
        ("extensions.failed.all(e, e == vm.power)", None),
    ] {
        match (when(source), expected) {
            (Verdict::True, Some(true)) | (Verdict::False, Some(false)) => {}
            (Verdict::NotChecked { unread }, None) => assert!(!unread.is_empty(), "{source}"),
            (verdict, _) => panic!("{source}: {verdict:?}"),
        }
    }
    let Verdict::NotChecked { unread } = when("points.count > 3 || vm.power == ''") else { panic!() };
    assert_eq!(unread, ["points.count: 403", "vm.power: 429"]);
    // An error that has nothing to do with it is an error still.
    view.mark_unread("locks", "403");
    let verdict = compile("points.limit * 2 > 0").decide(&View::empty(), &BTreeMap::new(), &[]);
    assert_eq!(verdict, Verdict::False);
    assert!(matches!(compile("params.unlock").decide(&view, &BTreeMap::new(), &[]), Verdict::Error { .. }));
}

#[test]
fn an_evaluation_error_is_not_false() {
    let mut view = view();
    view.points.count = i64::MAX;
    let Verdict::Error { why } = decide("points.count + 1 < 0", &view) else { panic!() };
    assert!(why.contains("too large") && why.contains("points.count + 1"), "{why}");
}

#[test]
fn a_missing_parameter_is_an_error_not_false() {
    let verdict = compile("params.unlock").evaluate(&view(), &BTreeMap::new(), &[]);
    assert!(matches!(verdict, Verdict::Error { .. }), "{verdict:?}");
}

#[test]
fn unknown_names_have_a_place_and_a_suggestion() {
    for (source, expected) in [
        (
            "vm.exists && backup.last_eror == ''",
            "13: unknown name \"backup.last_eror\" / did you mean backup.last_error?",
        ),
        ("bakcup.last_error == ''", "0: unknown name \"bakcup\" / did you mean backup?"),
        ("vmsnapshot.state == 'x' || count > 3", "did you mean points.count?"),
        ("params.cleenup == 'x'", "did you mean params.cleanup?"),
        ("playbook.code == 'x'", "did you mean playbook.codes?"),
        ("unread.points == ''", "unknown name \"unread\""),
        ("vm.name.length == 3", "text has no field \"length\""),
        ("points > 3", "points is a group of values"),
        ("int == 3", "unknown name \"int\""),
    ] {
        let found = problems(source);
        assert!(found.contains(expected), "{source}: {found}");
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    let found = problems("vm.nme == 'a' && points.count == 'x' && locks.totl > 0");
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn types_are_checked() {
    for (source, expected) in [
        ("points.count", "the condition is a whole number"),
        ("vm.name", "the condition is text"),
        ("extensions.failed", "the condition is a list of texts"),
        ("points.count == '3'", "a whole number is compared with text"),
        ("points.count > '3'", "> needs a whole number, but this is text"),
        ("vm.name > 'a'", "needs a whole number"),
        ("vm.name && vm.exists", "&& needs a boolean, but this is text"),
        ("!points.count", "needs a boolean"),
        ("-vm.name == 3", "needs a whole number"),
        ("vm.name + 'x' == 'y'", "+ needs a whole number"),
        ("vm.name in 'web-01'", "`in` needs a list"),
        ("3 in extensions.failed", "`in` needs a list"),
        ("extensions.failed.contains('x')", "write `value in list`"),
        ("size(points.count) == 1", "size needs text or a list"),
        ("vm.exists ? 1 : 'a'", "two sides"),
        ("[1, 'a'] == []", "a list holds one type"),
        ("points.count > 1.5", "only whole numbers"),
        ("points.count > 3u", "only whole numbers"),
        ("vm.name == null", "null is not used"),
        ("points.count / 2 > 1", "/ is not used"),
        ("points.count % 2 == 1", "% is not used"),
        ("extensions.failed[0] == 'x'", "is not used on values"),
        ("has(vm.name)", "has() is not used"),
        ("vm.name.matches('.*')", "the function \"matches\" is not used"),
        ("vm.name.startWith('x')", "did you mean startsWith?"),
        ("duration('1h') == duration('2h')", "is not used in conditions"),
        ("type(vm.name) == string", "is not used in conditions"),
        ("extensions.failed.map(e, e) == []", "this loop is not used"),
        ("extensions.failed.filter(e, true) == []", "this loop is not used"),
        ("extensions.failed.exists_one(e, e == '')", "this loop is not used"),
        ("vm.name.exists(e, e == '')", "a loop needs a list"),
        ("extensions.failed.exists(vm, vm == '')", "is taken"),
        ("extensions.failed.exists(e, size(e))", "needs a boolean"),
        ("[1].exists(a, [1].exists(b, [1].exists(c, c == a)))", "nested more than twice"),
        ("vm.name ==", "8: == has no value after it"),
        ("vm.exists vm.exists", "10: an operator is missing between vm.exists and vm.exists"),
        ("vm.exists and agent.ready", "write &&"),
        ("(vm.exists", "0: the bracket ( is never closed"),
        ("vm.exists)", "9: ) closes nothing"),
        ("vm.name = 'x'", "= does not compare: use =="),
        ("vm.exists & agent.ready", "use &&"),
        ("exists(vm.name)", "is called in a way"),
    ] {
        let found = problems(source);
        assert!(found.contains(expected), "{source}: {found}");
    }
}

/// The worst that passes the scan, compiled, checked, evaluated and dropped on a stack smaller than any thread's.
#[test]
fn the_longest_and_deepest_conditions_fit_on_a_small_stack() {
    let sources = vec![
        format!("{}true{}", "(".repeat(32), ")".repeat(32)),
        format!("{}true", "!".repeat(32)),
        format!("{}1{} == 1", "-(".repeat(16), ")".repeat(16)),
        format!("1{} == 1", "+1".repeat(120)),
        format!("true{}", "||true".repeat(120)),
        format!("true{}", "==true".repeat(120)),
        format!("{}true", "true?true:".repeat(60)),
        format!("{}true{}", "(true?".repeat(23), ":true)".repeat(23)),
        format!("{}true{}", "(true?".repeat(32), ":true)".repeat(32)),
        format!("{}1{} == 1", "-(1+".repeat(11), ")".repeat(11)),
        format!("1{} == 1", "+1*1".repeat(20)),
        "extensions.failed.exists(a, extensions.failed.all(b, a == b || size(a) + 1 > 2))".to_owned(),
        format!("vm{}", ".name".repeat(120)),
        format!("{}1{} == 1", "[".repeat(32), "]".repeat(32)),
        format!("{}vm.exists{}", "size([".repeat(16), "])".repeat(16)),
        format!("1 in {}[1]", "[1] in ".repeat(60)),
        format!("vm.name{}", ".contains('a')".repeat(50)),
        format!("vm.name{}", "[0]".repeat(80)),
    ];
    let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(move || {
        let mut kept = 0;
        for source in sources {
            if let Ok(condition) = Condition::compile(&source, &types()) {
                kept += 1;
                let verdict = condition.evaluate(&view(), &params(), &[]);
                assert!(!matches!(verdict, Verdict::Error { .. }), "{source}: {verdict:?}");
            }
        }
        assert!(kept >= 6, "{kept}: nothing would be tried");
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn oversized_conditions_are_refused_before_the_parser() {
    assert!(problems(&"(".repeat(500)).contains("levels"));
    assert!(problems(&"!".repeat(1000)).contains("levels"));
    assert!(problems(&"x".repeat(100_000)).contains("1024"));
    assert!(problems(&"1+".repeat(500)).contains("words and operators"));
}

/// A value for every path that the property below writes.
fn view_with(bits: u8) -> View {
    let mut view = View::empty();
    view.vm.exists = bits & 1 != 0;
    view.agent.ready = bits & 2 != 0;
    view.backup.running = bits & 4 != 0;
    view
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(300))]

    /// What `when` decides without the unread values is what every value of them would have decided.
    #[test]
    fn when_decides_only_what_every_unread_value_would_decide(
        source in "(!?(vm\\.exists|agent\\.ready|backup\\.running|true)( (&&|\\|\\|) )){1,5}!?(vm\\.exists|agent\\.ready)",
        unread in 0u8..8,
        known in 0u8..8,
    ) {
        let condition = compile(&source);
        let mut view = view_with(known);
        for (bit, path) in ["vm.exists", "agent.ready", "backup.running"].into_iter().enumerate() {
            if unread & (1 << bit) != 0 {
                view.mark_unread(path, "403");
            }
        }
        let all: Vec<Verdict> = (0..8u8)
            .filter(|bits| bits & !unread == known & !unread)
            .map(|bits| condition.evaluate(&view_with(bits), &params(), &[]))
            .collect();
        match condition.decide(&view, &params(), &[]) {
            Verdict::NotChecked { .. } => proptest::prop_assert!(unread != 0),
            verdict => proptest::prop_assert!(all.iter().all(|one| *one == verdict), "{source}: {verdict:?}, {all:?}"),
        }
        if unread == 0 {
            proptest::prop_assert_eq!(condition.decide(&view, &params(), &[]), condition.evaluate(&view, &params(), &[]));
        }
    }

    #[test]
    fn any_text_compiles_or_has_a_problem(source in "(vm\\.name|points\\.count|true|'a'|1| in |==|&&|\\(|\\)|\\[|\\]|!|-|\\?|:|,|\\.exists\\(e, |e){0,14}") {
        match Condition::compile(&source, &types()) {
            Ok(condition) => {
                // What passed the check decides.
                let verdict = condition.evaluate(&view(), &params(), &[]);
                proptest::prop_assert!(matches!(verdict, Verdict::True | Verdict::False), "{source}: {verdict:?}");
            }
            Err(problems) => proptest::prop_assert!(!problems.is_empty()),
        }
    }

    #[test]
    fn any_characters_are_survived(source in "\\PC{0,60}") {
        if let Err(problems) = Condition::compile(&source, &types()) {
            proptest::prop_assert!(problems.iter().all(|p| p.at <= source.chars().count()));
        }
    }
}
