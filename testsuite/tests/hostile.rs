//! Bodies and sequences that mean harm: each is answered, in bounded time, and leaves the engine consistent.

use millrace_testsuite::simulation::World;
use millrace_testsuite::system::thread_time;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// What one request may compute, in a build without optimization; most take a thousandth.
const LIMIT: Duration = Duration::from_millis(1500);

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN IP4 198.51.100.10\r\nt=0 0\r\n";
const PLAIN: &str =
    "v=0\r\no=- 1 1 IN IP4 198.51.100.20\r\ns=-\r\nc=IN IP4 198.51.100.20\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// Asks, and holds the engine to its time and its books.
fn ask(world: &mut World, request: &Value) -> Value {
    let begun = thread_time();
    let reply = world.ask(request);
    let taken = thread_time() - begun;
    let shown: String = request.to_string().chars().take(300).collect();
    assert!(taken < LIMIT, "{taken:?} for {shown}");
    world.check();
    reply
}

fn offer(world: &mut World, sdp: &str) -> Value {
    ask(world, &json!({"command": "offer", "call-id": "1", "from-tag": "a", "sdp": sdp}))
}

fn answer(world: &mut World, sdp: &str) -> Value {
    ask(world, &json!({"command": "answer", "call-id": "1", "from-tag": "a", "to-tag": "b", "sdp": sdp}))
}

fn delete(world: &mut World) {
    ask(world, &json!({"command": "delete", "call-id": "1", "delete delay": 0}));
    world.check_empty();
}

/// Sections that repeat a line; `line` gets the number.
fn repeated(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = write!(text, "{}\r\n", line(number));
        text
    })
}

/// A body with `lines` after one audio section.
fn audio_with(lines: &str) -> String {
    format!("{HEAD}m=audio 4000 RTP/AVP 0 96\r\n{lines}")
}

/// Bodies that are too large for any phone, by name.
fn large_bodies() -> Vec<(&'static str, String)> {
    let formats: String = (0..20_000).map(|number| format!(" {}", number % 300)).collect();
    let payload_types: String = (0..128).map(|number| format!(" {number}")).collect();
    vec![
        ("one line of 64 KB", audio_with(&format!("a=x:{}\r\n", "y".repeat(65_000)))),
        (
            "session name of 64 KB",
            HEAD.replace("s=-", &format!("s={}", "y".repeat(65_000))) + "m=audio 4 RTP/AVP 0\r\n",
        ),
        ("10^4 attributes", audio_with(&repeated(10_000, |number| format!("a=x{number}:y")))),
        ("10^4 equal attributes", audio_with(&repeated(10_000, |_| "a=sendrecv".to_owned()))),
        ("10^4 session attributes", format!("{HEAD}{}m=audio 4 RTP/AVP 0\r\n", repeated(10_000, |_| "a=x".to_owned()))),
        (
            "10^4 candidates",
            audio_with(&repeated(10_000, |number| {
                format!("a=candidate:{number} 1 udp 2130706431 198.51.100.10 4000 typ host")
            })),
        ),
        (
            "10^4 keys",
            audio_with(&repeated(10_000, |number| format!("a=crypto:{number} AES_CM_128_HMAC_SHA1_80 inline:x"))),
        ),
        ("10^4 header extensions", audio_with(&repeated(10_000, |number| format!("a=extmap:{number} urn:x:{number}")))),
        ("10^4 maps of one type", audio_with(&repeated(10_000, |number| format!("a=rtpmap:96 x{number}/8000")))),
        (
            "all types, each described often",
            format!("{HEAD}m=audio 4000 RTP/AVP{payload_types}\r\n")
                + &repeated(10_000, |number| format!("a=fmtp:{} x={number}", number % 128)),
        ),
        (
            "all types with feedback",
            format!("{HEAD}m=video 4000 RTP/AVPF{payload_types}\r\n")
                + &repeated(10_000, |number| format!("a=rtcp-fb:{} nack {number}", number % 128)),
        ),
        ("20,000 formats", format!("{HEAD}m=audio 4000 RTP/AVP{formats}\r\n")),
        ("10^4 bandwidths", audio_with(&repeated(10_000, |number| format!("b=AS:{number}")))),
        ("1,000 lines", HEAD.to_owned() + &repeated(1000, |number| format!("m=audio {} RTP/AVP 0", 2000 + 2 * number))),
        (
            "1,000 lines of each kind",
            HEAD.to_owned()
                + &repeated(1000, |number| {
                    let kind = ["audio 4 RTP/AVP 0", "video 4 RTP/AVP 97", "image 4 udptl t38", "message 4 TCP/MSRP *"]
                        [number % 4];
                    format!("m={kind}\r\na=mid:{number}\r\na=rtcp-mux")
                }),
        ),
    ]
}

#[test]
fn large_bodies_take_no_long_time() {
    let mut world = World::recorded();
    let options = [
        json!({}),
        json!({"codec": {"strip": ["all"], "offer": ["PCMA", "PCMU"]}, "flags": ["single codec", "generate mid"]}),
        json!({"replace": ["origin", "SDP version", "session name"], "flags": ["loop protect", "strip extmap"]}),
        json!({"sdp-attr": {"audio": {"add": ["ptime:20"], "remove": ["x"], "substitute": [["sendrecv", "recvonly"]]}}}),
    ];
    for (index, (name, body)) in large_bodies().into_iter().enumerate() {
        for keys in [&options[0], &options[1 + index % 3]] {
            let mut request = json!({"command": "offer", "call-id": "1", "from-tag": "a", "sdp": body});
            request.as_object_mut().expect("keys").extend(keys.as_object().expect("keys").clone());
            assert_eq!(ask(&mut world, &request)["result"], "ok", "{name}");
            assert_eq!(answer(&mut world, &body)["result"], "ok", "{name}");
            // The same again from either side, then as little as possible.
            request["to-tag"] = json!("b");
            assert_eq!(ask(&mut world, &request)["result"], "ok", "{name}");
            (request["from-tag"], request["to-tag"]) = (json!("b"), json!("a"));
            assert_eq!(ask(&mut world, &request)["result"], "ok", "{name}");
            assert_eq!(offer(&mut world, PLAIN)["result"], "ok", "{name}");
            for command in ["query", "block media", "unblock media"] {
                assert_eq!(ask(&mut world, &json!({"command": command, "call-id": "1"}))["result"], "ok", "{name}");
            }
            delete(&mut world);
        }
        let publish = json!({"command": "publish", "call-id": "1", "from-tag": "a", "sdp": body, "codec": {"accept": ["all", "any"]}});
        ask(&mut world, &publish);
        ask(&mut world, &json!({"command": "subscribe request", "call-id": "1", "from-tag": "a", "to-tag": "v"}));
        ask(&mut world, &json!({"command": "subscribe request", "call-id": "1", "from-tag": "a", "to-tag": "v"}));
        delete(&mut world);
    }
}

#[test]
fn more_lines_than_allowed_are_refused() {
    let mut world = World::recorded();
    let body = HEAD.to_owned() + &repeated(1025, |_| "m=audio 4000 RTP/AVP 0".to_owned());
    assert_eq!(offer(&mut world, &body)["error-reason"], "Failed to parse SDP");
    world.check_empty();
}

#[test]
fn odd_bodies_are_tolerated_or_refused_with_a_reason() {
    let mut world = World::recorded();
    let audio = |line: &str| format!("{HEAD}m=audio {line}\r\n");
    for (body, reason) in [
        (audio("65535 RTP/AVP 0"), None),
        (audio("1 RTP/AVP"), None),
        (audio("4000 RTP/AVP 0 0 0 8 8"), None),
        (audio("4000 RTP/AVP 300 -1 x"), None),
        (audio("4000/2 RTP/AVP 0"), None),
        (audio("4000 rtp/avp 0"), None),
        (audio("4000 UDP whatever"), None),
        (audio("0 RTP/AVP 0"), Some("Error rewriting SDP")),
        (audio("65536 RTP/AVP 0"), Some("Failed to parse SDP")),
        (audio("-1 RTP/AVP 0"), Some("Failed to parse SDP")),
        (audio("4000"), Some("Failed to parse SDP")),
        (audio("4000 RTP/AVP 0").replace("198.51.100.10\r\nt", "0.0.0.0\r\nt"), None),
        (audio("4000 RTP/AVP 0").replace("IP4 198.51.100.10\r\nt", "IP6 ::\r\nt"), None),
        (audio("4000 RTP/AVP 0").replace("\r\n", "\r"), None),
        (audio("4000 RTP/AVP 0").replace("\r\n", "\n"), None),
        (audio("4000 RTP/AVP 0").replace("\r\n", " \r\n") + "\r\n \r\n", None),
        (audio("4000 RTP/AVP 0\0") + "a=x:\0y\r\n", None),
        (audio("4000 RTP/AVP 0") + "a=rtcp:65535\r\na=rtcp:0 IN IP4 0.0.0.0\r\n", None),
        (audio("4000 RTP/AVP 0") + "a=rtcp:0\r\na=ptime:99999999999\r\na=maxptime:-1\r\na=mid:\r\n", None),
        (audio("4000 RTP/AVP 96") + "a=rtpmap:96 /\r\na=rtpmap:96 x/y/z\r\na=fmtp:96\r\na=rtcp-fb:\r\n", None),
        (audio("4000 RTP/AVP 96") + "a=rtpmap:96 x/4294967295/255\r\na=extmap:\r\na=:\r\na=\r\n", None),
        ("v=0\r\n\0\r\n".to_owned(), Some("Failed to parse SDP")),
        ("\0".repeat(1000), Some("Failed to parse SDP")),
        ("\r".repeat(60_000), Some("Error rewriting SDP")),
        ("v=0".to_owned(), Some("Error rewriting SDP")),
        ("=".repeat(60_000), Some("Failed to parse SDP")),
    ] {
        let reply = offer(&mut world, &body);
        assert_eq!(reply["error-reason"].as_str(), reason, "{body:?}");
        let reply = answer(&mut world, &body);
        assert!(reply["result"] == "ok" || reason.is_some(), "{body:?}: {reply}");
        delete(&mut world);
    }
}

#[test]
fn a_description_of_ours_never_breaks_its_lines() {
    let mut world = World::recorded();
    for body in [audio_with("a=x:\u{85}y\u{2028}z\r\n"), audio_with("a=x:\0\u{b}\u{c}\r\n")] {
        let reply = offer(&mut world, &body);
        let sdp = reply["sdp"].as_str().expect("a description");
        for line in sdp.split("\r\n").filter(|line| !line.is_empty()) {
            assert!(line.as_bytes()[1] == b'=' && !line.contains(['\r', '\n']), "{line:?}");
        }
        delete(&mut world);
    }
}

/// A bencode dictionary of byte strings.
fn bencode(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"d".to_vec();
    for (key, value) in entries {
        bytes.extend(format!("{}:{key}{}:", key.len(), value.len()).into_bytes());
        bytes.extend_from_slice(value);
    }
    bytes.push(b'e');
    bytes
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let mut world = World::recorded();
    let body = [HEAD.as_bytes(), b"m=audio 4000 RTP/AVP 0\r\na=x:J\xf6rg \xff\xfe\r\n"].concat();
    let tag: &[u8] = b"t\xffg";
    let call_id: &[u8] = b"\xc3\x28call";
    let request = bencode(&[("command", b"offer"), ("call-id", call_id), ("from-tag", tag), ("sdp", &body)]);
    let reply = world.ask_bytes(&request);
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(holds(&reply, b"a=x:J\xf6rg \xff\xfe\r\n"));
    world.check();
    let reply = world.ask_bytes(&bencode(&[("command", b"query"), ("call-id", call_id)]));
    assert!(holds(&reply, tag), "{}", String::from_utf8_lossy(&reply));
    let reply = world.ask_bytes(&bencode(&[("command", b"list")]));
    assert!(holds(&reply, call_id));
    world.ask_bytes(&bencode(&[("command", b"delete"), ("call-id", call_id), ("delete delay", b"0")]));
    world.check_empty();
}

#[test]
fn huge_and_equal_names_are_only_names() {
    let mut world = World::recorded();
    let huge = "t".repeat(60_000);
    for (call_id, from, to) in [("x", "x", "y"), (&huge, "a", "b"), ("x", &huge, "b"), ("x", "a", &huge)] {
        let request = json!({"command": "offer", "call-id": call_id, "from-tag": from, "sdp": PLAIN, "via-branch": huge, "label": huge});
        assert_eq!(ask(&mut world, &request)["result"], "ok");
        let request = json!({"command": "answer", "call-id": call_id, "from-tag": from, "to-tag": to, "sdp": PLAIN});
        assert_eq!(ask(&mut world, &request)["result"], "ok");
        ask(&mut world, &json!({"command": "query", "call-id": call_id}));
        ask(&mut world, &json!({"command": "delete", "call-id": call_id, "delete delay": 0}));
        world.check_empty();
    }
    let same = json!({"command": "offer", "call-id": "x", "from-tag": "x", "to-tag": "x", "sdp": PLAIN});
    assert_eq!(ask(&mut world, &same)["error-reason"], "Invalid dialogue association");
    world.check_empty();
}

#[test]
fn a_room_of_many_viewers_stays_fast() {
    let mut world = World::recorded();
    ask(&mut world, &json!({"command": "publish", "call-id": "1", "from-tag": "a", "sdp": PLAIN}));
    for viewer in 0..1000 {
        let tag = format!("v{viewer}");
        let request = json!({"command": "subscribe request", "call-id": "1", "from-tag": "a", "to-tag": tag});
        let begun = thread_time();
        assert_eq!(world.ask(&request)["result"], "ok");
        let request = json!({"command": "subscribe answer", "call-id": "1", "to-tag": tag, "sdp": PLAIN});
        assert_eq!(world.ask(&request)["result"], "ok");
        assert!(thread_time() - begun < LIMIT, "viewer {viewer}: {:?}", thread_time() - begun);
    }
    world.check();
    ask(&mut world, &json!({"command": "query", "call-id": "1"}));
    ask(&mut world, &json!({"command": "delete", "call-id": "1", "from-tag": "a", "delete delay": 0}));
    world.check_empty();
}

#[test]
fn many_branches_and_tags_stay_fast() {
    let mut world = World::recorded();
    let begun = thread_time();
    for number in 0..500 {
        let request = json!({"command": "offer", "call-id": "1", "from-tag": "a", "sdp": PLAIN, "via-branch": format!("b{number}")});
        assert_eq!(world.ask(&request)["result"], "ok");
    }
    for number in 0..1000 {
        let request =
            json!({"command": "answer", "call-id": "1", "from-tag": "a", "to-tag": format!("t{number}"), "sdp": PLAIN});
        assert_eq!(world.ask(&request)["result"], "ok");
    }
    assert!(thread_time() - begun < 20 * LIMIT, "{:?}", thread_time() - begun);
    world.check();
    delete(&mut world);
}

#[test]
fn bodies_at_random_never_panic() {
    use millrace::base::random::{Random, Seeded};
    let mut random = Seeded(42);
    let mut world = World::recorded();
    let seeds: Vec<String> = large_bodies().into_iter().map(|(_, body)| body.chars().take(3000).collect()).collect();
    for _ in 0..2000 {
        let mut bytes = seeds[random.below(seeds.len() as u32) as usize].clone().into_bytes();
        for _ in 0..=random.below(8) {
            let (at, other) = (random.below(bytes.len() as u32) as usize, random.below(bytes.len() as u32) as usize);
            match random.below(4) {
                0 => bytes[at] = random.u32() as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n=:/ 0m"[random.below(8) as usize]),
                _ => bytes.extend_from_within(at.min(other)..at.max(other)),
            }
        }
        let commands: [&[u8]; 3] = [b"offer", b"answer", b"publish"];
        let command = commands[random.below(3) as usize];
        let (from, to): (&[u8], &[u8]) = if random.below(2) == 0 { (b"a", b"b") } else { (b"b", b"a") };
        let entries = [("command", command), ("call-id", b"1"), ("from-tag", from), ("to-tag", to), ("sdp", &bytes)];
        world.ask_bytes(&bencode(&entries));
        world.check();
    }
    world.end_all();
    world.check_empty();
}
