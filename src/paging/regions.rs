//! A range of addresses, page by page: what is at hand from the page before is not looked up again.

use super::tables::Shape;
use super::visited::Visited;
use super::walk::{Descent, Mapping, Met, Step, Via, alike, end_of};
use super::{Fault, Prototyped, Space};
use crate::addr::{PAGE_SIZE, Va};

/// Stretches of addresses with nothing in them that are stepped over in one range (of the lowest level, a stretch is what one table
/// has no entries for): more than a process has, some seconds.
const MOST_EMPTY: u32 = if cfg!(test) { 1 << 18 } else { 1 << 25 };

/// Pages of prototype entries that cannot be read and are stepped over in one range: of 256 GiB of mapped files. A range of a damaged
/// VAD can be as large as the address space.
const MOST_UNREAD: u32 = 1 << 17;

/// What stands for the rest of a range that was cut: an entry of zero is otherwise [`Fault::Unmapped`].
const CUT: Fault = Fault::Unknown { entry: 0 };

/// A stretch of addresses with one answer: a page (or the part of it in the range), or what stands in its stead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The first address.
    pub va: Va,
    /// Bytes.
    pub size: u64,
    /// What the page tables say of them.
    pub found: Result<Mapping, Fault>,
    /// Bytes that one entry speaks of: fewer than `size` where neighbouring entries say the very same.
    pub each: u64,
}

impl Region {
    /// Whether this is the rest of a range whose page tables were too many to follow.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.found == Err(CUT)
    }
}

impl<'d> Space<'d> {
    /// Every page and every entry that says something in a range of addresses, in order. Empty regions are skipped
    /// table by table. Page tables of a hostile dump can name themselves without end, or one table can be named by all entries of
    /// another: both are followed up to a bound; the rest is one region that [is cut](Region::is_cut).
    pub fn regions<'s>(&'s self, from: Va, last: Va) -> Regions<'s, 'd> {
        let next = Some(from.0).filter(|f| *f <= last.0);
        Regions {
            space: self,
            next,
            last: last.0,
            empty: 0,
            unread: 0,
            visited: Visited::default(),
            endless: false,
            alike: false,
            lowest: None,
            silent: 0..0,
            run: None,
            prototypes: None,
        }
    }
}

/// See [`Space::regions`].
pub struct Regions<'s, 'd> {
    space: &'s Space<'d>,
    next: Option<u64>,
    last: u64,
    empty: u32,
    unread: u32,
    visited: Visited,
    /// Whether tables were met again and again.
    endless: bool,
    /// Whether the last answer is that of several entries.
    alike: bool,
    /// The table of the lowest level that was met last, and one past the addresses it maps.
    lowest: Option<(u64, Met<'d>)>,
    /// Addresses the tables have nothing for.
    silent: std::ops::Range<u64>,
    /// The prototypes of a range that the VADs told last, and the range's first address.
    run: Option<(u64, Prototyped)>,
    /// The page of prototype entries that was read last, by its number.
    prototypes: Option<(u64, &'d [u8; PAGE_SIZE as usize])>,
}

impl Iterator for Regions<'_, '_> {
    type Item = Region;
    fn next(&mut self) -> Option<Region> {
        loop {
            let at = self.next?;
            let step = self.answer(Va(at));
            self.next = step.next.filter(|n| *n > at && *n <= self.last);
            let end = step.next.map_or(self.last, |n| n.saturating_sub(1)).min(self.last);
            let size = end.saturating_sub(at).saturating_add(1);
            match step.found {
                Err(Fault::Unmapped | Fault::NonCanonical) if self.empty < MOST_EMPTY && !self.endless => {
                    self.empty = self.empty.saturating_add(1);
                }
                found if self.unread <= MOST_UNREAD && !self.endless && !nothing(found) => {
                    let each = if self.alike { PAGE_SIZE.min(size) } else { size };
                    return Some(Region { va: Va(at), size, found, each });
                }
                _ => {
                    self.next = None;
                    let size = self.last.saturating_sub(at).saturating_add(1);
                    return Some(Region { va: Va(at), size, found: Err(CUT), each: size });
                }
            }
        }
    }
}

fn nothing(found: Result<Mapping, Fault>) -> bool {
    matches!(found, Err(Fault::Unmapped | Fault::NonCanonical))
}

impl Regions<'_, '_> {
    /// What [`Space::walk`] says of an address, and the next address that may have another answer.
    fn answer(&mut self, va: Va) -> Step {
        let space = self.space;
        self.alike = false;
        if space.forbids(va) {
            return Step { found: Err(Fault::KernelHalf), next: None };
        }
        let Some(shape) = space.mode.shape().filter(|s| s.holds(va)) else { return space.step_outside(va) };
        let (found, next) = self.tables(shape, va);
        match found {
            Err(fault @ (Fault::Unmapped | Fault::AskVad)) if va.0 < shape.user_end() && space.vads.is_some() => {
                self.ask_vads(shape, va, fault, next)
            }
            found => Step { found, next },
        }
    }
    /// What the page tables say.
    fn tables(&mut self, shape: &Shape, va: Va) -> (Result<Mapping, Fault>, Option<u64>) {
        let space = self.space;
        if self.silent.contains(&va.0) {
            return (Err(Fault::Unmapped), shape.within(self.silent.end));
        }
        let descent = match self.lowest.filter(|(until, _)| va.0 < *until) {
            Some((_, table)) => {
                Descent { found: space.look(shape, &table, va, true), shift: table.level.shift, table: Some(table) }
            }
            None => space.descend(shape, space.root, va, true),
        };
        let Descent { found, shift, table } = descent;
        let mut end = end_of(va, shift);
        if let Some(table) = table {
            self.endless |= !self.visited.meet(&table, va);
            if found == Err(Fault::Unmapped) {
                end = table.empty_until(shape, va).or(end);
            } else if let [.., above, last] = shape.levels
                && table.level.shift == last.shift
            {
                self.lowest = Some((end_of(va, above.shift).unwrap_or(u64::MAX), table));
            }
        }
        if found == Err(Fault::Unmapped) {
            self.silent = va.0..end.unwrap_or(u64::MAX);
        }
        (found, end.and_then(|end| shape.within(end)))
    }
    /// What the VADs know of an address that the tables have nothing for.
    fn ask_vads(&mut self, shape: &Shape, va: Va, fault: Fault, next: Option<u64>) -> Step {
        let space = self.space;
        let page = |from: u64| va.0.wrapping_sub(from) / PAGE_SIZE;
        let at_hand = self.run.filter(|(from, run)| va.0 >= *from && page(*from) < run.pages);
        let (from, run) = match at_hand {
            Some(known) => known,
            None => match space.ask(va) {
                Ok(run) => *self.run.insert((va.page().0, run)),
                Err(nothing) => return Step { found: Err(fault), next: shorter(va, next, nothing) },
            },
        };
        let pte = run.first.add(page(from).saturating_mul(shape.entry.into()));
        let (number, inside) = (pte.0 / PAGE_SIZE, va.offset_in_page());
        let found = match self.prototypes {
            Some((key, page)) if key == number => space.read_prototype(shape, page, pte, inside, 0, Via::Vad(pte)),
            _ => {
                let found = space.prototype(pte, inside, 0, Via::Vad(pte));
                self.prototypes = space.prototypes_page.get().and_then(|(key, file)| Some((key, space.page_at(file)?)));
                found
            }
        };
        let (mut pages, left) = (1, run.pages.saturating_sub(page(from)).max(1));
        if matches!(found, Err(Fault::Prototype { .. })) {
            // What the whole page of entries shares is one answer, as far as the tables have nothing.
            pages = (PAGE_SIZE.saturating_sub(pte.offset_in_page()) / u64::from(shape.entry)).clamp(1, left);
            self.unread = self.unread.saturating_add(1);
        } else if let (Err(_), Some((key, entries))) = (found, self.prototypes)
            && key == number
        {
            // Pages of a file that are not in memory: their entries are all the same, by the hundred.
            pages = alike(entries, pte.offset_in_page() as usize, shape.entry).min(left);
            self.alike = pages > 1;
        }
        Step { found, next: shorter(va, next, pages.saturating_mul(PAGE_SIZE)) }
    }
}

/// The shorter of both: what the tables leave out, and what the VADs leave out (`nothing` bytes from `va` on).
pub(super) fn shorter(va: Va, tables: Option<u64>, nothing: u64) -> Option<u64> {
    let until = va.page().0.checked_add(nothing.max(PAGE_SIZE)).map(|u| u & !PAGE_SIZE.wrapping_sub(1));
    match (tables, until) {
        (Some(n), Some(u)) => Some(n.min(u)),
        (n, u) => n.or(u),
    }
}
