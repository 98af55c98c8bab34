//! DTLS handshakes on a bad network. OpenSSL repeats flights by its own clock, so this test passes time in earnest.

use millrace::base::random::{Random, Seeded};
use millrace::sdp;
use millrace_testsuite::simulation::secure_phone::{Keys, SecurePhone};
use millrace_testsuite::simulation::{Datagram, World};
use serde_json::json;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const CALLS: u16 = 60;
const LOSS_PERCENT: u32 = 10;
const STEP: Duration = Duration::from_millis(10);
/// What the handshakes have.
const TIME: Duration = Duration::from_secs(20);

/// Phones that shake hands with one daemon, each in a call of its own.
struct Crowd {
    world: World,
    phones: Vec<SecurePhone>,
    random: Seeded,
    lost: usize,
}

impl Crowd {
    fn call(&mut self, number: u16) {
        let local = SocketAddr::from(([198, 51, 100, 10], 40_000 + 2 * number));
        let has_ice = number.is_multiple_of(3);
        let mut phone = SecurePhone::new(local, Keys::Dtls, has_ice);
        let is_client = number.is_multiple_of(2);
        let setup = if is_client { "active" } else { "passive" };
        let sdp = phone.describe(&self.world, "UDP/TLS/RTP/SAVPF", setup);
        let (call_id, from_tag) = (number.to_string(), "a");
        let offer = json!({"command": "offer", "call-id": call_id, "from-tag": from_tag, "sdp": sdp,
            "transport-protocol": "RTP/AVP", "ICE": "remove", "rtcp-mux": ["demux"]});
        assert_eq!(self.world.ask(&offer)["result"], "ok");
        let plain = "v=0\r\no=- 1 1 IN IP4 198.51.100.20\r\ns=-\r\nc=IN IP4 198.51.100.20\r\nt=0 0\r\n\
                     m=audio 9000 RTP/AVP 8\r\n";
        let answer =
            json!({"command": "answer", "call-id": call_id, "from-tag": from_tag, "to-tag": "b", "sdp": plain});
        let reply = self.world.ask(&answer);
        let shown = sdp::parse(reply["sdp"].as_str().expect("a description")).expect("it is well-formed");
        phone.take(&self.world, &shown, 0, is_client);
        self.phones.push(phone);
    }

    /// Datagrams arrive, but for those that are lost.
    fn carry(&mut self, mut under_way: VecDeque<Datagram>) {
        while let Some(datagram) = under_way.pop_front() {
            if self.random.below(100) < LOSS_PERCENT {
                self.lost += 1;
            } else if self.world.is_own(datagram.to.ip()) {
                under_way.extend(self.world.deliver(&datagram).map(|(_, sent)| sent).unwrap_or_default());
            } else if let Some(phone) = self.phones.iter_mut().find(|phone| phone.local == datagram.to) {
                under_way.extend(phone.hear(self.world.now.mono, &datagram));
            }
        }
    }

    fn step(&mut self) {
        let mut under_way: VecDeque<Datagram> = self.world.wait(STEP).into();
        for phone in &mut self.phones {
            under_way.extend(phone.poll(self.world.now.mono));
        }
        self.carry(under_way);
        std::thread::sleep(STEP);
    }

    /// How many handshakes are done, as the end says that has the fewer.
    fn keyed(&self) -> usize {
        let phones = self.phones.iter().filter(|phone| phone.is_keyed()).count();
        let streams = self.world.shard.relay().streams().filter(|(_, stream)| stream.is_peer_verified()).count();
        phones.min(streams)
    }
}

#[test]
fn every_handshake_is_done_although_a_tenth_of_all_datagrams_is_lost() {
    let mut crowd = Crowd { world: World::recorded(), phones: Vec::new(), random: Seeded(7), lost: 0 };
    (0..CALLS).for_each(|number| crowd.call(number));
    let begin = Instant::now();
    while crowd.keyed() < usize::from(CALLS) && begin.elapsed() < TIME {
        crowd.step();
    }
    assert_eq!(crowd.keyed(), usize::from(CALLS), "handshakes done in {TIME:?}, {} datagrams lost", crowd.lost);
    assert!(crowd.lost > 20, "{} datagrams lost", crowd.lost);
}
