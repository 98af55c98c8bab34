//! Streams that outlive their ports: signalling may give a stream another local port.

use super::{PortToken, Relay, Stream};
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
        if let Some(slot) = self.by_port.get_mut(port.0 as usize) {
            *slot = None;
        }
    }

    /// The stream that packets to `port` belong to.
    pub fn stream_at(&self, port: PortToken) -> Option<StreamId> {
        self.by_port.get(port.0 as usize).copied().flatten()
    }

    /// Takes every port from a stream that is gone.
    pub(super) fn unbind(&mut self, stream: &Stream, id: StreamId) {
        let only = stream.port().0 as usize;
        let ports = if stream.has_moved() { 0..self.by_port.len() } else { only..only + 1 };
        self.by_port[ports].iter_mut().filter(|slot| **slot == Some(id)).for_each(|slot| *slot = None);
    }

    pub(super) fn bind(&mut self, port: PortToken, id: StreamId) {
        let index = port.0 as usize;
        if self.by_port.len() <= index {
            self.by_port.resize(index + 1, None);
        }
        self.by_port[index] = Some(id);
    }
}
