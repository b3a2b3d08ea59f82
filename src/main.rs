//! The azmend binary: everything is in [`azmend::cli`].

fn main() -> std::process::ExitCode {
    azmend::cli::main(std::env::args_os().collect())
}
