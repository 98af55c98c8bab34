//! The sending side (RFC 3711, sections 3.3 and 3.4).

use super::Error;
use super::cipher::PacketId;
use super::header::{self, RTCP_HEADER_BYTES};
use super::key::Parameters;
use super::session::{ENCRYPTED, Transform};
use super::streams::Streams;
use std::fmt;

/// Protects what is sent under one master key.
pub struct Protector {
    rtp: Transform,
    rtcp: Transform,
    pub(super) streams: Streams,
    /// One counter for every SSRC, so that an SSRC that was forgotten and comes back uses no index twice.
    next_rtcp_index: u32,
}

impl Protector {
    pub fn new(parameters: &Parameters) -> Protector {
        Protector::with(Transform::rtp(parameters), Transform::rtcp(parameters))
    }

    pub(super) fn with(rtp: Transform, rtcp: Transform) -> Protector {
        Protector { rtp, rtcp, streams: Streams::default(), next_rtcp_index: 0 }
    }

    /// Encrypts the RTP packet `buffer[..length]` in place, appends MKI and tag, and returns the new length.
    ///
    /// Sequence numbers may come out of order by up to 127, also over a wrap. A number that was protected before is
    /// [`Error::Replayed`], as is one that is older: two packets under one index would betray each other's contents
    /// (RFC 3711, section 9.1), and the receiver would drop the second anyway.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Error> {
        let header = header::rtp(buffer.get(..length).ok_or(Error::NoRoom)?)?;
        let end = length + self.rtp.appended_bytes;
        if buffer.len() < end {
            return Err(Error::NoRoom);
        }
        let place = self.streams.locate_sequence(header.ssrc, header.sequence)?;
        let id = PacketId::rtp(header.ssrc, place.index);
        self.rtp.protect(&id, buffer, length, header.bytes)?;
        self.streams.note(place);
        Ok(end)
    }

    /// The same for a packet that a receiver has lost and is sent once more (RFC 4585, section 6.2.1).
    ///
    /// Under the index of the first time the same bytes come out, so that whoever has both packets knows no more than
    /// who has one (RFC 3711, section 9.1, forbids one keystream for two contents). The caller answers for that: header,
    /// extensions and payload are those of the packet that was protected under this SSRC and number, if there was one.
    /// A number that was not protected before counts as protected from now on.
    pub fn protect_rtp_again(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Error> {
        let header = header::rtp(buffer.get(..length).ok_or(Error::NoRoom)?)?;
        let end = length + self.rtp.appended_bytes;
        if buffer.len() < end {
            return Err(Error::NoRoom);
        }
        let index = self.streams.index_of(header.ssrc, header.sequence)?;
        let place = self.streams.locate_index(header.ssrc, index);
        self.rtp.protect(&PacketId::rtp(header.ssrc, index), buffer, length, header.bytes)?;
        if let Ok(place) = place {
            self.streams.note(place);
        }
        Ok(end)
    }

    /// Encrypts the RTCP packet `buffer[..length]` in place, appends index, MKI and tag, and returns the new length.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Error> {
        let ssrc = header::rtcp(buffer.get(..length).ok_or(Error::NoRoom)?)?;
        let end = length + self.rtcp.appended_bytes;
        if buffer.len() < end {
            return Err(Error::NoRoom);
        }
        if self.next_rtcp_index >= ENCRYPTED {
            return Err(Error::KeyExpired);
        }
        let flag = if self.rtcp.encrypts { ENCRYPTED } else { 0 };
        let id = PacketId::rtcp(ssrc, flag | self.next_rtcp_index);
        self.rtcp.protect(&id, buffer, length, RTCP_HEADER_BYTES)?;
        self.next_rtcp_index += 1;
        Ok(end)
    }

    /// What [`Protector::protect_rtp`] appends, in bytes.
    pub fn rtp_appended_bytes(&self) -> usize {
        self.rtp.appended_bytes
    }

    /// What [`Protector::protect_rtcp`] appends, in bytes.
    pub fn rtcp_appended_bytes(&self) -> usize {
        self.rtcp.appended_bytes
    }

    /// The rollover counter of `ssrc`, if one of its packets was protected or its counter was set.
    pub fn rollover_counter(&self, ssrc: u32) -> Option<u32> {
        self.streams.rollover_counter(ssrc)
    }

    /// Sets the rollover counter of the next packet of `ssrc`. Going back under the same key uses indices twice.
    pub fn set_rollover_counter(&mut self, ssrc: u32, counter: u32) {
        self.streams.set_rollover_counter(ssrc, counter);
    }

    /// Every SSRC that is known, the one used last first.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> {
        self.streams.ssrcs()
    }

    /// The index of the next SRTCP packet.
    pub fn rtcp_index(&self) -> u32 {
        self.next_rtcp_index
    }

    /// Sets the index of the next SRTCP packet, at most 2^31. Going back under the same key uses indices twice.
    pub fn set_rtcp_index(&mut self, index: u32) {
        self.next_rtcp_index = index.min(ENCRYPTED);
    }
}

/// Shows no key.
impl fmt::Debug for Protector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Protector").field("ssrcs", &self.ssrcs().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
