//! What the paging modes have in common: levels of tables, and entries that name a table, a page, or nothing.

use crate::addr::{PAGE_SIZE, Pa, Va};

/// One level of tables, from the root down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Bits of the address below this level's index: an entry that maps, maps `1 << shift` bytes.
    pub shift: u8,
    /// Bits of its index.
    pub bits: u8,
}

impl Level {
    /// Which entry of a table of this level is for an address.
    pub(super) fn index(self, va: Va) -> u64 {
        (va.0 >> self.shift) & 1u64.wrapping_shl(self.bits.into()).wrapping_sub(1)
    }
}

/// The tables of one mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub levels: &'static [Level],
    /// Bytes of an entry.
    pub entry: u8,
    /// The bits of the root register that are an address.
    pub root: u64,
    /// Bits of a virtual address: those above must repeat the highest (none above on 32-bit machines: must be zero).
    pub va_bits: u8,
}

impl Shape {
    /// Whether an address can be one here.
    pub(super) fn holds(&self, va: Va) -> bool {
        if self.va_bits <= 32 {
            return va.0 >> self.va_bits == 0;
        }
        let above = va.0.cast_signed().wrapping_shr(u32::from(self.va_bits).saturating_sub(1));
        above == 0 || above == -1
    }
    /// One past the highest user address.
    pub(super) fn user_end(&self) -> u64 {
        // 32-bit Windows can be booted with 3 GB of user space (/3GB); its kernel never lies below 2 GB.
        1u64.wrapping_shl(u32::from(self.va_bits).saturating_sub(1))
    }
    /// Where the entry for `va` stands in the table at `table`.
    pub(super) fn entry_at(&self, table: Pa, level: Level, va: Va) -> Pa {
        table.add(level.index(va).wrapping_mul(self.entry.into()))
    }
    /// One past a stretch of addresses, if there is an address there.
    pub(super) fn within(&self, end: u64) -> Option<u64> {
        (self.va_bits > 32 || end >> self.va_bits == 0).then_some(end)
    }
}

/// What may be done with a page, all levels taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The processor lets it be written. (Windows keeps copy-on-write and clean pages read-only here.)
    pub write: bool,
    /// User mode reaches it.
    pub user: bool,
    /// The processor executes it.
    pub execute: bool,
}

impl Rights {
    pub(super) const ALL: Self = Self { write: true, user: true, execute: true };
    pub(super) fn and(self, other: Self) -> Self {
        Self { write: self.write && other.write, user: self.user && other.user, execute: self.execute && other.execute }
    }
}

/// What the processor makes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The next table.
    Table(Pa, Rights),
    /// A page of the level's size.
    Page(Pa, Rights),
    /// Not valid: Windows' own meaning.
    Soft,
    /// Valid, but no processor takes it so.
    Reserved,
}

/// The address part of an entry that maps `1 << shift` bytes, below bit `top`.
pub(super) const fn frame(entry: u64, shift: u8, top: u8) -> Pa {
    let below = 1u64.wrapping_shl(top as u32).wrapping_sub(1);
    Pa(entry & below & !(1u64.wrapping_shl(shift as u32).wrapping_sub(1)))
}

/// The address of a table named by an entry, below bit `top`.
pub(super) const fn table(entry: u64, top: u8) -> Pa {
    frame(entry, PAGE_SIZE.trailing_zeros() as u8, top)
}
