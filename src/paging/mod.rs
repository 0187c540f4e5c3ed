//! From a page-table root and a virtual address to physical bytes. One file per paging mode.

mod arm64;
mod blocks;
mod cache;
mod fault;
mod fetch;
pub mod pte;
mod raw;
mod regions;
#[cfg(test)]
mod regions_tests;
mod sources;
#[cfg(test)]
mod sources_tests;
mod tables;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod visited;
mod walk;
mod x64;
mod x86;

pub use fault::Fault;
pub use regions::{Region, Regions};
pub use sources::{NO_SLOT, Page, PageBytes, Sources};
pub use tables::Rights;
pub use walk::{Mapping, Via};

use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::{At, Bytes, Place, le};
use crate::dump::{Arch, Dump};
use crate::symbols::layout::{Counted, Layout, View};
use crate::utf16::{self, Text};
use crate::value::{Absent, Value};
use cache::{Cache, Hit};
use pte::Format;
use std::cell::Cell;
use std::fmt;
use walk::Follow;

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

impl Mode {
    /// Its usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::La57 => "x64 with five levels",
            Self::X86 => "x86",
            Self::Pae => "x86 with PAE",
            Self::Arm64 => "ARM64",
            Self::Blocks => "blocks of virtual memory",
        }
    }
}

/// Who knows the prototype entries of addresses that the page tables leave out: a process's VAD tree.
/// A mapped section's pages can lie in memory though this process never touched them.
pub trait Prototypes {
    /// The prototype entries from a user address on.
    ///
    /// # Errors
    /// There is none for this many bytes from the address on.
    fn prototypes(&self, va: Va) -> Result<Prototyped, u64>;
}

/// Prototype entries of pages in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototyped {
    /// The address of the first page's.
    pub first: Va,
    /// How many pages, at least one, have theirs one after the other from there.
    pub pages: u64,
}

/// One address space. Cheap to make; not `Sync` (it holds a translation cache): make one per task.
///
/// A page that is committed and was never touched is [`Absent::DemandZero`], not a page of zeros: the process would read
/// zeros there, but no byte of the dump says so, and evidence must name its byte.
pub struct Space<'d> {
    dump: &'d Dump,
    mode: Mode,
    root: Pa,
    /// Where prototype entries are read, when not here.
    kernel: Option<Pa>,
    format: Format,
    vads: Option<Box<dyn Prototypes + 'd>>,
    /// Who has pages that are not in physical memory.
    sources: Option<&'d dyn Sources>,
    cache: Cache,
    /// The virtual page the last prototype entry lay in, and its place.
    prototypes_page: Cell<Option<(u64, At)>>,
    /// The last address that may be read: see [`Space::user_side`].
    last: Va,
}

impl fmt::Debug for Space<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({:?}, root {})", self.mode, self.root)
    }
}

impl<'d> Space<'d> {
    /// The address space of a page-table root. Flags in the root's low bits are dropped.
    #[must_use]
    pub fn new(dump: &'d Dump, mode: Mode, root: Pa) -> Self {
        Self {
            dump,
            mode,
            root,
            kernel: None,
            format: Format::of_mode(mode),
            vads: None,
            sources: None,
            cache: Cache::new(),
            prototypes_page: Cell::new(None),
            last: Va(u64::MAX),
        }
    }
    /// The same space as its own process sees it: nothing behind `last` is read. What user mode wrote (a PEB, a list of the loader, a
    /// string) may name any address; one in the kernel half leads to nothing the process could have there, and is
    /// [`Absent::Implausible`].
    #[must_use]
    pub fn user_side(mut self, last: Va) -> Self {
        self.last = last;
        self
    }
    /// Whether an address lies behind [the last](Self::user_side) that may be read.
    fn forbids(&self, va: Va) -> bool {
        va > self.last
    }
    /// The same space, reading not-valid entries as this kernel writes them.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }
    /// The same space, reading prototype entries through the kernel's root.
    #[must_use]
    pub fn with_kernel(mut self, root: Pa) -> Self {
        self.kernel = (root != self.root).then_some(root);
        self
    }
    /// The same space, asking a VAD tree where its own tables have nothing.
    #[must_use]
    pub fn with_vads(mut self, vads: Box<dyn Prototypes + 'd>) -> Self {
        self.vads = Some(vads);
        self
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
        let narrow = match self.mode {
            Mode::X86 | Mode::Pae => true,
            Mode::Blocks => self.dump.arch == Some(Arch::X86),
            Mode::X64 | Mode::La57 | Mode::Arm64 => false,
        };
        if narrow { 4 } else { 8 }
    }
    /// Everything the page tables say of one address: the page and how it was found, or why there is none.
    ///
    /// # Errors
    /// What the entry that ended the walk says.
    pub fn walk(&self, va: Va) -> Result<Mapping, Fault> {
        self.step(va, Follow::Prototypes).found
    }
    /// Where a virtual address lies in physical memory. The dump need not hold that page.
    ///
    /// # Errors
    /// Why it lies nowhere.
    pub fn translate(&self, va: Va) -> Value<Pa> {
        if self.mode == Mode::Blocks {
            // What is kept by virtual address has none.
            return Err(self.kept(va, 1).err().unwrap_or(Absent::NotRecorded));
        }
        let hit = match self.cache.page(va.0 / PAGE_SIZE) {
            Some(hit) => hit,
            None => self.walk_to_page(va)?,
        };
        match hit.pa {
            Some(pa) => Ok(pa.add(va.offset_in_page())),
            // Another source has it: what the entry says is why it lies nowhere.
            None => self.step(va, Follow::Prototypes).found.map(|m| m.pa).map_err(Absent::from),
        }
    }
    /// The page around an address.
    fn hit(&self, va: Va) -> Value<Hit> {
        let number = va.0 / PAGE_SIZE;
        if let Some(hit) = self.cache.page(number) {
            return Ok(hit);
        }
        self.walk_to_page(va).or_else(|fault| {
            let hit = Hit { pa: None, file: Some(self.kept_beyond(fault)?) };
            self.cache.keep_page(number, hit);
            Ok(hit)
        })
    }
    /// The page around an address by the page tables, kept for the next who asks.
    fn walk_to_page(&self, va: Va) -> Result<Hit, Fault> {
        let Mapping { pa, .. } = self.step(va, Follow::Prototypes).found?;
        let hit = Hit { pa: Some(pa.page()), file: self.in_dump(pa) };
        self.cache.keep_page(va.0 / PAGE_SIZE, hit);
        Ok(hit)
    }
    /// The bytes from `va` to at most `len` or the end of its page (or block), straight from the map, or from pages decoded before.
    /// [`fetch`](Self::fetch) has more: pages for which there was no room to be kept.
    ///
    /// # Errors
    /// Why they are not there.
    pub fn slice(&self, va: Va, len: u32) -> Value<&'d [u8]> {
        if self.mode == Mode::Blocks {
            return self.kept(va, len).map(|(data, _)| data);
        }
        self.bytes_of(self.hit(va)?, va, len)
    }
    fn bytes_of(&self, hit: Hit, va: Va, len: u32) -> Value<&'d [u8]> {
        let page = self.page_at(hit.file.ok_or(Absent::NotInDump)?).ok_or(Absent::NotInDump)?;
        let from = usize::try_from(va.offset_in_page()).map_err(|_| Absent::Implausible)?;
        let rest = page.get(from..).ok_or(Absent::Implausible)?;
        Ok(rest.get(..len as usize).unwrap_or(rest))
    }
    /// An object seen through its layout.
    #[must_use]
    pub fn view<'a, L: Layout>(&self, layout: &'a L, va: Va) -> View<'a, L>
    where
        'd: 'a,
    {
        View::new(layout, self.fetch(va, layout.span()))
    }
    /// Some fields of a large object: nothing before the first of them is read, which saves a copy where the object goes over pages.
    #[must_use]
    pub fn view_part<'a, L: Layout>(&self, layout: &'a L, va: Va) -> View<'a, L>
    where
        'd: 'a,
    {
        let start = layout.start();
        View::new(layout, self.fetch(va.add(start.into()), layout.span().saturating_sub(start)).behind(start))
    }
    /// Where the byte at an address is.
    #[must_use]
    pub fn place(&self, va: Va) -> Place {
        self.fetch(va, 1).place(0)
    }
    /// Where the first character of a text is that was read here.
    #[must_use]
    pub fn place_of(&self, text: &Value<Text>) -> Option<Place> {
        text.as_ref().ok()?.at().map(|at| self.place(at))
    }
    /// A number of `size` bytes (1, 2, 4 or 8).
    ///
    /// # Errors
    /// Why it is not there.
    pub fn number(&self, va: Va, size: u32) -> Value<u64> {
        match self.slice(va, size) {
            Ok(all) if all.len() == size as usize => le(all),
            _ => le(self.fetch(va, size).all()?),
        }
        .ok_or(Absent::Implausible)
    }
    /// A pointer of this space's width.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn pointer(&self, va: Va) -> Value<Va> {
        self.number(va, self.pointer_size()).map(Va)
    }
    /// The text of a `_UNICODE_STRING`, as far as its memory is there. Lone surrogates become U+FFFD.
    ///
    /// # Errors
    /// Why its first character is not there: an odd length, or a length above the maximum, is implausible.
    pub fn text(&self, s: Counted) -> Value<Text> {
        if !s.length.is_multiple_of(2) || s.length > s.maximum {
            return Err(Absent::Implausible);
        }
        if s.length == 0 {
            return Ok(Text::default());
        }
        if s.buffer.is_null() {
            return Err(Absent::NotApplicable);
        }
        self.text_of(&self.fetch(s.buffer, s.length.into()))
    }
    /// Text that takes up all of these bytes, as far as they are there. What is cut is kept for the note at the end of the run.
    ///
    /// # Errors
    /// Why its first character is not there.
    pub fn text_of(&self, bytes: &Bytes<'_>) -> Value<Text> {
        self.as_far(bytes, utf16::text)
    }
    /// The same of text with one byte for a character: the low halves of UTF-16.
    ///
    /// # Errors
    /// Why its first character is not there.
    pub fn latin_of(&self, bytes: &Bytes<'_>) -> Value<Text> {
        self.as_far(bytes, |bytes| bytes.iter().map(|b| char::from(*b)).collect())
    }
    fn as_far(&self, bytes: &Bytes<'_>, decode: impl Fn(&[u8]) -> String) -> Value<Text> {
        let read_at = |text: Text| match bytes.va() {
            Some(va) => text.read_at(va),
            None => text,
        };
        let why = match bytes.all() {
            Ok(all) => return Ok(read_at(decode(all).into())),
            Err(why) => why,
        };
        let there = decode(bytes.prefix());
        if there.is_empty() {
            return Err(why);
        }
        self.dump.met_cut_text(bytes.va().unwrap_or_default());
        Ok(read_at(Text::cut(there, why)))
    }
    /// The bytes from `va` up to a NUL, or `max` of them. Text that runs into a hole ends there when it has any byte.
    ///
    /// # Errors
    /// The first byte is not there.
    pub fn until_nul(&self, va: Va, max: u32) -> Value<Vec<u8>> {
        let bytes = self.fetch(va, max);
        let text = bytes.prefix();
        if text.is_empty() && max > 0 {
            bytes.at(0, 1)?;
        }
        Ok(text.split(|b| *b == 0).next().unwrap_or(text).to_vec())
    }
}
