//! azmend as a library: what the functions of the crate's root do without a command line.

use azmend::engine::{Plan, Status};
use azmend::{
    AuditOptions, Azure, DiagnoseOptions, EstateSource, FixOptions, Journal, Note, Watch, apply, audit, diagnose,
    explain, fix, plan, resume, undo, yes,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn azure(&self) -> Azure {
        Azure::sandbox(EstateSource::BuiltIn, &self.state()).unwrap()
    }

    fn journal(&self) -> Journal {
        Journal::in_dir(&self.state(), true).unwrap()
    }

    fn world_is_kept(&self) -> bool {
        std::fs::read_dir(self.state().join("sandbox")).is_ok_and(|mut worlds| worlds.next().is_some())
    }

    fn runs(&self) -> usize {
        std::fs::read_dir(self.state().join("runs")).map_or(0, Iterator::count)
    }
}

fn limit() -> FixOptions {
    FixOptions::new("rp-collection-limit", "web-01")
}

#[tokio::test]
async fn a_plan_that_is_not_confirmed_changes_nothing_and_leaves_no_run() {
    let home = Home::new();
    let mut seen = Vec::new();
    let mut no = |plan: &Plan| {
        seen.push(plan.hash.clone());
        false
    };
    let error = fix(&home.azure(), &home.journal(), &limit(), &mut no, &Watch::default()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.exit_code()), ("not_confirmed", 5));
    assert_eq!((seen.len(), home.runs()), (1, 0));
}

#[tokio::test]
async fn a_dry_run_asks_no_one_and_keeps_nothing() {
    let home = Home::new();
    let options = FixOptions { dry_run: true, ..limit() };
    let mut never = |_: &Plan| -> bool { panic!("a dry run asked") };
    let result = fix(&home.azure(), &home.journal(), &options, &mut never, &Watch::default()).await.unwrap();
    assert_eq!((result.status, result.exit_code), (Status::Planned, 3));
    assert_eq!(result.next.as_deref(), Some("azmend --sandbox fix rp-collection-limit --vm web-01"));
    assert!(!home.world_is_kept() && home.runs() == 0);
}

#[tokio::test]
async fn a_plan_is_applied_by_its_hash_only() {
    let home = Home::new();
    let (azure, journal, watch) = (home.azure(), home.journal(), Watch::default());
    let proposal = plan(&azure, Some(&journal), &limit(), &watch).await.unwrap();
    let azmend::Decided::Plan(made) = proposal.decided().unwrap() else { panic!("{proposal:?}") };
    let hash = made.hash.clone();
    let error = apply(&azure, &journal, (*made).clone(), "0000", None, None, &watch).await.unwrap_err();
    assert_eq!((error.code.as_str(), home.runs()), ("not_confirmed", 0));
    let mut edited = (*made).clone();
    edited.max_changes += 1;
    assert_eq!(apply(&azure, &journal, edited, &hash, None, None, &watch).await.unwrap_err().code, "plan_edited");
    let done = apply(&azure, &journal, *made, &hash, None, None, &watch).await.unwrap();
    assert_eq!((done.status, done.exit_code, home.runs()), (Status::Succeeded, 0, 1));
}

#[tokio::test]
async fn what_is_stopped_pauses_and_is_resumed_and_undone() {
    let home = Home::new();
    let (azure, journal, watch) = (home.azure(), home.journal(), Watch::default());
    // Stopped from the moment of the confirmation on: the run starts, and pauses before its first change.
    let token = watch.cancel.clone();
    let mut then_stop = move |_: &Plan| {
        token.cancel();
        true
    };
    let paused = fix(&azure, &journal, &limit(), &mut then_stop, &watch).await.unwrap();
    assert_eq!((paused.status, paused.exit_code), (Status::Paused, 7));
    let run = paused.run_id.unwrap();
    let short = &run[..13];
    let refused = resume(&azure, &journal, short, None, &mut |_: &Plan| false, &Watch::default()).await.unwrap_err();
    assert_eq!(refused.code, "not_confirmed");
    let done = resume(&azure, &journal, short, None, &mut yes, &Watch::default()).await.unwrap();
    assert_eq!((done.status, done.exit_code), (Status::Succeeded, 0), "{done:?}");
    assert!(!done.locks_removed.is_empty());
    let undone = undo(&azure, &journal, &run, &mut yes, &Watch::default()).await.unwrap();
    assert!(undone.locks_removed.iter().all(|lock| lock.restored), "{undone:?}");
    let over = resume(&azure, &journal, &run, None, &mut yes, &Watch::default()).await.unwrap();
    assert_eq!(over.error.unwrap().code, "not_resumable");
}

#[tokio::test]
async fn a_reading_that_is_stopped_says_that_nothing_was_changed() {
    let home = Home::new();
    let watch = Watch::default();
    watch.cancel.cancel();
    let options = DiagnoseOptions { vm: "web-01".to_owned(), ..DiagnoseOptions::default() };
    // The embedded Azure answers at once, so that the reading may win: then it is complete.
    match diagnose(&home.azure(), &options, &watch).await {
        Ok(found) => assert_eq!(found.exit_code, 3),
        Err(error) => assert_eq!((error.code.as_str(), error.exit_code()), ("interrupted", 7)),
    }
    assert!(!home.world_is_kept());
}

#[tokio::test]
async fn readings_tell_whoever_watches_and_keep_nothing() {
    let home = Home::new();
    let notes: Arc<Mutex<Vec<Note>>> = Arc::default();
    let heard = Arc::clone(&notes);
    let watch = Watch { notes: Arc::new(move |note| heard.lock().unwrap().push(note)), ..Watch::default() };
    let found = audit(&home.azure(), &AuditOptions::default(), &watch).await.unwrap();
    assert!(found.exit_code == 3 && found.findings.iter().any(|one| one.rule == "rp-collection-limit"));
    let commands: Vec<&str> = found.findings.iter().filter_map(|one| one.command.as_deref()).collect();
    assert!(!commands.is_empty() && commands.iter().all(|one| one.starts_with("azmend --sandbox ")), "{commands:?}");
    let options = FixOptions { dry_run: true, ..FixOptions::new("auto", "web-01") };
    let mut never = |_: &Plan| -> bool { panic!("a dry run asked") };
    fix(&home.azure(), &home.journal(), &options, &mut never, &watch).await.unwrap();
    let notes = notes.lock().unwrap();
    assert!(notes.iter().any(|note| matches!(note, Note::Chosen(why) if why.starts_with("auto: "))), "{notes:?}");
    assert!(!home.world_is_kept());
}

#[tokio::test]
async fn wrong_options_are_refused_before_anything_is_read() {
    let home = Home::new();
    let (azure, watch) = (home.azure(), Watch::default());
    let code = |error: azmend::Error| (error.code.clone(), error.exit_code());
    let wrong = FixOptions::new("no-such-playbook", "web-01");
    assert_eq!(code(plan(&azure, None, &wrong, &watch).await.unwrap_err()), ("playbook_not_found".to_owned(), 2));
    let wrong = FixOptions::new("auto", "a;b");
    assert_eq!(code(plan(&azure, None, &wrong, &watch).await.unwrap_err()), ("bad_name".to_owned(), 2));
    let wrong = AuditOptions { rules: vec!["nothing".to_owned()], ..AuditOptions::default() };
    assert_eq!(code(audit(&azure, &wrong, &watch).await.unwrap_err()), ("unknown_playbook".to_owned(), 2));
    let library = azmend::playbook::library::Library::shipped();
    let lang = azmend::engine::explain::Lang::En;
    assert_eq!(explain("400196", lang, &library, "azmend").unwrap().code, "UserErrorGuestAgentStatusUnavailable");
    assert_eq!(code(explain("xyzzy", lang, &library, "azmend").unwrap_err()), ("error_not_found".to_owned(), 2));
}
