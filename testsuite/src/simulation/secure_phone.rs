//! A phone that speaks SRTP, with keys in its description or from a handshake, and ICE where that is wanted.

use super::world::{Datagram, World};
use millrace::base::id::PortToken;
use millrace::base::random::Seeded;
use millrace::base::suite::{HashFunction, Suite};
use millrace::base::time::Mono;
use millrace::dtls::{Association, Event, Role};
use millrace::ice::{self, Agent, Candidate, Configuration, Credentials, LocalCandidate, RemoteDescription};
use millrace::sdp::{Attribute, Crypto, MediaSection, SessionDescription};
use millrace::srtp::{MasterKey, Parameters, Protector, Unprotector};
use millrace::wire::demux::{self, Protocol};
use millrace::wire::rtp::Header;
use std::net::SocketAddr;

/// Where a phone's keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    None,
    Sdes(Suite),
    Dtls,
}

/// One media of a phone, RTP and RTCP on one port.
pub struct SecurePhone {
    pub local: SocketAddr,
    keys: Keys,
    ice: Option<Agent>,
    /// What was offered or answered last.
    own_key: Option<Crypto>,
    association: Option<Association>,
    inbound: Option<Unprotector>,
    outbound: Option<Protector>,
    remote: Option<SocketAddr>,
    sequence: u16,
    ssrc: u32,
    /// RTP payloads that arrived and were authentic.
    pub heard: Vec<Vec<u8>>,
    /// Datagrams that arrived and were not.
    pub refused: usize,
}

impl SecurePhone {
    /// A phone at `local`.
    pub fn new(local: SocketAddr, keys: Keys, has_ice: bool) -> SecurePhone {
        let ssrc = u32::from(local.port());
        let agent = || {
            let credentials = Credentials::generate(&mut Seeded(u64::from(ssrc)));
            let mut agent = Agent::new(Configuration {
                role: ice::Role::Controlling,
                is_lite: false,
                credentials,
                tie_breaker: u64::from(ssrc),
                component_count: 1,
            });
            let token = PortToken(0);
            agent.add_local(Mono(0), LocalCandidate { component: 1, address: local, local_preference: 65535, token });
            agent
        };
        SecurePhone {
            local,
            keys,
            ice: has_ice.then(agent),
            own_key: None,
            association: None,
            inbound: None,
            outbound: None,
            remote: None,
            sequence: 100,
            ssrc,
            heard: Vec::new(),
            refused: 0,
        }
    }

    /// The lines of this phone's description that concern transport, with `setup` for a handshake.
    pub fn attributes(&mut self, world: &World, setup: &str) -> String {
        let mut text = "a=rtcp-mux\r\n".to_owned();
        match self.keys {
            Keys::None => {}
            Keys::Sdes(suite) => {
                let key = MasterKey::generate(suite, &mut Seeded(u64::from(self.ssrc)));
                let crypto = crypto(suite, &key);
                text.push_str(&format!("a={}\r\n", crypto.attribute(false, false)));
                self.own_key = Some(crypto);
            }
            Keys::Dtls => {
                let contexts = world.contexts();
                let fingerprint = contexts.identity().fingerprint(HashFunction::Sha256);
                text.push_str(&format!("a=setup:{setup}\r\na=fingerprint:{fingerprint}\r\n"));
            }
        }
        if let Some(agent) = &self.ice {
            let Credentials { ufrag, password } = agent.credentials();
            let candidate = Candidate::host("1".to_owned(), 1, self.local, 65535);
            text.push_str(&format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=candidate:{candidate}\r\n"));
        }
        text
    }

    /// A whole description with one audio media.
    pub fn describe(&mut self, world: &World, protocol: &str, setup: &str) -> String {
        let (ip, port) = (self.local.ip(), self.local.port());
        let attributes = self.attributes(world, setup);
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} {protocol} 8\r\na=rtpmap:8 PCMA/8000\r\n{attributes}"
        )
    }

    /// Takes in the section of what the daemon has shown. `is_client` begins a handshake.
    pub fn take(&mut self, world: &World, shown: &SessionDescription, place: usize, is_client: bool) {
        let section: &MediaSection = &shown.medias[place];
        let address = section.connection.or(shown.session.connection).expect("an address").address;
        self.remote = Some(SocketAddr::new(address, section.port));
        let chosen = section.attributes.iter().filter(|attribute| attribute.name == "crypto");
        let chosen: Vec<Crypto> = chosen.filter_map(Crypto::parse).collect();
        if let Keys::Sdes(suite) = self.keys {
            let theirs = chosen.iter().find(|crypto| crypto.suite == suite).expect("the suite was taken");
            let own = self.own_key.as_ref().expect("described before");
            self.set_keys(&parameters(theirs), &parameters(own));
        }
        if self.keys == Keys::Dtls {
            let role = if is_client { Role::Client } else { Role::Server };
            self.association = Some(Association::new(world.contexts(), role, None));
        }
        if let Some(agent) = &mut self.ice {
            let text = |name: &str| section.attribute(name).map(|attribute| attribute.value().to_owned());
            let credentials =
                Credentials { ufrag: text("ice-ufrag").expect("ICE"), password: text("ice-pwd").expect("ICE") };
            let candidates = section.attributes.iter().filter(|attribute| attribute.name == "candidate");
            agent.set_remote(
                world.now.mono,
                RemoteDescription {
                    credentials,
                    is_lite: shown.session.attributes.iter().any(|attribute| attribute.name == "ice-lite"),
                    candidates: candidates
                        .map(Attribute::value)
                        .filter_map(|text| Candidate::parse(text).ok())
                        .collect(),
                    is_trickling: false,
                    has_ended: true,
                },
            );
        }
    }

    fn set_keys(&mut self, receive: &Parameters, send: &Parameters) {
        self.inbound = Some(Unprotector::new(receive));
        self.outbound = Some(Protector::new(send));
    }

    /// Whether keys are there, where there shall be some.
    pub fn is_keyed(&self) -> bool {
        self.keys == Keys::None || self.outbound.is_some()
    }

    /// What the phone has to say of its own accord.
    pub fn poll(&mut self, now: Mono) -> Vec<Datagram> {
        let mut sent = Vec::new();
        let local = self.local;
        if let Some(agent) = &mut self.ice {
            let mut out = |_: PortToken, to: SocketAddr, bytes: &[u8]| {
                sent.push(Datagram { from: local, to, bytes: bytes.to_vec() });
            };
            if agent.next_due().is_some_and(|due| due <= now) {
                agent.timer(now, &mut Seeded(now.0), &mut out);
            }
            while let Some(event) = agent.next_event() {
                if let ice::Event::Selected(pair) = event {
                    self.remote = Some(pair.remote);
                }
            }
        }
        let is_ready = self.ice.as_ref().is_none_or(|agent| agent.selected(1).is_some());
        if let (Some(association), Some(to), true) = (&mut self.association, self.remote, is_ready) {
            association.start();
            association.timer();
            let mut connected = None;
            while let Some(event) = association.poll_event() {
                if let Event::Connected(keys) = event {
                    connected = Some(keys);
                }
            }
            while let Some(bytes) = association.poll_transmit() {
                sent.push(Datagram { from: local, to, bytes });
            }
            if let Some(keys) = connected {
                let of = |key: &millrace::dtls::MasterKey| {
                    let master = MasterKey::new(keys.suite, &key.key, &key.salt).expect("the suite's lengths");
                    Parameters::new(keys.suite, master)
                };
                self.set_keys(&of(&keys.remote), &of(&keys.local));
            }
        }
        sent
    }

    /// An RTP packet with `payload`.
    pub fn say(&mut self, payload: &[u8]) -> Datagram {
        let to = self.remote.expect("somebody to talk to");
        self.sequence = self.sequence.wrapping_add(1);
        let timestamp = u32::from(self.sequence) * 160;
        let header = Header { marker: false, payload_type: 8, sequence: self.sequence, timestamp, ssrc: self.ssrc };
        let mut bytes = header.write(payload);
        if let Some(outbound) = &mut self.outbound {
            let length = bytes.len();
            bytes.resize(length + outbound.rtp_appended_bytes(), 0);
            let whole = outbound.protect_rtp(&mut bytes, length).expect("there is room");
            bytes.truncate(whole);
        }
        Datagram { from: self.local, to, bytes }
    }

    /// A datagram has arrived.
    pub fn hear(&mut self, now: Mono, datagram: &Datagram) -> Vec<Datagram> {
        let mut bytes = datagram.bytes.clone();
        let mut sent = Vec::new();
        match demux::classify(&bytes) {
            Protocol::Stun => {
                let local = self.local;
                if let Some(agent) = &mut self.ice {
                    let mut out = |_: PortToken, to: SocketAddr, bytes: &[u8]| {
                        sent.push(Datagram { from: local, to, bytes: bytes.to_vec() });
                    };
                    agent.stun(now, PortToken(0), datagram.from, &bytes, &mut out);
                }
            }
            Protocol::Dtls => {
                if let Some(association) = &mut self.association {
                    association.datagram(&bytes);
                }
            }
            _ => {
                let length = match (&mut self.inbound, self.keys) {
                    (_, Keys::None) => Some(bytes.len()),
                    (Some(inbound), _) => inbound.unprotect_rtp(&mut bytes).ok(),
                    (None, _) => None,
                };
                match length {
                    Some(length) => self.heard.push(bytes[12..length].to_vec()),
                    None => self.refused += 1,
                }
            }
        }
        sent.extend(self.poll(now));
        sent
    }
}

fn crypto(suite: Suite, key: &MasterKey) -> Crypto {
    let key = millrace::base::secret::Secret::new(&[key.key(), key.salt()].concat());
    Crypto { tag: 1, suite, key, mki: None, parameters: Default::default() }
}

fn parameters(crypto: &Crypto) -> Parameters {
    let master = MasterKey::from_concatenated(crypto.suite, crypto.key.expose()).expect("the suite's lengths");
    Parameters::new(crypto.suite, master)
}
