//! SRTP in the kernel's programs, bit for bit that of userspace. Needs root.

use millrace::base::random::{Random, Seeded};
use millrace::base::suite::{SUITES, Suite};
use millrace::fastpath::Protection;
use millrace::plan::MidElement;
use millrace::srtp::{Parameters, Protector, Unprotector, Windows};
use millrace_testsuite::kernel::{Kernel, Outcome, SSRC, obstacle};
use millrace_testsuite::srtp::{adorned, parameters, rtp_packet};

/// Pairs with each cipher on either side.
const PAIRS: [(Suite, Suite); 6] = [
    (Suite::AesCm128Sha1_80, Suite::AesCm128Sha1_32),
    (Suite::AeadAes128Gcm, Suite::AesCm128Sha1_80),
    (Suite::Aes256CmSha1_32, Suite::AeadAes256Gcm),
    (Suite::AeadAes256Gcm, Suite::AeadAes128Gcm),
    (Suite::F8Sha1_80, Suite::NullSha1_32),
    (Suite::NullSha1_80, Suite::F8Sha1_32),
];

/// The sender, userspace in the relay's place, and the kernel.
struct Trial {
    sender: Option<Protector>,
    open: Option<Unprotector>,
    protect: Option<Protector>,
    kernel: Kernel,
}

impl Trial {
    /// Begins with the packet `first`, which userspace relays in both.
    fn new(open: Option<&Parameters>, protect: Option<&Parameters>, passes: bool, first: u16) -> Trial {
        let (sender, unprotector) = (open.map(Protector::new), open.map(Unprotector::new));
        let protector = protect.map(Protector::new);
        let protection = Protection { open: open.cloned(), protect: protect.cloned(), passes, mid: None };
        let highest = u32::from(first) + 0x1_0000;
        let kernel = Kernel::new(Some(protection), highest, &Windows::default()).unwrap();
        let mut trial = Trial { sender, open: unprotector, protect: protector, kernel };
        let packet = trial.protected(&rtp_packet(first, 172));
        trial.relayed(&packet, passes).unwrap();
        trial.lend();
        trial
    }

    /// Gives the state of userspace to the kernel.
    fn lend(&mut self) {
        let windows = self.windows();
        let (loan, _) = self.kernel.state().unwrap();
        let protection = self.kernel.entry.protection.as_deref().cloned();
        self.kernel = Kernel::new(protection, loan.highest, &windows).unwrap();
    }

    fn windows(&self) -> Windows {
        Windows {
            opened: self.open.as_ref().and_then(|open| open.rtp_window(SSRC)),
            protected: self.protect.as_ref().and_then(|protect| protect.rtp_window(SSRC)),
        }
    }

    fn protected(&mut self, plain: &[u8]) -> Vec<u8> {
        let Some(sender) = &mut self.sender else { return plain.to_vec() };
        let mut buffer = plain.to_vec();
        buffer.resize(plain.len() + 16, 0);
        let length = sender.protect_rtp(&mut buffer, plain.len()).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// What userspace would send.
    fn relayed(&mut self, packet: &[u8], passes: bool) -> Option<Vec<u8>> {
        let mut buffer = packet.to_vec();
        if passes {
            self.open.as_mut()?.authenticate_rtp(&mut buffer).ok()?;
            return Some(buffer);
        }
        if let Some(open) = &mut self.open {
            let length = open.unprotect_rtp(&mut buffer).ok()?;
            buffer.truncate(length);
        }
        if let Some(protect) = &mut self.protect {
            let length = buffer.len();
            buffer.resize(length + 16, 0);
            let length = protect.protect_rtp(&mut buffer, length).ok()?;
            buffer.truncate(length);
        }
        Some(buffer)
    }

    /// Both are given a packet and do the same with it.
    fn agree(&mut self, packet: &[u8], what: &str) -> Outcome {
        let passes = self.kernel.entry.protection.as_ref().is_some_and(|protection| protection.passes);
        let expected = self.relayed(packet, passes).map_or(Outcome::Dropped, Outcome::Sent);
        let (outcome, _) = self.kernel.send(packet).unwrap();
        assert!(outcome == expected, "{what}: {outcome:02x?} instead of {expected:02x?}");
        assert_eq!(self.kernel.state().unwrap().1, self.windows(), "{what}");
        outcome
    }
}

/// One-sided and two-sided ways of one suite, and between two suites.
fn trials(suite: Suite, other: Suite, first: u16) -> [Trial; 4] {
    let (ours, theirs) = (parameters(suite, 1), parameters(other, 2));
    [
        Trial::new(Some(&ours), None, false, first),
        Trial::new(None, Some(&ours), false, first),
        Trial::new(Some(&ours), Some(&theirs), false, first),
        Trial::new(Some(&ours), None, true, first),
    ]
}

fn is_possible() -> bool {
    match obstacle() {
        None => true,
        Some(why) => {
            println!("SKIPPED: SRTP in the kernel: {why}");
            false
        }
    }
}

#[test]
fn packets_of_every_length_are_the_same() {
    if !is_possible() {
        return;
    }
    for (place, &(suite, _)) in SUITES.iter().enumerate() {
        let (other, _) = SUITES[(place + 1) % SUITES.len()];
        for (way, mut trial) in trials(suite, other, 100).into_iter().enumerate() {
            // Every length once over all suites and ways, and those around blocks with each.
            for (number, bytes) in (101u16..).zip((12..=1500).filter(|bytes| {
                *bytes < 300 && bytes % 4 == place % 4
                    || bytes % 64 < 2
                    || bytes % 48 == place * 4 + way
                    || *bytes > 1490
            })) {
                let packet = trial.protected(&rtp_packet(number, bytes));
                let outcome = trial.agree(&packet, &format!("{suite:?}, way {way}, {bytes} bytes"));
                assert!(matches!(outcome, Outcome::Sent(_)));
            }
        }
    }
}

#[test]
fn headers_are_left_in_the_clear() {
    if !is_possible() {
        return;
    }
    for mut trial in PAIRS.into_iter().flat_map(|(suite, other)| trials(suite, other, 7)) {
        let mut number = 8;
        for sources in 0..16 {
            for words in [None, Some(0), Some(1), Some(9), Some(70)] {
                for bytes in [12, 13, 172] {
                    let packet = adorned(number, bytes, sources, words);
                    let packet = trial.protected(&packet);
                    let outcome = trial.agree(&packet, &format!("{sources} sources, extension {words:?}"));
                    assert!(matches!(outcome, Outcome::Sent(_)));
                    number += 1;
                }
            }
        }
    }
}

/// Twice over the wrap of the sequence number, with gaps and disorder; each packet comes twice, and once forged.
#[test]
fn rollover_replays_and_wrong_tags_are_the_same() {
    if !is_possible() {
        return;
    }
    let all = PAIRS.into_iter().flat_map(|(suite, other)| trials(suite, other, 65_400).into_iter().enumerate());
    for (way, mut trial) in all {
        let mut random = Seeded(5);
        let mut index = 65_400u32;
        let (mut dropped, mut earlier) = (0, Vec::new());
        for round in 0..600 {
            index += if round % 50 == 0 { 400 } else { 1 + u32::from(random.below(8) == 0) * 3 };
            let mut group = vec![trial.protected(&rtp_packet(index as u16, 60))];
            if random.below(3) == 0 {
                index += 1;
                group.insert(0, trial.protected(&rtp_packet(index as u16, 61)));
            }
            earlier.push(group[0].clone());
            if way != 1 {
                let mut forged = group[0].clone();
                let place = 12 + random.below(forged.len() as u32 - 12) as usize;
                forged[place] ^= 1 << random.below(8);
                group.insert(0, forged);
                group.push(earlier[earlier.len().saturating_sub(1 + random.below(20) as usize)].clone());
            }
            group.push(group[group.len() - 1].clone());
            for packet in &group {
                dropped += u32::from(trial.agree(packet, &format!("way {way}, round {round}")) == Outcome::Dropped);
            }
            if round % 97 == 0 {
                // There and back: nothing is lost of what was known.
                trial.lend();
                dropped = 0;
            }
        }
        let (loan, _) = trial.kernel.state().unwrap();
        assert_eq!(loan.wrong_tag + loan.replayed, dropped, "way {way}");
        assert!(loan.replayed > 10 && (way == 1 || loan.wrong_tag > 10), "{loan:?}");
        assert_eq!(loan.used_index > 0, way == 1, "{loan:?}");
    }
}

#[test]
fn what_can_t_be_judged_is_left_to_the_daemon() {
    if !is_possible() {
        return;
    }
    for (suite, _) in PAIRS {
        let ours = parameters(suite, 1);
        let mut trial = Trial::new(Some(&ours), None, false, 100);
        let far = trial.protected(&rtp_packet(20_000, 172));
        let short = rtp_packet(101, 12);
        let mut long_header = rtp_packet(102, 60);
        long_header[0] |= 0x1f;
        for packet in [&far, &short, &short[..11], &long_header] {
            assert_eq!(trial.kernel.send(packet).unwrap().0, Outcome::Passed);
        }
        assert_eq!(trial.kernel.state().unwrap().1, trial.windows());
    }
}

/// From every suite to every other: lengths, odd headers, the wrap, packets again and packets forged.
#[test]
fn every_mix_of_suites_is_the_same() {
    if !is_possible() {
        return;
    }
    let unencrypted = Parameters { unencrypted_srtp: true, ..parameters(Suite::AesCm128Sha1_80, 3) };
    let all = |seed| SUITES.iter().map(move |(suite, _)| parameters(*suite, seed)).chain([unencrypted.clone()]);
    for ours in all(1) {
        for theirs in all(2) {
            let mut trial = Trial::new(Some(&ours), Some(&theirs), false, 65_530);
            let what = format!("{ours:?} to {theirs:?}");
            for (number, bytes) in (65_531..).zip([12, 13, 27, 28, 29, 63, 64, 65, 172, 300, 1212, 1500]) {
                let plain = match number % 3 {
                    0 => adorned(number as u16, bytes, number % 16, Some(2)),
                    _ => rtp_packet(number as u16, bytes),
                };
                let packet = trial.protected(&plain);
                let mut forged = packet.clone();
                let place = forged.len() - 1 - number % 4;
                forged[place] ^= 0x10;
                assert_eq!(trial.agree(&forged, &what), Outcome::Dropped);
                assert!(matches!(trial.agree(&packet, &what), Outcome::Sent(_)));
                assert_eq!(trial.agree(&packet, &what), Outcome::Dropped);
            }
        }
    }
}

/// Two packets under one number towards a receiver would betray each other's contents and, with GCM, the key of the tag:
/// the first is sent, the other dropped, whatever has come to the daemon in between.
#[test]
fn no_index_is_used_twice() {
    if !is_possible() {
        return;
    }
    for &(suite, _) in SUITES {
        let mut trial = Trial::new(None, Some(&parameters(suite, 1)), false, 100);
        for number in (101..600).step_by(3) {
            let first = rtp_packet(number, 172);
            let other = [&first[..12], &[7; 160]].concat();
            assert!(matches!(trial.agree(&first, "first"), Outcome::Sent(_)));
            assert_eq!(trial.agree(&other, "other"), Outcome::Dropped);
            if number % 100 == 1 {
                trial.lend();
                assert_eq!(trial.agree(&other, "lent again"), Outcome::Dropped);
            }
        }
        assert!(trial.kernel.state().unwrap().0.used_index > 100 / 3);
    }
}

/// A key that has used up its indices passes nothing in the kernel (RFC 3711, section 9.2).
#[test]
fn keys_are_used_up() {
    if !is_possible() {
        return;
    }
    PAIRS.into_iter().for_each(|(suite, _)| use_up(&parameters(suite, 1)));
}

fn use_up(ours: &Parameters) {
    let protection = Protection { open: None, protect: Some(ours.clone()), passes: false, mid: None };
    let mut protector = Protector::new(ours);
    protector.set_rollover_counter(SSRC, u32::MAX);
    let mut buffer = rtp_packet(65_530, 172);
    buffer.resize(200, 0);
    protector.protect_rtp(&mut buffer, 172).unwrap();
    let windows = Windows { opened: None, protected: protector.rtp_window(SSRC) };
    let kernel = Kernel::new(Some(protection), 65_530, &windows).unwrap();
    assert!(matches!(kernel.send(&rtp_packet(65_535, 172)).unwrap().0, Outcome::Sent(_)));
    assert_eq!(kernel.send(&rtp_packet(0, 172)).unwrap().0, Outcome::Passed);
}

/// A browser's media gets its mid; what has a header extension already is left to the daemon.
#[test]
fn a_header_extension_is_put_into_packets() {
    if !is_possible() {
        return;
    }
    let mid = MidElement::new(3, "audio").unwrap();
    let (cm, gcm) = (Suite::AesCm128Sha1_80, Suite::AeadAes128Gcm);
    for (open, suite) in [(None, cm), (Some(cm), gcm), (Some(gcm), cm)] {
        let (open, protect) = (open.map(|suite| parameters(suite, 1)), parameters(suite, 2));
        let (mut sender, mut receiver) = (open.as_ref().map(Protector::new), Some(Protector::new(&protect)));
        let protection = Protection { open, protect: Some(protect.clone()), passes: false, mid: Some(mid) };
        let kernel = Kernel::new(Some(protection), 0x1_0000 + 9, &Windows::default()).unwrap();
        let protected = |sender: &mut Option<Protector>, plain: &[u8]| {
            let mut bytes = plain.to_vec();
            bytes.resize(plain.len() + 32, 0);
            let length =
                sender.as_mut().map_or(plain.len(), |sender| sender.protect_rtp(&mut bytes, plain.len()).unwrap());
            bytes.truncate(length);
            bytes
        };
        for (number, bytes) in [13, 14, 160, 172, 500, 1200].into_iter().enumerate() {
            let plain = rtp_packet(10 + number as u16, bytes);
            let mut with_mid = plain.clone();
            with_mid[0] |= 0x10;
            with_mid.splice(12..12, [0xbe, 0xde, 0, 2, 0x34, b'a', b'u', b'd', b'i', b'o', 0, 0]);
            let expected = protected(&mut receiver, &with_mid);
            let (outcome, _) = kernel.send(&protected(&mut sender, &plain)).unwrap();
            assert!(outcome == Outcome::Sent(expected), "{bytes} bytes to {suite:?}: {outcome:02x?}");
        }
        let odd = protected(&mut sender, &adorned(30, 172, 0, Some(1)));
        assert_eq!(kernel.send(&odd).unwrap().0, Outcome::Passed);
    }
}
