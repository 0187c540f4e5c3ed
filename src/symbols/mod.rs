//! What a kernel's names mean: types, fields, enumerations and globals, from a PDB, an ISF file, a text table or the cache.

pub mod builtin;
pub mod cache;
mod codeview;
pub mod compact;
#[cfg(feature = "download")]
pub mod download;
pub mod file;
pub mod folder;
pub mod globals;
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
use std::path::Path;
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

/// Where a kernel's symbols come from. [`kernel`](crate::kernel) asks; the store answers.
pub trait SymbolSource {
    /// The symbols of exactly this PDB.
    ///
    /// # Errors
    /// [`Error::NoSymbols`] lists every place tried and what to do next.
    fn load(&self, id: &PdbId) -> Result<Symbols>;
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
    let file = std::fs::File::open(path).map_err(io)?;
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
