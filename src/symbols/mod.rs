//! What a kernel's names mean: types, fields, enumerations and globals, from a PDB, an ISF file, a text table or the cache.

pub mod builtin;
pub mod cache;
mod candidates;
mod codeview;
pub mod compact;
#[cfg(feature = "download")]
pub mod download;
pub mod file;
pub mod folder;
pub mod globals;
pub mod image;
pub mod indispensable;
pub mod isf;
pub mod layout;
pub mod manage;
pub mod ntpath;
pub mod pdb;
pub mod resolved;
mod show;
pub mod store;
pub mod table;
pub mod types;

use crate::error::{Error, Result};
use crate::value::Note;
use globals::Globals;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use types::Types;

/// A PDB's identity: what a debugger asks a symbol server for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PdbId {
    /// File name, `ntkrnlmp.pdb`.
    pub name: String,
    /// The GUID as 32 upper-case hexadecimal digits in symbol-server order.
    pub guid: String,
    /// The age.
    pub age: u32,
}

impl PdbId {
    /// The folder name of the symbol-store layout: GUID and age (hexadecimal) without a gap.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}{:X}", self.guid, self.age)
    }
}

/// The processor a module was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// 32-bit x86.
    X86,
    /// x64.
    X64,
    /// ARM64.
    Arm64,
}

impl Machine {
    /// Bytes of a pointer.
    #[must_use]
    pub const fn pointer_size(self) -> u8 {
        match self {
            Self::X86 => 4,
            Self::X64 | Self::Arm64 => 8,
        }
    }
    /// The word of the table format: `x86`, `x64`, `arm64`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::X64 => "x64",
            Self::Arm64 => "arm64",
        }
    }
}

/// Everything known of one module's symbols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// Structures and enumerations.
    pub types: Types,
    /// The processor, where the source states it.
    pub machine: Option<Machine>,
    /// The module's file version (`10.0.19041.2965`), where the source states it. A PDB does not.
    pub version: Option<String>,
    /// Globals and functions: name to RVA.
    pub globals: Globals,
    /// The identity, where the source states one.
    pub id: Option<PdbId>,
    /// Where they came from, for people: a path, a URL, `built-in table x64-10.0.19045.2965`.
    pub origin: String,
    /// What was odd about the source: damaged records left out, a build that is only near.
    pub notes: Vec<Note>,
}

impl Symbols {
    /// The RVA of a global. Add the module's base.
    #[must_use]
    pub fn rva(&self, name: &str) -> Option<u32> {
        self.globals.get(name)
    }
}

/// Symbols that were read, and the file they were read from just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was read.
    pub symbols: Symbols,
    /// The file; `None` for what the cache has already, and for what is compiled in.
    pub file: Option<PathBuf>,
}

impl Found {
    /// Whether the file was whole: damage that costs single types or names is a loss among the notes.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.symbols.notes.iter().any(|n| n.loss)
    }
}

/// What one place has for a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Symbols that can be read. Whether they fit the dump is for the caller to check.
    Symbols(Box<Found>),
    /// A file that was meant to be used and cannot be: its path and the reason. The user is to know.
    Refused(String),
    /// The place has no file for it: its path or address, and what was looked for.
    Nothing(String),
}

/// The kinds of places, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Files at hand: the folders of `--symbols`, those of `_NT_SYMBOL_PATH`, the cache.
    Files,
    /// Symbol servers.
    Servers,
    /// What is compiled in.
    BuiltIn,
}

/// What a symbol store keeps an image under (Microsoft's SSQP key conventions, "PE-timestamp-filesize").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageId {
    /// File name, `ntoskrnl.exe`.
    pub name: String,
    /// `TimeDateStamp` of the PE header.
    pub time_stamp: u32,
    /// `SizeOfImage`, bytes.
    pub size: u32,
}

impl ImageId {
    /// The folder name of the symbol-store layout: the time stamp with eight digits, the size without leading zeros.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{:08X}{:x}", self.time_stamp, self.size)
    }
}

/// The symbols that the user names, whatever the dump says (`--pdb`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// A PDB or ISF file.
    File(PathBuf),
    /// GUID (32 upper-case hexadecimal digits) and age.
    Id {
        /// The GUID.
        guid: String,
        /// The age.
        age: u32,
    },
}

/// Names a kernel's PDB can have: without and with several processors, without and with PAE; ARM64 kernels are `ntkrnlmp`.
pub const KERNEL_PDBS: [&str; 4] = ["ntkrnlmp.pdb", "ntkrnlpa.pdb", "ntkrpamp.pdb", "ntoskrnl.pdb"];

/// Where a kernel's symbols come from. [`kernel`](crate::kernel) asks; the store answers.
pub trait SymbolSource {
    /// The symbols of exactly this PDB, from the first place that has them.
    ///
    /// # Errors
    /// [`Error::NoSymbols`] lists every place tried and what to do next.
    fn load(&self, id: &PdbId) -> Result<Symbols>;
    /// What the places of one kind have for exactly this PDB, one after another. Nothing is asked before its turn.
    fn offers(&self, id: &PdbId, stage: Stage) -> Box<dyn Iterator<Item = Offer> + '_> {
        let loaded = (stage == Stage::Files).then(|| match self.load(id) {
            Ok(symbols) => Offer::Symbols(Box::new(Found { symbols, file: None })),
            Err(why) => Offer::Nothing(why.to_string()),
        });
        Box::new(loaded.into_iter())
    }
    /// What the user named.
    fn chosen(&self) -> Option<Chosen> {
        None
    }
    /// Kernels' symbols at hand, of whatever build: for a dump that does not name its PDB.
    fn candidates(&self, _machine: Machine) -> Box<dyn Iterator<Item = Offer> + '_> {
        Box::new(std::iter::empty())
    }
    /// The PDB that an image names in its debug directory: from a copy or a record of it at hand, or (`Stage::Servers`)
    /// from a server.
    ///
    /// # Errors
    /// Where it was looked for, and why there is none.
    fn named_by(&self, _image: &ImageId, _stage: Stage) -> Result<PdbId, String> {
        Err("no image is looked for".into())
    }
    /// Symbols read from this file that have proved to fit: a cache may keep them.
    fn keep(&self, _symbols: &Symbols, _file: &Path) {}
    /// Structure layouts (no globals) to try when the exact symbols are not to be had, nearest build first.
    /// They serve only after checks against the dump itself.
    fn fallbacks(&self, wanted: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_>;
}

/// What is known of a kernel whose symbols are not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The processor.
    pub machine: Machine,
    /// The build number, where known.
    pub build: Option<u32>,
    /// The revision (the fourth part of the file version), where known.
    pub revision: Option<u32>,
}

/// Reads a whole file of at most `largest` bytes.
fn read_file(path: &Path, largest: u64) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.into(), source };
    let file = crate::regular::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let too_large = || Error::BadSymbols {
        origin: path.display().to_string(),
        what: format!("it has more than {} MiB, which no symbol file has", largest >> 20),
    };
    if len > largest {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(largest.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > largest { Err(too_large()) } else { Ok(bytes) }
}
