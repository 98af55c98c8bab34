//! Floor 3: what RTP streams tell about themselves (RFC 3550).
