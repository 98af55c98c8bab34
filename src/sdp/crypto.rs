//! `a=crypto`: keys in the description (RFC 4568).

use super::Attribute;
use crate::base::secret::Secret;
use crate::base::suite::Suite;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};

/// Reads keys with and without padding, as clients write both.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The longest MKI (RFC 4568, section 6.1).
const LONGEST_MKI_BYTES: usize = 128;

/// One `a=crypto` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    pub tag: u32,
    pub suite: Suite,
    /// Master key and master salt, as long as the suite has them.
    pub key: Secret,
    /// The master key identifier that packets carry.
    pub mki: Option<Vec<u8>>,
    pub parameters: SessionParameters,
}

/// What the line negotiates beside the suite (RFC 4568, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionParameters {
    pub unencrypted_srtp: bool,
    pub unencrypted_srtcp: bool,
    pub unauthenticated_srtp: bool,
}

impl Crypto {
    /// Reads an `a=crypto` line; none when it is malformed, of an unknown suite, has more keys than one, or asks for
    /// what must be understood and is not (RFC 4568, section 6.3: unknown session parameters without a leading `-`).
    pub fn parse(attribute: &Attribute) -> Option<Crypto> {
        let mut words = attribute.value().split_ascii_whitespace();
        let tag = words.next()?.parse().ok()?;
        let suite = Suite::from_name(words.next()?)?;
        let method = words.next()?;
        let (key, mki) = parse_key(
            method.get(..7).filter(|name| name.eq_ignore_ascii_case("inline:")).map(|_| &method[7..])?,
            suite,
        )?;
        let mut parameters = SessionParameters::default();
        for word in words {
            match word.to_ascii_uppercase().as_str() {
                "UNENCRYPTED_SRTP" => parameters.unencrypted_srtp = true,
                "UNENCRYPTED_SRTCP" => parameters.unencrypted_srtcp = true,
                "UNAUTHENTICATED_SRTP" => parameters.unauthenticated_srtp = true,
                // The receiver of a stream need not know the window of its sender, and a key derivation rate of zero
                // is the only one in use.
                other if other.starts_with('-') || other.starts_with("WSH=") || other == "KDR=0" => {}
                _ => return None,
            }
        }
        Some(Crypto { tag, suite, key, mki, parameters })
    }

    /// The line; `pad` keeps the padding of the key, `lifetime` adds the longest one.
    pub fn attribute(&self, pad: bool, lifetime: bool) -> Attribute {
        let key = self.key.expose();
        let encoded = if pad { STANDARD.encode(key) } else { STANDARD_NO_PAD.encode(key) };
        let mut value = format!("{} {} inline:{encoded}", self.tag, self.suite.name());
        if lifetime {
            value.push_str("|2^31");
        }
        if let Some(mki) = &self.mki {
            value.push_str(&format!("|{}:{}", decimal(mki), mki.len()));
        }
        let parameters = &self.parameters;
        let words = [
            (parameters.unencrypted_srtp, "UNENCRYPTED_SRTP"),
            (parameters.unencrypted_srtcp, "UNENCRYPTED_SRTCP"),
            (parameters.unauthenticated_srtp, "UNAUTHENTICATED_SRTP"),
        ];
        for (_, word) in words.iter().filter(|(is_set, _)| *is_set) {
            value.push(' ');
            value.push_str(word);
        }
        Attribute::with_value("crypto", value)
    }
}

/// Reads `KEY||SALT [|LIFETIME] [|MKI:LENGTH]`.
fn parse_key(text: &str, suite: Suite) -> Option<(Secret, Option<Vec<u8>>)> {
    // A second key would need the MKI to tell which one a packet uses; nobody sends more than one.
    if text.contains(';') {
        return None;
    }
    let mut parts = text.split('|');
    let mut decoded = LENIENT.decode(parts.next()?).ok()?;
    let expected_bytes = suite.key_bytes() + suite.salt_bytes();
    let key = (decoded.len() == expected_bytes).then(|| Secret::new(&decoded));
    zeroize::Zeroize::zeroize(&mut decoded);
    let mki = match parts.find_map(|part| part.split_once(':')) {
        Some((value, length)) => Some(parse_mki(value, length)?),
        None => None,
    };
    Some((key?, mki))
}

fn parse_mki(value: &str, length: &str) -> Option<Vec<u8>> {
    let length: usize = length.parse().ok().filter(|length| (1..=LONGEST_MKI_BYTES).contains(length))?;
    let value: u64 = value.parse().ok()?;
    let bytes = value.to_be_bytes();
    let mut mki = vec![0; length.saturating_sub(bytes.len())];
    let (cut, kept) = bytes.split_at(bytes.len().saturating_sub(length));
    mki.extend_from_slice(kept);
    cut.iter().all(|byte| *byte == 0).then_some(mki)
}

/// Only values that were read from at most 64 bits occur.
fn decimal(mki: &[u8]) -> u64 {
    mki.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn parse(text: &str) -> Option<Crypto> {
        Crypto::parse(&Attribute::parse(text))
    }

    #[test]
    fn a_line_prints_as_it_was_read() {
        let text = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4 UNENCRYPTED_SRTCP UNAUTHENTICATED_SRTP");
        let crypto = parse(&text).unwrap();
        assert_eq!((crypto.tag, crypto.suite), (1, Suite::AesCm128Sha1_80));
        assert_eq!(crypto.mki.as_deref(), Some(&[0, 0, 0, 1][..]));
        assert_eq!(crypto.attribute(false, false).to_string(), text);
    }

    #[test]
    fn lifetimes_are_left_out_unless_asked_for() {
        let crypto = parse(&format!("crypto:7 F8_128_HMAC_SHA1_32 inline:{KEY}|2^20")).unwrap();
        let printed = crypto.attribute(false, true).to_string();
        assert_eq!(printed, format!("crypto:7 F8_128_HMAC_SHA1_32 inline:{KEY}|2^31"));
    }

    #[test]
    fn padding_is_kept_when_asked_for() {
        let key = [7; 44];
        let text = format!("crypto:1 AEAD_AES_256_GCM inline:{}", STANDARD.encode(key));
        let crypto = parse(&text).unwrap();
        assert_eq!(crypto.attribute(true, false).to_string(), text);
        assert_eq!(crypto.attribute(false, false).to_string(), text.trim_end_matches('='));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for bad in [
            "crypto:",
            "crypto:x AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "crypto:1 AES_CM_128_HMAC_SHA1_80 uri:x",
            "crypto:1 NOSUCH inline:AAAA",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}")), None);
        assert_eq!(parse(&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} FEC_ORDER=FEC_SRTP")), None);
        assert_eq!(parse(&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:200")), None);
        assert!(parse(&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} WSH=64 -X=1")).is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(text in "crypto:[0-9]{0,12} ?[A-Z0-9_a-z]{0,30} ?(inline:)?\\PC{0,80}") {
            if let Some(crypto) = parse(&text) {
                let again = Crypto::parse(&crypto.attribute(false, false));
                proptest::prop_assert_eq!(again, Some(crypto));
            }
        }

        #[test]
        fn what_is_read_is_printed_and_read_again(
            tag in 0u32..1000,
            row in 0usize..12,
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 46),
            mki in proptest::option::of((0u64..1 << 31, 4usize..=8)),
        ) {
            let suite = crate::base::suite::SUITES[row].0;
            let key = Secret::new(&bytes[..suite.key_bytes() + suite.salt_bytes()]);
            let mki = mki.map(|(value, length)| value.to_be_bytes()[8 - length..].to_vec());
            let crypto = Crypto { tag, suite, key, mki, parameters: SessionParameters::default() };
            for (pad, lifetime) in [(false, false), (true, true)] {
                proptest::prop_assert_eq!(Crypto::parse(&crypto.attribute(pad, lifetime)), Some(crypto.clone()));
            }
        }
    }
}
