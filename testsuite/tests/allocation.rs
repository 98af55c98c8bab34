//! Relaying does not allocate: after the first packets of its sources, a stream's packets touch no allocator.

use millrace::base::suite::Suite;
use millrace::base::time::{Mono, Now, Unix};
use millrace::plan::{
    Bandwidth, Choice, Component, Feedback, ForwardingPlan, Ingress, Keys, Layer, Learning, PayloadType, Place, Repair,
    Rewrite, Rid, Security, Simulcast, Sink, StreamId,
};
use millrace::relay::{PortToken, Relay, Transmit, Verdict};
use millrace::rtp::mos;
use millrace::rtp::picture::Format;
use millrace::srtp::{MasterKey, Parameters, Protector};
use millrace::wire::rtcp::{ReceptionReport, SenderInfo, Writer};
use millrace::wire::rtp::Header;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator unchanged; counting touches a thread-local number only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and everything comes from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`, and everything comes from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

/// Counts what is sent, and keeps nothing.
#[derive(Default)]
struct Wire(u64);

impl Transmit for Wire {
    fn send(&mut self, _: PortToken, _: SocketAddr, _: &[u8]) {
        self.0 += 1;
    }
}

const LISTENERS: u32 = 10;

fn peer(stream: u32) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 6000 + stream as u16))
}

fn plan(stream: u32, sinks: &[u32]) -> ForwardingPlan {
    let sinks = || sinks.iter().map(|&sink| Sink::plain(StreamId(sink)));
    let ingress = Ingress {
        learning: Learning::Heuristic,
        signalled: Some(peer(stream)),
        signalled_at: Mono(0),
        filled: true,
        strict_source: false,
        fixed_address: false,
        media_handover: false,
        asymmetric: false,
        wait_for_peer: false,
        pierce_nat: false,
        payload_types: [(8, false), (101, true)]
            .map(|(number, is_dtmf)| PayloadType { number, clock_rate_hz: 8000, is_dtmf, silence: None })
            .into_iter()
            .collect(),
    };
    ForwardingPlan {
        media: sinks().collect(),
        control: sinks().collect(),
        sources: Some(StreamId(stream)),
        ..ForwardingPlan::new(Component::Muxed, ingress)
    }
}

/// One speaker, stream 0, with listeners who answer it.
fn relay() -> Relay {
    let mut relay = Relay::new(mos::Kind::Conversational, [0; 32]);
    let now = Now::default();
    let listeners: Vec<u32> = (1..=LISTENERS).collect();
    for stream in 0..=LISTENERS {
        let local = SocketAddr::from(([203, 0, 113, 1], 30_000 + stream as u16));
        assert_eq!(relay.add(now, PortToken(stream), local, 1), StreamId(stream));
    }
    for stream in 0..=LISTENERS {
        let sinks = if stream == 0 { &listeners[..] } else { &[0] };
        relay.set_plan(now, StreamId(stream), plan(stream, sinks));
    }
    relay
}

fn moment(number: u64) -> Now {
    Now { mono: Mono(number * 20_000_000), unix: Unix(number * 20_000) }
}

/// One moment of the call: RTP of one SSRC both ways, an event now and then, a stray, an unknown port, and RTCP.
fn exchange(relay: &mut Relay, wire: &mut Wire, number: u64, buffer: &mut Vec<u8>, rtcp: &mut [Vec<u8>]) {
    let now = moment(number);
    for stream in [0, 1] {
        let payload_type = if number % 50 > 40 { 101 } else { 8 };
        buffer.truncate(12);
        buffer[1] = payload_type;
        buffer[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        buffer[8..12].copy_from_slice(&(stream + 7u32).to_be_bytes());
        buffer.resize(172, 0xd5);
        // Some are lost, some come twice.
        for _ in 0..[1, 1, 1, 2, 0][(number % 5) as usize] {
            let verdict = relay.datagram(now, PortToken(stream), peer(stream), buffer, wire);
            assert_eq!(verdict, Verdict::Forwarded);
        }
        let report = &mut rtcp[stream as usize];
        assert_eq!(relay.datagram(now, PortToken(stream), peer(stream), report, wire), Verdict::Forwarded);
    }
    let stranger = SocketAddr::from(([192, 0, 2, 66], 1));
    relay.datagram(now, PortToken(0), stranger, &mut [0x80, 8], wire);
    relay.datagram(now, PortToken(999), stranger, buffer, wire);
    relay.timer(now, wire);
}

#[test]
fn packets_after_the_first_of_an_ssrc_allocate_nothing() {
    let mut relay = relay();
    let mut wire = Wire::default();
    let header = Header { marker: false, payload_type: 8, sequence: 0, timestamp: 0, ssrc: 7 };
    let mut buffer = header.write(&[0; 160]);
    let info = SenderInfo { ntp: 1 << 16, rtp_timestamp: 0, packets: 1, payload_bytes: 1 };
    let mut rtcp: Vec<Vec<u8>> = [(7, 8), (8, 7)]
        .map(|(own, other)| {
            let report = ReceptionReport { ssrc: other, last_sender_report: 1, ..ReceptionReport::default() };
            Writer::new().sender_report(own, &info, &[report]).finish()
        })
        .into();
    let first = allocations(|| (0..100).for_each(|n| exchange(&mut relay, &mut wire, n, &mut buffer, &mut rtcp)));
    assert!(first > 0, "sources are made at their first packet");
    let rest = allocations(|| (100..20_000).for_each(|n| exchange(&mut relay, &mut wire, n, &mut buffer, &mut rtcp)));
    assert_eq!(rest, 0);
    assert!(wire.0 > 20_000 * u64::from(LISTENERS));
    let quality = relay.stream(StreamId(0)).and_then(|stream| stream.sources()[0].quality()).expect("reports");
    assert!(quality.average().is_some_and(|(_, samples)| samples > 10_000));
}

/// Stream 0 sends video that is lost now and then; its listeners ask for it again, and it is told of its arrival.
#[test]
fn feedback_allocates_nothing_once_it_is_warm() {
    let mut relay = relay();
    let listeners: Vec<u32> = (1..=LISTENERS).collect();
    for stream in 0..=LISTENERS {
        let mut plan = plan(stream, if stream == 0 { &listeners[..] } else { &[] });
        plan.reports = Some(StreamId(stream));
        let feedback = Feedback {
            kept: [8].into_iter().collect(),
            repair: Repair { payload_types: [(8, 101)].into_iter().collect(), ..Repair::default() },
            reached: Default::default(),
            is_sole: true,
            bandwidth: Some(Bandwidth::Transport(3)),
        };
        plan.tables.get_or_insert_default().repairs.push(feedback.repair.clone());
        plan.feedback = (stream == 0).then(|| Box::new(feedback));
        // The second listener has negotiated retransmissions.
        if let Some(sink) = plan.media.get_mut(1) {
            (sink.repair, sink.transport_wide) = (Place::new(0), Some(3));
        }
        relay.set_plan(Now::default(), StreamId(stream), plan);
    }
    let mut wire = Wire::default();
    let mut nack = [0x81, 205, 0, 3, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 0xff];
    let mut talk = |relay: &mut Relay, number: u64| {
        let [high, low] = (number as u16).to_be_bytes();
        let mut packet = [0xd5; 400];
        let head = [0x90, 8, high, low, 0, 0, 0, 0, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 0x31, high, low, 0];
        packet[..head.len()].copy_from_slice(&head);
        if number % 7 != 3 {
            relay.datagram(moment(number), PortToken(0), peer(0), &mut packet, &mut wire);
        }
        nack[12..14].copy_from_slice(&(number as u16).wrapping_sub(20).to_be_bytes());
        for listener in [1, 2] {
            relay.datagram(moment(number), PortToken(listener), peer(listener), &mut nack, &mut wire);
        }
        relay.timer(moment(number), &mut wire);
    };
    let first = allocations(|| (0..2000).for_each(|number| talk(&mut relay, number)));
    assert!(first > 0, "a history is made at the first packet");
    assert_eq!(allocations(|| (2000..20_000).for_each(|number| talk(&mut relay, number))), 0);
    let copies = 20_000 * 6 / 7 * u64::from(LISTENERS);
    assert!(wire.0 > copies + 2 * 10_000, "{} were sent, {copies} of them for the first time", wire.0);
}

/// Stream 0 sends two layers of a simulcast; every listener gets one of them, and its choice changes.
#[test]
fn layers_allocate_nothing_once_they_are_known() {
    let mut relay = relay();
    let listeners: Vec<u32> = (1..=LISTENERS).collect();
    let choose = |relay: &mut Relay, number: u64| {
        let mut plan = plan(0, &listeners);
        let simulcast = Simulcast {
            branch: 0,
            rids: ["h", "l"].into_iter().filter_map(Rid::new).collect(),
            rid_extension: 4,
            repaired_extension: None,
            formats: [(8, Format::Vp8)].into_iter().collect(),
            clock_rate_hz: 90_000,
        };
        plan.tables.get_or_insert_default().simulcasts.push(simulcast);
        let layer = if number.is_multiple_of(2) { Layer::Highest } else { Layer::Lowest };
        plan.tables
            .get_or_insert_default()
            .rewrites
            .push(Rewrite { choice: Some(Choice { simulcast: 0, layer }), ..Rewrite::default() });
        plan.media.iter_mut().for_each(|sink| sink.rewrite = Place::new(0));
        relay.set_plan(moment(number), StreamId(0), plan);
    };
    let mut wire = Wire::default();
    let mut talk = |relay: &mut Relay, number: u64| {
        let [high, low] = (number as u16).to_be_bytes();
        let is_key = u8::from(!number.is_multiple_of(10));
        for (ssrc, name, bytes) in [(7, b'h', 800), (6, b'l', 200)] {
            let mut packet = [0; 800];
            let head = [0x90, 8, high, low, 0, 0, high, low, 0, 0, 0, ssrc, 0xbe, 0xde, 0, 1, 0x40, name, 0, 0];
            packet[..head.len()].copy_from_slice(&head);
            packet[20..26].copy_from_slice(&[0x90, 0xc0, high | 0x80, low, low, is_key]);
            relay.datagram(moment(number), PortToken(0), peer(0), &mut packet[..bytes], &mut wire);
        }
        relay.timer(moment(number), &mut wire);
    };
    for round in 0..3 {
        choose(&mut relay, round * 100);
        (round * 100..round * 100 + 100).for_each(|number| talk(&mut relay, number));
        choose(&mut relay, round * 100 + 1);
    }
    choose(&mut relay, 300);
    talk(&mut relay, 300);
    let sent = allocations(|| (301..5000).for_each(|number| talk(&mut relay, number)));
    assert_eq!(sent, 0);
    assert!(wire.0 > 4000 * u64::from(LISTENERS), "{}", wire.0);
}

/// A key of so many equal bytes.
fn parameters(suite: Suite, byte: u8) -> Parameters {
    let key = vec![byte; suite.key_bytes() + suite.salt_bytes()];
    Parameters::new(suite, MasterKey::from_concatenated(suite, &key).expect("the suite's lengths"))
}

/// Stream 0 speaks one suite, its listeners another; one of them shares its key, one is plain.
#[test]
fn protected_packets_allocate_nothing_either() {
    let mut relay = relay();
    let (heard, said) = (Suite::AesCm128Sha1_80, Suite::AeadAes128Gcm);
    for stream in 0..LISTENERS {
        let listeners: Vec<u32> = (1..=LISTENERS).collect();
        let mut plan = plan(stream, if stream == 0 { &listeners[..] } else { &[0] });
        let keys = match stream {
            0 => Keys { receive: parameters(heard, 1), send: parameters(heard, 2) },
            1 => Keys { receive: parameters(heard, 3), send: parameters(heard, 1) },
            _ => Keys { receive: parameters(said, 4), send: parameters(said, stream as u8) },
        };
        plan.security = Security::Keys(Box::new(keys));
        if stream == 0 {
            plan.media[0].passes = true;
        }
        relay.set_plan(Now::default(), StreamId(stream), plan);
    }
    let mut protector = Protector::new(&parameters(heard, 1));
    let mut wire = Wire::default();
    let mut buffer = vec![0; 256];
    let mut talk = |relay: &mut Relay, number: u64| {
        let sequence = number as u16;
        buffer[..12].copy_from_slice(&[0x80, 8, (sequence >> 8) as u8, sequence as u8, 0, 0, 0, 0, 0, 0, 0, 7]);
        buffer[12..172].fill(number as u8);
        let length = protector.protect_rtp(&mut buffer, 172).expect("there is room");
        let packet = &mut buffer[..length];
        assert_eq!(relay.datagram(moment(number), PortToken(0), peer(0), packet, &mut wire), Verdict::Forwarded);
    };
    let first = allocations(|| (0..10).for_each(|number| talk(&mut relay, number)));
    assert!(first > 0, "sources are made at their first packet");
    assert_eq!(allocations(|| (10..20_000).for_each(|number| talk(&mut relay, number))), 0);
    assert_eq!(wire.0, 20_000 * u64::from(LISTENERS));
}
