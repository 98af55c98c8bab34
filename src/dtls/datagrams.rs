//! The datagrams between an association and OpenSSL: one write of OpenSSL is one datagram, and so is one read.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

/// More datagrams than the largest flight in small pieces, and a bound where nobody takes them away.
const WAITING_MAX: usize = 64;

/// One datagram on its way in, and those on their way out.
#[derive(Default)]
pub(super) struct Datagrams {
    pub(super) incoming: Option<Vec<u8>>,
    pub(super) outgoing: VecDeque<Vec<u8>>,
}

impl Read for Datagrams {
    /// Reads one datagram; what does not fit is cut off, as a socket does.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.take().ok_or(ErrorKind::WouldBlock)?;
        let bytes = datagram.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&datagram[..bytes]);
        Ok(bytes)
    }
}

impl Write for Datagrams {
    /// Writes one datagram, and loses it where too many wait.
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if self.outgoing.len() < WAITING_MAX {
            self.outgoing.push_back(datagram.to_vec());
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
