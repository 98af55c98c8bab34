//! A way to somebody who is sent statistics. It is opened when there is something to send, and again after a failure, though not at
//! once.

use crate::config::listen::ListenAddress;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{Instant, timeout};

/// After a failure nothing is tried for so long.
const PAUSE: Duration = Duration::from_secs(2);

/// The way, open or not.
pub(super) struct Connection {
    address: ListenAddress,
    is_tcp: bool,
    /// What opening and sending may take.
    patience: Duration,
    open: Option<Open>,
    failed: Option<Instant>,
    /// Its failure has been logged, and no success since.
    is_known_dead: bool,
    /// For the log.
    name: &'static str,
}

enum Open {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Connection {
    pub(super) fn new(name: &'static str, address: ListenAddress, is_tcp: bool, patience: Duration) -> Connection {
        Connection { address, is_tcp, patience, open: None, failed: None, is_known_dead: false, name }
    }

    /// Sends all of it; false when it is lost.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        if self.failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return false;
        }
        let patience = self.patience;
        let sent = timeout(patience, self.try_send(bytes)).await;
        match sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => {
                if std::mem::take(&mut self.is_known_dead) {
                    tracing::info!(target: "core", "{} takes statistics again", self.name);
                }
                self.failed = None;
                true
            }
            Err(error) => {
                // A part may have gone out, so that what follows would not be understood.
                self.open = None;
                self.failed = Some(Instant::now());
                if !std::mem::replace(&mut self.is_known_dead, true) {
                    tracing::warn!(target: "core", "{} takes no statistics: {error}", self.name);
                }
                false
            }
        }
    }

    async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.address, self.is_tcp).await?),
        };
        match open {
            Open::Tcp(stream) => stream.write_all(bytes).await,
            Open::Udp(socket) => socket.send(bytes).await.map(drop),
        }
    }
}

async fn open(address: &ListenAddress, is_tcp: bool) -> io::Result<Open> {
    let host = address.host.as_deref().unwrap_or("localhost");
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
    for place in lookup_host((host, address.port)).await? {
        match open_at(place, is_tcp).await {
            Ok(open) => return Ok(open),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn open_at(place: SocketAddr, is_tcp: bool) -> io::Result<Open> {
    if is_tcp {
        return TcpStream::connect(place).await.map(Open::Tcp);
    }
    let any: SocketAddr = if place.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(place).await?;
    Ok(Open::Udp(socket))
}
