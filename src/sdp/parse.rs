//! Reads a session description.

use super::{Attribute, Connection, MediaSection, Origin, Protocol, Session, SessionDescription};
use crate::base::address::Family;
use std::net::IpAddr;

/// Why a body is no session description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// The line, counted from one.
    pub line: usize,
    pub reason: &'static str,
}

/// The most `m=` sections that a description may have.
pub const MAX_MEDIAS: usize = 1024;

/// Reads `text`. Line ends may be CR LF, LF or CR; blanks at the end of a line are passed over. A blank line after a
/// media section ends the description: what follows is not read.
///
/// # Errors
/// The first line that is malformed, with the reason.
pub fn parse(text: &str) -> Result<SessionDescription, ParseError> {
    let mut description = SessionDescription::default();
    let mut blank_at = None;
    for (index, raw) in lines(text).enumerate() {
        let (line, number) = (raw.trim_end(), index + 1);
        let fail = |reason| ParseError { line: number, reason };
        if line.is_empty() && !description.medias.is_empty() {
            break;
        }
        if line.is_empty() {
            blank_at.get_or_insert(number);
            continue;
        }
        if let Some(line) = blank_at {
            return Err(ParseError { line, reason: "blank line within the description" });
        }
        let (letter, value) = split(line).ok_or_else(|| fail("not of the form letter=value"))?;
        if number == 1 && letter != 'v' {
            return Err(fail("a description begins with v="));
        }
        match letter {
            'm' if description.medias.len() == MAX_MEDIAS => return Err(fail("too many media sections")),
            'm' => description.medias.push(media_line(value).map_err(fail)?),
            _ => match description.medias.last_mut() {
                Some(media) => media_level(media, letter, value).map_err(fail)?,
                None => session_level(&mut description.session, letter, value).map_err(fail)?,
            },
        }
    }
    Ok(description)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

fn split(line: &str) -> Option<(char, &str)> {
    let (letter, value) = line.split_once('=')?;
    let mut letters = letter.chars();
    let first = letters.next()?;
    (letters.next().is_none() && first.is_ascii_lowercase()).then_some((first, value))
}

fn session_level(session: &mut Session, letter: char, value: &str) -> Result<(), &'static str> {
    match letter {
        'v' if value.trim() == "0" => {}
        'v' => return Err("unknown version"),
        'o' => session.origin = Origin::parse(value).ok_or("malformed origin")?,
        's' => session.name = value.to_owned(),
        'c' => session.connection = Some(connection(value)?),
        'b' => session.bandwidths.push(value.to_owned()),
        'a' => session.attributes.push(Attribute::parse(value)),
        'i' | 'u' | 'e' | 'p' => session.descriptions.push((letter, value.to_owned())),
        't' | 'r' | 'z' | 'k' => session.timing.push((letter, value.to_owned())),
        _ => return Err("unknown line type"),
    }
    Ok(())
}

fn media_level(media: &mut MediaSection, letter: char, value: &str) -> Result<(), &'static str> {
    match letter {
        'i' => media.information = Some(value.to_owned()),
        // Further c= lines give further multicast addresses (RFC 8866, section 5.7), which a relay does not serve.
        'c' if media.connection.is_some() => {}
        'c' => media.connection = Some(connection(value)?),
        'b' => media.bandwidths.push(value.to_owned()),
        'a' => media.attributes.push(Attribute::parse(value)),
        'k' => {}
        _ => return Err("line type unknown within a media section"),
    }
    Ok(())
}

fn media_line(value: &str) -> Result<MediaSection, &'static str> {
    let mut words = value.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
        return Err("malformed media line");
    };
    let (port, count) = match port.split_once('/') {
        Some((port, count)) => (port, Some(count.parse().map_err(|_| "malformed number of ports")?)),
        None => (port, None),
    };
    Ok(MediaSection {
        kind: kind.to_owned(),
        port: port.parse().map_err(|_| "malformed port")?,
        port_count: count,
        protocol: Protocol::parse(protocol),
        formats: words.map(str::to_owned).collect(),
        ..MediaSection::default()
    })
}

fn connection(value: &str) -> Result<Connection, &'static str> {
    let mut words = value.split_ascii_whitespace();
    if words.next() != Some("IN") {
        return Err("connection of an unknown network");
    }
    let family = words.next().and_then(Family::from_sdp).ok_or("connection of an unknown address family")?;
    // A multicast address may carry a TTL and a count after slashes.
    let text = words.next().and_then(|address| address.split('/').next()).ok_or("connection without an address")?;
    let address: IpAddr = text.parse().map_err(|_| "connection address is not an IP address")?;
    if Family::of(address) != family {
        return Err("connection address of the other family");
    }
    Ok(Connection { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 \r\na=sendrecv\r\n";

    #[test]
    fn line_ends_and_trailing_blanks_do_not_matter() {
        let crlf = parse(BODY).unwrap();
        assert_eq!(crlf.medias[0].formats, ["0", "8"]);
        assert_eq!(parse(&BODY.replace("\r\n", "\n")).unwrap(), crlf);
        assert_eq!(parse(&format!("{BODY}\r\n\r\n")).unwrap(), crlf);
        assert_eq!(parse(&format!("{BODY}\r\n--boundary--\r\n")).unwrap(), crlf);
    }

    #[test]
    fn malformed_lines_are_named() {
        for (body, reason) in [
            ("", None),
            ("x", Some("not of the form letter=value")),
            ("o=- 1 1 IN IP4 1.2.3.4\r\n", Some("a description begins with v=")),
            ("v=0\r\n\r\nm=audio 1 RTP/AVP 0\r\n", Some("blank line within the description")),
            ("v=0\r\nm=audio x RTP/AVP 0\r\n", Some("malformed port")),
            ("v=0\r\nm=audio\r\n", Some("malformed media line")),
            ("v=0\r\nc=IN IP4 ::1\r\n", Some("connection address of the other family")),
            ("v=0\r\nc=IN IP4 host.example\r\n", Some("connection address is not an IP address")),
        ] {
            assert_eq!(parse(body).err().map(|error| error.reason), reason, "{body:?}");
        }
    }
}
