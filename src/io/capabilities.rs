//! What this process may do without being root (capabilities(7)), by name.

/// One capability, and the one that contains it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capability {
    name: &'static str,
    number: u32,
    within: Option<u32>,
}

const SYS_ADMIN: u32 = 21;

pub(super) const BPF: Capability = Capability { name: "CAP_BPF", number: 39, within: Some(SYS_ADMIN) };
pub(super) const IPC_LOCK: Capability = Capability { name: "CAP_IPC_LOCK", number: 14, within: None };
pub(super) const NET_ADMIN: Capability = Capability { name: "CAP_NET_ADMIN", number: 12, within: None };
pub(super) const NET_RAW: Capability = Capability { name: "CAP_NET_RAW", number: 13, within: None };
pub(super) const PERFMON: Capability = Capability { name: "CAP_PERFMON", number: 38, within: Some(SYS_ADMIN) };

/// Those of `needed` that the calling thread does not have.
pub(super) fn missing(needed: &[Capability]) -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    missing_of(needed, digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0))
}

fn missing_of(needed: &[Capability], effective: u64) -> Vec<&'static str> {
    let has = |number: u32| effective >> number & 1 == 1;
    let missing = needed.iter().filter(|one| !has(one.number) && !one.within.is_some_and(has));
    missing.map(|one| one.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_ones_are_named() {
        let needed = [BPF, NET_ADMIN, NET_RAW];
        assert_eq!(missing_of(&needed, 0), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert_eq!(missing_of(&needed, 1 << 39 | 1 << 12), ["CAP_NET_RAW"]);
        assert_eq!(missing_of(&needed, 1 << 21 | 1 << 13), ["CAP_NET_ADMIN"], "CAP_SYS_ADMIN contains CAP_BPF");
        assert_eq!(missing_of(&[PERFMON, NET_ADMIN], 1 << 39 | 1 << 12), ["CAP_PERFMON"]);
        assert_eq!(missing_of(&needed, u64::MAX), [""; 0]);
    }
}
