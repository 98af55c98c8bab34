//! RTP that goes below the daemon: streams are compiled to entries, and entries put into the kernel's table.

mod listing;

use super::shard::Shard;
use crate::base::id::StreamId;
use crate::base::time::Now;
use crate::fastpath::{self, Action, Egress, Entry, Ingress, Reason, Slot, Step, Table, compile, diff};
use crate::relay::Relay;
use crate::relay::away::{Destination, Errand, Lent};
use crate::relay::{Stream, Transmit};
use std::collections::HashMap;

/// What is installed, and in what.
#[derive(Default)]
pub(super) struct Offload {
    table: Option<Box<dyn Table>>,
    installed: HashMap<StreamId, (Slot, Entry)>,
}

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
        if self.relay.has_way_notes() {
            self.look_at_ways(now);
        }
        if self.relay.has_released() {
            self.relay.release_held(now, transmit);
        }
    }

    #[cold]
    fn look_at_ways(&mut self, now: Now) {
        for id in self.relay.take_way_notes() {
            let want = self.wanted(now, id);
            self.follow(now, id, want);
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
        let egress = stream.plan().media.first().and_then(|sink| self.relay.stream(sink.egress));
        let egress = egress.filter(|egress| egress.owner_call() == stream.owner_call());
        let table = self.offload.table.as_ref();
        let may_open = table.is_some_and(|table| table.takes_keys());
        let may_capture = table.is_some_and(|table| table.captures());
        let ingress = Ingress { captures, may_capture, ..ingress(stream, may_open) };
        let entry = compile(&ingress, egress.map(|egress| self::egress(now, egress, tos)).as_ref())?;
        if self.relay.rests(now.mono, id) { Err(Reason::Strays) } else { Ok(entry) }
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
        }
    }

    fn install(&mut self, now: Now, id: StreamId, entry: Entry) -> Result<(), Reason> {
        let destination = destination(&self.relay, id, &entry).ok_or(Reason::NoReceiver)?;
        let table = self.offload.table.as_mut().ok_or(Reason::TableFull)?;
        let lent = self.relay.lend(now.mono, id, errand(&entry, destination)).ok_or(Reason::NoPackets)?;
        match table.install(&entry, &lent.loan, &lent.windows) {
            Ok(slot) => {
                self.offload.installed.insert(id, (slot, entry));
                Ok(())
            }
            Err(reason) => {
                self.relay.take_back(now, id, &lent);
                Err(reason)
            }
        }
    }

    fn reroute(&mut self, now: Now, id: StreamId, entry: Entry) -> Result<(), Reason> {
        let destination = destination(&self.relay, id, &entry).ok_or(Reason::NoReceiver)?;
        let (Some((slot, old)), Some(table)) = (self.offload.installed.get_mut(&id), &mut self.offload.table) else {
            return Err(Reason::TableFull);
        };
        let counted = table.read(*slot);
        if let Err(reason) = table.reroute(*slot, old, &entry) {
            self.withdraw(now, id);
            return Err(reason);
        }
        *old = entry;
        self.relay.settle_way(now, id, &counted);
        self.relay.redirect_way(id, destination);
        Ok(())
    }

    /// Takes a stream back from the kernel.
    pub(super) fn withdraw(&mut self, now: Now, id: StreamId) {
        let (Some((slot, entry)), Some(table)) = (self.offload.installed.remove(&id), &mut self.offload.table) else {
            return;
        };
        let (loan, windows) = table.withdraw(slot, &entry);
        self.relay.take_back(now, id, &Lent { loan, windows });
    }

    /// Takes every stream of a call that is to end, or to leave this shard, back from the kernel.
    pub(super) fn withdraw_call(&mut self, now: Now, index: usize) {
        if !self.offload.installed.is_empty() {
            self.streams_of(index).into_iter().for_each(|id| self.withdraw(now, id));
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
    }

    fn count_way(&mut self, now: Now, id: StreamId) {
        if let (Some((slot, _)), Some(table)) = (self.offload.installed.get(&id), &self.offload.table) {
            let counted = table.read(*slot);
            self.relay.settle_way(now, id, &counted);
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
        source: stream.learned(),
        is_strict: stream.is_closed(),
        heard,
        keys: stream.keys().map(|keys| &keys.receive),
        may_open,
        captures: &[],
        may_capture: true,
    }
}

fn egress<'a>(now: Now, stream: &'a Stream, tos: u8) -> Egress<'a> {
    Egress {
        plan: stream.plan(),
        local: stream.local(),
        destination: stream.destination(now.mono),
        renames_sources: stream.renames_sources(),
        keys: stream.keys().map(|keys| &keys.send),
        tos,
    }
}

fn errand(entry: &Entry, destination: Destination) -> Errand {
    let protection = entry.protection.as_deref();
    Errand {
        ssrc: entry.ssrc,
        payload_types: entry.numbers(),
        destination,
        open: protection.and_then(|protection| protection.open.clone()),
        protect: protection.and_then(|protection| protection.protect.clone()),
        growth_bytes: protection.map_or(0, fastpath::Protection::growth_bytes),
    }
}

/// Whose counters an entry's packets belong to.
fn destination(relay: &Relay, id: StreamId, entry: &Entry) -> Option<Destination> {
    let egress = relay.stream(id)?.plan().media.first()?.egress;
    Some(match entry.action {
        Action::Drop => Destination::Nobody(egress),
        Action::Forward { .. } => Destination::Peer(egress),
    })
}
