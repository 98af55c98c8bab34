//! Millrace: a media proxy for SIP and WebRTC.
//!
//! The library is built in floors. Imports go down only, and folders of one floor never import each other;
//! `testsuite/tests/floors.rs` reads the list below and fails on an import that goes up or sideways.
//! `protocol-docs/architecture.md` says what each floor is for and how a packet and a command travel.

// floor 0
pub mod base;

// floor 1
pub mod wire;

// floor 2
pub mod config;
pub mod ng;
pub mod sdp;

// floor 3
pub mod dtls;
pub mod ice;
pub mod rtp;
pub mod srtp;

// floor 4
pub mod call;

// floor 5
pub mod negotiate;
pub mod plan;

// floor 6
pub mod fastpath;
pub mod relay;

// floor 7
pub mod observe;

// floor 8
pub mod engine;
pub mod io;

// floor 9
pub mod control;

// floor 10
pub mod ctl;
pub mod daemon;
