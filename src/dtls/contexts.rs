//! What all associations of one identity share: certificate, ciphers, profiles, timers.

use super::bindings;
use super::keys::{self, PROFILES};
use super::{Error, Identity, Role};
use crate::base::random::Random;
use crate::base::suite::Suite;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode, SslVerifyMode,
    SslVersion,
};
use ring::hmac;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// rtpengine's list of ciphers, in the language of OpenSSL's `ciphers` command.
pub const DEFAULT_CIPHERS: &str = "DEFAULT:!NULL:!aNULL:!SHA256:!SHA384:!aECDH:!AESGCM+AES256:!aPSK";

/// OpenSSL takes a timer for due that has 15 ms or less to go.
const FIRST_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(3);
/// OpenSSL takes no less than 256 bytes, without the tag.
const SMALLEST_MTU_BYTES: u16 = 256 + AEAD_TAG_BYTES;
/// What OpenSSL forgets in its sum when it puts a protected record behind plain ones.
const AEAD_TAG_BYTES: u16 = 16;
/// Chains of certificates are short in WebRTC: one, signed by itself.
pub(super) const LONGEST_MESSAGE_BYTES: u16 = 16 * 1024;
/// Certificates are signed by themselves, so nothing rests on how: short keys and old signatures are let through.
const SECURITY_LEVEL: u32 = 0;
const SESSION_CONTEXT: &[u8] = b"millrace";

/// How associations behave.
#[derive(Debug, Clone)]
pub struct Settings {
    /// In the language of OpenSSL's `ciphers` command. OpenSSL passes over words that it does not know, as long as a
    /// cipher is left.
    pub ciphers: String,
    /// The largest datagram to send, without its IP and UDP headers; 272 or more.
    pub mtu_bytes: u16,
    /// What to offer for SRTP, or to choose from, the preferred first; each is one of [`PROFILES`].
    pub suites: Vec<Suite>,
    /// How long to wait before a flight is repeated for the first time; from 20 ms to 3 s.
    pub first_timeout: Duration,
    /// Whether to speak with peers that know nothing newer than DTLS 1.0, which RFC 8996 deprecates.
    pub allows_dtls_1_0: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ciphers: DEFAULT_CIPHERS.into(),
            mtu_bytes: 1200,
            suites: PROFILES.to_vec(),
            first_timeout: Duration::from_millis(200),
            allows_dtls_1_0: false,
        }
    }
}

/// An identity with settings, made ready once for any number of associations and threads.
pub struct Contexts {
    identity: Arc<Identity>,
    client: SslContext,
    server: SslContext,
    server_with_cookies: SslContext,
    attached: Index<Ssl, Attached>,
    first_timeout: Duration,
    mtu_bytes: u16,
}

/// What OpenSSL's callbacks find at the object that they are called for.
struct Attached {
    first_timeout: Duration,
    verified_address: Option<SocketAddr>,
}

/// Fixed for the process once OpenSSL has given the number out.
static ATTACHED: OnceLock<Index<Ssl, Attached>> = OnceLock::new();

fn attached_index() -> Result<Index<Ssl, Attached>, ErrorStack> {
    if let Some(index) = ATTACHED.get() {
        return Ok(*index);
    }
    let index = Ssl::new_ex_index()?;
    Ok(*ATTACHED.get_or_init(|| index))
}

/// The first timeout of an object that `Contexts::open` has made.
pub(super) fn first_timeout(ssl: &SslRef) -> Duration {
    let attached = ATTACHED.get().and_then(|index| ssl.ex_data(*index));
    attached.map_or(Duration::from_secs(1), |attached| attached.first_timeout)
}

impl Contexts {
    /// Contexts for an identity; `random` gives the secret of the cookies by which a server verifies addresses.
    ///
    /// Errors: settings that OpenSSL refuses, each by name.
    pub fn new(identity: Arc<Identity>, settings: &Settings, random: &mut dyn Random) -> Result<Contexts, Error> {
        if !FIRST_TIMEOUTS.contains(&settings.first_timeout) {
            return Err(Error::FirstTimeout(settings.first_timeout));
        }
        Contexts::with_options(identity, settings, random, SslOptions::empty())
    }

    pub(super) fn with_options(
        identity: Arc<Identity>,
        settings: &Settings,
        random: &mut dyn Random,
        options: SslOptions,
    ) -> Result<Contexts, Error> {
        if settings.mtu_bytes < SMALLEST_MTU_BYTES {
            return Err(Error::Mtu(settings.mtu_bytes));
        }
        let build = || common(&identity, settings, options);
        let mut secret = [0; 32];
        random.fill(&mut secret);
        let attached = attached_index()?;
        let mut server_with_cookies = build()?;
        verify_addresses(&mut server_with_cookies, attached, &secret);
        Ok(Contexts {
            client: build()?.build(),
            server: build()?.build(),
            server_with_cookies: server_with_cookies.build(),
            identity,
            attached,
            first_timeout: settings.first_timeout,
            mtu_bytes: settings.mtu_bytes,
        })
    }

    pub(super) fn first_timeout(&self) -> Duration {
        self.first_timeout
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A new object of OpenSSL's for one attempt at a handshake. A server first has `verified_address` prove itself.
    pub(super) fn open(&self, role: Role, verified_address: Option<SocketAddr>) -> Result<Ssl, ErrorStack> {
        let context = match (role, verified_address) {
            (Role::Client, _) => &self.client,
            (Role::Server, None) => &self.server,
            (Role::Server, Some(_)) => &self.server_with_cookies,
        };
        let mut ssl = Ssl::new(context)?;
        ssl.set_mtu(u32::from(self.mtu_bytes - AEAD_TAG_BYTES))?;
        ssl.set_ex_data(self.attached, Attached { first_timeout: self.first_timeout, verified_address });
        bindings::prepare(&mut ssl, LONGEST_MESSAGE_BYTES);
        match role {
            Role::Client => ssl.set_connect_state(),
            Role::Server => ssl.set_accept_state(),
        }
        Ok(ssl)
    }
}

/// What client and server have in common.
fn common(identity: &Identity, settings: &Settings, options: SslOptions) -> Result<SslContextBuilder, Error> {
    let mut builder = SslContext::builder(SslMethod::dtls())?;
    let oldest = if settings.allows_dtls_1_0 { SslVersion::DTLS1 } else { SslVersion::DTLS1_2 };
    builder.set_min_proto_version(Some(oldest))?;
    builder.set_security_level(SECURITY_LEVEL);
    builder.set_cipher_list(&settings.ciphers).map_err(|_| Error::Ciphers(settings.ciphers.clone()))?;
    builder.set_tlsext_use_srtp(&profile_names(&settings.suites)?)?;
    builder.set_certificate(identity.certificate())?;
    builder.set_private_key(identity.key())?;
    // Whose certificate it is, the signalled fingerprint tells; here it only has to be shown.
    builder.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_session_id_context(SESSION_CONTEXT)?;
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    // Servers that lack RFC 5746 are spoken to, as renegotiation is refused anyway.
    let old_servers = SslOptions::from_bits_retain(openssl_sys::SSL_OP_LEGACY_SERVER_CONNECT);
    let always = SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION | SslOptions::NO_TICKET;
    builder.set_options(always | old_servers | options);
    Ok(builder)
}

fn profile_names(suites: &[Suite]) -> Result<String, Error> {
    if suites.is_empty() {
        return Err(Error::NoSuite);
    }
    let name = |suite: &Suite| keys::profile(*suite).map(|profile| profile.name).ok_or(Error::Suite(*suite));
    Ok(suites.iter().map(name).collect::<Result<Vec<_>, _>>()?.join(":"))
}

/// Makes a server answer a first ClientHello with a cookie that only the owner of its address sees (RFC 6347, section
/// 4.2.1).
fn verify_addresses(builder: &mut SslContextBuilder, attached: Index<Ssl, Attached>, secret: &[u8]) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let same_key = key.clone();
    builder.set_options(SslOptions::COOKIE_EXCHANGE);
    builder.set_cookie_generate_cb(move |ssl, buffer| {
        let cookie = hmac::sign(&key, &address_bytes(ssl, attached));
        let cookie = cookie.as_ref();
        // OpenSSL lends 255 bytes.
        buffer[..cookie.len()].copy_from_slice(cookie);
        Ok(cookie.len())
    });
    builder.set_cookie_verify_cb(move |ssl, cookie| {
        hmac::verify(&same_key, &address_bytes(ssl, attached), cookie).is_ok()
    });
}

fn address_bytes(ssl: &SslRef, attached: Index<Ssl, Attached>) -> [u8; 18] {
    let mut bytes = [0; 18];
    let address = ssl.ex_data(attached).and_then(|attached| attached.verified_address);
    if let Some(address) = address {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        bytes[..16].copy_from_slice(&ip.octets());
        bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    }
    bytes
}
