//! Questions to the kernel about routes, links and neighbours (rtnetlink).

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

/// Room for what the kernel says at once.
const BUFFER_BYTES: usize = 65536;
/// Groups that tell of changes (linux/rtnetlink.h): links, neighbours, routes of IPv4 and of IPv6.
const GROUPS: [u32; 4] = [1, 3, 7, 11];

/// `RT_TABLE_LOCAL`: the routes to this host itself.
const LOCAL_TABLE: u8 = 255;

/// A route to one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub interface: u32,
    /// The neighbour: a gateway, or the destination itself.
    pub neighbour: IpAddr,
    /// What the route allows; none leaves it to the link.
    pub mtu: Option<u32>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Link {
    pub name: String,
    pub address: Option<[u8; 6]>,
    pub mtu: u32,
    /// Its number, and the link that it is on, if it is a VLAN.
    pub vlan: Option<(u16, u32)>,
    pub is_loopback: bool,
    /// A device whose frames may come from a sender on this host.
    pub is_virtual: bool,
}

/// A socket that questions are asked on, or changes told.
pub(super) struct RouteSocket {
    socket: Socket,
    buffer: Vec<u8>,
}

impl RouteSocket {
    pub(super) fn for_questions() -> io::Result<RouteSocket> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(RouteSocket { socket, buffer: vec![0; BUFFER_BYTES] })
    }

    pub(super) fn for_changes() -> io::Result<RouteSocket> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        GROUPS.iter().try_for_each(|group| socket.add_membership(*group))?;
        socket.set_non_blocking(true)?;
        Ok(RouteSocket { socket, buffer: vec![0; BUFFER_BYTES] })
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Reads away what has been told. True when something had: what it was is asked anew.
    pub(super) fn take_changes(&mut self) -> bool {
        let mut has_any = false;
        loop {
            match self.socket.recv(&mut &mut self.buffer[..], libc::MSG_DONTWAIT) {
                Ok(_) => has_any = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return has_any,
                // Too much was told at once: all of it is asked anew.
                Err(_) => return true,
            }
        }
    }

    /// Asks, and collects the answers; an error of the kernel is an error.
    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let is_dump = flags & NLM_F_DUMP != 0;
        let mut answers = Vec::new();
        loop {
            let length = self.socket.recv(&mut &mut self.buffer[..], 0)?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while rest.len() >= 16 {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                let step = (message.header.length as usize).next_multiple_of(4).clamp(16, rest.len());
                rest = &rest[step..];
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
            if !is_dump && !answers.is_empty() {
                return Ok(answers);
            }
        }
    }

    /// The route from a local address, to this host itself by the loopback device; none where there is none.
    pub(super) fn route(&mut self, from: IpAddr, to: IpAddr) -> io::Result<Option<Route>> {
        let mut question = RouteMessage::default();
        question.header.address_family = family(to);
        question.header.destination_prefix_length = bits(to);
        question.header.source_prefix_length = bits(from);
        question.attributes.push(RouteAttribute::Destination(to.into()));
        question.attributes.push(RouteAttribute::Source(from.into()));
        let answers = self.ask(RouteNetlinkMessage::GetRoute(question), 0)?;
        let answer = answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        });
        let leads = |route: &RouteMessage| matches!(route.header.kind, RouteType::Unicast | RouteType::Local);
        Ok(answer.filter(leads).and_then(|route| read_route(&route, to)))
    }

    /// The addresses of a family that this host takes for its own, as the beginnings that they share: so many bits of each.
    pub(super) fn own_prefixes(&mut self, family: AddressFamily) -> io::Result<Vec<(IpAddr, u8)>> {
        // The kernel heeds what is asked for: there may be a million routes to elsewhere.
        self.socket.set_netlink_get_strict_chk(true)?;
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        question.header.table = LOCAL_TABLE;
        let answers = self.ask(RouteNetlinkMessage::GetRoute(question), NLM_F_DUMP);
        self.socket.set_netlink_get_strict_chk(false)?;
        Ok(answers?.into_iter().filter_map(own_prefix).collect())
    }

    /// The interface with this number.
    pub(super) fn link(&mut self, interface: u32) -> io::Result<Link> {
        let mut question = LinkMessage::default();
        question.header.index = interface;
        let answers = self.ask(RouteNetlinkMessage::GetLink(question), 0)?;
        let answer = answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        answer.map(|link| read_link(&link)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The hardware address of a neighbour, as far as it is known and good.
    pub(super) fn neighbour(&mut self, interface: u32, address: IpAddr) -> io::Result<Option<[u8; 6]>> {
        let answers = match self.ask(RouteNetlinkMessage::GetNeighbour(neighbour_of(interface, address)), 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            answers => answers?,
        };
        let known = answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(neighbour) => Some(neighbour),
            _ => None,
        });
        Ok(known.filter(|neighbour| is_good(neighbour.header.state)).and_then(|neighbour| {
            neighbour.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
                _ => None,
            })
        }))
    }

    /// Tells the kernel that a neighbour is in use, so that it goes on looking after it.
    pub(super) fn use_neighbour(&mut self, interface: u32, address: IpAddr) -> io::Result<()> {
        let mut message = neighbour_of(interface, address);
        message.header.flags = NeighbourFlags::Use;
        message.header.state = NeighbourState::None;
        let flags = NLM_F_ACK | netlink_packet_core::NLM_F_CREATE;
        self.ask(RouteNetlinkMessage::NewNeighbour(message), flags).map(drop)
    }

    /// The interface that has a local address.
    pub(super) fn interface_of(&mut self, address: IpAddr) -> io::Result<Option<u32>> {
        let mut question = AddressMessage::default();
        question.header.family = family(address);
        let answers = self.ask(RouteNetlinkMessage::GetAddress(question), NLM_F_DUMP)?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(known) => {
                let has_it = known.attributes.iter().any(|attribute| match attribute {
                    AddressAttribute::Local(own) | AddressAttribute::Address(own) => *own == address,
                    _ => false,
                });
                has_it.then_some(known.header.index)
            }
            _ => None,
        }))
    }
}

fn own_prefix(answer: RouteNetlinkMessage) -> Option<(IpAddr, u8)> {
    let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
    if route.header.table != LOCAL_TABLE || route.header.kind != RouteType::Local {
        return None;
    }
    let bits = route.header.destination_prefix_length;
    route.attributes.into_iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip4)) => Some((ip4.into(), bits)),
        RouteAttribute::Destination(RouteAddress::Inet6(ip6)) => Some((ip6.into(), bits)),
        _ => None,
    })
}

fn neighbour_of(interface: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = interface;
    let destination = match address {
        IpAddr::V4(ip4) => NeighbourAddress::Inet(ip4),
        IpAddr::V6(ip6) => NeighbourAddress::Inet6(ip6),
    };
    message.attributes.push(NeighbourAttribute::Destination(destination));
    message
}

fn is_good(state: NeighbourState) -> bool {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    matches!(state, Reachable | Stale | Delay | Probe | Permanent | Noarp)
}

fn read_route(route: &RouteMessage, to: IpAddr) -> Option<Route> {
    let mut read = Route { interface: 0, neighbour: to, mtu: None };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(interface) => read.interface = *interface,
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => read.neighbour = (*gateway).into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => read.neighbour = (*gateway).into(),
            // A gateway of the other family.
            RouteAttribute::Via(_) => return None,
            RouteAttribute::Metrics(metrics) => {
                read.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    (read.interface != 0).then_some(read)
}

fn read_link(message: &LinkMessage) -> Link {
    let (mut link, mut below, mut vlan) = (Link::default(), None, None);
    link.is_loopback = message.header.flags.contains(LinkFlags::Loopback);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.address = bytes.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(index) => below = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(InfoKind::Vlan) => {}
                        LinkInfo::Kind(_) => link.is_virtual = true,
                        LinkInfo::Data(InfoData::Vlan(data)) => {
                            vlan = data.iter().find_map(|item| match item {
                                InfoVlan::Id(id) => Some(*id),
                                _ => None,
                            });
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link.vlan = vlan.zip(below);
    link
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
