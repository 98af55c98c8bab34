//! Addresses to listen on: `[ADDR:]PORT`.

use super::interface::Resolver;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address to listen on, not looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// An IP address or host name; none is the host's loopback.
    pub host: Option<String>,
    pub port: u16,
}

impl ListenAddress {
    /// Reads `PORT`, `ADDR:PORT`, `[V6ADDR]:PORT` or `NAME:PORT`; the error says what is expected.
    pub fn parse(text: &str) -> Result<ListenAddress, String> {
        let expected = || format!("`{text}` is not `[ADDRESS:]PORT`, like `127.0.0.1:2223`, `[::1]:2223` or `2223`");
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (Some(host), port),
            None => (None, text),
        };
        let port = port.parse().ok().filter(|&port: &u16| port > 0).ok_or_else(expected)?;
        let Some(host) = host else { return Ok(ListenAddress { host: None, port }) };
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_plausible = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None if host.contains(':') => host.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(char::is_whitespace),
        };
        if !is_plausible {
            return Err(expected());
        }
        Ok(ListenAddress { host: Some(bare.unwrap_or(host).to_owned()), port })
    }

    /// Reads the address of somebody else, which needs a host.
    pub fn parse_remote(text: &str) -> Result<ListenAddress, String> {
        let expected = || format!("`{text}` is not `ADDRESS:PORT`, like `192.0.2.1:9060` or `[2001:db8::1]:9060`");
        let address = ListenAddress::parse(text).map_err(|_| expected())?;
        if address.host.is_some() { Ok(address) } else { Err(expected()) }
    }

    /// The socket addresses: all that a name stands for, or loopback in the families that the host has.
    pub fn resolve(&self, resolver: &dyn Resolver) -> Result<Vec<SocketAddr>, String> {
        let with_port = |address| SocketAddr::new(address, self.port);
        let Some(host) = &self.host else {
            let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let usable = loopback.into_iter().filter(|address| address.is_ipv4() || resolver.can_bind(*address));
            return Ok(usable.map(with_port).collect());
        };
        if let Ok(address) = host.parse() {
            return Ok(vec![with_port(address)]);
        }
        let mut addresses = resolver.host(host);
        addresses.dedup();
        if addresses.is_empty() {
            return Err(format!("the host name `{host}` cannot be resolved"));
        }
        Ok(addresses.into_iter().map(with_port).collect())
    }
}

/// The path of `unix:PATH`; none where the text is something else.
fn socket_path(text: &str) -> Option<Result<String, String>> {
    let path = text.strip_prefix("unix:")?;
    Some(if path.starts_with('/') { Ok(path.to_owned()) } else { Err(format!("`{path}` is no absolute path")) })
}

/// Where LRKProxy's clients are listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LrkAddress {
    Udp(ListenAddress),
    /// A path in the file system.
    Unix(String),
}

impl LrkAddress {
    /// The port of the protocol.
    pub const PORT: u16 = 22333;

    /// Reads `unix:PATH`, an IP address, or what [`ListenAddress::parse`] reads.
    pub fn parse(text: &str) -> Result<LrkAddress, String> {
        if let Some(path) = socket_path(text) {
            return path.map(LrkAddress::Unix);
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(address) => Ok(LrkAddress::Udp(ListenAddress { host: Some(address.to_string()), port: Self::PORT })),
            Err(_) => ListenAddress::parse(text).map(LrkAddress::Udp),
        }
    }
}

/// A place to listen on for streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPlace {
    Tcp(ListenAddress),
    /// The path of a socket.
    Unix(String),
}

impl StreamPlace {
    /// Reads an address, or `unix:PATH`; the error says what is expected.
    pub fn parse(text: &str) -> Result<StreamPlace, String> {
        match socket_path(text) {
            Some(path) => path.map(StreamPlace::Unix),
            None => ListenAddress::parse(text).map(StreamPlace::Tcp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_for_lrkproxy() {
        let udp = |host: Option<&str>, port| Ok(LrkAddress::Udp(ListenAddress { host: host.map(str::to_owned), port }));
        assert_eq!(LrkAddress::parse("10.0.0.1"), udp(Some("10.0.0.1"), 22333));
        assert_eq!(LrkAddress::parse("::1"), udp(Some("::1"), 22333));
        assert_eq!(LrkAddress::parse("[2001:db8::1]"), udp(Some("2001:db8::1"), 22333));
        assert_eq!(LrkAddress::parse("10.0.0.1:8080"), udp(Some("10.0.0.1"), 8080));
        assert_eq!(LrkAddress::parse("8080"), udp(None, 8080));
        assert_eq!(LrkAddress::parse("unix:/run/lrk.sock"), Ok(LrkAddress::Unix("/run/lrk.sock".into())));
        for wrong in ["unix:", "unix:run", "", "relay"] {
            assert!(LrkAddress::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn forms() {
        let parse = |text| ListenAddress::parse(text).map(|listen| (listen.host, listen.port));
        assert_eq!(parse("2223"), Ok((None, 2223)));
        assert_eq!(parse("127.0.0.1:2223"), Ok((Some("127.0.0.1".into()), 2223)));
        assert_eq!(parse("[::1]:2223"), Ok((Some("::1".into()), 2223)));
        assert_eq!(parse("::1:2223"), Ok((Some("::1".into()), 2223)));
        assert_eq!(parse("localhost:2223"), Ok((Some("localhost".into()), 2223)));
        for wrong in ["", ":", "x", ":2223", "0", "65536", "1.2.3.4:", "[::1]", "[x]:1", "a b:1", "a:b:1", "1.2.3.4:0"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn streams_have_addresses_or_paths() {
        assert_eq!(StreamPlace::parse("unix:/run/x"), Ok(StreamPlace::Unix("/run/x".into())));
        assert_eq!(StreamPlace::parse("5"), Ok(StreamPlace::Tcp(ListenAddress { host: None, port: 5 })));
        assert!(StreamPlace::parse("unix:x").is_err() && StreamPlace::parse("x").is_err());
    }

    /// A host without IPv6.
    struct Old;

    impl Resolver for Old {
        fn host(&self, _: &str) -> Vec<IpAddr> {
            Vec::new()
        }

        fn local_addresses(&self) -> Vec<(String, IpAddr)> {
            Vec::new()
        }

        fn can_bind(&self, address: IpAddr) -> bool {
            address.is_ipv4()
        }
    }

    #[test]
    fn without_an_address_it_is_loopback() {
        let listen = ListenAddress::parse("2223").unwrap();
        assert_eq!(listen.resolve(&Old), Ok(vec!["127.0.0.1:2223".parse().unwrap()]));
        assert!(ListenAddress::parse("nowhere:2223").unwrap().resolve(&Old).is_err());
    }
}
