//! Our SRTP beside libsrtp2's, packet by packet on one core: nanoseconds to protect and to unprotect.

use crate::report::{judgement, middle};
use millrace::base::suite::Suite;
use millrace::srtp::{Parameters, Protector, Unprotector};
use millrace_testsuite::srtp::{agree, parameters, rtp_packet};
use millrace_testsuite::system::libsrtp2::{Library, ROOM_BYTES, Session, Way};
use millrace_testsuite::system::{interrupted, now_ns};

/// What ours may take at most of theirs.
const COUNTER_MODE_GOAL: f64 = 0.2;
const GCM_GOAL: f64 = 0.125;

/// AES-192 is only measured: libsrtp2 derives other keys than RFC 6188 from its master keys.
const SUITES: [(Suite, f64, bool); 6] = [
    (Suite::AesCm128Sha1_80, COUNTER_MODE_GOAL, true),
    (Suite::AesCm128Sha1_32, COUNTER_MODE_GOAL, true),
    (Suite::Aes192CmSha1_80, COUNTER_MODE_GOAL, false),
    (Suite::Aes256CmSha1_80, COUNTER_MODE_GOAL, true),
    (Suite::AeadAes128Gcm, GCM_GOAL, true),
    (Suite::AeadAes256Gcm, GCM_GOAL, true),
];
/// RTP header and 20 ms of G.711; a full packet of video.
const PACKET_BYTES: [usize; 2] = [172, 1200];
/// Packets of one batch: they fit the cache, as packets do that have just arrived.
const BATCH_PACKETS: usize = 64;

/// Who protects and unprotects.
trait Implementation {
    fn protect(&mut self, buffer: &mut [u8], length: usize) -> Option<usize>;
    fn unprotect(&mut self, packet: &mut [u8]) -> Option<usize>;
}

struct Ours(Protector, Unprotector);

impl Implementation for Ours {
    fn protect(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.0.protect_rtp(buffer, length).ok()
    }

    fn unprotect(&mut self, packet: &mut [u8]) -> Option<usize> {
        self.1.unprotect_rtp(packet).ok()
    }
}

struct Theirs(Session, Session);

impl Implementation for Theirs {
    fn protect(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.0.protect_rtp(buffer, length).ok()
    }

    fn unprotect(&mut self, packet: &mut [u8]) -> Option<usize> {
        self.1.unprotect_rtp(packet).ok()
    }
}

/// Nanoseconds a packet, of each round.
#[derive(Default)]
struct Figures {
    protect: Vec<f64>,
    unprotect: Vec<f64>,
}

/// One implementation under measurement.
struct Runner<T> {
    implementation: T,
    sequence: u16,
    figures: Figures,
}

/// One packet with its room.
#[derive(Clone)]
#[repr(align(64))]
struct Slot([u8; 1408]);

impl<T: Implementation> Runner<T> {
    fn new(implementation: T) -> Runner<T> {
        Runner { implementation, sequence: 0, figures: Figures::default() }
    }

    /// Protects and unprotects `batches` batches of `template`, which differ in their sequence numbers.
    fn round(&mut self, template: &[u8], slots: &mut [Slot], batches: usize) -> Result<(), String> {
        let (mut protect_ns, mut unprotect_ns) = (0, 0);
        let mut protected = template.len();
        for _ in 0..batches {
            for slot in &mut *slots {
                slot.0[..template.len()].copy_from_slice(template);
                slot.0[2..4].copy_from_slice(&self.sequence.to_be_bytes());
                self.sequence = self.sequence.wrapping_add(1);
            }
            let start = now_ns();
            for slot in &mut *slots {
                let buffer = &mut slot.0[..template.len() + ROOM_BYTES];
                protected = self.implementation.protect(buffer, template.len()).ok_or("a packet was not protected")?;
            }
            let middle = now_ns();
            for slot in &mut *slots {
                self.implementation.unprotect(&mut slot.0[..protected]).ok_or("a packet was not unprotected")?;
            }
            protect_ns += middle - start;
            unprotect_ns += now_ns() - middle;
        }
        if slots.iter().any(|slot| slot.0[4..template.len()] != template[4..]) {
            return Err("a packet came back as another".to_owned());
        }
        let packets = (batches * slots.len()) as f64;
        self.figures.protect.push(protect_ns as f64 / packets);
        self.figures.unprotect.push(unprotect_ns as f64 / packets);
        Ok(())
    }
}

/// Measures in turns, prints medians, and says whether every goal was met. First, both must make the same packets.
pub fn run(rounds: usize, batches: usize) -> Result<bool, String> {
    let library = match Library::load() {
        Ok(library) => library,
        Err(why) => {
            println!("\nSRTP is not measured: {why}");
            return Ok(true);
        }
    };
    println!("\nSRTP, ns a packet on one core, medians of {rounds} rounds of {} packets\n", batches * BATCH_PACKETS);
    println!("{:42}{:>10}{:>12}{:>14}{:>10}", "", "millrace", "libsrtp2", "ours/theirs", "goal");
    let mut met = true;
    for (suite, goal, same) in SUITES {
        let parameters = parameters(suite, 1);
        if same && !agree(library, &parameters)? {
            println!("{:42}libsrtp2 was built without it", suite.name());
            continue;
        }
        for bytes in PACKET_BYTES {
            met &= measure(library, &parameters, bytes, goal, (rounds, batches))?;
        }
    }
    Ok(met)
}

fn measure(
    library: &'static Library,
    parameters: &Parameters,
    bytes: usize,
    goal: f64,
    (rounds, batches): (usize, usize),
) -> Result<bool, String> {
    let session = |way| library.session(parameters, way).ok_or("libsrtp2 opened no session");
    let mut ours = Runner::new(Ours(Protector::new(parameters), Unprotector::new(parameters)));
    let mut theirs = Runner::new(Theirs(session(Way::Out)?, session(Way::In)?));
    let template = rtp_packet(0, bytes);
    let mut slots = vec![Slot([0; _]); BATCH_PACKETS];
    for _ in 0..rounds {
        ours.round(&template, &mut slots, batches)?;
        theirs.round(&template, &mut slots, batches)?;
        if interrupted() {
            return Err("interrupted".to_owned());
        }
    }
    let mut met = true;
    let (ours, theirs) = (ours.figures, theirs.figures);
    for (what, ours, theirs) in
        [("protect", ours.protect, theirs.protect), ("unprotect", ours.unprotect, theirs.unprotect)]
    {
        let medians = [middle(ours), middle(theirs)];
        let label = format!("{} {bytes} {what}", parameters.suite.name());
        println!("{label:42}{:>10.0}{:>12.0}{}", medians[0], medians[1], judgement(&medians, Some(goal)));
        met &= medians[0] <= medians[1] * goal;
    }
    Ok(met)
}
