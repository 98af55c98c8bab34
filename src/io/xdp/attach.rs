//! The programs attached to the interfaces of local addresses, with all that keeps their maps.

use super::keys::KeyMaps;
use super::load::{Programs, program, take_map};
use super::netlink::{self, RouteSocket};
use super::next_hops::NextHops;
use super::streams::Streams;
use super::table::XdpTable;
use super::{Unavailable, unavailable, with_causes};
use crate::fastpath::table::{Slot, Table};
use crate::fastpath::verdict::Verdict;
use aya::maps::{Array, PerCpuArray};
use aya::programs::XdpMode;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The programs, attached as long as this lives.
pub struct FastPath {
    programs: Programs,
    streams: Arc<Streams>,
    next_hops: Arc<NextHops>,
    seeker: Option<JoinHandle<()>>,
    flows: u32,
    /// Names of the interfaces that the program is attached to.
    interfaces: Vec<String>,
    refused: Vec<String>,
}

impl FastPath {
    /// Loads the programs with room for `flows` entries, and attaches them to the interfaces that have `addresses`.
    /// Keys of SRTP go into the kernel only `with_srtp`.
    ///
    /// # Errors
    /// See [`Unavailable`]. Interfaces that refuse, beside others that do not, are in [`FastPath::refused`].
    pub fn open(addresses: &[IpAddr], flows: u32, with_srtp: bool) -> Result<FastPath, Unavailable> {
        let mut socket = RouteSocket::for_questions().map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let (links, mut refused) = links(&mut socket, addresses);
        if links.is_empty() {
            return Err(Unavailable::NoInterface(refused.join(", ")));
        }
        let mut programs = Programs::load(flows, links.values().any(|link| link.is_virtual), with_srtp)?;
        refused.extend(programs.without_srtp.iter().map(|why| format!("SRTP: {why}")));
        let streams = Streams::map(programs.map_descriptor("streams")?, flows as usize);
        let streams = streams.map_err(|error| Unavailable::Kernel(format!("the map of states: {error}")))?;
        let hops = Array::try_from(take_map(&mut programs.ebpf, "next_hops")?).map_err(|error| unavailable(&error))?;
        let (next_hops, seeker) = NextHops::start(hops).map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let mut path = FastPath {
            programs,
            streams: Arc::new(streams),
            next_hops,
            seeker: Some(seeker),
            flows,
            interfaces: Vec::new(),
            refused: Vec::new(),
        };
        path.attach(&links, &mut refused)?;
        path.refused = refused;
        Ok(path)
    }

    fn attach(&mut self, links: &BTreeMap<u32, netlink::Link>, refused: &mut Vec<String>) -> Result<(), Unavailable> {
        let program = program(&mut self.programs.ebpf, "rx")?;
        for (index, link) in links {
            match program.attach_to_if_index(*index, XdpMode::Driver) {
                Ok(_) => self.interfaces.push(link.name.clone()),
                Err(error) => refused.push(format!("{}: {}", link.name, with_causes(&error))),
            }
        }
        match self.interfaces.is_empty() {
            true => Err(Unavailable::NoInterface(refused.join(", "))),
            false => Ok(()),
        }
    }

    /// The interfaces that the program is attached to.
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// The interfaces that it could not be attached to, with the reason.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// The part of the maps for shard `index` of `count`.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn table(&self, index: usize, count: usize) -> Result<Box<dyn Table>, Unavailable> {
        let share = self.flows / count.max(1) as u32;
        let first = share * index as u32;
        let keys = match self.programs.have_srtp() {
            true => {
                Some(KeyMaps { keys: self.programs.hash_map("keys_of")?, orders: self.programs.hash_map("orders")? })
            }
            false => None,
        };
        Ok(Box::new(XdpTable {
            flows: self.programs.hash_map("flows")?,
            streams: self.streams.clone(),
            next_hops: self.next_hops.clone(),
            free: (first..first + share).rev().map(Slot).collect(),
            keys,
        }))
    }

    /// What the program did with packets so far, by verdict.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn verdicts(&self) -> io::Result<Vec<(Verdict, u64)>> {
        let map = self.programs.ebpf.map("verdicts").ok_or(io::ErrorKind::NotFound)?;
        let counters = PerCpuArray::<_, u64>::try_from(map).map_err(io::Error::other)?;
        let count = |verdict: &Verdict| {
            let values = counters.get(&(*verdict as u32), 0).map_err(io::Error::other)?;
            Ok((*verdict, values.iter().sum()))
        };
        Verdict::ALL.iter().map(count).collect()
    }
}

impl Drop for FastPath {
    fn drop(&mut self) {
        self.next_hops.stop();
        if self.seeker.take().is_some_and(|seeker| seeker.join().is_err()) {
            tracing::error!(target: "core", "the thread of next hops ended by a fault");
        }
    }
}

/// The interfaces of local addresses, by number: those below where they are VLANs. And what can't be used, and why.
fn links(socket: &mut RouteSocket, addresses: &[IpAddr]) -> (BTreeMap<u32, netlink::Link>, Vec<String>) {
    let (mut links, mut refused) = (BTreeMap::new(), Vec::new());
    for address in addresses {
        match link_of(socket, *address) {
            Ok(Some((index, link))) => drop(links.insert(index, link)),
            Ok(None) => {}
            Err(why) => refused.push(why),
        }
    }
    if links.is_empty() && refused.is_empty() {
        refused.push("there are only addresses of the loopback device".to_owned());
    }
    (links, refused)
}

fn link_of(socket: &mut RouteSocket, address: IpAddr) -> Result<Option<(u32, netlink::Link)>, String> {
    if address.is_loopback() {
        return Ok(None);
    }
    let fault = |error: io::Error| format!("{address}: {error}");
    let index = socket.interface_of(address).map_err(fault)?;
    let index = index.ok_or_else(|| format!("{address}: no interface has it"))?;
    let link = socket.link(index).map_err(fault)?;
    match link.vlan {
        Some((_, below)) => Ok(Some((below, socket.link(below).map_err(fault)?))),
        None => Ok(Some((index, link))),
    }
}
