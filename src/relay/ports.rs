//! The seams to the network: ports are opened on a receiver, datagrams leave through a lent batch.

use std::any::Any;
use std::net::SocketAddr;
use thiserror::Error;

pub use crate::base::id::PortToken;

/// Why a local port could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error("the port is in use")]
    InUse,
    #[error("no interface of this host has the address")]
    NoSuchAddress,
    #[error("this port needs a privilege that the process lacks")]
    NotPermitted,
    #[error("the process or the host has no descriptor left")]
    OutOfDescriptors,
    #[error("the host has no memory left for sockets")]
    OutOfMemory,
    /// The number that the operating system gave.
    #[error("system error {0}")]
    Other(i32),
}

/// An open port on its way from one receiver to another; what it is only those know.
pub type PortInTransit = Box<dyn Any + Send>;

/// Opens and closes local ports.
pub trait Ports {
    /// Receives what is sent to `local`, an address of this host with a port.
    fn open(&mut self, local: SocketAddr) -> Result<PortToken, OpenError>;

    /// Closes a port; a token that is not open is left alone.
    fn close(&mut self, port: PortToken);

    /// The type-of-service octet (traffic class in IPv6) of datagrams sent from the port.
    fn set_tos(&mut self, port: PortToken, tos: u8);

    /// Gives an open port away, to be taken over by another receiver of the same kind; dropping it closes it. What
    /// arrives meanwhile waits, or is lost as on the network. None when the token is not open, or ports can't be given
    /// away.
    fn release(&mut self, port: PortToken) -> Option<PortInTransit> {
        let _ = port;
        None
    }

    /// Takes a port over that another receiver has given away. On an error it is closed.
    fn take_over(&mut self, port: PortInTransit) -> Result<PortToken, OpenError> {
        drop(port);
        Err(OpenError::Other(0))
    }
}

/// Takes datagrams that are to be sent.
pub trait Transmit {
    /// Sends `datagram` from a local port. A failure is reported later, by port, to `Relay::send_failed`.
    fn send(&mut self, from: PortToken, to: SocketAddr, datagram: &[u8]);
}
