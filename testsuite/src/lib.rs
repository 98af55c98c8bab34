//! What the tools of the test suite share: clients, endpoints, daemons under test, network namespaces.

pub mod chromium;
pub mod conversation;
pub mod daemon;
pub mod endpoint;
pub mod histogram;
pub mod kernel;
pub mod netns;
pub mod ng;
pub mod peer;
pub mod ports;
pub mod scratch;
pub mod sdp;
pub mod simulation;
pub mod srtp;
pub mod system;
pub mod talker;
pub mod tone;
