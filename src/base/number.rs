//! Numbers with few decimals, kept as whole numbers of their smallest.

/// The next whole number, so that little is not nothing. What is whole but for the noise of binary fractions stays.
pub fn rounded_up(number: f64) -> i64 {
    (number - 1e-6).ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::rounded_up;

    #[test]
    fn noise_is_not_rounded_up() {
        for hundredths in 0..10_000 {
            assert_eq!(rounded_up(f64::from(hundredths) / 100.0 * 100.0), i64::from(hundredths));
        }
        assert_eq!((rounded_up(3.49 * 100.0), rounded_up(0.001), rounded_up(0.0)), (349, 1, 0));
    }
}
