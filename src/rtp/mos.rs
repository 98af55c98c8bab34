//! Mean opinion scores from what RTCP reports: the E-model of ITU-T G.107, simplified.
//!
//! R = 93.2 - Id - Ie,eff with every other parameter at its default. Id is the approximation of Cole and Rosenbluth,
//! "Voice over IP performance monitoring" (2001): 0.024 d + 0.11 (d - 177.3) above 177.3 ms. Ie,eff follows G.107,
//! section 3.5, for random loss. The codec's own impairment is taken as none and its robustness Bpl as 10, which is
//! between the values of ITU-T G.113, appendix I, for G.711 without (4.3) and with concealment (25.1).

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

/// R without delay and loss.
const R_DEFAULT: f64 = 93.2;
/// Robustness against random loss.
const BPL: f64 = 10.0;
/// Packetisation and playout at the two ends.
const END_SYSTEMS_MS: f64 = 40.0;

/// Ten times the mean opinion score, rounded down. The round-trip time is from end to end.
pub fn score_tenths(kind: Kind, round_trip_us: u32, jitter_ms: u32, loss_percent: f64) -> u16 {
    let delay = match kind {
        Kind::Listening => 0.0,
        Kind::Conversational => f64::from(round_trip_us) / 2000.0 + 2.0 * f64::from(jitter_ms) + END_SYSTEMS_MS,
    };
    let delay_impairment = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let loss_impairment = 95.0 * loss_percent / (loss_percent + BPL);
    (mos_of(R_DEFAULT - delay_impairment - loss_impairment) * 10.0) as u16
}

/// G.107, annex B.
fn mos_of(r: f64) -> f64 {
    match r {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_known_reports() {
        use Kind::{Conversational, Listening};
        for (kind, round_trip_us, jitter_ms, loss, expected) in [
            (Conversational, 352, 0, 0.0, 43),
            (Conversational, 40_526, 0, 0.0, 43),
            (Conversational, 480, 1, 1.0, 41),
            (Conversational, 40_908, 1, 1.0, 41),
            (Conversational, 600_000, 0, 0.0, 34),
            (Conversational, 0, 0, 100.0, 10),
            (Conversational, u32::MAX, u32::MAX, 100.0, 10),
            (Listening, 0, 0, 0.0, 44),
            (Listening, 4_000_000, 200, 0.0, 44),
            (Listening, 0, 0, 10.0, 23),
        ] {
            assert_eq!(
                score_tenths(kind, round_trip_us, jitter_ms, loss),
                expected,
                "{round_trip_us} {jitter_ms} {loss}"
            );
        }
    }

    #[test]
    fn more_loss_or_delay_never_raises_the_score() {
        let score = |delay, loss| score_tenths(Kind::Conversational, delay, 0, f64::from(loss));
        for delay in (0..2_000_000).step_by(50_000) {
            for loss in 0..100 {
                assert!(score(delay, loss) >= score(delay, loss + 1));
                assert!(score(delay, loss) >= score(delay + 50_000, loss));
                assert!((10..=45).contains(&score(delay, loss)));
            }
        }
    }
}
