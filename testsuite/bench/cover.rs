//! Calls with SRTP, and their callers' packets, made beforehand.

use crate::control::Control;
use crate::forward::FIRST_PHONE;
use millrace::base::random::Seeded;
use millrace::base::secret::Secret;
use millrace::base::suite::Suite;
use millrace::sdp::{self, Crypto};
use millrace::srtp::{MasterKey, Parameters, Protector};
use millrace::wire::rtp::Header;
use millrace_testsuite::sdp as plain;
use millrace_testsuite::system::generator::Flow;
use serde_json::json;
use std::net::SocketAddr;

/// What the caller sends, and what the callee chooses where it has keys too: another suite, so that packets can't be passed
/// on as they are.
const CALLERS: Suite = Suite::AesCm128Sha1_80;
const CALLEES: Suite = Suite::AesCm128Sha1_32;

/// Who protects what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    None,
    /// The caller, not the callee.
    Caller,
    Both,
}

fn key(suite: Suite, seed: usize) -> MasterKey {
    MasterKey::generate(suite, &mut Seeded(seed as u64))
}

fn describe(at: SocketAddr, crypto: Option<(u32, Suite, MasterKey)>) -> String {
    let Some((tag, suite, master)) = crypto else { return plain::audio(at, 1, &[]) };
    let key = Secret::new(&[master.key(), master.salt()].concat());
    let crypto = Crypto { tag, suite, key, mki: None, parameters: Default::default() };
    let line = format!("a={}", crypto.attribute(false, false));
    plain::audio(at, 1, &[&line]).replace("RTP/AVP", "RTP/SAVP")
}

/// The number of `suite` in a description.
fn number_of(shown: &str, suite: Suite) -> Option<u32> {
    let description = sdp::parse(shown).ok()?;
    let mut cryptos =
        description.medias.first()?.attributes.iter().filter_map(|attribute| match attribute.name.as_str() {
            "crypto" => Crypto::parse(attribute),
            _ => None,
        });
    cryptos.find(|crypto| crypto.suite == suite).map(|crypto| crypto.tag)
}

impl Cover {
    /// Offer and answer of call `number`; the port that the caller's packets go to.
    ///
    /// # Errors
    /// Says what was refused, or is missing in what was shown.
    pub fn set_up(
        self,
        control: &mut Control,
        number: usize,
        caller: SocketAddr,
        callee: SocketAddr,
    ) -> Result<u16, String> {
        let call_id = format!("bench-call-{number}");
        let protocol = if self == Cover::Both { "RTP/SAVP" } else { "RTP/AVP" };
        let offer = control.ask(&json!({
            "command": "offer", "call-id": call_id, "from-tag": "a", "transport-protocol": protocol, "DTLS": "off",
            "sdp": describe(caller, Some((1, CALLERS, key(CALLERS, number)))),
        }))?;
        let shown = offer["sdp"].as_str().unwrap_or_default();
        let crypto = match self {
            Cover::Both => {
                let tag = number_of(shown, CALLEES).ok_or_else(|| format!("no {} in {shown}", CALLEES.name()))?;
                Some((tag, CALLEES, key(CALLEES, number + 1_000_000)))
            }
            _ => None,
        };
        let answer = control.ask(&json!({
            "command": "answer", "call-id": call_id, "from-tag": "a", "to-tag": "b", "sdp": describe(callee, crypto),
        }))?;
        let address = plain::media_address(answer["sdp"].as_str().unwrap_or_default());
        address.map(|address| address.port()).ok_or_else(|| format!("no address in {answer}"))
    }

    /// The packets of `calls` callers, in turns, at least so many; none where they are plain.
    pub fn stock(self, calls: usize, packets: usize, bytes: usize) -> Vec<Vec<u8>> {
        if self == Cover::None {
            return Vec::new();
        }
        let keys = (0..calls).map(|number| Parameters::new(CALLERS, key(CALLERS, number)));
        let mut protectors: Vec<Protector> = keys.map(|parameters| Protector::new(&parameters)).collect();
        let payload = vec![0xd5; bytes.saturating_sub(12)];
        let mut stock = Vec::with_capacity(packets);
        for index in 0..packets {
            let (sequence, call) = (index / calls, index % calls);
            let timestamp = sequence as u32 * 160;
            let (sequence, ssrc) = (sequence as u16, Flow::new(call, 0, 0, FIRST_PHONE + call as u16).mark);
            let header = Header { marker: false, payload_type: 8, sequence, timestamp, ssrc };
            let mut packet = header.write(&payload);
            packet.resize(bytes + 10, 0);
            // Only a key that is used up could be refused.
            if protectors[call].protect_rtp(&mut packet, bytes).is_ok() {
                stock.push(packet);
            }
        }
        stock
    }
}
