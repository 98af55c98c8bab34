//! Streams whose RTP another path forwards, and when that is to be looked at.
//!
//! The relay notes a stream where something has changed that decides its way: a plan, an address that was learned,
//! RTP that came here. Whoever drives the relay looks at what was noted, and lends the state of a source to the other
//! path, or takes it back. There is one owner of that state at any time.

use super::held::HeldBack;
use super::secure::Secure;
use super::verdict::DropReason;
use super::{Relay, Stream};
use crate::base::recheck::Recheck;
use crate::base::time::{Mono, Now, Unix};
use crate::plan::StreamId;
use crate::rtp::loan::{Growth, PAYLOAD_TYPES};
use crate::rtp::{Loan, Sent};
use crate::srtp::{Parameters, Window};
use crate::wire::rtp::Header;
use smallvec::SmallVec;
use std::time::Duration;

/// Between two looks at a stream whose way traffic may open.
const PATIENCE: Duration = Duration::from_millis(100);
/// After RTP came here that should have gone the other way, the stream stays; longer each time up to the second. The
/// first is enough for what had arrived before the loan.
const FIRST_REST: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// So long after a loan, RTP may still come that had arrived before it: it is no reason to take the loan back.
const GRACE: Duration = Duration::from_millis(20);
/// A stream that was away for so long has found its way.
const IS_SETTLED: Duration = Duration::from_secs(30);
/// So has one of which the other path took so many packets for each that came here.
const TAKEN_FOR_EACH: u64 = 50;
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
    pub(super) away: Option<Box<Away>>,
    /// The other path has windows of SRTP.
    pub(super) has_lent_windows: bool,
    /// Why it is here; empty before anybody has looked.
    pub(super) reason: &'static str,
    /// The name of the way on which its packets come here; none where that is the usual one.
    lifted: Option<&'static str>,
    /// When the other path took its last packet.
    pub(super) last_elsewhere: Unix,
}

/// One sink, as another path serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    pub egress: StreamId,
    /// The SSRC that it gets packets under.
    pub ssrc: u32,
    /// By place in the list of payload types, why it gets none of them; none where it gets them.
    pub withheld: SmallVec<[Option<DropReason>; PAYLOAD_TYPES]>,
    /// The place of its counter among those of copies; none where it gets all that is counted, or nothing.
    pub copy: Option<usize>,
    /// What packets leave with, where they are protected for it.
    pub protect: Option<Parameters>,
}

/// What a stream lends to another path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    pub loan: Loan,
    pub windows: LentWindows,
}

/// The windows of SRTP among it: of what comes, and of what leaves for each receiver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LentWindows {
    pub opened: Option<Window>,
    pub protected: SmallVec<[Option<Window>; 2]>,
}

/// What another path has counted of a stream: its source, and packets and bytes of each copy.
#[derive(Debug, Clone, Copy)]
pub struct Tally<'a> {
    pub loan: &'a Loan,
    pub copies: &'a [Sent],
}

/// What another path is to do for a stream.
#[derive(Debug)]
pub struct Errand {
    pub ssrc: u32,
    pub payload_types: SmallVec<[u8; PAYLOAD_TYPES]>,
    /// In the order of the plan's sinks.
    pub receivers: Vec<Receiver>,
    /// What its packets come with, where it opens them.
    pub open: Option<Parameters>,
    /// The bytes by which packets grow on their way.
    pub growth_bytes: i64,
}

/// What another path does for a stream.
#[derive(Debug)]
pub(super) struct Away {
    since: Mono,
    /// The name of the path.
    path: &'static str,
    pub(super) errand: Errand,
    /// As it was looked at last.
    pub(super) loan: Loan,
    copies: SmallVec<[Sent; 2]>,
    /// Sequence numbers of packets that came here meanwhile.
    beside: SmallVec<[u16; 8]>,
    /// RTP that came here and should not have, of this SSRC or of another.
    strays: u64,
    pub(super) held: HeldBack,
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
            lifted: None,
            last_elsewhere: Unix(0),
        }
    }
}

impl Stream {
    /// Whether another path forwards its RTP.
    pub fn is_away(&self) -> bool {
        self.way.away.is_some()
    }

    /// The name of the path that forwards its RTP; none while that is the daemon.
    pub fn other_path(&self) -> Option<&'static str> {
        self.way.away.as_ref().map(|away| away.path)
    }

    /// Why the daemon forwards its RTP itself, by the name of a reason; none while another path does, and where there
    /// is none.
    pub fn reason_to_stay(&self) -> Option<&'static str> {
        Some(self.way.reason).filter(|reason| !reason.is_empty() && !self.is_away())
    }

    /// The name of the way on which its packets come to the daemon; none where that is the usual one.
    pub fn way_here(&self) -> Option<&'static str> {
        self.way.lifted
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

    /// The streams to look at since this was last asked, each once; some may be gone.
    pub fn take_way_notes(&mut self) -> Vec<StreamId> {
        let mut notes = std::mem::take(&mut self.way_notes);
        notes.sort_unstable_by_key(|id| id.0);
        notes.dedup();
        notes
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

    pub(super) fn note(&mut self, id: StreamId) {
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

    /// RTP came here, and the stream may have another way. True when that way counts the packet's source: then the
    /// packet is noted beside it.
    #[cold]
    pub(super) fn look_at_way(&mut self, now: Mono, id: StreamId, header: &Header, bytes: usize) -> bool {
        self.note(id);
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return false };
        let is_told_digit = stream.plan().tells_digits && stream.is_event(header.payload_type);
        let Some(away) = &mut stream.way.away else { return false };
        // Digits that somebody is told of come here by right.
        let is_stray = !is_told_digit && now.since(away.since) >= GRACE;
        away.strays += u64::from(is_stray);
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

    /// Names the way on which a stream's packets come here, or the usual one.
    pub fn lift_way(&mut self, id: StreamId, way: Option<&'static str>) {
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.way.lifted = way;
        }
    }

    /// Whether RTP came here that another path should have taken.
    pub fn has_strays(&self, id: StreamId) -> bool {
        let way = self.streams.get(id.0 as usize).map(|stream| &stream.way);
        way.and_then(|way| way.away.as_ref()).is_some_and(|away| away.strays() > 0)
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
            path: "",
            errand,
            loan,
            copies: SmallVec::new(),
            beside: SmallVec::new(),
            strays: 0,
            held: HeldBack::new(&loan, windows.opened),
        }));
        stream.way.look_at = Mono(0);
        stream.way.has_lent_windows = windows.opened.is_some() || windows.protected.iter().any(Option::is_some);
        Some(Lent { loan, windows })
    }

    /// All that the errand needs, or nothing.
    fn lend_windows(&mut self, id: StreamId, errand: &Errand) -> Option<LentWindows> {
        let mut windows = LentWindows::default();
        if errand.open.is_some() {
            windows.opened = Some(self.secure_mut(id)?.lend_inbound(errand.ssrc)?);
        }
        for receiver in &errand.receivers {
            let lend = |secure: &mut Secure| secure.lend_outbound(receiver.ssrc);
            let window = receiver.protect.as_ref().map(|_| self.secure_mut(receiver.egress).and_then(lend));
            if window == Some(None) {
                self.take_back_windows(id, errand, &windows);
                return None;
            }
            windows.protected.push(window.flatten());
        }
        Some(windows)
    }

    fn take_back_windows(&mut self, id: StreamId, errand: &Errand, windows: &LentWindows) {
        if let (Some(window), Some(parameters), Some(secure)) = (windows.opened, &errand.open, self.secure_mut(id)) {
            secure.take_back_inbound(errand.ssrc, parameters, window);
        }
        for (receiver, window) in errand.receivers.iter().zip(&windows.protected) {
            let egress = self.secure_mut(receiver.egress);
            if let (Some(window), Some(parameters), Some(secure)) = (window, &receiver.protect, egress) {
                secure.take_back_outbound(receiver.ssrc, parameters, *window);
            }
        }
    }

    fn secure_mut(&mut self, id: StreamId) -> Option<&mut Secure> {
        self.streams.get_mut(id.0 as usize)?.secure.as_deref_mut()
    }

    /// Names the path that a stream has taken.
    pub fn name_way(&mut self, id: StreamId, path: &'static str) {
        let away = self.streams.get_mut(id.0 as usize).and_then(|stream| stream.way.away.as_mut());
        if let Some(away) = away {
            away.path = path;
        }
    }

    /// What the other path takes goes to `receivers` from now on.
    pub fn redirect_way(&mut self, id: StreamId, receivers: Vec<Receiver>) {
        let away = self.streams.get_mut(id.0 as usize).and_then(|stream| stream.way.away.as_mut());
        if let Some(away) = away {
            away.errand.receivers = receivers;
            away.copies.clear();
        }
    }

    /// Whom another path serves for a stream.
    pub fn receivers_elsewhere(&self, id: StreamId) -> &[Receiver] {
        let away = self.streams.get(id.0 as usize).and_then(|stream| stream.way.away.as_ref());
        away.map(|away| away.errand.receivers.as_slice()).unwrap_or_default()
    }

    /// Takes over what another path has counted so far.
    pub fn settle_way(&mut self, now: Now, id: StreamId, tally: Tally) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let Some(mut away) = stream.way.away.take() else { return };
        let loan = tally.loan;
        let before = std::mem::replace(&mut away.loan, *loan);
        if before != *loan {
            let source = stream.source_mut(loan.ssrc);
            let payload_types = &away.errand.payload_types;
            let growth =
                source.map_or_else(|| loan.growth(&before), |source| source.settle(loan, &before, payload_types));
            self.settle_ingress(now, id, loan, &growth);
            self.settle_withheld(id, &away.errand, loan, &before);
            for receiver in away.errand.receivers.iter().filter(|receiver| receiver.gets_anything()) {
                let sent = match receiver.copy {
                    None => away.errand.all_of(&growth),
                    Some(place) => copied(place, tally.copies, &away.copies, &growth),
                };
                self.settle_egress(id, receiver, loan, &sent);
            }
            away.copies = tally.copies.iter().copied().collect();
        }
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.way.away = Some(away);
        }
    }

    fn settle_ingress(&mut self, now: Now, id: StreamId, loan: &Loan, growth: &Growth) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        stream.received.add(growth.packets, growth.bytes);
        let refused = refused(growth);
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
        interface.add_growth(growth);
        refused.iter().for_each(|(reason, count)| self.dropped.add_count(*reason, *count));
    }

    /// Counts what receivers did not get. What none of them got was dropped, for the reason of the first.
    fn settle_withheld(&mut self, id: StreamId, errand: &Errand, loan: &Loan, before: &Loan) {
        for place in 0..errand.payload_types.len().min(PAYLOAD_TYPES) {
            let packets = loan.payload_packets[place].wrapping_sub(before.payload_packets[place]);
            let reasons = || errand.receivers.iter().map(|receiver| receiver.withheld.get(place).copied().flatten());
            if packets == 0 || reasons().all(|reason| reason.is_none()) {
                continue;
            }
            if let Some(reason) = reasons().next().flatten().filter(|_| reasons().all(|reason| reason.is_some())) {
                self.dropped.add_count(reason, packets);
                if let Some(stream) = self.streams.get_mut(id.0 as usize) {
                    stream.dropped.add_count(reason, packets);
                }
            }
            for (receiver, reason) in errand.receivers.iter().zip(reasons()) {
                let egress = self.streams.get_mut(receiver.egress.0 as usize);
                if let (Some(egress), Some(DropReason::Blocked)) = (egress, reason) {
                    egress.withheld.add_count(DropReason::Blocked, packets);
                }
            }
        }
    }

    fn settle_egress(&mut self, id: StreamId, receiver: &Receiver, loan: &Loan, growth: &Growth) {
        let Some(stream) = self.streams.get_mut(receiver.egress.0 as usize) else { return };
        stream.withheld.add_count(DropReason::Replayed, growth.used_index);
        stream.sent.add(growth.packets, growth.bytes);
        if growth.packets > 0 {
            stream.count_outgoing_elsewhere(receiver.ssrc, loan, id, growth);
        }
        self.interfaces.get_mut(stream.interface()).sent.add(growth.packets, growth.bytes);
    }

    /// Ends a loan, with what the other path has counted to its end, and where it has brought the windows.
    pub fn take_back(&mut self, now: Now, id: StreamId, tally: Tally, windows: &LentWindows) {
        self.settle_way(now, id, tally);
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let Some(mut away) = stream.way.away.take() else { return };
        stream.way.has_lent_windows = false;
        if away.strays() > 0 {
            stream.way.rest(now.mono, &away);
        }
        self.released.append(&mut away.held.take());
        stream.way.look_at = Mono(0);
        if let Some(source) = stream.source_mut(away.loan.ssrc) {
            away.beside.iter().for_each(|sequence| source.place(*sequence));
        }
        self.take_back_windows(id, &away.errand, windows);
    }
}

impl Way {
    fn rest(&mut self, now: Mono, away: &Away) {
        let has_paid = away.loan.packets >= TAKEN_FOR_EACH * away.strays();
        if has_paid || now.since(away.since) >= IS_SETTLED {
            self.rest = FIRST_REST;
        }
        self.resting_until = Some(now + self.rest);
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }
}

impl Away {
    fn strays(&self) -> u64 {
        self.strays + self.held.count()
    }
}

impl Receiver {
    fn gets_anything(&self) -> bool {
        self.withheld.iter().any(Option::is_none)
    }
}

impl Errand {
    /// What a receiver of all that came was sent.
    fn all_of(&self, growth: &Growth) -> Growth {
        let bytes = growth.bytes.saturating_add_signed(self.growth_bytes * growth.packets as i64);
        Growth { bytes, ..*growth }
    }
}

/// What a receiver was sent of which copies are counted.
fn copied(place: usize, now: &[Sent], before: &[Sent], growth: &Growth) -> Growth {
    let at = |counts: &[Sent]| counts.get(place).copied().unwrap_or_default();
    let (now, before) = (at(now), at(before));
    Growth {
        packets: now.packets.wrapping_sub(before.packets),
        bytes: now.bytes.wrapping_sub(before.bytes),
        used_index: now.used_index.wrapping_sub(before.used_index),
        ..*growth
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
