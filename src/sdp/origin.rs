//! The `o=` line (RFC 8866, section 5.2).

use crate::base::address::Family;
use std::fmt;

/// Who described the session, and which version of the description this is. The address stays text: hosts write
/// names there too, and a relay never sends to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub username: String,
    pub session_id: String,
    pub version: String,
    pub family: Family,
    pub address: String,
}

impl Default for Origin {
    fn default() -> Origin {
        Origin {
            username: "-".to_owned(),
            session_id: "0".to_owned(),
            version: "0".to_owned(),
            family: Family::Ip4,
            address: "0.0.0.0".to_owned(),
        }
    }
}

impl Origin {
    /// Reads the text after `o=`.
    pub fn parse(text: &str) -> Option<Origin> {
        let mut words = text.split_ascii_whitespace();
        let (username, session_id, version) = (words.next()?, words.next()?, words.next()?);
        let _network = words.next().filter(|network| *network == "IN")?;
        let (family, address) = (Family::from_sdp(words.next()?)?, words.next()?);
        Some(Origin {
            username: username.to_owned(),
            session_id: session_id.to_owned(),
            version: version.to_owned(),
            family,
            address: address.to_owned(),
        })
    }
}

/// Prints the text after `o=`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { username, session_id, version, family, address } = self;
        write!(f, "{username} {session_id} {version} IN {family} {address}")
    }
}
