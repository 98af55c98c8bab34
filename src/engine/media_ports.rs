//! Ports for negotiation: numbers from the pool, opened on the receiver, bound to streams of the relay.

use crate::base::id::StreamId;
use crate::base::time::Now;
use crate::call::{InterfaceId, Interfaces, LocalPort, MediaPorts, PortNumbers, PortSet, PortSource, PortsExhausted};
use crate::relay::{OpenError, Ports, Relay};
use std::net::SocketAddr;

/// How many numbers are tried when others hold them, before a request fails.
const MAX_TRIES: usize = 100;

/// The engine's side of [`MediaPorts`], for the time of one command.
pub(super) struct EnginePorts<'a> {
    pub relay: &'a mut Relay,
    pub ports: &'a mut dyn Ports,
    pub numbers: &'a mut dyn PortNumbers,
    pub interfaces: &'a Interfaces,
    pub now: Now,
    pub owner_call: u32,
    pub tos: Option<u8>,
}

impl EnginePorts<'_> {
    fn open_port(&mut self, interface: InterfaceId, port: u16) -> Result<LocalPort, OpenError> {
        let local = self.interfaces.address(interface).ok_or(OpenError::NoSuchAddress)?;
        let address = SocketAddr::new(local.address, port);
        let token = self.ports.open(address)?;
        if let Some(tos) = self.tos {
            self.ports.set_tos(token, tos);
        }
        Ok(LocalPort { token, address })
    }

    fn open_pair(&mut self, interface: InterfaceId, even: u16, pair: bool) -> Result<PortSet, OpenError> {
        let rtp = self.open_port(interface, even)?;
        let rtcp = match pair {
            false => None,
            true => Some(self.open_port(interface, even + 1).inspect_err(|_| self.ports.close(rtp.token))?),
        };
        let advertised = self.interfaces.address(interface).map_or(rtp.address.ip(), |local| local.advertised);
        Ok(PortSet {
            interface,
            advertised,
            rtp,
            rtcp,
            opened_for: None,
            further: Vec::new(),
            source: PortSource::Pool,
        })
    }

    /// Opens a port that a client has named, and the one above it.
    ///
    /// # Errors
    /// When one of them is in use or can't be opened.
    pub(super) fn open_claimed(&mut self, interface: InterfaceId, port: u16) -> Result<PortSet, OpenError> {
        if !self.numbers.claim(interface, port) {
            return Err(OpenError::InUse);
        }
        let opened = self.open_pair(interface, port, true);
        let opened = opened.inspect_err(|_| self.numbers.release(interface, port))?;
        Ok(PortSet { source: PortSource::Claimed, ..opened })
    }

    fn exhausted(&self, interface: InterfaceId, cause: impl ToString) -> PortsExhausted {
        let address = self.interfaces.address(interface).map(|local| local.address.to_string()).unwrap_or_default();
        let interface = format!("{}/{address}", self.interfaces.name(interface));
        PortsExhausted { interface, cause: cause.to_string() }
    }
}

impl MediaPorts for EnginePorts<'_> {
    fn open(&mut self, interface: InterfaceId, pair: bool) -> Result<PortSet, PortsExhausted> {
        let mut refused = Vec::new();
        let mut outcome = Err(self.exhausted(interface, "all ports of the range are in use"));
        for _ in 0..MAX_TRIES {
            let Some(even) = self.numbers.take(interface) else { break };
            match self.open_pair(interface, even, pair) {
                Ok(set) => {
                    outcome = Ok(set);
                    break;
                }
                Err(error) => {
                    refused.push(even);
                    outcome = Err(self.exhausted(interface, error));
                    if error != OpenError::InUse {
                        break;
                    }
                }
            }
        }
        refused.into_iter().for_each(|even| self.numbers.put(interface, even));
        outcome
    }

    fn open_rtcp(&mut self, interface: InterfaceId, rtp: LocalPort) -> Result<LocalPort, PortsExhausted> {
        let port = rtp.address.port() + 1;
        self.open_port(interface, port).map_err(|error| self.exhausted(interface, error))
    }

    fn close(&mut self, set: &PortSet) {
        if set.source == PortSource::Shared {
            return;
        }
        set.ports().for_each(|port| self.close_port(port));
        match set.source {
            PortSource::Claimed => self.numbers.release(set.interface, set.rtp.address.port()),
            _ => self.numbers.put(set.interface, set.rtp.address.port()),
        }
        set.further.iter().for_each(|further| self.numbers.put(further.interface, further.rtp.address.port()));
    }

    fn close_port(&mut self, port: LocalPort) {
        self.relay.detach(port.token);
        self.ports.close(port.token);
    }

    fn listen(&mut self, stream: StreamId, port: LocalPort) {
        self.relay.listen(stream, port.token);
    }

    fn bind(&mut self, stream: Option<StreamId>, port: LocalPort) -> StreamId {
        match stream {
            Some(id) => {
                self.relay.attach(id, port.token, port.address);
                id
            }
            None => self.relay.add(self.now, port.token, port.address, self.owner_call),
        }
    }
}
