//! The globals and functions of a module: 40,000 names, kept as one text and found by binary search.

use std::fmt;
use std::sync::OnceLock;

/// Name → RVA, sorted by name. Made to be read from a file in one piece.
#[derive(Clone, Default)]
pub struct Globals {
    /// All names one after another, in order.
    names: Box<str>,
    /// For each name: where it ends in `names`, and its RVA.
    entries: Box<[(u32, u32)]>,
    /// Positions in `entries` by RVA, made when first asked for.
    by_rva: OnceLock<Box<[u32]>>,
}

impl Globals {
    /// Puts the parts together as they were written.
    pub(super) fn from_parts(names: Box<str>, entries: Box<[(u32, u32)]>) -> Option<Self> {
        let globals = Self { names, entries, by_rva: OnceLock::new() };
        let last = globals.entries.last().map_or(0, |(end, _)| *end);
        let whole = last as usize == globals.names.len();
        let mut before = None;
        for i in 0..globals.entries.len() {
            let (name, _) = globals.at(i)?;
            if before.is_some_and(|b| b >= name) {
                return None;
            }
            before = Some(name);
        }
        whole.then_some(globals)
    }
    /// The parts to be written.
    pub(super) fn parts(&self) -> (&str, &[(u32, u32)]) {
        (&self.names, &self.entries)
    }
    fn at(&self, i: usize) -> Option<(&str, u32)> {
        let (end, rva) = *self.entries.get(i)?;
        let start = match i.checked_sub(1) {
            Some(before) => self.entries.get(before)?.0,
            None => 0,
        };
        Some((self.names.get(start as usize..end as usize)?, rva))
    }
    /// The RVA of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            let (here, rva) = self.at(middle)?;
            match here.cmp(name) {
                std::cmp::Ordering::Equal => return Some(rva),
                std::cmp::Ordering::Less => low = middle.checked_add(1)?,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
    /// The last name at or before an RVA, and how far it is: `KiSwapThread`, 0x1a. Of several names of one place,
    /// the first in order.
    #[must_use]
    pub fn nearest(&self, rva: u32) -> Option<(&str, u32)> {
        let order = self.by_rva.get_or_init(|| {
            let mut order: Box<[u32]> = (0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX)).collect();
            let rva = |i: &u32| self.entries.get(*i as usize).map_or(u32::MAX, |e| e.1);
            order.sort_by_key(|i| (rva(i), *i));
            order
        });
        let rva_of = |i: u32| self.entries.get(i as usize).map_or(u32::MAX, |e| e.1);
        let past = order.partition_point(|i| rva_of(*i) <= rva);
        let found = rva_of(*order.get(past.checked_sub(1)?)?);
        let first = order.partition_point(|i| rva_of(*i) < found);
        let (name, at) = self.at(*order.get(first)? as usize)?;
        Some((name, rva.checked_sub(at)?))
    }
    /// All names with their RVAs, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, u32)> {
        (0..self.entries.len()).map(|i| self.at(i).unwrap_or_default())
    }
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<S: AsRef<str>> FromIterator<(S, u32)> for Globals {
    /// Of one name given twice, the first counts.
    fn from_iter<I: IntoIterator<Item = (S, u32)>>(pairs: I) -> Self {
        let mut pairs: Vec<(S, u32)> = pairs.into_iter().collect();
        pairs.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        pairs.dedup_by(|(later, _), (first, _)| later.as_ref() == first.as_ref());
        let mut names = String::with_capacity(pairs.iter().map(|(n, _)| n.as_ref().len()).sum());
        let mut entries = Vec::with_capacity(pairs.len());
        for (name, rva) in pairs {
            names.push_str(name.as_ref());
            let Ok(end) = u32::try_from(names.len()) else { break };
            entries.push((end, rva));
        }
        names.truncate(entries.last().map_or(0, |(end, _)| *end as usize));
        Self { names: names.into(), entries: entries.into(), by_rva: OnceLock::new() }
    }
}

impl<S: AsRef<str>, const N: usize> From<[(S, u32); N]> for Globals {
    fn from(pairs: [(S, u32); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl PartialEq for Globals {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names && self.entries == other.entries
    }
}
impl Eq for Globals {}

impl fmt::Debug for Globals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_by_name_and_by_place() {
        let g = Globals::from([("b", 0x20), ("a", 0x10), ("c", 0x20), ("a", 0x99), ("", 0x30)]);
        assert_eq!(g.iter().collect::<Vec<_>>(), [("", 0x30), ("a", 0x10), ("b", 0x20), ("c", 0x20)]);
        assert_eq!((g.get("a"), g.get("c"), g.get("d"), g.get("")), (Some(0x10), Some(0x20), None, Some(0x30)));
        assert_eq!(g.nearest(0x2f), Some(("b", 0xf)));
        assert_eq!(g.nearest(0x10), Some(("a", 0)));
        assert_eq!(g.nearest(0xf), None);
        assert_eq!(Globals::default().nearest(5), None);
    }
    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let g = Globals::from([("ab", 1), ("cd", 2)]);
        let (names, entries) = g.parts();
        assert_eq!(Globals::from_parts(names.into(), entries.into()).as_ref(), Some(&g));
        for entries in [&[(2, 1), (5, 2)][..], &[(2, 1)], &[(3, 1), (2, 2)], &[]] {
            assert_eq!(Globals::from_parts("abcd".into(), entries.into()), None);
        }
        assert_eq!(Globals::from_parts("cdab".into(), [(2, 1), (4, 2)].into()), None);
    }
}
