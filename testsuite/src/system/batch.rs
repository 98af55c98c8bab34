//! Many datagrams in one system call.

use super::check;
use socket2::SockAddr;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Datagrams of one system call.
pub const BATCH: usize = 64;
/// The longest datagram that is received whole.
pub const DATAGRAM_BYTES: usize = 256;

/// Datagrams waiting to be sent through one socket.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<[u8; DATAGRAM_BYTES]>,
    lengths: Vec<usize>,
    addresses: Vec<SockAddr>,
}

impl Outbox {
    /// Whether no more fits.
    pub fn is_full(&self) -> bool {
        self.lengths.len() == BATCH
    }

    /// How many datagrams wait.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Adds a datagram of at most `DATAGRAM_BYTES`; `write` fills in its bytes and gives their number.
    pub fn push(&mut self, to: &SockAddr, write: impl FnOnce(&mut [u8; DATAGRAM_BYTES]) -> usize) {
        let mut bytes = [0; DATAGRAM_BYTES];
        let length = write(&mut bytes).min(DATAGRAM_BYTES);
        self.bytes.push(bytes);
        self.lengths.push(length);
        self.addresses.push(to.clone());
    }

    /// Sends everything without waiting and empties itself; how many datagrams the system took.
    pub fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let count = self.lengths.len();
        if count == 0 {
            return Ok(0);
        }
        let mut parts: Vec<libc::iovec> = self
            .bytes
            .iter_mut()
            .zip(&self.lengths)
            .map(|(bytes, length)| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: *length })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = parts.iter_mut().map(header).collect();
        for (header, address) in headers.iter_mut().zip(&self.addresses) {
            header.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = address.len();
        }
        // Sound: headers, parts, bytes and addresses outlive the call; the system only reads what they point to.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, libc::MSG_DONTWAIT)
        };
        self.bytes.clear();
        self.lengths.clear();
        self.addresses.clear();
        check(sent).map(|sent| sent as usize)
    }
}

/// Room for received datagrams.
pub struct Inbox {
    bytes: Box<[[u8; DATAGRAM_BYTES]; BATCH]>,
    lengths: [usize; BATCH],
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox { bytes: Box::new([[0; DATAGRAM_BYTES]; BATCH]), lengths: [0; BATCH] }
    }
}

impl Inbox {
    /// Receives what is there without waiting; how many datagrams that is.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let part = |bytes: &mut [u8; DATAGRAM_BYTES]| libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: DATAGRAM_BYTES,
        };
        let mut parts: [libc::iovec; BATCH] = self.bytes.each_mut().map(part);
        let mut headers: [libc::mmsghdr; BATCH] = parts.each_mut().map(header);
        // Sound: headers, parts and bytes outlive the call, and the lengths given are those of the buffers.
        let received = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as libc::c_uint, flags, std::ptr::null_mut())
        };
        match check(received) {
            Ok(count) => {
                for (length, header) in self.lengths.iter_mut().zip(&headers[..count as usize]) {
                    *length = header.msg_len as usize;
                }
                Ok(count as usize)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// A received datagram, `index` below what `receive` gave.
    pub fn datagram(&self, index: usize) -> &[u8] {
        &self.bytes[index][..self.lengths[index]]
    }
}

/// A message of one part, without address.
fn header(part: &mut libc::iovec) -> libc::mmsghdr {
    // Sound: all zeros is a message header without name, parts and control data.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_arrives_in_order() {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = SockAddr::from(other.local_addr().unwrap());
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        for number in 0..BATCH {
            assert!(!outbox.is_full());
            outbox.push(&to, |bytes| {
                bytes[..2].fill(number as u8);
                2
            });
        }
        assert!(outbox.is_full());
        assert_eq!(outbox.send(&one).unwrap(), BATCH);
        assert_eq!(inbox.receive(&other).unwrap(), BATCH);
        assert!((0..BATCH).all(|number| inbox.datagram(number) == [number as u8; 2]));
        assert_eq!((inbox.receive(&other).unwrap(), outbox.send(&one).unwrap()), (0, 0));
    }
}
