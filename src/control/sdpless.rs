//! Requests about calls for protocols that know addresses of streams and no SDP: the one is made into the other.

use super::{Reply, Service};
use crate::ng::{Defaults, Dictionary, Encoding, Request, Value};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// What is said of the formats: all that comes is relayed, whatever it is.
const FORMATS: &str = "0 8";

/// A request of a call; `command` is that of NG.
pub(super) fn request(command: &str, call_id: &str) -> Dictionary {
    Dictionary::new().with("command", command).with("call-id", call_id)
}

/// A description of streams that are at these addresses.
pub(super) fn body(streams: &[SocketAddr]) -> String {
    let family = |ip: IpAddr| if ip.is_ipv4() { "IP4" } else { "IP6" };
    let first = streams.first().map_or(IpAddr::from([0, 0, 0, 0]), SocketAddr::ip);
    let mut body = format!("v=0\r\no=- 1 1 IN {0} {first}\r\ns=-\r\nt=0 0\r\n", family(first));
    for stream in streams {
        let _ = write!(
            body,
            "m=audio {} RTP/AVP {FORMATS}\r\nc=IN {} {}\r\n",
            stream.port(),
            family(stream.ip()),
            stream.ip()
        );
    }
    body
}

/// The address and ports of a description that was made of one.
pub(super) fn shown(reply: &Dictionary) -> Option<(IpAddr, Vec<u16>)> {
    let body = reply.get("sdp").and_then(Value::as_text)?;
    let address = body.lines().filter_map(|line| line.strip_prefix("c=IN IP")).next()?;
    let address = address.split_once(' ')?.1.trim().parse().ok()?;
    let ports = body.lines().filter_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok());
    Some((address, ports.collect()))
}

/// Whether a reply tells of an error, and which.
pub(super) fn error(reply: &Dictionary) -> Option<&str> {
    let is_ok = matches!(reply.get("result").and_then(Value::as_text), Some("ok"));
    (!is_ok).then(|| reply.get("error-reason").and_then(Value::as_text).unwrap_or("refused"))
}

/// Has a request worked off.
pub(super) fn ask(
    service: &dyn Service,
    request: &Dictionary,
    client: SocketAddr,
    deliver: impl FnOnce(&Dictionary) + Send + 'static,
) {
    match Request::parse(request, Encoding::Bencode, &Defaults::default()) {
        Ok(request) => service.request(request, client, Reply::new(move |reply| deliver(&reply))),
        Err(error) => deliver(&crate::ng::message::error_reply(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_it_was_made() {
        let streams: Vec<SocketAddr> = vec!["192.0.2.1:4000".parse().unwrap(), "192.0.2.1:4002".parse().unwrap()];
        let reply = Dictionary::new().with("sdp", body(&streams));
        assert_eq!(shown(&reply), Some((streams[0].ip(), vec![4000, 4002])));
        let reply = Dictionary::new().with("sdp", body(&["[2001:db8::1]:4000".parse().unwrap()]));
        assert_eq!(shown(&reply), Some(("2001:db8::1".parse().unwrap(), vec![4000])));
        assert_eq!(shown(&Dictionary::new().with("sdp", "")), None);
    }
}
