//! Pages that were decoded: kept for the run as long as there is room, then the last few only.

use crate::bytes::{At, Stored};
use crate::paging::{Page, PageBytes};
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Pages that are kept and lent: 128 MiB.
const KEPT: u32 = 1 << 15;
/// Pages that are remembered beyond them, each until another takes its place: 16 MiB.
const PASSING: usize = 1 << 12;

/// A page in passing.
#[derive(Debug)]
struct Passing {
    key: u64,
    from: Stored,
    bytes: Arc<PageBytes>,
}

/// All decoded pages of a run.
#[derive(Debug)]
pub struct Decoded {
    /// A slot is filled once and never emptied, so that its bytes can be lent.
    slots: OnceLock<Box<[OnceLock<Box<PageBytes>>]>>,
    used: AtomicU32,
    /// Of each key the slot, and what the page is made from.
    known: Mutex<FxHashMap<u64, (Stored, u32)>>,
    passing: Mutex<FxHashMap<usize, Passing>>,
    room: u32,
}

impl Default for Decoded {
    fn default() -> Self {
        Self::of(KEPT)
    }
}

impl Decoded {
    /// A table that keeps this many pages.
    fn of(room: u32) -> Self {
        Self {
            slots: OnceLock::new(),
            used: AtomicU32::new(0),
            known: Mutex::default(),
            passing: Mutex::default(),
            room,
        }
    }
    /// The page of a key, as it was decoded before.
    pub fn get(&self, key: u64) -> Option<Page> {
        if let Some((from, slot)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some(Page::Kept(At::Decoded { from: *from, slot: *slot, inside: 0 }));
        }
        let passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = passing.get(&place(key)).filter(|p| p.key == key)?;
        Some(Page::Passing(found.from, Arc::clone(&found.bytes)))
    }
    /// Takes a page in. Two threads that decoded the same one at the same time get the first.
    pub fn put(&self, key: u64, from: Stored, bytes: Box<PageBytes>) -> Page {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, slot)) = known.get(&key) {
            return Page::Kept(At::Decoded { from: *from, slot: *slot, inside: 0 });
        }
        let slots = self.slots.get_or_init(|| (0..self.room).map(|_| OnceLock::new()).collect());
        let slot = self.used.load(Ordering::Relaxed);
        if let Some(room) = slots.get(slot as usize) {
            self.used.store(slot.saturating_add(1), Ordering::Relaxed);
            // Nobody else fills it: the lock is held.
            let _ = room.set(bytes);
            known.insert(key, (from, slot));
            return Page::Kept(At::Decoded { from, slot, inside: 0 });
        }
        drop(known);
        let bytes: Arc<PageBytes> = Arc::from(bytes);
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        passing.insert(place(key), Passing { key, from, bytes: Arc::clone(&bytes) });
        Page::Passing(from, bytes)
    }
    /// The bytes of a kept page.
    pub fn page(&self, slot: u32) -> Option<&PageBytes> {
        self.slots.get()?.get(slot as usize)?.get().map(|page| &**page)
    }
}

/// Where a page in passing is remembered: neighbours beside each other.
#[allow(clippy::cast_possible_truncation, reason = "taken modulo the number of places")]
const fn place(key: u64) -> usize {
    (key % PASSING as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::PAGE_SIZE;

    #[test]
    fn what_finds_no_room_is_still_given() {
        let decoded = Decoded::of(2);
        let page = |n: u8| Box::new([n; PAGE_SIZE as usize]);
        let from = |n: u64| Stored::page_file(0, n);
        assert!(decoded.get(7).is_none());
        for n in [7, 8, 9] {
            decoded.put(n.into(), from(n.into()), page(n));
        }
        for n in [7u8, 8] {
            let Some(Page::Kept(at @ At::Decoded { slot, .. })) = decoded.get(n.into()) else { panic!("not kept") };
            assert_eq!((decoded.page(slot), at.stored()), (Some(&*page(n)), from(n.into())));
        }
        let given = |key: u64| match decoded.get(key) {
            Some(Page::Passing(from, bytes)) => Some((from, bytes[0])),
            _ => None,
        };
        assert_eq!(given(9), Some((from(9), 9)));
        // Another takes its place.
        decoded.put(9 + PASSING as u64, from(1), page(1));
        assert_eq!((given(9), given(9 + PASSING as u64)), (None, Some((from(1), 1))));
        // The first of two is the one that counts.
        let Page::Kept(at) = decoded.put(7, from(99), page(99)) else { panic!("not kept") };
        assert_eq!(at.stored(), from(7));
    }
}
