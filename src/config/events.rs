//! Who is told what happens to calls.

use std::net::SocketAddr;

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// Where digits of all calls are reported to.
    pub digits: Option<SocketAddr>,
    /// They are told to connections of NG.
    pub pushes_digits: bool,
    /// Where all else is reported to.
    pub others: Option<SocketAddr>,
    /// It is told to connections of NG.
    pub pushes_others: bool,
    /// How long a party may send nothing, while the other side is heard; zero: for ever.
    pub one_way_after_s: u32,
    pub callback: Callback,
}

/// The server that is called when a call has timed out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Callback {
    /// None: nobody is called. `%%` stands for the address of the call's SIP proxy.
    pub url: Option<String>,
    pub format: CallbackFormat,
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallbackFormat {
    /// SEMS: each tag.
    #[default]
    Tags,
    /// The call-id.
    CallId,
    /// Kamailio: the call-id and both tags of each dialogue.
    Dialogues,
}

impl Callback {
    /// The part of a URL that stands for an address.
    const PLACE: &str = "%%";

    /// Reads a URL, `%%` and all.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<String, String> {
        let wrong = |why: &str| format!("`{text}` is no `http://` or `https://` URL: {why}");
        let filled = text.replace(Callback::PLACE, "192.0.2.1");
        let url: hyper::Uri = filled.parse().map_err(|error| wrong(&format!("{error}")))?;
        match url.scheme_str() {
            Some("http" | "https") if url.host().is_some_and(|host| !host.is_empty()) => Ok(text.to_owned()),
            Some("http" | "https") => Err(wrong("it names no host")),
            _ => Err(wrong("it begins otherwise")),
        }
    }

    /// The URL of the call's proxy.
    pub fn url_of(&self, proxy: Option<std::net::IpAddr>) -> Option<String> {
        let url = self.url.as_deref()?;
        if !url.contains(Callback::PLACE) {
            return Some(url.to_owned());
        }
        let host = match proxy? {
            std::net::IpAddr::V4(address) => address.to_string(),
            std::net::IpAddr::V6(address) => format!("[{address}]"),
        };
        Some(url.replace(Callback::PLACE, &host))
    }
}

impl Default for Events {
    fn default() -> Events {
        Events {
            digits: None,
            pushes_digits: false,
            others: None,
            pushes_others: false,
            one_way_after_s: 10,
            callback: Callback::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_stands_in_the_url() {
        let callback = |url: &str| Callback { url: Some(Callback::parse(url).unwrap()), ..Callback::default() };
        let proxies = [Some([192, 0, 2, 7].into()), Some(std::net::Ipv6Addr::LOCALHOST.into()), None];
        let urls = proxies.map(|proxy| callback("http://%%:8080/RPC2").url_of(proxy));
        assert_eq!(urls, [Some("http://192.0.2.7:8080/RPC2".into()), Some("http://[::1]:8080/RPC2".into()), None]);
        assert_eq!(callback("https://host/%20").url_of(None).as_deref(), Some("https://host/%20"));
    }

    #[test]
    fn what_is_no_url_is_named() {
        for text in ["", "host:80", "ftp://host/", "http://", "http:///x", "http://a b/"] {
            assert!(Callback::parse(text).unwrap_err().starts_with(&format!("`{text}` is no `http://`")), "{text}");
        }
    }
}
