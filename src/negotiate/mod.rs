//! Floor 5: offer/answer (RFC 3264) as functions on the call model.
//!
//! A message is worked off in the same steps whatever the command: find the parties (`parties`), take in the
//! description (`receive`), prepare the other side (`exchange`: codecs, rtcp-mux, ports), show it a description
//! (`show`). `publish` and `subscribe` use the same steps with another order of sides.

pub mod bundle;
pub mod codecs;
pub mod connect;
pub mod create;
pub mod exchange;
pub mod fragment;
pub mod ice;
pub mod inject;
pub mod keying;
pub mod legacy;
pub mod local_ports;
pub mod manipulate;
pub mod mesh;
pub mod origin;
pub mod parties;
pub mod publish;
pub mod receive;
pub mod rtcp_mux;
pub mod select;
pub mod show;
mod simulcast;
pub mod subscribe;

use crate::base::fingerprint::Fingerprint;
use crate::base::learning::Learning;
use crate::base::random::Random;
use crate::base::time::Now;
use crate::call::{Interfaces, MediaPorts, PortsExhausted};
use crate::sdp::ParseError;

/// What negotiation needs besides the call and the request.
pub struct Surroundings<'a> {
    pub interfaces: &'a Interfaces,
    pub ports: &'a mut dyn MediaPorts,
    pub random: &'a mut dyn Random,
    pub now: Now,
    /// How addresses are learned where a request says nothing of it.
    pub learning: Learning,
    /// Names this daemon in `a=rtpengine` (`loop protect`).
    pub instance_id: &'a str,
    /// Digests of this daemon's certificate, by every hash function.
    pub fingerprints: &'a [Fingerprint],
    /// The `s=` of descriptions that are made here.
    pub software: &'a str,
}

/// Why an exchange fails. The text is what clients compare with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("Failed to parse SDP")]
    MalformedSdp(ParseError),
    #[error("Incomplete SDP specification")]
    IncompleteSdp,
    #[error("Error rewriting SDP")]
    NothingToShow,
    #[error("Failed to create SDP")]
    NothingToCreate,
    #[error("Ran out of ports")]
    NoPorts(PortsExhausted),
    #[error("Invalid dialogue association")]
    InvalidDialogue,
    #[error("To-tag not found")]
    NoSuchToTag,
    #[error("From-tag given, but no such tag exists")]
    NoSuchFromTag,
    #[error("No monologue matching the given label")]
    NoSuchLabel,
    #[error("Failed to parse network address")]
    MalformedAddress,
    #[error("Failed to match address to any tag")]
    NoSuchAddress,
    #[error("No medias found (no monologues matched)")]
    NoMedias,
    #[error("Failed to process subscription answer")]
    UnusableAnswer,
    #[error("Media flow not found (to-tag not found)")]
    NoSuchFlowTag,
    #[error("Media flow not found (to-label not found)")]
    NoSuchFlowLabel,
    #[error("Media flow not found (to-tag not subscribed)")]
    NotSubscribed,
    #[error("No eligible media subscriptions found")]
    NoFlows,
    #[error("Several parties are connected with the flag `directional` only")]
    SeveralSources,
    #[error("Source-tag not found")]
    NoSuchSourceTag,
    #[error("Trying to inject to self")]
    InjectionToSelf,
    #[error("Nothing is injected")]
    NothingInjected,
    #[error("The party hears somebody else, and mixing is not supported yet")]
    NeedsMixing,
    #[error("The parties have no codec in common, and transcoding is not supported yet")]
    NoCommonCodec,
    #[error("No source has a layer of that name")]
    NoSuchLayer,
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Failure {
        Failure::MalformedSdp(error)
    }
}

impl From<PortsExhausted> for Failure {
    fn from(error: PortsExhausted) -> Failure {
        Failure::NoPorts(error)
    }
}
