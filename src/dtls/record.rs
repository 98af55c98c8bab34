//! What of a datagram OpenSSL gets to see. Before keys are there, anybody can write what looks like the peer: records
//! that can only do harm are left out here (RFC 6347, section 4.1).

use super::Role;
use super::contexts::LONGEST_MESSAGE_BYTES;
use std::ops::Range;

const HEADER_BYTES: usize = 13;
const EPOCH: Range<usize> = 3..5;
const NUMBER: Range<usize> = 5..11;
const MESSAGE_HEADER_BYTES: usize = 12;
const VERSION_BYTES: usize = 2;
const RANDOM_BYTES: usize = 32;
/// The largest ciphertext (RFC 5246, section 6.2.3).
const LONGEST_RECORD_BYTES: usize = (1 << 14) + 2048;
const DTLS_MAJOR_VERSION: u8 = 0xfe;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
/// ClientHello, Certificate, CertificateVerify, ClientKeyExchange.
const SENT_BY_CLIENTS: &[u8] = &[CLIENT_HELLO, 11, 15, 16];
/// ServerHello, HelloVerifyRequest, NewSessionTicket, Certificate, ServerKeyExchange, CertificateRequest,
/// ServerHelloDone, CertificateStatus.
const SENT_BY_SERVERS: &[u8] = &[2, 3, 4, 11, 12, 13, 14, 22];

/// What a datagram held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The records to go on with, in one datagram.
    pub(super) kept: Vec<u8>,
    /// The random value of a ClientHello that opens a handshake.
    pub(super) client_random: Option<[u8; RANDOM_BYTES]>,
    /// The description of an alert that anybody can have sent.
    pub(super) plain_alert: Option<u8>,
}

/// Takes apart a datagram from a peer of `role`. After the handshake (`is_connected`) only protected records are kept.
///
/// Unprotected records get the numbers that follow `plain_records`: one forged with a high number would else make
/// OpenSSL take all that come from the peer for old ones (RFC 6347, section 4.1.2.6). Messages have numbers of their own.
pub(super) fn screen(datagram: &[u8], role: Role, is_connected: bool, plain_records: &mut u64) -> Seen {
    let mut seen = Seen::default();
    let mut rest = datagram;
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (Some(body), true) = (after.get(..length), header[1] == DTLS_MAJOR_VERSION) else { break };
        let (record, next) = rest.split_at(HEADER_BYTES + length);
        rest = next;
        if (1..=LONGEST_RECORD_BYTES).contains(&length) && seen.takes(header, body, role, is_connected) {
            let start = seen.kept.len();
            seen.kept.extend_from_slice(record);
            if header[EPOCH] == [0, 0] {
                *plain_records += 1;
                seen.kept[start..][NUMBER].copy_from_slice(&plain_records.to_be_bytes()[2..]);
            }
        }
    }
    seen
}

impl Seen {
    fn takes(&mut self, header: &[u8; HEADER_BYTES], body: &[u8], role: Role, is_connected: bool) -> bool {
        let epoch = u16::from_be_bytes([header[EPOCH.start], header[EPOCH.start + 1]]);
        match (epoch, header[0]) {
            (0, _) if is_connected => false,
            (0, CHANGE_CIPHER_SPEC) => true,
            (0, HANDSHAKE) => self.takes_messages(body, role),
            (0, ALERT) => {
                self.plain_alert = body.get(1).copied().or(self.plain_alert);
                false
            }
            // A second epoch of keys would be a renegotiation.
            (1, CHANGE_CIPHER_SPEC..=APPLICATION_DATA) => true,
            _ => false,
        }
    }

    /// Whether every message of a plain record is one that a peer of `role` sends, whole or in part.
    fn takes_messages(&mut self, mut body: &[u8], role: Role) -> bool {
        let types = match role {
            Role::Client => SENT_BY_CLIENTS,
            Role::Server => SENT_BY_SERVERS,
        };
        while !body.is_empty() {
            let Some((header, after)) = body.split_first_chunk::<MESSAGE_HEADER_BYTES>() else { return false };
            let number = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
            let (whole, offset, length) = (number(1), number(6), number(9));
            let Some(fragment) = after.get(..length as usize) else { return false };
            let is_sound = whole <= u32::from(LONGEST_MESSAGE_BYTES) && offset + length <= whole;
            if !types.contains(&header[0]) || !is_sound {
                return false;
            }
            let opens = header[0] == CLIENT_HELLO && header[4..6] == [0, 0] && offset == 0;
            if opens && let Some(random) = fragment.get(VERSION_BYTES..).and_then(|bytes| bytes.first_chunk()) {
                self.client_random = Some(*random);
            }
            body = &after[length as usize..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 7];
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn message(kind: u8, whole: u8, offset: u8, fragment: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, whole, 0, 0, 0, 0, offset, 0, 0, fragment.len() as u8];
        bytes.extend(fragment);
        bytes
    }

    /// As after six unprotected records.
    fn screen(datagram: &[u8], role: Role, is_connected: bool) -> Seen {
        super::screen(datagram, role, is_connected, &mut 6)
    }

    fn kept(datagram: &[u8], is_connected: bool) -> usize {
        screen(datagram, Role::Client, is_connected).kept.len()
    }

    #[test]
    fn a_client_hello_is_known_by_its_random_value() {
        let hello = record(22, 0, &message(1, 40, 0, &[5; 40]));
        let seen = screen(&hello, Role::Client, false);
        assert_eq!((seen.kept.as_slice(), seen.client_random), (hello.as_slice(), Some([5; 32])));
        let part = record(22, 0, &message(1, 80, 40, &[5; 40]));
        assert_eq!(screen(&part, Role::Client, false).client_random, None);
        assert_eq!(kept(&part, false), part.len());
        assert!(screen(&hello, Role::Server, false).kept.is_empty());
    }

    #[test]
    fn plain_alerts_are_told_and_left_out() {
        let hello = record(22, 0, &message(1, 40, 0, &[5; 40]));
        let both = [record(21, 0, &[2, 40]), hello.clone()].concat();
        let seen = screen(&both, Role::Client, false);
        assert_eq!((seen.kept, seen.plain_alert), (hello, Some(40)));
    }

    #[test]
    fn unprotected_records_are_numbered_anew() {
        let part = |number: u8| {
            let mut bytes = record(22, 0, &message(1, 80, 40, &[5; 40]));
            bytes[NUMBER].copy_from_slice(&[number; 6]);
            bytes
        };
        let seen = screen(&[part(0xff), part(1), record(22, 1, &[0xee; 40])].concat(), Role::Client, false);
        let numbers: Vec<u8> = seen.kept.chunks(65).map(|record| record[10]).collect();
        assert_eq!(numbers, [7, 8, 7]);
        assert_eq!(seen.kept[NUMBER], [0, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn only_protected_records_follow_a_handshake() {
        let protected = record(22, 1, &[1; 40]);
        let plain = record(22, 0, &message(1, 40, 0, &[5; 40]));
        let seen = screen(&[plain, protected.clone()].concat(), Role::Client, true);
        assert_eq!((seen.kept, seen.client_random), (protected, None));
        assert_eq!(kept(&record(23, 2, &[1; 40]), true), 0);
        assert_eq!(kept(&record(24, 1, &[1; 40]), true), 0);
    }

    #[test]
    fn what_is_no_handshake_is_left_out() {
        for body in [
            message(2, 2, 0, &[1, 2]),
            message(0, 0, 0, &[]),
            message(1, 2, 1, &[1, 2]),
            message(1, 9, 0, &[0; 9])[..20].to_vec(),
            vec![1; 11],
            [&[1, 0xff, 0, 0], &message(1, 2, 0, &[1, 2])[4..]].concat(),
            [message(11, 2, 0, &[1, 2]), vec![0]].concat(),
        ] {
            assert_eq!(kept(&record(22, 0, &body), false), 0, "{body:?}");
        }
        for datagram in [&[22][..], &[22; 13], &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1], &[0; 64]] {
            assert_eq!(kept(datagram, false), 0);
        }
        assert_eq!(kept(&record(23, 0, &[1; 40]), false), 0);
    }
}
