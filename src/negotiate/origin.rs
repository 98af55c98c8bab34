//! The `o=` and `s=` lines of descriptions that are shown (`replace`).

use crate::base::address::Family;
use crate::call::participant::ShownSession;
use crate::ng::request::output::Replace;
use crate::sdp::{Session, SessionDescription, write};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

/// Applies `replace` to `session`; `address` is the local address that is shown.
pub fn replace(session: &mut Session, shown: &mut ShownSession, replace: Replace, address: Option<IpAddr>) {
    if let (true, Some(address)) = (replace.origin || replace.origin_full, address) {
        session.origin.family = Family::of(address);
        session.origin.address = address.to_string();
    }
    if let Some(first) = &shown.origin {
        if replace.username {
            session.origin.username.clone_from(&first.username);
        }
        if replace.origin_full {
            session.origin = first.clone();
        }
    }
    if let (true, Some(name)) = (replace.session_name, &shown.name) {
        session.name.clone_from(name);
    }
    shown.origin.get_or_insert_with(|| session.origin.clone());
    shown.name.get_or_insert_with(|| session.name.clone());
}

/// Numbers the finished `description` where versions are counted here.
pub fn number(description: &mut SessionDescription, shown: &mut ShownSession, replace: Replace) {
    if !replace.sdp_version && !replace.force_increment_version {
        return;
    }
    let given: u64 = description.session.origin.version.parse().unwrap_or(1);
    description.session.origin.version.clear();
    let mut hasher = DefaultHasher::new();
    write::write(description).hash(&mut hasher);
    let digest = hasher.finish();
    let version = match shown.version {
        None => given,
        Some((last, same)) if same == digest && !replace.force_increment_version => last,
        Some((last, _)) => last.wrapping_add(1),
    };
    shown.version = Some((version, digest));
    description.session.origin.version = version.to_string();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_grow_with_changes_only() {
        let (mut shown, counted) = (ShownSession::default(), Replace { sdp_version: true, ..Replace::default() });
        let mut show = |given: &str, name: &str, replace: Replace| {
            let mut description = SessionDescription::default();
            description.session.origin.version = given.to_owned();
            description.session.name = name.to_owned();
            number(&mut description, &mut shown, replace);
            description.session.origin.version
        };
        assert_eq!(show("7", "a", counted), "7");
        assert_eq!(show("9", "a", counted), "7");
        assert_eq!(show("9", "b", counted), "8");
        assert_eq!(show("3", "b", Replace { force_increment_version: true, ..counted }), "9");
        assert_eq!(show("3", "b", Replace::default()), "3");
    }
}
