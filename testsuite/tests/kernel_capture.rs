//! What the kernel's programs copy of a flow that is captured: frames as they come and as they leave. Needs root.

use millrace::base::suite::Suite;
use millrace::fastpath::Protection;
use millrace::fastpath::verdict::Verdict;
use millrace::io::xdp::{CaptureRing, CapturedFrame};
use millrace::srtp::{Parameters, Protector, Windows};
use millrace_testsuite::kernel::{INTERFACE, Kernel, Outcome, obstacle};
use millrace_testsuite::srtp::{parameters, rtp_packet};

/// Of Ethernet, IPv4 and UDP.
const HEADER_BYTES: usize = 42;

fn runs_here() -> bool {
    match obstacle() {
        None => true,
        Some(why) => {
            eprintln!("SKIPPED: {why}");
            false
        }
    }
}

/// All that waits.
fn frames(ring: &mut CaptureRing) -> Vec<CapturedFrame> {
    std::iter::from_fn(|| ring.next_frame()).collect()
}

fn payload(frame: &CapturedFrame) -> &[u8] {
    assert_eq!(frame.bytes.len(), frame.length);
    &frame.bytes[HEADER_BYTES..]
}

/// Sends a packet that goes on, and compares what was copied with what came and what left.
fn goes_on(kernel: &Kernel, ring: &mut CaptureRing, packet: &[u8]) {
    let (Outcome::Sent(sent), _) = kernel.send(packet).unwrap() else { panic!("it goes on") };
    let copies = frames(ring);
    let [came, left] = copies.as_slice() else { panic!("{} copies", copies.len()) };
    assert_eq!((came.is_outbound, left.is_outbound), (false, true));
    assert_eq!((came.verdict, left.verdict), (Verdict::Forwarded, Verdict::Forwarded));
    assert_eq!((payload(came), payload(left)), (packet, sent.as_slice()));
    assert!(left.interface == INTERFACE && came.time_ns > 0 && left.time_ns >= came.time_ns);
}

#[test]
fn plain_packets_are_copied_twice() {
    if !runs_here() {
        return;
    }
    let mut kernel = Kernel::new(None, 0x1_0001, &Windows::default()).unwrap();
    assert!(matches!(kernel.send(&rtp_packet(2, 172)).unwrap().0, Outcome::Sent(_)));
    let mut ring = kernel.capture().unwrap();
    assert_eq!(frames(&mut ring), [], "nothing is copied before it is captured");
    for (sequence, bytes) in [(3, 172), (4, 12), (5, 13), (6, 1400)] {
        goes_on(&kernel, &mut ring, &rtp_packet(sequence, bytes));
    }
    // What is left to the daemon, it copies itself.
    let mut odd = rtp_packet(7, 172);
    odd[1] = 99;
    assert_eq!(kernel.send(&odd).unwrap().0, Outcome::Passed);
    assert_eq!(frames(&mut ring), []);
    assert_eq!(ring.lost(), 0);
}

#[test]
fn srtp_is_copied_as_it_is_on_the_wire() {
    if !runs_here() {
        return;
    }
    let [ours, theirs]: [Parameters; 2] = [1, 2].map(|seed| parameters(Suite::AesCm128Sha1_80, seed));
    let protection = Protection { open: Some(ours.clone()), protect: Some(theirs), passes: false, mid: None };
    let mut kernel = Kernel::new(Some(protection), 1, &Windows::default()).unwrap();
    let mut ring = kernel.capture().unwrap();
    let mut sender = Protector::new(&ours);
    let mut packet = rtp_packet(2, 172);
    packet.resize(172 + 16, 0);
    let length = sender.protect_rtp(&mut packet, 172).unwrap();
    packet.truncate(length);
    goes_on(&kernel, &mut ring, &packet);
    // The same again, and one that is forged: they end here, and it is said why.
    assert_eq!(kernel.send(&packet).unwrap().0, Outcome::Dropped);
    packet[3] = 3;
    assert_eq!(kernel.send(&packet).unwrap().0, Outcome::Dropped);
    let copies = frames(&mut ring);
    let verdicts: Vec<(Verdict, bool)> = copies.iter().map(|copy| (copy.verdict, copy.is_outbound)).collect();
    assert_eq!(verdicts, [(Verdict::Replayed, false), (Verdict::WrongTag, false)]);
    assert_eq!(payload(&copies[1]), packet);
}

#[test]
fn what_finds_no_room_is_counted() {
    if !runs_here() {
        return;
    }
    let mut kernel = Kernel::new(None, 0x1_0000, &Windows::default()).unwrap();
    let mut ring = kernel.capture().unwrap();
    let count = 1000;
    for sequence in 1..=count {
        assert!(matches!(kernel.send(&rtp_packet(sequence, 1200)).unwrap().0, Outcome::Sent(_)));
    }
    let (kept, lost) = (frames(&mut ring).len() as u64, ring.lost());
    assert!(lost > 0 && kept > 500, "{kept} kept, {lost} lost");
    assert_eq!(kept + lost, 2 * u64::from(count));
}
