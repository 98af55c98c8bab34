//! What is lent to the engine: ports that are opened nowhere, and numbers from pools.

use millrace::base::id::PortToken;
use millrace::base::random::Seeded;
use millrace::call::interface::{Interface, LocalAddress};
use millrace::call::port_pool::PortPool;
use millrace::call::{InterfaceId, Interfaces, PortNumbers};
use millrace::relay::{OpenError, PortInTransit, Ports};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

/// Local ports by token. The lowest free token is given out first, as descriptors are.
#[derive(Default)]
pub struct FakePorts {
    by_token: BTreeMap<u32, SocketAddr>,
    by_address: HashMap<SocketAddr, u32>,
    free: BTreeSet<u32>,
    /// How many tokens were ever given out.
    tokens: u32,
    /// Ports that somebody else has.
    pub taken: HashSet<SocketAddr>,
    /// How many more ports may be open at once; none is no limit.
    pub limit: Option<usize>,
    /// The type of service that ports were given, by address.
    pub tos: HashMap<SocketAddr, u8>,
    /// Ports opened so far.
    pub opened: usize,
}

impl FakePorts {
    /// The addresses of the open ports, in order of token.
    pub fn open(&self) -> impl Iterator<Item = SocketAddr> {
        self.by_token.values().copied()
    }

    /// The token of the port open at `address`.
    pub fn token(&self, address: SocketAddr) -> Option<PortToken> {
        self.by_address.get(&address).copied().map(PortToken)
    }

    /// Where a port is; panics when it is not open: nobody may send from a closed port.
    pub fn address(&self, token: PortToken) -> SocketAddr {
        *self.by_token.get(&token.0).unwrap_or_else(|| panic!("{token:?} is not open"))
    }
}

impl FakePorts {
    /// A token that was never given out before.
    fn new_token(&mut self) -> u32 {
        self.tokens += 1;
        self.tokens - 1
    }
}

impl Ports for FakePorts {
    fn open(&mut self, local: SocketAddr) -> Result<PortToken, OpenError> {
        if self.limit.is_some_and(|limit| self.by_token.len() >= limit) {
            return Err(OpenError::OutOfDescriptors);
        }
        if self.taken.contains(&local) {
            return Err(OpenError::InUse);
        }
        assert!(!self.by_address.contains_key(&local), "{local} was opened twice");
        let token = match self.free.pop_first() {
            Some(token) => token,
            None => self.new_token(),
        };
        self.by_token.insert(token, local);
        self.by_address.insert(local, token);
        self.opened += 1;
        Ok(PortToken(token))
    }

    fn close(&mut self, port: PortToken) {
        let local = self.by_token.remove(&port.0).unwrap_or_else(|| panic!("{port:?} was closed twice"));
        self.by_address.remove(&local);
        self.tos.remove(&local);
        self.free.insert(port.0);
    }

    fn set_tos(&mut self, port: PortToken, tos: u8) {
        self.tos.insert(self.address(port), tos);
    }

    fn release(&mut self, port: PortToken) -> Option<PortInTransit> {
        let local = self.by_token.remove(&port.0)?;
        self.by_address.remove(&local);
        self.free.insert(port.0);
        Some(Box::new(local))
    }

    /// The token is one that no port had before.
    fn take_over(&mut self, port: PortInTransit) -> Result<PortToken, OpenError> {
        let local = *port.downcast::<SocketAddr>().expect("a port of this kind");
        let token = self.new_token();
        self.by_token.insert(token, local);
        self.by_address.insert(local, token);
        Ok(PortToken(token))
    }
}

/// A pool of numbers for each local address.
pub(super) struct Numbers {
    pools: HashMap<InterfaceId, PortPool>,
    random: Seeded,
    claimed: HashSet<(InterfaceId, u16)>,
}

impl Numbers {
    pub(super) fn new(interfaces: &Interfaces) -> Numbers {
        let pool = |local: &LocalAddress| PortPool::new(local.port_min, local.port_max, &local.excluded_ports);
        let pools = interfaces.addresses().map(|(id, _, local)| (id, pool(local))).collect();
        Numbers { pools, random: Seeded(1), claimed: HashSet::new() }
    }

    /// Port numbers that are given out.
    pub(super) fn used(&self) -> usize {
        self.pools.values().map(PortPool::used).sum()
    }
}

impl PortNumbers for Numbers {
    fn take(&mut self, interface: InterfaceId) -> Option<u16> {
        self.pools.get_mut(&interface)?.take(&mut self.random)
    }

    fn put(&mut self, interface: InterfaceId, even: u16) {
        self.pools.get_mut(&interface).expect("numbers come back to the interface they are from").put(even);
    }

    fn claim(&mut self, interface: InterfaceId, port: u16) -> bool {
        let pool = self.pools.get_mut(&interface).expect("an interface that there is");
        let is_free = !pool.covers(port & !1) || pool.reserve(port & !1);
        is_free && self.claimed.insert((interface, port))
    }

    fn release(&mut self, interface: InterfaceId, port: u16) {
        let pool = self.pools.get_mut(&interface).expect("an interface that there is");
        if self.claimed.remove(&(interface, port)) && pool.covers(port & !1) {
            pool.put(port & !1);
        }
    }
}

/// Logical interfaces out of `NAME/ADDRESS` or `NAME/ADDRESS!ADVERTISED`, with a range of ports.
pub(super) fn interfaces(entries: &[&str], (port_min, port_max): (u16, u16)) -> Interfaces {
    let mut list: Vec<Interface> = Vec::new();
    for entry in entries {
        let (name, addresses) = entry.split_once('/').expect("NAME/ADDRESS");
        let (address, advertised) = addresses.split_once('!').unwrap_or((addresses, addresses));
        let local = LocalAddress {
            address: address.parse().expect("an address"),
            advertised: advertised.parse().expect("an address"),
            port_min,
            port_max,
            excluded_ports: Vec::new(),
        };
        match list.iter_mut().find(|interface| interface.name == name) {
            Some(interface) => interface.addresses.push(local),
            None => list.push(Interface { name: name.to_owned(), addresses: vec![local] }),
        }
    }
    Interfaces::new(list, Vec::new())
}
