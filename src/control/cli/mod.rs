//! The command line interface: one line in, text out, over TCP or within other protocols.

mod command;
pub mod document;
mod rows;
mod server;
mod table;

pub use command::{CallOrder, CliCommand, FastPathList, Sessions, Setting, Terminated};
pub use rows::{CliRow, CliStatus, rows};
pub use server::CliListener;

use super::{CliAnswer, CliReply, Service};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::info;

/// How long a command may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);

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

/// The answer to a line, which may be made while it is sent.
pub(super) async fn answer(service: &Arc<dyn Service>, line: &str) -> CliAnswer {
    let (sender, receiver) = oneshot::channel();
    let reply = CliReply::with_parts(move |answer| {
        // The client may have gone.
        let _ = sender.send(answer);
    });
    run(service, line, reply);
    match timeout(COMMAND_PATIENCE, receiver).await {
        Ok(Ok(answer)) => answer,
        _ => CliAnswer::Text("The daemon does not answer.\n".to_owned()),
    }
}
