//! Floor 10: `millracectl`, which shows an operator what a daemon does, and tells it what to do, through its CLI port.

// This floor is where sockets and the like are meant to be.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod arguments;
mod capture;
mod connection;
mod metrics;
mod top;

pub use arguments::command;
use arguments::{Invocation, Order};
use connection::Connection;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Said(String),
    /// Standard output, or the file that is written.
    #[error("cannot write: {0}")]
    Output(io::Error),
}

/// Runs `millracectl` as the command line says. The exit status is 0 where the daemon has answered, 1 where it has not,
/// and 2 for a command line that is not understood.
pub fn main() -> ExitCode {
    let invocation = match arguments::read(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // There is nowhere else to say that it can't be said.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(&invocation)),
        Err(error) => Err(Failure::Said(error.to_string())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as `head` has.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("millracectl: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(invocation: &Invocation) -> Result<(), Failure> {
    let address = &invocation.address;
    match &invocation.order {
        Order::Line(line) => {
            let mut connection = Connection::open(address).await.map_err(Failure::Said)?;
            connection.say(line).await.map_err(Failure::Said)?;
            pass_on(&mut connection).await
        }
        Order::Capture(capture) => {
            let mut connection = Connection::open(address).await.map_err(Failure::Said)?;
            capture::run(&mut connection, capture).await
        }
        Order::Metrics(wanted) => metrics::run(address, wanted).await,
        Order::Top(top) => top::run(address, top).await,
    }
}

/// Prints the answer as it comes.
async fn pass_on(connection: &mut Connection) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    while let Some(part) = connection.hear().await.map_err(Failure::Said)? {
        out.write_all(part).map_err(Failure::Output)?;
    }
    out.flush().map_err(Failure::Output)
}
