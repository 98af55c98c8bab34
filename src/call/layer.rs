//! Layers of a simulcast (RFC 8853), by the names that their sender gave them.

/// The header extension with the name of a layer (RFC 8852, section 4.1), and the one with that of the layer which a
/// retransmission repairs (section 4.2).
pub const RID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub const REPAIRED_RID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// The name of one layer (RFC 8851, section 10): one to sixteen letters and digits, as many as every form of the header
/// extension can carry (RFC 8285, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rid {
    bytes: [u8; Rid::LONGEST],
    length: u8,
}

impl Rid {
    const LONGEST: usize = 16;

    /// None for a name that is too long, or none.
    pub fn new(name: &str) -> Option<Rid> {
        let mut rid = Rid { bytes: [0; Rid::LONGEST], length: name.len() as u8 };
        rid.bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        let is_legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (!name.is_empty() && is_legal).then_some(rid)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl std::fmt::Display for Rid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

/// Which layer a receiver is to get while it flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layer {
    /// The one with the most bits.
    #[default]
    Highest,
    /// The one with the fewest.
    Lowest,
    Named(Rid),
}

impl Layer {
    /// `highest`, `lowest`, or the name of a layer.
    pub fn parse(text: &str) -> Option<Layer> {
        match text {
            "highest" => Some(Layer::Highest),
            "lowest" => Some(Layer::Lowest),
            name => Rid::new(name).map(Layer::Named),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_bounds() {
        assert_eq!(Rid::new("h-1_A").map(|rid| rid.to_string()), Some("h-1_A".to_owned()));
        assert!(Rid::new("1234567890123456").is_some());
        for bad in ["", "12345678901234567", "a b", "ä", "~a"] {
            assert_eq!(Rid::new(bad), None, "{bad}");
        }
        assert_eq!(Layer::parse("highest"), Some(Layer::Highest));
        assert_eq!(Layer::parse("m"), Rid::new("m").map(Layer::Named));
        assert_eq!(Layer::parse(";"), None);
    }
}
