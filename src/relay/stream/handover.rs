//! Streams whose call becomes part of another, or moves to another shard.

use super::Stream;
use crate::base::id::PortToken;
use crate::plan::StreamId;
use crate::relay::Relay;

impl Relay {
    /// The stream belongs to the call `owner_call` from now on.
    pub fn set_owner(&mut self, id: StreamId, owner_call: u32) {
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.owner_call = owner_call;
        }
    }

    /// Whether the stream can go on in another relay: a handshake under way can't.
    pub fn can_leave(&self, id: StreamId) -> bool {
        self.stream(id)
            .is_none_or(|stream| !stream.handshakes.as_ref().is_some_and(|handshakes| handshakes.are_under_way()))
    }

    /// Takes a stream out that goes on in another relay, with everything that it has learned and counted. Its ports
    /// are still open; packets to them are dropped from now on.
    pub fn take_out(&mut self, id: StreamId) -> Option<Stream> {
        let mut stream = self.streams.try_remove(id.0 as usize)?;
        self.unbind(&stream, id);
        self.piercer.stop(id);
        self.detach_agent(id, &mut stream);
        // Begun anew where it goes: receivers miss what was kept for a moment.
        self.drop_feedback(id, &mut stream);
        if let Some(handshakes) = &mut stream.handshakes {
            handshakes.leave(&mut self.desk);
        }
        Some(*stream)
    }

    /// Takes a stream in that has left another relay. It needs [`Relay::renumber`], its ports and a plan next.
    pub fn take_in(&mut self, mut stream: Stream, owner_call: u32) -> StreamId {
        stream.owner_call = owner_call;
        stream.interface = self.interfaces.index(stream.local.ip());
        StreamId(self.streams.insert(Box::new(stream)) as u32)
    }

    /// Gives a stream that was taken in the numbers that ports and streams have here, and takes away what it was to
    /// send to streams that are elsewhere.
    pub fn renumber(
        &mut self,
        id: StreamId,
        ports: impl Fn(PortToken) -> PortToken,
        streams: impl Fn(StreamId) -> StreamId,
    ) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        stream.port = ports(stream.port);
        // Its own port may be closed by now; then it is found nowhere.
        stream.moved = true;
        for outgoing in &mut stream.outgoing {
            outgoing.renumber_origin(streams(StreamId(outgoing.origin())).0);
        }
        stream.media.clear();
        stream.plan.media.clear();
        stream.plan.control.clear();
        stream.plan.sources = None;
        if let Some(rewriting) = &mut stream.rewriting {
            rewriting.renumber(&streams);
        }
        if let Some(connectivity) = &mut stream.connectivity {
            connectivity.renumber(ports);
        }
    }
}
