//! What a page-table root looks like from outside: tables that map themselves.

use super::roots::Guess;
use crate::addr::{PAGE_SIZE, Pa};
use crate::bytes::{u32_at, u64_at};

/// What kind of root a page could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// x64: with four levels or five, the page does not tell.
    X64,
    /// ARM64.
    Arm64,
    /// PAE: four entries.
    Pae,
    /// x86 without PAE.
    Plain32,
}

type Page = [u8; PAGE_SIZE as usize];

/// One entry, and only one, in the kernel's half names the page itself. Windows maps its page tables so: at index 0x1ed
/// up to build 10586, at a random one later.
pub(super) fn self_mapped(page: &Page, pa: Pa) -> impl Iterator<Item = Guess> {
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    // ARM64 descriptors carry PXN, UXN and the type in the bits that x64 ignores or has flags in.
    const ARM: u64 = 0x0060_0000_0000_0003;
    let mut own = 0u32;
    let mut arm = false;
    if let Some(upper) = page.get(2048..) {
        for raw in upper.chunks_exact(8) {
            let Ok(raw) = raw.try_into() else { continue };
            let entry = u64::from_le_bytes(raw);
            if entry & 1 == 1 && entry & ADDRESS == pa.0 {
                own = own.wrapping_add(1);
                arm = entry & !0x0000_ffff_ffff_f000 == ARM;
            }
        }
    }
    let shape = if arm { Shape::Arm64 } else { Shape::X64 };
    (own == 1 && pa.0 != 0).then_some(Guess { root: pa, shape }).into_iter()
}

/// Entry 0x300 of a page directory names the directory: the page tables stand at 0xC0000000.
pub(super) fn plain32(page: &Page, pa: Pa) -> impl Iterator<Item = Guess> {
    let own = u32_at(page, 0xc00).is_some_and(|e| e & 1 == 1 && u64::from(e) & 0xffff_f000 == pa.0);
    (own && pa.0 != 0).then_some(Guess { root: pa, shape: Shape::Plain32 }).into_iter()
}

/// Four entries that name four different page directories and nothing else. Roots of several processes share a page.
/// Whether the directories map themselves at 0xC0600000 is for the score to say: they lie in other pages.
pub(super) fn pae(page: &Page, pa: Pa) -> impl Iterator<Item = Guess> + '_ {
    let plausible = |entry: u64| {
        // Present; write-through and cache-disable allowed; all else below bit 12 and above bit 51 is reserved.
        entry & 0xfff0_0000_0000_0fe7 == 1 && entry >> 12 != 0
    };
    (0..PAGE_SIZE / 32).filter_map(move |i| {
        let at = usize::try_from(i.wrapping_mul(32)).ok()?;
        let mut four = [0u64; 4];
        for (slot, entry) in four.iter_mut().enumerate() {
            *entry = u64_at(page, at.wrapping_add(slot.wrapping_mul(8)))?;
            if !plausible(*entry) {
                return None;
            }
        }
        let mut sorted = four;
        sorted.sort_unstable();
        let distinct = sorted.windows(2).all(|w| matches!(w, [a, b] if a != b));
        distinct.then_some(Guess { root: pa.add(i.wrapping_mul(32)), shape: Shape::Pae })
    })
}
