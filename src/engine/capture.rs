//! Calls whose packets are copied for somebody who looks on.

use super::shard::Shard;
use crate::base::id::{CaptureId, PortToken};
use std::net::SocketAddr;

impl Shard {
    /// Captures the call with this id from now on; false when there is none.
    pub fn capture(&mut self, id: CaptureId, call_id: &str) -> bool {
        let Some(index) = self.by_id.get(call_id).copied() else { return false };
        self.calls[index].captures.push(id);
        self.look_at_call_again(index);
        true
    }

    /// Ends a capture, whatever call it is of by now.
    pub fn end_capture(&mut self, id: CaptureId) {
        let all: Vec<usize> =
            self.calls.iter().filter(|(_, call)| call.captures.contains(&id)).map(|(index, _)| index).collect();
        for index in all {
            self.calls[index].captures.retain(|other| *other != id);
            self.look_at_call_again(index);
        }
    }

    /// The captures that take the packets of a port, with the port's address; none when nobody looks on.
    pub fn captures_at(&self, port: PortToken) -> Option<(SocketAddr, &[CaptureId])> {
        let stream = self.relay.stream(self.relay.stream_at(port)?)?;
        let call = self.calls.get(stream.owner_call() as usize).filter(|call| !call.captures.is_empty())?;
        let local = match stream.port() == port {
            true => stream.local(),
            false => call
                .medias()
                .flat_map(|(_, media)| &media.port_sets)
                .find_map(|set| set.ports().find(|open| open.token == port).map(|open| open.address))?,
        };
        Some((local, &call.captures))
    }

    /// Entries say whether they are captured.
    fn look_at_call_again(&mut self, index: usize) {
        self.streams_of(index).into_iter().for_each(|id| self.relay.look_again(id));
    }
}
