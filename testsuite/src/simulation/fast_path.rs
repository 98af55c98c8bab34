//! A kernel that forwards what entries say, with the daemon's own SRTP.

use super::world::Datagram;
use millrace::base::time::Mono;
use millrace::fastpath::{Action, Counted, Entry, Reason, Slot, Table, Withdrawn};
use millrace::rtp::Loan;
use millrace::srtp::{Error, Protector, Unprotector, Window, Windows};
use millrace::wire::rtp::{Header, Packet};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One entry with its state.
struct Flow {
    entry: Entry,
    loan: Loan,
    open: Option<Unprotector>,
    protect: Option<Protector>,
}

#[derive(Default)]
struct Flows {
    by_slot: BTreeMap<u32, Flow>,
    installed: u32,
    /// Ports whose packets come past the network stack, and from where.
    lifted: BTreeMap<SocketAddr, SocketAddr>,
}

/// The table, and the programs that look into it.
#[derive(Clone, Default)]
pub struct FakeKernel(Arc<Mutex<Flows>>);

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is for the daemon.
    Passed,
    Dropped,
    Sent(Datagram),
}

impl FakeKernel {
    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries that are there, and how many there have been.
    pub fn counts(&self) -> (usize, u32) {
        let flows = self.flows();
        (flows.by_slot.len(), flows.installed)
    }

    /// The ports whose packets come past the network stack, each with its peer.
    pub fn lifted(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.flows().lifted.iter().map(|(local, source)| (*local, *source)).collect()
    }

    /// A datagram comes to the device.
    pub fn receive(&self, now: Mono, datagram: &Datagram) -> Fate {
        let mut flows = self.flows();
        let is_of = |entry: &Entry| entry.local == datagram.to && (!entry.shares_port || entry.source == datagram.from);
        let flow = flows.by_slot.values_mut().find(|flow| is_of(&flow.entry));
        flow.map_or(Fate::Passed, |flow| flow.receive(now, datagram))
    }
}

impl Flow {
    fn receive(&mut self, now: Mono, datagram: &Datagram) -> Fate {
        let Ok(header) = Header::read(&datagram.bytes) else { return Fate::Passed };
        let is_known = self.entry.numbers().contains(&header.payload_type) && header.ssrc == self.entry.ssrc;
        if !is_known || datagram.from != self.entry.source {
            return Fate::Passed;
        }
        let place = self.entry.numbers().iter().position(|number| *number == header.payload_type);
        let bytes = match self.dress(&datagram.bytes, place) {
            Ok(bytes) => bytes,
            Err(Error::WrongTag) => {
                self.loan.wrong_tag += 1;
                return Fate::Dropped;
            }
            Err(Error::Replayed) => {
                self.loan.replayed += 1;
                return Fate::Dropped;
            }
            Err(_) => return Fate::Passed,
        };
        self.count(now, &header, datagram.bytes.len());
        match &self.entry.action {
            Action::Drop => Fate::Dropped,
            Action::Forward(output) => Fate::Sent(Datagram { from: output.from, to: output.to, bytes }),
            Action::Copy(_) => Fate::Passed,
        }
    }

    fn dress(&mut self, packet: &[u8], place: Option<usize>) -> Result<Vec<u8>, Error> {
        let mut bytes = packet.to_vec();
        let passes = self.entry.protection.as_ref().is_some_and(|protection| protection.passes);
        if let Some(open) = &mut self.open {
            match passes {
                true => open.authenticate_rtp(&mut bytes)?,
                false => {
                    let length = open.unprotect_rtp(&mut bytes)?;
                    bytes.truncate(length);
                }
            }
        }
        if let Action::Forward(output) = &self.entry.action
            && let Some(Some(byte)) = place.and_then(|place| output.silences.get(place))
            && let Ok(parsed) = Packet::parse(&bytes)
        {
            let (start, length) = (parsed.header_bytes(), parsed.payload().len());
            bytes[start..start + length].fill(*byte);
        }
        if let Some(protect) = &mut self.protect {
            let length = bytes.len();
            bytes.resize(length + protect.rtp_appended_bytes(), 0);
            protect.protect_rtp(&mut bytes, length)?;
        }
        Ok(bytes)
    }

    /// As far as these tests look: packets in order.
    fn count(&mut self, now: Mono, header: &Header, bytes: usize) {
        self.loan.packets += 1;
        self.loan.bytes += bytes as u64;
        self.loan.last_arrival = now;
        self.loan.last_sequence = header.sequence;
        self.loan.highest += u32::from(header.sequence.wrapping_sub(self.loan.highest as u16));
    }

    fn windows(&self) -> Windows {
        let ssrc = self.entry.ssrc;
        Windows {
            opened: self.open.as_ref().and_then(|open| open.rtp_window(ssrc)),
            protected: self.protect.as_ref().and_then(|protect| protect.rtp_window(ssrc)),
        }
    }
}

impl Table for FakeKernel {
    fn install(
        &mut self,
        entry: &Entry,
        state: &Loan,
        windows: &Windows,
        _copies: &[Option<Window>],
    ) -> Result<Slot, Reason> {
        if let Action::Copy(_) = entry.action {
            return Err(Reason::ManyReceivers);
        }
        let protection = entry.protection.as_deref();
        let mut open = protection.and_then(|protection| protection.open.as_ref()).map(Unprotector::new);
        let mut protect = protection.and_then(|protection| protection.protect.as_ref()).map(Protector::new);
        if let (Some(open), Some(window)) = (&mut open, windows.opened) {
            open.set_rtp_window(entry.ssrc, window);
        }
        if let (Some(protect), Some(window)) = (&mut protect, windows.protected) {
            protect.set_rtp_window(entry.ssrc, window);
        }
        let mut flows = self.flows();
        flows.installed += 1;
        let slot = flows.installed;
        flows.lifted.remove(&entry.local);
        flows.by_slot.insert(slot, Flow { entry: entry.clone(), loan: *state, open, protect });
        Ok(Slot(slot))
    }

    fn reroute(&mut self, slot: Slot, _old: &Entry, new: &Entry) -> Result<(), Reason> {
        let mut flows = self.flows();
        flows.by_slot.get_mut(&slot.0).ok_or(Reason::TableFull)?.entry = new.clone();
        Ok(())
    }

    fn read(&self, slot: Slot) -> Counted {
        let loan = self.flows().by_slot.get(&slot.0).map(|flow| flow.loan);
        Counted { loan: loan.unwrap_or_default(), ..Counted::default() }
    }

    fn windows(&self, slot: Slot, _entry: &Entry) -> Windows {
        self.flows().by_slot.get(&slot.0).map(Flow::windows).unwrap_or_default()
    }

    fn withdraw(&mut self, slot: Slot, _entry: &Entry) -> Withdrawn {
        let Some(flow) = self.flows().by_slot.remove(&slot.0) else { return Withdrawn::default() };
        let counted = Counted { loan: flow.loan, ..Counted::default() };
        Withdrawn { counted, windows: flow.windows(), ..Withdrawn::default() }
    }

    fn has_moved(&self, _slot: Slot) -> bool {
        false
    }

    fn tidy(&mut self) {}

    fn lift(&mut self, local: SocketAddr, source: SocketAddr) -> bool {
        let mut flows = self.flows();
        assert!(flows.by_slot.values().all(|flow| flow.entry.local != local), "{local} has an entry");
        flows.lifted.insert(local, source);
        true
    }

    fn put_down(&mut self, local: SocketAddr) {
        assert!(self.flows().lifted.remove(&local).is_some(), "{local} is not lifted");
    }

    fn takes_keys(&self) -> bool {
        true
    }
}
