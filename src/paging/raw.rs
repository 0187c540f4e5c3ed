//! The last-level page-table entry of an address as it stands, whatever it says.

use super::Space;
use super::tables::Entry;
use super::walk::entry_in;
use crate::addr::{Pa, Va};
use crate::bytes::Place;
use crate::value::{Absent, Value};

impl Space<'_> {
    /// The entry that ends the walk to an address: of its page, or of the large page it lies in.
    ///
    /// # Errors
    /// [`Absent::NotMapped`] where there is no table for it, [`Absent::NotInDump`] where the dump lacks one.
    pub fn raw_entry(&self, va: Va) -> Value<u64> {
        self.last_entry(va).map(|(entry, _)| entry)
    }
    /// Where that entry is.
    #[must_use]
    pub fn entry_place(&self, va: Va) -> Option<Place> {
        let (_, pa) = self.last_entry(va).ok()?;
        Some(Place { va: None, pa: Some(pa), file: self.in_dump(pa).map(|page| page.add(pa.offset_in_page())) })
    }
    fn last_entry(&self, va: Va) -> Value<(u64, Pa)> {
        let shape = self.mode.shape().ok_or(Absent::NotApplicable)?;
        if !shape.holds(va) {
            return Err(Absent::NotMapped);
        }
        let last = shape.levels.last().ok_or(Absent::NotMapped)?.shift;
        let mut at = Pa(self.root.0 & shape.root);
        for level in shape.levels {
            let entry_at = shape.entry_at(at, *level, va);
            let page = self.in_dump(entry_at).and_then(|f| self.page_at(f)).ok_or(Absent::NotInDump)?;
            let entry = entry_in(page, entry_at, shape.entry).ok_or(Absent::NotInDump)?;
            if level.shift == last {
                return Ok((entry, entry_at));
            }
            match self.mode.decode(entry, level.shift) {
                Entry::Table(next, _) => at = next,
                Entry::Page(..) => return Ok((entry, entry_at)),
                // A table on the standby list is still good.
                _ => at = self.format.transition(entry).filter(|_| level.shift <= 30).ok_or(Absent::NotMapped)?,
            }
        }
        Err(Absent::NotMapped)
    }
}
