//! 32-bit x86: two levels with 4 MiB pages, and PAE's three with 2 MiB pages. Intel 64 and IA-32 Architectures
//! Software Developer's Manual, volume 3A, sections 5.3 and 5.4; the names of the bits in `_MMPTE_HARDWARE`.

use super::tables::{Entry, Level, Rights, Shape, frame, table};
use crate::addr::Pa;

pub(super) const PLAIN: Shape = Shape {
    levels: &[Level { shift: 22, bits: 10 }, Level { shift: 12, bits: 10 }],
    entry: 4,
    root: 0xffff_f000,
    va_bits: 32,
};
/// The root is a table of four entries that need not start a page.
pub(super) const PAE: Shape = Shape {
    levels: &[Level { shift: 30, bits: 2 }, Level { shift: 21, bits: 9 }, Level { shift: 12, bits: 9 }],
    entry: 8,
    root: 0xffff_ffe0,
    va_bits: 32,
};

pub(super) const fn decode_plain(entry: u64, shift: u8) -> Entry {
    if entry & 1 == 0 {
        return Entry::Soft;
    }
    let rights = Rights { write: entry & 2 != 0, user: entry & 4 != 0, execute: true };
    match shift {
        12 => Entry::Page(table(entry, 32), rights),
        // PSE-36: bits 20–13 of a 4 MiB entry are bits 39–32 of its address.
        _ if entry & 0x80 != 0 => {
            let high = (entry >> 13 & 0xff) << 32;
            Entry::Page(Pa(frame(entry, shift, 32).0 | high), rights)
        }
        _ => Entry::Table(table(entry, 32), rights),
    }
}

pub(super) const fn decode_pae(entry: u64, shift: u8) -> Entry {
    if entry & 1 == 0 {
        return Entry::Soft;
    }
    let rights = Rights { write: entry & 2 != 0, user: entry & 4 != 0, execute: entry >> 63 == 0 };
    match shift {
        // The four top entries carry no rights: their bits 1, 2 and 63 are reserved.
        30 => Entry::Table(table(entry, 52), Rights::ALL),
        12 => Entry::Page(table(entry, 52), rights),
        _ if entry & 0x80 != 0 => Entry::Page(frame(entry, shift, 52), rights),
        _ => Entry::Table(table(entry, 52), rights),
    }
}
