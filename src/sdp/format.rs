//! Which codecs of two descriptions are one format, whatever numbers they have.

use super::Codec;

/// Parameters that tell formats of one encoding apart, with what holds where they are left out: H.264 (RFC 6184, section
/// 8.1), H.265 (RFC 7798, section 7.1), VP9 (RFC 9628, section 6), AV1 (its RTP payload format, section 7.1).
const DISTINCTIONS: [(&str, &str, &str); 5] = [
    ("H264", "packetization-mode", "0"),
    ("H264", "profile-level-id", "420010"),
    ("H265", "profile-id", "1"),
    ("VP9", "profile-id", "0"),
    ("AV1", "profile", "0"),
];

/// Digits of H.264's `profile-level-id` that name the profile; the level is no format of its own.
const PROFILE_DIGITS: usize = 4;

impl Codec {
    /// The value of a parameter in `a=fmtp`.
    fn parameter(&self, name: &str) -> Option<&str> {
        let entries = self.parameters.as_deref()?.split(';').filter_map(|entry| entry.trim().split_once('='));
        entries.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// Whether both are the same format: the same encoding with the same profile.
    pub fn same_format(&self, other: &Codec) -> bool {
        let distinctions = DISTINCTIONS.iter().filter(|row| row.0.eq_ignore_ascii_case(&self.name));
        let mut is_same = distinctions.map(|(_, name, default)| {
            let value = |codec: &Codec| codec.parameter(name).unwrap_or(default).to_ascii_lowercase();
            let (own, others) = (value(self), value(other));
            let digits = if *name == "profile-level-id" { PROFILE_DIGITS } else { usize::MAX };
            own.chars().take(digits).eq(others.chars().take(digits))
        });
        self.same_encoding(other) && is_same.all(|is_same| is_same)
    }
}

/// The codec of `others` that is what `codec`, one of `own`, is: under the same number if it can be. Retransmissions (RFC
/// 4588) are the same when what they repair is.
pub fn counterpart<'a>(codec: &Codec, own: &[Codec], others: &'a [Codec]) -> Option<&'a Codec> {
    let repaired = |codec: &Codec, list: &[Codec]| {
        let number = codec.repaired_payload_type()?;
        list.iter().find(|other| other.payload_type == number && other.repaired_payload_type().is_none()).cloned()
    };
    let is_same = |other: &Codec| match (repaired(codec, own), repaired(other, others)) {
        (Some(own), Some(others)) => codec.same_encoding(other) && own.same_format(&others),
        (None, None) => codec.same_format(other),
        _ => false,
    };
    let same_number = others.iter().find(|other| other.payload_type == codec.payload_type);
    same_number
        .filter(|other| is_same(other))
        .or_else(|| others.iter().find(|other| is_same(other)))
        .or_else(|| same_number.filter(|other| codec.same_encoding(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(number: u8, name: &str, parameters: &str) -> Codec {
        let parameters = Some(parameters.to_owned()).filter(|text| !text.is_empty());
        Codec { parameters, ..Codec::new(number, name, 90_000, 1) }
    }

    #[test]
    fn profiles_are_formats_and_levels_are_not() {
        let same = |name: &str, first: &str, second: &str| codec(1, name, first).same_format(&codec(2, name, second));
        let h264 = |profile: &str, mode: &str| format!("profile-level-id={profile};packetization-mode={mode}");
        assert!(same("H264", &h264("42e01f", "1"), &h264("42E034", "1")));
        assert!(!same("H264", &h264("42e01f", "1"), &h264("42e01f", "0")));
        assert!(!same("H264", &h264("42e01f", "1"), &h264("64001f", "1")));
        assert!(same("H264", "", "packetization-mode=0"));
        assert!(same("VP9", "", "profile-id=0"));
        assert!(!same("VP9", "", "profile-id=2"));
        assert!(same("opus", "useinbandfec=1", "stereo=1"));
        assert!(!codec(1, "VP8", "").same_format(&codec(1, "VP9", "")));
    }

    #[test]
    fn a_counterpart_has_the_same_number_if_it_can() {
        let own = [codec(96, "VP8", ""), codec(97, "rtx", "apt=96"), codec(98, "VP9", ""), codec(99, "rtx", "apt=98")];
        let find = |others: &[Codec]| -> Vec<Option<u8>> {
            own.iter().map(|codec| counterpart(codec, &own, others).map(|other| other.payload_type)).collect()
        };
        assert_eq!(find(&own), [Some(96), Some(97), Some(98), Some(99)]);
        let moved = [codec(100, "vp9", "profile-id=0"), codec(96, "rtx", "apt=100"), codec(98, "VP8", "")];
        assert_eq!(find(&moved), [Some(98), None, Some(100), Some(96)]);
        let other_profile = [codec(98, "VP9", "profile-id=2")];
        assert_eq!(find(&other_profile), [None, None, Some(98), None], "nothing better is there");
        let crossed = [codec(98, "VP9", "profile-id=2"), codec(120, "VP9", "")];
        assert_eq!(find(&crossed)[2], Some(120));
    }
}
