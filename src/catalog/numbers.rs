//! Numbers in the place of an error's number, and whether they are Azure Backup's.
//!
//! Duty: a number is only digits: MySQL, SAP, Veeam and SQL Server have errors of the same numbers. So each is read with what
//! stands around it. Must never: take a number for an error of ours when another product's name stands beside it.

/// How far around a number is looked for what it belongs to.
const AROUND: usize = 160;
/// Names that say that the number beside them is theirs. Words, not parts of words: machines have names, too.
const OTHER_PRODUCTS: [&str; 40] = [
    "mysql",
    "mysqldump",
    "mariadb",
    "sql",
    "mssql",
    "sqlserver",
    "severity",
    "oracle",
    "rman",
    "postgres",
    "postgresql",
    "pg",
    "mongodb",
    "sap",
    "hana",
    "db2",
    "veeam",
    "commvault",
    "veritas",
    "netbackup",
    "acronis",
    "rubrik",
    "cohesity",
    "nakivo",
    "devops",
    "pipeline",
    "jenkins",
    "gitlab",
    "docker",
    "kubernetes",
    "printer",
    "spooler",
    "exchange",
    "outlook",
    "sharepoint",
    "citrix",
    "rsync",
    "borg",
    "restic",
    "bacula",
];
/// Phrases that say that a text is about Azure Backup or its servers.
const OURS: [&str; 12] = [
    "azure backup",
    "recovery services",
    "azure vm backup",
    "vm backup",
    "dpm",
    "mabs",
    "backup job",
    "errortitle",
    "vmsnapshot",
    "백업",
    "バックアップ",
    "sicherung",
];

/// A number that stands where the number of an error stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// The number.
    pub value: i64,
    /// It is all that there is.
    pub alone: bool,
    /// It follows "ID".
    pub id: bool,
    /// It follows "error code" in so many words, or a field of that name.
    pub key: bool,
    /// What stands around it, in lower case.
    pub around: String,
}

impl Number {
    /// Whether it is an error of Azure Backup's: what stands around it says so, and nothing says otherwise. `whole` is the
    /// length of the text in characters.
    #[must_use]
    pub fn ours(&self, whole: usize) -> bool {
        if self.alone {
            // Four digits are a year or a port for most of the world.
            return self.value >= 10_000;
        }
        let about = OURS.iter().any(|phrase| self.around.contains(phrase));
        let mut words = self.around.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.')));
        let other = words.any(|word| OTHER_PRODUCTS.contains(&word.trim_matches(['.', '-', '_'])));
        // A field of a recorded job says whose it is; "azure backup" in so many words does, too.
        if other && !self.around.contains("azure backup") && !self.around.contains("errortitle") {
            return false;
        }
        if self.value < 10_000 { self.id && whole <= 60 || about } else { about || self.key || self.id && whole <= 60 }
    }
}

/// "error code" and its like in other languages, as words or as one.
fn is_key(label: &str) -> bool {
    ["error code", "errorcode", "error_code", "오류 코드", "오류코드", "エラー コード", "fehlercode", "\"code"]
        .iter()
        .any(|known| label.ends_with(known))
}

/// Numbers where the number of an error stands: alone, or after "error code", "ID" and the like. Not those of years,
/// versions, GUIDs, lines, dates, ports, sizes, other ids and exit codes.
pub(super) fn numbers(text: &str) -> Vec<Number> {
    const OTHER_IDS: [&str; 22] = [
        "job",
        "event",
        "process",
        "thread",
        "session",
        "correlation",
        "request",
        "activity",
        "task",
        "client",
        "tenant",
        "subscription",
        "object",
        "user",
        "group",
        "disk",
        "vm",
        "transaction",
        "exit",
        "status",
        "http",
        "return",
    ];
    let whole = text.trim_matches(|c: char| !c.is_ascii_digit());
    let alone = whole.len() == text.trim_matches([' ', '#', '(', ')', '"', '\'', '.']).len();
    if let (true, Ok(value)) = (alone, whole.parse()) {
        return vec![Number { value, alone: true, id: false, key: true, around: String::new() }];
    }
    let lower = text.to_lowercase();
    let bytes = lower.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
            continue;
        }
        let begin = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if !(4..=7).contains(&(at - begin)) {
            continue;
        }
        let glued =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'));
        let next = bytes.get(at);
        let dotted =
            matches!(next, Some(b'.' | b',' | b':')) && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
        if glued(begin.checked_sub(1).and_then(|i| bytes.get(i))) || glued(next) || dotted {
            continue;
        }
        let line = lower.get(floor(&lower, begin.saturating_sub(40))..begin).unwrap_or_default();
        let line = line.rsplit('\n').next().unwrap_or_default();
        let label = line.trim_end_matches([' ', '"', '\'', '=', ':', '|', '*', '(', '#', '`']);
        let id = ends_in_word(label, "id");
        let named = id
            || [
                "error code",
                "errorcode",
                "error_code",
                "error",
                "오류 코드",
                "오류",
                "번호",
                "エラー コード",
                "fehlercode",
                "fehler",
            ]
            .iter()
            .any(|known| ends_in_word(label, known))
            || label.ends_with("code");
        let before = label.trim_end_matches("error id").trim_end_matches("id").trim_end_matches("code");
        let before = before.trim_end_matches([' ', '_', '-']);
        let other = OTHER_IDS.iter().any(|word| before.ends_with(word));
        if named
            && !other
            && let Ok(value) = lower.get(begin..at).unwrap_or_default().parse()
        {
            let from = floor(&lower, begin.saturating_sub(AROUND));
            let around = lower.get(from..floor(&lower, (at + AROUND).min(lower.len()))).unwrap_or_default().to_owned();
            out.push(Number { value, alone: false, id, key: is_key(label), around });
        }
    }
    out
}

pub(super) fn floor(text: &str, mut at: usize) -> usize {
    while at > 0 && !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

pub(super) fn ends_in_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word).is_some_and(|rest| !rest.ends_with(|c: char| c.is_ascii_alphanumeric()) || word == "code")
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_numbers_in_the_place_of_a_number_count() {
        use crate::catalog::paste::Paste;
        let found = |text: &str| Paste::of(text).numbers.iter().map(|n| n.value).collect::<Vec<_>>();
        for (text, expected) in [
            ("400196", vec![400_196]),
            ("Error code: 400196.", vec![400_196]),
            ("\"errorCode\": 400196,", vec![400_196]),
            ("오류 코드 400196", vec![400_196]),
            ("failed (ID: 100050)", vec![100_050]),
            ("Job Id: 8d1f0a7c-93bb-4024-9c55-0f3e5f1a77aa", vec![]),
            ("Event ID 4024", vec![]),
            ("Windows Server 2013, 2013-11-04, port 4024, 4024 MB, v1.2013.4", vec![]),
            ("exit code 2013", vec![]),
            ("line 400196", vec![]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
