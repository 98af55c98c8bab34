//! The command line interface over TCP: a line, its answer, and the connection ends.

use super::super::request::Requests;
use super::super::{CliAnswer, CliParts, Service, accept};
use super::answer;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

/// The longest line, its end included.
const LONGEST_LINE_BYTES: usize = 1024;

/// The clients that are served at the same time.
const CONNECTION_LIMIT: usize = 64;

/// How long a client may take to send its line, and to take its answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// A bound listener.
#[derive(Debug)]
pub struct CliListener {
    listener: TcpListener,
}

impl CliListener {
    /// Binds; the error names the address. Needs a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<CliListener> {
        Ok(CliListener { listener: accept::listen(address)? })
    }

    /// The address that the listener is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients until the task is dropped.
    pub async fn run(self, requests: Arc<Requests>) {
        let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        loop {
            let (mut stream, client) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(target: "control", "CLI: cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !requests.access().permits(client.ip()) {
                debug!(target: "control", "CLI connection from {client} is refused: see control-allow");
                continue;
            }
            let Ok(place) = places.clone().try_acquire_owned() else {
                let _ = stream.try_write(b"Too many connections.\n");
                let _ = stream.shutdown().await;
                continue;
            };
            let service = requests.service().clone();
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = serve(stream, &service).await {
                    debug!(target: "control", "CLI connection from {client}: {error}");
                }
            });
        }
    }
}

async fn serve(mut stream: TcpStream, service: &Arc<dyn Service>) -> io::Result<()> {
    let answer = match timeout(CLIENT_PATIENCE, read_line(&mut stream)).await?? {
        Some(line) => answer(service, &line).await,
        None => CliAnswer::Text(format!("The line is longer than {LONGEST_LINE_BYTES} bytes.\n")),
    };
    match answer {
        CliAnswer::Text(text) => timeout(CLIENT_PATIENCE, stream.write_all(text.as_bytes())).await??,
        CliAnswer::Parts(parts) => pass_on(&mut stream, parts).await?,
    }
    stream.shutdown().await?;
    // Closing with unread input would reset the connection and could cost the client its answer.
    let _ = timeout(Duration::from_secs(1), end_of(&mut stream)).await;
    Ok(())
}

/// The line without its end, which may also be the end of the client's input; none when it is too long.
async fn read_line(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut line = Vec::with_capacity(LONGEST_LINE_BYTES);
    let mut input = stream.take(LONGEST_LINE_BYTES as u64);
    loop {
        let bytes = input.read_buf(&mut line).await?;
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            line.truncate(end);
            break;
        }
        if line.len() >= LONGEST_LINE_BYTES {
            return Ok(None);
        }
        if bytes == 0 {
            break;
        }
    }
    Ok(Some(crate::base::text::decode(&line).into_owned()))
}

/// Sends an answer's parts as they come, and tells their maker when the client sends no more.
async fn pass_on(stream: &mut TcpStream, CliParts { mut parts, mut stop }: CliParts) -> io::Result<()> {
    let (mut input, mut output) = stream.split();
    loop {
        tokio::select! {
            part = parts.recv() => match part {
                Some(part) => timeout(CLIENT_PATIENCE, output.write_all(&part)).await??,
                None => return Ok(()),
            },
            () = end_of(&mut input), if stop.is_some() => {
                // The maker may have ended by itself.
                let _ = stop.take().map(|stop| stop.send(()));
            }
        }
    }
}

/// Reads until nothing more can come.
async fn end_of(input: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = [0; 256];
    while matches!(input.read(&mut rest).await, Ok(bytes) if bytes > 0) {}
}
