//! Floor 8: control protocols; bytes to requests, replies to bytes.
