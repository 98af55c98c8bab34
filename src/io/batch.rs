//! Datagrams that wait to be sent together.

use super::headers::HEAD_ROOM;
use super::receiver::Receiver;
use crate::relay::ports::{PortToken, Transmit};
use std::net::SocketAddr;
use std::ops::Range;

/// Datagrams after which a batch should be sent.
const FULL: usize = 32;

#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) from: PortToken,
    pub(super) to: SocketAddr,
    /// Where the payload lies. In front of it is room for headers.
    pub(super) payload: Range<usize>,
    /// It may leave past the network stack, as what it answers came.
    pub(super) is_lifted: bool,
}

/// Collects datagrams; they leave when the event loop flushes. It keeps its memory.
#[derive(Debug, Default)]
pub struct Batch {
    datagrams: Vec<Datagram>,
    bytes: Vec<u8>,
    /// Those that are put in now.
    is_lifted: bool,
}

impl Batch {
    pub fn new() -> Batch {
        Batch { datagrams: Vec::with_capacity(2 * FULL), bytes: Vec::with_capacity(64 * 1024), is_lifted: false }
    }

    /// Says of what is put in from now on whether it may leave past the network stack.
    #[inline]
    pub(super) fn lift(&mut self, is_lifted: bool) {
        self.is_lifted = is_lifted;
    }

    /// Whether enough wait that sending is due.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.datagrams.len() >= FULL
    }

    /// What will be sent.
    #[cold]
    pub(super) fn waiting(&self) -> impl Iterator<Item = (PortToken, SocketAddr, &[u8])> {
        self.datagrams.iter().map(|datagram| (datagram.from, datagram.to, &self.bytes[datagram.payload.clone()]))
    }

    /// Sends everything; what goes from one port to one address keeps its order. `failed` hears of each port whose
    /// datagram was not taken.
    pub(super) fn flush(&mut self, receiver: &mut Receiver, failed: impl FnMut(PortToken)) {
        if self.datagrams.is_empty() {
            return;
        }
        receiver.send_all(&self.datagrams, &mut self.bytes, failed);
        self.datagrams.clear();
        self.bytes.clear();
    }
}

impl Transmit for Batch {
    #[inline]
    fn send(&mut self, from: PortToken, to: SocketAddr, datagram: &[u8]) {
        self.bytes.extend_from_slice(&[0; HEAD_ROOM]);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.datagrams.push(Datagram { from, to, payload: start..self.bytes.len(), is_lifted: self.is_lifted });
    }
}
