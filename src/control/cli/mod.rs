//! The command line interface: one line in, text out, over TCP or within other protocols.

mod command;
pub mod document;
mod rows;
mod server;
mod table;

pub use command::{CallOrder, CliCommand, FastPathList, Sessions, Setting, Terminated};
pub use rows::{CliRow, CliStatus, rows};
pub use server::CliListener;
pub(super) use server::listen;

use super::{CliReply, Service};
use std::sync::Arc;
use tracing::info;

/// Works off a line. What asks for no work (`usage`, an unknown command) is answered at once.
pub fn run(service: &Arc<dyn Service>, line: &str, reply: CliReply) {
    match table::parse(line) {
        Ok(command) => {
            info!(target: "control", "CLI: {}", line.trim());
            service.cli(command, reply);
        }
        Err(text) => reply.send(text),
    }
}
