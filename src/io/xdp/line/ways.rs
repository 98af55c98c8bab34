//! The ways that frames of a shard take, remembered from one packet to the next.

use crate::fastpath::layout::NextHop;
use crate::fastpath::{Path, Reason};
use crate::io::xdp::next_hops::NextHops;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Packets after which a way that none of them took is given up.
const GIVES_UP_AFTER: u32 = 1 << 18;

pub(super) struct Ways {
    hops: Arc<NextHops>,
    known: HashMap<(IpAddr, IpAddr), Known>,
    packets: u32,
}

struct Known {
    /// The program that it was taken for, whose use of it has to be given back.
    taken: Option<Path>,
    hop: Option<NextHop>,
    /// What the next hops were when this was looked up.
    version: u64,
    was_used: bool,
}

impl Ways {
    pub(super) fn new(hops: Arc<NextHops>) -> Ways {
        Ways { hops, known: HashMap::new(), packets: 0 }
    }

    /// The way from a local address to a remote one; none while it is not known.
    #[inline]
    pub(super) fn find(&mut self, from: IpAddr, to: IpAddr) -> Option<NextHop> {
        self.packets += 1;
        if self.packets >= GIVES_UP_AFTER {
            self.sweep();
        }
        let version = self.hops.version();
        match self.known.get_mut(&(from, to)) {
            Some(known) if known.version == version => {
                known.was_used = true;
                known.hop
            }
            _ => self.look_up(from, to, version),
        }
    }

    #[cold]
    fn look_up(&mut self, from: IpAddr, to: IpAddr, version: u64) -> Option<NextHop> {
        let new = Known { taken: None, hop: None, version, was_used: true };
        let known = self.known.entry((from, to)).or_insert(new);
        (known.version, known.was_used) = (version, true);
        if known.taken.is_none() {
            // Which program could go it makes no difference to a socket.
            known.taken = match self.hops.take(from, to, Path::Xdp) {
                Ok(_) => Some(Path::Xdp),
                Err(Reason::WayUnknown | Reason::TableFull) => None,
                Err(_) => self.hops.take(from, to, Path::Tc).ok().map(|_| Path::Tc),
            };
        }
        known.hop = known.taken.and_then(|path| self.hops.way(from, to, path));
        known.hop
    }

    #[cold]
    fn sweep(&mut self) {
        self.packets = 0;
        let hops = &self.hops;
        self.known.retain(|(from, to), known| {
            let stays = std::mem::take(&mut known.was_used);
            if let (false, Some(path)) = (stays, known.taken) {
                hops.put(*from, *to, path);
            }
            stays
        });
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        for ((from, to), known) in &self.known {
            known.taken.iter().for_each(|path| self.hops.put(*from, *to, *path));
        }
    }
}
