//! Session descriptions as plain phones write and read them: one audio stream, PCMA and PCMU.

use std::net::{IpAddr, SocketAddr};

/// An offer or answer: G.711, 20 ms, received at `at`. `extra` lines (without line ends) follow the media line.
pub fn audio(at: SocketAddr, version: u32, extra: &[&str]) -> String {
    let family = if at.is_ipv4() { "IP4" } else { "IP6" };
    let (address, port) = (at.ip(), at.port());
    let mut text = format!(
        "v=0\r\no=- 4711 {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"
    );
    for line in extra {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

/// An offer or answer of PCMU alone by `protocol`, received at `at`. `extra` lines follow the media line.
pub fn pcmu(at: SocketAddr, protocol: &str, extra: &[String]) -> String {
    let family = if at.is_ipv4() { "IP4" } else { "IP6" };
    let (address, port) = (at.ip(), at.port());
    let extra: String = extra.iter().map(|line| format!("{line}\r\n")).collect();
    format!(
        "v=0\r\no=- 4711 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} {protocol} 0\r\na=rtpmap:0 PCMU/8000\r\n{extra}a=ptime:20\r\n"
    )
}

/// Where the first media section wants its RTP: the port of its media line, and its own or the session's address.
pub fn media_address(sdp: &str) -> Option<SocketAddr> {
    let mut port = None;
    let mut address: Option<IpAddr> = None;
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if port.is_some() {
                break;
            }
            port = media.split(' ').nth(1)?.split('/').next()?.parse().ok();
        } else if let Some(connection) = line.strip_prefix("c=") {
            address = connection.split(' ').nth(2)?.split('/').next()?.trim().parse().ok();
        }
    }
    Some(SocketAddr::new(address?, port?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_what_we_write_is_what_we_read() {
        for text in ["192.0.2.1:4000", "[2001:db8::1]:4000"] {
            let at: SocketAddr = text.parse().unwrap();
            assert_eq!(media_address(&audio(at, 1, &["a=sendrecv"])), Some(at));
            assert_eq!(media_address(&pcmu(at, "RTP/SAVP", &["a=sendrecv".into()])), Some(at));
        }
    }

    #[test]
    fn the_sections_own_address_wins() {
        let text = "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.9\r\nm=video 0 RTP/AVP 96\r\n";
        assert_eq!(media_address(text), Some("192.0.2.9:4000".parse().unwrap()));
        assert_eq!(media_address("m=audio x RTP/AVP 0"), None);
        assert_eq!(media_address(""), None);
    }
}
