//! The interfaces that programs are attached to.

use super::Unavailable;
use super::features::Features;
use super::load::program;
use super::netlink::{Link, RouteSocket};
use super::pins::{Pins, remove_link};
use super::table::{Reach, Reaches};
use crate::base::fault::with_causes;
use aya::Ebpf;
use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// An interface, and what is attached to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) is_virtual: bool,
    pub(super) by_xdp: bool,
    pub(super) by_tc: bool,
}

/// The interfaces of all local addresses.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    pub(super) by_number: BTreeMap<u32, Interface>,
    /// Its interface, and whether the address is on a VLAN of that.
    of_addresses: HashMap<IpAddr, (u32, bool)>,
}

impl Interfaces {
    /// The programs on the interface of each address. What comes to addresses whose interface has none, as those of the
    /// loopback device, comes in elsewhere.
    pub(super) fn reach(&self) -> Reaches {
        let all = self.by_number.values();
        let elsewhere = Reach {
            by_xdp: all.clone().any(|interface| interface.by_xdp),
            by_tc: all.clone().any(|interface| interface.by_tc),
            is_vlan: false,
        };
        let reach = |(address, (number, is_vlan)): (&IpAddr, &(u32, bool))| {
            let interface = self.by_number.get(number).filter(|one| one.by_xdp || one.by_tc)?;
            Some((*address, Reach { by_xdp: interface.by_xdp, by_tc: interface.by_tc, is_vlan: *is_vlan }))
        };
        Reaches { of: self.of_addresses.iter().filter_map(reach).collect(), elsewhere }
    }

    /// Attaches programs: the one at the driver wherever that has a place for it; the classifier to all, if one of them has
    /// none, or sends no frames of such programs. Who refuses is in `refused`.
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        pins: Option<&Pins>,
        (by_xdp, by_tc): (bool, bool),
        refused: &mut Vec<String>,
    ) {
        let mut kept = Vec::new();
        let mut without = Vec::new();
        for (number, interface) in self.by_number.iter_mut().filter(|_| by_xdp) {
            let pin = pins.map(|pins| pins.xdp_path(*number));
            match program(ebpf, "rx").and_then(|program| attach_xdp(program, *number, pin.as_deref())) {
                Ok(()) => {
                    interface.by_xdp = true;
                    kept.extend(pin);
                }
                Err(error) => without.push(format!("{}: {error}", interface.name)),
            }
        }
        if by_tc && self.by_number.iter().any(|(number, interface)| !interface.by_xdp || !sends_redirected(*number)) {
            for (number, interface) in &mut self.by_number {
                let pin = pins.map(|pins| pins.tc_path(*number));
                match classifier(ebpf).and_then(|program| attach_tc(program, &interface.name, pin.as_deref())) {
                    Ok(()) => {
                        interface.by_tc = true;
                        kept.extend(pin);
                    }
                    Err(error) => without.push(format!("{}, by TC: {error}", interface.name)),
                }
            }
        }
        // Who has one of both, is served.
        if self.by_number.values().any(|interface| !interface.by_xdp && !interface.by_tc) {
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

fn classifier(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, Unavailable> {
    let none = || Unavailable::Kernel("no classifier named rx_tc".to_owned());
    let program: &mut SchedClassifier = ebpf.program_mut("rx_tc").ok_or_else(none)?.try_into().map_err(|_| none())?;
    if program.fd().is_err() {
        program.load().map_err(|error| super::unavailable(&error))?;
    }
    Ok(program)
}

/// Attaches the program at the driver. Where a dead daemon's is, it takes that one's place between two packets.
fn attach_xdp(program: &mut Xdp, interface: u32, pin: Option<&Path>) -> Result<(), Unavailable> {
    if is_replaced(pin, |link| Ok(program.attach_to_link(XdpLink::try_from(link)?).map(drop)?)) {
        return Ok(());
    }
    let link = program.attach_to_if_index(interface, XdpMode::Driver).map_err(kernel)?;
    if let Some(pin) = pin {
        let link = program.take_link(link).map_err(kernel)?;
        pin_link(FdLink::try_from(link).map_err(kernel)?, pin)?;
    }
    Ok(())
}

/// Attaches the classifier, by a link (since Linux 6.6): a filter of older kernels would outlive the daemon unasked.
fn attach_tc(program: &mut SchedClassifier, interface: &str, pin: Option<&Path>) -> Result<(), Unavailable> {
    if is_replaced(pin, |link| Ok(program.attach_to_link(SchedClassifierLink::try_from(link)?).map(drop)?)) {
        return Ok(());
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let link = program.attach_with_options(interface, TcAttachType::Ingress, options).map_err(kernel)?;
    if let Some(pin) = pin {
        let link = program.take_link(link).map_err(kernel)?;
        pin_link(FdLink::try_from(link).map_err(kernel)?, pin)?;
    }
    Ok(())
}

/// Whether a link was found and `replaces` has put another program in the place of its own. One that can't be used is
/// removed: its interface is gone, and another has its number.
fn is_replaced(pin: Option<&Path>, replaces: impl FnOnce(FdLink) -> Result<(), Box<dyn std::error::Error>>) -> bool {
    let Some(pin) = pin.filter(|pin| pin.exists()) else { return false };
    let replaced = PinnedLink::from_pin(pin).map_err(Into::into).and_then(|link| replaces(FdLink::from(link)));
    if let Err(error) = &replaced {
        tracing::info!(target: "core", "{} is attached anew: {}", pin.display(), with_causes(error.as_ref()));
        remove_link(pin);
    }
    replaced.is_ok()
}

fn pin_link(link: FdLink, pin: &Path) -> Result<(), Unavailable> {
    link.pin(pin).map(drop).map_err(kernel)
}

fn kernel(error: impl std::error::Error) -> Unavailable {
    Unavailable::Kernel(with_causes(&error))
}

/// The interfaces of local addresses, those below where they are VLANs. And what can't be used, and why.
pub(super) fn find(socket: &mut RouteSocket, addresses: &[IpAddr]) -> (Interfaces, Vec<String>) {
    let (mut found, mut refused) = (Interfaces::default(), Vec::new());
    for address in addresses {
        match link_of(socket, *address) {
            Ok(Some((index, link, is_vlan))) => {
                let new = || Interface { name: link.name, is_virtual: link.is_virtual, by_xdp: false, by_tc: false };
                found.by_number.entry(index).or_insert_with(new);
                found.of_addresses.insert(*address, (index, is_vlan));
            }
            Ok(None) => {}
            Err(why) => refused.push(why),
        }
    }
    if found.by_number.is_empty() && refused.is_empty() {
        refused.push("there are only addresses of the loopback device".to_owned());
    }
    (found, refused)
}

fn link_of(socket: &mut RouteSocket, address: IpAddr) -> Result<Option<(u32, Link, bool)>, String> {
    if address.is_loopback() {
        return Ok(None);
    }
    let fault = |error: io::Error| format!("{address}: {error}");
    let index = socket.interface_of(address).map_err(fault)?;
    let index = index.ok_or_else(|| format!("{address}: no interface has it"))?;
    let link = socket.link(index).map_err(fault)?;
    match link.vlan {
        _ if link.is_loopback => Ok(None),
        Some((_, below)) => Ok(Some((below, socket.link(below).map_err(fault)?, true))),
        None => Ok(Some((index, link, false))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_program_of_their_own_are_reached_elsewhere() {
        let interface = |by_xdp, by_tc| Interface { name: String::new(), is_virtual: false, by_xdp, by_tc };
        let [near, tagged, far] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let interfaces = Interfaces {
            by_number: [(2, interface(true, true)), (3, interface(false, false))].into(),
            of_addresses: [(near, (2, false)), (tagged, (2, true)), (far, (3, false))].into(),
        };
        let reaches = interfaces.reach();
        assert_eq!(reaches.of[&near], Reach { by_xdp: true, by_tc: true, is_vlan: false });
        assert!(reaches.of[&tagged].is_vlan);
        assert_eq!((reaches.of.get(&far), reaches.elsewhere), (None, reaches.of[&near]));
    }
}
