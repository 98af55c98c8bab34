//! Our SRTP beside libsrtp2's: the same bytes, both ways. Where the library is missing, nothing is tested.

use millrace::srtp::suite::lengths;
use millrace::srtp::{Mki, Parameters};
use millrace_testsuite::srtp::{agree, parameters};
use millrace_testsuite::system::libsrtp2::{Library, suites};

/// Every combination of parameters, of every suite that libsrtp2 has. Not AES-192: there, libsrtp2 2.5 derives its
/// session keys with AES-256, whose key it fills up with the salt, where RFC 6188 has AES-192; ours has the vectors.
fn each_parameters() -> impl Iterator<Item = Parameters> {
    suites().filter(|suite| lengths(*suite).key != 24).flat_map(|suite| (0..8u64).map(move |flags| (suite, flags))).map(
        |(suite, flags)| Parameters {
            // libsrtp2 2.5 encrypts SRTP with AES-GCM even where that is off.
            unencrypted_srtp: flags & 1 != 0 && !suite.name().ends_with("GCM"),
            unencrypted_srtcp: flags & 2 != 0,
            // libsrtp2 2.5 looks for the MKI of SRTCP as if tags were as long as those of SRTP, and can't read its own.
            mki: (flags & 4 != 0 && lengths(suite).rtp_tag == lengths(suite).rtcp_tag)
                .then(|| Mki::new(&[7, flags as u8]).unwrap()),
            ..parameters(suite, flags)
        },
    )
}

#[test]
fn both_make_and_read_the_same_packets() {
    let library = match Library::load() {
        Ok(library) => library,
        Err(why) => return println!("not compared with libsrtp2: {why}"),
    };
    let mut compared = 0;
    for parameters in each_parameters() {
        match agree(library, &parameters) {
            Ok(true) => compared += 1,
            Ok(false) => println!("libsrtp2 can't do {parameters:?}"),
            Err(why) => panic!("{why}"),
        }
    }
    assert!(compared >= 32, "{compared} compared");
}
