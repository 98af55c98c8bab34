//! Calls that move from one shard to another, because they are to become one with a call there.

use super::commands::fragment::Waiting;
use super::output::Output;
use super::shard::Shard;
use crate::base::id::{PortToken, StreamId};
use crate::base::time::Now;
use crate::call::lifecycle::Termination;
use crate::call::{Call, LocalPort, Media, PortNumbers, PortSet};
use crate::relay::{PortInTransit, Ports, Stream};
use std::collections::HashMap;

/// The token of a port that was lost on the way: none has it.
const LOST: PortToken = PortToken(u32::MAX);

/// Why a call stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Immovable {
    #[error("The calls can't be merged while a DTLS handshake is under way; try again")]
    Handshake,
    #[error("The calls can't be merged: one has a port for both of its sides")]
    SharedPort,
}

/// A call between two shards, with its streams and ports.
pub struct Departure {
    call: Call,
    /// By the numbers that they had.
    streams: Vec<(StreamId, Stream)>,
    ports: Vec<TravellingPort>,
    waiting: Vec<Waiting>,
}

struct TravellingPort {
    token: PortToken,
    stream: Option<StreamId>,
    port: Option<PortInTransit>,
}

impl Departure {
    /// Every call-id of the call.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.call.ids()
    }
}

impl Shard {
    /// Takes out the call with this id, to be handed to another shard; none when there is no such call.
    ///
    /// # Errors
    /// When the call can't be moved now; it stays as it is then.
    pub fn depart(&mut self, now: Now, id: &str, ports: &mut dyn Ports) -> Option<Result<Departure, Immovable>> {
        let index = self.by_id.get(id).copied()?;
        if !self.calls[index].medias().flat_map(|(_, media)| streams(media)).all(|id| self.relay.can_leave(id)) {
            return Some(Err(Immovable::Handshake));
        }
        if self.calls[index].medias().flat_map(|(_, media)| streams(media)).any(|id| self.relay.shares_port(id)) {
            return Some(Err(Immovable::SharedPort));
        }
        self.withdraw_call(now, index);
        let call = self.calls.remove(index);
        for id in call.ids() {
            self.by_id.remove(id);
        }
        let travels = |waiting: &mut Waiting| call.ids().any(|id| waiting.is_for(id));
        let waiting = self.waiting.extract_if(.., travels).collect();
        let mut travelling = Vec::new();
        for port in call.medias().flat_map(|(_, media)| &media.port_sets).flat_map(PortSet::ports) {
            let stream = self.relay.stream_at(port.token);
            self.relay.detach(port.token);
            travelling.push(TravellingPort { token: port.token, stream, port: ports.release(port.token) });
        }
        let ids = call.medias().flat_map(|(_, media)| streams(media));
        let streams = ids.filter_map(|id| Some((id, self.relay.take_out(id)?))).collect();
        Some(Ok(Departure { call, streams, ports: travelling, waiting }))
    }

    /// Takes in a call that has left another shard. One whose ports can't be served here is ended.
    pub fn arrive(&mut self, now: Now, departure: Departure, ports: &mut dyn Ports, numbers: &mut dyn PortNumbers) {
        let Departure { mut call, streams, ports: travelling, waiting } = departure;
        let index = self.calls.vacant_key();
        let arrived = streams.into_iter().map(|(id, stream)| (id, self.relay.take_in(stream, index as u32)));
        let numbers_here: HashMap<StreamId, StreamId> = arrived.collect();
        let tokens: HashMap<PortToken, PortToken> = (travelling.into_iter())
            .map(|travelling| {
                let token = travelling.port.and_then(|port| ports.take_over(port).ok()).unwrap_or(LOST);
                let stream = travelling.stream.and_then(|id| numbers_here.get(&id));
                if let (Some(stream), true) = (stream, token != LOST) {
                    self.relay.listen(*stream, token);
                }
                (travelling.token, token)
            })
            .collect();
        let token = |old: PortToken| tokens.get(&old).copied().unwrap_or(LOST);
        let stream = |old: StreamId| numbers_here.get(&old).copied().unwrap_or(old);
        numbers_here.values().for_each(|id| self.relay.renumber(*id, token, stream));
        renumber(&mut call, token, stream);
        self.by_id.extend(call.ids().map(|id| (id.to_owned(), index)));
        self.waiting.extend(waiting);
        let call_id = call.id.clone();
        self.calls.insert(call);
        self.replan(now, index);
        if let Some((lost, _)) = tokens.iter().find(|(_, token)| **token == LOST) {
            self.outputs.push(Output::Warning { call_id, text: format!("port {} was lost between shards", lost.0) });
            self.end_call(now, index, Termination::Forced, ports, numbers);
        }
    }
}

fn streams(media: &Media) -> impl Iterator<Item = StreamId> {
    media.rtp_stream.into_iter().chain(media.rtcp_stream)
}

fn renumber(call: &mut Call, token: impl Fn(PortToken) -> PortToken, stream: impl Fn(StreamId) -> StreamId) {
    let ids: Vec<_> = call.medias().map(|(id, _)| id).collect();
    for id in ids {
        let media = call.media_mut(id);
        media.rtp_stream = media.rtp_stream.map(&stream);
        media.rtcp_stream = media.rtcp_stream.map(&stream);
        let renumber = |port: &mut LocalPort| port.token = token(port.token);
        for set in &mut media.port_sets {
            renumber(&mut set.rtp);
            set.rtcp.iter_mut().for_each(renumber);
            for further in &mut set.further {
                renumber(&mut further.rtp);
                further.rtcp.iter_mut().for_each(renumber);
            }
        }
    }
}
