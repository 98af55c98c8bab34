//! Whether our SRTP and libsrtp2's are the same.

use crate::system::libsrtp2::{Library, ROOM_BYTES, Way};
use millrace::base::random::{Random, Seeded};
use millrace::base::suite::Suite;
use millrace::srtp::{MasterKey, Parameters, Protector, Unprotector};
use millrace::wire::rtp::Header;

/// Bytes that begin on a boundary of 16, as libsrtp2 wants packets.
#[repr(align(16))]
pub struct Aligned(pub [u8; 2048]);

/// Parameters with a random key for a suite.
pub fn parameters(suite: Suite, seed: u64) -> Parameters {
    Parameters::new(suite, MasterKey::generate(suite, &mut Seeded(seed)))
}

/// An RTP packet of `bytes` bytes, at least 12, with a random payload.
pub fn rtp_packet(sequence: u16, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes.saturating_sub(12)];
    Seeded(u64::from(sequence)).fill(&mut payload);
    let timestamp = 160 * u32::from(sequence);
    Header { marker: false, payload_type: 8, sequence, timestamp, ssrc: 0x1234_5678 }.write(&payload)
}

/// The same with contributing sources and an extension.
pub fn adorned(sequence: u16, bytes: usize, sources: usize, extension_words: Option<u16>) -> Vec<u8> {
    let mut packet = rtp_packet(sequence, bytes);
    packet[0] |= sources as u8;
    let mut header = vec![0; sources * 4];
    Seeded(u64::from(sequence)).fill(&mut header);
    if let Some(words) = extension_words {
        packet[0] |= 0x10;
        header.extend([0xbe, 0xde]);
        header.extend(words.to_be_bytes());
        header.extend(vec![0x11; usize::from(words) * 4]);
    }
    packet.splice(12..12, header);
    packet
}

/// A receiver report of `blocks` random blocks.
fn rtcp_packet(blocks: u8) -> Vec<u8> {
    let mut packet = vec![0x80 | blocks, 201, 0, blocks * 6 + 1, 0x12, 0x34, 0x56, 0x78];
    let start = packet.len();
    packet.resize(start + usize::from(blocks) * 24, 0);
    Seeded(u64::from(blocks)).fill(&mut packet[start..]);
    packet
}

/// Checks that both make the same bytes of the same packets and read each other's. Sequence numbers wrap on the way.
/// `Ok(false)`: libsrtp2 can't do what the parameters say.
pub fn agree(library: &'static Library, parameters: &Parameters) -> Result<bool, String> {
    let (Some(mut theirs_out), Some(mut theirs_in)) =
        (library.session(parameters, Way::Out), library.session(parameters, Way::In))
    else {
        return Ok(false);
    };
    let (mut ours_out, mut ours_in) = (Protector::new(parameters), Unprotector::new(parameters));
    for number in 0..200u16 {
        let plain = rtp_packet(65_500u16.wrapping_add(number), 12 + usize::from(number) * 7);
        let what = format!("RTP packet {number} of {parameters:?}");
        both(
            &plain,
            &what,
            [
                &mut |buffer, length| ours_out.protect_rtp(buffer, length).map_err(|error| error.to_string()),
                &mut |b, l| theirs_out.protect_rtp(b, l).map_err(status),
            ],
            [&mut |packet| ours_in.unprotect_rtp(packet).map_err(|error| error.to_string()), &mut |packet| {
                theirs_in.unprotect_rtp(packet).map_err(status)
            }],
        )?;
    }
    // libsrtp2 begins with index 1, RFC 3711 with 0.
    ours_out.set_rtcp_index(1);
    for blocks in 0..20 {
        let what = format!("RTCP packet of {blocks} blocks of {parameters:?}");
        both(
            &rtcp_packet(blocks),
            &what,
            [
                &mut |buffer, length| ours_out.protect_rtcp(buffer, length).map_err(|error| error.to_string()),
                &mut |b, l| theirs_out.protect_rtcp(b, l).map_err(status),
            ],
            [&mut |packet| ours_in.unprotect_rtcp(packet).map_err(|error| error.to_string()), &mut |packet| {
                theirs_in.unprotect_rtcp(packet).map_err(status)
            }],
        )?;
    }
    Ok(true)
}

fn status(status: u32) -> String {
    format!("libsrtp2's status {status}")
}

type Protect<'a> = &'a mut dyn FnMut(&mut [u8], usize) -> Result<usize, String>;
type Unprotect<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<usize, String>;

/// Protects one packet both ways and unprotects it both ways.
fn both(plain: &[u8], what: &str, protect: [Protect; 2], unprotect: [Unprotect; 2]) -> Result<(), String> {
    let fault = |why: String| format!("{what}: {why}");
    let mut made = Vec::new();
    for protect in protect {
        let mut buffer = Aligned([0; 2048]);
        buffer.0[..plain.len()].copy_from_slice(plain);
        let length = protect(&mut buffer.0[..plain.len() + ROOM_BYTES], plain.len()).map_err(fault)?;
        made.push(buffer.0[..length].to_vec());
    }
    if made[0] != made[1] {
        return Err(fault(format!("ours is\n{:02x?}\ntheirs is\n{:02x?}", made[0], made[1])));
    }
    for unprotect in unprotect {
        let mut buffer = Aligned([0; 2048]);
        buffer.0[..made[0].len()].copy_from_slice(&made[0]);
        let length = unprotect(&mut buffer.0[..made[0].len()]).map_err(fault)?;
        if buffer.0[..length] != *plain {
            return Err(fault("unprotected, it is another".to_owned()));
        }
    }
    Ok(())
}

/// More than any suite appends to a packet.
const ROOM_FOR_TAG_BYTES: usize = 32;

/// A packet as it is sent: as it is, without a protector. Panics if it can't be protected, which is for tests.
pub fn protected(protector: Option<&mut Protector>, plain: &[u8]) -> Vec<u8> {
    let mut bytes = plain.to_vec();
    bytes.resize(plain.len() + ROOM_FOR_TAG_BYTES, 0);
    let length = protector.map_or(plain.len(), |one| one.protect_rtp(&mut bytes, plain.len()).unwrap());
    bytes.truncate(length);
    bytes
}
