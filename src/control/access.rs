//! Who may use the control protocols: a check that costs a comparison, before anything of a message is read.

use crate::base::secret::Secret;
use crate::base::subnet::Subnet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use subtle::ConstantTimeEq;

/// The rules, which may change while the daemon runs.
#[derive(Debug, Default)]
pub struct Access(RwLock<Arc<Rules>>);

/// Who may ask.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Networks, besides loopback; empty: everyone.
    pub allowed: Vec<Subnet>,
    /// What clients of HTTP must show; none: nothing.
    pub token: Option<Secret>,
}

impl Access {
    /// Replaces the rules.
    pub fn set(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This client may ask.
    pub fn permits(&self, client: IpAddr) -> bool {
        let rules = self.rules();
        rules.allowed.is_empty()
            || client.to_canonical().is_loopback()
            || rules.allowed.iter().any(|subnet| subnet.contains(client))
    }

    /// Clients of HTTP must show a token.
    pub fn wants_token(&self) -> bool {
        self.rules().token.is_some()
    }

    /// What a client shows is enough. How long this takes does not tell how much of it is right.
    pub fn accepts(&self, shown: Option<&[u8]>) -> bool {
        match (&self.rules().token, shown) {
            (None, _) => true,
            (Some(token), Some(shown)) => token.expose().ct_eq(shown).into(),
            (Some(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let access = Access::default();
        let permits = |access: &Access, client: &str| access.permits(client.parse().unwrap());
        assert!(permits(&access, "192.0.2.1") && access.accepts(None) && !access.wants_token());
        let allowed = vec![Subnet::parse("192.0.2.0/24").unwrap()];
        access.set(Rules { allowed, token: Some(Secret::new(b"0123456789abcdef")) });
        assert!(permits(&access, "192.0.2.1") && !permits(&access, "198.51.100.1"));
        assert!(permits(&access, "127.0.0.1") && permits(&access, "::1") && !permits(&access, "2001:db8::1"));
        assert!(access.accepts(Some(b"0123456789abcdef")) && access.wants_token());
        for wrong in [None, Some(&b""[..]), Some(b"0123456789abcdeF"), Some(b"0123456789abcdef0")] {
            assert!(!access.accepts(wrong));
        }
    }
}
