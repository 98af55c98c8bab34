//! Floor 10: the process: shard threads, router, start and stop.

// This floor is where threads and the like are meant to be.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod build;
pub mod logging;
pub mod notify;
mod numbers;
pub mod process;
mod router;
mod shard_thread;

use std::process::ExitCode;

/// Runs the daemon as the command line says; the exit status is 0 for a clean stop and 1 for an error.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
