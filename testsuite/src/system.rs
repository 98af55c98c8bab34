//! System calls that the standard library does not offer. All unsafe code of the test suite's tools is here.

pub mod batch;
pub mod bpf;
pub mod generator;
pub mod libsrtp2;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Nanoseconds since the first call in this process, on the monotonic clock.
pub fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// What the current thread has computed so far: unlike the time of day, it does not grow while others have the processor.
pub fn thread_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to `time`, which is valid, and nowhere else. The clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Turns SIGINT, SIGTERM and SIGHUP into a flag, so that what was started and made is also taken down.
pub fn catch_interrupts() {
    extern "C" fn note(_signal: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // Sound: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, note as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
}

/// Whether the user asked to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Bytes of the C library's heap that are in use, OpenSSL's among them.
pub fn heap_bytes() -> usize {
    // Sound: mallinfo2 has no conditions; it only reads.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// Whether a program can be started by this name or path.
pub fn is_installed(program: impl AsRef<Path>) -> bool {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let name = program.as_ref();
    name.is_file() || std::env::split_paths(&search).any(|folder| folder.join(name).is_file())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // Sound: geteuid has no conditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The limit on open descriptors, raised to the most this process may have.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // Sound: `limit` is valid for the whole of both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur
}

const AUTOGROUP: &str = "/proc/self/autogroup";

/// A raised priority, lowered again when the value goes out of scope.
pub struct Priority {
    /// The nice value of the session's group before, where the system schedules by sessions (sched(7), autogroup).
    group: Option<String>,
}

impl Priority {
    /// Puts this process and those that it starts before others, so that what else the machine does disturbs a
    /// measurement less. Where the system schedules by sessions, the whole session goes first: among sessions, the nice
    /// values of processes count for nothing.
    pub fn raise() -> io::Result<Priority> {
        const NICE: i32 = -15;
        // Sound: setpriority takes no pointers.
        check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) })?;
        let group = fs::read_to_string(AUTOGROUP).ok();
        let group = group.and_then(|text| text.trim_end().rsplit(' ').next().map(str::to_owned));
        if group.is_some() {
            fs::write(AUTOGROUP, NICE.to_string())?;
        }
        Ok(Priority { group })
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(nice) = &self.group
            && let Err(error) = fs::write(AUTOGROUP, nice)
        {
            eprintln!("could not set {AUTOGROUP} back to {nice}: {error}");
        }
    }
}

/// Sends `signal` to the process `pid`.
pub fn signal(pid: u32, signal: i32) -> io::Result<()> {
    // Sound: kill has no memory conditions; the pid is of a child that has not been waited for.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) }).map(drop)
}

/// Makes the child receive SIGTERM when the thread that starts it ends, so that a killed tool leaves no daemon.
pub fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let before_exec = move || {
        // Sound: prctl and getppid are async-signal-safe and take no pointers.
        let gone = unsafe {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
            libc::getppid() as u32 != parent
        };
        if gone { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
    };
    // Sound: the closure calls async-signal-safe functions only and does not allocate.
    unsafe { command.pre_exec(before_exec) };
}

/// CPU time that a process has used in all its threads, also in those that ended.
pub fn process_cpu_time(pid: u32) -> io::Result<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Sound: both results are written to valid places that outlive the calls.
    unsafe {
        match libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) {
            0 => check(libc::clock_gettime(clock, &mut time))?,
            error => return Err(io::Error::from_raw_os_error(error)),
        };
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Binds the calling thread to one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    // Sound: the zeroed set is a valid empty set, CPU_SET checks its bounds, and the call only reads it.
    check(unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set)
    })
    .map(drop)
}

/// Moves the calling thread into the network namespace behind `namespace`.
pub fn enter_network_namespace(namespace: &File) -> io::Result<()> {
    // Sound: the descriptor is open for the whole call.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// A socket that sees every packet of the namespace it is made in; reading gives one packet from its IP header on.
pub fn packet_tap() -> io::Result<File> {
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    // Sound: socket takes no pointers, and the new descriptor has no other owner.
    let socket = unsafe {
        OwnedFd::from_raw_fd(check(libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol))?)
    };
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)?;
    let timeout = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
    let size = std::mem::size_of::<libc::timeval>() as libc::socklen_t;
    let pointer = (&raw const timeout).cast();
    // Sound: the option is read from `timeout`, whose size is given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, pointer, size) })?;
    Ok(File::from(socket))
}

/// Asks for socket buffers of `bytes`, beyond the system's limit where this process may.
pub fn set_buffers(socket: &impl AsRawFd, bytes: i32) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    for (forced, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set_option(fd, libc::SOL_SOCKET, forced, bytes).is_err() {
            set_option(fd, libc::SOL_SOCKET, plain, bytes)?;
        }
    }
    Ok(())
}

/// What a socket writes into the header of its IPv4 packets behind the addresses; nothing for none.
pub fn set_ip_options(socket: &impl AsRawFd, options: &[u8]) -> io::Result<()> {
    let size = options.len() as libc::socklen_t;
    let pointer = options.as_ptr().cast();
    // Sound: the option is read from `options`, whose size is given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_OPTIONS, pointer, size) }).map(drop)
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = std::mem::size_of::<i32>() as libc::socklen_t;
    // Sound: the option is read from `value`, whose size is given.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) }).map(drop)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
