//! Leaving the terminal: the daemon goes on in a child, and the parent ends with its success or failure.

use super::check;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::ExitCode;

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Fork {
    /// The one that was started; it ends with this status.
    Parent(ExitCode),
    /// The one that goes on.
    Child(Background),
}

/// The way to tell the parent that the daemon runs. Dropped without a word, it tells of failure.
#[derive(Debug)]
pub struct Background {
    parent: File,
}

/// Splits the process. Call it while there is one thread only. In the parent it returns when the child has told that
/// it runs, or has ended.
pub fn fork() -> io::Result<Fork> {
    let mut ends = [0; 2];
    // SAFETY: the call writes two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the descriptors are new and nobody else owns them.
    let (mut reader, writer) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
    // SAFETY: there is one thread, so the child is a whole copy of this process.
    if check(unsafe { libc::fork() })? > 0 {
        drop(writer);
        let is_running = reader.read(&mut [0])? == 1;
        return Ok(Fork::Parent(if is_running { ExitCode::SUCCESS } else { ExitCode::FAILURE }));
    }
    drop(reader);
    // SAFETY: the child is no group leader, so it can begin a session; the call has no other effect.
    check(unsafe { libc::setsid() })?;
    Ok(Fork::Child(Background { parent: writer }))
}

impl Background {
    /// Tells the parent that the daemon runs, and lets go of the terminal.
    pub fn running(mut self) -> io::Result<()> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        for descriptor in 0..3 {
            // SAFETY: both descriptors are open; what the standard one was is of no use any more.
            check(unsafe { libc::dup2(null.as_raw_fd(), descriptor) })?;
        }
        self.parent.write_all(b"+")
    }
}
