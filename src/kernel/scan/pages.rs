//! A set of physical pages that costs little however many there are.

use crate::addr::Pfn;
use rustc_hash::FxHashMap;

/// Pages by number, a bit each: 2 MiB of memory that is met at all cost 80 bytes.
#[derive(Clone, Debug, Default)]
pub struct Pages(FxHashMap<u64, [u64; 8]>);

impl Pages {
    /// Adds a page.
    pub fn insert(&mut self, page: Pfn) {
        let (group, word, bit) = place(page);
        if let Some(bits) = self.0.entry(group).or_default().get_mut(word) {
            *bits |= bit;
        }
    }
    /// Whether it is in the set.
    #[must_use]
    pub fn contains(&self, page: Pfn) -> bool {
        let (group, word, bit) = place(page);
        self.0.get(&group).and_then(|bits| bits.get(word)).is_some_and(|bits| bits & bit != 0)
    }
    /// Whether none of 512 neighbours is in the set: those of the page whose number ends in nine zero bits.
    #[must_use]
    pub fn lacks_group_of(&self, page: Pfn) -> bool {
        !self.0.contains_key(&place(page).0)
    }
}

const fn place(page: Pfn) -> (u64, usize, u64) {
    (page.0 >> 9, (page.0 >> 6 & 7) as usize, 1 << (page.0 & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut pages = Pages::default();
        let some = [0, 1, 63, 64, 511, 512, 1 << 40, u64::MAX];
        some.iter().for_each(|p| pages.insert(Pfn(*p)));
        assert!(some.iter().all(|p| pages.contains(Pfn(*p))));
        assert!([2, 62, 65, 510, 513, (1 << 40) + 1].iter().all(|p| !pages.contains(Pfn(*p))));
        assert!(pages.lacks_group_of(Pfn(1024)) && !pages.lacks_group_of(Pfn(600)));
    }
}
