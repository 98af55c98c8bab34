//! How a remote media address is learned (RFC 7362, RFC 4961).

/// The four modes of endpoint learning, as the configuration and `endpoint-learning` name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Learning {
    /// The signalled address is final.
    Off,
    /// The first packet decides.
    Immediate,
    /// The first packet after the learning window decides.
    Delayed,
    /// The best candidate of the learning window decides.
    #[default]
    Heuristic,
}

impl Learning {
    /// Reads `off`, `immediate`, `delayed` or `heuristic`, in any case.
    pub fn from_name(name: &str) -> Option<Learning> {
        let modes = [Learning::Off, Learning::Immediate, Learning::Delayed, Learning::Heuristic];
        modes.into_iter().find(|mode| mode.name().eq_ignore_ascii_case(name))
    }

    /// The name in configuration and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Learning::Off => "off",
            Learning::Immediate => "immediate",
            Learning::Delayed => "delayed",
            Learning::Heuristic => "heuristic",
        }
    }
}
