//! `a=setup`: who opens the DTLS association (RFC 4145, RFC 5763).

/// The role that a description offers or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The client.
    Active,
    /// The server.
    Passive,
    /// Either, in an offer.
    ActivePassive,
    /// Not now.
    HoldConnection,
}

const NAMES: [(&str, Setup); 4] = [
    ("active", Setup::Active),
    ("passive", Setup::Passive),
    ("actpass", Setup::ActivePassive),
    ("holdconn", Setup::HoldConnection),
];

impl Setup {
    /// Reads the value of `a=setup`, in any case.
    pub fn from_name(name: &str) -> Option<Setup> {
        NAMES.iter().find(|row| row.0.eq_ignore_ascii_case(name.trim())).map(|row| row.1)
    }

    /// The value of `a=setup`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for (name, setup) in NAMES {
            assert_eq!((setup.name(), Setup::from_name(name)), (name, Some(setup)));
        }
        assert_eq!(Setup::from_name("both"), None);
    }
}
