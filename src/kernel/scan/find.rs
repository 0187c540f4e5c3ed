//! All scanned objects of a kernel: the sweep's candidates, checked by kind and mapped back to virtual addresses.

use super::mapped;
use super::object::{self, Finder, Pool};
use super::sweep::{self, Candidate, Pattern, Wanted};
use super::tags::{Kind, Tag, TagSet};
use crate::addr::{Pa, Va};
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::thread::{EThread, Thread};
use crate::progress::{Progress, Unit};
use crate::symbols::layout::Layout;
use crate::time::FileTime;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;
use rustc_hash::FxHashSet;

/// How an object was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The tag of its pool allocation.
    PoolTag,
    /// Its dispatcher header, and pointers that agree with each other: no pool header needed.
    DispatcherHeader,
}

impl By {
    /// For people and machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PoolTag => "pool_tag",
            Self::DispatcherHeader => "dispatcher_header",
        }
    }
}

/// An object met by the scan.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub pa: Pa,
    /// Where the kernel maps it; `None` for memory that nothing maps any more.
    pub va: Option<Va>,
    /// How it was found, all ways.
    pub by: Vec<By>,
    /// Its pool header, where it has one.
    pub pool: Option<Pool>,
}

impl Found {
    /// The object's bytes: by its virtual address where there is one, else what its own physical page holds.
    #[must_use]
    pub fn bytes<'k>(&self, kernel: &'k Kernel, len: u32) -> Bytes<'k> {
        match self.va {
            Some(va) => kernel.space().fetch(va, len),
            None => object::at(&kernel.dump, self.pa, len),
        }
    }
}

/// `_KOBJECTS`: ProcessObject and ThreadObject, the same in every known kernel.
const PROCESS_OBJECT: u8 = 3;
const THREAD_OBJECT: u8 = 6;

impl Kernel {
    /// Every object of these kinds in physical memory, in the order of physical addresses in the file.
    ///
    /// # Errors
    /// The dump has no physical memory, or the symbols lack the pool's or the object's header.
    pub fn scan(&self, kinds: &[Kind], progress: &Progress, notes: &mut Vec<Note>) -> Result<Vec<Found>> {
        if self.mode == crate::paging::Mode::Blocks {
            return Err(Error::NotAvailable(
                "this dump keeps blocks of virtual memory only: there is no physical memory to scan".into(),
            ));
        }
        let finder = Finder::of(self).map_err(|e| self.unreadable(&e))?;
        let (unit, tag_offset) = finder.unit();
        let tags = kinds.iter().flat_map(|k| k.tags()).filter_map(|t| Tag::parse(t));
        let tags = TagSet::new(tags).ok_or_else(|| Error::Usage("too many pool tags at once".into()))?;
        let pointer = if self.symbols.types.pointer_size == 4 { 4 } else { 8 };
        let pattern = |kind| Pattern { kind, wait_list: 8, pointer };
        let objects: Vec<(Kind, Pattern)> =
            [(Kind::Process, pattern(PROCESS_OBJECT)), (Kind::Thread, pattern(THREAD_OBJECT))]
                .into_iter()
                .filter(|(k, _)| kinds.contains(k))
                .collect();
        let wanted = Wanted { unit, tag_offset, tags, patterns: objects.iter().map(|(_, p)| *p).collect() };
        progress.begin("scanning physical memory", self.dump.page_count(), Unit::Count);
        let candidates = sweep::sweep(&self.dump, &wanted, &|pages| progress.add(pages), notes);
        progress.end();

        let mut found: Vec<Found> = candidates
            .par_iter()
            .flat_map_iter(|c| match *c {
                Candidate::Pool { pa, tag } => self.in_pool(&finder, kinds, pa, tag),
                Candidate::Object { pa, pattern } => objects
                    .get(pattern)
                    .map(|(kind, _)| Found { kind: *kind, pa, va: None, by: vec![By::DispatcherHeader], pool: None })
                    .into_iter()
                    .collect(),
            })
            .collect();
        let pages: FxHashSet<u64> = found.iter().map(|f| f.pa.pfn().0).collect();
        let mapped = mapped::addresses_of(self, &pages, notes);
        for f in &mut found {
            f.va = mapped.get(&f.pa.pfn().0).and_then(|aliases| self.own_address(f, aliases));
        }
        let mut found: Vec<Found> = found.into_par_iter().filter(|f| self.holds(f)).collect();
        // One object, found both ways, is one: the pool's finding comes first in memory order.
        found.sort_by_key(|f| (f.kind, f.pa, f.by.first().copied()));
        found.dedup_by(|later, first| {
            let same = later.kind == first.kind && later.pa == first.pa;
            if same {
                first.by.append(&mut later.by);
            }
            same
        });
        Ok(found)
    }

    /// Every pool header with one of these tags, and where the kernel maps it.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); more than 64 tags.
    pub fn scan_pool(
        &self,
        tags: &[Tag],
        progress: &Progress,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<(Pool, Option<Va>)>> {
        let finder = self.finder()?;
        let (unit, tag_offset) = finder.unit();
        let tags =
            TagSet::new(tags.iter().copied()).ok_or_else(|| Error::Usage("too many pool tags at once".into()))?;
        let wanted = Wanted { unit, tag_offset, tags, patterns: Vec::new() };
        progress.begin("scanning physical memory", self.dump.page_count(), Unit::Count);
        let candidates = sweep::sweep(&self.dump, &wanted, &|pages| progress.add(pages), notes);
        progress.end();
        let pages: FxHashSet<u64> = candidates.iter().map(|c| c.pa().pfn().0).collect();
        let mapped = mapped::addresses_of(self, &pages, notes);
        let with_address = |pool: Pool| {
            let page = mapped.get(&pool.pa.pfn().0).and_then(|aliases| aliases.first());
            let va = page.map(|page| page.add(pool.pa.offset_in_page()));
            (pool, va)
        };
        Ok(candidates.iter().filter_map(|c| finder.pool(&self.dump, c.pa()).ok()).map(with_address).collect())
    }

    fn finder(&self) -> Result<Finder<'_>> {
        if self.mode == crate::paging::Mode::Blocks {
            let why = "this dump keeps blocks of virtual memory only: there is no physical memory to scan";
            return Err(Error::NotAvailable(why.into()));
        }
        Finder::of(self).map_err(|e| self.unreadable(&e))
    }

    /// The address by which the kernel itself knows an object, of several that map it: what waits for a dispatcher object hangs in a list
    /// whose first entry points back to the object's list head.
    fn own_address(&self, f: &Found, aliases: &[Va]) -> Option<Va> {
        let of = |page: &Va| page.add(f.pa.offset_in_page());
        let first = aliases.first().map(of);
        if aliases.len() < 2 || !matches!(f.kind, Kind::Process | Kind::Thread | Kind::Mutant) {
            return first;
        }
        let space = self.space();
        let points_back = |va: &Va| {
            let head = va.add(8);
            let next = space.pointer(head);
            next.and_then(|n| space.pointer(n.add(space.pointer_size().into()))) == Ok(head)
        };
        aliases.iter().map(of).find(points_back).or(first)
    }

    fn in_pool(&self, finder: &Finder<'_>, kinds: &[Kind], pa: Pa, tag: Tag) -> Vec<Found> {
        let kind = kinds.iter().copied().find(|k| k.tags().iter().any(|t| Tag::parse(t) == Some(tag.plain())));
        let (Some(kind), Ok(pool)) = (kind, finder.pool(&self.dump, pa)) else { return Vec::new() };
        let bodies = if kind.has_object_header() {
            finder.bodies(&self.dump, &pool)
        } else {
            vec![pa.add(finder.unit().0 as u64)]
        };
        let make = |body| Found { kind, pa: body, va: None, by: vec![By::PoolTag], pool: Some(pool) };
        bodies.into_iter().map(make).collect()
    }

    /// Whether the bytes can be what the finding says: the checks of the object's own kind.
    fn holds(&self, f: &Found) -> bool {
        match f.kind {
            Kind::Process => self
                .layout::<EProcess>()
                .is_ok_and(|l| self.process_of(f.bytes(self, l.span())).is_ok_and(|p| self.is_process(&p))),
            Kind::Thread => self
                .layout::<EThread>()
                .is_ok_and(|l| self.thread_of(f.bytes(self, l.span())).is_ok_and(|t| self.is_thread(&t))),
            _ => true,
        }
    }

    /// In the kernel's half, or null: what a pointer between kernel objects must be. One that cannot be read says nothing.
    fn kernel_or_null(&self, pointer: Value<Va>) -> bool {
        pointer.map_or(true, |p| p.is_null() || self.in_kernel_half(p))
    }

    /// Whether an address lies in the kernel's half of the address space.
    #[must_use]
    pub fn in_kernel_half(&self, va: Va) -> bool {
        let lowest = if self.symbols.types.pointer_size == 4 { 0x8000_0000 } else { 0xffff_8000_0000_0000 };
        va.0 >= lowest
    }

    /// A process: an id, a name, page tables, pointers into the kernel, a time of creation that can be one.
    fn is_process(&self, p: &Process<'_>) -> bool {
        let links = p.view.links();
        p.looks_alive()
            && p.pid().is_ok_and(|id| id != 0)
            && self.kernel_or_null(links.map(|l| l.flink))
            && self.kernel_or_null(links.map(|l| l.blink))
            && self.kernel_or_null(p.view.token())
            && self.kernel_or_null(p.view.handle_table())
            && p.create_time().map_or_else(|why| why != Absent::Implausible, plausible)
    }

    /// A thread: ids, and the process it points to is one with the same id.
    fn is_thread(&self, t: &Thread<'_>) -> bool {
        let id = |v: Value<u64>| v.is_ok_and(|id| id != 0 && id.is_multiple_of(4) && id <= u64::from(u32::MAX));
        let Ok(owner) = t.view.owner() else { return false };
        let Ok(process) = self.process_at(&self.space(), owner) else { return false };
        t.view.kind() == Ok(THREAD_OBJECT)
            && id(t.tid())
            && id(t.view.pid())
            && process.pid() == t.view.pid()
            && process.looks_alive()
    }
}

/// Between 1998 and 2100: before the first kernel dumpwalk knows there was nothing to create.
fn plausible(time: FileTime) -> bool {
    (883_612_800..4_102_444_800).contains(&time.unix_seconds())
}
