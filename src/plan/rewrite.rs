//! What differs between the numbers of a source and those of a receiver: constants, from their descriptions alone.

use super::Choice;
use super::repair::Repair;
use crate::call::Media;
use crate::sdp::format::counterpart;
use crate::sdp::{Attribute, Codec};
use smallvec::SmallVec;

/// Numbers of header extensions that are mapped: those of the one-byte form (RFC 8285, section 4.2).
pub const EXTENSION_NUMBERS: usize = 15;

/// What packets of a source have for one receiver in place of what they came with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// A payload type of the source, and the receiver's number for the same format; none where the receiver would take
    /// it for another one, so that it is dropped. All others stay.
    pub payload_types: SmallVec<[(u8, Option<u8>); 4]>,
    /// By the source's number of a header extension the receiver's; zero where it would be taken for another one.
    pub extensions: Option<[u8; EXTENSION_NUMBERS]>,
    /// The receiver gets every source under an SSRC of its own.
    pub is_renamed: bool,
    /// Of several streams the receiver gets one, under an SSRC of its own.
    pub choice: Option<Choice>,
}

impl Rewrite {
    /// The receiver's number for a payload type of the source; none where packets of it are dropped.
    pub fn payload_type(&self, number: u8) -> Option<u8> {
        let known = self.payload_types.iter().find(|pair| pair.0 == number);
        known.map_or(Some(number), |pair| pair.1)
    }
}

/// What the receiver of `sink` needs to read packets of `source`; none where nothing has to change.
pub(super) fn between(source: &Media, sink: &Media, choice: Option<Choice>) -> Option<Rewrite> {
    if !source.is_rtp() || !sink.is_described {
        return choice.map(|choice| Rewrite { choice: Some(choice), ..Rewrite::default() });
    }
    let sent = source.sent_codecs();
    let payload_types = sent.iter().map(|codec| (codec.payload_type, number_for(codec, sent, &sink.codecs)));
    let payload_types = payload_types.filter(|(own, others)| Some(*own) != *others).collect();
    let rewrite = Rewrite { payload_types, extensions: extensions(source, sink), choice, is_renamed: false };
    (rewrite != Rewrite::default()).then_some(rewrite)
}

/// The receiver's number for a codec; its own where the receiver has it for no encoding of another name.
fn number_for(codec: &Codec, sent: &[Codec], taken: &[Codec]) -> Option<u8> {
    let number = codec.payload_type;
    match counterpart(codec, sent, taken) {
        Some(other) => Some(other.payload_type),
        None => {
            let is_other = |other: &Codec| {
                let is_named = !codec.name.is_empty() && !other.name.is_empty();
                other.payload_type == number && is_named && !other.name.eq_ignore_ascii_case(&codec.name)
            };
            (!taken.iter().any(is_other)).then_some(number)
        }
    }
}

fn extensions(source: &Media, sink: &Media) -> Option<[u8; EXTENSION_NUMBERS]> {
    let of = |media: &'_ Media| -> SmallVec<[(u8, String); 8]> {
        let lines = media.attributes.iter().filter_map(Attribute::extension);
        lines.map(|(number, uri)| (number, uri.to_owned())).collect()
    };
    let taken = of(sink);
    let mut numbers = std::array::from_fn(|number| number as u8);
    let unchanged = numbers;
    for (number, uri) in of(source) {
        let Some(entry) = numbers.get_mut(usize::from(number)) else { continue };
        let own = taken.iter().find(|(_, other)| *other == uri).map(|found| found.0);
        *entry = match own.filter(|own| usize::from(*own) < EXTENSION_NUMBERS) {
            Some(own) => own,
            None if taken.iter().any(|(other, _)| *other == number) => 0,
            None => number,
        };
    }
    (numbers != unchanged).then_some(numbers)
}

/// How the receiver of `sink` gets packets of `source` again, which it has `rewrite` for; none where it has not
/// negotiated that.
pub(super) fn repair_between(source: &Media, sink: &Media, rewrite: Option<&Rewrite>) -> Option<Repair> {
    let number = |number: u8| rewrite.map_or(Some(number), |rewrite| rewrite.payload_type(number));
    let repairing = |media: u8| super::repair::payload_types(sink).find(|pair| Some(pair.0) == number(media));
    let media = source.sent_codecs().iter().filter(|codec| codec.repaired_payload_type().is_none());
    let pairs = media.filter_map(|codec| Some((codec.payload_type, repairing(codec.payload_type)?.1)));
    let repair = Repair { payload_types: pairs.collect(), sources: super::repair::sources(source).collect() };
    (!repair.payload_types.is_empty()).then_some(repair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::ParticipantId;

    fn media(codecs: &[(u8, &str, u32, &str)], extensions: &[&str]) -> Media {
        let mut media = Media::new(0, ParticipantId(0), 1, "video");
        media.is_described = true;
        let codec = |row: &(u8, &str, u32, &str)| Codec {
            parameters: Some(row.3.to_owned()).filter(|text| !text.is_empty()),
            ..Codec::new(row.0, row.1, row.2, 1)
        };
        media.codecs = codecs.iter().map(codec).collect();
        media.shown_codecs.clone_from(&media.codecs);
        media.attributes = extensions.iter().map(|text| Attribute::with_value("extmap", text)).collect();
        media
    }

    const VIDEO: &[(u8, &str, u32, &str)] = &[(96, "VP8", 90_000, ""), (97, "rtx", 90_000, "apt=96")];

    #[test]
    fn nothing_is_rewritten_for_equals() {
        let source = media(VIDEO, &["1 urn:a", "2 urn:b"]);
        for sink in [media(VIDEO, &["1 urn:a", "2 urn:b"]), media(&VIDEO[..1], &["2 urn:b"]), media(&[], &[])] {
            assert_eq!(between(&source, &sink, None), None);
        }
        let pair = repair_between(&source, &media(VIDEO, &[]), None).map(|repair| repair.payload_types.to_vec());
        assert_eq!(pair, Some(vec![(96, 97)]));
        assert_eq!(repair_between(&source, &media(&VIDEO[..1], &[]), None), None);
    }

    #[test]
    fn payload_types_are_the_receivers() {
        let source = media(VIDEO, &[]);
        let sink = media(&[(100, "VP8", 90_000, ""), (96, "rtx", 90_000, "apt=100")], &[]);
        let rewrite = between(&source, &sink, None).expect("numbers differ");
        assert_eq!([96, 97, 111].map(|number| rewrite.payload_type(number)), [Some(100), Some(96), Some(111)]);
        let repair = repair_between(&source, &sink, Some(&rewrite)).expect("it was negotiated");
        assert_eq!(repair.payload_types[..], [(96, 96)]);
        let other = media(&[(96, "H264", 90_000, "")], &[]);
        assert_eq!(between(&source, &other, None).expect("it has another meaning").payload_type(96), None);
    }

    #[test]
    fn what_a_source_was_shown_is_what_it_sends() {
        let mut source = media(&[(96, "opus", 48_000, ""), (101, "telephone-event", 8000, "")], &[]);
        source.shown_codecs = media(&[(111, "opus", 48_000, ""), (110, "telephone-event", 8000, "")], &[]).codecs;
        let sink = media(&[(111, "opus", 48_000, ""), (101, "telephone-event", 8000, "")], &[]);
        assert_eq!(between(&source, &sink, None).expect("one differs").payload_types[..], [(110, Some(101))]);
    }

    #[test]
    fn header_extensions_have_the_receivers_numbers() {
        let source = media(VIDEO, &["1 urn:a", "2/sendonly urn:b", "3 urn:c", "20 urn:d"]);
        let sink = media(VIDEO, &["2 urn:a", "4 urn:b", "3 urn:x", "5 urn:d"]);
        let numbers = between(&source, &sink, None).and_then(|rewrite| rewrite.extensions).expect("numbers differ");
        assert_eq!(numbers[..6], [0, 2, 4, 0, 4, 5]);
    }
}
