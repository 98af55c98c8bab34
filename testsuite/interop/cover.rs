//! SRTP around a list of datagrams, put on before they are sent and taken off where they arrive.

use millrace::base::random::Seeded;
use millrace::base::secret::Secret;
use millrace::base::suite::Suite;
use millrace::sdp::{self, Crypto};
use millrace::srtp::{MasterKey, Parameters, Protector, Unprotector};
use millrace::wire::demux::{Protocol, classify};

/// Who protects what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    None,
    /// The caller's side.
    Caller(Suite),
    /// Both sides, each with keys of its own.
    Both(Suite),
    /// Both sides with the same keys.
    Same(Suite),
}

impl Cover {
    fn suite(self) -> Option<Suite> {
        match self {
            Cover::None => None,
            Cover::Caller(suite) | Cover::Both(suite) | Cover::Same(suite) => Some(suite),
        }
    }

    /// The protocols of the media line, of the caller and of the callee.
    pub fn protocols(self) -> [&'static str; 2] {
        match self {
            Cover::None => ["RTP/AVP"; 2],
            Cover::Caller(_) => ["RTP/SAVP", "RTP/AVP"],
            Cover::Both(_) | Cover::Same(_) => ["RTP/SAVP"; 2],
        }
    }

    /// Flags of the offer.
    pub fn flags(self) -> &'static [&'static str] {
        if matches!(self, Cover::Both(_)) { &["strict source", "recrypt"] } else { &["strict source"] }
    }

    fn master(self, is_caller: bool) -> Option<(Suite, MasterKey)> {
        let suite = self.suite().filter(|_| is_caller || !matches!(self, Cover::Caller(_)))?;
        Some((suite, MasterKey::generate(suite, &mut Seeded(if is_caller { 1 } else { 2 }))))
    }

    /// What a side says of its key, under the number that the suite has in what was `shown` to it.
    pub fn line(self, is_caller: bool, shown: &str) -> Option<String> {
        let (suite, master) = self.master(is_caller)?;
        let tag = shown_crypto(shown, suite).map_or(1, |crypto| crypto.tag);
        let key = Secret::new(&[master.key(), master.salt()].concat());
        let crypto = Crypto { tag, suite, key, mki: None, parameters: Default::default() };
        Some(format!("a={}", crypto.attribute(false, false)))
    }

    /// What the caller's packets are protected with.
    pub fn on(self) -> Option<Protector> {
        let (suite, master) = self.master(true)?;
        Some(Protector::new(&Parameters::new(suite, master)))
    }

    /// What is on the packets that the callee gets, by the offer that was `shown` to it.
    ///
    /// # Errors
    /// When the offer has no key of the suite.
    pub fn off(self, shown: &str) -> Result<Option<Parameters>, String> {
        let Some((suite, _)) = self.master(false) else { return Ok(None) };
        let crypto = shown_crypto(shown, suite).ok_or_else(|| format!("no key of {} in {shown}", suite.name()))?;
        let master = MasterKey::from_concatenated(suite, crypto.key.expose()).ok_or("a key of another length")?;
        Ok(Some(Parameters::new(suite, master)))
    }
}

fn shown_crypto(shown: &str, suite: Suite) -> Option<Crypto> {
    let description = sdp::parse(shown).ok()?;
    let attributes = &description.medias.first()?.attributes;
    let mut cryptos = attributes.iter().filter(|attribute| attribute.name == "crypto").filter_map(Crypto::parse);
    cryptos.find(|crypto| crypto.suite == suite)
}

/// The datagram as its sender protects it; as it is where it is neither RTP nor RTCP. A number that was there before has
/// the same index.
pub fn put_on(protector: &mut Protector, datagram: &[u8]) -> Vec<u8> {
    let mut bytes = datagram.to_vec();
    bytes.resize(datagram.len() + protector.rtcp_appended_bytes() + 16, 0);
    let length = match classify(datagram) {
        Protocol::Rtp => protector.protect_rtp_again(&mut bytes, datagram.len()),
        Protocol::Rtcp => protector.protect_rtcp(&mut bytes, datagram.len()),
        _ => Ok(datagram.len()),
    };
    bytes.truncate(length.unwrap_or(datagram.len()));
    bytes
}

/// What is inside of datagrams, in their order. Each must be, to the bit, what the keys make of its contents.
///
/// # Errors
/// Names the first that is not.
pub fn take_off(parameters: &Parameters, datagrams: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
    let (mut unprotector, mut protector) = (Unprotector::new(parameters), Protector::new(parameters));
    let mut take_one = |datagram: &Vec<u8>| {
        let mut bytes = datagram.clone();
        let length = match classify(datagram) {
            Protocol::Rtp => unprotector.unprotect_rtp(&mut bytes),
            Protocol::Rtcp => unprotector.unprotect_rtcp(&mut bytes),
            _ => return Err(format!("{} bytes that are not protected", datagram.len())),
        };
        bytes.truncate(length.map_err(|error| format!("{error}: {} bytes", datagram.len()))?);
        match put_on(&mut protector, &bytes) == *datagram {
            true => Ok(bytes),
            false => Err(format!("{} bytes are protected in another way", datagram.len())),
        }
    };
    datagrams.iter().map(&mut take_one).collect()
}
