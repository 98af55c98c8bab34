//! Floor 2: session descriptions (RFC 8866), kept line by line.
