//! Floor 9: control protocols; bytes to requests, replies to bytes.
