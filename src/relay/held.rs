//! SRTP that comes here while another path has the state of its SSRC: what is authentic waits until the state is back.
//!
//! Whoever can't make tags holds nobody up with what comes here: that is dropped at once, as is what the other path has
//! seen before. Only fresh packets of the peer itself are a reason to take the state back.

use super::verdict::DropReason;
use super::{PortToken, Relay, Transmit};
use crate::base::time::Now;
use crate::plan::StreamId;
use crate::rtp::Loan;
use crate::srtp::{Window, Windows};
use crate::wire::demux::{Protocol, classify};
use crate::wire::rtp::Header;
use std::net::SocketAddr;

/// Packets that wait at most: the state comes back at the end of the turn.
const MOST_HELD: usize = 512;

/// A datagram that waits.
#[derive(Debug)]
pub(super) struct Held {
    port: PortToken,
    from: SocketAddr,
    /// Of SRTP whose tag is right.
    index: Option<u64>,
    datagram: Vec<u8>,
}

/// What waits for one stream.
#[derive(Debug)]
pub(super) struct HeldBack {
    /// The highest index of what comes, and the highest sequence number, when they were lent.
    lent: (u64, u32),
    waiting: Vec<Held>,
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    /// It needs nothing that was lent.
    No,
    /// It waits.
    Waits,
    /// It is dropped.
    Refused(DropReason),
}

impl HeldBack {
    pub(super) fn new(loan: &Loan, opened: Option<Window>) -> HeldBack {
        let index = opened.map_or(0, |window| window.highest);
        HeldBack { lent: (index, loan.highest), waiting: Vec::new() }
    }

    pub(super) fn count(&self) -> u64 {
        self.waiting.len() as u64
    }

    pub(super) fn take(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.waiting)
    }

    /// The highest index, as far as it is known here: `loan` is as old as the last look at it.
    fn highest_index(&self, loan: &Loan) -> u64 {
        let (index, sequence) = self.lent;
        index + u64::from(loan.highest.wrapping_sub(sequence))
    }
}

impl Relay {
    /// RTP came here of a stream whose windows another path has: what can't be judged or protected without them waits.
    #[cold]
    pub(super) fn hold(&mut self, id: StreamId, port: PortToken, from: SocketAddr, datagram: &[u8]) -> Holding {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return Holding::No };
        let is_rtp = classify(datagram) == Protocol::Rtp && !stream.latch.refuses(from);
        let header = Header::read(datagram).ok().filter(|_| is_rtp);
        let (Some(away), Some(header)) = (&mut stream.way.away, header) else { return Holding::No };
        if away.errand.ssrc != header.ssrc {
            return Holding::No;
        }
        let mut index = None;
        // With new keys the packet waits for them to be the other path's, or nobody's.
        if let Some(secure) = stream.secure.as_deref().filter(|secure| secure.has_lent(&header)) {
            let Some(copy) = self.original.get_mut(..datagram.len()) else {
                return Holding::Refused(DropReason::Malformed);
            };
            copy.copy_from_slice(datagram);
            match secure.verify(copy, away.held.highest_index(&away.loan)) {
                Ok(found) => index = Some(found),
                Err(reason) => return Holding::Refused(reason),
            }
        }
        if away.held.waiting.len() >= MOST_HELD {
            return Holding::Refused(DropReason::Lent);
        }
        away.held.waiting.push(Held { port, from, index, datagram: datagram.to_vec() });
        self.note(id);
        Holding::Waits
    }

    /// Whether packets of the stream wait for the state that was lent.
    pub fn has_held(&self, id: StreamId) -> bool {
        let away = self.streams.get(id.0 as usize).and_then(|stream| stream.way.away.as_ref());
        away.is_some_and(|away| away.held.count() > 0)
    }

    /// Drops what waits and was there before, by the `windows` that the other path has got to.
    pub fn judge_held(&mut self, id: StreamId, windows: &Windows) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let (Some(away), Some(window)) = (&mut stream.way.away, windows.opened) else { return };
        let before = away.held.waiting.len();
        away.held.waiting.retain(|held| held.index.is_none_or(|index| window.may_be_new(index)));
        for _ in away.held.waiting.len()..before {
            self.drop_for(id, DropReason::Replayed);
        }
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

    /// Whatever was released for a port that is being closed is for nobody.
    pub(super) fn forget_released(&mut self, port: PortToken) {
        self.released.retain(|held| held.port != port);
    }

    fn drop_for(&mut self, id: StreamId, reason: DropReason) {
        self.count_drop(id, reason);
        self.dropped.count(reason);
    }
}
