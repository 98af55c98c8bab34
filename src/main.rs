//! The daemon's entry point.

/// Requests make and drop many small values; this allocator does that in a fraction of the time of the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    millrace::daemon::main()
}
