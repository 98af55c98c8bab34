//! One local port with everything that is known and counted about it.

mod handover;

use super::away::Way;
use super::connectivity::Connectivity;
use super::digits::Pressed;
use super::feedback::{self, Feedback, Receiver};
use super::handshake::Handshakes;
use super::interface::Traffic;
use super::keyframes::Asked;
use super::latch::Latch;
use super::layers::Layers;
use super::ports::PortToken;
use super::rewriting::Rewriting;
use super::secure::{Passing, Secure};
use super::verdict::DropCounters;
use crate::base::time::{Mono, Now, Unix};
use crate::plan::{Branch, Component, ForwardingPlan, Ingress, Keys, Learning, PayloadType, Security, Sink, StreamId};
use crate::rtp::loan::Growth;
use crate::rtp::{Loan, Outgoing, Source, clock};
use crate::wire::rtp::{FIXED_HEADER_BYTES, Header};
use smallvec::SmallVec;
use std::net::SocketAddr;

/// SSRCs that are kept for each direction; a newer one takes the place of the one with the fewest packets.
pub const MAX_SOURCES: usize = 16;

/// A local port, its plan, what has been learned of its peer, and its counters. Taken out of the relay, it is the
/// record of a stream that has ended. What every packet touches stands first and together.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Stream {
    pub(super) latch: Latch,
    port: PortToken,
    owner_call: u32,
    interface: u16,
    pub(super) component: Component,
    /// Packets need more than a look at their source: ICE, DTLS or SRTP is in use.
    pub(super) is_guarded: bool,
    pub(super) received: Traffic,
    sources: Vec<Source>,
    /// The place of the source that was heard last.
    newest: usize,
    /// The sinks of the plan.
    pub(super) media: SmallVec<[Sink; 1]>,
    pub(super) secure: Option<Box<Secure>>,
    /// What the peer is told in place of its receivers.
    pub(super) feedback: Option<Box<Feedback>>,
    /// The layers of what comes, where some receiver gets one of several.
    pub(super) layers: Option<Box<Layers>>,
    pub(super) last_packet: Now,
    pub(super) way: Way,
    pub(super) sent: Traffic,
    outgoing: Vec<Outgoing>,
    local: SocketAddr,
    /// It has or had more ports than one.
    moved: bool,
    plan: ForwardingPlan,
    pub(super) first_packet: Option<Now>,
    first_ssrc: Option<u32>,
    created: Now,
    /// Where ICE has found the peer.
    pub(super) selected: Option<SocketAddr>,
    pub(super) connectivity: Option<Box<Connectivity>>,
    /// While the plan says that keys come from one.
    pub(super) handshakes: Option<Box<Handshakes>>,
    /// The branch of a bundle that each SSRC belongs to, as far as it was told.
    branches: Vec<(u32, u8)>,
    /// When the peer's sources were asked for key frames.
    pub(super) asked: Asked,
    /// What the peer has asked for as a receiver.
    pub(super) receiver: Option<Box<Receiver>>,
    /// What packets to the peer are given that is its own.
    pub(super) rewriting: Option<Box<Rewriting>>,
    /// The digit that the peer has pressed last, where anybody wants to know.
    pub(super) pressed: Option<Box<Pressed>>,
    /// Which sinks take RTP, and which RTCP, as it came.
    pub(super) passing: (Passing, Passing),
    pub(super) dropped: DropCounters,
    pub(super) withheld: DropCounters,
}

/// SSRCs of a bundle whose branch is remembered.
const MAX_BRANCH_SSRCS: usize = 64;

/// Which sinks of any branch take packets as they came.
fn passing(plan: &ForwardingPlan) -> (Passing, Passing) {
    let Some(bundle) = &plan.bundle else { return (Passing::of(&plan.media), Passing::of(&plan.control)) };
    let of = |sinks: fn(&Branch) -> &[Sink]| -> Vec<Sink> {
        bundle.branches.iter().flat_map(|branch| sinks(branch).iter().copied()).collect()
    };
    (Passing::of(&of(|branch| &branch.media)), Passing::of(&of(|branch| &branch.control)))
}

/// Makes room for one more: most streams have one SSRC all their life.
fn reserve_few<T>(list: &mut Vec<T>) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
}

/// What is done before signalling has said anything.
pub(super) fn no_plan() -> ForwardingPlan {
    let ingress = Ingress {
        learning: Learning::Off,
        signalled: None,
        signalled_at: Mono(0),
        filled: false,
        strict_source: false,
        fixed_address: false,
        media_handover: false,
        asymmetric: false,
        wait_for_peer: false,
        pierce_nat: false,
        payload_types: SmallVec::new(),
    };
    ForwardingPlan::new(Component::Opaque, ingress)
}

impl Stream {
    pub(super) fn new(
        now: Now,
        port: PortToken,
        local: SocketAddr,
        interface: u16,
        owner_call: u32,
        way: Way,
    ) -> Stream {
        let plan = no_plan();
        Stream {
            latch: Latch::new(),
            port,
            owner_call,
            interface,
            component: plan.component,
            is_guarded: false,
            received: Traffic::default(),
            sources: Vec::new(),
            newest: 0,
            media: SmallVec::new(),
            secure: None,
            feedback: None,
            layers: None,
            last_packet: now,
            way,
            sent: Traffic::default(),
            outgoing: Vec::new(),
            local,
            moved: false,
            plan,
            first_packet: None,
            first_ssrc: None,
            created: now,
            selected: None,
            connectivity: None,
            handshakes: None,
            branches: Vec::new(),
            asked: Asked::default(),
            receiver: None,
            rewriting: None,
            pressed: None,
            passing: (Passing::None, Passing::None),
            dropped: DropCounters::default(),
            withheld: DropCounters::default(),
        }
    }

    pub(super) fn move_to(&mut self, port: PortToken, local: SocketAddr, interface: u16) {
        (self.port, self.local, self.interface) = (port, local, interface);
        self.moved = true;
    }

    pub(super) fn note_further_port(&mut self) {
        self.moved = true;
    }

    pub(super) fn set_plan(&mut self, mut plan: ForwardingPlan) {
        // A socket sends to its own family only.
        plan.ingress.signalled = plan.ingress.signalled.filter(|peer| peer.is_ipv4() == self.local.is_ipv4());
        self.latch.signal(&plan.ingress);
        if plan.ingress.payload_types != self.plan.ingress.payload_types {
            self.sources.iter_mut().for_each(Source::forget_payload_type);
        }
        self.component = plan.component;
        self.media.clone_from(&plan.media);
        if !plan.needs_validation {
            self.selected = None;
        } else {
            self.latch.select(self.selected);
        }
        self.is_guarded = plan.has_ice || plan.needs_validation || plan.security != Security::Plain;
        match plan.security {
            Security::Plain => self.secure = None,
            _ => self.secure.get_or_insert_with(|| Box::new(Secure::pending())).signal(&plan.security),
        }
        self.passing = passing(&plan);
        if let Some(kept) = self.feedback.as_mut().filter(|_| feedback::changes_packets(&self.plan, &plan)) {
            kept.forget_packets();
        }
        if plan.bundle != self.plan.bundle {
            self.branches.clear();
        }
        let (simulcasts, before) = (&plan.tables().simulcasts, &self.plan.tables().simulcasts);
        let has_same_layers = simulcasts.len() == before.len()
            && simulcasts.iter().zip(before).all(|(now, before)| now.has_layers_of(before));
        if !has_same_layers {
            self.layers = (!simulcasts.is_empty()).then(Box::default);
        }
        self.plan = plan;
    }

    /// The branch that packets of `ssrc` belonged to before.
    pub(super) fn branch_of(&self, ssrc: u32) -> Option<u8> {
        self.branches.iter().find(|known| known.0 == ssrc).map(|known| known.1)
    }

    /// Packets of `ssrc` belong to `branch`.
    pub(super) fn note_branch(&mut self, ssrc: u32, branch: u8) {
        match self.branches.iter().position(|known| known.0 == ssrc) {
            Some(place) => self.branches[place].1 = branch,
            None if self.branches.len() < MAX_BRANCH_SSRCS => self.branches.push((ssrc, branch)),
            None => {}
        }
    }

    /// ICE has found the peer, or lost it.
    pub(super) fn select(&mut self, remote: Option<SocketAddr>) {
        self.selected = remote;
        self.latch.select(remote);
    }

    /// Another handshake is to come.
    pub(super) fn forget_keys(&mut self) {
        if let (Security::Handshake(_), Some(secure)) = (&self.plan.security, &mut self.secure) {
            **secure = Secure::pending();
        }
    }

    /// A handshake has made keys.
    pub(super) fn set_keys(&mut self, keys: &Keys) {
        if let Some(secure) = &mut self.secure {
            secure.set_keys(keys);
        }
    }

    /// Counts an RTP packet under its source, which is made for a new SSRC.
    #[inline]
    pub(super) fn source_for(&mut self, header: &Header) -> &mut Source {
        let index = match self.sources.iter().position(|source| source.ssrc() == header.ssrc) {
            Some(index) => index,
            None => self.add_source(header),
        };
        self.newest = index;
        let source = &mut self.sources[index];
        if !source.has_payload_type(header.payload_type) {
            learn_payload_type(source, &self.plan.ingress.payload_types, header.payload_type);
        }
        source
    }

    #[cold]
    fn add_source(&mut self, header: &Header) -> usize {
        self.first_ssrc.get_or_insert(header.ssrc);
        let source = Source::new(header);
        if self.sources.len() < MAX_SOURCES {
            reserve_few(&mut self.sources);
            self.sources.push(source);
            return self.sources.len() - 1;
        }
        let least = (0..self.sources.len()).min_by_key(|&index| self.sources[index].packets()).unwrap_or(0);
        self.sources[least] = source;
        least
    }

    /// Counts an RTP packet that was sent to the peer; true when it is the first of its SSRC.
    #[inline]
    pub(super) fn count_outgoing(&mut self, header: &Header, origin: StreamId, bytes: usize) -> bool {
        let known = self.outgoing.iter().position(|outgoing| outgoing.ssrc() == header.ssrc);
        let index = known.unwrap_or_else(|| self.add_outgoing(header.ssrc, origin));
        self.outgoing[index].record(header, origin.0, bytes);
        known.is_none()
    }

    /// Counts what another path has sent to the peer under `ssrc` of what came by `loan`.
    pub(super) fn count_outgoing_elsewhere(&mut self, ssrc: u32, loan: &Loan, origin: StreamId, growth: &Growth) {
        let known = self.outgoing.iter().position(|outgoing| outgoing.ssrc() == ssrc);
        let index = known.unwrap_or_else(|| self.add_outgoing(ssrc, origin));
        self.outgoing[index].record_elsewhere(loan, origin.0, growth);
    }

    #[cold]
    fn add_outgoing(&mut self, ssrc: u32, origin: StreamId) -> usize {
        let outgoing = Outgoing::new(ssrc, origin.0);
        if self.outgoing.len() < MAX_SOURCES {
            reserve_few(&mut self.outgoing);
            self.outgoing.push(outgoing);
            return self.outgoing.len() - 1;
        }
        let least = (0..self.outgoing.len()).min_by_key(|&index| self.outgoing[index].packets()).unwrap_or(0);
        self.outgoing[least] = outgoing;
        least
    }

    pub(super) fn note_ssrc(&mut self, ssrc: u32) {
        self.first_ssrc.get_or_insert(ssrc);
    }

    pub(super) fn source_mut(&mut self, ssrc: u32) -> Option<&mut Source> {
        self.sources.iter_mut().find(|source| source.ssrc() == ssrc)
    }

    pub(super) fn sources_mut(&mut self) -> &mut [Source] {
        &mut self.sources
    }

    /// The stream that packets sent under `ssrc` came from, and the SSRC that they had there.
    pub(super) fn origin_of(&self, ssrc: u32) -> Option<(StreamId, u32)> {
        let outgoing = self.outgoing.iter().find(|outgoing| outgoing.ssrc() == ssrc)?;
        let origin = StreamId(outgoing.origin());
        Some((origin, self.rewriting.as_ref().map_or(ssrc, |rewriting| rewriting.unaliased(origin, ssrc))))
    }

    /// Packets and bytes of payload that were sent under `ssrc`, header extensions counted as payload.
    pub(super) fn sent_under(&self, ssrc: u32) -> Option<(u64, u64)> {
        let outgoing = self.outgoing.iter().find(|outgoing| outgoing.ssrc() == ssrc)?;
        let headers = outgoing.packets() * FIXED_HEADER_BYTES as u64;
        Some((outgoing.packets(), outgoing.bytes().saturating_sub(headers)))
    }

    /// Whether the peer knows some source by another SSRC than its own.
    pub fn renames_sources(&self) -> bool {
        self.rewriting.as_ref().is_some_and(|rewriting| rewriting.renames())
    }

    /// The SSRC under which the peer has got packets of a source of `origin`; none before the first.
    pub fn shown_ssrc(&self, origin: StreamId, ssrc: u32) -> Option<u32> {
        let has_got = |shown: &u32| {
            let mut known = self.outgoing.iter();
            known.any(|outgoing| outgoing.ssrc() == *shown && outgoing.origin() == origin.0)
        };
        let alias = || self.rewriting.as_ref()?.alias(origin, ssrc);
        Some(ssrc).filter(&has_got).or_else(|| alias().filter(&has_got))
    }

    /// The stream whose packets the peer has under `ssrc`, if that is not `origin`.
    #[inline]
    pub(super) fn other_origin(&self, ssrc: u32, origin: StreamId) -> Option<StreamId> {
        let outgoing = self.outgoing.iter().find(|outgoing| outgoing.ssrc() == ssrc)?;
        (outgoing.origin() != origin.0).then_some(StreamId(outgoing.origin()))
    }

    pub(super) fn count_send_error(&mut self) {
        self.sent.errors += 1;
    }

    /// Packets that are still missing at the end of the stream.
    pub(super) fn finish(&mut self) -> u64 {
        self.sources.iter_mut().map(Source::finish).sum()
    }

    pub(super) fn wants_piercing(&self) -> bool {
        self.plan.ingress.pierce_nat
            && !self.plan.needs_validation
            && !self.latch.is_heard()
            && self.latch.signalled().is_some()
    }

    pub fn port(&self) -> PortToken {
        self.port
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    pub fn owner_call(&self) -> u32 {
        self.owner_call
    }

    pub(super) fn interface(&self) -> u16 {
        self.interface
    }

    /// The crypto suite in use; none for plain RTP and before there are keys.
    pub fn suite(&self) -> Option<&'static str> {
        self.secure.as_ref()?.suite()
    }

    /// What the peer protects its packets with, and what is done so for it; none for plain RTP and before there are keys.
    pub fn keys(&self) -> Option<&Keys> {
        self.secure.as_ref()?.keys()
    }

    /// Whether a DTLS handshake has shown that the peer is who it was signalled to be.
    pub fn is_peer_verified(&self) -> bool {
        self.handshakes.as_ref().is_some_and(|handshakes| handshakes.is_connected())
    }

    /// What is done with packets that arrive.
    pub fn plan(&self) -> &ForwardingPlan {
        &self.plan
    }

    /// Whether signalling says that packets of this payload type are telephone-events.
    pub(super) fn is_event(&self, payload_type: u8) -> bool {
        self.plan.ingress.payload_types.iter().any(|known| known.number == payload_type && known.is_dtmf)
    }

    /// Where packets are sent; none while nothing is known.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.latch.remote()
    }

    /// The peer's address as signalled, if it is one that this port can send to.
    pub fn signalled(&self) -> Option<SocketAddr> {
        self.latch.signalled()
    }

    /// Whether the remote address has been learned, or is final by signalling.
    pub fn is_confirmed(&self) -> bool {
        self.latch.is_confirmed()
    }

    pub fn created(&self) -> Now {
        self.created
    }

    /// What was accepted from the peer; errors are what was dropped for a reason that is an error.
    pub fn received(&self) -> Traffic {
        Traffic { errors: self.dropped.errors(), ..self.received }
    }

    /// What was sent to the peer.
    pub fn sent(&self) -> Traffic {
        self.sent
    }

    pub fn first_packet(&self) -> Option<Now> {
        self.first_packet
    }

    /// When a packet was last accepted from the peer; when the stream was made, before the first.
    pub fn last_packet(&self) -> Now {
        self.last_packet
    }

    /// The same on the wall clock.
    pub fn last_packet_unix(&self) -> Unix {
        self.last_packet.unix
    }

    /// Datagrams that arrived and were dropped, by reason.
    pub fn dropped(&self) -> &DropCounters {
        &self.dropped
    }

    /// Copies that were to be sent to the peer and were not, by reason.
    pub fn withheld(&self) -> &DropCounters {
        &self.withheld
    }

    /// Where the peer has been found, as far as that is final.
    pub fn learned(&self) -> Option<SocketAddr> {
        self.latch.learned()
    }

    /// Whether no packet from elsewhere can pass or teach.
    pub fn is_closed(&self) -> bool {
        self.latch.is_closed() && !self.plan.has_ice
    }

    /// Where the peer receives; none while that is not known, or it has to send first.
    pub fn destination(&self, now: Mono) -> Option<SocketAddr> {
        // A copy learns nothing for good.
        self.latch.clone().destination(now).ok()
    }

    /// Whether it has or had more ports than one.
    pub fn has_several_ports(&self) -> bool {
        self.moved
    }

    /// The SSRC that was heard last, by the packets that came here.
    pub fn newest_source(&self) -> Option<&Source> {
        self.sources.get(self.newest)
    }

    /// The SSRC that arrived first.
    pub fn first_ssrc(&self) -> Option<u32> {
        self.first_ssrc
    }

    /// The incoming SSRCs, the oldest first.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The SSRCs sent to the peer, the oldest first.
    pub fn outgoing(&self) -> &[Outgoing] {
        &self.outgoing
    }

    /// The payload type that most packets had, over all sources.
    pub fn main_payload_type(&self) -> Option<u8> {
        let mut counts = [0u64; 128];
        for source in &self.sources {
            for (payload_type, packets) in source.payload_types() {
                counts[usize::from(payload_type & 0x7f)] += packets;
            }
        }
        let most = (0..128u8).max_by_key(|&payload_type| counts[usize::from(payload_type)])?;
        (counts[usize::from(most)] > 0).then_some(most)
    }
}

/// Signalling's word on a payload type goes before the static assignments.
#[cold]
fn learn_payload_type(source: &mut Source, signalled: &[PayloadType], number: u8) {
    match signalled.iter().find(|payload_type| payload_type.number == number) {
        Some(known) => source.set_payload_type(number, known.clock_rate_hz, known.is_dtmf),
        None => source.set_payload_type(number, clock::static_rate_hz(number).unwrap_or(0), false),
    }
}
