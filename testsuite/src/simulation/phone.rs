//! Phones: they describe what they want, read what they are shown, talk, and note what they hear.

use super::description::{Line, lines};
use super::world::Datagram;
use millrace::wire::rtcp::{self, Writer};
use millrace::wire::rtp::{Header, Packet};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// The payload types that phones offer for audio.
const AUDIO: &str = "a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";

/// One `m=` line of a phone.
#[derive(Debug, Clone)]
pub struct Leg {
    pub kind: &'static str,
    /// The local RTP port; zero rejects.
    pub port: u16,
    /// What is written; the phone talks all the same.
    pub direction: &'static str,
    pub wants_mux: bool,
    /// More attribute lines, without `a=`.
    pub attributes: Vec<&'static str>,
    /// Whether the phone talks on this line once it knows where to.
    pub talks: bool,
    /// The payload type of what it sends, and of PCMA in its descriptions.
    pub payload_type: u8,
    pub ssrc: u32,
    /// What the phone was shown last.
    pub shown: Option<Line>,
    sequence: u16,
    pub rtp_sent: u64,
    pub rtcp_sent: u64,
    /// What has arrived at the RTP port (and is RTP or opaque), in order.
    pub heard: Vec<Heard>,
    /// The SSRCs of senders of RTCP that has arrived, with the port that it came to.
    pub rtcp_heard: Vec<(u32, u16)>,
}

/// A packet that has reached a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    pub ssrc: u32,
    pub sequence: u16,
    pub payload_type: u8,
    /// Its payload is silence in PCMA.
    pub is_silent: bool,
    /// Where it came from.
    pub from: SocketAddr,
}

/// A phone.
#[derive(Debug, Clone)]
pub struct Phone {
    pub name: &'static str,
    /// What its descriptions say.
    pub address: IpAddr,
    /// `c=0.0.0.0`, as phones held before RFC 3264.
    pub writes_zero_address: bool,
    pub legs: Vec<Leg>,
    version: u32,
}

impl Leg {
    /// A line of `kind` at `port`, on which the phone talks.
    pub fn new(kind: &'static str, port: u16, ssrc: u32) -> Leg {
        Leg {
            kind,
            port,
            direction: "sendrecv",
            wants_mux: false,
            attributes: Vec::new(),
            talks: true,
            payload_type: if kind == "audio" { 8 } else { 97 },
            ssrc,
            shown: None,
            sequence: 0,
            rtp_sent: 0,
            rtcp_sent: 0,
            heard: Vec::new(),
            rtcp_heard: Vec::new(),
        }
    }

    /// The sequence numbers heard from `ssrc`, in order of arrival.
    pub fn sequences(&self, ssrc: u32) -> Vec<u16> {
        self.heard.iter().filter(|heard| heard.ssrc == ssrc).map(|heard| heard.sequence).collect()
    }

    /// The local RTCP port.
    fn rtcp_port(&self) -> u16 {
        if self.is_muxed() { self.port } else { self.port + 1 }
    }

    fn is_muxed(&self) -> bool {
        self.wants_mux && self.shown.as_ref().is_some_and(|shown| shown.is_muxed)
    }

    fn section(&self) -> String {
        let port = self.port;
        let mut text = match self.kind {
            "audio" if self.payload_type != 8 => {
                let number = self.payload_type;
                format!(
                    "m=audio {port} RTP/AVP {number} 110\r\na=rtpmap:{number} PCMA/8000\r\na=rtpmap:110 telephone-event/8000\r\n"
                )
            }
            "audio" => format!("m=audio {port} RTP/AVP 8 101\r\n{AUDIO}"),
            "video" => format!("m=video {port} RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n"),
            "image" => format!("m=image {port} udptl t38\r\na=T38FaxVersion:0\r\n"),
            other => format!("m={other} {port} TCP/MSRP *\r\na=path:msrp://198.51.100.10:{port}/s;tcp\r\n"),
        };
        if self.kind == "audio" || self.kind == "video" {
            let _ = write!(text, "a={}\r\n", self.direction);
        }
        if self.wants_mux {
            text += "a=rtcp-mux\r\n";
        }
        for attribute in &self.attributes {
            let _ = write!(text, "a={attribute}\r\n");
        }
        text
    }
}

impl Phone {
    pub fn new(name: &'static str, address: &str, legs: Vec<Leg>) -> Phone {
        let address = address.parse().expect("an address");
        Phone { name, address, writes_zero_address: false, legs, version: 0 }
    }

    /// A phone with one audio line.
    pub fn audio(name: &'static str, address: &str, port: u16, ssrc: u32) -> Phone {
        Phone::new(name, address, vec![Leg::new("audio", port, ssrc)])
    }

    /// What the phone says it wants.
    pub fn describe(&mut self) -> String {
        self.version += 1;
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let (address, version, name) = (self.address, self.version, self.name);
        let connection = if self.writes_zero_address { "0.0.0.0".to_owned() } else { address.to_string() };
        let sections: String = self.legs.iter().map(Leg::section).collect();
        format!(
            "v=0\r\no={name} 1 {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {connection}\r\nt=0 0\r\n{sections}"
        )
    }

    /// Takes in what the phone is shown.
    pub fn show(&mut self, sdp: &str) {
        let shown = lines(sdp);
        assert_eq!(shown.len(), self.legs.len(), "{} is shown other lines than it has:\n{sdp}", self.name);
        for (leg, line) in self.legs.iter_mut().zip(shown) {
            leg.shown = Some(line);
        }
    }

    /// The packets of one moment of talk.
    pub fn talk(&mut self) -> Vec<Datagram> {
        let address = self.address;
        let legs = self.legs.iter_mut().filter(|leg| leg.talks && leg.port > 0);
        legs.filter_map(|leg| {
            let to = leg.shown.as_ref()?.rtp?;
            leg.sequence = leg.sequence.wrapping_add(1);
            leg.rtp_sent += 1;
            Some(Datagram { from: SocketAddr::new(address, leg.port), to, bytes: leg.packet() })
        })
        .collect()
    }

    /// A sender report (RFC 3550, section 6.4.1) of each line.
    pub fn report(&mut self) -> Vec<Datagram> {
        let address = self.address;
        let legs = self.legs.iter_mut().filter(|leg| leg.talks && leg.port > 0 && leg.kind != "image");
        legs.filter_map(|leg| {
            let to = leg.shown.as_ref()?.rtcp?;
            leg.rtcp_sent += 1;
            let info = rtcp::SenderInfo {
                ntp: 1 << 40,
                rtp_timestamp: 160 * leg.rtp_sent as u32,
                packets: leg.rtp_sent as u32,
                payload_bytes: 160 * leg.rtp_sent as u32,
            };
            let bytes = Writer::new().sender_report(leg.ssrc, &info, &[]).finish();
            Some(Datagram { from: SocketAddr::new(address, leg.rtcp_port()), to, bytes })
        })
        .collect()
    }

    /// A datagram arrives; false when the phone has no such port.
    pub fn hear(&mut self, datagram: &Datagram) -> bool {
        let port = datagram.to.port();
        let is_own = |leg: &&mut Leg| leg.port > 0 && (leg.port == port || leg.port + 1 == port);
        let Some(leg) = self.legs.iter_mut().find(is_own).filter(|_| datagram.to.ip() == self.address) else {
            return false;
        };
        let is_rtcp = datagram.bytes.get(1).is_some_and(|kind| (192..224).contains(kind));
        if is_rtcp {
            let ssrc = rtcp::first_sender(&datagram.bytes).expect("whole RTCP");
            leg.rtcp_heard.push((ssrc, port));
        } else {
            let packet = Packet::parse(&datagram.bytes).expect("whole RTP");
            let Header { ssrc, sequence, payload_type, .. } = packet.header();
            let is_silent = packet.payload().iter().all(|byte| *byte == 0xd5);
            leg.heard.push(Heard { ssrc, sequence, payload_type, is_silent, from: datagram.from });
        }
        true
    }
}

impl Leg {
    /// An RTP packet; UDPTL is not told from it by anybody here.
    fn packet(&self) -> Vec<u8> {
        let timestamp = u32::from(self.sequence).wrapping_mul(160);
        let (payload_type, sequence, ssrc) = (self.payload_type, self.sequence, self.ssrc);
        Header { marker: false, payload_type, sequence, timestamp, ssrc }.write(&[ssrc as u8; 160])
    }
}
