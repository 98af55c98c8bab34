//! The certificate that the daemon shows, and its private key.

use super::Error;
use super::fingerprint::{fingerprint_of, functions};
use crate::base::fingerprint::Fingerprint;
use crate::base::suite::HashFunction;
use crate::base::time::Unix;
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Builder, X509NameBuilder, X509Ref};

const COMMON_NAME: &str = "millrace";
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// From a day ago, for peers whose clocks are late.
const VALID_BEFORE_SECONDS: i64 = DAY_SECONDS;
const VALID_SECONDS: i64 = 30 * DAY_SECONDS;
const SERIAL_BITS: i32 = 127;
/// X.509 counts its versions from zero.
const X509_VERSION_3: i32 = 2;

/// The kind of key that a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    EcdsaP256,
    Rsa { bits: u32 },
}

/// The hash function of the certificate's signature over itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Sha256,
    Sha1,
}

/// A certificate with its private key. It may be shared between threads.
pub struct Identity {
    certificate: X509,
    key: PKey<Private>,
    fingerprints: Vec<Fingerprint>,
}

impl Identity {
    /// A new key, and a certificate that it signs itself: valid for 30 days, counted from a day before `now`.
    ///
    /// Key and serial number come from OpenSSL's generator of random numbers. It fails where OpenSSL does: with too
    /// few bits, or with a signature that the system's policy forbids.
    pub fn generate(kind: CertificateKind, signature: Signature, now: Unix) -> Result<Identity, Error> {
        let key = match kind {
            CertificateKind::EcdsaP256 => {
                let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
                PKey::from_ec_key(EcKey::generate(&group)?)?
            }
            CertificateKind::Rsa { bits } => PKey::from_rsa(Rsa::generate(bits)?)?,
        };
        let certificate = self_signed(&key, signature, now)?;
        let der = certificate.to_der()?;
        let fingerprints = functions().map(|function| fingerprint_of(&der, function));
        Ok(Identity { fingerprints: fingerprints.collect::<Result<_, _>>()?, certificate, key })
    }

    /// The certificate's fingerprint by a hash function.
    pub fn fingerprint(&self, function: HashFunction) -> &Fingerprint {
        &self.fingerprints[function as usize]
    }

    pub(super) fn certificate(&self) -> &X509Ref {
        &self.certificate
    }

    pub(super) fn key(&self) -> &PKeyRef<Private> {
        &self.key
    }
}

fn self_signed(key: &PKeyRef<Private>, signature: Signature, now: Unix) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, COMMON_NAME)?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    // The topmost bit is set, so that the number is neither zero nor short (RFC 5280, section 4.1.2.2).
    serial.rand(SERIAL_BITS, MsbOption::ONE, false)?;
    let start = i64::try_from(now.seconds()).unwrap_or(i64::MAX / 2) - VALID_BEFORE_SECONDS;
    let mut builder = X509Builder::new()?;
    builder.set_version(X509_VERSION_3)?;
    builder.set_serial_number(Asn1Integer::from_bn(&serial)?.as_ref())?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_not_before(Asn1Time::from_unix(start)?.as_ref())?;
    builder.set_not_after(Asn1Time::from_unix(start + VALID_SECONDS)?.as_ref())?;
    builder.set_pubkey(key)?;
    let digest = match signature {
        Signature::Sha256 => MessageDigest::sha256(),
        Signature::Sha1 => MessageDigest::sha1(),
    };
    builder.sign(key, digest)?;
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Unix = Unix(1_700_000_000_000_000);

    #[test]
    fn a_certificate_says_what_it_should() {
        for (kind, signature, nid) in [
            (CertificateKind::EcdsaP256, Signature::Sha256, Nid::ECDSA_WITH_SHA256),
            (CertificateKind::Rsa { bits: 1024 }, Signature::Sha1, Nid::SHA1WITHRSAENCRYPTION),
        ] {
            let identity = Identity::generate(kind, signature, NOW).unwrap();
            let certificate = identity.certificate();
            assert!(certificate.verify(identity.key()).unwrap());
            assert_eq!(certificate.signature_algorithm().object().nid(), nid);
            let name = certificate.subject_name().entries().next().unwrap().data().as_slice();
            assert_eq!(name, b"millrace");
            let seconds = |time: i64| Asn1Time::from_unix(1_700_000_000 + time * DAY_SECONDS).unwrap();
            assert!(certificate.not_before() == &*seconds(-1));
            assert!(certificate.not_after() == &*seconds(29));
            let der = certificate.to_der().unwrap();
            for function in functions() {
                assert_eq!(identity.fingerprint(function), &fingerprint_of(&der, function).unwrap());
            }
        }
    }

    #[test]
    fn identities_differ_and_can_fail() {
        let make = |kind| Identity::generate(kind, Signature::Sha256, NOW);
        let serial = |identity: Identity| identity.certificate().serial_number().to_bn().unwrap();
        let (a, b) = (make(CertificateKind::EcdsaP256).unwrap(), make(CertificateKind::EcdsaP256).unwrap());
        assert_ne!(serial(a), serial(b));
        assert!(matches!(make(CertificateKind::Rsa { bits: 16 }), Err(Error::Library(_))));
    }
}
