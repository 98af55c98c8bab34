//! The whole engine in virtual time: made-up ports and numbers, a network that loses, doubles and displaces datagrams,
//! NATs, and phones that read descriptions and talk. Everything is seeded: a run is the same every time.

mod description;
mod fast_path;
mod network;
mod phone;
pub mod secure_phone;
mod stage;
mod surroundings;
mod world;

pub use description::{Line, lines};
pub use fast_path::{FakeKernel, Fate};
pub use network::{Conditions, Network};
pub use phone::{Leg, Phone};
pub use stage::{Stage, Talk, assert_hears};
pub use surroundings::FakePorts;
pub use world::{Datagram, World};
