//! Translations made before, direct-mapped: one space belongs to one thread, so plain cells do.

use super::tables::Rights;
use crate::addr::Pa;
use crate::bytes::At;
use std::cell::{Cell, OnceCell};

/// Where one virtual page lies. Places, not references: a space stays covariant in the dump's lifetime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// The physical page's first byte, of a page in physical memory.
    pub pa: Option<Pa>,
    /// The place of the page, where the dump or another source has it.
    pub file: Option<At>,
}

/// A table of the lowest level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Where it lies, as in [`Met`](super::walk::Met).
    pub at: Pa,
    /// The place of its page.
    pub file: At,
    /// What the levels above allow.
    pub rights: Rights,
}

const PAGES: usize = 64;
const TABLES: usize = 16;

/// The last pages and the last tables of the lowest level. Their slots are made with the first of them: many spaces are opened, moved
/// about, and asked nothing.
pub(super) struct Cache {
    slots: OnceCell<Box<Slots>>,
    /// The last region without a lowest table, and the reach of the entry that says so.
    nothing: Cell<Option<(u64, u8)>>,
}

struct Slots {
    pages: [Cell<Option<(u64, Hit)>>; PAGES],
    tables: [Cell<Option<(u64, Table)>>; TABLES],
}

#[allow(clippy::cast_possible_truncation, reason = "taken modulo the number of slots")]
const fn slot(key: u64, slots: usize) -> usize {
    (key % slots as u64) as usize
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { slots: OnceCell::new(), nothing: Cell::new(None) }
    }
    fn slots(&self) -> &Slots {
        self.slots.get_or_init(|| {
            let (pages, tables) = ([const { Cell::new(None) }; PAGES], [const { Cell::new(None) }; TABLES]);
            Box::new(Slots { pages, tables })
        })
    }
    pub(super) fn page(&self, number: u64) -> Option<Hit> {
        let (key, hit) = self.slots.get()?.pages.get(slot(number, PAGES))?.get()?;
        (key == number).then_some(hit)
    }
    pub(super) fn keep_page(&self, number: u64, hit: Hit) {
        if let Some(cell) = self.slots().pages.get(slot(number, PAGES)) {
            cell.set(Some((number, hit)));
        }
    }
    /// The lowest table of a region: a region is what one such table maps.
    pub(super) fn table(&self, region: u64) -> Option<Table> {
        let (key, table) = self.slots.get()?.tables.get(slot(region, TABLES))?.get()?;
        (key == region).then_some(table)
    }
    pub(super) fn keep_table(&self, region: u64, table: Table) {
        if let Some(cell) = self.slots().tables.get(slot(region, TABLES)) {
            cell.set(Some((region, table)));
        }
    }
    /// The reach of the entry that leaves a region without a lowest table, if this region was met last. What walks a file's pages by
    /// its VAD asks for each of them.
    pub(super) fn nothing(&self, region: u64) -> Option<u8> {
        let (key, shift) = self.nothing.get()?;
        (key == region).then_some(shift)
    }
    pub(super) fn keep_nothing(&self, region: u64, shift: u8) {
        self.nothing.set(Some((region, shift)));
    }
}
