//! Every command that a page prints is run as it stands, dry: none may answer "nothing to do", be refused, or be wrong input.
//!
//! What is read: `audit`, `diagnose` of every VM and `fix auto` of it, as objects and as pages, and then what the answers of
//! those commands print in turn. A word in capitals where a person has to choose is filled in as a person would.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use azmend::arm::ResourceId;
use azmend::catalog::Catalog;
use azmend::cli::args::{Args, Command, FixArgs};
use azmend::engine::audit::Audit;
use azmend::engine::choose::choose;
use azmend::engine::diagnose::{Ask as DiagnoseAsk, Diagnosis, diagnose};
use azmend::engine::foresee::asks_a_person;
use azmend::engine::planner::{Planned, view_of};
use azmend::facts::bulk::Selection;
use azmend::facts::collect::{CollectOptions, collect};
use azmend::facts::surroundings::around;
use azmend::playbook::library::Library;
use azmend::report;
use azmend::sim::{Estate, World};
use clap::FromArgMatches as _;
use serde_json::Value;

use crate::support::{Ask, Lab};

const PROGRAM: &str = "azmend --sandbox";
const WIDE: usize = 100_000;

/// The commands in a text: from the program's name on, as far as the words can be a command line.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("azmend ") {
        let line: &str = text[at..].split(['\n', ';', '`']).next().unwrap_or_default();
        let mut words: Vec<String> = Vec::new();
        let mut rest = line;
        while let Some((word, after)) = word(rest) {
            let (takes, last) = (words.last().is_some_and(|last| takes_value(last)), word.ends_with([',', ':']));
            let names = words.last().is_some_and(|last| ["fix", "explain"].contains(&last.as_str()));
            let verb = words.iter().all(|one| one == "azmend" || one.starts_with("--sandbox"));
            if !(takes || names || verb || word.starts_with('-')) {
                break;
            }
            words.push(word.trim_end_matches([',', ':']).to_owned());
            rest = after;
            if last {
                break;
            }
        }
        let raw = line[..line.len() - rest.len()].trim_end_matches([',', ':']);
        let verb = words.iter().skip(1).find(|one| !one.starts_with('-')).map_or("", String::as_str);
        let known =
            ["fix", "explain", "diagnose", "protect", "audit", "jobs", "vms", "engines", "doctor", "runs", "role"];
        if known.contains(&verb) {
            found.push(raw.to_owned());
        }
    }
    found
}

/// Without the terminal's colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or("", |(_, after)| after))
}

fn takes_value(word: &str) -> bool {
    ["--vm", "-s", "--set", "--vault", "--policy", "--lock", "--playbooks", "--resource-group", "--tag", "-o"]
        .contains(&word)
}

/// The next word of a shell's line and what is after it.
fn word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    if let Some(quoted) = text.strip_prefix('\'') {
        let end = quoted.find('\'')?;
        return Some((quoted[..end].to_owned(), &quoted[end + 1..]));
    }
    let end = text.find(' ').unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

fn strings(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|one| strings(one, into)),
        Value::Object(all) => all.values().for_each(|one| strings(one, into)),
        _ => {}
    }
}

static LIBRARY: LazyLock<Library> = LazyLock::new(Library::shipped);

/// One estate under test.
struct House {
    lab: Lab,
    library: &'static Library,
    /// Commands to try, and where each was printed.
    open: BTreeMap<String, String>,
    tried: BTreeSet<String>,
    wrong: Vec<String>,
}

impl House {
    fn of(estate: &Estate) -> Self {
        let lab = Lab::on(World::from_estate(estate));
        // What goes wrong on the way is another test's matter.
        lab.sim.edit(|world| {
            world.faults.clear();
            world.timeline.clear();
        });
        Self { lab, library: &LIBRARY, open: BTreeMap::new(), tried: BTreeSet::new(), wrong: Vec::new() }
    }

    fn note(&mut self, page: &str, texts: &[String]) {
        for command in texts.iter().flat_map(|text| commands(&plain(text))) {
            if !self.tried.contains(&command) {
                self.open.entry(command).or_insert_with(|| page.to_owned());
            }
        }
    }

    async fn audit(&mut self) -> Audit {
        let (selection, mut ask) = (Selection::default(), crate::support::everything());
        ask.program = PROGRAM.to_owned();
        let visible = self.lab.visible().await;
        let (bulk, deep) = azmend::facts::bulk::read(&self.lab.arm, &visible, &selection, None).await.unwrap();
        let audit = azmend::engine::audit::audit(self.library, &bulk, &deep, &ask, bulk.at, 0);
        let mut texts = vec![report::audit::render(&audit, report::audit::Format::Table(WIDE))];
        strings(&serde_json::to_value(&audit).unwrap(), &mut texts);
        self.note("audit", &texts);
        audit
    }

    async fn told(&self, vm: &ResourceId) -> Diagnosis {
        let lab = &self.lab;
        let facts = collect(&lab.arm, vm, &CollectOptions { glance: true, ..CollectOptions::default() }).await;
        let around = around(&lab.arm, &facts, false).await;
        let view = view_of(&facts, &lab.arm, &BTreeSet::new());
        let choice = choose(self.library, &facts, &view);
        let guest = azmend::facts::guest::Guest::NotAllowed;
        let ask =
            DiagnoseAsk { sandbox: true, program: PROGRAM, code: None, vm: vm.as_str(), watch: None, guest: &guest };
        diagnose(&facts, &around, &view, &choice, lab.arm.clock().now(), &ask)
    }

    async fn diagnosis(&mut self, vm: &ResourceId) {
        let told = self.told(vm).await;
        let mut texts = vec![report::diagnosis::page(&told, WIDE), report::diagnosis::markdown(&told)];
        strings(&serde_json::to_value(&told).unwrap(), &mut texts);
        self.note(&format!("diagnose {}", vm.name()), &texts);
    }

    /// The VM that `--vm` and `-s` name.
    fn vm(&self, text: &str, subscriptions: &[String]) -> Option<ResourceId> {
        if text.starts_with('/') {
            return ResourceId::parse(text).ok();
        }
        let world = self.lab.sim.world();
        let here = |id: &ResourceId| {
            let named = |one: &azmend::sim::Subscription| {
                one.id.eq_ignore_ascii_case(id.subscription())
                    && subscriptions.iter().any(|wanted| *wanted == one.name || *wanted == one.id)
            };
            subscriptions.is_empty() || world.subscriptions.iter().any(named)
        };
        let named = |id: &ResourceId| [&*id.short_name(), id.name()].iter().any(|name| name.eq_ignore_ascii_case(text));
        let mut found = world.vms.iter().filter(|vm| here(&vm.id) && named(&vm.id));
        match (found.next(), found.next()) {
            (Some(one), None) => Some(one.id.clone()),
            _ => None,
        }
    }

    /// A person's choice in place of the words in capitals.
    fn filled(&self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        let vm = words.iter().position(|word| *word == "--vm").and_then(|at| words.get(at + 1));
        let subscriptions: Vec<String> = {
            let after = command.split_once(" -s ").map(|(_, after)| word(after).map(|(word, _)| word));
            after.flatten().into_iter().collect()
        };
        let vm = vm.and_then(|vm| self.vm(vm, &subscriptions));
        let world = self.lab.sim.world();
        let item = vm.as_ref().and_then(|vm| world.item_of(vm));
        let vault = item.and_then(|item| item.id.up_to("vaults")).or_else(|| {
            let location = world.vm(vm.as_ref()?).map(|vm| vm.location.clone())?;
            world.vaults.iter().find(|vault| vault.location == location).map(|vault| vault.id.clone())
        });
        let policy = vault.as_ref().and_then(|vault| world.policies.iter().find(|policy| vault.covers(&policy.id)));
        let policy = policy.map_or("none", |policy| policy.id.name());
        command
            .replace("OBJECT_ID", "262044b1-0000-4000-8000-000000000001")
            .replace("VAULT", vault.as_ref().map_or("none", ResourceId::as_str))
            .replace("POLICY", policy)
    }

    async fn run(&mut self, command: &str, page: &str) {
        let filled = if asks_a_person(command) { self.filled(command) } else { command.to_owned() };
        let mut words = Vec::new();
        let mut rest = filled.as_str();
        while let Some((word, after)) = word(rest) {
            words.push(word);
            rest = after;
        }
        let parsed = Args::command_line().try_get_matches_from(&words).and_then(|found| Args::from_arg_matches(&found));
        let args = match parsed {
            Ok(args) => args,
            Err(error) => return self.wrong.push(format!("{page}: {command}: wrong input: {error}")),
        };
        let subscriptions = args.global.subscription.clone();
        let end = match args.command {
            Command::Explain(explain) => {
                let known = explain.list || Catalog::get().by_code(&explain.text.join(" ")).is_some();
                if known { Ok(Vec::new()) } else { Err("not known".to_owned()) }
            }
            Command::Diagnose(args) => match self.vm(&args.vm, &subscriptions) {
                Some(vm) => {
                    Box::pin(self.diagnosis(&vm)).await;
                    Ok(Vec::new())
                }
                None => Err("no such VM".to_owned()),
            },
            Command::Fix(fix) => {
                let fix = FixArgs::from(*fix);
                if fix.fleet.wanted() { Ok(Vec::new()) } else { self.plan(&fix, &subscriptions).await }
            }
            Command::Protect(protect) => match self.vm(&protect.vm, &subscriptions) {
                Some(vm) => {
                    let set = vec![("vault".to_owned(), protect.vault), ("policy".to_owned(), protect.policy)];
                    self.planned("unprotected-vm", &vm, &set, false, &[]).await
                }
                None => Err("no such VM".to_owned()),
            },
            _ => Ok(Vec::new()),
        };
        match end {
            Ok(texts) => self.note(command, &texts),
            // Who looks need not be who repairs: an audit's commands are for somebody who may.
            Err(why) if page == "audit" && why.contains("s6.cannot-restore") => {}
            Err(why) => self.wrong.push(format!("{page}: {command}: {why}")),
        }
    }

    async fn plan(&self, fix: &FixArgs, subscriptions: &[String]) -> Result<Vec<String>, String> {
        let vm = self.vm(fix.vm.as_deref().unwrap_or_default(), subscriptions).ok_or("no such VM")?;
        let mut playbook = fix.playbook.clone().unwrap_or_else(|| "auto".to_owned());
        if playbook == "auto" {
            let facts = collect(&self.lab.arm, &vm, &CollectOptions::default()).await;
            let view = view_of(&facts, &self.lab.arm, &BTreeSet::new());
            let choice = choose(self.library, &facts, &view);
            playbook = choice.playbook.ok_or_else(|| format!("auto chooses nothing: {}", choice.why))?;
        }
        self.planned(&playbook, &vm, &fix.set, fix.allow_guest, &fix.locks).await
    }

    async fn planned(
        &self,
        playbook: &str,
        vm: &ResourceId,
        set: &[(String, String)],
        allow_guest: bool,
        locks: &[ResourceId],
    ) -> Result<Vec<String>, String> {
        let mut request = self.lab.request(playbook, vm.as_str(), &Ask { allow_guest, ..Ask::default() });
        request.set = set.iter().cloned().collect();
        request.named_locks = locks.to_vec();
        match azmend::engine::make_plan(&self.lab.arm, &request).await {
            Planned::Plan(plan) => Ok(plan.warnings.clone()),
            Planned::Waiting { .. } => Ok(Vec::new()),
            Planned::NothingToDo { why, .. } => Err(format!("nothing to do: {why}")),
            Planned::NotChecked { unread, .. } => Err(format!("not checked: {unread:?}")),
            Planned::Refused { refusals, .. } => Err(format!("refused: {refusals:?}")),
            Planned::Input(errors) => Err(format!("wrong input: {errors:?}")),
        }
    }

    async fn run_all(&mut self) -> usize {
        while let Some((command, page)) = self.open.pop_first() {
            if self.tried.insert(command.clone()) {
                self.run(&command, &page).await;
            }
        }
        assert!(self.lab.mutations().is_empty());
        self.tried.len()
    }
}

fn estates() -> Vec<(String, Estate)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/estates");
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let estate = Estate::parse(&text, &name).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        (name, estate)
    };
    all.into_iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")).map(read).collect()
}

#[tokio::test]
async fn every_printed_command_does_what_it_is_printed_for() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (name, estate) in estates() {
        let mut house = House::of(&estate);
        house.audit().await;
        let vms: Vec<ResourceId> = house.lab.sim.world().vms.iter().map(|vm| vm.id.clone()).collect();
        for vm in &vms {
            house.diagnosis(vm).await;
        }
        tried += house.run_all().await;
        wrong.extend(house.wrong.into_iter().map(|one| format!("{name}: {one}")));
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 100, "{tried}");
}

#[test]
fn commands_are_found_in_prose() {
    let text =
        "wait, then run azmend again; azmend --sandbox fix auto --vm a/b -s 'x y' --dry-run, or azmend jobs shows it";
    assert_eq!(commands(text), ["azmend --sandbox fix auto --vm a/b -s 'x y' --dry-run", "azmend jobs"]);
}

/// A VM whose repair is refused for a lock that only its application may remove.
#[tokio::test]
async fn a_refusal_is_said_in_place_of_the_command_that_would_meet_it() {
    let built_in = Estate::built_in();
    let house = House::of(&built_in);
    let owned = house.told(&house.lab.vm("own-11")).await;
    let refusal = owned.refusal.as_ref().expect("the lock is an application's");
    assert_eq!(refusal.rule, "s5.owners");
    assert!(owned.next.as_ref().unwrap().contains(" explain "), "{:?}", owned.next);
    assert!(owned.causes.iter().all(|cause| !cause.next.contains(" fix ")), "{:#?}", owned.causes);
    let page = report::diagnosis::page(&owned, WIDE);
    assert!(page.contains("s5.owners") && page.contains("ask the owner of the application"), "{page}");
    // What only a person can say stands in the command as a word.
    let stopped = house.told(&house.lab.vm("stop-12")).await;
    assert!(stopped.next.as_ref().unwrap().contains("--set policy=POLICY"), "{:?}", stopped.next);
    // And what nothing speaks against is printed as before.
    let full = house.told(&house.lab.vm("web-01")).await;
    assert!(full.refusal.is_none() && full.next.as_ref().unwrap().contains(" fix auto "), "{:?}", full.next);
}

/// What `vms`, `jobs` and `doctor` print is typed as it stands, on estates with and without rights.
#[test]
fn commands_of_the_other_pages_run() {
    let dir = tempfile::tempdir().unwrap();
    let azmend = |words: &[String]| {
        let mut command = assert_cmd::Command::cargo_bin("azmend").unwrap();
        let out = command.env_clear().env("HOME", dir.path()).env("COLUMNS", "200").args(words).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.code().unwrap_or(-1), text)
    };
    let (mut wrong, mut tried) = (Vec::new(), BTreeSet::new());
    for estate in ["built-in", "bad-day", "encrypted"] {
        let world = format!("--sandbox={}/examples/estates/{estate}.yaml", env!("CARGO_MANIFEST_DIR"));
        for page in ["vms", "vms --unprotected", "jobs", "doctor"] {
            let words: Vec<String> = std::iter::once(world.clone()).chain(page.split(' ').map(str::to_owned)).collect();
            let (code, text) = azmend(&words);
            assert!(![1, 2].contains(&code), "{estate}: {page} ends with {code}: {text}");
            for printed in commands(&plain(&text)).into_iter().filter(|printed| !asks_a_person(printed)) {
                let mut words = Vec::new();
                let mut rest = printed.as_str();
                while let Some((word, after)) = word(rest) {
                    words.push(word);
                    rest = after;
                }
                if words.iter().any(|word| ["fix", "protect"].contains(&word.as_str())) {
                    words.push("--dry-run".to_owned());
                }
                let (code, said) = azmend(words.get(1..).unwrap_or_default());
                if [1, 2].contains(&code) {
                    wrong.push(format!("{estate}, {page}: {printed} ends with {code}: {said}"));
                }
                tried.insert(printed);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried.iter().any(|one| one.contains("explain")), "{tried:?}");
}

/// A plan is read in the world that it was made in: its hints are commands for that one.
#[test]
fn the_hints_of_a_plan_begin_as_the_program_was_called() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = assert_cmd::Command::cargo_bin("azmend").unwrap();
    let words = ["--sandbox", "fix", "auto", "--vm", "rg-lab/dup-09", "--dry-run"];
    let out = command.env_clear().env("HOME", dir.path()).env("COLUMNS", "400").args(words).output().unwrap();
    let text = plain(&format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)));
    assert!(text.matches("azmend --sandbox protect").count() >= 2, "{text}");
    assert!(!text.contains("azmend protect"), "{text}");
}
