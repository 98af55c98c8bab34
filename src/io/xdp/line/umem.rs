//! The frames of one queue of an interface, which the lines of all shards share.

use super::ring::{Kind, Mapping, Ring, set_option};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

/// Room of a frame. The kernel keeps 256 bytes of it to itself, which leaves `LINE_BYTES`.
pub(super) const FRAME_BYTES: usize = 2048;
/// Frames that wait for packets. What comes faster than it is taken is lost beyond them, as at a socket.
const RECEIVING: u32 = 2048;
/// All frames of a queue; the others are for what is sent.
const FRAMES: u32 = 2 * RECEIVING;

/// Memory for frames, and where those are that nobody uses. A frame belongs to the kernel, while it waits or is being
/// sent, to whoever has taken its address out of a ring or out of here, or to nobody, while it is free.
#[derive(Debug)]
pub(super) struct Umem {
    memory: Mapping,
    pool: Mutex<Pool>,
}

#[derive(Debug)]
struct Pool {
    fill: Ring<u64>,
    completion: Ring<u64>,
    free: Vec<u64>,
}

impl Umem {
    /// Frames for a socket that is not bound yet.
    pub(super) fn make(socket: BorrowedFd<'_>) -> io::Result<Umem> {
        let bytes = FRAMES as usize * FRAME_BYTES;
        let memory = Mapping::anonymous(bytes)?;
        // SAFETY: numbers, all of which may be zero.
        let mut area: libc::xdp_umem_reg = unsafe { std::mem::zeroed() };
        area.addr = memory.address();
        area.len = bytes as u64;
        area.chunk_size = FRAME_BYTES as u32;
        set_option(socket, libc::XDP_UMEM_REG, &area)?;
        let mut fill = Ring::make(socket, Kind::Fill, RECEIVING)?;
        let completion = Ring::make(socket, Kind::Completion, FRAMES)?;
        let address = |number: u32| u64::from(number) * FRAME_BYTES as u64;
        for frame in (0..RECEIVING).map(address) {
            fill.push(frame);
        }
        fill.publish();
        let free = (RECEIVING..FRAMES).map(address).collect();
        Ok(Umem { memory, pool: Mutex::new(Pool { fill, completion, free }) })
    }

    /// The bytes of a frame at `address`, which may be behind the frame's begin; empty if there are not so many.
    ///
    /// # Safety
    /// The frame belongs to the caller, who uses these bytes once at a time.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn frame(&self, address: u64, bytes: usize) -> &mut [u8] {
        match self.memory.at(address as usize, bytes) {
            // SAFETY: the bytes are within the memory, which lives as long as this, and the caller's alone.
            Some(first) => unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), bytes) },
            None => &mut [],
        }
    }

    /// Gives frames back in which packets came.
    pub(super) fn recycle(&self, frames: impl Iterator<Item = u64>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        for frame in frames {
            let begin = frame - frame % FRAME_BYTES as u64;
            if !pool.fill.push(begin) {
                pool.free.push(begin);
            }
        }
        pool.fill.publish();
    }

    /// Takes up to `count` free frames.
    pub(super) fn take(&self, count: usize, into: &mut Vec<u64>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sent) = pool.completion.pop() {
            pool.free.push(sent - sent % FRAME_BYTES as u64);
        }
        pool.completion.release();
        let rest = pool.free.len().saturating_sub(count);
        into.extend(pool.free.drain(rest..));
    }
}
