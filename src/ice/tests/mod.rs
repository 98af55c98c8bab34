//! Two agents on a simulated network: virtual time, loss, delay and NAT, all from a seed.

mod attacks;
mod connect;
mod generations;
mod roles;

use super::*;
use crate::base::random::{Random, Seeded};
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

/// The two sides by name.
const OFFERER: usize = 0;
const ANSWERER: usize = 1;

/// How the address that others see differs from a side's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nat {
    None,
    /// One outside port for an inside one; lets in whoever was sent to.
    Restricted,
    /// An outside port for every destination; lets in that destination.
    Symmetric,
}

struct Side {
    agent: Agent,
    ports: Vec<LocalCandidate>,
    random: Seeded,
    events: Vec<(Duration, Event)>,
    nat: Nat,
    /// Inside port, destination and outside address of every binding.
    bindings: Vec<(SocketAddr, SocketAddr, SocketAddr)>,
    sent: usize,
}

#[derive(Debug, Clone)]
struct Flying {
    at: Mono,
    source: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

struct Net {
    now: Mono,
    sides: [Side; 2],
    flying: Vec<Flying>,
    random: Seeded,
    loss_percent: u32,
    delay: Duration,
    /// Datagrams to or from these addresses are lost.
    dead: HashSet<IpAddr>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A side with the ports `component address`, the first preferred.
fn side(seed: u64, role: Role, is_lite: bool, ports: &[(u8, &str)]) -> Side {
    let mut random = Seeded(seed);
    let mut agent = Agent::new(Configuration {
        role,
        is_lite,
        credentials: Credentials::generate(&mut random),
        tie_breaker: u64::from(random.u32()) << 32 | u64::from(random.u32()),
        component_count: ports.iter().map(|(component, _)| *component).max().unwrap(),
    });
    let mut list = Vec::new();
    for (index, (component, text)) in ports.iter().enumerate() {
        let local = LocalCandidate {
            component: *component,
            address: address(text),
            local_preference: 65535 - index as u16,
            token: PortToken(index as u32 + 1),
        };
        agent.add_local(Mono(0), local);
        list.push(local);
    }
    Side { agent, ports: list, random, events: Vec::new(), nat: Nat::None, bindings: Vec::new(), sent: 0 }
}

impl Side {
    /// The outside address of a datagram that the port sends.
    fn outside(&mut self, port: SocketAddr, to: SocketAddr) -> SocketAddr {
        if self.nat == Nat::None {
            return port;
        }
        let shared = self.nat == Nat::Restricted;
        let known = self.bindings.iter().find(|(inside, there, _)| *inside == port && *there == to);
        if let Some((.., outside)) = known {
            return *outside;
        }
        let same = self.bindings.iter().find(|(inside, ..)| shared && *inside == port).map(|(.., outside)| *outside);
        let outside = same.unwrap_or_else(|| address(&format!("198.51.100.9:{}", 20_000 + self.bindings.len())));
        self.bindings.push((port, to, outside));
        outside
    }

    /// The port that a datagram reaches.
    fn port_of(&self, to: SocketAddr, from: SocketAddr) -> Option<PortToken> {
        let inside = match self.nat {
            Nat::None => to,
            _ => self.bindings.iter().find(|(_, there, outside)| *outside == to && *there == from)?.0,
        };
        self.ports.iter().find(|port| port.address == inside).map(|port| port.token)
    }

    fn candidates(&self) -> Vec<Candidate> {
        let host = |port: &LocalCandidate| {
            let foundation = port.address.ip().to_string().replace(['.', ':'], "");
            Candidate::host(foundation, port.component, port.address, port.local_preference)
        };
        self.ports.iter().map(host).collect()
    }

    fn description(&self) -> RemoteDescription {
        RemoteDescription {
            credentials: self.agent.credentials().clone(),
            is_lite: self.agent.is_lite(),
            candidates: self.candidates(),
            is_trickling: false,
            has_ended: false,
        }
    }

    fn selections(&self) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::Selected(_))).count()
    }

    fn has(&self, expected: Event) -> bool {
        self.events.iter().any(|(_, event)| *event == expected)
    }
}

impl Net {
    fn new(offerer: Side, answerer: Side) -> Net {
        Net {
            now: Mono(0) + Duration::from_secs(1000),
            sides: [offerer, answerer],
            flying: Vec::new(),
            random: Seeded(99),
            loss_percent: 0,
            delay: Duration::from_millis(20),
            dead: HashSet::new(),
        }
    }

    /// Two full agents with one port each.
    fn simple(seed: u64) -> Net {
        Net::new(
            side(seed, Role::Controlling, false, &[(1, "192.0.2.1:30000")]),
            side(seed + 1, Role::Controlled, false, &[(1, "203.0.113.1:40000")]),
        )
    }

    fn agent(&mut self, side: usize) -> &mut Agent {
        &mut self.sides[side].agent
    }

    /// Gives each side the other's description.
    fn exchange(&mut self) {
        for index in [OFFERER, ANSWERER] {
            self.describe_to(index, |_| {});
        }
    }

    /// Gives a side the other's description, changed.
    fn describe_to(&mut self, index: usize, change: impl FnOnce(&mut RemoteDescription)) {
        let mut description = self.sides[1 - index].description();
        change(&mut description);
        let now = self.now;
        self.agent(index).set_remote(now, description);
    }

    fn elapsed(&self) -> Duration {
        self.now.since(Mono(0) + Duration::from_secs(1000))
    }

    fn send_all(&mut self, index: usize, datagrams: Vec<(PortToken, SocketAddr, Vec<u8>)>) {
        for (token, to, bytes) in datagrams {
            let side = &mut self.sides[index];
            side.sent += 1;
            let port = side.ports.iter().find(|port| port.token == token).unwrap().address;
            let source = side.outside(port, to);
            let is_lost = self.random.below(100) < self.loss_percent
                || self.dead.contains(&source.ip())
                || self.dead.contains(&to.ip());
            if !is_lost {
                let jitter = Duration::from_micros(u64::from(self.random.below(3000)));
                self.flying.push(Flying { at: self.now + self.delay + jitter, source, to, bytes });
            }
        }
    }

    /// Hands a datagram to a side as if it had arrived, and sends what it answers.
    fn inject(&mut self, index: usize, token: PortToken, from: SocketAddr, bytes: &[u8]) -> (Outcome, usize) {
        let mut answers = Vec::new();
        let now = self.now;
        let outcome = self.agent(index).stun(now, token, from, bytes, &mut |token, to, bytes: &[u8]| {
            answers.push((token, to, bytes.to_vec()));
        });
        let bytes = answers.iter().map(|(.., bytes)| bytes.len()).sum();
        self.send_all(index, answers);
        self.collect_events(index);
        (outcome, bytes)
    }

    fn collect_events(&mut self, index: usize) {
        let at = self.elapsed();
        while let Some(event) = self.sides[index].agent.next_event() {
            self.sides[index].events.push((at, event));
        }
    }

    fn deliver(&mut self, flying: Flying) {
        for index in [OFFERER, ANSWERER] {
            if let Some(token) = self.sides[index].port_of(flying.to, flying.source) {
                self.inject(index, token, flying.source, &flying.bytes);
            }
        }
    }

    fn tick(&mut self, index: usize) {
        let mut datagrams = Vec::new();
        let now = self.now;
        let Side { agent, random, .. } = &mut self.sides[index];
        agent.timer(now, random, &mut |token, to, bytes: &[u8]| datagrams.push((token, to, bytes.to_vec())));
        self.send_all(index, datagrams);
        self.collect_events(index);
        let due = self.sides[index].agent.next_due();
        assert!(due.is_none_or(|due| due > now), "the timer left something due");
    }

    /// Lets time pass until `is_done` or for `limit`; tells whether it was done.
    fn run_until(&mut self, limit: Duration, is_done: impl Fn(&Net) -> bool) -> bool {
        let end = self.now + limit;
        (OFFERER..=ANSWERER).for_each(|index| self.collect_events(index));
        loop {
            if is_done(self) {
                return true;
            }
            let arrival = self.flying.iter().map(|flying| flying.at).min();
            let due = self.sides.iter().filter_map(|side| side.agent.next_due()).min();
            let next = arrival.into_iter().chain(due).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(next);
            if let Some(at) = self.flying.iter().position(|flying| flying.at <= self.now) {
                let flying = self.flying.remove(at);
                self.deliver(flying);
            }
            for index in [OFFERER, ANSWERER] {
                if self.sides[index].agent.next_due().is_some_and(|due| due <= self.now) {
                    self.tick(index);
                }
            }
            if next == end {
                return is_done(self);
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        self.run_until(Duration::from_secs(seconds), |_| false);
    }

    /// Runs until both sides have selected, at most `limit_ms`.
    fn connect(&mut self, limit_ms: u64) {
        let is_done = self
            .run_until(Duration::from_millis(limit_ms), |net| net.sides.iter().all(|side| side.agent.is_complete()));
        let show = |net: &Net| net.sides.iter().map(|side| side.events.clone()).collect::<Vec<_>>();
        assert!(is_done, "no selection in {limit_ms} ms: {:?}", show(self));
    }

    /// Checks that what each side sends on a component reaches the port that the other has selected.
    fn assert_agreement(&mut self) {
        for component in 1..=self.sides[OFFERER].agent.component_count {
            for index in [OFFERER, ANSWERER] {
                let ours = self.sides[index].agent.selected(component).unwrap();
                let theirs = self.sides[1 - index].agent.selected(component).unwrap();
                let source = self.sides[index].outside(ours.local, ours.remote);
                let reached = self.sides[1 - index].port_of(ours.remote, source);
                assert_eq!(reached, Some(theirs.token));
                assert_eq!(source, theirs.remote);
                assert!(self.sides[1 - index].agent.is_validated(component, source));
            }
        }
    }
}

/// A check as a peer with these credentials would send it.
struct Forged<'a> {
    username: Option<(&'a str, &'a str)>,
    password: Option<&'a str>,
    uses_candidate: bool,
    role: Option<crate::wire::stun::RoleAttribute>,
    priority: u32,
    transaction: [u8; 12],
    has_fingerprint: bool,
}

impl<'a> Forged<'a> {
    /// A right one from the agent that `by` is to the agent `to`.
    fn right(to: &'a Agent, by: &'a Agent) -> Forged<'a> {
        Forged {
            username: Some((&to.credentials().ufrag, &by.credentials().ufrag)),
            password: Some(&to.credentials().password),
            uses_candidate: false,
            role: None,
            priority: priority(Kind::PeerReflexive, 65535, 1),
            transaction: [7; 12],
            has_fingerprint: true,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        use crate::wire::stun::{TransactionId, Writer};
        let mut buffer = [0; 1024];
        let mut writer = Writer::new(&mut buffer, Class::Request, BINDING, TransactionId(self.transaction));
        if let Some((receiver, sender)) = self.username {
            writer = writer.username(receiver, sender);
        }
        writer = writer.priority(self.priority);
        if let Some(role) = self.role {
            writer = writer.role(role);
        }
        if self.uses_candidate {
            writer = writer.use_candidate();
        }
        if let Some(password) = self.password {
            writer = writer.integrity(password);
        }
        if self.has_fingerprint {
            writer = writer.fingerprint();
        }
        writer.finish().unwrap().to_vec()
    }
}
