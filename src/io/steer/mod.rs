//! Ports without a socket each: a program in the kernel steers datagrams to all open ports to one socket for each shard
//! and family, and raw sockets send from any port. Opening a port is a write to shared memory.

mod bound;
mod inbox;
mod outlet;
mod table;

use super::bpf::{Link, Object, Plan};
use super::capabilities::{self, BPF, Capability, NET_ADMIN, NET_RAW};
use super::headers::Origin;
use super::receiver::open_socket;
use crate::base::fault::with_causes;
use crate::relay::{OpenError, PortToken};
use aya::maps::{HashMap, MapData, SockMap};
use bound::Watch;
use inbox::Inbox;
use outlet::Outlet;
pub(super) use outlet::Waiting;
use socket2::Socket;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use table::{PORTS, Place, Table};

#[cfg(has_ebpf)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.o"));

/// Shards are numbered by a byte, of which 0 stands for none.
const MOST_SHARDS: usize = 255;
const IPV4: u32 = libc::AF_INET as u32;
const IPV6: u32 = libc::AF_INET6 as u32;

/// Why each port needs a socket.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("this program was built without it, because there was no clang")]
    NotBuilt,
    /// The capabilities that are missing.
    #[error("missing {0} (root has all)")]
    NotPermitted(String),
    #[error("there is no address that it could serve")]
    NoAddress,
    #[error("there are more than {MOST_SHARDS} threads")]
    TooManyShards,
    #[error("the kernel refuses: {0}")]
    Kernel(String),
}

/// The program, attached to the network namespace as long as this lives.
pub struct Steering {
    _link: Link,
    sockets: SockMap<MapData>,
    table: Arc<Table>,
    _watch: Watch,
    /// Where the program sends floods.
    _unread: Vec<(u32, Socket)>,
}

/// The capabilities that it takes.
const NEEDED: [Capability; 3] = [BPF, NET_ADMIN, NET_RAW];

/// The key of the map `addresses`: the address in four words, and its family.
fn key(address: IpAddr) -> [u32; 5] {
    match address {
        IpAddr::V4(address) => [u32::from_ne_bytes(address.octets()), 0, 0, 0, IPV4],
        IpAddr::V6(address) => {
            let octets = address.octets();
            let (words, _) = octets.as_chunks::<4>();
            let word = |index: usize| u32::from_ne_bytes(words[index]);
            [word(0), word(1), word(2), word(3), IPV6]
        }
    }
}

impl Steering {
    /// Attaches the program, which leaves everything alone until ports are opened. Addresses that need an interface to
    /// go with them, or stand for several, are not served.
    ///
    /// # Errors
    /// See [`Unavailable`].
    #[cfg(has_ebpf)]
    pub fn open(addresses: &[IpAddr], shards: usize) -> Result<Steering, Unavailable> {
        let missing = capabilities::missing(&NEEDED);
        if !missing.is_empty() {
            return Err(Unavailable::NotPermitted(missing.join(", ")));
        }
        if shards > MOST_SHARDS {
            return Err(Unavailable::TooManyShards);
        }
        let mut served: Vec<IpAddr> = addresses.iter().copied().filter(can_be_served).collect();
        served.sort();
        served.dedup();
        if served.is_empty() {
            return Err(Unavailable::NoAddress);
        }
        let count = u32::try_from(served.len()).map_err(|_| Unavailable::NoAddress)?;
        let unread = (2 * shards as u32).to_ne_bytes();
        let plan = Plan {
            globals: [("unread", unread.as_slice())].into(),
            max_entries: [("addresses", count), ("open_ports", count), ("sockets", 2 * (shards as u32 + 1))].into(),
            pins: Default::default(),
        };
        let object = Object::open(OBJECT, &plan).map_err(|error| refused(&error))?;
        let map = |name| object.map(name).map_err(|error| refused(&error));
        let mut numbers = HashMap::<_, [u32; 5], u32>::try_from(map("addresses")?).map_err(|error| refused(&error))?;
        for (number, address) in served.iter().enumerate() {
            numbers.insert(key(*address), number as u32, 0).map_err(|error| refused(&error))?;
        }
        let open_ports = object.descriptor("open_ports").map_err(|error| refused(&error))?;
        let table = Arc::new(Table::map(open_ports, served).map_err(|error| refused(&error))?);
        let watch = Watch::start(table.clone()).map_err(|error| refused(&error))?;
        let mut sockets = SockMap::try_from(map("sockets")?).map_err(|error| refused(&error))?;
        let unread = unread_sockets(&table).map_err(|error| refused(&error))?;
        for (family, socket) in &unread {
            sockets.set(2 * shards as u32 + *family, socket, 0).map_err(|error| refused(&error))?;
        }
        let link = attach(&object)?;
        Ok(Steering { _link: link, sockets, table, _watch: watch, _unread: unread })
    }

    /// # Errors
    /// Always: there is no program.
    #[cfg(not(has_ebpf))]
    pub fn open(addresses: &[IpAddr], shards: usize) -> Result<Steering, Unavailable> {
        let _ = (addresses, shards);
        Err(Unavailable::NotBuilt)
    }

    /// The sockets of shard `index`, which is below the number of shards.
    ///
    /// # Errors
    /// When the system refuses a socket.
    pub fn share(&mut self, index: usize) -> io::Result<SteeredPorts> {
        let mark = u8::try_from(index + 1).map_err(|_| io::ErrorKind::InvalidInput)?;
        let addresses = self.table.addresses();
        let (mut inboxes, mut hops) = ([None, None], [64; 2]);
        for family in self.table.families() {
            let inbox = Inbox::new(family == 1)?;
            let place = 2 * index as u32 + family as u32;
            self.sockets.set(place, &inbox, 0).map_err(io::Error::other)?;
            hops[family] = inbox.hops();
            inboxes[family] = Some(inbox);
        }
        Ok(SteeredPorts {
            outlets: addresses.iter().map(|address| Outlet::open(*address).ok()).collect(),
            tokens: addresses.iter().map(|_| vec![0; PORTS]).collect(),
            table: self.table.clone(),
            mark,
            inboxes,
            hops,
        })
    }
}

/// Of `range` the first port that the system may give to any program that asks for none in particular: such a program
/// would not get its datagrams while the port is open here.
///
/// # Errors
/// When the system does not tell.
pub fn handed_out(range: RangeInclusive<u16>) -> io::Result<Option<u16>> {
    bound::handed_out(range)
}

/// For each family a socket that is full with the first datagram.
fn unread_sockets(table: &Table) -> io::Result<Vec<(u32, Socket)>> {
    let open = |family: usize| {
        let socket = inbox::open_socket(family == 1)?;
        // The system makes it as small as it lets a socket be.
        socket.set_recv_buffer_size(1)?;
        Ok((family as u32, socket))
    };
    table.families().map(open).collect()
}

fn can_be_served(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_unspecified() && !address.is_multicast(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast() && !address.is_unicast_link_local(),
    }
}

fn attach(object: &Object) -> Result<Link, Unavailable> {
    let program = object.program("steer").and_then(|program| program.load()).map_err(|error| refused(&error))?;
    let namespace = File::open("/proc/thread-self/ns/net").map_err(|error| refused(&error))?;
    Link::in_namespace(&program, namespace.as_fd()).map_err(|error| refused(&error))
}

fn refused(error: &(dyn std::error::Error + 'static)) -> Unavailable {
    Unavailable::Kernel(with_causes(error))
}

/// The ports of one shard that have no sockets of their own.
pub struct SteeredPorts {
    table: Arc<Table>,
    /// What stands for this shard in the table.
    mark: u8,
    /// By family.
    inboxes: [Option<Inbox>; 2],
    /// The limit of hops by family.
    hops: [u8; 2],
    /// By number of address; none for an address that the host does not have yet.
    outlets: Vec<Option<Outlet>>,
    /// By number of address and port: the token and one.
    tokens: Vec<Vec<u32>>,
}

/// An open port.
#[derive(Debug)]
pub(super) struct SteeredPort {
    place: Place,
    tos: u8,
    /// For datagrams that need fragments.
    socket: Option<Socket>,
    table: Arc<Table>,
}

/// A port that is given away stays open, and is closed when nobody takes it.
impl Drop for SteeredPort {
    fn drop(&mut self) {
        self.table.pass(self.place, 0);
    }
}

/// A datagram that came to a port.
pub(super) struct Arrival<'a> {
    pub(super) port: PortToken,
    pub(super) from: SocketAddr,
    pub(super) bytes: &'a mut [u8],
}

impl SteeredPorts {
    /// Opens a port for `token`; none when its address is not served.
    pub(super) fn open(&mut self, local: SocketAddr, token: PortToken) -> Option<Result<SteeredPort, OpenError>> {
        let place = self.table.place(local).filter(|place| place.port != 0)?;
        Some(self.claim(place, token))
    }

    fn claim(&mut self, place: Place, token: PortToken) -> Result<SteeredPort, OpenError> {
        self.make_outlet(place)?;
        self.table.claim(place, self.mark)?;
        self.note(place, token);
        Ok(SteeredPort { place, tos: 0, socket: None, table: self.table.clone() })
    }

    /// Takes over a port of another shard, or of this one.
    pub(super) fn take_over(&mut self, port: &SteeredPort, token: PortToken) -> Result<(), OpenError> {
        if !Arc::ptr_eq(&port.table, &self.table) {
            return Err(OpenError::Other(0));
        }
        self.make_outlet(port.place)?;
        self.note(port.place, token);
        self.table.pass(port.place, self.mark);
        Ok(())
    }

    /// Forgets a port that was closed or given away.
    pub(super) fn forget(&mut self, port: &SteeredPort) {
        self.tokens[port.place.address][usize::from(port.place.port)] = 0;
    }

    fn make_outlet(&mut self, place: Place) -> Result<(), OpenError> {
        let outlet = &mut self.outlets[place.address];
        if outlet.is_none() {
            *outlet = Some(Outlet::open(self.table.address(place))?);
        }
        Ok(())
    }

    fn note(&mut self, place: Place, token: PortToken) {
        self.tokens[place.address][usize::from(place.port)] = token.0 + 1;
    }

    /// The socket of a family, to be waited on.
    pub(super) fn descriptor(&self, family: usize) -> Option<BorrowedFd<'_>> {
        self.inboxes.get(family)?.as_ref().map(Inbox::as_fd)
    }

    /// Takes what waits for ports of a family; tells how many datagrams, and whether there may be more.
    pub(super) fn receive(&mut self, family: usize) -> (usize, bool) {
        let count = self.inboxes[family].as_mut().map_or(0, Inbox::receive);
        (count, count == inbox::MOST)
    }

    /// A datagram that was taken; none when its port has been closed since it came.
    #[inline]
    pub(super) fn get(&mut self, family: usize, index: usize) -> Option<Arrival<'_>> {
        let arrived = self.inboxes[family].as_mut()?.get(index)?;
        let place = self.table.place(arrived.local)?;
        let token = self.tokens[place.address][usize::from(place.port)];
        Some(Arrival { port: PortToken(token.checked_sub(1)?), from: arrived.from, bytes: arrived.bytes })
    }

    /// The open port of a local address.
    #[inline]
    pub(super) fn port_at(&self, local: SocketAddr) -> Option<PortToken> {
        let place = self.table.place(local)?;
        let token = self.tokens[place.address][usize::from(place.port)];
        Some(PortToken(token.checked_sub(1)?))
    }

    /// Queues a datagram; tells the number of its outlet when that has to be emptied first.
    ///
    /// # Errors
    /// When no socket would send to the destination.
    #[inline]
    pub(super) fn queue(
        &mut self,
        port: &SteeredPort,
        way: (PortToken, SocketAddr),
        payload: &Range<usize>,
        bytes: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let number = port.place.address;
        let outlet = self.outlets[number].as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let hops = self.hops[usize::from(way.1.is_ipv6())];
        outlet.queue(Origin { port: port.place.port, tos: port.tos, hops }, way, payload, bytes)?;
        Ok(outlet.is_full().then_some(number))
    }

    /// The number of outlets, which are numbered from 0 on.
    pub(super) fn outlets(&self) -> usize {
        self.outlets.len()
    }

    /// Sends what waits at an outlet; gives the first datagram that was not taken. Call it again for the others.
    #[inline]
    pub(super) fn send(&mut self, outlet: usize, bytes: &[u8]) -> Result<(), (Waiting, io::Error)> {
        self.outlets[outlet].as_mut().map_or(Ok(()), |outlet| outlet.send(bytes))
    }
}

impl SteeredPort {
    /// Where what it sends comes from, and the type-of-service octet.
    #[inline]
    pub(super) fn origin(&self) -> (SocketAddr, u8) {
        (SocketAddr::new(self.table.address(self.place), self.place.port), self.tos)
    }

    /// The type-of-service octet of what is sent.
    pub(super) fn set_tos(&mut self, tos: u8) {
        self.tos = tos;
        // It is opened with the octet when it is needed again.
        self.socket = None;
    }

    /// The socket for datagrams that raw sockets do not take because they need fragments. It stays with the port; what
    /// is sent to the port does not come to it.
    ///
    /// # Errors
    /// When it can't be opened.
    #[cold]
    pub(super) fn fragmenting(&mut self) -> io::Result<&Socket> {
        if self.socket.is_none() {
            let local = SocketAddr::new(self.table.address(self.place), self.place.port);
            let socket = open_socket(local)?;
            super::receiver::set_tos(&socket, self.tos);
            self.socket = Some(socket);
        }
        self.socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

#[cfg(test)]
mod tests;
