//! What is settled once a kernel has its symbols: System and its page-table root, and how entries are written that are not valid.

use crate::addr::{Pa, Va};
use crate::dump::Arch;
use crate::kernel::Kernel;
use crate::kernel::process::EProcess;
use crate::paging::{Fault, Space, Via};
use crate::symbols::layout::Layout as _;
use crate::value::Note;

/// Entries of each process that are looked at.
const MOST_REGIONS: usize = 4096;

/// Entries that name prototypes which are enough to tell how they are written: a wrong way resolves them by accident at most.
const ENOUGH_PROTOTYPES: usize = 64;

impl Kernel {
    /// Finds System (`PsInitialSystemProcess`, else the head of the active list, else what the road met), and takes its page-table root when it maps the
    /// same kernel: the root a road led to may be any process's, and die with it.
    pub(super) fn settle_system(&mut self) {
        let Some((va, root)) = self.system_process() else { return };
        self.system = Some(va);
        let Some(root) = root else { return };
        let here = self.space().translate(self.base);
        let there = self.space_of(root).translate(self.base);
        if here.is_ok() && here == there {
            self.road.checks.push(format!("System at {va} has page-table root {root}, which maps the same kernel"));
            self.root = root;
        } else {
            self.road.doubts.push(format!("System at {va} has page-table root {root}, which does not map this kernel"));
        }
    }
    /// The address of System's `_EPROCESS` and its root, checked: process id 4, name `System`;
    /// one of the two is enough of what `PsInitialSystemProcess` names.
    fn system_process(&self) -> Option<(Va, Option<Pa>)> {
        let space = self.space();
        let initial = self.global("PsInitialSystemProcess").and_then(|at| space.pointer(at).ok());
        let links = self.layout::<EProcess>().ok()?.field("links").ok()?.offset;
        let first = self
            .global("PsActiveProcessHead")
            .and_then(|head| space.pointer(head).ok())
            .map(|link| link.sub(links.into()));
        initial.into_iter().chain(first).chain(self.met.system).find_map(|va| {
            let process = self.process_at(&space, va).ok()?;
            let (id, named) = (process.pid() == Ok(4), process.name().is_ok_and(|n| n == "System"));
            // What the kernel itself names as System may have lost one of the two.
            let system = id && named || (Some(va) == initial && (id || named) && process.may_be_one());
            system.then(|| (va, process.dtb().ok()))
        })
    }
    /// The values of the running kernel that software page-table entries depend on.
    pub(super) fn settle_entries(&mut self) {
        let (mask, store) = {
            let space = self.space();
            (self.invalid_pte_mask(&space), self.virtual_store(&space))
        };
        self.format.invalid_mask = mask;
        // A build without the swizzle bit has no mask.
        if mask.is_none() && !self.format.lacks_mask() {
            self.format.invalid_mask = Some(0);
        }
        self.format.virtual_store = store;
    }
    /// The mask by what it did, where no symbol tells it: it lies above every page of the machine, so in entries in
    /// transition it stands above the page's number. They must all say the same. Measured: right on every sample that
    /// has such an entry (`tests/without_symbols.rs`).
    pub(super) fn settle_mask(&mut self) {
        if !self.format.lacks_mask() {
            return;
        }
        let Some(highest) = self.dump.highest_page() else { return };
        let above = !highest.base().0.checked_next_power_of_two().unwrap_or(u64::MAX).wrapping_sub(1);
        let roots: Vec<Pa> = self.first_processes().iter().filter_map(|p| p.dtb().ok()).take(16).collect();
        let mut masks = Vec::new();
        for root in roots {
            let space = self.space_of(root);
            let seen = space.regions(Va(0x1_0000), Va(0x0000_7fff_ffff_ffff)).take(MOST_REGIONS);
            let moved = seen.filter_map(|r| r.found.ok()).filter(|m| m.via == Via::Transition);
            // Zero: the swizzle bit says that this one is as it was.
            masks.extend(moved.map(|m| m.pa.0 & above).filter(|high| *high != 0));
        }
        masks.sort_unstable();
        masks.dedup();
        match masks[..] {
            [mask] => self.format.invalid_mask = Some(mask),
            _ => self.notes.push(Note::info(
                "no symbol tells the mask of entries that are not valid: page-file offsets it may have changed are not told",
            )),
        }
    }
    /// Whether entries that name prototypes carry the mask: the way that resolves more of them in the first processes that have some.
    pub(super) fn settle_prototypes(&mut self) {
        if self.format.invalid_mask.is_none_or(|m| m == 0) {
            return;
        }
        let last = Va(if self.arch == Arch::X86 { 0x7fff_ffff } else { 0x0000_7fff_ffff_ffff });
        // How many entries lead to a prototype this way, and whether one does not.
        let resolved = |root: Pa, plain_addresses: bool| {
            let mut format = self.format;
            format.plain_addresses = plain_addresses;
            let space = self.space_of(root).with_format(format);
            let mut failed = false;
            let seen = space.regions(Va(0x1_0000), last).take(MOST_REGIONS);
            let prototypes = seen.filter(|r| match r.found {
                Ok(m) => matches!(m.via, Via::Prototype(_)),
                Err(Fault::FileBacked { .. }) => true,
                Err(fault) => {
                    failed |= matches!(fault, Fault::Prototype { .. });
                    false
                }
            });
            (prototypes.take(ENOUGH_PROTOTYPES).count(), failed)
        };
        let (mut masked, mut plain) = (0usize, 0usize);
        for root in self.first_processes().iter().filter_map(|p| p.dtb().ok()).take(16) {
            let (found, failed) = resolved(root, false);
            masked = masked.saturating_add(found);
            // Every start of the program pays for this: the second look is for where the first one fails.
            plain = plain.saturating_add(if failed { resolved(root, true).0 } else { found });
            if masked.max(plain) >= ENOUGH_PROTOTYPES {
                break;
            }
        }
        self.format.plain_addresses = plain > masked;
    }
    /// `MiState.Hardware.InvalidPteMask`; on Windows 7 with updates the global `MiInvalidPteMask`.
    fn invalid_pte_mask(&self, space: &Space<'_>) -> Option<u64> {
        let of_state = || {
            let state = self.global("MiState")?;
            let field = self.symbols.types.member("_MI_SYSTEM_INFORMATION", "Hardware.InvalidPteMask")?;
            space.number(state.add(field.offset.into()), 8).ok()
        };
        let plain = || space.number(self.global("MiInvalidPteMask")?, 8).ok();
        let mask = of_state().or_else(plain)?;
        // Bits that no page number of this machine has: between the highest page and bit 51.
        (mask & !0x000f_ffff_ffff_f000 == 0).then_some(mask)
    }
    /// The page file that is the compressed store.
    fn virtual_store(&self, space: &Space<'_>) -> Option<u8> {
        self.page_files(space).ok()?.into_iter().find(|file| file.virtual_store).map(|file| file.number)
    }
}
