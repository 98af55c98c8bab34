//! DTLS-SRTP handshakes: how many a second, and what a finished association keeps.

use millrace::base::random::Seeded;
use millrace::base::time::Unix;
use millrace::dtls::{Association, CertificateKind, Contexts, Event, Identity, Role, Settings, Signature};
use millrace_testsuite::system::heap_bytes;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const ASSOCIATIONS: usize = 2000;
const KINDS: &[(&str, CertificateKind)] =
    &[("ECDSA P-256", CertificateKind::EcdsaP256), ("RSA 2048", CertificateKind::Rsa { bits: 2048 })];

/// Measures both kinds of certificates for `seconds` each.
pub fn run(seconds: u64) -> Result<bool, String> {
    println!("\nDTLS-SRTP handshakes on one core, without a network");
    for (name, kind) in KINDS {
        let contexts = contexts(*kind)?;
        measure_rate(name, &contexts, Duration::from_secs(seconds.max(1)))?;
        measure_memory(name, &contexts)?;
    }
    Ok(true)
}

fn contexts(kind: CertificateKind) -> Result<Arc<Contexts>, String> {
    let unix = SystemTime::UNIX_EPOCH.elapsed().map_err(|error| error.to_string())?;
    let now = Unix(unix.as_micros() as u64);
    let identity = Identity::generate(kind, Signature::Sha256, now).map_err(|error| error.to_string())?;
    // The seed makes the secret for cookies, which this does not use.
    let contexts = Contexts::new(Arc::new(identity), &Settings::default(), &mut Seeded(1));
    contexts.map(Arc::new).map_err(|error| error.to_string())
}

/// The processor's time that each end took for its part of a handshake.
#[derive(Default)]
struct Spent {
    client: Duration,
    server: Duration,
}

/// One handshake between two ends.
fn shake_hands(contexts: &Arc<Contexts>, spent: &mut Spent) -> Result<[Association; 2], String> {
    let start = Instant::now();
    let mut client = Association::new(contexts.clone(), Role::Client, None);
    client.start();
    spent.client += start.elapsed();
    let mut server = Association::new(contexts.clone(), Role::Server, None);
    for _ in 0..4 {
        carry(&mut client, &mut server, &mut spent.server);
        carry(&mut server, &mut client, &mut spent.client);
    }
    for association in [&mut client, &mut server] {
        match association.poll_event() {
            Some(Event::Connected(_)) => {}
            other => return Err(format!("a handshake ended with {other:?}")),
        }
    }
    Ok([client, server])
}

fn carry(from: &mut Association, to: &mut Association, spent: &mut Duration) {
    while let Some(datagram) = from.poll_transmit() {
        let start = Instant::now();
        to.datagram(&datagram);
        *spent += start.elapsed();
    }
}

fn measure_rate(name: &str, contexts: &Arc<Contexts>, span: Duration) -> Result<(), String> {
    let mut spent = Spent::default();
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < span {
        shake_hands(contexts, &mut spent)?;
        count += 1;
    }
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / f64::from(count);
    println!(
        "  {name:<12} {:>6.0} a second with both ends on the core; {:.0} us for the client, {:.0} us for the server",
        f64::from(count) / start.elapsed().as_secs_f64(),
        each(spent.client),
        each(spent.server),
    );
    Ok(())
}

/// The heap that finished associations hold, clients and servers apart.
fn measure_memory(name: &str, contexts: &Arc<Contexts>) -> Result<(), String> {
    for role in [Role::Client, Role::Server] {
        let mut kept = Vec::with_capacity(ASSOCIATIONS);
        let before = heap_bytes();
        for _ in 0..ASSOCIATIONS {
            let pair = shake_hands(contexts, &mut Spent::default())?;
            kept.extend(pair.into_iter().find(|association| association.role() == role));
        }
        let finished = heap_bytes().saturating_sub(before) / ASSOCIATIONS;
        kept.iter_mut().for_each(Association::release);
        let released = heap_bytes().saturating_sub(before) / ASSOCIATIONS;
        println!(
            "  {name:<12} {finished:>6} bytes of heap a finished {role:?}, {released} once its keys are in use, beside {} own",
            size_of::<Association>()
        );
    }
    Ok(())
}
