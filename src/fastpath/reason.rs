//! Why a stream's RTP stays in userspace.

use crate::base::recheck::Recheck;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $recheck:ident;)*) => {
        /// Why a stream's RTP can't be forwarded below the daemon.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The stable name under which it is shown.
            pub fn name(self) -> &'static str {
                match self {
                    $(Reason::$variant => $name,)*
                }
            }

            /// When it is worth a look again.
            pub fn recheck(self) -> Recheck {
                match self {
                    $(Reason::$variant => Recheck::$recheck,)*
                }
            }
        }
    };
}

impl Reason {
    /// Whether the daemon is to get the packets past the network stack: it forwards them for longer, and the peer is one
    /// that a device leads to.
    pub fn lifts(self) -> bool {
        match self {
            Reason::NotRtp | Reason::SharedPort | Reason::NoKeys | Reason::NoReceiver | Reason::NotRouted => false,
            Reason::SourceUnknown | Reason::DestinationUnknown | Reason::NoPackets | Reason::WayUnknown => false,
            Reason::Strays => false,
            Reason::Bundle | Reason::Feedback | Reason::Encrypted | Reason::Suite | Reason::LargeSrtp => true,
            Reason::ManyReceivers
            | Reason::Rewritten
            | Reason::Silenced
            | Reason::Digits
            | Reason::SeveralPorts
            | Reason::DeviceSendsNone => true,
            Reason::TcEncrypted | Reason::TcFamily | Reason::TcRewritten | Reason::TcVlan => true,
            Reason::Loopback => true,
            Reason::Captured | Reason::NotForwarded | Reason::TableFull => true,
        }
    }
}

reasons! {
    /// The port carries no RTP.
    NotRtp, "not_rtp", Never;
    /// Several medias share the port.
    Bundle, "bundle", Never;
    /// The sender is told of its packets, or they are kept for receivers.
    Feedback, "feedback", Never;
    /// SRTP on one of the sides, whose keys are not to be in the kernel.
    Encrypted, "encrypted", Never;
    /// SRTP with a cipher, or a session parameter, that the program does not do.
    Suite, "srtp_suite", Never;
    /// SRTP whose keys are not known yet.
    NoKeys, "no_keys", Soon;
    /// SRTP whose packets are so long that AES in the processor's own instructions makes up for the way through the
    /// daemon.
    LargeSrtp, "large_srtp", Less;
    /// More receivers than a device takes copies for at once, or the kernel refuses the program that makes copies.
    ManyReceivers, "many_receivers", Never;
    /// Nobody receives.
    NoReceiver, "no_receiver", Never;
    /// Packets are changed on the way.
    Rewritten, "rewritten", Never;
    /// Some receiver gets silence in place of media, and the program that would put it there, that for SRTP, is not loaded.
    Silenced, "silenced", Never;
    /// SRTP whose digits somebody is told of: packets of the same SSRC can't be opened at two places.
    Digits, "digits", Never;
    /// The stream has or had several ports.
    SeveralPorts, "several_ports", Never;
    /// Both sides of a call have one port, and there is more to do than to forward plain RTP.
    SharedPort, "shared_port", Never;
    /// One of the addresses is of a link only, or none at all.
    NotRouted, "not_routed", Never;
    /// The sender's address is not final.
    SourceUnknown, "source_unknown", Soon;
    /// The receiver's address is not known, or it has to send first.
    DestinationUnknown, "destination_unknown", Soon;
    /// No packet has come yet that tells an SSRC, or none has been sent to some receiver.
    NoPackets, "no_packets", Soon;
    /// The way to the receiver is not known.
    WayUnknown, "way_unknown", Less;
    /// The device on the way to the receiver sends no frames of XDP programs.
    DeviceSendsNone, "device_sends_none", Less;
    /// SRTP, where only the classifier (TC) could forward, which does none.
    TcEncrypted, "tc_encrypted", Less;
    /// From IPv4 to IPv6 or back, where only the classifier (TC) could forward, which leaves headers as long as they are.
    TcFamily, "tc_family", Less;
    /// Several receivers, or numbers of a receiver's own, where only the classifier (TC) could forward, which changes no RTP.
    TcRewritten, "tc_rewritten", Less;
    /// From or to a VLAN, where only the classifier (TC) could forward, which leaves tags alone.
    TcVlan, "tc_vlan", Less;
    /// To a receiver on this host from elsewhere, or from a sender on this host where the loopback device has no program.
    Loopback, "loopback", Less;
    /// Somebody captures it, and no program of the kernel copies its frames: there is none, or there are several receivers.
    Captured, "captured", Never;
    /// Packets came to the daemon that an entry should have taken: the stream stays for a while.
    Strays, "strays", Later;
    /// Entries are not wanted: all packets are to go to the daemon, past the network stack.
    NotForwarded, "not_forwarded", Never;
    /// The maps have no room left, or did not take the entry.
    TableFull, "table_full", Less;
}
