use super::super::receiver::Receiver;
use super::*;
use crate::base::time::{Mono, Now};
use crate::io::{Batch, EventLoop, Handler};
use crate::relay::{PortInTransit, Ports, Transmit};
use std::net::UdpSocket;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// A network of loopback that nothing else uses: what is steered there is taken from nobody.
const IP: &str = "127.91.7.1";
const OTHER_IP: &str = "127.91.7.2";

/// Notes what came, and sends it on.
#[derive(Default)]
struct Probe {
    to: Option<SocketAddr>,
    came: Vec<(PortToken, SocketAddr, Vec<u8>)>,
    failed: Vec<PortToken>,
}

impl Handler for Probe {
    fn datagram(&mut self, _: Now, port: PortToken, from: SocketAddr, datagram: &mut [u8], transmit: &mut Batch) {
        self.came.push((port, from, datagram.to_vec()));
        if let Some(to) = self.to {
            transmit.send(port, to, datagram);
        }
    }

    fn ready(&mut self, _: Now, _: u32, _: &mut Receiver, _: &mut Batch) {}

    fn wake(&mut self, _: Now, _: &mut Receiver, _: &mut Batch) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn timer(&mut self, _: Now, _: &mut Receiver, _: &mut Batch) -> Option<Mono> {
        None
    }

    fn send_failed(&mut self, port: PortToken) {
        self.failed.push(port);
    }
}

/// Loops of two shards over one program; none where the system does not allow it.
fn shards(addresses: &[&str]) -> Option<(Steering, [EventLoop; 2])> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let mut steering = match Steering::open(&addresses, 2) {
        Ok(steering) => steering,
        Err(why @ (Unavailable::NotPermitted(_) | Unavailable::NotBuilt)) => {
            println!("SKIPPED: steering: {why}");
            return None;
        }
        Err(why) => panic!("{why}"),
    };
    let loops = [0, 1].map(|index| {
        let mut events = EventLoop::with_gather(Duration::ZERO).unwrap();
        events.ports().steer(steering.share(index).unwrap()).unwrap();
        events
    });
    Some((steering, loops))
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn peer(ip: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address(ip, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn turn_until(events: &mut EventLoop, probe: &mut Probe, done: impl Fn(&Probe) -> bool) {
    let start = Instant::now();
    while !done(probe) && start.elapsed() < Duration::from_secs(2) {
        let _ = events.turn(probe, Some(Duration::from_millis(20))).unwrap();
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn datagrams_of_many_ports_come_and_go_through_one_socket_in_both_families() {
    // A port of ::1 may be somebody's; its number is below those that the system hands out.
    for (ip, port) in [(IP, 20_000), ("::1", 20_000 + (std::process::id() % 5000) as u16)] {
        let Some((_steering, [mut events, _])) = shards(&[ip]) else { return };
        let ports = [port, port + 1].map(|port| address(ip, port));
        let tokens = ports.map(|port| events.ports().open(port).unwrap());
        let (source, from) = peer(ip);
        let (sink, to) = peer(ip);
        let mut probe = Probe { to: Some(to), ..Probe::default() };
        let mut expected = Vec::new();
        for number in 0..100u8 {
            let which = usize::from(number % 2);
            let payload = vec![number; usize::from(number)];
            source.send_to(&payload, ports[which]).unwrap();
            expected.push((tokens[which], from, payload));
        }
        turn_until(&mut events, &mut probe, |probe| probe.came.len() == 100);
        assert_eq!(probe.came, expected);
        assert_eq!(probe.failed, []);
        let mut buffer = [0; 200];
        for number in 0..100u8 {
            let (bytes, from) = sink.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..bytes], from), (&vec![number; bytes][..], ports[usize::from(number % 2)]));
            assert_eq!(bytes, usize::from(number), "in order");
        }
    }
}

#[test]
fn opening_ports_takes_no_descriptors_and_closed_ones_refuse() {
    let Some((_steering, [mut events, _])) = shards(&[IP]) else { return };
    let first = events.ports().open(address(IP, 21_000)).unwrap();
    let before = descriptors();
    let tokens: Vec<_> = (21_001..29_000).map(|port| events.ports().open(address(IP, port)).unwrap()).collect();
    assert!(descriptors() < before + 1000, "other tests have some, but not thousands");
    assert_eq!(events.ports().len(), tokens.len() + 1);
    assert_eq!(events.ports().open(address(IP, 21_500)), Err(OpenError::InUse));
    tokens.into_iter().for_each(|token| events.ports().close(token));
    events.ports().close(first);
    events.ports().close(first);
    assert!(events.ports().is_empty());
    let (socket, _) = peer(OTHER_IP);
    socket.connect(address(IP, 21_000)).unwrap();
    socket.send(b"x").unwrap();
    let refused = socket.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "ICMP says that the port is closed");
    assert!(events.ports().open(address(IP, 21_500)).is_ok());
}

#[test]
fn what_others_have_bound_is_refused_and_left_alone() {
    let (theirs, bound) = peer(IP);
    let Some((_steering, [mut events, mut second])) = shards(&[IP, OTHER_IP]) else { return };
    assert_eq!(events.ports().open(bound), Err(OpenError::InUse));
    let token = events.ports().open(address(OTHER_IP, bound.port())).expect("the same number at another address");
    let (source, _) = peer(IP);
    source.send_to(b"theirs", bound).unwrap();
    source.send_to(b"ours", address(OTHER_IP, bound.port())).unwrap();
    let mut buffer = [0; 20];
    assert_eq!(theirs.recv(&mut buffer).unwrap(), 6);
    let mut probe = Probe::default();
    turn_until(&mut events, &mut probe, |probe| !probe.came.is_empty());
    assert_eq!((probe.came.len(), probe.came[0].0, &probe.came[0].2[..]), (1, token, &b"ours"[..]));
    assert_eq!(second.ports().open(address(OTHER_IP, bound.port())), Err(OpenError::InUse), "another shard has it");
    // An address that is not steered is served by a socket.
    let elsewhere = events.ports().open(address("127.91.7.3", 22_000)).unwrap();
    source.send_to(b"socket", address("127.91.7.3", 22_000)).unwrap();
    turn_until(&mut events, &mut probe, |probe| probe.came.len() == 2);
    assert_eq!((probe.came[1].0, &probe.came[1].2[..]), (elsewhere, &b"socket"[..]));
}

#[test]
fn what_others_bind_later_is_noticed() {
    let Some((steering, [mut events, _])) = shards(&[IP]) else { return };
    let port = events.ports().open(address(IP, 22_010)).unwrap();
    let _theirs = UdpSocket::bind(address(IP, 22_010)).unwrap();
    steering.table.occupy(&[address(IP, 22_010), address("0.0.0.0", 22_011), address("::", 22_012)]);
    events.ports().close(port);
    // Bits of open ports are not set; the next look finds it.
    steering.table.occupy(&[address(IP, 22_010), address("0.0.0.0", 22_011), address("::", 22_012)]);
    for port in 22_010..=22_012 {
        assert_eq!(events.ports().open(address(IP, port)), Err(OpenError::InUse), "{port}");
    }
    steering.table.occupy(&[address(OTHER_IP, 22_010), address("::1", 22_010)]);
    assert!(events.ports().open(address(IP, 22_010)).is_ok());
}

#[test]
fn a_port_moves_to_another_shard_and_back() {
    let Some((_steering, [mut first, mut second])) = shards(&[IP]) else { return };
    let local = address(IP, 22_020);
    // So that the tokens differ.
    second.ports().open(address(IP, 22_021)).unwrap();
    let token = first.ports().open(local).unwrap();
    let (source, from) = peer(IP);
    let mut released: PortInTransit = first.ports().release(token).unwrap();
    assert!(first.ports().release(token).is_none() && first.ports().is_empty());
    assert_eq!(second.ports().open(local), Err(OpenError::InUse), "on its way it is nobody else's");
    for index in [1, 0, 1] {
        let events = if index == 0 { &mut first } else { &mut second };
        let token = events.ports().take_over(released).unwrap();
        source.send_to(b"hello", local).unwrap();
        let mut probe = Probe { to: Some(from), ..Probe::default() };
        turn_until(events, &mut probe, |probe| !probe.came.is_empty());
        assert_eq!(probe.came, [(token, from, b"hello".to_vec())]);
        let mut buffer = [0; 10];
        assert_eq!(source.recv_from(&mut buffer).unwrap(), (5, local));
        released = events.ports().release(token).unwrap();
    }
    drop(released);
    assert!(first.ports().open(local).is_ok(), "nobody took it: it was closed");
}

#[test]
fn a_port_of_another_program_is_not_taken_over() {
    let Some((_steering, [mut first, _])) = shards(&[IP]) else { return };
    let Some((_other_steering, [mut second, _])) = shards(&[IP]) else { return };
    let token = first.ports().open(address(IP, 22_030)).unwrap();
    let released = first.ports().release(token).unwrap();
    assert_eq!(second.ports().take_over(released), Err(OpenError::Other(0)));
    assert!(second.ports().is_empty());
}

#[test]
fn sends_that_no_socket_would_do_are_reported_and_others_go_on() {
    let Some((_steering, [mut events, _])) = shards(&[IP]) else { return };
    let token = events.ports().open(address(IP, 22_040)).unwrap();
    let (sink, to) = peer(IP);
    let mut batch = Batch::new();
    for bad in ["127.0.0.1:0", "0.0.0.0:5000", "[::1]:5000", "255.255.255.255:5000"] {
        batch.send(token, bad.parse().unwrap(), b"lost");
        batch.send(token, to, b"good");
    }
    batch.send(PortToken(77), to, b"lost");
    let mut failed = Vec::new();
    batch.flush(events.ports(), |port| failed.push(port.0));
    failed.sort_unstable();
    assert_eq!(failed, [token.0, token.0, token.0, token.0, 77]);
    let mut buffer = [0; 10];
    for _ in 0..4 {
        assert_eq!(sink.recv_from(&mut buffer).unwrap(), (4, address(IP, 22_040)));
    }
}

#[test]
fn datagrams_of_every_length_are_sent_in_more_than_one_call() {
    for (ip, port) in [(IP, 22_050), ("::1", 25_000 + (std::process::id() % 5000) as u16)] {
        let Some((_steering, [mut events, _])) = shards(&[ip]) else { return };
        let token = events.ports().open(address(ip, port)).unwrap();
        events.ports().set_tos(token, 184);
        let (sink, to) = peer(ip);
        let mut buffer = vec![0; 65_536];
        // The longer ones take fragments where the device's MTU is small.
        for length in [0, 1, 1500, 65_507, 3] {
            let mut batch = Batch::new();
            batch.send(token, to, &vec![7; length]);
            batch.flush(events.ports(), |_| panic!("{length} bytes were not taken"));
            assert_eq!(sink.recv_from(&mut buffer).unwrap(), (length, address(ip, port)));
        }
        let mut batch = Batch::new();
        (0..200u8).for_each(|number| batch.send(token, to, &[number]));
        batch.flush(events.ports(), |_| panic!("not taken"));
        for number in 0..200u8 {
            assert_eq!((sink.recv(&mut buffer).unwrap(), buffer[0]), (1, number));
        }
        let mut batch = Batch::new();
        batch.send(token, to, &vec![7; 65_508]);
        let mut failed = 0;
        batch.flush(events.ports(), |_| failed += 1);
        assert_eq!(failed, 1);
        // Whatever it took to send, what is sent to the port comes here.
        sink.send_to(b"back", address(ip, port)).unwrap();
        let mut probe = Probe::default();
        turn_until(&mut events, &mut probe, |probe| !probe.came.is_empty());
        assert_eq!(probe.came, [(token, to, b"back".to_vec())]);
    }
}

#[test]
fn the_socket_for_fragments_does_not_receive() {
    let Some((_steering, [mut events, mut second])) = shards(&[IP]) else { return };
    let local = address(IP, 22_070);
    let token = events.ports().open(local).unwrap();
    events.ports().set_tos(token, 184);
    let mut port = events.ports().release(token).unwrap().downcast::<SteeredPort>().unwrap();
    let (sink, to) = peer(IP);
    port.fragmenting().unwrap().send_to(b"long", &to.into()).unwrap();
    assert_eq!(port.fragmenting().unwrap().tos_v4().unwrap(), 184);
    let mut buffer = [0; 10];
    assert_eq!(sink.recv_from(&mut buffer).unwrap(), (4, local));
    let token = second.ports().take_over(port).unwrap();
    sink.send_to(b"back", local).unwrap();
    let mut probe = Probe::default();
    turn_until(&mut second, &mut probe, |probe| !probe.came.is_empty());
    assert_eq!(probe.came, [(token, to, b"back".to_vec())]);
}

#[test]
fn the_key_of_an_address_is_as_the_program_reads_it() {
    assert_eq!(key("1.2.3.4".parse().unwrap())[0].to_ne_bytes(), [1, 2, 3, 4]);
    let words = key("102:304::d0e:f10".parse().unwrap());
    assert_eq!(words[0].to_ne_bytes(), [1, 2, 3, 4]);
    assert_eq!((words[3].to_ne_bytes(), words[4]), ([0xd, 0xe, 0xf, 0x10], 10));
}

#[test]
fn a_flood_on_one_port_leaves_room_for_others() {
    let Some((_steering, [mut events, _])) = shards(&[IP]) else { return };
    let [flooded, quiet] = [22_060, 22_061].map(|port| (address(IP, port), events.ports().open(address(IP, port))));
    let (source, _) = peer(IP);
    // A tick of the program is 4.2 ms, in which 512 datagrams to a port pass.
    let start = Instant::now();
    for number in 0..15_000u32 {
        source.send_to(&[0x80; 172], flooded.0).unwrap();
        if number % 1500 == 0 {
            source.send_to(b"heard", quiet.0).unwrap();
        }
    }
    let ticks = (start.elapsed().as_nanos() >> 22) as usize + 2;
    let mut probe = Probe::default();
    let heard = |probe: &Probe| probe.came.iter().filter(|(port, ..)| Ok(*port) == quiet.1).count();
    turn_until(&mut events, &mut probe, |probe| heard(probe) == 10);
    assert_eq!(heard(&probe), 10);
    let passed = probe.came.len() - 10;
    assert!(passed >= 512 && passed <= 512 * ticks, "{passed} datagrams of a flood in {ticks} ticks");
}
