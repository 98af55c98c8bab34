//! Replays recorded conversations against the engine and compares every reply.

use millrace::base::id::PortToken;
use millrace::base::random::Seeded;
use millrace::base::time::{Mono, Now, Unix};
use millrace::call::interface::{Interface, LocalAddress};
use millrace::call::port_pool::PortPool;
use millrace::call::{InterfaceId, Interfaces, PortNumbers};
use millrace::engine::{Lent, Settings, Shard};
use millrace::ng::{Defaults, Encoding, Request, message};
use millrace::relay::{OpenError, Ports};
use millrace_testsuite::conversation::{self, Case};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What cases may need that is not built yet.
const UNBUILT: [&str; 3] = ["encryption", "ice", "transcoding"];

struct World {
    shard: Shard,
    ports: FakePorts,
    numbers: Numbers,
    random: Seeded,
    now: Now,
}

#[derive(Default)]
struct FakePorts {
    open: HashMap<u32, SocketAddr>,
    next: u32,
}

impl Ports for FakePorts {
    fn open(&mut self, local: SocketAddr) -> Result<PortToken, OpenError> {
        if self.open.values().any(|other| *other == local) {
            return Err(OpenError::InUse);
        }
        self.next += 1;
        self.open.insert(self.next, local);
        Ok(PortToken(self.next))
    }
    fn close(&mut self, port: PortToken) {
        assert!(self.open.remove(&port.0).is_some(), "a port was closed twice");
    }
    fn set_tos(&mut self, _: PortToken, _: u8) {}
}

struct Numbers {
    pools: HashMap<InterfaceId, PortPool>,
    random: Seeded,
}

impl PortNumbers for Numbers {
    fn take(&mut self, interface: InterfaceId) -> Option<u16> {
        self.pools.get_mut(&interface)?.take(&mut self.random)
    }
    fn put(&mut self, interface: InterfaceId, even: u16) {
        self.pools.get_mut(&interface).expect("ports come back to the interface they are from").put(even);
    }
}

fn interfaces() -> Interfaces {
    let address = |address: &str, advertised: &str| LocalAddress {
        address: address.parse().expect("an address of the recording"),
        advertised: advertised.parse().expect("an address of the recording"),
        port_min: 30000,
        port_max: 39999,
        excluded_ports: Vec::new(),
    };
    let of = |name: &str, addresses: Vec<LocalAddress>| Interface { name: name.to_owned(), addresses };
    let same = |text: &str| address(text, text);
    Interfaces::new(
        vec![
            of("pub", vec![same("203.0.113.1"), same("2001:db8:4321::1")]),
            of("priv", vec![same("203.0.113.2"), same("2001:db8:4321::2")]),
            of("nat", vec![address("203.0.113.3", "192.0.2.77")]),
        ],
        Vec::new(),
    )
}

impl World {
    fn new() -> World {
        let interfaces = Arc::new(interfaces());
        let pool = |local: &LocalAddress| PortPool::new(local.port_min, local.port_max, &local.excluded_ports);
        let pools = interfaces.addresses().map(|(id, _, local)| (id, pool(local))).collect();
        let settings = Settings {
            interfaces,
            timeouts: Default::default(),
            delete_delay: Duration::from_secs(30),
            learning: Default::default(),
            tos: None,
            instance_id: "0123456789abcdef".to_owned(),
            software: "millrace-test".to_owned(),
        };
        World {
            shard: Shard::new(settings, Default::default()),
            ports: FakePorts::default(),
            numbers: Numbers { pools, random: Seeded(1) },
            random: Seeded(2),
            now: Now { mono: Mono(1_000_000_000), unix: Unix(1_700_000_000_000_000) },
        }
    }

    fn ask(&mut self, request: &serde_json::Value) -> serde_json::Value {
        let text = request.to_string();
        let reply = match message::decode(text.as_bytes()) {
            Ok((encoding, dictionary)) => match Request::parse(&dictionary, encoding, &Defaults::default()) {
                Ok(request) => self.command(&request),
                Err(error) => message::error_reply(&error.to_string()),
            },
            Err(error) => message::error_reply(&error.error.to_string()),
        };
        let encoded = message::encode(Encoding::Json, &reply);
        serde_json::from_slice(&encoded).expect("replies are JSON")
    }

    fn command(&mut self, request: &Request) -> millrace::ng::Dictionary {
        self.now.mono = self.now.mono + Duration::from_millis(1);
        let mut lent = Lent { ports: &mut self.ports, numbers: &mut self.numbers, random: &mut self.random };
        self.shard.command(self.now, request, "127.0.0.1:1", &mut lent)
    }
}

/// A case deletes its calls; after it nothing may be left of them.
fn check_leftovers(world: &World, case: &Case) {
    assert!(world.ports.open.is_empty(), "{} left ports open", case.name);
    assert_eq!(world.shard.calls().count(), 0, "{} left a call", case.name);
    assert_eq!(world.shard.relay().streams().count(), 0, "{} left a stream", case.name);
    for pool in world.numbers.pools.values() {
        assert_eq!(pool.used(), 0, "{} left port numbers in use", case.name);
    }
}

#[test]
fn every_recorded_conversation_goes_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cases");
    let only = std::env::var("MILLRACE_GOLDEN").unwrap_or_default();
    let mut world = World::new();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in conversation::load(&folder).expect("the corpus is readable") {
        let is_built = case.needs.iter().all(|need| !UNBUILT.contains(&need.as_str()));
        if !is_built || !case.name.contains(&only) {
            continue;
        }
        let count = counts.entry(case.group.clone()).or_default();
        count.1 += 1;
        match conversation::replay(&case, &mut |request| Ok(world.ask(request))) {
            Ok(()) => count.0 += 1,
            Err(why) => failures.push(format!("{}\n  {why}", case.name)),
        }
        check_leftovers(&world, &case);
    }
    for (group, (passed, total)) in &counts {
        println!("{group:12} {passed:5} of {total:5}");
    }
    assert!(!counts.is_empty(), "no case was replayed");
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}
