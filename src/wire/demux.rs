//! Which protocol a datagram on a media port speaks (RFC 7983, section 7; RFC 5761, section 4; RFC 9443).

/// A protocol that shares ports with RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Stun,
    Zrtp,
    Dtls,
    TurnChannel,
    Rtp,
    Rtcp,
    /// No datagram of a known protocol begins like this.
    Unknown,
}

/// Tells the protocol from the first two bytes; nothing else of the datagram is looked at.
pub fn classify(datagram: &[u8]) -> Protocol {
    match datagram.first() {
        Some(0..=3) => Protocol::Stun,
        Some(16..=19) => Protocol::Zrtp,
        Some(20..=63) => Protocol::Dtls,
        Some(64..=79) => Protocol::TurnChannel,
        Some(128..=191) => match datagram.get(1) {
            Some(192..=223) => Protocol::Rtcp,
            _ => Protocol::Rtp,
        },
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_follow_the_table_of_rfc_7983() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => Protocol::Stun,
                16..=19 => Protocol::Zrtp,
                20..=63 => Protocol::Dtls,
                64..=79 => Protocol::TurnChannel,
                128..=191 => Protocol::Rtp,
                _ => Protocol::Unknown,
            };
            assert_eq!(classify(&[first]), expected, "{first}");
            assert_eq!(classify(&[first, 0]), expected, "{first}");
        }
        assert_eq!(classify(&[]), Protocol::Unknown);
    }

    #[test]
    fn second_bytes_tell_rtcp_from_rtp() {
        for second in 0..=255u8 {
            let expected = if (192..=223).contains(&second) { Protocol::Rtcp } else { Protocol::Rtp };
            assert_eq!(classify(&[0x80, second]), expected, "{second}");
        }
    }
}
