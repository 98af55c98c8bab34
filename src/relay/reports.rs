//! RTCP that somebody outside wants to see, as it was when it had been made plain.

use super::Relay;
use crate::base::time::{Now, Unix};
use crate::plan::StreamId;
use std::net::SocketAddr;

/// What waits to be taken; what comes beyond is counted.
const MOST_WAITING: usize = 256;

/// A compound RTCP packet that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The call that it belongs to.
    pub owner_call: u32,
    /// Where it came from, as far as that is known, and where it arrived.
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub at: Unix,
    pub datagram: Box<[u8]>,
}

/// What is kept for whoever wants to see it.
#[derive(Debug, Default)]
pub(super) struct Reports {
    is_wanted: bool,
    seen: Vec<Seen>,
    missed: u64,
}

impl Relay {
    /// Keeps RTCP from now on, for [`Relay::take_reports`].
    pub fn keep_reports(&mut self) {
        self.reports.is_wanted = true;
    }

    /// What has come since this was last asked, and how many there was no room for.
    #[inline]
    pub fn take_reports(&mut self) -> Option<(Vec<Seen>, u64)> {
        let has_any = !self.reports.seen.is_empty();
        has_any.then(|| (std::mem::take(&mut self.reports.seen), std::mem::take(&mut self.reports.missed)))
    }

    pub(super) fn note_report(&mut self, now: Now, id: StreamId, datagram: &[u8]) {
        if !self.reports.is_wanted {
            return;
        }
        let Some(stream) = self.streams.get(id.0 as usize) else { return };
        let Some(from) = stream.remote() else { return };
        if self.reports.seen.len() >= MOST_WAITING {
            self.reports.missed += 1;
            return;
        }
        let (owner_call, to) = (stream.owner_call(), stream.local());
        self.reports.seen.push(Seen { owner_call, from, to, at: now.unix, datagram: datagram.into() });
    }
}
