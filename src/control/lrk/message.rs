//! The bytes: `COOKIE COMMAND [FIELDS]`, where the cookie is missing on streams.

use super::DropReason;
use crate::engine::{Pair, PairKey, PairSide};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The longest request: the client itself reads no longer reply.
pub const LONGEST_REQUEST_BYTES: usize = 2048;

/// The fields behind `S` and `D`.
const FIELDS: usize = 10;

/// A request without its cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `P`
    Ping,
    /// `G`
    Configuration,
    /// `S`
    Put(Pair),
    /// `D`
    End(PairKey),
}

/// Splits the cookie from a datagram.
///
/// # Errors
/// When there is none.
pub fn without_cookie(datagram: &[u8]) -> Result<&[u8], DropReason> {
    let space = datagram.iter().position(|byte| *byte == b' ').filter(|at| *at > 0).ok_or(DropReason::NoCookie)?;
    Ok(&datagram[space + 1..])
}

/// Whether more of a request may come on a stream: it ends in a space behind its last field.
pub fn is_partial(request: &[u8]) -> bool {
    let spaces = request.iter().filter(|byte| **byte == b' ').count();
    match request.first() {
        Some(b'S' | b'D') => spaces <= FIELDS && request.len() < LONGEST_REQUEST_BYTES,
        first => first.is_none(),
    }
}

/// Reads a request without its cookie.
///
/// # Errors
/// What is wrong with it.
pub fn parse(request: &[u8]) -> Result<Command, DropReason> {
    let text = std::str::from_utf8(request).map_err(|_| DropReason::NotText)?;
    match text.split_at_checked(1) {
        Some(("P", "")) => Ok(Command::Ping),
        Some(("G", "")) => Ok(Command::Configuration),
        Some(("S", rest)) => put(&fields(rest)?).map(Command::Put),
        Some(("D", rest)) => end(&fields(rest)?).map(Command::End),
        _ => Err(DropReason::UnknownCommand),
    }
}

/// Divided by one space each, with one before the first and one behind the last; empty ones are kept.
fn fields(text: &str) -> Result<[&str; FIELDS], DropReason> {
    let inside = text.strip_prefix(' ').and_then(|text| text.strip_suffix(' ')).ok_or(DropReason::WrongFields)?;
    let mut parts = inside.split(' ');
    let mut fields = [""; FIELDS];
    for field in &mut fields {
        *field = parts.next().ok_or(DropReason::WrongFields)?;
    }
    let [.., call_id] = fields;
    match (parts.next(), call_id) {
        (Some(_), _) => Err(DropReason::WrongFields),
        (None, "") => Err(DropReason::NoCallId),
        (None, _) => Ok(fields),
    }
}

fn put(
    [src_ip, dst_ip, snat_ip, dnat_ip, src, dst, snat, dnat, timeout, call_id]: &[&str; 10],
) -> Result<Pair, DropReason> {
    Ok(Pair {
        call_id: (*call_id).to_owned(),
        caller: PairSide { remote: endpoint(src_ip, src)?, local: endpoint(snat_ip, snat)? },
        callee: PairSide { remote: endpoint(dnat_ip, dnat)?, local: endpoint(dst_ip, dst)? },
        idle_timeout: seconds(timeout),
    })
}

fn end([_, dst_ip, snat_ip, _, _, dst, snat, _, _, call_id]: &[&str; 10]) -> Result<PairKey, DropReason> {
    // What had not been answered has no such addresses.
    let local = |ip: &str, port: &str| match (ip, port) {
        ("", _) | (_, "") => Ok(None),
        _ => endpoint(ip, port).map(Some),
    };
    let (caller_local, callee_local) = (local(snat_ip, snat)?, local(dst_ip, dst)?);
    Ok(PairKey { call_id: (*call_id).to_owned(), caller_local, callee_local })
}

/// An address and a port that leaves room for RTCP above.
fn endpoint(ip: &str, port: &str) -> Result<SocketAddr, DropReason> {
    let ip: IpAddr = ip.parse().map_err(|_| DropReason::BadAddress)?;
    let is_plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_plain && (1..u16::MAX).contains(port));
    Ok(SocketAddr::new(ip, port.ok_or(DropReason::BadPort)?))
}

/// What is no number is what an overrun in the client has left of one.
fn seconds(text: &str) -> Option<Duration> {
    text.parse::<u32>().ok().filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: &str = "S 10.90.1.2 10.90.2.1 10.90.1.1 10.90.2.2 6000 20000 20002 7000 60 1-31830@10.90.1.2 ";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn pair() -> Pair {
        Pair {
            call_id: "1-31830@10.90.1.2".to_owned(),
            caller: PairSide { remote: at("10.90.1.2:6000"), local: at("10.90.1.1:20002") },
            callee: PairSide { remote: at("10.90.2.2:7000"), local: at("10.90.2.1:20000") },
            idle_timeout: Some(Duration::from_secs(60)),
        }
    }

    #[test]
    fn seen_requests() {
        assert_eq!(parse(b"P"), Ok(Command::Ping));
        assert_eq!(parse(b"G"), Ok(Command::Configuration));
        assert_eq!(parse(SEEN.as_bytes()), Ok(Command::Put(pair())));
        let (caller_local, callee_local) = (Some(at("10.90.1.1:20002")), Some(at("10.90.2.1:20000")));
        let key = |call_id: &str, caller_local, callee_local| {
            Ok(Command::End(PairKey { call_id: call_id.to_owned(), caller_local, callee_local }))
        };
        let deleted = SEEN.replacen('S', "D", 1);
        assert_eq!(parse(deleted.as_bytes()), key("1-31830@10.90.1.2", caller_local, callee_local));
        let cancelled = b"D 10.90.1.2 10.90.2.1   6000 20000   60 1-1405@10.90.1.2 ";
        assert_eq!(parse(cancelled), key("1-1405@10.90.1.2", None, callee_local));
    }

    #[test]
    fn a_timeout_that_is_no_number_is_the_default() {
        for timeout in [".2", "", "0", "-1", "x", "99999999999"] {
            let request = SEEN.replace(" 60 ", &format!(" {timeout} "));
            assert_eq!(parse(request.as_bytes()), Ok(Command::Put(Pair { idle_timeout: None, ..pair() })), "{timeout}");
        }
    }

    #[test]
    fn ipv6_and_held_sides() {
        let request = "S 2001:db8::2 2001:db8::1 2001:db8:1::1 :: 1 2 3 4 5 id ";
        let Ok(Command::Put(pair)) = parse(request.as_bytes()) else { panic!("{request}") };
        assert_eq!((pair.caller.remote, pair.callee.remote), (at("[2001:db8::2]:1"), at("[::]:4")));
    }

    #[test]
    fn what_is_malformed_says_why() {
        let edit = |from: &str, to: &str| SEEN.replacen(from, to, 1).into_bytes();
        let cases: Vec<(Vec<u8>, DropReason)> = vec![
            (b"".to_vec(), DropReason::UnknownCommand),
            (b"p".to_vec(), DropReason::UnknownCommand),
            (b"P ".to_vec(), DropReason::UnknownCommand),
            (b"V 1".to_vec(), DropReason::UnknownCommand),
            (b"S".to_vec(), DropReason::WrongFields),
            (SEEN.trim_end().as_bytes().to_vec(), DropReason::WrongFields),
            (edit(" 60", ""), DropReason::WrongFields),
            (edit(" 60", " 60 60"), DropReason::WrongFields),
            (edit("1-31830@10.90.1.2", ""), DropReason::NoCallId),
            (edit("10.90.1.2", "10.90.1"), DropReason::BadAddress),
            (edit("10.90.1.2", ""), DropReason::BadAddress),
            (edit("6000", "0"), DropReason::BadPort),
            (edit("6000", "+6000"), DropReason::BadPort),
            (edit("6000", "65535"), DropReason::BadPort),
            (edit("20000", "70000"), DropReason::BadPort),
            (vec![b'S', 0xff], DropReason::NotText),
        ];
        for (request, reason) in cases {
            assert_eq!(parse(&request), Err(reason), "{}", String::from_utf8_lossy(&request));
        }
        assert_eq!(without_cookie(b"P"), Err(DropReason::NoCookie));
        assert_eq!(without_cookie(b" P"), Err(DropReason::NoCookie));
        assert_eq!(without_cookie(b"-1_2 P"), Ok(&b"P"[..]));
    }

    #[test]
    fn every_cut_of_a_request_is_partial() {
        let seen = SEEN.as_bytes();
        assert!((0..seen.len()).all(|end| is_partial(&seen[..end])) && !is_partial(seen));
        assert!(!is_partial(b"P") && !is_partial(b"G") && !is_partial(b"x"));
    }
}
