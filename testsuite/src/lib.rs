//! Shared pieces of the test suite.
pub mod golden;
