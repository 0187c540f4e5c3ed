//! A scan that cannot be flooded: whoever fills memory with words that look like the beginning of an object neither pushes out
//! the real ones nor costs memory.
//!
//! What a page shows to be no object is dropped where it is met. What is left is kept in a few bytes each and checked whole.
//! Where one kind has more of it than [`MOST`], it is looked for once more, checked whole where it is met, and what was
//! verified is counted. When even that is too much, every part of memory keeps its fair share, and a note says so; what the
//! kernel maps and what nothing maps are counted apart, for an ordinary program can write the second only.

use super::checks::Checks;
use super::find::{By, Found};
use super::mapped::{self, Mapped};
use super::object::Finder;
use super::pages::Pages;
use super::share;
use super::sweep::{Candidate, Chunk, Wanted, sweep};
use super::tags::{Kind, Tag};
use crate::addr::Pa;
use crate::kernel::Kernel;
use crate::paging::Space;
use crate::progress::{Progress, Unit};
use crate::value::Note;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Objects of a kind kept at most, of those that the kernel maps and of those that nothing maps: more than any machine has.
pub(super) const MOST: usize = 1 << 19;
const KINDS: usize = Kind::ALL.len();

/// A scan for some kinds of objects.
#[derive(Debug)]
pub(super) struct Pass<'k> {
    pub kernel: &'k Kernel,
    pub finder: Finder<'k>,
    pub checks: Checks<'k>,
    pub kinds: Vec<Kind>,
    /// The kinds of the patterns of `wanted`.
    pub objects: Vec<Kind>,
    pub wanted: Wanted,
    /// [`MOST`], or fewer in tests.
    pub most: usize,
}

/// Where an object may be.
#[derive(Clone, Copy, Debug)]
struct Hit {
    kind: Kind,
    body: Pa,
    /// Its pool header, of what was found by one.
    header: Option<Pa>,
}

/// How many of each kind a part of memory has, mapped by the kernel and not.
type Counts = [[usize; 2]; KINDS];

impl Pass<'_> {
    /// All objects that bear it out, in no order; the same ones at any number of threads.
    pub fn run(&self, progress: &Progress, notes: &mut Vec<Note>) -> Vec<Found> {
        let met: [AtomicUsize; KINDS] = Default::default();
        let parts = self.over_memory(progress, "scanning physical memory", &|chunk| self.hits(chunk, &met));
        let mut pages = Pages::default();
        parts.iter().flat_map(|(_, pages)| pages).for_each(|p| pages.insert(*p));
        let mapped = mapped::addresses_of(self.kernel, &pages, notes);
        let floods = |kind: Kind| count(&met, kind).is_none_or(|n| n.load(Ordering::Relaxed) > self.most);
        let hits: Vec<Hit> = parts.into_iter().flat_map(|(hits, _)| hits).filter(|h| !floods(h.kind)).collect();
        let mut found: Vec<Found> = hits.into_par_iter().filter_map(|h| self.verified(h, &mapped)).collect();
        let flooded: Vec<Kind> = self.kinds.iter().copied().filter(|k| floods(*k)).collect();
        if !flooded.is_empty() {
            found.append(&mut self.in_a_flood(&flooded, &mapped, progress, notes));
        }
        found
    }

    /// What a chunk's pages do not refute, and the pages it is on. Of a kind that all chunks together have too much of nothing
    /// more is kept.
    fn hits(&self, chunk: &Chunk<'_>, met: &[AtomicUsize; KINDS]) -> (Vec<Hit>, Vec<crate::addr::Pfn>) {
        let (mut hits, mut pages) = (Vec::new(), Vec::new());
        self.each(chunk, &mut |hit| {
            let page = hit.body.pfn();
            if pages.last() != Some(&page) {
                pages.push(page);
            }
            if count(met, hit.kind).is_some_and(|n| n.fetch_add(1, Ordering::Relaxed) < self.most) {
                hits.push(hit);
            }
        });
        (hits, pages)
    }

    /// The kinds of which there is too much, checked whole where they are met.
    fn in_a_flood(&self, kinds: &[Kind], mapped: &Mapped, progress: &Progress, notes: &mut Vec<Note>) -> Vec<Found> {
        let counts = self.over_memory(progress, "counting what is verified", &|chunk| {
            let mut counts: Counts = Default::default();
            self.each_verified(chunk, kinds, mapped, &mut |found, _| {
                let class =
                    counts.get_mut(found.kind as usize).and_then(|c| c.get_mut(usize::from(found.va.is_none())));
                class.map(|n| *n = n.saturating_add(1)).unwrap_or_default();
            });
            counts
        });
        let of = |kind: usize, class: usize| {
            counts.iter().map(move |c| c.get(kind).and_then(|c| c.get(class)).copied().unwrap_or(0))
        };
        let shares: Counts =
            std::array::from_fn(|kind| std::array::from_fn(|class| share::fair(of(kind, class), self.most)));
        for kind in kinds {
            let all = [0, 1].map(|class| of(*kind as usize, class).fold(0usize, usize::saturating_add));
            if all.iter().any(|n| *n > self.most) {
                notes.push(Note::loss(format!(
                    "the scan met {} places that hold as {} objects; at most {} that the kernel maps and as many that nothing maps \
                     are kept, from all parts of memory alike",
                    all.iter().fold(0usize, |sum, n| sum.saturating_add(*n)),
                    kind.word(),
                    self.most
                )));
            }
        }
        let kept = self.over_memory(progress, "keeping what is verified", &|chunk| {
            let (mut kept, mut numbers) = (Vec::new(), Counts::default());
            self.each_verified(chunk, kinds, mapped, &mut |found, number| {
                let (kind, class) = (found.kind as usize, usize::from(found.va.is_none()));
                let at = |c: &Counts| c.get(kind).and_then(|c| c.get(class)).copied().unwrap_or(0);
                let seen = at(&numbers);
                if let Some(n) = numbers.get_mut(kind).and_then(|c| c.get_mut(class)) {
                    *n = n.saturating_add(1);
                }
                if share::is_kept(seen, counts.get(number).map_or(0, at), at(&shares)) {
                    kept.push(found);
                }
            });
            kept
        });
        kept.into_iter().flatten().collect()
    }

    fn over_memory<R: Send>(
        &self,
        progress: &Progress,
        what: &'static str,
        of: &(dyn Fn(&Chunk<'_>) -> R + Sync),
    ) -> Vec<R> {
        progress.begin(what, self.kernel.dump.page_count(), Unit::Count);
        let all = sweep(&self.kernel.dump, &self.wanted, &|pages| progress.add(pages), of);
        progress.end();
        all
    }

    fn each_verified(&self, chunk: &Chunk<'_>, kinds: &[Kind], mapped: &Mapped, each: &mut dyn FnMut(Found, usize)) {
        self.each(chunk, &mut |hit| {
            if kinds.contains(&hit.kind)
                && let Some(found) = self.verified(hit, mapped)
            {
                each(found, chunk.number);
            }
        });
    }

    /// What the pages of a chunk do not refute.
    fn each(&self, chunk: &Chunk<'_>, each: &mut dyn FnMut(Hit)) {
        let space = self.kernel.space();
        chunk.each(|candidate| match candidate {
            Candidate::Object { pattern, pa } => {
                if let Some(kind) = self.objects.get(pattern) {
                    self.unless_refuted(&space, Hit { kind: *kind, body: pa, header: None }, each);
                }
            }
            Candidate::Pool { pa, tag } => self.each_in_pool(&space, pa, tag, each),
        });
    }

    fn each_in_pool(&self, space: &Space<'_>, pa: Pa, tag: Tag, each: &mut dyn FnMut(Hit)) {
        let Some(kind) = Kind::of_tag(tag).filter(|k| self.kinds.contains(k)) else { return };
        if !kind.has_object_header() {
            let body = pa.add(self.finder.unit().0 as u64);
            return self.unless_refuted(space, Hit { kind, body, header: Some(pa) }, each);
        }
        let Ok(pool) = self.finder.pool(&self.kernel.dump, pa) else { return };
        let least = kind.structure().and_then(|ty| self.kernel.symbols.types.size_of(ty)).unwrap_or(0);
        for body in self.finder.bodies(&self.kernel.dump, &pool, least.into()) {
            self.unless_refuted(space, Hit { kind, body, header: Some(pa) }, each);
        }
    }

    fn unless_refuted(&self, space: &Space<'_>, hit: Hit, each: &mut dyn FnMut(Hit)) {
        if self.checks.may_hold(space, hit.kind, hit.body) {
            each(hit);
        }
    }

    /// The object, when header and fields bear it out.
    fn verified(&self, hit: Hit, mapped: &Mapped) -> Option<Found> {
        let pool = hit.header.and_then(|pa| self.finder.pool(&self.kernel.dump, pa).ok());
        let by = vec![if hit.header.is_some() { By::PoolTag } else { By::DispatcherHeader }];
        let mut found = Found { kind: hit.kind, pa: hit.body, va: None, by, pool };
        found.va = mapped.get(&hit.body.pfn().0).and_then(|aliases| self.checks.own_address(&found, aliases));
        self.checks.hold(&found).then_some(found)
    }
}

fn count(met: &[AtomicUsize; KINDS], kind: Kind) -> Option<&AtomicUsize> {
    met.get(kind as usize)
}
