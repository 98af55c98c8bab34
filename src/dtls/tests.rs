//! Two associations against each other, over a network of queues.

use super::*;
use crate::base::random::{Random, Seeded};
use crate::base::suite::HashFunction;
use crate::base::time::Unix;
use openssl::ssl::SslOptions;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const NOW: Unix = Unix(1_700_000_000_000_000);
const NO_EXTENDED_MASTER_SECRET: u64 = 1;

static ECDSA: LazyLock<Arc<Identity>> = LazyLock::new(|| identity(CertificateKind::EcdsaP256));
static RSA: LazyLock<Arc<Identity>> = LazyLock::new(|| identity(CertificateKind::Rsa { bits: 2048 }));

fn identity(kind: CertificateKind) -> Arc<Identity> {
    Arc::new(Identity::generate(kind, Signature::Sha256, NOW).unwrap())
}

/// For tests that wait for timers.
fn quick() -> Settings {
    Settings { first_timeout: Duration::from_millis(20), ..Settings::default() }
}

/// For tests in which no timer may run out, however busy the machine is.
fn calm() -> Settings {
    Settings { first_timeout: Duration::from_secs(3), ..Settings::default() }
}

fn contexts(identity: &Arc<Identity>, settings: &Settings) -> Arc<Contexts> {
    with_options(identity, settings, SslOptions::empty())
}

fn with_options(identity: &Arc<Identity>, settings: &Settings, options: SslOptions) -> Arc<Contexts> {
    Arc::new(Contexts::with_options(identity.clone(), settings, &mut Seeded(1), options).unwrap())
}

/// A client that has started, and a server.
fn pair(client: &Arc<Contexts>, server: &Arc<Contexts>) -> [Association; 2] {
    let mut client = Association::new(client.clone(), Role::Client, None);
    client.start();
    [client, Association::new(server.clone(), Role::Server, None)]
}

fn transmits(association: &mut Association) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| association.poll_transmit()).collect()
}

fn events(association: &mut Association) -> Vec<Event> {
    std::iter::from_fn(|| association.poll_event()).collect()
}

fn deliver(datagrams: &[Vec<u8>], to: &mut Association) {
    for datagram in datagrams {
        to.datagram(datagram);
    }
}

/// Exchanges datagrams until there are none; `meddle` sees each with its receiver before it arrives.
fn exchange_with(pair: &mut [Association; 2], meddle: &mut dyn FnMut(&[u8], &mut Association)) {
    loop {
        let mut moved = false;
        for from in [0, 1] {
            while let Some(datagram) = pair[from].poll_transmit() {
                moved = true;
                let to = &mut pair[1 - from];
                meddle(&datagram, to);
                to.datagram(&datagram);
            }
        }
        if !moved {
            return;
        }
    }
}

fn exchange(pair: &mut [Association; 2]) {
    exchange_with(pair, &mut |_, _| {});
}

/// The only event of an association, which has to be that it is connected.
fn connected(association: &mut Association) -> Connected {
    match events(association).as_slice() {
        [Event::Connected(connected)] => (**connected).clone(),
        other => panic!("{other:?} ({:?})", association.problem()),
    }
}

/// Both ends are connected and agree.
fn assert_agreed(pair: &mut [Association; 2]) -> [Connected; 2] {
    let [client, server] = pair;
    let (client, server) = (connected(client), connected(server));
    assert_eq!(client.suite, server.suite);
    assert_eq!(client.local, server.remote);
    assert_eq!(client.remote, server.local);
    assert_ne!(client.local, client.remote);
    [client, server]
}

#[test]
fn keys_agree_crosswise_for_all_kinds_of_certificates() {
    for (client, server) in [(&ECDSA, &ECDSA), (&RSA, &RSA), (&ECDSA, &RSA), (&RSA, &ECDSA)] {
        let mut pair = pair(&contexts(client, &calm()), &contexts(server, &calm()));
        exchange(&mut pair);
        assert!(pair.iter().all(|each| each.is_connected() && each.next_timeout().is_none()));
        let [at_client, at_server] = assert_agreed(&mut pair);
        for function in [HashFunction::Sha1, HashFunction::Sha256, HashFunction::Sha512] {
            assert!(at_client.matches(&[server.fingerprint(function).clone()]));
            assert!(at_server.matches(&[client.fingerprint(function).clone()]));
        }
        let stranger = identity(CertificateKind::EcdsaP256);
        assert!(!at_client.matches(&[stranger.fingerprint(HashFunction::Sha256).clone()]));
        assert!(!at_server.matches(&[]));
    }
}

#[test]
fn every_profile_is_agreed_on_with_its_lengths() {
    for (suite, key_bytes, salt_bytes) in [
        (Suite::AeadAes256Gcm, 32, 12),
        (Suite::AeadAes128Gcm, 16, 12),
        (Suite::AesCm128Sha1_80, 16, 14),
        (Suite::AesCm128Sha1_32, 16, 14),
    ] {
        let one = contexts(&ECDSA, &Settings { suites: vec![suite], ..calm() });
        let all = contexts(&ECDSA, &calm());
        for (client, server) in [(&one, &all), (&all, &one)] {
            let mut pair = pair(client, server);
            exchange(&mut pair);
            let [client, _] = assert_agreed(&mut pair);
            assert_eq!(
                (client.suite, client.local.key.len(), client.remote.salt.len()),
                (suite, key_bytes, salt_bytes)
            );
        }
    }
}

#[test]
fn no_common_profile_is_a_failure() {
    let with = |suite| contexts(&ECDSA, &Settings { suites: vec![suite], ..calm() });
    let mut pair = pair(&with(Suite::AeadAes128Gcm), &with(Suite::AesCm128Sha1_80));
    exchange(&mut pair);
    for association in &mut pair {
        let expected = "the peer agreed on no protection profile for SRTP";
        assert_eq!(events(association), [Event::Failed(expected.into())]);
        assert!(!association.is_connected());
    }
}

#[test]
fn peers_without_extended_master_secret_or_of_an_old_version_are_served() {
    let hello = |contexts: &Arc<Contexts>| {
        let mut client = Association::new(contexts.clone(), Role::Client, None);
        client.start();
        client.poll_transmit().unwrap()
    };
    // The extension of RFC 7627, which is empty.
    let offers = |contexts: &Arc<Contexts>| hello(contexts).windows(4).any(|bytes| bytes == [0, 23, 0, 0]);
    let old = Settings { allows_dtls_1_0: true, ..calm() };
    let modern = contexts(&ECDSA, &calm());
    let lenient = contexts(&ECDSA, &old);
    let without = with_options(&ECDSA, &calm(), SslOptions::from_bits_retain(NO_EXTENDED_MASTER_SECRET));
    let version_1_0 = with_options(&ECDSA, &old, SslOptions::NO_DTLSV1_2);
    assert!(offers(&modern) && !offers(&without));
    for (client, server) in
        [(&without, &modern), (&modern, &without), (&version_1_0, &lenient), (&lenient, &version_1_0)]
    {
        let mut pair = pair(client, server);
        exchange(&mut pair);
        assert_agreed(&mut pair);
    }
    let mut pair = pair(&version_1_0, &modern);
    exchange(&mut pair);
    assert!(!pair[1].is_connected() && pair[1].problem().is_some());
}

#[test]
fn datagrams_keep_to_the_mtu_and_fragments_are_put_together() {
    // At 290 and 311 OpenSSL packs the Finished behind other records, with few bytes left.
    for mtu_bytes in [272, 290, 311, 576, 1200] {
        let contexts = contexts(&RSA, &Settings { mtu_bytes, ..calm() });
        let mut pair = pair(&contexts, &contexts);
        let (mut largest, mut count) = (0, 0);
        exchange_with(&mut pair, &mut |datagram, _| {
            largest = largest.max(datagram.len());
            count += 1;
        });
        assert_agreed(&mut pair);
        assert!(largest <= usize::from(mtu_bytes), "{largest} bytes");
        assert!(count > 2400 / usize::from(mtu_bytes), "{count} datagrams");
        assert!(largest > usize::from(mtu_bytes) / 2 && count < 30, "flights are packed: {largest} bytes, {count}");
    }
}

/// A network that loses, repeats and holds back one datagram in ten each.
struct Network {
    random: Seeded,
    held_back: Vec<(usize, Vec<u8>)>,
}

impl Network {
    fn one_in_ten(&mut self) -> bool {
        self.random.below(10) == 0
    }

    /// Moves what is there; whether there was anything.
    fn step(&mut self, pair: &mut [Association; 2]) -> bool {
        let mut arriving = std::mem::take(&mut self.held_back);
        let mut moved = !arriving.is_empty();
        for (from, association) in pair.iter_mut().enumerate() {
            for datagram in transmits(association) {
                moved = true;
                if self.one_in_ten() {
                    continue;
                }
                if self.one_in_ten() {
                    arriving.push((1 - from, datagram.clone()));
                }
                if self.one_in_ten() {
                    self.held_back.push((1 - from, datagram));
                } else {
                    arriving.push((1 - from, datagram));
                }
            }
        }
        for (to, datagram) in arriving {
            pair[to].datagram(&datagram);
        }
        moved
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "OpenSSL repeats flights by its own clock, so the test has to wait")]
fn handshakes_survive_a_bad_network() {
    let settings = Settings { mtu_bytes: 576, ..quick() };
    let contexts = contexts(&ECDSA, &settings);
    let mut pairs: Vec<_> = (0..60)
        .map(|seed| (Network { random: Seeded(seed), held_back: Vec::new() }, pair(&contexts, &contexts)))
        .collect();
    let mut waited = Duration::ZERO;
    let is_done = |pair: &[Association; 2]| pair.iter().all(Association::is_connected);
    while !pairs.iter().all(|(_, pair)| is_done(pair)) {
        let mut moved = false;
        for (network, pair) in &mut pairs {
            moved |= network.step(pair);
            pair.iter_mut().for_each(Association::timer);
        }
        if !moved {
            let next = pairs.iter().flat_map(|(_, pair)| pair).filter_map(Association::next_timeout).min();
            let pause = next.expect("somebody waits").max(Duration::from_millis(1));
            waited += pause;
            assert!(waited < Duration::from_secs(20), "the handshakes take too long");
            std::thread::sleep(pause);
        }
    }
    for (_, pair) in &mut pairs {
        assert_agreed(pair);
    }
}

/// Lets the time pass until an association's timer is due.
#[allow(clippy::disallowed_methods, reason = "OpenSSL repeats flights by its own clock, so a test has to wait")]
fn wait(association: &Association) {
    std::thread::sleep(association.next_timeout().expect("a timer runs"));
}

#[test]
fn a_lost_last_flight_is_repeated_when_the_client_repeats_its_own() {
    let contexts = contexts(&ECDSA, &quick());
    let [mut client, mut server] = pair(&contexts, &contexts);
    deliver(&transmits(&mut client), &mut server);
    deliver(&transmits(&mut server), &mut client);
    deliver(&transmits(&mut client), &mut server);
    assert!(server.is_connected() && !client.is_connected());
    assert!(!transmits(&mut server).is_empty());
    for _ in 0..2 {
        wait(&client);
        client.timer();
        deliver(&transmits(&mut client), &mut server);
        assert!(!transmits(&mut server).is_empty());
    }
    wait(&client);
    client.timer();
    let mut pair = [client, server];
    exchange(&mut pair);
    assert_agreed(&mut pair);
}

#[test]
fn timers_wait_twice_as_long_each_time() {
    let contexts = contexts(&ECDSA, &quick());
    let mut client = Association::new(contexts, Role::Client, None);
    assert_eq!(client.next_timeout(), None);
    client.start();
    let first = client.next_timeout().unwrap();
    assert!(first <= Duration::from_millis(20));
    client.start();
    assert_eq!(transmits(&mut client).len(), 1, "a second start does nothing");
    wait(&client);
    client.timer();
    assert_eq!(transmits(&mut client).len(), 1, "the ClientHello again");
    assert!((Duration::ZERO..=Duration::from_millis(40)).contains(&client.next_timeout().unwrap()));
    wait(&client);
    client.timer();
    wait(&client);
    client.timer();
    assert_eq!(transmits(&mut client).len(), 2);
    assert!(client.next_timeout().unwrap() <= Duration::from_millis(160));
}

#[test]
fn silence_is_a_failure_in_the_end() {
    // With timers that are due at once, OpenSSL does all its repeating in the first call.
    let contexts = contexts(&ECDSA, &Settings { first_timeout: Duration::ZERO, ..quick() });
    let mut client = Association::new(contexts, Role::Client, None);
    client.start();
    assert_eq!(events(&mut client), [Event::Failed("the peer has not answered for too long".into())]);
    assert_eq!(transmits(&mut client).len(), 13);
    assert_eq!(client.next_timeout(), None);
    client.start();
    assert!(transmits(&mut client).is_empty());
    client.restart();
    assert_eq!(transmits(&mut client).len(), 13);
}

#[test]
fn a_restart_agrees_on_other_keys() {
    let contexts = contexts(&ECDSA, &calm());
    let mut pair = pair(&contexts, &contexts);
    exchange(&mut pair);
    let [before, _] = assert_agreed(&mut pair);
    pair.iter_mut().for_each(Association::restart);
    exchange(&mut pair);
    let [after, _] = assert_agreed(&mut pair);
    assert_ne!(before.local, after.local);
}

#[test]
fn forged_alerts_and_garbage_change_nothing() {
    let contexts = contexts(&RSA, &Settings { mtu_bytes: 576, ..quick() });
    let mut pair = pair(&contexts, &contexts);
    let mut random = Seeded(3);
    let mut attack = |datagram: &[u8], to: &mut Association| {
        for version in [0xff, 0xfd] {
            for level in [1, 2] {
                let alert = [21, 0xfe, version, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, level, 40];
                to.datagram(&alert);
                to.datagram(&[&alert[..], &datagram[..datagram.len().min(20)]].concat());
            }
        }
        let protected: Vec<u8> = [&[22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 200, 0, 40][..], &[7; 40]].concat();
        (0..200).for_each(|_| to.datagram(&protected));
        to.datagram(&[20, 0xfe, 0xfd, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1, 1]);
        for length in 0..300 {
            let mut garbage = vec![0; length];
            random.fill(&mut garbage);
            to.datagram(&garbage);
            // A first byte, a version and an epoch as they should be.
            for (index, byte) in [22, 0xfe, 0xfd, 0, 0].into_iter().enumerate().take(length) {
                garbage[index] = byte;
            }
            to.datagram(&garbage);
        }
        for length in 0..datagram.len() {
            to.datagram(&datagram[..length]);
        }
    };
    let mut attacks = 0;
    exchange_with(&mut pair, &mut |datagram, to| {
        attacks += 1;
        attack(datagram, to);
    });
    // OpenSSL's store for protected records was full when the genuine one came; it is sent again.
    while !pair.iter().all(Association::is_connected) {
        wait(&pair[0]);
        pair[0].timer();
        exchange(&mut pair);
    }
    assert!(attacks > 4);
    assert_agreed(&mut pair);
    attack(&[], &mut pair[0]);
    attack(&[], &mut pair[1]);
    assert!(pair.iter_mut().all(|each| each.is_connected() && events(each).is_empty()));
    assert!(pair.iter_mut().all(|each| transmits(each).is_empty()));
}

#[test]
fn a_repeated_client_hello_is_the_same_and_another_one_begins_anew() {
    let contexts = contexts(&ECDSA, &calm());
    let [mut stranger, mut server] = pair(&contexts, &contexts);
    let forged = transmits(&mut stranger);
    for _ in 0..5 {
        deliver(&forged, &mut server);
    }
    let flight = transmits(&mut server);
    assert!((1..4).contains(&flight.len()), "one flight for a ClientHello and its copies");

    let mut client = Association::new(contexts, Role::Client, None);
    client.start();
    let mut pair = [client, server];
    exchange(&mut pair);
    deliver(&forged, &mut pair[1]);
    assert!(transmits(&mut pair[1]).is_empty());
    assert_agreed(&mut pair);
}

#[test]
fn a_server_outlives_clients_that_it_can_not_serve() {
    let server = contexts(&ECDSA, &calm());
    let with_ciphers = |ciphers: &str| contexts(&ECDSA, &Settings { ciphers: ciphers.into(), ..calm() });
    let other = with_ciphers("AES128-SHA");
    let mut server = Association::new(server, Role::Server, None);
    for _ in 0..20 {
        let mut client = Association::new(other.clone(), Role::Client, None);
        client.start();
        deliver(&transmits(&mut client), &mut server);
        assert_eq!(server.problem(), Some("no shared cipher"));
        assert_eq!(transmits(&mut server).len(), 1, "the alert");
    }
    assert!(events(&mut server).is_empty());
    let mut client = Association::new(with_ciphers(DEFAULT_CIPHERS), Role::Client, None);
    client.start();
    let mut pair = [client, server];
    exchange(&mut pair);
    assert_agreed(&mut pair);
    assert_eq!(pair[1].problem(), None);
}

#[test]
fn a_client_outlives_some_broken_answers() {
    let contexts = contexts(&ECDSA, &calm());
    let [mut client, mut server] = pair(&contexts, &contexts);
    // A ServerHello of no bytes, in a record of its own.
    let forged = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 12, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for _ in 0..3 {
        (0..9).for_each(|_| client.datagram(&forged));
        assert!(events(&mut client).is_empty() && client.problem().is_some());
        transmits(&mut client);
        assert!(client.next_timeout().is_some());
        client.timer();
    }
    deliver(&transmits(&mut client), &mut server);
    let mut pair = [client, server];
    exchange(&mut pair);
    assert_agreed(&mut pair);

    let mut client = Association::new(contexts, Role::Client, None);
    client.start();
    for _ in 0..4 {
        client.datagram(&forged);
        client.timer();
    }
    assert!(matches!(events(&mut client).as_slice(), [Event::Failed(_)]));
    assert_eq!(client.next_timeout(), None);
}

#[test]
fn corrupted_handshakes_never_panic_and_never_agree_on_different_keys() {
    let contexts = contexts(&ECDSA, &calm());
    let mut random = Seeded(11);
    for _ in 0..40 {
        let mut pair = pair(&contexts, &contexts);
        exchange_with(&mut pair, &mut |datagram, to| {
            let mut bytes = datagram.to_vec();
            let at = random.below(bytes.len() as u32) as usize;
            bytes[at] ^= 1 << random.below(8);
            to.datagram(&bytes);
        });
        if pair.iter().all(Association::is_connected) {
            assert_agreed(&mut pair);
        }
    }
}

#[test]
fn a_farewell_closes_the_peer_and_is_answered() {
    let contexts = contexts(&ECDSA, &calm());
    for who in [0, 1] {
        let mut pair = pair(&contexts, &contexts);
        exchange(&mut pair);
        assert_agreed(&mut pair);
        pair[who].close();
        let farewell = transmits(&mut pair[who]);
        assert_eq!(farewell.len(), 1);
        deliver(&farewell, &mut pair[1 - who]);
        deliver(&farewell, &mut pair[1 - who]);
        assert_eq!(events(&mut pair[1 - who]), [Event::Closed]);
        assert_eq!(transmits(&mut pair[1 - who]).len(), 1);
        pair[who].close();
        assert!(transmits(&mut pair[who]).is_empty());
    }
}

#[test]
fn what_is_released_stays_connected_and_silent() {
    let contexts = contexts(&ECDSA, &calm());
    let [mut client, mut server] = pair(&contexts, &contexts);
    client.release();
    assert!(client.next_timeout().is_some(), "a handshake is not released");
    let mut pair = {
        deliver(&transmits(&mut client), &mut server);
        [client, server]
    };
    exchange(&mut pair);
    assert_agreed(&mut pair);
    pair[1].release();
    pair[0].close();
    exchange(&mut pair);
    assert!(pair[1].is_connected() && events(&mut pair[1]).is_empty());
    pair[1].close();
    assert!(!pair[1].is_connected() && transmits(&mut pair[1]).is_empty());
}

#[test]
fn a_server_can_have_the_address_verified_first() {
    let contexts = contexts(&RSA, &calm());
    let address = Some("192.0.2.1:5000".parse().unwrap());
    let mut client = Association::new(contexts.clone(), Role::Client, None);
    client.start();
    let hello = transmits(&mut client);
    let mut server = Association::new(contexts.clone(), Role::Server, address);
    deliver(&hello, &mut server);
    let verify = transmits(&mut server);
    assert!(verify.len() == 1 && verify[0].len() < hello[0].len(), "no amplification");
    deliver(&verify, &mut client);
    let with_cookie = transmits(&mut client);

    // The cookie is worth nothing at another address.
    let elsewhere = Some("192.0.2.2:5000".parse().unwrap());
    let mut other = Association::new(contexts, Role::Server, elsewhere);
    deliver(&hello, &mut other);
    transmits(&mut other);
    deliver(&with_cookie, &mut other);
    let answer = transmits(&mut other);
    assert!(!other.is_connected() && answer.iter().all(|datagram| datagram.len() < 100));

    deliver(&with_cookie, &mut server);
    let mut pair = [client, server];
    exchange(&mut pair);
    assert_agreed(&mut pair);
}

#[test]
fn settings_that_can_not_be_are_named() {
    let refused = |settings: Settings| match Contexts::new(ECDSA.clone(), &settings, &mut Seeded(1)) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("taken: {settings:?}"),
    };
    let ciphers = refused(Settings { ciphers: "NONSENSE".into(), ..calm() });
    assert_eq!(ciphers, "'NONSENSE' is no list of ciphers that OpenSSL knows");
    assert_eq!(refused(Settings { mtu_bytes: 271, ..calm() }), "a DTLS datagram of 271 bytes: it takes 272 or more");
    for first_timeout in [Duration::from_millis(19), Duration::from_millis(3001)] {
        let first = refused(Settings { first_timeout, ..calm() });
        assert_eq!(first, format!("a first timeout of {first_timeout:?}: it takes 20 ms to 3 s"));
    }
    let suites = refused(Settings { suites: vec![Suite::NullSha1_80], ..calm() });
    assert_eq!(suites, "NULL_HMAC_SHA1_80 has no protection profile in DTLS-SRTP");
    assert_eq!(refused(Settings { suites: vec![], ..calm() }), "no SRTP suite to offer in DTLS-SRTP");
}

#[test]
fn associations_move_between_threads() {
    fn moves<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    moves::<Association>();
    is_shared::<Contexts>();
    is_shared::<Identity>();
}
