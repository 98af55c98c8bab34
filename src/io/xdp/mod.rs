//! The programs of `ebpf/` in the kernel: loaded, attached to interfaces, their maps filled by the shards.

mod features;
mod netlink;
mod next_hops;
mod streams;
mod table;

use crate::fastpath::layout::{Endpoint, Flow, NextHop};
use crate::fastpath::table::{Slot, Table};
use crate::fastpath::verdict::Verdict;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use netlink::RouteSocket;
use next_hops::NextHops;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use streams::Streams;
use table::XdpTable;

#[cfg(has_ebpf)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/rx.o"));

/// Why there is no fast path.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("this program was built without it, because there was no clang")]
    NotBuilt,
    #[error("CAP_BPF and CAP_NET_ADMIN are missing (root has both)")]
    NotPermitted,
    #[error("no interface to attach to: {0}")]
    NoInterface(String),
    #[error("{0}")]
    Kernel(String),
}

/// The programs, attached as long as this lives.
pub struct FastPath {
    ebpf: Ebpf,
    streams: Arc<Streams>,
    next_hops: Arc<NextHops>,
    seeker: Option<JoinHandle<()>>,
    flows: u32,
    /// Names of the interfaces that the program is attached to.
    interfaces: Vec<String>,
    refused: Vec<String>,
}

// SAFETY: 20 bytes without padding, any of which may have any value.
unsafe impl aya::Pod for Endpoint {}
// SAFETY: numbers and bytes without padding; a test compares the size with the sum of the fields.
unsafe impl aya::Pod for Flow {}
// SAFETY: the same.
unsafe impl aya::Pod for NextHop {}

impl FastPath {
    /// Loads the programs with room for `flows` entries, and attaches them to the interfaces that have `addresses`.
    ///
    /// # Errors
    /// See [`Unavailable`]. Interfaces that refuse, beside others that do not, are in [`FastPath::refused`].
    #[cfg(has_ebpf)]
    pub fn open(addresses: &[IpAddr], flows: u32) -> Result<FastPath, Unavailable> {
        let mut socket = RouteSocket::for_questions().map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let (links, mut refused) = links(&mut socket, addresses);
        if links.is_empty() {
            return Err(Unavailable::NoInterface(refused.join(", ")));
        }
        let partial = u8::from(links.values().any(|link| link.is_virtual));
        let mut ebpf = EbpfLoader::new()
            .override_global("checksums_are_partial", &partial, true)
            .map_max_entries("flows", flows)
            .map_max_entries("streams", flows)
            .load(OBJECT)
            .map_err(|error| unavailable(&error))?;
        let streams = Streams::map(map_data(&ebpf, "streams")?.fd().as_fd(), flows as usize);
        let streams = streams.map_err(|error| Unavailable::Kernel(format!("the map of states: {error}")))?;
        let hops = Array::try_from(take_map(&mut ebpf, "next_hops")?).map_err(|error| unavailable(&error))?;
        let (next_hops, seeker) = NextHops::start(hops).map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let mut path = FastPath {
            ebpf,
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

    /// # Errors
    /// Always: there is no program.
    #[cfg(not(has_ebpf))]
    pub fn open(addresses: &[IpAddr], flows: u32) -> Result<FastPath, Unavailable> {
        let _ = (addresses, flows);
        Err(Unavailable::NotBuilt)
    }

    fn attach(&mut self, links: &BTreeMap<u32, netlink::Link>, refused: &mut Vec<String>) -> Result<(), Unavailable> {
        let program: &mut Xdp = self
            .ebpf
            .program_mut("rx")
            .ok_or_else(|| Unavailable::Kernel("no program named rx".to_owned()))?
            .try_into()
            .map_err(|error: aya::programs::ProgramError| unavailable(&error))?;
        program.load().map_err(|error| unavailable(&error))?;
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
        let flows = map_data(&self.ebpf, "flows")?.fd().as_fd().try_clone_to_owned();
        let flows = flows.map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let flows = MapData::from_fd(flows).map_err(|error| unavailable(&error))?;
        Ok(Box::new(XdpTable {
            flows: HashMap::try_from(Map::HashMap(flows)).map_err(|error| unavailable(&error))?,
            streams: self.streams.clone(),
            next_hops: self.next_hops.clone(),
            free: (first..first + share).rev().map(Slot).collect(),
        }))
    }

    /// What the program did with packets so far, by verdict.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn verdicts(&self) -> io::Result<Vec<(Verdict, u64)>> {
        let map = self.ebpf.map("verdicts").ok_or(io::ErrorKind::NotFound)?;
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

fn map_data<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData, Unavailable> {
    match ebpf.map(name) {
        Some(Map::Array(data) | Map::HashMap(data)) => Ok(data),
        _ => Err(Unavailable::Kernel(format!("no map named {name}"))),
    }
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Unavailable> {
    ebpf.take_map(name).ok_or_else(|| Unavailable::Kernel(format!("no map named {name}")))
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Unavailable {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::PermissionDenied) {
            return Unavailable::NotPermitted;
        }
        cause = error.source();
    }
    Unavailable::Kernel(with_causes(error))
}

/// An error's text with those of all its causes.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
