//! Serial-number arithmetic on 16-bit RTP sequence numbers (RFC 3550, appendix A.1; RFC 1982).

/// The signed distance from `from` to `to`: positive when `to` is newer.
pub fn distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from) as i16
}

/// The extended sequence number nearest to `reference` whose low 16 bits are `sequence`.
///
/// A sender starts anywhere, so the first reference of a source should have its cycle count at one: a packet that is
/// older than the first then still has a number.
pub fn extend(reference: u32, sequence: u16) -> u32 {
    reference.wrapping_add(i32::from(distance(reference as u16, sequence)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_wrap() {
        for (from, to, expected) in [
            (0, 0, 0),
            (0, 1, 1),
            (65535, 0, 1),
            (0, 65535, -1),
            (65000, 100, 636),
            (100, 65000, -636),
            (0, 32767, 32767),
        ] {
            assert_eq!(distance(from, to), expected, "{from} to {to}");
        }
    }

    #[test]
    fn extended_numbers_follow_the_reference_over_the_wrap() {
        for (reference, sequence, expected) in [
            (0x1_0000, 0, 0x1_0000),
            (0x1_ffff, 0, 0x2_0000),
            (0x2_0000, 0xffff, 0x1_ffff),
            (0x2_0005, 3, 0x2_0003),
            (0xffff_ffff, 0, 0),
        ] {
            assert_eq!(extend(reference, sequence), expected, "{reference:x} and {sequence:x}");
        }
    }
}
