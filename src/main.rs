//! The azmend binary: everything is in [`azmend::cli`].

/// An audit reads pages of a thousand rows, makes trees of them and lets them go. glibc's allocator spends more time on that
/// than azmend on everything else: an audit of 30,000 VMs in 300 subscriptions took 5.7 s of processor time with it, 3.4 s
/// with this one, at the same peak of memory (`cargo bench --bench audit`). musl's is slower still.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    azmend::cli::main(std::env::args_os().collect())
}
