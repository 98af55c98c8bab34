//! Session descriptions of one audio stream with keys and candidates: written by peers, read from the daemon.

use super::Peer;
use crate::sdp::media_address;
use millrace::base::fingerprint::Fingerprint;
use millrace::base::suite::HashFunction;
use millrace::ice::{Candidate, Credentials, RemoteDescription};
use millrace::sdp::{Attribute, Crypto};
use std::net::SocketAddr;

/// Preference among one's own candidates: there is only one.
const LOCAL_PREFERENCE: u16 = 65_535;

/// What a description of the other side says.
#[derive(Debug, Clone)]
pub struct Remote {
    pub media: SocketAddr,
    /// Where RTCP goes: the same as media with rtcp-mux.
    pub control: SocketAddr,
    pub is_muxed: bool,
    pub crypto: Vec<Crypto>,
    pub fingerprints: Vec<Fingerprint>,
    /// The value of `a=setup`.
    pub setup: Option<String>,
    pub ice: Option<RemoteDescription>,
}

/// Reads the first audio section.
pub fn read(sdp: &str) -> Result<Remote, String> {
    let media = media_address(sdp).ok_or_else(|| format!("no media address in\n{sdp}"))?;
    let values = |name: &'static str| {
        let lines = sdp.lines().filter_map(|line| line.strip_prefix("a="));
        lines.filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let is_muxed = sdp.lines().any(|line| line == "a=rtcp-mux");
    let port = values("rtcp").next().and_then(|value| value.split(' ').next()?.parse().ok());
    let port = if is_muxed { media.port() } else { port.unwrap_or(media.port() + 1) };
    let credentials = values("ice-ufrag").next().zip(values("ice-pwd").next());
    let ice = credentials.map(|(ufrag, password)| RemoteDescription {
        credentials: Credentials { ufrag: ufrag.to_owned(), password: password.to_owned() },
        is_lite: sdp.lines().any(|line| line == "a=ice-lite"),
        candidates: values("candidate").filter_map(|value| Candidate::parse(value).ok()).collect(),
        is_trickling: false,
        has_ended: true,
    });
    Ok(Remote {
        media,
        control: SocketAddr::new(media.ip(), port),
        is_muxed,
        crypto: values("crypto").filter_map(|line| Crypto::parse(&Attribute::with_value("crypto", line))).collect(),
        fingerprints: values("fingerprint").filter_map(|value| value.parse().ok()).collect(),
        setup: values("setup").next().map(str::to_owned),
        ice,
    })
}

/// Writes the description of a peer as it is now; `setup` is the value of `a=setup`.
pub fn write(peer: &Peer, version: u32, crypto: &[Crypto], setup: &str, is_muxed: bool) -> String {
    let (address, port) = (peer.settings.claims.unwrap_or(peer.at.ip()), peer.at.port());
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    let (mut protocol, mut lines) = ("RTP/AVP", Vec::new());
    if is_muxed {
        lines.push("a=rtcp-mux".to_owned());
    }
    for line in crypto {
        protocol = "RTP/SAVP";
        lines.push(format!("a={}", line.attribute(false, false)));
    }
    if let Some(contexts) = peer.shown_contexts() {
        protocol = "UDP/TLS/RTP/SAVP";
        let fingerprint = contexts.identity().fingerprint(HashFunction::Sha256);
        lines.extend([format!("a=setup:{setup}"), format!("a=fingerprint:{fingerprint}")]);
    }
    if let Some(agent) = &peer.agent {
        let Credentials { ufrag, password } = agent.credentials();
        lines.extend([format!("a=ice-ufrag:{ufrag}"), format!("a=ice-pwd:{password}")]);
        lines.push(format!("a=candidate:{}", Candidate::host("1".to_owned(), 1, peer.at, LOCAL_PREFERENCE)));
    }
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!(
        "v=0\r\no=- 4711 {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} {protocol} 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n{lines}"
    )
}
