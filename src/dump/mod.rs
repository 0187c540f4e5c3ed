//! A dump file as physical memory (or, of triage dumps, as blocks of virtual memory). One file per container.
//!
//! [`Dump::open`] maps the file and recognises it; [`Dump::page`] gives a physical page straight from the map. A new
//! container is one file that turns a header into `Pages` (runs or a bitmap), and one line in `recognise`.

mod beside;
mod bitmap;
mod elf;
mod filler;
mod full;
mod header;
mod lime;
mod map;
mod met;
mod minidump;
mod page_file;
mod pages;
mod ranges;
mod raw;
mod raw_image;
mod secondary;
mod sniff;
mod sparse;
mod summary;
#[cfg(test)]
pub(crate) mod testing;
mod triage;
pub mod user;
mod vmware;
mod wiped;

pub use page_file::PageFile;
pub use pages::Runs;
pub use secondary::{Piece, Tag};
pub use sparse::Block;
pub use triage::{Driver, Part, Triage, UnloadedDriver};
pub use user::UserDump;

use crate::addr::{PAGE_SIZE, Pa, Pfn, Va};
use crate::error::{Error, Result};
use crate::value::{Absent, Note, Value};
use filler::Pattern;
use header::Width;
use map::{Map, ReadThrough};
use pages::Pages;
use std::path::{Path, PathBuf};

/// The kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Kernel crash dump, type 1: all of physical memory.
    Full,
    /// Type 2: the old summary dump.
    Summary,
    /// Type 4: triage ("mini") kernel dump, blocks of virtual memory.
    Triage,
    /// Type 5: all of memory, by bitmap.
    BitmapFull,
    /// Type 6: kernel memory, by bitmap (and live dumps).
    BitmapKernel,
    /// Type 8: kernel memory, by ranges.
    RangeKernel,
    /// Type 9: kernel and user memory, by ranges.
    RangeKernelUser,
    /// Type 0xA: complete, by ranges.
    RangeComplete,
    /// A raw image: physical address equals file offset.
    Raw,
    /// A user-mode minidump (`MDMP`).
    UserMinidump,
    /// A LiME image, or one of AVML 1.
    Lime,
    /// An ELF core of a virtual machine or of WinPmem.
    ElfCore,
    /// VMware's memory, placed by its state file.
    Vmware,
}

/// The processor a dump comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 32-bit x86 (with or without PAE).
    X86,
    /// x64.
    X64,
    /// ARM64.
    Arm64,
}

/// What a crash-dump header tells, each a hint to be checked. `None` where it is absent or zero.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// `MajorVersion`: 15 free build, 12 checked.
    pub major: u32,
    /// `MinorVersion`: the build number.
    pub build: u32,
    /// CR3 of the crashing context, low bits masked. Any process's.
    pub dtb: Option<Pa>,
    /// `PsLoadedModuleList`.
    pub module_list: Option<Va>,
    /// `PsActiveProcessHead`.
    pub process_head: Option<Va>,
    /// `KdDebuggerDataBlock`.
    pub kdbg: Option<Va>,
    /// Processors.
    pub processors: u32,
    /// Bugcheck code.
    pub bugcheck: u32,
    /// Its four parameters.
    pub bugcheck_parameters: [u64; 4],
    /// File offset of the code.
    pub bugcheck_at: u64,
    /// File offset of the first parameter.
    pub parameters_at: u64,
    /// Bytes of each parameter.
    pub parameter_size: u32,
    /// Whether PAE was on (x86).
    pub pae: Option<bool>,
    /// `SystemTime` of the header.
    pub system_time: Option<crate::time::FileTime>,
    /// File offset of that time.
    pub system_time_at: u64,
    /// `SystemUpTime`, in 100 ns.
    pub uptime: Option<u64>,
    /// File offset and length of the CONTEXT record.
    pub context: Option<(u64, u32)>,
    /// File offset and length of the EXCEPTION_RECORD.
    pub exception: Option<(u64, u32)>,
    /// The comment.
    pub comment: Option<String>,
    /// `ProductType`: 1 workstation, 2 domain controller, 3 server.
    pub product_type: Option<u32>,
    /// `SuiteMask`, where not zero.
    pub suite_mask: Option<u32>,
    /// `SecondaryDataState`, where not zero.
    pub secondary_state: Option<u32>,
    /// `Attributes` (`_DUMP_FILE_ATTRIBUTES`) of 64-bit headers, where written.
    pub attributes: Option<u32>,
}

/// A field of a crash-dump header.
#[derive(Clone, Copy, Debug)]
pub enum HeaderField {
    /// `MinorVersion`.
    Build,
    /// `DirectoryTableBase`.
    Dtb,
    /// `PsLoadedModuleList`.
    ModuleList,
    /// `PsActiveProcessHead`.
    ProcessHead,
    /// `KdDebuggerDataBlock`.
    Kdbg,
    /// `NumberProcessors`.
    Processors,
    /// `ProductType`.
    Product,
    /// `SuiteMask`.
    Suite,
}

impl Header {
    /// File offset of a field (`raw::Head64`, `raw::Tail64` and those of 32 bits).
    #[must_use]
    pub fn field_at(&self, field: HeaderField) -> u64 {
        let (wide, narrow) = match field {
            HeaderField::Build => (0xc, 0xc),
            HeaderField::Dtb => (0x10, 0x10),
            HeaderField::ModuleList => (0x20, 0x18),
            HeaderField::ProcessHead => (0x28, 0x1c),
            HeaderField::Kdbg => (0x80, 0x60),
            HeaderField::Processors => (0x34, 0x24),
            HeaderField::Product => (0x1040, 0xf94),
            HeaderField::Suite => (0x1044, 0xf98),
        };
        let (start, offset) =
            if self.parameter_size == 8 { (raw::BUGCHECK64.0, wide) } else { (raw::BUGCHECK32.0, narrow) };
        self.bugcheck_at.saturating_sub(start).saturating_add(offset)
    }
    /// The same header, which begins `by` bytes into the file.
    fn move_by(&mut self, by: u64) {
        let moved = |at: &mut u64| *at = at.saturating_add(by);
        [&mut self.bugcheck_at, &mut self.parameters_at, &mut self.system_time_at].into_iter().for_each(moved);
        [&mut self.context, &mut self.exception].into_iter().flatten().for_each(|(at, _)| moved(at));
    }
    /// Whether the header says that the dump was taken of the running machine (`LiveDumpGeneratedDump`).
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.attributes.is_some_and(|a| a & 1 << 4 != 0)
    }
}

/// One stretch of physical pages that lie one after another in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First page.
    pub pfn: Pfn,
    /// Pages.
    pub count: u64,
    /// File offset of the first page.
    pub file: u64,
}

/// What a dump holds.
#[derive(Clone, Copy, Debug)]
pub enum Evidence<'d> {
    /// Physical memory, with the page tables in it: [`Dump::page`].
    Memory,
    /// Blocks of virtual memory that Windows copied when it crashed.
    Triage(Triage<'d>),
    /// One process: streams, and blocks of its memory.
    Minidump(UserDump<'d>),
}

/// What a file was found to hold.
#[derive(Debug)]
enum Contents {
    Memory,
    Triage(Box<triage::Contents>),
    Minidump(Box<user::Contents>),
}

/// An opened dump, mapped read-only. `Sync`.
#[derive(Debug)]
pub struct Dump {
    /// The kind of container.
    pub kind: Kind,
    /// The processor, where the container tells.
    pub arch: Option<Arch>,
    /// The crash-dump header, where there is one.
    pub header: Option<Header>,
    /// What was odd about the file.
    pub notes: Vec<Note>,
    path: PathBuf,
    map: Map,
    pages: Pages,
    contents: Contents,
    roots: Vec<Pa>,
    met: met::Met,
}

/// What a container's file found.
struct Found {
    kind: Kind,
    arch: Option<Arch>,
    header: Option<Header>,
    pages: Pages,
    contents: Contents,
    roots: Vec<Pa>,
}

impl Found {
    fn new(kind: Kind, pages: Pages) -> Self {
        Self { kind, arch: None, header: None, pages, contents: Contents::Memory, roots: Vec::new() }
    }
}

impl Dump {
    /// Maps and recognises a file. It is read where it lies, so it must stay as it is: on Unix a file that is cut short
    /// while it is mapped raises `SIGBUS` in whoever reads the missing part (the command line turns that into an error
    /// message; a program of your own may want to, too). Windows refuses to cut a mapped file.
    ///
    /// # Errors
    /// The file cannot be read, or is no dump dumpwalk knows.
    pub fn open(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        // VMware's state file stands for the memory file beside it, unless it has memory inside.
        let inside = |map: &[u8]| vmware::State::read(map).is_ok_and(|state| state.has_memory());
        if vmware::is_state(&map)
            && !inside(&map)
            && let Some(memory) = beside::memory(path)
        {
            return Self::from_map(&memory, Map::open(&memory)?);
        }
        Self::from_map(path, map)
    }
    /// The same from bytes in memory, which are copied; `name` stands for the path. For tests and fuzzing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(name: &Path, bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Error::NotADump { path: name.into(), what: "the file is empty (0 bytes)".into() });
        }
        let map = Map::from_bytes(bytes).map_err(|source| Error::Io { path: name.into(), source })?;
        Self::from_map(name, map)
    }
    fn from_map(path: &Path, map: Map) -> Result<Self> {
        let mut notes = Vec::new();
        let found = recognise(path, &map, &mut notes).map_err(|what| Error::NotADump { path: path.into(), what })?;
        let Found { kind, arch, header, pages, contents, roots } = found;
        let met = met::Met::default();
        Ok(Self { kind, arch, header, notes, path: path.into(), map, pages, contents, roots, met })
    }
    /// Page-table roots of the processors (CR3), where the container keeps their registers. Any process's.
    #[must_use]
    pub fn roots(&self) -> &[Pa] {
        &self.roots
    }
    /// The path of the file that memory is read from: as it was given, or VMware's memory file beside the state file that was.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The whole file.
    #[must_use]
    pub fn map(&self) -> &[u8] {
        &self.map
    }
    /// Says that all of memory is about to be read in order: a cold file is then read ahead, until what this gives is dropped.
    #[must_use]
    pub fn read_through(&self) -> ReadThrough<'_> {
        self.map.read_through()
    }
    /// Bytes of the file. Never 0: an empty file is not opened.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.map.len() as u64
    }
    /// Physical pages that are in the file as a whole.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.pages.count()
    }
    /// The highest physical page in the file.
    #[must_use]
    pub fn highest_page(&self) -> Option<Pfn> {
        self.pages.highest(&self.map)
    }
    /// One physical page, straight from the map. `None` where the dump has none, or [a pattern](filler) in its stead.
    #[must_use]
    #[inline]
    pub fn page(&self, pfn: Pfn) -> Option<&[u8; PAGE_SIZE as usize]> {
        let page = self.page_in_file(self.pages.file(&self.map, pfn)?)?;
        match Pattern::of(page) {
            None => Some(page),
            Some(pattern) => {
                if pattern.is_certain() {
                    self.met.filled(pattern, pfn);
                }
                None
            }
        }
    }
    /// The page at a file offset.
    #[must_use]
    #[inline]
    pub fn page_in_file(&self, file: u64) -> Option<&[u8; PAGE_SIZE as usize]> {
        self.map.page(file)
    }
    /// The file offset of the physical page around an address that somebody reads at: `None` where the dump does not have it, or its writer
    /// filled the page with [a pattern](filler) in place of memory that it could not read. Looks at the four bytes there.
    #[must_use]
    #[inline]
    pub fn memory_at(&self, pa: Pa) -> Option<u64> {
        let file = self.pages.file(&self.map, pa.pfn())?;
        match Pattern::seen_at(self.page_in_file(file)?, pa.offset_in_page()) {
            None => Some(file),
            Some(pattern) => {
                self.met.filled(pattern, pa.pfn());
                None
            }
        }
    }
    /// What readers have met so far that cost them values: pages without memory, texts without their end. One note for each kind, to be
    /// given at the end of a run.
    #[must_use]
    pub fn met(&self) -> Vec<Note> {
        self.met.notes()
    }
    /// Keeps for [`met`](Self::met) that a text at `va` goes on in memory that is not there.
    pub fn met_cut_text(&self, va: Va) {
        self.met.cut(va);
    }
    /// The bytes from `pa` to at most `len` or the end of its page.
    ///
    /// # Errors
    /// [`Absent::NotInDump`], also where the dump's writer filled the page with a pattern.
    #[inline]
    pub fn bytes(&self, pa: Pa, len: usize) -> Value<&[u8]> {
        let page = self.page(pa.pfn()).ok_or(Absent::NotInDump)?;
        let from = usize::try_from(pa.offset_in_page()).map_err(|_| Absent::Implausible)?;
        let rest = page.get(from..).ok_or(Absent::Implausible)?;
        Ok(rest.get(..len).unwrap_or(rest))
    }
    /// Where a physical byte stands in the file, whatever the file has there.
    #[must_use]
    #[inline]
    pub fn file_offset(&self, pa: Pa) -> Option<u64> {
        self.pages.file(&self.map, pa.pfn()).map(|at| at.saturating_add(pa.offset_in_page()))
    }
    /// What it holds.
    #[must_use]
    pub fn evidence(&self) -> Evidence<'_> {
        match &self.contents {
            Contents::Memory => Evidence::Memory,
            Contents::Triage(contents) => Evidence::Triage(Triage::new(&self.map, contents)),
            Contents::Minidump(contents) => Evidence::Minidump(UserDump::new(&self.map, contents)),
        }
    }
    /// What a triage dump holds instead of physical memory.
    #[must_use]
    pub fn triage(&self) -> Option<Triage<'_>> {
        match self.evidence() {
            Evidence::Triage(triage) => Some(triage),
            _ => None,
        }
    }
    /// What a user-mode minidump says of its process.
    #[must_use]
    pub fn minidump(&self) -> Option<UserDump<'_>> {
        match self.evidence() {
            Evidence::Minidump(process) => Some(process),
            _ => None,
        }
    }
    /// Of a dump that keeps memory by virtual address (triage, user-mode minidump): the bytes from `va` to at most
    /// `len` or the end of what is kept there, and the file offset of the first.
    ///
    /// # Errors
    /// [`Absent::NotInDump`] where the dump keeps nothing, [`Absent::NotApplicable`] of a dump of physical memory.
    #[inline]
    pub fn virtual_bytes(&self, va: Va, len: usize) -> Value<(&[u8], u64)> {
        match self.evidence() {
            Evidence::Memory => Err(Absent::NotApplicable),
            Evidence::Triage(triage) => triage.bytes(va, len),
            Evidence::Minidump(process) => process.bytes(va, len),
        }
    }
    /// The bytes from `pa` on that lie together in memory and in the file, at most `len`, and their file offset.
    /// `None` where the dump does not have `pa`.
    #[must_use]
    pub fn stretch(&self, pa: Pa, len: usize) -> Option<(&[u8], u64)> {
        let first = self.memory_at(pa)?;
        let wanted = pa.offset_in_page().saturating_add(len as u64);
        let mut held = PAGE_SIZE;
        while held < wanted && self.memory_at(pa.page().add(held)) == first.checked_add(held) {
            held = held.saturating_add(PAGE_SIZE);
        }
        let file = first.saturating_add(pa.offset_in_page());
        let n = held.min(wanted).saturating_sub(pa.offset_in_page());
        let from = usize::try_from(file).ok()?;
        Some((self.map.get(from..from.checked_add(usize::try_from(n).ok()?)?)?, file))
    }
    /// The runs of physical memory that the crash-dump header describes, whether or not the file has them: first page and count.
    #[must_use]
    pub fn described_runs(&self) -> Vec<(u64, u64)> {
        Width::of(&self.map).map(|width| width.runs(&self.map)).unwrap_or_default()
    }
    /// The secondary data behind a crash dump, and what was odd about it.
    #[must_use]
    pub fn secondary(&self) -> (Vec<Piece<'_>>, Vec<Note>) {
        match (&self.header, &self.contents) {
            (None, _) => Default::default(),
            _ if self.kind == Kind::ElfCore => Default::default(),
            (Some(_), Contents::Triage(triage)) => secondary::read(&self.map, triage.size()),
            (Some(_), _) => secondary::read(&self.map, self.pages.end()),
        }
    }
    /// All runs in file order, each cut to the pages the file has.
    pub fn runs(&self) -> Runs<'_> {
        self.pages.runs(&self.map)
    }
}

/// Tells the container by its signatures and opens it. A raw image has none: its name and the files beside it have a say.
fn recognise(path: &Path, map: &[u8], notes: &mut Vec<Note>) -> Result<Found, String> {
    if let Some(width) = Width::of(map) {
        return crash_dump(map, width, notes);
    }
    if map.starts_with(minidump::SIGNATURE) {
        let (arch, user) = minidump::open(map, notes)?;
        return Ok(Found {
            arch,
            contents: Contents::Minidump(Box::new(user)),
            ..Found::new(Kind::UserMinidump, Pages::None)
        });
    }
    if map.starts_with(lime::MAGIC) {
        return Ok(Found::new(Kind::Lime, lime::open(map, notes)?));
    }
    if map.starts_with(elf::MAGIC) {
        let elf::Core { arch, pages, roots, header } = elf::open(map, notes)?;
        let arch = header.as_ref().and_then(|parsed| parsed.arch).or(arch);
        return Ok(Found {
            arch,
            roots,
            header: header.map(|parsed| parsed.header),
            ..Found::new(Kind::ElfCore, pages)
        });
    }
    if vmware::is_state(map) {
        return vmware_state(map, notes);
    }
    if let Some(why) = sniff::not_raw(map).or_else(|| beside::not_raw(path, notes)) {
        return Err(why);
    }
    if beside::is_vmem(path) {
        return vmware_memory(path, map.len() as u64, notes);
    }
    Ok(Found::new(Kind::Raw, raw_image::open(map, notes)?))
}

/// VMware's state file with memory inside.
fn vmware_state(map: &[u8], notes: &mut Vec<Note>) -> Result<Found, String> {
    let state = vmware::State::read(map)
        .map_err(|why| format!("a VMware snapshot state (.vmss, .vmsn) that is damaged: {why}"))?;
    if !state.has_memory() {
        return Err("a VMware snapshot state (.vmss, .vmsn) without memory inside; put the .vmem file of the same name beside it".into());
    }
    let pages = state.pages(map.len() as u64, notes)?;
    Ok(Found { roots: state.roots, ..Found::new(Kind::Vmware, pages) })
}

/// VMware's memory file, placed by the state file beside it.
fn vmware_memory(path: &Path, length: u64, notes: &mut Vec<Note>) -> Result<Found, String> {
    let why = match beside::state(path) {
        Some((name, Ok(state))) => {
            notes.push(Note::info(format!("{name} beside the memory file says where its pages belong")));
            let pages = state.pages(length, notes)?;
            return Ok(Found { roots: state.roots, ..Found::new(Kind::Vmware, pages) });
        }
        Some((name, Err(why))) => {
            Some(format!("{name}, which says where the pages of this memory file belong, cannot be read: {why}"))
        }
        None => None,
    };
    notes.extend(why.map(Note::loss));
    Ok(Found::new(Kind::Vmware, vmware::alone(length, notes)?))
}

/// A kernel crash dump, by the type its header names.
fn crash_dump(map: &[u8], width: Width, notes: &mut Vec<Note>) -> Result<Found, String> {
    let parsed = header::parse(map, width, notes)?;
    let body = width.header_size();
    let mut contents = Contents::Memory;
    let (kind, pages) = match parsed.dump_type {
        4 => {
            contents = Contents::Triage(Box::new(triage::open(map, width, parsed.header.kdbg, notes)?));
            (Kind::Triage, Pages::None)
        }
        1 => (Kind::Full, full::open(map, width, notes)?),
        2 => (Kind::Summary, summary::open(map, width, notes)?),
        5 => (Kind::BitmapFull, bitmap::open(map, body, notes)?),
        // 7 ("automatic") is a setting; a file of that type would be written as a kernel dump.
        6 | 7 => (Kind::BitmapKernel, bitmap::open(map, body, notes)?),
        8 => (Kind::RangeKernel, ranges::open(map, body, false, notes)?),
        9 => (Kind::RangeKernelUser, ranges::open(map, body, false, notes)?),
        0xa => (Kind::RangeComplete, ranges::open(map, body, true, notes)?),
        other => {
            let at = if width == Width::Bits64 { raw::TAIL64 } else { raw::TAIL32 };
            let what = match other {
                0 | raw::FILL32 => "which was never written: Windows was stopped while it wrote the file",
                3 => "a header without memory",
                _ => "unknown to dumpwalk",
            };
            return Err(format!("a Windows crash dump of type {other:#x} (at {at:#x}), {what}"));
        }
    };
    Ok(Found { arch: parsed.arch, header: Some(parsed.header), contents, ..Found::new(kind, pages) })
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
