//! The static payload types of RTP/AVP (RFC 3551, tables 4 and 5).

/// A static payload type's encoding name, clock rate in Hz and channels.
pub type StaticPayloadType = (u8, &'static str, u32, u8);

/// The table, by payload type.
pub const STATIC: [StaticPayloadType; 24] = [
    (0, "PCMU", 8000, 1),
    (3, "GSM", 8000, 1),
    (4, "G723", 8000, 1),
    (5, "DVI4", 8000, 1),
    (6, "DVI4", 16000, 1),
    (7, "LPC", 8000, 1),
    (8, "PCMA", 8000, 1),
    (9, "G722", 8000, 1),
    (10, "L16", 44100, 2),
    (11, "L16", 44100, 1),
    (12, "QCELP", 8000, 1),
    (13, "CN", 8000, 1),
    (14, "MPA", 90000, 1),
    (15, "G728", 8000, 1),
    (16, "DVI4", 11025, 1),
    (17, "DVI4", 22050, 1),
    (18, "G729", 8000, 1),
    (25, "CelB", 90000, 1),
    (26, "JPEG", 90000, 1),
    (28, "nv", 90000, 1),
    (31, "H261", 90000, 1),
    (32, "MPV", 90000, 1),
    (33, "MP2T", 90000, 1),
    (34, "H263", 90000, 1),
];

/// The entry of `number`, if it is a static payload type.
pub fn of_number(number: u8) -> Option<&'static StaticPayloadType> {
    STATIC.iter().find(|entry| entry.0 == number)
}

/// The first static payload type of an encoding, names compared without case.
pub fn of_encoding(name: &str, clock_rate_hz: u32, channels: u8) -> Option<u8> {
    STATIC
        .iter()
        .find(|entry| entry.1.eq_ignore_ascii_case(name) && entry.2 == clock_rate_hz && entry.3 == channels)
        .map(|entry| entry.0)
}
