//! From one virtual address to one entry, level by level, and on to what Windows means by it.

use super::cache::Table;
use super::pte::Soft;
use super::regions::shorter;
use super::sources::of_table;
use super::tables::{Entry, Level, Rights, Shape};
use super::{Fault, Mode, Prototyped, Space, arm64, x64, x86};
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::{At, le};
use crate::value::Absent;

/// How a page was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The processor maps it.
    Hardware,
    /// The entry is in transition: the page is on the standby or modified list, its content still good.
    Transition,
    /// The entry names a prototype (at this address), and the page is in memory.
    Prototype(Va),
    /// Nothing was entered yet, but the VAD has a prototype (at this address) for it, and the page is in memory.
    Vad(Va),
}

/// A page that is in physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Physical address of the very byte asked for.
    pub pa: Pa,
    /// Bytes of the page: 4 KiB, 2 or 4 MiB, 1 GiB.
    pub size: u64,
    /// What may be done with it. Of pages not mapped by the processor: [`None`].
    pub rights: Option<Rights>,
    /// The last entry, as it stands.
    pub entry: u64,
    /// How it was found.
    pub via: Via,
}

/// An answer, and the next address that may have another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub found: Result<Mapping, Fault>,
    /// One past the addresses the answer holds for; `None` at the end of the address space.
    pub next: Option<u64>,
}

/// A table that was met on the way down.
#[derive(Clone, Copy)]
pub(super) struct Met<'d> {
    /// Its physical address; of a table that another source has, [a number of its own](At::key).
    pub at: Pa,
    pub page: &'d [u8; PAGE_SIZE as usize],
    pub level: Level,
    /// What the levels above allow.
    pub rights: Rights,
}

impl Met<'_> {
    pub(super) fn entry(&self, shape: &Shape, va: Va) -> Option<u64> {
        entry_in(self.page, shape.entry_at(self.at, self.level, va), shape.entry)
    }
    /// One past the addresses from `va` on that this table has no entries for: most entries of most tables are empty, and a look at
    /// each by itself is most of a walk over a range.
    pub(super) fn empty_until(&self, shape: &Shape, va: Va) -> Option<u64> {
        let from = usize::try_from(shape.entry_at(self.at, self.level, va).offset_in_page()).ok()?;
        let left = 1u64.wrapping_shl(self.level.bits.into()).saturating_sub(self.level.index(va));
        let empty = match self.entry(shape, va)? {
            0 => alike(self.page, from, shape.entry).min(left),
            _ => 1,
        };
        end_of(va, self.level.shift)?.checked_add(empty.saturating_sub(1).checked_shl(self.level.shift.into())?)
    }
}

/// Where a walk down the tables ended.
pub(super) struct Descent<'d> {
    pub found: Result<Mapping, Fault>,
    /// The answer holds for the `1 << shift` bytes around the address.
    pub shift: u8,
    /// The table it ended in, where it was read; else the last one above it that was.
    pub table: Option<Met<'d>>,
}

impl Mode {
    /// The tables of this mode. `None`: there are none.
    pub(super) const fn shape(self) -> Option<&'static Shape> {
        match self {
            Self::X64 => Some(&x64::FOUR),
            Self::La57 => Some(&x64::FIVE),
            Self::X86 => Some(&x86::PLAIN),
            Self::Pae => Some(&x86::PAE),
            Self::Arm64 => Some(&arm64::FOUR),
            Self::Blocks => None,
        }
    }
    pub(super) fn decode(self, entry: u64, shift: u8) -> Entry {
        match self {
            Self::X64 | Self::La57 => x64::decode(entry, shift),
            Self::X86 => x86::decode_plain(entry, shift),
            Self::Pae => x86::decode_pae(entry, shift),
            Self::Arm64 => arm64::decode(entry, shift),
            Self::Blocks => Entry::Soft,
        }
    }
}

/// The end of the `1 << shift` bytes around an address.
pub(super) fn end_of(va: Va, shift: u8) -> Option<u64> {
    let span = 1u64.checked_shl(shift.into())?;
    (va.0 & !span.wrapping_sub(1)).checked_add(span)
}

/// Whether prototype entries are followed. Not while one is read: a prototype behind a prototype does not exist, a loop of them might.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    Prototypes,
    Nothing,
}

impl<'d> Space<'d> {
    /// One walk.
    pub(super) fn step(&self, va: Va, follow: Follow) -> Step {
        let own = follow == Follow::Prototypes;
        // Prototype entries lie in the kernel half, and it is the kernel that names them.
        if own && self.forbids(va) {
            return Step { found: Err(Fault::KernelHalf), next: None };
        }
        let Some(shape) = self.mode.shape().filter(|s| s.holds(va)) else { return self.step_outside(va) };
        let root = if own { self.root } else { self.kernel.unwrap_or(self.root) };
        let Descent { found, shift, .. } = self.descend(shape, root, va, own);
        let next = end_of(va, shift).and_then(|end| shape.within(end));
        match found {
            Err(fault @ (Fault::Unmapped | Fault::AskVad)) if own && va.0 < shape.user_end() && self.vads.is_some() => {
                match self.ask(va) {
                    Ok(run) => {
                        let found = self.prototype(run.first, va.offset_in_page(), 0, Via::Vad(run.first));
                        Step { found, next: va.page().0.checked_add(PAGE_SIZE) }
                    }
                    Err(nothing) => Step { found: Err(fault), next: shorter(va, next, nothing) },
                }
            }
            found => Step { found, next },
        }
    }
    /// Of an address that is none in this mode.
    pub(super) fn step_outside(&self, va: Va) -> Step {
        let Some(shape) = self.mode.shape() else {
            return Step { found: Err(Fault::NoBlock), next: va.page().0.checked_add(PAGE_SIZE) };
        };
        // All addresses up to the kernel half are none either; of 32-bit spaces, all there are.
        let next = (shape.va_bits > 32 && va.0 >> 63 == 0).then(|| 0u64.wrapping_sub(shape.user_end()));
        Step { found: Err(Fault::NonCanonical), next }
    }
    /// What the VADs say of a user address without an entry of its own.
    pub(super) fn ask(&self, va: Va) -> Result<Prototyped, u64> {
        self.vads.as_ref().map_or(Err(u64::MAX), |vads| vads.prototypes(va))
    }
    /// Down the tables to the entry that ends the walk.
    pub(super) fn descend(&self, shape: &Shape, root: Pa, va: Va, own: bool) -> Descent<'d> {
        let nothing = |found, shift| Descent { found, shift, table: None };
        let Some((last, upper)) = shape.levels.split_last() else { return nothing(Err(Fault::Unmapped), 12) };
        // The lowest table of this neighbourhood may be at hand, with all above it.
        let region = va.0 >> upper.last().map_or(last.shift, |l| l.shift);
        if own && let Some(Table { at, file, rights }) = self.cache.table(region) {
            let Some(page) = self.page_at(file) else {
                return nothing(Err(Fault::TableNotInDump { table: at }), last.shift);
            };
            let table = Met { at, page, level: *last, rights };
            return Descent { found: self.look(shape, &table, va, own), shift: last.shift, table: Some(table) };
        }
        if own && let Some(shift) = self.cache.nothing(region) {
            return nothing(Err(Fault::Unmapped), shift);
        }
        let mut at = Pa(root.0 & shape.root);
        let mut rights = Rights::ALL;
        let mut read = None;
        // Where the next table is, when that is not physical memory.
        let mut beyond: Option<At> = None;
        for level in shape.levels {
            // Of PAE's root, the offset inside its page is part of `at`.
            let entry_at = shape.entry_at(at, *level, va);
            let file = beyond.take().or_else(|| self.in_dump(entry_at));
            let page = file.and_then(|f| self.page_at(f));
            let entry = page.and_then(|page| entry_in(page, entry_at, shape.entry));
            let (Some(file), Some(page), Some(entry)) = (file, page, entry) else {
                let found = Err(Fault::TableNotInDump { table: at });
                return Descent { found, shift: above(shape, level.shift), table: read };
            };
            let table = Met { at, page, level: *level, rights };
            read = Some(table);
            if level.shift == last.shift {
                if own {
                    self.cache.keep_table(region, Table { at, file, rights });
                }
                return Descent { found: self.look(shape, &table, va, own), shift: level.shift, table: Some(table) };
            }
            match self.mode.decode(entry, level.shift) {
                Entry::Table(next, r) => {
                    at = next;
                    rights = rights.and(r);
                }
                // Tables are pages like others and can be trimmed: on the standby list they are still good.
                Entry::Soft
                    if level.shift <= 30
                        && let Some(next) = self.format.transition(entry) =>
                {
                    at = next
                }
                // They can be written away too.
                Entry::Soft
                    if level.shift <= 30
                        && let Soft::Fault(fault) = self.format.decode(entry)
                        && let Ok(page) = self.kept_beyond(fault) =>
                {
                    at = Pa(page.key());
                    beyond = Some(page);
                }
                _ => {
                    let found = self.judge(va, *level, entry, rights, own);
                    if own && found == Err(Fault::Unmapped) {
                        self.cache.keep_nothing(region, level.shift);
                    }
                    return Descent { found, shift: level.shift, table: Some(table) };
                }
            }
        }
        nothing(Err(Fault::Unmapped), last.shift)
    }
    /// What a table's own entry for an address says, as the end of a walk.
    pub(super) fn look(&self, shape: &Shape, table: &Met<'_>, va: Va, own: bool) -> Result<Mapping, Fault> {
        match table.entry(shape, va) {
            Some(entry) => self.judge(va, table.level, entry, table.rights, own),
            None => Err(Fault::TableNotInDump { table: table.at }),
        }
    }
    /// What an entry that ends the walk says.
    fn judge(&self, va: Va, level: Level, entry: u64, rights: Rights, own: bool) -> Result<Mapping, Fault> {
        let size = 1u64.wrapping_shl(level.shift.into());
        let inside = va.0 & size.wrapping_sub(1);
        match self.mode.decode(entry, level.shift) {
            Entry::Page(base, r) => {
                let rights = Some(rights.and(r));
                Ok(Mapping { pa: base.add(inside), size, rights, entry, via: Via::Hardware })
            }
            Entry::Table(..) | Entry::Reserved => Err(Fault::Unknown { entry }),
            Entry::Soft if level.shift != 12 => Err(match self.format.decode(entry) {
                Soft::Fault(fault) => of_table(fault),
                Soft::Transition(_) | Soft::Prototype(_) => Fault::Unknown { entry },
            }),
            Entry::Soft => match self.format.decode(entry) {
                Soft::Transition(base) => {
                    Ok(Mapping { pa: base.add(inside), size, rights: None, entry, via: Via::Transition })
                }
                Soft::Prototype(pte) if own => self.prototype(pte, inside, entry, Via::Prototype(pte)),
                Soft::Prototype(pte) => Err(Fault::Prototype { pte, why: Absent::Implausible }),
                Soft::Fault(fault) => Err(fault),
            },
        }
    }
    /// The page behind a prototype entry: of a section's page the one all processes share, whatever this one's own entry says.
    ///
    /// # Errors
    /// Why the entry leads to no page.
    pub fn behind_prototype(&self, pte: Va) -> Result<Mapping, Fault> {
        self.prototype(pte, 0, 0, Via::Vad(pte))
    }
    /// Reads a prototype entry and takes its word.
    pub(super) fn prototype(&self, pte: Va, inside: u64, entry: u64, via: Via) -> Result<Mapping, Fault> {
        let unread = |why| Fault::Prototype { pte, why };
        let shape = self.mode.shape().ok_or(unread(Absent::NotMapped))?;
        // Prototypes live in paged pool: an address of the user half is none.
        if pte.0 < shape.user_end() || !shape.holds(pte) {
            return Err(unread(Absent::Implausible));
        }
        let number = pte.0 / PAGE_SIZE;
        let file = match self.prototypes_page.get() {
            Some((key, file)) if key == number => file,
            _ => {
                let file = match self.step(pte, Follow::Nothing).found {
                    Ok(table) => self.in_dump(table.pa).ok_or(unread(Absent::NotInDump))?,
                    // Paged pool can be written away as well.
                    Err(fault) => self.kept_beyond(fault).map_err(unread)?,
                };
                self.prototypes_page.set(Some((number, file)));
                file
            }
        };
        let page = self.page_at(file).ok_or(unread(Absent::NotInDump))?;
        self.read_prototype(shape, page, pte, inside, entry, via)
    }
    /// The same, with the page the prototype entry lies in.
    pub(super) fn read_prototype(
        &self,
        shape: &Shape,
        page: &[u8; PAGE_SIZE as usize],
        pte: Va,
        inside: u64,
        entry: u64,
        via: Via,
    ) -> Result<Mapping, Fault> {
        let proto = entry_in(page, Pa(pte.0), shape.entry)
            .filter(|_| pte.0.is_multiple_of(shape.entry.into()))
            .ok_or(Fault::Prototype { pte, why: Absent::Implausible })?;
        let base = match self.mode.decode(proto, 12) {
            Entry::Page(base, _) => base,
            _ => match self.format.transition(proto) {
                Some(base) => base,
                None => return Err(self.format.decode_prototype(proto)),
            },
        };
        Ok(Mapping { pa: base.add(inside), size: PAGE_SIZE, rights: None, entry, via })
    }
}

/// The reach of a table as a whole: where it is missing, so is everything its entries would map.
fn above(shape: &Shape, shift: u8) -> u8 {
    let higher = shape.levels.iter().rev().find(|l| l.shift > shift);
    higher.map_or(shape.va_bits.saturating_sub(1), |l| l.shift)
}

/// How many entries of a page, from the one at `from` on, are the same as that one, itself included: at least one.
pub(super) fn alike(page: &[u8; PAGE_SIZE as usize], from: usize, size: u8) -> u64 {
    fn same<const N: usize>(entries: &[u8]) -> usize {
        let (entries, _) = entries.as_chunks::<N>();
        entries.first().map_or(0, |first| entries.iter().take_while(|entry| *entry == first).count())
    }
    let entries = page.get(from..).unwrap_or_default();
    let count = if size == 4 { same::<4>(entries) } else { same::<8>(entries) };
    count.max(1) as u64
}

/// The entry at a physical address, of the page that address lies in.
pub(super) fn entry_in(page: &[u8; PAGE_SIZE as usize], at: Pa, size: u8) -> Option<u64> {
    let from = usize::try_from(at.offset_in_page()).ok()?;
    le(page.get(from..from.checked_add(size.into())?)?)
}
