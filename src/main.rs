//! The daemon's entry point.

fn main() -> std::process::ExitCode {
    millrace::daemon::main()
}
