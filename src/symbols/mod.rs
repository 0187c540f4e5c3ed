//! What a kernel's names mean: types, fields, enumerations and globals, from a PDB, an ISF file, a text table or the cache.

pub mod layout;
pub mod resolved;
pub mod types;

use std::collections::BTreeMap;
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

/// Everything known of one module's symbols.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// Structures and enumerations.
    pub types: Types,
    /// Globals and functions: name to RVA.
    pub globals: BTreeMap<Box<str>, u32>,
    /// The identity, where the source states one.
    pub id: Option<PdbId>,
    /// Where they came from, for people: a path, a URL, `built-in table x64-10.0.19045.2965`.
    pub origin: String,
}

impl Symbols {
    /// The RVA of a global. Add the module's base.
    #[must_use]
    pub fn rva(&self, name: &str) -> Option<u32> {
        self.globals.get(name).copied()
    }
}
