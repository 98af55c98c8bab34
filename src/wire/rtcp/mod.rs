//! Compound RTCP packets (RFC 3550, section 6): every length checked before it is used.

pub mod feedback;
pub mod rename;
mod report;
mod writer;

pub use report::{ReceptionReport, ReceptionReports, SenderInfo};
pub use writer::Writer;

use super::Malformed;

/// Bytes of the header that all RTCP packets begin with.
pub const HEADER_BYTES: usize = 4;

/// RTCP packet types (RFC 3550, section 12.1; RFC 4585; RFC 3611).
pub mod packet_type {
    pub const SENDER_REPORT: u8 = 200;
    pub const RECEIVER_REPORT: u8 = 201;
    pub const SOURCE_DESCRIPTION: u8 = 202;
    pub const BYE: u8 = 203;
    pub const APPLICATION: u8 = 204;
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    pub const PAYLOAD_FEEDBACK: u8 = 206;
    pub const EXTENDED_REPORT: u8 = 207;
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: u32,
        info: SenderInfo,
        reports: ReceptionReports<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        reports: ReceptionReports<'a>,
    },
    SourceDescription(SourceDescription<'a>),
    Bye {
        sources: Sources<'a>,
        reason: Option<&'a [u8]>,
    },
    Application {
        subtype: u8,
        ssrc: u32,
        name: [u8; 4],
        data: &'a [u8],
    },
    /// RTPFB or PSFB (RFC 4585, section 6.1); `control` is not interpreted.
    Feedback {
        is_payload_specific: bool,
        format: u8,
        sender: u32,
        media: u32,
        control: &'a [u8],
    },
    ExtendedReport {
        ssrc: u32,
        blocks: ExtendedBlocks<'a>,
    },
    /// A type without a meaning here; `body` follows the header.
    Other {
        packet_type: u8,
        count: u8,
        body: &'a [u8],
    },
}

/// The packets of one datagram, in order; ends after the first error.
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Reads `datagram` packet by packet.
    pub fn new(datagram: &'a [u8]) -> Compound<'a> {
        Compound { rest: datagram }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let split = split_first(self.rest);
        self.rest = split.as_ref().map_or(&[], |(_, rest)| rest);
        Some(split.and_then(|(packet, _)| parse_packet(packet)))
    }
}

/// The SSRC of the first packet's sender, the one field that is readable in SRTCP too (RFC 3711, section 3.4).
pub fn first_sender(datagram: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*datagram.get(4..)?.first_chunk()?))
}

/// The first packet with its header, and what follows it.
fn split_first(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    if bytes.len() < HEADER_BYTES {
        return Err(Malformed("RTCP packet shorter than its header"));
    }
    if bytes[0] >> 6 != 2 {
        return Err(Malformed("RTCP version is not 2"));
    }
    let length = (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) + 1) * 4;
    if length > bytes.len() {
        return Err(Malformed("RTCP packet longer than its datagram"));
    }
    Ok(bytes.split_at(length))
}

/// The body of a packet without header and padding.
fn body(packet: &[u8]) -> Result<&[u8], Malformed> {
    let body = &packet[HEADER_BYTES..];
    if packet[0] & 0x20 == 0 {
        return Ok(body);
    }
    match body.last().map(|&count| usize::from(count)) {
        Some(count) if count > 0 && count <= body.len() => Ok(&body[..body.len() - count]),
        _ => Err(Malformed("RTCP padding does not fit its packet")),
    }
}

fn parse_packet(packet: &[u8]) -> Result<Packet<'_>, Malformed> {
    let count = packet[0] & 0x1f;
    let body = body(packet)?;
    match packet[1] {
        packet_type::SENDER_REPORT => sender_report(count, body),
        packet_type::RECEIVER_REPORT => receiver_report(count, body),
        packet_type::SOURCE_DESCRIPTION => source_description(count, body),
        packet_type::BYE => bye(count, body),
        packet_type::APPLICATION => application(count, body),
        packet_type::TRANSPORT_FEEDBACK => feedback(false, count, body),
        packet_type::PAYLOAD_FEEDBACK => feedback(true, count, body),
        packet_type::EXTENDED_REPORT => extended_report(body),
        packet_type => Ok(Packet::Other { packet_type, count, body }),
    }
}

/// Takes four bytes from the front.
fn take_u32<'a>(bytes: &'a [u8], what: &'static str) -> Result<(u32, &'a [u8]), Malformed> {
    let (first, rest) = bytes.split_first_chunk().ok_or(Malformed(what))?;
    Ok((u32::from_be_bytes(*first), rest))
}

fn sender_report(count: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (ssrc, rest) = take_u32(body, "sender report without a sender")?;
    let (info, rest) = SenderInfo::split(rest)?;
    Ok(Packet::SenderReport { ssrc, info, reports: ReceptionReports::take(count, rest)? })
}

fn receiver_report(count: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (ssrc, rest) = take_u32(body, "receiver report without a sender")?;
    Ok(Packet::ReceiverReport { ssrc, reports: ReceptionReports::take(count, rest)? })
}

fn bye(count: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let bytes = usize::from(count) * 4;
    if body.len() < bytes {
        return Err(Malformed("BYE with fewer sources than it counts"));
    }
    let (sources, rest) = body.split_at(bytes);
    let reason = match rest.split_first() {
        None => None,
        Some((&length, text)) => {
            Some(text.get(..usize::from(length)).ok_or(Malformed("BYE reason longer than its packet"))?)
        }
    };
    Ok(Packet::Bye { sources: Sources(sources), reason })
}

fn application(subtype: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (ssrc, rest) = take_u32(body, "APP without a sender")?;
    let (name, data) = rest.split_first_chunk().ok_or(Malformed("APP without a name"))?;
    Ok(Packet::Application { subtype, ssrc, name: *name, data })
}

fn feedback(is_payload_specific: bool, format: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (sender, rest) = take_u32(body, "feedback without a sender")?;
    let (media, control) = take_u32(rest, "feedback without a media source")?;
    Ok(Packet::Feedback { is_payload_specific, format, sender, media, control })
}

fn extended_report(body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (ssrc, rest) = take_u32(body, "extended report without a sender")?;
    let mut check = rest;
    while !check.is_empty() {
        check = split_block(check)?.1;
    }
    Ok(Packet::ExtendedReport { ssrc, blocks: ExtendedBlocks(rest) })
}

/// A list of SSRCs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sources<'a>(&'a [u8]);

impl Sources<'_> {
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.as_chunks().0.iter().map(|&bytes| u32::from_be_bytes(bytes))
    }
}

/// A report block of RFC 3611; `body` is not interpreted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExtendedBlock<'a> {
    pub block_type: u8,
    pub specific: u8,
    pub body: &'a [u8],
}

/// The blocks of an extended report, their lengths checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExtendedBlocks<'a>(&'a [u8]);

impl<'a> Iterator for ExtendedBlocks<'a> {
    type Item = ExtendedBlock<'a>;

    fn next(&mut self) -> Option<ExtendedBlock<'a>> {
        let (block, rest) = split_block(self.0).ok()?;
        self.0 = rest;
        Some(block)
    }
}

fn split_block(bytes: &[u8]) -> Result<(ExtendedBlock<'_>, &[u8]), Malformed> {
    let (header, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed("extended report block without a header"))?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
    if rest.len() < length {
        return Err(Malformed("extended report block longer than its packet"));
    }
    let (body, rest) = rest.split_at(length);
    Ok((ExtendedBlock { block_type: header[0], specific: header[1], body }, rest))
}

/// The chunks of an SDES packet, their lengths checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceDescription<'a> {
    chunks: u8,
    bytes: &'a [u8],
}

/// One item of a source description (RFC 3550, section 6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptionItem<'a> {
    pub ssrc: u32,
    /// 1 is the canonical name.
    pub item_type: u8,
    pub text: &'a [u8],
}

impl<'a> SourceDescription<'a> {
    /// Calls `visit` with every item; the lengths have been checked when the packet was read.
    pub fn for_each(&self, mut visit: impl FnMut(DescriptionItem<'a>)) {
        // The same walk succeeded in `source_description`.
        let _ = walk_description(self.chunks, self.bytes, &mut visit);
    }
}

fn source_description(chunks: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    walk_description(chunks, body, &mut |_| ())?;
    Ok(Packet::SourceDescription(SourceDescription { chunks, bytes: body }))
}

/// A chunk is an SSRC and items; a null ends the items and pads to four bytes.
fn walk_description<'a>(
    chunks: u8,
    body: &'a [u8],
    visit: &mut impl FnMut(DescriptionItem<'a>),
) -> Result<(), Malformed> {
    let mut rest = body;
    for _ in 0..chunks {
        let (ssrc, items) = take_u32(rest, "SDES with fewer chunks than it counts")?;
        let mut at = 0;
        loop {
            let item_type = *items.get(at).ok_or(Malformed("SDES chunk without an end"))?;
            if item_type == 0 {
                break;
            }
            let length = usize::from(*items.get(at + 1).ok_or(Malformed("SDES item without a length"))?);
            let text = items.get(at + 2..at + 2 + length).ok_or(Malformed("SDES item longer than its packet"))?;
            visit(DescriptionItem { ssrc, item_type, text });
            at += 2 + length;
        }
        // The SSRC before the items has four bytes, so alignment counts from the items too.
        rest = items.get((at / 4 + 1) * 4..).ok_or(Malformed("SDES chunk not padded to four bytes"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
