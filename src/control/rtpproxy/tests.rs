//! The bytes, in front of a service that the tests make up.

use super::*;
use crate::control::cli::CliCommand;
use crate::control::{CliReply, Reply};
use crate::io::clock;
use crate::ng::Request;
use std::sync::mpsc;

/// Answers offers with port 30000 of 198.51.100.1, answers with 30002 of 2001:db8::1; knows the call `c` alone.
#[derive(Default)]
struct Fake(Mutex<Vec<Request>>);

impl Service for Fake {
    fn request(&self, request: Request, _: SocketAddr, reply: Reply) {
        let command = request.command.name();
        let is_known = request.call_id() == Ok("c");
        self.0.lock().unwrap().push(request);
        let ok = Dictionary::new().with("result", "ok");
        reply.send(match (command, is_known) {
            ("offer", true) => ok.with("sdp", sdpless::body(&["198.51.100.1:30000".parse().unwrap()])),
            ("answer", true) => ok.with("sdp", sdpless::body(&["[2001:db8::1]:30002".parse().unwrap()])),
            ("delete", true) => ok,
            ("query", true) => ok.with("tags", Dictionary::new().with("f;1", side(5, 3)).with("t;1", side(3, 4))),
            ("delete", false) => ok.with("warning", "Call-ID not found or tags didn't match"),
            ("answer" | "query", false) => crate::ng::message::error_reply("Unknown call-id"),
            _ => crate::ng::message::error_reply("Ran out of ports"),
        });
    }

    fn cli(&self, _: CliCommand, _: CliReply) {}

    fn metrics(&self, _: CliReply) {}
}

fn side(received: u64, sent: u64) -> Dictionary {
    let packets = |packets: u64| Dictionary::new().with("packets", packets);
    let now = clock::now().unix.seconds();
    let stream =
        Dictionary::new().with("last packet", now).with("stats", packets(received)).with("stats_out", packets(sent));
    let media = Dictionary::new().with("streams", Value::List(vec![stream.into()]));
    Dictionary::new().with("medias", Value::List(vec![media.into()]))
}

fn ask(front: &Arc<RtpproxyFront>, request: &str) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    let deliver = move |reply: &[u8]| sender.send(String::from_utf8_lossy(reply).into_owned()).unwrap();
    front.clone().datagram(request.as_bytes(), "192.0.2.9:7".parse().unwrap(), Box::new(deliver));
    receiver.try_recv().ok()
}

#[test]
fn the_bytes() {
    let fake = Arc::new(Fake::default());
    let front = RtpproxyFront::new(fake.clone(), Duration::from_secs(60), clock::now);
    let exchanges = [
        ("1 V", "1 20040107\n"),
        ("2 VF 20050322", "2 1\n"),
        ("3 vf 20060704", "3 1\n"),
        ("4 VF 20071218", "4 0\n"),
        ("5 Uei c 192.0.2.1 4000 f;1", "5 30000 198.51.100.1 4\n"),
        ("6 Lei c 192.0.2.2 5000 f;1 t;1", "6 30002 2001:db8::1 6\n"),
        ("7 L d 192.0.2.2 5000 f;1 t;1", "7 0 0.0.0.0\n"),
        ("8 U d 192.0.2.2 5000 f;1", "8 E8\n"),
        ("9 Q c f;1 t;1", "9 60 5 3 7 1\n"),
        ("10 Q d f;1 t;1", "10 E8\n"),
        ("11 D c f t", "11 0\n"),
        ("12 D d f t", "12 E8\n"),
        ("13 X", "13 E8\n"),
        ("5 D c f t", "5 30000 198.51.100.1 4\n"),
    ];
    for (request, reply) in exchanges {
        assert_eq!(ask(&front, request).as_deref(), Some(reply), "{request}");
    }
    assert_eq!(ask(&front, "V"), None);
    let seen = fake.0.lock().unwrap();
    let (offer, answer) = (&seen[0], &seen[1]);
    assert_eq!((offer.from_tag(), offer.network.from_interface.as_deref()), (Ok("f;1"), Some("external")));
    assert_eq!((answer.to_tag(), answer.network.to_interface.as_deref()), (Ok("t;1"), Some("internal")));
}
