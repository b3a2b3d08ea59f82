//! Whole commands, as a user starts them: `--help`, and the main job on the embedded Azure.
//!
//! `cargo bench --bench cli`. The aims on two cores: `--help` within 20 ms, the sandbox fix of `web-01` within 200 ms.

#![expect(clippy::unwrap_used, missing_docs, reason = "a benchmark ends where it goes wrong")]

use std::path::Path;
use std::process::{Command, Stdio};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn azmend(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
    command.env_clear().arg("--state-dir").arg(state).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    command
}

fn run(mut command: Command, expected: i32) {
    let code = command.status().map(|status| status.code());
    assert_eq!(code.ok().flatten(), Some(expected));
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    group.sample_size(30);
    let state = tempfile::tempdir().unwrap();
    group.bench_function("help", |bench| {
        bench.iter(|| {
            let mut command = azmend(state.path());
            command.arg("--help");
            run(command, 0);
        });
    });
    // Each run needs a fresh world: the second fix of the same VM would find nothing to do.
    group.bench_function("sandbox fix web-01", |bench| {
        bench.iter_batched(
            || tempfile::tempdir().unwrap(),
            |state| {
                let mut command = azmend(state.path());
                command.args(["--sandbox", "fix", "rp-collection-limit", "--vm", "web-01", "--yes"]);
                run(command, 0);
                state
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
