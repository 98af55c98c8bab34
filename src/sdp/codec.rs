//! One entry of an RTP format list with everything the description says of it.

use super::{Attribute, MediaSection, fmtp, payload_type};

/// A codec as a description lists it (RFC 8866, sections 6.6 and 6.15; RFC 4585, section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    pub payload_type: u8,
    /// The encoding name; empty for a dynamic payload type that no `a=rtpmap` explains.
    pub name: String,
    pub clock_rate_hz: u32,
    pub channels: u8,
    /// The value of `a=fmtp` without the payload type, in canonical form.
    pub parameters: Option<String>,
    /// The values of `a=rtcp-fb` for this payload type, without it.
    pub feedback: Vec<String>,
}

/// Encodings that go with others of their clock rate instead of standing for media themselves.
const SUPPLEMENTAL: [&str; 3] = ["telephone-event", "CN", "red"];

impl Codec {
    /// A codec without parameters and feedback.
    pub fn new(payload_type: u8, name: &str, clock_rate_hz: u32, channels: u8) -> Codec {
        let name = name.to_owned();
        Codec { payload_type, name, clock_rate_hz, channels, parameters: None, feedback: Vec::new() }
    }

    /// The codecs of an RTP media section in the order of its format list; formats that are no payload type and
    /// repetitions of a payload type are passed over.
    pub fn list(section: &MediaSection) -> Vec<Codec> {
        let mut codecs: Vec<Codec> = Vec::with_capacity(section.formats.len());
        for format in &section.formats {
            let Some(number) = format.parse::<u8>().ok().filter(|number| *number < 128) else { continue };
            if codecs.iter().all(|codec| codec.payload_type != number) {
                codecs.push(Codec::described(number, section));
            }
        }
        codecs
    }

    fn described(number: u8, section: &MediaSection) -> Codec {
        let entry = payload_type::of_number(number);
        let mut codec = match (values_for(section, "rtpmap", number).find_map(parse_rtpmap), entry) {
            (Some((name, clock_rate_hz, channels)), _) => Codec::new(number, name, clock_rate_hz, channels),
            (None, Some(&(_, name, clock_rate_hz, channels))) => Codec::new(number, name, clock_rate_hz, channels),
            (None, None) => Codec::new(number, "", 0, 1),
        };
        codec.parameters = values_for(section, "fmtp", number).next().map(|value| fmtp::canonical(&codec.name, value));
        codec.feedback = values_for(section, "rtcp-fb", number).map(str::to_owned).collect();
        codec
    }

    /// Whether this encoding only supplements others of its clock rate (telephone-event, comfort
    /// noise, redundancy).
    pub fn is_supplemental(&self) -> bool {
        SUPPLEMENTAL.iter().any(|name| name.eq_ignore_ascii_case(&self.name))
    }

    /// Whether this is a telephone-event (RFC 4733).
    pub fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// Whether both are the same encoding, whatever their payload types.
    pub fn same_encoding(&self, other: &Codec) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_rate_hz == other.clock_rate_hz
            && self.channels == other.channels
    }

    /// `name/clock` or `name/clock/channels`.
    pub fn encoding(&self) -> String {
        match self.channels {
            0 | 1 => format!("{}/{}", self.name, self.clock_rate_hz),
            channels => format!("{}/{}/{channels}", self.name, self.clock_rate_hz),
        }
    }

    /// The attribute lines of this codec, in printed order.
    pub fn attributes(&self) -> Vec<Attribute> {
        let number = self.payload_type;
        let mut lines = Vec::with_capacity(2 + self.feedback.len());
        if !self.name.is_empty() {
            lines.push(Attribute::with_value("rtpmap", format_args!("{number} {}", self.encoding())));
        }
        if let Some(parameters) = &self.parameters {
            lines.push(Attribute::with_value("fmtp", format_args!("{number} {parameters}")));
        }
        for feedback in &self.feedback {
            lines.push(Attribute::with_value("rtcp-fb", format_args!("{number} {feedback}")));
        }
        lines
    }
}

/// The values of the attributes called `name` that begin with the payload type `number`, without it.
fn values_for<'a>(section: &'a MediaSection, name: &'a str, number: u8) -> impl Iterator<Item = &'a str> + 'a {
    section.attributes.iter().filter(move |attribute| attribute.name == name).filter_map(move |attribute| {
        let (first, rest) = attribute.value().trim_start().split_once(' ')?;
        (first.parse() == Ok(number)).then(|| rest.trim())
    })
}

fn parse_rtpmap(text: &str) -> Option<(&str, u32, u8)> {
    let mut parts = text.split('/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let clock_rate_hz = parts.next()?.trim().parse().ok()?;
    let channels = parts.next().and_then(|channels| channels.trim().parse().ok()).unwrap_or(1);
    Some((name, clock_rate_hz, channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(formats: &[&str], attributes: &[&str]) -> MediaSection {
        MediaSection {
            formats: formats.iter().map(|format| (*format).to_owned()).collect(),
            attributes: attributes.iter().map(|text| Attribute::parse(text)).collect(),
            ..MediaSection::default()
        }
    }

    #[test]
    fn static_payload_types_need_no_rtpmap() {
        let codecs = Codec::list(&section(&["18", "96"], &[]));
        assert_eq!(codecs[0].encoding(), "G729/8000");
        assert_eq!(codecs[1].name, "");
        assert_eq!(codecs[1].attributes(), []);
    }

    #[test]
    fn attributes_are_gathered_by_payload_type() {
        let attributes = ["rtpmap:96 opus/48000/2", "rtcp-fb:96 nack", "fmtp:96 stereo=0", "rtcp-fb:* ccm fir"];
        let codecs = Codec::list(&section(&["96", "96", "*"], &attributes));
        assert_eq!(codecs.len(), 1);
        let lines: Vec<String> = codecs[0].attributes().iter().map(Attribute::to_string).collect();
        assert_eq!(lines, ["rtpmap:96 opus/48000/2", "fmtp:96 stereo=0", "rtcp-fb:96 nack"]);
    }
}
