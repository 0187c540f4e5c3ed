//! The road by processes alone, when no page-table root can be told by its looks: `_EPROCESS` structures in physical memory
//! that bear themselves out. Each is read by the layouts of every known kernel and believed only when its own page-table
//! root translates the shared page, its links lead back to it, its address leads back to the page it was found in, and
//! its thread names it.

use super::judge::Judge;
use super::memory::kernel_under;
use super::roots::{Seen, chunks};
use super::shared_page::{self, SharedPage};
use super::{Candidate, Road};
use crate::addr::{PAGE_SIZE, Pa, Pfn, Va};
use crate::bytes::le;
use crate::dump::{Arch, Dump};
use crate::kernel::Kernel;
use crate::paging::{Mode, Space};
use crate::progress::{Progress, Unit};
use crate::symbols::types::Types;
use crate::symbols::{Fallback, SymbolSource};
use crate::value::Value;
use rayon::prelude::*;
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;

/// Programs that run on every Windows, by the first bytes of `_EPROCESS.ImageFileName`.
const NAMES: [&[u8]; 9] = [
    b"System\0",
    b"smss.exe\0",
    b"csrss.exe\0",
    b"wininit.exe\0",
    b"winlogon.exe\0",
    b"services.exe\0",
    b"lsass.exe\0",
    b"svchost.exe\0",
    b"explorer.exe\0",
];
/// Processes kept: one would do.
const MOST: usize = 1 << 12;
/// Links of the ring of processes that are followed to its head.
const MOST_LINKS: usize = 1 << 16;
/// Page-table roots of processes that are tried.
const MOST_ROOTS: usize = 8;

/// Where one or more kernels have what is asked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    name: u32,
    pid: u32,
    links: u32,
    root: u32,
    threads: u32,
    thread_links: u32,
    thread_process: u32,
}

impl Shape {
    fn of(types: &Types) -> Option<Self> {
        let at = |ty, path| Some(types.member(ty, path)?.offset);
        Some(Self {
            name: at("_EPROCESS", "ImageFileName")?,
            pid: at("_EPROCESS", "UniqueProcessId")?,
            links: at("_EPROCESS", "ActiveProcessLinks")?,
            root: at("_EPROCESS", "Pcb.DirectoryTableBase")?,
            threads: at("_EPROCESS", "ThreadListHead")?,
            thread_links: at("_ETHREAD", "ThreadListEntry")?,
            // XP has it behind the scheduler's part.
            thread_process: at("_ETHREAD", "Tcb.Process").or_else(|| at("_ETHREAD", "ThreadsProcess"))?,
        })
    }
}

/// A process that bears itself out.
#[derive(Clone, Debug)]
struct Process {
    pid: u64,
    va: Va,
    mode: Mode,
    root: Pa,
    shape: Shape,
    shared: SharedPage,
}

/// Follows it.
///
/// # Errors
/// What was seen.
pub(super) fn follow(
    dump: &Dump,
    source: &dyn SymbolSource,
    progress: &Progress,
    judge: &mut Judge<'_>,
) -> Result<Kernel, String> {
    let archs: &[Arch] = match dump.arch {
        Some(Arch::X64) => &[Arch::X64],
        Some(Arch::X86) => &[Arch::X86],
        Some(Arch::Arm64) => &[Arch::Arm64],
        None => &[Arch::X64, Arch::X86, Arch::Arm64],
    };
    let shapes: Vec<(Arch, Vec<Shape>)> = archs
        .iter()
        .map(|&arch| {
            let wanted = Fallback { machine: shared_page::machine(arch), build: None, revision: None };
            let all: BTreeSet<Shape> = source.fallbacks(&wanted).filter_map(|s| Shape::of(&s.types)).collect();
            (arch, all.into_iter().collect())
        })
        .collect();
    let mut found = sweep(dump, &shapes, progress);
    found.sort_by_key(|p| (p.pid, p.root, p.va));
    if found.is_empty() {
        return Err("processes: none in memory bears itself out by the layouts of any known kernel".into());
    }
    let mut roots = FxHashSet::default();
    let mut met = Vec::new();
    for process in found.iter().filter(|p| roots.insert(p.root)).take(MOST_ROOTS) {
        match candidate(dump, process, found.len()) {
            Ok((candidate, road)) => match judge.hear(candidate, road) {
                Some(kernel) => return Ok(kernel),
                None if judge.is_over() => break,
                None => met.push(format!("System is not reached from the one at {}", process.va)),
            },
            Err(why) => met.push(why),
        }
    }
    Err(format!("processes: {} bear themselves out; {}", found.len(), met.join("; ")))
}

/// The kernel that a process's page-table root maps.
fn candidate(dump: &Dump, best: &Process, all: usize) -> Result<(Candidate, Road), String> {
    let space = Space::new(dump, best.mode, best.root);
    let heads = heads(&space, best);
    let hints: Vec<(&str, Va)> = heads.iter().map(|h| ("the head of the list of processes", *h)).collect();
    let (kernel, how) = kernel_under(&space, &hints, &Seen::default())
        .map_err(|why| format!("the one at {} leads to no kernel: {why}", best.va))?;
    let mut road = Road { taken: "processes in memory that bear themselves out".into(), ..Road::default() };
    road.checks.push(format!(
        "{all} processes lie where their links lead, and their threads name them; this one is {} at {}",
        best.pid, best.va
    ));
    road.checks.push(format!("the kernel image at {} was found by {how}: {}", kernel.base, kernel.told_by));
    road.check_shared(&Ok(best.shared.clone()));
    let (base, size) = (kernel.base, kernel.size);
    let mut candidate = Candidate::new(best.mode, best.root, kernel, Some(best.shared.clone()));
    candidate.met.process_head = heads.into_iter().find(|h| h.0.wrapping_sub(base.0) < u64::from(size));
    candidate.met.system = (best.pid == 4).then_some(best.va);
    Ok((candidate, road))
}

/// Members of the ring of processes that are none: its head, and whatever breaks it.
fn heads(space: &Space<'_>, of: &Process) -> Vec<Va> {
    let start = of.va.add(of.shape.links.into());
    let (mut at, mut out) = (start, Vec::new());
    for _ in 0..MOST_LINKS {
        let Ok(next) = space.pointer(at) else { break };
        if next == start || out.contains(&next) || out.len() >= 4 {
            break;
        }
        let process = next.sub(of.shape.links.into());
        let pid = space.pointer(process.add(of.shape.pid.into()));
        let named = space.slice(process.add(of.shape.name.into()), 1).is_ok_and(|n| n.iter().all(u8::is_ascii_graphic));
        if !pid.is_ok_and(|p| plausible_id(p.0)) || !named {
            out.push(next);
        }
        at = next;
    }
    out
}

fn plausible_id(id: u64) -> bool {
    id != 0 && id.is_multiple_of(4) && u32::try_from(id).is_ok()
}

/// One pass over all memory.
fn sweep(dump: &Dump, shapes: &[(Arch, Vec<Shape>)], progress: &Progress) -> Vec<Process> {
    let _in_order = dump.read_through();
    progress.begin("looking for processes", dump.page_count().saturating_mul(PAGE_SIZE), Unit::Bytes);
    let parts: Vec<Vec<Process>> = chunks(dump)
        .par_iter()
        .map(|(first, count)| {
            let mut out = Vec::new();
            for i in 0..*count {
                let pfn = Pfn(first.wrapping_add(i));
                let Some(page) = dump.page(pfn) else { continue };
                for at in names(page) {
                    let name = pfn.base().add(at);
                    for (arch, shapes) in shapes {
                        out.extend(shapes.iter().find_map(|s| judge(dump, *arch, *s, name)));
                    }
                }
            }
            progress.add(count.saturating_mul(PAGE_SIZE));
            out
        })
        .collect();
    progress.end();
    parts.into_iter().flatten().take(MOST).collect()
}

/// Offsets in a page of what could be a process's name. The field lies at a multiple of 4 in all 22 tables.
fn names(page: &[u8; PAGE_SIZE as usize]) -> impl Iterator<Item = u64> + '_ {
    let starts = |word: &[u8]| NAMES.iter().any(|n| n.starts_with(word));
    (0u64..).zip(page.chunks_exact(4)).filter(move |(_, word)| starts(word)).filter_map(|(i, _)| {
        let at = i.checked_mul(4)?;
        let rest = page.get(usize::try_from(at).ok()?..)?;
        NAMES.iter().any(|n| rest.starts_with(n)).then_some(at)
    })
}

/// Whether a process of this shape has its name here.
fn judge(dump: &Dump, arch: Arch, shape: Shape, name: Pa) -> Option<Process> {
    let width: u32 = if arch == Arch::X86 { 4 } else { 8 };
    let start = name.0.checked_sub(shape.name.into())?;
    // As if its physical pages were neighbours. Where they are not, what is read is another's and fails below.
    let field = |offset: u32| physical(dump, Pa(start.checked_add(offset.into())?), width);
    let pid = field(shape.pid).filter(|p| plausible_id(*p))?;
    let next = Va(field(shape.links)?);
    // ARM64 keeps an address-space id in the top 16 bits.
    let mask = if arch == Arch::Arm64 { 0x0000_ffff_ffff_f000 } else { 0x000f_ffff_ffff_ffe0 };
    let root = Pa(field(shape.root)? & mask);
    let modes: &[Mode] = match arch {
        Arch::X86 => &[Mode::Pae, Mode::X86],
        Arch::X64 => &[Mode::X64, Mode::La57],
        Arch::Arm64 => &[Mode::Arm64],
    };
    modes.iter().find_map(|&mode| {
        let root = if mode == Mode::Pae { root } else { root.page() };
        dump.page(root.pfn())?;
        let space = Space::new(dump, mode, root);
        let shared = shared_page::read(&space).ok()?;
        let own = space.pointer(next.add(width.into())).ok()?;
        let va = own.sub(shape.links.into());
        let here = space.translate(va.add(shape.name.into())) == Ok(name);
        (here && threads_name(&space, va, shape) == Ok(true)).then_some(Process { pid, va, mode, root, shape, shared })
    })
}

/// Whether the first thread of a process says it is that process's.
fn threads_name(space: &Space<'_>, va: Va, shape: Shape) -> Value<bool> {
    let head = va.add(shape.threads.into());
    let thread = space.pointer(head)?;
    if thread == head {
        return Ok(false);
    }
    let thread = thread.sub(shape.thread_links.into());
    Ok(space.pointer(thread.add(shape.thread_process.into()))? == va)
}

fn physical(dump: &Dump, at: Pa, width: u32) -> Option<u64> {
    let from = usize::try_from(at.offset_in_page()).ok()?;
    le(dump.page(at.pfn())?.get(from..from.checked_add(width as usize)?)?)
}
