//! Writes compound RTCP packets.

use super::{ReceptionReport, SenderInfo, packet_type};

/// Collects the packets of one compound.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A writer in the room of an earlier datagram.
    pub fn reuse(mut bytes: Vec<u8>) -> Writer {
        bytes.clear();
        Writer { bytes }
    }

    /// The compound as a datagram.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// At most 31 reports are written.
    pub fn sender_report(self, ssrc: u32, info: &SenderInfo, reports: &[ReceptionReport]) -> Writer {
        let reports = &reports[..reports.len().min(31)];
        self.packet(packet_type::SENDER_REPORT, reports.len() as u8, |bytes| {
            bytes.extend_from_slice(&ssrc.to_be_bytes());
            info.write(bytes);
            reports.iter().for_each(|report| report.write(bytes));
        })
    }

    /// At most 31 reports are written.
    pub fn receiver_report(self, ssrc: u32, reports: &[ReceptionReport]) -> Writer {
        let reports = &reports[..reports.len().min(31)];
        self.packet(packet_type::RECEIVER_REPORT, reports.len() as u8, |bytes| {
            bytes.extend_from_slice(&ssrc.to_be_bytes());
            reports.iter().for_each(|report| report.write(bytes));
        })
    }

    /// One chunk with a canonical name, cut after 255 bytes.
    pub fn canonical_name(self, ssrc: u32, name: &str) -> Writer {
        let name = &name.as_bytes()[..name.len().min(255)];
        self.packet(packet_type::SOURCE_DESCRIPTION, 1, |bytes| {
            bytes.extend_from_slice(&ssrc.to_be_bytes());
            bytes.extend_from_slice(&[1, name.len() as u8]);
            bytes.extend_from_slice(name);
            bytes.push(0);
        })
    }

    /// At most 31 sources are written.
    pub fn bye(self, sources: &[u32]) -> Writer {
        let sources = &sources[..sources.len().min(31)];
        self.packet(packet_type::BYE, sources.len() as u8, |bytes| {
            sources.iter().for_each(|source| bytes.extend_from_slice(&source.to_be_bytes()));
        })
    }

    /// A packet of any type, `count` in the low five bits of its first byte; nulls pad the body to four bytes.
    pub fn packet(mut self, packet_type: u8, count: u8, body: impl FnOnce(&mut Vec<u8>)) -> Writer {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0x80 | (count & 0x1f), packet_type, 0, 0]);
        body(&mut self.bytes);
        while !(self.bytes.len() - start).is_multiple_of(4) {
            self.bytes.push(0);
        }
        let words = ((self.bytes.len() - start) / 4 - 1) as u16;
        self.bytes[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
        self
    }
}
