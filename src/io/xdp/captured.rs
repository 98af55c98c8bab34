//! Frames of flows that are captured, as the programs copy them.

use super::{Unavailable, unavailable};
use crate::base::id::CaptureId;
use crate::fastpath::layout::Endpoint;
use crate::fastpath::verdict::Verdict;
use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::unix::AsyncFd;

/// `struct captured`: what stands before the bytes of a frame.
const HEAD_BYTES: usize = 48;

type Captures = SmallVec<[CaptureId; 1]>;

/// Who captures what, by the local port of a flow. Ports stay until their captures end: frames may still be on their way.
#[derive(Default)]
pub struct CapturedPorts {
    ports: Mutex<HashMap<Endpoint, Captures>>,
}

impl CapturedPorts {
    /// Frames of a port's flow are for `captures`.
    pub fn set(&self, port: Endpoint, captures: &[CaptureId]) {
        if !captures.is_empty() {
            self.lock().insert(port, Captures::from_slice(captures));
        }
    }

    /// Forgets a capture that has ended.
    pub fn forget(&self, id: CaptureId) {
        self.lock().retain(|_, captures| {
            captures.retain(|other| *other != id);
            !captures.is_empty()
        });
    }

    fn of(&self, port: &Endpoint) -> Captures {
        self.lock().get(port).cloned().unwrap_or_default()
    }

    /// A map is whole between calls, so one whose user panicked may be used on.
    fn lock(&self) -> MutexGuard<'_, HashMap<Endpoint, Captures>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame, as it came or as it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedFrame {
    pub captures: Captures,
    /// On the clock of `io::clock::mono`.
    pub time_ns: u64,
    /// The interface that it came from, or goes to.
    pub interface: u32,
    /// What became of it.
    pub verdict: Verdict,
    pub is_outbound: bool,
    /// Its length; there may be fewer bytes.
    pub length: usize,
    pub bytes: Vec<u8>,
}

/// The ring in which the programs put frames. It is readable when there are some.
pub struct CaptureRing {
    ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    ports: Arc<CapturedPorts>,
}

impl CaptureRing {
    pub(super) fn new(ring: Map, lost: Map, ports: Arc<CapturedPorts>) -> Result<CaptureRing, Unavailable> {
        let ring = RingBuf::try_from(ring).map_err(|error| unavailable(&error))?;
        let lost = PerCpuArray::try_from(lost).map_err(|error| unavailable(&error))?;
        Ok(CaptureRing { ring, lost, ports })
    }

    /// The ring for a task that waits until there are frames. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn watched(self) -> io::Result<AsyncFd<CaptureRing>> {
        // SAFETY: the descriptor is the ring's own, and stays open as long as the ring lives.
        unsafe { AsyncFd::register(self) }.map_err(io::Error::from)
    }

    /// The next frame; none when all have been taken. Frames that nobody wants any more are passed over.
    pub fn next_frame(&mut self) -> Option<CapturedFrame> {
        loop {
            let record = self.ring.next()?;
            let frame = read(&record, |port| self.ports.of(port));
            if let Some(frame) = frame.filter(|frame| !frame.captures.is_empty()) {
                return Some(frame);
            }
        }
    }

    /// Frames that found no room, since the programs were loaded.
    pub fn lost(&self) -> u64 {
        self.lost.get(&0, 0).map_or(0, |values| values.iter().sum())
    }
}

impl AsFd for CaptureRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for CaptureRing {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// A record of the ring; none when it is none.
fn read(record: &[u8], captures: impl FnOnce(&Endpoint) -> Captures) -> Option<CapturedFrame> {
    let (head, bytes) = record.split_at_checked(HEAD_BYTES)?;
    let word = |at: usize| Some(u32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let port =
        Endpoint { address: head.get(8..24)?.try_into().ok()?, port: head.get(24..26)?.try_into().ok()?, side: 0 };
    let length = word(36)? as usize;
    Some(CapturedFrame {
        captures: captures(&port),
        time_ns: u64::from_ne_bytes(head.get(..8)?.try_into().ok()?),
        interface: word(28)?,
        verdict: *Verdict::ALL.get(word(32)? as usize)?,
        is_outbound: word(40)? != 0,
        length,
        // The ring rounds nothing up, but what it has is not to be trusted for more than there is.
        bytes: bytes[..bytes.len().min(length)].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn records_are_read_as_they_are_laid_out() {
        let port = Endpoint::from("192.0.2.1:30000".parse::<SocketAddr>().unwrap());
        let words = [3u32, Verdict::WrongSource as u32, 5, 1, 0];
        let mut record = 77u64.to_ne_bytes().to_vec();
        record.extend(port.address);
        record.extend(port.port);
        record.extend([0; 2]);
        record.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        assert_eq!(record.len(), HEAD_BYTES);
        record.extend(b"frame and more");
        let ports = CapturedPorts::default();
        ports.set(port, &[CaptureId(1), CaptureId(2)]);
        let frame = read(&record, |port| ports.of(port)).unwrap();
        assert_eq!((frame.time_ns, frame.interface, frame.verdict), (77, 3, Verdict::WrongSource));
        assert_eq!((frame.is_outbound, frame.length, frame.bytes.as_slice()), (true, 5, &b"frame"[..]));
        ports.forget(CaptureId(1));
        assert_eq!(read(&record, |port| ports.of(port)).unwrap().captures.as_slice(), [CaptureId(2)]);
        ports.forget(CaptureId(2));
        assert!(ports.lock().is_empty());
        assert_eq!(read(&record[..47], |port| ports.of(port)), None);
    }
}
