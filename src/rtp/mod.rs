//! Floor 3: what RTP streams tell about themselves (RFC 3550).

pub mod clock;
pub mod history;
pub mod loan;
pub mod missing;
pub mod mos;
pub mod outgoing;
pub mod picture;
pub mod quality;
pub mod source;
pub mod transport_feedback;

pub use history::History;
pub use loan::{Loan, Sent};
pub use missing::Missing;
pub use outgoing::Outgoing;
pub use quality::Quality;
pub use source::Source;
