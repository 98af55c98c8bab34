//! The packet index of SRTP, guessed from the sequence number (RFC 3711, section 3.3.1 and appendix A).

use super::Error;

/// The index nearest to `highest`, the highest one known, whose low 16 bits are `sequence`.
///
/// [`Error::Replayed`]: it would be below zero. [`Error::KeyExpired`]: it would have more than 48 bits.
#[inline]
pub(super) fn estimate(highest: u64, sequence: u16) -> Result<u64, Error> {
    let (rollover, last) = (highest >> 16, highest as u16);
    let rollover = if last < 0x8000 {
        if sequence > last && sequence - last > 0x8000 { rollover.checked_sub(1) } else { Some(rollover) }
    } else if last - 0x8000 > sequence {
        Some(rollover + 1)
    } else {
        Some(rollover)
    };
    match rollover {
        None => Err(Error::Replayed),
        Some(rollover) if rollover > u64::from(u32::MAX) => Err(Error::KeyExpired),
        Some(rollover) => Ok(rollover << 16 | u64::from(sequence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_follow_appendix_a() {
        for (highest, sequence, index) in [
            (0, 0, Ok(0)),
            (0, 0x8000, Ok(0x8000)),
            (0, 0x8001, Err(Error::Replayed)),
            (5, 0xffff, Err(Error::Replayed)),
            (0x1_0005, 0xffff, Ok(0xffff)),
            (0x1_7fff, 0xffff, Ok(0x1_ffff)),
            (0x1_7ffe, 0xffff, Ok(0xffff)),
            (0x1_8000, 0, Ok(0x1_0000)),
            (0x1_8001, 0, Ok(0x2_0000)),
            (0x1_ffff, 0, Ok(0x2_0000)),
            (0x1_ffff, 0x7ffe, Ok(0x2_7ffe)),
            (0x1_ffff, 0x7fff, Ok(0x1_7fff)),
            (0xffff_ffff_fff0, 0xffff, Ok(0xffff_ffff_ffff)),
            (0xffff_ffff_fff0, 0, Err(Error::KeyExpired)),
        ] {
            assert_eq!(estimate(highest, sequence), index, "{highest:x} {sequence:x}");
        }
    }
}
