//! Connections of listeners: who may connect, how many at the same time, and when one counts as dead.

use super::access::Access;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tracing::{debug, warn};

/// The connections of one listener.
const CONNECTION_LIMIT: usize = 1024;

/// Those of one address that is not loopback: no single host keeps the others out.
const ADDRESS_LIMIT: usize = 256;

/// How often a listener's trouble is told.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// How long a peer may be gone before its connection is closed: asked after a minute, six times.
const SILENCE: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 6;

/// Binds a listener to `address`. A wildcard of IPv6 leaves IPv4 to a listener of its own.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on TCP {address}: {error}"));
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket2::SockRef::from(&socket).set_reuse_address(true)?;
        if address.is_ipv6() {
            socket2::SockRef::from(&socket).set_only_v6(true)?;
        }
        socket.bind(address)?;
        socket.listen(1024)
    };
    bind().map_err(named)
}

/// The places for connections at one listener.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    complained_at: Option<Instant>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    /// A place for a connection from `address`; none when there are too many.
    pub(super) fn take(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts();
        let from_there = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= CONNECTION_LIMIT || (from_there >= ADDRESS_LIMIT && !address.is_loopback()) {
            return None;
        }
        counts.all += 1;
        *counts.by_address.entry(address).or_default() += 1;
        Some(Place { places: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the log, now and then.
    pub(super) fn complain(&self, text: &str) {
        let mut counts = self.counts();
        let now = Instant::now();
        if counts.complained_at.is_none_or(|at| now.duration_since(at) >= COMPLAINT_INTERVAL) {
            counts.complained_at = Some(now);
            warn!(target: "control", "{text}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.counts();
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// The next connection of a client that may ask and finds a place. Others are closed without an answer.
pub(super) async fn next(
    listener: &TcpListener,
    access: &Access,
    places: &Arc<Places>,
) -> (TcpStream, SocketAddr, Place) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                places.complain(&format!("cannot accept a connection: {error}"));
                // Without descriptors the next try would fail at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !access.permits(client.ip()) {
            debug!(target: "control", "Connection from {client} is refused: see control-allow");
            continue;
        }
        let Some(place) = places.take(client.ip()) else {
            places.complain(&format!("Too many connections; one from {client} is closed"));
            continue;
        };
        if let Err(error) = prepare(&stream) {
            debug!(target: "control", "Connection from {client}: {error}");
            continue;
        }
        return (stream, client, place);
    }
}

/// Replies are small and leave at once; a peer that is gone is noticed.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    let keepalive = socket2::TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_takes_all_places() {
        let places = Arc::new(Places::default());
        let (near, far): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let mut taken: Vec<Place> = (0..ADDRESS_LIMIT).map(|_| places.take(far).unwrap()).collect();
        assert!(places.take(far).is_none());
        taken.extend((ADDRESS_LIMIT..CONNECTION_LIMIT).map(|_| places.take(near).unwrap()));
        assert!(places.take(near).is_none());
        taken.remove(0);
        taken.push(places.take(far).unwrap());
        taken.clear();
        assert!(places.counts().by_address.is_empty() && places.counts().all == 0);
    }
}
