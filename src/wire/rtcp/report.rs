//! Sender information and reception report blocks (RFC 3550, section 6.4).

use crate::wire::Malformed;

const SENDER_INFO_BYTES: usize = 20;
const REPORT_BYTES: usize = 24;

/// What a sender report says of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// Seconds since 1900 in the high half, fractions of 2^-32 in the low half.
    pub ntp: u64,
    pub rtp_timestamp: u32,
    pub packets: u32,
    pub payload_bytes: u32,
}

impl SenderInfo {
    /// Takes sender information from the front of `bytes`.
    pub(super) fn split(bytes: &[u8]) -> Result<(SenderInfo, &[u8]), Malformed> {
        let (info, rest) = bytes
            .split_first_chunk::<SENDER_INFO_BYTES>()
            .ok_or(Malformed("sender report shorter than its sender information"))?;
        let word = |at: usize| u32::from_be_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        let info = SenderInfo {
            ntp: u64::from(word(0)) << 32 | u64::from(word(4)),
            rtp_timestamp: word(8),
            packets: word(12),
            payload_bytes: word(16),
        };
        Ok((info, rest))
    }

    /// The middle 32 bits of the NTP timestamp, which reception reports repeat as LSR.
    pub fn ntp_middle(&self) -> u32 {
        (self.ntp >> 16) as u32
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.ntp.to_be_bytes());
        for word in [self.rtp_timestamp, self.packets, self.payload_bytes] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// What a receiver says of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceptionReport {
    pub ssrc: u32,
    /// Packets lost since the last report, in 256ths of those expected.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, a signed number of 24 bits: duplicates make it negative.
    pub cumulative_lost: i32,
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the RTP timestamp.
    pub jitter: u32,
    /// The middle 32 bits of the NTP timestamp of the last sender report received; 0 before the first.
    pub last_sender_report: u32,
    /// The delay since that report, in units of 1/65536 s.
    pub delay_since_last: u32,
}

impl ReceptionReport {
    fn read(bytes: &[u8; REPORT_BYTES]) -> ReceptionReport {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        ReceptionReport {
            ssrc: word(0),
            fraction_lost: bytes[4],
            cumulative_lost: (word(4) << 8) as i32 >> 8,
            highest_sequence: word(8),
            jitter: word(12),
            last_sender_report: word(16),
            delay_since_last: word(20),
        }
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let lost = u32::from(self.fraction_lost) << 24 | (self.cumulative_lost as u32 & 0xff_ffff);
        for word in
            [self.ssrc, lost, self.highest_sequence, self.jitter, self.last_sender_report, self.delay_since_last]
        {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// The report blocks of a sender or receiver report, at most 31.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReceptionReports<'a>(&'a [[u8; REPORT_BYTES]]);

impl<'a> ReceptionReports<'a> {
    /// `count` blocks from the front of `bytes`; profile-specific extensions may follow and are not looked at.
    pub(super) fn take(count: u8, bytes: &'a [u8]) -> Result<ReceptionReports<'a>, Malformed> {
        let blocks = bytes.as_chunks().0.get(..usize::from(count));
        blocks.map(ReceptionReports).ok_or(Malformed("report with fewer blocks than it counts"))
    }

    pub fn iter(&self) -> impl Iterator<Item = ReceptionReport> + 'a {
        self.0.iter().map(ReceptionReport::read)
    }
}
