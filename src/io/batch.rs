//! Datagrams that wait to be sent together.

use super::receiver::Receiver;
use crate::relay::ports::{PortToken, Transmit};
use std::net::SocketAddr;
use std::ops::Range;

/// Datagrams after which a batch should be sent.
const FULL: usize = 32;

#[derive(Debug)]
struct Datagram {
    from: PortToken,
    to: SocketAddr,
    bytes: Range<usize>,
}

/// Collects datagrams; they leave when the event loop flushes. It keeps its memory.
#[derive(Debug, Default)]
pub struct Batch {
    datagrams: Vec<Datagram>,
    bytes: Vec<u8>,
}

impl Batch {
    pub fn new() -> Batch {
        Batch { datagrams: Vec::with_capacity(2 * FULL), bytes: Vec::with_capacity(64 * 1024) }
    }

    /// Whether enough wait that sending is due.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.datagrams.len() >= FULL
    }

    /// Sends everything, in order. `failed` hears of each port whose datagram was not taken.
    pub(super) fn flush(&mut self, receiver: &Receiver, mut failed: impl FnMut(PortToken)) {
        for datagram in &self.datagrams {
            if receiver.send(datagram.from, datagram.to, &self.bytes[datagram.bytes.clone()]).is_err() {
                failed(datagram.from);
            }
        }
        self.datagrams.clear();
        self.bytes.clear();
    }
}

impl Transmit for Batch {
    #[inline]
    fn send(&mut self, from: PortToken, to: SocketAddr, datagram: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.datagrams.push(Datagram { from, to, bytes: start..self.bytes.len() });
    }
}
