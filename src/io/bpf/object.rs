//! An object of programs for the kernel, as clang compiles it, and its maps.
//!
//! aya's loader first reads what the kernel says of all its types, which takes longer than everything else. Programs that look
//! into none of the kernel's structures do without: the object is read and linked by aya, and handed to the kernel here.

use super::call;
use aya::maps::{Map, MapData};
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, SkLookup, Xdp, loaded_programs};
use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{bpf_attach_type, bpf_insn, bpf_map_type, bpf_prog_type};
use aya_obj::{EbpfSectionKind, Function, ProgramSection};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

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
    #[error("there is no program named {0}")]
    NoProgram(String),
    #[error("the program {name} is refused{log}")]
    Refused {
        name: String,
        /// A colon and the end of what the verifier said, or nothing.
        log: String,
        #[source]
        error: io::Error,
    },
    #[error("the program {0} was not found again")]
    Lost(String, #[source] ProgramError),
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
    maps: HashMap<String, Map>,
    programs: HashMap<String, Compiled>,
    types: OwnedFd,
}

/// A program with the functions that it calls.
struct Compiled {
    section: ProgramSection,
    license: CString,
    function: Function,
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
        let types = call::load_types(&types).map_err(Fault::Types)?;
        let descriptions: HashMap<String, aya_obj::Map> = read.maps.drain().collect();
        let mut maps = HashMap::new();
        for (name, description) in &descriptions {
            let made = make_map(name, description, plan, &types)?;
            maps.insert(name.clone(), made);
        }
        let places = descriptions.iter().map(|(name, map)| (name.as_str(), maps[name].fd().as_fd().as_raw_fd(), map));
        let sections: HashSet<usize> = read.functions.keys().map(|(section, _)| *section).collect();
        read.relocate_maps(places, &sections).map_err(object)?;
        read.relocate_calls(&sections).map_err(object)?;
        let compiled = |(name, program): (String, aya_obj::Program)| {
            let function = read.functions.get(&program.function_key())?.clone();
            Some((name, Compiled { section: program.section, license: program.license, function }))
        };
        let programs = read.programs.into_iter().filter_map(compiled).collect();
        let typed = maps.into_iter().map(|(name, data)| {
            let map = typed(&descriptions[&name], data).ok_or_else(|| map_fault(&name, "is of no known kind"))?;
            Ok((name, map))
        });
        Ok(Object { maps: typed.collect::<Result<_, Fault>>()?, programs, types })
    }

    /// A map by its name.
    pub(in crate::io) fn map(&self, name: &str) -> Option<&Map> {
        self.maps.get(name)
    }

    /// The same for who keeps it.
    pub(in crate::io) fn take_map(&mut self, name: &str) -> Option<Map> {
        self.maps.remove(name)
    }

    /// Has the kernel verify and compile a program for drivers, or for what leaves by redirection.
    ///
    /// # Errors
    /// When there is none of this name, or the kernel refuses it.
    pub(in crate::io) fn load_xdp(&self, name: &str) -> Result<Xdp, Fault> {
        let ProgramSection::Xdp { attach_type, .. } = self.compiled(name)?.section else {
            return Err(Fault::NoProgram(name.to_owned()));
        };
        self.load(name, |info, name| Xdp::from_program_info(info, name, attach_type))
    }

    /// The same for a classifier.
    ///
    /// # Errors
    /// The same.
    pub(in crate::io) fn load_classifier(&self, name: &str) -> Result<SchedClassifier, Fault> {
        self.load(name, SchedClassifier::from_program_info)
    }

    /// The same for one that finds sockets.
    ///
    /// # Errors
    /// The same.
    pub(in crate::io) fn load_socket_lookup(&self, name: &str) -> Result<SkLookup, Fault> {
        self.load(name, SkLookup::from_program_info)
    }

    fn compiled(&self, name: &str) -> Result<&Compiled, Fault> {
        self.programs.get(name).ok_or_else(|| Fault::NoProgram(name.to_owned()))
    }

    fn load<P>(
        &self,
        name: &str,
        take: impl FnOnce(ProgramInfo, Cow<'static, str>) -> Result<P, ProgramError>,
    ) -> Result<P, Fault> {
        let compiled = self.compiled(name)?;
        let (prog_type, expected_attach_type) =
            kind_of(&compiled.section).ok_or_else(|| Fault::NoProgram(name.to_owned()))?;
        let function = &compiled.function;
        let program = call::Program {
            name,
            prog_type,
            expected_attach_type,
            insns: &bytes_of(&function.instructions),
            license: &compiled.license,
            btf: self.types.as_fd(),
            func_info: (&function.func_info.func_info_bytes(), function.func_info_rec_size),
            line_info: (&function.line_info.line_info_bytes(), function.line_info_rec_size),
        };
        // Open until it is found among all programs: aya takes none by its descriptor.
        let loaded = call::load_program(&program, &mut []).map_err(|error| refused(&program, error))?;
        let number = call::program_number(loaded.as_fd()).map_err(|error| refused(&program, error))?;
        let mut all = loaded_programs().filter_map(Result::ok);
        let info = all.find(|info| info.id() == number).ok_or_else(|| Fault::NoProgram(name.to_owned()))?;
        take(info, name.to_owned().into()).map_err(|error| Fault::Lost(name.to_owned(), error))
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
fn typed(description: &aya_obj::Map, data: MapData) -> Option<Map> {
    Some(match bpf_map_type::try_from(description.map_type()).ok()? {
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
    let is_forbidden = error.kind() == io::ErrorKind::PermissionDenied;
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
