//! Floor 1: bytes to values and back.

pub mod bencode;
pub mod json;
pub mod value;
