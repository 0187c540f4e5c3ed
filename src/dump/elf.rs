//! ELF cores of virtual machines (QEMU `dump-guest-memory`, `virsh dump --memory-only`, Proxmox, VirtualBox `dumpvmcore`) and of WinPmem:
//! a program header of type `PT_LOAD` for each stretch of physical memory, by its physical address. Notes keep the processors' registers,
//! and of QEMU with the guest's driver the crash-dump header.

use super::Arch;
use super::Run;
use super::header::{self, Parsed, Width};
use super::pages::{Pages, RunTable, whole_pages};
use crate::addr::{PAGE_SIZE, Pa};
use crate::bytes::{u32_at, u64_at};
use crate::value::Note;
use goblin::container::Ctx;
use goblin::elf::Elf;
use goblin::elf::header::{EM_AARCH64, EM_X86_64, ET_CORE, Header as ElfHeader};
use goblin::elf::program_header::{PT_LOAD, PT_NOTE, ProgramHeader};
use goblin::elf::section_header::SectionHeader;

/// How an ELF file begins.
pub const MAGIC: &[u8] = b"\x7fELF";
/// The number of program headers that says: it did not fit, the first section header has it (`PN_XNUM`, ELF specification).
const COUNT_IS_ELSEWHERE: u16 = 0xffff;
/// Notes that are looked at: one or two for each processor.
const MOST_NOTES: usize = 1 << 13;
/// CR3 in QEMU's note of a processor's state (`QEMUCPUState`), and in VirtualBox' (`DBGFCORECPU`): measured in cores of both.
const QEMU_CR3: usize = 0x1a0;
const VIRTUALBOX_CR3: usize = 0x130;
/// The type of VirtualBox' note for a processor (`NT_VBOXCPU`).
const VIRTUALBOX_CPU: u32 = 0xb01;

/// What a core holds.
pub struct Core {
    /// The processor.
    pub arch: Option<Arch>,
    /// Its pages.
    pub pages: Pages,
    /// CR3 of each processor.
    pub roots: Vec<Pa>,
    /// The crash-dump header that the guest's driver announced, with places in this file.
    pub header: Option<Parsed>,
}

/// Opens a core.
///
/// # Errors
/// It is no core, or none of physical memory.
pub fn open(map: &[u8], notes: &mut Vec<Note>) -> Result<Core, String> {
    let unreadable = |e: goblin::error::Error| format!("an ELF file whose headers cannot be read ({e})");
    let elf = Elf::parse_header(map).map_err(unreadable)?;
    if elf.e_type != ET_CORE {
        return Err("an ELF program or library, not a core of a machine's memory; dumpwalk opens memory dumps".into());
    }
    let ctx = context(&elf);
    let at = usize::try_from(elf.e_phoff).map_err(|_| "an ELF core whose program headers lie past its end")?;
    let headers = ProgramHeader::parse(map, at, count(&elf, map, ctx), ctx).map_err(unreadable)?;
    let runs = runs(&headers, notes);
    if runs.is_empty() {
        return Err(
            "an ELF core without physical memory: no program header has both a physical address and bytes (cores of Xen, and of Linux \
             programs, are like that). Convert it to a raw image first"
                .into(),
        );
    }
    let mut core = Core {
        arch: match elf.e_machine {
            EM_X86_64 => Some(Arch::X64),
            EM_AARCH64 => Some(Arch::Arm64),
            // QEMU says so of any guest whose processors stood in 32-bit mode for the moment.
            _ => None,
        },
        pages: RunTable::new(runs, map.len() as u64, notes).map(Pages::Runs)?,
        roots: Vec::new(),
        header: None,
    };
    for ElfNote { name, kind, data, at } in
        headers.iter().filter(|h| h.p_type == PT_NOTE).flat_map(|h| elf_notes(map, h)).take(MOST_NOTES)
    {
        let root = match (name, kind) {
            (b"QEMU", 0) => u64_at(data, QEMU_CR3),
            (b"VBCPU", VIRTUALBOX_CPU) => u64_at(data, VIRTUALBOX_CR3),
            (b"VMCOREINFO", 0) => {
                core.header = crash_header(data, at, notes);
                None
            }
            _ => None,
        };
        core.roots.extend(root.filter(|cr3| *cr3 != 0).map(|cr3| Pa(cr3).page()));
    }
    core.roots.dedup();
    Ok(core)
}

fn context(elf: &ElfHeader) -> Ctx {
    let container = if elf.e_ident.get(4) == Some(&1) {
        goblin::container::Container::Little
    } else {
        goblin::container::Container::Big
    };
    Ctx::new(container, goblin::container::Endian::Little)
}

/// How many program headers there are.
fn count(elf: &ElfHeader, map: &[u8], ctx: Ctx) -> usize {
    if elf.e_phnum != COUNT_IS_ELSEWHERE {
        return elf.e_phnum.into();
    }
    let at = usize::try_from(elf.e_shoff).unwrap_or(usize::MAX);
    let first = SectionHeader::parse(map, at, 1, ctx).ok().and_then(|s| s.first().map(|s| s.sh_info));
    first.map_or(elf.e_phnum.into(), |info| info as usize)
}

/// The stretches of physical memory in the order of their addresses. QEMU's option `-p` writes one for each mapping: pages that several
/// describe alike are one.
fn runs(headers: &[ProgramHeader], notes: &mut Vec<Note>) -> Vec<Run> {
    let mut cut = 0u64;
    let mut runs: Vec<Run> = Vec::new();
    for load in headers.iter().filter(|h| h.p_type == PT_LOAD && h.p_filesz > 0 && h.p_paddr != u64::MAX) {
        let (run, over) = whole_pages(load.p_paddr, load.p_filesz, load.p_offset);
        cut = cut.saturating_add(over);
        runs.push(run);
    }
    if cut > 0 {
        notes.push(Note::info(format!(
            "ELF core: {cut} bytes of segments that begin or end inside a page are not used"
        )));
    }
    runs.retain(|r| r.count > 0);
    runs.sort_by_key(|r| (r.pfn, std::cmp::Reverse(r.count)));
    let mut kept: Vec<Run> = Vec::with_capacity(runs.len());
    for run in runs {
        match kept.last_mut() {
            // The same pages at the same place: one stretch.
            Some(last) if follows(last, &run) => {
                let end = run.pfn.0.saturating_add(run.count);
                last.count = last.count.max(end.saturating_sub(last.pfn.0));
            }
            _ => kept.push(run),
        }
    }
    kept
}

/// Whether a stretch begins inside or right behind another one, in memory and in the file.
fn follows(before: &Run, run: &Run) -> bool {
    let ahead = run.pfn.0.saturating_sub(before.pfn.0);
    ahead <= before.count && before.file.checked_add(ahead.saturating_mul(PAGE_SIZE)) == Some(run.file)
}

/// One note: name without its end, type, data and their place in the file.
struct ElfNote<'m> {
    name: &'m [u8],
    kind: u32,
    data: &'m [u8],
    at: usize,
}

/// The notes of a segment: name size, data size, type (32 bits each), then name and data, each padded to four bytes.
fn elf_notes<'m>(map: &'m [u8], segment: &ProgramHeader) -> impl Iterator<Item = ElfNote<'m>> {
    let start = usize::try_from(segment.p_offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::try_from(segment.p_filesz).unwrap_or(usize::MAX)).min(map.len());
    let mut at = start;
    std::iter::from_fn(move || {
        let map = map.get(..end)?;
        let (name_size, size, kind) =
            (u32_at(map, at)?, u32_at(map, at.checked_add(4)?)?, u32_at(map, at.checked_add(8)?)?);
        let name_at = at.checked_add(12)?;
        let data_at = name_at.checked_add((name_size as usize).next_multiple_of(4))?;
        let name = map.get(name_at..name_at.checked_add(name_size as usize)?)?;
        let data = map.get(data_at..data_at.checked_add(size as usize)?)?;
        at = data_at.checked_add((size as usize).next_multiple_of(4))?;
        Some(ElfNote { name: name.split(|b| *b == 0).next()?, kind, data, at: data_at })
    })
}

/// The crash-dump header that the guest's driver left with QEMU.
fn crash_header(data: &[u8], at: usize, notes: &mut Vec<Note>) -> Option<Parsed> {
    let width = Width::of(data)?;
    match header::parse(data, width, notes) {
        Ok(mut parsed) => {
            parsed.header.move_by(at as u64);
            Some(parsed)
        }
        Err(why) => {
            notes.push(Note::info(format!("ELF core: the crash-dump header in its notes is not used: {why}")));
            None
        }
    }
}
