//! Control protocols over UDP: one datagram, one message, either way.

use super::Deliver;
use super::access::Access;
use super::request::{Requests, guarded};
use crate::io::control_socket::{ControlSocket, PathMtu, Route};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::{debug, warn};

/// The largest datagram.
pub const LARGEST_DATAGRAM_BYTES: usize = 65_535;

/// The datagrams that are taken before media has its turn.
const BATCH: usize = 16;

/// A protocol whose messages are datagrams.
pub trait Datagrams: Send + Sync {
    /// Works off a message of `client`. `deliver` is called with the reply, once, now or later and on any thread; or never,
    /// when the message deserves none.
    fn datagram(self: Arc<Self>, datagram: &[u8], client: SocketAddr, deliver: Deliver);
}

impl Datagrams for Requests {
    fn datagram(self: Arc<Self>, datagram: &[u8], client: SocketAddr, deliver: Deliver) {
        self.handle(datagram, client, deliver);
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct UdpListener {
    socket: Arc<ControlSocket>,
}

impl UdpListener {
    /// Binds; the error names the address.
    pub fn bind(address: SocketAddr, path_mtu: PathMtu) -> io::Result<UdpListener> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on UDP {address}: {error}"));
        Ok(UdpListener { socket: Arc::new(ControlSocket::bind(address, path_mtu).map_err(named)?) })
    }

    /// The address that the listener is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    /// The socket, to change its type of service.
    pub fn socket(&self) -> Arc<ControlSocket> {
        self.socket.clone()
    }

    /// Takes the messages that have arrived, a bounded number of them, and hands those that
    /// `access` permits to `protocol`. `buffer` has room for [`LARGEST_DATAGRAM_BYTES`].
    pub fn work_off(&self, protocol: &Arc<dyn Datagrams>, access: &Access, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.socket.receive(buffer) {
                Ok((bytes, route)) => handle(protocol, &self.socket, access, &buffer[..bytes], route),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error of an earlier reply is reported once, and is then gone.
                Err(error) => debug!(target: "control", "UDP control socket: {error}"),
            }
        }
    }
}

fn handle(protocol: &Arc<dyn Datagrams>, socket: &Arc<ControlSocket>, access: &Access, message: &[u8], route: Route) {
    if !access.permits(route.from.ip()) {
        return debug!(target: "control", "Message from {} is dropped: see control-allow", route.from);
    }
    let socket = socket.clone();
    let deliver = move |reply: &[u8]| {
        // The client asks again when a reply is lost.
        if let Err(error) = socket.send(reply, route) {
            warn!(target: "control", "Reply of {} bytes to {} is lost: {error}", reply.len(), route.from);
        }
    };
    guarded(message.len(), route.from, || protocol.clone().datagram(message, route.from, Box::new(deliver)));
}
