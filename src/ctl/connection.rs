//! A connection to the CLI port: one line goes out, and the answer ends with the connection.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a daemon may take to accept, and to begin and go on with an answer. A command may take it 30 s.
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_PATIENCE: Duration = Duration::from_secs(40);

/// A connection on which a line may be said.
pub(super) struct Connection {
    stream: TcpStream,
    address: String,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects; the error says what may be wrong.
    pub(super) async fn open(address: &str) -> Result<Connection, String> {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|error| {
            format!(
                "no daemon answers at {address}: {error}\n\
                 Is millrace running, with `listen-cli = {address}` in its configuration? --address names another place."
            )
        })?;
        Ok(Connection { stream, address: address.to_owned(), buffer: vec![0; 64 * 1024] })
    }

    /// Says a line.
    pub(super) async fn say(&mut self, line: &str) -> Result<(), String> {
        let line = format!("{line}\n");
        let said = timeout(PATIENCE, self.stream.write_all(line.as_bytes())).await;
        self.checked(said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
    }

    /// The next part of the answer; none at its end.
    pub(super) async fn hear(&mut self) -> Result<Option<&[u8]>, String> {
        let read = timeout(ANSWER_PATIENCE, self.stream.read(&mut self.buffer)).await;
        let bytes = self.checked(read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))?;
        Ok(Some(&self.buffer[..bytes]).filter(|part| !part.is_empty()))
    }

    /// The same for an answer that goes on as long as it has not been ended.
    pub(super) async fn hear_on(&mut self, has_ended: bool) -> Result<Option<&[u8]>, String> {
        if has_ended {
            return self.hear().await;
        }
        let read = self.stream.read(&mut self.buffer).await;
        let bytes = self.checked(read)?;
        Ok(Some(&self.buffer[..bytes]).filter(|part| !part.is_empty()))
    }

    /// Says that no more is said, which ends answers that go on until then.
    pub(super) async fn end(&mut self) -> Result<(), String> {
        let ended = self.stream.shutdown().await;
        self.checked(ended)
    }

    fn checked<T>(&self, result: io::Result<T>) -> Result<T, String> {
        result.map_err(|error| format!("the daemon at {} does not answer: {error}", self.address))
    }
}
