//! RTP that goes below the daemon: streams are compiled to entries, and entries put into the kernel's table.

mod listing;

use super::shard::Shard;
use crate::base::id::StreamId;
use crate::base::time::Now;
use crate::fastpath::entry::Passing;
use crate::fastpath::{
    self, Action, CopyWindows, Counted, Egress, Entry, Ingress, Reason, Slot, Step, Table, Withdrawn, compile, diff,
};
use crate::plan::{Block, ForwardingPlan, Sink};
use crate::relay::away::{Errand, LentWindows, Receiver, Tally};
use crate::relay::{DropReason, Relay, Stream, Transmit};
use crate::srtp::Windows;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::net::SocketAddr;

/// What is installed, and in what.
#[derive(Default)]
pub(super) struct Offload {
    table: Option<Box<dyn Table>>,
    installed: HashMap<StreamId, (Slot, Entry)>,
    /// Ports without entries whose packets come past the network stack: where they come to, and from.
    lifted: HashMap<StreamId, (SocketAddr, SocketAddr)>,
}

/// The name of the path that lifted packets take.
const LIFTED: &str = "af_xdp";

impl std::fmt::Debug for Offload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offload").field("installed", &self.installed).finish()
    }
}

impl Shard {
    /// Uses a table of the kernel from now on.
    pub fn use_table(&mut self, table: Box<dyn Table>) {
        self.offload.table = Some(table);
        self.relay.note_ways();
    }

    /// Looks at the streams whose way may have changed. Called once a turn.
    #[inline]
    pub fn settle_ways(&mut self, now: Now, transmit: &mut (impl Transmit + ?Sized)) {
        self.heed_ways(now);
        if self.relay.has_released() {
            self.relay.release_held(now, transmit);
        }
        if self.relay.has_digits() {
            self.tell_digits(now);
        }
    }

    /// The same, but for what waits to be sent. Called before a reply too: who is told that media has ended gets none.
    #[inline]
    pub(super) fn heed_ways(&mut self, now: Now) {
        if self.relay.has_way_notes() {
            self.look_at_ways(now);
        }
    }

    #[cold]
    fn look_at_ways(&mut self, now: Now) {
        for id in self.relay.take_way_notes() {
            self.judge_held(id);
            let want = self.wanted(now, id);
            self.follow(now, id, want);
        }
    }

    /// What waits for the state of an entry, and was there before, is nobody's reason to take the entry out.
    fn judge_held(&mut self, id: StreamId) {
        if !self.relay.has_held(id) {
            return;
        }
        if let (Some((slot, entry)), Some(table)) = (self.offload.installed.get(&id), &self.offload.table) {
            self.relay.judge_held(id, &table.windows(*slot, entry));
        }
    }

    fn wanted(&mut self, now: Now, id: StreamId) -> Result<Entry, Reason> {
        let stream = self.relay.stream(id).ok_or(Reason::NoPackets)?;
        // What came here although an entry should have taken it: the entry is not right, or packets are unusual.
        if self.relay.has_strays(id) {
            return Err(Reason::Strays);
        }
        let call = self.calls.get(stream.owner_call() as usize);
        let tos = call.and_then(|call| call.tos).unwrap_or_default();
        let captures = call.map_or(&[][..], |call| &call.captures);
        let ssrc = stream.newest_source().map(|source| source.ssrc());
        let egress = |sink: &Sink| {
            let egress = self.relay.stream(sink.egress)?;
            let shown_ssrc = ssrc.and_then(|ssrc| egress.shown_ssrc(id, ssrc));
            (egress.owner_call() == stream.owner_call()).then(|| self::egress(now, egress, shown_ssrc, tos))
        };
        let egresses: SmallVec<[Option<Egress>; 2]> = stream.plan().media.iter().map(egress).collect();
        let table = self.offload.table.as_ref();
        let may_open = table.is_some_and(|table| table.takes_keys());
        let may_capture = table.is_some_and(|table| table.captures());
        let shares_port = self.relay.shares_port(id);
        let ingress = Ingress { captures, may_capture, shares_port, ..ingress(stream, may_open) };
        let entry = compile(&ingress, &egresses)?;
        drop(egresses);
        match self.offload.table.as_ref() {
            _ if self.relay.rests(now.mono, id) => Err(Reason::Strays),
            Some(table) if !table.forwards() => Err(Reason::NotForwarded),
            _ => Ok(entry),
        }
    }

    fn follow(&mut self, now: Now, id: StreamId, want: Result<Entry, Reason>) {
        let refused = want.as_ref().err().copied();
        let have = self.offload.installed.get(&id).map(|(_, entry)| entry);
        let step = diff(have, want.ok());
        let failed = match step {
            Step::Keep => None,
            Step::Install(entry) => self.install(now, id, entry).err(),
            Step::Reroute(entry) => self.reroute(now, id, entry).err(),
            Step::Renew(entry) => {
                self.withdraw(now, id);
                self.install(now, id, entry).err()
            }
            Step::Withdraw => {
                self.withdraw(now, id);
                None
            }
        };
        if let Some(reason) = refused.or(failed) {
            self.relay.keep_way(now.mono, id, reason.name(), reason.recheck());
            self.lift(id, reason);
        }
    }

    /// Has the packets of a stream that stays here come past the network stack, if its `reason` to stay is one for that.
    fn lift(&mut self, id: StreamId, reason: Reason) {
        let ends = self.relay.stream(id).and_then(|stream| Some((stream.local(), stream.learned()?)));
        let Some(ends) = ends.filter(|_| reason.lifts()) else { return self.put_down(id) };
        if self.offload.lifted.get(&id) == Some(&ends) {
            return;
        }
        let Some(table) = &mut self.offload.table else { return };
        if table.lift(ends.0, ends.1) {
            let before = self.offload.lifted.insert(id, ends);
            let elsewhere = before.filter(|(local, _)| *local != ends.0);
            elsewhere.into_iter().for_each(|(local, _)| table.put_down(local));
            self.relay.lift_way(id, Some(LIFTED));
        }
    }

    fn put_down(&mut self, id: StreamId) {
        if let (Some((local, _)), Some(table)) = (self.offload.lifted.remove(&id), &mut self.offload.table) {
            table.put_down(local);
            self.relay.lift_way(id, None);
        }
    }

    fn install(&mut self, now: Now, id: StreamId, entry: Entry) -> Result<(), Reason> {
        let receivers = receivers(&self.relay, id, &entry).ok_or(Reason::NoReceiver)?;
        let table = self.offload.table.as_mut().ok_or(Reason::TableFull)?;
        let lent = self.relay.lend(now.mono, id, errand(&entry, receivers)).ok_or(Reason::NoPackets)?;
        let (windows, copies) = for_table(self.relay.receivers_elsewhere(id), &lent.windows);
        match table.install(&entry, &lent.loan, &windows, &copies) {
            Ok(slot) => {
                self.relay.name_way(id, table.path(slot).name());
                // The entry has taken its place.
                if self.offload.lifted.remove(&id).is_some() {
                    self.relay.lift_way(id, None);
                }
                self.offload.installed.insert(id, (slot, entry));
                Ok(())
            }
            Err(reason) => {
                self.relay.take_back(now, id, Tally { loan: &lent.loan, copies: &[] }, &lent.windows);
                Err(reason)
            }
        }
    }

    fn reroute(&mut self, now: Now, id: StreamId, entry: Entry) -> Result<(), Reason> {
        let receivers = receivers(&self.relay, id, &entry).ok_or(Reason::NoReceiver)?;
        let (Some((slot, old)), Some(table)) = (self.offload.installed.get_mut(&id), &mut self.offload.table) else {
            return Err(Reason::TableFull);
        };
        let counted = table.read(*slot);
        if let Err(reason) = table.reroute(*slot, old, &entry) {
            self.withdraw(now, id);
            return Err(reason);
        }
        *old = entry;
        self.relay.name_way(id, table.path(*slot).name());
        self.relay.settle_way(now, id, tally(&counted));
        self.relay.redirect_way(id, receivers);
        Ok(())
    }

    /// Takes a stream back from the kernel.
    pub(super) fn withdraw(&mut self, now: Now, id: StreamId) {
        let (Some((slot, entry)), Some(table)) = (self.offload.installed.remove(&id), &mut self.offload.table) else {
            return;
        };
        let withdrawn = table.withdraw(slot, &entry);
        let windows = from_table(self.relay.receivers_elsewhere(id), &withdrawn);
        self.relay.take_back(now, id, tally(&withdrawn.counted), &windows);
    }

    /// Takes every stream of a call that is to end, or to leave this shard, back from the kernel.
    pub(super) fn withdraw_call(&mut self, now: Now, index: usize) {
        if self.offload.installed.is_empty() && self.offload.lifted.is_empty() {
            return;
        }
        for id in self.streams_of(index) {
            self.withdraw(now, id);
            self.put_down(id);
        }
    }

    /// Brings the counters of a call's streams up to date.
    pub fn count_ways(&mut self, now: Now, index: usize) {
        if !self.offload.installed.is_empty() {
            self.streams_of(index).into_iter().for_each(|id| self.count_way(now, id));
        }
    }

    /// Brings the counters of all streams up to date.
    pub fn count_all_ways(&mut self, now: Now) {
        let all: Vec<StreamId> = self.offload.installed.keys().copied().collect();
        all.into_iter().for_each(|id| self.count_way(now, id));
        self.look_at_lengths(now);
        self.follow_moves(now);
    }

    /// Renews entries some of whose packets leave by another interface now.
    fn follow_moves(&mut self, now: Now) {
        let Some(table) = &mut self.offload.table else { return };
        table.tidy();
        let moved = self.offload.installed.iter().filter(|(_, (slot, _))| table.has_moved(*slot));
        let moved: Vec<StreamId> = moved.map(|(id, _)| *id).collect();
        for id in moved {
            self.withdraw(now, id);
            let want = self.wanted(now, id);
            self.follow(now, id, want);
        }
    }

    fn count_way(&mut self, now: Now, id: StreamId) {
        if let (Some((slot, _)), Some(table)) = (self.offload.installed.get(&id), &self.offload.table) {
            let counted = table.read(*slot);
            self.relay.settle_way(now, id, tally(&counted));
        }
    }

    /// Takes streams of SRTP back whose packets have become too long for the kernel's AES.
    fn look_at_lengths(&mut self, now: Now) {
        let encrypted = self.offload.installed.iter().filter(|(_, (_, entry))| entry.protection.is_some());
        let all: Vec<StreamId> = encrypted.map(|(id, _)| *id).collect();
        for id in all {
            if let Err(Reason::LargeSrtp) = self.wanted(now, id) {
                self.follow(now, id, Err(Reason::LargeSrtp));
            }
        }
    }

    pub(super) fn streams_of(&self, index: usize) -> Vec<StreamId> {
        let Some(call) = self.calls.get(index) else { return Vec::new() };
        call.medias().flat_map(|(_, media)| media.rtp_stream.into_iter().chain(media.rtcp_stream)).collect()
    }
}

fn ingress(stream: &Stream, may_open: bool) -> Ingress<'_> {
    let heard = stream.newest_source().map(|source| fastpath::Heard {
        ssrc: source.ssrc(),
        payload_type: source.payload_type(),
        clock_rate_hz: source.clock_rate_hz(),
        mean_bytes: source.bytes() / source.packets().max(1),
    });
    Ingress {
        plan: stream.plan(),
        local: stream.local(),
        has_several_ports: stream.has_several_ports(),
        shares_port: false,
        source: stream.learned(),
        is_strict: stream.is_closed(),
        heard,
        keys: stream.keys().map(|keys| &keys.receive),
        may_open,
        captures: &[],
        may_capture: true,
    }
}

fn egress(now: Now, stream: &Stream, shown_ssrc: Option<u32>, tos: u8) -> Egress<'_> {
    Egress {
        plan: stream.plan(),
        local: stream.local(),
        destination: stream.destination(now.mono),
        shown_ssrc,
        keys: stream.keys().map(|keys| &keys.send),
        tos,
    }
}

fn tally(counted: &Counted) -> Tally<'_> {
    Tally { loan: &counted.loan, copies: &counted.copies }
}

fn errand(entry: &Entry, receivers: Vec<Receiver>) -> Errand {
    let protection = entry.protection.as_deref();
    Errand {
        ssrc: entry.ssrc,
        payload_types: entry.numbers(),
        receivers,
        open: protection.and_then(|protection| protection.open.clone()),
        growth_bytes: protection.map_or(0, fastpath::Protection::growth_bytes),
    }
}

/// Whose counters an entry's packets belong to.
fn receivers(relay: &Relay, id: StreamId, entry: &Entry) -> Option<Vec<Receiver>> {
    let plan = relay.stream(id)?.plan();
    let counts_copies = matches!(entry.action, Action::Copy(_));
    let mut outputs = entry.outputs().iter().enumerate();
    let receiver = |sink: &Sink| {
        let output = if sink.block == Some(Block::All) { None } else { outputs.next() };
        let gets = |place: usize| {
            output.is_some_and(|(_, output)| output.payload_types.get(place).is_some_and(Option::is_some))
        };
        let reason = |(place, passing): (usize, &Passing)| (!gets(place)).then(|| withheld(plan, sink, passing.number));
        Receiver {
            egress: sink.egress,
            ssrc: output.map_or(entry.ssrc, |output| output.1.ssrc),
            withheld: entry.payload_types.iter().enumerate().map(reason).collect(),
            copy: output.map(|output| output.0).filter(|_| counts_copies),
            protect: output.and_then(|(_, output)| match counts_copies {
                true => output.protect.as_deref().cloned().filter(|_| !output.passes),
                false => entry.protection.as_ref()?.protect.clone(),
            }),
        }
    };
    Some(plan.media.iter().map(receiver).collect())
}

/// Why a sink gets no packets of a payload type: the relay looks at formats first.
fn withheld(plan: &ForwardingPlan, sink: &Sink, number: u8) -> DropReason {
    let rewrite = sink.rewrite.and_then(|place| plan.tables().rewrites.get(place.index()));
    match rewrite.map(|rewrite| rewrite.payload_type(number)) {
        Some(None) => DropReason::OtherFormat,
        _ => DropReason::Blocked,
    }
}

/// Windows by receiver, as a table takes them: that of an only receiver among those of the entry, others by output.
fn for_table(receivers: &[Receiver], windows: &LentWindows) -> (Windows, CopyWindows) {
    let mut copies = CopyWindows::new();
    let mut protected = None;
    for (receiver, window) in receivers.iter().zip(&windows.protected) {
        match receiver.copy {
            Some(_) => copies.push(*window),
            None => protected = protected.or(*window),
        }
    }
    (Windows { opened: windows.opened, protected }, copies)
}

/// The same from a table.
fn from_table(receivers: &[Receiver], withdrawn: &Withdrawn) -> LentWindows {
    let window = |receiver: &Receiver| match receiver.copy {
        Some(place) => withdrawn.copies.get(place).copied().flatten(),
        None => withdrawn.windows.protected.filter(|_| receiver.protect.is_some()),
    };
    LentWindows { opened: withdrawn.windows.opened, protected: receivers.iter().map(window).collect() }
}
