//! The functions of libssl for DTLS that the `openssl` crate does not wrap: timers, buffers, limits.

use super::contexts;
use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslRef, SslStream};
use openssl_sys::{SSL, SSL_ctrl};
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::ptr;
use std::time::Duration;

/// Commands of `SSL_ctrl`, as `openssl/ssl.h` numbers them.
const SSL_CTRL_SET_MAX_CERT_LIST: c_int = 51;
const DTLS_CTRL_GET_TIMEOUT: c_int = 73;
const DTLS_CTRL_HANDLE_TIMEOUT: c_int = 74;

const LONGEST_TIMEOUT: Duration = Duration::from_secs(3);

type TimerCallback = extern "C" fn(*mut SSL, c_uint) -> c_uint;

unsafe extern "C" {
    fn DTLS_set_timer_cb(ssl: *mut SSL, callback: Option<TimerCallback>);
    fn SSL_alloc_buffers(ssl: *mut SSL) -> c_int;
    fn SSL_free_buffers(ssl: *mut SSL) -> c_int;
}

/// What became of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    NotDue,
    /// The last flight was written once more.
    Repeated,
    /// OpenSSL has repeated often enough, or could not.
    GivenUp,
}

/// Tells OpenSSL how long to wait for an answer, given how long it waited before; zero before the first wait.
extern "C" fn timeout_us(ssl: *mut SSL, previous_us: c_uint) -> c_uint {
    let timeout = if previous_us == 0 {
        // Sound: OpenSSL calls with the live object that the callback was set on, and nothing holds it mutably while
        // its timer starts.
        contexts::first_timeout(unsafe { SslRef::from_ptr(ssl) })
    } else {
        Duration::from_micros(u64::from(previous_us) * 2)
    };
    // At most three seconds, so it fits.
    timeout.min(LONGEST_TIMEOUT).as_micros() as c_uint
}

/// Makes a flight be repeated after the first timeout of its contexts, then after twice as long each time, up to three
/// seconds; and refuses handshake messages of more than `message_bytes`.
pub(super) fn prepare(ssl: &mut Ssl, message_bytes: u16) {
    // Sound: both calls only store a value in the object, which is alive and borrowed exclusively.
    unsafe {
        DTLS_set_timer_cb(ssl.as_ptr(), Some(timeout_us));
        SSL_ctrl(ssl.as_ptr(), SSL_CTRL_SET_MAX_CERT_LIST, c_long::from(message_bytes), ptr::null_mut());
    }
}

/// How long until the flight is to be repeated, by OpenSSL's clock; none where no answer is awaited.
pub(super) fn remaining(ssl: &SslRef) -> Option<Duration> {
    let mut left = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // Sound: the command writes one timeval where the pointer leads, and reads the object, which is alive.
    let is_set = unsafe { SSL_ctrl(ssl.as_ptr(), DTLS_CTRL_GET_TIMEOUT, 0, (&raw mut left).cast::<c_void>()) } == 1;
    let micros = u64::try_from(left.tv_usec).unwrap_or(0);
    is_set.then(|| Duration::from_secs(u64::try_from(left.tv_sec).unwrap_or(0)) + Duration::from_micros(micros))
}

/// Repeats the flight if it is time.
pub(super) fn handle_timeout<S>(stream: &mut SslStream<S>) -> Timeout {
    // Sound: the object is alive and borrowed exclusively; the command takes no pointer.
    let result = unsafe { SSL_ctrl(stream.ssl().as_ptr(), DTLS_CTRL_HANDLE_TIMEOUT, 0, ptr::null_mut()) };
    match result {
        0 => Timeout::NotDue,
        1.. => Timeout::Repeated,
        _ => {
            // The thread's queue of errors must not tell of this one at the next call.
            ErrorStack::get();
            Timeout::GivenUp
        }
    }
}

/// Frees the buffers for records, which OpenSSL keeps for DTLS even where it is asked to release them.
pub(super) fn free_buffers<S>(stream: &mut SslStream<S>) {
    // Sound: the object is alive and borrowed exclusively; with data pending in a buffer the call does nothing.
    unsafe { SSL_free_buffers(stream.ssl().as_ptr()) };
}

/// Takes back what `free_buffers` gave away; needed before the next read or write. False where memory is out.
pub(super) fn allocate_buffers<S>(stream: &mut SslStream<S>) -> bool {
    // Sound: the object is alive and borrowed exclusively; buffers that are there are kept.
    let done = unsafe { SSL_alloc_buffers(stream.ssl().as_ptr()) } == 1;
    if !done {
        ErrorStack::get();
    }
    done
}
