//! Streams that outlive their ports: signalling may give a stream another local port.

use super::latch::Fit;
use super::{PortToken, Relay, Stream};
use crate::base::time::Now;
use crate::plan::StreamId;
use std::net::SocketAddr;

impl Relay {
    /// Gives a stream a further port, from which it sends from now on. Packets to its earlier ports still belong to
    /// it. False when there is no such stream.
    pub fn attach(&mut self, id: StreamId, port: PortToken, local: SocketAddr) -> bool {
        let interface = self.interfaces.index(local.ip());
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return false };
        stream.move_to(port, local, interface);
        self.bind(port, id);
        true
    }

    /// Gives a stream a further port that it hears and does not send from.
    pub fn listen(&mut self, id: StreamId, port: PortToken) {
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.note_further_port();
            self.bind(port, id);
        }
    }

    /// Packets that still arrive at a port that is being closed belong to no stream any more.
    pub fn detach(&mut self, port: PortToken) {
        self.forget_released(port);
        self.by_port.clear(port);
    }

    /// The stream that packets to `port` belong to; the first of several.
    pub fn stream_at(&self, port: PortToken) -> Option<StreamId> {
        self.by_port.first(port)
    }

    /// A further stream at a port that has one: each hears the peer at its own signalled IP address.
    pub fn add_beside(&mut self, now: Now, port: PortToken, local: SocketAddr, owner_call: u32) -> StreamId {
        let id = self.insert(now, port, local, owner_call);
        self.by_port.add(port, id);
        for occupant in self.by_port.several(port).to_vec() {
            self.look_again(occupant);
        }
        id
    }

    /// Whether other streams hear the port that a stream sends from.
    pub fn shares_port(&self, id: StreamId) -> bool {
        self.stream(id).is_some_and(|stream| self.by_port.are_several(stream.port()))
    }

    /// The stream that a datagram belongs to.
    #[inline]
    pub(super) fn addressee(&self, port: PortToken, from: SocketAddr) -> Option<StreamId> {
        self.by_port.only(port).or_else(|| self.addressee_of_several(port, from))
    }

    /// Of the streams at a port that whose peer is at `from`; where all peers are elsewhere the first, which refuses it.
    #[cold]
    fn addressee_of_several(&self, port: PortToken, from: SocketAddr) -> Option<StreamId> {
        let fit = |id: &StreamId| self.stream(*id).map_or(Fit::Stranger, |stream| stream.latch.fit(from));
        // Of equals `max_by_key` takes the last.
        self.by_port.several(port).iter().rev().max_by_key(|id| fit(id)).copied()
    }

    /// Takes every port from a stream that is gone.
    pub(super) fn unbind(&mut self, stream: &Stream, id: StreamId) {
        match stream.has_moved() {
            true => self.by_port.remove_everywhere(id),
            false => self.by_port.remove(stream.port(), id),
        }
    }

    pub(super) fn bind(&mut self, port: PortToken, id: StreamId) {
        self.by_port.set(port, id);
    }
}
