//! A dump file as physical memory (or, of triage dumps, as blocks of virtual memory). One file per container.

use crate::addr::{PAGE_SIZE, Pa, Pfn};
use crate::error::{Error, Result};
use crate::value::{Absent, Note, Value};
use std::path::Path;

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
    pub module_list: Option<crate::addr::Va>,
    /// `PsActiveProcessHead`.
    pub process_head: Option<crate::addr::Va>,
    /// `KdDebuggerDataBlock`.
    pub kdbg: Option<crate::addr::Va>,
    /// Processors.
    pub processors: u32,
    /// Bugcheck code.
    pub bugcheck: u32,
    /// Its four parameters.
    pub bugcheck_parameters: [u64; 4],
    /// Whether PAE was on (x86).
    pub pae: Option<bool>,
    /// `SystemTime` of the header.
    pub system_time: Option<crate::time::FileTime>,
    /// `SystemUpTime`, in 100 ns.
    pub uptime: Option<u64>,
    /// File offset and length of the CONTEXT record.
    pub context: Option<(u64, u32)>,
    /// File offset and length of the EXCEPTION_RECORD.
    pub exception: Option<(u64, u32)>,
    /// The comment.
    pub comment: Option<String>,
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
}

impl Dump {
    /// Maps and recognises a file.
    ///
    /// # Errors
    /// The file cannot be read, or is no dump dumpwalk knows.
    pub fn open(path: &Path) -> Result<Self> {
        Err(Error::NotADump { path: path.into(), what: "no container is implemented".into() })
    }
    /// One physical page, straight from the map.
    #[must_use]
    pub fn page(&self, _pfn: Pfn) -> Option<&[u8; PAGE_SIZE as usize]> {
        None
    }
    /// The bytes from `pa` to at most `len` or the end of its page.
    ///
    /// # Errors
    /// [`Absent::NotInDump`].
    pub fn bytes(&self, pa: Pa, len: usize) -> Value<&[u8]> {
        let page = self.page(pa.pfn()).ok_or(Absent::NotInDump)?;
        let from = usize::try_from(pa.offset_in_page()).map_err(|_| Absent::Implausible)?;
        let rest = page.get(from..).ok_or(Absent::Implausible)?;
        Ok(rest.get(..len).unwrap_or(rest))
    }
    /// Where a physical byte stands in the file.
    #[must_use]
    pub fn file_offset(&self, _pa: Pa) -> Option<u64> {
        None
    }
    /// All runs in file order.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        std::iter::empty()
    }
}
