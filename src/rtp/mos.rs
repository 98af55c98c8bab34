//! Mean opinion scores from what RTCP reports: the simplified E-model.

/// How a score is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// Conversational quality: delay counts, so that both round-trip times must be known.
    #[default]
    Conversational,
    /// Listening quality: delay does not count.
    Listening,
}

/// What one reception report told of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Ten times the score, 10 to 50; 0 when it can't be told.
    pub mos_tenths: u16,
    /// From end to end, in microseconds; 0 while one of the two legs is unknown.
    pub round_trip_us: u32,
    /// Between this daemon and the reporter, in microseconds.
    pub round_trip_leg_us: u32,
    pub jitter_ms: u32,
    pub loss_percent: u8,
}
