//! One line: a socket of AF_XDP of one shard, at one queue of an interface.

use super::ring::{Kind, Ring};
use super::umem::Umem;
use crate::io::check;
use socket2::{Domain, Socket, Type};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Frames that may wait for the shard.
const RECEIVING: u32 = 2048;
/// Frames that may wait for the kernel to send them.
const SENDING: u32 = 1024;
/// Frames that are taken at once.
pub(super) const MOST: usize = 64;
/// Free frames that are fetched at once.
const STOCK: usize = 64;
/// The kernel sends so many frames in one call.
const SENT_AT_ONCE: usize = 32;
/// What may be under way, counted by the kernel with what surrounds a packet.
const QUEUE_BYTES: libc::c_int = 8 << 20;

pub(super) struct Line {
    socket: Socket,
    umem: Arc<Umem>,
    received: Ring<libc::xdp_desc>,
    sending: Ring<libc::xdp_desc>,
    /// What was taken last.
    taken: Vec<libc::xdp_desc>,
    /// Free frames at hand.
    stock: Vec<u64>,
    /// Frames that were queued since the kernel was told.
    queued: usize,
    /// Checksums of what comes may have to be completed by hardware.
    pub(super) may_be_partial: bool,
}

impl Line {
    /// The first line at a queue, which brings the frames; another one `beside` it shares them.
    ///
    /// # Errors
    /// When there is no such queue, or the device takes no such sockets.
    pub(super) fn open(interface: u32, queue: u32, beside: Option<&Line>, may_be_partial: bool) -> io::Result<Line> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::from(libc::AF_XDP), kind, None)?;
        let umem = match beside {
            Some(line) => line.umem.clone(),
            None => Arc::new(Umem::make(socket.as_fd())?),
        };
        let received = Ring::make(socket.as_fd(), Kind::Receive, RECEIVING)?;
        let sending = Ring::make(socket.as_fd(), Kind::Transmit, SENDING)?;
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            // Frames are copied: without that, what programs leave to the host would have to come through here as well.
            sxdp_flags: if beside.is_some() { libc::XDP_SHARED_UMEM } else { libc::XDP_COPY },
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: beside.map_or(0, |line| line.socket.as_raw_fd() as u32),
        };
        // SAFETY: the descriptor is open, pointer and length describe `address`.
        check(unsafe {
            let (address, length) = ((&raw const address).cast(), size_of_val(&address) as libc::socklen_t);
            libc::bind(socket.as_raw_fd(), address, length)
        })?;
        if socket.set_send_buffer_size(QUEUE_BYTES as usize).is_ok() {
            force_queue(&socket);
        }
        Ok(Line {
            socket,
            umem,
            received,
            sending,
            taken: Vec::with_capacity(MOST),
            stock: Vec::with_capacity(STOCK),
            queued: 0,
            may_be_partial,
        })
    }

    /// Takes what has come, at most [`MOST`] frames; tells how many.
    pub(super) fn receive(&mut self) -> usize {
        debug_assert!(self.taken.is_empty());
        while self.taken.len() < MOST
            && let Some(frame) = self.received.pop()
        {
            self.taken.push(frame);
        }
        self.received.release();
        self.taken.len()
    }

    /// A frame that was taken.
    #[inline]
    pub(super) fn frame(&mut self, index: usize) -> &mut [u8] {
        let Some(frame) = self.taken.get(index) else { return &mut [] };
        // SAFETY: it was taken out of the ring and is not given back yet; the borrow is of this line.
        unsafe { self.umem.frame(frame.addr, frame.len as usize) }
    }

    /// Gives back what was taken.
    pub(super) fn recycle(&mut self) {
        if !self.taken.is_empty() {
            self.umem.recycle(self.taken.drain(..).map(|frame| frame.addr));
        }
    }

    /// Queues a frame that `write` writes and tells the length of; false when there is no room, or nothing was written.
    #[inline]
    pub(super) fn queue(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        if self.queued >= SENT_AT_ONCE {
            self.send();
        }
        if self.stock.is_empty() {
            self.umem.take(STOCK, &mut self.stock);
        }
        let Some(address) = self.stock.pop() else { return false };
        // SAFETY: the frame was free, and is in no ring.
        let frame = unsafe { self.umem.frame(address, super::umem::FRAME_BYTES) };
        let written = write(frame);
        let pushed = written
            .is_some_and(|length| self.sending.push(libc::xdp_desc { addr: address, len: length as u32, options: 0 }));
        match pushed {
            true => self.queued += 1,
            false => self.stock.push(address),
        }
        pushed
    }

    /// Has the kernel send what is queued. What a device does not take now, goes with the next frames.
    pub(super) fn send(&mut self) {
        if self.queued == 0 {
            return;
        }
        self.sending.publish();
        for _ in 0..=self.queued.div_ceil(SENT_AT_ONCE) {
            // SAFETY: the descriptor is open, and there is nothing to read.
            unsafe {
                libc::sendto(self.socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
            };
            if !self.sending.is_behind() {
                break;
            }
        }
        self.queued = 0;
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Lets more be under way than the host's limit for everybody.
fn force_queue(socket: &Socket) {
    let value = QUEUE_BYTES;
    // SAFETY: the descriptor is open, pointer and length describe `value`. Where it is not permitted, the limit stays.
    unsafe {
        let (value, length) = ((&raw const value).cast(), size_of_val(&value) as libc::socklen_t);
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, value, length);
    }
}
