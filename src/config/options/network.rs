//! Interfaces, media ports, the fast path.

use crate::base::learning::Learning;
use crate::config::interface::InterfaceEntry;
use crate::config::table::{OptionRow, Value, choice, list, number, switch, text};
use crate::config::{DEFAULT_PIN, FastPathUse, MediaSockets};

const ANY: (i64, i64) = (i64::MIN, i64::MAX);
const NO_CHAINS: &str = "firewall rules are only needed by rtpengine's kernel module";
const NO_KERNEL: &str = "there is no kernel module; XDP programs forward, see `fastpath`";

pub(super) static INTERFACES: &[OptionRow] = &[
    list(
        "interface",
        "[NAME/]ADDRESS[!ADVERTISED]",
        "A local address for media: an IP address, a device, a host name or `any`; or `ALIAS=NAME`.",
    )
    .short('i')
    .set(|c, v| {
        for entry in v.list() {
            c.interfaces.push(InterfaceEntry::parse(entry)?);
        }
        Ok(())
    }),
    text("interfaces-config", "PREFIX", "", "Sections `PREFIX-NAME` of the configuration file are interfaces.").set(
        |c, v| {
            c.process.interfaces_prefix = Some(v.text().to_owned());
            Ok(())
        },
    ),
    switch("save-interface-ports", "Bind only to the first usable address of a family.")
        .short('S')
        .warned("every address of an interface is used")
        .set(|c, v| {
            c.media.save_interface_ports = v.switch();
            Ok(())
        }),
];

pub(super) static MEDIA: &[OptionRow] = &[
    number("port-min", (1, 65535), "", "30000", "The lowest port for media.").short('m').set(|c, v| {
        c.media.port_min = port(v);
        Ok(())
    }),
    number("port-max", (1, 65535), "", "39999", "The highest port for media.").short('M').set(|c, v| {
        c.media.port_max = port(v);
        Ok(())
    }),
    choice(
        "media-sockets",
        &["auto", "shared", "each"],
        "auto",
        "One socket for all media ports: where the system allows it and hands none of the ports to others; wherever it allows it; a socket for each port.",
    )
    .set(|c, v| {
        c.media.sockets = match v.text() {
            "shared" => MediaSockets::Shared,
            "each" => MediaSockets::Each,
            _ => MediaSockets::Auto,
        };
        Ok(())
    }),
    number("tos", (0, 255), "", "0", "Type of service of media; 0 leaves it alone.").short('T').set(|c, v| {
        c.media.tos = octet(v);
        Ok(())
    }),
    choice("endpoint-learning", &["delayed", "immediate", "off", "heuristic"], "heuristic", "How remote addresses are learned.").set(|c, v| {
        c.media.learning = Learning::from_name(v.text()).unwrap_or_default();
        Ok(())
    }),
    switch("sip-source", "Do not trust the addresses in SDP.").set(|c, v| {
        c.media.sip_source = v.switch();
        Ok(())
    }),
    switch("reject-invalid-sdp", "Refuse SDP that rtpengine otherwise repairs.").warned("what harms nobody is repaired").set(|c, v| {
        c.media.reject_invalid_sdp = v.switch();
        Ok(())
    }),
    text("iptables-chain", "CHAIN", "", "A chain that gets a rule for each open port.")
        .refused("firewall rules are not managed, and a firewall that waits for them would drop all media; open the port range instead"),
];

pub(super) static FAST_PATH: &[OptionRow] = &[
    choice(
        "fastpath",
        &["auto", "xdp", "tc", "af-xdp", "off"],
        "auto",
        "Forward RTP in the kernel: by XDP programs, by TC where devices don't do with these, and in userspace where the system does not allow it; by XDP alone, or by TC alone, with a warning where it does not; in the daemon, which gets all packets past the network stack; never, and not so.",
    )
    .set(|c, v| {
        c.fast_path.use_of = match v.text() {
            "xdp" => FastPathUse::Xdp,
            "tc" => FastPathUse::Tc,
            "af-xdp" => FastPathUse::AfXdp,
            "off" => FastPathUse::Off,
            _ => FastPathUse::Auto,
        };
        Ok(())
    }),
    number("fastpath-flows", (1024, 262_144), "streams", "65536", "How many streams XDP programs can forward at once.")
        .set(|c, v| {
            c.fast_path.flows = u32::try_from(v.number()).unwrap_or(u32::MAX);
            Ok(())
        }),
    choice(
        "fastpath-af-xdp",
        &["on", "off"],
        "on",
        "Whether the daemon gets what it forwards itself, and sends it, past the host's network stack, by AF_XDP.",
    )
    .set(|c, v| {
        c.fast_path.lifts = v.text() == "on";
        Ok(())
    }),
    choice(
        "fastpath-srtp",
        &["on", "off"],
        "on",
        "Whether XDP programs open and protect SRTP, for which they get its keys. Their AES is not constant-time: see protocol-docs/fastpath.md.",
    )
    .set(|c, v| {
        c.fast_path.opens_srtp = v.text() == "on";
        Ok(())
    }),
    text(
        "fastpath-pin",
        "DIRECTORY|off",
        DEFAULT_PIN,
        "Where in a bpffs the daemon has a directory of its own, for what goes on forwarding when the daemon dies; `off`: nothing does.",
    )
    .set(|c, v| {
        c.fast_path.pin = match v.text() {
            "off" => None,
            path if path.starts_with('/') => Some(path.to_owned()),
            path => return Err(format!("`{path}` is neither `off` nor an absolute path")),
        };
        Ok(())
    }),
    choice(
        "fastpath-restart",
        &["keep", "flush"],
        "keep",
        "What a daemon that died has left in the kernel goes on until it is silent; or it is removed.",
    )
    .set(|c, v| {
        c.fast_path.keeps_left = v.text() == "keep";
        Ok(())
    }),
    number("table", ANY, "", "", "The table of rtpengine's kernel module; a negative one is `fastpath = off`.")
        .short('t')
        .set(|c, v| {
            if v.number() < 0 && c.fast_path.use_of == FastPathUse::Auto {
                c.fast_path.use_of = FastPathUse::Off;
            }
            Ok(())
        }),
    switch("no-fallback", "Do not start without the fast path.").short('F').set(|c, v| {
        c.fast_path.is_required = v.switch();
        Ok(())
    }),
    text("nftables-chain", "CHAIN", "(rtpengine and the table)", "The chain of the kernel module's rule.")
        .warned(NO_CHAINS),
    text("nftables-base-chain", "CHAIN", "INPUT", "The chain that jumps to it.").warned(NO_CHAINS),
    switch("nftables-append", "Append the rule instead of prepending it.").warned(NO_CHAINS),
    choice("nftables-family", &["ip", "ip6", "ip,ip6", "inet"], "ip,ip6", "The address families of the rule.")
        .warned(NO_CHAINS),
    switch("xtables", "Write the rule for iptables.").warned(NO_CHAINS),
    switch("nftables-start", "Write the rule and exit.").refused(NO_CHAINS),
    switch("nftables-stop", "Remove the rule and exit.").refused(NO_CHAINS),
    switch("nftables-status", "Tell whether the rule is there and exit.").refused(NO_CHAINS),
    number("kernel-slots", ANY, "slots", "", "Buffers of the kernel module.").warned(NO_KERNEL),
    number("kernel-num-threads", ANY, "threads", "", "Threads of the kernel module.").warned(NO_KERNEL),
    number("kernel-player", ANY, "streams", "0", "Streams that the kernel module plays.").warned(NO_KERNEL),
    number("kernel-player-media", ANY, "files", "128", "Files that the kernel module keeps.").warned(NO_KERNEL),
];

pub(super) fn octet(value: &Value) -> Option<u8> {
    u8::try_from(value.number()).ok().filter(|&octet| octet > 0)
}

fn port(value: &Value) -> u16 {
    u16::try_from(value.number()).unwrap_or(u16::MAX)
}
