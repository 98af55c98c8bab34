//! Streams whose RTP another path forwards, and when that is to be looked at.
//!
//! The relay notes a stream where something has changed that decides its way: a plan, an address that was learned,
//! RTP that came here. Whoever drives the relay looks at what was noted, and lends the state of a source to the other
//! path, or takes it back. There is one owner of that state at any time.

use super::secure::Secure;
use super::verdict::DropReason;
use super::{PortToken, Relay, Stream, Transmit};
use crate::base::recheck::Recheck;
use crate::base::time::{Mono, Now, Unix};
use crate::plan::StreamId;
use crate::rtp::Loan;
use crate::rtp::loan::{Growth, PAYLOAD_TYPES};
use crate::srtp::{Parameters, Windows};
use crate::wire::demux::{Protocol, classify};
use crate::wire::rtp::Header;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::time::Duration;

/// Between two looks at a stream whose way traffic may open.
const PATIENCE: Duration = Duration::from_millis(100);
/// After RTP came here that should have gone the other way, the stream stays; longer each time up to the second.
const FIRST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// So long after a loan, RTP may still come that had arrived before it: it is no reason to stay.
const GRACE: Duration = Duration::from_millis(20);
/// A stream that was away for so long has found its way.
const IS_SETTLED: Duration = Duration::from_secs(30);
/// Packets of SRTP that wait for the state of their SSRC: it comes back at the end of the turn.
const MOST_HELD: usize = 512;
/// Nothing is to be looked at.
const NEVER: Mono = Mono(u64::MAX);

/// The way of one stream's RTP.
#[derive(Debug)]
pub(super) struct Way {
    /// RTP from then on is a reason to look at the stream.
    pub(super) look_at: Mono,
    /// RTP came back from the other path: the stream stays until then.
    resting_until: Option<Mono>,
    rest: Duration,
    away: Option<Box<Away>>,
    /// The other path has windows of SRTP.
    pub(super) has_lent_windows: bool,
    /// Why it is here; empty before anybody has looked.
    pub(super) reason: &'static str,
    /// When the other path took its last packet.
    pub(super) last_elsewhere: Unix,
}

/// What becomes of packets on another path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// They go to the peer of this stream.
    Peer(StreamId),
    /// They would, if they were not dropped.
    Nobody(StreamId),
}

/// What a stream lends to another path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent {
    pub loan: Loan,
    pub windows: Windows,
}

/// What another path is to do for a stream.
#[derive(Debug)]
pub struct Errand {
    pub ssrc: u32,
    pub payload_types: SmallVec<[u8; PAYLOAD_TYPES]>,
    pub destination: Destination,
    /// What its packets come and leave with, where it opens or protects them.
    pub open: Option<Parameters>,
    pub protect: Option<Parameters>,
    /// The bytes by which packets grow on their way.
    pub growth_bytes: i64,
}

/// What another path does for a stream.
#[derive(Debug)]
struct Away {
    since: Mono,
    errand: Errand,
    /// As it was looked at last.
    loan: Loan,
    /// Sequence numbers of packets that came here meanwhile.
    beside: SmallVec<[u16; 8]>,
    /// RTP came here, of this SSRC or of another.
    has_strays: bool,
    /// SRTP that can't be judged without the state that was lent.
    held: Vec<Held>,
}

/// A datagram that waits.
#[derive(Debug)]
pub(super) struct Held {
    port: PortToken,
    from: SocketAddr,
    datagram: Vec<u8>,
}

impl Way {
    /// RTP of a new stream is looked at if there is another path.
    pub(super) fn new(has_other: bool) -> Way {
        Way {
            look_at: if has_other { Mono(0) } else { NEVER },
            resting_until: None,
            rest: FIRST_REST,
            away: None,
            has_lent_windows: false,
            reason: "",
            last_elsewhere: Unix(0),
        }
    }
}

impl Stream {
    /// Whether another path forwards its RTP.
    pub fn is_away(&self) -> bool {
        self.way.away.is_some()
    }

    /// Why the daemon forwards its RTP itself, by the name of a reason; none while another path does, and where there
    /// is none.
    pub fn reason_to_stay(&self) -> Option<&'static str> {
        Some(self.way.reason).filter(|reason| !reason.is_empty() && !self.is_away())
    }

    /// When another path took its last packet; zero if that never was.
    pub fn last_packet_elsewhere(&self) -> Unix {
        self.way.last_elsewhere
    }
}

impl Relay {
    /// There is another path from now on, and streams are noted for it.
    pub fn note_ways(&mut self) {
        self.has_other_path = true;
    }

    /// The streams to look at since this was last asked; some may be gone, some may be there twice.
    pub fn take_way_notes(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.way_notes)
    }

    /// Whether there are any.
    #[inline]
    pub fn has_way_notes(&self) -> bool {
        !self.way_notes.is_empty()
    }

    /// A plan was set.
    pub(super) fn note_plan(&mut self, id: StreamId) {
        if self.has_other_path {
            self.note(id);
        }
    }

    /// Something outside has changed that decides a stream's way.
    pub fn look_again(&mut self, id: StreamId) {
        self.note_plan(id);
    }

    fn note(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        if stream.way.away.is_none() {
            stream.way.look_at = NEVER;
        }
        self.way_notes.push(id);
    }

    /// A peer's address has changed: its own stream, and those that send to it, are looked at.
    #[cold]
    pub(super) fn note_moved(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        stream.latch.settle_news();
        if !self.has_other_path {
            return;
        }
        let origins: SmallVec<[StreamId; 4]> = stream.outgoing().iter().map(|one| StreamId(one.origin())).collect();
        self.note(id);
        origins.into_iter().for_each(|origin| self.note(origin));
    }

    /// The stream's keys, or its peer's, have changed: it is looked at, and those that send to it.
    pub(super) fn note_keys(&mut self, id: StreamId) {
        if self.has_other_path {
            self.note_moved(id);
        }
    }

    /// RTP came here of a stream whose windows another path has: what can't be judged or protected without them waits.
    /// False when it need not, or can't.
    #[cold]
    pub(super) fn hold(&mut self, id: StreamId, port: PortToken, from: SocketAddr, datagram: &[u8]) -> bool {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return false };
        let is_rtp = classify(datagram) == Protocol::Rtp && !stream.latch.refuses(from);
        let header = Header::read(datagram).ok().filter(|_| is_rtp);
        let (Some(away), Some(header)) = (&mut stream.way.away, header) else { return false };
        if away.errand.ssrc != header.ssrc {
            return false;
        }
        away.has_strays = true;
        let has_room = away.held.len() < MOST_HELD;
        if has_room {
            away.held.push(Held { port, from, datagram: datagram.to_vec() });
        }
        self.note(id);
        has_room
    }

    /// Whether anything waits for a state that has come back.
    #[inline]
    pub fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// What waited for a state that has come back goes its way. Called after ways were looked at.
    pub fn release_held(&mut self, now: Now, transmit: &mut (impl Transmit + ?Sized)) {
        for mut held in std::mem::take(&mut self.released) {
            self.datagram(now, held.port, held.from, &mut held.datagram, transmit);
        }
    }

    /// RTP came here, and the stream may have another way. True when that way counts the packet's source: then the
    /// packet is noted beside it.
    #[cold]
    pub(super) fn look_at_way(&mut self, id: StreamId, header: &Header, bytes: usize) -> bool {
        self.note(id);
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return false };
        let Some(away) = &mut stream.way.away else { return false };
        away.has_strays = true;
        if away.loan.ssrc != header.ssrc {
            return false;
        }
        away.beside.push(header.sequence);
        let source = stream.source_for(header);
        source.record_beside(bytes);
        true
    }

    /// The stream stays here: until its plan changes, or as `recheck` says, until traffic gives another reason to look.
    /// `reason` is a name to be shown.
    pub fn keep_way(&mut self, now: Mono, id: StreamId, reason: &'static str, recheck: Recheck) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let way = &mut stream.way;
        way.reason = reason;
        way.look_at = match recheck {
            Recheck::Never => NEVER,
            Recheck::Soon => now + PATIENCE,
            Recheck::Less => {
                let rest = way.rest;
                way.rest = (rest * 2).min(LONGEST_REST);
                now + rest
            }
            Recheck::Later => way.resting_until.unwrap_or(now),
        };
    }

    /// Whether RTP came here that another path should have taken.
    pub fn has_strays(&self, id: StreamId) -> bool {
        let way = self.streams.get(id.0 as usize).map(|stream| &stream.way);
        way.and_then(|way| way.away.as_ref()).is_some_and(|away| away.has_strays)
    }

    /// Whether the stream stays here for now because its packets came back from the other path; it is looked at later.
    pub fn rests(&mut self, now: Mono, id: StreamId) -> bool {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return false };
        match stream.way.resting_until {
            Some(until) if now < until => {
                stream.way.look_at = until;
                true
            }
            _ => false,
        }
    }

    /// Lends the state of an SSRC to another path. None while there is no state: before a packet of it has passed.
    pub fn lend(&mut self, now: Mono, id: StreamId, errand: Errand) -> Option<Lent> {
        let stream = self.streams.get_mut(id.0 as usize)?;
        let loan = stream.source_mut(errand.ssrc)?.lend();
        let windows = self.lend_windows(id, &errand)?;
        let stream = self.streams.get_mut(id.0 as usize)?;
        stream.way.away = Some(Box::new(Away {
            since: now,
            errand,
            loan,
            beside: SmallVec::new(),
            has_strays: false,
            held: Vec::new(),
        }));
        stream.way.look_at = Mono(0);
        stream.way.has_lent_windows = windows != Windows::default();
        Some(Lent { loan, windows })
    }

    /// All that the errand needs, or nothing.
    fn lend_windows(&mut self, id: StreamId, errand: &Errand) -> Option<Windows> {
        let mut windows = Windows::default();
        if errand.open.is_some() {
            windows.opened = Some(self.secure_mut(id)?.lend_inbound(errand.ssrc)?);
        }
        if errand.protect.is_some() {
            let egress = errand.destination.egress();
            windows.protected = self.secure_mut(egress).and_then(|secure| secure.lend_outbound(errand.ssrc));
            if windows.protected.is_none() {
                self.take_back_windows(id, errand, &windows);
                return None;
            }
        }
        Some(windows)
    }

    fn take_back_windows(&mut self, id: StreamId, errand: &Errand, windows: &Windows) {
        if let (Some(window), Some(parameters), Some(secure)) = (windows.opened, &errand.open, self.secure_mut(id)) {
            secure.take_back_inbound(errand.ssrc, parameters, window);
        }
        let egress = self.secure_mut(errand.destination.egress());
        if let (Some(window), Some(parameters), Some(secure)) = (windows.protected, &errand.protect, egress) {
            secure.take_back_outbound(errand.ssrc, parameters, window);
        }
    }

    fn secure_mut(&mut self, id: StreamId) -> Option<&mut Secure> {
        self.streams.get_mut(id.0 as usize)?.secure.as_deref_mut()
    }

    /// What the other path takes goes to `destination` from now on.
    pub fn redirect_way(&mut self, id: StreamId, destination: Destination) {
        let away = self.streams.get_mut(id.0 as usize).and_then(|stream| stream.way.away.as_mut());
        if let Some(away) = away {
            away.errand.destination = destination;
        }
    }

    /// Takes over what another path has counted so far.
    pub fn settle_way(&mut self, now: Now, id: StreamId, loan: &Loan) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let Some(away) = &mut stream.way.away else { return };
        let (destination, before) = (away.errand.destination, std::mem::replace(&mut away.loan, *loan));
        if before == *loan {
            return;
        }
        let (payload_types, growth_bytes) = (away.errand.payload_types.clone(), away.errand.growth_bytes);
        let source = stream.source_mut(loan.ssrc);
        let growth = source.map_or_else(|| loan.growth(&before), |source| source.settle(loan, &before, &payload_types));
        stream.received.add(growth.packets, growth.bytes);
        let refused = refused(&growth);
        refused.iter().for_each(|(reason, count)| stream.dropped.add_count(*reason, *count));
        if growth.packets > 0 && loan.last_arrival > stream.last_packet.mono {
            stream.last_packet = on_both_clocks(now, loan.last_arrival);
            stream.way.last_elsewhere = stream.last_packet.unix;
        }
        let interface = self.interfaces.get_mut(stream.interface());
        let errors = refused.iter().map(|(_, count)| count).sum::<u64>();
        for traffic in [&mut interface.received, &mut interface.received_elsewhere] {
            traffic.add(growth.packets, growth.bytes);
            traffic.errors += errors;
        }
        interface.add_growth(&growth);
        refused.iter().for_each(|(reason, count)| self.dropped.add_count(*reason, *count));
        let sent_bytes = growth.bytes.saturating_add_signed(growth_bytes * growth.packets as i64);
        self.settle_egress(id, destination, loan, &Growth { bytes: sent_bytes, ..growth });
    }

    fn settle_egress(&mut self, id: StreamId, destination: Destination, loan: &Loan, growth: &Growth) {
        let egress = destination.egress();
        if let Destination::Nobody(_) = destination {
            self.dropped.add_count(DropReason::Blocked, growth.packets);
            if let Some(stream) = self.streams.get_mut(id.0 as usize) {
                stream.dropped.add_count(DropReason::Blocked, growth.packets);
            }
        }
        let Some(stream) = self.streams.get_mut(egress.0 as usize) else { return };
        if let Destination::Nobody(_) = destination {
            stream.withheld.add_count(DropReason::Blocked, growth.packets);
            return;
        }
        stream.withheld.add_count(DropReason::Replayed, growth.used_index);
        stream.sent.add(growth.packets, growth.bytes);
        stream.count_outgoing_elsewhere(loan, id, growth);
        self.interfaces.get_mut(stream.interface()).sent.add(growth.packets, growth.bytes);
    }

    /// Ends a loan, with what the other path has counted to its end, and where it has brought the windows.
    pub fn take_back(&mut self, now: Now, id: StreamId, Lent { loan, windows }: &Lent) {
        self.settle_way(now, id, loan);
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let Some(mut away) = stream.way.away.take() else { return };
        stream.way.has_lent_windows = false;
        self.released.append(&mut away.held);
        stream.way.look_at = Mono(0);
        if let Some(source) = stream.source_mut(away.loan.ssrc) {
            away.beside.iter().for_each(|sequence| source.place(*sequence));
        }
        if away.has_strays && now.mono.since(away.since) >= GRACE {
            stream.way.rest(now.mono, away.since);
        }
        self.take_back_windows(id, &away.errand, windows);
    }
}

impl Way {
    fn rest(&mut self, now: Mono, away_since: Mono) {
        if now.since(away_since) >= IS_SETTLED {
            self.rest = FIRST_REST;
        }
        self.resting_until = Some(now + self.rest);
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }
}

impl Destination {
    fn egress(self) -> StreamId {
        let (Destination::Peer(egress) | Destination::Nobody(egress)) = self;
        egress
    }
}

/// What was dropped, by reason.
fn refused(growth: &Growth) -> [(DropReason, u64); 3] {
    [
        (DropReason::WrongSource, growth.wrong_source),
        (DropReason::WrongTag, growth.wrong_tag),
        (DropReason::Replayed, growth.replayed),
    ]
}

/// A moment of the monotonic clock on both.
fn on_both_clocks(now: Now, mono: Mono) -> Now {
    let ago = now.mono.since(mono);
    Now { mono, unix: Unix(now.unix.0.saturating_sub(ago.as_micros() as u64)) }
}
