//! NG over streams: TCP, and sockets in the file system. Many messages a connection and no delimiter; replies leave in
//! the order in which they are there. What comes without a cookie is answered without one, in its order.

use super::accept::{self, Place, Places};
use super::connection::{Connection, Outbox, connection};
use super::request::Requests;
use crate::ng::framing::{Frame, Framer};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

/// How long a client may take to send a message that it has begun, and to take what is sent.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client whose words cannot be read is still listened to.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is read at once.
const READ_BYTES: usize = 16 << 10;

/// Who a client at a socket in the file system is, for statistics and the log.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A bound listener.
#[derive(Debug)]
pub struct StreamListener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// The file of a socket; removed when dropped.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl StreamListener {
    /// Binds to a TCP address; the error names it. Needs a tokio runtime, like the other.
    pub fn tcp(address: SocketAddr) -> io::Result<StreamListener> {
        accept::listen(address).map(Kind::Tcp).map(StreamListener)
    }

    /// Makes a socket that the daemon's user and group may use; one that nobody listens at is replaced. The error names
    /// the path.
    pub fn unix(path: &Path) -> io::Result<StreamListener> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on the socket {}: {error}", path.display()))
        };
        let bind = || {
            let is_socket = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
            if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
                std::fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            let file = SocketFile(path.to_owned());
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
            Ok(StreamListener(Kind::Unix { listener, _file: file }))
        };
        bind().map_err(named)
    }

    /// The address that the listener is bound to; none at a socket in the file system.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix { .. } => None,
        }
    }

    /// Serves clients until the task is dropped.
    pub async fn run(self, requests: Arc<Requests>) {
        let places = Arc::new(Places::default());
        loop {
            match &self.0 {
                Kind::Tcp(listener) => {
                    let (stream, client, place) = accept::next(listener, requests.access(), &places).await;
                    let (input, output) = stream.into_split();
                    tokio::spawn(serve(input, output, requests.clone(), client, place));
                }
                Kind::Unix { listener, .. } => {
                    let accepted = listener.accept().await;
                    let (Ok((stream, _)), Some(place)) = (accepted, places.take(LOCAL.ip())) else {
                        places.complain("Too many connections at a socket; one is closed");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    };
                    let (input, output) = stream.into_split();
                    tokio::spawn(serve(input, output, requests.clone(), LOCAL, place));
                }
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn serve(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    requests: Arc<Requests>,
    client: SocketAddr,
    _place: Place,
) {
    let (connection, outbox) = connection(&requests, client);
    let (mut read, mut write) = (pin!(read(input, connection)), pin!(write(output, outbox)));
    let ended = tokio::select! {
        ended = &mut write => ended,
        // What is in work is still answered: the client may only have closed its own side.
        ended = &mut read => ended.and(write.await),
    };
    match ended {
        Ok(()) => debug!(target: "control", "NG connection from {client} has ended"),
        Err(error) => debug!(target: "control", "NG connection from {client}: {error}"),
    }
}

async fn read(mut input: impl AsyncRead + Unpin, connection: Connection) -> io::Result<()> {
    let (mut buffer, mut framer, mut begun) = (Vec::new(), Framer::default(), None);
    loop {
        let mut start = 0;
        loop {
            let rest = &buffer[start..];
            match framer.find(rest) {
                Frame::Message { bytes, has_cookie: true } => {
                    connection.handle(&rest[..bytes]).await;
                    start += bytes;
                }
                Frame::Message { bytes, has_cookie: false } => {
                    connection.handle_plain(&rest[..bytes]).await;
                    start += bytes;
                }
                Frame::Gap(bytes) => start += bytes,
                Frame::Partial => break,
                // The answer says what is wrong. Where the next message begins nobody knows.
                Frame::Broken { has_cookie } => {
                    match has_cookie {
                        true => connection.handle(rest).await,
                        false => connection.handle_plain(rest).await,
                    }
                    overhear(input).await;
                    return Ok(());
                }
            }
            begun = None;
        }
        buffer.drain(..start);
        if buffer.is_empty() {
            buffer.shrink_to(READ_BYTES);
        }
        buffer.reserve(READ_BYTES);
        let bytes = match buffer.is_empty() {
            true => input.read_buf(&mut buffer).await?,
            false => {
                let deadline = *begun.get_or_insert_with(|| Instant::now() + CLIENT_PATIENCE);
                timeout_at(deadline, input.read_buf(&mut buffer)).await??
            }
        };
        if bytes == 0 {
            return Ok(());
        }
    }
}

/// Reads and forgets what comes, for a while: closing with unread input would reset the connection and could cost the
/// client its answer.
async fn overhear(mut input: impl AsyncRead + Unpin) {
    let mut room = vec![0; READ_BYTES];
    let rest = async { while matches!(input.read(&mut room).await, Ok(bytes) if bytes > 0) {} };
    let _ = timeout(LAST_WORDS, rest).await;
}

async fn write(mut output: impl AsyncWrite + Unpin, mut outbox: Outbox) -> io::Result<()> {
    let (mut batch, mut bytes) = (Vec::new(), Vec::new());
    loop {
        outbox.next(&mut batch).await;
        if batch.is_empty() {
            return output.shutdown().await;
        }
        bytes.clear();
        batch.iter().for_each(|outgoing| bytes.extend_from_slice(outgoing.bytes()));
        timeout(CLIENT_PATIENCE, output.write_all(&bytes)).await??;
        batch.clear();
        // A large answer does not keep its room.
        bytes.shrink_to(READ_BYTES);
    }
}
