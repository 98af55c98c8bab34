//! Where a picture that needs no other begins, and the numbers of pictures, in RTP payloads of video: VP8 (RFC 7741), VP9
//! (RFC 9628), H.264 (RFC 6184), H.265 (RFC 7798), AV1 (its RTP payload format).

/// An encoding whose key frames are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Vp8,
    Vp9,
    H264,
    H265,
    Av1,
}

/// H.264 network abstraction layer unit types (RFC 6184, section 5.2): instantaneous decoding refresh, sequence parameters,
/// aggregation, fragments.
mod h264 {
    pub(super) const IDR: u8 = 5;
    pub(super) const SEQUENCE: u8 = 7;
    pub(super) const AGGREGATE: u8 = 24;
    pub(super) const FRAGMENT: u8 = 28;
}

/// The same for H.265 (RFC 7798, section 1.1.4), where several types are refreshes.
mod h265 {
    use std::ops::RangeInclusive;
    pub(super) const REFRESHES: RangeInclusive<u8> = 16..=23;
    pub(super) const PARAMETERS: RangeInclusive<u8> = 32..=34;
    pub(super) const AGGREGATE: u8 = 48;
    pub(super) const FRAGMENT: u8 = 49;
}

impl Format {
    /// The format of an encoding name; none where key frames can't be told.
    pub fn of(name: &str) -> Option<Format> {
        let table = [
            ("VP8", Format::Vp8),
            ("VP9", Format::Vp9),
            ("H264", Format::H264),
            ("H265", Format::H265),
            ("AV1", Format::Av1),
        ];
        table.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|row| row.1)
    }

    /// Whether a key frame begins with this payload.
    pub fn begins_key_frame(self, payload: &[u8]) -> bool {
        match self {
            Format::Vp8 => {
                vp8(payload).is_some_and(|(begins, rest)| begins && payload.get(rest).is_some_and(is_vp8_key))
            }
            Format::Vp9 => vp9_begins(payload),
            Format::H264 => h264_begins(payload),
            Format::H265 => h265_begins(payload),
            // The bit N of the aggregation header: the first packet of a coded video sequence.
            Format::Av1 => payload.first().is_some_and(|header| header & 0x08 != 0 && header & 0x80 == 0),
        }
    }

    /// Where the payload has numbers of its picture.
    pub fn numbers(self, payload: &[u8]) -> Places {
        match self {
            Format::Vp8 => vp8_places(payload).map_or(Places::default(), |found| found.0),
            Format::Vp9 => vp9_places(payload).unwrap_or_default(),
            Format::H264 | Format::H265 | Format::Av1 => Places::default(),
        }
    }
}

/// Where numbers stand in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places {
    /// The picture's number, and whether it has 15 bits instead of 7.
    picture: Option<(usize, bool)>,
    /// TL0PICIDX, which counts pictures of the base layer.
    base: Option<usize>,
}

/// The numbers of a picture, or what is added to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// 15 bits.
    pub picture: u16,
    pub base: u8,
}

impl Numbers {
    /// The difference to `earlier`.
    pub fn since(self, earlier: Numbers) -> Numbers {
        let picture = self.picture.wrapping_sub(earlier.picture) & 0x7fff;
        Numbers { picture, base: self.base.wrapping_sub(earlier.base) }
    }

    /// The numbers of the picture after this one.
    pub fn next(self) -> Numbers {
        Numbers { picture: (self.picture + 1) & 0x7fff, base: self.base.wrapping_add(1) }
    }

    /// The sum.
    pub fn plus(self, offset: Numbers) -> Numbers {
        let picture = self.picture.wrapping_add(offset.picture) & 0x7fff;
        Numbers { picture, base: self.base.wrapping_add(offset.base) }
    }
}

impl Places {
    /// The numbers at these places; those that are not there are zero.
    pub fn read(&self, payload: &[u8]) -> Numbers {
        let picture = self.picture.map_or(0, |(at, is_long)| match is_long {
            true => u16::from_be_bytes([payload[at] & 0x7f, payload[at + 1]]),
            false => u16::from(payload[at] & 0x7f),
        });
        Numbers { picture, base: self.base.map_or(0, |at| payload[at]) }
    }

    /// Adds `offset` to the numbers, in place.
    pub fn add(&self, payload: &mut [u8], offset: Numbers) {
        let sum = self.read(payload).plus(offset);
        match self.picture {
            Some((at, true)) => {
                let [high, low] = sum.picture.to_be_bytes();
                (payload[at], payload[at + 1]) = (high | 0x80, low);
            }
            Some((at, false)) => payload[at] = sum.picture as u8 & 0x7f,
            None => {}
        }
        if let Some(at) = self.base {
            payload[at] = sum.base;
        }
    }
}

/// A payload descriptor that is read from its front.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A picture's number: 15 bits when the first is set (RFC 7741, section 4.2).
    fn picture(&mut self) -> Option<(usize, bool)> {
        let at = self.at;
        let is_long = self.byte()? & 0x80 != 0;
        if is_long {
            self.byte()?;
        }
        Some((at, is_long))
    }
}

/// The places of a VP8 descriptor, and where the frame goes on after it (RFC 7741, section 4.2).
fn vp8_places(payload: &[u8]) -> Option<(Places, usize)> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let mut places = Places::default();
    if reader.byte()? & 0x80 != 0 {
        let extended = reader.byte()?;
        if extended & 0x80 != 0 {
            places.picture = Some(reader.picture()?);
        }
        if extended & 0x40 != 0 {
            places.base = Some(reader.at);
            reader.byte()?;
        }
        if extended & 0x30 != 0 {
            reader.byte()?;
        }
    }
    Some((places, reader.at))
}

/// Whether a VP8 frame begins with the payload (S, and partition zero), and where it does.
fn vp8(payload: &[u8]) -> Option<(bool, usize)> {
    let (_, rest) = vp8_places(payload)?;
    Some((payload[0] & 0x17 == 0x10, rest))
}

/// The inverse key frame flag of a VP8 frame (RFC 6386, section 9.1).
fn is_vp8_key(first: &u8) -> bool {
    first & 1 == 0
}

/// RFC 9628, section 4.2.
fn vp9_places(payload: &[u8]) -> Option<Places> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let mut places = Places::default();
    let first = reader.byte()?;
    let (has_picture, has_layers, is_flexible) = (first & 0x80 != 0, first & 0x20 != 0, first & 0x10 != 0);
    if has_picture {
        places.picture = Some(reader.picture()?);
    }
    if has_layers {
        reader.byte()?;
        if !is_flexible {
            places.base = Some(reader.at);
            reader.byte()?;
        }
    }
    Some(places)
}

/// The beginning of a frame (B) that is not predicted from another one (P), of the lowest spatial layer.
fn vp9_begins(payload: &[u8]) -> bool {
    let Some(places) = vp9_places(payload) else { return false };
    let first = payload[0];
    let layers = 1 + places.picture.map_or(0, |(_, is_long)| 1 + usize::from(is_long));
    let spatial = if first & 0x20 == 0 { Some(0) } else { payload.get(layers).map(|byte| byte >> 1 & 7) };
    first & 0x48 == 0x08 && spatial == Some(0)
}

fn h264_begins(payload: &[u8]) -> bool {
    let Some(first) = payload.first().map(|byte| byte & 0x1f) else { return false };
    let is_key = |kind: u8| kind == h264::IDR || kind == h264::SEQUENCE;
    match first {
        h264::AGGREGATE => units(&payload[1..]).any(|unit| unit.first().is_some_and(|byte| is_key(byte & 0x1f))),
        h264::FRAGMENT => payload.get(1).is_some_and(|byte| byte & 0x80 != 0 && is_key(byte & 0x1f)),
        kind => is_key(kind),
    }
}

fn h265_begins(payload: &[u8]) -> bool {
    let kind = |byte: &u8| byte >> 1 & 0x3f;
    let is_key = |kind: u8| h265::REFRESHES.contains(&kind) || h265::PARAMETERS.contains(&kind);
    match (payload.first().map(kind), payload.get(2)) {
        (Some(h265::AGGREGATE), Some(_)) => {
            units(&payload[2..]).any(|unit| unit.first().is_some_and(|byte| is_key(kind(byte))))
        }
        (Some(h265::FRAGMENT), Some(fragment)) => fragment & 0x80 != 0 && is_key(fragment & 0x3f),
        (Some(kind), _) => is_key(kind),
        (None, _) => false,
    }
}

/// The units of an aggregation packet, each after its length in two bytes.
fn units(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        bytes = rest;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begins(format: Format, payload: &[u8]) -> bool {
        format.begins_key_frame(payload)
    }

    #[test]
    fn vp8_key_frames_begin() {
        for (payload, expected) in [
            (&[0x10, 0x00, 1, 2][..], true),
            (&[0x10, 0x01, 1, 2], false),
            (&[0x00, 0x00, 1, 2], false),
            (&[0x11, 0x00, 1, 2], false),
            (&[0x90, 0xe0, 0x81, 0x02, 0x07, 0x20, 0x10, 1], true),
            (&[0x90, 0xe0, 0x81, 0x02, 0x07, 0x20, 0x11, 1], false),
            (&[0x90, 0x80, 0x05, 0x10], true),
            (&[0x90, 0xe0, 0x81], false),
            (&[0x10], false),
            (&[], false),
        ] {
            assert_eq!(begins(Format::Vp8, payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn vp9_key_frames_begin() {
        for (payload, expected) in [
            (&[0x88, 0x05, 1][..], true),
            (&[0xc8, 0x05, 1], false),
            (&[0x80, 0x05, 1], false),
            (&[0xa8, 0x85, 0x05, 0x00, 0x07], true),
            (&[0xa8, 0x85, 0x05, 0x02, 0x07], false),
            (&[0x28, 0x00, 0x07], true),
            (&[0x28], false),
            (&[], false),
        ] {
            assert_eq!(begins(Format::Vp9, payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn h264_key_frames_begin() {
        for (payload, expected) in [
            (&[0x67, 0x42][..], true),
            (&[0x65, 0x88], true),
            (&[0x68, 0x88], false),
            (&[0x41, 0x9a], false),
            (&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68], true),
            (&[0x78, 0, 1, 0x68, 0, 1, 0x65], true),
            (&[0x78, 0, 1, 0x68, 0, 9, 0x65], false),
            (&[0x7c, 0x85, 1], true),
            (&[0x7c, 0x05, 1], false),
            (&[0x7c, 0x81, 1], false),
            (&[0x7c], false),
            (&[], false),
        ] {
            assert_eq!(begins(Format::H264, payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn h265_and_av1_key_frames_begin() {
        for (format, payload, expected) in [
            (Format::H265, &[0x40, 1, 0][..], true),
            (Format::H265, &[0x26, 1, 0], true),
            (Format::H265, &[0x02, 1, 0], false),
            (Format::H265, &[0x62, 1, 0x93], true),
            (Format::H265, &[0x62, 1, 0x13], false),
            (Format::H265, &[0x60, 1, 0, 1, 0x42], true),
            (Format::H265, &[0x60], false),
            (Format::Av1, &[0x18, 1], true),
            (Format::Av1, &[0x10, 1], false),
            (Format::Av1, &[0x98, 1], false),
            (Format::Av1, &[], false),
        ] {
            assert_eq!(begins(format, payload), expected, "{format:?} {payload:x?}");
        }
    }

    #[test]
    fn numbers_are_found_and_changed() {
        let offset = Numbers { picture: 0x7fff, base: 3 };
        for (format, before, numbers, after) in [
            (
                Format::Vp8,
                &[0x90, 0xe0, 0x81, 0x02, 0xff, 0x20][..],
                (0x102, 0xff),
                &[0x90, 0xe0, 0x81, 0x01, 2, 0x20][..],
            ),
            (Format::Vp8, &[0x90, 0xc0, 0x00, 0x09, 0], (0, 9), &[0x90, 0xc0, 0x7f, 0x0c, 0]),
            (Format::Vp8, &[0x90, 0x40, 0x09, 0], (0, 9), &[0x90, 0x40, 0x0c, 0]),
            (Format::Vp8, &[0x10, 0], (0, 0), &[0x10, 0]),
            (Format::Vp9, &[0xa8, 0x80, 0x00, 0x00, 0x07], (0, 7), &[0xa8, 0xff, 0xff, 0x00, 0x0a]),
            (Format::Vp9, &[0xb8, 0x05, 0x00, 0x07], (5, 0), &[0xb8, 0x04, 0x00, 0x07]),
            (Format::H264, &[0x65, 1], (0, 0), &[0x65, 1]),
        ] {
            let places = format.numbers(before);
            assert_eq!(places.read(before), Numbers { picture: numbers.0, base: numbers.1 }, "{before:x?}");
            let mut changed = before.to_vec();
            places.add(&mut changed, offset);
            assert_eq!(changed, after);
        }
        let (first, second) = (Numbers { picture: 0x7fff, base: 255 }, Numbers { picture: 3, base: 9 });
        assert_eq!(first.next(), Numbers::default());
        assert_eq!(first.plus(second.since(first)), second);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..40), offset: (u16, u8)) {
            for format in [Format::Vp8, Format::Vp9, Format::H264, Format::H265, Format::Av1] {
                format.begins_key_frame(&bytes);
                let places = format.numbers(&bytes);
                let before = places.read(&bytes);
                places.add(&mut bytes, Numbers { picture: offset.0 & 0x7fff, base: offset.1 });
                prop_assert_eq!(format.numbers(&bytes), places);
                let back = before.since(places.read(&bytes));
                places.add(&mut bytes, back);
            }
        }
    }
}
