//! Simulcast of a publisher (RFC 8853) ends here: its layers are taken, and a subscriber is shown one stream.

use crate::call::Media;
use crate::call::layer::{REPAIRED_RID_EXTENSION, RID_EXTENSION, Rid};
use crate::sdp::Attribute;

/// Attributes that say how many streams there are, and which.
const STREAM_ATTRIBUTES: [&str; 4] = ["rid", "simulcast", "ssrc", "ssrc-group"];

/// The layers that the sender of a media offers, by the first name of each; none where packets could not be told apart by
/// the header extension (RFC 8852).
pub(super) fn offered(media: &Media) -> Vec<Rid> {
    let value = |name: &str| media.attributes.iter().find(|line| line.name == name).map(Attribute::value);
    let has_extension = media.attributes.iter().any(|line| line.extension_uri() == Some(RID_EXTENSION));
    let mut words = value("simulcast").filter(|_| has_extension).unwrap_or_default().split_ascii_whitespace();
    let streams = words.find(|word| *word == "send").and_then(|_| words.next()).unwrap_or_default();
    let is_described = |name: &str| {
        let lines = media.attributes.iter().filter(|line| line.name == "rid");
        lines
            .map(|line| line.value().split_ascii_whitespace())
            .any(|mut words| words.next() == Some(name) && words.next() == Some("send"))
    };
    let first = |stream: &'_ str| stream.split(',').next().map(|name| name.trim_start_matches('~').to_owned());
    let names = streams.split(';').filter_map(first).filter(|name| is_described(name));
    names.filter_map(|name| Rid::new(&name)).collect()
}

/// What the sender is answered.
pub(super) fn answer(media: &Media) -> Vec<Attribute> {
    let mut lines: Vec<Attribute> =
        media.simulcast.iter().map(|rid| Attribute::with_value("rid", format_args!("{rid} recv"))).collect();
    if !lines.is_empty() {
        let names: Vec<String> = media.simulcast.iter().map(Rid::to_string).collect();
        lines.push(Attribute::with_value("simulcast", format_args!("recv {}", names.join(";"))));
    }
    lines
}

/// Whether a receiver of one layer of `source` is not to see a line of its description.
pub(super) fn is_hidden(source: &Media, line: &Attribute) -> bool {
    let is_extension = line.extension_uri().is_some_and(|uri| [RID_EXTENSION, REPAIRED_RID_EXTENSION].contains(&uri));
    !source.simulcast.is_empty() && (is_extension || STREAM_ATTRIBUTES.contains(&line.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::ParticipantId;

    fn media(lines: &[&str]) -> Media {
        let mut media = Media::new(0, ParticipantId(0), 1, "video");
        media.attributes = lines.iter().map(|line| Attribute::parse(line)).collect();
        media
    }

    const EXTENSION: &str = "extmap:4 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";

    #[test]
    fn layers_are_read_and_answered() {
        let lines = [
            EXTENSION,
            "rid:h send",
            "rid:m send pt=96",
            "rid:l send",
            "rid:x recv",
            "simulcast:recv x send h;~m,h;l;y",
        ];
        let mut media = media(&lines);
        media.simulcast = offered(&media);
        let answer: Vec<String> = answer(&media).iter().map(Attribute::to_string).collect();
        assert_eq!(answer, ["rid:h recv", "rid:m recv", "rid:l recv", "simulcast:recv h;m;l"]);
        assert!(lines.iter().all(|line| is_hidden(&media, &Attribute::parse(line))));
        assert!(!is_hidden(&media, &Attribute::parse("extmap:5 urn:other")));
    }

    #[test]
    fn what_can_not_be_told_apart_is_no_simulcast() {
        let send = "simulcast:send h;l";
        for lines in [
            &["rid:h send", "rid:l send", send][..],
            &[EXTENSION, send],
            &[EXTENSION, "rid:h send", "simulcast:recv h"],
            &[EXTENSION, "rid:h send", "simulcast:send"],
            &[EXTENSION, "rid:h send"],
        ] {
            assert_eq!(offered(&media(lines)), [], "{lines:?}");
            assert!(!is_hidden(&media(lines), &Attribute::parse("rid:h send")));
        }
    }
}
