//! The interfaces that programs are attached to.

use super::Unavailable;
use super::features::Features;
use super::load::Programs;
use super::netlink::{Link, RouteSocket};
use super::pins::{Pins, remove_link};
use super::table::{Reach, Reaches};
use crate::fastpath::layout::LOOPBACK;
use crate::io::bpf::{Link as ProgramLink, Program};
use netlink_packet_route::AddressFamily;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// An interface, and what is attached to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) is_virtual: bool,
    pub(super) is_loopback: bool,
    pub(super) by_xdp: bool,
    pub(super) by_tc: bool,
}

impl Interface {
    /// Whether it has a program.
    pub(super) fn is_served(&self) -> bool {
        self.by_xdp || self.by_tc
    }
}

/// The interfaces of all local addresses.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    pub(super) by_number: BTreeMap<u32, Interface>,
    /// Its interface, and whether the address is on a VLAN of that.
    of_addresses: HashMap<IpAddr, (u32, bool)>,
    /// The beginnings of this host's own addresses, with their lengths in bits.
    own: Vec<(IpAddr, u8)>,
    /// What is attached as long as this lives.
    links: Vec<ProgramLink>,
}

impl Interfaces {
    /// The programs on the interface of each address. What other hosts send to addresses whose interface has none, or that
    /// are of the loopback device, comes in elsewhere.
    pub(super) fn reach(&self) -> Reaches {
        let all = self.by_number.values().filter(|interface| !interface.is_loopback);
        let has_loopback = self.by_number.values().any(|interface| interface.is_loopback && interface.by_tc);
        let elsewhere = Reach {
            by_xdp: all.clone().any(|interface| interface.by_xdp),
            by_tc: all.clone().any(|interface| interface.by_tc),
            is_vlan: false,
        };
        let reach = |(address, (number, is_vlan)): (&IpAddr, &(u32, bool))| {
            let interface = self.by_number.get(number).filter(|one| one.is_served() && !one.is_loopback)?;
            Some((*address, Reach { by_xdp: interface.by_xdp, by_tc: interface.by_tc, is_vlan: *is_vlan }))
        };
        let own = if has_loopback { self.own.clone() } else { Vec::new() };
        Reaches { of: self.of_addresses.iter().filter_map(reach).collect(), elsewhere, own }
    }

    /// Attaches programs: the one at the driver wherever that has a place for it; the classifier to all, if one of them has
    /// none, or sends no frames of such programs, and to the loopback device. Who refuses is in `refused`.
    pub(super) fn attach(
        &mut self,
        programs: &mut Programs,
        pins: Option<&Pins>,
        (by_xdp, by_tc): (bool, bool),
        refused: &mut Vec<String>,
    ) {
        let mut kept = Vec::new();
        let mut without = Vec::new();
        for (number, interface) in self.by_number.iter_mut().filter(|(_, one)| by_xdp && !one.is_loopback) {
            let pin = pins.map(|pins| pins.xdp_path(*number));
            let attach = |program: &Program| ProgramLink::at_driver(program, *number);
            match programs.at_driver().and_then(|program| attached(program, pin.as_deref(), attach)) {
                Ok(link) => {
                    interface.by_xdp = true;
                    self.links.extend(link);
                    kept.extend(pin);
                }
                Err(error) => without.push(format!("{}: {error}", interface.name)),
            }
        }
        if by_tc {
            let lacks_xdp = |(number, one): (&u32, &Interface)| !one.by_xdp || !sends_redirected(*number);
            let for_all = self.by_number.iter().filter(|(_, one)| !one.is_loopback).any(lacks_xdp);
            for (number, interface) in self.by_number.iter_mut().filter(|(_, one)| for_all || one.is_loopback) {
                let pin = pins.map(|pins| pins.tc_path(*number));
                let attach = |program: &Program| ProgramLink::at_ingress(program, *number);
                match programs.classifier().and_then(|program| attached(program, pin.as_deref(), attach)) {
                    Ok(link) => {
                        interface.by_tc = true;
                        self.links.extend(link);
                        kept.extend(pin);
                    }
                    Err(error) => without.push(format!("{}, by TC: {error}", interface.name)),
                }
            }
        }
        // Who has one of both, is served.
        if self.by_number.values().any(|interface| !interface.is_served()) {
            refused.append(&mut without);
        }
        if let Some(pins) = pins {
            pins.keep_links(&kept);
        }
    }
}

/// Whether a device sends frames that programs at other drivers redirect to it, as far as the kernel tells.
fn sends_redirected(interface: u32) -> bool {
    Features::new().and_then(|features| features.sends_redirected(interface)).unwrap_or(true)
}

/// Attaches a program. Where a dead daemon's is, it takes that one's place between two packets. A link that is pinned is
/// kept by that.
fn attached(
    program: &Program,
    pin: Option<&Path>,
    attach: impl FnOnce(&Program) -> io::Result<ProgramLink>,
) -> Result<Option<ProgramLink>, Unavailable> {
    let kernel = |error: io::Error| Unavailable::Kernel(error.to_string());
    let Some(pin) = pin else { return attach(program).map(Some).map_err(kernel) };
    if !is_replaced(program, pin) {
        attach(program).and_then(|link| link.pin(pin)).map_err(kernel)?;
    }
    Ok(None)
}

/// Whether a link was found and has the program now. One that can't be used is removed: its interface is gone, and another
/// has its number.
fn is_replaced(program: &Program, pin: &Path) -> bool {
    if !pin.exists() {
        return false;
    }
    let replaced = ProgramLink::pinned(pin).and_then(|link| link.replace(program));
    if let Err(error) = &replaced {
        tracing::info!(target: "core", "{} is attached anew: {error}", pin.display());
        remove_link(pin);
    }
    replaced.is_ok()
}

/// The interfaces of local addresses, those below where they are VLANs; the loopback device if it is wanted. And what can't be
/// used, and why.
pub(super) fn find(socket: &mut RouteSocket, addresses: &[IpAddr], wants_loopback: bool) -> (Interfaces, Vec<String>) {
    let (mut found, mut refused) = (Interfaces::default(), Vec::new());
    for address in addresses {
        match link_of(socket, *address) {
            Ok((_, link, _)) if link.is_loopback && !wants_loopback => {}
            Ok((index, link, is_vlan)) => {
                let Link { name, is_virtual, is_loopback, .. } = link;
                let new = || Interface { name, is_virtual, is_loopback, by_xdp: false, by_tc: false };
                found.by_number.entry(index).or_insert_with(new);
                found.of_addresses.insert(*address, (index, is_vlan));
            }
            Err(why) => refused.push(why),
        }
    }
    if found.by_number.values().any(|interface| interface.is_loopback) {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            match socket.own_prefixes(family) {
                Ok(own) => found.own.extend(own),
                // A host without IPv6.
                Err(error) => tracing::debug!(target: "core", "this host's own addresses of {family:?}: {error}"),
            }
        }
    }
    if found.by_number.is_empty() && refused.is_empty() {
        refused.push("there are only addresses of the loopback device".to_owned());
    }
    (found, refused)
}

fn link_of(socket: &mut RouteSocket, address: IpAddr) -> Result<(u32, Link, bool), String> {
    let fault = |error: io::Error| format!("{address}: {error}");
    // Of addresses of the loopback device not all are listed.
    let index = if address.is_loopback() { Some(LOOPBACK) } else { socket.interface_of(address).map_err(fault)? };
    let index = index.ok_or_else(|| format!("{address}: no interface has it"))?;
    let link = socket.link(index).map_err(fault)?;
    match link.vlan {
        Some((_, below)) => Ok((below, socket.link(below).map_err(fault)?, true)),
        None => Ok((index, link, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(is_loopback: bool, by_xdp: bool, by_tc: bool) -> Interface {
        Interface { name: String::new(), is_virtual: false, is_loopback, by_xdp, by_tc }
    }

    #[test]
    fn the_loopback_device_is_for_this_host_alone() {
        let vip = IpAddr::from([192, 0, 2, 7]);
        let own = vec![(IpAddr::from([127, 0, 0, 0]), 8), (vip, 32)];
        let interfaces = |by_tc| Interfaces {
            by_number: [(1, interface(true, false, by_tc)), (2, interface(false, true, false))].into(),
            of_addresses: [(vip, (1, false))].into(),
            own: own.clone(),
            ..Interfaces::default()
        };
        let reaches = interfaces(true).reach();
        assert_eq!((reaches.of.get(&vip), &reaches.own), (None, &own));
        assert_eq!(reaches.elsewhere, Reach { by_xdp: true, by_tc: false, is_vlan: false });
        assert!(interfaces(false).reach().own.is_empty());
    }

    #[test]
    fn addresses_without_a_program_of_their_own_are_reached_elsewhere() {
        let [near, tagged, far] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let interfaces = Interfaces {
            by_number: [(2, interface(false, true, true)), (3, interface(false, false, false))].into(),
            of_addresses: [(near, (2, false)), (tagged, (2, true)), (far, (3, false))].into(),
            ..Interfaces::default()
        };
        let reaches = interfaces.reach();
        assert_eq!(reaches.of[&near], Reach { by_xdp: true, by_tc: true, is_vlan: false });
        assert!(reaches.of[&tagged].is_vlan);
        assert_eq!((reaches.of.get(&far), reaches.elsewhere), (None, reaches.of[&near]));
    }
}
