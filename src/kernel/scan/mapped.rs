//! From a physical page back to the kernel address that maps it.

use super::pages::Pages;
use crate::addr::{Pfn, Va};
use crate::kernel::Kernel;
use crate::paging::{Mode, Space};
use crate::value::Note;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Mappings looked at in one part of the kernel's half: page tables that name themselves go on without end.
const MOST_PER_PART: usize = 1 << 26;

/// Addresses kept of one page: a physical page is mapped twice where the kernel also maps memory as a whole.
const MOST_ALIASES: usize = 4;

/// Kernel addresses by the number of the physical page, lowest first.
pub type Mapped = FxHashMap<u64, Vec<Va>>;

/// The kernel addresses of these physical pages.
/// One walk over the kernel's half of the address space, in parallel.
pub fn addresses_of(kernel: &Kernel, pages: &Pages, notes: &mut Vec<Note>) -> Mapped {
    let parts = parts(&kernel.space());
    let found: Vec<(Mapped, bool)> = parts
        .par_iter()
        .map(|(from, last)| {
            let space = kernel.space();
            let mut found: Mapped = Mapped::default();
            let mut seen = 0usize;
            for region in space.regions(*from, *last) {
                seen = seen.wrapping_add(1);
                if seen > MOST_PER_PART || region.is_cut() {
                    return (found, true);
                }
                let Ok(mapping) = region.found else { continue };
                let first = mapping.pa.pfn().0;
                let count = region.size.div_ceil(crate::addr::PAGE_SIZE);
                if count == 1 {
                    if pages.contains(Pfn(first)) {
                        keep(found.entry(first).or_default(), region.va);
                    }
                    continue;
                }
                // A large page: fewer are wanted than it has, or the other way round; both are small.
                for i in 0..count {
                    let page = first.wrapping_add(i);
                    if pages.contains(Pfn(page)) {
                        keep(found.entry(page).or_default(), region.va.add(i.wrapping_mul(crate::addr::PAGE_SIZE)));
                    }
                }
            }
            (found, false)
        })
        .collect();
    let mut all: Mapped = Mapped::default();
    for (part, cut) in found {
        if cut {
            notes.push(Note::loss(
                "the walk over the kernel's page tables was cut: some scanned objects have no virtual address",
            ));
        }
        for (page, aliases) in part {
            let known = all.entry(page).or_default();
            aliases.into_iter().for_each(|va| keep(known, va));
        }
    }
    all
}

fn keep(aliases: &mut Vec<Va>, va: Va) {
    if aliases.len() < MOST_ALIASES {
        aliases.push(va);
    }
}

/// The kernel's half in parts of one top-level entry each, without the entry that maps the page tables themselves.
fn parts(space: &Space<'_>) -> Vec<(Va, Va)> {
    let shift = match space.mode() {
        Mode::X64 => 39,
        Mode::La57 => 48,
        Mode::X86 | Mode::Pae => return vec![(Va(0x8000_0000), Va(0xffff_ffff))],
        Mode::Arm64 => return vec![(Va(0xffff_0000_0000_0000), Va(u64::MAX))],
        Mode::Blocks => return Vec::new(),
    };
    let sign = if shift == 39 { 0xffff_0000_0000_0000 } else { 0xfe00_0000_0000_0000 };
    let mut parts = Vec::new();
    for index in 256..512u64 {
        let from = sign | index.wrapping_shl(shift);
        // Entry `index` of the top table, as the page tables have it: the self-map names the table itself.
        let entry = space.root().add(index.wrapping_mul(8));
        let raw = space.dump().bytes(entry, 8).ok().and_then(crate::bytes::le);
        match raw {
            Some(e) if e & 1 == 1 && e & 0x000f_ffff_ffff_f000 != space.root().0 => {
                parts.push((Va(from), Va(from.wrapping_add(1u64.wrapping_shl(shift)).wrapping_sub(1))));
            }
            _ => {}
        }
    }
    parts
}
