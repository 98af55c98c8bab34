//! The phone at the other end of a browser's call: PCMU, plain or with keys in its SDP (RFC 4568).

use super::studio::{Studio, tone_hz, wait_for};
use crate::sip::Role;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use millrace::base::suite::Suite;
use millrace::srtp::{MasterKey, Parameters};
use millrace_testsuite::sdp;
use millrace_testsuite::srtp::parameters;
use millrace_testsuite::talker::{Heard, Peer, Talker};
use std::net::SocketAddr;

const SUITE: Suite = Suite::AesCm128Sha1_80;
const SUITE_NAME: &str = "AES_CM_128_HMAC_SHA1_80";

/// A phone on the callee's side.
pub struct Phone {
    talker: Talker,
    at: SocketAddr,
    protocol: &'static str,
    /// The keys of what it sends; none without SRTP.
    own: Option<Parameters>,
}

impl Phone {
    /// A phone that speaks `protocol`, RTP/AVP or RTP/SAVP.
    pub fn new(studio: &Studio, protocol: &'static str) -> Result<Phone, String> {
        Ok(Phone::at(studio.phone()?, protocol))
    }

    /// The line of a recorder at a port on the caller's side.
    pub fn recorder(studio: &Studio, port: u16, protocol: &'static str) -> Result<Phone, String> {
        Ok(Phone::at(studio.ear(port)?, protocol))
    }

    fn at((talker, at): (Talker, SocketAddr), protocol: &'static str) -> Phone {
        let own = (protocol == "RTP/SAVP").then(|| parameters(SUITE, u64::from(at.port())));
        Phone { talker, at, protocol, own }
    }

    /// Its offer.
    pub fn offer(&self) -> String {
        self.description("1")
    }

    /// Its answer to an offer; it talks from now on.
    pub fn answer(&self, offer: &str) -> Result<String, String> {
        let tag = self.accept(offer)?;
        Ok(self.description(&tag))
    }

    /// Takes the other side's description, and talks from now on. Gives the tag of the keys it took.
    pub fn accept(&self, description: &str) -> Result<String, String> {
        let wrong = |what: &str| format!("{what} in the phone's SDP: {description}");
        let to = sdp::media_address(description).ok_or(wrong("no address"))?;
        let media = description.lines().find(|line| line.starts_with("m=")).unwrap_or_default();
        if media.split(' ').nth(2) != Some(self.protocol) {
            return Err(wrong("another protocol"));
        }
        let (tag, keys) = match &self.own {
            None => (String::new(), None),
            Some(own) => {
                let (tag, theirs) = keys(description).ok_or(wrong("no keys"))?;
                (tag, Some((own.clone(), theirs)))
            }
        };
        self.talker.call(Peer { to, keys });
        Ok(tag)
    }

    /// What it has heard.
    pub fn heard(&self) -> Heard {
        self.talker.heard()
    }

    /// Waits until it hears the tone of the caller's side.
    pub fn wait_for_tone(&self) -> Result<(), String> {
        self.wait_for_tone_of(Role::Caller)
    }

    /// Waits until it hears the tone of `role`'s side.
    pub fn wait_for_tone_of(&self, role: Role) -> Result<(), String> {
        wait_for(|| {
            let heard = self.heard();
            let share = heard.share(tone_hz(role));
            Ok(if share > 0.8 {
                Ok(())
            } else {
                Err(format!(
                    "the phone got {} packets, {} refused, {} others; the tone is {share:.2} of what it heard",
                    heard.packets, heard.refused, heard.strangers
                ))
            })
        })
    }

    fn description(&self, tag: &str) -> String {
        let keys = self.own.iter().map(|own| {
            let key = STANDARD_NO_PAD.encode([own.master.key(), own.master.salt()].concat());
            format!("a=crypto:{tag} {SUITE_NAME} inline:{key}")
        });
        sdp::pcmu(self.at, self.protocol, &keys.collect::<Vec<_>>())
    }
}

/// The first keys of our suite in an SDP, with their tag.
fn keys(description: &str) -> Option<(String, Parameters)> {
    description.lines().find_map(|line| {
        let mut words = line.strip_prefix("a=crypto:")?.split(' ');
        let tag = words.next()?.to_owned();
        words.next().filter(|suite| *suite == SUITE_NAME)?;
        let key = words.next()?.strip_prefix("inline:")?.split('|').next()?.trim_end_matches('=');
        let master = MasterKey::from_concatenated(SUITE, &STANDARD_NO_PAD.decode(key).ok()?)?;
        Some((tag, Parameters::new(SUITE, master)))
    })
}
