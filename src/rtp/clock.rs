//! RTP clocks: rates of static payload types, and time in their units.

use crate::base::time::Mono;

/// The clock rate of a static payload type (RFC 3551, section 6); none for dynamic and unassigned ones.
pub fn static_rate_hz(payload_type: u8) -> Option<u32> {
    match payload_type {
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => Some(8000),
        6 => Some(16_000),
        10 | 11 => Some(44_100),
        16 => Some(11_025),
        17 => Some(22_050),
        14 | 25 | 26 | 28 | 31..=34 => Some(90_000),
        _ => None,
    }
}

/// `time` in units of a clock, modulo 2^32 as RTP timestamps are.
pub fn units(time: Mono, rate_hz: u32) -> u32 {
    let seconds = time.0 / 1_000_000_000;
    let nanoseconds = time.0 % 1_000_000_000;
    let part = nanoseconds * u64::from(rate_hz) / 1_000_000_000;
    (seconds.wrapping_mul(u64::from(rate_hz))).wrapping_add(part) as u32
}

/// `units` of a clock in whole milliseconds; zero when the rate is unknown.
pub fn milliseconds(units: u32, rate_hz: u32) -> u32 {
    (u64::from(units) * 1000).checked_div(u64::from(rate_hz)).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_scaled_without_overflow() {
        for (nanoseconds, rate, expected) in [
            (0, 8000, 0),
            (1_000_000_000, 8000, 8000),
            (20_000_000, 8000, 160),
            (20_000_000, 90_000, 1800),
            (10_000_000_000_000_000, 90_000, (10_000_000u64 * 90_000) as u32),
        ] {
            assert_eq!(units(Mono(nanoseconds), rate), expected, "{nanoseconds} ns at {rate} Hz");
        }
        units(Mono(u64::MAX), u32::MAX);
    }

    #[test]
    fn milliseconds_of_an_unknown_clock_are_zero() {
        assert_eq!(milliseconds(160, 8000), 20);
        assert_eq!(milliseconds(160, 0), 0);
        assert_eq!(milliseconds(u32::MAX, 1), (u64::from(u32::MAX) * 1000) as u32);
    }
}
