//! Calls that move between shards on their threads, with real sockets.

use super::Errand;
use crate::config::{self, Outcome, interface};
use crate::daemon::build;
use crate::daemon::router::Router;
use crate::io::host::Host;
use crate::ng::{Defaults, Dictionary, Encoding, Request, Value, message};
use crate::wire::rtp::Header;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

const SHARDS: usize = 3;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    router: Router,
    threads: Vec<JoinHandle<()>>,
}

impl Bench {
    fn new(ports: (u16, u16)) -> Bench {
        let shards = format!("--num-threads={SHARDS}");
        let words = ["millrace", "--config-file=none", "--interface=127.0.0.1", "--listen-ng=127.0.0.1:1", &shards];
        let arguments = words.map(str::to_owned);
        let Ok(Outcome::Run(loaded)) = config::load(&arguments, &Host) else { panic!("a configuration") };
        let interfaces = interface::resolve(&loaded.config.interfaces, ports, &[], &Host).expect("an address");
        let (router, threads) =
            build::shards(&loaded.config, &interfaces, None, None, &std::sync::Arc::default(), None).expect("threads");
        Bench { router, threads }
    }

    /// Sends a request in JSON; the reply comes later.
    fn send(&self, text: &str) -> mpsc::Receiver<Dictionary> {
        let (_, dictionary) = message::decode(text.as_bytes()).expect("JSON");
        let request = Request::parse(&dictionary, Encoding::Json, &Defaults::default()).expect("a request");
        let (sender, receiver) = mpsc::channel();
        Errand::new(request, String::new(), move |reply| drop(sender.send(reply))).send(&self.router.dispatch);
        receiver
    }

    fn ask(&self, text: &str) -> Dictionary {
        self.send(text).recv_timeout(PATIENCE).expect("a reply")
    }

    fn must(&self, text: &str) -> Dictionary {
        let reply = self.ask(text);
        assert_eq!(text_of(&reply, "result"), "ok", "{text}: {reply:?}");
        reply
    }

    /// A call-id of a call that would be on this shard.
    fn call_id(&self, shard: usize, name: &str) -> String {
        let ids = (0..).map(|number| format!("{name}-{number}"));
        let is_there = |id: &String| self.router.dispatch.whereabouts.of(id) == shard;
        ids.into_iter().find(is_there).expect("there are many")
    }

    /// Two phones talk under this call-id.
    fn call(&self, id: &str, tags: [&str; 2]) -> [Phone; 2] {
        let mut phones = tags.map(|_| Phone::new());
        let offer = phones[0].description();
        let shown = format!(r#"{{"command":"offer","call-id":"{id}","from-tag":"{}","sdp":"{offer}"}}"#, tags[0]);
        phones[1].show(&self.must(&shown));
        let answer = phones[1].description();
        let [from, to] = tags;
        let shown =
            format!(r#"{{"command":"answer","call-id":"{id}","from-tag":"{from}","to-tag":"{to}","sdp":"{answer}"}}"#);
        phones[0].show(&self.must(&shown));
        phones
    }

    /// The number of calls, once every shard has told of what it did: a reply goes out before that.
    fn sessions(&self) -> usize {
        let (sender, receiver) = mpsc::channel();
        self.router.gather(|_| (), move |_| sender.send(()).expect("somebody waits"));
        receiver.recv_timeout(PATIENCE).expect("all shards answer");
        self.router.dispatch.admission.sessions.load(Ordering::Relaxed)
    }

    /// Nothing is left, and the threads end.
    fn end(self) {
        let dispatch = &self.router.dispatch;
        assert_eq!(self.sessions(), 0, "calls");
        assert_eq!(self.router.interface_rows()[0].used, 0, "ports");
        assert!(dispatch.whereabouts.is_empty(), "calls that have moved");
        dispatch.shards.iter().for_each(|shard| shard.stop());
        self.threads.into_iter().for_each(|thread| thread.join().expect("no fault"));
    }
}

fn text_of<'a>(reply: &'a Dictionary, key: &str) -> &'a str {
    reply.get(key).and_then(Value::as_text).unwrap_or_default()
}

struct Phone {
    socket: UdpSocket,
    shown: Option<SocketAddr>,
    sequence: u16,
}

impl Phone {
    fn new() -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Phone { socket, shown: None, sequence: 0 }
    }

    fn description(&self) -> String {
        let port = self.socket.local_addr().expect("an address").port();
        let head = r"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
        format!(r"{head}m=audio {port} RTP/AVP 8\r\na=rtcp-mux\r\n")
    }

    fn show(&mut self, reply: &Dictionary) {
        let media = text_of(reply, "sdp").lines().find_map(|line| line.strip_prefix("m=audio ")).expect("a media");
        let port: u16 = media.split(' ').next().and_then(|port| port.parse().ok()).expect("a port");
        self.shown = Some(SocketAddr::from(([127, 0, 0, 1], port)));
    }

    /// Says something, which `other` hears.
    fn says_to(&mut self, other: &Phone) {
        self.sequence += 1;
        let header = Header { marker: false, payload_type: 8, sequence: self.sequence, timestamp: 0, ssrc: 1 };
        let packet = header.write(&[self.socket.local_addr().expect("an address").port() as u8; 160]);
        self.socket.send_to(&packet, self.shown.expect("an address")).expect("it is sent");
        let mut heard = [0; 2048];
        let (bytes, _) = other.socket.recv_from(&mut heard).expect("the other hears");
        assert_eq!(heard[..bytes], packet);
    }
}

#[test]
fn parties_on_two_shards_are_joined_and_go_on_talking() {
    let bench = Bench::new((23000, 23199));
    let ids = [bench.call_id(0, "one"), bench.call_id(2, "two")];
    let [mut alice, mut bob] = bench.call(&ids[0], ["alice", "bob"]);
    let [mut carol, dave] = bench.call(&ids[1], ["carol", "dave"]);
    alice.says_to(&bob);
    carol.says_to(&dave);
    let [one, two] = &ids;
    let unknown =
        format!(r#"{{"command":"connect","call-id":"{one}","from-tag":"alice","to-tag":"x","to-call-id":"no"}}"#);
    assert_eq!(text_of(&bench.ask(&unknown), "error-reason"), "Unknown call-ID(s)");
    bench.must(&format!(
        r#"{{"command":"connect","call-id":"{one}","from-tag":"alice","to-tag":"carol","to-call-id":"{two}"}}"#
    ));
    for _ in 0..20 {
        alice.says_to(&carol);
        carol.says_to(&alice);
    }
    assert_eq!(bench.sessions(), 1);
    // The second call-id finds it on the first one's shard, and one that is new goes with it.
    let query = |id: &str| bench.must(&format!(r#"{{"command":"query","call-id":"{id}"}}"#));
    assert_eq!(query(one).get("tags"), query(two).get("tags"));
    bench.must(&format!(
        r#"{{"command":"mesh","calls":["{two}"],"tags":[{{"from":"bob","to":["dave"]}}],"flags":["unsubscribe"]}}"#
    ));
    bob.says_to(&dave);
    bench.must(&format!(r#"{{"command":"delete","call-id":"{two}","delete delay":0}}"#));
    assert_eq!(text_of(&bench.ask(&format!(r#"{{"command":"query","call-id":"{one}"}}"#)), "result"), "error");
    bench.end();
}

#[test]
fn calls_that_many_want_to_join_become_one() {
    const CALLS: usize = 12;
    let bench = Bench::new((23200, 23399));
    let mut phones: Vec<[Phone; 2]> = Vec::new();
    let names: Vec<[String; 2]> = (0..CALLS).map(|number| [format!("a{number}"), format!("b{number}")]).collect();
    let ids: Vec<String> = (0..CALLS).map(|number| format!("call-{number}")).collect();
    for (id, [a, b]) in ids.iter().zip(&names) {
        phones.push(bench.call(id, [a, b]));
    }
    // Everybody asks at once, in both directions.
    let mut replies = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        for other in [(number + 1) % CALLS, (number + CALLS - 1) % CALLS] {
            let (from, to, there) = (&names[number][0], &names[other][0], &ids[other]);
            let tags = format!(r#""from-tag":"{from}","to-tag":"{to}","flags":["directional"]"#);
            replies.push(
                bench.send(&format!(r#"{{"command":"connect","call-id":"{id}","to-call-id":"{there}",{tags}}}"#)),
            );
            // Whoever asks meanwhile finds the call, wherever it is.
            replies.push(bench.send(&format!(r#"{{"command":"query","call-id":"{there}"}}"#)));
        }
    }
    let replies: Vec<Dictionary> = replies.iter().map(|reply| reply.recv_timeout(PATIENCE).expect("a reply")).collect();
    let failed: Vec<&Dictionary> = replies.iter().filter(|reply| text_of(reply, "result") != "ok").collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(bench.sessions(), 1);
    let [speaker, listener] = &mut phones[5];
    speaker.says_to(listener);
    bench.must(&format!(r#"{{"command":"delete","call-id":"{}","delete delay":0}}"#, ids[7]));
    bench.end();
}
