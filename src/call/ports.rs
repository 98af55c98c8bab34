//! Local ports as a call holds them, and the seam through which negotiation gets them.

use super::InterfaceId;
use crate::base::address::Family;
use crate::base::id::{PortToken, StreamId};
use std::net::{IpAddr, SocketAddr};

/// An open local port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalPort {
    pub token: PortToken,
    pub address: SocketAddr,
}

/// Ports on a further address of the interface, for ICE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherPorts {
    pub interface: InterfaceId,
    /// What candidates show.
    pub advertised: IpAddr,
    pub rtp: LocalPort,
    pub rtcp: Option<LocalPort>,
}

/// The ports that one media shows to its participant while the other side sits at one remote address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSet {
    pub interface: InterfaceId,
    /// What descriptions show.
    pub advertised: IpAddr,
    pub rtp: LocalPort,
    /// The port above, absent while RTP and RTCP share one (RFC 5761) or the media is not RTP.
    pub rtcp: Option<LocalPort>,
    /// The other side's signalled address that this set was opened for.
    pub opened_for: Option<SocketAddr>,
    /// On the interface's other addresses, in its order.
    pub further: Vec<FurtherPorts>,
    pub source: PortSource,
}

/// Where the numbers of a set are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortSource {
    #[default]
    Pool,
    /// A client has named them.
    Claimed,
    /// Another media of the call has the ports as well, and closes them.
    Shared,
}

impl PortSet {
    /// Every open port of the set.
    pub fn ports(&self) -> impl Iterator<Item = LocalPort> + '_ {
        let own = std::iter::once(self.rtp).chain(self.rtcp);
        own.chain(self.further.iter().flat_map(|further| std::iter::once(further.rtp).chain(further.rtcp)))
    }

    /// The address family of the set.
    pub fn family(&self) -> Family {
        Family::of(self.rtp.address.ip())
    }
}

/// No port could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no port on {interface}: {cause}")]
pub struct PortsExhausted {
    pub interface: String,
    pub cause: String,
}

/// What negotiation asks of its surroundings while it runs: ports, and streams to bind them to.
pub trait MediaPorts {
    /// Opens an even port, and the one above it when `pair` is set.
    ///
    /// # Errors
    /// When no port of the interface's range is free or can be opened.
    fn open(&mut self, interface: InterfaceId, pair: bool) -> Result<PortSet, PortsExhausted>;

    /// Opens the port above an open RTP port of the interface.
    ///
    /// # Errors
    /// When that very port can't be opened.
    fn open_rtcp(&mut self, interface: InterfaceId, rtp: LocalPort) -> Result<LocalPort, PortsExhausted>;

    /// Closes the ports of a set.
    fn close(&mut self, set: &PortSet);

    /// Closes one port of a set; its number stays taken, for the set.
    fn close_port(&mut self, port: LocalPort);

    /// Makes `port` a further port of `stream`, from which it does not send.
    fn listen(&mut self, stream: StreamId, port: LocalPort);

    /// Makes `port` a port of `stream`, or of a new stream where there is none yet, and the one that it sends from.
    fn bind(&mut self, stream: Option<StreamId>, port: LocalPort) -> StreamId;
}

/// Which numbers of the local addresses' port ranges are free, over all shards.
pub trait PortNumbers {
    /// Takes a pair out and returns its even port; none when all are in use.
    fn take(&mut self, interface: InterfaceId) -> Option<u16>;

    /// Puts a pair back by its even port.
    fn put(&mut self, interface: InterfaceId, even: u16);

    /// Takes a port that a client names out with the one above it, within the range or not. False when one is in use.
    fn claim(&mut self, interface: InterfaceId, port: u16) -> bool;

    /// Puts a claimed port back with the one above it; what nobody has claimed is left alone.
    fn release(&mut self, interface: InterfaceId, port: u16);
}
