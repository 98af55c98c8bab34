//! Key material that is wiped when it is no longer needed and never printed.

use std::fmt;
use zeroize::Zeroize;

/// Secret bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: &[u8]) -> Secret {
        Secret(bytes.into())
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secret bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new(&[1, 2, 3])), "3 secret bytes");
    }
}
