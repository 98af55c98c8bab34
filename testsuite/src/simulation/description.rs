//! What a phone reads out of a description that it is shown.

use std::net::{IpAddr, SocketAddr};

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub kind: String,
    pub protocol: String,
    pub formats: Vec<String>,
    /// None when the section is rejected.
    pub rtp: Option<SocketAddr>,
    /// Where RTCP goes: the RTP address under rtcp-mux.
    pub rtcp: Option<SocketAddr>,
    pub is_muxed: bool,
    /// The direction as its author sees it.
    pub direction: String,
    /// Everything after `a=`.
    pub attributes: Vec<String>,
}

/// The `m=` sections of a description. Panics on one that no phone could read.
pub fn lines(sdp: &str) -> Vec<Line> {
    let mut sections = sdp.split("\r\nm=");
    let session = sections.next().expect("a session level");
    assert!(session.starts_with("v=0\r\no="), "{sdp}");
    assert!(sdp.ends_with("\r\n"), "{sdp}");
    let session_address = connection(session);
    sections.map(|section| line(section, session_address)).collect()
}

fn line(section: &str, session_address: Option<IpAddr>) -> Line {
    let mut words = section.lines().next().unwrap_or_default().split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_else(|| panic!("too few words in m={section}"));
    let (kind, port, protocol) = (word(), word(), word());
    let port: u16 = port.parse().expect("a port");
    let address = connection(section).or(session_address).expect("an address");
    let attributes: Vec<String> =
        section.lines().filter_map(|line| line.strip_prefix("a=")).map(str::to_owned).collect();
    let is_muxed = attributes.iter().any(|text| text == "rtcp-mux");
    let written = attributes.iter().find_map(|text| text.strip_prefix("rtcp:"));
    let written = written.map(|text| text.split(' ').next().and_then(|port| port.parse().ok()).expect("a port"));
    let rtp = (port > 0 && !address.is_unspecified()).then(|| SocketAddr::new(address, port));
    let rtcp_port = if is_muxed { port } else { written.unwrap_or(port.saturating_add(1)) };
    let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let direction = attributes.iter().find(|text| directions.contains(&text.as_str())).cloned();
    Line {
        kind,
        protocol,
        formats: words.collect(),
        rtp,
        rtcp: rtp.map(|rtp| SocketAddr::new(rtp.ip(), rtcp_port)),
        is_muxed,
        direction: direction.unwrap_or_else(|| "sendrecv".to_owned()),
        attributes,
    }
}

fn connection(text: &str) -> Option<IpAddr> {
    let line = text.lines().find_map(|line| line.strip_prefix("c=IN "))?;
    line.split(' ').nth(1)?.parse().ok()
}
