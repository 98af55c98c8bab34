//! One side of a call over real sockets: plain RTP, SDES, DTLS-SRTP, with or without ICE.
//!
//! A [`Peer`] writes its description and reads the daemon's, sends numbered RTP packets, and holds what arrives against
//! what the other side said. It waits for nothing: `poll` does what is due. A [`Call`] is two peers and the signalling
//! between them, as a SIP proxy has it.

mod call;
mod description;
mod voice;

pub use call::{Call, connect, drive};
pub use description::Remote;
pub use voice::{Hearing, Voice};

use crate::system;
use description::{read, write};
use millrace::base::id::PortToken;
use millrace::base::random::{Random, Seeded};
use millrace::base::secret::Secret;
use millrace::base::suite::Suite;
use millrace::base::time::Unix;
use millrace::dtls::{self, Association, CertificateKind, Connected, Contexts, Identity, Role, Signature};
use millrace::ice::{self, Agent, Configuration, Credentials, LocalCandidate};
use millrace::io::clock;
use millrace::io::random::SystemRandomness;
use millrace::sdp::Crypto;
use millrace::sdp::crypto::SessionParameters;
use millrace::srtp::{MasterKey, Parameters, Protector, Unprotector};
use millrace::wire::demux::{Protocol, classify};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

/// More than any suite appends.
const ROOM_BYTES: usize = 256;
const SOCKET_BUFFER_BYTES: i32 = 4 << 20;

/// How media is protected.
#[derive(Clone)]
pub enum Keying {
    Plain,
    /// Keys in the description, for each of the suites.
    Sdes(Vec<Suite>),
    /// A handshake with this certificate.
    Dtls(Arc<Contexts>),
}

/// What a peer is.
#[derive(Clone)]
pub struct Settings {
    pub keying: Keying,
    pub has_ice: bool,
    /// RTP and RTCP on one port. Without it, RTCP has the next one.
    pub is_muxed: bool,
    /// Of a hundred datagrams so many are lost, on each way.
    pub loss_percent: u32,
    /// The address that its descriptions give, if it is not its own.
    pub claims: Option<IpAddr>,
}

/// A new certificate with default settings.
pub fn new_contexts() -> Result<Arc<Contexts>, String> {
    let now = Unix(clock::unix().0);
    let identity = Identity::generate(CertificateKind::EcdsaP256, Signature::Sha256, now);
    let identity = identity.map_err(|error| error.to_string())?;
    let contexts = Contexts::new(Arc::new(identity), &dtls::Settings::default(), &mut SystemRandomness::new());
    contexts.map(Arc::new).map_err(|error| error.to_string())
}

/// One side of a call.
pub struct Peer {
    media: UdpSocket,
    control: Option<UdpSocket>,
    at: SocketAddr,
    settings: Settings,
    random: Seeded,
    offered: Vec<Crypto>,
    agent: Option<Agent>,
    association: Option<Association>,
    /// The certificate that a description shows, where it is not the one that handshakes are done with.
    shown: Option<Arc<Contexts>>,
    remote: Option<Remote>,
    outbound: Option<Protector>,
    inbound: Option<Unprotector>,
    version: u32,
    pub voice: Voice,
    /// Packets that `say` has sent.
    pub said: u32,
    pub hearing: Hearing,
    /// RTCP that arrived, unprotected.
    pub reports: Vec<Vec<u8>>,
    /// SRTP and SRTCP that could not be unprotected.
    pub refused: usize,
    /// What went wrong with handshakes.
    pub failures: Vec<String>,
}

impl Peer {
    /// A peer on one socket, or with a second one for RTCP where ports are not shared. `seed` makes its SSRC.
    pub fn new(media: UdpSocket, control: Option<UdpSocket>, settings: Settings, seed: u64) -> io::Result<Peer> {
        let mut random = Seeded(seed);
        for socket in [Some(&media), control.as_ref()].into_iter().flatten() {
            socket.set_nonblocking(true)?;
            system::set_buffers(socket, SOCKET_BUFFER_BYTES)?;
        }
        let at = media.local_addr()?;
        let voice = Voice { ssrc: random.u32(), first_sequence: random.u32() as u16 & 0x3fff };
        Ok(Peer {
            media,
            control,
            at,
            settings,
            offered: Vec::new(),
            agent: None,
            association: None,
            shown: None,
            remote: None,
            outbound: None,
            inbound: None,
            version: 0,
            voice,
            said: 0,
            hearing: Hearing::of(voice),
            reports: Vec::new(),
            refused: 0,
            failures: Vec::new(),
            random,
        })
    }

    /// Where it sends from and wants to receive.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// What the daemon's description said.
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// The agent, where ICE is done.
    pub fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref()
    }

    /// What unprotects the other side's packets.
    pub fn outbound(&mut self) -> Option<&mut Protector> {
        self.outbound.as_mut()
    }

    /// Does handshakes with another certificate than its descriptions show, from a new handshake on.
    pub fn pretend(&mut self, contexts: &Arc<Contexts>) {
        self.shown = self.shown_contexts();
        self.settings.keying = Keying::Dtls(Arc::clone(contexts));
        self.shake_hands_anew();
    }

    /// Begins a new handshake, in the same role, with the certificate that its descriptions show.
    pub fn be_honest(&mut self) {
        if let Some(shown) = self.shown.take() {
            self.settings.keying = Keying::Dtls(shown);
        }
        self.shake_hands_anew();
    }

    fn shake_hands_anew(&mut self) {
        (self.inbound, self.outbound) = (None, None);
        if let (Some(association), Keying::Dtls(contexts)) = (&self.association, &self.settings.keying) {
            self.association = Some(Association::new(Arc::clone(contexts), association.role(), None));
        }
    }

    fn shown_contexts(&self) -> Option<Arc<Contexts>> {
        match &self.settings.keying {
            Keying::Dtls(contexts) => Some(Arc::clone(self.shown.as_ref().unwrap_or(contexts))),
            _ => None,
        }
    }

    /// An offer; the next one of a call has the same keys, and with `restarts` new ICE credentials.
    pub fn offer(&mut self, restarts: bool) -> String {
        let is_muxed = self.settings.is_muxed;
        if let (Keying::Sdes(suites), true) = (&self.settings.keying, self.offered.is_empty()) {
            let lines = suites.iter().zip(1..).map(|(suite, tag)| new_crypto(*suite, tag, &mut self.random));
            self.offered = lines.collect();
        }
        self.prepare_agent(ice::Role::Controlling, restarts);
        self.version += 1;
        write(self, self.version, &self.offered, "actpass", is_muxed)
    }

    /// Takes the daemon's offer and answers it; an offer with new ICE credentials is a restart (RFC 8445, section 9).
    pub fn answer(&mut self, offer: &str) -> Result<String, String> {
        let remote = read(offer)?;
        let known = self.agent.as_ref().and_then(Agent::remote_credentials);
        let restarts = known.is_some_and(|known| remote.ice.as_ref().is_some_and(|ice| ice.credentials != *known));
        let is_muxed = self.settings.is_muxed && remote.is_muxed;
        self.prepare_agent(ice::Role::Controlled, restarts);
        let mut chosen = Vec::new();
        if let Keying::Sdes(suites) = &self.settings.keying {
            let line = remote.crypto.iter().find(|line| suites.contains(&line.suite));
            let theirs = line.ok_or_else(|| format!("none of our suites in\n{offer}"))?;
            let known = self.offered.first().filter(|own| own.suite == theirs.suite && own.tag == theirs.tag).cloned();
            let own = known.unwrap_or_else(|| new_crypto(theirs.suite, theirs.tag, &mut self.random));
            self.use_keys(&own, theirs)?;
            chosen.push(own);
        }
        self.offered.clone_from(&chosen);
        self.take_remote(remote, Role::Client);
        self.version += 1;
        Ok(write(self, self.version, &chosen, "active", is_muxed))
    }

    /// Takes the daemon's answer to `offer`.
    pub fn accept(&mut self, answer: &str) -> Result<(), String> {
        let remote = read(answer)?;
        if let Keying::Sdes(_) = self.settings.keying {
            let theirs = remote.crypto.first().ok_or_else(|| format!("no key in\n{answer}"))?;
            let own = self.offered.iter().find(|own| own.tag == theirs.tag).ok_or("a tag that was not offered")?;
            self.use_keys(&own.clone(), theirs)?;
        }
        let role = if remote.setup.as_deref() == Some("active") { Role::Server } else { Role::Client };
        self.take_remote(remote, role);
        Ok(())
    }

    fn take_remote(&mut self, remote: Remote, role: Role) {
        if let (Keying::Dtls(contexts), None) = (&self.settings.keying, &self.association) {
            self.association = Some(Association::new(Arc::clone(contexts), role, None));
        }
        if let (Some(agent), Some(description)) = (&mut self.agent, &remote.ice) {
            agent.set_remote(clock::mono(), description.clone());
        }
        self.remote = Some(remote);
    }

    fn prepare_agent(&mut self, role: ice::Role, restarts: bool) {
        if !self.settings.has_ice {
            return;
        }
        let credentials = Credentials::generate(&mut self.random);
        match &mut self.agent {
            Some(agent) if restarts => agent.restart(credentials),
            Some(_) => {}
            None => {
                let tie_breaker = u64::from(self.random.u32()) << 32 | u64::from(self.random.u32());
                let configuration =
                    Configuration { role, is_lite: false, credentials, tie_breaker, component_count: 1 };
                let mut agent = Agent::new(configuration);
                let local =
                    LocalCandidate { component: 1, address: self.at, local_preference: 65_535, token: PortToken(0) };
                agent.add_local(clock::mono(), local);
                self.agent = Some(agent);
            }
        }
    }

    /// Keys that stay as they were go on where they were.
    fn use_keys(&mut self, own: &Crypto, theirs: &Crypto) -> Result<(), String> {
        let (own, theirs) = (parameters(own).ok_or("a bad key")?, parameters(theirs).ok_or("a bad key")?);
        self.outbound.get_or_insert_with(|| Protector::new(&own));
        self.inbound.get_or_insert_with(|| Unprotector::new(&theirs));
        Ok(())
    }

    /// Whether media can be sent.
    pub fn is_ready(&self) -> bool {
        let has_keys = matches!(self.settings.keying, Keying::Plain) || self.outbound.is_some();
        has_keys && self.destination().is_some()
    }

    /// Where media goes: where ICE says, else where the description does.
    pub fn destination(&self) -> Option<SocketAddr> {
        match &self.agent {
            Some(agent) => agent.selected(1).map(|pair| pair.remote),
            None => self.remote.as_ref().map(|remote| remote.media),
        }
    }

    /// Sends the next packet of its voice, once media can be sent.
    pub fn say(&mut self) {
        if self.is_ready() {
            let packet = self.next_packet();
            self.send(&packet);
        }
    }

    /// The next packet of its voice, protected, which is then taken for sent.
    pub fn next_packet(&mut self) -> Vec<u8> {
        self.said += 1;
        let packet = self.voice.packet(self.said - 1);
        self.protect(&packet)
    }

    /// Sends a plain RTCP compound, protected where the call is.
    pub fn report(&mut self, compound: &[u8]) {
        let packet = self.protect(compound);
        let Some(remote) = &self.remote else { return };
        match &self.control {
            Some(control) if !remote.is_muxed => drop(control.send_to(&packet, remote.control)),
            _ => self.send(&packet),
        }
    }

    /// A packet as it goes over the wire.
    pub fn protect(&mut self, packet: &[u8]) -> Vec<u8> {
        let Some(outbound) = &mut self.outbound else { return packet.to_vec() };
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + ROOM_BYTES, 0);
        let length = match classify(packet) {
            Protocol::Rtcp => outbound.protect_rtcp(&mut buffer, packet.len()),
            _ => outbound.protect_rtp(&mut buffer, packet.len()),
        };
        buffer.truncate(length.unwrap_or(0));
        buffer
    }

    /// Sends bytes as they are to where media goes.
    pub fn send(&mut self, datagram: &[u8]) {
        if let Some(to) = self.destination() {
            self.send_to(datagram, to);
        }
    }

    /// Closes the port that media comes to: the host refuses what is still sent there.
    ///
    /// # Errors
    /// When there is no other port to be had.
    pub fn hang_up(&mut self) -> io::Result<()> {
        self.media = UdpSocket::bind("127.0.0.1:0")?;
        self.media.set_nonblocking(true)
    }

    /// Sends with IP options from now on, or without.
    pub fn set_ip_options(&self, is_on: bool) -> io::Result<()> {
        // Record route (RFC 791, section 3.1) with room for one address, and an end.
        let options: &[u8] = if is_on { &[7, 7, 4, 0, 0, 0, 0, 0] } else { &[] };
        system::set_ip_options(&self.media, options)
    }

    /// A full socket buffer and a port that is closed both count as loss on the way.
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) {
        if !self.is_lost() {
            let _ = self.media.send_to(datagram, to);
        }
    }

    fn is_lost(&mut self) -> bool {
        self.settings.loss_percent > 0 && self.random.below(100) < self.settings.loss_percent
    }

    /// Reads what has arrived and does what is due.
    pub fn poll(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        while let Some((size, from)) = receive(&self.media, &mut buffer) {
            if !self.is_lost() {
                self.take(from, &mut buffer[..size]);
            }
        }
        while let Some((size, _)) = self.control.as_ref().and_then(|control| receive(control, &mut buffer)) {
            self.take_packet(&mut buffer[..size]);
        }
        self.check_connectivity();
        self.shake_hands(None);
    }

    fn take(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        match (classify(datagram), &mut self.agent) {
            (Protocol::Stun, Some(agent)) => {
                let mut out = Vec::new();
                let mut sink = |_: PortToken, to: SocketAddr, bytes: &[u8]| out.push((to, bytes.to_vec()));
                agent.stun(clock::mono(), PortToken(0), from, datagram, &mut sink);
                out.into_iter().for_each(|(to, bytes)| self.send_to(&bytes, to));
            }
            (Protocol::Dtls, _) if self.association.is_some() => self.shake_hands(Some(datagram)),
            _ => self.take_packet(datagram),
        }
    }

    fn take_packet(&mut self, datagram: &mut [u8]) {
        let is_report = classify(datagram) == Protocol::Rtcp;
        let length = match &mut self.inbound {
            Some(inbound) if is_report => inbound.unprotect_rtcp(datagram),
            Some(inbound) => inbound.unprotect_rtp(datagram),
            None => Ok(datagram.len()),
        };
        match length {
            Ok(length) if is_report => self.reports.push(datagram[..length].to_vec()),
            Ok(length) => self.hearing.take(&datagram[..length]),
            Err(_) => self.refused += 1,
        }
    }

    fn check_connectivity(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let now = clock::mono();
        let mut out = Vec::new();
        if agent.next_due().is_some_and(|due| due <= now) {
            let mut sink = |_: PortToken, to: SocketAddr, bytes: &[u8]| out.push((to, bytes.to_vec()));
            agent.timer(now, &mut self.random, &mut sink);
        }
        while agent.next_event().is_some() {}
        out.into_iter().for_each(|(to, bytes)| self.send_to(&bytes, to));
    }

    fn shake_hands(&mut self, datagram: Option<&[u8]>) {
        let destination = self.destination();
        let Some(association) = &mut self.association else { return };
        let Some(to) = destination else { return };
        association.start();
        match datagram {
            Some(datagram) => association.datagram(datagram),
            None if association.next_timeout().is_some_and(|left| left.is_zero()) => association.timer(),
            None => {}
        }
        let mut out = Vec::new();
        while let Some(datagram) = association.poll_transmit() {
            out.push(datagram);
        }
        while let Some(event) = association.poll_event() {
            match event {
                dtls::Event::Connected(connected) => {
                    let signalled = self.remote.as_ref().map(|remote| remote.fingerprints.clone());
                    if connected.matches(&signalled.unwrap_or_default()) {
                        (self.inbound, self.outbound) = sessions(&connected);
                    } else {
                        self.failures.push("the daemon's certificate is another".to_owned());
                    }
                }
                dtls::Event::Failed(why) => self.failures.push(why),
                dtls::Event::Closed => self.failures.push("closed".to_owned()),
            }
        }
        out.into_iter().for_each(|datagram| self.send_to(&datagram, to));
    }
}

/// The next datagram, if one is there. An ICMP message about an earlier one counts as nothing.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(buffer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.recv_from(buffer).ok(),
        result => result.ok(),
    }
}

fn new_crypto(suite: Suite, tag: u32, random: &mut Seeded) -> Crypto {
    let master = MasterKey::generate(suite, random);
    let key = Secret::new(&[master.key(), master.salt()].concat());
    Crypto { tag, suite, key, mki: None, parameters: SessionParameters::default() }
}

fn parameters(crypto: &Crypto) -> Option<Parameters> {
    MasterKey::from_concatenated(crypto.suite, crypto.key.expose()).map(|master| Parameters::new(crypto.suite, master))
}

fn sessions(connected: &Connected) -> (Option<Unprotector>, Option<Protector>) {
    let parameters = |key: &dtls::MasterKey| {
        MasterKey::new(connected.suite, &key.key, &key.salt).map(|master| Parameters::new(connected.suite, master))
    };
    let inbound = parameters(&connected.remote).map(|parameters| Unprotector::new(&parameters));
    (inbound, parameters(&connected.local).map(|parameters| Protector::new(&parameters)))
}
