//! The state of each page of an address space: in memory and how, or where it went.

use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::At;
use crate::dump::Arch;
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::{Fault, Mapping, Mode, Regions, Rights, Space, Via};
use crate::symbols::layout::{Bits, Layout, LayoutError};
use crate::value::{Absent, Note, Value};
use std::ops::Range;

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The processor maps it.
    Valid,
    /// On the standby or modified list, its content still good.
    Transition,
    /// In memory for a section; this process reaches it through a prototype entry.
    Prototype,
    /// Promised, never touched.
    DemandZero,
    /// In a page file.
    PagedOut,
    /// Must be read back from the file it maps.
    FileBacked,
    /// In the compressed store.
    Compressed,
    /// In memory, but not in the dump.
    NotInDump,
    /// What would tell (a page table, a prototype entry) cannot be read.
    Unknown,
}

impl State {
    /// Every state, in the order of their names' columns.
    pub const ALL: [Self; 9] = [
        Self::Valid,
        Self::Transition,
        Self::Prototype,
        Self::DemandZero,
        Self::PagedOut,
        Self::FileBacked,
        Self::Compressed,
        Self::NotInDump,
        Self::Unknown,
    ];
    /// The name in the output.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Transition => "transition",
            Self::Prototype => "prototype",
            Self::DemandZero => "demand_zero",
            Self::PagedOut => "paged_out",
            Self::FileBacked => "file_backed",
            Self::Compressed => "compressed",
            Self::NotInDump => "not_in_dump",
            Self::Unknown => "unknown",
        }
    }
}

/// A page, or a run of them with one state that lie in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The first address.
    pub va: Va,
    /// Bytes.
    pub size: u64,
    /// Their state.
    pub state: State,
    /// Where the first lies in physical memory, of pages in memory.
    pub pa: Option<Pa>,
    /// Where the first stands in the dump file.
    pub file: Option<u64>,
    /// Page file and byte in it.
    pub page_file: Option<(Option<u8>, u64)>,
    /// The prototype entry that decides, of the first page.
    pub prototype: Option<Va>,
    /// What the processor allows, of valid pages.
    pub rights: Option<Rights>,
    /// The last page-table entry, where the process has one.
    pub entry: Option<u64>,
}

impl Pages {
    /// Where the first page can be read, the dump or another source.
    ///
    /// # Errors
    /// Why nowhere.
    pub fn kept(&self, space: &Space<'_>) -> Value<At> {
        match self.state {
            State::Valid | State::Transition | State::Prototype => self.file.map(At::in_dump).ok_or(Absent::NotInDump),
            State::PagedOut | State::Compressed => space.page_kept_at(self.va),
            State::DemandZero => Err(Absent::DemandZero),
            State::FileBacked => Err(Absent::PagedOut),
            State::NotInDump => Err(Absent::NotInDump),
            State::Unknown => space.fetch(self.va, 1).at(0, 1).err().map_or(Err(Absent::NotMapped), Err),
        }
    }
    /// Whether this is the rest of a range whose page tables were too many to follow ([`Region::is_cut`](crate::paging::Region::is_cut)).
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state == State::Unknown && self.entry == Some(0)
    }
    /// The loss note where it is.
    #[must_use]
    pub fn cut_note(&self) -> Option<Note> {
        let text = || format!("its page tables name the same tables again and again: not followed from {} on", self.va);
        self.is_cut().then(|| Note::loss(text()))
    }
    /// Joins `next` to this run if it goes on in every respect.
    fn join(&mut self, next: &Self) -> bool {
        let along = |a: Option<u64>, b: Option<u64>, step: u64| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => a.checked_add(step) == Some(b),
            _ => false,
        };
        let page_files = match (self.page_file, next.page_file) {
            (None, None) => true,
            (Some((a, from)), Some((b, to))) => a == b && from.checked_add(self.size) == Some(to),
            _ => false,
        };
        let goes_on = self.state == next.state
            && self.rights == next.rights
            && self.va.0.checked_add(self.size) == Some(next.va.0)
            && along(self.pa.map(|p| p.0), next.pa.map(|p| p.0), self.size)
            && along(self.file, next.file, self.size)
            && page_files
            && self.prototype.is_some() == next.prototype.is_some();
        if goes_on {
            self.size = self.size.saturating_add(next.size);
        }
        goes_on
    }
}

/// Everything the page tables (and the VADs behind `space`) say of a range, page by page, empty regions left out.
pub fn pages<'s, 'd>(space: &'s Space<'d>, from: Va, last: Va, grain: Grain) -> PageStates<'s, 'd> {
    PageStates { space, regions: space.regions(from, last), large: None, alike: None, grain, waiting: None }
}

/// How pages are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// One by one: what one entry says is one, a large page too.
    Single,
    /// Neighbours that go on in every respect are one.
    Runs,
    /// As it is quickest: neighbours may be one, or not.
    Any,
}

/// See [`pages`].
pub struct PageStates<'s, 'd> {
    space: &'s Space<'d>,
    regions: Regions<'s, 'd>,
    /// What is left of a large page, and its mapping.
    large: Option<(Range<u64>, Mapping)>,
    /// What is left of pages whose entries say the same.
    alike: Option<(Range<u64>, Fault)>,
    grain: Grain,
    waiting: Option<Pages>,
}

impl Iterator for PageStates<'_, '_> {
    type Item = Pages;
    fn next(&mut self) -> Option<Pages> {
        if self.grain != Grain::Runs {
            return self.single();
        }
        loop {
            let Some(next) = self.single() else { return self.waiting.take() };
            if self.waiting.as_mut().is_some_and(|run| run.join(&next)) {
                continue;
            }
            if let Some(done) = self.waiting.replace(next) {
                return Some(done);
            }
        }
    }
}

impl PageStates<'_, '_> {
    fn single(&mut self) -> Option<Pages> {
        if let Some(part) = self.part().or_else(|| self.one_alike()) {
            return Some(part);
        }
        let region = self.regions.next()?;
        match region.found {
            Ok(mapping) if region.size > PAGE_SIZE => {
                self.large = Some((region.va.0..region.va.0.saturating_add(region.size), mapping));
                self.part()
            }
            Ok(mapping) => Some(mapped(self.space, region.va, region.size, mapping)),
            Err(fault) if region.each < region.size && self.grain == Grain::Single => {
                self.alike = Some((region.va.0..region.va.0.saturating_add(region.size), fault));
                self.one_alike()
            }
            Err(fault) => Some(absent(region.va, region.size, fault)),
        }
    }
    fn one_alike(&mut self) -> Option<Pages> {
        let (rest, fault) = self.alike.as_mut().filter(|(rest, _)| !rest.is_empty())?;
        let va = Va(rest.start);
        let size = PAGE_SIZE.saturating_sub(va.offset_in_page()).min(rest.end.saturating_sub(rest.start));
        rest.start = rest.start.saturating_add(size);
        Some(absent(va, size, *fault))
    }
    /// The next part of a large page: it is one row, unless the dump holds it only in part.
    fn part(&mut self) -> Option<Pages> {
        let (rest, mapping) = self.large.as_mut()?;
        let mut run: Option<Pages> = None;
        while !rest.is_empty() {
            let next = mapped(self.space, Va(rest.start), PAGE_SIZE, *mapping);
            match &mut run {
                None => run = Some(next),
                Some(run) => {
                    if !run.join(&next) {
                        break;
                    }
                }
            }
            rest.start = rest.start.saturating_add(PAGE_SIZE);
            mapping.pa = mapping.pa.add(PAGE_SIZE);
        }
        if run.is_none() {
            self.large = None;
        }
        run
    }
}

fn mapped(space: &Space<'_>, va: Va, size: u64, m: Mapping) -> Pages {
    let pa = m.pa.page();
    let file = space.dump().file_offset(pa);
    let (state, prototype) = match m.via {
        Via::Hardware => (State::Valid, None),
        Via::Transition => (State::Transition, None),
        Via::Prototype(pte) | Via::Vad(pte) => (State::Prototype, Some(pte)),
    };
    let state = if file.is_none() { State::NotInDump } else { state };
    let entry = (!matches!(m.via, Via::Vad(_))).then_some(m.entry);
    Pages { va, size, state, pa: Some(pa), file, page_file: None, prototype, rights: m.rights, entry }
}

fn absent(va: Va, size: u64, fault: Fault) -> Pages {
    let mut page_file = None;
    let mut prototype = None;
    let state = match fault {
        Fault::DemandZero => State::DemandZero,
        Fault::PageFile { number, offset } => {
            page_file = Some((number, offset.saturating_mul(PAGE_SIZE)));
            State::PagedOut
        }
        Fault::Compressed { number, offset } => {
            page_file = Some((Some(number), offset.saturating_mul(PAGE_SIZE)));
            State::Compressed
        }
        Fault::FileBacked { .. } => State::FileBacked,
        Fault::Prototype { pte, .. } => {
            prototype = Some(pte);
            State::Unknown
        }
        Fault::TableNotInDump { .. }
        | Fault::TableAway { .. }
        | Fault::AskVad
        | Fault::Unknown { .. }
        | Fault::NoBlock
        | Fault::NonCanonical
        | Fault::KernelHalf
        | Fault::Unmapped => State::Unknown,
    };
    let entry = match fault {
        Fault::Unknown { entry } => Some(entry),
        _ => None,
    };
    Pages { va, size, state, pa: None, file: None, page_file, prototype, rights: None, entry }
}

impl Kernel {
    /// The last address a process of this kernel can use: the paging mode's, or on x86 the kernel's own limit, which a boot option can move.
    #[must_use]
    pub fn last_user_address(&self) -> Va {
        match (self.mode, self.arch) {
            (Mode::La57, _) => Va(0xff_ffff_ffff_ffff),
            (Mode::X86 | Mode::Pae, _) | (_, Arch::X86) => {
                let limit = self.global("MmHighestUserAddress").and_then(|va| self.space().pointer(va).ok());
                // Without /3GB 0x7ffeffff, with it up to 0xbfffffff; the kernel's own image lies behind either.
                let otherwise = if self.base.0 < 0xc000_0000 { 0x7fff_ffff } else { 0xbfff_ffff };
                limit.filter(|l| (0x7ffe_ffff..0xc000_0000).contains(&l.0)).unwrap_or(Va(otherwise))
            }
            (Mode::X64 | Mode::Arm64 | Mode::Blocks, _) => Va(0x7fff_ffff_ffff),
        }
    }
}

layout! {
    /// `_MMPFN`: what the kernel notes of a physical page.
    pub struct PfnLayout: "_MMPFN" {
        /// Who holds it in place: 1 for a page mapped and nothing else, more while it is locked.
        references: u16 = "u3.ReferenceCount" | "u3.e2.ReferenceCount",
        /// A section's page.
        prototype: Bits = "u4.PrototypePte" | "u3.e1.PrototypePte",
        /// Number in `_MMLISTS`: 6 in use.
        location: Bits = "u3.e1.PageLocation",
    }
}

/// The kernel's table of physical pages.
#[derive(Clone, Copy, Debug)]
pub struct PfnDatabase<'k> {
    base: Va,
    size: u32,
    layout: &'k PfnLayout,
}

/// `ActiveAndValid` of `_MMLISTS`.
const ACTIVE: u64 = 6;

impl<'k> PfnDatabase<'k> {
    /// Finds it.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`] where the symbols do not say where it is, else why its address cannot be read.
    pub fn of(kernel: &'k Kernel) -> Value<Self> {
        let pointer = kernel.global("MmPfnDatabase").ok_or(Absent::NoSymbol)?;
        let layout: Result<&PfnLayout, LayoutError> = kernel.layout();
        let layout = layout.map_err(|_| Absent::NoSymbol)?;
        let size = kernel.symbols.types.size_of(PfnLayout::TYPE).ok_or(Absent::NoSymbol)?;
        let base = kernel.space().pointer(pointer)?;
        if base.is_null() { Err(Absent::Implausible) } else { Ok(Self { base, size, layout }) }
    }
    /// Whether a page in use belongs to a section, and whether something holds it in place.
    ///
    /// # Errors
    /// Its entry cannot be read, or says that the page is not in use.
    pub fn shared_and_locked(&self, kernel_space: &Space<'_>, pa: Pa) -> Value<(bool, bool)> {
        let at = self.base.add(pa.pfn().0.checked_mul(self.size.into()).ok_or(Absent::Implausible)?);
        let v = kernel_space.view(self.layout, at);
        if v.location()? != ACTIVE {
            return Err(Absent::Implausible);
        }
        Ok((v.prototype()? != 0, v.references()? > 1))
    }
}
