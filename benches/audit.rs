//! `azmend audit` at scale: requests, processor time, memory, wall time, and time under ARM's limits.
//!
//! `cargo bench --bench audit` measures all sizes; `-- 1000x10 100000x100` (VMs x subscriptions) those that are named,
//! `-- --smoke` a tiny one. `--latency 0` or `--latency 50` measures with that latency alone, `--virtual` only under
//! simulated limits, `--kinds` says after each size what the pages of Resource Graph were for.
//!
//! azmend runs as a process of its own against the embedded Azure in another one over HTTP on loopback, so processor time
//! and peak memory are azmend's alone (from `/proc`; elsewhere than on Linux they are not shown). It keeps ARM's published
//! limits there too, so wall time is mostly waiting for them. The last columns are the same audit in this process under
//! virtual time: how long the limits let it take, and the least that its requests can take: for each bucket what is over
//! its size, at its rate; the slowest bucket decides.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark ends where it goes wrong"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use azmend::arm::{Arm, ArmSettings, ReadOnly, ReadPost, StaticToken};
use azmend::clock::{Clock as _, SystemClock, elapsed};
use azmend::engine::audit::{Ask, Auditor, Level};
use azmend::facts::bulk::{Bulk, Collector, Deep, Index, Scan, Selection, Unwatched};
use azmend::facts::graph::VmRow;
use azmend::facts::inventory::Visible;
use azmend::playbook::library::Library;
use azmend::sim::{Exchange, Generate, Server, ServerOptions, Sim, World};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const SIZES: [(usize, usize); 5] = [(1, 1), (1000, 1), (1000, 10), (100_000, 100), (100_000, 1000)];
const GRAPH: &str = "/providers/Microsoft.ResourceGraph/resources";

fn world(vms: usize, subscriptions: usize, now: jiff::Timestamp) -> World {
    let mut world = World::generated(&Generate { vms, subscriptions, now, ..Generate::default() }).unwrap();
    world.settings.latency_ms = 0;
    world
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The embedded Azure, until its parent closes the pipe.
fn serve(vms: usize, subscriptions: usize, latency: u64) {
    let sim = Sim::new(world(vms, subscriptions, SystemClock.now()));
    runtime().block_on(async {
        let server = Server::bind(sim, ServerOptions::default(), Arc::new(SystemClock)).await.unwrap();
        server.delay(Duration::from_millis(latency));
        println!("{} {} {}", server.base(), server.identity_endpoint(), server.identity().secret());
        let stop = CancellationToken::new();
        let until = stop.clone();
        std::thread::spawn(move || {
            let _ended = std::io::stdin().read(&mut [0]);
            until.cancel();
        });
        server.run(stop).await;
    });
}

/// Processor seconds and peak memory in MB of a process, as far as `/proc` tells.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    processor: Option<f64>,
    peak: Option<f64>,
}

impl Used {
    fn look(&mut self, pid: u32) {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        // Processor time stays readable until the process is waited for, the peak only while it lives.
        if let Some(stat) = read("stat")
            && let Some((_, rest)) = stat.rsplit_once(") ")
        {
            let ticks: Vec<f64> = rest.split(' ').skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
            self.processor = Some(ticks.iter().sum::<f64>() / 100.0);
        }
        let line =
            read("status").and_then(|text| text.lines().find(|line| line.starts_with("VmHWM")).map(str::to_owned));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        self.peak = kilobytes.map(|kilobytes| kilobytes / 1024.0).or(self.peak);
    }
}

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

struct Measured {
    used: Used,
    wall: Duration,
    report: Value,
}

/// One audit as a process.
fn measure(vms: usize, subscriptions: usize, latency: u64) -> Measured {
    let mut server: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--serve", &vms.to_string(), &subscriptions.to_string(), &latency.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let [base, identity, secret] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
    let state = tempfile::tempdir().unwrap();
    let out = state.path().join("audit.json");
    let began = Instant::now();
    let mut azmend = Command::new(env!("CARGO_BIN_EXE_azmend"))
        .env_clear()
        .envs([("AZMEND_ARM_ENDPOINT", base), ("IDENTITY_ENDPOINT", identity), ("IDENTITY_HEADER", secret)])
        .args(["--auth", "managed-identity", "--state-dir"])
        .arg(state.path())
        .args(["audit", "--quiet", "--fail-on", "never", "-o", "json", "--out"])
        .arg(&out)
        .stdout(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut used = Used::default();
    let pid = azmend.id();
    // Not waited for before its numbers were read.
    while std::path::Path::new("/proc/self/stat").exists() && !is_zombie(pid) {
        used.look(pid);
        std::thread::sleep(Duration::from_millis(5));
    }
    used.look(pid);
    let status = azmend.wait().unwrap();
    let wall = began.elapsed();
    assert!(status.success(), "{status}");
    drop(server.stdin.take());
    server.wait().unwrap();
    let report = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    Measured { used, wall, report }
}

/// The audit under virtual time: how long it took, the least it can take, and what it sent.
fn limits(vms: usize, subscriptions: usize) -> (Duration, Duration, Vec<Exchange>) {
    let now = "2026-11-20T09:00:00Z".parse().unwrap();
    let sim = Sim::new(world(vms, subscriptions, now));
    runtime().block_on(async {
        let transport = Arc::new(ReadOnly::new(sim.clone(), &[ReadPost::ResourceGraph]));
        let settings =
            ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: "bench".into() };
        let token = Arc::new(StaticToken::new("sandbox", "sandbox"));
        let arm = Arm::new(transport, token, Arc::new(sim.clock()), settings).unwrap();
        let all = arm.subscriptions().await.unwrap().items;
        let visible = Visible { chosen: all.clone(), all, malformed: Vec::new() };
        let (library, ask) = (Library::shipped(), ask());
        let mut auditor = Auditor::new(&library, &ask);
        let selection = Selection::default();
        let graph = Some(Collector::Graph);
        let scan = Scan::open(&arm, &visible, &selection, graph, auditor.jobs(), &Unwatched).await.unwrap();
        let mut sink =
            |bulk: &Bulk, index: &Index, rows: Vec<VmRow>, deep: Deep| auditor.vms(bulk, index, &rows, &deep);
        Box::pin(scan.run(&mut sink)).await.unwrap();
        let took = elapsed(now, sim.clock().now());
        let log = sim.log();
        (took, shortest(&log), log)
    })
}

fn ask() -> Ask {
    Ask {
        rules: Vec::new(),
        codes: Vec::new(),
        min: Level::Info,
        fail_on: None,
        program: "azmend".into(),
        scope: "all".into(),
        sandbox: true,
    }
}

/// The least time that ARM's limits allow for these requests: Resource Graph 15 in each 5 s, reads of a subscription 250
/// and 25 in each second. A request that was refused took nothing of them.
fn shortest(log: &[Exchange]) -> Duration {
    let mut reads: BTreeMap<&str, u64> = BTreeMap::new();
    let mut queries = 0_u64;
    for one in log.iter().filter(|one| one.status != Some(429)) {
        if one.path == GRAPH {
            queries += 1;
        } else if let Some(subscription) = one.path.strip_prefix("/subscriptions/") {
            *reads.entry(subscription.split('/').next().unwrap_or_default()).or_default() += 1;
        }
    }
    let of_graph = queries.saturating_sub(1) / 15 * 5;
    let of_reads = reads.values().map(|count| count.saturating_sub(250).div_ceil(25)).max().unwrap_or(0);
    Duration::from_secs(of_graph.max(of_reads))
}

/// Pages by the type of resource that their query is for.
fn of_kinds(log: &[Exchange]) -> String {
    let mut pages: BTreeMap<String, usize> = BTreeMap::new();
    for one in log.iter().filter(|one| one.path == GRAPH) {
        let query = one.body["query"].as_str().unwrap_or_default();
        let kind = query.split('\'').nth(1).and_then(|kind| kind.rsplit('/').next()).unwrap_or_default();
        let narrowed = if query.contains("in~") { " by name" } else { "" };
        *pages.entry(format!("{kind}{narrowed}")).or_default() += 1;
    }
    pages.iter().map(|(kind, count)| format!("{kind}: {count}")).collect::<Vec<_>>().join(", ")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn row(vms: usize, subscriptions: usize, latencies: &[u64], kinds: bool) -> String {
    let (took, least, log) = limits(vms, subscriptions);
    if kinds {
        eprintln!("{}", of_kinds(&log));
    }
    let pages = log.iter().filter(|one| one.path == GRAPH && one.status == Some(200)).count();
    let refused = log.iter().filter(|one| one.status == Some(429)).count();
    let (calls, of_vms) = (log.len(), vms as f64);
    drop(log);
    let runs: Vec<(u64, Measured)> = latencies.iter().map(|ms| (*ms, measure(vms, subscriptions, *ms))).collect();
    let wall = |wanted: u64| {
        let found = runs.iter().find(|(ms, _)| *ms == wanted);
        number(found.map(|(_, run)| run.wall.as_secs_f64()), 1)
    };
    let most = |of: fn(&Used) -> Option<f64>| runs.iter().filter_map(|(_, run)| of(&run.used)).reduce(f64::max);
    let findings = runs.first().and_then(|(_, run)| run.report["findings"].as_array().map(Vec::len));
    for (_, run) in &runs {
        assert_eq!(run.report["not_read"].as_array().map(Vec::len), Some(0), "{}", run.report["not_read"]);
    }
    let ratio =
        if least.is_zero() { "-".to_owned() } else { format!("{:.2}", took.as_secs_f64() / least.as_secs_f64()) };
    format!(
        "| {vms} | {subscriptions} | {} | {calls} | {:.0} | {pages} | {:.1} | {} | {} | {} | {} | {:.0} | {} | {ratio} | {refused} |",
        findings.map_or_else(|| "-".to_owned(), |count| count.to_string()),
        calls as f64 / of_vms * 1000.0,
        pages as f64 / of_vms * 10_000.0,
        number(most(|used| used.processor), 2),
        number(most(|used| used.peak), 0),
        wall(0),
        wall(50),
        took.as_secs_f64(),
        least.as_secs(),
    )
}

fn main() {
    // `cargo bench` adds this one.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let numbers = |text: &str| {
        let (vms, subscriptions) = text.split_once('x')?;
        Some((vms.parse().ok()?, subscriptions.parse().ok()?))
    };
    if let [serving, vms, subscriptions, latency] = args.as_slice()
        && serving == "--serve"
    {
        return serve(vms.parse().unwrap(), subscriptions.parse().unwrap(), latency.parse().unwrap());
    }
    let mut sizes: Vec<(usize, usize)> = args.iter().filter_map(|arg| numbers(arg)).collect();
    if args.iter().any(|arg| arg == "--smoke") {
        sizes = vec![(60, 3)];
    } else if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let latencies = match args.windows(2).find(|pair| pair[0] == "--latency") {
        _ if args.iter().any(|arg| arg == "--virtual") => Vec::new(),
        Some(pair) => vec![pair[1].parse().unwrap()],
        None => vec![0, 50],
    };
    let kinds = args.iter().any(|arg| arg == "--kinds");
    println!(
        "| VMs | subscriptions | findings | calls | calls per 1,000 VMs | Resource Graph pages | pages per 10,000 VMs | \
         processor s | peak MB | wall s at 0 ms | wall s at 50 ms | s under ARM's limits | least s | ratio | refused |"
    );
    println!("|{}", "--:|".repeat(15));
    for (vms, subscriptions) in sizes {
        println!("{}", row(vms, subscriptions, &latencies, kinds));
    }
}
