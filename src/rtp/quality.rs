//! What RTCP tells about a source.

/// What RTCP has told about one source.
#[derive(Debug, Clone, Default)]
pub struct Quality {}
