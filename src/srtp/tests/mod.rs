//! SRTP as a whole: the vectors of the standards, and what must hold for every suite and parameter.

mod attacks;
mod order;
mod properties;
mod vectors;

use super::*;
use crate::base::random::Seeded;
use crate::base::suite::{SUITES, Suite};
use crate::wire::rtp::Header;

/// Parameters with a random key for a suite.
fn parameters(suite: Suite, seed: u64) -> Parameters {
    Parameters::new(suite, MasterKey::generate(suite, &mut Seeded(seed)))
}

/// Every suite with every session parameter, with and without an MKI.
fn every_parameters() -> impl Iterator<Item = Parameters> {
    let each = SUITES.iter().flat_map(|(suite, _)| (0..16).map(move |flags| (*suite, flags)));
    each.map(|(suite, flags)| Parameters {
        unencrypted_srtp: flags & 1 != 0,
        unencrypted_srtcp: flags & 2 != 0,
        unauthenticated_srtp: flags & 4 != 0,
        mki: (flags & 8 != 0).then(|| Mki::new(&[1, 2, 3][..1 + flags % 3]).unwrap()),
        ..parameters(suite, flags as u64)
    })
}

/// Whether SRTP packets carry a tag.
fn is_authenticated(parameters: &Parameters) -> bool {
    !parameters.unauthenticated_srtp || suite::cipher_kind(parameters.suite) == suite::CipherKind::Gcm
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    Header { marker: false, payload_type: 8, sequence, timestamp: 160 * u32::from(sequence), ssrc }.write(payload)
}

fn rtcp(ssrc: u32, body: &[u8]) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes(), body].concat()
}

/// The packet as it is protected.
fn protect_rtp(protector: &mut Protector, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + protector.rtp_appended_bytes(), 0xee);
    assert_eq!(protector.protect_rtp(&mut buffer, packet.len())?, buffer.len());
    Ok(buffer)
}

fn protect_rtcp(protector: &mut Protector, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + protector.rtcp_appended_bytes(), 0xee);
    assert_eq!(protector.protect_rtcp(&mut buffer, packet.len())?, buffer.len());
    Ok(buffer)
}

fn unprotect_rtp(unprotector: &mut Unprotector, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = packet.to_vec();
    let length = unprotector.unprotect_rtp(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn unprotect_rtcp(unprotector: &mut Unprotector, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = packet.to_vec();
    let length = unprotector.unprotect_rtcp(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}
