//! Logical interfaces: the names that `direction` uses, each standing for one or several local addresses.

use crate::base::address::Family;
use smallvec::{SmallVec, smallvec};
use std::net::IpAddr;

/// One local address of a logical interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddress {
    pub address: IpAddr,
    /// What descriptions show instead of `address`.
    pub advertised: IpAddr,
    pub port_min: u16,
    pub port_max: u16,
    /// Ports of the range that are never used.
    pub excluded_ports: Vec<u16>,
}

/// A logical interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub addresses: Vec<LocalAddress>,
}

/// One address of one logical interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceId {
    pub interface: u16,
    pub address: u16,
}

/// All logical interfaces, the first being the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interfaces {
    list: Vec<Interface>,
    aliases: Vec<(String, usize)>,
}

impl Interfaces {
    /// From a list that is not empty and whose interfaces have an address each, and aliases by index into it.
    pub fn new(list: Vec<Interface>, aliases: Vec<(String, usize)>) -> Interfaces {
        Interfaces { list, aliases }
    }

    /// The interfaces in order.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.list.iter()
    }

    /// Every address of every interface.
    pub fn addresses(&self) -> impl Iterator<Item = (InterfaceId, &Interface, &LocalAddress)> {
        self.list.iter().enumerate().flat_map(|(index, interface)| {
            interface.addresses.iter().enumerate().map(move |(position, address)| {
                (InterfaceId { interface: index as u16, address: position as u16 }, interface, address)
            })
        })
    }

    /// The interface called `name`, by its own name or an alias; else the members of the group of that name, which
    /// are called `NAME:SUFFIX`. None when there is neither.
    pub fn named(&self, name: &str) -> Option<SmallVec<[usize; 2]>> {
        let own = self.list.iter().position(|interface| interface.name == name);
        let found = own.or_else(|| self.aliases.iter().find(|(alias, _)| alias == name).map(|(_, index)| *index));
        let members = found.map_or_else(|| self.group(name), |index| smallvec![index]);
        (!members.is_empty()).then_some(members)
    }

    /// The members of the group that an interface belongs to; itself alone when it belongs to none.
    pub fn group_of(&self, interface: usize) -> SmallVec<[usize; 2]> {
        match self.list.get(interface).and_then(|interface| interface.name.split_once(':')) {
            Some((base, _)) => self.group(base),
            None => smallvec![interface],
        }
    }

    fn group(&self, base: &str) -> SmallVec<[usize; 2]> {
        let is_member =
            |interface: &Interface| interface.name.strip_prefix(base).is_some_and(|suffix| suffix.starts_with(':'));
        (0..self.list.len()).filter(|index| is_member(&self.list[*index])).collect()
    }

    /// The primary address of `interface` for `family`: its own first one, else the first of any interface.
    pub fn primary(&self, interface: usize, family: Family) -> Option<InterfaceId> {
        let of = |index: usize| {
            let addresses = &self.list.get(index)?.addresses;
            let position = addresses.iter().position(|local| Family::of(local.address) == family)?;
            Some(InterfaceId { interface: index as u16, address: position as u16 })
        };
        of(interface).or_else(|| (0..self.list.len()).find_map(of))
    }

    /// The first address of `interface`, whatever its family.
    pub fn first(&self, interface: usize) -> InterfaceId {
        InterfaceId { interface: interface as u16, address: 0 }
    }

    /// The address that clients know as `address`: that is shown so, else that is so.
    pub fn shown_as(&self, address: IpAddr) -> Option<InterfaceId> {
        let find = |is_it: fn(&LocalAddress, IpAddr) -> bool| {
            self.addresses().find(|(_, _, local)| is_it(local, address)).map(|(id, _, _)| id)
        };
        find(|local, address| local.advertised == address).or_else(|| find(|local, address| local.address == address))
    }

    /// The address behind `id`.
    pub fn address(&self, id: InterfaceId) -> Option<&LocalAddress> {
        self.list.get(usize::from(id.interface))?.addresses.get(usize::from(id.address))
    }

    /// The name of the interface behind `id`.
    pub fn name(&self, id: InterfaceId) -> &str {
        self.list.get(usize::from(id.interface)).map_or("", |interface| &interface.name)
    }
}
