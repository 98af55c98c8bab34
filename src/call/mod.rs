//! Floor 4: the call model, a graph of who hears whom.
//!
//! A [`Call`] owns participants, each participant owns medias in the order of its `m=` lines, and subscriptions join
//! medias, one to n. Everything lives in slabs of the call and is joined by index. The model knows nothing of packets:
//! `plan` compiles it for the packet path.

pub mod connectivity;
mod graph;
pub mod interface;
pub mod layer;
pub mod lifecycle;
pub mod media;
pub mod participant;
pub mod port_pool;
pub mod ports;
pub mod security;
pub mod subscription;

pub use connectivity::Connectivity;
pub use graph::Call;
pub use interface::{InterfaceId, Interfaces};
pub use media::{Media, MediaId};
pub use participant::{Participant, ParticipantId};
pub use ports::{LocalPort, MediaPorts, PortNumbers, PortSet, PortSource, PortsExhausted};
pub use security::Security;
pub use subscription::{Subscription, SubscriptionKind};
