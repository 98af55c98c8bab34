//! Errors as texts.

use std::error::Error;

/// An error's text with those of all its causes, which its own leaves out.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn the_cause_follows_the_error() {
        let cause = "x".parse::<u8>().unwrap_err();
        assert_eq!(with_causes(&Outer(cause)), "outer: invalid digit found in string");
    }
}
