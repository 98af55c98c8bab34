//! The receiving side (RFC 3711, sections 3.3 and 3.4). Nothing of a packet counts before its tag was right.

use super::Error;
use super::cipher::PacketId;
use super::header::{self, RTCP_HEADER_BYTES};
use super::index::estimate;
use super::key::Parameters;
use super::session::{ENCRYPTED, Opening, Transform};
use super::streams::Streams;
use std::fmt;

/// Unprotects what is received under one master key.
pub struct Unprotector {
    rtp: Transform,
    rtcp: Transform,
    pub(super) rtp_streams: Streams,
    rtcp_streams: Streams,
}

impl Unprotector {
    pub fn new(parameters: &Parameters) -> Unprotector {
        Unprotector::with(Transform::rtp(parameters), Transform::rtcp(parameters))
    }

    pub(super) fn with(rtp: Transform, rtcp: Transform) -> Unprotector {
        Unprotector { rtp, rtcp, rtp_streams: Streams::default(), rtcp_streams: Streams::default() }
    }

    /// Checks and decrypts an SRTP packet in place and returns the length of the RTP packet at its beginning. After an
    /// error, the bytes may be anything.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        self.open_rtp(packet, Opening::Decrypt)
    }

    /// Checks an SRTP packet as [`Unprotector::unprotect_rtp`] does and leaves its bytes as they are, for a side that
    /// gets it as it is. After an error, the bytes may be anything.
    pub fn authenticate_rtp(&mut self, packet: &mut [u8]) -> Result<(), Error> {
        self.open_rtp(packet, Opening::Verify).map(drop)
    }

    /// The index of an SRTP packet whose tag is right, the one nearest to `highest`. Nothing is noted, and whether it was
    /// there before is not asked. Afterwards, the bytes may be anything.
    pub fn verify_rtp(&self, packet: &mut [u8], highest: u64) -> Result<u64, Error> {
        let body = self.rtp.body_bytes(packet)?;
        let header = header::rtp(&packet[..body])?;
        self.rtp.check_mki(packet, body)?;
        let id = PacketId::rtp(header.ssrc, estimate(highest, header.sequence)?);
        self.rtp.open(&id, packet, (header.bytes, body), self.rtp.encrypts, Opening::Verify)?;
        Ok(id.index)
    }

    /// Checks and decrypts an SRTCP packet in place and returns the length of the RTCP packet at its beginning. After
    /// an error, the bytes may be anything.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        self.open_rtcp(packet, Opening::Decrypt)
    }

    /// Checks an SRTCP packet as [`Unprotector::unprotect_rtcp`] does and leaves its bytes as they are. After an
    /// error, the bytes may be anything.
    pub fn authenticate_rtcp(&mut self, packet: &mut [u8]) -> Result<(), Error> {
        self.open_rtcp(packet, Opening::Verify).map(drop)
    }

    #[inline]
    fn open_rtp(&mut self, packet: &mut [u8], opening: Opening) -> Result<usize, Error> {
        let body = self.rtp.body_bytes(packet)?;
        let header = header::rtp(&packet[..body])?;
        self.rtp.check_mki(packet, body)?;
        let place = self.rtp_streams.locate_sequence(header.ssrc, header.sequence)?;
        let id = PacketId::rtp(header.ssrc, place.index);
        self.rtp.open(&id, packet, (header.bytes, body), self.rtp.encrypts, opening)?;
        self.rtp_streams.note(place);
        Ok(body)
    }

    #[inline]
    fn open_rtcp(&mut self, packet: &mut [u8], opening: Opening) -> Result<usize, Error> {
        let body = self.rtcp.body_bytes(packet)?;
        let ssrc = header::rtcp(&packet[..body])?;
        self.rtcp.check_mki(packet, body)?;
        let word = self.rtcp.rtcp_word(packet, body);
        let id = PacketId::rtcp(ssrc, word);
        let place = self.rtcp_streams.locate_index(ssrc, id.index)?;
        // The packet says whether it is encrypted, and the tag covers what it says.
        self.rtcp.open(&id, packet, (RTCP_HEADER_BYTES, body), word & ENCRYPTED != 0, opening)?;
        self.rtcp_streams.note(place);
        Ok(body)
    }

    /// The rollover counter of `ssrc`, if one of its packets was accepted or its counter was set.
    pub fn rollover_counter(&self, ssrc: u32) -> Option<u32> {
        self.rtp_streams.rollover_counter(ssrc)
    }

    /// Sets the rollover counter of the next packet of `ssrc`; where that is another, the packets seen are forgotten.
    pub fn set_rollover_counter(&mut self, ssrc: u32, counter: u32) {
        self.rtp_streams.set_rollover_counter(ssrc, counter);
    }

    /// Every SSRC that is known, the one used last first.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> {
        self.rtp_streams.ssrcs()
    }
}

/// Shows no key.
impl fmt::Debug for Unprotector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Unprotector").field("ssrcs", &self.ssrcs().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
