//! The command line interface over TCP: a line, its answer, and the connection ends.

use super::super::{CliAnswer, CliParts, CliReply, Service};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

/// The longest line, its end included.
const LONGEST_LINE_BYTES: usize = 1024;

/// The clients that are served at the same time.
const CONNECTION_LIMIT: usize = 64;

/// How long a client may take to send its line, and to take its answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a command may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);

/// A bound listener.
#[derive(Debug)]
pub struct CliListener {
    listener: TcpListener,
}

impl CliListener {
    /// Binds; the error names the address. Needs a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<CliListener> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on TCP {address}: {error}"));
        Ok(CliListener { listener: listen(address).map_err(named)? })
    }

    /// The address that the listener is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients until the task is dropped.
    pub async fn run(self, service: Arc<dyn Service>) {
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
            let Ok(place) = places.clone().try_acquire_owned() else {
                let _ = stream.try_write(b"Too many connections.\n");
                let _ = stream.shutdown().await;
                continue;
            };
            let service = service.clone();
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = serve(stream, &service).await {
                    debug!(target: "control", "CLI connection from {client}: {error}");
                }
            });
        }
    }
}

/// A wildcard of IPv6 leaves IPv4 to a listener of its own.
pub(in crate::control) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket2::SockRef::from(&socket).set_reuse_address(true)?;
    if address.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(128)
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

async fn answer(service: &Arc<dyn Service>, line: &str) -> CliAnswer {
    let (sender, receiver) = oneshot::channel();
    let reply = CliReply::with_parts(move |answer| {
        // The client may have gone.
        let _ = sender.send(answer);
    });
    super::run(service, line, reply);
    match timeout(COMMAND_PATIENCE, receiver).await {
        Ok(Ok(answer)) => answer,
        _ => CliAnswer::Text("The daemon does not answer.\n".to_owned()),
    }
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
