//! From one virtual address to one entry, level by level, and on to what Windows means by it.

use super::cache::Table;
use super::pte::Soft;
use super::tables::{Entry, Level, Rights, Shape};
use super::{Fault, Mode, Space, arm64, x64, x86};
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::le;
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
fn end_of(va: Va, shift: u8) -> Option<u64> {
    let span = 1u64.checked_shl(shift.into())?;
    (va.0 & !span.wrapping_sub(1)).checked_add(span)
}

/// Whether prototype entries are followed. Not while one is read: a prototype behind a prototype does not exist, a loop of them might.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    Prototypes,
    Nothing,
}

impl Space<'_> {
    /// One walk.
    pub(super) fn step(&self, va: Va, follow: Follow) -> Step {
        let Some(shape) = self.mode.shape() else {
            return Step { found: Err(Fault::NoBlock), next: va.page().0.checked_add(PAGE_SIZE) };
        };
        let own = follow == Follow::Prototypes;
        if !shape.holds(va) {
            // All addresses up to the kernel half are no addresses either; of 32-bit spaces, all there are.
            let next = (shape.va_bits > 32 && va.0 >> 63 == 0).then(|| 0u64.wrapping_sub(shape.user_end()));
            return Step { found: Err(Fault::NonCanonical), next };
        }
        let root = if own { self.root } else { self.kernel.unwrap_or(self.root) };
        let (found, shift) = self.descend(shape, root, va, own);
        let next = end_of(va, shift).filter(|n| shape.va_bits > 32 || *n >> shape.va_bits == 0);
        match found {
            Err(fault @ (Fault::Unmapped | Fault::AskVad)) if own && va.0 < shape.user_end() => {
                self.ask_vad(va, fault, next)
            }
            found => Step { found, next },
        }
    }
    fn descend(&self, shape: &Shape, root: Pa, va: Va, own: bool) -> (Result<Mapping, Fault>, u8) {
        let Some((last, upper)) = shape.levels.split_last() else { return (Err(Fault::Unmapped), 12) };
        // The lowest table of this neighbourhood may be at hand, with all above it.
        let lowest = upper.last().map_or(12, |l| l.shift);
        let region = va.0 >> lowest;
        if own && let Some(Table { at, file, rights }) = self.cache.table(region) {
            let inside = shape.entry_at(at, *last, va);
            return match self.page_at(file).and_then(|page| entry_in(page, inside, shape.entry)) {
                Some(entry) => (self.judge(va, *last, entry, rights, own), last.shift),
                None => (Err(Fault::TableNotInDump { table: at }), last.shift),
            };
        }
        if own && let Some(shift) = self.cache.nothing(region) {
            return (Err(Fault::Unmapped), shift);
        }
        let mut at = Pa(root.0 & shape.root);
        let mut rights = Rights::ALL;
        for level in shape.levels {
            // Of PAE's root, the offset inside its page is part of `at`.
            let file = self.dump.file_offset(at.page());
            let entry = file
                .and_then(|f| self.page_at(f))
                .and_then(|page| entry_in(page, shape.entry_at(at, *level, va), shape.entry));
            let (Some(file), Some(entry)) = (file, entry) else {
                return (Err(Fault::TableNotInDump { table: at }), above(shape, level.shift));
            };
            if level.shift == last.shift {
                if own {
                    self.cache.keep_table(region, Table { at, file, rights });
                }
                return (self.judge(va, *level, entry, rights, own), level.shift);
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
                _ => {
                    let found = self.judge(va, *level, entry, rights, own);
                    if own && found == Err(Fault::Unmapped) {
                        self.cache.keep_nothing(region, level.shift);
                    }
                    return (found, level.shift);
                }
            }
        }
        (Err(Fault::Unmapped), last.shift)
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
                Soft::Fault(fault) => fault,
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
    fn prototype(&self, pte: Va, inside: u64, entry: u64, via: Via) -> Result<Mapping, Fault> {
        let unread = |why| Fault::Prototype { pte, why };
        let shape = self.mode.shape().ok_or(unread(Absent::NotMapped))?;
        // Prototypes live in paged pool: an address of the user half is none.
        if pte.0 < shape.user_end() || !shape.holds(pte) || !pte.0.is_multiple_of(shape.entry.into()) {
            return Err(unread(Absent::Implausible));
        }
        let number = pte.0 / PAGE_SIZE;
        let file = match self.prototypes_page.get() {
            Some((key, file)) if key == number => file,
            _ => {
                let table = self.step(pte, Follow::Nothing).found.map_err(|f| unread(f.into()))?;
                let file = self.dump.file_offset(table.pa.page()).ok_or(unread(Absent::NotInDump))?;
                self.prototypes_page.set(Some((number, file)));
                file
            }
        };
        let page = self.page_at(file).ok_or(unread(Absent::NotInDump))?;
        let proto = entry_in(page, Pa(pte.0), shape.entry).ok_or(unread(Absent::Implausible))?;
        let base = match self.mode.decode(proto, 12) {
            Entry::Page(base, _) => base,
            _ => match self.format.transition(proto) {
                Some(base) => base,
                None => return Err(self.format.decode_prototype(proto)),
            },
        };
        Ok(Mapping { pa: base.add(inside), size: PAGE_SIZE, rights: None, entry, via })
    }
    /// A user address without an entry of its own: the VAD may have a prototype for it.
    fn ask_vad(&self, va: Va, fault: Fault, next: Option<u64>) -> Step {
        let Some(vads) = &self.vads else { return Step { found: Err(fault), next } };
        match vads.prototype(va) {
            Ok(pte) => {
                let inside = va.offset_in_page();
                let found = self.prototype(pte, inside, 0, Via::Vad(pte));
                Step { found, next: va.page().0.checked_add(PAGE_SIZE) }
            }
            Err(nothing) => {
                let until = va.page().0.checked_add(nothing.max(PAGE_SIZE)).map(|u| u & !PAGE_SIZE.wrapping_sub(1));
                // The shorter of both: what the tables leave out, and what the VADs leave out.
                let next = match (next, until) {
                    (Some(n), Some(u)) => Some(n.min(u)),
                    (n, u) => n.or(u),
                };
                Step { found: Err(fault), next }
            }
        }
    }
}

/// The reach of a table as a whole: where it is missing, so is everything its entries would map.
fn above(shape: &Shape, shift: u8) -> u8 {
    let higher = shape.levels.iter().rev().find(|l| l.shift > shift);
    higher.map_or(shape.va_bits.saturating_sub(1), |l| l.shift)
}

/// The entry at a physical address, of the page that address lies in.
pub(super) fn entry_in(page: &[u8; PAGE_SIZE as usize], at: Pa, size: u8) -> Option<u64> {
    let from = usize::try_from(at.offset_in_page()).ok()?;
    le(page.get(from..from.checked_add(size.into())?)?)
}
