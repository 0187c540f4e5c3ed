//! The pass over physical memory: every page once, in file order, on all cores.

use super::tags::{Tag, TagSet};
use crate::addr::{PAGE_SIZE, Pa};
use crate::dump::{Dump, Run};
use rayon::prelude::*;

/// How a kernel dispatcher object begins: `_DISPATCHER_HEADER.Type`, a `SignalState` of 0 or 1, a `WaitListHead` in the kernel's half.
///
/// The other bytes of the first word are no constants: real Windows 10 and 11 dumps show 0 for `Size` in processes and control flags
/// in its place in threads, older builds the structure's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// `_DISPATCHER_HEADER.Type`.
    pub kind: u8,
    /// Offset of `WaitListHead`: right behind the two words, 8.
    pub wait_list: usize,
    /// Bytes of a pointer.
    pub pointer: usize,
}

impl Pattern {
    fn begins(self, rest: &[u8]) -> bool {
        // Type in the low byte; of the high word (SignalState) nothing but the lowest bit.
        let Some(words) = crate::bytes::u64_at(rest, 0) else { return false };
        if words & 0xffff_fffe_0000_00ff != u64::from(self.kind) {
            return false;
        }
        let pointer = rest.get(self.wait_list..self.wait_list.wrapping_add(self.pointer)).and_then(crate::bytes::le);
        pointer.is_some_and(|p| {
            let kernel = if self.pointer == 8 { p >> 47 == 0x1_ffff } else { p >> 31 == 1 };
            kernel && p.is_multiple_of(self.pointer as u64)
        })
    }
}

/// What the pass looks for at each possible start of an allocation.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Bytes between possible starts: the size of `_POOL_HEADER` (16 on 64-bit machines, 8 on x86).
    pub unit: usize,
    /// Offset of `PoolTag` in `_POOL_HEADER`.
    pub tag_offset: usize,
    /// Pool tags.
    pub tags: TagSet,
    /// Dispatcher objects, found without any pool header.
    pub patterns: Vec<Pattern>,
}

/// A place where something wanted may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A pool header with a wanted tag.
    Pool {
        /// Of the pool header.
        pa: Pa,
        /// As found, with the protected bit.
        tag: Tag,
    },
    /// A dispatcher header: the object itself.
    Object {
        /// Of the object's first byte.
        pa: Pa,
        /// Index into [`Wanted::patterns`].
        pattern: usize,
    },
}

impl Candidate {
    /// Where it stands.
    #[must_use]
    pub const fn pa(self) -> Pa {
        match self {
            Self::Pool { pa, .. } | Self::Object { pa, .. } => pa,
        }
    }
}

/// Pages a task takes at once: 4 MiB, large enough to cost nothing and small enough to balance.
const CHUNK_PAGES: u64 = 1024;
/// A piece of memory that a task looks through.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    dump: &'a Dump,
    wanted: &'a Wanted,
    run: Run,
    /// Its number in file order.
    pub number: usize,
}

impl Chunk<'_> {
    /// Its candidates in order. No more than one page's are held at a time.
    pub fn each(&self, mut each: impl FnMut(Candidate)) {
        let mut out = Vec::new();
        for i in 0..self.run.count {
            let pfn = crate::addr::Pfn(self.run.pfn.0.wrapping_add(i));
            if let Some(page) = self.dump.page(pfn) {
                scan_page(page, pfn.base(), self.wanted, &mut out);
                out.drain(..).for_each(&mut each);
            }
        }
    }
}

/// A dump's chunks in file order.
#[must_use]
pub fn chunks<'a>(dump: &'a Dump, wanted: &'a Wanted) -> Vec<Chunk<'a>> {
    dump.runs().flat_map(chunks_of).enumerate().map(|(number, run)| Chunk { dump, wanted, run, number }).collect()
}

/// What `of` makes of each chunk, in file order, whatever the number of threads. `done` hears of pages as they are finished.
pub fn sweep<R: Send>(
    dump: &Dump,
    wanted: &Wanted,
    done: &(dyn Fn(u64) + Sync),
    of: &(dyn Fn(&Chunk<'_>) -> R + Sync),
) -> Vec<R> {
    let _in_order = dump.read_through();
    chunks(dump, wanted)
        .into_par_iter()
        .map(|chunk| {
            let made = of(&chunk);
            done(chunk.run.count);
            made
        })
        .collect()
}

fn chunks_of(run: Run) -> impl Iterator<Item = Run> {
    let pieces = run.count.div_ceil(CHUNK_PAGES);
    (0..pieces).map(move |i| {
        let first = i.saturating_mul(CHUNK_PAGES);
        Run {
            pfn: crate::addr::Pfn(run.pfn.0.saturating_add(first)),
            count: run.count.saturating_sub(first).min(CHUNK_PAGES),
            file: run.file.saturating_add(first.saturating_mul(PAGE_SIZE)),
        }
    })
}

/// A page's candidates. Much of a machine's memory is zero, and a page is found to be that as fast as it is read; of the others each
/// slot costs a hash and a byte ([`TagSet`]), with the widths of the kernels that there are known to the compiler.
fn scan_page(page: &[u8; PAGE_SIZE as usize], base: Pa, wanted: &Wanted, out: &mut Vec<Candidate>) {
    if is_zero(page) && !wanted.tags.contains(Tag(0)) {
        return;
    }
    match (wanted.unit, wanted.tag_offset) {
        (16, 4) => scan_slots::<16>(page, base, wanted, out),
        (8, 4) => scan_slots::<8>(page, base, wanted, out),
        _ => scan_any(page, base, wanted, out),
    }
}

fn is_zero(page: &[u8; PAGE_SIZE as usize]) -> bool {
    let line = |line: &[u8; 64]| line.as_chunks::<8>().0.iter().fold(0, |all, w| all | u64::from_le_bytes(*w)) == 0;
    page.as_chunks::<64>().0.iter().all(line)
}

/// Slots of `UNIT` bytes, the tag in the second half of the first eight.
fn scan_slots<const UNIT: usize>(page: &[u8], base: Pa, wanted: &Wanted, out: &mut Vec<Candidate>) {
    for (slot, bytes) in page.as_chunks::<UNIT>().0.iter().enumerate() {
        let Some(word) = bytes.first_chunk::<8>().map(|w| u64::from_le_bytes(*w)) else { continue };
        let tag = Tag((word >> 32) as u32);
        let at = || base.add(slot.wrapping_mul(UNIT) as u64);
        if wanted.tags.contains(tag) {
            out.push(Candidate::Pool { pa: at(), tag });
        }
        // What every pattern asks of the first two words: a signal state of 0 or 1, and its kind.
        if word & 0xffff_fffe_0000_0000 == 0 {
            for (pattern, p) in wanted.patterns.iter().enumerate() {
                if word & 0xff == u64::from(p.kind)
                    && page.get(slot.wrapping_mul(UNIT)..).is_some_and(|rest| p.begins(rest))
                {
                    out.push(Candidate::Object { pa: at(), pattern });
                }
            }
        }
    }
}

/// The same for widths that no known kernel has.
fn scan_any(page: &[u8], base: Pa, wanted: &Wanted, out: &mut Vec<Candidate>) {
    for (slot, bytes) in page.chunks_exact(wanted.unit).enumerate() {
        let (Some(first), Some(tag)) = (word(bytes, 0), word(bytes, wanted.tag_offset)) else { continue };
        let offset = slot.wrapping_mul(wanted.unit);
        if wanted.tags.contains(Tag(tag)) {
            out.push(Candidate::Pool { pa: base.add(offset as u64), tag: Tag(tag) });
        }
        for (pattern, p) in wanted.patterns.iter().enumerate() {
            if first & 0xff == u32::from(p.kind) && page.get(offset..).is_some_and(|rest| p.begins(rest)) {
                out.push(Candidate::Object { pa: base.add(offset as u64), pattern });
            }
        }
    }
}

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.wrapping_add(4))?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let tags = TagSet::new([Tag::new(*b"Proc")]).unwrap();
        Wanted { unit: 16, tag_offset: 4, tags, patterns: vec![Pattern { kind: 3, wait_list: 8, pointer: 8 }] }
    }

    #[test]
    fn tags_and_dispatcher_headers_at_their_alignment_only() {
        let mut page = [0u8; 4096];
        page[0x104..0x108].copy_from_slice(b"Pro\xe3");
        page[0x208..0x20c].copy_from_slice(b"Proc"); // not where a pool header has its tag
        page[0x300..0x304].copy_from_slice(&0x00b6_1203u32.to_le_bytes());
        page[0x308..0x310].copy_from_slice(&0xffff_8a00_1234_5678u64.to_le_bytes());
        page[0x400] = 3; // a small number, not followed by a kernel address
        let mut out = Vec::new();
        scan_page(&page, Pa(0x7000), &wanted(), &mut out);
        assert_eq!(
            out,
            [
                Candidate::Pool { pa: Pa(0x7100), tag: Tag(u32::from_le_bytes(*b"Pro\xe3")) },
                Candidate::Object { pa: Pa(0x7300), pattern: 0 }
            ]
        );
    }
    /// The widths of real kernels have a pass of their own, which finds what the general one finds.
    #[test]
    fn every_pass_finds_the_same() {
        let (mut state, mut found) = (1u64, 0);
        for round in 0..200 {
            let mut page = [0u8; 4096];
            for _ in 0..round {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                let at = (state >> 40) as usize % 510 * 8;
                match state >> 33 & 3 {
                    0 => page[at + 4..at + 8].copy_from_slice(b"Proc"),
                    1 => page[at + 4..at + 8].copy_from_slice(b"Pro\xe3"),
                    2 => page[at..at + 8].copy_from_slice(&((state >> 32 & 1) << 32 | 3).to_le_bytes()),
                    _ => page[at..at + 8].copy_from_slice(&(0xffff_8000_0000_0000 | state >> 20).to_le_bytes()),
                }
            }
            for (unit, pointer) in [(16, 8), (8, 4)] {
                let wanted = Wanted { unit, patterns: vec![Pattern { kind: 3, wait_list: 8, pointer }], ..wanted() };
                let (mut fast, mut any) = (Vec::new(), Vec::new());
                scan_page(&page, Pa(0), &wanted, &mut fast);
                scan_any(&page, Pa(0), &wanted, &mut any);
                assert_eq!(fast, any);
                found += fast.len();
            }
        }
        assert!(found > 1000, "{found}");
    }
    #[test]
    fn a_run_is_cut_without_loss() {
        let run = Run { pfn: crate::addr::Pfn(5), count: 2500, file: 0x2000 };
        let chunks: Vec<_> = chunks_of(run).collect();
        assert_eq!(chunks.iter().map(|c| c.count).sum::<u64>(), 2500);
        assert_eq!(chunks[2].pfn.0, 5 + 2048);
        assert_eq!(chunks[2].file, 0x2000 + 2048 * 4096);
    }
}
