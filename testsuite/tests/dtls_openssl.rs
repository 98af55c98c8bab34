//! DTLS-SRTP with the `openssl` command at the other end, on loopback. Says so and does nothing where it is missing.

use millrace::base::fingerprint::Fingerprint;
use millrace::base::random::Seeded;
use millrace::base::suite::{HashFunction, Suite};
use millrace::base::time::Unix;
use millrace::dtls::{Association, CertificateKind, Connected, Contexts, Event, Identity, Role, Settings, Signature};
use millrace_testsuite::scratch::Scratch;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const LIMIT: Duration = Duration::from_secs(20);
const MATERIAL: &str = "Keying material: ";
/// What the command calls the profile, our name, and the bytes of its keying material.
const PROFILES: &[(&str, Suite, usize)] = &[
    ("SRTP_AES128_CM_SHA1_80", Suite::AesCm128Sha1_80, 60),
    ("SRTP_AES128_CM_SHA1_32", Suite::AesCm128Sha1_32, 60),
    ("SRTP_AEAD_AES_128_GCM", Suite::AeadAes128Gcm, 56),
    ("SRTP_AEAD_AES_256_GCM", Suite::AeadAes256Gcm, 88),
];

/// A command that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself can't be ended again.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command's certificate and key, in files.
struct Peer {
    scratch: Scratch,
    fingerprint: Fingerprint,
}

impl Peer {
    fn make(purpose: &str, key: &[&str]) -> Peer {
        let scratch = Scratch::make(purpose).unwrap();
        let made = Command::new("openssl")
            .current_dir(scratch.path())
            .args(["req", "-x509", "-nodes", "-subj", "/CN=peer", "-keyout", "key.pem", "-out", "certificate.pem"])
            .args(["-newkey"])
            .args(key)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let fingerprint = fingerprint(scratch.path());
        Peer { scratch, fingerprint }
    }

    /// Starts `s_server` or `s_client`.
    fn start(&self, program: &str, address: &[&str], profile: &str, bytes: usize) -> Running {
        let child = Command::new("openssl")
            .current_dir(self.scratch.path())
            .args([program, "-dtls1_2", "-cert", "certificate.pem", "-key", "key.pem", "-use_srtp", profile])
            .args(["-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", &bytes.to_string()])
            .args(address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running(child)
    }
}

/// The certificate's fingerprint as the command tells it.
fn fingerprint(folder: &Path) -> Fingerprint {
    let told = Command::new("openssl")
        .current_dir(folder)
        .args(["x509", "-in", "certificate.pem", "-noout", "-fingerprint", "-sha256"])
        .output()
        .unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    format!("sha-256 {}", text.trim().split_once('=').unwrap().1).parse().unwrap()
}

fn contexts(kind: CertificateKind) -> Arc<Contexts> {
    let now = Unix(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64);
    let identity = Identity::generate(kind, Signature::Sha256, now).unwrap();
    let settings = Settings { mtu_bytes: 576, ..Settings::default() };
    Arc::new(Contexts::new(Arc::new(identity), &settings, &mut Seeded(1)).unwrap())
}

/// Serves an association from a socket until it is connected. A server learns the peer's address from its datagrams.
fn connect(association: &mut Association, socket: &UdpSocket, mut peer: Option<SocketAddr>) -> Connected {
    let begun = Instant::now();
    let mut buffer = [0; 4096];
    association.start();
    loop {
        match association.poll_event() {
            Some(Event::Connected(connected)) => {
                flush(association, socket, peer);
                return *connected;
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        assert!(begun.elapsed() < LIMIT, "no handshake: {:?}", association.problem());
        flush(association, socket, peer);
        let pause = association.next_timeout().unwrap_or(LIMIT).clamp(Duration::from_millis(1), LIMIT);
        socket.set_read_timeout(Some(pause)).unwrap();
        if let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            peer = Some(from);
            socket.connect(from).unwrap();
            association.datagram(&buffer[..bytes]);
        }
        association.timer();
    }
}

fn flush(association: &mut Association, socket: &UdpSocket, peer: Option<SocketAddr>) {
    while let Some(datagram) = association.poll_transmit() {
        // A peer that has not opened its port yet gets the next one.
        let _ = match socket.peer_addr() {
            Ok(_) => socket.send(&datagram),
            Err(_) => socket.send_to(&datagram, peer.expect("a client is told the peer's address")),
        };
    }
}

/// Ends the association, and returns what the command has said of the keys.
fn material(mut command: Running, association: &mut Association, socket: &UdpSocket) -> String {
    association.close();
    flush(association, socket, None);
    drop(command.0.stdin.take());
    let mut said = String::new();
    command.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let line = said.lines().find_map(|line| line.trim().strip_prefix(MATERIAL));
    line.unwrap_or_else(|| panic!("no keys in: {said}")).to_owned()
}

/// The keys in the order of RFC 5764, section 4.2.
fn ours(connected: &Connected, role: Role) -> String {
    let (client, server) = match role {
        Role::Client => (&connected.local, &connected.remote),
        Role::Server => (&connected.remote, &connected.local),
    };
    let bytes = [&client.key[..], &server.key, &client.salt, &server.salt].concat();
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A free port of loopback, as a number.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn check(peer: &Peer, contexts: &Arc<Contexts>, role: Role, &(name, suite, bytes): &(&str, Suite, usize)) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (command, address, verified) = match role {
        Role::Client => {
            let port = free_port().to_string();
            let accept = format!("127.0.0.1:{port}");
            let command = peer.start("s_server", &["-accept", &accept, "-Verify", "1", "-naccept", "1"], name, bytes);
            (command, Some(accept.parse().unwrap()), None)
        }
        Role::Server => {
            let connect = socket.local_addr().unwrap();
            let command = peer.start("s_client", &["-connect", &connect.to_string()], name, bytes);
            // Any address does: what matters is that the command answers the cookie.
            (command, None, Some(connect))
        }
    };
    let mut association = Association::new(contexts.clone(), role, verified);
    let connected = connect(&mut association, &socket, address);
    assert_eq!(connected.suite, suite);
    assert!(connected.matches(std::slice::from_ref(&peer.fingerprint)));
    assert!(!connected.matches(&[contexts.identity().fingerprint(HashFunction::Sha256).clone()]));
    assert_eq!(ours(&connected, role), material(command, &mut association, &socket), "{name} as {role:?}");
}

#[test]
fn keys_are_those_of_the_openssl_command() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("the openssl command is missing: nothing was tested");
        return;
    }
    let ecdsa = Peer::make("dtls-ecdsa", &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    let rsa = Peer::make("dtls-rsa", &["rsa:2048"]);
    let (our_ecdsa, our_rsa) = (contexts(CertificateKind::EcdsaP256), contexts(CertificateKind::Rsa { bits: 2048 }));
    for role in [Role::Client, Role::Server] {
        for profile in PROFILES {
            check(&ecdsa, &our_ecdsa, role, profile);
        }
        for (peer, contexts) in [(&rsa, &our_rsa), (&ecdsa, &our_rsa), (&rsa, &our_ecdsa)] {
            check(peer, contexts, role, &PROFILES[0]);
        }
    }
}
