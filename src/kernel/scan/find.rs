//! All scanned objects of a kernel: the sweep's candidates, checked by kind and mapped back to virtual addresses.

use super::checks::{Checks, PROCESS_OBJECT, THREAD_OBJECT};
use super::mapped::{self, Mapped};
use super::object::{self, Finder, Pool};
use super::pages::Pages;
use super::pass::{self, Pass};
use super::sweep::{self, Candidate, Pattern, Wanted};
use super::tags::{Kind, Tag, TagSet};
use crate::addr::{Pa, Va};
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::progress::{Progress, Unit};
use crate::value::Note;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Allocations looked at together before they are given out.
const GIVEN_OUT: usize = 1 << 12;

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

/// A pool allocation met by its tag.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// Its header.
    pub pool: Pool,
    /// Where the kernel maps it.
    pub va: Option<Va>,
    /// What the tag stands for, of a tag that the scan knows.
    pub kind: Option<Kind>,
    /// The object in it, where header and fields bear it out.
    pub object: Option<Found>,
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

impl Kernel {
    /// Every object of these kinds in physical memory, in the order of physical addresses in the file.
    ///
    /// # Errors
    /// The dump has no physical memory, or the symbols lack the pool's or the object's header.
    pub fn scan(&self, kinds: &[Kind], progress: &Progress, notes: &mut Vec<Note>) -> Result<Vec<Found>> {
        let finder = self.finder()?;
        let (unit, tag_offset) = finder.unit();
        let tags = kinds.iter().flat_map(|k| k.tags()).filter_map(|t| Tag::parse(t));
        let tags = TagSet::new(tags).ok_or_else(|| Error::Usage("too many pool tags at once".into()))?;
        let pointer = if self.symbols.types.pointer_size == 4 { 4 } else { 8 };
        let pattern = |kind| Pattern { kind, wait_list: 8, pointer };
        let (objects, patterns) = [(Kind::Process, pattern(PROCESS_OBJECT)), (Kind::Thread, pattern(THREAD_OBJECT))]
            .into_iter()
            .filter(|(k, _)| kinds.contains(k))
            .unzip();
        let wanted = Wanted { unit, tag_offset, tags, patterns };
        let (checks, kinds) = (Checks::of(self, kinds), kinds.to_vec());
        let mut found =
            Pass { kernel: self, finder, checks, kinds, objects, wanted, most: pass::MOST }.run(progress, notes);
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

    /// Every pool header with one of these tags, where the kernel maps it, and the object in it where it is one that the scan knows;
    /// in file order. They are given out as they are found: a dump full of tags costs no more memory than another.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); more than 64 tags; what `each` returned.
    pub fn scan_pool(
        &self,
        tags: &[Tag],
        progress: &Progress,
        notes: &mut Vec<Note>,
        each: &mut dyn FnMut(Allocation) -> Result<()>,
    ) -> Result<()> {
        let finder = self.finder()?;
        let (unit, tag_offset) = finder.unit();
        let tags =
            TagSet::new(tags.iter().copied()).ok_or_else(|| Error::Usage("too many pool tags at once".into()))?;
        let wanted = Wanted { unit, tag_offset, tags, patterns: Vec::new() };
        progress.begin("scanning physical memory", self.dump.page_count(), Unit::Count);
        let met = AtomicUsize::new(0);
        let parts = sweep::sweep(&self.dump, &wanted, &|pages| progress.add(pages), &|chunk| {
            let (mut kept, mut pages) = (Vec::new(), Vec::new());
            chunk.each(|c| {
                if pages.last() != Some(&c.pa().pfn()) {
                    pages.push(c.pa().pfn());
                }
                if met.fetch_add(1, Ordering::Relaxed) < pass::MOST {
                    kept.push(c);
                }
            });
            (kept, pages)
        });
        progress.end();
        let mut pages = Pages::default();
        parts.iter().flat_map(|(_, pages)| pages).for_each(|p| pages.insert(*p));
        let mapped = mapped::addresses_of(self, &pages, notes);
        let checks = Checks::of(self, &Kind::ALL);
        let mut give = |candidates: &[Candidate]| {
            for piece in candidates.chunks(GIVEN_OUT) {
                let found: Vec<Allocation> =
                    piece.par_iter().filter_map(|c| self.allocation(&finder, &checks, &mapped, c.pa())).collect();
                found.into_iter().try_for_each(&mut *each)?;
            }
            Ok(())
        };
        if met.into_inner() <= pass::MOST {
            let candidates: Vec<Candidate> = parts.into_iter().flat_map(|(kept, _)| kept).collect();
            return give(&candidates);
        }
        drop(parts);
        for chunk in sweep::chunks(&self.dump, &wanted) {
            let mut candidates = Vec::new();
            chunk.each(|c| candidates.push(c));
            give(&candidates)?;
        }
        Ok(())
    }

    fn allocation(&self, finder: &Finder<'_>, checks: &Checks<'_>, mapped: &Mapped, header: Pa) -> Option<Allocation> {
        let pool = finder.pool(&self.dump, header).ok()?;
        let aliases = mapped.get(&header.pfn().0).map(Vec::as_slice).unwrap_or_default();
        let va = aliases.first().map(|page| page.add(header.offset_in_page()));
        let kind = Kind::of_tag(pool.tag);
        let objects = kind.map(|kind| self.in_pool(finder, kind, pool)).unwrap_or_default().into_iter();
        // The object lies in the same page: allocations of a page and more have no such header.
        let object = objects.map(|f| Found { va: checks.own_address(&f, aliases), ..f }).find(|f| checks.hold(f));
        Some(Allocation { pool, va, kind, object })
    }

    fn finder(&self) -> Result<Finder<'_>> {
        if self.mode == crate::paging::Mode::Blocks {
            let why = "this dump keeps blocks of virtual memory only: there is no physical memory to scan";
            return Err(Error::NotAvailable(why.into()));
        }
        Finder::of(self).map_err(|e| self.unreadable(&e))
    }

    fn in_pool(&self, finder: &Finder<'_>, kind: Kind, pool: Pool) -> Vec<Found> {
        let bodies = if kind.has_object_header() {
            let least = kind.structure().and_then(|ty| self.symbols.types.size_of(ty)).unwrap_or(0);
            finder.bodies(&self.dump, &pool, least.into())
        } else {
            vec![pool.pa.add(finder.unit().0 as u64)]
        };
        let make = |body| Found { kind, pa: body, va: None, by: vec![By::PoolTag], pool: Some(pool) };
        bodies.into_iter().map(make).collect()
    }

    /// Whether an address lies in the kernel's half of the address space.
    #[must_use]
    pub fn in_kernel_half(&self, va: Va) -> bool {
        let lowest = if self.symbols.types.pointer_size == 4 { 0x8000_0000 } else { 0xffff_8000_0000_0000 };
        va.0 >= lowest
    }
}
