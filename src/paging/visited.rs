//! Page tables that were met in a walk over a range: a table maps one stretch of addresses, and one that is met again for
//! another stretch is an alias. Windows makes none below the kernel half; made-up tables that name themselves, or all of
//! whose entries name one table, can fill an address space of 2⁴⁸ bytes out of one page.

use super::walk::Met;
use crate::addr::Va;
use rustc_hash::FxHashMap;

/// Aliases that are followed in one range, each of at most 512 entries: half a gigabyte of the smallest pages.
const MOST_ALIASES: u32 = 256;

/// The tables of one range.
#[derive(Default)]
pub(super) struct Visited {
    /// The table met last, so that its other entries cost a comparison.
    last: Option<(u64, u8, u64)>,
    /// The first address of what a table maps, by the table's physical address and the shift of its level. The same page
    /// is a table of several levels where the self map is walked, once of each.
    first: FxHashMap<(u64, u8), u64>,
    aliases: u32,
}

impl Visited {
    /// Notes a table that was met for an address. `false`: there were too many aliases, the walk should end.
    pub(super) fn meet(&mut self, table: &Met<'_>, va: Va) -> bool {
        let shift = u32::from(table.level.shift).saturating_add(table.level.bits.into());
        let from = va.0.checked_shr(shift).unwrap_or(0);
        let key = (table.at.0, table.level.shift);
        let now = (key.0, key.1, from);
        if self.last.replace(now) == Some(now) {
            return true;
        }
        if *self.first.entry(key).or_insert(from) != from {
            self.aliases = self.aliases.saturating_add(1);
        }
        self.aliases <= MOST_ALIASES
    }
}
