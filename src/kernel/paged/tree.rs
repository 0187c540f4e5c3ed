//! The compressed store's trees: keys to values, both 32 bits, a node a page.
//!
//! A node: count (u16), level (u8, leaves 1), whether it is a leaf (u8), the leftmost child at +8, entries from +0x10: in leaves key and value, in the
//! others key and, at +8, child. A key's child is that of the last entry not above it, else the leftmost. No PDB describes them: as MemProcFS and
//! Mandiant's readers of 2019 have them, held against forged stores of both.

use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::paging::Space;
use std::fmt;

/// Entries of a leaf, and of another node: what a page holds behind its head.
const MOST_VALUES: usize = (PAGE_SIZE as usize - 16) / 8;
const MOST_CHILDREN: usize = (PAGE_SIZE as usize - 16) / 16;

/// Levels that are followed. Four hold more keys than a store has pages.
const MOST_LEVELS: u8 = 16;

/// Why a key leads to no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoValue {
    /// The tree does not have it.
    NoKey,
    /// A node cannot be read, or is not a node.
    Node(Va),
}

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("the store does not have their keys"),
            Self::Node(_) => f.write_str("a node of a tree of the store cannot be read"),
        }
    }
}

/// The value of a key.
///
/// # Errors
/// Why the key has no value. The level falls with each step, so a tree that names itself ends, too.
pub fn value(space: &Space<'_>, root: Va, key: u32) -> Result<u32, NoValue> {
    let mut at = root;
    let mut above: Option<u8> = None;
    loop {
        let damaged = NoValue::Node(at);
        if at.is_null() || at.offset_in_page() != 0 {
            return Err(damaged);
        }
        let bytes = space.fetch(at, u32::try_from(PAGE_SIZE).unwrap_or(0));
        let node = bytes.all().map_err(|_| damaged)?;
        let [_, _, level, leaf, ..] = *node else { return Err(damaged) };
        let count = u16_at(node, 0).map(usize::from).ok_or(damaged)?;
        if level == 0 || level > MOST_LEVELS || above.is_some_and(|above| level >= above) || (leaf != 0) != (level == 1)
        {
            return Err(damaged);
        }
        let (size, most) = if level == 1 { (8, MOST_VALUES) } else { (16, MOST_CHILDREN) };
        if count > most {
            return Err(damaged);
        }
        let entry = |i: usize| i.saturating_mul(size).saturating_add(16);
        let key_at = |i: usize| u32_at(node, entry(i)).unwrap_or(u32::MAX);
        // How many entries are not above the key.
        let (mut low, mut high) = (0usize, count);
        while low < high {
            let middle = low.midpoint(high);
            if key_at(middle) <= key { low = middle.saturating_add(1) } else { high = middle }
        }
        let last = low.checked_sub(1);
        if level == 1 {
            let found = last.filter(|i| key_at(*i) == key).ok_or(NoValue::NoKey)?;
            return u32_at(node, entry(found).saturating_add(4)).ok_or(damaged);
        }
        let child = last.map_or(8, |i| entry(i).saturating_add(8));
        at = Va(u64_at(node, child).ok_or(damaged)?);
        above = Some(level);
    }
}
