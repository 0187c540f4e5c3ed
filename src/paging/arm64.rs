//! ARM64 with a granule of 4 KiB. Arm Architecture Reference Manual for A-profile, D8.3 "Translation table descriptor
//! formats". Windows lays the user's and the kernel's tables into one page, as on x64: TTBR1 names its upper half, so one root serves both.

use super::tables::{Entry, Level, Rights, Shape, frame, table};

const fn level(shift: u8) -> Level {
    Level { shift, bits: 9 }
}

/// One past the highest address bit of a descriptor.
const TOP: u8 = 48;

pub(super) const FOUR: Shape =
    Shape { levels: &[level(39), level(30), level(21), level(12)], entry: 8, root: 0x0000_ffff_ffff_f000, va_bits: 48 };

pub(super) const fn decode(entry: u64, shift: u8) -> Entry {
    if entry & 1 == 0 {
        return Entry::Soft;
    }
    // Bit 1: a table, or at the last level a page; clear: a block (1 GiB and 2 MiB only).
    let table_or_page = entry & 2 != 0;
    // Block and page: AP[2:1] in bits 7–6 (7 read-only, 6 reached from EL0), UXN bit 54, PXN bit 53.
    let user = entry & 0x40 != 0;
    let never = if user { entry >> 54 & 1 } else { entry >> 53 & 1 };
    let rights = Rights { write: entry & 0x80 == 0, user, execute: never == 0 };
    match shift {
        12 if table_or_page => Entry::Page(table(entry, TOP), rights),
        21 | 30 if !table_or_page => Entry::Page(frame(entry, shift, TOP), rights),
        21 | 30 | 39 if table_or_page => {
            // APTable in bits 62–61 (62 no write, 61 none from EL0), UXNTable 60.
            let below =
                Rights { write: entry >> 62 & 1 == 0, user: entry >> 61 & 1 == 0, execute: entry >> 60 & 1 == 0 };
            Entry::Table(table(entry, TOP), below)
        }
        _ => Entry::Reserved,
    }
}
