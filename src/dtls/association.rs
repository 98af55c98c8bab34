//! One DTLS association: a handshake, its keys, and what remains of it.

use super::bindings::{self, Timeout};
use super::contexts::Contexts;
use super::datagrams::Datagrams;
use super::fingerprint::any_matches;
use super::keys::{self, Agreed, MasterKey};
use super::record::{self, Seen};
use crate::base::fingerprint::Fingerprint;
use crate::base::suite::Suite;
use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, SslStream};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A client's attempts that may break off before it gives up.
const CLIENT_ATTEMPTS_MAX: u8 = 4;
/// OpenSSL's reasons for errors: this one, and for a peer's alert this number and more.
const READ_TIMEOUT_EXPIRED: i32 = 312;
const FIRST_ALERT_REASON: i32 = 1000;

/// Who begins the handshake: `a=setup:active` makes the client, `passive` the server (RFC 5763, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

impl Role {
    fn other(self) -> Role {
        match self {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }
}

/// What a handshake has agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    pub suite: Suite,
    /// Protects what we send.
    pub local: MasterKey,
    /// Protects what the peer sends.
    pub remote: MasterKey,
    pub peer_certificate_der: Vec<u8>,
}

impl Connected {
    /// Whether the peer is who it was signalled to be. The keys are worth nothing until this is true (RFC 5763,
    /// section 5); the rule is that of [`any_matches`].
    pub fn matches(&self, signalled: &[Fingerprint]) -> bool {
        any_matches(signalled, &self.peer_certificate_der)
    }
}

/// What an association has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done. It happens once, unless the association is restarted.
    Connected(Box<Connected>),
    /// There are no keys, with the reason. A server goes on waiting for a client, a client waits for `restart`.
    Failed(String),
    /// The peer has ended the association (close_notify or a fatal alert, both protected). The keys stay as they are.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A server without a client, or a client before its start.
    Waiting,
    Handshake,
    /// A client whose attempt broke off, and which lets pass what still comes for that one.
    Pause,
    Connected,
    /// A client that has given up, or an association that has ended.
    Over,
}

/// One end of a DTLS association. Times are not passed in: OpenSSL reads its own clock.
///
/// Call `poll_transmit` and `poll_event` until they are empty after every other call, and then ask `next_timeout`.
pub struct Association {
    contexts: Arc<Contexts>,
    role: Role,
    verified_address: Option<SocketAddr>,
    phase: Phase,
    stream: Option<SslStream<Datagrams>>,
    client_random: Option<[u8; 32]>,
    /// Unprotected records taken, which are numbered anew.
    plain_records: u64,
    broken_off: u8,
    problem: Option<String>,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Association {
    /// An association that has sent nothing yet. A server needs no start.
    ///
    /// With `verified_address`, a server answers a first ClientHello with a cookie, and holds on only when the client
    /// shows it: for peers whose address no ICE check has verified. It means nothing to a client.
    pub fn new(contexts: Arc<Contexts>, role: Role, verified_address: Option<SocketAddr>) -> Association {
        Association {
            contexts,
            role,
            verified_address,
            phase: Phase::Waiting,
            stream: None,
            client_random: None,
            plain_records: 0,
            broken_off: 0,
            problem: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// What last went wrong on the way to keys, for logs; an alert that anybody can have sent is named as such.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Sends a client's first flight. Does nothing for a server, and nothing twice.
    pub fn start(&mut self) {
        if self.role == Role::Client && self.phase == Phase::Waiting && self.open() {
            self.shake_hands();
        }
    }

    /// Forgets everything but the identity; a client begins anew at once. Datagrams and events not yet taken are lost.
    pub fn restart(&mut self) {
        *self = Association::new(self.contexts.clone(), self.role, self.verified_address);
        self.start();
    }

    /// Takes a datagram that came from the peer. Whatever it holds, it does not end a handshake for good.
    pub fn datagram(&mut self, datagram: &[u8]) {
        let seen = record::screen(datagram, self.role.other(), self.phase == Phase::Connected, &mut self.plain_records);
        if let Some(alert) = seen.plain_alert
            && self.phase == Phase::Handshake
        {
            self.problem = Some(format!("an alert of number {alert} came unprotected, and was not believed"));
        }
        if seen.kept.is_empty() {
            return;
        }
        match self.phase {
            Phase::Over | Phase::Pause => {}
            Phase::Connected => self.read(seen.kept),
            Phase::Waiting | Phase::Handshake => self.answer(seen),
        }
    }

    /// How long until `timer` is to be called, from now by OpenSSL's clock; none where nothing is awaited.
    pub fn next_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Handshake => bindings::remaining(self.stream.as_ref()?.ssl()),
            Phase::Pause => Some(self.contexts.first_timeout()),
            Phase::Waiting | Phase::Connected | Phase::Over => None,
        }
    }

    /// Repeats the last flight if it is time. Called early, it does nothing but end a client's pause.
    pub fn timer(&mut self) {
        if self.phase == Phase::Pause {
            if self.open() {
                self.shake_hands();
            }
            return;
        }
        let Some(stream) = self.stream.as_mut().filter(|_| self.phase == Phase::Handshake) else { return };
        let timeout = bindings::handle_timeout(stream);
        self.take_outgoing();
        if timeout == Timeout::GivenUp {
            self.time_out();
        }
    }

    /// Forgets all but the fact that there are keys: some 40 kB. A last flight is then repeated no more, and a farewell
    /// neither sent nor heard. To be called once the peer is known to have its keys, as its SRTP was authenticated.
    pub fn release(&mut self) {
        if self.phase == Phase::Connected {
            self.stream = None;
        }
    }

    /// Says to the peer that the association ends (close_notify), if there is one.
    pub fn close(&mut self) {
        if let Some(stream) = self.stream.as_mut().filter(|_| self.phase == Phase::Connected) {
            if bindings::allocate_buffers(stream) {
                // The farewell is one datagram that nobody waits for.
                let _ = stream.shutdown();
            }
            self.take_outgoing();
        }
        self.end(Phase::Over);
    }

    /// The next datagram to send to the peer.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let datagram = self.transmits.pop_front();
        if datagram.is_none() && self.phase == Phase::Connected {
            self.transmits = VecDeque::new();
        }
        datagram
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A new attempt. False where OpenSSL could not make one, which is told as a failure.
    fn open(&mut self) -> bool {
        self.client_random = None;
        let ssl = self.contexts.open(self.role, self.verified_address);
        match ssl.and_then(|ssl| SslStream::new(ssl, Datagrams::default())) {
            Ok(stream) => {
                self.stream = Some(stream);
                self.phase = Phase::Handshake;
                true
            }
            Err(errors) => {
                self.fail(reason(&errors));
                false
            }
        }
    }

    /// A datagram of the handshake. A server begins with a ClientHello, and anew with that of another handshake.
    fn answer(&mut self, seen: Seen) {
        if let Some(random) = seen.client_random
            && self.client_random != Some(random)
        {
            if !self.open() {
                return;
            }
            self.client_random = Some(random);
        }
        let Some(stream) = &mut self.stream else { return };
        stream.get_mut().incoming = Some(seen.kept);
        self.shake_hands();
    }

    fn shake_hands(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let result = stream.do_handshake();
        stream.get_mut().incoming = None;
        self.take_outgoing();
        match result {
            Ok(()) => self.finish(),
            Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => {}
            Err(error) => match error.ssl_error() {
                Some(errors) if last_reason(errors) == READ_TIMEOUT_EXPIRED => self.time_out(),
                errors => self.break_off(errors.map_or_else(|| error.to_string(), reason)),
            },
        }
    }

    /// The keys of a handshake that OpenSSL calls done.
    fn finish(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let agreed = keys::agreed(stream.ssl(), self.role);
        let certificate = stream.ssl().peer_certificate().map(|certificate| certificate.to_der());
        bindings::free_buffers(stream);
        match (agreed, certificate) {
            (Ok(Some(Agreed { suite, local, remote })), Some(Ok(peer_certificate_der))) => {
                self.phase = Phase::Connected;
                self.problem = None;
                let connected = Connected { suite, local, remote, peer_certificate_der };
                self.events.push_back(Event::Connected(Box::new(connected)));
            }
            (Ok(None), _) => self.fail("the peer agreed on no protection profile for SRTP".into()),
            (Err(errors), _) | (_, Some(Err(errors))) => self.fail(reason(&errors)),
            (_, None) => self.fail("the peer showed no certificate".into()),
        }
    }

    /// A datagram after the handshake: the peer repeats its last flight for want of ours, or says farewell.
    fn read(&mut self, datagram: Vec<u8>) {
        let Some(stream) = &mut self.stream else { return };
        if !bindings::allocate_buffers(stream) {
            return;
        }
        stream.get_mut().incoming = Some(datagram);
        // Data of applications (RFC 8261) has no receiver here.
        let mut ignored = [0; 2048];
        let error = loop {
            if let Err(error) = stream.ssl_read(&mut ignored) {
                break error;
            }
        };
        stream.get_mut().incoming = None;
        if error.code() == ErrorCode::ZERO_RETURN {
            // The answer to a farewell (RFC 5246, section 7.2.1).
            let _ = stream.shutdown();
        }
        bindings::free_buffers(stream);
        self.take_outgoing();
        let is_alert = error.ssl_error().is_some_and(|errors| last_reason(errors) >= FIRST_ALERT_REASON);
        match error.code() {
            ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => {}
            code if code == ErrorCode::ZERO_RETURN || is_alert => {
                self.end(Phase::Over);
                self.events.push_back(Event::Closed);
            }
            // OpenSSL repeats a last flight no more: there are keys all the same.
            _ => self.stream = None,
        }
    }

    /// An attempt that an error ended: it can come from a forged message, so another one may follow.
    fn break_off(&mut self, reason: String) {
        self.broken_off = self.broken_off.saturating_add(1);
        match self.role {
            Role::Server => {
                self.problem = Some(reason);
                self.end(Phase::Waiting);
            }
            Role::Client if self.broken_off < CLIENT_ATTEMPTS_MAX => {
                self.problem = Some(reason);
                self.end(Phase::Pause);
            }
            Role::Client => self.fail(reason),
        }
    }

    fn time_out(&mut self) {
        let last = self.problem.take().map(|problem| format!("; before: {problem}")).unwrap_or_default();
        self.fail(format!("the peer has not answered for too long{last}"));
    }

    fn fail(&mut self, reason: String) {
        self.problem = Some(reason.clone());
        self.events.push_back(Event::Failed(reason));
        self.end(match self.role {
            Role::Client => Phase::Over,
            Role::Server => Phase::Waiting,
        });
    }

    fn end(&mut self, phase: Phase) {
        self.stream = None;
        self.client_random = None;
        self.phase = phase;
    }

    fn take_outgoing(&mut self) {
        if let Some(stream) = &mut self.stream {
            let outgoing = &mut stream.get_mut().outgoing;
            self.transmits.append(outgoing);
            *outgoing = VecDeque::new();
        }
    }
}

fn last_reason(errors: &ErrorStack) -> i32 {
    errors.errors().last().map_or(0, |error| error.reason_code())
}

fn reason(errors: &ErrorStack) -> String {
    errors.errors().last().and_then(|error| error.reason()).unwrap_or("an error without a reason").to_owned()
}
