//! From a finished handshake to the master keys of SRTP (RFC 5764, section 4.2; RFC 7714, section 12).

use super::Role;
use crate::base::suite::Suite;
use openssl::error::ErrorStack;
use openssl::srtp::SrtpProfileId;
use openssl::ssl::SslRef;
use smallvec::SmallVec;
use std::fmt::{self, Debug, Formatter};

const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";
/// Two keys of 32 bytes and two salts of 14.
const LONGEST_MATERIAL_BYTES: usize = 2 * (32 + 14);

/// A protection profile of the `use_srtp` extension.
pub(super) struct Profile {
    pub(super) suite: Suite,
    id: SrtpProfileId,
    /// As OpenSSL's lists of profiles say it.
    pub(super) name: &'static str,
    key_bytes: usize,
    salt_bytes: usize,
}

const PROFILE_ROWS: &[Profile] = &[
    Profile {
        suite: Suite::AeadAes256Gcm,
        id: SrtpProfileId::SRTP_AEAD_AES_256_GCM,
        name: "SRTP_AEAD_AES_256_GCM",
        key_bytes: 32,
        salt_bytes: 12,
    },
    Profile {
        suite: Suite::AeadAes128Gcm,
        id: SrtpProfileId::SRTP_AEAD_AES_128_GCM,
        name: "SRTP_AEAD_AES_128_GCM",
        key_bytes: 16,
        salt_bytes: 12,
    },
    Profile {
        suite: Suite::AesCm128Sha1_80,
        id: SrtpProfileId::SRTP_AES128_CM_SHA1_80,
        name: "SRTP_AES128_CM_SHA1_80",
        key_bytes: 16,
        salt_bytes: 14,
    },
    Profile {
        suite: Suite::AesCm128Sha1_32,
        id: SrtpProfileId::SRTP_AES128_CM_SHA1_32,
        name: "SRTP_AES128_CM_SHA1_32",
        key_bytes: 16,
        salt_bytes: 14,
    },
];

/// The suites that DTLS-SRTP can agree on, the preferred first.
pub const PROFILES: &[Suite] =
    &[Suite::AeadAes256Gcm, Suite::AeadAes128Gcm, Suite::AesCm128Sha1_80, Suite::AesCm128Sha1_32];

/// The profile of a suite, if it has one.
pub(super) fn profile(suite: Suite) -> Option<&'static Profile> {
    PROFILE_ROWS.iter().find(|row| row.suite == suite)
}

/// The master key and master salt of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    pub key: SmallVec<[u8; 32]>,
    pub salt: SmallVec<[u8; 14]>,
}

impl Debug for MasterKey {
    /// Keys stay out of logs.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "MasterKey({} + {} bytes)", self.key.len(), self.salt.len())
    }
}

/// What a handshake agreed on for SRTP.
pub(super) struct Agreed {
    pub(super) suite: Suite,
    pub(super) local: MasterKey,
    pub(super) remote: MasterKey,
}

/// The keys of a finished handshake; none where no profile was agreed.
pub(super) fn agreed(ssl: &SslRef, role: Role) -> Result<Option<Agreed>, ErrorStack> {
    let Some(id) = ssl.selected_srtp_profile().map(|profile| profile.id()) else { return Ok(None) };
    let Some(profile) = PROFILE_ROWS.iter().find(|row| row.id == id) else { return Ok(None) };
    let mut material = [0; LONGEST_MATERIAL_BYTES];
    let material = &mut material[..2 * (profile.key_bytes + profile.salt_bytes)];
    ssl.export_keying_material(material, EXPORTER_LABEL, None)?;
    let (keys, salts) = material.split_at(2 * profile.key_bytes);
    let (client_key, server_key) = keys.split_at(profile.key_bytes);
    let (client_salt, server_salt) = salts.split_at(profile.salt_bytes);
    let client = MasterKey { key: SmallVec::from_slice(client_key), salt: SmallVec::from_slice(client_salt) };
    let server = MasterKey { key: SmallVec::from_slice(server_key), salt: SmallVec::from_slice(server_salt) };
    let (local, remote) = match role {
        Role::Client => (client, server),
        Role::Server => (server, client),
    };
    Ok(Some(Agreed { suite: profile.suite, local, remote }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offered_suite_has_a_profile() {
        assert!(PROFILES.iter().all(|&suite| profile(suite).is_some()));
        assert!(profile(Suite::NullSha1_80).is_none());
    }

    #[test]
    fn keys_stay_out_of_logs() {
        let key = MasterKey { key: SmallVec::from_slice(&[0xab; 16]), salt: SmallVec::from_slice(&[0xcd; 14]) };
        assert_eq!(format!("{key:?}"), "MasterKey(16 + 14 bytes)");
    }
}
