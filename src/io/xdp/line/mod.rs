//! Packets that need the daemon, past the host's network stack: a program gives frames to sockets of AF_XDP, the lines,
//! and frames leave by them. What comes and goes is what would by the sockets of ports.

mod frame;
mod ring;
mod socket;
mod umem;
mod ways;

use super::links::Interfaces;
use super::load::Programs;
use super::next_hops::NextHops;
use super::{Unavailable, unavailable};
use crate::fastpath::layout::InterfaceLines;
use crate::io::capabilities::{self, Capability, IPC_LOCK, NET_RAW};
use crate::io::headers::{HEAD_ROOM, IPV4_BYTES, Origin, UDP_BYTES, complete_ipv4, write_ipv4, write_ipv6};
use aya::maps::{HashMap, XskMap};
use socket::Line;
use socket2::{Domain, Socket, Type};
use std::collections::HashMap as Map;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use ways::Ways;

/// Queues of an interface that have lines; what comes to others takes the way through the stack.
const MOST_QUEUES: u32 = 32;
/// `MOST_LINES`.
const MOST_LINES: u32 = 4096;

/// The lines of one shard.
pub struct ShardLines {
    lines: Vec<Line>,
    /// The line by which frames leave an interface.
    by_interface: Map<u32, usize>,
    ways: Ways,
    /// Limits of hops by family.
    hops: [u8; 2],
    /// The identification of the next packet of IPv4 (RFC 791, section 3.2).
    identification: u16,
}

/// A datagram that came to a port.
pub(in crate::io) struct Lifted<'a> {
    pub(in crate::io) from: SocketAddr,
    pub(in crate::io) local: SocketAddr,
    pub(in crate::io) bytes: &'a mut [u8],
}

/// Opens the lines of `shards` shards at all interfaces that have the program at the driver, and shows them to it. Who has
/// none is in `refused`, with the reason.
///
/// # Errors
/// When the maps are not there.
pub(super) fn open(
    programs: &Programs,
    interfaces: &Interfaces,
    next_hops: &Arc<NextHops>,
    shards: u32,
    refused: &mut Vec<String>,
) -> Result<Vec<ShardLines>, Unavailable> {
    let mut map: XskMap<_> = programs.map("lines")?.try_into().map_err(|error| unavailable(&error))?;
    let mut sets: HashMap<_, u32, InterfaceLines> =
        programs.map("lines_of")?.try_into().map_err(|error| unavailable(&error))?;
    let hops = [Domain::IPV4, Domain::IPV6].map(hops);
    let mut shares: Vec<ShardLines> = (0..shards.max(1))
        .map(|_| ShardLines {
            lines: Vec::new(),
            by_interface: Map::new(),
            ways: Ways::new(next_hops.clone()),
            hops,
            identification: 0,
        })
        .collect();
    let mut first = 0;
    for (number, interface) in interfaces.by_number.iter().filter(|(_, interface)| interface.by_xdp) {
        let queues = queues(&interface.name).clamp(1, MOST_QUEUES);
        if first + queues * shards > MOST_LINES {
            refused.push(format!("{}: there are more than {MOST_LINES} AF_XDP sockets", interface.name));
            continue;
        }
        let opened = open_all(*number, queues, shards, interface.is_virtual).and_then(|lines| {
            let set = InterfaceLines { first, queues };
            for (index, line) in lines.iter().enumerate() {
                map.set(first + index as u32, line.as_fd().as_raw_fd(), 0).map_err(io::Error::other)?;
            }
            sets.insert(number, set, 0).map_err(io::Error::other)?;
            Ok(lines)
        });
        match opened {
            Ok(lines) => share(lines, *number, queues, &mut shares),
            Err(error) => refused.push(format!("{}: AF_XDP: {}", interface.name, why(&error))),
        }
        first += queues * shards;
    }
    shares.retain(|share| !share.lines.is_empty());
    Ok(shares)
}

/// Why there are no lines, by what would help.
fn why(error: &io::Error) -> String {
    let lacks = |one: Capability| !capabilities::missing(&[one]).is_empty();
    match error.raw_os_error() {
        Some(libc::EPERM) if lacks(NET_RAW) => "missing CAP_NET_RAW".to_owned(),
        // Their frames are memory that is locked.
        Some(libc::ENOBUFS) if lacks(IPC_LOCK) => "missing CAP_IPC_LOCK, or more memory to lock (ulimit -l)".to_owned(),
        _ => error.to_string(),
    }
}

/// By shard, and by queue for each.
fn open_all(interface: u32, queues: u32, shards: u32, is_virtual: bool) -> io::Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    for shard in 0..shards {
        for queue in 0..queues {
            let beside = if shard == 0 { None } else { lines.get(queue as usize) };
            lines.push(Line::open(interface, queue, beside, is_virtual)?);
        }
    }
    Ok(lines)
}

fn share(lines: Vec<Line>, interface: u32, queues: u32, shares: &mut [ShardLines]) {
    for (index, line) in lines.into_iter().enumerate() {
        let (shard, queue) = (index / queues as usize, index as u32 % queues);
        let Some(share) = shares.get_mut(shard) else { return };
        if queue == shard as u32 % queues {
            share.by_interface.insert(interface, share.lines.len());
        }
        share.lines.push(line);
    }
}

/// The queues that an interface receives by, as far as the kernel tells.
fn queues(interface: &str) -> u32 {
    let entries = std::fs::read_dir(format!("/sys/class/net/{interface}/queues")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-")).count() as u32
}

/// The limit of hops that the system gives to datagrams of a family.
fn hops(domain: Domain) -> u8 {
    let socket = Socket::new(domain, Type::DGRAM, None);
    let hops =
        socket.and_then(|socket| if domain == Domain::IPV4 { socket.ttl_v4() } else { socket.unicast_hops_v6() });
    hops.ok().and_then(|hops| u8::try_from(hops).ok()).unwrap_or(64)
}

impl ShardLines {
    /// What is to be waited on, by number of line.
    pub(in crate::io) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.lines.iter().map(Line::as_fd)
    }

    /// Takes what has come by a line; tells how many frames, and whether there may be more. They are to be given back by
    /// [`ShardLines::recycle`].
    pub(in crate::io) fn receive(&mut self, line: usize) -> (usize, bool) {
        let count = self.lines.get_mut(line).map_or(0, Line::receive);
        (count, count == socket::MOST)
    }

    /// A datagram that was taken; none where the frame holds no good one.
    #[inline]
    pub(in crate::io) fn get(&mut self, line: usize, index: usize) -> Option<Lifted<'_>> {
        let line = self.lines.get_mut(line)?;
        let may_be_partial = line.may_be_partial;
        let bytes = line.frame(index);
        let found = frame::read(bytes, may_be_partial)?;
        Some(Lifted { from: found.from, local: found.local, bytes: bytes.get_mut(found.payload)? })
    }

    /// Gives frames back that were taken.
    pub(in crate::io) fn recycle(&mut self, line: usize) {
        self.lines.get_mut(line).into_iter().for_each(Line::recycle);
    }

    /// Queues a datagram whose payload lies in `bytes`, with the room for headers in front. False where no line sends it:
    /// the way is not known, is none of an interface with lines, or is too narrow.
    #[inline]
    pub(in crate::io) fn queue(
        &mut self,
        (from, tos): (SocketAddr, u8),
        to: SocketAddr,
        payload: &Range<usize>,
        bytes: &mut [u8],
    ) -> bool {
        let Some(hop) = self.ways.find(from.ip(), to.ip()) else { return false };
        let Some(line) = self.by_interface.get(&hop.interface).and_then(|index| self.lines.get_mut(*index)) else {
            return false;
        };
        let packet = &mut bytes[payload.start - HEAD_ROOM..payload.end];
        let origin = Origin { port: from.port(), tos, hops: self.hops[usize::from(to.is_ipv6())] };
        let header_bytes = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(ip4)) if payload.len() + IPV4_BYTES + UDP_BYTES <= usize::from(hop.mtu) => {
                let header_bytes = write_ipv4(packet, origin, from, ip4, to.port());
                self.identification = self.identification.wrapping_add(1);
                complete_ipv4(&mut packet[HEAD_ROOM - header_bytes..], self.identification);
                header_bytes
            }
            (IpAddr::V6(from), IpAddr::V6(ip6)) if payload.len() + HEAD_ROOM <= usize::from(hop.mtu) => {
                write_ipv6(packet, origin, from, ip6, to.port())
            }
            _ => return false,
        };
        line.queue(|room| frame::write(room, &hop, &packet[HEAD_ROOM - header_bytes..]))
    }

    /// Sends what is queued.
    pub(in crate::io) fn send(&mut self) {
        self.lines.iter_mut().for_each(Line::send);
    }
}
