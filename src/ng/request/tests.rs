//! The same option in every form, coercions, scopes, errors, and messages that try to break the parser.

use super::codec::CodecSpec;
use super::dialogue::{All, Flow};
use super::ice::{IceLite, IceMode};
use super::network::Tos;
use super::output::{Change, Edit, EditSection, RtcpAttribute};
use super::rtp::MediaEcho;
use super::sdp::SipMessageType;
use super::table::{SECTIONS, fold};
use super::*;
use crate::base::learning::Learning;
use crate::base::protocol::{MediaType, TransportProtocol};
use crate::base::suite::{HashFunction, Suite};
use crate::wire::json;
use proptest::prelude::*;
use std::collections::HashSet;

fn parse_with(document: &str, defaults: &Defaults) -> Result<Request, RequestError> {
    let value = json::decode(document.as_bytes()).unwrap();
    Request::parse(value.as_dictionary().unwrap(), Encoding::Json, defaults)
}

fn parse(document: &str) -> Request {
    parse_with(document, &Defaults::default()).unwrap()
}

/// An offer with some more JSON.
fn offer(more: &str) -> Request {
    let request = parse(&format!(r#"{{"command":"offer","call-id":"c",{more}}}"#));
    assert_eq!(request.warnings, Vec::<String>::new(), "{more}");
    request
}

/// All of these are the same offer, whose dictionary order aside; gives it.
fn same(forms: &[&str]) -> Request {
    // Which name was used is all that may differ.
    let meant = |form: &str| Request { unbuilt: Vec::new(), ..offer(form) };
    let first = meant(forms[0]);
    for form in forms {
        assert_eq!(meant(form), first, "{form}");
    }
    first
}

#[test]
fn every_name_is_known_once() {
    let mut keys = HashSet::new();
    let mut flags = HashSet::new();
    for section in SECTIONS {
        for row in section.keys.iter().map(|key| key.row) {
            row.names().for_each(|name| assert!(keys.insert(fold(name)), "key {name} twice"));
        }
        let rows = section.flags.iter().map(|flag| flag.row).chain(section.prefixes.iter().map(|prefix| prefix.row));
        for row in rows {
            row.names().for_each(|name| assert!(flags.insert(fold(name)), "flag {name} twice"));
        }
        for choices in section.choices {
            let names: Vec<_> = choices.rows.iter().flat_map(|choice| choice.row.names()).map(fold).collect();
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "a value of {} twice", choices.key);
        }
        assert!(section.prefixes.iter().flat_map(|prefix| prefix.row.names()).all(|name| name.ends_with('-')));
    }
}

#[test]
fn what_is_asked_for_and_not_built_is_named() {
    let names = |more: &str| offer(more).unbuilt.iter().map(|unbuilt| unbuilt.name).collect::<Vec<_>>();
    assert_eq!(names(r#""flags":["inject DTMF","trust-address"],"peer":"192.0.2.1""#), ["inject DTMF", "peer"]);
    assert_eq!(names(r#""rtpp-flags":"codec-transcode=PCMA""#), ["codec-transcode-"]);
    assert_eq!(names(r#""codec":{"strip":["PCMA"]},"to-tag":"t""#), [""; 0]);
}

#[test]
fn a_scripts_tag_stands_before_the_dialogues() {
    let tags = |text: &str| {
        let dialogue = parse(text).dialogue;
        (dialogue.from_tag.unwrap_or_default(), dialogue.to_tag.unwrap_or_default())
    };
    let own = r#""from-tag":"caller","to-tag":"callee""#;
    let words = r#""rtpp-flags":"to-tag=fork""#;
    for keys in [format!("{own},{words}"), format!("{words},{own}")] {
        let message = format!(r#"{{"command":"subscribe answer",{keys}}}"#);
        assert_eq!(tags(&message), ("caller".to_owned(), "fork".to_owned()), "{message}");
    }
}

#[test]
fn codec_operations_meet_in_one_field() {
    let request = same(&[
        r#""codec":{"strip":["opus","all"],"transcode":["PCMA/8000"]}"#,
        r#""codecs":{"strip":"opus, all","transcode":["PCMA/8000"]}"#,
        r#""flags":["codec-strip-opus","codec-strip-all","transcode-PCMA/8000"]"#,
        r#""flags":["codec strip opus","codec_strip_all","codec-transcode-PCMA/8000"]"#,
        r#""rtpp-flags":"codec-strip-opus codec-strip=all transcode=PCMA/8000""#,
        r#""rtpp-flags":"codec=[strip=[opus all] transcode=[PCMA/8000]]""#,
    ]);
    assert!(request.codecs.strip.all);
    assert_eq!(request.codecs.strip.codecs, [CodecSpec::parse("opus")]);
    assert_eq!(request.codecs.transcode.codecs, [CodecSpec::parse("PCMA/8000")]);
    let accept =
        same(&[r#""flags":["always transcode"]"#, r#""codec":{"accept":"all"}"#, r#""rtpp-flags":"codec-accept=all""#]);
    assert!(accept.codecs.accept.all);
    assert_eq!(offer(r#""flags":["codecs-offer-PCMU"]"#).codecs.offer.codecs.len(), 1);
}

#[test]
fn attribute_edits_meet_in_one_field() {
    let request = same(&[
        r#""sdp-attr":{"audio":{"add":["x y=z"]},"none":{"substitute":["a","b=1"]},"video":{"remove":["x"]}}"#,
        r#""SDP-attr":{"audio":{"add":"x y=z"},"global":{"substitute":[["a","b=1"]]},"video":{"remove":["x"]}}"#,
        r#""flags":["sdp-attr-add-audio-x..y--z","sdp-attr-substitute-none-a>b--1","sdp-attr-remove-video-x"]"#,
        r#""rtpp-flags":"sdp-attr-add-audio-x..y--z sdp-attr=[none=[substitute=[a b--1]] video=[remove=[x]]]""#,
    ]);
    let edit = |section, change| Edit { section, change };
    assert_eq!(
        request.output.edits,
        [
            edit(EditSection::Media(MediaType::Audio), Change::Add("x y=z".into())),
            edit(EditSection::Session, Change::Substitute { from: "a".into(), to: "b=1".into() }),
            edit(EditSection::Media(MediaType::Video), Change::Remove("x".into())),
        ]
    );
    let commas = offer(r#""sdp-attr":{"audio":{"add":["rtcp-fb:1 a,b"]}}"#);
    assert_eq!(commas.output.edits[0].change, Change::Add("rtcp-fb:1 a,b".into()));
}

#[test]
fn lists_flags_and_strings_meet_in_one_field() {
    let request = same(&[
        r#""replace":["origin","SDP version","zero address"]"#,
        r#""replace":"origin,sdp_version, zero-address""#,
        r#""flags":["replace-origin","replace-sdp-version","replace-zero address"]"#,
        r#""rtpp-flags":"replace=[origin sdp-version zero-address]""#,
    ]);
    assert!(request.output.replace.origin && request.output.replace.sdp_version && request.output.replace.zero_address);
    let mux = same(&[
        r#""rtcp-mux":["require"]"#,
        r#""RTCP mux":"require""#,
        r#""flags":["rtcp-mux-require"]"#,
        r#""flags":["rtcp-mux-offer","rtcp-mux-require"]"#,
    ]);
    assert!(mux.transport.rtcp_mux.offer && mux.transport.rtcp_mux.require);
    let sdes = same(&[
        r#""SDES":["no-AES_CM_128_HMAC_SHA1_32","order:AEAD_AES_128_GCM;AES_CM_128_HMAC_SHA1_80;"]"#,
        r#""flags":["SDES-no-AES_CM_128_HMAC_SHA1_32","SDES-order:AEAD_AES_128_GCM;AES_CM_128_HMAC_SHA1_80;"]"#,
        r#""rtpp-flags":"SDES=[no-AES_CM_128_HMAC_SHA1_32 order:AEAD_AES_128_GCM;AES_CM_128_HMAC_SHA1_80;]""#,
    ]);
    assert_eq!(sdes.sdes.without, [Suite::AesCm128Sha1_32]);
    assert_eq!(sdes.sdes.order, [Suite::AeadAes128Gcm, Suite::AesCm128Sha1_80]);
    assert!(same(&[r#""SDES":"off""#, r#""sdes":["no"]"#, r#""flags":["SDES-off"]"#]).sdes.is_off);
    assert!(
        same(&[r#""OSRTP":["accept"]"#, r#""OSRTP":["accept-legacy","accept-RFC"]"#, r#""rtpp-flags":"OSRTP-accept""#])
            .sdes
            .osrtp
            .accept_rfc
    );
    let learning = same(&[r#""endpoint learning":"off""#, r#""flags":["endpoint-learning-off"]"#]);
    assert_eq!(learning.rtp.endpoint_learning, Some(Learning::Off));
    assert!(
        same(&[
            r#""T.38":["no-V.17"]"#,
            r#""T38":"no-v17""#,
            r#""flags":["T38-no-V17"]"#,
            r#""flags":["T.38-no-V.17"]"#
        ])
        .t38
        .no_v17
    );
    assert_eq!(
        same(&[r#""flags":["from-tags-A","from-tags-b"]"#, r#""from tags":["A","b"]"#]).dialogue.from_tags,
        ["A", "b"]
    );
}

#[test]
fn interfaces_and_addresses() {
    let request = same(&[
        r#""direction":["priv","pub"],"address family":"IP6""#,
        r#""from-interface":"priv","to interface":"pub","address-family":"ip6""#,
        r#""rtpp-flags":"direction=priv direction=pub address-family=IP6""#,
        r#""rtpp-flags":"direction=[priv pub] address-family=IP6""#,
    ]);
    assert_eq!(request.network.to_interface.as_deref(), Some("pub"));
    let from = same(&[r#""received from":["IP4","192.0.2.1"]"#, r#""received-from":"192.0.2.1""#]);
    assert_eq!(from.sdp.received_from, Some("192.0.2.1".parse().unwrap()));
    assert!(!offer(r#""flags":["SIP-source-address"]"#).network.trust_address);
    let tos = |text: &str| offer(&format!(r#""TOS":{text}"#)).network.tos;
    assert_eq!(
        [tos("184"), tos("\"0xb8\""), tos("-1"), tos("256")],
        [Tos::Octet(184), Tos::Octet(184), Tos::Untouched, Tos::Configured]
    );
    assert_eq!(parse(r#"{"command":"answer","TOS":184}"#).network.tos, Tos::Configured);
}

#[test]
fn transport_in_every_form() {
    let request = same(&[
        r#""transport protocol":"UDP/TLS/RTP/SAVPF""#,
        r#""transport-protocol":"udp/tls/rtp/savpf""#,
        r#""flags":["UDP/TLS/RTP/SAVPF"]"#,
        r#""rtpp-flags":"DTLS AVPF""#,
    ]);
    assert_eq!(request.transport.protocol, Some(TransportProtocol::UdpTlsRtpSavpf));
    assert!(parse(r#"{"command":"answer","transport-protocol":"accept"}"#).transport.accept_protocol);
    let webrtc = offer(r#""flags":["WebRTC"]"#);
    assert_eq!(webrtc, offer(r#""rtpp-flags":"webrtc""#));
    assert_eq!((webrtc.ice.mode, webrtc.ice.trickle, webrtc.sdes.is_off), (IceMode::Force, true, true));
    assert!(webrtc.transport.bundle.require && webrtc.transport.generate_mid);
    assert_eq!(webrtc.output.rtcp_attribute, RtcpAttribute::Omit);
}

#[test]
fn values_of_many_kinds() {
    let request = offer(
        r#""ICE":"force,trickle,lite-both","DTLS":"passive","DTLS-fingerprint":"SHA-512","SIP message type":"SIP reply",
           "SIP code":"200","supports":["load limit","x"],"media echo":"back","drop-traffic":["start","stop"],
           "ptime":"20","reverse ptime":40,"digit":"D","frequencies":"400,800","record-call":"yes","flags":"symmetric,trust address""#,
    );
    assert_eq!((request.ice.mode, request.ice.lite), (IceMode::Force, Some(IceLite::Both)));
    assert!(request.dtls.is_passive);
    assert_eq!(request.dtls.fingerprint, Some(HashFunction::Sha512));
    assert_eq!((request.sdp.sip_message_type, request.sdp.sip_code), (Some(SipMessageType::Response), Some(200)));
    assert!(request.sdp.supports_load_limit);
    assert_eq!((request.rtp.media_echo, request.rtp.drop_traffic), (Some(MediaEcho::Backwards), Some(true)));
    assert_eq!((request.codecs.ptime_ms, request.codecs.ptime_reverse_ms), (Some(20), Some(40)));
    assert_eq!(request.dtmf.digit, Some(super::dtmf::Digit::Event(15)));
    assert_eq!(request.dtmf.frequencies_hz, [400, 800]);
    let mesh = parse(r#"{"command":"mesh","calls":"a,b","tags":[{"from":"x","to":["y","z"]}]}"#);
    assert_eq!(mesh.dialogue.flows, [Flow { from: "x".into(), to: vec!["y".into(), "z".into()] }]);
    let create = parse(r#"{"command":"create","rtpp-flags":"medias=[[type=audio codecs=[G722 PCMA]] [type=video]]"}"#);
    assert_eq!((create.control.media.len(), create.control.media[0].codecs.len()), (2, 2));
    let transform = parse(
        r#"{"command":"transform","media":[{"id":"1","type":"audio","codecs":[{"input":{"codec":"PCMA","payload type":8},
           "output":{"codec":"opus","payload type":96,"clock rate":48000,"channels":2}}],
           "destination":{"family":"IP4","address":"192.0.2.1","port":5000}}]}"#,
    );
    let media = &transform.control.media[0];
    assert_eq!(media.destination, Some("192.0.2.1:5000".parse().unwrap()));
    assert_eq!(
        (media.conversions[0].input.number, media.conversions[0].output.codec.clock_rate_hz),
        (Some(8), Some(48000))
    );
    assert!(parse(r#"{"command":"stop recording","pause":"yes"}"#).recording.pause);
}

#[test]
fn integers_come_in_many_forms() {
    let limit = |encoding, text: &str| {
        let message = Dictionary::new().with("command", "list").with("limit", text);
        Request::parse(&message, encoding, &Defaults::default()).unwrap().control.limit
    };
    assert_eq!(
        [limit(Encoding::Json, "0x10"), limit(Encoding::Json, "010"), limit(Encoding::Json, "-5")],
        [Some(16), Some(8), Some(-5)]
    );
    assert_eq!([limit(Encoding::Bencode, "010"), limit(Encoding::Bencode, "-1")], [Some(10), Some(-1)]);
    for junk in ["", "x", "1x", "0x", "08", " 1", "0x-1", "--1", "9999999999999999999999"] {
        assert_eq!(limit(Encoding::Json, junk), None, "{junk}");
    }
    assert_eq!([limit(Encoding::Bencode, "0x10"), limit(Encoding::Bencode, "")], [None, None]);
    let delete = parse(r#"{"command":"delete","delete delay":1,"delete-delay":"2"}"#);
    assert_eq!(delete.control.delete_delay_s, Some(2));
    assert_eq!(parse(r#"{"command":"delete","delete_delay":true}"#).control.delete_delay_s, Some(1));
    assert_eq!(parse(r#"{"command":"offer","ptime":"x"}"#).warnings.len(), 1);
}

#[test]
fn what_applies_elsewhere_is_ignored_silently() {
    let answer = parse(
        r#"{"command":"answer","codec":{"mask":["all"],"strip":["PCMU"]},"DTLS":["passive"],"ptime":20,"T38":["force"],"flags":["reset","codec-accept-all"]}"#,
    );
    assert_eq!(answer.warnings, Vec::<String>::new());
    assert!(answer.codecs.mask.is_empty() && answer.codecs.accept.is_empty() && !answer.codecs.strip.is_empty());
    assert!(!answer.dtls.is_passive && !answer.rtp.reset && !answer.t38.force);
    assert_eq!(answer.codecs.ptime_ms, None);
}

#[test]
fn what_is_unknown_is_named_and_ignored() {
    let request = parse(
        r#"{"command":"offer","foo":"bar","flags":["gnu","trust address",7],"ICE":["maybe"],"rtpp-flags":"unknown-flag x=y replace-gnu","SDES":["no-GNU"]}"#,
    );
    assert_eq!(request.warnings.len(), 7, "{:?}", request.warnings);
    assert!(request.network.trust_address);
    for junk in [
        r#""codec":"PCMA""#,
        r#""extmap":3"#,
        r#""tags":"x""#,
        r#""moh":"x""#,
        r#""call-id":[]"#,
        r#""flags":3"#,
        r#""media address":"x""#,
    ] {
        parse(&format!(r#"{{"command":"offer",{junk}}}"#));
    }
}

#[test]
fn some_requests_fail() {
    let reason = |document: &str| parse_with(document, &Defaults::default()).unwrap_err().to_string();
    assert_eq!(reason("{}"), "Dictionary contains no key \"command\"");
    assert_eq!(reason(r#"{"command":3}"#), "Dictionary contains no key \"command\"");
    assert_eq!(reason(r#"{"command":"Offer"}"#), "Unrecognized command");
    assert_eq!(reason(r#"{"command":"offer","sdp-attr":{"bogus":{"add":["x"]}}}"#), "unsupported sdp section");
    assert_eq!(reason(r#"{"command":"offer","flags":["sdp-attr-add-bogus-x"]}"#), "unsupported sdp section");
    assert_eq!(reason(r#"{"command":"offer","sdp-attr":{"audio":{"bogus":["x"]}}}"#), "unsupported sdp manipulation");
    assert_eq!(reason(r#"{"command":"offer","sdp-media-remove":["bogus"]}"#), "unsupported sdp media type");
    let empty = parse(r#"{"command":"offer","sdp":"","call-id":""}"#);
    assert_eq!(
        (empty.sdp_body(), empty.call_id(), empty.from_tag()),
        (Ok(""), Err(RequestError::NoCallId), Err(RequestError::NoFromTag))
    );
}

#[test]
fn templates_come_first_and_cannot_recurse() {
    let mut defaults = Defaults { sip_source: true, ..Defaults::default() };
    defaults.templates.insert("Default", "replace-origin ICE=remove");
    defaults.templates.insert("start recording", "label=recorded");
    defaults.templates.insert("offer", "ICE=force");
    defaults.templates.insert("WebRTC", "WebRTC template=self");
    defaults.templates.insert("self", "template=self");
    let parse = |document: &str| parse_with(document, &defaults).unwrap();
    assert_eq!(parse(r#"{"command":"offer"}"#).ice.mode, IceMode::Force);
    assert_eq!(parse(r#"{"command":"answer"}"#).ice.mode, IceMode::Remove);
    assert_eq!(parse(r#"{"command":"offer","ICE":"optional"}"#).ice.mode, IceMode::Optional);
    assert!(!parse(r#"{"command":"offer"}"#).network.trust_address);
    assert_eq!(parse(r#"{"command":"start recording"}"#).dialogue.label.as_deref(), Some("recorded"));
    let webrtc = parse(r#"{"command":"answer","template":"webrtc"}"#);
    assert!(webrtc.output.replace.origin && webrtc.transport.bundle.require);
    assert_eq!(webrtc.warnings.len(), 1);
    assert_eq!(parse(r#"{"command":"offer","template":"none"}"#).warnings.len(), 1);
}

#[test]
fn tags_and_selection() {
    let request = offer(r#""rtpp_flags":"to-tag=t from-tag=f all label=l""#);
    assert!(request.dialogue.match_to_tag && request.dialogue.is_directional);
    assert_eq!((request.dialogue.all, request.to_tag(), request.from_tag()), (All::All, Ok("t"), Ok("f")));
    assert_eq!(offer(r#""all":"non-offer-answer""#).dialogue.all, All::ExceptOfferAnswer);
    assert!(offer(r#""flags":["all","siprec"]"#).control.siprec);
}

#[test]
fn hostile_strings_end_quickly() {
    for flags in ["[".repeat(60_000), "a=[b=".repeat(15_000), "x ".repeat(30_000), "rtpp-flags=rtpp-flags=a".to_owned()]
    {
        let message = Dictionary::new().with("command", "offer").with("rtpp-flags", flags);
        Request::parse(&message, Encoding::Bencode, &Defaults::default()).unwrap();
    }
}

proptest! {
    #[test]
    fn any_entry_is_read(key in "[a-zA-Z .-]{0,20}", text: String, number: i64) {
        for value in [Value::from(text.clone()), Value::from(number), Value::from(vec![text])] {
            let message = Dictionary::new().with("command", "offer").with(key.clone(), value);
            let _ = Request::parse(&message, Encoding::Json, &Defaults::default());
        }
    }

    #[test]
    fn any_value_of_a_known_key_is_read(row in 0usize..500, text in "[a-z0-9=\\[\\]>;:.-]{0,20}", nested: bool) {
        let names: Vec<&str> = SECTIONS.iter().flat_map(|s| s.keys.iter().flat_map(|k| k.row.names())).collect();
        let leaf = Value::from(text.clone());
        let value = if nested { Value::from(vec![Value::from(Dictionary::new().with(text, leaf))]) } else { leaf };
        let message = Dictionary::new().with("command", "offer").with(names[row % names.len()], value);
        let _ = Request::parse(&message, Encoding::Bencode, &Defaults::default());
    }
}
