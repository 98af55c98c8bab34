//! Floor 6: interprets forwarding plans, packet by packet.
//!
//! A datagram goes through `ingress` (demultiplex, check the source, learn, count) and `egress` (per sink: block,
//! find the destination, send, count); RTCP is also read for statistics by `rtcp`. Nothing here waits, allocates per
//! packet, or touches a socket: packets leave through the `Transmit` that the caller lends.

mod agenda;
mod attach;
pub mod away;
mod bundle;
mod connectivity;
pub mod digits;
mod egress;
mod extension;
mod feedback;
pub mod handshake;
mod held;
mod ingress;
pub mod interface;
mod keyframes;
pub mod latch;
mod layers;
mod nonce;
mod occupants;
mod pierce;
pub mod ports;
pub mod reports;
mod rewriting;
mod rtcp;
mod secure;
mod selection;
pub mod stream;
mod translate;
pub mod verdict;

pub use interface::{Interface, Traffic};
pub use ports::{OpenError, PortInTransit, PortToken, Ports, Transmit};
pub use stream::Stream;
pub use verdict::{DropCounters, DropReason, Verdict};

use crate::base::random::Random;
use crate::base::time::{Mono, Now};
use crate::plan::{ForwardingPlan, StreamId};
use crate::rtp::mos;
use agenda::Agenda;
use away::Way;
use handshake::HandshakeDesk;
use interface::Interfaces;
use nonce::Nonces;
use occupants::Occupants;
use pierce::Piercer;
use slab::Slab;
use std::net::SocketAddr;

/// The streams of one shard and everything that is counted for them.
#[derive(Debug)]
pub struct Relay {
    /// Each in memory of its own: a table that grows moves no streams, and keeps nobody's packets waiting.
    streams: Slab<Box<Stream>>,
    by_port: Occupants,
    interfaces: Interfaces,
    dropped: DropCounters,
    /// Datagrams that were forwarded, and those that ended here.
    forwarded: u64,
    consumed: u64,
    piercer: Piercer,
    agenda: Agenda,
    feedback_agenda: Agenda,
    desk: HandshakeDesk,
    nonces: Nonces,
    /// Names this end in RTCP of its own.
    own_ssrc: u32,
    /// The canonical name of this end.
    own_name: String,
    /// Room for RTCP of our own.
    report: Vec<u8>,
    /// A packet as it came, for sinks that share its keys.
    original: Box<[u8]>,
    /// A packet on its way to one sink.
    outgoing: Box<[u8]>,
    mos: mos::Kind,
    /// RTP may be forwarded on another path than this.
    has_other_path: bool,
    /// Streams whose way is to be looked at.
    way_notes: Vec<StreamId>,
    /// Datagrams whose state has come back.
    released: Vec<held::Held>,
    /// Those that nobody has taken yet.
    digits: Vec<digits::Digit>,
    reports: reports::Reports,
}

/// The largest datagram that may come.
const LARGEST_DATAGRAM_BYTES: usize = 65536;

impl Relay {
    /// A relay without streams; `mos` says how the quality of sources is scored, `seed` is random.
    pub fn new(mos: mos::Kind, seed: [u8; 32]) -> Relay {
        let mut nonces = Nonces::new(seed);
        Relay {
            own_ssrc: nonces.u32(),
            own_name: nonces.hex(24),
            report: Vec::new(),
            streams: Slab::new(),
            by_port: Occupants::default(),
            interfaces: Interfaces::default(),
            dropped: DropCounters::default(),
            forwarded: 0,
            consumed: 0,
            piercer: Piercer::default(),
            agenda: Agenda::default(),
            feedback_agenda: Agenda::default(),
            desk: HandshakeDesk::default(),
            nonces,
            original: vec![0; LARGEST_DATAGRAM_BYTES].into_boxed_slice(),
            outgoing: vec![0; LARGEST_DATAGRAM_BYTES + secure::ROOM_BYTES].into_boxed_slice(),
            mos,
            has_other_path: false,
            way_notes: Vec::new(),
            digits: Vec::new(),
            released: Vec::new(),
            reports: reports::Reports::default(),
        }
    }

    /// A stream at an open port, without a plan yet: what arrives is dropped. `owner_call` is the call that it belongs
    /// to, and packets never pass from one call to another.
    pub fn add(&mut self, now: Now, port: PortToken, local: SocketAddr, owner_call: u32) -> StreamId {
        let id = self.insert(now, port, local, owner_call);
        self.bind(port, id);
        id
    }

    fn insert(&mut self, now: Now, port: PortToken, local: SocketAddr, owner_call: u32) -> StreamId {
        let interface = self.interfaces.index(local.ip());
        let stream = Stream::new(now, port, local, interface, owner_call, Way::new(self.has_other_path));
        StreamId(self.streams.insert(Box::new(stream)) as u32)
    }

    /// Replaces what is done with packets that arrive on the stream's port. Counters, sources and, unless signalling
    /// came again, what was learned stay. False when there is no such stream.
    pub fn set_plan(&mut self, now: Now, id: StreamId, plan: ForwardingPlan) -> bool {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return false };
        stream.set_plan(plan);
        if stream.wants_piercing() {
            self.piercer.start(now.mono, id);
        }
        self.follow_ice(now, id);
        self.follow_handshake(id);
        self.follow_feedback(now, id);
        self.note_plan(id);
        self.note_keys(id);
        true
    }

    /// Takes the stream out with its final counters. Its ports are still open; packets to them are dropped from
    /// now on.
    pub fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let mut stream = self.streams.try_remove(id.0 as usize)?;
        self.interfaces.get_mut(stream.interface()).add_loss(stream.finish());
        self.unbind(&stream, id);
        self.piercer.stop(id);
        self.drop_connectivity(id, &mut stream);
        self.drop_feedback(id, &mut stream);
        self.drop_handshakes(&mut stream);
        Some(*stream)
    }

    /// One datagram from the network, to its end.
    #[inline]
    pub fn datagram(
        &mut self,
        now: Now,
        port: PortToken,
        from: SocketAddr,
        datagram: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Verdict {
        let verdict = match self.addressee(port, from) {
            Some(id) => self.relay(now, id, port, from, datagram, transmit),
            None => Verdict::Dropped(DropReason::UnknownPort),
        };
        match verdict {
            Verdict::Forwarded => self.forwarded += 1,
            Verdict::Consumed => self.consumed += 1,
            Verdict::Dropped(reason) => self.dropped.count(reason),
        }
        verdict
    }

    /// The network did not take a datagram that was sent from `port`.
    pub fn send_failed(&mut self, port: PortToken) {
        let Some(id) = self.by_port.first(port) else { return };
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        stream.count_send_error();
        self.interfaces.get_mut(stream.interface()).sent.errors += 1;
    }

    /// Does what is due, and says when to be called next; none until a plan is set.
    pub fn timer(&mut self, now: Now, transmit: &mut (impl Transmit + ?Sized)) -> Option<Mono> {
        let piercing = self.pierce(now, transmit);
        let checks = self.check_connectivity(now, transmit);
        let telling = self.tell_senders(now, transmit);
        self.take_earlier();
        [piercing, checks, telling].into_iter().flatten().min()
    }

    /// Whether something has become due earlier than `timer` said last.
    pub fn take_earlier(&mut self) -> bool {
        let is_earlier = self.agenda.take_earlier();
        self.feedback_agenda.take_earlier() || is_earlier
    }

    /// The stream with its counters and what has been learned.
    pub fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(id.0 as usize).map(Box::as_ref)
    }

    /// Every stream, in no order.
    pub fn streams(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.streams.iter().map(|(index, stream)| (StreamId(index as u32), &**stream))
    }

    /// Totals by local address, of streams that are gone too.
    pub fn interfaces(&self) -> &[Interface] {
        self.interfaces.all()
    }

    /// Datagrams that came to this relay and were forwarded, and those that ended here: keep-alives, connectivity checks,
    /// handshakes.
    pub fn settled(&self) -> (u64, u64) {
        (self.forwarded, self.consumed)
    }

    /// Datagrams dropped, by reason, of streams that are gone too.
    pub fn dropped(&self) -> &DropCounters {
        &self.dropped
    }
}

#[cfg(test)]
mod tests;
