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
        // The place of each payload type in the list, from one.
        let mut places = [0u8; 128];
        let mut codecs: Vec<Codec> = Vec::with_capacity(section.formats.len().min(places.len()));
        for format in &section.formats {
            let Some(number) = format.parse::<u8>().ok().filter(|number| *number < 128) else { continue };
            let place = &mut places[usize::from(number)];
            if *place == 0 {
                codecs.push(Codec::new(number, "", 0, 1));
                *place = codecs.len() as u8;
            }
        }
        for attribute in &section.attributes {
            if let Some((number, value)) = of_payload_type(attribute)
                && let Some(place) = places.get(usize::from(number)).filter(|place| **place > 0)
            {
                codecs[usize::from(*place) - 1].describe(&attribute.name, value);
            }
        }
        codecs.iter_mut().for_each(Codec::complete);
        codecs
    }

    /// Takes in the value of an attribute of this payload type. Of several maps or parameters the first counts.
    fn describe(&mut self, name: &str, value: &str) {
        match name {
            "rtpmap" if self.name.is_empty() => {
                if let Some((name, clock_rate_hz, channels)) = parse_rtpmap(value) {
                    self.name = name.to_owned();
                    (self.clock_rate_hz, self.channels) = (clock_rate_hz, channels);
                }
            }
            "fmtp" if self.parameters.is_none() => self.parameters = Some(value.to_owned()),
            "rtcp-fb" => self.feedback.push(value.to_owned()),
            _ => {}
        }
    }

    /// What needs all attributes: static payload types explain themselves, and some parameters have a canonical form.
    fn complete(&mut self) {
        if self.name.is_empty()
            && let Some(&(_, name, clock_rate_hz, channels)) = payload_type::of_number(self.payload_type)
        {
            self.name = name.to_owned();
            (self.clock_rate_hz, self.channels) = (clock_rate_hz, channels);
        }
        if let Some(parameters) = &mut self.parameters
            && let Some(canonical) = fmtp::canonical(&self.name, parameters)
        {
            *parameters = canonical;
        }
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

    /// The byte that a payload of silence consists of: positive zero of G.711, and what an encoder of G.722 makes of zeros.
    pub fn silence(&self) -> Option<u8> {
        const SILENCES: [(&str, u8); 3] = [("PCMA", 0xd5), ("PCMU", 0xff), ("G722", 0xfa)];
        let known = SILENCES.iter().find(|(name, _)| self.name.eq_ignore_ascii_case(name));
        known.map(|(_, byte)| *byte)
    }

    /// The payload type whose packets this one sends again (RFC 4588, section 8.1: `rtx`, `apt`).
    pub fn repaired_payload_type(&self) -> Option<u8> {
        let parameters = self.parameters.as_deref().filter(|_| self.name.eq_ignore_ascii_case("rtx"))?;
        let associated = parameters.split(';').find_map(|entry| entry.trim().strip_prefix("apt="))?;
        associated.trim().parse().ok().filter(|number| *number < 128)
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

/// The payload type that an attribute's value begins with, and the rest of the value.
fn of_payload_type(attribute: &Attribute) -> Option<(u8, &str)> {
    if !["rtpmap", "fmtp", "rtcp-fb"].contains(&attribute.name.as_str()) {
        return None;
    }
    let (first, rest) = attribute.value().trim_start().split_once(' ')?;
    Some((first.parse().ok()?, rest.trim()))
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
    fn retransmissions_name_what_they_repair() {
        let attributes =
            ["rtpmap:97 RTX/90000", "fmtp:97 rtx-time=3000; apt=96", "rtpmap:98 VP8/90000", "fmtp:98 apt=9"];
        let codecs = Codec::list(&section(&["97", "98"], &attributes));
        assert_eq!(codecs.iter().map(Codec::repaired_payload_type).collect::<Vec<_>>(), [Some(96), None]);
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
