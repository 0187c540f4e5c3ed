//! Where a page is read that is not in physical memory: the second and further sources, behind the dump's own pages.
//!
//! The page tables say what became of a page ([`Fault`]); a [`Space`] that is given sources asks them for the bytes. Pages come
//! borrowed, as those of the dump do: of a page file straight from its map, of the compressed store out of a table of decoded pages
//! that only grows. That table is bounded; what finds no room in it is decoded for one reader and not kept ([`Page::Passing`]).

use super::{Fault, Space};
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::{At, Stored};
use crate::value::{Absent, Value};
use std::sync::Arc;

/// The bytes of a page.
pub type PageBytes = [u8; PAGE_SIZE as usize];

/// A page that a source has.
#[derive(Clone, Debug)]
pub enum Page {
    /// It stays where it is for the whole run: [`Sources::page`] lends it.
    Kept(At),
    /// There was no room to keep it.
    Passing(Stored, Arc<PageBytes>),
}

/// The slot of a decoded page that is not kept.
pub const NO_SLOT: u32 = u32::MAX;

/// Who has pages that are not in physical memory.
pub trait Sources: Sync {
    /// The page that an entry speaks of.
    ///
    /// # Errors
    /// Why no source has it: what the entry itself says ([`Absent::PagedOut`], [`Absent::Compressed`] …).
    fn find(&self, fault: Fault) -> Value<Page>;
    /// A page that [`find`](Self::find) found.
    fn page(&self, at: At) -> Option<&PageBytes>;
}

impl<'d> Space<'d> {
    /// The same space, asking these sources for what is not in physical memory.
    #[must_use]
    pub fn with_sources(mut self, sources: &'d dyn Sources) -> Self {
        self.sources = Some(sources);
        self
    }
    /// What the sources have for an entry.
    ///
    /// # Errors
    /// What the entry says, where they have nothing.
    pub(super) fn beyond(&self, fault: Fault) -> Value<Page> {
        match (self.sources, fault) {
            (Some(sources), Fault::PageFile { .. } | Fault::Compressed { .. }) => sources.find(fault),
            _ => Err(fault.into()),
        }
    }
    /// Where the page around an address begins, in the dump or in another source.
    ///
    /// # Errors
    /// Why nowhere.
    pub fn page_kept_at(&self, va: Va) -> Value<At> {
        match self.walk(va) {
            Ok(mapping) => self.in_dump(mapping.pa.page()).ok_or(Absent::NotInDump),
            Err(fault) => self.beyond(fault).map(|page| page.at()),
        }
    }
    /// The same, where only a page that stays will do.
    pub(super) fn kept_beyond(&self, fault: Fault) -> Value<At> {
        match self.beyond(fault)? {
            Page::Kept(at) => Ok(at),
            Page::Passing(..) => Err(fault.into()),
        }
    }
    /// The page at a place, whatever has it.
    pub(super) fn page_at(&self, at: At) -> Option<&'d PageBytes> {
        match at.dump_offset() {
            Some(offset) => self.dump.page_in_file(offset),
            None => self.sources?.page(at),
        }
    }
    /// The place of the physical page around an address, where the dump has it.
    pub(super) fn in_dump(&self, pa: Pa) -> Option<At> {
        self.dump.memory_at(pa).map(At::in_dump)
    }
}

impl Page {
    /// Where its first byte comes from.
    #[must_use]
    pub fn at(&self) -> At {
        match self {
            Self::Kept(at) => *at,
            Self::Passing(from, _) => At::Decoded { from: *from, slot: NO_SLOT, inside: 0 },
        }
    }
}

/// Of an entry above the lowest level that is not valid: what it says of the table it would lead to.
pub(super) fn of_table(fault: Fault) -> Fault {
    match fault {
        Fault::PageFile { number, offset } => Fault::TableAway { number, offset, why: Absent::PagedOut },
        Fault::Compressed { number, offset } => {
            Fault::TableAway { number: Some(number), offset, why: Absent::Compressed }
        }
        fault => fault,
    }
}
