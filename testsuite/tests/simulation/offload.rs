//! SRTP that another path forwards, and what of it comes to the daemon all the same.

use super::secure::{CM, Call};
use millrace::relay::DropReason;
use millrace_testsuite::simulation::{Datagram, FakeKernel, Fate};
use serde_json::{Value, json};

/// A call on its way through a kernel.
struct Trial {
    call: Call,
    kernel: FakeKernel,
    said: [Vec<Vec<u8>>; 2],
}

impl Trial {
    /// Both ways are the kernel's after some packets.
    fn new(flags: Value) -> Trial {
        let mut trial = Trial::without_entries(flags);
        trial.talk(10);
        assert_eq!(trial.kernel.counts(), (2, 2));
        trial
    }

    fn without_entries(mut flags: Value) -> Trial {
        let mut call = Call::new([CM, CM], [false; 2]);
        let kernel = FakeKernel::default();
        call.world.shard.use_table(Box::new(kernel.clone()));
        flags["DTLS"] = json!("off");
        call.set_up(["RTP/SAVP"; 2], ["", ""], flags);
        Trial { call, kernel, said: Default::default() }
    }

    /// The next packet of a phone, on the wire.
    fn next(&mut self, phone: usize) -> Datagram {
        self.next_of(phone, 160)
    }

    /// The same with a payload of so many bytes.
    fn next_of(&mut self, phone: usize, bytes: usize) -> Datagram {
        let payload = vec![self.said[phone].len() as u8; bytes];
        self.said[phone].push(payload.clone());
        self.call.phones[phone].say(&payload)
    }

    /// A datagram comes from the wire.
    fn receive(&mut self, datagram: &Datagram) {
        match self.kernel.receive(self.call.world.now.mono, datagram) {
            Fate::Passed => self.deliver(std::slice::from_ref(datagram)),
            Fate::Dropped => {}
            Fate::Sent(sent) => self.carry(vec![sent]),
        }
    }

    /// Datagrams come to the daemon in one turn.
    fn deliver(&mut self, datagrams: &[Datagram]) {
        for datagram in datagrams {
            let (_, sent) = self.call.world.deliver(datagram).expect("an open port");
            self.carry(sent);
        }
        let sent = self.call.world.end_turn();
        self.carry(sent);
    }

    fn carry(&mut self, sent: Vec<Datagram>) {
        self.call.carry(sent.into());
    }

    /// Both talk.
    fn talk(&mut self, packets: usize) {
        for _ in 0..packets {
            for phone in 0..2 {
                let datagram = self.next(phone);
                self.receive(&datagram);
            }
            self.call.pass(20);
        }
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.call.world.shard.relay().dropped().get(reason)
    }

    /// Everything that was said has been heard, once and in order.
    fn end(self) {
        let [one, other] = &self.call.phones;
        assert_eq!((&one.heard, &other.heard), (&self.said[1], &self.said[0]));
        assert_eq!((one.refused, other.refused), (0, 0));
        self.call.end();
    }
}

const WAYS: [&str; 2] = ["trust", "recrypt"];

/// Packets that had arrived before their entry was there, several in a turn and one by one.
#[test]
fn what_was_queued_before_an_entry_goes_its_way() {
    for flag in WAYS {
        for turns in [vec![1], vec![2], vec![3, 2], vec![1, 1, 1], vec![2, 2, 2, 2]] {
            let mut trial = Trial::without_entries(json!({"flags": [flag]}));
            let entries = |trial: &Trial| trial.kernel.counts().0;
            while entries(&trial) < 2 {
                trial.call.pass(20);
                for phone in [1, 0] {
                    let datagram = trial.next(phone);
                    trial.receive(&datagram);
                }
            }
            for count in turns {
                let queued: Vec<Datagram> = (0..count).map(|_| trial.next(0)).collect();
                trial.deliver(&queued);
                assert_eq!(trial.call.phones[1].heard.len(), trial.said[0].len(), "{flag}: something is kept back");
            }
            trial.talk(5);
            assert_eq!(entries(&trial), 2, "{flag}: it is not tried again");
            trial.end();
        }
    }
}

/// Whoever has no key can't bring an entry down, wherever the packets come from and whatever the kernel leaves.
#[test]
fn forged_packets_leave_entries_alone() {
    for flag in WAYS {
        let mut trial = Trial::new(json!({"flags": [flag]}));
        for round in 0..50 {
            let good = trial.next(0);
            let elsewhere = std::net::SocketAddr::from(([203, 0, 113, 200], 4000));
            let mut wrong = good.clone();
            let last = wrong.bytes.len() - 1;
            wrong.bytes[last - round % 10] ^= 1;
            let short = Datagram { bytes: wrong.bytes[..15].to_vec(), ..wrong };
            let both = [wrong, short];
            let all = both.iter().flat_map(|one| [one.clone(), Datagram { from: elsewhere, ..one.clone() }]);
            trial.deliver(&all.collect::<Vec<_>>());
            trial.receive(&good);
            trial.talk(1);
        }
        assert_eq!(trial.kernel.counts(), (2, 2), "{flag}");
        assert_eq!((trial.dropped(DropReason::WrongTag), trial.dropped(DropReason::Malformed)), (100, 100));
        trial.end();
    }
}

/// Nor with packets that were sent before.
#[test]
fn replays_leave_entries_alone() {
    for flag in WAYS {
        let mut trial = Trial::new(json!({"flags": [flag]}));
        let mut earlier = Vec::new();
        for round in 0..50 {
            let good = trial.next(0);
            trial.receive(&good);
            earlier.push(good);
            let again: Vec<Datagram> = [round, round / 2, 0].map(|place| earlier[place].clone()).into();
            trial.deliver(&again);
            trial.talk(1);
        }
        assert_eq!(trial.kernel.counts(), (2, 2), "{flag}");
        assert_eq!(trial.dropped(DropReason::Replayed), 150);
        trial.end();
    }
}

/// Packets of the peer that the kernel leaves now and then cost little; many of them keep the stream in the daemon.
#[test]
fn entries_come_back_as_they_pay() {
    for (every, may_be_installed) in [(100, 2 + 9..=2 + 9), (2, 2..=2 + 12)] {
        let mut trial = Trial::new(json!({}));
        for number in 1..=1000 {
            let datagram = trial.next(0);
            match number % every {
                0 => trial.deliver(&[datagram]),
                _ => trial.receive(&datagram),
            }
            let answer = trial.next(1);
            trial.receive(&answer);
            trial.call.pass(20);
        }
        let (_, installed) = trial.kernel.counts();
        assert!(may_be_installed.contains(&installed), "one of {every}: installed {installed} times");
        trial.end();
    }
}

/// Packets too long for the kernel's AES come to the daemon past the network stack, from the peer's address, until the call
/// ends.
#[test]
fn long_packets_are_lifted() {
    let mut trial = Trial::new(json!({"flags": ["recrypt"]}));
    let kernel = trial.kernel.clone();
    assert_eq!(kernel.lifted(), []);
    for _ in 0..200 {
        let datagram = trial.next_of(0, 1200);
        trial.receive(&datagram);
        let answer = trial.next(1);
        trial.receive(&answer);
        trial.call.pass(20);
    }
    let datagram = trial.next_of(0, 1200);
    assert_eq!(kernel.lifted(), [(datagram.to, datagram.from)]);
    assert_eq!(kernel.counts().0, 1, "audio of the other side stays in the kernel");
    trial.receive(&datagram);
    trial.end();
    assert_eq!((kernel.lifted(), kernel.counts().0), (vec![], 0));
}

/// Who is told that media is blocked gets none any more, though the turn of the event loop is not over.
#[test]
fn a_reply_is_true_of_the_kernel() {
    let mut trial = Trial::new(json!({}));
    let ask = |trial: &mut Trial, command: &str| {
        let reply = trial.call.world.ask(&json!({"command": command, "call-id": "c"}));
        assert_eq!(reply["result"], "ok", "{reply}");
    };
    ask(&mut trial, "block media");
    for phone in 0..2 {
        let datagram = trial.call.phones[phone].say(&[0; 160]);
        let fate = trial.kernel.receive(trial.call.world.now.mono, &datagram);
        assert!(!matches!(fate, Fate::Sent(_)), "{fate:?}");
    }
    ask(&mut trial, "unblock media");
    trial.talk(10);
    assert_eq!(trial.kernel.counts().0, 2);
    trial.end();
}
