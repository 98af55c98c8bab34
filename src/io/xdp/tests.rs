//! What a dead daemon leaves, in a bpffs of the test's own. Needs root.

use super::copies::Copies;
use super::devices::{DeviceLists, Devices};
use super::load::{Programs, Room};
use super::next_hops::NextHops;
use super::orphans::{Found, Orphans};
use super::pins;
use super::pins::{Pins, Place};
use super::table::{Reach, Reaches, XdpTable};
use crate::base::random::Seeded;
use crate::base::suite::Suite;
use crate::fastpath::entry::Passing;
use crate::fastpath::layout::{Keys, Order};
use crate::fastpath::{Action, Entry, Protection, Slot, Table};
use crate::rtp::Loan;
use crate::srtp::{MasterKey, Parameters, Window, Windows};
use aya::maps::Array;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FLOWS: u32 = 4;

/// A bpffs, unmounted when it goes out of scope.
struct Bpffs(PathBuf);

impl Bpffs {
    /// None where none can be mounted, or programs can't be loaded, which is said.
    fn mount(name: &str) -> Option<Bpffs> {
        let path = std::env::temp_dir().join(format!("millrace-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&path).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            std::fs::remove_dir(&path).unwrap();
            eprintln!("not tried: a bpffs can't be mounted, which takes root");
            return None;
        }
        let bpffs = Bpffs(path);
        match Programs::load(FLOWS, true, true) {
            Ok(_) => Some(bpffs),
            Err(why) => {
                eprintln!("not tried: {why}");
                None
            }
        }
    }

    fn place(&self, port: u16) -> Place {
        Place::new(&self.0.join("millrace"), SocketAddr::from(([127, 0, 0, 1], port))).unwrap()
    }

    fn holds(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| !name.contains('.')).collect()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
        std::fs::remove_dir(&self.0).unwrap();
    }
}

fn programs(pins: &Pins, with_srtp: bool) -> Programs {
    Programs::load_pinned(Room::of(FLOWS), true, with_srtp, Some(pins)).unwrap()
}

/// Ways and lists of interfaces that nobody looks after.
fn hops(programs: &Programs) -> (Arc<NextHops>, Arc<DeviceLists>) {
    let hops = programs.map("next_hops").unwrap();
    let devices = Devices::new(programs).unwrap();
    let lists = Arc::new(DeviceLists::new(programs).unwrap());
    let (hops, thread) = NextHops::start(Array::try_from(hops).unwrap(), (devices, lists.clone()), &[]).unwrap();
    hops.stop();
    thread.join().unwrap();
    (hops, lists)
}

fn look(programs: &Programs) -> Found {
    Found::look(programs, programs.shared("copies", FLOWS).unwrap(), FLOWS).unwrap()
}

fn local() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 30_000))
}

/// Installs an entry of SRTP, as a daemon that then dies: nothing of it is withdrawn.
fn live_and_die(pins: Pins) {
    let programs = programs(&pins, true);
    let (next_hops, lists) = hops(&programs);
    let copies = Copies::new(
        (programs.hash_map("groups").unwrap(), programs.shared("copies", FLOWS).unwrap()),
        lists,
        (Vec::new(), Vec::new()),
    );
    let mut table = XdpTable {
        flows: programs.flows().clone(),
        streams: programs.shared("streams", FLOWS).unwrap(),
        next_hops,
        free: vec![Slot(2)],
        reach: Arc::new(Reaches { elsewhere: Reach { by_xdp: true, ..Reach::default() }, ..Reaches::default() }),
        paths: HashMap::new(),
        sides: HashMap::new(),
        lines_of: None,
        forwards: true,
        orphans: None,
        keys: programs.key_maps().unwrap(),
        copies: Some(copies),
        captured: None,
    };
    let suite = Suite::AesCm128Sha1_80;
    let open = Parameters::new(suite, MasterKey::generate(suite, &mut Seeded(7)));
    let entry = Entry {
        local: local(),
        source: SocketAddr::from(([198, 51, 100, 10], 6000)),
        is_strict: true,
        shares_port: false,
        ssrc: 1,
        clock_rate_hz: 8000,
        payload_types: [Passing { number: 8, is_event: false }].into_iter().collect(),
        action: Action::Drop,
        captures: Default::default(),
        protection: Some(Box::new(Protection { open: Some(open), protect: None, passes: false, mid: None })),
    };
    let windows = Windows { opened: Some(Window { highest: 1, seen: 1 }), protected: None };
    table.install(&entry, &Loan { ssrc: 1, ..Loan::default() }, &windows, &[]).unwrap();
    die(pins);
}

/// The lock goes with a process, whatever else stays.
fn die(pins: Pins) {
    let lock = pins.lock().as_raw_fd();
    std::mem::forget(pins);
    // SAFETY: the descriptor is open, and nobody has it any more.
    assert_eq!(unsafe { libc::close(lock) }, 0);
}

/// How many flows, keys and orders there are.
fn counts(programs: &Programs) -> (usize, usize, usize) {
    (
        programs.flows().all().len(),
        programs.hash_map::<u32, Keys>("keys_of").unwrap().keys().count(),
        programs.hash_map::<u32, Order>("orders").unwrap().keys().count(),
    )
}

#[test]
fn a_directory_has_one_daemon() {
    let Some(bpffs) = Bpffs::mount("pins-one") else { return };
    let first = Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).unwrap();
    let taken = Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).err().unwrap();
    assert!(taken.to_string().contains("belongs to another daemon"), "{taken}");
    // Nor is it removed by one that has another place, or wants none.
    let second = Pins::take(&bpffs.place(2224), Room::of(FLOWS), true).unwrap();
    second.remove_others(&[]);
    pins::remove_left(&bpffs.place(2223));
    assert!(first.map_path("flows").parent().is_some_and(std::path::Path::exists));
    drop(first);
    assert_eq!(bpffs.holds(), ["millrace"]);
    drop(second);
    assert_eq!(bpffs.holds(), [""; 0]);
    let elsewhere = Place::new(&std::env::temp_dir(), local()).unwrap();
    assert!(Pins::take(&elsewhere, Room::of(FLOWS), true).err().unwrap().to_string().contains("is in no bpffs"));
}

#[test]
fn orphans_go_on_until_they_are_silent() {
    let Some(bpffs) = Bpffs::mount("pins-keep") else { return };
    live_and_die(Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).unwrap());
    let pins = Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).unwrap();
    let programs = programs(&pins, true);
    assert_eq!(counts(&programs), (1, 1, 1));
    let found = look(&programs);
    assert_eq!(found.slots(), HashSet::from([2]));
    programs.any_key_maps().unwrap().retain(|slot| slot == Slot(2));
    assert_eq!(counts(&programs), (1, 1, 1));
    let streams = programs.shared("streams", FLOWS).unwrap();
    let keys = programs.key_maps().unwrap();
    let (hops, _) = hops(&programs);
    // No packet ever came: silent since the clock began.
    let started = Orphans::start(found, keys, streams, hops, Duration::from_millis(1)).unwrap();
    let (orphans, watcher) = started.expect("there is one");
    let deadline = Instant::now() + Duration::from_secs(10);
    while orphans.count() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    watcher.join().unwrap();
    assert_eq!(counts(&programs), (0, 0, 0));
    assert_eq!(orphans.take_released(), [(local().ip(), local().port())]);
    assert_eq!((orphans.take_slot(), orphans.take_slot()), (Some(Slot(2)), None));
    assert!(orphans.pairs().is_empty());
    drop(pins);
    assert_eq!(bpffs.holds(), [""; 0]);
}

#[test]
fn what_can_not_go_on_is_removed_with_its_keys() {
    let Some(bpffs) = Bpffs::mount("pins-flush") else { return };
    // Without the program for SRTP.
    live_and_die(Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).unwrap());
    let pins = Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).unwrap();
    let programs = programs(&pins, false);
    let found = look(&programs);
    assert!(found.slots().is_empty());
    programs.any_key_maps().unwrap().retain(|_| false);
    assert_eq!(counts(&programs), (0, 0, 0));
    die(pins);
    drop(programs);
    // With maps of another layout, though they were to be kept; and as configured.
    for (flows, keeps) in [(FLOWS * 2, true), (FLOWS * 2, false)] {
        live_and_die(Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).unwrap());
        let old = Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).unwrap();
        let maps = self::programs(&old, true);
        assert_eq!(counts(&maps), (1, 1, 1));
        die(old);
        let new = Pins::take(&bpffs.place(2223), Room::of(flows), keeps).unwrap();
        assert_eq!(counts(&maps), (1, 0, 1), "keys are wiped, the rest goes with the last who has the maps");
        assert!(!new.map_path("flows").exists());
        drop(new);
        assert_eq!(bpffs.holds(), [""; 0]);
    }
    // What is in nobody's way and of use to nobody.
    die(Pins::take(&bpffs.place(2224), Room::of(FLOWS), true).unwrap());
    let pins = Pins::take(&bpffs.place(2223), Room::of(FLOWS), true).unwrap();
    pins.remove_others(&[]);
    die(pins);
    pins::remove_left(&bpffs.place(2223));
    assert_eq!(bpffs.holds(), [""; 0]);
}
