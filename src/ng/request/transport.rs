//! Transport protocol, rtcp-mux, bundle, header extensions.

use super::Request;
use super::ice::IceMode;
use super::parser::{Parser, words};
use super::table::{Choice, Choices, Flag, Key, Prefix, Section, fold, row};
use crate::base::protocol::TransportProtocol;
use crate::ng::Value;
use crate::ng::status::Status;

const SAME: Status = Status::Same;
const BUNDLE: Status = Status::Same;
const STRICT: Status = Status::NotYet("as `require`, and not remembered; ports of bundle-only medias are not zero");
const BUNDLED_FORKS: Status = Status::Different(
    "an addition: in `subscribe request` it offers the subscriber one port for all lines, also with the flag `WebRTC`, \
     which alone offers a port for each there",
);
const WEBRTC: Status = Status::Same;
const DTLS_FORKS: Status = Status::Different(
    "in `subscribe request`, a protocol of DTLS offers a handshake even where the sender has keys in its SDP; rtpengine \
     names the protocol and offers those keys alone, as both do with the flag `WebRTC`",
);

/// How media is carried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transport {
    /// The protocol towards the receiver.
    pub protocol: Option<TransportProtocol>,
    /// `transport protocol=accept`: the answerer's protocol is passed on to the offerer.
    pub accept_protocol: bool,
    /// The flag `WebRTC` was given.
    pub is_webrtc: bool,
    pub rtcp_mux: RtcpMux,
    pub bundle: Bundle,
    /// Add `a=mid` where it is missing.
    pub generate_mid: bool,
    pub strip_extensions: Extensions,
    pub mask_extensions: Extensions,
}

/// RTP and RTCP on one port (RFC 5761).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RtcpMux {
    pub offer: bool,
    /// Assume acceptance; `offer` is set too.
    pub require: bool,
    pub demux: bool,
    pub accept: bool,
    pub reject: bool,
}

/// Several media on one port (RFC 9143).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bundle {
    pub accept: bool,
    pub offer: bool,
    /// `offer` is set too.
    pub require: bool,
    /// `require` and `offer` are set too.
    pub strict: bool,
    pub reject: bool,
}

/// A choice of RTP header extensions (RFC 8285).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    pub all: bool,
    pub uris: Vec<String>,
}

impl Extensions {
    /// Whether the extension is one of those meant.
    pub fn covers(&self, uri: &str) -> bool {
        self.all || self.uris.iter().any(|other| other == uri)
    }
}

static KEYS: &[Key] = &[
    row("transport protocol", DTLS_FORKS, "The protocol towards the receiver, or `accept`.").key(set_protocol),
    row("rtcp-mux", SAME, "What to do about RTP and RTCP on one port.").key(|p, v| p.choose_each(&RTCP_MUX, v)),
    row("bundle", BUNDLE, "What to do about several media on one port.").key(|p, v| p.choose_each(&BUNDLES, v)),
    row("extmap", SAME, "RTP header extensions to `strip` or `mask`.").key(set_extensions),
];

static FLAGS: &[Flag] = &[
    row("generate mid", SAME, "Add `a=mid` where it is missing.").flag(|r| r.transport.generate_mid = true),
    row("strip extmap", SAME, "Remove all header extensions from SDP.")
        .flag(|r| r.transport.strip_extensions.all = true),
    row(
        "WebRTC",
        WEBRTC,
        "All that a browser wants: DTLS, AVPF, ICE, trickle, rtcp-mux, mid, bundle. In `subscribe request` to a sender \
         with keys in its SDP, those keys in place of DTLS, which no browser takes: name `transport protocol`, `ICE` and \
         `rtcp-mux` there.",
    )
    .flag(set_webrtc),
];

static PREFIXES: &[Prefix] = &[
    row("rtcp-mux-", SAME, "A value of `rtcp-mux`.").prefix(|p, word| p.choose(&RTCP_MUX, word)),
    row("BUNDLE-", BUNDLE, "A value of `bundle`.").prefix(|p, word| p.choose(&BUNDLES, word)),
];

const fn mux(name: &'static str, document: &'static str, set: fn(&mut Request)) -> Choice {
    row(name, SAME, document).choice(set)
}

static RTCP_MUX: Choices = Choices {
    key: "rtcp-mux",
    rows: &[
        mux("offer", "Offer it.", |r| r.transport.rtcp_mux.offer = true),
        mux("require", "Offer it and assume that it is accepted.", |r| {
            r.transport.rtcp_mux.offer = true;
            r.transport.rtcp_mux.require = true;
        }),
        mux("demux", "Accept it towards the offerer, do not offer it.", |r| r.transport.rtcp_mux.demux = true),
        mux("accept", "Accept it and pass it on.", |r| r.transport.rtcp_mux.accept = true),
        mux("reject", "Refuse it.", |r| r.transport.rtcp_mux.reject = true),
    ],
};

const fn bundle(name: &'static str, document: &'static str, set: fn(&mut Request)) -> Choice {
    row(name, BUNDLE, document).choice(set)
}

static BUNDLES: Choices = Choices {
    key: "bundle",
    rows: &[
        row("accept", BUNDLED_FORKS, "Understand bundled offers and answer them bundled.")
            .choice(|r| r.transport.bundle.accept = true),
        bundle("offer", "Bundle outgoing offers.", set_bundle_offer),
        bundle("require", "Bundle-only style: the same port on all media.", set_bundle_require),
        row("strict", STRICT, "RFC 9143's bundle-only, not remembered.").choice(|r| {
            set_bundle_require(r);
            r.transport.bundle.strict = true;
        }),
        bundle("reject", "Break up groups.", |r| r.transport.bundle.reject = true),
    ],
};

pub(super) static SECTION: Section = Section {
    title: "Transport, rtcp-mux, bundle, header extensions",
    keys: KEYS,
    flags: FLAGS,
    prefixes: PREFIXES,
    choices: &[&RTCP_MUX, &BUNDLES],
};

fn set_bundle_offer(request: &mut Request) {
    request.transport.bundle.offer = true;
    request.transport.generate_mid = true;
}

fn set_bundle_require(request: &mut Request) {
    set_bundle_offer(request);
    request.transport.bundle.require = true;
}

fn set_webrtc(request: &mut Request) {
    request.transport.is_webrtc = true;
    request.transport.protocol = Some(TransportProtocol::UdpTlsRtpSavpf);
    request.ice.mode = IceMode::Force;
    request.ice.trickle = true;
    request.transport.rtcp_mux.offer = true;
    request.transport.rtcp_mux.require = true;
    request.output.rtcp_attribute = super::output::RtcpAttribute::Omit;
    request.sdes.is_off = true;
    set_bundle_require(request);
}

fn set_protocol(parser: &mut Parser, value: &Value) {
    for word in words(value) {
        if fold(word) == "accept" {
            parser.request.transport.accept_protocol = true;
        } else if let Some(protocol) = parser.transport_protocol(word) {
            parser.request.transport.protocol = Some(protocol);
        }
    }
}

fn set_extensions(parser: &mut Parser, value: &Value) {
    let Some(dictionary) = value.as_dictionary() else { return parser.warn("`extmap` is not a dictionary".to_owned()) };
    for (operation, uris) in dictionary.iter() {
        let extensions = match fold(operation).as_ref() {
            "strip" => &mut parser.request.transport.strip_extensions,
            "mask" => &mut parser.request.transport.mask_extensions,
            _ => {
                parser.warn(format!("unknown value `{operation}` of `extmap`"));
                continue;
            }
        };
        for uri in words(uris) {
            match uri {
                "all" => extensions.all = true,
                uri => extensions.uris.push(uri.to_owned()),
            }
        }
    }
}
