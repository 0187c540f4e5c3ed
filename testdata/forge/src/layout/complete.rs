//! What a table lacks that another reduced for its own purpose, from a table of the forge's own.

use std::collections::BTreeSet;

use super::{Layouts, reduce};

/// Every kernel has these; a table without them left them out.
const EVERYWHERE: &[&str] = &["_POOL_HEADER"];

/// These begin as another structure does, which the table has and the donor may have otherwise.
const LONGER: &[&str] = &["_MMVAD_LONG"];

impl Layouts {
    /// The same table with the donor's types, enumerations and globals where it has none. `known` are the types that whoever reduced the
    /// table would have kept: one of them that is not there is not in that kernel.
    #[must_use]
    pub fn completed(mut self, donor: &Layouts, known: &BTreeSet<String>) -> Layouts {
        let wanted = |n: &str| EVERYWHERE.contains(&n) || !(known.contains(n) || LONGER.contains(&n));
        for (name, ty) in donor.types.iter().filter(|(n, _)| wanted(n)) {
            self.types.entry(name.clone()).or_insert_with(|| ty.clone());
        }
        for (name, e) in donor.enums.iter().filter(|(n, _)| !known.contains(*n)) {
            self.enums.entry(name.clone()).or_insert_with(|| e.clone());
        }
        if self.symbols.is_empty() {
            let same = (&self.guid, self.age) == (&donor.guid, donor.age);
            self.symbols = if same { donor.symbols.clone() } else { reduce::moved(&self, donor) };
        }
        self
    }

    /// The same table with the bits of page table entries of another kernel whose entries have the same width, where it has none.
    #[must_use]
    pub fn with_entries_of(mut self, donor: &Layouts) -> Layouts {
        for (name, ty) in donor.types.iter().filter(|(n, _)| n.starts_with("_MMPTE_")) {
            self.types.entry(name.clone()).or_insert_with(|| ty.clone());
        }
        self
    }
}
