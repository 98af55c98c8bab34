//! Feedback of receivers: generic NACK (RFC 4585, section 6.2.1), transport-wide arrival times
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), the receiver's estimate of its bandwidth
//! (draft-alvestrand-rmcat-remb-03).

use super::{Writer, packet_type};

/// Formats of transport-layer feedback.
pub const NACK: u8 = 1;
pub const TRANSPORT_WIDE: u8 = 15;
/// Formats of payload-specific feedback.
pub const PICTURE_LOSS: u8 = 1;
pub const FULL_INTRA: u8 = 4;
pub const APPLICATION_LAYER: u8 = 15;

/// What names REMB among application layer feedback.
const REMB: &[u8; 4] = b"REMB";

/// The sequence numbers that the control information of a generic NACK names.
pub fn nack_sequences(control: &[u8]) -> impl Iterator<Item = u16> + '_ {
    control.as_chunks::<4>().0.iter().flat_map(|entry| {
        let first = u16::from_be_bytes([entry[0], entry[1]]);
        let following = u16::from_be_bytes([entry[2], entry[3]]);
        let others = (0..16).filter(move |bit| following >> bit & 1 == 1);
        std::iter::once(first).chain(others.map(move |bit| first.wrapping_add(bit + 1)))
    })
}

/// The bitrate in bits per second that control information of application layer feedback names, if it is REMB.
pub fn remb_bitrate(control: &[u8]) -> Option<u64> {
    let [name, numbers] = control.as_chunks::<4>().0.get(..2)? else { return None };
    let number = u32::from_be_bytes(*numbers) & 0xff_ffff;
    let bitrate = u128::from(number & 0x3_ffff) << (number >> 18);
    (name == REMB).then(|| u64::try_from(bitrate).unwrap_or(u64::MAX))
}

impl Writer {
    /// A feedback packet with the control information that `control` appends.
    pub fn feedback(
        self,
        (packet_type, format): (u8, u8),
        sender: u32,
        media: u32,
        control: impl FnOnce(&mut Vec<u8>),
    ) -> Writer {
        self.packet(packet_type, format, |bytes| {
            bytes.extend_from_slice(&sender.to_be_bytes());
            bytes.extend_from_slice(&media.to_be_bytes());
            control(bytes);
        })
    }

    /// The bitrate that a sender of `sources` should not exceed, in bits per second; rounded down to what the format
    /// can say. At most 255 sources are written.
    pub fn remb(self, sender: u32, bitrate: u64, sources: &[u32]) -> Writer {
        let sources = &sources[..sources.len().min(255)];
        let exponent = (u64::BITS - bitrate.leading_zeros()).saturating_sub(18);
        let number = (sources.len() as u32) << 24 | exponent << 18 | (bitrate >> exponent) as u32;
        self.feedback((packet_type::PAYLOAD_FEEDBACK, APPLICATION_LAYER), sender, 0, |bytes| {
            bytes.extend_from_slice(REMB);
            bytes.extend_from_slice(&number.to_be_bytes());
            sources.iter().for_each(|source| bytes.extend_from_slice(&source.to_be_bytes()));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compound, Packet};
    use super::*;

    #[test]
    fn a_nack_names_a_packet_and_some_of_those_after_it() {
        let named = |control: &[u8]| nack_sequences(control).collect::<Vec<_>>();
        assert_eq!(named(&[0, 5, 0, 0]), [5]);
        assert_eq!(named(&[0xff, 0xfe, 0x80, 0x05, 0, 1, 0, 0]), [65_534, 65_535, 1, 14, 1]);
        assert_eq!(named(&[0, 5, 0]), [0; 0]);
    }

    #[test]
    fn a_bitrate_is_read_as_it_was_written() {
        for (bitrate, expected) in [
            (0, 0),
            (262_143, 262_143),
            (262_144, 262_144),
            (5_000_000, 5_000_000 >> 5 << 5),
            (u64::MAX, 0x3_ffff << 46),
        ] {
            let bytes = Writer::new().remb(7, bitrate, &[1, 2]).finish();
            let packets: Vec<Packet> = Compound::new(&bytes).map(Result::unwrap).collect();
            let [Packet::Feedback { is_payload_specific: true, format: 15, sender: 7, media: 0, control }] =
                packets[..]
            else {
                panic!("{packets:?}")
            };
            assert_eq!(remb_bitrate(control), Some(expected), "{bitrate}");
            assert_eq!(control[8..], [0, 0, 0, 1, 0, 0, 0, 2]);
        }
        assert_eq!(remb_bitrate(b"REMB\x01\xff\xff\xff"), Some(u64::MAX));
        assert_eq!(remb_bitrate(b"REMB\x01\xff\xff"), None);
        assert_eq!(remb_bitrate(b"BMER\x01\xff\xff\xff"), None);
    }
}
