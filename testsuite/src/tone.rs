//! Pure tones as test signals, and G.711 mu-law that carries them (ITU-T G.711).

use std::f64::consts::TAU;

/// Samples of a G.711 frame of 20 ms.
pub const FRAME_SAMPLES: usize = 160;
const RATE_HZ: f64 = 8000.0;

/// Frame `index` of a tone, in mu-law. Frames join without a jump where `hz` is a multiple of 50.
pub fn frame(hz: f64, index: usize) -> Vec<u8> {
    let first = index * FRAME_SAMPLES;
    let sample = |at: usize| ((at as f64 * hz * TAU / RATE_HZ).sin() * 8000.0) as i16;
    (first..first + FRAME_SAMPLES).map(|at| to_mu_law(sample(at))).collect()
}

/// The part of the samples' energy that is within some Hz of `hz`, from 0 to 1 (the Goertzel algorithm). Silence has
/// none.
pub fn share(samples: &[i16], rate_hz: f64, hz: f64) -> f64 {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let coefficient = 2.0 * (TAU * hz / rate_hz).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        (last, before) = (f64::from(*sample) + coefficient * last - before, last);
    }
    let power = last * last + before * before - coefficient * last * before;
    // A pure tone of n samples and amplitude a has the energy n a^2 / 2 and the power (n a / 2)^2.
    if energy > 0.0 { power * 2.0 / (energy * samples.len() as f64) } else { 0.0 }
}

/// Encodes a sample of 16 bits.
pub fn to_mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let exponent = 24 - magnitude.leading_zeros() as i32;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) | mantissa) as u8
}

/// Decodes to a sample of 16 bits.
pub fn from_mu_law(byte: u8) -> i16 {
    let bits = !byte;
    let magnitude = ((i32::from(bits & 0x0f) * 2 + 33) << (bits >> 4 & 7)) * 4 - 132;
    (if bits & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of ITU-T G.711, table 2b, scaled from 14 to 16 bits.
    #[test]
    fn mu_law() {
        assert_eq!(to_mu_law(0), 0xff);
        assert_eq!(to_mu_law(i16::MAX), 0x80);
        assert_eq!(to_mu_law(i16::MIN), 0x00);
        assert_eq!(from_mu_law(0x80), 32_124);
        assert_eq!(from_mu_law(0x00), -32_124);
        for byte in 0..=255 {
            assert_eq!(from_mu_law(to_mu_law(from_mu_law(byte))), from_mu_law(byte), "{byte:#x}");
        }
    }

    #[test]
    fn a_tone_is_found_at_its_frequency_alone() {
        let samples: Vec<i16> = (3..8).flat_map(|index| frame(450.0, index)).map(from_mu_law).collect();
        assert!(share(&samples, RATE_HZ, 450.0) > 0.99);
        assert!(share(&samples, RATE_HZ, 1000.0) < 0.01);
        assert_eq!(share(&[0; 800], RATE_HZ, 450.0), 0.0);
        assert_eq!(share(&[], RATE_HZ, 450.0), 0.0);
    }

    #[test]
    fn of_two_tones_each_has_its_half() {
        let [one, other] = [450.0, 1000.0].map(|hz| (0..8).flat_map(|at| frame(hz, at)).map(from_mu_law).collect());
        let (one, other): (Vec<i16>, Vec<i16>) = (one, other);
        let both: Vec<i16> = one.iter().zip(&other).map(|(one, other)| one + other).collect();
        assert!((share(&both, RATE_HZ, 450.0) - 0.5).abs() < 0.02);
    }
}
