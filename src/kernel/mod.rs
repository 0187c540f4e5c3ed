//! One file per Windows object, and the walkers that find them (list, tree, table).

pub mod active;
pub mod address_space;
pub mod bugcheck;
pub mod callbacks;
pub mod client_ids;
pub mod context;
pub mod crossview;
pub mod doubts;
pub mod driver;
pub mod driver_cross;
pub mod file_object;
pub mod find;
pub mod globals;
pub mod guard;
pub mod handle_table;
pub mod heap;
pub mod hive;
pub mod holders;
pub mod image;
pub mod kdbg;
pub mod ldr;
pub mod life;
pub mod list;
pub mod logon;
#[cfg(test)]
mod memory_layouts_tests;
pub mod module;
pub mod narrow;
pub mod object;
pub mod own_drivers;
pub mod page_state;
pub mod paged;
pub mod pe;
pub mod peb;
pub mod privilege;
pub mod process;
pub mod process_modules;
pub mod processor;
pub mod profiles;
pub mod protection;
pub mod scan;
pub mod secondary;
pub mod section;
pub mod section_names;
pub mod section_object;
pub mod service_names;
pub mod service_table;
pub mod session;
pub mod shared_data;
pub mod sid;
pub mod sid_names;
pub mod sides;
pub mod smbios;
pub mod stack;
pub mod stamp;
pub mod standing;
pub mod system;
pub mod teb;
#[cfg(test)]
pub(crate) mod testing;
pub mod thread;
pub mod token;
pub mod triage;
pub mod unloaded;
pub mod unloaded_dlls;
pub mod usage;
pub mod vad;
pub mod vad_tree;
pub mod verify;
pub mod verinfo;

use crate::addr::{Pa, Va};
use crate::bytes::Place;
use crate::dump::{Arch, Dump};
use crate::error::Error;
use crate::paging::pte::Format;
use crate::paging::{Mode, Space};
use crate::symbols::layout::{At, Layout, LayoutError};
use crate::symbols::resolved::Resolved;
use crate::symbols::{PdbId, Symbols};
use crate::value::Note;
use std::sync::Arc;

/// A kernel found in a dump, with its symbols. Immutable and `Sync`.
#[derive(Debug)]
pub struct Kernel {
    /// The dump it was found in.
    pub dump: Arc<Dump>,
    /// The processor.
    pub arch: Arch,
    /// How it translates.
    pub mode: Mode,
    /// A page-table root that maps the kernel (System's, or the header's).
    pub root: Pa,
    /// Where the kernel image lies.
    pub base: Va,
    /// Bytes of the kernel image, where known.
    pub size: Option<u32>,
    /// The build number (`19045`), where known.
    pub build: Option<u32>,
    /// What its image says its PDB is.
    pub pdb: Option<PdbId>,
    /// Which road led to it.
    pub road: find::Road,
    /// How this kernel writes page-table entries that are not valid.
    pub format: Format,
    /// Its symbols.
    pub symbols: Symbols,
    /// What is worth knowing of how it was found.
    pub notes: Vec<Note>,
    /// The layouts asked for so far, by [`Kernel::layout`]. Start with `Resolved::default()`.
    pub resolved: Resolved,
    /// Which process's address ranges hang on which root, once somebody asks for ranges.
    pub vad_roots: vad_tree::Roots,
    /// What its image exports.
    pub exports: pe::Exports,
    /// The debugger data block, decoded, where it was found.
    pub kdbg: Option<kdbg::Kdbg>,
    /// System's `_EPROCESS`, where it was found.
    pub system: Option<Va>,
    /// What was found by itself on the way to the kernel.
    pub met: find::Met,
    /// Of a triage dump whose structures no symbols describe: who was running, as far as the copies speak for themselves.
    pub copied: Option<find::Copied>,
    /// What there is of its pages beside physical memory.
    pub paged: paged::Paged,
}

impl Kernel {
    /// A fresh view of the kernel's address space, with a translation cache of its own.
    #[must_use]
    pub fn space(&self) -> Space<'_> {
        Space::new(&self.dump, self.mode, self.root).with_format(self.format).with_sources(self)
    }
    /// The address space of another page-table root.
    #[must_use]
    pub fn space_of(&self, root: Pa) -> Space<'_> {
        Space::new(&self.dump, self.mode, root).with_format(self.format).with_kernel(self.root).with_sources(self)
    }
    /// The names of the one-bit members of `ty` (at `offset`) whose bit is set in `value`, lowest bit first.
    #[must_use]
    pub fn flag_names(&self, ty: &'static str, offset: u32, value: u64) -> Vec<String> {
        self.resolved.flag_names(&self.symbols.types, ty, offset, value)
    }
    /// A structure's layout in this kernel, resolved once. Of a structure that the symbols do not describe every field is absent.
    ///
    /// # Errors
    /// The symbols lack an indispensable field: see [`crate::symbols::indispensable`].
    pub fn layout<L: Layout + Send + Sync + 'static>(&self) -> Result<&L, LayoutError> {
        self.resolved.get(&self.symbols.types)
    }
    /// A structure's layout, where the symbols describe the structure at all: for what one kernel has in one structure and another
    /// in another.
    #[must_use]
    pub fn described<L: Layout + Send + Sync + 'static>(&self) -> Option<&L> {
        self.symbols.types.get(L::TYPE)?;
        self.layout().ok()
    }
    /// The error of a structure that these symbols do not describe.
    #[must_use]
    pub fn unreadable(&self, why: &LayoutError) -> Error {
        Error::BadSymbols { origin: self.symbols.origin.clone(), what: why.to_string() }
    }
    /// Where a field is of the structure at `va`: `None` where this kernel has no such field.
    #[must_use]
    pub fn place_in<L: Layout + Send + Sync + 'static>(
        &self,
        space: &Space<'_>,
        va: Va,
        field: At<L>,
    ) -> Option<Place> {
        Some(space.place(field.of(self.layout::<L>().ok()?, va)?))
    }
    /// The virtual address of a name in the symbols.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<Va> {
        Some(self.base.add(self.symbols.rva(name)?.into()))
    }
    /// The virtual address of an exported name.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<Va> {
        self.exports.get(self.base, name)
    }
    /// The virtual address of a kernel global, whatever tells it: symbols, the dump's header, the debugger data block, exports.
    #[must_use]
    pub fn global(&self, name: &str) -> Option<Va> {
        self.global_from(name).ok().map(|(va, _)| va)
    }
}
