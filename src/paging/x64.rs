//! x64 with four levels, and with five (LA57). Intel 64 and IA-32 Architectures Software Developer's Manual,
//! volume 3A, section 5.5; the names of the bits in `_MMPTE_HARDWARE`.

use super::tables::{Entry, Level, Rights, Shape, frame, table};

const fn level(shift: u8) -> Level {
    Level { shift, bits: 9 }
}

/// Bits 51–12 of an entry and of CR3 are an address (bits 11–0 of CR3 hold flags or the PCID).
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// One past the highest address bit of an entry.
const TOP: u8 = 52;

pub(super) const FOUR: Shape =
    Shape { levels: &[level(39), level(30), level(21), level(12)], entry: 8, root: ADDRESS, va_bits: 48 };
pub(super) const FIVE: Shape =
    Shape { levels: &[level(48), level(39), level(30), level(21), level(12)], entry: 8, root: ADDRESS, va_bits: 57 };

pub(super) const fn decode(entry: u64, shift: u8) -> Entry {
    if entry & 1 == 0 {
        return Entry::Soft;
    }
    let rights = Rights { write: entry & 2 != 0, user: entry & 4 != 0, execute: entry >> 63 == 0 };
    // Bit 7 of a PTE is PAT; at the levels of 2 MB and 1 GB it says that the entry maps, and is reserved above them.
    let maps = entry & 0x80 != 0;
    match shift {
        12 => Entry::Page(table(entry, TOP), rights),
        // Bit 12 of a large page is PAT; `frame` drops it with all the others below the page's size.
        21 | 30 if maps => Entry::Page(frame(entry, shift, TOP), rights),
        _ if maps => Entry::Reserved,
        _ => Entry::Table(table(entry, TOP), rights),
    }
}
