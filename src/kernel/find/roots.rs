//! Page-table roots without a header: every page of memory is asked whether it could be one, every one that could is scored.
//!
//! The first that looks right is often not: processes have their own, KVAS shadows them, and recent Windows 11 leaves
//! a nearly empty self-referencing table of the boot loader in low memory.

use super::shared_page::{self, SharedPage};
use super::tables;
use crate::addr::{PAGE_SIZE, Pa, Pfn, Va};
use crate::bytes::{u32_at, u64_at};
use crate::dump::{Arch, Dump};
use crate::paging::{Mode, Space};
use crate::progress::{Progress, Unit};
use rayon::prelude::*;

/// A page that could be a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Guess {
    pub root: Pa,
    pub shape: tables::Shape,
}

/// What one pass over memory met.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// In order of address.
    pub guesses: Vec<Guess>,
    /// Pages that begin as a kernel image does.
    pub headers: Vec<Pa>,
    /// Pages with a CodeView record of a kernel: where the record is.
    pub records: Vec<Pa>,
    /// Pages looked at.
    pub pages: u64,
    /// Whether guesses were dropped because there were too many.
    pub cut: bool,
}

/// A root that was tried.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    pub mode: Mode,
    pub root: Pa,
    pub score: u32,
    pub shared: Option<SharedPage>,
}

/// Pages a task takes at once (4 MiB).
const CHUNK: u64 = 1024;
/// Guesses kept: a machine has as many roots as processes.
const MOST: usize = 1 << 16;

/// All of memory in pieces for tasks: first page and count.
pub(super) fn chunks(dump: &Dump) -> Vec<(u64, u64)> {
    let of_run = |run: crate::dump::Run| {
        (0..run.count.div_ceil(CHUNK)).map(move |i| {
            let first = i.saturating_mul(CHUNK);
            (run.pfn.0.saturating_add(first), run.count.saturating_sub(first).min(CHUNK))
        })
    };
    dump.runs().flat_map(of_run).collect()
}

/// One pass over all memory.
pub(super) fn sweep(dump: &Dump, progress: &Progress) -> Seen {
    let chunks = chunks(dump);
    let _in_order = dump.read_through();
    progress.begin("looking for page tables", dump.page_count().saturating_mul(PAGE_SIZE), Unit::Bytes);
    let arch = dump.arch;
    let parts: Vec<Seen> = chunks
        .par_iter()
        .map(|(first, count)| {
            let mut seen = Seen::default();
            for i in 0..*count {
                let pfn = Pfn(first.wrapping_add(i));
                if let Some(page) = dump.page(pfn) {
                    seen.pages = seen.pages.saturating_add(1);
                    look(page, pfn.base(), arch, &mut seen);
                }
            }
            progress.add(count.saturating_mul(PAGE_SIZE));
            seen
        })
        .collect();
    progress.end();
    let mut all = Seen::default();
    for part in parts {
        all.guesses.extend(part.guesses);
        all.headers.extend(part.headers);
        all.records.extend(part.records);
        all.pages = all.pages.saturating_add(part.pages);
    }
    all.guesses.sort_unstable();
    all.headers.sort_unstable();
    all.records.sort_unstable();
    all.cut = all.guesses.len() > MOST || all.headers.len() > MOST || all.records.len() > MOST;
    all.guesses.truncate(MOST);
    all.headers.truncate(MOST);
    all.records.truncate(MOST);
    all
}

/// One page.
fn look(page: &[u8; PAGE_SIZE as usize], pa: Pa, arch: Option<Arch>, seen: &mut Seen) {
    // Most of a raw image's holes; comparing is faster than looking.
    if page == &[0; PAGE_SIZE as usize] {
        return;
    }
    let wants = |a: Arch| arch.is_none_or(|known| known == a);
    if wants(Arch::X64) || wants(Arch::Arm64) {
        seen.guesses.extend(tables::self_mapped(page, pa).filter(|g| match g.shape {
            tables::Shape::Arm64 => wants(Arch::Arm64),
            _ => wants(Arch::X64),
        }));
    }
    if wants(Arch::X86) {
        seen.guesses.extend(tables::plain32(page, pa));
        seen.guesses.extend(tables::pae(page, pa));
    }
    if page.starts_with(b"MZ") && begins_a_kernel(page) {
        seen.headers.push(pa);
    }
    if let Some(at) = record(page) {
        seen.records.push(pa.add(at));
    }
}

/// A header page with the sections that only kernels have.
fn begins_a_kernel(page: &[u8]) -> bool {
    let Some(pe) = u32_at(page, 0x3c).filter(|p| *p < 0x800) else { return false };
    let pe = pe as usize;
    if page.get(pe..pe.saturating_add(4)) != Some(b"PE\0\0") {
        return false;
    }
    let has = |name: &[u8; 8]| {
        page.get(pe..).is_some_and(|rest| rest.chunks_exact(8).any(|c| c == name))
            || page.get(pe.saturating_add(4)..).is_some_and(|rest| rest.chunks_exact(8).any(|c| c == name))
    };
    has(b"POOLCODE") || has(b"PAGEKD\0\0") && has(b"PAGELK\0\0")
}

/// The offset of a CodeView record that names a kernel's PDB.
pub(super) fn record(page: &[u8]) -> Option<u64> {
    // Records are aligned to 4 bytes by every linker seen.
    let mut at = 0usize;
    for words in page.chunks_exact(4) {
        if words == b"RSDS" {
            let name = page.get(at.checked_add(24)?..at.checked_add(24 + 13)?.min(page.len()));
            let known = name.is_some_and(|n| {
                crate::symbols::KERNEL_PDBS
                    .iter()
                    .any(|k| n.get(..k.len()).is_some_and(|n| n.eq_ignore_ascii_case(k.as_bytes())))
            });
            if known {
                return Some(at as u64);
            }
        }
        at = at.wrapping_add(4);
    }
    None
}

/// Tries a guess in every mode its shape can be of, and gives the best.
pub(super) fn score(dump: &Dump, guess: Guess) -> Vec<Scored> {
    let modes: &[Mode] = match guess.shape {
        tables::Shape::X64 => &[Mode::X64, Mode::La57],
        tables::Shape::Arm64 => &[Mode::Arm64],
        tables::Shape::Pae => &[Mode::Pae],
        tables::Shape::Plain32 => &[Mode::X86],
    };
    best(dump, modes, guess.root)
}

/// The mode in which a root scores best; several where they score the same, for a root alone does not say how many levels
/// of tables are below it.
pub(super) fn best(dump: &Dump, modes: &[Mode], root: Pa) -> Vec<Scored> {
    let mut all: Vec<Scored> = modes.iter().filter_map(|&mode| try_root(dump, mode, root)).collect();
    let most = all.iter().map(|s| s.score).max();
    all.retain(|s| Some(s.score) == most);
    all
}

/// Points for what a root translates. Zero: it is none.
fn try_root(dump: &Dump, mode: Mode, root: Pa) -> Option<Scored> {
    let space = Space::new(dump, mode, root);
    let shared = shared_page::read(&space).ok();
    let mut score = 0u32;
    if let Some(page) = &shared {
        score = score.saturating_add(4);
        score = score.saturating_add(if page.system_root.is_some() { 2 } else { 0 });
        score = score.saturating_add(if page.in_user_half { 1 } else { 0 });
    }
    // A kernel's half has many entries; the loader's table and KVAS' shadows have few.
    let kernel_entries = kernel_entries(dump, mode, root);
    score = score.saturating_add(if kernel_entries >= 6 { 2 } else { 0 });
    (score > 0).then_some(Scored { mode, root, score, shared })
}

/// Entries present in the kernel's half, of tables of 512 entries: those of 512 GiB each. With five levels that is the
/// level below the root, where nearly all of the kernel hangs in one entry.
fn kernel_entries(dump: &Dump, mode: Mode, root: Pa) -> usize {
    let present = |table: Pa, from: usize| -> Vec<Pa> {
        let Some(page) = dump.page(table.pfn()) else { return Vec::new() };
        let entries = (from..512).filter_map(|i| u64_at(page, i * 8)).filter(|e| e & 1 != 0);
        entries.map(|e| Pa(e & 0x000f_ffff_ffff_f000)).collect()
    };
    match mode {
        Mode::X86 | Mode::Pae | Mode::Blocks => 0,
        Mode::X64 | Mode::Arm64 => present(root, 256).len(),
        // Without the entry that names the root itself.
        Mode::La57 => {
            let below = present(root, 256).into_iter().filter(|table| *table != root);
            below.map(|table| present(table, 0).len()).fold(0, usize::saturating_add)
        }
    }
}

/// The low stub that started the other processors (x64): CR3 and an address in the kernel. Often absent in virtual machines.
/// Offsets and masks: `_PROCESSOR_START_BLOCK`, as WinDbg extensions and MemProcFS describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stub {
    pub at: Pa,
    pub root: Pa,
    pub target: Va,
}

pub(super) fn low_stubs(dump: &Dump) -> Vec<Stub> {
    (1..0xa0)
        .filter_map(|pfn| {
            let page = dump.page(Pfn(pfn))?;
            // A far jump over the block, then its completion flag.
            let jump = u64_at(page, 0)? & 0xffff_ffff_ffff_00ff == 0x0000_0001_0006_00e9;
            let target = u64_at(page, 0x70)?;
            let root = u64_at(page, 0xa0)?;
            let plausible =
                target & 0xffff_f800_0000_0003 == 0xffff_f800_0000_0000 && root & 0xffff_ff00_0000_0fff == 0;
            (jump && plausible && root != 0).then_some(Stub { at: Pfn(pfn).base(), root: Pa(root), target: Va(target) })
        })
        .collect()
}
