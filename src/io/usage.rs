//! How busy the machine is, and what this process takes of it: `/proc`, and the clocks of processors.

use std::io;
use std::time::Duration;

fn unreadable(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as expected"))
}

/// The average number of processes that wanted a processor over the last minute.
pub fn load_average() -> io::Result<f64> {
    const PATH: &str = "/proc/loadavg";
    let text = std::fs::read_to_string(PATH)?;
    text.split(' ').next().and_then(|first| first.parse().ok()).ok_or_else(|| unreadable(PATH))
}

/// The time that all processors of the machine have been busy, and had, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processors {
    busy: u64,
    all: u64,
}

impl Processors {
    /// Reads both.
    pub fn read() -> io::Result<Processors> {
        const PATH: &str = "/proc/stat";
        let text = std::fs::read_to_string(PATH)?;
        Processors::parse(&text).ok_or_else(|| unreadable(PATH))
    }

    /// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`; guests' time is in that of users too.
    fn parse(text: &str) -> Option<Processors> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Option<Vec<u64>> = line.split_whitespace().take(8).map(|word| word.parse().ok()).collect();
        let ticks = ticks.filter(|ticks| ticks.len() >= 5)?;
        let all = ticks.iter().sum();
        Some(Processors { busy: all - ticks[3] - ticks[4], all })
    }

    /// The part of the time between two readings that processors were busy, in percent; zero where no time has passed.
    pub fn percent_since(&self, before: &Processors) -> f64 {
        let (busy, all) = (self.busy.saturating_sub(before.busy), self.all.saturating_sub(before.all));
        if all == 0 { 0.0 } else { busy as f64 * 100.0 / all as f64 }
    }
}

fn processor_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec to the pointer; both clocks that are asked for exist on every Linux.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The time that the calling thread has had a processor.
pub fn thread_time() -> Duration {
    processor_time(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The time that this process has had processors.
pub fn process_time() -> Duration {
    processor_time(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The memory that this process has in use, in bytes.
pub fn resident_bytes() -> io::Result<u64> {
    const PATH: &str = "/proc/self/statm";
    let text = std::fs::read_to_string(PATH)?;
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).ok_or_else(|| unreadable(PATH))?;
    // SAFETY: the call reads no memory of ours.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Ok(pages * u64::try_from(page_bytes).unwrap_or(4096))
}

/// The descriptors that this process has open.
pub fn open_descriptors() -> io::Result<u64> {
    // The directory itself is one of them.
    Ok((std::fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read() {
        let before = Processors::parse("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 2 3 4\n").unwrap();
        assert_eq!(before, Processors { busy: 20, all: 100 });
        let after = Processors::parse("cpu  60 0 10 110 20 0 0 0 5 0\n").unwrap();
        assert_eq!(after.percent_since(&before), 50.0);
        assert_eq!(before.percent_since(&before), 0.0);
        assert_eq!(Processors::parse("cpu  1 2\n"), None);
        assert_eq!(Processors::parse("intr 1 2 3 4 5\n"), None);
        assert!(Processors::read().is_ok());
    }

    #[test]
    fn this_process_takes_something() {
        assert!(load_average().unwrap() >= 0.0);
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(open_descriptors().unwrap() >= 3);
        let spin: u64 = (0..1_000_000_u64).map(std::hint::black_box).sum();
        assert!(spin > 0 && thread_time() > Duration::ZERO && process_time() >= thread_time());
    }
}
