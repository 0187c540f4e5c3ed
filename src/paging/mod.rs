//! From a page-table root and a virtual address to physical bytes. One file per paging mode.

use crate::addr::{Pa, Va};
use crate::bytes::Bytes;
use crate::dump::Dump;
use crate::symbols::layout::{Counted, Layout, View};
use crate::value::{Absent, Value};

/// How a machine translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// x64, four levels.
    X64,
    /// x64, five levels (LA57).
    La57,
    /// x86, two levels.
    X86,
    /// x86 with PAE, three levels.
    Pae,
    /// ARM64 with 4 KiB granule.
    Arm64,
    /// No page tables: blocks of virtual memory (triage dumps).
    Blocks,
}

/// One address space. Cheap to make; not `Sync` (it holds a translation cache): make one per task.
#[derive(Debug)]
pub struct Space<'d> {
    dump: &'d Dump,
    mode: Mode,
    root: Pa,
}

impl<'d> Space<'d> {
    /// The address space of a page-table root.
    #[must_use]
    pub fn new(dump: &'d Dump, mode: Mode, root: Pa) -> Self {
        Self { dump, mode, root }
    }
    /// The dump below.
    #[must_use]
    pub fn dump(&self) -> &'d Dump {
        self.dump
    }
    /// The paging mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// The page-table root.
    #[must_use]
    pub fn root(&self) -> Pa {
        self.root
    }
    /// Bytes in a pointer: 4 or 8.
    #[must_use]
    pub fn pointer_size(&self) -> u32 {
        if matches!(self.mode, Mode::X86 | Mode::Pae) { 4 } else { 8 }
    }
    /// Where a virtual address lies in physical memory.
    ///
    /// # Errors
    /// Why it lies nowhere.
    pub fn translate(&self, _va: Va) -> Value<Pa> {
        Err(Absent::NotMapped)
    }
    /// `len` bytes at `va`, with holes where there are none. Never fails.
    #[must_use]
    pub fn fetch(&self, va: Va, len: u32) -> Bytes<'d> {
        Bytes::hole(len, Some(va), Absent::NotMapped)
    }
    /// An object seen through its layout.
    #[must_use]
    pub fn view<'a, L: Layout>(&self, layout: &'a L, va: Va) -> View<'a, L>
    where
        'd: 'a,
    {
        View::new(layout, self.fetch(va, layout.span()))
    }
    /// A number of `size` bytes (1, 2, 4 or 8).
    ///
    /// # Errors
    /// Why it is not there.
    pub fn number(&self, va: Va, size: u32) -> Value<u64> {
        crate::bytes::le(self.fetch(va, size).all()?).ok_or(Absent::Implausible)
    }
    /// A pointer of this space's width.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn pointer(&self, va: Va) -> Value<Va> {
        self.number(va, self.pointer_size()).map(Va)
    }
    /// The text of a `_UNICODE_STRING`. Lone surrogates become U+FFFD.
    ///
    /// # Errors
    /// Why it is not there: an odd length, or a length above the maximum, is implausible.
    pub fn text(&self, s: Counted) -> Value<String> {
        if !s.length.is_multiple_of(2) || s.length > s.maximum {
            return Err(Absent::Implausible);
        }
        if s.length == 0 {
            return Ok(String::new());
        }
        if s.buffer.is_null() {
            return Err(Absent::NotApplicable);
        }
        let bytes = self.fetch(s.buffer, s.length.into());
        let units = bytes.all()?.chunks_exact(2).filter_map(|c| Some(u16::from_le_bytes(c.try_into().ok()?)));
        Ok(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    }
}
