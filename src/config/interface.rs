//! Logical interfaces: `[NAME/]ADDR[!ADVERTISED]`, `ALIAS=NAME`, and sections of the configuration file.

use super::ini::{Entry, IniSection};
use std::net::IpAddr;

/// The name of an interface that is given none.
pub const DEFAULT_NAME: &str = "default";

/// The host's names and addresses.
pub trait Resolver {
    /// The addresses of a host name, in the order of preference; none when it is unknown.
    fn host(&self, name: &str) -> Vec<IpAddr>;

    /// Every address of the host with the name of its network device.
    fn local_addresses(&self) -> Vec<(String, IpAddr)>;

    /// A socket can be bound to the address.
    fn can_bind(&self, address: IpAddr) -> bool;
}

/// One entry of the option `interface`, or one section, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceEntry {
    Address(AddressEntry),
    Alias { alias: String, target: String },
}

/// An address of a logical interface, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressEntry {
    pub name: String,
    /// An IP address, a device, a host name, or `any`.
    pub address: String,
    /// An IP address or a host name.
    pub advertised: Option<String>,
    pub port_min: Option<u16>,
    pub port_max: Option<u16>,
    pub excluded_ports: Vec<u16>,
}

/// A logical interface with its addresses. The first address of each family is the primary one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedInterface {
    pub name: String,
    pub addresses: Vec<ResolvedAddress>,
}

/// A local address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedAddress {
    pub address: IpAddr,
    /// What SDP shows instead of `address`.
    pub advertised: IpAddr,
    pub port_min: u16,
    pub port_max: u16,
    /// Ports of the range that are never used.
    pub excluded_ports: Vec<u16>,
}

/// All logical interfaces, in their order, and their aliases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedInterfaces {
    pub interfaces: Vec<ResolvedInterface>,
    /// The alias and the place of its interface in `interfaces`.
    pub aliases: Vec<(String, usize)>,
}

impl InterfaceEntry {
    /// Reads one entry of the option `interface`; the error says what is expected.
    pub fn parse(text: &str) -> Result<InterfaceEntry, String> {
        let expected = || format!("`{text}` is not `[NAME/]ADDRESS[!ADVERTISED]` or `ALIAS=NAME`");
        if let Some((alias, target)) = text.split_once('=') {
            let is_valid = !alias.is_empty() && !target.is_empty() && !text.contains(['/', '!']);
            let alias = InterfaceEntry::Alias { alias: alias.to_owned(), target: target.to_owned() };
            return if is_valid { Ok(alias) } else { Err(expected()) };
        }
        let (name, rest) = text.split_once('/').unwrap_or((DEFAULT_NAME, text));
        let (address, advertised) = match rest.split_once('!') {
            Some((address, advertised)) => (address, Some(advertised)),
            None => (rest, None),
        };
        if name.is_empty() || address.is_empty() || advertised.is_some_and(str::is_empty) {
            return Err(expected());
        }
        Ok(InterfaceEntry::Address(AddressEntry {
            name: name.to_owned(),
            address: without_brackets(address).to_owned(),
            advertised: advertised.map(|text| without_brackets(text).to_owned()),
            ..AddressEntry::default()
        }))
    }

    /// Reads a section `PREFIX-NAME`.
    pub(super) fn from_section(name: &str, section: &IniSection) -> Result<InterfaceEntry, String> {
        let mut entry = AddressEntry { name: name.to_owned(), ..AddressEntry::default() };
        let mut alias = None;
        for line in &section.entries {
            let in_line = |error| format!("section `{}`, line {}: {error}", section.name, line.line);
            match line.key.as_str() {
                "alias" => alias = Some(line.value.clone()),
                _ => section_key(&mut entry, line).map_err(in_line)?,
            }
        }
        match alias {
            Some(target) => Ok(InterfaceEntry::Alias { alias: entry.name, target }),
            None if entry.address.is_empty() => {
                Err(format!("section `{}` has neither `address` nor `alias`", section.name))
            }
            None => Ok(InterfaceEntry::Address(entry)),
        }
    }
}

fn section_key(entry: &mut AddressEntry, line: &Entry) -> Result<(), String> {
    let port = || line.value.parse::<u16>().map_err(|_| format!("`{}` is not a port", line.value));
    match line.key.as_str() {
        "name" => entry.name = line.value.clone(),
        "address" => entry.address = without_brackets(&line.value).to_owned(),
        "advertised" | "advertised address" | "advertised-address" | "advertised_address" => {
            entry.advertised = Some(without_brackets(&line.value).to_owned());
        }
        "port-min" => entry.port_min = Some(port()?),
        "port-max" => entry.port_max = Some(port()?),
        "exclude-ports" => entry.excluded_ports = ports(&line.value)?,
        key => return Err(format!("`{key}` is not a key of an interface")),
    }
    Ok(())
}

fn ports(list: &str) -> Result<Vec<u16>, String> {
    let items = list.split(';').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| item.parse().map_err(|_| format!("`{item}` is not a port"))).collect()
}

fn without_brackets(text: &str) -> &str {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text)
}

/// Looks up every entry. Ports that control listeners use are left out of ranges that hold them; `port_min` and
/// `port_max` serve entries without a range. All errors are given, not the first alone.
pub fn resolve(
    entries: &[InterfaceEntry],
    (port_min, port_max): (u16, u16),
    control_ports: &[u16],
    resolver: &dyn Resolver,
) -> Result<ResolvedInterfaces, Vec<String>> {
    let mut resolved = ResolvedInterfaces::default();
    let mut errors = Vec::new();
    for entry in entries {
        let result = match entry {
            InterfaceEntry::Address(entry) => resolve_address(entry, (port_min, port_max), control_ports, resolver)
                .map(|addresses| resolved.add(&entry.name, addresses)),
            InterfaceEntry::Alias { alias, target } => resolved.add_alias(alias, target),
        };
        errors.extend(result.err());
    }
    if errors.is_empty() { Ok(resolved) } else { Err(errors) }
}

impl ResolvedInterfaces {
    fn add(&mut self, name: &str, addresses: Vec<ResolvedAddress>) {
        match self.interfaces.iter_mut().find(|interface| interface.name == name) {
            Some(interface) => interface.addresses.extend(addresses),
            None => self.interfaces.push(ResolvedInterface { name: name.to_owned(), addresses }),
        }
    }

    fn add_alias(&mut self, alias: &str, target: &str) -> Result<(), String> {
        let known = self.interfaces.iter().position(|interface| interface.name == target);
        let known = known.or_else(|| self.aliases.iter().find(|row| row.0 == target).map(|row| row.1));
        match known {
            Some(index) => {
                self.aliases.push((alias.to_owned(), index));
                Ok(())
            }
            None => Err(format!("interface `{alias}={target}`: there is no interface `{target}` before it")),
        }
    }
}

fn resolve_address(
    entry: &AddressEntry,
    range: (u16, u16),
    control_ports: &[u16],
    resolver: &dyn Resolver,
) -> Result<Vec<ResolvedAddress>, String> {
    let in_entry = |error: String| format!("interface `{}/{}`: {error}", entry.name, entry.address);
    let (port_min, port_max) = (entry.port_min.unwrap_or(range.0), entry.port_max.unwrap_or(range.1));
    // A pair of ports is an even one and the one above it.
    if port_min == 0 || port_max <= port_min.next_multiple_of(2) {
        return Err(in_entry(format!("the ports {port_min} to {port_max} hold no pair")));
    }
    let mut excluded_ports = entry.excluded_ports.clone();
    excluded_ports.extend(control_ports.iter().filter(|port| (port_min..=port_max).contains(port)));
    let addresses = local_addresses(&entry.address, resolver).map_err(in_entry)?;
    let one = |address| {
        let advertised = match &entry.advertised {
            Some(text) => advertised(text, address, entry, resolver).map_err(in_entry)?,
            None => address,
        };
        Ok(ResolvedAddress { address, advertised, port_min, port_max, excluded_ports: excluded_ports.clone() })
    };
    addresses.into_iter().map(one).collect()
}

/// The local addresses that an entry names.
fn local_addresses(text: &str, resolver: &dyn Resolver) -> Result<Vec<IpAddr>, String> {
    let local = resolver.local_addresses();
    let usable = |address: &IpAddr| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if text == "any" {
        let all: Vec<_> =
            local.iter().map(|row| row.1).filter(|address| !address.is_loopback() && usable(address)).collect();
        return if all.is_empty() { Err("this host has no address besides loopback".to_owned()) } else { Ok(all) };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return if resolver.can_bind(address) { Ok(vec![address]) } else { Err(not_here(address, &local)) };
    }
    let device: Vec<_> = local.iter().filter(|row| row.0 == text && usable(&row.1)).map(|row| row.1).collect();
    if !device.is_empty() {
        return Ok(device);
    }
    let host = resolver.host(text);
    match host.first() {
        None => Err(format!("`{text}` is no address, no device with an address, and no host name that resolves")),
        Some(first) => {
            let here: Vec<_> = host.iter().copied().filter(|&address| resolver.can_bind(address)).collect();
            if here.is_empty() { Err(not_here(*first, &local)) } else { Ok(here) }
        }
    }
}

/// Most often the address is the public one of a NAT before this host.
fn not_here(address: IpAddr, local: &[(String, IpAddr)]) -> String {
    let own: Vec<_> =
        local.iter().map(|row| row.1).filter(|own| !own.is_loopback() && own.is_ipv4() == address.is_ipv4()).collect();
    match own.first() {
        Some(first) => {
            let list: Vec<_> = own.iter().map(IpAddr::to_string).collect();
            format!(
                "the address {address} is not on this host, which has {}; did you mean `{first}!{address}`?",
                list.join(", ")
            )
        }
        None => format!("the address {address} is not on this host"),
    }
}

/// What is shown instead of `address`. A device may have addresses of both families; those that `text` cannot stand
/// for are shown as they are.
fn advertised(text: &str, address: IpAddr, entry: &AddressEntry, resolver: &dyn Resolver) -> Result<IpAddr, String> {
    let is_device = entry.address.parse::<IpAddr>().is_err();
    let is_of_family = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    match text.parse() {
        Ok(advertised) if is_of_family(&advertised) => Ok(advertised),
        Ok(_) if is_device => Ok(address),
        Ok(advertised) => Err(format!("the advertised address {advertised} is not {family}, as {address} is")),
        Err(_) => {
            let found = resolver.host(text).into_iter().find(is_of_family);
            let found = found.or(is_device.then_some(address));
            found.ok_or_else(|| format!("the advertised host name `{text}` has no {family} address"))
        }
    }
}
