//! An audit whose texts try everything.

use crate::facts::unread::Unread;
use std::collections::BTreeMap;

use crate::engine::audit::{AUDIT_SCHEMA, Audit, Count, Finding, Level, Since, Summary};

/// Texts that must stay texts.
pub const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "a\nb\r\nc",
    "\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7}",
    "a|b`c`[x](http://x)",
    "\"quoted\", 'single' & <b>",
    "]]> <!-- --> <?xml?>",
    "\u{202e}gnp.exe\u{200b}",
    "\u{0}\u{fffe}# heading",
];

/// One finding for each of them.
pub fn hostile() -> Audit {
    let finding = |text: &&str| Finding {
        key: format!("rule/{text}"),
        rule: "rule".to_owned(),
        title: (*text).to_owned(),
        level: Level::High,
        resource: format!("/subscriptions/x/{text}"),
        name: (*text).to_owned(),
        group: (*text).to_owned(),
        subscription: (*text).to_owned(),
        subscription_name: (*text).to_owned(),
        evidence: vec![(*text).to_owned(), "x".repeat(10_000)],
        code: Some((*text).to_owned()),
        command: Some(format!("azmend explain {text}")),
        objective: None,
        plan: vec![(*text).to_owned()],
        change: Some(Since::New),
        vms: Vec::new(),
    };
    let summary = Summary {
        vms: 12,
        at_risk: 12,
        protected: 0,
        subscriptions: 1,
        objective: crate::facts::objective::Tally::default(),
        levels: BTreeMap::from([("high".to_owned(), 12)]),
        rules: vec![Count {
            rule: "rule".into(),
            title: HOSTILE[0].into(),
            level: Level::High,
            count: 12,
            command: Some(format!("azmend fix {}", HOSTILE[2])),
        }],
        worst: vec![HOSTILE[0].into()],
        planned: BTreeMap::from([("locks removed".to_owned(), 2)]),
        since: BTreeMap::new(),
    };
    Audit {
        schema: AUDIT_SCHEMA.to_owned(),
        sandbox: true,
        version: "0".to_owned(),
        started: jiff::Timestamp::UNIX_EPOCH,
        ended: jiff::Timestamp::UNIX_EPOCH,
        scope: HOSTILE[0].to_owned(),
        collector: "arm".to_owned(),
        calls: 0,
        baseline: None,
        summary,
        findings: HOSTILE.iter().map(finding).collect(),
        not_read: vec![Unread { what: HOSTILE[0].into(), why: HOSTILE[6].into() }],
        exit_code: 6,
    }
}
