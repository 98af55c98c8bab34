//! An object of programs for the kernel, as clang compiles it, and its maps.
//!
//! aya's loader first reads what the kernel says of all its types, which takes longer than everything else. Programs that look
//! into none of the kernel's structures do without: the object is read and linked by aya, and handed to the kernel here.

use super::{Program, call};
use aya::maps::{Map, MapData};
use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{bpf_attach_type, bpf_insn, bpf_map_type, bpf_prog_type};
use aya_obj::{EbpfSectionKind, Function, ProgramSection};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// Room for what the verifier says of a program that it refuses.
const LOG_BYTES: usize = 1 << 24;
/// The end of it says why.
const SHOWN_LINES: usize = 20;

/// Why an object is not in the kernel.
#[derive(Debug, thiserror::Error)]
pub(in crate::io) enum Fault {
    #[error("the object: {0}")]
    Object(String),
    #[error("the types of the object: {0}")]
    Types(#[source] io::Error),
    #[error("the map {0}")]
    Map(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("there is no {0}")]
    None(String),
    #[error("the program {name} is refused{log}")]
    Refused {
        name: String,
        /// A colon and the end of what the verifier said, or nothing.
        log: String,
        #[source]
        error: io::Error,
    },
}

fn object(error: impl std::error::Error) -> Fault {
    Fault::Object(crate::base::fault::with_causes(&error))
}

fn map_fault(name: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::Map(name.to_owned(), error.into())
}

/// What is set before an object is loaded.
#[derive(Default)]
pub(in crate::io) struct Plan<'a> {
    /// Constants of programs.
    pub globals: HashMap<&'a str, &'a [u8]>,
    pub max_entries: HashMap<&'a str, u32>,
    /// Where maps are pinned. Those that are there already are used.
    pub pins: HashMap<&'a str, PathBuf>,
}

/// An object whose maps are in the kernel.
pub(in crate::io) struct Object {
    /// With their kinds, of `enum bpf_map_type`.
    maps: HashMap<String, (u32, MapData)>,
    programs: HashMap<String, Arc<Compiled>>,
}

/// A program with the functions that it calls. It is loaded while the object lives, whose maps it names.
pub(in crate::io) struct Compiled {
    name: String,
    section: ProgramSection,
    license: CString,
    function: Function,
    types: Arc<OwnedFd>,
}

impl Object {
    /// Reads an object and makes its maps.
    ///
    /// # Errors
    /// When the object is none, or the kernel refuses something of it.
    pub(in crate::io) fn open(bytes: &[u8], plan: &Plan) -> Result<Object, Fault> {
        let mut read = aya_obj::Object::parse(bytes).map_err(object)?;
        let globals = plan.globals.iter().map(|(name, value)| (*name, (*value, true))).collect();
        read.patch_map_data(globals).map_err(object)?;
        // What Linux 5.17 knows, which programs need for their loops.
        let known = BtfFeatures::new(true, true, true, false, true, true, true, false);
        let types = read.fixup_and_sanitize_btf(&known).map_err(object)?;
        let types = types.ok_or_else(|| Fault::Object("it has no types".to_owned()))?.to_bytes();
        let types = Arc::new(call::load_types(&types).map_err(Fault::Types)?);
        let mut maps = HashMap::new();
        let descriptions: Vec<(String, aya_obj::Map)> = read.maps.drain().collect();
        for (name, description) in &descriptions {
            maps.insert(name.clone(), (description.map_type(), make_map(name, description, plan, &types)?));
        }
        let places = descriptions.iter().map(|(name, map)| (name.as_str(), maps[name].1.fd().as_fd().as_raw_fd(), map));
        let sections: HashSet<usize> = read.functions.keys().map(|(section, _)| *section).collect();
        read.relocate_maps(places, &sections).map_err(object)?;
        read.relocate_calls(&sections).map_err(object)?;
        let compiled = |(name, program): (String, aya_obj::Program)| {
            let function = read.functions.get(&program.function_key())?.clone();
            let (section, license, types) = (program.section, program.license, types.clone());
            Some((name.clone(), Arc::new(Compiled { name, section, license, function, types })))
        };
        let programs = read.programs.into_iter().filter_map(compiled).collect();
        Ok(Object { maps, programs })
    }

    /// A map by its name.
    ///
    /// # Errors
    /// When there is none.
    pub(in crate::io) fn descriptor(&self, name: &str) -> Result<BorrowedFd<'_>, Fault> {
        let (_, data) = self.maps.get(name).ok_or_else(|| Fault::None(format!("map named {name}")))?;
        Ok(data.fd().as_fd())
    }

    /// The same for who uses it on: the object keeps its own descriptor.
    ///
    /// # Errors
    /// When there is none, or the process has no descriptors left.
    pub(in crate::io) fn map(&self, name: &str) -> Result<Map, Fault> {
        let (kind, _) = self.maps.get(name).ok_or_else(|| Fault::None(format!("map named {name}")))?;
        let descriptor = self.descriptor(name)?.try_clone_to_owned().map_err(|error| map_fault(name, error))?;
        let data = MapData::from_fd(descriptor).map_err(|error| map_fault(name, error))?;
        typed(*kind, data).ok_or_else(|| map_fault(name, "is of no known kind"))
    }

    /// Forgets the programs, but for those that somebody is still to load. Maps stay.
    pub(in crate::io) fn forget_programs(&mut self) {
        self.programs.clear();
    }

    /// A program that can be loaded.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(in crate::io) fn program(&self, name: &str) -> Result<&Arc<Compiled>, Fault> {
        self.programs.get(name).ok_or_else(|| Fault::None(format!("program named {name}")))
    }
}

impl Compiled {
    /// Has the kernel verify and compile the program.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(in crate::io) fn load(&self) -> Result<Program, Fault> {
        let kind = kind_of(&self.section).ok_or_else(|| Fault::None(format!("kind for the program {}", self.name)))?;
        let program = call::Program {
            name: &self.name,
            prog_type: kind.0,
            expected_attach_type: kind.1,
            insns: &bytes_of(&self.function.instructions),
            license: &self.license,
            btf: self.types.as_fd(),
            func_info: (&self.function.func_info.func_info_bytes(), self.function.func_info_rec_size),
            line_info: (&self.function.line_info.line_info_bytes(), self.function.line_info_rec_size),
        };
        call::load_program(&program, &mut []).map(Program::new).map_err(|error| refused(&program, error))
    }
}

/// Makes a map, with what it begins with, or takes the one that is pinned in its place.
fn make_map(name: &str, description: &aya_obj::Map, plan: &Plan, types: &OwnedFd) -> Result<MapData, Fault> {
    let pin = plan.pins.get(name);
    if let Some(there) = pin.and_then(|pin| call::pinned(pin).ok()) {
        return MapData::from_fd(there).map_err(|error| map_fault(name, error));
    }
    let mut description = description.clone();
    if let Some(max_entries) = plan.max_entries.get(name) {
        description.set_max_entries(*max_entries);
    }
    if description.map_type() == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32 {
        description.set_value_size(0);
    }
    let created = match description.inner() {
        None => MapData::create(description.clone(), name, Some(types.as_fd())),
        Some(inner) => {
            let inner = MapData::create(inner, name, Some(types.as_fd())).map_err(|error| map_fault(name, error))?;
            let (kind, count) = (description.map_type(), description.max_entries());
            let outer = call::create_map_of_maps(name, kind, count, inner.fd().as_fd());
            MapData::from_fd(outer.map_err(|error| map_fault(name, error))?)
        }
    };
    let map = created.map_err(|error| map_fault(name, error))?;
    if !description.data().is_empty() {
        let fault = |error| map_fault(name, error);
        call::update(map.fd().as_fd(), &0_u32.to_ne_bytes(), description.data(), 0).map_err(fault)?;
        if description.section_kind() == EbpfSectionKind::Rodata {
            call::freeze(map.fd().as_fd()).map_err(fault)?;
        }
    }
    if let Some(pin) = pin {
        map.pin(pin).map_err(|error| map_fault(name, error))?;
    }
    Ok(map)
}

/// A map as what it is; none for kinds that no object here has.
fn typed(kind: u32, data: MapData) -> Option<Map> {
    Some(match bpf_map_type::try_from(kind).ok()? {
        bpf_map_type::BPF_MAP_TYPE_ARRAY => Map::Array(data),
        bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS => Map::ArrayOfMaps(data),
        bpf_map_type::BPF_MAP_TYPE_DEVMAP => Map::DevMap(data),
        bpf_map_type::BPF_MAP_TYPE_DEVMAP_HASH => Map::DevMapHash(data),
        bpf_map_type::BPF_MAP_TYPE_HASH => Map::HashMap(data),
        bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY => Map::PerCpuArray(data),
        bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH => Map::PerCpuHashMap(data),
        bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY => Map::ProgramArray(data),
        bpf_map_type::BPF_MAP_TYPE_RINGBUF => Map::RingBuf(data),
        bpf_map_type::BPF_MAP_TYPE_SOCKMAP => Map::SockMap(data),
        bpf_map_type::BPF_MAP_TYPE_XSKMAP => Map::XskMap(data),
        _ => return None,
    })
}

/// The kernel's names of what a program is, and of where it is attached.
fn kind_of(section: &ProgramSection) -> Option<(u32, u32)> {
    let (kind, place) = match section {
        ProgramSection::Xdp { attach_type, .. } => (bpf_prog_type::BPF_PROG_TYPE_XDP, (*attach_type).into()),
        // One that is attached by a link says where only then.
        ProgramSection::SchedClassifier => return Some((bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32, 0)),
        ProgramSection::SkLookup => (bpf_prog_type::BPF_PROG_TYPE_SK_LOOKUP, bpf_attach_type::BPF_SK_LOOKUP),
        _ => return None,
    };
    Some((kind as u32, place as u32))
}

/// Instructions as the kernel reads them: code, registers, offset, number (RFC 9669, section 3).
fn bytes_of(instructions: &[bpf_insn]) -> Vec<u8> {
    let bytes = |one: &bpf_insn| {
        let (offset, number) = (one.off.to_ne_bytes(), one.imm.to_ne_bytes());
        let registers = one._bitfield_1.get(0, 8) as u8;
        [one.code, registers, offset[0], offset[1], number[0], number[1], number[2], number[3]]
    };
    instructions.iter().flat_map(bytes).collect()
}

/// Why the kernel takes a program not, in its own words.
fn refused(program: &call::Program, error: io::Error) -> Fault {
    let mut log = vec![0; LOG_BYTES];
    // What the verifier refuses is EACCES.
    let is_forbidden = error.raw_os_error() == Some(libc::EPERM);
    if !is_forbidden && call::load_program(program, &mut log).is_err() {
        log.truncate(log.iter().position(|byte| *byte == 0).unwrap_or(0));
    } else {
        log.clear();
    }
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("; ");
    let log = if end.is_empty() { end } else { format!(": {end}") };
    Fault::Refused { name: program.name.to_owned(), log, error }
}
