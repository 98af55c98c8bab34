//! The event loop on real sockets: wakes, timers, errors of the network, exhaustion of descriptors, and fairness to
//! commands under load.

use millrace::base::time::{Mono, Now};
use millrace::io::{Batch, EventLoop, Handler, Receiver, Waker, clock};
use millrace::relay::{OpenError, PortToken, Ports, Transmit};
use std::net::{SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Sends every datagram to one place, and notes everything.
#[derive(Default)]
struct Probe {
    to: Option<SocketAddr>,
    datagrams: Vec<(PortToken, SocketAddr, Vec<u8>)>,
    wakes: usize,
    timers: Vec<Mono>,
    next_timer: Option<Mono>,
    failed: Vec<PortToken>,
    ends: bool,
}

impl Handler for Probe {
    fn datagram(&mut self, _: Now, port: PortToken, from: SocketAddr, datagram: &mut [u8], transmit: &mut Batch) {
        self.datagrams.push((port, from, datagram.to_vec()));
        if let Some(to) = self.to {
            transmit.send(port, to, datagram);
        }
    }

    fn ready(&mut self, _: Now, _: u32, _: &mut Receiver, _: &mut Batch) {}

    fn wake(&mut self, _: Now, _: &mut Receiver, _: &mut Batch) -> ControlFlow<()> {
        self.wakes += 1;
        if self.ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn timer(&mut self, now: Now, _: &mut Receiver, _: &mut Batch) -> Option<Mono> {
        self.timers.push(now.mono);
        self.next_timer.take()
    }

    fn send_failed(&mut self, port: PortToken) {
        self.failed.push(port);
    }
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

/// Opens a port at a number that was free a moment ago.
fn open(event_loop: &mut EventLoop) -> (PortToken, SocketAddr) {
    for _ in 0..100 {
        let (_, local) = socket();
        if let Ok(port) = event_loop.ports().open(local) {
            return (port, local);
        }
    }
    panic!("no free port");
}

/// Turns until `done`, for two seconds at most; gives the number of turns.
fn turn_until(event_loop: &mut EventLoop, probe: &mut Probe, done: impl Fn(&Probe) -> bool) -> usize {
    let start = Instant::now();
    for turns in 0.. {
        if done(probe) || start.elapsed() > Duration::from_secs(2) {
            return turns;
        }
        let _ = event_loop.turn(probe, Some(Duration::from_millis(20))).expect("a turn");
    }
    0
}

#[test]
fn datagrams_are_handed_over_and_answered() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (port, local) = open(&mut event_loop);
    let (peer, peer_address) = socket();
    let (sink, sink_address) = socket();
    let mut probe = Probe { to: Some(sink_address), ..Probe::default() };
    for number in 0..100u8 {
        peer.send_to(&[number; 3], local).expect("sent");
    }
    turn_until(&mut event_loop, &mut probe, |probe| probe.datagrams.len() == 100);
    let expected: Vec<_> = (0..100).map(|number| (port, peer_address, vec![number; 3])).collect();
    assert_eq!(probe.datagrams, expected);
    let mut buffer = [0; 10];
    for number in 0..100u8 {
        assert_eq!(sink.recv_from(&mut buffer).expect("forwarded"), (3, local));
        assert_eq!(buffer[0], number, "in order");
    }
    assert!(probe.failed.is_empty());
}

#[test]
fn a_port_that_nobody_answers_on_does_not_make_the_loop_spin() {
    let mut event_loop = EventLoop::with_gather(Duration::ZERO).expect("a loop");
    let (_, local) = open(&mut event_loop);
    let (peer, _) = socket();
    let (gone, gone_address) = socket();
    drop(gone);
    let mut probe = Probe { to: Some(gone_address), ..Probe::default() };
    for _ in 0..10 {
        peer.send_to(b"x", local).expect("sent");
    }
    turn_until(&mut event_loop, &mut probe, |probe| probe.datagrams.len() == 10);
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < Duration::from_millis(200) {
        let _ = event_loop.turn(&mut probe, Some(Duration::from_millis(50))).expect("a turn");
        turns += 1;
    }
    assert!(turns <= 15, "{turns} turns in 200 ms without a packet");
    peer.send_to(b"y", local).expect("sent");
    turn_until(&mut event_loop, &mut probe, |probe| probe.datagrams.len() == 11);
    assert_eq!(probe.datagrams.len(), 11, "the port still works");
}

#[test]
fn a_send_that_the_system_refuses_is_reported_with_its_port() {
    let mut event_loop = EventLoop::with_gather(Duration::ZERO).expect("a loop");
    let (port, local) = open(&mut event_loop);
    let (peer, _) = socket();
    let mut probe = Probe { to: Some("127.0.0.1:0".parse().expect("an address")), ..Probe::default() };
    peer.send_to(b"x", local).expect("sent");
    turn_until(&mut event_loop, &mut probe, |probe| !probe.failed.is_empty());
    assert_eq!(probe.failed, [port]);
}

#[test]
fn wakes_are_joined_and_end_the_loop() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let waker = event_loop.waker();
    let mut probe = Probe::default();
    (0..5).for_each(|_| waker.wake());
    let _ = event_loop.turn(&mut probe, None).expect("a turn");
    assert_eq!((probe.wakes, probe.timers.len()), (1, 1));
    let _ = event_loop.turn(&mut probe, Some(Duration::from_millis(1))).expect("a turn");
    assert_eq!(probe.wakes, 1, "a wake is seen once");
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    probe.ends = true;
    event_loop.run(&mut probe).expect("an orderly end");
    assert_eq!(probe.wakes, 2);
    thread.join().expect("the waking thread");
}

#[test]
fn timers_fire_when_due_and_not_before() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let due = clock::mono() + Duration::from_millis(30);
    let mut probe = Probe { next_timer: Some(due), ..Probe::default() };
    event_loop.waker().wake();
    turn_until(&mut event_loop, &mut probe, |probe| probe.timers.len() == 2);
    assert_eq!(probe.timers.len(), 2);
    let late = probe.timers[1].since(due);
    assert!(probe.timers[1] >= due && late < Duration::from_millis(100), "{late:?} late");
}

/// Descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("descriptors").count()
}

#[test]
fn without_descriptors_opening_fails_by_name_and_nothing_is_lost() {
    // In a process of its own, as the limit is one of the process.
    if std::env::var_os("FEW_DESCRIPTORS").is_none() {
        let own = std::env::current_exe().expect("a path");
        let name = "without_descriptors_opening_fails_by_name_and_nothing_is_lost";
        let limited = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --test-threads 1 --nocapture"])
            .arg(own)
            .arg(name)
            .env("FEW_DESCRIPTORS", "1")
            .output()
            .expect("a child");
        assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
        return;
    }
    let mut event_loop = EventLoop::with_gather(Duration::ZERO).expect("a loop");
    let before = descriptors();
    let mut ports = vec![];
    let error = loop {
        let local = SocketAddr::from(([127, 77, 0, 1], 30_000 + ports.len() as u16));
        match event_loop.ports().open(local) {
            Ok(port) => ports.push(port),
            Err(error) => break error,
        }
    };
    assert_eq!(error, OpenError::OutOfDescriptors);
    assert!(ports.len() > 20, "{}", ports.len());
    let last = ports.pop().expect("a port");
    event_loop.ports().close(last);
    let reopened = event_loop.ports().open(SocketAddr::from(([127, 77, 0, 1], 29_999)));
    assert!(reopened.is_ok(), "one was free again: {reopened:?}");
    ports.extend(reopened);
    ports.drain(..).for_each(|port| event_loop.ports().close(port));
    assert_eq!(descriptors(), before);
}

/// A handler that measures how long a command waited.
struct Commands {
    sink: SocketAddr,
    asked_at: Arc<AtomicU64>,
    waits: Vec<Duration>,
    packets: u64,
    ends: Arc<AtomicBool>,
}

impl Handler for Commands {
    fn datagram(&mut self, _: Now, port: PortToken, _: SocketAddr, datagram: &mut [u8], transmit: &mut Batch) {
        self.packets += 1;
        transmit.send(port, self.sink, datagram);
    }

    fn ready(&mut self, _: Now, _: u32, _: &mut Receiver, _: &mut Batch) {}

    fn wake(&mut self, _: Now, _: &mut Receiver, _: &mut Batch) -> ControlFlow<()> {
        self.waits.push(clock::mono().since(Mono(self.asked_at.load(Ordering::Acquire))));
        if self.ends.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn timer(&mut self, _: Now, _: &mut Receiver, _: &mut Batch) -> Option<Mono> {
        None
    }

    fn send_failed(&mut self, _: PortToken) {}
}

/// Fills every port as fast as one thread can until told to end.
fn flood(ports: Vec<SocketAddr>, ends: Arc<AtomicBool>) {
    let (source, _) = socket();
    while !ends.load(Ordering::Relaxed) {
        for port in &ports {
            let _ = source.send_to(&[0x80; 172], port);
        }
    }
}

#[test]
fn commands_are_looked_at_between_batches_while_every_port_is_busy() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let ports = (0..500).map(|_| open(&mut event_loop).1).collect();
    let (_sink, sink) = socket();
    let (ends, asked_at) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let waker: Arc<Waker> = event_loop.waker();
    let mut commands =
        Commands { sink, asked_at: Arc::clone(&asked_at), waits: vec![], packets: 0, ends: Arc::clone(&ends) };
    let relay = std::thread::spawn(move || event_loop.run(&mut commands).map(|()| commands));
    let load = {
        let ends = Arc::clone(&ends);
        std::thread::spawn(move || flood(ports, ends))
    };
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(5));
        asked_at.store(clock::mono().0, Ordering::Release);
        waker.wake();
    }
    std::thread::sleep(Duration::from_millis(5));
    ends.store(true, Ordering::Relaxed);
    asked_at.store(clock::mono().0, Ordering::Release);
    waker.wake();
    load.join().expect("the load");
    let mut commands = relay.join().expect("the loop").expect("an orderly end");
    commands.waits.sort();
    let median = commands.waits[commands.waits.len() / 2];
    assert!(commands.packets > 10_000, "{} packets were no load", commands.packets);
    assert!(median < Duration::from_millis(20), "commands waited {median:?} at {} packets", commands.packets);
}
