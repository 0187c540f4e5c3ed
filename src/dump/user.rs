//! What a user-mode minidump says of its process.
//!
//! ```no_run
//! use dumpwalk::addr::Va;
//! use dumpwalk::dump::Dump;
//!
//! let dump = Dump::open("process.dmp".as_ref())?;
//! if let Some(process) = dump.minidump() {
//!     println!("pid {:?}, created {:?}", process.info().pid, process.info().create_time);
//!     for m in process.modules() {
//!         println!("{} {:#x} {:?}", m.base, m.size, m.name);
//!     }
//!     for t in process.threads() {
//!         let registers = t.context.and_then(|c| process.registers(c).ok());
//!         println!("{} {:?} at {:?}", t.id, t.name, registers.map(|r| r.ip));
//!         if let Ok((bytes, file_offset)) = process.bytes(t.teb, 8) {
//!             println!("its TEB begins with {bytes:02x?}, at {file_offset:#x} of the file");
//!         }
//!     }
//! }
//! # Ok::<(), dumpwalk::error::Error>(())
//! ```

use super::sparse::{Block, Sparse, slice};
use crate::addr::Va;
use crate::bytes::u32_at;
use crate::time::FileTime;
use crate::value::{Absent, Value};
use minidump::{MinidumpContext, MinidumpSystemInfo};

/// The machine and its Windows (`MINIDUMP_SYSTEM_INFO`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Major, minor and build number of Windows (`[10, 0, 22000]`).
    pub version: [u32; 3],
    /// `wProductType`: 1 workstation, 2 domain controller, 3 server.
    pub product_type: u8,
    /// `wSuiteMask`.
    pub suite_mask: u16,
    /// Processors.
    pub processors: u8,
    /// `szCSDVersion`: the service pack, where there is one.
    pub service_pack: Option<String>,
    /// File offset of the record.
    pub file: u64,
}

/// The process, and the dump itself (header and `MINIDUMP_MISC_INFO`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// When the dump was written, to the second.
    pub written: Value<FileTime>,
    /// `MINIDUMP_TYPE` flags it was written with.
    pub flags: u64,
    /// Process id.
    pub pid: Value<u32>,
    /// When the process was created, to the second.
    pub create_time: Value<FileTime>,
    /// Seconds it spent in user mode.
    pub user_seconds: Value<u32>,
    /// Seconds it spent in kernel mode.
    pub kernel_seconds: Value<u32>,
    /// Its integrity level (`0x3000` high).
    pub integrity_level: Value<u32>,
    /// Its execute flags.
    pub execute_flags: Value<u32>,
    /// Whether it is a protected process.
    pub protected: Value<bool>,
    /// The build string of Windows.
    pub build_string: Value<String>,
    /// Its cookie.
    pub cookie: Value<u32>,
    /// The comment written with it.
    pub comment: Option<String>,
    /// File offset of the misc-info record.
    pub file: Option<u64>,
}

/// A loaded module (`MINIDUMP_MODULE`). The first is the program itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Path.
    pub name: Value<String>,
    /// First byte of the image.
    pub base: Va,
    /// `SizeOfImage`.
    pub size: u32,
    /// `CheckSum` of the PE header.
    pub checksum: u32,
    /// `TimeDateStamp` of the PE header.
    pub time_stamp: u32,
    /// File version, four numbers.
    pub file_version: Option<[u16; 4]>,
    /// Product version, four numbers.
    pub product_version: Option<[u16; 4]>,
    /// Its PDB.
    pub pdb: Option<Pdb>,
    /// File offset of the record: base at +0, size at +8, checksum at +12, time stamp at +16.
    pub file: u64,
}

/// The identity of a PDB 7.0 file (an `RSDS` record).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdb {
    /// File name or path.
    pub name: String,
    /// GUID in 32 hexadecimal digits, as symbol stores write it.
    pub guid: String,
    /// Age.
    pub age: u32,
    /// File offset of the record.
    pub file: u64,
}

/// A module unloaded before the dump (`MINIDUMP_UNLOADED_MODULE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnloadedModule {
    /// File name.
    pub name: Value<String>,
    /// Where it began.
    pub base: Va,
    /// `SizeOfImage`.
    pub size: u32,
    /// `CheckSum` of the PE header.
    pub checksum: u32,
    /// `TimeDateStamp` of the PE header.
    pub time_stamp: u32,
    /// File offset of the record.
    pub file: u64,
}

/// A thread (`MINIDUMP_THREAD`, with `MINIDUMP_THREAD_INFO` and its name where the dump has them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Thread id.
    pub id: u32,
    /// Suspend count.
    pub suspend_count: u32,
    /// Priority class.
    pub priority_class: u32,
    /// Priority.
    pub priority: u32,
    /// Its TEB.
    pub teb: Va,
    /// First byte and length of its stack.
    pub stack: Option<(Va, u32)>,
    /// File offset and length of its CONTEXT.
    pub context: Option<(u64, u32)>,
    /// The name given with `SetThreadDescription`.
    pub name: Value<String>,
    /// File offset of its characters.
    pub name_at: Option<u64>,
    /// When it was created.
    pub create_time: Value<FileTime>,
    /// When it ended.
    pub exit_time: Value<FileTime>,
    /// Its exit status.
    pub exit_status: Value<u32>,
    /// Time in user mode, in 100 ns.
    pub user_time: Value<u64>,
    /// Time in kernel mode, in 100 ns.
    pub kernel_time: Value<u64>,
    /// Where it was told to start.
    pub start_address: Value<Va>,
    /// Its processor affinity.
    pub affinity: Value<u64>,
    /// Whether this thread wrote the dump.
    pub wrote_dump: bool,
    /// File offset of the thread record.
    pub file: u64,
    /// File offset of the thread-info record.
    pub info_file: Option<u64>,
}

/// A region of the address space (`MINIDUMP_MEMORY_INFO`, what `VirtualQuery` tells): the user-mode view of a VAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub base: Va,
    /// First byte of the allocation it is part of.
    pub allocation_base: Va,
    /// `PAGE_*` protection of the allocation.
    pub allocation_protection: u32,
    /// Bytes.
    pub size: u64,
    /// `MEM_COMMIT` (0x1000), `MEM_RESERVE` (0x2000) or `MEM_FREE` (0x10000).
    pub state: u32,
    /// `PAGE_*` protection now.
    pub protection: u32,
    /// `MEM_PRIVATE` (0x20000), `MEM_MAPPED` (0x40000) or `MEM_IMAGE` (0x1000000).
    pub kind: u32,
    /// File offset of the record: base at +0, size at +24, state at +32, protection at +36, kind at +40.
    pub file: u64,
}

/// An open handle (`MINIDUMP_HANDLE_DESCRIPTOR`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The handle's number.
    pub value: u64,
    /// Name of the object's type (`File`).
    pub type_name: Value<String>,
    /// Name of the object; [`Absent::NotApplicable`] where it has none.
    pub object_name: Value<String>,
    /// Handle attributes.
    pub attributes: u32,
    /// Access the handle grants.
    pub granted_access: u32,
    /// Handles to the object.
    pub handle_count: u32,
    /// Pointers to the object.
    pub pointer_count: u32,
    /// File offset of the record: value at +0, attributes at +16, access at +20.
    pub file: u64,
}

/// The exception the dump was written for (`MINIDUMP_EXCEPTION_STREAM`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The thread it happened in.
    pub thread_id: u32,
    /// Exception code.
    pub code: u32,
    /// Exception flags.
    pub flags: u32,
    /// The instruction.
    pub address: Va,
    /// Its parameters.
    pub parameters: Vec<u64>,
    /// File offset and length of the CONTEXT at the exception.
    pub context: Option<(u64, u32)>,
    /// File offset of the record.
    pub file: u64,
}

/// The general-purpose registers of a CONTEXT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer.
    pub ip: Va,
    /// Stack pointer.
    pub sp: Va,
    /// All, by name, in the processor's order.
    pub all: Vec<(&'static str, u64)>,
}

/// An entry of the directory (`MINIDUMP_DIRECTORY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// `MINIDUMP_STREAM_TYPE`.
    pub kind: u32,
    /// Bytes.
    pub size: u32,
    /// File offset.
    pub file: u32,
}

/// What was read of the file at opening.
#[derive(Debug)]
pub(super) struct Contents {
    pub raw_system: Option<MinidumpSystemInfo>,
    pub system: Option<System>,
    pub info: Info,
    pub modules: Value<Vec<Module>>,
    pub unloaded: Value<Vec<UnloadedModule>>,
    pub threads: Value<Vec<Thread>>,
    pub regions: Value<Vec<Region>>,
    pub handles: Value<Vec<Handle>>,
    pub exception: Option<Exception>,
    pub memory: Sparse,
}

/// A user-mode minidump.
#[derive(Clone, Copy, Debug)]
pub struct UserDump<'d> {
    map: &'d [u8],
    contents: &'d Contents,
}

fn rows<T>(list: &Value<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}
fn kept<T>(list: &Value<Vec<T>>) -> Value<()> {
    match list {
        Ok(_) => Ok(()),
        Err(why) => Err(*why),
    }
}

impl<'d> UserDump<'d> {
    pub(super) fn new(map: &'d [u8], contents: &'d Contents) -> Self {
        Self { map, contents }
    }
    /// The file offset of the first stream of a type (`MINIDUMP_STREAM_TYPE`).
    #[must_use]
    pub fn stream(&self, kind: u32) -> Option<u64> {
        self.streams().find(|stream| stream.kind == kind).map(|stream| stream.file.into())
    }
    /// The file offset of the characters of a `MINIDUMP_STRING` (bytes, then UTF-16) that a record names by an RVA at this offset.
    #[must_use]
    pub fn text_at(&self, rva_at: u64) -> Option<u64> {
        let rva = crate::bytes::u32_at(self.map, usize::try_from(rva_at).ok()?)?;
        u64::from(rva).checked_add(4).filter(|_| rva != 0)
    }
    /// The machine and its Windows.
    #[must_use]
    pub fn system(&self) -> Option<&'d System> {
        self.contents.system.as_ref()
    }
    /// The process and the dump.
    #[must_use]
    pub fn info(&self) -> &'d Info {
        &self.contents.info
    }
    /// The file's directory of streams.
    pub fn streams(&self) -> impl Iterator<Item = StreamEntry> + use<'d> {
        let map = self.map;
        // Opening has refused a directory that is longer than any real one.
        let (count, at) = (u32_at(map, 8).unwrap_or(0), u32_at(map, 12).unwrap_or(0));
        let entries = slice(map, at.into(), u64::from(count).saturating_mul(12)).unwrap_or_default();
        entries
            .chunks_exact(12)
            .filter_map(|e| Some(StreamEntry { kind: u32_at(e, 0)?, size: u32_at(e, 4)?, file: u32_at(e, 8)? }))
    }
    /// The program's own module.
    #[must_use]
    pub fn program(&self) -> Option<&'d Module> {
        self.modules().first()
    }
    /// Loaded modules, in the order of the dump; the first is the program.
    #[must_use]
    pub fn modules(&self) -> &'d [Module] {
        rows(&self.contents.modules)
    }
    /// Modules unloaded before the dump.
    #[must_use]
    pub fn unloaded(&self) -> &'d [UnloadedModule] {
        rows(&self.contents.unloaded)
    }
    /// Threads.
    #[must_use]
    pub fn threads(&self) -> &'d [Thread] {
        rows(&self.contents.threads)
    }
    /// Regions of the address space, in the order of the dump (by address).
    #[must_use]
    pub fn regions(&self) -> &'d [Region] {
        rows(&self.contents.regions)
    }
    /// Open handles.
    #[must_use]
    pub fn handles(&self) -> &'d [Handle] {
        rows(&self.contents.handles)
    }
    /// Whether the dump has a list of that kind at all: an empty list and no list are two answers.
    ///
    /// # Errors
    /// [`Absent::NotRecorded`] where it has none, [`Absent::Implausible`] where it cannot be read.
    pub fn has(&self, list: List) -> Value<()> {
        let c = self.contents;
        match list {
            List::Modules => kept(&c.modules),
            List::Unloaded => kept(&c.unloaded),
            List::Threads => kept(&c.threads),
            List::Regions => kept(&c.regions),
            List::Handles => kept(&c.handles),
        }
    }
    /// The exception the dump was written for.
    #[must_use]
    pub fn exception(&self) -> Option<&'d Exception> {
        self.contents.exception.as_ref()
    }
    /// The registers of a CONTEXT ([`Thread::context`], [`Exception::context`]).
    ///
    /// # Errors
    /// [`Absent::Implausible`] where it is none of the dump's processor.
    pub fn registers(&self, context: (u64, u32)) -> Value<Registers> {
        let system = self.contents.raw_system.as_ref().ok_or(Absent::NotRecorded)?;
        let bytes = slice(self.map, context.0, context.1.into()).ok_or(Absent::NotInDump)?;
        let read = MinidumpContext::read(bytes, scroll::Endian::Little, system, None);
        let read = read.map_err(|_| Absent::Implausible)?;
        Ok(Registers {
            ip: Va(read.get_instruction_pointer()),
            sp: Va(read.get_stack_pointer()),
            all: read.valid_registers().collect(),
        })
    }
    /// The bytes from `va` to at most `len` or the end of what is kept there, and the file offset of the first.
    /// What follows may be in another block: ask again.
    ///
    /// # Errors
    /// [`Absent::NotInDump`] where the dump keeps nothing.
    pub fn bytes(&self, va: Va, len: usize) -> Value<(&'d [u8], u64)> {
        self.contents.memory.bytes(self.map, va, len)
    }
    /// The first kept address at or after `va`.
    #[must_use]
    pub fn next_kept(&self, va: Va) -> Option<Va> {
        self.contents.memory.next_kept(va)
    }
    /// Every kept stretch of memory, sorted by address and not overlapping.
    #[must_use]
    pub fn blocks(&self) -> &'d [Block] {
        self.contents.memory.blocks()
    }
}

/// A list a minidump may or may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// [`UserDump::modules`].
    Modules,
    /// [`UserDump::unloaded`].
    Unloaded,
    /// [`UserDump::threads`].
    Threads,
    /// [`UserDump::regions`].
    Regions,
    /// [`UserDump::handles`].
    Handles,
}
