//! What the program in the kernel did with packets, as it counts them.

macro_rules! verdicts {
    ($($(#[$doc:meta])* $variant:ident, $name:literal;)*) => {
        /// The end of a packet in the kernel, in the order of `enum verdict` of `ebpf/layout.h`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Verdict {
            $($(#[$doc])* $variant,)*
        }

        impl Verdict {
            /// Every verdict, in the order of the counters.
            pub const ALL: &'static [Verdict] = &[$(Verdict::$variant,)*];

            /// The stable name under which it is counted.
            pub fn name(self) -> &'static str {
                match self {
                    $(Verdict::$variant => $name,)*
                }
            }
        }
    };
}

verdicts! {
    /// Sent on.
    Forwarded, "forwarded";
    /// Dropped: nobody is to hear it.
    Blocked, "blocked";
    /// Dropped: the source is not the one that was learned, and the source is checked.
    WrongSource, "wrong_source";
    /// Left to the daemon, or the host: the port has no entry.
    NoFlow, "passed_no_flow";
    /// Left to the daemon: the source is not the one that was learned.
    OtherSource, "passed_other_source";
    /// Left to the daemon, or the host: no UDP, IP options, a fragment, an IPv6 extension header.
    NotPlainUdp, "passed_not_plain_udp";
    /// Left to the daemon: STUN, DTLS, RTCP, or too short.
    NotRtp, "passed_not_rtp";
    /// Left to the daemon: the payload type is not in the entry.
    PayloadType, "passed_payload_type";
    /// Left to the daemon: another SSRC.
    Ssrc, "passed_ssrc";
    /// Left to the daemon: a sequence number far from the last.
    Jump, "passed_jump";
    /// Left to the daemon: the way to the receiver is not known.
    NoNeighbour, "passed_no_neighbour";
    /// Left to the daemon: too long for the way on.
    TooLong, "passed_too_long";
    /// Left to the daemon: no checksum over IPv4, where IPv6 needs one.
    NoChecksum, "passed_no_checksum";
    /// Left to the daemon: no room for the new headers.
    NoRoom, "passed_no_room";
    /// Dropped: the tag of SRTP is not the one that the key makes.
    WrongTag, "wrong_tag";
    /// Dropped: SRTP that came before, or so late that it may have, or whose index has been used towards the receiver.
    Replayed, "replayed";
    /// Left to the daemon: SRTP whose keys have just been taken away.
    NoKeys, "passed_no_keys";
    /// Left to the daemon: too short for its header or its tag.
    Malformed, "passed_malformed";
    /// Left to the daemon: the key has protected as much as it may.
    KeyExpired, "passed_key_expired";
    /// Left to the daemon: a header extension, or contributing sources, where a header extension is to be put.
    Extension, "passed_extension";
    /// Dropped, one copy of several: its receiver was just taken away, or has moved to another interface.
    LostCopy, "lost_copy";
    /// Left to the classifier, behind the driver.
    ToTc, "passed_to_tc";
    /// Given to the daemon past the host's network stack, by AF_XDP.
    Lifted, "lifted";
    /// Left to the daemon: no AF_XDP socket takes frames of this interface and queue, or so long ones.
    NoLine, "passed_no_line";
}
