//! The loop of one shard's thread.

use super::batch::Batch;
use super::clock::{self, Clock};
use super::epoll::Events;
use super::gather::Gather;
use super::receiver::{LINES, Receiver, SHARED, TIMER, WAKER, WATCHED};
use super::timer::Timer;
use super::waker::Waker;
use crate::base::time::{Mono, Now};
use crate::relay::ports::PortToken;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Room for the largest datagram.
const DATAGRAM_BYTES: usize = 65536;
/// Datagrams after which the clock is read again.
const CLOCK_EVERY: usize = 16;
/// How often a turn takes from a socket that many ports share, while it gives all that a system call can take.
const TAKES_A_TURN: usize = 4;

/// The time between the beginnings of two turns while packets gather.
pub const GATHER: Duration = Duration::from_micros(200);

/// What an event loop runs.
pub trait Handler {
    /// A datagram came to a port. What is to be sent goes into `transmit`.
    fn datagram(&mut self, now: Now, port: PortToken, from: SocketAddr, datagram: &mut [u8], transmit: &mut Batch);

    /// A watched descriptor has input; `number` is the one it was watched under.
    fn ready(&mut self, now: Now, number: u32, ports: &mut Receiver, transmit: &mut Batch);

    /// Another thread woke the loop; `Break` ends it.
    fn wake(&mut self, now: Now, ports: &mut Receiver, transmit: &mut Batch) -> ControlFlow<()>;

    /// Whether something has become due earlier than `timer` said last. Asked once a turn.
    fn is_early(&mut self) -> bool {
        false
    }

    /// Everything that came in a turn has been handled.
    fn turned(&mut self, now: Now, transmit: &mut Batch) {
        let _ = (now, transmit);
    }

    /// Called when the moment that it last told has come, after each `wake` and after `ready`; tells the next one.
    fn timer(&mut self, now: Now, ports: &mut Receiver, transmit: &mut Batch) -> Option<Mono>;

    /// The system did not take a datagram from this port.
    fn send_failed(&mut self, port: PortToken);

    /// Whether `leaves` is to be called. Asked once for each batch.
    fn looks_on(&self) -> bool {
        false
    }

    /// A datagram is about to be sent from a port.
    fn leaves(&mut self, now: Now, port: PortToken, to: SocketAddr, datagram: &[u8]) {
        let _ = (now, port, to, datagram);
    }
}

/// The ports of one shard and the loop over them.
pub struct EventLoop {
    receiver: Receiver,
    batch: Batch,
    waker: Arc<Waker>,
    events: Events,
    buffer: Box<[u8]>,
    due: Option<Mono>,
    timer: Timer,
    clock: Clock,
    gather: Gather,
    /// When the last turn began.
    turned: Now,
    /// The number of the turn, from 1 on.
    turn: u32,
    /// The last turn had datagrams, and nobody waits for the answer to a command.
    may_gather: bool,
    /// A watched descriptor had input in this turn.
    is_asked: bool,
}

impl EventLoop {
    /// A loop without ports, which lets packets gather for `GATHER`.
    pub fn new() -> io::Result<EventLoop> {
        EventLoop::with_gather(GATHER)
    }

    /// A loop without ports, which under steady load lets packets gather for `gather`; zero holds up nothing.
    pub fn with_gather(gather: Duration) -> io::Result<EventLoop> {
        let receiver = Receiver::new()?;
        let waker = Arc::new(Waker::new()?);
        receiver.add_own(waker.as_fd(), WAKER)?;
        let timer = Timer::new()?;
        receiver.add_own(timer.as_fd(), TIMER)?;
        Ok(EventLoop {
            receiver,
            batch: Batch::new(),
            waker,
            events: Events::new(),
            buffer: vec![0; DATAGRAM_BYTES].into_boxed_slice(),
            due: None,
            timer,
            clock: Clock::new(),
            gather: Gather::new(gather),
            turned: Now::default(),
            turn: 0,
            may_gather: false,
            is_asked: false,
        })
    }

    /// Wakes this loop from any thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The open ports.
    pub fn ports(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// Turns until the handler breaks. An error is one of the queue itself, after which nothing can be received.
    pub fn run(&mut self, handler: &mut impl Handler) -> io::Result<()> {
        while self.turn(handler, None)?.is_continue() {}
        Ok(())
    }

    /// Waits once, at most `longest`, and handles everything that was ready.
    pub fn turn(&mut self, handler: &mut impl Handler, longest: Option<Duration>) -> io::Result<ControlFlow<()>> {
        let timeout_ms = self.wait_ms(longest);
        self.receiver.wait(&mut self.events, timeout_ms)?;
        let now = self.receive(handler);
        let woken = self.waker.take();
        if woken && handler.wake(now, &mut self.receiver, &mut self.batch).is_break() {
            self.flush(handler);
            return Ok(ControlFlow::Break(()));
        }
        let is_early = handler.is_early();
        if woken || is_early || self.is_asked || self.due.is_some_and(|due| due <= now.mono) {
            self.due = handler.timer(now, &mut self.receiver, &mut self.batch);
            self.timer.set(self.due)?;
        }
        handler.turned(now, &mut self.batch);
        self.flush(handler);
        Ok(ControlFlow::Continue(()))
    }

    /// Lets packets gather, and tells how long the queue may be waited on.
    fn wait_ms(&mut self, longest: Option<Duration>) -> Option<u32> {
        if let Some(nap) = self.gather.nap(clock::mono(), self.turned.mono, self.may_gather) {
            std::thread::sleep(nap);
            self.gather.rise(clock::mono());
        }
        let wait = longest?;
        Some(u32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX))
    }

    /// One datagram from each port that is ready, and some from the sockets that many ports share: a busy one comes again
    /// in the next turn. Tells the time.
    fn receive(&mut self, handler: &mut impl Handler) -> Now {
        let mut now = self.clock.now();
        self.turned = now;
        self.turn = self.turn.wrapping_add(1);
        self.gather.ready(now.mono);
        self.may_gather = self.events.len() > 0;
        self.is_asked = false;
        for index in 0..self.events.len() {
            if index % CLOCK_EVERY == CLOCK_EVERY - 1 {
                now = self.clock.now();
            }
            let ready = self.events.get(index);
            if ready.number == WAKER {
                self.waker.drain();
                self.may_gather = false;
                continue;
            }
            if ready.number == TIMER {
                self.timer.drain();
                continue;
            }
            if ready.number >= WATCHED {
                self.may_gather = false;
                self.is_asked = true;
                handler.ready(now, ready.number - WATCHED, &mut self.receiver, &mut self.batch);
                continue;
            }
            if ready.number >= SHARED {
                now = self.receive_shared(handler, now, ready.number - SHARED);
                continue;
            }
            if ready.number >= LINES {
                now = self.receive_line(handler, now, ready.number - LINES);
                continue;
            }
            let port = PortToken(ready.number);
            if ready.is_error {
                self.receiver.clear_error(port);
            }
            if self.receiver.came_back(port, self.turn) {
                self.gather.came_back();
            }
            let Some(received) = self.receiver.receive(port, &mut self.buffer) else { continue };
            let datagram = &mut self.buffer[..received.bytes];
            handler.datagram(now, port, received.from, datagram, &mut self.batch);
            if self.batch.is_full() {
                self.flush(handler);
            }
        }
        now
    }

    fn receive_shared(&mut self, handler: &mut impl Handler, now: Now, family: u32) -> Now {
        let mut now = now;
        for _ in 0..TAKES_A_TURN {
            let (count, may_be_more) = self.receiver.receive_shared(family);
            for index in 0..count {
                if index % CLOCK_EVERY == CLOCK_EVERY - 1 {
                    now = self.clock.now();
                }
                let Some(arrival) = self.receiver.shared(family, index) else { continue };
                handler.datagram(now, arrival.port, arrival.from, arrival.bytes, &mut self.batch);
                if self.batch.is_full() {
                    self.flush(handler);
                }
            }
            if !may_be_more {
                return now;
            }
        }
        self.gather.fell_behind();
        now
    }

    /// The same from a line past the network stack. What is sent for its datagrams may go that way, too.
    fn receive_line(&mut self, handler: &mut impl Handler, now: Now, line: u32) -> Now {
        let mut now = now;
        for _ in 0..TAKES_A_TURN {
            let (count, may_be_more) = self.receiver.receive_line(line);
            self.batch.lift(true);
            for index in 0..count {
                if index % CLOCK_EVERY == CLOCK_EVERY - 1 {
                    now = self.clock.now();
                }
                let Some(arrival) = self.receiver.lifted(line, index) else { continue };
                handler.datagram(now, arrival.port, arrival.from, arrival.bytes, &mut self.batch);
                if self.batch.is_full() {
                    self.flush(handler);
                }
            }
            self.batch.lift(false);
            self.receiver.recycle_line(line);
            if !may_be_more {
                return now;
            }
        }
        self.gather.fell_behind();
        now
    }

    #[inline]
    fn flush(&mut self, handler: &mut impl Handler) {
        if handler.looks_on() {
            let now = self.clock.now();
            self.batch.waiting().for_each(|(port, to, datagram)| handler.leaves(now, port, to, datagram));
        }
        self.batch.flush(&mut self.receiver, |port| handler.send_failed(port));
    }
}
