//! What outlives the daemon: a directory of its own in a bpffs, in which its maps and links are pinned. As long as it
//! lives, a lock on the directory keeps others away; what is found unlocked was left by a daemon that is dead.
//!
//! Names: `map-NAME`, `xdp-INTERFACE`, `tc-INTERFACE` and `layout-HASH`, an empty directory that says what the maps hold.

use super::load::Room;
use crate::io::bpf::call;
use aya::maps::MapData;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a bpffs usually is.
const USUAL_BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` (linux/magic.h).
const BPFFS_MAGIC: u64 = 0xcafe_4a11;
/// `BPF_F_LOCK`: an element is overwritten in place.
const IN_PLACE: u64 = 4;
/// Of headers that say what maps hold.
const LAYOUT: &str = env!("MILLRACE_MAPS_LAYOUT");
/// How long a lock that is taken is tried again.
const MOST_TRIES: usize = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);
const LAYOUT_MARK: &str = "layout-";
const MAP_MARK: &str = "map-";
const XDP_MARK: &str = "xdp-";
const TC_MARK: &str = "tc-";
const LINK_MARKS: [&str; 2] = [XDP_MARK, TC_MARK];
/// Maps whose elements are keys of SRTP.
const SECRET_MAPS: &str = "map-keys";

/// Where a daemon's directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    base: PathBuf,
    name: String,
    /// How names of daemons of this network namespace end.
    namespace: String,
}

impl Place {
    /// The directory in `base` of the daemon that listens at `control`: the address and this network namespace tell
    /// daemons of one host apart.
    ///
    /// # Errors
    /// When the system does not tell its namespace.
    pub fn new(base: &Path, control: SocketAddr) -> io::Result<Place> {
        let namespace = format!("-net-{}", fs::metadata("/proc/thread-self/ns/net")?.ino());
        // A bpffs refuses dots.
        let address: String =
            control.to_string().chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
        Ok(Place { base: base.to_owned(), name: format!("{}{namespace}", address.trim_matches('-')), namespace })
    }

    fn directory(&self) -> PathBuf {
        self.base.join(&self.name)
    }

    /// Whether directories can be made there. The usual bpffs is mounted where it is missing, as `bpftool` and `ip` do.
    fn prepare(&self) -> io::Result<()> {
        if !is_bpffs(&self.base) && self.base.starts_with(USUAL_BPFFS) {
            mount_bpffs()?;
        }
        if !is_bpffs(&self.base) {
            return Err(io::Error::other(format!("{} is in no bpffs", self.base.display())));
        }
        make_directory(&self.base)
    }
}

/// A daemon's directory, locked. What it holds goes with this value: maps, links and all that was in them.
pub(super) struct Pins {
    place: Place,
    directory: PathBuf,
    layout: String,
    _lock: File,
}

impl Pins {
    /// Takes the directory, with maps that have this room. What a dead daemon has left there stays if it is alike and
    /// `keeps` says so, else it is removed.
    ///
    /// # Errors
    /// When there is no bpffs, or the directory belongs to a daemon that lives.
    pub(super) fn take(place: &Place, room: Room, keeps: bool) -> io::Result<Pins> {
        place.prepare()?;
        let directory = place.directory();
        let lock = lock_patiently(&directory)?
            .ok_or_else(|| io::Error::other(format!("{} belongs to another daemon that runs", directory.display())))?;
        let layout = format!("{LAYOUT_MARK}{LAYOUT}-{}", room.sizes().map(|size| size.to_string()).join("-"));
        let left = names(&directory);
        let has_maps = keeps && left.contains(&layout);
        if !left.is_empty() && !has_maps {
            let why = if keeps { "its maps are laid out otherwise" } else { "as configured" };
            tracing::info!(target: "core", "what a daemon before this one has left in the kernel is removed: {why}");
            clear(&directory);
        }
        make_directory(&directory.join(&layout))?;
        Ok(Pins { place: place.clone(), directory, layout, _lock: lock })
    }

    /// Removes what dead daemons of other names have left, where it is of no use, or in the way of `interfaces`.
    pub(super) fn remove_others(&self, interfaces: &[u32]) {
        for name in names(&self.place.base).into_iter().filter(|name| *name != self.place.name) {
            let directory = self.place.base.join(&name);
            let Ok(Some(lock)) = lock(&directory, false) else { continue };
            let attached: Vec<u32> = links_in(&directory).iter().filter_map(|path| interface_of(path)).collect();
            let is_here = name.ends_with(&self.place.namespace);
            if attached.is_empty() || is_here && attached.iter().any(|interface| interfaces.contains(interface)) {
                tracing::warn!(target: "core", "what another daemon has left in the kernel is removed: {name}");
                clear(&directory);
                let _ = fs::remove_dir(&directory);
            }
            drop(lock);
        }
    }

    /// The directory, as it is locked.
    #[cfg(test)]
    pub(super) fn lock(&self) -> &File {
        &self._lock
    }

    pub(super) fn map_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{MAP_MARK}{name}"))
    }

    pub(super) fn xdp_path(&self, interface: u32) -> PathBuf {
        self.directory.join(format!("{XDP_MARK}{interface}"))
    }

    pub(super) fn tc_path(&self, interface: u32) -> PathBuf {
        self.directory.join(format!("{TC_MARK}{interface}"))
    }

    /// Takes the programs off that are attached where none is wanted any more.
    pub(super) fn keep_links(&self, wanted: &[PathBuf]) {
        links_in(&self.directory).iter().filter(|path| !wanted.contains(path)).for_each(|path| remove_link(path));
    }
}

/// Removes what a dead daemon has left at a place, if any.
pub fn remove_left(place: &Place) {
    if let Ok(Some(lock)) = lock(&place.directory(), false) {
        tracing::info!(target: "core", "what a daemon before this one has left in the kernel is removed");
        clear(&place.directory());
        remove_directories(place, &place.directory());
        drop(lock);
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        clear(&self.directory);
        let _ = fs::remove_dir(self.directory.join(&self.layout));
        remove_directories(&self.place, &self.directory);
    }
}

/// Both, as far as they are empty; the lower one first, while it is locked.
fn remove_directories(place: &Place, directory: &Path) {
    if let Err(error) = fs::remove_dir(directory) {
        tracing::warn!(target: "core", "{} is not removed: {error}", directory.display());
    }
    // Others may have theirs in it.
    let _ = fs::remove_dir(&place.base);
}

/// Takes programs off their interfaces, wipes keys, removes maps. The mark of the layout goes last: what is found without
/// it is incomplete.
fn clear(directory: &Path) {
    links_in(directory).iter().for_each(|path| remove_link(path));
    let (marks, maps): (Vec<_>, Vec<_>) = names(directory).into_iter().partition(|name| name.starts_with(LAYOUT_MARK));
    for name in &maps {
        if name.starts_with(SECRET_MAPS)
            && let Err(error) = wipe(&directory.join(name))
        {
            tracing::error!(target: "core", "keys in {name} were not wiped: {error}");
        }
    }
    for name in maps {
        remove(&directory.join(name), |path| fs::remove_file(path));
    }
    for name in marks {
        remove(&directory.join(name), |path| fs::remove_dir(path));
    }
}

fn remove(path: &Path, by: impl Fn(&Path) -> io::Result<()>) {
    if let Err(error) = by(path) {
        tracing::warn!(target: "core", "{} is not removed: {error}", path.display());
    }
}

/// Removes a link and takes its program off at once; the kernel alone would do it a little later.
pub(super) fn remove_link(path: &Path) {
    let detached = call::pinned(path).and_then(|link| call::detach(link.as_fd()));
    if let Err(error) = detached {
        tracing::warn!(target: "core", "{} is not detached: {error}", path.display());
    }
    remove(path, |path| fs::remove_file(path));
}

/// Overwrites every element of a map, whatever its layout, and removes it.
fn wipe(path: &Path) -> io::Result<()> {
    let map = MapData::from_pin(path).map_err(io::Error::other)?;
    let info = map.info().map_err(io::Error::other)?;
    let (mut key, zeros) = (vec![0; info.key_size() as usize], vec![0; info.value_size() as usize]);
    let map = map.fd().as_fd();
    while call::next_key(map, None, &mut key)? {
        call::update(map, &key, &zeros, IN_PLACE)?;
        call::delete(map, &key)?;
    }
    Ok(())
}

fn links_in(directory: &Path) -> Vec<PathBuf> {
    let is_link = |name: &String| LINK_MARKS.iter().any(|mark| name.starts_with(mark));
    names(directory).into_iter().filter(is_link).map(|name| directory.join(name)).collect()
}

/// The interface that a pinned link is attached to; none when that is gone.
fn interface_of(path: &Path) -> Option<u32> {
    let link = call::pinned(path).ok()?;
    let text = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", link.as_raw_fd())).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("ifindex:"))?.trim().parse().ok()?;
    Some(number).filter(|number| *number != 0)
}

/// What is in a directory; nothing if there is none.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The same as `lock`; whoever only looks whether its owner is dead has it for a moment.
fn lock_patiently(directory: &Path) -> io::Result<Option<File>> {
    for _ in 0..MOST_TRIES {
        if let Some(file) = lock(directory, true)? {
            return Ok(Some(file));
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
    Ok(None)
}

/// Makes a directory, with those above it, that nobody else may look into: pinned maps hold keys.
fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Locks a directory for as long as the file is open, and no longer than the process lives; none if another process has
/// done so. One that is missing is made, if it is to be.
fn lock(directory: &Path, makes: bool) -> io::Result<Option<File>> {
    loop {
        if makes {
            make_directory(directory)?;
        }
        let file = match File::open(directory) {
            Err(error) if makes && error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        // SAFETY: the descriptor is open, and the call takes no pointer.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        }
        // SAFETY: the call takes nothing and can't fail.
        if file.metadata()?.uid() != unsafe { libc::geteuid() } {
            return Err(io::Error::other(format!("{} belongs to another user", directory.display())));
        }
        // Who had it may have removed it before it was locked here.
        let is_there = fs::metadata(directory).is_ok_and(|found| {
            file.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (found.dev(), found.ino()))
        });
        match (is_there, makes) {
            (true, _) => return Ok(Some(file)),
            (false, true) => {}
            (false, false) => return Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Whether a path, or what is there of it, is in a bpffs.
fn is_bpffs(path: &Path) -> bool {
    let there = path.ancestors().find(|ancestor| ancestor.exists());
    let Some(path) = there.and_then(|path| std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).ok()) else {
        return false;
    };
    let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path ends with a zero, and there is room for what the call writes.
    let result = unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) };
    // SAFETY: the call has written it.
    result == 0 && unsafe { found.assume_init() }.f_type as u64 == BPFFS_MAGIC
}

/// Mounts a bpffs at the usual place.
fn mount_bpffs() -> io::Result<()> {
    let missing = |why: &str| io::Error::other(format!("no bpffs at {USUAL_BPFFS}, {why}"));
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt"));
    // What is mounted in a namespace of the daemon's own would go with it.
    if !matches!((namespace("1"), namespace("self")), (Ok(first), Ok(own)) if first == own) {
        return Err(missing("and one that is mounted here would go with the daemon"));
    }
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
    let (kind, mode) = (c"bpf", c"mode=700");
    // SAFETY: all pointers are to texts that end with a zero.
    let result =
        unsafe { libc::mount(kind.as_ptr(), c"/sys/fs/bpf".as_ptr(), kind.as_ptr(), flags, mode.as_ptr().cast()) };
    if result != 0 {
        return Err(missing(&format!("and none can be mounted: {}", io::Error::last_os_error())));
    }
    tracing::info!(target: "core", "a bpffs is mounted at {USUAL_BPFFS}");
    Ok(())
}
