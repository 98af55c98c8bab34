//! Debian's libsrtp2, loaded when it is there: an implementation of SRTP to compare ours with.

use libc::{c_char, c_int, c_uint, c_ulong, c_void};
use millrace::base::suite::Suite;
use millrace::srtp::Parameters;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

/// What libsrtp2 may write behind a packet: its longest tag, MKI and index.
pub const ROOM_BYTES: usize = 16 + 128 + 4;

const LIBRARY: &CStr = c"libsrtp2.so.1";
const ANY_INBOUND: c_uint = 2;
const ANY_OUTBOUND: c_uint = 3;
/// `sec_serv_auth`: a tag, no encryption.
const AUTHENTICATION_ONLY: c_uint = 2;
const WINDOW_PACKETS: c_ulong = 128;

/// `srtp_crypto_policy_t` of libsrtp 2.
#[repr(C)]
#[derive(Default)]
struct CryptoPolicy {
    cipher_type: u32,
    cipher_key_len: c_int,
    auth_type: u32,
    auth_key_len: c_int,
    auth_tag_len: c_int,
    sec_serv: c_uint,
}

/// `srtp_master_key_t` of libsrtp 2.
#[repr(C)]
struct NamedKey {
    key: *mut u8,
    mki_id: *mut u8,
    mki_size: c_uint,
}

/// `srtp_policy_t` of libsrtp 2.
#[repr(C)]
struct Policy {
    ssrc_type: c_uint,
    ssrc_value: c_uint,
    rtp: CryptoPolicy,
    rtcp: CryptoPolicy,
    key: *mut u8,
    keys: *mut *mut NamedKey,
    num_master_keys: c_ulong,
    deprecated_ekt: *mut c_void,
    window_size: c_ulong,
    allow_repeat_tx: c_int,
    enc_xtn_hdr: *mut c_int,
    enc_xtn_hdr_count: c_int,
    next: *mut Policy,
}

type Init = unsafe extern "C" fn() -> c_uint;
type Create = unsafe extern "C" fn(*mut *mut c_void, *const Policy) -> c_uint;
type Dealloc = unsafe extern "C" fn(*mut c_void) -> c_uint;
type SetPolicy = unsafe extern "C" fn(*mut CryptoPolicy);
type Protect = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_int, c_uint, c_uint) -> c_uint;
type Unprotect = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_int, c_uint) -> c_uint;

/// Suites that libsrtp2 knows, with what sets the policies of SRTP and SRTCP.
const SUITES: [(Suite, &CStr, &CStr); 9] = [
    (Suite::AesCm128Sha1_80, c"srtp_crypto_policy_set_rtp_default", c"srtp_crypto_policy_set_rtcp_default"),
    (Suite::AesCm128Sha1_32, c"srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32", c"srtp_crypto_policy_set_rtcp_default"),
    (
        Suite::Aes192CmSha1_80,
        c"srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80",
        c"srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80",
    ),
    (
        Suite::Aes192CmSha1_32,
        c"srtp_crypto_policy_set_aes_cm_192_hmac_sha1_32",
        c"srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80",
    ),
    (
        Suite::Aes256CmSha1_80,
        c"srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80",
        c"srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80",
    ),
    (
        Suite::Aes256CmSha1_32,
        c"srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32",
        c"srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80",
    ),
    (
        Suite::AeadAes128Gcm,
        c"srtp_crypto_policy_set_aes_gcm_128_16_auth",
        c"srtp_crypto_policy_set_aes_gcm_128_16_auth",
    ),
    (
        Suite::AeadAes256Gcm,
        c"srtp_crypto_policy_set_aes_gcm_256_16_auth",
        c"srtp_crypto_policy_set_aes_gcm_256_16_auth",
    ),
    (
        Suite::NullSha1_80,
        c"srtp_crypto_policy_set_null_cipher_hmac_sha1_80",
        c"srtp_crypto_policy_set_null_cipher_hmac_sha1_80",
    ),
];

/// The suites that libsrtp2 knows, as far as it was built with them.
pub fn suites() -> impl Iterator<Item = Suite> {
    SUITES.iter().map(|row| row.0)
}

/// The functions of the library.
pub struct Library {
    create: Create,
    dealloc: Dealloc,
    protect_rtp: Protect,
    protect_rtcp: Protect,
    unprotect_rtp: Unprotect,
    unprotect_rtcp: Unprotect,
    policies: Vec<(Suite, SetPolicy, SetPolicy)>,
}

/// Which way the packets of a session go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Out,
    In,
}

impl Library {
    /// The library, or why there is none.
    pub fn load() -> Result<&'static Library, &'static str> {
        static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
        LOADED.get_or_init(Library::open).as_ref().map_err(String::as_str)
    }

    fn open() -> Result<Library, String> {
        // Sound: the name ends in zero, and the library's initialisers have no conditions.
        let handle = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            return Err(format!("{} can't be loaded (Debian: libsrtp2-1)", LIBRARY.to_string_lossy()));
        }
        let find = |name: &CStr| {
            // Sound: the handle is open and stays so, and the name ends in zero.
            let symbol = unsafe { libc::dlsym(handle, name.as_ptr().cast::<c_char>()) };
            if symbol.is_null() { Err(format!("libsrtp2 has no {}", name.to_string_lossy())) } else { Ok(symbol) }
        };
        let policy = |name: &CStr| -> Result<SetPolicy, String> {
            // Sound: the symbol is a function of this type (srtp.h).
            find(name).map(|symbol| unsafe { std::mem::transmute::<*mut c_void, SetPolicy>(symbol) })
        };
        let policies = SUITES.iter().map(|(suite, rtp, rtcp)| Ok((*suite, policy(rtp)?, policy(rtcp)?)));
        let policies = policies.collect::<Result<_, String>>()?;
        // Sound: the symbols are functions of these types (srtp.h).
        let library = unsafe {
            let init = std::mem::transmute::<*mut c_void, Init>(find(c"srtp_init")?);
            check(init()).map_err(|status| format!("srtp_init: status {status}"))?;
            Library {
                create: std::mem::transmute::<*mut c_void, Create>(find(c"srtp_create")?),
                dealloc: std::mem::transmute::<*mut c_void, Dealloc>(find(c"srtp_dealloc")?),
                protect_rtp: std::mem::transmute::<*mut c_void, Protect>(find(c"srtp_protect_mki")?),
                protect_rtcp: std::mem::transmute::<*mut c_void, Protect>(find(c"srtp_protect_rtcp_mki")?),
                unprotect_rtp: std::mem::transmute::<*mut c_void, Unprotect>(find(c"srtp_unprotect_mki")?),
                unprotect_rtcp: std::mem::transmute::<*mut c_void, Unprotect>(find(c"srtp_unprotect_rtcp_mki")?),
                policies,
            }
        };
        Ok(library)
    }

    /// A session for packets of any SSRC that go one way. None where the library was built without the suite, or can't
    /// do what the parameters say.
    pub fn session(&'static self, parameters: &Parameters, way: Way) -> Option<Session> {
        let (_, set_rtp, set_rtcp) = self.policies.iter().find(|row| row.0 == parameters.suite)?;
        if parameters.unauthenticated_srtp {
            return None;
        }
        let (mut rtp, mut rtcp) = (CryptoPolicy::default(), CryptoPolicy::default());
        // Sound: each writes one policy.
        unsafe {
            set_rtp(&mut rtp);
            set_rtcp(&mut rtcp);
        }
        for (policy, plain) in [(&mut rtp, parameters.unencrypted_srtp), (&mut rtcp, parameters.unencrypted_srtcp)] {
            policy.sec_serv = if plain { AUTHENTICATION_ONLY } else { policy.sec_serv };
        }
        let mut key = [parameters.master.key(), parameters.master.salt()].concat();
        let mut mki = parameters.mki.as_ref().map_or(Vec::new(), |mki| mki.bytes().to_vec());
        let mut named = NamedKey { key: key.as_mut_ptr(), mki_id: mki.as_mut_ptr(), mki_size: mki.len() as c_uint };
        let mut keys = [&raw mut named];
        let policy = Policy {
            ssrc_type: if way == Way::Out { ANY_OUTBOUND } else { ANY_INBOUND },
            ssrc_value: 0,
            rtp,
            rtcp,
            key: if mki.is_empty() { key.as_mut_ptr() } else { ptr::null_mut() },
            keys: if mki.is_empty() { ptr::null_mut() } else { keys.as_mut_ptr() },
            num_master_keys: c_ulong::from(!mki.is_empty()),
            deprecated_ekt: ptr::null_mut(),
            window_size: WINDOW_PACKETS,
            allow_repeat_tx: 0,
            enc_xtn_hdr: ptr::null_mut(),
            enc_xtn_hdr_count: 0,
            next: ptr::null_mut(),
        };
        let mut context = ptr::null_mut();
        // Sound: everything that the policy points to outlives the call, which copies it; the key has the length that
        // the suite asks for.
        let status = unsafe { (self.create)(&mut context, &policy) };
        check(status).ok()?;
        Some(Session { library: self, context, with_mki: c_uint::from(!mki.is_empty()), not_send: PhantomData })
    }
}

/// A session of libsrtp2; on one thread.
pub struct Session {
    library: &'static Library,
    context: *mut c_void,
    with_mki: c_uint,
    not_send: PhantomData<*mut ()>,
}

impl Session {
    /// Protects `buffer[..length]` and returns the new length, or the library's status. The buffer is aligned to four
    /// bytes and has [`ROOM_BYTES`] behind the packet.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, u32> {
        self.protect(self.library.protect_rtp, buffer, length)
    }

    /// As [`Session::protect_rtp`], for RTCP.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, u32> {
        self.protect(self.library.protect_rtcp, buffer, length)
    }

    /// Unprotects a packet and returns its new length, or the library's status. The packet is aligned to four bytes.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, u32> {
        self.unprotect(self.library.unprotect_rtp, packet)
    }

    /// As [`Session::unprotect_rtp`], for RTCP.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, u32> {
        self.unprotect(self.library.unprotect_rtcp, packet)
    }

    fn protect(&mut self, protect: Protect, buffer: &mut [u8], length: usize) -> Result<usize, u32> {
        assert!(length + ROOM_BYTES <= buffer.len() && buffer.as_ptr().cast::<u32>().is_aligned());
        let mut length = length as c_int;
        // Sound: the context is open; the packet is as aligned, and has as much room behind it, as srtp.h asks for.
        let status = unsafe { protect(self.context, buffer.as_mut_ptr().cast(), &mut length, self.with_mki, 0) };
        check(status).map(|()| length as usize)
    }

    fn unprotect(&mut self, unprotect: Unprotect, packet: &mut [u8]) -> Result<usize, u32> {
        assert!(packet.as_ptr().cast::<u32>().is_aligned());
        let mut length = packet.len() as c_int;
        // Sound: the context is open, and the packet is aligned; it never grows.
        let status = unsafe { unprotect(self.context, packet.as_mut_ptr().cast(), &mut length, self.with_mki) };
        check(status).map(|()| length as usize)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Sound: the context is open, and nobody uses it afterwards.
        unsafe { (self.library.dealloc)(self.context) };
    }
}

fn check(status: c_uint) -> Result<(), u32> {
    if status == 0 { Ok(()) } else { Err(status) }
}
