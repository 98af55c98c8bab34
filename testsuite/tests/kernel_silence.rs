//! Silence in place of media, as the kernel's programs put it there. Needs root.

use millrace::base::suite::Suite;
use millrace::fastpath::Protection;
use millrace::plan::MidElement;
use millrace::srtp::{Parameters, Protector, Windows};
use millrace_testsuite::kernel::{Kernel, Outcome, obstacle};
use millrace_testsuite::srtp::{adorned, parameters, protected, rtp_packet};

/// Of PCMU, PCMA and G.722.
const SILENCES: [u8; 3] = [0xff, 0xd5, 0xfa];

/// A flow whose payloads are silenced, and what stands on both sides of it.
struct Trial {
    sender: Option<Protector>,
    receiver: Option<Protector>,
    kernel: Kernel,
    byte: u8,
}

impl Trial {
    fn new(open: Option<Parameters>, protect: Option<Parameters>, mid: Option<MidElement>, byte: u8) -> Trial {
        let (sender, receiver) = (open.as_ref().map(Protector::new), protect.as_ref().map(Protector::new));
        let protection = Protection { open, protect, passes: false, mid };
        let mut kernel = Kernel::new(Some(protection), 0x1_0000, &Windows::default()).unwrap();
        kernel.silence(byte).unwrap();
        Trial { sender, receiver, kernel, byte }
    }

    fn send(&mut self, plain: &[u8]) -> Outcome {
        self.kernel.send(&protected(self.sender.as_mut(), plain)).unwrap().0
    }

    /// A packet leaves with silence from `begin` to `end`.
    fn is_silenced(&mut self, plain: &[u8], begin: usize, end: usize) {
        let mut expected = plain.to_vec();
        expected[begin..end].fill(self.byte);
        let expected = protected(self.receiver.as_mut(), &expected);
        let outcome = self.send(plain);
        assert!(outcome == Outcome::Sent(expected), "{} bytes, silent to {end}: {outcome:02x?}", plain.len());
    }
}

/// Between all kinds of sides.
fn trials() -> impl Iterator<Item = Trial> {
    let (cm, gcm) = (Suite::AesCm128Sha1_80, Suite::AeadAes128Gcm);
    let sides = [(None, None), (Some(cm), None), (None, Some(gcm)), (Some(gcm), Some(cm))];
    let of = |suite: Option<Suite>, seed| suite.map(|suite| parameters(suite, seed));
    sides
        .into_iter()
        .flat_map(move |(open, protect)| SILENCES.map(|byte| Trial::new(of(open, 1), of(protect, 2), None, byte)))
}

fn is_possible() -> bool {
    obstacle().inspect(|why| println!("SKIPPED: silence in the kernel: {why}")).is_none()
}

#[test]
fn payloads_of_every_length_are_silenced() {
    if !is_possible() {
        return;
    }
    for mut trial in trials() {
        for (number, bytes) in (1..).zip((12..300).chain([1212, 1499, 1500])) {
            trial.is_silenced(&rtp_packet(number, bytes), 12, bytes);
        }
    }
}

#[test]
fn headers_and_padding_stay() {
    if !is_possible() {
        return;
    }
    for mut trial in trials() {
        let kinds = (0..16).flat_map(|sources| [None, Some(0), Some(9)].map(|words| (sources, words)));
        for (number, (sources, words)) in (1..).zip(kinds) {
            let mut packet = adorned(number, 172, sources, words);
            let (begin, end) = (packet.len() - 160, packet.len());
            if number % 2 == 0 {
                trial.is_silenced(&packet, begin, end);
                continue;
            }
            let padding = [1, 5, 160][usize::from(number) % 3];
            packet[0] |= 0x20;
            packet[end - 1] = padding;
            trial.is_silenced(&packet, begin, end - usize::from(padding));
        }
    }
}

/// What userspace would not send either.
#[test]
fn padding_that_can_t_be_does_not_pass() {
    if !is_possible() {
        return;
    }
    for mut trial in trials() {
        for (number, padding) in [(1, 0), (2, 161), (3, 255)] {
            let mut packet = rtp_packet(number, 172);
            packet[0] |= 0x20;
            packet[171] = padding;
            assert_eq!(trial.send(&packet), Outcome::Passed, "{padding}");
        }
    }
}

#[test]
fn a_mid_is_put_before_silence() {
    if !is_possible() {
        return;
    }
    let mid = MidElement::new(3, "audio").unwrap();
    for open in [None, Some(parameters(Suite::AeadAes128Gcm, 1))] {
        let protect = Some(parameters(Suite::AesCm128Sha1_80, 2));
        let mut trial = Trial::new(open, protect, Some(mid), 0xff);
        for (number, bytes) in (1..).zip([13, 14, 172, 500]) {
            let plain = rtp_packet(number, bytes);
            let mut silent = plain.clone();
            silent[0] |= 0x10;
            silent[12..].fill(0xff);
            silent.splice(12..12, [0xbe, 0xde, 0, 2, 0x34, b'a', b'u', b'd', b'i', b'o', 0, 0]);
            let expected = protected(trial.receiver.as_mut(), &silent);
            let outcome = trial.send(&plain);
            assert!(outcome == Outcome::Sent(expected), "{bytes} bytes: {outcome:02x?}");
        }
    }
}
