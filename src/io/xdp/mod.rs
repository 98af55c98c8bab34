//! The programs of `ebpf/` in the kernel: loaded, attached to interfaces, their maps filled by the shards.

mod captured;
mod features;
mod keys;
mod netlink;
mod next_hops;
mod streams;
mod table;
mod verdicts;

use crate::fastpath::layout::{Endpoint, Flow, Keys, NextHop, Order, Tables};
use crate::fastpath::table::{Slot, Table};
use crate::fastpath::verdict::Verdict;
use crate::srtp::aes_key;
use aya::maps::{Array, HashMap, Map, MapData, ProgramArray};
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
pub use captured::{CaptureRing, CapturedFrame, CapturedPorts};
use keys::KeyMaps;
use netlink::RouteSocket;
use next_hops::NextHops;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use streams::Streams;
use table::XdpTable;
pub use verdicts::VerdictCounters;

#[cfg(has_ebpf)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs.o"));

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

/// The number of the program that opens and protects SRTP, `PROGRAM_SRTP`.
const SRTP: u32 = 0;

/// The programs in the kernel, not attached to anything.
pub struct Programs {
    ebpf: Ebpf,
    /// As long as this is open, programs find each other.
    numbers: Option<ProgramArray<MapData>>,
    /// Why there is none for SRTP, where one was wanted.
    without_srtp: Option<String>,
    /// The programs that capture; none where the kernel refuses them.
    watchers: Option<ProgramArray<MapData>>,
    without_captures: Option<String>,
}

/// The programs, attached as long as this lives.
pub struct FastPath {
    programs: Programs,
    streams: Arc<Streams>,
    next_hops: Arc<NextHops>,
    seeker: Option<JoinHandle<()>>,
    flows: u32,
    /// Who captures what; none where nothing can be captured.
    captured: Option<Arc<CapturedPorts>>,
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
// SAFETY: the same.
unsafe impl aya::Pod for Keys {}
// SAFETY: the same.
unsafe impl aya::Pod for Order {}
// SAFETY: the same.
unsafe impl aya::Pod for Tables {}

impl Programs {
    /// Loads the programs with room for `flows` entries, for devices whose frames may come without a whole checksum or
    /// not, and, if wanted, with the one for SRTP. A kernel that refuses that one gets along without.
    ///
    /// # Errors
    /// See [`Unavailable`].
    #[cfg(has_ebpf)]
    pub fn load(flows: u32, checksums_are_partial: bool, with_srtp: bool) -> Result<Programs, Unavailable> {
        let partial = u8::from(checksums_are_partial);
        let mut loader = EbpfLoader::new();
        loader.override_global("checksums_are_partial", &partial, true);
        for name in ["flows", "streams", "keys_of", "orders"] {
            loader.map_max_entries(name, flows);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| unavailable(&error))?;
        program(&mut ebpf, "rx")?.load().map_err(|error| unavailable(&error))?;
        let mut programs = Programs { ebpf, numbers: None, without_srtp: None, watchers: None, without_captures: None };
        if let Err(why) = programs.load_captures() {
            programs.without_captures = Some(why.to_string());
        }
        if with_srtp && let Err(why) = programs.load_srtp() {
            programs.without_srtp = Some(why.to_string());
        }
        Ok(programs)
    }

    /// # Errors
    /// Always: there is no program.
    #[cfg(not(has_ebpf))]
    pub fn load(flows: u32, checksums_are_partial: bool, with_srtp: bool) -> Result<Programs, Unavailable> {
        let _ = (flows, checksums_are_partial, with_srtp, SRTP);
        Err(Unavailable::NotBuilt)
    }

    fn load_captures(&mut self) -> Result<(), Unavailable> {
        let program = program(&mut self.ebpf, "rx_captured")?;
        program.load().map_err(|error| unavailable(&error))?;
        let number = program.fd().and_then(|fd| fd.try_clone().map_err(Into::into));
        let number = number.map_err(|error| unavailable(&error))?;
        let mut watchers =
            ProgramArray::try_from(take_map(&mut self.ebpf, "watchers")?).map_err(|error| unavailable(&error))?;
        watchers.set(0, &number, 0).map_err(|error| unavailable(&error))?;
        self.watchers = Some(watchers);
        Ok(())
    }

    fn load_srtp(&mut self) -> Result<(), Unavailable> {
        let program = program(&mut self.ebpf, "srtp_cm")?;
        program.load().map_err(|error| unavailable(&error))?;
        let number = program.fd().and_then(|fd| fd.try_clone().map_err(Into::into));
        let number = number.map_err(|error| unavailable(&error))?;
        let tables = take_map(&mut self.ebpf, "tables")?;
        let mut tables = Array::try_from(tables).map_err(|error| unavailable(&error))?;
        let words = Tables { words: aes_key::tables() };
        tables.set(0, words, 0).map_err(|error| unavailable(&error))?;
        let numbers = take_map(&mut self.ebpf, "programs")?;
        let mut numbers = ProgramArray::try_from(numbers).map_err(|error| unavailable(&error))?;
        numbers.set(SRTP, &number, 0).map_err(|error| unavailable(&error))?;
        self.numbers = Some(numbers);
        Ok(())
    }

    /// The ring of frames that are captured, for whoever `ports` says.
    ///
    /// # Errors
    /// The second time.
    pub fn take_captures(&mut self, ports: Arc<CapturedPorts>) -> Result<CaptureRing, Unavailable> {
        let (ring, lost) = (take_map(&mut self.ebpf, "captures")?, take_map(&mut self.ebpf, "captures_lost")?);
        CaptureRing::new(ring, lost, ports)
    }

    /// Whether SRTP is opened and protected.
    pub fn have_srtp(&self) -> bool {
        self.numbers.is_some()
    }

    /// The first program, for whoever attaches or tries it.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>, Unavailable> {
        let program = self.ebpf.program("rx").ok_or_else(|| Unavailable::Kernel("no program named rx".to_owned()))?;
        let program: &Xdp = program.try_into().map_err(|error: ProgramError| unavailable(&error))?;
        Ok(program.fd().map_err(|error| unavailable(&error))?.as_fd())
    }

    /// The programs that are loaded, each with the number of instructions that the kernel has looked at to verify it.
    pub fn verified(&self) -> impl Iterator<Item = (&str, u32)> {
        self.ebpf.programs().filter_map(|(name, program)| {
            let count = program.info().ok()?.verified_instruction_count()?;
            Some((name, count))
        })
    }

    /// A map by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn map_descriptor(&self, name: &str) -> Result<BorrowedFd<'_>, Unavailable> {
        Ok(map_data(&self.ebpf, name)?.fd().as_fd())
    }

    fn hash_map<K: aya::Pod, V: aya::Pod>(&self, name: &str) -> Result<HashMap<MapData, K, V>, Unavailable> {
        let descriptor = self.map_descriptor(name)?.try_clone_to_owned();
        let descriptor = descriptor.map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let data = MapData::from_fd(descriptor).map_err(|error| unavailable(&error))?;
        HashMap::try_from(Map::HashMap(data)).map_err(|error| unavailable(&error))
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Unavailable> {
    let program = ebpf.program_mut(name).ok_or_else(|| Unavailable::Kernel(format!("no program named {name}")))?;
    program.try_into().map_err(|error: ProgramError| unavailable(&error))
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
        refused.extend(programs.without_captures.iter().map(|why| format!("capturing: {why}")));
        let captured = programs.watchers.is_some().then(Arc::default);
        let hops = Array::try_from(take_map(&mut programs.ebpf, "next_hops")?).map_err(|error| unavailable(&error))?;
        let (next_hops, seeker) = NextHops::start(hops).map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let mut path = FastPath {
            programs,
            streams: Arc::new(streams),
            next_hops,
            seeker: Some(seeker),
            flows,
            captured,
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
            captured: self.captured.clone(),
        }))
    }

    /// The ring of frames that are captured, and who captures what; none where nothing can be. To be asked once, before
    /// tables are made.
    pub fn take_captures(&mut self) -> Option<(CaptureRing, Arc<CapturedPorts>)> {
        let ports = self.captured.clone()?;
        match self.programs.take_captures(ports.clone()) {
            Ok(ring) => Some((ring, ports)),
            Err(why) => {
                tracing::warn!(target: "core", "frames can't be captured: {why}");
                // Tables take no entries that are captured then: packets go by the daemon.
                self.captured = None;
                None
            }
        }
    }

    /// What the program did with packets so far, by verdict.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn verdicts(&self) -> io::Result<Vec<(Verdict, u64)>> {
        self.verdict_counters().map_err(io::Error::other)?.read()
    }

    /// The same for those who read it again and again.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn verdict_counters(&self) -> Result<VerdictCounters, Unavailable> {
        VerdictCounters::new(self.programs.map_descriptor("verdicts")?)
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
        Some(Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data)) => Ok(data),
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
