//! IPv4, IPv6 and VLANs, from each to each, as the kernel's programs carry them. Needs root.

use millrace::base::suite::Suite;
use millrace::fastpath::Protection;
use millrace::srtp::{Protector, Windows};
use millrace_testsuite::kernel::{Kernel, Outcome, Side, obstacle};
use millrace_testsuite::srtp::{parameters, protected, rtp_packet};

/// All lengths of short packets, such as telephone-events and comfort noise, and some of others; with and without the padding of
/// short frames.
fn lengths() -> impl Iterator<Item = (usize, bool)> {
    (12..80).chain([172, 500, 1212, 1500]).flat_map(|bytes| [(bytes, false), (bytes, true)])
}

fn is_possible() -> bool {
    obstacle().inspect(|why| println!("SKIPPED: sides in the kernel: {why}")).is_none()
}

fn pairs() -> impl Iterator<Item = (Side, Side)> {
    Side::ALL.into_iter().flat_map(|from| Side::ALL.map(|to| (from, to)))
}

#[test]
fn plain_packets_go_from_each_side_to_each() {
    if !is_possible() {
        return;
    }
    for (from, to) in pairs() {
        let mut kernel = Kernel::between((from, to), None, 0x1_0000, &Windows::default()).unwrap();
        for (number, (bytes, pads)) in (1..).zip(lengths()) {
            kernel.pads = pads;
            let packet = rtp_packet(number, bytes);
            let (outcome, _) = kernel.send(&packet).unwrap();
            assert!(outcome == Outcome::Sent(packet), "{bytes} bytes, {pads}, from {from:?} to {to:?}: {outcome:02x?}");
        }
    }
}

#[test]
fn srtp_goes_from_each_side_to_each() {
    if !is_possible() {
        return;
    }
    let (open, protect) = (parameters(Suite::AesCm128Sha1_80, 1), parameters(Suite::AeadAes128Gcm, 2));
    let kinds = [(Some(&open), None), (None, Some(&protect)), (Some(&open), Some(&protect))];
    for ((from, to), (open, protect)) in pairs().flat_map(|pair| kinds.map(|kind| (pair, kind))) {
        let protection = Protection { open: open.cloned(), protect: protect.cloned(), passes: false, mid: None };
        let mut kernel = Kernel::between((from, to), Some(protection), 0x1_0000, &Windows::default()).unwrap();
        let (mut sender, mut receiver) = (open.map(Protector::new), protect.map(Protector::new));
        for (number, (bytes, pads)) in (1..).zip(lengths()) {
            kernel.pads = pads;
            let plain = rtp_packet(number, bytes);
            let (outcome, _) = kernel.send(&protected(sender.as_mut(), &plain)).unwrap();
            let expected = protected(receiver.as_mut(), &plain);
            assert!(
                outcome == Outcome::Sent(expected),
                "{bytes} bytes, {pads}, from {from:?} to {to:?}: {outcome:02x?}"
            );
        }
    }
}
