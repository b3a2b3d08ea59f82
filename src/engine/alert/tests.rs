use std::path::Path;

use super::*;

const VM_ID: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-app/providers/Microsoft.Compute/virtualMachines/app-01";
const VAULT: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-vault/providers/Microsoft.RecoveryServices/vaults/vault-01";

fn fixture(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alerts").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn of(text: &str) -> Result<Alerts, AlertError> {
    parse(text.as_bytes())
}

fn vm() -> About {
    About::Vm(ResourceId::parse(VM_ID).unwrap())
}

/// The one thing that an alert is about.
fn about(text: &str) -> About {
    let alerts = of(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((alerts.fired.len(), alerts.other.len()), (1, 0), "{alerts:?}");
    alerts.fired[0].about.clone()
}

fn why(text: &str) -> String {
    of(text).unwrap_err().to_string()
}

#[test]
fn a_backup_alert_names_vm_job_and_error() {
    let alerts = of(&fixture("backup-failure.json")).unwrap();
    let [alert] = alerts.fired.as_slice() else { panic!("{alerts:?}") };
    assert_eq!((&alert.about, alert.name.as_str()), (&vm(), "Backup Failure"));
    let job = alert.job.as_ref().unwrap();
    assert_eq!(job.key(), format!("{VAULT}/backupJobs/1f2e3d4c-0000-4000-8000-000000000001").to_lowercase());
    assert_eq!(alert.at.unwrap().to_string(), "2026-11-20T07:00:00Z");
    assert_eq!(alert.code.as_deref(), Some("UserErrorRpCollectionLimitReached"));
}

#[test]
fn each_form_leads_to_the_vm() {
    for name in ["backup-health-event.json", "cloud-event-health.json", "webhook-data.json"] {
        assert_eq!(about(&fixture(name)), vm(), "{name}");
    }
    let About::Item(item) = about(&fixture("event-grid-action-failure.json")) else { panic!("not an item") };
    assert!(item.key().ends_with("/protecteditems/vm;iaasvmcontainerv2;rg-app;app-01"), "{item}");
    let job = format!("{VAULT}/backupJobs/1f2e3d4c");
    let id = About::Job(ResourceId::parse(&job).unwrap());
    assert_eq!(about(&job), id);
    assert_eq!(about(&format!("\u{feff}{job}\r\n")), id);
    assert_eq!(about(&format!("{{\"id\":\"{job}\",\"properties\":{{}}}}")), id);
    let guid = "1F2E3D4C-0000-4000-8000-000000000001";
    assert_eq!(about(guid), About::JobGuid(guid.to_lowercase()));
    // Any capitalisation of the keys that are not published, and without those that may be missing.
    let other = fixture("backup-failure.json")
        .replace("\"sourceId\"", "\"SourceId\"")
        .replace("\"linkedResourceId\"", "\"LinkedResourceID\"");
    assert_eq!(about(&other), vm());
    for key in ["sourceId", "protectedItemId", "linkedResourceId", "extendedInfo", "sourceType", "configurationItems"] {
        let without = fixture("backup-failure.json").replace(&format!("\"{key}\""), "\"gone\"");
        assert_eq!(about(&without), vm(), "without {key}");
    }
    let only_item =
        fixture("backup-failure.json").replace("\"sourceId\"", "\"a\"").replace("\"linkedResourceId\"", "\"b\"");
    assert!(matches!(about(&only_item), About::Item(_)));
    let only_job = only_item.replace("\"protectedItemId\"", "\"c\"");
    assert!(matches!(about(&only_job), About::Job(_)), "{:?}", about(&only_job));
    // UTF-16, as Windows PowerShell writes a file.
    let wide: Vec<u8> = std::iter::once(0xfeff)
        .chain(fixture("backup-failure.json").encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(parse(&wide).unwrap().fired[0].about, vm());
}

#[test]
fn a_resolved_alert_asks_for_nothing() {
    for name in ["backup-resolved.json", "metric-sample.json"] {
        assert_eq!(of(&fixture(name)).unwrap(), Alerts { resolved: 1, ..Alerts::default() }, "{name}");
    }
    let both = format!("[{}, {}]", fixture("backup-resolved.json"), fixture("backup-failure.json"));
    let both = of(&both).unwrap();
    assert_eq!((both.fired.len(), both.resolved), (1, 1));
}

#[test]
fn several_alerts_keep_every_vm() {
    let second = fixture("backup-failure.json").replace("app-01", "app-02");
    let three = format!("[{},{second},{}]", fixture("backup-failure.json"), fixture("backup-failure.json"));
    let alerts = of(&three).unwrap();
    let vms: Vec<&str> = alerts.fired.iter().map(|alert| alert.about.as_str().rsplit('/').next().unwrap()).collect();
    assert_eq!(vms, ["app-01", "app-02"], "the same one is not counted twice");
    // An alert whose ids contradict each other: both are kept, for a person to choose.
    let linked = format!("\"linkedResourceId\": \"{VM_ID}\"");
    let two = fixture("backup-failure.json").replace(&linked, &linked.replace("app-01", "app-09"));
    assert_eq!(of(&two).unwrap().fired.len(), 2);
    let many = format!("[{}]", vec!["{}"; 201].join(","));
    assert!(why(&many).contains("201 entries"), "{}", why(&many));
}

#[test]
fn what_is_not_the_backup_of_a_vm_is_named() {
    let other = |text: &str| {
        let alerts = of(text).unwrap();
        assert!(alerts.fired.is_empty(), "{alerts:?}");
        alerts.other.join("; ")
    };
    let database = other(&fixture("backup-of-a-database.json"));
    assert!(database.contains("SQLDataBase;MSSQLSERVER;orders"), "{database}");
    // Also when only the source says so.
    let source = other(&fixture("backup-of-a-database.json").replace("\"protectedItemId\"", "\"x\""));
    assert!(source.contains("SQLDataBase"), "{source}");
    let sql = fixture("metric-sample.json")
        .replace("Resolved", "Fired")
        .replace("microsoft.compute/virtualmachines/wcus-r2-gen2", "microsoft.sql/servers/sql-01/databases/orders");
    assert!(other(&sql).contains("microsoft.sql/servers/databases"), "{}", other(&sql));
    assert!(other(&fixture("event-grid-validation.json")).contains("validation"));
    let success = fixture("event-grid-action-failure.json").replace("ResourceActionFailure", "ResourceActionSuccess");
    assert!(other(&success).contains("success"));
    let storage = fixture("event-grid-action-failure.json").replace(
        "Microsoft.RecoveryServices/vaults/vault-01/backupFabrics",
        "Microsoft.Storage/storageAccounts/a/blobServices",
    );
    assert!(!of(&storage).unwrap().other.is_empty());
    assert!(why(&fixture("non-common.json")).contains("switch the common alert schema on"));
}

#[test]
fn hostile_alerts_end_in_a_sentence() {
    let deep =
        format!("{{\"schemaId\":\"azureMonitorCommonAlertSchema\",\"data\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(why(&deep).contains("nested too deeply"), "{}", why(&deep));
    let fired = fixture("backup-failure.json");
    let cases: [(String, &str); 14] = [
        (String::new(), "it is empty"),
        ("\u{feff} \n".to_owned(), "it is empty"),
        ("hello".to_owned(), "neither the resource id of a backup job nor a GUID"),
        (VM_ID.to_owned(), "neither the resource id of a backup job nor a GUID"),
        ("{".to_owned(), "cannot be read"),
        (fired.clone() + "{}", "cannot be read"),
        ("[]".to_owned(), "the list is empty"),
        ("[1]".to_owned(), "[0] is not an object"),
        ("{}".to_owned(), "no schemaId"),
        ("{\"schemaId\":\"azureMonitorCommonAlertSchema\"}".to_owned(), "no data"),
        ("{\"data\":{\"essentials\":[]}}".to_owned(), "data.essentials is a list, not an object"),
        (fired.replace("\"Fired\"", "7"), "data.essentials.monitorCondition is a number, not a text"),
        (fired.replace("\"Fired\"", "\"F\u{202e}ired\""), "azmend knows Fired and Resolved"),
        (fired.replace("virtualMachines/app-01/providers", "virtualMachines/../app-01/providers"), "is no resource id"),
    ];
    for (text, expected) in &cases {
        let why = why(text);
        assert!(why.contains(expected), "{expected}: {why}");
        assert!(!why.contains('\u{202e}') && why.len() < 1000, "{why}");
    }
    assert!(parse(&[0xc3, 0x28]).unwrap_err().to_string().contains("UTF-8"));
    assert!(parse(&[0xff, 0xfe, 0x00, 0xd8]).unwrap_err().to_string().contains("UTF-8"));
    // Names of any script are names; what shows nothing is none.
    let korean = fired.replace("app-01", "서버-01");
    assert_eq!(about(&korean).as_str(), VM_ID.replace("app-01", "서버-01"));
    assert!(why(&fired.replace("app-01", "app\u{200b}-01")).contains("is no resource id"));
    let nested = "{\"RequestBody\":\"{\\\"RequestBody\\\":\\\"{}\\\"}\"}";
    assert!(why(nested).contains("RequestBody of its own"), "{}", why(nested));
    let long = fired.replace("Backup Failure", &"x".repeat(3000));
    assert!(why(&long).contains("more than 2048 characters"), "{}", why(&long));
}

proptest::proptest! {
    /// Nothing that somebody sends makes it panic, and what it accepts it names.
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, cut in 0usize..4000, at in 0usize..4000, with: u8) {
        drop(parse(&bytes));
        let mut real = fixture("backup-failure.json").into_bytes();
        real.truncate(real.len().saturating_sub(cut));
        if let Some(byte) = real.get_mut(at) {
            *byte = with;
        }
        if let Ok(alerts) = parse(&real) {
            assert!(!alerts.fired.is_empty() || alerts.resolved > 0 || !alerts.other.is_empty());
        }
    }
}
